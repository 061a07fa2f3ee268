/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * bare_ring - one io_uring with nothing around it: no liburing, no runtime. The reference server
 * and the load generator stand on it, and ringline does not: a yardstick shares no code with what
 * it measures.
 *
 *	bare_ring_open(&ring, &(struct bare_ring_config){ .sq_entries = 1024 });
 *	sqe = bare_ring_sqe(&ring, IORING_OP_RECV, file, user_data);
 *	bare_ring_enter(&ring, 1, IORING_ENTER_GETEVENTS);
 *
 * One thread owns a ring (SINGLE_ISSUER, DEFER_TASKRUN), and every file is a direct descriptor.
 * Everything that runs per message is inline here; opening is in bare_ring.c.
 *
 * Orders: the kernel reads sq_tail with acquire and we store it with release, and the same with
 * the roles changed for sq_head, cq_tail and cq_head. There is no other partner.
 */
#ifndef RINGLINE_BENCH_BARE_RING_H
#define RINGLINE_BENCH_BARE_RING_H

#include <errno.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct bare_ring_config {
	unsigned sq_entries;
	unsigned cq_entries;
	unsigned min_wait_us; /* Linux 6.12: a wait for several completions takes at least this */
	bool no_sq_array; /* Linux 6.6; older kernels do without it */
};

/* struct io_uring_getevents_arg with the member that 6.12 put into its padding. */
struct bare_ring_wait {
	uint64_t sigmask;
	uint32_t sigmask_size;
	uint32_t min_wait_us;
	uint64_t timespec;
};

struct bare_ring {
	int fd;
	int enter_fd; /* fd, or its registered index */
	unsigned enter_flags;
	_Atomic unsigned *sq_head;
	_Atomic unsigned *sq_tail;
	_Atomic unsigned *sq_flags;
	_Atomic unsigned *cq_head;
	_Atomic unsigned *cq_tail;
	unsigned sq_mask;
	unsigned cq_mask;
	unsigned sq_entries;
	unsigned tail; /* what we filled; sq_tail is what the kernel was told */
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	uint64_t enters;
	struct bare_ring_wait wait;
	struct __kernel_timespec wait_limit;
};

void bare_ring_open(struct bare_ring *ring, const struct bare_ring_config *config);

/* Registers an empty table of direct descriptors, as long as the open-file limit allows. */
void bare_ring_register_table(struct bare_ring *ring, unsigned files_max);

/* Registers connected sockets: @p fds[i] becomes direct descriptor i. */
void bare_ring_register_files(struct bare_ring *ring, const int *fds, unsigned count);

/* Ends the program unless errno is one that a later enter mends. */
void bare_ring_enter_failed(void);

static inline unsigned
bare_ring_pending(const struct bare_ring *ring)
{
	return ring->tail - atomic_load_explicit(ring->sq_head, memory_order_acquire);
}

static inline void
bare_ring_enter(struct bare_ring *ring, unsigned wait_nr, unsigned flags)
{
	unsigned submit;
	long rc;

	atomic_store_explicit(ring->sq_tail, ring->tail, memory_order_release);
	submit = bare_ring_pending(ring);
	ring->enters++;
	flags |= ring->enter_flags;
	if (ring->wait.min_wait_us != 0 && wait_nr > 1) {
		rc = syscall(__NR_io_uring_enter, ring->enter_fd, submit, wait_nr,
			     flags | IORING_ENTER_EXT_ARG, &ring->wait, sizeof(ring->wait));
	} else {
		rc = syscall(__NR_io_uring_enter, ring->enter_fd, submit, wait_nr, flags, NULL, 0);
	}
	if (rc < 0) {
		bare_ring_enter_failed();
	}
}

static inline struct io_uring_sqe *
bare_ring_sqe(struct bare_ring *ring, uint8_t opcode, int file, uint64_t user_data)
{
	struct io_uring_sqe *sqe;

	while (bare_ring_pending(ring) >= ring->sq_entries) {
		bare_ring_enter(ring, 0, 0);
	}
	sqe = &ring->sqes[ring->tail++ & ring->sq_mask];
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->fd = file;
	sqe->user_data = user_data;
	return sqe;
}

/* Both halves of a batch of completions: from bare_ring_first to bare_ring_end, then consumed. */
static inline unsigned
bare_ring_first(const struct bare_ring *ring)
{
	return atomic_load_explicit(ring->cq_head, memory_order_relaxed);
}

static inline unsigned
bare_ring_end(const struct bare_ring *ring)
{
	return atomic_load_explicit(ring->cq_tail, memory_order_acquire);
}

static inline void
bare_ring_consumed(struct bare_ring *ring, unsigned head)
{
	atomic_store_explicit(ring->cq_head, head, memory_order_release);
}

/*
 * A group of provided buffers. @c stride_bytes is chosen off the page size, which spreads the
 * buffers over the cache sets. The kernel reads the tail with acquire.
 */
struct bare_buffers {
	struct io_uring_buf *entries;
	_Atomic uint16_t *tail_shared;
	uint8_t *memory;
	size_t stride_bytes;
	uint32_t size_bytes;
	uint16_t mask;
	uint16_t tail;
};

/* Maps @p count (a power of two) buffers, gives all of them to the kernel as @p group. */
void bare_buffers_open(struct bare_buffers *buffers, struct bare_ring *ring, unsigned count,
		       uint32_t size_bytes, unsigned group);

static inline uint8_t *
bare_buffers_data(const struct bare_buffers *buffers, uint16_t id)
{
	return buffers->memory + id * buffers->stride_bytes;
}

/* The kernel sees what was given at the next publish. */
static inline void
bare_buffers_give(struct bare_buffers *buffers, uint16_t id)
{
	struct io_uring_buf *entry = &buffers->entries[buffers->tail & buffers->mask];

	entry->addr = (uintptr_t)bare_buffers_data(buffers, id);
	entry->len = buffers->size_bytes;
	entry->bid = id;
	buffers->tail = (uint16_t)(buffers->tail + 1); /* wraps by design */
}

static inline void
bare_buffers_publish(struct bare_buffers *buffers)
{
	atomic_store_explicit(buffers->tail_shared, buffers->tail, memory_order_release);
}

#endif
