/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Who waits for another's output: an actor that forwards bytes to a connection of its shard and was
 * told RL_CONN_SEND_HIGH or -EAGAIN. The connection's side of it is net/conn_forward.c.
 */
#ifndef RINGLINE_ACTOR_FORWARD_H
#define RINGLINE_ACTOR_FORWARD_H

#include "actor/actor.h"

struct forward {
	struct tie tie; /* held, then a notice */
	struct list_node waiter; /* in outlet.waiters while it is held */
	struct rl_actor *actor; /* who waits */
	uint64_t target; /* for whose output */
	uint32_t queued_bytes; /* when it was told */
};

/* @actor waits for the output of @target, and has not been told. */
bool rli_forward_waits(const struct rl_actor *actor, uint64_t target);

/* RL_MSG_WRITABLE for @target is owed to @actor, behind those in @waiters. 0, -ENOBUFS. */
int rli_forward_want(struct rl_actor *actor, uint64_t target, struct list *waiters);

/* It may go on: @queued_bytes are left there. */
void rli_forward_tell(struct forward *forward, uint32_t queued_bytes);

void rli_forward_deliver(struct rl_actor *actor, struct forward *forward);
void rli_forward_drop(struct forward *forward);

#endif
