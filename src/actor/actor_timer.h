/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Timers of actors, over the shard's wheel.
 */
#ifndef RINGLINE_ACTOR_ACTOR_TIMER_H
#define RINGLINE_ACTOR_ACTOR_TIMER_H

#include "actor/actor.h"
#include "shard/timer.h"

struct actor_timer {
	uint32_t slab_link;
	uint32_t generation;
	struct rl_actor *actor; /* NULL: free */
	struct list_node node; /* on the actor's timers, or its timers_due */
	struct timer timer;
	uint64_t tag;
	uint64_t period_ns; /* 0: comes once */
};

/* The wheel says that @timer (TIMER_ACTOR) is due: its actor gets a message. */
void rli_actor_timer_due(struct timer *timer);

/* Deliver one due timer of @actor, which must have one. */
void rli_actor_timer_deliver(struct rl_actor *actor);

/* Cancel and free all. */
void rli_actor_timers_clear(struct rl_actor *actor);

#endif
