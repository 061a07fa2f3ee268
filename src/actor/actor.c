/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Actors. Invariants: an actor that has work is on the ready list or its handler is on the stack;
 * RL_MSG_START is its first message and RL_MSG_STOP its last, each exactly once.
 */
#include "actor/actor.h"

#include <errno.h>
#include <string.h>

#include <ringline/shard.h>

#include "actor/actor_mesh.h"
#include "actor/actor_run.h"
#include "actor/actor_timer.h"
#include "actor/buf.h"
#include "actor/forward.h"
#include "actor/monitor.h"
#include "actor/name.h"
#include "actor/request.h"
#include "base/id.h"
#include "base/mutant.h"

#define STATE_CLASS_NONE      UINT8_MAX
#define STATE_CLASS_BYTES_MIN 32u

static int
actors_init_ties(struct rl_shard *shard)
{
	const struct rl_config *config = shard->config;
	struct actors *actors = shard->actors;
	int rc = rli_slab_init(&actors->requests, sizeof(struct request), config->requests_max);

	if (rc == 0) {
		rc = rli_slab_init(&actors->promises, sizeof(struct promise), config->requests_max);
	}
	if (rc == 0) {
		rc = rli_slab_init(&actors->leases, sizeof(struct lease), config->monitors_max);
	}
	if (rc == 0) {
		rc = rli_slab_init(&actors->rooms, sizeof(struct room), config->actors_max);
	}
	if (rc == 0) {
		rc = rli_slab_init(&actors->forwards, sizeof(struct forward), config->actors_max);
	}
	if (rc == 0) {
		rc = rli_names_init(shard);
	}
	if (rc == 0) {
		rc = rli_bufs_init(shard);
	}
	return rc;
}

int
rli_actors_init(struct rl_shard *shard)
{
	const struct rl_config *config = shard->config;
	struct actors *actors = shard->actors;
	int rc = rli_slab_init(&actors->slab, sizeof(struct rl_actor), config->actors_max);

	list_init(&actors->ready);
	list_init(&actors->later);
	actors->ready_conns = &actors->ready;
	actors->mailbox_max = config->mailbox_max;
	actors->notifies.limit = UINT32_MAX; /* the pool bounds them */
	actors->here.shard = shard->id;
	actors->message_head = envelope_head(shard->id, ENVELOPE_MESSAGE);
	actors->notify_head = envelope_head(shard->id, ENVELOPE_NOTIFY);
	for (uint32_t i = 0; rc == 0 && i < ACTOR_STATE_CLASSES; i++) {
		rc = rli_slab_init(&actors->states[i], (size_t)STATE_CLASS_BYTES_MIN << i,
				   config->actors_max);
	}
	if (rc == 0) {
		rc = rli_slab_init(&actors->timers, sizeof(struct actor_timer), config->timers_max);
	}
	if (rc == 0) {
		rc = rli_letter_pool_init(&actors->letters, config->messages_max);
	}
	return rc == 0 ? actors_init_ties(shard) : rc;
}

void
rli_actors_fini(struct rl_shard *shard)
{
	struct actors *actors = shard->actors;

	rli_slab_fini(&actors->slab);
	for (uint32_t i = 0; i < ACTOR_STATE_CLASSES; i++) {
		rli_slab_fini(&actors->states[i]);
	}
	rli_slab_fini(&actors->timers);
	rli_slab_fini(&actors->requests);
	rli_slab_fini(&actors->promises);
	rli_slab_fini(&actors->leases);
	rli_slab_fini(&actors->rooms);
	rli_slab_fini(&actors->forwards);
	rli_names_fini(shard);
	rli_bufs_fini(shard);
	rli_letter_pool_fini(&actors->letters);
}

