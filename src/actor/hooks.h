/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The program's own part of a shard: its state, and the hooks around its life.
 */
#ifndef RINGLINE_ACTOR_HOOKS_H
#define RINGLINE_ACTOR_HOOKS_H

#include "shard/shard.h"

/* On the shard's thread, before its first turn. 0, or a negative errno after a log line. */
int rli_hooks_start(struct rl_shard *shard);

/* At the end of phase 4 of a turn that did something. */
void rli_hooks_tick(struct rl_shard *shard);

/* On the shard's thread, after its last turn. */
void rli_hooks_stop(struct rl_shard *shard);

#endif
