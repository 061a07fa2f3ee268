/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The turn: one pass of a shard's loop. Nothing here starts a thread; somebody calls
 * rli_loop_turn(), a thread's main function in production and the simulator in tests.
 */
#ifndef RINGLINE_LOOP_H
#define RINGLINE_LOOP_H

#include <stdbool.h>

#include "shard/shard.h"

/*
 * On the shard's own thread: ring, buffers, actors, net. 0, or a negative errno after a log line.
 */
int rli_loop_open(struct rl_shard *shard, uint32_t files_max);

/*
 * One turn: reap, drain, timers, actors, flush, enter. It may sleep in the enter, at its very end;
 * the shard counts as asleep until the next call. False: every shard is silent, end the thread.
 */
bool rli_loop_turn(struct rl_shard *shard);

/* On the shard's own thread, after its last turn. */
void rli_loop_close(struct rl_shard *shard);

#endif
