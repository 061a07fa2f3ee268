/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A tick is a number of eight 6-bit digits, and so is now_tick. A timer is filed at the level of
 * the highest digit in which its tick differs from now_tick, in the slot that this digit says.
 * Three things follow, and everything here rests on them:
 *
 * - all slots in use lie after now_tick's own digit of their level, so nothing ever wraps;
 * - all timers of a level come before all timers of the levels above it, so the earliest timer is
 *   in the first slot of the lowest level in use;
 * - two timers with the same tick are in the same slot, whenever they were started, so that
 *   appending keeps them in order, through all cascades.
 *
 * When now_tick reaches the first tick of a slot, the slot's timers are filed anew (the cascade).
 */
#include "shard/timer.h"

#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/mutant.h"
#include "shard/wheel_slot.h"

#define WHEEL_DIGIT_BITS 6
#define WHEEL_DIGIT_MASK (WHEEL_SLOTS - 1)
#define WHEEL_TICK_NS	 ((uint64_t)1 << WHEEL_TICK_SHIFT)
#define WHEEL_TICK_NEVER ((uint64_t)1 << (64 - WHEEL_TICK_SHIFT)) /* its time needs 65 bits */
#define WHEEL_PASSED	 UINT16_MAX /* a place that is no slot's */

_Static_assert(64 - WHEEL_TICK_SHIFT < WHEEL_LEVELS * WHEEL_DIGIT_BITS, "every tick has a slot");
_Static_assert(WHEEL_SLOTS == 1 << WHEEL_DIGIT_BITS, "a bitmap is one word");
_Static_assert(WHEEL_PASSED > WHEEL_LEVELS * WHEEL_SLOTS, "a timer's place has two bytes");

struct wheel_place {
	uint32_t level;
	uint32_t slot;
};

/* Rounded up; the deadline is not 0. */
static uint64_t
wheel_tick_of(uint64_t deadline_ns)
{
	if (RL_MUTANT(TIMER_EARLY)) {
		return deadline_ns >> WHEEL_TICK_SHIFT;
	}
	return ((deadline_ns - 1) >> WHEEL_TICK_SHIFT) + 1;
}

static inline void
wheel_file(struct wheel *wheel, struct timer *timer)
{
	uint64_t tick = timer->tick;
	uint64_t differs = tick ^ wheel->now_tick;
	uint32_t level = (63 - (uint32_t)__builtin_clzll(differs)) / WHEEL_DIGIT_BITS;
	uint32_t digit = (uint32_t)(tick >> (level * WHEEL_DIGIT_BITS)) & WHEEL_DIGIT_MASK;
	uint32_t number = level * WHEEL_SLOTS + digit;

	RL_DEBUG_ASSERT(tick > wheel->now_tick);

	timer->place = (uint16_t)(number + 1);
	if (wheel_slot_add(&wheel->slots[number], timer)) {
		wheel->pending[level] |= (uint64_t)1 << digit;
	}
}

static inline void
wheel_unfile(struct wheel *wheel, struct timer *timer)
{
	uint32_t number = timer->place - 1u;

	if (wheel_slot_remove(&wheel->slots[number], timer)) {
		wheel->pending[number / WHEEL_SLOTS] &= ~((uint64_t)1 << number % WHEEL_SLOTS);
	}
}

/* The slot with the earliest timer; false when there is none. */
static bool
wheel_first(const struct wheel *wheel, struct wheel_place *first)
{
	uint32_t level;

	for (level = 0; level < WHEEL_LEVELS; level++) {
		if (wheel->pending[level] != 0) {
			first->level = level;
			first->slot = (uint32_t)__builtin_ctzll(wheel->pending[level]);
			return true;
		}
	}
	return false;
}

/* The first tick that a slot stands for: now_tick's digits above it, its own, zeros below. */
static uint64_t
wheel_place_tick(const struct wheel *wheel, struct wheel_place place)
{
	uint32_t shift = place.level * WHEEL_DIGIT_BITS;
	uint64_t above = wheel->now_tick >> shift >> WHEEL_DIGIT_BITS << WHEEL_DIGIT_BITS;

	return (above | place.slot) << shift;
}

static struct wheel_slot *
wheel_slot_of(struct wheel *wheel, struct wheel_place place)
{
	return &wheel->slots[place.level * WHEEL_SLOTS + place.slot];
}

/* Level 0 has none: its slots have one tick each. */
static struct wheel_runs *
wheel_runs_of(struct wheel *wheel, struct wheel_place place)
{
	return place.level > 0 ? &wheel->runs[(place.level - 1) * WHEEL_SLOTS + place.slot] : NULL;
}

static void
wheel_take(struct wheel *wheel, struct wheel_place place, struct list *out)
{
	rli_wheel_slot_take(wheel_slot_of(wheel, place), wheel_runs_of(wheel, place), out);
	wheel->pending[place.level] &= ~((uint64_t)1 << place.slot);
}

/*
 * now_tick has reached the first tick of the slot: what is due goes to the due list, the rest down.
 */
