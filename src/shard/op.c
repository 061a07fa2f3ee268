/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Taking completions to their ops, and the cancel rule. The invariant: an op that is IDLE has
 * nothing outstanding in the kernel, neither a request nor a cancel.
 */
#include "shard/op.h"

#include "base/mutant.h"
#include "shard/shard.h"
#include "shard/wake.h"

bool
rli_op_cancel(struct rl_shard *shard, struct op *op)
{
	struct io_uring_sqe *sqe;

	if (op->state != OP_ARMED) {
		return true;
	}
	sqe = rli_ring_sqe(shard->ring);
	if (sqe == NULL) {
		counters_add(&shard->counters, sq_full, 1);
		return false;
	}
	io_uring_prep_cancel64(sqe, (uintptr_t)op, 0);
	sqe->user_data = (uintptr_t)op | OP_TAG_CANCEL;
	op->state = OP_CANCELLING;
	op->cancel_out = true;
	return true;
}

static void
op_cancel_completed(struct rl_shard *shard, struct op *op)
{
	RL_ASSERT(op->cancel_out);
	RL_ASSERT(op->state == OP_CANCELLING);
	op->cancel_out = false;
	if (op->target_out && !RL_MUTANT(CANCEL_ENDS_OP)) {
		return; /* whatever the cancel's result: an op ends at its own last completion */
	}
	op->state = OP_IDLE;
	op->done(shard, op, 0, OP_F_SETTLED);
}

/* One that is no object's. */
static void
op_number_completed(struct rl_shard *shard, uint64_t user_data)
{
	if (user_data == OP_USER_DATA_WOKEN) {
		/* that the shard woke is all there is to it: the turn looks everywhere */
		counters_add(&shard->counters, wakeups, 1);
		return;
	}
	counters_add(&shard->counters, cqes_unknown, 1);
	RL_DEBUG_ASSERT(user_data == OP_USER_DATA_WOKEN);
}

void
rli_op_complete(struct rl_shard *shard, uint64_t user_data, int32_t res, uint32_t flags)
{
	void *object = (void *)(uintptr_t)(user_data & ~(uint64_t)(OP_ALIGN - 1));
	struct op *op = object;

	if (user_data < OP_ADDRESS_MIN) {
		op_number_completed(shard, user_data);
		return;
	}
	if (user_data & OP_TAG_WAKE) {
		rli_wake_completed(shard, object, res);
		return;
	}
	if (user_data & OP_TAG_CANCEL) {
		op_cancel_completed(shard, op);
		return;
	}
	RL_ASSERT(op->target_out);
	if (!(flags & IORING_CQE_F_MORE)) {
		op->target_out = false;
		if (!op->cancel_out) {
			op->state = OP_IDLE;
		}
	}
	op->done(shard, op, res, flags);
}
