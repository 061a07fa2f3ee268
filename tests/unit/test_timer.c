/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: timers come in order, not early, a tick late at most, never cancelled; next_ns is exact.
 * How: by hand at the borders, against a sorted model with random seeds, and with a million timers.
 * Not: who sleeps until next_ns and how late the kernel wakes him. */
#include "unit.h"

#include "shard/timer.h"
#include "timer_model.h"

#define TICK_NS ((uint64_t)1 << WHEEL_TICK_SHIFT)
#define YEAR_NS (365 * 86400 * SECOND_NS)
#define MILLION 1000000

static uint64_t
round_up(uint64_t ns)
{
	return (ns + TICK_NS - 1) / TICK_NS * TICK_NS;
}

static void
wheel_empty_has_no_next(void **state)
{
	(void)state;
	rli_wheel_init(&wheel, 12345);
	assert_true(rli_wheel_next_ns(&wheel) == UINT64_MAX);
	rli_wheel_expire(&wheel, 12345 + YEAR_NS);
	assert_null(rli_wheel_due_pop(&wheel));
	assert_int_equal(unit_wheel_armed(&wheel), 0);
}

static void
timer_started_comes_once_and_not_early(void **state)
{
	struct timer timer;
	uint64_t now_ns = 77 * TICK_NS + 5;
	uint64_t deadline_ns = now_ns + SECOND_NS;

	(void)state;
	rli_wheel_init(&wheel, now_ns);
	rli_timer_init(&timer, TIMER_LISTENER);
	assert_false(timer_is_armed(&timer));
	rli_wheel_start(&wheel, &timer, deadline_ns);
	assert_true(timer_is_armed(&timer));
	assert_int_equal(timer.kind, TIMER_LISTENER);
	assert_true(rli_wheel_next_ns(&wheel) == round_up(deadline_ns));

	rli_wheel_expire(&wheel, round_up(deadline_ns) - 1);
	assert_null(rli_wheel_due_pop(&wheel));
	assert_true(rli_wheel_next_ns(&wheel) == round_up(deadline_ns));

	rli_wheel_expire(&wheel, round_up(deadline_ns));
	assert_true(rli_wheel_next_ns(&wheel) == 0);
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &timer);
	assert_false(timer_is_armed(&timer));
	assert_null(rli_wheel_due_pop(&wheel));
	assert_true(rli_wheel_next_ns(&wheel) == UINT64_MAX);
	assert_int_equal(unit_wheel_armed(&wheel), 0);
	assert_false(rli_wheel_cancel(&wheel, &timer));
}

/* Through every level: the wheel looks at cascades on the way, and never says so. */
static void
wheel_next_is_never_a_cascade(void **state)
{
	uint32_t bit;

	(void)state;
	for (bit = 0; bit < 63; bit++) {
		uint64_t now_ns = 1000;
		uint64_t deadline_ns = now_ns + ((uint64_t)1 << bit) + 3;
		struct timer timer;
		uint32_t i;

		rli_wheel_init(&wheel, now_ns);
		rli_timer_init(&timer, TIMER_ACTOR);
		rli_wheel_start(&wheel, &timer, deadline_ns);
		for (i = 0; i < 100; i++) {
			assert_true(rli_wheel_next_ns(&wheel) == round_up(deadline_ns));
			rli_wheel_expire(&wheel,
					 now_ns + (round_up(deadline_ns) - 1 - now_ns) / 100 * i);
			assert_null(rli_wheel_due_pop(&wheel));
		}
		rli_wheel_expire(&wheel, round_up(deadline_ns));
		assert_ptr_equal(rli_wheel_due_pop(&wheel), &timer);
	}
}

static void
timer_passed_is_due_at_the_next_expire(void **state)
{
	struct timer timers[3];
	uint64_t now_ns = 1000 * TICK_NS + 500;
	uint32_t i;

	(void)state;
	rli_wheel_init(&wheel, now_ns);
	for (i = 0; i < 3; i++) {
		rli_timer_init(&timers[i], TIMER_ACTOR);
	}
	rli_wheel_start(&wheel, &timers[0], now_ns);
	rli_wheel_start(&wheel, &timers[1], 0);
	rli_wheel_start(&wheel, &timers[2], now_ns + 1);
	assert_true(rli_wheel_next_ns(&wheel) == 0);
	assert_null(rli_wheel_due_pop(&wheel)); /* only expire makes timers due */

	rli_wheel_expire(&wheel, now_ns); /* no time has passed */
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &timers[0]);
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &timers[1]);
	assert_null(rli_wheel_due_pop(&wheel));
	assert_true(rli_wheel_next_ns(&wheel) == 1001 * TICK_NS);
	rli_wheel_expire(&wheel, 1001 * TICK_NS);
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &timers[2]);
}

