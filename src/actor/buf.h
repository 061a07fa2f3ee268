/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Counted buffers. A handle counts the references of one shard, without atomics. The first is the
 * owner's, beside the memory; every other shard has one that was lent to it, a loan: taken from the
 * lender's pool when the first message with the buffer left for that shard, and used for all later
 * ones. What the lender counts is references here plus messages that it sent with the loan; the
 * borrower sends that many home when it holds none any more, and may get more of them after that:
 *
 *	lender (refs)                            borrower (refs, received)
 *	  refs++, BUF -----------------------------> refs++, received++: a message in a mailbox
 *	  refs++, BUF -----------------------------> refs++, received++
 *	                                             the last reference is released:
 *	  refs -= 2  <----------------------- BUF_HOME 2, received = 0
 *
 * When the lender's count is 0, nothing is on its way and nobody has a reference, so the loans are
 * idle and go back to the pool with the handle. A borrower may lend on: its own loans count in its
 * own references, so that handles make a tree, and each goes home to who lent it.
 */
#ifndef RINGLINE_ACTOR_BUF_H
#define RINGLINE_ACTOR_BUF_H

#include <ringline/buf.h>

#include "actor/actor.h"
#include "mailbox/mesh.h"
#include "shard/chunk.h"

struct buf {
	struct rl_buf view; /* what the program sees; constant */
	uint32_t refs; /* here, and what was lent and is not home */
	uint32_t received; /* a loan's: references that came, and were not sent home */
	struct rl_shard *shard; /* whose thread counts */
	struct buf *lender; /* NULL: the memory is this handle's */
	struct chunk *chunk; /* the memory */
	struct buf *loans; /* to other shards */
	struct obligation home; /* a loan's: BUF_HOME */

	/* a loan's, written by the lender before it left; a cache line away from what is counted */
	struct buf *next; /* of the lender's loans */
	uint32_t to; /* the borrower */
};

/* 0, -ENOMEM. */
int rli_bufs_init(struct rl_shard *shard);

/* One WARN line when the program kept some. */
void rli_bufs_fini(struct rl_shard *shard);

static inline struct buf *
rli_buf_of(struct rl_buf *view)
{
	return (struct buf *)view; /* its first member */
}

/* The handle that shard @to counts on; NULL: no memory for one. */
struct buf *rli_buf_loan_make(struct buf *buf, uint32_t to);

static inline struct buf *
rli_buf_loan(struct buf *buf, uint32_t to)
{
	for (struct buf *loan = buf->loans; loan != NULL; loan = loan->next) {
		if (loan->to == to) {
			return loan;
		}
	}
	return rli_buf_loan_make(buf, to);
}

/* Nobody on this shard has it. */
void rli_buf_unused(struct buf *buf);

/* Give @count references up. */
static inline void
rli_buf_give(struct buf *buf, uint32_t count)
{
	RL_ASSERT(buf->refs >= count); /* released twice */
	buf->refs -= count;
	if (buf->refs == 0) {
		rli_buf_unused(buf);
	}
}

/* The reference that came with a message, if it carries a buffer. */
static inline void
rli_letter_let_go(const struct letter *letter)
{
	struct rl_buf *buf = letter_buf(letter);

	if (buf != NULL) {
		rli_buf_give(rli_buf_of(buf), 1);
	}
}

/* One mailbox less has it; the last one gives the letter and its reference back. */
static inline void
rli_letter_drop_shared(struct letter_pool *pool, struct letter *letter)
{
	if (--*letter_uses(letter) == 0) {
		rli_letter_let_go(letter);
		rli_letter_give(pool, letter);
	}
}

/*
 * The one message of @mailbox is a shared letter, and another one comes: a letter of its own takes
 * its place. False: there is none.
 */
bool rli_letter_unshare(struct letter_pool *pool, struct mailbox *mailbox);

/* ENVELOPE_BUF_HOME. */
void rli_buf_came_home(struct rl_shard *shard, const struct envelope *envelope);

#endif
