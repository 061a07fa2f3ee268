/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: an enabled ring takes the requests, flags and registrations of shard/ring_fence.h and
 * refuses every other one with -EACCES; without the feature, or on a kernel that can't, it takes
 * all.
 * How: each opcode that this kernel's headers know, on a descriptor that is none, so that what is
 * let through fails by itself; each flag; each registration; and a seccomp filter for the refusals.
 * Not: that src/ needs no other ones: tidy.ring_fence and the integration tests.
 */
#include "ring_bed.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shard/ring_fence.h"

static struct ring *
fence_open(uint32_t without)
{
	struct ring_options with = options;
	struct ring *ring;

	with.without = without;
	assert_int_equal(ring_open_with(&ring, &with), 0);
	assert_int_equal(rli_ring_enable(ring, 3, &unit_log.log), 0);
	assert_int_equal(unit_log.lines, 0);
	return ring;
}

/* What one request with nothing but these answers. */
static int32_t
fence_ask(struct ring *ring, uint8_t opcode, uint8_t flags)
{
	struct io_uring_sqe *sqe = rli_ring_sqe(ring);
	struct ring_cqe cqe;

	assert_non_null(sqe);
	sqe->opcode = opcode;
	sqe->flags = flags;
	sqe->fd = -1;
	sqe->user_data = 7;
	reap_exactly(ring, &cqe, 1);
	assert_true(cqe.user_data == 7);
	return cqe.res;
}

static void
fence_lets_its_requests_through_and_no_other(void **state)
{
	struct ring *ring = fence_open(0);
	uint32_t through = 0;

	(void)state;
	assert_true(rli_ring_features(ring) & RL_FEATURE_RESTRICTIONS);
	for (uint32_t op = 0; op < IORING_OP_LAST; op++) {
		int32_t res = fence_ask(ring, (uint8_t)op, 0);

		if ((res != -EACCES) != ring_fence_has_op(op)) {
			fail_msg("opcode %u: %d", op, res);
		}
		through += res != -EACCES;
	}
	assert_in_range(through, 11, IORING_OP_LAST / 2);
	for (uint32_t op = IORING_OP_LAST; op < 256; op++) {
		assert_true(fence_ask(ring, (uint8_t)op, 0) < 0);
	}
	ring_end(ring);
}

static void
fence_lets_its_flags_through_and_no_other(void **state)
{
	static const uint8_t flags[] = {
		IOSQE_FIXED_FILE, IOSQE_IO_DRAIN,      IOSQE_IO_LINK,	       IOSQE_IO_HARDLINK,
		IOSQE_ASYNC,	  IOSQE_BUFFER_SELECT, IOSQE_CQE_SKIP_SUCCESS,
	};
	struct ring *ring = fence_open(0);

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(flags); i++) {
		int32_t res = fence_ask(ring, IORING_OP_RECV, flags[i]);

		if ((res != -EACCES) != ((flags[i] & RING_FENCE_FLAGS) != 0)) {
			fail_msg("flag %u: %d", flags[i], res);
		}
	}
	ring_end(ring);
}

/* Its end is all that is registered with it: the file table, the buffers, the descriptor. */
static void
fence_lets_the_end_be_registered_and_no_more(void **state)
{
#define FENCE_BIT(op) | (1ull << (op))
	const uint64_t allowed = 0 RING_FENCE_REGISTERS(FENCE_BIT);
	struct ring *ring = fence_open(0);

	(void)state;
	for (uint32_t op = 0; op < IORING_REGISTER_LAST; op++) {
		if (!(allowed >> op & 1)) {
			assert_int_equal(
				syscall(__NR_io_uring_register, rli_ring_fd(ring), op, NULL, 0),
				-1);
			if (errno != EACCES) {
				fail_msg("registration %u: %s", op, strerror(errno));
			}
		}
	}
	rli_ring_detach(ring);
	/* they did not fail in silence: nothing is left to be unregistered */
	assert_int_equal(syscall(__NR_io_uring_register, rli_ring_fd(ring), IORING_UNREGISTER_FILES,
				 NULL, 0),
			 -1);
	assert_int_equal(errno, ENXIO);
	rli_ring_close(ring);
}

static void
fence_that_is_forbidden_lets_everything_through(void **state)
{
	struct ring *ring = fence_open(RL_FEATURE_RESTRICTIONS);

	(void)state;
	assert_false(rli_ring_features(ring) & RL_FEATURE_RESTRICTIONS);
	assert_int_equal(fence_ask(ring, IORING_OP_NOP, IOSQE_IO_DRAIN), 0);
	ring_end(ring);
}

static void
fence_is_closed_until_the_ring_is_enabled(void **state)
{
	struct ring_options with = options;
	struct ring *ring;

	(void)state;
	with.without = 0;
	assert_int_equal(ring_open_with(&ring, &with), 0);
	push_nop(ring, 1);
	assert_int_equal(rli_ring_enter(ring, &poll_once), -EBADFD);
	ring_end(ring);
}

/* A profile that refuses one registration with EINVAL. */
static bool
fence_refuse(uint32_t op)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_register, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, op, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { .len = UNIT_COUNT(code), .filter = code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* In a child, which must not use cmocka's assertions. */
static bool
fence_refused(uint32_t op, int rc, const char *says)
{
	struct ring_options with = options;
	struct ring_cqe cqe;
	struct ring *ring;
	bool ok;

	with.without = 0;
	if (!fence_refuse(op) || ring_open_with(&ring, &with) != 0) {
		return false;
	}
	ok = rli_ring_enable(ring, 3, &unit_log.log) == rc && unit_log.lines == 1 &&
	     unit_log.level == (rc == 0 ? RL_LOG_WARN : RL_LOG_ERROR) && unit_log.shard == 3 &&
	     strstr(unit_log.text, says) != NULL;
	if (rc == 0) {
		push_nop(ring, 1);
		ok = ok && !(rli_ring_features(ring) & RL_FEATURE_RESTRICTIONS) &&
		     rli_ring_enter(ring, &poll_once) == 0 && rli_ring_reap(ring, &cqe, 1) == 1 &&
		     cqe.res == 0;
	}
	ring_end(ring);
	return ok;
}

/* No fence is worse than one, but better than no service; a ring that stays disabled is neither. */
static void
fence_that_the_kernel_refuses_is_done_without(void **state)
{
	static const struct {
		uint32_t op;
		int rc;
		const char *says;
	} rows[] = {
		{ IORING_REGISTER_RESTRICTIONS, 0, "can't restrict the ring" },
		{ IORING_REGISTER_ENABLE_RINGS, -EINVAL, "can't enable the ring" },
	};

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(rows); i++) {
		int status = -1;
		pid_t child = fork();

		assert_true(child >= 0);
		if (child == 0) {
			_exit(fence_refused(rows[i].op, rows[i].rc, rows[i].says) ? 0 : 1);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		if (status != 0) {
			fail_msg("row %u: status %d", i, status);
		}
	}
}

int
ring_fence_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fence_lets_its_requests_through_and_no_other),
		cmocka_unit_test(fence_lets_its_flags_through_and_no_other),
		cmocka_unit_test(fence_lets_the_end_be_registered_and_no_more),
		cmocka_unit_test(fence_that_is_forbidden_lets_everything_through),
		cmocka_unit_test(fence_is_closed_until_the_ring_is_enabled),
		cmocka_unit_test(fence_that_the_kernel_refuses_is_done_without),
	};

	return unit_run(tests);
}
