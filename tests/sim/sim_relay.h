/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Connections that forward to each other, between a link's client and its server.
 */
#ifndef RINGLINE_SIM_RELAY_H
#define RINGLINE_SIM_RELAY_H

#include <ringline/ringline.h>

/* Its argument is the URL of the server, NULL for the end that it opens itself. */
extern const struct rl_actor_def sim_relay_def;

#endif
