/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Shards that wake each other: every way for a wake-up to go wrong ends in a shard that is awake,
 * and a wake-up that is lost all the same is reported. Scripted; what the messages between shards
 * are about is not looked at here.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shard/wake.h"

#include "sim_harness.h"

static int
setup(void **state)
{
	(void)state;
	sim_new(2, 33);
	sim_settle();
	assert_true(sim_is_asleep(0));
	assert_true(sim_is_asleep(1));
	return 0;
}

static void
assert_woken(uint64_t sent, uint64_t failed, uint64_t woken)
{
	struct rl_stats stats;

	assert_int_equal(rl_system_stats(sim_system(), 0, &stats), 0);
	assert_int_equal(stats.wakeups_sent, sent);
	assert_int_equal(stats.wakeups_failed, failed);
	assert_int_equal(rl_system_stats(sim_system(), 1, &stats), 0);
	assert_int_equal(stats.wakeups, woken);
}

/* Shard 0 has pushed something; its turn goes on to the enter. */
static void
wake(void)
{
	rli_wake(sim_on(0), sim_on(1));
	sim_turn(0);
}

static void
assert_awake_then_asleep(void)
{
	assert_true(!sim_is_asleep(1) || sk_ring_is_wakeable(sim_on(1)->ring));
	sim_settle();
	assert_true(sim_is_asleep(1));
}

static void
wake_by_message_ends_the_sleep(void **state)
{
	(void)state;
	wake();
	assert_awake_then_asleep();
	assert_woken(1, 0, 1);
	wake();
	assert_awake_then_asleep();
	assert_woken(2, 0, 2);
	sim_end();
}

static void
wake_twice_in_a_turn_is_one_wake_up(void **state)
{
	uint64_t submitted = sim_on(0)->ring->submitted;

	(void)state;
	rli_wake(sim_on(0), sim_on(1));
	wake();
	assert_int_equal(sim_on(0)->ring->submitted, submitted + 1);
	assert_awake_then_asleep();
	assert_woken(1, 0, 1);
	sim_end();
}

static void
wake_refused_is_made_good_by_the_eventfd(void **state)
{
	static const enum sim_fault faults[] = {
		FAULT_MSG_RING_EOVERFLOW,
		FAULT_MSG_RING_ENOMEM,
		FAULT_MSG_RING_EBADFD,
	};

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		sim_fault_set(faults[i], 65536);
		wake();
		/* shard 0 hears of it at its next turn, which the completion brings about */
		assert_true(!sim_is_asleep(0) || sk_ring_is_wakeable(sim_on(0)->ring));
		assert_true(sk_wake_is_on_its_way(sim_on(1)->ring));
		sim_turn(0);
		assert_awake_then_asleep();
		assert_woken(i + 1, i + 1, i + 1);
		sim_fault_set(faults[i], 0);
	}
	sim_end();
}

static void
wake_with_a_full_queue_goes_by_the_eventfd(void **state)
{
	struct ring *ring = sim_on(0)->ring;

	(void)state;
	ring->sq_limit = 0;
	rli_wake(sim_on(0), sim_on(1));
	assert_awake_then_asleep(); /* at once, not with shard 0's turn */
	assert_woken(1, 1, 1);
	sim_end();
}

static void
wake_late_ends_the_sleep_when_it_arrives(void **state)
{
	(void)state;
	sim_fault_set(FAULT_MSG_RING_LATE, 65536);
	wake();
	assert_true(sim_is_asleep(1));
	assert_false(sk_ring_is_wakeable(sim_on(1)->ring));
	sim_settle(); /* lets it arrive */
	assert_true(sim_is_asleep(1));
	assert_woken(1, 0, 1);
	sim_end();
}

static void
wake_needless_costs_a_turn_and_nothing_else(void **state)
{
	uint64_t turns;

	(void)state;
	sim_fault_set(FAULT_MSG_RING_TWICE, 65536);
	turns = sim_turns();
	wake();
	assert_awake_then_asleep();
	assert_in_range(sim_turns() - turns, 2, 4);
	assert_woken(1, 0, 2);
	sim_end();
}

static void
wake_without_messages_goes_by_the_eventfd(void **state)
{
	struct rl_config config = RL_CONFIG(.shards = 2, .without = RL_FEATURE_MSG_RING);
	uint64_t submitted;

	(void)state;
	sim_new_with(&config, 34);
	sim_settle();
	submitted = sim_on(0)->ring->submitted;
	wake();
	assert_int_equal(sim_on(0)->ring->submitted, submitted);
	assert_awake_then_asleep();
	assert_woken(1, 0, 1);
	sim_end();
}

/* A claim that nobody sees through is what sim_check_sleeper() is for. */
static void
wake_claimed_and_never_sent_is_reported(void **state)
{
	int status = 0;
	pid_t child;

	(void)state;
	(void)fflush(stdout);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)signal(SIGABRT, SIG_DFL);
		(void)close(STDERR_FILENO); /* what it says is expected */
		(void)rli_sleep_claim(&sim_on(1)->sleep);
		rl_system_drain(sim_system());
		sim_settle();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	sim_end();
}

/* The system's end can't rely on a claim: its owner may never enter the kernel again. */
static void
wake_claimed_and_not_sent_before_the_end_keeps_nobody_asleep(void **state)
{
	(void)state;
	sim_drain();
	sim_settle();
	assert_true(sim_is_asleep(1));
	rli_wake(sim_on(0), sim_on(1));
	sim_stop();
	sim_finish(false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(wake_by_message_ends_the_sleep, setup),
		cmocka_unit_test_setup(wake_twice_in_a_turn_is_one_wake_up, setup),
		cmocka_unit_test_setup(wake_refused_is_made_good_by_the_eventfd, setup),
		cmocka_unit_test_setup(wake_with_a_full_queue_goes_by_the_eventfd, setup),
		cmocka_unit_test_setup(wake_late_ends_the_sleep_when_it_arrives, setup),
		cmocka_unit_test_setup(wake_needless_costs_a_turn_and_nothing_else, setup),
		cmocka_unit_test(wake_without_messages_goes_by_the_eventfd),
		cmocka_unit_test_setup(wake_claimed_and_never_sent_is_reported, setup),
		cmocka_unit_test_setup(wake_claimed_and_not_sent_before_the_end_keeps_nobody_asleep,
				       setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
