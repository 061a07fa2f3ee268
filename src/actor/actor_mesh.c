/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What crosses cores, seen from the actors. Invariants: a block goes home in the turn that took it;
 * what could not be delivered rides home in it; whoever was told -EAGAIN is on the list of that
 * destination until it was told RL_MSG_ROOM, or ended.
 */
#include "actor/actor_mesh.h"

#include <errno.h>
#include <string.h>

#include <ringline/shard.h>

#include "actor/actor_run.h"
#include "actor/actor_send.h"
#include "actor/buf.h"
#include "actor/buf_send.h"
#include "actor/monitor.h"
#include "actor/name.h"
#include "actor/request.h"
#include "base/mutant.h"
#include "shard/wake.h"

#define ROOMS_TOLD_MAX 64 /* per destination and turn: what one block has room for */
#define REPORTED_MAX   4 /* blocks with reports, per turn: up to 64 in each */
#define NOTIFIES_MAX   1024 /* from hooks to their own shard, per turn */

static void
mark_set(struct envelope *envelope, int error)
{
	unsigned int mark = ENVELOPE_MARK_FULL;

	if (error == -ENOENT) {
		mark = ENVELOPE_MARK_GONE;
	} else if (error == -ESHUTDOWN) {
		mark = ENVELOPE_MARK_STOPPING;
	}
	envelope->class = (uint8_t)(envelope->class | mark);
}

static int
mark_error(const struct envelope *envelope)
{
	switch (envelope->class & ENVELOPE_MARKS) {
	case ENVELOPE_MARK_GONE:
		return -ENOENT;
	case ENVELOPE_MARK_STOPPING:
		return -ESHUTDOWN;
	default:
		return -EAGAIN;
	}
}

/* Act on one envelope that is not for a handler of the shard's. 0, or why it was not delivered. */
static int
mesh_arrived(struct rl_shard *shard, const struct envelope *envelope)
{
	switch (envelope_class(envelope)) {
	case ENVELOPE_MESSAGE:
		return rli_actor_post(shard, envelope);
	case ENVELOPE_REQUEST:
		return rli_request_arrived(shard, envelope);
	case ENVELOPE_SPAWN:
		return rli_request_spawn(shard, envelope);
	case ENVELOPE_REPLY:
		rli_request_answered(shard, envelope);
		return 0;
	case ENVELOPE_STOP:
		rli_actor_asked_to_stop(shard, envelope->to);
		return 0;
	case ENVELOPE_WATCH:
	case ENVELOPE_UNWATCH:
	case ENVELOPE_EXIT:
	case ENVELOPE_DOWN:
	case ENVELOPE_LEASE_HOME:
		rli_lease_arrived(shard, envelope);
		return 0;
	case ENVELOPE_REGISTER:
		return rli_name_register_arrived(shard, envelope);
	case ENVELOPE_UNREGISTER:
	case ENVELOPE_NAME:
		rli_name_arrived(shard, envelope);
		return 0;
	case ENVELOPE_BUF:
		return rli_buf_arrived(shard, envelope);
	case ENVELOPE_BUF_HOME:
		rli_buf_came_home(shard, envelope);
		return 0;
	case ENVELOPE_NOTIFY:
		return 0;
	}
	RL_UNREACHABLE();
}

/* Kept for phase 4 when something in it is for the shard; else it goes home at once. */
static void
mesh_block_arrived(struct rl_shard *shard, uint32_t source, const struct mesh_taken *taken)
{
	struct actors *actors = shard->actors;
	struct mesh_block *block = taken->block;
	bool notifies = taken->notifies;
	bool reported = false;

	for (uint32_t i = 0; i < taken->count && !taken->notifies; i++) {
		struct envelope *envelope = &block->envelopes[i];
		int rc;

		if (envelope_class(envelope) == ENVELOPE_NOTIFY) {
			notifies = true;
			continue;
		}
		rc = mesh_arrived(shard, envelope);
		if (rc != 0 && envelope->class & ENVELOPE_F_REPORT &&
		    !RL_MUTANT(REPORT_FORGOTTEN)) {
			mark_set(envelope, rc);
			block->reports |= (uint64_t)1 << i;
			reported = true;
		}
	}
	if (notifies) {
		actors->notified[actors->notified_count++] =
			(struct notified){ *taken, source, reported };
		return;
	}
	rli_mesh_return(shard->port, source, block, reported);
}

static uint32_t
mesh_drain_source(struct rl_shard *shard, uint32_t source, uint32_t budget)
{
	const uint32_t *notified_count = &shard->actors->notified_count;
	struct mesh_taken taken;

	while (budget > 0 && *notified_count < NOTIFIED_MAX &&
	       rli_mesh_take(shard->port, source, &taken)) {
		budget = taken.count < budget ? budget - taken.count : 0;
		mesh_block_arrived(shard, source, &taken);
	}
	if ((budget == 0 || *notified_count == NOTIFIED_MAX) && !RL_MUTANT(REST_FORGOTTEN)) {
		rli_mesh_inbound_again(shard->port, source);
	}
	return budget;
}