static void
wheel_cascade(struct wheel *wheel, struct wheel_place place)
{
	struct list moved;
	struct list_node *node;

	list_init(&moved);
	wheel_take(wheel, place, &moved);
	while ((node = list_pop_front(&moved)) != NULL) {
		if (wheel_timer(node)->tick == wheel->now_tick) {
			list_push_back(&wheel->due, node);
		} else {
			wheel_file(wheel, wheel_timer(node));
		}
	}
}

/*
 * Timers that were started after their deadline go first, but for those that were started before
 * them for the same deadline and only wait for the end of its tick. If there are any, they are in
 * the slot that starts with the next tick.
 */
static void
wheel_expire_passed(struct wheel *wheel)
{
	struct wheel_place place;
	struct list_node *node;
	struct list taken;

	if (list_is_empty(&wheel->passed)) {
		return;
	}
	list_init(&taken);
	if (wheel_first(wheel, &place) && wheel_place_tick(wheel, place) == wheel->now_tick + 1) {
		wheel_take(wheel, place, &taken);
	}
	while ((node = list_pop_front(&taken)) != NULL) {
		struct timer *timer = wheel_timer(node);

		if (timer->deadline_ns <= wheel->now_ns) {
			timer->tick = wheel->now_tick;
			list_push_back(&wheel->due, node);
		} else {
			wheel_file(wheel, timer);
		}
	}
	list_splice_back(&wheel->due, &wheel->passed);
}

void
rli_wheel_init(struct wheel *wheel, uint64_t now_ns)
{
	uint32_t i;

	/* The runs are made when they are first used: most never are. */
	memset(wheel->pending, 0, sizeof(wheel->pending));
	for (i = 0; i < WHEEL_LEVELS * WHEEL_SLOTS; i++) {
		wheel_slot_reset(&wheel->slots[i]);
	}
	list_init(&wheel->due);
	list_init(&wheel->passed);
	wheel->now_ns = now_ns;
	wheel->now_tick = now_ns >> WHEEL_TICK_SHIFT;
}

void
rli_timer_init(struct timer *timer, enum timer_kind kind)
{
	/* the rest is written when it is started */
	list_node_init(&timer->node);
	timer->kind = (uint8_t)kind;
	timer->place = 0;
}

void
rli_wheel_start(struct wheel *wheel, struct timer *timer, uint64_t deadline_ns)
{
	(void)rli_wheel_cancel(wheel, timer);
	rli_wheel_add(wheel, timer, deadline_ns);
}

void
rli_wheel_add(struct wheel *wheel, struct timer *timer, uint64_t deadline_ns)
{
	RL_DEBUG_ASSERT(!timer_is_armed(timer));
	timer->deadline_ns = deadline_ns;
	if (deadline_ns <= wheel->now_ns) {
		timer->tick = wheel->now_tick;
		timer->place = WHEEL_PASSED;
		list_push_back(&wheel->passed, &timer->node);
	} else {
		timer->tick = wheel_tick_of(deadline_ns);
		wheel_file(wheel, timer);
	}
}

bool
rli_wheel_cancel(struct wheel *wheel, struct timer *timer)
{
	if (!timer_is_armed(timer)) {
		return false;
	}
	if (timer->tick <= wheel->now_tick) {
		list_drop(&timer->node);
	} else {
		wheel_unfile(wheel, timer);
	}
	timer->place = 0;
	return true;
}

void
rli_wheel_expire(struct wheel *wheel, uint64_t now_ns)
{
	struct wheel_place place;
	uint64_t target;

	wheel_expire_passed(wheel);

	if (now_ns > wheel->now_ns) {
		wheel->now_ns = now_ns;
	}
	target = wheel->now_ns >> WHEEL_TICK_SHIFT;
	while (wheel_first(wheel, &place)) {
		uint64_t tick = wheel_place_tick(wheel, place);

		if (tick > target) {
			break;
		}
		wheel->now_tick = tick;
		if (place.level == 0) {
			wheel_take(wheel, place, &wheel->due);
		} else {
			wheel_cascade(wheel, place);
		}
	}
	wheel->now_tick = target;
}

struct timer *
rli_wheel_due_pop(struct wheel *wheel)
{
	struct list_node *node = list_pop_front(&wheel->due);
	struct timer *timer;

	if (node == NULL) {
		return NULL;
	}
	timer = wheel_timer(node);
	RL_ASSERT(timer_is_armed(timer));
	RL_ASSERT(timer->tick <= wheel->now_tick);
	timer->place = 0;
	return timer;
}

uint64_t
rli_wheel_next_ns(struct wheel *wheel)
{
	struct wheel_place place;
	uint64_t tick;

	if (!list_is_empty(&wheel->due) || !list_is_empty(&wheel->passed)) {
		return 0;
	}
	if (!wheel_first(wheel, &place)) {
		return UINT64_MAX;
	}
	tick = wheel_place_tick(wheel, place);
	if (place.level > 0) {
		uint64_t ticks = (uint64_t)1 << (place.level * WHEEL_DIGIT_BITS);

		tick = rli_wheel_slot_min(wheel_slot_of(wheel, place), wheel_runs_of(wheel, place),
					  tick, tick + ticks);
	}
	return tick < WHEEL_TICK_NEVER ? tick << WHEEL_TICK_SHIFT : UINT64_MAX;
}
