/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Messages from ring to ring: the simulated kernel does what tests/unit/ring_uring_message.c sees
 * Linux do, and what it can't make Linux do: refuse for want of memory, be late, come twice.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shard/op.h"

#include "sim_raw.h"

#define SENT 4096

static const struct ring_wait poll_once = { .timeout_ns = RING_NO_TIMEOUT };
static const struct ring_wait forever = { .nr = 1, .timeout_ns = RING_NO_TIMEOUT };

static struct ring *
other_open(const struct raw *raw, uint32_t without)
{
	struct ring_options options = { .sq_entries = 4,
					.cq_entries = 4,
					.without = without | RL_FEATURE_RESTRICTIONS };
	struct ring *ring;

	assert_int_equal(rli_ring_open(&ring, &options, &raw->log), 0);
	return ring;
}

static void
other_close(struct ring *ring)
{
	rli_ring_detach(ring);
	rli_ring_close(ring);
}

static struct io_uring_sqe *
push_message(struct raw *raw, int to, uint32_t len)
{
	struct io_uring_sqe *sqe = raw_sqe(raw, SENT);

	io_uring_prep_msg_ring(sqe, to, len, OP_USER_DATA_WOKEN, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = SENT;
	return sqe;
}

/* Enter and reap one; false: nothing came. */
static bool
other_gets(struct ring *ring, struct ring_cqe *cqe)
{
	assert_int_equal(rli_ring_enter(ring, &poll_once), 0);
	return rli_ring_reap(ring, cqe, 1) == 1;
}

static void
message_arrives_and_only_a_failure_is_told(void **state)
{
	struct raw *raw = *state;

	for (int without = 0; without < 2; without++) {
		struct ring *to = other_open(raw, without ? RL_FEATURE_DEFER_TASKRUN : 0);
		struct ring_cqe cqe;

		assert_int_not_equal(rli_ring_fd(to), rli_ring_fd(raw->ring));
		assert_false(rli_ring_has_news(to));
		(void)push_message(raw, rli_ring_fd(to), 7);
		assert_false(rli_ring_has_news(to));
		assert_int_equal(raw_settle(raw), 0);
		assert_true(rli_ring_has_news(to));
		/* under DEFER_TASKRUN it is a piece of task work, else it is there */
		assert_int_equal(sk_cq_count(to), without);
		assert_true(other_gets(to, &cqe));
		assert_int_equal(cqe.user_data, OP_USER_DATA_WOKEN);
		assert_int_equal(cqe.res, 7);
		assert_int_equal(cqe.flags, 0);
		assert_false(other_gets(to, &cqe));
		assert_false(rli_ring_has_news(to));
		assert_null(sk_op_find(raw->ring, SENT));
		other_close(to);
	}
}

/* Only its own completion is left out: without the flag the sender is told of a success too. */
static void
message_without_skip_is_told_to_the_sender(void **state)
{
	struct raw *raw = *state;
	struct ring *to = other_open(raw, 0);

	push_message(raw, rli_ring_fd(to), 7)->flags = 0;
	assert_int_equal(raw_settle(raw), 1);
	assert_int_equal(raw_cqe(raw, SENT, 0)->res, 0);
	assert_true(rli_ring_has_news(to));
	other_close(to);
}

static void
message_to_no_ring_fails_and_is_told(void **state)
{
	struct raw *raw = *state;
	struct ring *to = other_open(raw, 0);
	int closed = rli_ring_fd(to);
	int eventfd = sk_eventfd_open();

	(void)push_message(raw, eventfd, 0);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, SENT, 0)->res, -EBADFD);
	push_message(raw, closed, 0)->rw_flags = 1;
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, SENT, 0)->res, -EINVAL);
	assert_false(rli_ring_has_news(to));
	other_close(to);
	(void)push_message(raw, closed, 0);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, SENT, 0)->res, -EBADF);
	assert_int_equal(sk_fd_close(eventfd), 0);
}

static void
messages_overflowed_come_late_and_none_is_lost(void **state)
{
	struct raw *raw = *state;

	for (int without = 0; without < 2; without++) {
		struct ring *to = other_open(raw, without ? RL_FEATURE_DEFER_TASKRUN : 0);
		struct ring_cqe cqes[12];
		uint32_t got = 0;

		for (uint32_t i = 0; i < 12; i++) {
			(void)push_message(raw, rli_ring_fd(to), i);
		}
		assert_int_equal(raw_settle(raw), 0);
		while (got < 12) {
			assert_true(rli_ring_has_news(to));
			assert_int_equal(rli_ring_enter(to, &poll_once), 0);
			got += rli_ring_reap(to, cqes + got, 12 - got);
		}
		for (int i = 0; i < 12; i++) {
			assert_int_equal(cqes[i].res, i);
		}
		other_close(to);
	}
}

