/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How messages are stored. On their way from other threads they are envelopes; in a mailbox they
 * are letters, from a pool of the shard, on a plain list per actor: what a handler is given, as it
 * lies there. Both take a cache line. A mailbox is local to its shard, so nothing here is atomic;
 * an idle one costs three words.
 */
#ifndef RINGLINE_MAILBOX_MAILBOX_H
#define RINGLINE_MAILBOX_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <ringline/buf.h>

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
	ENVELOPE_BUF, /* to an actor, with the counted buffer `ref`, a handle of the receiver's */
	ENVELOPE_BUF_HOME, /* to who lent it: `kind` references to `ref` were given up */
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
	uint64_t ref; /* what the class needs */
	uint64_t to;
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

/* Up to 7 bytes. */
static inline void
envelope_copy_few(uint8_t *to, const uint8_t *from, size_t len)
{
	if (len >= 4) {
		__builtin_memcpy(to, from, 4);
		__builtin_memcpy(to + len - 4, from + len - 4, 4);
	} else if (len > 0) {
		to[0] = from[0];
		to[len / 2] = from[len / 2];
		to[len - 1] = from[len - 1];
	}
}

/* Two words that are written with one store. */
typedef uint64_t envelope_pair __attribute__((vector_size(16)));

__attribute__((always_inline)) static inline void
envelope_store_pair(void *to, uint64_t first, uint64_t second)
{
	envelope_pair pair = { first, second };

	__builtin_memcpy(to, &pair, sizeof(pair));
}

/* Hides from the compiler that two words come from one place: it would load them as a vector. */
__attribute__((always_inline)) static inline uint64_t
envelope_word(const uint8_t *from)
{
	uint64_t word;

	__builtin_memcpy(&word, from, sizeof(word));
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
		__builtin_memcpy(to, from, 8);
		__builtin_memcpy(to + len - 8, from + len - 8, 8);
	} else {
		envelope_copy_few(to, from, len);
	}
}

/* The same within a core, where stores are cheap and what is read soon should be one of them. */
__attribute__((always_inline)) static inline void
letter_copy_payload(uint8_t *to, const void *data, size_t len)
{
	const uint8_t *from = data;

	if (len >= 8) {
		__builtin_memcpy(to, from, 8);
		__builtin_memcpy(to + len - 8, from + len - 8, 8);
		if (len > 16) {
			__builtin_memcpy(to + 8, from + 8, 8);
			__builtin_memcpy(to + len - 16, from + len - 16, 8);
		}
	} else {
		envelope_copy_few(to, from, len);
	}
}

/*
 * A message in a mailbox: what its handler will be given, and the distance in bytes to the next one
 * in user.private_link. Whoever fills a letter may overwrite that, because only what comes later
 * sets it. One with a counted buffer has LETTER_BUF in private_bits and the handle in front of the
 * data.
 */
#define LETTER_BUF    RL_MSG_PRIVATE_BUF
#define LETTER_SHARED 0x4000u /* beside it: the letter is in many mailboxes, or may be */

struct letter {
	struct rl_msg msg;
};

_Static_assert(sizeof(struct letter) == 64, "a letter is a cache line");

/* Means nothing in the last one of a mailbox. */
static inline struct letter *
letter_next(struct letter *letter)
{
	return (struct letter *)(void *)((uint8_t *)letter + letter->msg.user.private_link);
}

static inline void
letter_set_next(struct letter *letter, const struct letter *next)
{
	letter->msg.user.private_link = (int32_t)((const uint8_t *)next - (uint8_t *)letter);
}

/* kind, len and private_bits with one store. */
static inline void
letter_set_head(struct letter *letter, uint32_t kind, uint32_t len, uint32_t bits)
{
	uint64_t head = kind | (uint64_t)(len | bits << 16) << 32;

	memcpy(&letter->msg.kind, &head, sizeof(head));
}

/* What a letter says of where it came from, with an empty link: from user.request to user.data. */
struct letter_source {
	uint64_t request; /* 0: no reply is wanted */
	uint64_t shard; /* and the link */
};

_Static_assert(offsetof(struct rl_msg, user.data) - offsetof(struct rl_msg, user.request) ==
		       sizeof(struct letter_source),
	       "a source is one piece of a letter");

static inline void
letter_set_source(struct letter *letter, const struct letter_source *source)
{
	memcpy(&letter->msg.user.request, source, sizeof(*source));
}

/* NULL: it carries none. */
static inline struct rl_buf *
letter_buf(const struct letter *letter)
{
	return rl_msg_buf(&letter->msg);
}

static inline void
letter_set_buf(struct letter *letter, struct rl_buf *buf)
{
	*(struct rl_buf **)(void *)letter->msg.user.data = buf;
}

/*
 * A shared letter's: in how many mailboxes it is. One that is in several has no link, so it is the
 * only one in each of them, see MAILBOX_SHARED.
 */
static inline uint32_t *
letter_uses(struct letter *letter)
{
	return (uint32_t *)(void *)(letter->msg.user.data + sizeof(struct rl_buf *));
}

/* What came from elsewhere; @bits is 0 or LETTER_BUF, and @request 0 unless it owes a reply. */
static inline void
letter_fill(struct letter *letter, const struct envelope *envelope, uint64_t request, uint32_t bits)
{
	struct letter_source source = { request, (uint32_t)(int32_t)envelope->shard };

	letter_set_head(letter, envelope->kind, envelope->len, bits);
	letter->msg.from.private_bits = envelope->from;
	letter_set_source(letter, &source);
	memcpy(letter->msg.user.data, envelope->payload, sizeof(envelope->payload));
}