/* Those who wait for this destination, in order, as long as there is room. */
static void
rooms_tell(struct rl_shard *shard, uint32_t to)
{
	struct list *waiters = &shard->port->out[to].waiters;

	for (uint32_t i = 0; i < ROOMS_TOLD_MAX; i++) {
		struct room *room;

		if (list_is_empty(waiters) || !rli_mesh_has_room(shard->port, to) ||
		    (i > 0 && RL_MUTANT(ROOM_TOLD_TO_ONE))) {
			return;
		}
		room = list_entry(list_pop_front(waiters), struct room, waiter);
		list_remove(&room->tie.node); /* in front of other notices, see rli_room_want() */
		list_push_front(&room->actor->notices, &room->tie.node);
		rli_actor_urge(room->actor);
	}
	rli_mesh_homing_again(shard->port, to); /* the next ones are told in the next turn */
}

/* Records that lived only until their last message left. */
static void
obligations_sent(struct rl_shard *shard)
{
	struct list_node *node;

	while ((node = list_pop_front(&shard->port->sent)) != NULL) {
		rli_obligation_sent(shard, list_entry(node, struct obligation, node));
	}
}

bool
rli_actors_drain_mesh(struct rl_shard *shard, uint32_t budget)
{
	struct mesh_sources sources;
	bool active = false;
	uint32_t source;

	if (rli_mesh_inbound(shard->port, &sources)) {
		active = true;
		while (rli_mesh_sources_next(shard->port, &sources, &source)) {
			budget = mesh_drain_source(shard, source, budget);
		}
	}
	if (rli_mesh_homing(shard->port, &sources)) {
		active = true;
		while (rli_mesh_sources_next(shard->port, &sources, &source)) {
			rli_mesh_home(shard->port, source);
			rooms_tell(shard, source);
		}
		obligations_sent(shard);
	}
	return active;
}

/* A message of ours came back. */
static void
mesh_report(struct rl_shard *shard, const struct envelope *envelope)
{
	struct rl_actor *actor;
	struct rl_msg msg = { .kind = RL_MSG_UNDELIVERED };

	if (envelope_class(envelope) != ENVELOPE_MESSAGE &&
	    envelope_class(envelope) != ENVELOPE_BUF) {
		rli_request_failed(shard, envelope->ref, mark_error(envelope));
		return;
	}
	actor = rli_actor_resolve(shard, envelope->from);
	if (actor == NULL || actor->life != ACTOR_RUNNING) {
		return; /* counted where it was lost */
	}
	msg.undelivered.to.private_bits = envelope->to;
	msg.undelivered.kind = envelope->kind;
	msg.undelivered.error = mark_error(envelope);
	rli_actor_answered(actor, msg.kind, rli_actor_deliver(actor, &msg));
}

/* Some blocks of them, those that came first; the rest waits for the next turn. */
static void
mesh_deliver_reports(struct rl_shard *shard)
{
	struct mesh_block *block;

	for (uint32_t i = 0; i < REPORTED_MAX; i++) {
		block = rli_mesh_reported(shard->port);
		if (block == NULL) {
			return;
		}
		for (uint64_t left = block->reports; left != 0; left &= left - 1) {
			mesh_report(shard, &block->envelopes[__builtin_ctzll(left)]);
		}
		rli_mesh_reports_done(shard->port, block);
		obligations_sent(shard); /* before the next handler runs */
	}
}

/* What is the same for all notifications of one shard. */
static void
notify_init(struct rl_msg *msg, uint32_t source)
{
	msg->private_bits = 0;
	msg->from.private_bits = 0;
	msg->user.request.private_bits = 0;
	msg->user.shard = source;
}

typedef void (*notify_fn)(struct rl_shard *shard, const struct rl_msg *msg);

/* The program's hook; NULL: it has none. */
static notify_fn
notify_hook(const struct rl_shard *shard)
{
	const struct rl_shard_def *def = shard->config->shard;

	return def == NULL ? NULL : def->on_notify;
}

/* Returns how many were delivered: 1, or 0 when it was lost, for want of a hook, and counted. */
static inline uint32_t
notify_deliver(struct rl_shard *shard, notify_fn hook, struct rl_msg *msg,
	       const struct envelope *envelope)
{
	if (hook == NULL) {
		(void)rli_actor_undelivered(shard, -ENOENT);
		return 0;
	}
	msg->kind = envelope->kind;
	msg->len = envelope->len;
	memcpy(msg->user.data, envelope->payload, sizeof(envelope->payload));
	hook(shard, msg);
	return 1;
}

