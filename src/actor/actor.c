/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Actors. Invariants: an actor that has work is on the ready list or its handler is on the stack;
 * RL_MSG_START is its first message and RL_MSG_STOP its last, each exactly once.
 */
#include "actor/actor.h"

#include <errno.h>
#include <string.h>

#include <ringline/conn.h>

#include "actor/actor_timer.h"
#include "base/id.h"
#include "base/mutant.h"

#define STATE_CLASS_NONE      UINT8_MAX
#define STATE_CLASS_BYTES_MIN 32u

int
rli_actors_init(struct rl_shard *shard)
{
	const struct rl_config *config = shard->config;
	struct actors *actors = shard->actors;
	int rc = rli_slab_init(&actors->slab, sizeof(struct rl_actor), config->actors_max);

	list_init(&actors->ready);
	for (uint32_t i = 0; rc == 0 && i < ACTOR_STATE_CLASSES; i++) {
		rc = rli_slab_init(&actors->states[i], (size_t)STATE_CLASS_BYTES_MIN << i,
				   config->actors_max);
	}
	if (rc == 0) {
		rc = rli_slab_init(&actors->timers, sizeof(struct actor_timer), config->timers_max);
	}
	if (rc == 0) {
		rc = rli_envelope_pool_init(&actors->envelopes, config->messages_max);
	}
	return rc;
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
	rli_envelope_pool_fini(&actors->envelopes);
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
		rli_slab_give(&actors->slab, actor);
		return rc;
	}
	actor->generation = id_generation_next(actor->generation);
	actor->shard = shard;
	actor->def = def;
	actor->conn = NULL;
	actor->arg = arg;
	actor->mailbox = (struct mailbox){ 0 };
	actor->error = 0;
	actor->life = ACTOR_STARTING;
	actor->shutdown_due = false;
	actor->running = false;
	actor->started = false;
	list_node_init(&actor->ready);
	list_init(&actor->timers);
	list_init(&actor->timers_due);
	actors->live++;
	counters_add(&shard->counters, actors_started, 1);
	rli_actor_ready(actor);
	*out = actor;
	return 0;
}

uint64_t
rli_actor_id_bits(const struct rl_actor *actor)
{
	return id_pack(actor->generation, actor->shard->id,
		       rli_slab_number(&actor->shard->actors->slab, actor));
}

struct rl_actor *
rli_actor_resolve(struct rl_shard *shard, uint64_t id)
{
	struct rl_actor *actor = rli_slab_at(&shard->actors->slab, id_slot(id));

	if (actor == NULL || id_shard(id) != shard->id || actor->life == ACTOR_FREE) {
		return NULL;
	}
	return actor->generation == id_generation(id) || RL_MUTANT(GENERATION_UNCHECKED) ? actor
											 : NULL;
}

/* PATH-4 make ready: whoever has something for an actor says so here, and only here. */
void
rli_actor_ready(struct rl_actor *actor)
{
	if (!list_is_linked(&actor->ready)) {
		list_push_back(&actor->shard->actors->ready, &actor->ready);
	}
}

struct rl_actor *
rli_actor_next(struct list *batch)
{
	struct list_node *node = list_pop_front(batch);

	return node == NULL ? NULL : list_entry(node, struct rl_actor, ready);
}

/* PATH-5 receive called: user code runs here and nowhere else. */
int
rli_actor_deliver(struct rl_actor *actor, const struct rl_msg *msg)
{
	struct actors *actors = actor->shard->actors;
	int answer;

	RL_ASSERT(actors->running == NULL);
	actors->running = actor;
	actor->running = true;
	answer = actor->def->receive(actor, msg);
	actor->running = false;
	actors->running = NULL;
	if (answer == RL_ACTOR_UNHANDLED) {
		counters_add(&actor->shard->counters, msgs_unhandled, 1);
	}
	return answer == RL_CONN_SEND_HIGH ? 0 : answer;
}

void
rli_actor_answered(struct rl_actor *actor, uint32_t msg_kind, int answer)
{
	enum rl_reason reason = RL_REASON_LOCAL;

	if (answer == 0) {
		return;
	}
	if (msg_kind == RL_MSG_EOF) {
		reason = RL_REASON_PEER_FIN;
	} else if (msg_kind == RL_MSG_SHUTDOWN) {
		reason = RL_REASON_SHUTDOWN;
	}
	if (answer == RL_ACTOR_UNHANDLED) {
		if (msg_kind == RL_MSG_EOF || msg_kind == RL_MSG_SHUTDOWN) {
			rli_actor_end(actor, reason, 0);
		}
		return;
	}
	if (answer == RL_ACTOR_STOP) {
		rli_actor_end(actor, reason, 0);
		return;
	}
	/* a handler's own mistake, an answer that means nothing, is a failure like any other */
	rli_actor_end(actor, RL_REASON_FAILURE, answer < 0 ? answer : -EINVAL);
}

