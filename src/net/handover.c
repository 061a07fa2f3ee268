/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ring: positions count up for ever, position p lives in slot p modulo the size. Invariant:
 * slots from head to tail are the shard's, all others the acceptor's; so each is written by one of
 * the two, and a socket is with exactly one of them.
 */
#include "net/handover.h"

#include "base/assert.h"

void
rli_handover_init(struct handover *handover, struct handed *slots, uint32_t slots_count,
		  uint32_t conns_max)
{
	atomic_init(&handover->tail, 0);
	atomic_init(&handover->head, 0);
	atomic_init(&handover->conns, 0);
	handover->taken = 0;
	handover->slots = slots;
	handover->slots_count = slots_count;
	handover->conns_max = conns_max;
}

/* What the shard has not taken, and how many connections it has beside. */
static uint64_t
handover_waiting(const struct handover *handover, uint32_t *conns)
{
	/* Relaxed: the tail is our own. */
	uint64_t tail = atomic_load_explicit(&handover->tail, memory_order_relaxed);
	/* pairs with: rli_handover_publish(), which wrote conns before it */
	uint64_t head = atomic_load_explicit(&handover->head, memory_order_acquire);

	*conns = atomic_load_explicit(&handover->conns, memory_order_relaxed);
	return tail - head;
}

enum handover_room
rli_handover_room(const struct handover *handover)
{
	uint32_t conns;
	uint64_t waiting = handover_waiting(handover, &conns);

	if (conns + waiting >= handover->conns_max) {
		return HANDOVER_FULL;
	}
	return waiting + 1 < handover->slots_count ? HANDOVER_ROOM : HANDOVER_BEHIND;
}

uint64_t
rli_handover_load(const struct handover *handover)
{
	uint32_t conns;
	uint64_t waiting = handover_waiting(handover, &conns);

	return conns + waiting;
}

static void
handover_put(struct handover *handover, const struct handed *handed)
{
	uint64_t tail = atomic_load_explicit(&handover->tail, memory_order_relaxed);

	handover->slots[tail % handover->slots_count] = *handed;
	/* pairs with: rli_handover_count(), after which the slot is read */
	atomic_store_explicit(&handover->tail, tail + 1, memory_order_release);
}

void
rli_handover_push(struct handover *handover, const struct handed *handed)
{
	uint64_t tail = atomic_load_explicit(&handover->tail, memory_order_relaxed);
	/* pairs with: rli_handover_publish(), after which the slot is free */
	uint64_t head = atomic_load_explicit(&handover->head, memory_order_acquire);

	/* the shard may have become full since it was asked, but a free slot stays free */
	RL_ASSERT(tail - head + 1 < handover->slots_count);
	handover_put(handover, handed);
}

void
rli_handover_end(struct handover *handover)
{
	const struct handed end = { .fd = -1, .listener = HANDOVER_END };

	handover_put(handover, &end);
}

uint32_t
rli_handover_count(const struct handover *handover)
{
	/* pairs with: handover_put(), which filled the slots */
	uint64_t tail = atomic_load_explicit(&handover->tail, memory_order_acquire);

	return (uint32_t)(tail - handover->taken);
}

struct handed *
rli_handover_at(struct handover *handover, uint32_t nth)
{
	return &handover->slots[(handover->taken + nth) % handover->slots_count];
}

void
rli_handover_drop(struct handover *handover, uint32_t count)
{
	for (uint32_t left = count; left > 0; left--) {
		if (rli_handover_at(handover, 0)->fd >= 0) {
			return;
		}
		handover->taken++;
	}
}

bool
rli_handover_publish(struct handover *handover, uint32_t conns)
{
	uint32_t conns_before = atomic_load_explicit(&handover->conns, memory_order_relaxed);
	uint64_t head_before = atomic_load_explicit(&handover->head, memory_order_relaxed);

	if (conns == conns_before && handover->taken == head_before) {
		return false;
	}
	atomic_store_explicit(&handover->conns, conns, memory_order_relaxed);
	/*
	 * pairs with: rli_handover_room(); the slots are free, and a socket that became a
	 * connection is counted as one before it stops being counted as waiting
	 */
	atomic_store_explicit(&handover->head, handover->taken, memory_order_release);
	return conns < conns_before || handover->taken != head_before;
}
