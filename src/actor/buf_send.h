/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sending counted buffers, to one actor or to many.
 */
#ifndef RINGLINE_ACTOR_BUF_SEND_H
#define RINGLINE_ACTOR_BUF_SEND_H

#include "actor/actor.h"

/* ENVELOPE_BUF. 0, or why it was not delivered: as rli_actor_post(). */
int rli_buf_arrived(struct rl_shard *shard, const struct envelope *envelope);

#endif
