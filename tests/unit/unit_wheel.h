/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A look at all of a wheel, for tests of what uses one. Include it after unit.h. */
#ifndef RINGLINE_TESTS_UNIT_WHEEL_H
#define RINGLINE_TESTS_UNIT_WHEEL_H

#include "shard/wheel_slot.h"

/* A slot's timers: each is where its tick and its place say. Returns how many. */
static inline uint32_t
unit_wheel_list(const struct wheel *wheel, const struct list *list, uint32_t number, uint64_t *min)
{
	uint32_t shift = number / WHEEL_SLOTS * 6;
	const struct list_node *node;
	uint32_t count = 0;

	for (node = list->head.next; node != &list->head; node = node->next) {
		const struct timer *timer = list_entry(node, const struct timer, node);

		assert_int_equal(timer->place, number + 1);
		assert_true(timer->tick > wheel->now_tick);
		assert_true((timer->tick ^ wheel->now_tick) >> shift >> 6 == 0);
		assert_int_equal(timer->tick >> shift & 63, number % WHEEL_SLOTS);
		*min = timer->tick < *min ? timer->tick : *min;
		count++;
	}
	return count;
}

/* The slot counts what it has, knows the earliest or that it does not, and has its bit. */
static inline uint32_t
unit_wheel_slot(const struct wheel *wheel, uint32_t number)
{
	const struct wheel_slot *slot = &wheel->slots[number];
	uint64_t min = UINT64_MAX;
	uint32_t count = unit_wheel_list(wheel, &slot->rest, number, &min);
	uint32_t i;

	count += unit_wheel_list(wheel, &slot->fresh, number, &min);
	for (i = 0; slot->runs_used && i < WHEEL_RUNS; i++) {
		count += unit_wheel_list(wheel, &wheel->runs[number - WHEEL_SLOTS].runs[i], number,
					 &min);
	}
	assert_int_equal(slot->count, count);
	assert_true(slot->min_tick == min || (slot->min_tick == WHEEL_UNKNOWN && count > 0));
	assert_int_equal(wheel->pending[number / WHEEL_SLOTS] >> number % WHEEL_SLOTS & 1,
			 count > 0);
	return count;
}

/* Those that are due, or will be at the next rli_wheel_expire(). */
static inline uint32_t
unit_wheel_due(const struct wheel *wheel, const struct list *list)
{
	const struct list_node *node;
	uint32_t count = 0;

	for (node = list->head.next; node != &list->head; node = node->next) {
		const struct timer *timer = list_entry(node, const struct timer, node);

		assert_true(timer_is_armed(timer));
		assert_true(timer->tick <= wheel->now_tick);
		count++;
	}
	return count;
}

/* How many timers are armed, due ones included; each of them is looked at. */
static inline uint32_t
unit_wheel_armed(const struct wheel *wheel)
{
	uint32_t count = unit_wheel_due(wheel, &wheel->due) + unit_wheel_due(wheel, &wheel->passed);
	uint32_t number;

	for (number = 0; number < WHEEL_LEVELS * WHEEL_SLOTS; number++) {
		count += unit_wheel_slot(wheel, number);
	}
	return count;
}

#endif