/* The notifications of one block, in place. */
static void
mesh_deliver_block(struct rl_shard *shard, const struct notified *notified)
{
	const struct envelope *envelope = notified->taken.block->envelopes;
	const struct envelope *end = envelope + notified->taken.count;
	notify_fn hook = notify_hook(shard);
	uint32_t delivered = 0;
	struct rl_msg msg;

	notify_init(&msg, notified->source);
	if (notified->taken.notifies) {
		for (; envelope != end; envelope++) {
			delivered += notify_deliver(shard, hook, &msg, envelope);
		}
	}
	for (; envelope != end; envelope++) {
		if (envelope_class(envelope) == ENVELOPE_NOTIFY) {
			delivered += notify_deliver(shard, hook, &msg, envelope);
		}
	}
	counters_add(&shard->counters, msgs_delivered, delivered);
}

static void
mesh_deliver_notified(struct rl_shard *shard)
{
	struct actors *actors = shard->actors;

	for (uint32_t n = 0; n < actors->notified_count; n++) {
		const struct notified *notified = &actors->notified[n];

		mesh_deliver_block(shard, notified);
		rli_mesh_return(shard->port, notified->source, notified->taken.block,
				notified->reported);
	}
	actors->notified_count = 0;
}

/* Of those that are there now: what a hook sends to its own shard comes in the next turn. */
static void
mesh_deliver_notifies(struct rl_shard *shard)
{
	struct actors *actors = shard->actors;
	notify_fn hook = notify_hook(shard);
	uint32_t left =
		actors->notifies.count < NOTIFIES_MAX ? actors->notifies.count : NOTIFIES_MAX;
	uint32_t delivered = 0;

	for (; left > 0; left--) {
		struct letter *letter = rli_mailbox_pop(&actors->notifies);

		if (hook == NULL) {
			(void)rli_actor_undelivered(shard, -ENOENT);
		} else {
			hook(shard, &letter->msg);
			delivered++;
		}
		rli_letter_give(&actors->letters, letter);
	}
	counters_add(&shard->counters, msgs_delivered, delivered);
}

bool
rli_actors_deliver_mesh(struct rl_shard *shard)
{
	struct actors *actors = shard->actors;

	if (rli_actors_mesh_is_idle(shard)) {
		return false;
	}
	if (shard->port->reported != NULL) {
		mesh_deliver_reports(shard);
	}
	if (actors->notified_count > 0) {
		mesh_deliver_notified(shard);
	}
	if (actors->notifies.count > 0) {
		mesh_deliver_notifies(shard);
	}
	return true;
}

void
rli_actors_flush_mesh(struct rl_shard *shard)
{
	uint64_t wake[MESH_WORDS] = { 0 };
	bool any = rli_mesh_flush(shard->port, wake);

	counters_add(&shard->counters, msgs_sent, shard->port->published);
	shard->port->published = 0;
	if (any) {
		for (uint32_t w = 0; w * 64 < shard->count; w++) {
			for (uint64_t left = wake[w]; left != 0; left &= left - 1) {
				rli_wake(shard,
					 shard->peers[w * 64 + (uint32_t)__builtin_ctzll(left)]);
			}
		}
	}
	obligations_sent(shard);
}

bool
rli_actors_mesh_is_idle(const struct rl_shard *shard)
{
	return shard->port->reported == NULL && shard->actors->notified_count == 0 &&
	       shard->actors->notifies.count == 0;
}

/* One for @shard is on this list? They are in front, and there are few. */
static bool
room_is_on(const struct list *list, uint32_t shard)
{
	for (struct list_node *node = list->head.next; node != &list->head; node = node->next) {
		const struct room *room = list_entry(node, struct room, tie.node);

		if (room->tie.kind != TIE_ROOM && room->tie.kind != TIE_FORWARD) {
			return false;
		}
		if (room->tie.kind == TIE_ROOM && room->shard == shard) {
			return true;
		}
	}
	return false;
}

int
rli_room_want(struct rl_actor *actor, uint32_t shard)
{
	struct rl_shard *here = actor->shard;
	struct room *room;

	/* held while it waits, a notice when it is to be told */
	if (room_is_on(&actor->held, shard) || room_is_on(&actor->notices, shard)) {
		return -EAGAIN;
	}
	room = rli_slab_take(&here->actors->rooms);
	if (room == NULL) {
		return -ENOBUFS;
	}
	room->actor = actor;
	room->shard = shard;
	room->tie.kind = TIE_ROOM;
	list_node_init(&room->tie.node);
	list_push_front(&actor->held, &room->tie.node); /* see also actor/forward.c */
	list_node_init(&room->waiter);
	list_push_back(&here->port->out[shard].waiters, &room->waiter);
	actor->rooms_owed++;
	return -EAGAIN;
}

void
rli_room_drop(struct room *room)
{
	struct rl_actor *actor = room->actor;

	list_remove(&room->waiter);
	RL_ASSERT(actor->rooms_owed > 0);
	actor->rooms_owed--;
	rli_slab_give(&actor->shard->actors->rooms, room);
}

void
rli_room_deliver(struct rl_actor *actor, struct room *room)
{
	struct rl_msg msg = { .kind = RL_MSG_ROOM, .room = { room->shard } };

	rli_room_drop(room);
	actor->room_told = true;
	rli_actor_answered(actor, msg.kind, rli_actor_deliver(actor, &msg));
}
