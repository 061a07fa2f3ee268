/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Timers of actors, over the shard's wheel.
 */
#ifndef RINGLINE_ACTOR_ACTOR_TIMER_H
#define RINGLINE_ACTOR_ACTOR_TIMER_H

#include "actor/actor.h"
#include "shard/timer.h"

struct actor_timer {
	union {
		uint32_t slab_link; /* the slab's, while the slot is free */
		uint64_t tag;
	};
	uint64_t id; /* while the slot is free: its last one; 0: it was never used */
	struct rl_actor *actor; /* NULL: free */
	struct tie tie; /* held, a notice when it is due */
	struct timer timer;
	uint64_t period_ns; /* 0: comes once */
};

_Static_assert(sizeof(struct actor_timer) == 96, "each lies in two cache lines");

/* The wheel says that @timer (TIMER_ACTOR) is due: its actor gets a message. */
void rli_actor_timer_due(struct timer *timer);

/* Deliver it: it is due, and on no list of the actor any more. */
void rli_actor_timer_deliver(struct rl_actor *actor, struct actor_timer *timer);

/* The actor has ended. */
void rli_actor_timer_drop(struct actor_timer *timer);

#endif
