/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The real ring. This is the only file that enters the kernel for one; see ring.h for the contract.
 *
 * Set-up and mapping are liburing's where liburing 2.3 knows the flags; io_uring_enter is called
 * directly because 2.3 can't pass a minimum wait, and because one enter per turn must stay one.
 */
#include "shard/ring.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/host.h"
#include "shard/ring_fence.h"

struct ring {
	struct io_uring uring;
	uint32_t sqe_tail; /* SQEs handed out; published to the kernel by enter */
	uint32_t features;
	int enter_fd; /* the registered index, or the descriptor */
	uint32_t enter_flags;
	struct __kernel_timespec timeout;
};

/* One row per flag that a kernel above the floor may lack, the newest first. */
static const struct {
	uint32_t feature;
	uint32_t flags;
	uint32_t flags_without;
} setup_options[] = {
	{ RL_FEATURE_NO_SQARRAY, IORING_SETUP_NO_SQARRAY, 0 },
	{ RL_FEATURE_DEFER_TASKRUN, IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	  IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG },
};

#define SETUP_OPTIONS (sizeof(setup_options) / sizeof(setup_options[0]))

static int
ring_setup(int *fd, struct io_uring_params *params, const struct ring_options *options,
	   uint32_t features)
{
	*params = (struct io_uring_params){
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER,
		.cq_entries = options->cq_entries,
	};
	if (!(options->without & RL_FEATURE_RESTRICTIONS)) {
		params->flags |= IORING_SETUP_R_DISABLED; /* part of the floor, Linux 5.10 */
	}
	for (size_t i = 0; i < SETUP_OPTIONS; i++) {
		params->flags |= features & setup_options[i].feature
					 ? setup_options[i].flags
					 : setup_options[i].flags_without;
	}
	*fd = (int)syscall(__NR_io_uring_setup, options->sq_entries, params);
	return *fd < 0 ? -errno : 0;
}

/*
 * Probing by doing: ask for everything, and give up the newest feature first as long as the kernel
 * says -EINVAL. A single-issuer ring is the floor (6.0).
 */
static int
ring_setup_probing(struct ring *ring, int *fd, struct io_uring_params *params,
		   const struct ring_options *options)
{
	uint32_t features = (RL_FEATURE_NO_SQARRAY | RL_FEATURE_DEFER_TASKRUN) & ~options->without;
	int rc = ring_setup(fd, params, options, features);

	for (size_t i = 0; rc == -EINVAL && i < SETUP_OPTIONS; i++) {
		features &= ~setup_options[i].feature;
		rc = ring_setup(fd, params, options, features);
	}
	if (rc == 0) {
		ring->features = features;
	}
	return rc;
}

static void
ring_explain(const struct log *log, const struct ring_options *options, int rc)
{
	const char *why = "see io_uring_setup(2)";

	if (rc == -ENOSYS) {
		why = "this kernel has no io_uring, or a container's seccomp profile hides it; "
		      "Linux 6.0 or newer is needed, and a profile that allows io_uring_setup";
	} else if (rc == -EPERM || rc == -EACCES) {
		why = "io_uring is forbidden here; see sysctl kernel.io_uring_disabled, or allow "
		      "io_uring_setup in the container's seccomp profile";
	} else if (rc == -ENOMEM) {
		why = "out of memory or of locked memory; raise RLIMIT_MEMLOCK (ulimit -l), or "
		      "lower cq_entries or the number of shards";
	} else if (rc == -EMFILE || rc == -ENFILE) {
		why = "no descriptor left; raise RLIMIT_NOFILE (ulimit -n)";
	} else if (rc == -EINVAL) {
		why = "this kernel is too old; Linux 6.0 or newer is needed";
	}
	rli_log(log, RL_LOG_ERROR, options->shard, "can't create a ring (%s): %s",
		rli_errno_text(rc), why);
}

/* Lay liburing's view over the mapped rings; it has no public call for a ring made by hand. */
static int
ring_map(struct ring *ring, int fd, struct io_uring_params *params)
{
	int rc = io_uring_queue_mmap(fd, params, &ring->uring);

	if (rc != 0) {
		return rc;
	}
	ring->uring.flags = params->flags;
	ring->uring.features = params->features;
	ring->uring.enter_ring_fd = fd;
	return 0;
}

/*
 * liburing 2.3's mapping doesn't know NO_SQARRAY: the kernel then has no array, sq.array points
 * behind the rings, and nothing may write it.
 */
static void
ring_fill_array(struct ring *ring)
{
	if (ring->features & RL_FEATURE_NO_SQARRAY) {
		return;
	}
	for (uint32_t i = 0; i < ring->uring.sq.ring_entries; i++) {
		ring->uring.sq.array[i] = i;
	}
}

