/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a ring opens with each optional feature and without, or says why not and leaves nothing;
 *         buffer rings come and go, and any thread closes.
 * How: on this kernel, also with calls that a seccomp filter refuses.
 * Not: kernels that refuse an optional flag; test_ring_uring.c has what a ring does in between.
 * Guards: pitfall 25, pitfall 27, pitfall 28, pitfall 29.
 */
#include "ring_bed.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static void
ring_opened_has_the_features_that_were_not_forbidden(void **state)
{
	static const uint32_t all = RL_FEATURE_DEFER_TASKRUN | RL_FEATURE_NO_SQARRAY |
				    RL_FEATURE_REGISTERED_RING | RL_FEATURE_MIN_WAIT |
				    RL_FEATURE_FIXED_FILES | RL_FEATURE_MSG_RING |
				    RL_FEATURE_ACCEPT_POLL;
	struct ring *ring = ring_open(0);
	uint32_t here = rli_ring_features(ring);
	uint32_t bit;

	(void)state;
	assert_int_equal(here & ~all, 0);
	assert_true(here & RL_FEATURE_FIXED_FILES); /* part of the floor */
	assert_true(here & RL_FEATURE_REGISTERED_RING);
	assert_true(here & RL_FEATURE_MSG_RING);
	ring_end(ring);
	for (bit = 1; bit <= all; bit <<= 1) {
		ring = ring_open(bit);
		assert_int_equal(rli_ring_features(ring), here & ~bit);
		ring_end(ring);
	}
	ring = ring_open(all);
	assert_int_equal(rli_ring_features(ring), 0);
	ring_end(ring);
}

static void
ring_works_without_each_feature(void **state)
{
	static const uint32_t withouts[] = {
		0,
		RL_FEATURE_DEFER_TASKRUN,
		RL_FEATURE_NO_SQARRAY,
		RL_FEATURE_REGISTERED_RING,
		RL_FEATURE_MIN_WAIT,
		RL_FEATURE_FIXED_FILES,
		RL_FEATURE_MSG_RING,
		RL_FEATURE_ACCEPT_POLL,
		UINT32_MAX,
	};
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(withouts); i++) {
		struct ring *ring = ring_open(withouts[i]);

		nops_go_round(ring);
		rli_ring_detach(ring);
		nops_go_round(ring); /* detached, it still works: the thread ends it after this */
		rli_ring_close(ring);
	}
}

#define BUFFERS	     8
#define BUFFER_BYTES 64

/* A ring of buffers in the kernel's layout: the entries, then the buffers. */
static struct io_uring_buf_ring *
buffers_map(size_t bytes)
{
	struct io_uring_buf_ring *buffers =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *data = (uint8_t *)buffers + bytes / 2;
	uint16_t i;

	assert_true(buffers != MAP_FAILED);
	for (i = 0; i < BUFFERS; i++) {
		buffers->bufs[i].addr = (uintptr_t)(data + (size_t)i * BUFFER_BYTES);
		buffers->bufs[i].len = BUFFER_BYTES;
		buffers->bufs[i].bid = i;
	}
	io_uring_smp_store_release(&buffers->tail, BUFFERS);
	return buffers;
}

/* The kernel takes the buffers in order, says which, and ENOBUFS when there is none. */
static void
buffers_are_used(struct ring *ring, const struct io_uring_buf_ring *buffers)
{
	struct ring_cqe cqe;
	uint32_t i;
	int pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	for (i = 0; i <= BUFFERS; i++) {
		struct io_uring_sqe *sqe = rli_ring_sqe(ring);

		assert_int_equal(write(pipes[1], "hello", 5), 5);
		io_uring_prep_read(sqe, pipes[0], NULL, BUFFER_BYTES, 0);
		sqe->flags = IOSQE_BUFFER_SELECT;
		sqe->buf_group = 5;
		reap_exactly(ring, &cqe, 1);
		if (i == BUFFERS) {
			assert_int_equal(cqe.res, -ENOBUFS);
			assert_int_equal(cqe.flags & IORING_CQE_F_BUFFER, 0);
			break;
		}
		assert_int_equal(cqe.res, 5);
		assert_true(cqe.flags & IORING_CQE_F_BUFFER);
		assert_int_equal(cqe.flags >> IORING_CQE_BUFFER_SHIFT, i);
		assert_memory_equal((void *)(uintptr_t)buffers->bufs[i].addr, "hello", 5);
	}
	(void)close(pipes[0]);
	(void)close(pipes[1]);
}

