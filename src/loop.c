/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The turn. Six phases in a fixed order, each with a budget; handlers run in the fourth and nowhere
 * else, requests leave in the sixth with one io_uring_enter. No module knows the turn: this file
 * calls each one's phase function.
 */
#include "loop.h"

#include <errno.h>
#include <string.h>

#include "actor/actor.h"
#include "actor/actor_timer.h"
#include "base/host.h"
#include "base/mutant.h"
#include "net/conn.h"
#include "net/net.h"
#include "system.h"

#define TURN_MESSAGES_MAX 1024 /* from foreign threads, per turn */
#define TURN_TIMERS_MAX	  4096 /* the rest is due still, and the turn does not wait */

/*
 * Backlog: an enter does at most max(20, wait_nr) pieces of task work. After this many turns in a
 * row that got so many and left more behind, wait for a larger batch. The count is looked at
 * because the flag alone can be stale: the kernel sets it after it queued the work, and so at times
 * after the work was done.
 */
#define BACKLOG_TURNS	2
#define BACKLOG_CQES	20
#define BACKLOG_WAIT_NR 32
#define BACKLOG_WAIT_US 100

static void turn_drain(struct rl_shard *shard);
static void turn_timers(struct rl_shard *shard);
static void turn_actors(struct rl_shard *shard);
static void turn_end(struct rl_shard *shard);
static void turn_enter(struct rl_shard *shard, bool flushed);

bool
rli_loop_turn(struct rl_shard *shard)
{
	uint32_t reaped;
	bool flushed;

	rli_sleep_end(&shard->sleep);
	counters_add(&shard->counters, turns, 1);
	reaped = rli_shard_reap(shard, shard->config->turn_cqes_max);
	shard->backlog_turns =
		shard->behind && reaped >= BACKLOG_CQES ? shard->backlog_turns + 1 : 0;
	turn_drain(shard);
	turn_timers(shard);
	turn_actors(shard);
	flushed = rli_net_flush(shard);
	turn_end(shard);
	if (rli_system_drain_level(shard->system) == SYSTEM_ENDS) {
		return false;
	}
	turn_enter(shard, flushed);
	return true;
}

static void
drain_spawn(struct rl_shard *shard, struct control_request *request)
{
	struct rl_actor *actor;

	request->rc = rli_actor_spawn(shard, request->def, request->arg, &actor);
	if (request->rc == 0) {
		request->id.private_bits = rli_actor_id_bits(actor);
	}
	rli_system_answer(request);
}

static void
drain_listen(struct rl_shard *shard, struct control_request *request)
{
	const struct system_listener *listener = &shard->system->listeners[request->listener];
	struct listener_setup setup = {
		.def = listener->def,
		.options = &listener->options,
		.fd = request->fd,
		.is_unix = listener->bound.is_unix,
	};

	request->rc = rli_listener_start(shard, request->listener, &setup);
	rli_system_answer(request);
}

static void
drain_control(struct rl_shard *shard, struct control *control)
{
	struct control_request *request = list_entry(control, struct control_request, control);

	switch ((enum control_kind)control->kind) {
	case CONTROL_LISTEN:
		drain_listen(shard, request);
		return;
	case CONTROL_UNLISTEN:
		rli_listener_stop(shard, request->listener, control);
		return; /* answered when the kernel has let go of the socket */
	case CONTROL_SPAWN:
		drain_spawn(shard, request);
		return;
	}
	RL_UNREACHABLE();
}

/* Phase 2: what foreign threads sent. */
static void
turn_drain(struct rl_shard *shard)
{
	struct control *control = rli_inbox_control_take(shard->inbox);
	struct envelope envelope;

	while (control != NULL) {
		struct control *next = control->next; /* an answered request is gone */

		drain_control(shard, control);
		control = next;
	}
	for (uint32_t i = 0; i < TURN_MESSAGES_MAX && rli_inbox_pop(shard->inbox, &envelope); i++) {
		rli_actor_post(shard, &envelope);
	}
}