int
rli_actor_def_check(const struct rl_actor_def *def, const struct log *log)
{
	if (def == NULL || def->receive == NULL) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"an actor's definition needs a receive function");
		return -EINVAL;
	}
	if (def->state_size > RL_ACTOR_STATE_MAX) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"actor \"%s\": state_size = %zu: must be at most %d",
			def->name != NULL ? def->name : "", def->state_size, RL_ACTOR_STATE_MAX);
		return -EINVAL;
	}
	return 0;
}

/* 0 with *state NULL when none is wanted. */
static int
actor_state_take(struct actors *actors, struct rl_actor *actor, size_t bytes)
{
	uint8_t class = 0;

	actor->state = NULL;
	actor->state_class = STATE_CLASS_NONE;
	if (bytes == 0) {
		return 0;
	}
	while (((size_t)STATE_CLASS_BYTES_MIN << class) < bytes) {
		class ++;
	}
	actor->state = rli_slab_take(&actors->states[class]);
	if (actor->state == NULL) {
		return -ENOMEM;
	}
	memset(actor->state, 0, bytes);
	actor->state_class = class;
	return 0;
}

static void
actor_state_give(struct actors *actors, struct rl_actor *actor)
{
	if (actor->state != NULL) {
		rli_slab_give(&actors->states[actor->state_class], actor->state);
		actor->state = NULL;
	}
}

/* What the slot held before is overwritten, but for the generation, which counts on. */
static void
actor_init(struct rl_shard *shard, struct rl_actor *actor, const struct rl_actor_def *def,
	   void *arg)
{
	actor->id = id_pack(id_generation_next(id_generation(actor->id)), shard->id,
			    rli_slab_number(&shard->actors->slab, actor));
	actor->shard = shard;
	actor->receive = def->receive;
	actor->conn = NULL;
	actor->mailbox = (struct mailbox){ .limit = shard->actors->mailbox_max };
	actor->life = ACTOR_STARTING;
	actor->running = false;
	actor->started = false;
	actor->stopped = false;
	list_node_init(&actor->ready);
	actor->def = def;
	actor->arg = arg;
	actor->error = 0;
	actor->shutdown_due = false;
	actor->ends_after_shutdown = false;
	actor->room_told = false;
	actor->noticed = 0;
	actor->rooms_owed = 0;
	actor->forwards_owed = 0;
	list_init(&actor->held);
	list_init(&actor->owed);
	list_init(&actor->notices);
}

int
rli_actor_spawn(struct rl_shard *shard, const struct rl_actor_def *def, void *arg,
		struct rl_actor **out)
{
	struct actors *actors = shard->actors;
	struct rl_actor *actor;
	int rc;

	*out = NULL;
	if (rli_actor_def_check(def, shard->log) != 0) {
		return -EINVAL;
	}
	if (actors->draining) {
		return -ESHUTDOWN;
	}
	actor = rli_slab_take(&actors->slab);
	if (actor == NULL) {
		return -ENOBUFS;
	}
	rc = actor_state_take(actors, actor, def->state_size);
	if (rc != 0) {
		actor->id = ACTOR_ID_FREE(actor->id); /* at its first use a slot is zeroed */
		rli_slab_give(&actors->slab, actor);
		return rc;
	}
	actor_init(shard, actor, def, arg);
	actors->live++;
	counters_add(&shard->counters, actors_started, 1);
	rli_actor_urge(actor);
	*out = actor;
	return 0;
}

void
rli_actor_enlist(struct actors *actors, struct rl_actor *actor)
{
	list_push_back(actor->conn == NULL ? &actors->ready : actors->ready_conns, &actor->ready);
}

void
rli_actor_end(struct rl_actor *actor, enum rl_reason reason, int error)
{
	RL_ASSERT(actor->life != ACTOR_FREE);
	if (actor->life == ACTOR_ENDING) {
		return;
	}
	actor->life = ACTOR_ENDING;
	actor->mailbox.limit = 0;
	actor->reason = (uint8_t)reason;
	actor->error = error;
	rli_actor_ready(actor);
}

