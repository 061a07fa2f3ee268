/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sending: the same call wherever the receiver lives.
 */
#ifndef RINGLINE_ACTOR_ACTOR_SEND_H
#define RINGLINE_ACTOR_ACTOR_SEND_H

#include "actor/actor.h"

/*
 * A message that came from elsewhere, to whoever has the id. 0, or -ENOENT, -EAGAIN (full),
 * -ESHUTDOWN: not delivered, and counted.
 */
int rli_actor_post(struct rl_shard *shard, const struct envelope *envelope);

/* Count a message that was not delivered, and return @error. */
int rli_actor_undelivered(struct rl_shard *shard, int error);

/* A notification for this shard itself, from itself or from a foreign thread. 0 or -ENOBUFS. */
int rli_shard_post(struct rl_shard *shard, const struct envelope *envelope);

#endif