static void
timer_due(struct rl_shard *shard, struct timer *timer)
{
	switch ((enum timer_kind)timer->kind) {
	case TIMER_CONN:
		rli_conn_deadline_due(timer);
		return;
	case TIMER_ACTOR:
		rli_actor_timer_due(timer);
		return;
	case TIMER_STARVED:
		rli_conn_send_retry(shard);
		return;
	case TIMER_LISTENER:
		rli_listener_backoff_due(timer);
		return;
	case TIMER_SYSTEM:
		rli_actors_cut(shard, RL_REASON_TIMEOUT_DRAIN);
		rli_net_cut(shard, RL_REASON_TIMEOUT_DRAIN);
		return;
	}
	RL_UNREACHABLE();
}

/*
 * Phase 3: collect what is due, then act on it; what is started meanwhile waits for the next turn.
 */
static void
turn_timers(struct rl_shard *shard)
{
	struct timer *timer;

	rli_wheel_expire(&shard->wheel, shard->now_ns);
	for (uint32_t i = 0; i < TURN_TIMERS_MAX; i++) {
		timer = rli_wheel_due_pop(&shard->wheel);
		if (timer == NULL) {
			return;
		}
		timer_due(shard, timer);
	}
}

static void
actor_run(struct rl_actor *actor, uint32_t budget)
{
	if (actor->conn != NULL) {
		rli_conn_run(actor, budget);
		return;
	}
	(void)rli_actor_run(actor, budget);
	if (actor->life == ACTOR_ENDING) {
		rli_actor_stop(actor);
	} else if (rli_actor_has_work(actor)) {
		rli_actor_ready(actor);
	}
}

/* Phase 4: whoever was ready when it began; who becomes ready meanwhile runs in the next turn. */
static void
turn_actors(struct rl_shard *shard)
{
	const struct rl_config *config = shard->config;
	struct list batch;
	struct rl_actor *actor;

	list_init(&batch);
	list_splice_back(&batch, &shard->actors->ready);
	for (uint32_t i = 0; i < config->turn_actors_max; i++) {
		actor = rli_actor_next(&batch);
		if (actor == NULL) {
			return;
		}
		actor_run(actor, config->actor_batch_max);
	}
	/* over the budget: they come first next time */
	list_splice_back(&batch, &shard->actors->ready);
	list_splice_back(&shard->actors->ready, &batch);
}

static void
end_drain(struct rl_shard *shard)
{
	int64_t drain_ns = shard->config->drain_timeout_ns;
	uint64_t deadline_ns = drain_ns < 0 ? UINT64_MAX : shard->now_ns + (uint64_t)drain_ns;

	shard->drain = SYSTEM_DRAINS;
	rli_net_drain(shard);
	rli_actors_drain(shard, deadline_ns);
	rli_timer_init(&shard->drain_timer, TIMER_SYSTEM);
	if (deadline_ns != UINT64_MAX) {
		rli_wheel_start(&shard->wheel, &shard->drain_timer, deadline_ns);
	}
}

static bool
end_is_silent(const struct rl_shard *shard)
{
	return shard->actors->live == 0 && rli_net_is_silent(shard);
}

/* How far the system's end has come, and what this shard does about it. */
static void
turn_end(struct rl_shard *shard)
{
	uint32_t drain = rli_system_drain_level(shard->system);
	struct control *closed;

	while ((closed = rli_listener_closed(shard)) != NULL) {
		rli_system_answer(list_entry(closed, struct control_request, control));
	}
	if (drain >= SYSTEM_DRAINS && shard->drain == SYSTEM_RUNS) {
		end_drain(shard);
	}
	if (drain >= SYSTEM_CUTS && shard->drain == SYSTEM_DRAINS) {
		shard->drain = SYSTEM_CUTS;
		rli_actors_cut(shard, RL_REASON_SHUTDOWN);
		rli_net_cut(shard, RL_REASON_SHUTDOWN);
	}
	if (shard->drain != SYSTEM_RUNS && !shard->silent && end_is_silent(shard)) {
		shard->silent = true;
		(void)rli_wheel_cancel(&shard->wheel, &shard->drain_timer);
		rli_system_went_silent(shard->system);
	}
}

/* Nothing is left to do before something happens outside? */
static bool
enter_may_wait(const struct rl_shard *shard, bool flushed)
{
	return flushed && list_is_empty(&shard->actors->ready) &&
	       list_is_empty(&shard->net->dirty) && !shard->net->listeners_dirty;
}

