/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the files that test the real ring share: a small one, and ways to drive it.
 */
#ifndef RINGLINE_TESTS_RING_BED_H
#define RINGLINE_TESTS_RING_BED_H

#include "unit.h"

#include <errno.h>

#include "shard/ring.h"

#define MS	    ((uint64_t)1000000)
#define DEADLINE_NS (10000 * MS)

/* What the last open had to say. */
static struct unit_log unit_log;

static const struct ring_options options = {
	.sq_entries = 64,
	.cq_entries = 256,
	.files_max = 16,
	.without = RL_FEATURE_RESTRICTIONS, /* NOPs, and no rli_ring_enable() */
	.shard = 3,
};

/* Parallel tests may keep the kernel from having memory for a moment (pitfall 28). */
static inline int
ring_open_with(struct ring **ring, const struct ring_options *with)
{
	uint64_t end_ns = rli_host_now_ns() + DEADLINE_NS;
	int rc;

	do {
		unit_log_init(&unit_log);
		rc = rli_ring_open(ring, with, &unit_log.log);
	} while (rc == -ENOMEM && rli_host_now_ns() < end_ns);
	return rc;
}

static inline struct ring *
ring_open(uint32_t without)
{
	struct ring_options with = options;
	struct ring *ring;

	with.without |= without;
	assert_int_equal(ring_open_with(&ring, &with), 0);
	assert_non_null(ring);
	assert_int_equal(unit_log.lines, 0);
	return ring;
}

static inline void
ring_end(struct ring *ring)
{
	rli_ring_detach(ring);
	rli_ring_close(ring);
}

static const struct ring_wait poll_once = { .timeout_ns = RING_NO_TIMEOUT };

/* EINTR and the like mean: go round. */
static inline void
ring_enter(struct ring *ring, const struct ring_wait *wait)
{
	int rc = rli_ring_enter(ring, wait);

	assert_true(rc == 0 || rc == -EINTR || rc == -ETIME || rc == -EAGAIN || rc == -EBUSY);
}

static inline void
push_nop(struct ring *ring, uint64_t user_data)
{
	struct io_uring_sqe *sqe = rli_ring_sqe(ring);

	assert_non_null(sqe);
	io_uring_prep_nop(sqe);
	sqe->user_data = user_data;
}

/* Enter until @count completions are there, and copy them out. */
static inline void
reap_exactly(struct ring *ring, struct ring_cqe *cqes, uint32_t count)
{
	const struct ring_wait wait = { .nr = 1, .timeout_ns = 100 * MS };
	uint64_t end_ns = rli_host_now_ns() + DEADLINE_NS;
	uint32_t got = rli_ring_reap(ring, cqes, count);

	while (got < count) {
		assert_true(rli_host_now_ns() < end_ns);
		ring_enter(ring, &wait);
		got += rli_ring_reap(ring, cqes + got, count - got);
	}
}

/* Three times round the queue, in batches that don't divide it, so that every index wraps. */
static inline void
nops_go_round(struct ring *ring)
{
	struct ring_cqe cqes[64];
	uint64_t pushed = 0;
	uint32_t i;

	while (pushed < 3 * 256) {
		uint32_t batch = 1 + (uint32_t)(pushed * 7 % 63);

		assert_int_equal(rli_ring_queued(ring), 0);
		assert_int_equal(rli_ring_room(ring), 64);
		for (i = 0; i < batch; i++) {
			push_nop(ring, pushed + i);
		}
		assert_int_equal(rli_ring_queued(ring), batch);
		assert_int_equal(rli_ring_room(ring), 64 - batch);
		reap_exactly(ring, cqes, batch);
		for (i = 0; i < batch; i++) {
			assert_true(cqes[i].user_data == pushed + i);
			assert_int_equal(cqes[i].res, 0);
			assert_int_equal(cqes[i].flags, 0);
		}
		assert_int_equal(rli_ring_reap(ring, cqes, 64), 0);
		pushed += batch;
	}
	assert_false(rli_ring_overflowed(ring));
}

/* Opening, registering and closing: ring_uring_life.c. The number of cases that failed. */
int ring_life_run(void);

/* What a fenced ring refuses: ring_uring_fence.c. As above. */
int ring_fence_run(void);

/* Messages from ring to ring, and news: ring_uring_message.c. As above. */
int ring_message_run(void);

#endif