/*
 * Up to @budget of them; returns what is left of it. Who asked for a reply to one of them is told
 * by rli_promise_break().
 */
static uint32_t
actor_lose_messages(struct rl_actor *actor, uint32_t budget)
{
	struct letter_pool *pool = &actor->shard->actors->letters;
	uint32_t count = rli_mailbox_count(&actor->mailbox);
	uint32_t lost = count < budget ? count : budget;

	if (lost > 0 && actor->mailbox.count == MAILBOX_SHARED_ONE) {
		rli_letter_drop_shared(pool, rli_mailbox_pop_shared(&actor->mailbox));
	}
	for (uint32_t i = 0; i < lost && actor->mailbox.count > 0; i++) {
		struct letter *letter = rli_mailbox_pop(&actor->mailbox);

		if (!RL_MUTANT(BUF_OF_LOST_KEPT)) {
			rli_letter_let_go(letter);
		}
		rli_letter_give(pool, letter);
	}
	if (lost > 0 && actor->shard->actors->cut) {
		counters_add(&actor->shard->counters, undelivered.stopping, lost);
	} else if (lost > 0) {
		counters_add(&actor->shard->counters, undelivered.gone, lost);
	}
	return budget - lost;
}

/* What it asked for is taken back, what it owes is settled. */
static void
actor_untie_one(struct rl_actor *actor, struct tie *tie)
{
	list_remove(&tie->node);
	switch ((enum tie_kind)tie->kind) {
	case TIE_TIMER:
		if (!RL_MUTANT(TIMER_SURVIVES_ACTOR)) {
			rli_actor_timer_drop(list_entry(tie, struct actor_timer, tie));
		}
		return;
	case TIE_REQUEST:
		rli_request_drop(list_entry(tie, struct request, tie));
		return;
	case TIE_PROMISE:
		rli_promise_break(list_entry(tie, struct promise, tie));
		return;
	case TIE_LEASE:
		rli_lease_drop(actor, list_entry(tie, struct lease, tie));
		return;
	case TIE_WATCHED:
		rli_lease_ended(actor, list_entry(tie, struct lease, watched));
		return;
	case TIE_ROOM:
		rli_room_drop(list_entry(tie, struct room, tie));
		return;
	case TIE_FORWARD:
		rli_forward_drop(list_entry(tie, struct forward, tie));
		return;
	case TIE_NAME:
		rli_name_drop(list_entry(tie, struct name_claim, tie));
		return;
	}
	RL_UNREACHABLE();
}

/*
 * Up to @budget ties; true: none is left. What it is owed by others comes last, so that who learns
 * of its end finds its names free.
 */
static bool
actor_untie(struct rl_actor *actor, uint32_t budget)
{
	struct list *lists[] = { &actor->notices, &actor->held, &actor->owed };
	struct list_node *node;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		while ((node = list_first(lists[i])) != NULL) {
			if (budget-- == 0) {
				return false;
			}
			actor_untie_one(actor, list_entry(node, struct tie, node));
		}
	}
	return true;
}

static void
actor_tell_stop(struct rl_actor *actor)
{
	struct rl_msg msg = {
		.kind = RL_MSG_STOP,
		.stop = { (enum rl_reason)actor->reason, actor->error },
	};

	if (!actor->started) {
		rli_actor_deliver_start(actor); /* so that it sees both ends of its life */
	}
	(void)rli_actor_deliver(actor, &msg); /* an answer to the last message changes nothing */
	actor->stopped = true;
	actor->id = ACTOR_ID_FREE(actor->id);
}

/* On no list of those that run. */
static void
actor_unready(struct actors *actors, struct rl_actor *actor)
{
	if (actors->alone == actor) {
		rli_actor_accompany(actors);
	}
	list_remove(&actor->ready);
}

