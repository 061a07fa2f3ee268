/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Ops: requests that the kernel holds for us, 16 bytes embedded in their owner.
 *
 * user_data is the op's address; its lowest bit says that the completion belongs to a cancel aimed
 * at the op. An op is IDLE again only when its own last completion (the one without F_MORE) *and*
 * that of a cancel aimed at it were seen, in either order: so a late cancel can't kill what was
 * armed after it, and an owner whose ops are all IDLE can be recycled, because the kernel knows
 * nothing of it any more. Wake-ups of other shards (shard/wake.h) have no op: a tag and a number of
 * their own tell them from the rest.
 *
 * done() is called for every completion of the request. When the cancel's completion is the last to
 * come, done() is called once more with OP_F_SETTLED: nothing happened but that the op is IDLE.
 */
#ifndef RINGLINE_SHARD_OP_H
#define RINGLINE_SHARD_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "shard/uring_compat.h"

struct rl_shard;
struct op;

/* In flags, beside the kernel's IORING_CQE_F_*: only the cancel's completion was still missing. */
#define OP_F_SETTLED (1u << 14)

#define OP_TAG_CANCEL 1u /* the address of the op that the cancel is aimed at */
#define OP_TAG_WAKE   2u /* the address of the struct rl_shard that was not woken */
#define OP_ALIGN      16

/* No object lives in the first page: a smaller user_data is this one, or not ours. */
#define OP_ADDRESS_MIN	   4096
#define OP_USER_DATA_WOKEN 64 /* posted by another shard's wake-up */

typedef void (*op_done_fn)(struct rl_shard *shard, struct op *op, int32_t res, uint32_t flags);

enum op_state {
	OP_IDLE,
	OP_ARMED,
	OP_CANCELLING, /* a cancel was sent, and it or the request is still out */
};

struct op {
	_Alignas(OP_ALIGN) op_done_fn done;
	uint8_t state; /* enum op_state */
	bool target_out; /* the request's last completion is to come */
	bool cancel_out; /* the cancel's completion is to come */
};

_Static_assert(sizeof(struct op) == OP_ALIGN, "an op costs its owner 16 bytes");

static inline void
op_init(struct op *op)
{
	op->done = NULL;
	op->state = OP_IDLE;
	op->target_out = false;
	op->cancel_out = false;
}

static inline bool
op_is_idle(const struct op *op)
{
	return op->state == OP_IDLE;
}

/* @sqe was prepared; it is @op's from here on. Sets user_data. */
static inline void
op_arm(struct op *op, struct io_uring_sqe *sqe, op_done_fn done)
{
	RL_ASSERT(op->state == OP_IDLE);
	op->done = done;
	op->state = OP_ARMED;
	op->target_out = true;
	sqe->user_data = (uintptr_t)op;
}

/*
 * Ask the kernel to cancel an ARMED op. True when the request to do so is queued or was already (or
 * the op is IDLE); false when the submission queue is full: ask again next turn.
 */
bool rli_op_cancel(struct rl_shard *shard, struct op *op);

/* Take one completion to the op that it belongs to, or to the wake-ups. */
void rli_op_complete(struct rl_shard *shard, uint64_t user_data, int32_t res, uint32_t flags);

#endif
