/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: notifications go both ways between shards, with few wake-ups; one that no hook takes is
 * counted; hooks that answer each other, or themselves, do not hold up a drain; a shard that always
 * has something at hand enters the kernel seldom, and looks at its timers all the same.
 * How: hooks on every shard of a real system, directed by the test's thread.
 * Not proved: the order of every interleaving; tests/stress and tests/model look at that.
 */
#include "support.h"

#include <errno.h>
#include <stdatomic.h>

#define BALLS	100u /* fewer than fit between two shards, whoever sends */
#define BOUNCES 300000u

enum {
	KIND_BALL = RL_MSG_USER,
	KIND_SELF,
};

/* What the hooks and actors count besides what a probe does. */
enum {
	MARK_NOTIFIED,
	MARK_TICKS,
};

static void
mark(struct probe *probe, unsigned int which, uint64_t count)
{
	probe_add(probe, &probe->marks[which], count);
}

/* Every ball that arrives goes on to the next shard, until there were enough. */
static void
ball_on_notify(struct rl_shard *shard, const struct rl_msg *msg)
{
	struct probe *probe = *(struct probe **)rl_shard_state(shard);
	uint32_t id = rl_shard_id(shard);
	uint32_t to = (id + 1) % rl_shard_count(shard);
	uint32_t from = (id + rl_shard_count(shard) - 1) % rl_shard_count(shard);
	uint64_t bounces = *RL_MSG_AS(msg, uint64_t) + 1;
	int rc = 0;

	PROBE_EXPECT(probe, msg->user.shard == (bounces == 1 ? RL_SHARD_NONE : from));
	if (bounces < BOUNCES / BALLS) {
		rc = rl_shard_notify(shard, to, KIND_BALL, &bounces, sizeof(bounces));
		PROBE_EXPECT(probe, rc == 0);
	} else {
		mark(probe, MARK_NOTIFIED, 1);
	}
}

static int
ball_on_start(struct rl_shard *shard, void *arg)
{
	*(struct probe **)rl_shard_state(shard) = arg;
	return 0;
}

static const struct rl_shard_def ball_shard = {
	.state_size = sizeof(struct probe *),
	.on_start = ball_on_start,
	.on_notify = ball_on_notify,
};

static void
notify_both_ways_needs_few_wakeups(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t zero = 0;

	rig_start(rig, RL_CONFIG(.shard = &ball_shard, .shard_arg = probe));
	for (uint32_t i = 0; i < BALLS; i++) {
		assert_int_equal(
			rl_system_notify(rig->sys, i % rig->shards, KIND_BALL, &zero, sizeof(zero)),
			0);
	}
	rig_await(rig, probe->marks[MARK_NOTIFIED], BALLS);
	rig_end(rig);
	assert_int_equal(rig->stats.msgs_delivered, BOUNCES / BALLS * BALLS);
	/* all balls travel together at worst, so that each wake-up is for many */
	assert_in_range(rig->stats.wakeups_sent, 0, BOUNCES / 10);
}

static void
notify_without_a_hook_is_counted_as_gone(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_system_notify(rig->sys, rig->shards - 1, KIND_BALL, NULL, 0), 0);
	assert_int_equal(rl_system_notify(rig->sys, rig->shards, KIND_BALL, NULL, 0), -EINVAL);
	assert_int_equal(rl_system_notify(rig->sys, 0, RL_MSG_STOP, NULL, 0), -EINVAL);
	rig_await_stat(rig, undelivered.gone, 1);
	rig_end(rig);
}

/* Whatever comes goes to the next shard and to this one, for ever. */
static void
echo_on_notify(struct rl_shard *shard, const struct rl_msg *msg)
{
	struct probe *probe = *(struct probe **)rl_shard_state(shard);
	uint32_t to = (rl_shard_id(shard) + 1) % rl_shard_count(shard);
	int rc = rl_shard_notify(shard, msg->kind == KIND_BALL ? to : rl_shard_id(shard), msg->kind,
				 NULL, 0);

	PROBE_EXPECT(probe, rc == 0 || rc == -ESHUTDOWN);
	mark(probe, MARK_NOTIFIED, 1);
}

static const struct rl_shard_def echo_shard = {
	.state_size = sizeof(struct probe *),
	.on_start = ball_on_start,
	.on_notify = echo_on_notify,
};

/* One ball between the shards and one on the last of them, which never stop by themselves. */
static void
echo_start(struct rig *rig, struct rl_config config)
{
	config.shard = &echo_shard;
	config.shard_arg = &rig->probes[0];
	rig->restless = true;
	rig_start(rig, config);
	assert_int_equal(rl_system_notify(rig->sys, 0, KIND_BALL, NULL, 0), 0);
	assert_int_equal(rl_system_notify(rig->sys, rig->shards - 1, KIND_SELF, NULL, 0), 0);
	rig_await(rig, rig->probes[0].marks[MARK_NOTIFIED], 1000);
}

