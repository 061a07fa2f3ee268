/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: the delay doubles from the minimum to the maximum and never wraps; the jitter takes from
 *         its half to all of it, both ends included; no window of the given length ever holds more
 *         than the maximum of restarts, and none is refused below that.
 * How: by hand at the edges, and random times against a list of all of them.
 * Not: who asks; test_supervisor.c has that.
 */
#include "unit.h"

#include "actor/supervisor_restart.h"

static void
delay_doubles_up_to_the_maximum(void **state)
{
	static const struct {
		uint64_t min_ns;
		uint64_t max_ns;
		uint32_t failures;
		uint64_t delay_ns;
	} rows[] = {
		{ 100, 10000, 0, 100 },
		{ 100, 10000, 1, 200 },
		{ 100, 10000, 6, 6400 },
		{ 100, 10000, 7, 10000 },
		{ 100, 10000, 63, 10000 },
		{ 100, 10000, 64, 10000 },
		{ 100, 10000, UINT32_MAX, 10000 },
		{ 100, 12800, 7, 12800 },
		{ 100, 12799, 7, 12799 },
		{ 100, 100, 0, 100 },
		{ 100, 100, 9, 100 },
		{ 0, 100, 0, 0 },
		{ 0, 100, 99, 0 },
		{ 0, 0, 3, 0 },
		{ 1, INT64_MAX, 62, (uint64_t)1 << 62 },
		{ 1, INT64_MAX, 63, INT64_MAX },
		{ 3, INT64_MAX, 62, INT64_MAX },
		{ (uint64_t)1 << 63, UINT64_MAX, 1, UINT64_MAX },
		{ (uint64_t)1 << 62, UINT64_MAX, 1, (uint64_t)1 << 63 },
	};

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(rows); i++) {
		assert_true(rli_restart_delay(rows[i].min_ns, rows[i].max_ns, rows[i].failures) ==
			    rows[i].delay_ns);
	}
}

static void
jitter_takes_from_the_half_to_all(void **state)
{
	(void)state;
	assert_int_equal(rli_restart_jitter(0, 12345), 0);
	for (uint64_t delay_ns = 1; delay_ns < 20; delay_ns++) {
		uint64_t least = UINT64_MAX;
		uint64_t most = 0;

		for (uint64_t random = 0; random < 1000; random++) {
			uint64_t got = rli_restart_jitter(delay_ns, random);

			assert_true(2 * got >= delay_ns);
			least = got < least ? got : least;
			most = got > most ? got : most;
		}
		assert_int_equal(least, (delay_ns + 1) / 2);
		assert_int_equal(most, delay_ns);
	}
	assert_true(rli_restart_jitter(UINT64_MAX, UINT64_MAX) >= UINT64_MAX / 2);
}

static void
window_slides(void **state)
{
	struct restart_window window = { .count = 0 };

	(void)state;
	assert_true(rli_restart_allowed(&window, 1000, 100, 2));
	assert_true(rli_restart_allowed(&window, 1050, 100, 2));
	assert_false(rli_restart_allowed(&window, 1099, 100, 2));
	assert_true(rli_restart_allowed(&window, 1100, 100, 2)); /* 1000 is out */
	assert_false(rli_restart_allowed(&window, 1149, 100, 2));
	assert_true(rli_restart_allowed(&window, 1150, 100, 2));
	assert_true(rli_restart_allowed(&window, 9000, 100, 2)); /* all are out */
	assert_true(rli_restart_allowed(&window, 9000, 100, 2));
	assert_false(rli_restart_allowed(&window, 9000, 100, 2));
}

#define TIMES 3000

static void
window_run(uint64_t seed)
{
	struct restart_window window = { .count = 0 };
	uint32_t restarts_max = 1 + (uint32_t)(unit_random(&seed) % RL_RESTARTS_MAX);
	uint64_t window_ns = 1 + unit_random(&seed) % 1000;
	static uint64_t times[TIMES];
	uint32_t count = 0;
	uint64_t now_ns = unit_random(&seed) % 3;

	for (uint32_t step = 0; step < TIMES; step++) {
		uint32_t inside = 0;
		bool allowed;

		now_ns += unit_random(&seed) % (1 + 2 * window_ns / restarts_max);
		while (inside < count && times[count - 1 - inside] + window_ns > now_ns) {
			inside++;
		}
		allowed = rli_restart_allowed(&window, now_ns, window_ns, restarts_max);
		assert_int_equal(allowed, inside < restarts_max);
		if (allowed) {
			times[count++] = now_ns;
		}
	}
}

static void
window_of_random_times_is_exact(void **state)
{
	(void)state;
	unit_each_seed(window_run, 50);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delay_doubles_up_to_the_maximum),
		cmocka_unit_test(jitter_takes_from_the_half_to_all),
		cmocka_unit_test(window_slides),
		cmocka_unit_test(window_of_random_times_is_exact),
	};

	return unit_run(tests);
}
