/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: each counter counts into its own word, the last ones too, and sums over shards.
 * How: every word of the struct by its place, reasons by name, and a reader on a second thread.
 * Not: that whoever should count does; the tests of those files do that.
 * Guards: pitfall 9.
 */
#include "unit.h"

#include <pthread.h>

#include "shard/counters.h"

static struct counters counters;

static void
counters_each_field_is_a_word_of_its_own(void **state)
{
	struct rl_stats stats = { 0 };

	(void)state;
	memset(&counters, 0, sizeof(counters));
	counters_add(&counters, accepted, 1);
	counters_add(&counters, opened, 2);
	counters_add(&counters, undelivered.full, 3);
	counters_add(&counters, undelivered.gone, 4);
	counters_add(&counters, undelivered.stopping, 5);
	counters_add(&counters, cqes_unknown, 6);
	counters_add(&counters, accept_enfile, 7);
	counters_add(&counters, wakeups_sent, 8);
	counters_add(&counters, wakeups_failed, 9);
	counters_add(&counters, wakeups_failed, UINT32_MAX);
	counters_add(&counters, names_lost, 10);
	rli_counters_sum(&counters, &stats);

	assert_int_equal(stats.accepted, 1);
	assert_int_equal(stats.opened, 2);
	assert_int_equal(stats.undelivered.full, 3);
	assert_int_equal(stats.undelivered.gone, 4);
	assert_int_equal(stats.undelivered.stopping, 5);
	assert_int_equal(stats.cqes_unknown, 6);
	assert_int_equal(stats.accept_enfile, 7);
	assert_int_equal(stats.wakeups_sent, 8);
	assert_true(stats.wakeups_failed == 9 + (uint64_t)UINT32_MAX);
	assert_int_equal(stats.names_lost, 10);
	assert_int_equal(stats.refused, 0);
	assert_int_equal(stats.timers_fired, 0);
}

static void
counters_closed_counts_by_reason(void **state)
{
	struct rl_stats stats = { 0 };
	uint32_t reason;
	uint32_t i;

	(void)state;
	memset(&counters, 0, sizeof(counters));
	for (reason = 0; reason < RL_REASON_COUNT; reason++) {
		for (i = 0; i <= reason; i++) {
			counters_add_closed(&counters, (enum rl_reason)reason);
		}
	}
	rli_counters_sum(&counters, &stats);
	for (reason = 0; reason < RL_REASON_COUNT; reason++) {
		assert_int_equal(stats.closed[reason], reason + 1);
	}
	assert_int_equal(stats.opened, 0); /* the neighbours */
	assert_int_equal(stats.accept_errors, 0);
	assert_int_equal(stats.bytes_in, 0);
}

static void
counters_sum_adds_every_word_of_every_shard(void **state)
{
	struct rl_stats stats;
	uint64_t words[COUNTERS_WORDS];
	size_t word;

	(void)state;
	assert_int_equal(sizeof(words), sizeof(stats));
	memset(&counters, 0, sizeof(counters));
	for (word = 0; word < COUNTERS_WORDS; word++) {
		counters_add_word(&counters, word, word + 1);
		words[word] = 1000;
	}
	memcpy(&stats, words, sizeof(stats));
	rli_counters_sum(&counters, &stats);
	rli_counters_sum(&counters, &stats);
	memcpy(words, &stats, sizeof(words));
	for (word = 0; word < COUNTERS_WORDS; word++) {
		assert_int_equal(words[word], 1000 + 2 * (word + 1));
	}
}

#define STEPS 200000
#define STEP  ((uint64_t)0x100000001) /* both halves of a word move together */

static void *
count_many(void *arg)
{
	uint32_t i;

	(void)arg;
	for (i = 0; i < STEPS; i++) {
		counters_add(&counters, bytes_in, STEP);
		counters_add(&counters, bytes_out, 1);
	}
	return NULL;
}

static void
counters_read_by_another_thread_are_whole_and_grow(void **state)
{
	uint64_t last = 0;
	pthread_t writer;

	(void)state;
	memset(&counters, 0, sizeof(counters));
	assert_int_equal(pthread_create(&writer, NULL, count_many, NULL), 0);
	do {
		struct rl_stats stats = { 0 };

		rli_counters_sum(&counters, &stats);
		assert_true(stats.bytes_in >= last);
		assert_int_equal(stats.bytes_in % STEP, 0);
		last = stats.bytes_in;
	} while (last != STEPS * STEP);
	assert_int_equal(pthread_join(writer, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_each_field_is_a_word_of_its_own),
		cmocka_unit_test(counters_closed_counts_by_reason),
		cmocka_unit_test(counters_sum_adds_every_word_of_every_shard),
		cmocka_unit_test(counters_read_by_another_thread_are_whole_and_grow),
	};

	return unit_run(tests);
}