static void
ring_buffers_registered_are_used_until_unregistered(void **state)
{
	size_t bytes = 2 * (size_t)sysconf(_SC_PAGESIZE);
	struct ring *ring = ring_open(0);
	struct io_uring_buf_ring *buffers = buffers_map(bytes);

	(void)state;
	assert_int_equal(rli_ring_buffers_register(ring, 5, buffers, BUFFERS), 0);
	assert_int_equal(rli_ring_buffers_register(ring, 5, buffers, BUFFERS), -EEXIST);
	buffers_are_used(ring, buffers);
	rli_ring_buffers_unregister(ring, 5);
	rli_ring_buffers_unregister(ring, 5); /* is not there any more: harmless */
	rli_ring_buffers_unregister(ring, 6); /* never was */
	assert_int_equal(munmap(buffers, bytes), 0);

	buffers = buffers_map(bytes); /* and once more, with other memory */
	assert_int_equal(rli_ring_buffers_register(ring, 5, buffers, BUFFERS), 0);
	buffers_are_used(ring, buffers);
	rli_ring_buffers_unregister(ring, 5);
	ring_end(ring);
	assert_int_equal(munmap(buffers, bytes), 0);
}

static void
ring_buffers_that_cannot_be_are_refused(void **state)
{
	size_t bytes = 2 * (size_t)sysconf(_SC_PAGESIZE);
	struct ring *ring = ring_open(0);
	struct io_uring_buf_ring *buffers = buffers_map(bytes);

	(void)state;
	assert_int_equal(rli_ring_buffers_register(ring, 0, buffers, 7), -EINVAL);
	assert_int_equal(rli_ring_buffers_register(ring, 0, buffers, 65536), -EINVAL);
	assert_int_equal(rli_ring_buffers_register(ring, 0, (uint8_t *)buffers + 16, 8), -EINVAL);
	assert_int_equal(rli_ring_buffers_register(ring, 0, NULL, 8), -EFAULT);
	assert_int_equal(rli_ring_buffers_register(ring, 0, buffers, BUFFERS), 0);
	rli_ring_buffers_unregister(ring, 0);
	ring_end(ring);
	assert_int_equal(munmap(buffers, bytes), 0);
}

struct owner {
	uint32_t without;
	bool detaches;
	struct ring *ring;
};

/* What a shard's thread does with its ring before it ends, a request still in flight. */
static void *
owner_run(void *arg)
{
	static struct __kernel_timespec long_time = { .tv_sec = 1000 };
	struct owner *owner = arg;
	struct io_uring_sqe *sqe;

	owner->ring = ring_open(owner->without);
	nops_go_round(owner->ring);
	sqe = rli_ring_sqe(owner->ring);
	io_uring_prep_timeout(sqe, &long_time, 0, 0);
	ring_enter(owner->ring, &poll_once);
	if (owner->detaches) {
		rli_ring_detach(owner->ring);
	}
	return NULL;
}

static void
ring_closed_by_another_thread_after_its_owner_leaves_nothing(void **state)
{
	size_t committed = rli_host_pages_committed();
	uint32_t fds = unit_fds();
	uint32_t i;

	(void)state;
	for (i = 0; i < 8; i++) {
		struct owner owner = { .without = i & 1 ? UINT32_MAX : 0, .detaches = i & 2 };
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, owner_run, &owner), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		rli_ring_close(owner.ring);
		assert_int_equal(unit_fds(), fds);
		assert_int_equal(rli_host_pages_committed(), committed);
	}
	rli_ring_close(NULL);
}

/* Each open that fails says once what and why, gives no ring, and leaves nothing. */
static void
assert_refused(const struct ring_options *with, int rc, const char *says)
{
	size_t committed = rli_host_pages_committed();
	struct ring *ring = (struct ring *)&unit_log; /* anything but NULL */
	uint32_t fds = unit_fds();

	unit_log_init(&unit_log);
	assert_int_equal(rli_ring_open(&ring, with, &unit_log.log), rc);
	assert_null(ring);
	assert_int_equal(unit_log.lines, 1);
	assert_int_equal(unit_log.level, RL_LOG_ERROR);
	assert_int_equal(unit_log.shard, 3);
	if (strstr(unit_log.text, says) == NULL) {
		fail_msg("\"%s\" does not say \"%s\"", unit_log.text, says);
	}
	assert_int_equal(unit_fds(), fds);
	assert_int_equal(rli_host_pages_committed(), committed);
}

static void
ring_of_impossible_sizes_is_refused(void **state)
{
	struct ring_options with = options;

	(void)state;
	with.sq_entries = 0;
	assert_refused(&with, -EINVAL, "can't create a ring");
	with.sq_entries = 1u << 20; /* the kernel's limit is 2^15 */
	assert_refused(&with, -EINVAL, "can't create a ring");
	with = options;
	with.cq_entries = 32; /* fewer than sq_entries */
	assert_refused(&with, -EINVAL, "can't create a ring");
	with.cq_entries = 1u << 20;
	assert_refused(&with, -EINVAL, "can't create a ring");
}

