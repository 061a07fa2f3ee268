/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Wake-ups between shards. Invariant: each claim ends in a message that the kernel took for good or
 * in a write to the eventfd.
 */
#include "shard/wake.h"

#include "base/mutant.h"
#include "shard/shard.h"

_Static_assert(_Alignof(struct rl_shard) >= OP_ALIGN, "user_data has room for a tag");
_Static_assert(OP_USER_DATA_WOKEN < OP_ADDRESS_MIN, "no object has this address");

static void
wake_by_eventfd(struct rl_shard *from, struct rl_shard *to)
{
	counters_add(&from->counters, wakeups_failed, 1);
	rli_sleep_interrupt(&to->sleep);
}

void
rli_wake(struct rl_shard *from, struct rl_shard *to)
{
	struct io_uring_sqe *sqe;

	RL_ASSERT(from != to);
	if (!rli_sleep_claim(&to->sleep)) {
		return;
	}
	counters_add(&from->counters, wakeups_sent, 1);
	if (!(rli_ring_features(from->ring) & RL_FEATURE_MSG_RING)) {
		rli_sleep_interrupt(&to->sleep);
		return;
	}
	sqe = rli_ring_sqe(from->ring);
	if (sqe == NULL) {
		if (!RL_MUTANT(WAKE_WITHOUT_SQE)) {
			wake_by_eventfd(from, to);
		}
		return;
	}
	io_uring_prep_msg_ring(sqe, rli_ring_fd(to->ring), 0, OP_USER_DATA_WOKEN, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = (uintptr_t)to | OP_TAG_WAKE;
}

void
rli_wake_completed(struct rl_shard *from, struct rl_shard *to, int32_t res)
{
	if (res < 0 && !RL_MUTANT(WAKE_FAILURE_IGNORED)) {
		wake_by_eventfd(from, to);
	}
}
