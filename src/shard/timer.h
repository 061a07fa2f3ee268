/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The timer wheel: a hierarchical wheel of 131 us ticks, 64 slots per level.
 *
 * Starting and cancelling are O(1) whatever is outstanding (a million is ordinary). A timer is
 * never early: its deadline is rounded up to the next tick. It comes in two steps, as everything
 * here does: rli_wheel_expire() moves what is due onto the due list, rli_wheel_due_pop() hands out
 * one at a time. A timer on the due list can still be cancelled, and one that is started while due
 * ones are handed out never joins them, whatever its deadline: a zero-length timer can't trap the
 * loop. Timers with the same deadline come in the order in which they were started.
 *
 * The wheel has no tick of its own: the owner sleeps until rli_wheel_next_ns(), which is the
 * deadline (rounded up to its tick) of the earliest timer, never that of a mere cascade.
 * UINT64_MAX: none. As a deadline UINT64_MAX is never.
 */
#ifndef RINGLINE_SHARD_TIMER_H
#define RINGLINE_SHARD_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

#define WHEEL_TICK_SHIFT \
	17 /* 131,072 ns: finer than a wake-up is precise, coarse enough to batch */
#define WHEEL_LEVELS 8 /* of 6 bits: 64 bits of nanoseconds are 47 bits of ticks, so all fit */
#define WHEEL_SLOTS  64
#define WHEEL_RUNS   16

enum timer_kind {
	TIMER_CONN, /* the deadlines of a connection */
	TIMER_ACTOR, /* a timer that an actor started */
	TIMER_REQUEST, /* the deadline of a request */
	TIMER_STARVED, /* connections wait for send memory that the host does not have */
	TIMER_EVICT, /* send memory is short: who takes nothing of it? */
	TIMER_LISTENER, /* a listener that waits before it accepts again */
	TIMER_SYSTEM, /* the drain's deadline */
};

/* 40 bytes, embedded in its owner; zeroed memory plus rli_timer_init() is a timer that is off. */
struct timer {
	struct list_node node;
	uint64_t deadline_ns;
	uint64_t tick; /* deadline_ns rounded up; up to now_tick: on a list of what is due */
	uint16_t place; /* where it is filed: the number of its slot, + 1; 0: it is off */
	uint8_t kind; /* enum timer_kind: whose it is; the loop dispatches on it */
};

/*
 * The timers whose ticks differ from now_tick in this slot's digit first. All are on the list rest,
 * until the earliest was removed and the next one is wanted: see shard/wheel_slot.c.
 */
struct wheel_slot {
	struct list rest; /* at or after bound_tick, in the order in which they were started */
	struct list fresh; /* before bound_tick, likewise; not in the runs yet */
	uint64_t bound_tick;
	uint64_t min_tick; /* of all in the slot; UINT64_MAX: there is none, 0: has to be found */
	uint32_t count;
	uint32_t fresh_started;
	bool runs_used;
};

/*
 * A slot's earliest timers, in order: run k was merged out of 2^k timers, and older timers are in
 * higher runs.
 */
struct wheel_runs {
	struct list runs[WHEEL_RUNS];
};

struct wheel {
	uint64_t pending[WHEEL_LEVELS]; /* one bit per slot that is not empty */
	uint64_t now_tick; /* all ticks up to here were looked at */
	uint64_t now_ns; /* of the last rli_wheel_expire() */
	struct list due;
	struct list passed; /* their deadline had passed when they were started */
	_Alignas(64) struct wheel_slot slots[WHEEL_LEVELS * WHEEL_SLOTS]; /* level after level */
	struct wheel_runs runs[(WHEEL_LEVELS - 1) * WHEEL_SLOTS]; /* level 0 needs none */
};

void rli_wheel_init(struct wheel *wheel, uint64_t now_ns);

void rli_timer_init(struct timer *timer, enum timer_kind kind);

/* It was started, and neither cancelled nor handed out since. */
static inline bool
timer_is_armed(const struct timer *timer)
{
	return timer->place != 0;
}

/*
 * Start, or move if it is armed. A deadline that has passed (at or before the time of the last
 * rli_wheel_expire()) is due at the next one, and comes before all that falls due by then.
 */
void rli_wheel_start(struct wheel *wheel, struct timer *timer, uint64_t deadline_ns);

/* The same for one that is not armed. */
void rli_wheel_add(struct wheel *wheel, struct timer *timer, uint64_t deadline_ns);

/* True when it was armed (also when it was due but not handed out yet). */
bool rli_wheel_cancel(struct wheel *wheel, struct timer *timer);

/*
 * Move all that is due at @now_ns onto the due list, earliest tick first. Empty time costs nothing,
 * however long it was. A @now_ns before the last one counts as the last one.
 */
void rli_wheel_expire(struct wheel *wheel, uint64_t now_ns);

/* One due timer, no longer armed; NULL when there is none. */
struct timer *rli_wheel_due_pop(struct wheel *wheel);

/*
 * When to look again; 0 when something is due already. Amortised O(log n), and a few loads while
 * the earliest timer stays.
 */
uint64_t rli_wheel_next_ns(struct wheel *wheel);

#endif
