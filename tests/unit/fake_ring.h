/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A ring for unit tests in the place of ring_uring.c: it keeps every SQE that it is given, and its
 * completions are the ones that the test puts in (pitfall 107). It never enters a kernel.
 *
 * A program that is linked with fake_ring.c has all of shard/ring.h from there, so the linker
 * leaves the real one in its library.
 */
#ifndef RINGLINE_TESTS_FAKE_RING_H
#define RINGLINE_TESTS_FAKE_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "shard/ring.h"

#define FAKE_RING_SQES_MAX 4096
#define FAKE_RING_CQES_MAX 4096
#define FAKE_RING_FD	   1000000 /* of the first ring; no descriptor that a kernel knows */

struct ring {
	bool open;
	int fd;
	struct ring_options options;

	struct io_uring_sqe sqes[FAKE_RING_SQES_MAX]; /* all since the last fake_ring_forget() */
	uint32_t sqes_count;
	uint32_t queued; /* so many of the last ones were not taken yet */
	uint32_t takes_max; /* an enter takes no more than this */

	struct ring_cqe cqes[FAKE_RING_CQES_MAX];
	uint32_t cq_head;
	uint32_t cq_tail;
	bool behind;
	bool overflowed;

	struct ring_wait wait; /* of the last enter */
	uint32_t enters;
	int enter_rc;

	struct io_uring_buf_ring *buffers; /* registered */
	uint32_t buffers_entries;
	uint16_t buffers_group;
	struct io_uring_buf_ring *buffers_seen; /* registered at any time: mapped until the close */
};

/* How the next rings behave. Zeroed: everything succeeds, and no optional feature is there. */
struct fake_ring_plan {
	int open_rc;
	int enable_rc;
	int buffers_rc;
	uint32_t features;
};

extern struct fake_ring_plan fake_ring_plan;

/* A ring with @sq_entries, without options; rli_ring_close() ends it. Two can be open at a time. */
struct ring *fake_ring_create(uint32_t sq_entries);

/* What was done to rings since fake_ring_trace_clear(): "open register unregister detach close". */
const char *fake_ring_trace(void);
void fake_ring_trace_clear(void);

/* The newest SQE; there must be one. */
const struct io_uring_sqe *fake_ring_last(const struct ring *ring);

/* Forget all SQEs that were taken. */
void fake_ring_forget(struct ring *ring);

/* Completions that wait for rli_ring_reap(). */
uint32_t fake_ring_waiting(const struct ring *ring);

/* Let rli_ring_reap() find a completion. */
void fake_ring_put(struct ring *ring, uint64_t user_data, int32_t res, uint32_t flags);

#endif
