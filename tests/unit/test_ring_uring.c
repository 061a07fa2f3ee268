/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: the real ring's queues and waits keep the contract of ring.h.
 * How: NOPs, timeouts and an eventfd on this kernel; exits with 77 where it denies io_uring.
 * Not: sockets, which tests/integration has; ring_uring_life.c has opening and closing,
 *         ring_uring_message.c what rings do to each other, ring_uring_fence.c what they
 *         refuse.
 * Guards: pitfall 16, pitfall 21, pitfall 22, pitfall 23, pitfall 80.
 */
#include "ring_bed.h"

#include <poll.h>
#include <time.h>

#define SKIP_CODE 77

static void
ring_sqe_is_zeroed(void **state)
{
	static const struct io_uring_sqe zero;
	struct ring *ring = ring_open(0);
	struct ring_cqe cqes[64];
	uint32_t i;

	(void)state;
	for (i = 0; i < 130; i++) {
		struct io_uring_sqe *sqe = rli_ring_sqe(ring);

		assert_non_null(sqe);
		assert_memory_equal(sqe, &zero, sizeof(zero));
		memset(sqe, 0xff, sizeof(*sqe)); /* nothing of this one may be left in the next */
		memset(sqe, 0, offsetof(struct io_uring_sqe, user_data));
		if (rli_ring_room(ring) == 0) {
			reap_exactly(ring, cqes, 64);
		}
	}
	ring_end(ring);
}

static void
ring_queue_full_gives_no_sqe_and_loses_none(void **state)
{
	struct ring *ring = ring_open(0);
	struct ring_cqe cqes[65];
	uint32_t i;

	(void)state;
	for (i = 0; i < 64; i++) {
		assert_int_equal(rli_ring_room(ring), 64 - i);
		push_nop(ring, i);
	}
	assert_int_equal(rli_ring_room(ring), 0);
	assert_null(rli_ring_sqe(ring));
	assert_null(rli_ring_sqe(ring));
	assert_int_equal(rli_ring_queued(ring), 64);
	ring_enter(ring, &poll_once);
	assert_int_equal(rli_ring_queued(ring), 0);
	push_nop(ring, 64);
	reap_exactly(ring, cqes, 65);
	for (i = 0; i < 65; i++) {
		assert_true(cqes[i].user_data == i);
	}
	ring_end(ring);
}

/* A request that the kernel refuses is answered by a completion, and those behind it go on. */
static void
ring_refused_request_completes_and_the_rest_is_submitted(void **state)
{
	struct ring *ring = ring_open(0);
	struct ring_cqe cqes[3];
	struct io_uring_sqe *sqe;

	(void)state;
	push_nop(ring, 1);
	sqe = rli_ring_sqe(ring);
	sqe->opcode = 255;
	sqe->user_data = 2;
	push_nop(ring, 3);
	ring_enter(ring, &poll_once);
	assert_int_equal(rli_ring_queued(ring), 0);
	reap_exactly(ring, cqes, 3);
	assert_int_equal(cqes[1].user_data, 2);
	assert_int_equal(cqes[1].res, -EINVAL);
	assert_int_equal(cqes[2].user_data, 3);
	assert_int_equal(cqes[2].res, 0);
	ring_end(ring);
}

static void
ring_reap_takes_no_more_than_asked(void **state)
{
	struct ring *ring = ring_open(0);
	struct ring_cqe cqes[8];
	uint32_t i;

	(void)state;
	assert_int_equal(rli_ring_reap(ring, cqes, 8), 0);
	for (i = 0; i < 20; i++) {
		push_nop(ring, i);
	}
	ring_enter(ring, &poll_once); /* a NOP completes as it is submitted */
	assert_int_equal(rli_ring_reap(ring, cqes, 0), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(rli_ring_reap(ring, cqes, 8), 8);
		assert_int_equal(cqes[0].user_data, i * 8);
		assert_int_equal(cqes[7].user_data, i * 8 + 7);
	}
	assert_int_equal(rli_ring_reap(ring, cqes, 8), 4);
	assert_int_equal(rli_ring_reap(ring, cqes, 8), 0);
	ring_end(ring);
}

static void
ring_enter_with_a_timeout_stays_as_long_and_not_much_longer(void **state)
{
	static const uint64_t timeouts[] = { 1, 20 * MS, 1000000001 };
	uint32_t without;
	uint32_t i;

	(void)state;
	for (without = 0; without < 2; without++) {
		struct ring *ring = ring_open(without ? UINT32_MAX : 0);

		for (i = 0; i < UNIT_COUNT(timeouts) - without; i++) {
			const struct ring_wait wait = { .nr = 1, .timeout_ns = timeouts[i] };
			uint64_t begin_ns = rli_host_now_ns();
			int rc = rli_ring_enter(ring, &wait);
			uint64_t took_ns = rli_host_now_ns() - begin_ns;

			assert_true(rc == -ETIME || rc == -EINTR);
			assert_true(rc == -EINTR || took_ns >= timeouts[i]);
			assert_true(took_ns < DEADLINE_NS);
		}
		ring_end(ring);
	}
}

