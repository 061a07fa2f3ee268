/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One shard's way to its end. Each phase has a line in the log, which says what is left and, when
 * something had to be cut, whom it belonged to; and a counter (struct rl_stats, drains and below).
 *
 *	told     listeners close, every actor gets RL_MSG_SHUTDOWN
 *	cut      at the deadline or by a second call: whoever is left is ended
 *	ended    no actor and no connection is left; counted buffers and blocks come home
 *	silent   nothing is left, and the system knows; the shard turns on until all are silent
 */
#ifndef RINGLINE_DRAIN_H
#define RINGLINE_DRAIN_H

#include "shard/shard.h"

/* After the flush: how far the system's end has come, and what this shard does about it. */
void rli_drain_step(struct rl_shard *shard);

/* The drain's deadline, or the one for counted buffers after the cut (TIMER_SYSTEM). */
void rli_drain_due(struct rl_shard *shard);

#endif