void
rli_actor_stop(struct rl_actor *actor)
{
	struct rl_shard *shard = actor->shard;
	struct actors *actors = shard->actors;
	uint32_t left;
	bool untied;

	RL_ASSERT(actor->life == ACTOR_ENDING);
	RL_ASSERT(actor->conn == NULL);
	if (!actor->stopped) {
		actor_tell_stop(actor);
	}
	left = actor_lose_messages(actor, ACTOR_UNTIE_MAX);
	untied = actor_untie(actor, left) && actor->mailbox.count == 0;
	actor_unready(actors, actor);
	if (!untied && !RL_MUTANT(UNTIE_REST_FORGOTTEN)) {
		list_push_back(actors->ready_conns, &actor->ready); /* in the next turn */
		return;
	}
	actor_state_give(actors, actor);
	actor->life = ACTOR_FREE;
	actors->live--;
	counters_add(&shard->counters, actors_stopped, 1);
	rli_slab_give(&actors->slab, actor);
}

void
rli_actors_drain(struct rl_shard *shard, uint64_t deadline_ns)
{
	struct actors *actors = shard->actors;

	actors->draining = true;
	actors->drain_deadline_ns = deadline_ns;
	for (uint32_t i = 0; i < actors->slab.slots_used; i++) {
		struct rl_actor *actor = rli_slab_at(&actors->slab, i);

		if (actor->life == ACTOR_STARTING || actor->life == ACTOR_RUNNING) {
			actor->shutdown_due = true;
			rli_actor_urge(actor);
		}
	}
}

void
rli_actors_cut(struct rl_shard *shard, enum rl_reason reason)
{
	struct actors *actors = shard->actors;

	actors->cut = true;
	for (uint32_t i = 0; i < actors->slab.slots_used; i++) {
		struct rl_actor *actor = rli_slab_at(&actors->slab, i);

		if (actor->life == ACTOR_STARTING || actor->life == ACTOR_RUNNING) {
			counters_add(&shard->counters, drain_cut_actors, 1);
			rli_actor_end(actor, reason, 0);
		}
	}
}

void
rli_actors_abandon(struct rl_shard *shard)
{
	struct actors *actors = shard->actors;
	struct rl_actor *actor;

	actors->draining = true;
	rli_actors_cut(shard, RL_REASON_SHUTDOWN);
	while ((actor = rli_actor_next(&actors->ready)) != NULL) {
		rli_actor_stop(actor); /* it spawns nobody, and sends nothing */
	}
	RL_ASSERT(actors->live == 0);
}

rl_actor_id
rl_actor_self(const struct rl_actor *self)
{
	return (rl_actor_id){ rli_actor_id_bits(self) };
}

int
rl_actor_spawn(struct rl_actor *self, const struct rl_actor_def *def, void *arg, rl_actor_id *id)
{
	RL_ASSERT(self->shard != rli_shard_current || self->running);
	return rl_shard_spawn(self->shard, def, arg, id);
}

int
rl_shard_spawn(struct rl_shard *shard, const struct rl_actor_def *def, void *arg, rl_actor_id *id)
{
	struct rl_actor *actor = NULL;
	int rc = -EPERM;

	if (shard == rli_shard_current) {
		rc = rli_actor_spawn(shard, def, arg, &actor);
	}
	if (id != NULL) {
		*id = (rl_actor_id){ rc == 0 ? actor->id : 0 };
	}
	return rc;
}

void
rl_actor_become(struct rl_actor *self, rl_actor_receive_fn receive)
{
	RL_ASSERT(self == rli_actor_running);
	RL_ASSERT(receive != NULL);
	self->receive = receive;
}

uint32_t
rl_actor_id_shard(rl_actor_id id)
{
	return id_shard(id.private_bits);
}

void *
rl_actor_state(const struct rl_actor *self)
{
	return self->state;
}

struct rl_shard *
rl_actor_shard(const struct rl_actor *self)
{
	return self->shard;
}
