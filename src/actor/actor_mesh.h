/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Actors and the mesh: what comes from other shards, and what leaves to them, once per turn.
 *
 * In phase 2 rli_actors_drain_mesh() copies messages into mailboxes and acts on what needs no
 * handler; blocks with notifications for the shard wait for phase 4, where user code may run, and
 * are delivered in place. Each block goes home in the turn that took it, and carries with it what
 * could not be delivered.
 */
#ifndef RINGLINE_ACTOR_ACTOR_MESH_H
#define RINGLINE_ACTOR_ACTOR_MESH_H

#include "actor/actor.h"
#include "mailbox/mesh.h"

/* An actor that was told -EAGAIN waits on the list of that destination. */
struct room {
	struct tie tie; /* held, then a notice */
	struct list_node waiter; /* in mesh_out.waiters */
	struct rl_actor *actor;
	uint32_t shard; /* which destination */
};

/*
 * Phase 2: take what other shards sent, at most @budget messages; the rest is marked again. False:
 * there was nothing.
 */
bool rli_actors_drain_mesh(struct rl_shard *shard, uint32_t budget);

/* Phase 4, first: reports and notifications, to handlers. False: there were none. */
bool rli_actors_deliver_mesh(struct rl_shard *shard);

/* Phase 5: publish what the turn staged, and wake who sleeps over it. */
void rli_actors_flush_mesh(struct rl_shard *shard);

/* Nothing of the above is left to be done before something happens outside. */
bool rli_actors_mesh_is_idle(const struct rl_shard *shard);

/* The running actor was told -EAGAIN; RL_MSG_ROOM is owed to it. 0, or -ENOBUFS. */
int rli_room_want(struct rl_actor *actor, uint32_t shard);

void rli_room_deliver(struct rl_actor *actor, struct room *room);
void rli_room_drop(struct room *room);

#endif
