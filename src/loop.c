/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The turn. Six phases in a fixed order, each with a budget; handlers run in the fourth and nowhere
 * else, requests leave in the sixth with one io_uring_enter. No module knows the turn: this file
 * calls each one's phase function.
 */
#include "loop.h"

#include <errno.h>
#include <string.h>

#include "actor/actor_mesh.h"
#include "actor/actor_run.h"
#include "actor/actor_send.h"
#include "actor/actor_timer.h"
#include "actor/hooks.h"
#include "actor/request.h"
#include "base/host.h"
#include "base/mutant.h"
#include "drain.h"
#include "net/conn.h"
#include "net/net.h"
#include "system.h"

#define TURN_MESSAGES_MAX 1024 /* from foreign threads, per turn */
#define TURN_MESH_MAX	  4096 /* from other shards, per turn */
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

/* Tells the core that this is a loop that waits: it leaves more to its sibling. */
#if defined(__x86_64__)
#define SPIN_PAUSE() __builtin_ia32_pause()
#else
#define SPIN_PAUSE() __asm__ volatile("isb" ::: "memory")
#endif
#define SPIN_LOOKS	   32 /* between two looks at the clock */
#define ENTERS_SKIPPED_MAX 16 /* in a row: what a stale flag can hide comes late, but it comes */
#define SPIN_MISSES_MAX	   6

static bool turn_drain(struct rl_shard *shard);
static bool turn_timers(struct rl_shard *shard);
static bool turn_actors(struct rl_shard *shard);
static void turn_end(struct rl_shard *shard);
static void turn_enter(struct rl_shard *shard, bool flushed);

bool
rli_loop_turn(struct rl_shard *shard)
{
	uint32_t reaped = 0;
	bool active;
	bool flushed;

	rli_shard_current = shard;
	rli_sleep_end(&shard->sleep);
	counters_add(&shard->counters, turns, 1);
	/* replies don't wait for a handshake's step: what asks for them comes in behind it */
	if (!shard->net->tls_turn || RL_MUTANT(TLS_TURN_TAKES_ALL)) {
		reaped = rli_shard_reap(shard, shard->config->turn_cqes_max);
	}
	shard->backlog_turns =
		shard->behind && reaped >= BACKLOG_CQES ? shard->backlog_turns + 1 : 0;
	active = turn_drain(shard) || reaped > 0;
	/* nor do deadlines pass over what has come, and was not taken in */
	active = (!shard->net->tls_turn && turn_timers(shard)) || active;
	active = turn_actors(shard) || active;
	if (active) {
		rli_hooks_tick(shard);
	}
	rli_actors_flush_mesh(shard); /* first, since somebody on another core may wait for it */
	flushed = rli_net_flush(shard);
	rli_system_resolve(shard);
	turn_end(shard);
	rli_actors_flush_mesh(shard); /* what these two had to say */
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
		.tls = request->tls,
		.reloads = request->control.kind == CONTROL_RELOAD,
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
	case CONTROL_RELOAD:
		drain_listen(shard, request);
		return;
	case CONTROL_UNLISTEN:
		rli_listener_stop(shard, request->listener, control);
		return; /* answered when the kernel has let go of the socket */
	case CONTROL_SPAWN:
		drain_spawn(shard, request);
		return;
	case CONTROL_OPENED:
		rli_clerk_opened(shard, list_entry(control, struct clerk_job, control));
		return;
	case CONTROL_RESOLVED:
		rli_conn_resolved(control);
		return;
	case CONTROL_BROKEN:
		rli_clerk_broke(shard, list_entry(control, struct clerk_job, broken));
		return;
	}
	RL_UNREACHABLE();
}

static bool
drain_foreign(struct rl_shard *shard)
{
	struct envelope envelope;
	uint32_t count = 0;

	while (count < TURN_MESSAGES_MAX && rli_inbox_pop(shard->inbox, &envelope)) {
		counters_add(&shard->counters, msgs_sent, 1);
		if (envelope.class == ENVELOPE_NOTIFY) {
			(void)rli_shard_post(shard, &envelope); /* counted if it is lost */
		} else {
			(void)rli_actor_post(shard, &envelope); /* likewise */
		}
		count++;
	}
	return count > 0;
}

