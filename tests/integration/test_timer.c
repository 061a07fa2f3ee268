/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: timers come at their time or later, never early and once each; periods don't drift; after
 * a cancel nothing comes; those that are very far off cost nothing (pitfall 79).
 * How: actors that compare each RL_MSG_TIMER with what they asked for, on the shard's own clock.
 * Not proved: how late; a test machine is slow at will.
 */
#include "support.h"

#include <errno.h>

#define MANY 20000u

static uint64_t
timer_now(struct rl_actor *self)
{
	return rl_shard_now_ns(rl_actor_shard(self));
}

/* The tag is the deadline. */
static void
timer_check(struct rl_actor *self, struct probe *probe, const struct rl_msg *msg)
{
	PROBE_EXPECT(probe, timer_now(self) >= msg->timer.tag);
	PROBE_EXPECT(probe, rig_now_ns() >= msg->timer.tag);
	PROBE_EXPECT(probe, rl_timer_cancel(self, msg->timer.id) == -ENOENT); /* it is over */
}

static int
many_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_START) {
		uint64_t now_ns = timer_now(self);

		for (uint64_t i = 0; i < MANY; i++) {
			uint64_t delay_ns = i * i % 500000000; /* up to half a second */

			PROBE_EXPECT(probe,
				     rl_timer_start(self, delay_ns, now_ns + delay_ns, NULL) == 0);
		}
		return 0;
	}
	if (msg->kind == RL_MSG_TIMER) {
		timer_check(self, probe, msg);
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def many = {
	.name = "many",
	.receive = many_receive,
	.state_size = sizeof(struct probed),
};

static void
timer_of_many_comes_once_and_never_early(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	rig_start(rig, RL_CONFIG());
	for (uint32_t shard = 0; shard < rig->shards; shard++) {
		assert_int_equal(rl_system_spawn(rig->sys, shard, &many, probe, NULL), 0);
	}
	rig_await(rig, probe->timers, MANY * (uint64_t)rig->shards);
	rig_assert_idle(rig);
	assert_int_equal(probe->timers, MANY * (uint64_t)rig->shards);
	rig_end(rig);
	assert_int_equal(rig->stats.timers_fired, MANY * (uint64_t)rig->shards);
}

/* A delay of zero comes in another turn; it may start the next, and so on. */
static int
chain_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_START || (msg->kind == RL_MSG_TIMER && probe->timers < 1000)) {
		atomic_fetch_add(&probe->marks[1], 1);
		PROBE_EXPECT(probe, rl_timer_start(self, 0, 7, NULL) == 0);
		PROBE_EXPECT(probe, probe->marks[1] == probe->timers + 1);
		return 0;
	}
	if (msg->kind == RL_MSG_TIMER) {
		PROBE_EXPECT(probe, msg->timer.tag == 7);
		return RL_ACTOR_STOP;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def chain = {
	.name = "chain",
	.receive = chain_receive,
	.state_size = sizeof(struct probed),
};

static void
timer_of_zero_comes_in_the_next_turn(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_system_spawn(rig->sys, 0, &chain, probe, NULL), 0);
	rig_await(rig, probe->stopped[RL_REASON_LOCAL], 1);
	assert_int_equal(probe->timers, 1000);
	rig_end(rig);
}

struct ticking {
	struct probe *probe;
	uint64_t start_ns;
	uint64_t ticks;
	rl_timer_id id;
};

#define TICK_NS 5000000ull

static int
ticking_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct ticking *ticking = rl_actor_state(self);
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_START) {
		ticking->start_ns = timer_now(self);
		PROBE_EXPECT(probe, rl_timer_start_every(self, 999999, 0, NULL) == -EINVAL);
		PROBE_EXPECT(probe, rl_timer_start_every(self, TICK_NS, 3, &ticking->id) == 0);
		return 0;
	}
	if (msg->kind == RL_MSG_TIMER) {
		uint64_t passed = (timer_now(self) - ticking->start_ns) / TICK_NS;

		ticking->ticks++;
		PROBE_EXPECT(probe, msg->timer.tag == 3);
		PROBE_EXPECT(probe, passed >= ticking->ticks); /* skipped, never piled up */
		if (ticking->ticks < 50) {
			return 0;
		}
		PROBE_EXPECT(probe, rl_timer_cancel(self, ticking->id) == 0);
		PROBE_EXPECT(probe, rl_timer_cancel(self, ticking->id) == -ENOENT);
		probe_add(probe, &probe->marks[0], 1);
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def ticking = {
	.name = "ticking",
	.receive = ticking_receive,
	.state_size = sizeof(struct ticking),
};

static void
timer_of_a_period_comes_until_it_is_cancelled(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_system_spawn(rig->sys, 0, &ticking, probe, NULL), 0);
	rig_await(rig, probe->marks[0], 1);
	rig_assert_idle(rig);
	assert_int_equal(probe->timers, 50);
	rig_end(rig);
}

