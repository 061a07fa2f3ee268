/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The second door to the outside: one io_uring instance, owned by one thread.
 *
 * ring_uring.c is the real one, the only file that enters the kernel for a ring; the simulator
 * links its own in its place. The two exchange the kernel's own structs, so everything else is the
 * same code in both. Outside this door only the pure inlines io_uring_prep_*() and
 * io_uring_sqe_set_*() of liburing are used.
 *
 * Provided buffer rings are our own memory in the kernel's layout: entries are written and the tail
 * is stored by shard/bufring.c; only (un)registering comes through here.
 */
#ifndef RINGLINE_SHARD_RING_H
#define RINGLINE_SHARD_RING_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/config.h>

#include "base/log.h"
#include "shard/uring_compat.h"

struct ring;

struct ring_options {
	uint32_t sq_entries;
	uint32_t cq_entries;
	uint32_t files_max; /* length of the sparse fixed-file table */
	uint32_t without; /* enum rl_feature bits to do without */
	int shard; /* for log lines */
};

#define RING_NO_TIMEOUT UINT64_MAX

/* How long to stay in the kernel. */
struct ring_wait {
	uint32_t nr; /* completions to wait for; 0 polls */
	uint32_t min_us; /* with nr > 1: return after this with fewer; needs RL_FEATURE_MIN_WAIT */
	uint64_t timeout_ns; /* relative; RING_NO_TIMEOUT; never 0 with nr > 0 */
};

/*
 * Create the ring on the thread that will use it (SINGLE_ISSUER), probing optional features by
 * doing. 0, or after one ERROR line with cause and remedy: -ENOSYS, -EPERM, -ENOMEM, -EMFILE,
 * -EINVAL.
 */
int rli_ring_open(struct ring **out, const struct ring_options *options, const struct log *log);

/*
 * On the ring's own thread, when all that is registered with it is: fence it (shard/ring_fence.h)
 * and let requests in, which it refuses until then. A kernel that can't fence it gets one WARN
 * line, and the feature is gone. 0, or a negative errno after one ERROR line.
 */
int rli_ring_enable(struct ring *ring, int shard, const struct log *log);

/* On the ring's own thread: unregister the file table and the ring descriptor. */
void rli_ring_detach(struct ring *ring);

/* Any thread, after the owner has ended: close and free. NULL does nothing. */
void rli_ring_close(struct ring *ring);

/* The optional features in use, enum rl_feature bits. */
uint32_t rli_ring_features(const struct ring *ring);

/*
 * The plain descriptor, at which another ring's IORING_OP_MSG_RING is aimed; any thread, as long as
 * the ring is open.
 */
int rli_ring_fd(const struct ring *ring);

/* The next SQE, zeroed, or NULL when the queue is full. It is submitted by the next enter. */
struct io_uring_sqe *rli_ring_sqe(struct ring *ring);

/* SQEs that can be had before the queue is full: a linked pair needs two at once. */
uint32_t rli_ring_room(const struct ring *ring);

/* SQEs that the kernel has not taken yet. */
uint32_t rli_ring_queued(const struct ring *ring);

/*
 * One io_uring_enter: submit all that is queued, with GETEVENTS, and wait as told. 0, or -EINTR,
 * -EAGAIN, -EBUSY, -ETIME (all mean: go round), -EBADR (a completion was dropped: the process
 * can't go on).
 * A success says nothing about whether the wait was served; rli_ring_queued() says whether all was
 * submitted.
 */
int rli_ring_enter(struct ring *ring, const struct ring_wait *wait);

/* struct io_uring_cqe without its flexible member, so that it can be an array. */
struct ring_cqe {
	uint64_t user_data;
	int32_t res;
	uint32_t flags;
};

/* Copy out up to @max completions, oldest first, and free their places. */
uint32_t rli_ring_reap(struct ring *ring, struct ring_cqe *cqes, uint32_t max);

/*
 * The last enter may have left work behind in the kernel (SQ_TASKRUN): it does at most
 * max(20, wait.nr) pieces since 6.1. The flag can be stale.
 */
bool rli_ring_is_behind(const struct ring *ring);

/* The completion queue overflows at the moment: completions are late, none is lost. */
bool rli_ring_overflowed(struct ring *ring);

/*
 * Would an enter or a reap bring anything? Without a system call, for a bounded spin before the
 * sleep. True may be stale (as in rli_ring_is_behind()); false is only about this moment.
 */
bool rli_ring_has_news(const struct ring *ring);

/*
 * Register @entries (a power of two) at @memory, page-aligned, as buffer group @group. 0, -errno.
 */
int rli_ring_buffers_register(struct ring *ring, uint16_t group, void *memory, uint32_t entries);

/* On the ring's own thread, before the memory goes. */
void rli_ring_buffers_unregister(struct ring *ring, uint16_t group);

#endif