/* Hooks that answer each other, and one that answers itself, end though nothing cuts them. */
static void
drain_ends_although_hooks_answer_each_other(void **state)
{
	struct rig *rig = *state;

	echo_start(rig, RL_CONFIG(.drain_timeout_ns = -1));
	rig_end(rig);
	assert_int_equal(rig->stats.msgs_sent,
			 rig->stats.msgs_delivered + rig->stats.undelivered.full +
				 rig->stats.undelivered.gone + rig->stats.undelivered.stopping);
}

#define TURNS 20000u

/* A hook that answers itself: each turn has work at hand, and none has anything for the kernel. */
static void
turns_with_messages_alone_enter_seldom_but_do(void **state)
{
	struct rig *rig = *state;
	const struct rl_stats *stats = &rig->stats;

	rig->restless = true;
	rig_start(rig, RL_CONFIG(.shard = &echo_shard, .shard_arg = &rig->probes[0]));
	assert_int_equal(rl_system_notify(rig->sys, rig->shards - 1, KIND_SELF, NULL, 0), 0);
	rig_await(rig, rig->probes[0].marks[MARK_NOTIFIED], TURNS);
	rig_end(rig);
	assert_true(stats->turns >= TURNS);
	assert_true(stats->enters < stats->turns / 2);
	assert_true(stats->turns <= 17 * (stats->enters + rig->shards));
}

#define TICKS	20u
#define TICK_NS RL_MS(2)

static int
ticker_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_START) {
		PROBE_EXPECT(probe, rl_timer_start_every(self, TICK_NS, 0, NULL) == 0);
		return 0;
	}
	if (msg->kind == RL_MSG_TIMER) {
		mark(probe, MARK_TICKS, 1);
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def ticker = {
	.name = "ticker",
	.receive = ticker_receive,
	.state_size = sizeof(struct probed),
};

/* Shards that poll, or always have work at hand, read the clock all the same. */
static void
timer_comes_due_on_shards_that_never_sleep(void **state)
{
	struct rig *rig = *state;

	echo_start(rig, RL_CONFIG(.spin_us = 1000));
	assert_int_equal(rl_system_spawn(rig->sys, 0, &ticker, &rig->probes[1], NULL), 0);
	assert_int_equal(rl_system_spawn(rig->sys, rig->shards - 1, &ticker, &rig->probes[1], NULL),
			 0);
	rig_await(rig, rig->probes[1].marks[MARK_TICKS], 2 * TICKS);
	rig_end(rig);
}

static atomic_uint abandoned_starts;
static atomic_uint abandoned_stops;

static int
abandoned_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_START) {
		(void)atomic_fetch_add(&abandoned_starts, 1);
		return rl_actor_spawn(self, NULL, NULL, NULL) == -EINVAL ? 0 : -EIO;
	}
	if (msg->kind == RL_MSG_STOP) {
		(void)atomic_fetch_add(&abandoned_stops, 1);
		return msg->stop.reason == RL_REASON_SHUTDOWN ? 0 : -EIO;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def abandoned = { .name = "abandoned", .receive = abandoned_receive };

/* Spawns two on each shard; the last one then fails. */
static int
failing_on_start(struct rl_shard *shard, void *arg)
{
	(void)arg;
	for (int i = 0; i < 2; i++) {
		if (rl_shard_spawn(shard, &abandoned, NULL, NULL) != 0) {
			return -EIO;
		}
	}
	return rl_shard_id(shard) + 1 == rl_shard_count(shard) ? -EXDEV : 0;
}

static void
silent_log(void *arg, enum rl_log_level level, int shard, const char *text)
{
	(void)arg;
	(void)level;
	(void)shard;
	(void)text;
}

static void
start_that_fails_stops_who_was_spawned(void **state)
{
	static const struct rl_shard_def def = { .on_start = failing_on_start };
	struct rl_config config = RL_CONFIG(.shard = &def, .log = silent_log);
	struct rl_system *sys = (struct rl_system *)&config;

	(void)state;
	assert_int_equal(rl_system_start(&config, &sys), -EXDEV);
	assert_null(sys);
	assert_true(atomic_load(&abandoned_starts) >= 2);
	assert_int_equal(atomic_load(&abandoned_starts), atomic_load(&abandoned_stops));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(notify_both_ways_needs_few_wakeups),
		rig_case(notify_without_a_hook_is_counted_as_gone),
		rig_case(drain_ends_although_hooks_answer_each_other),
		rig_case(turns_with_messages_alone_enter_seldom_but_do),
		rig_case(timer_comes_due_on_shards_that_never_sleep),
		cmocka_unit_test(start_that_fails_stops_who_was_spawned),
	};

	return rig_run("hooks", tests);
}