/*
 * One waits for the end of its tick while the clock passes its deadline, then the same is asked
 * again.
 */
static void
timer_passed_waits_for_older_ones_of_its_deadline(void **state)
{
	struct timer older;
	struct timer later;
	struct timer newer;
	uint64_t now_ns = 63 * TICK_NS + 100; /* the next tick starts a slot of level 1 */

	(void)state;
	rli_wheel_init(&wheel, now_ns);
	rli_timer_init(&older, TIMER_ACTOR);
	rli_timer_init(&later, TIMER_ACTOR);
	rli_timer_init(&newer, TIMER_ACTOR);
	rli_wheel_start(&wheel, &older, now_ns + 1000);
	rli_wheel_start(&wheel, &later, now_ns + 1001);

	rli_wheel_expire(&wheel, now_ns + 1000);
	assert_null(rli_wheel_due_pop(&wheel));
	rli_wheel_start(&wheel, &newer, now_ns + 1000);
	rli_wheel_expire(&wheel, now_ns + 1000);
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &older);
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &newer);
	assert_null(rli_wheel_due_pop(&wheel));

	rli_wheel_expire(&wheel, 64 * TICK_NS);
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &later);
}

static void
timer_started_during_hand_out_never_joins(void **state)
{
	struct timer timers[10];
	uint64_t now_ns = SECOND_NS;
	uint32_t round;
	uint32_t i;

	(void)state;
	rli_wheel_init(&wheel, 0);
	for (i = 0; i < 10; i++) {
		rli_timer_init(&timers[i], TIMER_ACTOR);
		rli_wheel_start(&wheel, &timers[i], 100 + i);
	}
	for (round = 0; round < 5; round++) {
		struct timer *timer;
		uint32_t count = 0;

		rli_wheel_expire(&wheel, now_ns);
		while ((timer = rli_wheel_due_pop(&wheel)) != NULL) {
			assert_ptr_equal(timer, &timers[count]);
			count++;
			rli_wheel_start(&wheel, timer, round % 2 == 0 ? now_ns : 0);
			assert_in_range(count, 1, 10);
		}
		assert_int_equal(count, 10);
		now_ns += round; /* also when the clock stands still */
	}
}

static void
timer_cancelled_on_the_due_list_does_not_come(void **state)
{
	struct timer timers[4];
	uint32_t i;

	(void)state;
	rli_wheel_init(&wheel, 0);
	for (i = 0; i < 4; i++) {
		rli_timer_init(&timers[i], TIMER_ACTOR);
		rli_wheel_start(&wheel, &timers[i], SECOND_NS + i * TICK_NS);
	}
	rli_wheel_expire(&wheel, 2 * SECOND_NS);
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &timers[0]);
	assert_true(rli_wheel_cancel(&wheel, &timers[1]));
	assert_false(rli_wheel_cancel(&wheel, &timers[1]));
	rli_wheel_start(&wheel, &timers[2], 3 * SECOND_NS); /* moved away */
	assert_int_equal(unit_wheel_armed(&wheel), 2);
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &timers[3]);
	assert_null(rli_wheel_due_pop(&wheel));
	assert_true(rli_wheel_next_ns(&wheel) == round_up(3 * SECOND_NS));
	assert_true(rli_wheel_cancel(&wheel, &timers[2]));
	assert_true(rli_wheel_next_ns(&wheel) == UINT64_MAX);
}

static void
timer_far_away_is_filed_and_for_ever_never_comes(void **state)
{
	uint64_t last_tick_ns = UINT64_MAX / TICK_NS * TICK_NS;
	struct timer far;
	struct timer never;

	(void)state;
	rli_wheel_init(&wheel, 5);
	rli_timer_init(&far, TIMER_ACTOR);
	rli_timer_init(&never, TIMER_ACTOR);
	rli_wheel_start(&wheel, &never, UINT64_MAX);
	assert_true(rli_wheel_next_ns(&wheel) == UINT64_MAX);
	rli_wheel_start(&wheel, &far, last_tick_ns);
	assert_true(rli_wheel_next_ns(&wheel) == last_tick_ns);

	rli_wheel_expire(&wheel, last_tick_ns - 1);
	assert_null(rli_wheel_due_pop(&wheel));
	rli_wheel_expire(&wheel, UINT64_MAX - 1);
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &far);
	assert_null(rli_wheel_due_pop(&wheel));
	assert_true(rli_wheel_next_ns(&wheel) == UINT64_MAX);
	assert_true(rli_wheel_cancel(&wheel, &never));
	assert_int_equal(unit_wheel_armed(&wheel), 0);
}

