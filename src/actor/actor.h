/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Actors: identity, the ready list, and the one place where user code is called.
 *
 * An actor is a type-stable header in the shard's slab and, beside it, user state from size
 * classes. What waits for it (its start, due timers, messages, the drain) are states of the actor;
 * what waits on its stream is the net module's, which runs connection actors with the functions
 * below.
 *
 * Life: STARTING (RL_MSG_START is to come) -> RUNNING -> ENDING (the end was decided; a stream may
 * still be torn down) -> FREE after RL_MSG_STOP. Nothing but RL_MSG_STOP is delivered in ENDING.
 */
#ifndef RINGLINE_ACTOR_ACTOR_H
#define RINGLINE_ACTOR_ACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/actor.h>

#include "base/list.h"
#include "base/slab.h"
#include "mailbox/mailbox.h"
#include "shard/shard.h"

struct conn;

enum actor_state {
	ACTOR_FREE,
	ACTOR_STARTING,
	ACTOR_RUNNING,
	ACTOR_ENDING,
};

struct rl_actor {
	uint32_t slab_link; /* the slab's, while the slot is free */
	uint32_t generation;
	struct rl_shard *shard;
	const struct rl_actor_def *def;
	void *state;
	struct conn *conn; /* its stream; NULL: none */
	void *arg; /* for RL_MSG_START */
	struct list_node ready; /* on the shard's ready list */
	struct list timers; /* armed, struct actor_timer */
	struct list timers_due;
	struct mailbox mailbox;
	int error; /* goes with the reason */
	uint8_t life; /* enum actor_state */
	uint8_t reason; /* enum rl_reason, from ENDING on */
	uint8_t state_class;
	bool started; /* RL_MSG_START was delivered */
	bool shutdown_due; /* RL_MSG_SHUTDOWN is to be delivered */
	bool running; /* its handler is on the stack */
};

_Static_assert(sizeof(struct rl_actor) <= 256, "an actor's header is at most 256 bytes");

#define ACTOR_STATE_CLASSES 12 /* 32 << 0 .. 32 << 11 = RL_ACTOR_STATE_MAX */

struct actors {
	struct slab slab;
	struct slab states[ACTOR_STATE_CLASSES];
	struct slab timers;
	struct envelope_pool envelopes;
	struct list ready;
	uint32_t live; /* not FREE */
	bool draining; /* no spawn any more */
	uint64_t drain_deadline_ns;
	struct rl_actor *running; /* whose handler is on the stack */
};

/* 0, -ENOMEM. Uses shard->actors, which the composition root has set. */
int rli_actors_init(struct rl_shard *shard);
void rli_actors_fini(struct rl_shard *shard);

/* Can @def be spawned? 0, or -EINVAL after one ERROR line. */
int rli_actor_def_check(const struct rl_actor_def *def, const struct log *log);

/*
 * A new actor, STARTING and ready. 0, -ENOBUFS (actors_max), -ENOMEM (its state), -EINVAL
 * (state_size),
 * -ESHUTDOWN (draining).
 */
int rli_actor_spawn(struct rl_shard *shard, const struct rl_actor_def *def, void *arg,
		    struct rl_actor **out);

/* The living actor with this id on @shard, or NULL: the one place where ids are resolved. */
struct rl_actor *rli_actor_resolve(struct rl_shard *shard, uint64_t id);

/* Put it on the ready list; the one place where that happens. Also while its handler runs. */
void rli_actor_ready(struct rl_actor *actor);

/* Take the next off @batch, or NULL. */
struct rl_actor *rli_actor_next(struct list *batch);

/*
 * Call the handler with @msg and return its answer: 0, RL_ACTOR_STOP, RL_ACTOR_UNHANDLED or a
 * negative errno. The one place where user code runs.
 */
int rli_actor_deliver(struct rl_actor *actor, const struct rl_msg *msg);

/*
 * What rli_actor_deliver() answered, made into policy for every kind but RL_MSG_RECV: may decide
 * the end. @msg_kind says which default an UNHANDLED has.
 */
void rli_actor_answered(struct rl_actor *actor, uint32_t msg_kind, int answer);

/*
 * Deliver what waits on the actor itself: START, the drain, due timers, messages; up to @budget of
 * them. Returns the budget that is left. Stops when the end was decided.
 */
uint32_t rli_actor_run(struct rl_actor *actor, uint32_t budget);

/* Something for rli_actor_run() is there. */
bool rli_actor_has_work(const struct rl_actor *actor);

/* Decide the end; the first reason counts. Makes it ready. */
void rli_actor_end(struct rl_actor *actor, enum rl_reason reason, int error);

/* Deliver RL_MSG_STOP and free everything. ENDING, and its stream is gone. */
void rli_actor_stop(struct rl_actor *actor);

/* A message from outside the shard, to whoever has the id; counted either way. */
void rli_actor_post(struct rl_shard *shard, const struct envelope *envelope);

/* Begin to drain: RL_MSG_SHUTDOWN for every actor, no spawn any more. */
void rli_actors_drain(struct rl_shard *shard, uint64_t deadline_ns);

/* End whoever is left, with @reason. */
void rli_actors_cut(struct rl_shard *shard, enum rl_reason reason);

uint64_t rli_actor_id_bits(const struct rl_actor *actor);

#endif
