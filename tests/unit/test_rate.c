/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: a bucket gives its burst at once and then its rate, never more over any span, and saves
 *         nothing up while it is full; whoever takes slower than the rate is never refused.
 * How: by hand at the edges, and random moments against the definition.
 * Not: who asks it. */
#include "unit.h"

#include "net/rate.h"

#define SECOND 1000000000ull

static void
rate_burst_then_one_for_each_interval(void **state)
{
	struct rate rate = { 0 };
	uint64_t now_ns = 17;

	(void)state;
	for (uint32_t i = 0; i < 5; i++) {
		assert_true(rate_take(&rate, now_ns, 10, 5));
	}
	assert_false(rate_take(&rate, now_ns, 10, 5));
	assert_false(rate_take(&rate, now_ns + SECOND / 10 - 1, 10, 5));
	assert_true(rate_take(&rate, now_ns + SECOND / 10, 10, 5));
	assert_false(rate_take(&rate, now_ns + SECOND / 10, 10, 5));
	/* three tokens later */
	now_ns += 4 * SECOND / 10;
	for (uint32_t i = 0; i < 3; i++) {
		assert_true(rate_take(&rate, now_ns, 10, 5));
	}
	assert_false(rate_take(&rate, now_ns, 10, 5));
}

static void
rate_unused_for_years_gives_one_burst(void **state)
{
	struct rate rate = { 0 };
	uint32_t given = 0;

	(void)state;
	assert_true(rate_take(&rate, SECOND, 1000, 3));
	while (rate_take(&rate, UINT64_MAX / 2, 1000, 3)) {
		given++;
		assert_in_range(given, 1, 3);
	}
	assert_int_equal(given, 3);
}

static void
rate_at_its_ends_counts_right(void **state)
{
	struct rate rate = { 0 };

	(void)state;
	assert_true(rate_take(&rate, 0, 1, 1));
	assert_false(rate_take(&rate, SECOND - 1, 1, 1));
	assert_true(rate_take(&rate, SECOND, 1, 1));
	rate = (struct rate){ 0 };
	for (uint32_t i = 0; i < RATE_MAX; i++) {
		assert_true(rate_take(&rate, SECOND, 1, RATE_MAX)); /* 11 days' worth */
	}
	assert_false(rate_take(&rate, SECOND, 1, RATE_MAX));
	rate = (struct rate){ 0 };
	assert_true(rate_take(&rate, 0, RATE_MAX, 1));
	assert_false(rate_take(&rate, 999, RATE_MAX, 1));
	assert_true(rate_take(&rate, 1000, RATE_MAX, 1));
}

#define TAKES 400

/* Over any span from one taking to another: no more than the burst and what was gained since. */
static void
run_random(uint64_t seed)
{
	uint32_t per_s = 1 + (uint32_t)(unit_random(&seed) % 2000);
	uint32_t burst = 1 + (uint32_t)(unit_random(&seed) % 20);
	uint64_t pause_ns = 1 + unit_random(&seed) % (3 * SECOND / per_s);
	struct rate rate = { 0 };
	uint64_t taken[TAKES];
	uint64_t now_ns = unit_random(&seed) % SECOND;
	uint32_t count = 0;

	while (count < TAKES) {
		now_ns += unit_random(&seed) % 50 == 0 ? 20 * pause_ns
						       : unit_random(&seed) % pause_ns;
		if (rate_take(&rate, now_ns, per_s, burst)) {
			taken[count++] = now_ns;
		}
	}
	for (uint32_t i = 0; i < TAKES; i++) {
		for (uint32_t j = i + burst; j < TAKES; j++) {
			/* the tokens i to j, of which a burst came for nothing */
			assert_true(taken[j] - taken[i] >= (j - i + 1 - burst) * SECOND / per_s);
		}
	}
}

static void
rate_random_takings_stay_within_it(void **state)
{
	(void)state;
	unit_each_seed(run_random, 20);
}

static void
rate_of_who_is_slower_is_never_felt(void **state)
{
	struct rate rate = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 10000; i++) {
		assert_true(rate_take(&rate, i * 1000001, 1000, 1));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rate_burst_then_one_for_each_interval),
		cmocka_unit_test(rate_unused_for_years_gives_one_burst),
		cmocka_unit_test(rate_at_its_ends_counts_right),
		cmocka_unit_test(rate_random_takings_stay_within_it),
		cmocka_unit_test(rate_of_who_is_slower_is_never_felt),
	};

	return unit_run(tests);
}