/*
 * first and last count only while count is not 0. With MAILBOX_SHARED there is one message, and it
 * is a shared letter: nothing can be linked to it. Its count is above every limit, so that whoever
 * wants to append something finds no room, and gets a letter of the mailbox's own in its place.
 *
 * While its actor is given a run of letters, first and count are as they were when that began, but
 * for what was appended: see rli_actor_run_letters().
 */
#define MAILBOX_SHARED	   0x80000000u
#define MAILBOX_SHARED_ONE (MAILBOX_SHARED | 1)

struct mailbox {
	struct letter *first;
	struct letter *last;
	uint32_t count;
	uint32_t limit; /* of count: mailbox_max, or 0 once the actor's end was decided */
};

/*
 * Free letters are on a stack of addresses, so that taking one does not wait for its own cache
 * line: a burst takes letters that have long left the cache. A NULL at its bottom says that there
 * is none, so that a look at the top is all that taking one needs.
 */
struct letter_pool {
	struct letter **top;
	struct letter **bottom;
	uint32_t free_max; /* for how many there is memory on the stack */
	struct slab slab;
	size_t reserved_bytes; /* of the stack */
};

/* 0, -ENOMEM. */
int rli_letter_pool_init(struct letter_pool *pool, uint32_t letters_max);

void rli_letter_pool_fini(struct letter_pool *pool);

/* How many are taken. */
static inline uint32_t
rli_letters_taken(const struct letter_pool *pool)
{
	return pool->slab.taken - (uint32_t)(pool->top - pool->bottom);
}

/* One that was never taken before, or NULL. */
struct letter *rli_letter_grow(struct letter_pool *pool);

/* The one that is taken next, or NULL: none is on the stack. */
static inline struct letter *
rli_letter_look(const struct letter_pool *pool)
{
	return *pool->top;
}

/* Take what rli_letter_look() found. */
static inline void
rli_letter_take_free(struct letter_pool *pool)
{
	pool->top--;
}

static inline struct letter *
rli_letter_take(struct letter_pool *pool)
{
	struct letter *letter = rli_letter_look(pool);

	if (letter == NULL) {
		return rli_letter_grow(pool);
	}
	rli_letter_take_free(pool);
	return letter;
}

#ifdef NDEBUG
#define LETTERS_TO_SLAB false
#else
#define LETTERS_TO_SLAB true /* which knows what was given back twice */
#endif

static inline void
rli_letter_give(struct letter_pool *pool, struct letter *letter)
{
	if (LETTERS_TO_SLAB) {
		rli_slab_give(&pool->slab, letter);
	} else {
		*++pool->top = letter;
	}
}

static inline void
rli_mailbox_link(struct mailbox *mailbox, struct letter *letter)
{
	uint32_t count = mailbox->count;

	if (count == 0) {
		mailbox->first = letter;
	} else {
		letter_set_next(mailbox->last, letter);
	}
	mailbox->last = letter;
	mailbox->count = count + 1;
}

/* A letter of the pool at the mailbox's end, to be filled; NULL: there is none, or no room. */
static inline struct letter *
rli_mailbox_append(struct mailbox *mailbox, struct letter_pool *pool)
{
	struct letter *letter;

	if (mailbox->count >= mailbox->limit) {
		return NULL;
	}
	letter = rli_letter_take(pool);
	if (letter != NULL) {
		rli_mailbox_link(mailbox, letter);
	}
	return letter;
}

/* How many messages wait. */
static inline uint32_t
rli_mailbox_count(const struct mailbox *mailbox)
{
	return mailbox->count & ~MAILBOX_SHARED;
}

/* A shared letter can be put in: it is empty, and the actor's end was not decided. */
static inline bool
rli_mailbox_takes_shared(const struct mailbox *mailbox)
{
	return mailbox->count == 0 && mailbox->limit != 0;
}

static inline void
rli_mailbox_put_shared(struct mailbox *mailbox, struct letter *letter)
{
	mailbox->first = letter;
	mailbox->count = MAILBOX_SHARED_ONE;
	++*letter_uses(letter);
}

/* @letter, the mailbox's own now or in its place, can be followed by others. */
static inline void
rli_mailbox_unshare(struct mailbox *mailbox, struct letter *letter)
{
	letter->msg.private_bits &= (uint16_t)~LETTER_SHARED;
	mailbox->first = letter;
	mailbox->last = letter;
	mailbox->count = 1;
}

/* Take the only one, which is shared. */
static inline struct letter *
rli_mailbox_pop_shared(struct mailbox *mailbox)
{
	RL_DEBUG_ASSERT(mailbox->count == MAILBOX_SHARED_ONE);
	mailbox->count = 0;
	return mailbox->first;
}

/* Take the oldest, to be given back with rli_letter_give(); there is one. */
static inline struct letter *
rli_mailbox_pop(struct mailbox *mailbox)
{
	struct letter *letter = mailbox->first;

	RL_DEBUG_ASSERT(mailbox->count > 0 && mailbox->count < MAILBOX_SHARED);
	mailbox->first = letter_next(letter);
	mailbox->count--;
	__builtin_prefetch(mailbox->first);
	return letter;
}

#endif
