/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bare side under load between two cores: a single-producer single-consumer ring of 64-byte
 * entries. Both ends keep their own index and the last that they saw of the other's, and publish
 * after every 64 entries; the consumer does so too when it has found the ring empty.
 *
 * Orders: head and tail are stored with release and loaded with acquire by the other end.
 */
#include "messages/bare_dispatch.h"
#include "messages/bare_pair.h"
#include "messages/bare_rows.h"

#include "common/program.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	_Alignas(64) uint32_t kind;
	uint32_t len;
	uint64_t to;
	uint8_t payload[32];
};

_Static_assert(sizeof(struct entry) == 64, "an entry is a cache line");

struct ring {
	_Alignas(64) _Atomic uint64_t tail; /* the producer's */
	_Alignas(64) _Atomic uint64_t head; /* the consumer's */
	_Alignas(64) struct entry entries[MESSAGES_RING];
};

struct cross;

typedef bool (*cross_take_fn)(struct cross *cross, const struct entry *entry);

struct cross {
	struct ring ring;
	_Alignas(64) atomic_bool over; /* set by the consumer */
	struct bare_pair pair;
	cross_take_fn take;
	struct meter *meter;
	uint64_t hops; /* what a message said last */
	struct bare_core core;
	struct bare_actor actors[MESSAGES_ACTORS];
};

/* Until the consumer has had enough. */
static void
cross_produce(void *row)
{
	struct cross *cross = row;
	struct ring *ring = &cross->ring;
	struct ball ball = { 1, 0 };
	uint64_t head = 0;
	uint64_t tail = 0;

	while (!atomic_load_explicit(&cross->over, memory_order_relaxed)) {
		unsigned i;

		if (tail + MESSAGES_PUBLISH > head + MESSAGES_RING) {
			head = atomic_load_explicit(&ring->head, memory_order_acquire);
			continue;
		}
		for (i = 0; i < MESSAGES_PUBLISH; i++) {
			struct entry *entry = &ring->entries[tail++ % MESSAGES_RING];

			ball = ball_next(&ball);
			entry->kind = 1;
			entry->len = sizeof(ball);
			entry->to = ball_choice(&ball);
			memcpy(entry->payload, &ball, sizeof(ball));
		}
		atomic_store_explicit(&ring->tail, tail, memory_order_release);
	}
}

static void
cross_consume(void *row)
{
	struct cross *cross = row;
	struct ring *ring = &cross->ring;
	uint64_t head = 0;
	bool more = true;

	while (more) {
		uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
		uint64_t end = tail - head > MESSAGES_PUBLISH ? head + MESSAGES_PUBLISH : tail;

		while (more && head != end) {
			more = cross->take(cross, &ring->entries[head++ % MESSAGES_RING]);
		}
		atomic_store_explicit(&ring->head, head, memory_order_release);
		while (bare_run_one(&cross->core)) {
		}
	}
	atomic_store_explicit(&cross->over, true, memory_order_relaxed);
}

static bool
notify_take(struct cross *cross, const struct entry *entry)
{
	struct ball ball;

	memcpy(&ball, entry->payload, sizeof(ball));
	cross->hops = ball.hops;
	return meter_add(cross->meter, 1);
}

/* The dispatch is counted where the message is handled: see send_receive(). */
static bool
send_take(struct cross *cross, const struct entry *entry)
{
	bare_post(&cross->core, &cross->actors[entry->to], entry->kind, entry->payload,
		  sizeof(struct ball));
	return !cross->meter->over;
}

static int
send_receive(struct bare_actor *self, const struct bare_msg *msg)
{
	struct cross *cross = self->state;

	cross->hops = ((const struct ball *)(const void *)msg->payload)->hops;
	(void)meter_add(cross->meter, 1);
	return 0;
}

static void
cross_run(const struct messages_options *options, struct meter *meter, cross_take_fn take)
{
	struct cross *cross = aligned_alloc(64, sizeof(*cross));
	unsigned i;

	if (cross == NULL) {
		program_die("out of memory");
	}
	memset(cross, 0, sizeof(*cross));
	cross->pair.options = options;
	cross->pair.meter = meter;
	cross->take = take;
	cross->meter = meter;
	bare_core_init(&cross->core, MESSAGES_RING);
	for (i = 0; i < MESSAGES_ACTORS; i++) {
		cross->actors[i].receive = send_receive;
		cross->actors[i].state = cross;
	}
	bare_pair_run(&cross->pair, cross_produce, cross_consume, cross);
	bare_core_fini(&cross->core);
	free(cross);
}

void
bare_notify(const struct messages_options *options, struct meter *meter)
{
	cross_run(options, meter, notify_take);
}

void
bare_send(const struct messages_options *options, struct meter *meter)
{
	cross_run(options, meter, send_take);
}
