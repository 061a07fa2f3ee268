/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A tick is a number of eight 6-bit digits, and so is now_tick. A timer is filed at the level of the
 * highest digit in which its tick differs from now_tick, in the slot that this digit says. Three
 * things follow, and everything here rests on them:
 *
 * - all slots in use lie after now_tick's own digit of their level, so nothing ever wraps;
 * - all timers of a level come before all timers of the levels above it, so the earliest timer is in
 *   the first slot of the lowest level in use;
 * - two timers with the same tick are in the same slot, whenever they were started, so that appending
 *   keeps them in order, through all cascades.
 *
 * When now_tick reaches the first tick of a slot, the slot's timers are filed anew (the cascade).
 *
 * A slot of level 0 holds one tick; the slots above it hold many, and rli_wheel_next_ns() wants the
 * earliest of one of them. That is known as long as it is not removed. When it is (on a server with
 * idle timeouts every byte that arrives may move the deadline that is the earliest), looking at all of
 * the slot again each time would be quadratic. Instead a slot that is asked takes its earliest part,
 * sorts it, and lives on that for a while. Unlinking a timer from a sorted run is as simple as from
 * any other list, so cancelling stays O(1).
 */
#include "shard/timer.h"

#include <stddef.h>

#include "base/assert.h"

#define WHEEL_DIGIT_BITS 6
#define WHEEL_DIGIT_MASK (WHEEL_SLOTS - 1)
#define WHEEL_TICK_NS	 ((uint64_t)1 << WHEEL_TICK_SHIFT)
#define WHEEL_TICK_NEVER ((uint64_t)1 << (64 - WHEEL_TICK_SHIFT)) /* its time needs 65 bits */
#define WHEEL_UNKNOWN	 UINT64_MAX
#define WHEEL_PART_SHIFT 4 /* a part is a 16th of the slot ... */
#define WHEEL_PART_MIN	 64 /* ... and some, since small slots are sorted at once */

_Static_assert(WHEEL_LEVELS *WHEEL_DIGIT_BITS > 64 - WHEEL_TICK_SHIFT, "every tick has a slot");
_Static_assert(WHEEL_SLOTS == 1 << WHEEL_DIGIT_BITS, "a bitmap is one word");

struct wheel_place {
	uint32_t level;
	uint32_t slot;
};

static struct timer *
wheel_timer(struct list_node *node)
{
	return list_entry(node, struct timer, node);
}

static uint64_t
wheel_tick_of(uint64_t deadline_ns)
{
	return (deadline_ns >> WHEEL_TICK_SHIFT) + ((deadline_ns & (WHEEL_TICK_NS - 1)) != 0);
}

/* Level 0 never needs runs: its slots hold one tick each. */
static struct list *
wheel_runs_of(struct wheel *wheel, struct wheel_place place)
{
	return wheel->runs[place.level - 1][place.slot].runs;
}

static void
wheel_file(struct wheel *wheel, struct timer *timer)
{
	uint64_t differs = timer->tick ^ wheel->now_tick;
	uint32_t level = (63 - (uint32_t)__builtin_clzll(differs)) / WHEEL_DIGIT_BITS;
	uint32_t digit = (uint32_t)(timer->tick >> (level * WHEEL_DIGIT_BITS)) & WHEEL_DIGIT_MASK;
	struct wheel_slot *slot = &wheel->slots[level][digit];

	RL_DEBUG_ASSERT(timer->tick > wheel->now_tick);

	timer->level = (uint8_t)level;
	timer->slot = (uint8_t)digit;
	if (timer->tick < slot->bound_tick) {
		list_push_back(&slot->fresh, &timer->node);
		slot->fresh_started++;
	} else {
		list_push_back(&slot->rest, &timer->node);
	}
	wheel->pending[level] |= (uint64_t)1 << digit;

	/* What is not known does not become known by one more timer, unless that is the only one. */
	if (slot->count == 0 || (slot->min_tick != WHEEL_UNKNOWN && timer->tick < slot->min_tick)) {
		slot->min_tick = timer->tick;
	}
	slot->count++;
}

/* The slot is empty: it forgets what it was asked before. */
static void
wheel_slot_reset(struct wheel *wheel, struct wheel_place place)
{
	struct wheel_slot *slot = &wheel->slots[place.level][place.slot];

	wheel->pending[place.level] &= ~((uint64_t)1 << place.slot);
	slot->bound_tick = 0;
	slot->min_tick = WHEEL_UNKNOWN;
	slot->count = 0;
	slot->fresh_started = 0;
	slot->runs_used = false;
}

