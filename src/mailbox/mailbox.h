/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How messages are stored: envelopes of 64 bytes from a pool of the shard, on a plain list per
 * actor. A mailbox is local to its shard, so nothing here is atomic; an idle one costs three words.
 */
#ifndef RINGLINE_MAILBOX_MAILBOX_H
#define RINGLINE_MAILBOX_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <ringline/msg.h>

#include "base/slab.h"

/* What an envelope is for; all but the first three are the actor module's own. */
enum envelope_class {
	ENVELOPE_MESSAGE, /* to an actor */
	ENVELOPE_REQUEST, /* to an actor that owes a reply; ref names the request */
	ENVELOPE_NOTIFY, /* to the shard */
	ENVELOPE_SPAWN, /* to the shard, which owes a reply */
	ENVELOPE_REPLY, /* to a request; kind is 0, or the negated errno of a failure */
	ENVELOPE_STOP, /* to an actor */
	ENVELOPE_WATCH, /* the lease `ref` begins; to the actor to be watched */
	ENVELOPE_UNWATCH, /* it is to end */
	ENVELOPE_EXIT, /* it is to end, and the watched actor with it: the watcher has ended */
	ENVELOPE_DOWN, /* the watched actor has ended */
	ENVELOPE_LEASE_HOME, /* the lease is its owner's alone again */
	ENVELOPE_REGISTER, /* to a name's home shard */
	ENVELOPE_UNREGISTER,
	ENVELOPE_NAME, /* from a name's home shard to the others */
};

/* Beside the class: the sender's actor wants to know when it can't be delivered, ... */
#define ENVELOPE_F_REPORT 0x10u
/* ... and, on its way home, why it was not. */
#define ENVELOPE_MARK_FULL     0x20u
#define ENVELOPE_MARK_GONE     0x40u
#define ENVELOPE_MARK_STOPPING 0x60u
#define ENVELOPE_MARKS	       0x60u

#define ENVELOPE_CLASS 0x0fu

/* In envelope.shard: it came from a thread that is no shard's. */
#define ENVELOPE_FOREIGN (-1)

/* 64 bytes, a cache line. */
struct envelope {
	union {
		struct envelope *next; /* in a mailbox */
		uint64_t ref; /* on its way: what the class needs */
	};
	uint64_t to; /* in a mailbox: the request that wants a reply, or 0 */
	uint64_t from;
	union {
		struct {
			uint32_t kind;
			union {
				struct {
					uint8_t len;
					uint8_t class; /* enum envelope_class and ENVELOPE_F_* */
					int16_t shard; /* the sender's */
				};
				uint32_t head; /* all three at once, see envelope_head() */
			};
		};
		uint64_t what; /* kind and head at once, see envelope_what() */
	};
	uint8_t payload[RL_MSG_INLINE_MAX];
};

static inline enum envelope_class
envelope_class(const struct envelope *envelope)
{
	return (enum envelope_class)(envelope->class & ENVELOPE_CLASS);
}

/* What to or into head, once per shard, so that a send writes it with one store. */
static inline uint32_t
envelope_head(uint32_t shard, uint32_t class)
{
	return class << 8 | shard << 16;
}

static inline uint64_t
envelope_what(uint32_t kind, uint32_t head)
{
	return kind | (uint64_t)head << 32;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "both know the byte order");
_Static_assert(sizeof(struct envelope) == 64, "an envelope is a cache line");

/* Two words that are written with one store. */
typedef uint64_t envelope_pair __attribute__((vector_size(16)));

__attribute__((always_inline)) static inline void
envelope_store_pair(void *to, uint64_t first, uint64_t second)
{
	envelope_pair pair = { first, second };

	memcpy(to, &pair, sizeof(pair));
}

/* Hides from the compiler that two words come from one place: it would load them as a vector. */
__attribute__((always_inline)) static inline uint64_t
envelope_word(const uint8_t *from)
{
	uint64_t word;

	memcpy(&word, from, sizeof(word));
	__asm__("" : "+r"(word));
	return word;
}

