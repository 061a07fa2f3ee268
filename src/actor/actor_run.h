/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Running an actor: calling its handler, making policy of what it answered, and the order in which
 * what waits for it comes: its start, the drain, then what was due first of its timers, requests,
 * monitors and room, and then its messages.
 */
#ifndef RINGLINE_ACTOR_ACTOR_RUN_H
#define RINGLINE_ACTOR_ACTOR_RUN_H

#include "actor/actor.h"
#include "actor/buf.h"
#include "actor/request.h"

/* Take the next off @batch, or NULL; in the phase of actors see rli_actor_alone(). */
static inline struct rl_actor *
rli_actor_next(struct list *batch)
{
	struct list_node *node = list_pop_front(batch);

	return node == NULL ? NULL : list_entry(node, struct rl_actor, ready);
}

/* The one that is ready alone, before all of the list, or NULL. */
static inline struct rl_actor *
rli_actor_alone(struct actors *actors)
{
	struct rl_actor *actor = actors->alone;

	if (actor != NULL) {
		rli_actor_accompany(actors);
	}
	return actor;
}

/*
 * Call the handler with @msg and return its answer: 0, RL_ACTOR_STOP, RL_ACTOR_UNHANDLED or a
 * negative errno. User code runs here, in rli_actor_run_letters() and in rli_actor_run_special(),
 * nowhere else.
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

/* A message was answered with something else than 0. */
void rli_actor_answered_message(struct rl_actor *actor, const struct rl_msg *msg, int answer);

/*
 * Deliver one letter that has a counted buffer, and let go of that. Apart from the others, so that
 * they don't look for one after their handler.
 */
void rli_actor_run_special(struct rl_actor *actor, struct letter *letter);

/*
 * PATH-5 receive called: user code runs here, and in rli_actor_deliver() for what is no message.
 * What the handler gets is the letter itself. The first @count of those that are there, as long as
 * nothing comes up that goes before them. What the actor sends to itself meanwhile is not looked
 * for after each of them: it makes the actor ready again. Returns how many were delivered, for the
 * caller to count. The actor is marked as running before and after.
 *
 * The mailbox is written once, at the end: a count that is written for each message, here and at an
 * address that comes late in the handler's send, has messages wait for each other that have nothing
 * to do with each other. So it is never empty meanwhile, and what is appended goes behind its last
 * letter, which lives until this is over; actors->handled says by how many the count is too large.
 */
__attribute__((always_inline)) static inline uint32_t
rli_actor_run_letters(struct actors *actors, struct rl_actor *actor, uint32_t count)
{
	struct letter *letter = actor->mailbox.first;
	uint32_t handled = 0;

	for (;;) {
		struct letter *next = letter_next(letter);

		actors->handled = ++handled;
		__builtin_prefetch(next);
		if (letter->msg.private_bits != 0) {
			rli_actor_run_special(actor, letter);
		} else {
			int answer = actor->receive(actor, &letter->msg);

			if (__builtin_expect(answer != 0, 0)) {
				rli_actor_answered_message(actor, &letter->msg, answer);
			}
		}
		if (handled == count || actor->gait != ACTOR_GAIT_HANDLES) {
			break;
		}
		rli_letter_give(&actors->letters, letter);
		letter = next;
	}
	actor->mailbox.first = letter_next(letter); /* which may have come meanwhile */
	actor->mailbox.count -= handled;
	actors->handled = 0;
	rli_letter_give(&actors->letters, letter);
	return handled;
}

/* The one message that is there, in a shared letter; the rest as above. */
__attribute__((always_inline)) static inline void
rli_actor_run_shared(struct actors *actors, struct rl_actor *actor)
{
	struct letter *letter = rli_mailbox_pop_shared(&actor->mailbox);
	int answer = actor->receive(actor, &letter->msg);

	if (__builtin_expect(answer != 0, 0)) {
		rli_actor_answered_message(actor, &letter->msg, answer);
	}
	rli_letter_drop_shared(&actors->letters, letter);
}

/* What is there, as one or the other. */
__attribute__((always_inline)) static inline uint32_t
rli_actor_run_mailbox(struct actors *actors, struct rl_actor *actor, uint32_t max)
{
	uint32_t count = actor->mailbox.count;

	if (__builtin_expect(count == MAILBOX_SHARED_ONE, 1)) {
		rli_actor_run_shared(actors, actor);
		return 1;
	}
	return rli_actor_run_letters(actors, actor, count < max ? count : max);
}

/*
 * The common case of rli_actor_run(), for an actor that is steady and has messages. True: it is
 * steady still. @delivered gets how many.
 */
static inline bool
rli_actor_run_steady(struct actors *actors, struct rl_actor *actor, uint32_t max,
		     uint32_t *delivered)
{
	RL_DEBUG_ASSERT(rli_actor_running == NULL);
	rli_actor_running = actor;
	actor->gait = ACTOR_GAIT_HANDLES; /* whole: a load of all waits for stores of parts */
	*delivered = rli_actor_run_mailbox(actors, actor, max);
	rli_actor_running = NULL;
	if (actor->gait != ACTOR_GAIT_HANDLES) {
		actor->running = false;
		return false;
	}
	actor->gait = ACTOR_GAIT_STEADY;
	return true;
}

/* Something for rli_actor_run() is there. */
static inline bool
rli_actor_has_work(const struct rl_actor *actor)
{
	return actor->mailbox.count > 0 ||
	       (actor->urgent && (actor->life == ACTOR_STARTING || actor->shutdown_due ||
				  !list_is_empty(&actor->notices)));
}

/* Deliver RL_MSG_START out of order, to who ended before it ever ran. */
void rli_actor_deliver_start(struct rl_actor *actor);

#endif
