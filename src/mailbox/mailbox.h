/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How messages are stored: envelopes of 64 bytes from a pool of the shard, on a plain list per
 * actor. A mailbox is local to its shard, so nothing here is atomic; an idle one costs three words.
 */
#ifndef RINGLINE_MAILBOX_MAILBOX_H
#define RINGLINE_MAILBOX_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/msg.h>

#include "base/slab.h"

struct envelope {
	struct envelope *next;
	uint64_t to;
	uint64_t from;
	uint32_t kind;
	uint32_t len;
	uint8_t payload[RL_MSG_INLINE_MAX];
};

struct mailbox {
	struct envelope *first;
	struct envelope *last;
	uint32_t count;
};

struct envelope_pool {
	struct slab slab;
};

/* 0, -ENOMEM. */
int rli_envelope_pool_init(struct envelope_pool *pool, uint32_t envelopes_max);

void rli_envelope_pool_fini(struct envelope_pool *pool);

/*
 * Copy @from into an envelope of the pool and append it. 0, -EAGAIN when @count_max are in the
 * mailbox, -ENOBUFS when the pool is empty.
 */
int rli_mailbox_push(struct mailbox *mailbox, struct envelope_pool *pool, uint32_t count_max,
		     const struct envelope *from);

/* Take the oldest, to be given back with rli_mailbox_release(); NULL when empty. */
struct envelope *rli_mailbox_pop(struct mailbox *mailbox);

void rli_mailbox_release(struct envelope_pool *pool, struct envelope *envelope);

/* Release all; returns how many there were. */
uint32_t rli_mailbox_clear(struct mailbox *mailbox, struct envelope_pool *pool);

#endif
