/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a handshake came to.
 */
#ifndef RINGLINE_TLS_TLS_INFO_H
#define RINGLINE_TLS_TLS_INFO_H

#include <stdbool.h>

#include <ringline/tls.h>

#include "tls/tls_session.h"

/* After the handshake. False: the peer's name does not fit, and session->error says so. */
bool rli_tls_info(struct tls_session *session, struct rl_tls_info *info);

#endif