/* Phase 2: what foreign threads and other shards sent. */
static bool
turn_drain(struct rl_shard *shard)
{
	struct control *control = rli_inbox_control_take(shard->inbox);
	bool active = rli_listener_adopt(shard) || control != NULL;

	while (control != NULL) {
		struct control *next = control->next; /* an answered request is gone */

		drain_control(shard, control);
		control = next;
	}
	active = drain_foreign(shard) || active;
	return rli_actors_drain_mesh(shard, TURN_MESH_MAX) || active;
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
	case TIMER_REQUEST:
		rli_request_due(timer);
		return;
	case TIMER_STARVED:
		rli_conn_send_retry(shard);
		return;
	case TIMER_EVICT:
		rli_conn_evict_due(shard);
		return;
	case TIMER_LISTENER:
		rli_listener_backoff_due(timer);
		return;
	case TIMER_SYSTEM:
		rli_drain_due(shard);
		return;
	case TIMER_TICKETS:
		rli_conn_tls_rotate(shard);
		return;
	}
	RL_UNREACHABLE();
}

/* Phase 3: collect what is due, then act; what is started meanwhile waits for the next turn. */
static bool
turn_timers(struct rl_shard *shard)
{
	uint32_t count = 0;
	struct timer *timer;

	rli_wheel_expire(&shard->wheel, shard->now_ns);
	while (count < TURN_TIMERS_MAX && (timer = rli_wheel_due_pop(&shard->wheel)) != NULL) {
		timer_due(shard, timer);
		count++;
	}
	return count > 0;
}

/* Returns how many messages were delivered that nobody has counted yet. */
static inline uint32_t
actor_run(struct actors *actors, struct rl_actor *actor, uint32_t budget)
{
	uint32_t delivered = 0;

	if (actor->gait != ACTOR_GAIT_STEADY || actor->mailbox.count == 0) {
		(void)rli_actor_run(actor, budget);
	} else if (rli_actor_run_steady(actors, actor, budget, &delivered)) {
		if (actor->mailbox.count > 0) {
			rli_actor_ready_on(actors, actor);
		}
		return delivered;
	}
	if (actor->life == ACTOR_ENDING) {
		rli_actor_stop(actor);
	} else if (rli_actor_has_work(actor)) {
		rli_actor_ready(actor);
	}
	return delivered;
}

/*
 * Who runs next. While it does, the message of the one behind it is fetched: after a burst to many
 * it has left the cache.
 */
static inline struct rl_actor *
actors_next(struct actors *actors)
{
	struct rl_actor *actor = rli_actor_alone(actors);
	const struct list_node *behind;

	if (actor != NULL) {
		return actor;
	}
	actor = rli_actor_next(&actors->ready);
	behind = actors->ready.head.next;
	if (behind != &actors->ready.head) {
		__builtin_prefetch(list_entry(behind, struct rl_actor, ready)->mailbox.first);
	}
	return actor;
}

/*
 * Whoever is ready, in order, also who becomes so meanwhile: messages between actors don't pay for
 * a turn each. A connection that becomes ready meanwhile waits for the next turn, because its
 * output leaves once per turn. Returns how many ran.
 */
__attribute__((noinline)) static uint32_t
actors_run(struct rl_shard *shard, uint32_t budget)
{
	struct actors *actors = shard->actors;
	uint32_t batch = shard->config->actor_batch_max;
	struct rl_actor *actor;
	uint64_t delivered = 0;
	uint32_t left = budget;

	actors->ready_conns = &actors->later;
	actors->runs = true;
	while (left > 0 && (actor = actors_next(actors)) != NULL) {
		if (actor->conn == NULL) {
			delivered += actor_run(actors, actor, batch);
		} else {
			rli_conn_run(actor, batch);
		}
		left--;
	}
	counters_add(&shard->counters, msgs_delivered, delivered);
	actors->runs = false;
	actor = rli_actor_alone(actors);
	if (actor != NULL && !RL_MUTANT(ALONE_FORGOTTEN)) {
		list_push_front(&actors->ready, &actor->ready); /* it was first */
	}
	actors->ready_conns = &actors->ready;
	list_splice_back(&actors->ready, &actors->later);
	return budget - left;
}

/* Phase 4: what other shards have for hooks and handlers, then the actors. */
static bool
turn_actors(struct rl_shard *shard)
{
	bool active = rli_actors_deliver_mesh(shard);

	return actors_run(shard, shard->config->turn_actors_max) > 0 || active;
}

/* Who closed a listener learns that it is closed; and the system's end goes on. */
static void
turn_end(struct rl_shard *shard)
{
	rli_system_listeners_tell(shard);
	rli_drain_step(shard);
}