static void
wheel_unfile(struct wheel *wheel, struct timer *timer)
{
	struct wheel_place place = { timer->level, timer->slot };
	struct wheel_slot *slot = &wheel->slots[place.level][place.slot];

	RL_ASSERT(slot->count > 0);
	list_remove(&timer->node);
	slot->count--;
	if (timer->tick == slot->min_tick) {
		slot->min_tick = WHEEL_UNKNOWN;
	}
	if (slot->count == 0) {
		wheel_slot_reset(wheel, place);
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

/* Merge @newer into @older; of equal ticks the older ones stay in front. */
static void
wheel_merge(struct list *older, struct list *newer)
{
	struct list_node *at = older->head.next;

	/* Deadlines mostly grow from start to start, and then one run simply follows the other. */
	if (list_is_empty(older) || list_is_empty(newer) ||
	    wheel_timer(older->head.prev)->tick <= wheel_timer(newer->head.next)->tick) {
		list_splice_back(older, newer);
		return;
	}
	while (at != &older->head && !list_is_empty(newer)) {
		struct list_node *node = list_first(newer);

		if (wheel_timer(at)->tick <= wheel_timer(node)->tick) {
			at = at->next;
		} else {
			list_remove(node);
			list_insert_before(at, node);
		}
	}
	list_splice_back(older, newer);
}

/* Add one timer as to a binary counter: equal runs merge and carry over. */
static void
wheel_run_add(struct list *runs, struct list_node *node)
{
	struct list carry;
	uint32_t i;

	list_init(&carry);
	list_push_back(&carry, node);
	for (i = 0; i < WHEEL_RUNS - 1 && !list_is_empty(&runs[i]); i++) {
		wheel_merge(&runs[i], &carry);
		list_splice_back(&carry, &runs[i]);
	}
	/* An empty run, or the last, which takes all that the counter has no digit for. */
	wheel_merge(&runs[i], &carry);
}

/* Empty a slot's lists onto @out; of equal ticks the older ones come first. */
static void
wheel_slot_gather(struct wheel *wheel, struct wheel_place place, struct list *out)
{
	struct wheel_slot *slot = &wheel->slots[place.level][place.slot];
	uint32_t i;

	for (i = WHEEL_RUNS; slot->runs_used && i > 0; i--) {
		list_splice_back(out, &wheel_runs_of(wheel, place)[i - 1]);
	}
	list_splice_back(out, &slot->fresh);
	list_splice_back(out, &slot->rest);
}

/*
 * A tick such that at most @part of the rest are before it, but at least one: count them by intervals
 * between @low and @high, and when the first of these that is used has too many, look closer.
 */
static uint64_t
wheel_part_bound(const struct list *rest, uint64_t low, uint64_t high, uint32_t part)
{
	for (;;) {
		uint32_t counts[WHEEL_SLOTS] = { 0 };
		const struct list_node *node;
		uint32_t shift = 0;
		uint32_t sum;
		uint32_t i = 0;

		while ((high - low - 1) >> shift >= WHEEL_SLOTS) {
			shift++;
		}
		for (node = rest->head.next; node != &rest->head; node = node->next) {
			uint64_t tick = list_entry(node, const struct timer, node)->tick;

			if (tick < high) {
				counts[(tick - low) >> shift]++;
			}
		}
		while (counts[i] == 0) {
			i++;
		}
		sum = counts[i];
		if (sum <= part || shift == 0) {
			while (i + 1 < WHEEL_SLOTS && sum + counts[i + 1] <= part) {
				i++;
				sum += counts[i];
			}
			return low + ((uint64_t)(i + 1) << shift);
		}
		low += (uint64_t)i << shift;
		high = low + ((uint64_t)1 << shift);
	}
}

/* Make the earliest part of the rest fresh. */
static void
wheel_slot_part(struct wheel *wheel, struct wheel_place place)
{
	struct wheel_slot *slot = &wheel->slots[place.level][place.slot];
	uint64_t low = wheel_place_tick(wheel, place);
	uint64_t high = low + ((uint64_t)1 << (place.level * WHEEL_DIGIT_BITS));
	uint32_t part = (slot->count >> WHEEL_PART_SHIFT) + WHEEL_PART_MIN;
	struct list_node *node;
	struct list_node *next;

	slot->bound_tick = wheel_part_bound(&slot->rest, low, high, part);
	for (node = slot->rest.head.next; node != &slot->rest.head; node = next) {
		next = node->next;
		if (wheel_timer(node)->tick < slot->bound_tick) {
			list_remove(node);
			list_push_back(&slot->fresh, node);
		}
	}
}

static bool
wheel_runs_are_empty(const struct list *runs)
{
	uint32_t i;

	for (i = 0; i < WHEEL_RUNS; i++) {
		if (!list_is_empty(&runs[i])) {
			return false;
		}
	}
	return true;
}

/*
 * See to it that the slot's earliest timers are in its runs. Two things cost a look at all of it: that
 * the last part is used up, and that as many were started before the bound as make a part. Both are
 * paid for by a 16th of the slot that went or came since.
 */
static void
wheel_slot_sort(struct wheel *wheel, struct wheel_place place)
{
	struct wheel_slot *slot = &wheel->slots[place.level][place.slot];
	struct list *runs = wheel_runs_of(wheel, place);
	struct list_node *node;
	uint32_t i;

	if (slot->fresh_started > (slot->count >> WHEEL_PART_SHIFT) + WHEEL_PART_MIN) {
		struct list all;

		list_init(&all);
		wheel_slot_gather(wheel, place, &all);
		list_splice_back(&slot->rest, &all);
	}
	for (i = 0; i < WHEEL_RUNS && !slot->runs_used; i++) {
		list_init(&runs[i]);
	}
	slot->runs_used = true;
	if (list_is_empty(&slot->fresh) && wheel_runs_are_empty(runs)) {
		wheel_slot_part(wheel, place);
	}
	while ((node = list_pop_front(&slot->fresh)) != NULL) {
		wheel_run_add(runs, node);
	}
	slot->fresh_started = 0;
}

/* The earliest tick in a slot that is not empty. */
static uint64_t
wheel_slot_min(struct wheel *wheel, struct wheel_place place)
{
	struct wheel_slot *slot = &wheel->slots[place.level][place.slot];
	struct list *runs;
	uint32_t i;

	if (slot->min_tick != WHEEL_UNKNOWN) {
		return slot->min_tick;
	}
	if (place.level == 0) {
		return wheel_place_tick(wheel, place);
	}
	wheel_slot_sort(wheel, place);
	runs = wheel_runs_of(wheel, place);
	for (i = 0; i < WHEEL_RUNS; i++) {
		struct list_node *first = list_first(&runs[i]);

		if (first != NULL && wheel_timer(first)->tick < slot->min_tick) {
			slot->min_tick = wheel_timer(first)->tick;
		}
	}
	RL_ASSERT(slot->min_tick != WHEEL_UNKNOWN);
	return slot->min_tick;
}

static void
wheel_slot_take(struct wheel *wheel, struct wheel_place place, struct list *out)
{
	wheel_slot_gather(wheel, place, out);
	wheel_slot_reset(wheel, place);
}

/* now_tick has reached the first tick of the slot: what is due goes to the due list, the rest down. */
static void
wheel_cascade(struct wheel *wheel, struct wheel_place place)
{
	struct list moved;
	struct list_node *node;

	list_init(&moved);
	wheel_slot_take(wheel, place, &moved);
	while ((node = list_pop_front(&moved)) != NULL) {
		if (wheel_timer(node)->tick == wheel->now_tick) {
			list_push_back(&wheel->due, node);
		} else {
			wheel_file(wheel, wheel_timer(node));
		}
	}
}

/*
 * Timers that were started after their deadline go first, but for those that were started before them
 * for the same deadline and only wait for the end of its tick. If there are any, they are in the slot
 * that starts with the next tick.
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
		wheel_slot_take(wheel, place, &taken);
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
	uint32_t level;
	uint32_t slot;

	/* The runs are made when they are first used: most never are. */
	for (level = 0; level < WHEEL_LEVELS; level++) {
		for (slot = 0; slot < WHEEL_SLOTS; slot++) {
			list_init(&wheel->slots[level][slot].rest);
			list_init(&wheel->slots[level][slot].fresh);
			wheel_slot_reset(wheel, (struct wheel_place){ level, slot });
		}
	}
	list_init(&wheel->due);
	list_init(&wheel->passed);
	wheel->armed_count = 0;
	wheel->now_ns = now_ns;
	wheel->now_tick = now_ns >> WHEEL_TICK_SHIFT;
}

void
rli_timer_init(struct timer *timer, enum timer_kind kind)
{
	*timer = (struct timer){ .kind = (uint8_t)kind };
	list_node_init(&timer->node);
}

void
rli_wheel_start(struct wheel *wheel, struct timer *timer, uint64_t deadline_ns)
{
	(void)rli_wheel_cancel(wheel, timer);

	timer->armed = true;
	wheel->armed_count++;
	timer->deadline_ns = deadline_ns;
	if (deadline_ns <= wheel->now_ns) {
		timer->tick = wheel->now_tick;
		list_push_back(&wheel->passed, &timer->node);
	} else {
		timer->tick = wheel_tick_of(deadline_ns);
		wheel_file(wheel, timer);
	}
}

bool
rli_wheel_cancel(struct wheel *wheel, struct timer *timer)
{
	if (!timer->armed) {
		return false;
	}
	RL_ASSERT(wheel->armed_count > 0);
	wheel->armed_count--;
	timer->armed = false;
	if (timer->tick <= wheel->now_tick) {
		list_remove(&timer->node);
	} else {
		wheel_unfile(wheel, timer);
	}
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
			wheel_slot_take(wheel, place, &wheel->due);
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
	RL_ASSERT(timer->armed);
	RL_ASSERT(timer->tick <= wheel->now_tick);
	timer->armed = false;
	wheel->armed_count--;
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
	tick = wheel_slot_min(wheel, place);
	return tick < WHEEL_TICK_NEVER ? tick << WHEEL_TICK_SHIFT : UINT64_MAX;
}
