/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bare side's timers: a hashed wheel of 4096 slots, each an intrusive list. Timers come from a
 * free list and are known by their address; who cancels one has not lost it. Not inlined: starting
 * and cancelling are two things, and the compiler may not make one of them.
 */
#include "messages/bare_rows.h"

#include "common/program.h"

#include <stdlib.h>

enum {
	WHEEL_SLOTS = 4096,
	WHEEL_TICK_SHIFT = 17 /* 131 us */
};

struct wheel_timer {
	struct wheel_timer *next; /* of its slot, or of the free list */
	struct wheel_timer **link; /* what points to it */
	uint64_t tick;
	uint64_t tag;
};

struct wheel {
	struct wheel_timer *slots[WHEEL_SLOTS];
	struct wheel_timer *free;
	uint64_t now_ns;
};

__attribute__((noinline)) static struct wheel_timer *
wheel_start(struct wheel *wheel, uint64_t delay_ns, uint64_t tag)
{
	struct wheel_timer *timer = wheel->free;
	struct wheel_timer **slot;

	wheel->free = timer->next;
	timer->tick = (wheel->now_ns + delay_ns) >> WHEEL_TICK_SHIFT;
	timer->tag = tag;
	slot = &wheel->slots[timer->tick % WHEEL_SLOTS];
	timer->next = *slot;
	timer->link = slot;
	if (timer->next != NULL) {
		timer->next->link = &timer->next;
	}
	*slot = timer;
	return timer;
}

__attribute__((noinline)) static void
wheel_cancel(struct wheel *wheel, struct wheel_timer *timer)
{
	*timer->link = timer->next;
	if (timer->next != NULL) {
		timer->next->link = timer->link;
	}
	timer->next = wheel->free;
	wheel->free = timer;
}

void
bare_timer(const struct messages_options *options, struct meter *meter)
{
	size_t count = (size_t)options->population + 1;
	struct wheel_timer *timers = program_alloc(count, sizeof(*timers));
	struct wheel *wheel = program_alloc(1, sizeof(*wheel));
	uint64_t random = 1;
	size_t i;

	program_pin(options->cpu);
	wheel->now_ns = program_now_ns();
	for (i = 0; i < count; i++) {
		timers[i].next = wheel->free;
		wheel->free = &timers[i];
	}
	for (i = 0; i < options->population; i++) {
		random = messages_random(random);
		(void)wheel_start(wheel, messages_delay_ns(random), i);
	}
	meter_watch(meter, 0);
	do {
		random = messages_random(random);
		wheel_cancel(wheel, wheel_start(wheel, messages_delay_ns(random), 0));
	} while (meter_add(meter, 1));
	free(wheel);
	free(timers);
}