/* How long; false: a deadline has passed, don't wait. */
static bool
enter_timeout(struct rl_shard *shard, uint64_t *timeout_ns)
{
	uint64_t next_ns = rli_wheel_next_ns(&shard->wheel);

	*timeout_ns = RING_NO_TIMEOUT;
	if (next_ns == UINT64_MAX) {
		return true;
	}
	shard->now_ns = rli_host_now_ns(); /* handlers may have taken a while */
	if (next_ns <= shard->now_ns) {
		return false;
	}
	*timeout_ns = next_ns - shard->now_ns;
	return true;
}

/* In a backlog up to 32 completions, but no longer for them than 100 us; then the first will do. */
static void
enter_plan_batch(const struct rl_shard *shard, struct ring_wait *wait)
{
	wait->nr = 1;
	if (shard->backlog_turns > BACKLOG_TURNS &&
	    rli_ring_features(shard->ring) & RL_FEATURE_MIN_WAIT) {
		wait->nr = BACKLOG_WAIT_NR;
		wait->min_us = BACKLOG_WAIT_US;
	}
}

/*
 * The completions to wait for: 0 polls, more than 1 only in a backlog. Work that is already there,
 * in the queue or left behind in the kernel, ends the wait at once, so nobody has to look for it.
 */
static void
enter_plan(struct rl_shard *shard, bool flushed, struct ring_wait *wait)
{
	*wait = (struct ring_wait){ .timeout_ns = RING_NO_TIMEOUT };
	if (!enter_may_wait(shard, flushed) || !rli_shard_arm_wake(shard) ||
	    !enter_timeout(shard, &wait->timeout_ns)) {
		return;
	}
	/* announce the sleep, then look once more: see shard/sleep.h */
	rli_sleep_begin(&shard->sleep);
	if ((rli_inbox_is_empty(shard->inbox) || RL_MUTANT(NO_SECOND_LOOK)) &&
	    rli_system_drain_level(shard->system) == shard->drain) {
		enter_plan_batch(shard, wait);
	} else {
		rli_sleep_end(&shard->sleep);
	}
}

/* Phase 6: everything that this turn prepared leaves with one system call. */
static void
turn_enter(struct rl_shard *shard, bool flushed)
{
	struct ring_wait wait;
	int rc;

	enter_plan(shard, flushed, &wait);
	rc = rli_ring_enter(shard->ring, &wait);
	counters_add(&shard->counters, enters, 1);
	shard->now_ns = rli_host_now_ns();
	shard->behind = rli_ring_is_behind(shard->ring);
	switch (rc) {
	case 0:
	case -EINTR:
	case -EAGAIN:
	case -EBUSY:
	case -ETIME:
		break;
	default:
		/* -EBADR: a completion was dropped, and nobody knows whose; the rest are bugs */
		rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
			"io_uring_enter failed: %s; this process can't go on", rli_errno_text(rc));
		RL_ASSERT(rc == 0);
	}
	if (rli_ring_overflowed(shard->ring)) {
		counters_add(&shard->counters, cq_overflows, 1);
	}
	if (rli_ring_queued(shard->ring) == 0 || RL_MUTANT(ARENA_RESET_EARLY)) {
		rli_shard_arena_reset(shard);
	}
}

int
rli_loop_open(struct rl_shard *shard, uint32_t files_max)
{
	int rc = rli_shard_open(shard, files_max);

	if (rc != 0) {
		return rc;
	}
	rc = rli_actors_init(shard);
	if (rc == 0) {
		rc = rli_net_init(shard);
	}
	if (rc != 0) {
		rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
			"no address space for %u actors and %u connections: %s",
			shard->config->actors_max, shard->config->conns_max, rli_errno_text(rc));
		rli_shard_detach(shard);
	}
	return rc;
}

void
rli_loop_close(struct rl_shard *shard)
{
	struct envelope envelope;

	while (rli_inbox_pop(shard->inbox, &envelope)) {
		counters_add(&shard->counters, msgs_sent, 1);
		counters_add(&shard->counters, undelivered.stopping, 1);
	}
	rli_shard_detach(shard);
}