#define PAIRS 500u

struct cancelling {
	struct probe *probe;
	rl_timer_id ids[PAIRS];
};

/* All are due in the same turn; each that comes cancels the next, which then must not come. */
static int
cancelling_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct cancelling *cancelling = rl_actor_state(self);
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_START) {
		for (uint32_t i = 0; i < PAIRS; i++) {
			PROBE_EXPECT(probe,
				     rl_timer_start(self, 20000000, i, &cancelling->ids[i]) == 0);
		}
		return 0;
	}
	if (msg->kind == RL_MSG_TIMER) {
		uint32_t next = (uint32_t)msg->timer.tag + 1;

		PROBE_EXPECT(probe, msg->timer.tag % 2 == 0);
		PROBE_EXPECT(probe, rl_timer_cancel(self, cancelling->ids[next]) == 0);
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def cancelling = {
	.name = "cancelling",
	.receive = cancelling_receive,
	.state_size = sizeof(struct cancelling),
};

static void
timer_that_is_due_can_still_be_cancelled(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	rig_start(rig, RL_CONFIG(.actor_batch_max = 3));
	assert_int_equal(rl_system_spawn(rig->sys, 0, &cancelling, probe, NULL), 0);
	rig_await(rig, probe->timers, PAIRS / 2);
	rig_assert_idle(rig);
	assert_int_equal(probe->timers, PAIRS / 2);
	rig_end(rig);
}

static int
distant_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static const uint64_t delays_ns[] = {
		UINT64_MAX,	  UINT64_MAX / 2,    INT64_MAX,
		3600000000000ull, 86400000000000ull, 31536000000000000ull,
	};
	struct probe *probe = probe_note(self, msg);

	if (msg->kind != RL_MSG_START) {
		return RL_ACTOR_UNHANDLED;
	}
	for (size_t i = 0; i < RIG_COUNT(delays_ns); i++) {
		rl_timer_id id;

		PROBE_EXPECT(probe, rl_timer_start(self, delays_ns[i], i, &id) == 0);
		PROBE_EXPECT(probe, rl_timer_cancel(self, id) == 0);
	}
	/* only one stays: which is the first to come must not be looked for again and again */
	PROBE_EXPECT(probe, rl_timer_start(self, delays_ns[probe->starts % RIG_COUNT(delays_ns)], 0,
					   NULL) == 0);
	return 0;
}

static const struct rl_actor_def distant = {
	.name = "distant",
	.receive = distant_receive,
	.state_size = sizeof(struct probed),
};

/* Each of the delays alone, down to the one that is longer than the clock goes. */
static void
timer_that_is_far_off_does_not_spin(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	for (uint32_t i = 0; i < 6; i++) {
		rig_start(rig, RL_CONFIG(.shards = 1));
		assert_int_equal(rl_system_spawn(rig->sys, 0, &distant, probe, NULL), 0);
		rig_await(rig, probe->starts, i + 1);
		rig_assert_idle(rig);
		rl_system_stop(rig->sys);
		rig->sys = NULL;
	}
	assert_int_equal(probe->timers, 0);
	rig_end(rig);
}

static int
hoarding_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_START) {
		for (uint32_t i = 0; i < 10; i++) {
			PROBE_EXPECT(probe, rl_timer_start(self, 3600000000000, i, NULL) == 0);
		}
		PROBE_EXPECT(probe, rl_timer_start(self, 1, 0, NULL) == -ENOBUFS);
		return 0;
	}
	if (msg->kind == RL_MSG_STOP) {
		PROBE_EXPECT(probe, rl_timer_start(self, 1, 0, NULL) == -ESHUTDOWN);
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def hoarding = {
	.name = "hoarding",
	.receive = hoarding_receive,
	.state_size = sizeof(struct probed),
};

/* An actor's timers end with it: the next one has all of them again. */
static void
timer_above_the_limit_is_enobufs_until_its_actor_ends(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	rig_start(rig, RL_CONFIG(.shards = 1, .timers_max = 10));
	assert_int_equal(rl_system_spawn(rig->sys, 0, &hoarding, probe, NULL), 0);
	rig_await(rig, probe->starts, 1);
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(timer_of_many_comes_once_and_never_early),
		rig_case(timer_of_zero_comes_in_the_next_turn),
		rig_case(timer_of_a_period_comes_until_it_is_cancelled),
		rig_case(timer_that_is_due_can_still_be_cancelled),
		rig_case(timer_that_is_far_off_does_not_spin),
		rig_case(timer_above_the_limit_is_enobufs_until_its_actor_ends),
	};

	return rig_run("timer", tests);
}
