/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Running actors. Invariants: user code runs in rli_actor_deliver(), rli_actor_run_letters() and
 * rli_actor_run_special() and nowhere else, one handler at a time; what is urgent comes before
 * messages; nothing but RL_MSG_STOP comes once the end was decided.
 */
#include "actor/actor_run.h"

#include <errno.h>

#include <ringline/conn.h>

#include "actor/actor_mesh.h"
#include "actor/actor_timer.h"
#include "actor/forward.h"
#include "actor/monitor.h"
#include "actor/request.h"

_Thread_local struct rl_actor *rli_actor_running;

static inline void
run_begin(struct rl_actor *actor)
{
	RL_ASSERT(rli_actor_running == NULL);
	rli_actor_running = actor;
	actor->running = true;
}

static inline void
run_end(struct rl_actor *actor)
{
	actor->running = false;
	rli_actor_running = NULL;
}

int
rli_actor_deliver(struct rl_actor *actor, const struct rl_msg *msg)
{
	int answer;

	run_begin(actor);
	answer = actor->receive(actor, msg);
	run_end(actor);
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

static int
run_start(struct rl_actor *actor)
{
	struct rl_msg msg = { .kind = RL_MSG_START, .start = { actor->arg } };

	actor->started = true;
	return rli_actor_deliver(actor, &msg);
}

void
rli_actor_deliver_start(struct rl_actor *actor)
{
	(void)run_start(actor); /* it has ended already */
}

static void
run_shutdown(struct rl_actor *actor)
{
	struct rl_msg msg = {
		.kind = RL_MSG_SHUTDOWN,
		.shutdown = { actor->shard->actors->drain_deadline_ns },
	};

	actor->shutdown_due = false;
	rli_actor_answered(actor, msg.kind, rli_actor_deliver(actor, &msg));
	if (actor->ends_after_shutdown) {
		rli_actor_end(actor, RL_REASON_LOCAL, 0); /* unless the answer was an end */
	}
}

static void
run_notice(struct rl_actor *actor)
{
	struct tie *tie = list_entry(list_pop_front(&actor->notices), struct tie, node);

	if (actor->noticed < NOTICES_IN_A_ROW) {
		actor->noticed++;
	}
	switch ((enum tie_kind)tie->kind) {
	case TIE_TIMER:
		rli_actor_timer_deliver(actor, list_entry(tie, struct actor_timer, tie));
		return;
	case TIE_REQUEST:
		rli_request_deliver(actor, list_entry(tie, struct request, tie));
		return;
	case TIE_LEASE:
		rli_lease_deliver(actor, list_entry(tie, struct lease, tie));
		return;
	case TIE_ROOM:
		rli_room_deliver(actor, list_entry(tie, struct room, tie));
		return;
	case TIE_FORWARD:
		rli_forward_deliver(actor, list_entry(tie, struct forward, tie));
		return;
	case TIE_PROMISE:
	case TIE_WATCHED:
	case TIE_NAME:
		break; /* never told */
	}
	RL_UNREACHABLE();
}

/* One thing that is no message; false: there is none. */
static bool
run_urgent(struct rl_actor *actor)
{
	if (actor->life == ACTOR_STARTING) {
		actor->life = ACTOR_RUNNING;
		rli_actor_answered(actor, RL_MSG_START, run_start(actor));
	} else if (actor->shutdown_due) {
		run_shutdown(actor);
	} else if (!list_is_empty(&actor->notices)) {
		run_notice(actor);
	} else {
		actor->urgent = false;
		actor->noticed = 0; /* and so it is whenever an actor is steady */
		return false;
	}
	return true;
}

__attribute__((noinline)) void
rli_actor_answered_message(struct rl_actor *actor, const struct rl_msg *msg, int answer)
{
	if (answer == RL_CONN_SEND_HIGH) {
		return;
	}
	if (answer == RL_ACTOR_UNHANDLED) {
		counters_add(&actor->shard->counters, msgs_unhandled, 1);
		if (!rl_request_id_is_none(msg->user.request)) {
			rli_promise_unhandled(actor, msg->user.request.private_bits);
		}
	}
	rli_actor_answered(actor, msg->kind, answer);
}

void
rli_actor_run_special(struct rl_actor *actor, struct letter *letter)
{
	int answer = actor->receive(actor, &letter->msg);

	if (answer != 0) {
		rli_actor_answered_message(actor, &letter->msg, answer);
	}
	rli_letter_let_go(letter);
}

static uint32_t
run_messages(struct rl_actor *actor, uint32_t budget)
{
	struct actors *actors = actor->shard->actors;
	uint32_t delivered;

	actor->noticed = 0;
	run_begin(actor);
	delivered = rli_actor_run_mailbox(actors, actor, budget);
	run_end(actor);
	counters_add(&actor->shard->counters, msgs_delivered, delivered);
	return budget - delivered;
}

/* What is urgent goes first, but notices don't keep messages waiting for ever. */
static bool
run_is_urgent(const struct rl_actor *actor)
{
	return actor->urgent && (actor->noticed < NOTICES_IN_A_ROW || actor->mailbox.count == 0 ||
				 actor->life != ACTOR_RUNNING || actor->shutdown_due);
}

uint32_t
rli_actor_run(struct rl_actor *actor, uint32_t budget)
{
	while (budget > 0 && actor->life != ACTOR_ENDING) {
		if (run_is_urgent(actor)) {
			budget -= run_urgent(actor) ? 1 : 0;
		} else if (actor->mailbox.count > 0) {
			budget = run_messages(actor, budget);
		} else {
			break;
		}
	}
	return budget;
}
