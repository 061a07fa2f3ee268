/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The wheel's model: what is armed, in a plain array, sorted when it matters. It knows nothing of
 * levels. Each step does something to the wheel and to the model, and compares.
 */
#ifndef RINGLINE_TESTS_TIMER_MODEL_H
#define RINGLINE_TESTS_TIMER_MODEL_H

#include "unit.h"

#include "unit_wheel.h"

#define TICK_NS	  ((uint64_t)1 << WHEEL_TICK_SHIFT)
#define SECOND_NS ((uint64_t)1000000000)
#define YEAR_NS	  (365 * 86400 * SECOND_NS)

static struct wheel wheel;

#define MODEL_TIMERS 200

struct model_timer {
	struct timer timer; /* first: the wheel hands out its address */
	uint64_t order; /* of starts */
	bool passed;
	bool due;
};

struct model {
	struct model_timer timers[MODEL_TIMERS];
	struct model_timer *due[MODEL_TIMERS]; /* in the order in which they must come */
	uint32_t due_count;
	uint64_t now_ns;
	uint64_t order;
	uint64_t seed;
};

static struct model model;

static uint64_t
model_tick(const struct model_timer *timer)
{
	uint64_t ns = timer->timer.deadline_ns;

	return ns / TICK_NS + (ns % TICK_NS != 0);
}

/* A time at a random distance, all magnitudes alike, sometimes on the edge of a tick. */
static uint64_t
model_distance(uint32_t bits_max)
{
	uint64_t bits = unit_random(&model.seed) % bits_max;
	uint64_t ns = unit_random(&model.seed) & (((uint64_t)2 << bits) - 1);

	return unit_random(&model.seed) % 4 == 0 ? ns / TICK_NS * TICK_NS : ns;
}

static uint64_t
model_deadline(void)
{
	uint64_t ns;

	switch (unit_random(&model.seed) % 10) {
	case 0: /* the same as somebody else's */
		ns = model.timers[unit_random(&model.seed) % MODEL_TIMERS].timer.deadline_ns;
		return ns > model.now_ns ? ns : model.now_ns;
	case 1:
		return model.now_ns;
	case 2:
		return model.now_ns - model_distance(30) % (model.now_ns + 1);
	case 3:
		return UINT64_MAX - unit_random(&model.seed) % 3;
	default:
		ns = model.now_ns + model_distance(62);
		return ns >= model.now_ns ? ns : UINT64_MAX;
	}
}

static void
model_forget_due(struct model_timer *timer)
{
	uint32_t i;

	for (i = 0; timer->due && i < model.due_count; i++) {
		if (model.due[i] == timer) {
			model.due_count--;
			memmove(&model.due[i], &model.due[i + 1],
				(model.due_count - i) * sizeof(model.due[0]));
			break;
		}
	}
	timer->due = false;
}

static void
model_start(void)
{
	struct model_timer *timer = &model.timers[unit_random(&model.seed) % MODEL_TIMERS];
	uint64_t deadline_ns = model_deadline();

	model_forget_due(timer);
	rli_wheel_start(&wheel, &timer->timer, deadline_ns);
	assert_true(timer_is_armed(&timer->timer));
	timer->order = model.order++;
	timer->passed = deadline_ns <= model.now_ns;
}

static void
model_cancel(void)
{
	struct model_timer *timer = &model.timers[unit_random(&model.seed) % MODEL_TIMERS];
	bool armed = timer_is_armed(&timer->timer);

	model_forget_due(timer);
	assert_int_equal(rli_wheel_cancel(&wheel, &timer->timer), armed);
	assert_false(timer_is_armed(&timer->timer));
}

static int
model_compare_order(const void *a, const void *b)
{
	const struct model_timer *const *one = a;
	const struct model_timer *const *two = b;

	return (*one)->order < (*two)->order ? -1 : 1;
}

static int
model_compare(const void *a, const void *b)
{
	const struct model_timer *const *one = a;
	const struct model_timer *const *two = b;

	if (model_tick(*one) != model_tick(*two)) {
		return model_tick(*one) < model_tick(*two) ? -1 : 1;
	}
	return model_compare_order(a, b);
}