static int
ring_register_files(struct ring *ring, const struct ring_options *options)
{
	if (options->without & RL_FEATURE_FIXED_FILES) {
		return 0;
	}
	int rc = io_uring_register_files_sparse(&ring->uring, options->files_max);

	if (rc == 0) {
		ring->features |= RL_FEATURE_FIXED_FILES;
	}
	return rc;
}

static void
ring_register_self(struct ring *ring, const struct ring_options *options)
{
	ring->enter_fd = ring->uring.ring_fd;
	if (options->without & RL_FEATURE_REGISTERED_RING) {
		return;
	}
	if (io_uring_register_ring_fd(&ring->uring) == 1) {
		ring->enter_fd = ring->uring.enter_ring_fd;
		ring->enter_flags = IORING_ENTER_REGISTERED_RING;
		ring->features |= RL_FEATURE_REGISTERED_RING;
	}
}

static size_t
ring_struct_bytes(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (sizeof(struct ring) + page - 1) / page * page;
}

static struct ring *
ring_alloc(void)
{
	struct ring *ring = rli_host_pages_reserve(ring_struct_bytes());

	if (ring != NULL && rli_host_pages_commit(ring, ring_struct_bytes()) != 0) {
		rli_host_pages_release(ring, ring_struct_bytes());
		return NULL;
	}
	return ring;
}

int
rli_ring_open(struct ring **out, const struct ring_options *options, const struct log *log)
{
	struct io_uring_params params;
	struct ring *ring = ring_alloc();
	int fd = -1;
	int rc = ring == NULL ? -ENOMEM : ring_setup_probing(ring, &fd, &params, options);

	*out = NULL;
	if (rc != 0) {
		goto out_free;
	}
	rc = ring_map(ring, fd, &params);
	if (rc != 0) {
		close(fd);
		goto out_free;
	}
	ring_fill_array(ring);
	rc = ring_register_files(ring, options);
	if (rc != 0) {
		io_uring_queue_exit(&ring->uring);
		goto out_free;
	}
	ring_register_self(ring, options);
	if (params.features & IORING_FEAT_MIN_TIMEOUT &&
	    !(options->without & RL_FEATURE_MIN_WAIT)) {
		ring->features |= RL_FEATURE_MIN_WAIT;
	}
	/* no bit of its own; this one came with the same kernel */
	if (params.features & IORING_FEAT_RECVSEND_BUNDLE &&
	    !(options->without & RL_FEATURE_ACCEPT_POLL)) {
		ring->features |= RL_FEATURE_ACCEPT_POLL;
	}
	/* older than the floor: nothing to probe, and a refusal is made good by shard/wake.c */
	ring->features |= (RL_FEATURE_MSG_RING | RL_FEATURE_RESTRICTIONS) & ~options->without;
	*out = ring;
	return 0;

out_free:
	ring_explain(log, options, rc);
	if (ring != NULL) {
		rli_host_pages_release(ring, ring_struct_bytes());
	}
	return rc;
}

/* liburing 2.3 declares what these two need, and does not export it. */
static int
ring_register(struct ring *ring, unsigned op, const void *arg, uint32_t count)
{
	int rc = (int)syscall(__NR_io_uring_register, ring->uring.ring_fd, op, arg, count);

	return rc < 0 ? -errno : rc;
}

/* An allow list; whatever it does not name is refused. */
static int
ring_restrict(struct ring *ring)
{
#define FENCE_OP(op)	   { .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = (op) },
#define FENCE_REGISTER(op) { .opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = (op) },
	struct io_uring_restriction fence[] = {
		RING_FENCE_OPS(FENCE_OP) RING_FENCE_REGISTERS(FENCE_REGISTER){
			.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
			.sqe_flags = RING_FENCE_FLAGS },
	};

	return ring_register(ring, IORING_REGISTER_RESTRICTIONS, fence,
			     sizeof(fence) / sizeof(fence[0]));
}

int
rli_ring_enable(struct ring *ring, int shard, const struct log *log)
{
	int rc;

	if (!(ring->features & RL_FEATURE_RESTRICTIONS)) {
		return 0; /* it was never disabled */
	}
	rc = ring_restrict(ring);
	if (rc < 0) {
		ring->features &= ~(uint32_t)RL_FEATURE_RESTRICTIONS;
		rli_log(log, RL_LOG_WARN, shard,
			"can't restrict the ring to the requests that it needs (%s); going on "
			"without",
			rli_errno_text(rc));
	}
	rc = ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (rc < 0) {
		rli_log(log, RL_LOG_ERROR, shard,
			"can't enable the ring (%s): see io_uring_register(2), and allow it in the "
			"container's seccomp profile",
			rli_errno_text(rc));
		return rc;
	}
	return 0;
}

void
rli_ring_detach(struct ring *ring)
{
	if (ring->features & RL_FEATURE_FIXED_FILES) {
		(void)io_uring_unregister_files(
			&ring->uring); /* closing the ring would do it too */
	}
	if (ring->features & RL_FEATURE_REGISTERED_RING) {
		(void)io_uring_unregister_ring_fd(&ring->uring);
		ring->enter_fd = ring->uring.ring_fd;
		ring->enter_flags = 0;
	}
}

