/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Waking another shard, from this one's ring.
 *
 * A message to the other's ring (IORING_OP_MSG_RING) leaves with the turn's other requests, so it
 * costs no system call; a success posts a completion there (OP_USER_DATA_WOKEN) and none here. The
 * invariant: a wake-up that was claimed (shard/sleep.h) is seen through. Where the kernel refuses
 * the message, or there is no room to ask it, the other's eventfd is written at once.
 */
#ifndef RINGLINE_SHARD_WAKE_H
#define RINGLINE_SHARD_WAKE_H

#include <stdint.h>

struct rl_shard;

/*
 * On @from's thread, after a push to @to (another one) and a seq_cst fence, and before this turn's
 * enter: wake it if it sleeps.
 */
void rli_wake(struct rl_shard *from, struct rl_shard *to);

/* The message of @from to @to has the result @res: told only when it failed. */
void rli_wake_completed(struct rl_shard *from, struct rl_shard *to, int32_t res);

#endif