static void
ring_with_more_files_than_the_limit_is_refused(void **state)
{
	struct ring_options with = options;
	struct rlimit limit;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	with.files_max = (uint32_t)limit.rlim_cur + 1;
	assert_refused(&with, -EMFILE, "RLIMIT_NOFILE");
	with.without |= RL_FEATURE_FIXED_FILES;
	ring_end(ring_open(with.without)); /* no table, no limit */
}

static void
ring_without_descriptors_is_refused(void **state)
{
	struct ring *ring = NULL;
	struct rlimit limit;
	struct rlimit none;
	int rc;

	(void)state;
	unit_log_init(&unit_log);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	rc = rli_ring_open(&ring, &options, &unit_log.log);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(rc, -EMFILE);
	assert_null(ring);
	assert_int_equal(unit_log.lines, 1);
	assert_non_null(strstr(unit_log.text, "RLIMIT_NOFILE"));
}

#define ANY_OP UINT32_MAX

/* A kernel, or a container's profile, that refuses one call. */
struct refusal {
	uint32_t call;
	uint32_t op; /* of io_uring_register */
	int error;
	int rc; /* what the open answers */
	const char *says;
};

static bool
refusal_begin(const struct refusal *refusal)
{
	const bool any = refusal->op == ANY_OP;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refusal->call, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		/* "at least 0" is always true */
		BPF_JUMP(BPF_JMP | (any ? BPF_JGE : BPF_JEQ) | BPF_K, any ? 0 : refusal->op, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)refusal->error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { .len = UNIT_COUNT(code), .filter = code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* In a child, which must not use cmocka's assertions: it would go on with the parent's tests. */
static bool
refusal_is_explained(const struct refusal *refusal)
{
	size_t committed = rli_host_pages_committed();
	uint32_t fds = unit_fds();
	struct ring_cqe cqe;
	struct ring *ring;
	bool ok;

	unit_log_init(&unit_log);
	if (rli_ring_open(&ring, &options, &unit_log.log) != refusal->rc) {
		return false;
	}
	if (refusal->rc != 0) {
		return ring == NULL && unit_log.lines == 1 && unit_fds() == fds &&
		       rli_host_pages_committed() == committed &&
		       strstr(unit_log.text, refusal->says) != NULL;
	}
	ok = unit_log.lines == 0 && !(rli_ring_features(ring) & RL_FEATURE_REGISTERED_RING);
	push_nop(ring, 1);
	ok = ok && rli_ring_enter(ring, &poll_once) == 0 && rli_ring_reap(ring, &cqe, 1) == 1;
	ring_end(ring);
	return ok && unit_fds() == fds;
}

/* A ring descriptor that can't be registered is done without; the rest ends the open. */
static void
ring_refused_by_the_kernel_says_why_and_leaves_nothing(void **state)
{
	static const struct refusal rows[] = {
		{ __NR_io_uring_setup, ANY_OP, EPERM, -EPERM, "kernel.io_uring_disabled" },
		{ __NR_io_uring_setup, ANY_OP, ENOSYS, -ENOSYS, "seccomp" },
		{ __NR_io_uring_setup, ANY_OP, ENOMEM, -ENOMEM, "RLIMIT_MEMLOCK" },
		{ __NR_io_uring_setup, ANY_OP, ENFILE, -ENFILE, "RLIMIT_NOFILE" },
		{ __NR_io_uring_setup, ANY_OP, EINVAL, -EINVAL, "Linux 6.0" },
		{ __NR_io_uring_setup, ANY_OP, EIO, -EIO, "io_uring_setup(2)" },
		{ __NR_io_uring_register, IORING_REGISTER_FILES2, ENOMEM, -ENOMEM,
		  "RLIMIT_MEMLOCK" },
		{ __NR_io_uring_register, IORING_REGISTER_RING_FDS, EINVAL, 0, "" },
	};
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(rows); i++) {
		int status = -1;
		pid_t child = fork();

		assert_true(child >= 0);
		if (child == 0) {
			bool ok = refusal_begin(&rows[i]) && refusal_is_explained(&rows[i]);

			_exit(ok ? 0 : 1);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		if (status != 0) {
			fail_msg("row %u: status %d", i, status);
		}
	}
}

int
ring_life_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_opened_has_the_features_that_were_not_forbidden),
		cmocka_unit_test(ring_works_without_each_feature),
		cmocka_unit_test(ring_buffers_registered_are_used_until_unregistered),
		cmocka_unit_test(ring_buffers_that_cannot_be_are_refused),
		cmocka_unit_test(ring_closed_by_another_thread_after_its_owner_leaves_nothing),
		cmocka_unit_test(ring_of_impossible_sizes_is_refused),
		cmocka_unit_test(ring_refused_by_the_kernel_says_why_and_leaves_nothing),
		cmocka_unit_test(ring_with_more_files_than_the_limit_is_refused),
		cmocka_unit_test(ring_without_descriptors_is_refused),
	};

	return unit_run(tests);
}