static void
message_ends_a_wait(void **state)
{
	struct raw *raw = *state;

	for (int without = 0; without < 2; without++) {
		struct ring *to = other_open(raw, without ? RL_FEATURE_DEFER_TASKRUN : 0);
		struct ring_cqe cqe;

		assert_int_equal(rli_ring_enter(to, &forever), 0);
		assert_true(to->asleep);
		assert_false(sk_ring_is_wakeable(to));
		(void)push_message(raw, rli_ring_fd(to), 0);
		assert_true(sk_wake_is_on_its_way(to));
		assert_false(sk_wake_is_on_its_way(raw->ring));
		raw_submit(raw);
		assert_false(sk_wake_is_on_its_way(to));
		assert_true(sk_ring_is_wakeable(to));
		sk_ring_wake(to);
		assert_int_equal(rli_ring_reap(to, &cqe, 1), 1);
		other_close(to);
	}
}

static void
message_refused_is_not_delivered(void **state)
{
	static const struct {
		enum sim_fault fault;
		int32_t res;
	} rows[] = {
		{ FAULT_MSG_RING_EOVERFLOW, -EOVERFLOW },
		{ FAULT_MSG_RING_ENOMEM, -ENOMEM },
		{ FAULT_MSG_RING_EBADFD, -EBADFD },
	};
	struct raw *raw = *state;
	struct ring *to = other_open(raw, 0);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		sim_fault_set(rows[i].fault, 65536);
		(void)push_message(raw, rli_ring_fd(to), 0);
		raw_submit(raw);
		assert_int_equal(raw->count, 1);
		assert_int_equal(raw_cqe(raw, SENT, 0)->res, rows[i].res);
		assert_false(rli_ring_has_news(to));
		assert_false(sk_wake_is_on_its_way(to));
		sim_fault_set(rows[i].fault, 0);
	}
	other_close(to);
}

/* Until the sender was told of the failure it can't make it good: that is no lost wake-up yet. */
static void
message_refused_is_on_its_way_until_the_sender_knows(void **state)
{
	struct raw *raw = *state;
	struct ring *to = other_open(raw, 0);
	struct ring_cqe cqe;

	sim_fault_set(FAULT_MSG_RING_ENOMEM, 65536);
	(void)push_message(raw, rli_ring_fd(to), 0);
	assert_int_equal(rli_ring_enter(raw->ring, &poll_once), 0);
	assert_true(sk_wake_is_on_its_way(to));
	raw->ring->over = true; /* its thread ends without looking */
	assert_false(sk_wake_is_on_its_way(to));
	raw->ring->over = false;
	assert_int_equal(rli_ring_reap(raw->ring, &cqe, 1), 1);
	assert_false(sk_wake_is_on_its_way(to));
	other_close(to);
}

static void
message_late_arrives_when_the_network_is_stepped(void **state)
{
	struct raw *raw = *state;
	struct ring *to = other_open(raw, 0);
	struct ring *gone = other_open(raw, 0);

	sim_fault_set(FAULT_MSG_RING_LATE, 65536);
	(void)push_message(raw, rli_ring_fd(to), 0);
	(void)push_message(raw, rli_ring_fd(gone), 0);
	assert_int_equal(raw_enter(raw), 0);
	assert_int_equal(sk_net_ready(), 2);
	assert_false(rli_ring_has_news(to));
	assert_true(sk_wake_is_on_its_way(to));
	other_close(gone); /* and what was on its way to it */
	assert_int_equal(sk_net_ready(), 1);
	raw_net();
	assert_int_equal(sk_net_ready(), 0);
	assert_true(rli_ring_has_news(to));
	assert_false(sk_wake_is_on_its_way(to));
	other_close(to);
}