void
rli_ring_close(struct ring *ring)
{
	if (ring == NULL) {
		return;
	}
	io_uring_queue_exit(&ring->uring);
	rli_host_pages_release(ring, ring_struct_bytes());
}

uint32_t
rli_ring_features(const struct ring *ring)
{
	return ring->features;
}

int
rli_ring_fd(const struct ring *ring)
{
	return ring->uring.ring_fd;
}

uint32_t
rli_ring_queued(const struct ring *ring)
{
	/* the kernel stores the head with release when it has taken an SQE */
	return ring->sqe_tail - io_uring_smp_load_acquire(ring->uring.sq.khead);
}

uint32_t
rli_ring_room(const struct ring *ring)
{
	return ring->uring.sq.ring_entries - rli_ring_queued(ring);
}

struct io_uring_sqe *
rli_ring_sqe(struct ring *ring)
{
	struct io_uring_sqe *sqe;

	if (rli_ring_room(ring) == 0) {
		return NULL;
	}
	sqe = &ring->uring.sq.sqes[ring->sqe_tail++ & ring->uring.sq.ring_mask];
	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

static int
ring_call_enter(struct ring *ring, uint32_t submit, const struct ring_wait *wait)
{
	uint32_t flags = IORING_ENTER_GETEVENTS | ring->enter_flags;
	bool min_wait = wait->nr > 1 && wait->min_us != 0;
	struct uring_getevents_arg arg = { .sigmask_sz = _NSIG / 8 };

	if (wait->nr == 0 || (wait->timeout_ns == RING_NO_TIMEOUT && !min_wait)) {
		return (int)syscall(__NR_io_uring_enter, ring->enter_fd, submit, wait->nr, flags,
				    NULL, _NSIG / 8);
	}
	if (wait->timeout_ns != RING_NO_TIMEOUT) {
		ring->timeout.tv_sec = (int64_t)(wait->timeout_ns / 1000000000);
		ring->timeout.tv_nsec = (long long)(wait->timeout_ns % 1000000000);
		arg.ts = (uintptr_t)&ring->timeout;
	}
	if (min_wait) {
		arg.min_wait_usec = wait->min_us;
	}
	return (int)syscall(__NR_io_uring_enter, ring->enter_fd, submit, wait->nr,
			    flags | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
}

int
rli_ring_enter(struct ring *ring, const struct ring_wait *wait)
{
	RL_ASSERT(wait->nr == 0 || wait->timeout_ns != 0);
	RL_ASSERT(wait->nr <= 1 || wait->min_us == 0 || ring->features & RL_FEATURE_MIN_WAIT);

	/* the kernel loads the tail with acquire: it sees the SQEs that were written before */
	io_uring_smp_store_release(ring->uring.sq.ktail, ring->sqe_tail);
	return ring_call_enter(ring, rli_ring_queued(ring), wait) < 0 ? -errno : 0;
}

uint32_t
rli_ring_reap(struct ring *ring, struct ring_cqe *cqes, uint32_t max)
{
	struct io_uring_cq *cq = &ring->uring.cq;
	uint32_t head = *cq->khead; /* ours alone to write */
	uint32_t ready = io_uring_smp_load_acquire(cq->ktail) - head;
	uint32_t count = ready < max ? ready : max;

	for (uint32_t i = 0; i < count; i++) {
		const struct io_uring_cqe *cqe = &cq->cqes[(head + i) & cq->ring_mask];

		cqes[i] = (struct ring_cqe){ cqe->user_data, cqe->res, cqe->flags };
	}
	/* the kernel may overwrite these places once it sees the new head */
	io_uring_smp_store_release(cq->khead, head + count);
	return count;
}

bool
rli_ring_is_behind(const struct ring *ring)
{
	return (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & IORING_SQ_TASKRUN) != 0;
}

bool
rli_ring_overflowed(struct ring *ring)
{
	return (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
}

bool
rli_ring_has_news(const struct ring *ring)
{
	const uint32_t flags = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;

	/*
	 * pairs with: the kernel's store of the tail with release, behind the completion; the flags
	 * carry no data, and the enter that they ask for synchronizes by itself
	 */
	return io_uring_smp_load_acquire(ring->uring.cq.ktail) != *ring->uring.cq.khead ||
	       (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & flags) != 0;
}

int
rli_ring_buffers_register(struct ring *ring, uint16_t group, void *memory, uint32_t entries)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (uintptr_t)memory,
		.ring_entries = entries,
		.bgid = group,
	};

	return io_uring_register_buf_ring(&ring->uring, &reg, 0);
}

void
rli_ring_buffers_unregister(struct ring *ring, uint16_t group)
{
	(void)io_uring_unregister_buf_ring(&ring->uring, group);
}
