/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How messages come in from threads that are no shard: a bounded lock-free ring, many producers,
 * one consumer, with envelopes inside; and beside it an unbounded list of control requests whose
 * memory is the caller's, so that a flood of messages can't keep the system from being told to
 * stop.
 *
 * Waking the shard is not done here: see shard/sleep.h for the handshake that goes with a push.
 */
#ifndef RINGLINE_MAILBOX_INBOX_H
#define RINGLINE_MAILBOX_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "mailbox/mailbox.h"

#define INBOX_ENVELOPES 1024 /* a power of two */

/* A request of the composition root to a shard; the sender waits until it was answered. */
struct control {
	struct control *next;
	uint32_t kind;
};

struct inbox;

/* NULL when there is no memory. */
struct inbox *rli_inbox_create(void);

void rli_inbox_destroy(struct inbox *inbox);

/* Any thread. Copies; never waits for another thread. 0, -EAGAIN when full. */
int rli_inbox_push(struct inbox *inbox, const struct envelope *envelope);

/* The shard. False when empty. */
bool rli_inbox_pop(struct inbox *inbox, struct envelope *out);

/* Any thread; never fails. @control stays the caller's and must live until it was answered. */
void rli_inbox_control_push(struct inbox *inbox, struct control *control);

/* The shard: all that came, in order, linked by next; NULL when there is none. */
struct control *rli_inbox_control_take(struct inbox *inbox);

/* The shard: nothing of either sort is there. */
bool rli_inbox_is_empty(const struct inbox *inbox);

#endif