static void
ring_enter_without_a_wait_returns_at_once(void **state)
{
	struct ring *ring = ring_open(0);
	uint32_t i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		assert_int_equal(rli_ring_enter(ring, &poll_once), 0);
	}
	ring_end(ring);
}

/* Submitting and waiting are one call: what it submits can end its own wait. */
static void
ring_enter_submits_before_it_waits(void **state)
{
	const struct ring_wait forever = { .nr = 1, .timeout_ns = RING_NO_TIMEOUT };
	const struct ring_wait long_wait = { .nr = 1, .timeout_ns = DEADLINE_NS };
	struct ring *ring = ring_open(0);
	uint64_t begin_ns = rli_host_now_ns();
	struct ring_cqe cqe;

	(void)state;
	push_nop(ring, 1);
	ring_enter(ring, &forever);
	assert_int_equal(rli_ring_reap(ring, &cqe, 1), 1);
	push_nop(ring, 2);
	ring_enter(ring, &long_wait);
	assert_int_equal(rli_ring_reap(ring, &cqe, 1), 1);
	assert_int_equal(cqe.user_data, 2);
	assert_true(rli_host_now_ns() - begin_ns < DEADLINE_NS);
	ring_end(ring);
}

/* A wait for 32 that 1 completion reaches ends after the minimum, not after the timeout. */
static void
ring_enter_with_a_minimum_wait_returns_with_fewer(void **state)
{
	struct ring_wait wait = { .nr = 32, .min_us = 2000, .timeout_ns = RING_NO_TIMEOUT };
	struct ring *ring = ring_open(0);
	struct ring_cqe cqe;
	uint32_t i;

	(void)state;
	if (rli_ring_features(ring) & RL_FEATURE_MIN_WAIT) {
		for (i = 0; i < 2; i++) {
			uint64_t begin_ns = rli_host_now_ns();

			push_nop(ring, i);
			ring_enter(ring, &wait);
			assert_true(rli_host_now_ns() - begin_ns < DEADLINE_NS);
			assert_int_equal(rli_ring_reap(ring, &cqe, 1), 1);
			assert_int_equal(cqe.user_data, i);
			wait.timeout_ns = 2 * DEADLINE_NS;
		}
	}
	ring_end(ring);
}

static void
enter_forever_for_nothing(void *ring)
{
	const struct ring_wait wait = { .nr = 1, .timeout_ns = 0 };

	(void)rli_ring_enter(ring, &wait);
}

static void
enter_min_wait_forbidden(void *ring)
{
	const struct ring_wait wait = { .nr = 2, .min_us = 1, .timeout_ns = 1 };

	(void)rli_ring_enter(ring, &wait);
}

static void
ring_wait_against_the_contract_asserts(void **state)
{
	struct ring *ring = ring_open(RL_FEATURE_MIN_WAIT);

	(void)state;
	assert_true(unit_asserts(enter_forever_for_nothing, ring));
	assert_true(unit_asserts(enter_min_wait_forbidden, ring));
	ring_end(ring);
}

static void
interrupt(int signal)
{
	(void)signal;
}

/* A signal ends a wait that nothing else would end; it is not an error, and the ring goes on. */
static void
ring_enter_interrupted_answers_eintr(void **state)
{
	const struct ring_wait wait = { .nr = 1, .timeout_ns = DEADLINE_NS };
	const struct sigaction action = { .sa_handler = interrupt };
	const struct itimerspec soon = { .it_value = { .tv_nsec = 5 * 1000000 },
					 .it_interval = { .tv_nsec = 5 * 1000000 } };
	const struct itimerspec off = { 0 };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct ring *ring = ring_open(0);
	struct sigaction before;
	timer_t timer;
	int rc;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &soon, NULL), 0);
	rc = rli_ring_enter(ring, &wait);
	assert_int_equal(timer_settime(timer, 0, &off, NULL), 0);
	assert_int_equal(timer_delete(timer), 0);
	assert_int_equal(rc, -EINTR);
	nops_go_round(ring);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	ring_end(ring);
}

