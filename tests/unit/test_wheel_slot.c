/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: a slot knows its earliest timer exactly, and equal ticks come out in order of start.
 * How: against a plain array with random seeds, for spreads from one tick to 2^42 and for clusters.
 * Not: what slot a timer belongs to, which is the wheel's business (test_timer.c). */
#include "unit.h"

#include "shard/wheel_slot.h"

#define TIMERS 3000

struct model {
	struct timer timers[TIMERS];
	uint64_t order[TIMERS]; /* of adding; 0: not in the slot */
	uint64_t added;
	uint32_t count;
	uint64_t seed;
	uint64_t low;
	uint64_t high;
	uint32_t shape;
};

static struct wheel_slot slot;
static struct wheel_runs runs;
static struct model model;

static uint64_t
model_tick(void)
{
	uint64_t spread = model.high - model.low;
	uint64_t number = unit_random(&model.seed);

	switch (model.shape) {
	case 0: /* even */
		return model.low + number % spread;
	case 1: /* growing, as idle timeouts do */
		return model.low + (model.added * spread / 100000 + number % 3) % spread;
	case 2: /* falling */
		return model.high - 1 - (model.added * spread / 100000 + number % 3) % spread;
	case 3: /* all magnitudes alike: most crowd at one end */
		return model.low + (number >> (number % 64)) % spread;
	case 4: /* the other end */
		return model.high - 1 - (number >> (number % 64)) % spread;
	default: /* a few ticks */
		return model.low + number % 4 * (spread / 5);
	}
}

static uint64_t
model_min(void)
{
	uint64_t min = UINT64_MAX;
	uint32_t i;

	for (i = 0; i < TIMERS; i++) {
		if (model.order[i] != 0 && model.timers[i].tick < min) {
			min = model.timers[i].tick;
		}
	}
	return min;
}

static uint32_t
model_earliest(void)
{
	uint64_t min = model_min();
	uint32_t i = 0;

	while (model.order[i] == 0 || model.timers[i].tick != min) {
		i++;
	}
	return i;
}

static void
model_remove(uint32_t i)
{
	wheel_slot_remove(&slot, &model.timers[i]);
	model.order[i] = 0;
	model.count--;
}

static void
model_add(uint32_t i)
{
	if (model.order[i] != 0) {
		model_remove(i);
	}
	model.timers[i].tick = model_tick();
	wheel_slot_add(&slot, &model.timers[i]);
	model.order[i] = ++model.added;
	model.count++;
}

/* All come out, and those with the same tick in the order in which they went in. */
static void
model_take(void)
{
	static uint64_t last_order[TIMERS];
	static uint64_t ticks[TIMERS];
	uint32_t ticks_count = 0;
	struct list out;
	struct list_node *node;

	list_init(&out);
	rli_wheel_slot_take(&slot, &runs, &out);
	assert_int_equal(slot.count, 0);
	while ((node = list_pop_front(&out)) != NULL) {
		uint32_t index = (uint32_t)(wheel_timer(node) - model.timers);
		uint32_t i = 0;

		assert_true(model.order[index] != 0);
		while (i < ticks_count && ticks[i] != model.timers[index].tick) {
			i++;
		}
		if (i == ticks_count) {
			ticks_count++;
			ticks[i] = model.timers[index].tick;
			last_order[i] = 0;
		}
		assert_true(model.order[index] > last_order[i]);
		last_order[i] = model.order[index];
		model.order[index] = 0;
		model.count--;
	}
	assert_int_equal(model.count, 0);
}

static void
run_model(uint64_t seed)
{
	uint32_t step;
	uint32_t i;

	memset(&model, 0, sizeof(model));
	memset(&runs, 0xff, sizeof(runs)); /* the slot makes what it uses */
	model.seed = seed;
	model.shape = (uint32_t)(seed % 6);
	model.low = (uint64_t)5 << 42;
	model.high = model.low + ((uint64_t)1 << (6 * (1 + seed / 6 % 7)));
	wheel_slot_reset(&slot);
	for (i = 0; i < TIMERS; i++) {
		rli_timer_init(&model.timers[i], TIMER_ACTOR);
	}
	for (step = 0; step < 4000; step++) {
		/* Fill, drain by the earliest, fill with both, empty at once. */
		uint32_t phase = step / 500 % 4;
		uint64_t dice = unit_random(&model.seed) % 100;

		for (i = 0; phase == 0 && i < 4; i++) {
			model_add((uint32_t)(unit_random(&model.seed) % TIMERS));
		}
		if (phase > 0 && model.count > 0 && dice < 60) {
			model_remove(model_earliest());
		}
		if (phase > 1 && dice > 30) {
			model_add((uint32_t)(unit_random(&model.seed) % TIMERS));
		}
		if (phase == 3 && dice == 50) {
			model_take();
		}
		assert_int_equal(slot.count, model.count);
		if (model.count > 0 && (phase > 0 || step % 100 == 0)) {
			assert_true(rli_wheel_slot_min(&slot, &runs, model.low, model.high) ==
				    model_min());
		}
	}
	model_take();
}

static void
slot_random_use_matches_the_model(void **state)
{
	(void)state;
	unit_each_seed(run_model, 42);
}

static void
slot_equal_ticks_keep_their_order(void **state)
{
	struct timer timers[1000];
	struct timer *last[2] = { NULL, NULL };
	struct list_node *node;
	struct list out;
	uint32_t i;

	(void)state;
	wheel_slot_reset(&slot);
	for (i = 0; i < 1000; i++) {
		rli_timer_init(&timers[i], TIMER_ACTOR);
		timers[i].tick = 70 + (i % 10 == 0);
		wheel_slot_add(&slot, &timers[i]);
		if (i % 50 == 49) { /* sorted in between, again and again */
			wheel_slot_remove(&slot, &timers[i]);
			assert_true(rli_wheel_slot_min(&slot, &runs, 64, 128) == 70);
			wheel_slot_add(&slot, &timers[i]);
		}
	}
	list_init(&out);
	rli_wheel_slot_take(&slot, &runs, &out);
	for (i = 0; (node = list_pop_front(&out)) != NULL; i++) {
		struct timer *timer = wheel_timer(node);

		/* Each was started after the last one that came with its tick. */
		assert_true(timer > last[timer->tick - 70]);
		last[timer->tick - 70] = timer;
	}
	assert_int_equal(i, 1000);
}

static void
ask_empty(void *arg)
{
	(void)arg;
	(void)rli_wheel_slot_min(&slot, &runs, 64, 128);
}

static void
slot_empty_has_no_earliest(void **state)
{
	(void)state;
	wheel_slot_reset(&slot);
	assert_true(unit_asserts(ask_empty, NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slot_equal_ticks_keep_their_order),
		cmocka_unit_test(slot_empty_has_no_earliest),
		cmocka_unit_test(slot_random_use_matches_the_model),
	};

	return unit_run(tests);
}
