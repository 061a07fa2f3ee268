/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The slots above level 0 hold many ticks, and the owner of the wheel wants to know the earliest.
 * When that one is removed (on a server with idle timeouts every byte that arrives may move the
 * deadline that is the earliest), looking at all of the slot again each time would be quadratic.
 * Instead a slot that is asked takes its earliest part, sorts it, and lives on that for a while.
 *
 * The part is sorted into runs, as a binary counter: each timer is a run of one, and equal runs
 * merge. Unlinking a timer from a run is as simple as from any other list, so a timer need not know
 * where in its slot it is. Merging is stable and gathering goes from old to new, so timers with the
 * same tick stay in the order in which they were started.
 */
#include "shard/wheel_slot.h"

#include <stdbool.h>

#define WHEEL_PART_SHIFT 4 /* a part is a 16th of the slot ... */
#define WHEEL_PART_MIN	 64 /* ... and some, since small slots are sorted at once */

/* Merge @newer into @older; of equal ticks the older ones stay in front. */
static void
wheel_slot_merge(struct list *older, struct list *newer)
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
wheel_slot_run_add(struct list *runs, struct list_node *node)
{
	struct list carry;
	uint32_t i;

	list_init(&carry);
	list_push_back(&carry, node);
	for (i = 0; i < WHEEL_RUNS - 1 && !list_is_empty(&runs[i]); i++) {
		wheel_slot_merge(&runs[i], &carry);
		list_splice_back(&carry, &runs[i]);
	}
	/* An empty run, or the last, which takes all that the counter has no digit for. */
	wheel_slot_merge(&runs[i], &carry);
}

/* Empty a slot's lists onto @out; of equal ticks the older ones come first. */
static void
wheel_slot_gather(struct wheel_slot *slot, struct wheel_runs *runs, struct list *out)
{
	uint32_t i;

	for (i = WHEEL_RUNS; slot->runs_used && i > 0; i--) {
		list_splice_back(out, &runs->runs[i - 1]);
	}
	list_splice_back(out, &slot->fresh);
	list_splice_back(out, &slot->rest);
}

/*
 * A tick such that at most @part of the rest are before it, but at least one: count them by
 * intervals between @low and @high, and when the first of these that is used has too many, look
 * closer.
 */
static uint64_t
wheel_slot_part_bound(const struct list *rest, uint64_t low, uint64_t high, uint32_t part)
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
			RL_ASSERT(i < WHEEL_SLOTS);
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
wheel_slot_part(struct wheel_slot *slot, uint64_t low, uint64_t high)
{
	uint32_t part = (slot->count >> WHEEL_PART_SHIFT) + WHEEL_PART_MIN;
	struct list_node *node;
	struct list_node *next;

	slot->bound_tick = wheel_slot_part_bound(&slot->rest, low, high, part);
	for (node = slot->rest.head.next; node != &slot->rest.head; node = next) {
		next = node->next;
		if (wheel_timer(node)->tick < slot->bound_tick) {
			list_remove(node);
			list_push_back(&slot->fresh, node);
		}
	}
}

static bool
wheel_slot_runs_are_empty(const struct wheel_runs *runs)
{
	uint32_t i;

	for (i = 0; i < WHEEL_RUNS; i++) {
		if (!list_is_empty(&runs->runs[i])) {
			return false;
		}
	}
	return true;
}

/*
 * See to it that the slot's earliest timers are in its runs. Two things cost a look at all of it:
 * that the last part is used up, and that as many were started before the bound as make a part.
 * Both are paid for by a 16th of the slot that went or came since.
 */
static void
wheel_slot_sort(struct wheel_slot *slot, struct wheel_runs *runs, uint64_t low, uint64_t high)
{
	struct list_node *node;
	uint32_t i;

	if (slot->fresh_started > (slot->count >> WHEEL_PART_SHIFT) + WHEEL_PART_MIN) {
		struct list all;

		list_init(&all);
		wheel_slot_gather(slot, runs, &all);
		list_splice_back(&slot->rest, &all);
	}
	for (i = 0; i < WHEEL_RUNS && !slot->runs_used; i++) {
		list_init(&runs->runs[i]);
	}
	slot->runs_used = true;
	if (list_is_empty(&slot->fresh) && wheel_slot_runs_are_empty(runs)) {
		wheel_slot_part(slot, low, high);
	}
	while ((node = list_pop_front(&slot->fresh)) != NULL) {
		wheel_slot_run_add(runs->runs, node);
	}
	slot->fresh_started = 0;
}

void
rli_wheel_slot_take(struct wheel_slot *slot, struct wheel_runs *runs, struct list *out)
{
	wheel_slot_gather(slot, runs, out);
	wheel_slot_reset(slot);
}

uint64_t
rli_wheel_slot_min(struct wheel_slot *slot, struct wheel_runs *runs, uint64_t low, uint64_t high)
{
	uint64_t min_tick = WHEEL_NONE;
	uint32_t i;

	RL_ASSERT(slot->count > 0);
	if (slot->min_tick != WHEEL_UNKNOWN) {
		return slot->min_tick;
	}
	wheel_slot_sort(slot, runs, low, high);
	for (i = 0; i < WHEEL_RUNS; i++) {
		struct list_node *first = list_first(&runs->runs[i]);

		if (first != NULL && wheel_timer(first)->tick < min_tick) {
			min_tick = wheel_timer(first)->tick;
		}
	}
	RL_ASSERT(min_tick != WHEEL_NONE);
	slot->min_tick = min_tick;
	return min_tick;
}