/* 4 places for 12 completions: they are late, and told of, and none is lost. */
static void
ring_completions_overflowed_come_late_and_none_is_lost(void **state)
{
	struct ring_options small = options;
	struct ring_cqe cqes[12];
	struct ring *ring;
	uint32_t got = 0;
	uint32_t i;

	(void)state;
	small.sq_entries = 4;
	small.cq_entries = 4;
	assert_int_equal(ring_open_with(&ring, &small), 0);
	for (i = 0; i < 12; i++) {
		push_nop(ring, i);
		if (rli_ring_room(ring) == 0) {
			ring_enter(ring, &poll_once);
		}
	}
	assert_true(rli_ring_overflowed(ring));
	while (got < 12) {
		uint32_t more = rli_ring_reap(ring, cqes + got, 12 - got);

		assert_in_range(more, 1, 4);
		got += more;
		ring_enter(ring, &poll_once);
	}
	for (i = 0; i < 12; i++) {
		assert_true(cqes[i].user_data == i);
	}
	assert_false(rli_ring_overflowed(ring));
	ring_end(ring);
}

#define POLLS 50

/* One write readies many requests at once: what an enter does not get done, it says is left. */
static void
ring_work_left_behind_is_told_and_comes_with_later_enters(void **state)
{
	uint32_t without;
	uint32_t i;

	(void)state;
	for (without = 0; without < 2; without++) {
		struct ring *ring = ring_open(without ? UINT32_MAX : 0);
		int fd = rli_host_eventfd_open();
		struct ring_cqe cqes[POLLS];
		uint32_t got = 0;

		assert_true(fd >= 0);
		for (i = 0; i < POLLS; i++) {
			struct io_uring_sqe *sqe = rli_ring_sqe(ring);

			io_uring_prep_poll_add(sqe, fd, POLLIN);
			sqe->user_data = i;
		}
		ring_enter(ring, &poll_once);
		assert_int_equal(rli_ring_reap(ring, cqes, POLLS), 0);
		assert_int_equal(rli_host_eventfd_write(fd), 0);
		for (i = 0; i < POLLS && got < POLLS; i++) {
			assert_true(i == 0 || rli_ring_is_behind(ring));
			ring_enter(ring, &poll_once);
			got += rli_ring_reap(ring, cqes, POLLS);
		}
		assert_int_equal(got, POLLS);
		ring_enter(ring, &poll_once);
		assert_false(rli_ring_is_behind(ring));
		rli_host_eventfd_close(fd);
		ring_end(ring);
	}
}

/* How a shard sleeps: the read waits though the descriptor does not block, one write ends it. */
static void
ring_eventfd_read_waits_for_the_write(void **state)
{
	const struct ring_wait brief = { .nr = 1, .timeout_ns = 5 * MS };
	uint32_t without;

	(void)state;
	for (without = 0; without < 2; without++) {
		struct ring *ring = ring_open(without ? UINT32_MAX : 0);
		int fd = rli_host_eventfd_open();
		struct io_uring_sqe *sqe = rli_ring_sqe(ring);
		struct ring_cqe cqe;
		uint64_t value = 0;

		assert_true(fd >= 0);
		io_uring_prep_read(sqe, fd, &value, sizeof(value), 0);
		sqe->user_data = 7;
		ring_enter(ring, &brief);
		assert_int_equal(rli_ring_reap(ring, &cqe, 1), 0);
		assert_int_equal(rli_host_eventfd_write(fd), 0);
		reap_exactly(ring, &cqe, 1);
		assert_int_equal(cqe.user_data, 7);
		assert_int_equal(cqe.res, 8);
		assert_int_equal(value, 1);
		rli_host_eventfd_close(fd);
		ring_end(ring);
	}
}

/* Every exit but a denial is for the cases above to judge. */
static bool
ring_is_denied(void)
{
	struct ring *ring;
	int rc = ring_open_with(&ring, &options);

	if (rc == 0) {
		ring_end(ring);
	}
	return rc == -ENOSYS || rc == -EPERM || rc == -EACCES;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_sqe_is_zeroed),
		cmocka_unit_test(ring_queue_full_gives_no_sqe_and_loses_none),
		cmocka_unit_test(ring_refused_request_completes_and_the_rest_is_submitted),
		cmocka_unit_test(ring_reap_takes_no_more_than_asked),
		cmocka_unit_test(ring_enter_with_a_timeout_stays_as_long_and_not_much_longer),
		cmocka_unit_test(ring_enter_without_a_wait_returns_at_once),
		cmocka_unit_test(ring_enter_submits_before_it_waits),
		cmocka_unit_test(ring_enter_with_a_minimum_wait_returns_with_fewer),
		cmocka_unit_test(ring_wait_against_the_contract_asserts),
		cmocka_unit_test(ring_enter_interrupted_answers_eintr),
		cmocka_unit_test(ring_completions_overflowed_come_late_and_none_is_lost),
		cmocka_unit_test(ring_work_left_behind_is_told_and_comes_with_later_enters),
		cmocka_unit_test(ring_eventfd_read_waits_for_the_write),
	};

	if (ring_is_denied()) {
		print_message("skipped: %s\n", unit_log.text);
		return SKIP_CODE;
	}
	return unit_run(tests) + ring_life_run() + ring_message_run() + ring_fence_run();
}
