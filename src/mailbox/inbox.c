/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ring is Concurrency Kit's, many producers and one consumer, with the envelopes in its slots:
 * a push copies in, a pop copies out, and no memory changes hands. A producer that is interrupted
 * between taking its slot and publishing it holds up those behind it until it runs again; the shard
 * never waits, it sees an empty ring.
 *
 * The control list is a stack that is taken as a whole, so the ABA problem can't arise: nothing is
 * ever popped off a stack that others push to.
 */
#include "mailbox/inbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#include <ck_ring.h>

#include "base/assert.h"
#include "base/host.h"
#include "base/tsan.h"

CK_RING_PROTOTYPE(envelope, envelope)

struct inbox {
	struct ck_ring ring;
	_Atomic(struct control *) controls; /* newest first */
	_Alignas(CK_MD_CACHELINE) struct envelope slots[INBOX_ENVELOPES];
};

_Static_assert(sizeof(struct envelope) == CK_MD_CACHELINE, "producers don't share a line");
_Static_assert((INBOX_ENVELOPES & (INBOX_ENVELOPES - 1)) == 0, "ck masks with the size - 1");

/* A multiple of every page size that Linux has (4, 16 and 64 KiB). */
#define INBOX_PAGES_BYTES ((sizeof(struct inbox) + 65535) / 65536 * 65536)

struct inbox *
rli_inbox_create(void)
{
	struct inbox *inbox = rli_host_pages_reserve(INBOX_PAGES_BYTES);

	if (inbox == NULL) {
		return NULL;
	}
	if (rli_host_pages_commit(inbox, INBOX_PAGES_BYTES) != 0) {
		rli_host_pages_release(inbox, INBOX_PAGES_BYTES);
		return NULL;
	}
	ck_ring_init(&inbox->ring, INBOX_ENVELOPES);
	atomic_init(&inbox->controls, NULL);
	return inbox;
}

void
rli_inbox_destroy(struct inbox *inbox)
{
	rli_host_pages_release(inbox, INBOX_PAGES_BYTES);
}

int
rli_inbox_push(struct inbox *inbox, const struct envelope *envelope)
{
	struct envelope *slot;
	uint32_t ticket;

	/* pairs with: rli_inbox_pop(), which reads the slot after it saw the ring's p_tail */
	tsan_release(&inbox->ring);
	tsan_ignore_begin();
	slot = ck_ring_enqueue_reserve_mpsc_envelope(&inbox->ring, inbox->slots, &ticket);
	if (slot != NULL) {
		*slot = *envelope;
		ck_ring_enqueue_commit_mpsc(&inbox->ring, ticket);
	}
	tsan_ignore_end();
	return slot != NULL ? 0 : -EAGAIN;
}

/*
 * As ck_ring_dequeue_mpsc(), but for the second fence: ck 0.7.1 has a store fence there, which on
 * machines with weak ordering lets a producer overwrite the slot while it is still being read.
 */
bool
rli_inbox_pop(struct inbox *inbox, struct envelope *out)
{
	struct ck_ring *ring = &inbox->ring;
	uint32_t head;
	bool found;

	tsan_ignore_begin();
	head = ring->c_head; /* written by this thread only */
	found = ck_pr_load_uint(&ring->p_tail) != head;
	if (found) {
		ck_pr_fence_load(); /* pairs with: rli_inbox_push(), the store of p_tail */
		*out = inbox->slots[head & ring->mask];
		ck_pr_fence_load_store(); /* pairs with: rli_inbox_push(), the load of c_head */
		ck_pr_store_uint(&ring->c_head, head + 1);
	}
	tsan_ignore_end();
	tsan_acquire(ring);
	return found;
}

void
rli_inbox_control_push(struct inbox *inbox, struct control *control)
{
	struct control *newest = atomic_load_explicit(&inbox->controls, memory_order_relaxed);

	do {
		control->next = newest;
		/* pairs with: rli_inbox_control_take(), which follows the pointer */
	} while (!atomic_compare_exchange_weak_explicit(
		&inbox->controls, &newest, control, memory_order_release, memory_order_relaxed));
}

struct control *
rli_inbox_control_take(struct inbox *inbox)
{
	struct control *in_order = NULL;
	struct control *control;

	/* Mostly there is none, and an exchange takes the line away from whoever pushes next. */
	if (atomic_load_explicit(&inbox->controls, memory_order_relaxed) == NULL) {
		return NULL;
	}
	/* pairs with: rli_inbox_control_push(), all pushes up to the newest (a release sequence) */
	control = atomic_exchange_explicit(&inbox->controls, NULL, memory_order_acquire);
	while (control != NULL) {
		struct control *next = control->next;

		control->next = in_order;
		in_order = control;
		control = next;
	}
	return in_order;
}

bool
rli_inbox_is_empty(const struct inbox *inbox)
{
	bool ring_is_empty;

	tsan_ignore_begin();
	ring_is_empty = ck_ring_size(&inbox->ring) == 0;
	tsan_ignore_end();

	/* Relaxed: whoever must not miss a push has a full fence before this (shard/sleep.h). */
	return ring_is_empty &&
	       atomic_load_explicit(&inbox->controls, memory_order_relaxed) == NULL;
}