static void
wheel_clock_going_back_counts_as_standing(void **state)
{
	struct timer timer;
	struct timer passed;

	(void)state;
	rli_wheel_init(&wheel, 10 * SECOND_NS);
	rli_timer_init(&timer, TIMER_ACTOR);
	rli_timer_init(&passed, TIMER_ACTOR);
	rli_wheel_start(&wheel, &timer, 11 * SECOND_NS);
	rli_wheel_expire(&wheel, 1);
	assert_null(rli_wheel_due_pop(&wheel));
	rli_wheel_start(&wheel, &passed, 9 * SECOND_NS); /* it is 10 s still */
	rli_wheel_expire(&wheel, 2);
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &passed);
	assert_true(rli_wheel_next_ns(&wheel) == round_up(11 * SECOND_NS));
	rli_wheel_expire(&wheel, 12 * SECOND_NS);
	assert_ptr_equal(rli_wheel_due_pop(&wheel), &timer);
}

/* Jumps over empty time cost no more than what is filed: else these would take years, too. */
static void
wheel_jumps_of_years_are_cheap(void **state)
{
	struct timer timers[100];
	uint64_t now_ns = 0;
	uint32_t jump;
	uint32_t i;

	(void)state;
	rli_wheel_init(&wheel, now_ns);
	for (i = 0; i < 100; i++) {
		rli_timer_init(&timers[i], TIMER_ACTOR);
	}
	for (jump = 0; jump < 500; jump++) {
		for (i = 0; i < 100; i++) {
			rli_wheel_start(&wheel, &timers[i], now_ns + 1 + YEAR_NS / 100 * i);
		}
		now_ns += jump % 2 == 0 ? YEAR_NS : 60 * SECOND_NS;
		rli_wheel_expire(&wheel, now_ns);
		for (i = 0; i < (jump % 2 == 0 ? 100 : 1); i++) {
			assert_ptr_equal(rli_wheel_due_pop(&wheel), &timers[i]);
		}
		assert_null(rli_wheel_due_pop(&wheel));
	}
}

static void
run_model(uint64_t seed)
{
	uint32_t starts;
	uint32_t step;
	uint32_t i;

	model = (struct model){ .seed = seed };
	model.now_ns = model_distance(60);
	starts = 10 +
		 (uint32_t)(unit_random(&model.seed) % 70); /* per cent: crowded or nearly empty */
	rli_wheel_init(&wheel, model.now_ns);
	for (i = 0; i < MODEL_TIMERS; i++) {
		rli_timer_init(&model.timers[i].timer, TIMER_ACTOR);
	}
	for (step = 0; step < 6000; step++) {
		uint32_t dice = (uint32_t)(unit_random(&model.seed) % 100);

		if (dice < starts) {
			model_start();
		} else if (dice < starts + (100 - starts) / 3) {
			model_cancel();
		} else if (dice < starts + (100 - starts) / 3 * 2) {
			model_expire();
		} else {
			model_pop();
		}
		/* Not every turn asks: the wheel must not need it. */
		if (unit_random(&model.seed) % 3 != 0) {
			model_check();
		}
	}
}

static void
wheel_random_use_matches_the_model(void **state)
{
	(void)state;
	unit_each_seed(run_model, 40);
}

static struct timer *
million_timers(void)
{
	struct timer *timers = calloc(MILLION, sizeof(*timers));
	uint32_t i;

	assert_non_null(timers);
	for (i = 0; i < MILLION; i++) {
		rli_timer_init(&timers[i], TIMER_CONN);
	}
	return timers;
}

static void
million_timers_come_in_order(void **state)
{
	struct timer *timers = million_timers();
	struct timer *timer;
	uint64_t seed = 1;
	uint64_t last_tick = 0;
	uint32_t count = 0;
	uint32_t i;

	(void)state;
	rli_wheel_init(&wheel, 0);
	for (i = 0; i < MILLION; i++) {
		rli_wheel_start(&wheel, &timers[i], unit_random(&seed) % (3600 * SECOND_NS));
	}
	for (i = 0; i < MILLION; i += 2) {
		assert_true(rli_wheel_cancel(&wheel, &timers[i]));
	}
	assert_int_equal(unit_wheel_armed(&wheel), MILLION / 2);
	rli_wheel_expire(&wheel, 3601 * SECOND_NS);
	while ((timer = rli_wheel_due_pop(&wheel)) != NULL) {
		assert_true(timer->tick >= last_tick);
		assert_int_equal((timer - timers) % 2, 1);
		last_tick = timer->tick;
		count++;
	}
	assert_int_equal(count, MILLION / 2);
	free(timers);
}