/*
 * Up to RL_MSG_INLINE_MAX bytes, in pieces that may overlap.
 *
 * Read in words, not in vectors: what is sent was mostly written just now, member by member, and a
 * load that spans several stores waits until all of them have left the store buffer. Written in
 * vectors, because that buffer is what bounds a sender: a store to a line that another core has
 * read stays there until the line is back, and all later ones behind it.
 */
__attribute__((always_inline)) static inline void
envelope_copy_payload(uint8_t *to, const void *data, size_t len)
{
	const uint8_t *from = data;

	if (len >= 16) {
		envelope_store_pair(to, envelope_word(from), envelope_word(from + 8));
		if (len > 16) {
			envelope_store_pair(to + len - 16, envelope_word(from + len - 16),
					    envelope_word(from + len - 8));
		}
	} else if (len >= 8) {
		memcpy(to, from, 8);
		memcpy(to + len - 8, from + len - 8, 8);
	} else if (len >= 4) {
		memcpy(to, from, 4);
		memcpy(to + len - 4, from + len - 4, 4);
	} else if (len > 0) {
		to[0] = from[0];
		to[len / 2] = from[len / 2];
		to[len - 1] = from[len - 1];
	}
}

struct mailbox {
	struct envelope *first;
	struct envelope *last;
	uint32_t count;
};

/* Free envelopes are linked by their own pointers, which is cheaper than the slab's numbers. */
struct envelope_pool {
	struct envelope *free;
	uint32_t taken;
	struct slab slab;
};

/* 0, -ENOMEM. */
int rli_envelope_pool_init(struct envelope_pool *pool, uint32_t envelopes_max);

void rli_envelope_pool_fini(struct envelope_pool *pool);

/* @envelope is the first on the pool's list of free ones. */
static inline void
rli_envelope_take_free(struct envelope_pool *pool, struct envelope *envelope)
{
	pool->free = envelope->next;
	pool->taken++;
}

static inline struct envelope *
rli_envelope_take(struct envelope_pool *pool)
{
	struct envelope *envelope = pool->free;

	if (envelope != NULL) {
		rli_envelope_take_free(pool, envelope);
		return envelope;
	}
	envelope = rli_slab_take(&pool->slab);
	if (envelope != NULL) {
		pool->taken++;
	}
	return envelope;
}

#ifdef NDEBUG
#define ENVELOPES_TO_SLAB false
#else
#define ENVELOPES_TO_SLAB true /* which knows what was given back twice */
#endif

static inline void
rli_mailbox_release(struct envelope_pool *pool, struct envelope *envelope)
{
	pool->taken--;
	if (ENVELOPES_TO_SLAB) {
		rli_slab_give(&pool->slab, envelope);
	} else {
		envelope->next = pool->free;
		pool->free = envelope;
	}
}

static inline void
rli_mailbox_link(struct mailbox *mailbox, struct envelope *envelope)
{
	envelope->next = NULL;
	if (mailbox->first == NULL) {
		mailbox->first = envelope;
	} else {
		mailbox->last->next = envelope;
	}
	mailbox->last = envelope;
	mailbox->count++;
}

/* An envelope of the pool at the mailbox's end, to be filled but for next; NULL: there is none. */
static inline struct envelope *
rli_mailbox_append(struct mailbox *mailbox, struct envelope_pool *pool)
{
	struct envelope *envelope = rli_envelope_take(pool);

	if (envelope != NULL) {
		rli_mailbox_link(mailbox, envelope);
	}
	return envelope;
}

/*
 * Copy @from into an envelope of the pool and append it. 0, -EAGAIN when @count_max are in the
 * mailbox, -ENOBUFS when the pool is empty.
 */
int rli_mailbox_push(struct mailbox *mailbox, struct envelope_pool *pool, uint32_t count_max,
		     const struct envelope *from);

/* Take the oldest, to be given back with rli_mailbox_release(); there is one. */
static inline struct envelope *
rli_mailbox_pop(struct mailbox *mailbox)
{
	struct envelope *envelope = mailbox->first;

	RL_DEBUG_ASSERT(envelope != NULL);
	RL_DEBUG_ASSERT(mailbox->count > 0);
	mailbox->first = envelope->next;
	mailbox->count--;
	return envelope;
}

#endif
