/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What rl_listener_open() is told about its connections, checked before anything is made.
 */
#ifndef RINGLINE_NET_LISTENER_OPTIONS_H
#define RINGLINE_NET_LISTENER_OPTIONS_H

#include <ringline/listener.h>

#include "base/log.h"
#include "net/url.h"

/* 0, or -EINVAL after one ERROR line that names the option, its value and its range. */
int rli_listener_options_check(const struct rl_listener_options *options, const struct log *log);

/* The same of what only some URLs can have: TCP, Unix sockets, those with a file. */
int rli_listener_options_check_url(const struct rl_listener_options *options, const struct url *url,
				   const struct log *log);

#endif