bool
rli_actor_has_work(const struct rl_actor *actor)
{
	return actor->life == ACTOR_STARTING || actor->shutdown_due ||
	       !list_is_empty(&actor->timers_due) || actor->mailbox.count != 0;
}

static int
actor_deliver_start(struct rl_actor *actor)
{
	struct rl_msg msg = { .kind = RL_MSG_START, .start = { actor->arg } };

	actor->started = true;
	return rli_actor_deliver(actor, &msg);
}

static void
actor_deliver_shutdown(struct rl_actor *actor)
{
	struct rl_msg msg = {
		.kind = RL_MSG_SHUTDOWN,
		.shutdown = { actor->shard->actors->drain_deadline_ns },
	};

	actor->shutdown_due = false;
	rli_actor_answered(actor, msg.kind, rli_actor_deliver(actor, &msg));
}

static void
actor_deliver_envelope(struct rl_actor *actor)
{
	struct envelope *envelope = rli_mailbox_pop(&actor->mailbox);
	struct rl_msg msg = {
		.kind = envelope->kind,
		.len = envelope->len,
		.from = { envelope->from },
		.user = { envelope->payload },
	};
	int answer = rli_actor_deliver(actor, &msg);

	rli_mailbox_release(&actor->shard->actors->envelopes, envelope);
	counters_add(&actor->shard->counters, msgs_delivered, 1);
	rli_actor_answered(actor, msg.kind, answer);
}

uint32_t
rli_actor_run(struct rl_actor *actor, uint32_t budget)
{
	while (budget > 0 && actor->life != ACTOR_ENDING) {
		if (actor->life == ACTOR_STARTING) {
			actor->life = ACTOR_RUNNING;
			rli_actor_answered(actor, RL_MSG_START, actor_deliver_start(actor));
		} else if (actor->shutdown_due) {
			actor_deliver_shutdown(actor);
		} else if (!list_is_empty(&actor->timers_due)) {
			rli_actor_timer_deliver(actor);
		} else if (actor->mailbox.count != 0) {
			actor_deliver_envelope(actor);
		} else {
			break;
		}
		budget--;
	}
	return budget;
}

void
rli_actor_end(struct rl_actor *actor, enum rl_reason reason, int error)
{
	RL_ASSERT(actor->life != ACTOR_FREE);
	if (actor->life == ACTOR_ENDING) {
		return;
	}
	actor->life = ACTOR_ENDING;
	actor->reason = (uint8_t)reason;
	actor->error = error;
	rli_actor_ready(actor);
}

void
rli_actor_stop(struct rl_actor *actor)
{
	struct rl_shard *shard = actor->shard;
	struct actors *actors = shard->actors;
	struct rl_msg msg = {
		.kind = RL_MSG_STOP,
		.stop = { (enum rl_reason)actor->reason, actor->error },
	};
	uint32_t lost;

	RL_ASSERT(actor->life == ACTOR_ENDING);
	RL_ASSERT(actor->conn == NULL);
	if (!actor->started) {
		/* who ended before the first turn still sees both ends of its life */
		(void)actor_deliver_start(actor);
	}
	(void)rli_actor_deliver(actor, &msg); /* an answer to the last message changes nothing */
	lost = rli_mailbox_clear(&actor->mailbox, &actors->envelopes);
	counters_add(&shard->counters, undelivered.gone, lost);
	if (!RL_MUTANT(TIMER_SURVIVES_ACTOR)) {
		rli_actor_timers_clear(actor);
	}
	actor_state_give(actors, actor);
	list_remove(&actor->ready);
	actor->life = ACTOR_FREE;
	actors->live--;
	counters_add(&shard->counters, actors_stopped, 1);
	rli_slab_give(&actors->slab, actor);
}

void
rli_actor_post(struct rl_shard *shard, const struct envelope *envelope)
{
	struct rl_actor *actor = rli_actor_resolve(shard, envelope->to);

	counters_add(&shard->counters, msgs_sent, 1);
	if (actor == NULL || actor->life == ACTOR_ENDING) {
		counters_add(&shard->counters, undelivered.gone, 1);
		return;
	}
	if (rli_mailbox_push(&actor->mailbox, &shard->actors->envelopes, shard->config->mailbox_max,
			     envelope) != 0) {
		counters_add(&shard->counters, undelivered.full,
			     RL_MUTANT(MAILBOX_FULL_SILENT) ? 0 : 1);
		return;
	}
	rli_actor_ready(actor);
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
			rli_actor_ready(actor);
		}
	}
}

void
rli_actors_cut(struct rl_shard *shard, enum rl_reason reason)
{
	struct actors *actors = shard->actors;

	for (uint32_t i = 0; i < actors->slab.slots_used; i++) {
		struct rl_actor *actor = rli_slab_at(&actors->slab, i);

		if (actor->life == ACTOR_STARTING || actor->life == ACTOR_RUNNING) {
			rli_actor_end(actor, reason, 0);
		}
	}
}

rl_actor_id
rl_actor_self(const struct rl_actor *self)
{
	return (rl_actor_id){ rli_actor_id_bits(self) };
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
