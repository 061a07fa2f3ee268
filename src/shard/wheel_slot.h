/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One slot of the wheel: timers in the order in which they were started, and which is the earliest.
 *
 * Adding and removing are O(1). The earliest tick is known as long as that timer is not removed;
 * then finding the next one is amortised O(log n), see wheel_slot.c.
 */
#ifndef RINGLINE_SHARD_WHEEL_SLOT_H
#define RINGLINE_SHARD_WHEEL_SLOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "shard/timer.h"

/* Of a slot's min_tick: so no tick is before what is not known, and any is before none. */
#define WHEEL_UNKNOWN ((uint64_t)0)
#define WHEEL_NONE    UINT64_MAX

static inline struct timer *
wheel_timer(struct list_node *node)
{
	return list_entry(node, struct timer, node);
}

/* An empty slot; it forgets what it was asked before. The lists must be empty, or never used. */
static inline void
wheel_slot_reset(struct wheel_slot *slot)
{
	list_init(&slot->rest);
	list_init(&slot->fresh);
	slot->bound_tick = 0;
	slot->min_tick = WHEEL_NONE;
	slot->count = 0;
	slot->fresh_started = 0;
	slot->runs_used = false;
}

/* True: it is the earliest as far as is known. The first one always is. */
static inline bool
wheel_slot_add(struct wheel_slot *slot, struct timer *timer)
{
	uint64_t tick = timer->tick; /* once, see list_drop() */

	if (tick < slot->bound_tick) {
		list_push_back(&slot->fresh, &timer->node);
		slot->fresh_started++;
	} else {
		list_push_back(&slot->rest, &timer->node);
	}
	slot->count++;
	if (tick < slot->min_tick) {
		slot->min_tick = tick;
		return true;
	}
	return false;
}

/* True: it was the last, and the slot is reset. */
static inline bool
wheel_slot_remove(struct wheel_slot *slot, struct timer *timer)
{
	RL_ASSERT(slot->count > 0);
	list_drop(&timer->node);
	if (--slot->count == 0) {
		wheel_slot_reset(slot);
		return true;
	}
	if (timer->tick == slot->min_tick) {
		slot->min_tick = WHEEL_UNKNOWN;
	}
	return false;
}

/* Append all to @out, of equal ticks the older ones first, and reset the slot. */
void rli_wheel_slot_take(struct wheel_slot *slot, struct wheel_runs *runs, struct list *out);

/* The earliest tick of a slot that is not empty; all are from @low to below @high. */
uint64_t rli_wheel_slot_min(struct wheel_slot *slot, struct wheel_runs *runs, uint64_t low,
			    uint64_t high);

#endif