/* Nothing is left to do before something happens outside? */
static bool
enter_may_wait(const struct rl_shard *shard, bool flushed)
{
	return flushed && list_is_empty(&shard->actors->ready) &&
	       list_is_empty(&shard->net->dirty) && !shard->net->listeners_dirty &&
	       rli_actors_mesh_is_idle(shard) && !rli_listener_may_adopt(shard);
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

/* Something from outside has come? */
static bool
enter_has_messages(const struct rl_shard *shard)
{
	return !rli_mesh_is_quiet(shard->port) ||
	       (!rli_inbox_is_empty(shard->inbox) && !RL_MUTANT(NO_SECOND_LOOK)) ||
	       rli_listener_may_adopt(shard) ||
	       rli_system_drain_level(shard->system) != shard->drain;
}

static bool
enter_has_news(struct rl_shard *shard)
{
	for (uint32_t i = 0; i < SPIN_LOOKS; i++) {
		if ((enter_has_messages(shard) && !RL_MUTANT(SPIN_BLIND)) ||
		    rli_ring_has_news(shard->ring)) {
			counters_add(&shard->counters, spins_hit, 1);
			shard->spin_misses = 0;
			return true;
		}
		SPIN_PAUSE();
	}
	return false;
}

/*
 * Look for what would end a sleep, without a system call, for spin_us or until the next deadline.
 * True: something is there, and the clock was read a few looks ago. Where polling found nothing,
 * the next sleeps are not polled for: one after the first time, three after the second, and so on
 * up to 63, so that an idle shard costs nothing.
 */
static bool
enter_spin(struct rl_shard *shard, uint64_t timeout_ns)
{
	uint64_t spin_ns = (uint64_t)shard->config->spin_us * 1000;
	uint64_t end_ns;

	if (shard->spin_skip > 0) {
		shard->spin_skip--;
		return false;
	}
	counters_add(&shard->counters, spins, 1);
	shard->now_ns = rli_host_now_ns();
	end_ns = shard->now_ns + (timeout_ns < spin_ns ? timeout_ns : spin_ns);
	while (shard->now_ns < end_ns) {
		if (enter_has_news(shard)) {
			return true;
		}
		shard->now_ns = rli_host_now_ns();
	}
	shard->spin_misses += shard->spin_misses < SPIN_MISSES_MAX ? 1 : 0;
	shard->spin_skip = (1u << shard->spin_misses) - 1;
	return false;
}

/*
 * This turn left nothing for the kernel, the kernel has nothing for us, and the next turn has work
 * at hand, such as messages: a system call would do nothing.
 */
static bool
enter_may_skip(struct rl_shard *shard)
{
	if (rli_ring_queued(shard->ring) > 0 || rli_ring_has_news(shard->ring) ||
	    shard->enters_skipped == ENTERS_SKIPPED_MAX) {
		shard->enters_skipped = 0;
		return false;
	}
	shard->enters_skipped++;
	shard->now_ns = rli_host_now_ns();
	return true;
}

/*
 * The completions to wait for: 0 polls, more than 1 only in a backlog. Work that is already there,
 * in the queue or left behind in the kernel, ends the wait at once, so nobody has to look for it.
 * False: don't even enter, there is nothing for the kernel to do and something for us.
 */
static bool
enter_plan(struct rl_shard *shard, bool flushed, struct ring_wait *wait)
{
	*wait = (struct ring_wait){ .timeout_ns = RING_NO_TIMEOUT };
	if (!enter_may_wait(shard, flushed)) {
		return !enter_may_skip(shard);
	}
	if (!rli_shard_arm_wake(shard) || !enter_timeout(shard, &wait->timeout_ns)) {
		return true;
	}
	if (shard->config->spin_us != 0) {
		if (rli_ring_queued(shard->ring) > 0) {
			return true; /* they leave first, the next turn polls */
		}
		if (enter_spin(shard, wait->timeout_ns)) {
			return rli_ring_has_news(shard->ring);
		}
		if (!enter_timeout(shard, &wait->timeout_ns)) {
			return true;
		}
	}
	/* announce the sleep, then look once more: see shard/sleep.h */
	rli_sleep_begin(&shard->sleep);
	if (enter_has_messages(shard) &&
	    !(RL_MUTANT(SPIN_IS_ENOUGH) && shard->config->spin_us != 0)) {
		rli_sleep_end(&shard->sleep);
	} else {
		enter_plan_batch(shard, wait);
	}
	return true;
}

/* Phase 6: everything that this turn prepared leaves with one system call. */
static void
turn_enter(struct rl_shard *shard, bool flushed)
{
	struct ring_wait wait;
	int rc;

	if (!enter_plan(shard, flushed, &wait)) {
		return;
	}
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
	} else {
		rli_shard_current = shard;
		rc = rli_hooks_start(shard);
	}
	if (rc != 0) {
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
	if (shard->actors->live > 0) {
		rli_actors_abandon(shard); /* another shard did not start */
	}
	rli_hooks_stop(shard);
	while (shard->actors->notifies.count > 0) {
		rli_letter_give(&shard->actors->letters, rli_mailbox_pop(&shard->actors->notifies));
		counters_add(&shard->counters, undelivered.stopping, 1);
	}
	rli_shard_detach(shard);
}
