/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ring: positions count up for ever, position p lives in slot p modulo the size, and each slot
 * has a sequence number that says whose turn it is there:
 *
 *	sequence = p                     free, for the producer that takes position p
 *	sequence = p + 1                 filled, for the consumer at position p
 *	sequence = p + INBOX_ENVELOPES   free again, for the producer one round later
 *
 * A producer takes a position by moving the tail, fills the slot, and publishes it by itself. One
 * that is interrupted in between holds up what the consumer sees, never the other producers.
 * (Concurrency Kit's ring publishes in order: there a producer spins until those before it have
 * published, and with more producers than cores all end up spinning for one that does not run.)
 *
 * The control list is a stack that is taken as a whole, so the ABA problem can't arise: nothing is
 * ever popped off a stack that others push to.
 */
#include "mailbox/inbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/host.h"

#define INBOX_LINE 64
#define INBOX_MASK ((uint64_t)INBOX_ENVELOPES - 1)

/* A multiple of every page size that Linux has (4, 16 and 64 KiB). */
#define INBOX_PAGES_BYTES ((sizeof(struct inbox) + 65535) / 65536 * 65536)

struct inbox_slot {
	_Atomic uint64_t sequence;
	struct envelope envelope;
};

struct inbox {
	_Alignas(INBOX_LINE) _Atomic uint64_t tail; /* the producers' */
	_Alignas(INBOX_LINE) uint64_t head; /* the consumer's */
	_Atomic(struct control *) controls; /* newest first */
	_Alignas(INBOX_LINE) struct inbox_slot slots[INBOX_ENVELOPES];
};

_Static_assert((INBOX_ENVELOPES & INBOX_MASK) == 0, "a mask finds the slot of a position");

struct inbox *
rli_inbox_create(void)
{
	struct inbox *inbox = rli_host_pages_reserve(INBOX_PAGES_BYTES);
	uint64_t i;

	if (inbox == NULL) {
		return NULL;
	}
	if (rli_host_pages_commit(inbox, INBOX_PAGES_BYTES) != 0) {
		rli_host_pages_release(inbox, INBOX_PAGES_BYTES);
		return NULL;
	}
	inbox->head = 0;
	atomic_init(&inbox->tail, 0);
	atomic_init(&inbox->controls, NULL);
	for (i = 0; i < INBOX_ENVELOPES; i++) {
		atomic_init(&inbox->slots[i].sequence, i);
	}
	return inbox;
}

void
rli_inbox_destroy(struct inbox *inbox)
{
	rli_host_pages_release(inbox, INBOX_PAGES_BYTES);
}

/* A slot that is the caller's to fill; NULL when all are full. */
static struct inbox_slot *
inbox_reserve(struct inbox *inbox, uint64_t *position)
{
	uint64_t tail = atomic_load_explicit(&inbox->tail, memory_order_relaxed);

	for (;;) {
		struct inbox_slot *slot = &inbox->slots[tail & INBOX_MASK];
		/* pairs with: rli_inbox_pop(), which is done with what was there a round ago */
		uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_acquire);

		if (sequence == tail) {
			/*
			 * Relaxed: the tail only deals out positions, the slot's sequence orders.
			 */
			if (atomic_compare_exchange_weak_explicit(&inbox->tail, &tail, tail + 1,
								  memory_order_relaxed,
								  memory_order_relaxed)) {
				*position = tail;
				return slot;
			}
		} else if (sequence < tail) {
			return NULL; /* it is as it was a round ago: the consumer is behind */
		} else {
			/* Somebody else took the position meanwhile. */
			tail = atomic_load_explicit(&inbox->tail, memory_order_relaxed);
		}
	}
}

int
rli_inbox_push(struct inbox *inbox, const struct envelope *envelope)
{
	uint64_t position;
	struct inbox_slot *slot = inbox_reserve(inbox, &position);

	if (slot == NULL) {
		return -EAGAIN;
	}
	slot->envelope = *envelope;
	/* pairs with: rli_inbox_pop(), which reads the envelope */
	atomic_store_explicit(&slot->sequence, position + 1, memory_order_release);
	return 0;
}

bool
rli_inbox_pop(struct inbox *inbox, struct envelope *out)
{
	struct inbox_slot *slot = &inbox->slots[inbox->head & INBOX_MASK];

	/* pairs with: rli_inbox_push(), which filled the slot */
	if (atomic_load_explicit(&slot->sequence, memory_order_acquire) != inbox->head + 1) {
		return false;
	}
	*out = slot->envelope;
	/* pairs with: inbox_reserve(), after which the slot is overwritten */
	atomic_store_explicit(&slot->sequence, inbox->head + INBOX_ENVELOPES, memory_order_release);
	inbox->head++;
	return true;
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
	/*
	 * pairs with: rli_inbox_control_push(), all of them up to the newest (a release sequence)
	 */
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
	const struct inbox_slot *slot = &inbox->slots[inbox->head & INBOX_MASK];

	/*
	 * Relaxed: whoever must not miss a push has a full fence before this (shard/sleep.h). A
	 * slot that was taken and not published yet counts as empty: its producer will wake the
	 * shard.
	 */
	return atomic_load_explicit(&slot->sequence, memory_order_relaxed) != inbox->head + 1 &&
	       atomic_load_explicit(&inbox->controls, memory_order_relaxed) == NULL;
}
