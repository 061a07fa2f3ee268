/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bare side: round trips between threads that spin, a pointer through a ring of Concurrency Kit
 * and back through another. Never instrumented by ThreadSanitizer, which does not know the fences
 * that order ck_ring.
 */
#include "messages/bare_pair.h"
#include "messages/bare_rows.h"

#include <ck_ring.h>

enum {
	SPIN_SLOTS = 64
};

struct spin_way {
	_Alignas(64) struct ck_ring ring;
	_Alignas(64) struct ck_ring_buffer slots[SPIN_SLOTS];
};

struct spinning {
	struct bare_pair pair;
	struct spin_way there;
	struct spin_way back;
};

static void
spin_push(struct spin_way *way, void *word)
{
	while (!ck_ring_enqueue_spsc(&way->ring, way->slots, word)) {
	}
}

static void *
spin_pop(struct spin_way *way)
{
	void *word = NULL;

	while (!ck_ring_dequeue_spsc(&way->ring, way->slots, &word)) {
	}
	return word;
}

/* A pointer to the row itself says that it is over. */
static void
spinning_other(void *row)
{
	struct spinning *spinning = row;

	bare_pair_meet(&spinning->pair);
	while (spin_pop(&spinning->there) != spinning) {
		spin_push(&spinning->back, spinning);
	}
}

static void
spinning_first(void *row)
{
	struct spinning *spinning = row;
	struct meter *meter = spinning->pair.meter;
	unsigned i;

	bare_pair_meet(&spinning->pair);
	do {
		meter_lap(meter, MESSAGES_LAP);
		for (i = 0; i < MESSAGES_LAP; i++) {
			spin_push(&spinning->there, meter);
			(void)spin_pop(&spinning->back);
		}
	} while (meter_add(meter, MESSAGES_LAP));
	spin_push(&spinning->there, spinning);
}

void
bare_spinning(const struct messages_options *options, struct meter *meter)
{
	static struct spinning spinning;

	spinning.pair.options = options;
	spinning.pair.meter = meter;
	ck_ring_init(&spinning.there.ring, SPIN_SLOTS);
	ck_ring_init(&spinning.back.ring, SPIN_SLOTS);
	bare_pair_run(&spinning.pair, spinning_first, spinning_other, &spinning);
}
