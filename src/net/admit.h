/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Whether an accepted socket may become a connection, as its listener's options have it; and the
 * lines that say why one may not, one a second for each limit, with its name.
 */
#ifndef RINGLINE_NET_ADMIT_H
#define RINGLINE_NET_ADMIT_H

#include <ringline/addr.h>

#include "net/listener.h"

/*
 * May @peer come in? 0: it is counted, until rli_admit_undo() or the connection's end. -EDQUOT, by
 * the rate or by its address, or -ENOMEM: it was logged.
 */
int rli_admit(struct listener *listener, const struct rl_addr *peer);

/* It did not become a connection, because of @rc, which is logged. */
void rli_admit_undo(struct listener *listener, const struct rl_addr *peer, int rc);

/* Connections of @listener with this address are counted. */
bool rli_admit_counts(const struct listener *listener, const struct rl_addr *peer);

/* Accepting is paused at conns_max. */
void rli_admit_log_paused(const struct listener *listener);

#endif