/*
 * What idle timeouts do: a million in one slot of a high level, and at every step the one that is
 * earliest starts again and the loop asks how long it may sleep. Beside it a short one comes and
 * goes. Looking at all of them at every step would take hours.
 */
static void
million_timers_whose_earliest_moves_stay_cheap(void **state)
{
	struct timer *timers = million_timers();
	struct timer stall;
	uint64_t idle_ns = 60 * SECOND_NS;
	uint64_t step_ns = 1000;
	uint64_t now_ns = 0;
	uint32_t i;

	(void)state;
	rli_wheel_init(&wheel, now_ns);
	rli_timer_init(&stall, TIMER_CONN);
	for (i = 0; i < MILLION; i++) {
		rli_wheel_start(&wheel, &timers[i], idle_ns + i * step_ns);
	}
	for (i = 0; i < MILLION; i++) {
		uint64_t earliest_ns = idle_ns + (i + 1) * step_ns;

		now_ns += step_ns;
		rli_wheel_expire(&wheel, now_ns);
		rli_wheel_start(&wheel, &timers[i], idle_ns + (MILLION + i) * step_ns);
		assert_true(rli_wheel_next_ns(&wheel) == round_up(earliest_ns));
		if (i % 4 == 0) {
			rli_wheel_start(&wheel, &stall, now_ns + idle_ns - 5 * SECOND_NS);
			assert_true(rli_wheel_next_ns(&wheel) <=
				    round_up(now_ns + idle_ns - 5 * SECOND_NS));
			assert_true(rli_wheel_cancel(&wheel, &stall));
			assert_true(rli_wheel_next_ns(&wheel) == round_up(earliest_ns));
		}
	}
	assert_null(rli_wheel_due_pop(&wheel));
	free(timers);
}

static int
compare_deadlines(const void *a, const void *b)
{
	const struct timer *const *one = a;
	const struct timer *const *two = b;

	return (*one)->deadline_ns < (*two)->deadline_ns ? -1 : 1;
}

/* The same in random order: after each cancel the next one is known exactly. */
static void
million_timers_cancelled_earliest_first_stay_cheap(void **state)
{
	struct timer *timers = million_timers();
	struct timer **sorted = calloc(MILLION, sizeof(struct timer *));
	uint64_t seed = 2;
	uint64_t started_ns;
	uint32_t i;

	(void)state;
	assert_non_null(sorted);
	rli_wheel_init(&wheel, 0);
	for (i = 0; i < MILLION; i++) {
		/* All within one slot of 34 s. */
		rli_wheel_start(&wheel, &timers[i],
				35 * SECOND_NS + unit_random(&seed) % (30 * SECOND_NS));
		sorted[i] = &timers[i];
	}
	qsort(sorted, MILLION, sizeof(*sorted), compare_deadlines);

	started_ns = rli_host_now_ns();
	assert_true(rli_wheel_cancel(&wheel, sorted[0]));
	assert_true(rli_wheel_next_ns(&wheel) == round_up(sorted[1]->deadline_ns));
	print_message("first next_ns: %llu us\n",
		      (unsigned long long)(rli_host_now_ns() - started_ns) / 1000);
	for (i = 1; i < MILLION - 1; i++) {
		assert_true(rli_wheel_cancel(&wheel, sorted[i]));
		assert_true(rli_wheel_next_ns(&wheel) == round_up(sorted[i + 1]->deadline_ns));
	}
	print_message("all: %llu us\n",
		      (unsigned long long)(rli_host_now_ns() - started_ns) / 1000);
	assert_int_equal(unit_wheel_armed(&wheel), 1);
	free(sorted);
	free(timers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wheel_empty_has_no_next),
		cmocka_unit_test(timer_started_comes_once_and_not_early),
		cmocka_unit_test(wheel_next_is_never_a_cascade),
		cmocka_unit_test(timer_passed_is_due_at_the_next_expire),
		cmocka_unit_test(timer_passed_waits_for_older_ones_of_its_deadline),
		cmocka_unit_test(timer_started_during_hand_out_never_joins),
		cmocka_unit_test(timer_cancelled_on_the_due_list_does_not_come),
		cmocka_unit_test(timer_far_away_is_filed_and_for_ever_never_comes),
		cmocka_unit_test(wheel_clock_going_back_counts_as_standing),
		cmocka_unit_test(wheel_jumps_of_years_are_cheap),
		cmocka_unit_test(wheel_random_use_matches_the_model),
		cmocka_unit_test(million_timers_come_in_order),
		cmocka_unit_test(million_timers_whose_earliest_moves_stay_cheap),
		cmocka_unit_test(million_timers_cancelled_earliest_first_stay_cheap),
	};

	return unit_run(tests);
}