static void
message_may_come_twice_or_from_nobody(void **state)
{
	struct raw *raw = *state;
	struct ring *to = other_open(raw, 0);
	struct ring_cqe cqe;

	sim_fault_set(FAULT_MSG_RING_TWICE, 65536);
	(void)push_message(raw, rli_ring_fd(to), 0);
	assert_int_equal(raw_settle(raw), 0);
	assert_true(other_gets(to, &cqe));
	assert_true(other_gets(to, &cqe) || other_gets(to, &cqe));
	assert_false(other_gets(to, &cqe));
	sim_fault_set(FAULT_MSG_RING_TWICE, 0);

	sim_fault_set(FAULT_MSG_RING_SPURIOUS, 65536);
	assert_true(other_gets(to, &cqe));
	assert_int_equal(cqe.user_data, OP_USER_DATA_WOKEN);
	assert_int_equal(cqe.res, 0);
	sim_fault_set(FAULT_MSG_RING_SPURIOUS, 0);
	other_close(to);
}

/* Executed later than submitted: the sender has it as task work until then. */
static void
message_may_leave_late(void **state)
{
	struct raw *raw = *state;
	struct ring *to = other_open(raw, 0);

	sim_fault_set(FAULT_CQ_ASYNC, 65536);
	(void)push_message(raw, rli_ring_fd(to), 0);
	raw_submit(raw);
	assert_false(rli_ring_has_news(to));
	assert_true(rli_ring_has_news(raw->ring));
	assert_true(sk_wake_is_on_its_way(to));
	assert_int_equal(raw_enter(raw), 0);
	assert_true(rli_ring_has_news(to));
	other_close(to);
}

/* A shard that spins in its turn sees time pass, and what was on its way arrive. */
static void
spin_sees_the_world_go_on(void **state)
{
	struct raw *raw = *state;
	struct ring *to = other_open(raw, 0);
	uint64_t begin_ns = sim_world.now_ns;
	uint32_t polls = 0;

	sim_fault_set(FAULT_MSG_RING_LATE, 65536);
	(void)push_message(raw, rli_ring_fd(to), 0);
	assert_int_equal(raw_enter(raw), 0);
	sim_world.in_turn = true;
	while (!rli_ring_has_news(to)) {
		assert_true(++polls < 1000);
	}
	sim_world.in_turn = false;
	assert_true(sim_world.now_ns > begin_ns);
	other_close(to);
}

/* What shard/ring_fence.h has not is refused, as by Linux, and what it has is not. */
static void
fence_refuses_other_requests_and_flags(void **state)
{
	static const struct {
		uint8_t opcode;
		uint8_t flags;
		int32_t res;
	} asks[] = {
		{ IORING_OP_NOP, 0, -EACCES },
		{ IORING_OP_OPENAT, 0, -EACCES },
		{ IORING_OP_ASYNC_CANCEL, IOSQE_IO_DRAIN, -EACCES },
		{ IORING_OP_ASYNC_CANCEL, 0, -ENOENT },
	};
	const struct raw *raw = *state;
	const struct ring_options options = { .sq_entries = 4, .cq_entries = 4 };
	struct ring_cqe cqe;
	struct ring *ring;

	assert_int_equal(rli_ring_open(&ring, &options, &raw->log), 0);
	assert_int_equal(rli_ring_enable(ring, 0, &raw->log), 0);
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
		struct io_uring_sqe *sqe = rli_ring_sqe(ring);

		sqe->opcode = asks[i].opcode;
		sqe->flags = asks[i].flags;
		sqe->addr = 0x5000; /* what a cancel looks for: nobody */
		sqe->fd = -1;
		assert_int_equal(rli_ring_enter(ring, &poll_once), 0);
		assert_int_equal(rli_ring_reap(ring, &cqe, 1), 1);
		assert_int_equal(cqe.res, asks[i].res);
	}
	other_close(ring);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, raw_setup, raw_teardown)
	const struct CMUnitTest tests[] = {
		CASE(message_arrives_and_only_a_failure_is_told),
		CASE(message_without_skip_is_told_to_the_sender),
		CASE(message_to_no_ring_fails_and_is_told),
		CASE(messages_overflowed_come_late_and_none_is_lost),
		CASE(message_ends_a_wait),
		CASE(message_refused_is_not_delivered),
		CASE(message_refused_is_on_its_way_until_the_sender_knows),
		CASE(message_late_arrives_when_the_network_is_stepped),
		CASE(message_may_come_twice_or_from_nobody),
		CASE(message_may_leave_late),
		CASE(spin_sees_the_world_go_on),
		CASE(fence_refuses_other_requests_and_flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