enum model_pick {
	PICK_OVERDUE, /* its deadline is over, and its tick not yet */
	PICK_PASSED,
	PICK_TICKS,
};

/* Move those to the due list that fall under @pick, in order. */
static void
model_collect(enum model_pick pick, uint64_t now_ns)
{
	struct model_timer **first = &model.due[model.due_count];
	uint32_t count = 0;
	uint32_t i;

	for (i = 0; i < MODEL_TIMERS; i++) {
		struct model_timer *timer = &model.timers[i];
		bool picked = pick == PICK_PASSED ? timer->passed
			      : pick == PICK_TICKS
				      ? model_tick(timer) <= now_ns / TICK_NS
				      : timer->timer.deadline_ns <= now_ns && !timer->passed;

		if (timer_is_armed(&timer->timer) && !timer->due && picked) {
			timer->due = true;
			first[count++] = timer;
		}
	}
	qsort(first, count, sizeof(*first),
	      pick == PICK_TICKS ? model_compare : model_compare_order);
	model.due_count += count;
	for (i = 0; i < count; i++) {
		first[i]->passed = false;
	}
}

static bool
model_any_passed(void)
{
	uint32_t i;

	for (i = 0; i < MODEL_TIMERS; i++) {
		if (timer_is_armed(&model.timers[i].timer) && model.timers[i].passed) {
			return true;
		}
	}
	return false;
}

static uint64_t
model_next_ns(void)
{
	uint64_t tick = UINT64_MAX;
	uint32_t i;

	if (model.due_count > 0 || model_any_passed()) {
		return 0;
	}
	for (i = 0; i < MODEL_TIMERS; i++) {
		if (timer_is_armed(&model.timers[i].timer) && model_tick(&model.timers[i]) < tick) {
			tick = model_tick(&model.timers[i]);
		}
	}
	return tick <= UINT64_MAX / TICK_NS ? tick * TICK_NS : UINT64_MAX;
}

static uint64_t
model_next_time(void)
{
	uint64_t next_ns = model_next_ns();
	uint64_t now_ns = model.now_ns;

	switch (unit_random(&model.seed) % 8) {
	case 0:
		return now_ns;
	case 1:
		return next_ns > now_ns && next_ns != UINT64_MAX ? next_ns - 1 : now_ns;
	case 2:
	case 3:
		return next_ns > now_ns && next_ns != UINT64_MAX ? next_ns : now_ns;
	case 4:
		return now_ns + 60 * SECOND_NS;
	default:
		return now_ns + model_distance(unit_random(&model.seed) % 64 == 0 ? 57 : 36);
	}
}

static void
model_expire(void)
{
	uint64_t now_ns = model_next_time();

	if (now_ns < model.now_ns || now_ns > UINT64_MAX - YEAR_NS) {
		now_ns = model.now_ns; /* the end of time: 584 years are over */
	}
	if (model_any_passed()) {
		model_collect(PICK_OVERDUE, model.now_ns);
		model_collect(PICK_PASSED, model.now_ns);
	}
	model_collect(PICK_TICKS, now_ns);
	rli_wheel_expire(&wheel, now_ns);
	model.now_ns = now_ns;
}

/* Hand out some or all, as a loop with a budget does. */
static void
model_pop(void)
{
	uint32_t budget = unit_random(&model.seed) % 2 == 0
				  ? MODEL_TIMERS
				  : (uint32_t)(unit_random(&model.seed) % 5);
	uint32_t i;

	for (i = 0; i < budget && model.due_count > 0; i++) {
		struct model_timer *expected = model.due[0];
		struct timer *timer = rli_wheel_due_pop(&wheel);

		assert_ptr_equal(timer, &expected->timer);
		assert_true(timer->deadline_ns <= model.now_ns); /* never early */
		model_forget_due(expected);
	}
	if (model.due_count == 0) {
		assert_null(rli_wheel_due_pop(&wheel));
	}
}

static void
model_check(void)
{
	uint32_t armed = 0;
	uint32_t i;

	for (i = 0; i < MODEL_TIMERS; i++) {
		armed += timer_is_armed(&model.timers[i].timer);
	}
	assert_int_equal(unit_wheel_armed(&wheel), armed);
	assert_true(rli_wheel_next_ns(&wheel) == model_next_ns());
}

#endif
