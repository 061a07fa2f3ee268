/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The simulated kernel does what Linux was measured to do: raw requests in, completions out.
 * Without these the simulation would prove the product against a kernel that doesn't exist. Not
 * proved here: that Linux behaves so, which the integration tests see.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim_raw.h"

#define RECV   100
#define SEND   200
#define CANCEL 300
#define OTHER  400

static void
cancel(struct raw *raw, uint64_t target)
{
	struct io_uring_sqe *sqe = raw_sqe(raw, CANCEL);

	io_uring_prep_cancel64(sqe, target, 0);
	sqe->user_data = CANCEL;
}

static void
close_slot(struct raw *raw, int slot)
{
	struct io_uring_sqe *sqe = raw_sqe(raw, OTHER);

	io_uring_prep_close_direct(sqe, (unsigned)slot);
	sqe->user_data = OTHER;
}

static void
send_waitall(struct raw *raw, int slot, const void *data, size_t len, int flags)
{
	struct io_uring_sqe *sqe = raw_sqe(raw, SEND);

	io_uring_prep_send(sqe, slot, data, len, flags);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = SEND;
}

static void
multishot_recv_goes_on_with_more(void **state)
{
	struct raw *raw = *state;
	const struct ring_cqe *cqe;
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	raw_recv_multishot(raw, slot, RECV);
	assert_int_equal(raw_enter(raw), 0);
	assert_int_equal(sk_write(peer, "hello", 5), 5);
	raw_net();
	assert_int_equal(raw_enter(raw), 1);
	cqe = raw_cqe(raw, RECV, 0);
	assert_int_equal(cqe->res, 5);
	assert_true(cqe->flags & IORING_CQE_F_MORE);
	assert_true(cqe->flags & IORING_CQE_F_BUFFER);
	assert_memory_equal(raw_buffer(raw, (uint16_t)(cqe->flags >> 16)), "hello", 5);
	sk_file_put(&peer->file);
}

/* Data that arrived shows only at an enter with GETEVENTS; the flag says that it is there. */
static void
completions_need_an_enter(void **state)
{
	struct raw *raw = *state;
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	raw_recv_multishot(raw, slot, RECV);
	raw_enter(raw);
	(void)sk_write(peer, "x", 1);
	raw_net();
	assert_int_equal(sk_cq_count(raw->ring), 0);
	assert_true(sk_ring_is_busy(raw->ring));
	assert_int_equal(raw_enter(raw), 1);
	sk_file_put(&peer->file);
}

static void
an_enter_does_at_most_twenty_pieces(void **state)
{
	struct raw *raw = *state;
	struct sk_sock *peers[24];

	for (int i = 0; i < 24; i++) {
		int slot;

		peers[i] = raw_connect(raw, &slot);
		raw_recv_multishot(raw, slot, RECV + (uint64_t)i);
	}
	raw_enter(raw);
	for (int i = 0; i < 24; i++) {
		sk_reset(peers[i]);
	}
	raw_net();
	assert_int_equal(raw_enter(raw), 20);
	assert_int_equal(raw_enter(raw), 4);
	for (int i = 0; i < 24; i++) {
		sk_file_put(&peers[i]->file);
	}
}

static void
empty_buffer_ring_ends_the_multishot(void **state)
{
	struct raw *raw = *state;
	uint8_t bytes[RAW_BUFFERS * RAW_BUFFER_BYTES + 10];
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);
	const struct ring_cqe *last;

	memset(bytes, 'b', sizeof(bytes));
	raw_recv_multishot(raw, slot, RECV);
	raw_enter(raw);
	(void)sk_write(peer, bytes, sizeof(bytes));
	raw_net();
	assert_int_equal(raw_settle(raw), RAW_BUFFERS + 1);
	last = raw_cqe(raw, RECV, RAW_BUFFERS);
	assert_int_equal(last->res, -ENOBUFS);
	assert_false(last->flags & IORING_CQE_F_MORE);

	/* armed on an empty ring it fails at once, with bytes or without */
	raw_recv_multishot(raw, slot, RECV);
	assert_int_equal(raw_enter(raw), 1);
	assert_int_equal(raw_cqe(raw, RECV, 0)->res, -ENOBUFS);

	/* nothing was lost */
	raw_publish(raw, 3);
	raw_recv_multishot(raw, slot, RECV);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, RECV, 0)->res, 10);
	sk_file_put(&peer->file);
}

static void
eof_carries_no_buffer(void **state)
{
	struct raw *raw = *state;
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);
	const struct ring_cqe *cqe;

	raw_recv_multishot(raw, slot, RECV);
	raw_enter(raw);
	assert_int_equal(sk_shutdown(peer, SHUT_WR), 0);
	raw_settle(raw);
	cqe = raw_cqe(raw, RECV, 0);
	assert_int_equal(cqe->res, 0);
	assert_int_equal(cqe->flags & (IORING_CQE_F_MORE | IORING_CQE_F_BUFFER), 0);
	sk_file_put(&peer->file);
}

static void
rst_after_data_gives_data_then_econnreset(void **state)
{
	struct raw *raw = *state;
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	raw_recv_multishot(raw, slot, RECV);
	raw_enter(raw);
	(void)sk_write(peer, "last", 4);
	raw_net();
	sk_reset(peer);
	raw_net();
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, RECV, 0)->res, 4);
	assert_int_equal(raw_cqe(raw, RECV, 1)->res, -ECONNRESET);
	assert_false(raw_cqe(raw, RECV, 1)->flags & IORING_CQE_F_MORE);
	sk_file_put(&peer->file);
}

/* The cancel's own completion shows from a submit alone, the target's only with GETEVENTS. */
static void
cancel_completes_before_its_target(void **state)
{
	struct raw *raw = *state;
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	raw_recv_multishot(raw, slot, RECV);
	raw_enter(raw);
	cancel(raw, RECV);
	raw_submit(raw);
	assert_int_equal(raw->count, 1);
	assert_int_equal(raw_cqe(raw, CANCEL, 0)->res, 0);
	assert_int_equal(raw_enter(raw), 1);
	assert_int_equal(raw_cqe(raw, RECV, 0)->res, -ECANCELED);
	assert_false(raw_cqe(raw, RECV, 0)->flags & IORING_CQE_F_MORE);

	cancel(raw, RECV);
	raw_enter(raw);
	assert_int_equal(raw_cqe(raw, CANCEL, 0)->res, -ENOENT);
	sk_file_put(&peer->file);
}

static void
cancel_lets_arrived_data_through_first(void **state)
{
	struct raw *raw = *state;
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	sim_fault_set(FAULT_RECV_AFTER_CANCEL, 65536);
	raw_recv_multishot(raw, slot, RECV);
	raw_enter(raw);
	(void)sk_write(peer, "late", 4);
	raw_net();
	cancel(raw, RECV);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, RECV, 0)->res, 4);
	assert_true(raw_cqe(raw, RECV, 0)->flags & IORING_CQE_F_MORE);
	assert_int_equal(raw_cqe(raw, RECV, 1)->res, -ECANCELED);
	sk_file_put(&peer->file);
}

static void
cancel_may_come_after_its_target(void **state)
{
	struct raw *raw = *state;
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	sim_fault_set(FAULT_CANCEL_LATE, 65536);
	raw_recv_multishot(raw, slot, RECV);
	raw_enter(raw);
	cancel(raw, RECV);
	raw_settle(raw);
	assert_int_equal(raw->cqes[0].user_data, RECV);
	assert_int_equal(raw->cqes[1].user_data, CANCEL);
	sk_file_put(&peer->file);
}

static void
cancel_may_answer_ealready_and_the_target_still_ends(void **state)
{
	struct raw *raw = *state;
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	sim_fault_set(FAULT_CANCEL_EALREADY, 65536);
	raw_recv_multishot(raw, slot, RECV);
	raw_enter(raw);
	cancel(raw, RECV);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, CANCEL, 0)->res, -EALREADY);
	assert_int_equal(raw_cqes_of(raw, RECV), 1);
	assert_false(raw_cqe(raw, RECV, 0)->flags & IORING_CQE_F_MORE);
	sk_file_put(&peer->file);
}

/* The request holds the socket: no FIN leaves until it is over. */
static void
close_under_an_armed_recv_sends_no_fin(void **state)
{
	struct raw *raw = *state;
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);
	uint8_t byte;

	raw_recv_multishot(raw, slot, RECV);
	raw_enter(raw);
	close_slot(raw, slot);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, OTHER, 0)->res, 0);
	assert_int_equal(sk_read(peer, &byte, 1), -EAGAIN);
	(void)sk_write(peer, "still", 5);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, RECV, 0)->res, 5);
	cancel(raw, RECV);
	raw_settle(raw);
	assert_int_equal(sk_read(peer, &byte, 1), 0);

	close_slot(raw, slot);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, OTHER, 0)->res, -EBADF);
	sk_file_put(&peer->file);
}

static void
close_with_unread_bytes_sends_rst(void **state)
{
	struct raw *raw = *state;
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);
	uint8_t byte;

	(void)sk_write(peer, "unread", 6);
	raw_net();
	close_slot(raw, slot);
	raw_settle(raw);
	assert_int_equal(sk_read(peer, &byte, 1), -ECONNRESET);
	sk_file_put(&peer->file);
}

static void
overflow_loses_nothing_but_ends_the_multishot(void **state)
{
	struct raw *raw = *state;
	uint8_t bytes[4 * RAW_BUFFER_BYTES];
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	memset(bytes, 'o', sizeof(bytes));
	raw->ring->cq_entries = 2;
	raw_recv_multishot(raw, slot, RECV);
	raw_enter(raw);
	(void)sk_write(peer, bytes, sizeof(bytes));
	raw_net();
	raw_enter(raw);
	assert_int_equal(raw->count, 2);
	assert_true(rli_ring_overflowed(raw->ring));
	assert_true(raw->cqes[1].flags & IORING_CQE_F_MORE);
	assert_int_equal(raw_enter(raw), 1);
	assert_false(rli_ring_overflowed(raw->ring));
	assert_int_equal(raw->cqes[0].res, RAW_BUFFER_BYTES);
	assert_false(raw->cqes[0].flags & IORING_CQE_F_MORE);
	assert_true(raw->cqes[0].flags & IORING_CQE_F_BUFFER);
	sk_file_put(&peer->file);
}

static void
waitall_send_waits_and_reports_all(void **state)
{
	struct raw *raw = *state;
	static uint8_t bytes[100000];
	static uint8_t got[100000];
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);
	uint32_t total = 0;

	send_waitall(raw, slot, bytes, sizeof(bytes), MSG_WAITALL);
	assert_int_equal(raw_settle(raw), 0);
	while (total < sizeof(bytes)) {
		int64_t n = sk_read(peer, got + total, 5000);

		total += n > 0 ? (uint32_t)n : 0;
		raw_settle(raw);
	}
	assert_int_equal(raw->ring->work_len, 0);
	assert_null(sk_op_find(raw->ring, SEND));
	sk_file_put(&peer->file);
}

static void
cancelled_waitall_send_reports_what_it_sent(void **state)
{
	struct raw *raw = *state;
	static uint8_t bytes[100000];
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	send_waitall(raw, slot, bytes, sizeof(bytes), MSG_WAITALL);
	raw_settle(raw);
	cancel(raw, SEND);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, SEND, 0)->res, sk.snd_cap + sk.rcv_cap);
	sk_file_put(&peer->file);
}

static void
send_without_waitall_is_cut_short(void **state)
{
	struct raw *raw = *state;
	static uint8_t bytes[100000];
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	send_waitall(raw, slot, bytes, sizeof(bytes), 0);
	assert_int_equal(raw_enter(raw), 1);
	assert_int_equal(raw_cqe(raw, SEND, 0)->res, sk.snd_cap);
	sk_file_put(&peer->file);
}

/* A copying send reads its memory until it completes: what changes meanwhile changes the stream. */
static void
send_memory_is_read_late(void **state)
{
	struct raw *raw = *state;
	static char bytes[] = "before";
	char got[8] = "";
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	sim_fault_set(FAULT_CQ_ASYNC, 65536);
	send_waitall(raw, slot, bytes, 6, MSG_WAITALL);
	raw_submit(raw);
	memcpy(bytes, "after!", 6);
	raw_settle(raw);
	assert_int_equal(sk_read(peer, got, 6), 6);
	assert_string_equal(got, "after!");
	sk_file_put(&peer->file);
}

/* Iovecs are read when the SQE is taken, and may change afterwards. */
static void
iovecs_are_read_at_submit(void **state)
{
	struct raw *raw = *state;
	struct iovec iov[2] = { { (void *)(uintptr_t)"one", 3 }, { (void *)(uintptr_t)"two", 3 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	char got[8] = "";
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);
	struct io_uring_sqe *sqe = raw_sqe(raw, SEND);

	sim_fault_set(FAULT_CQ_ASYNC, 65536);
	io_uring_prep_sendmsg(sqe, slot, &msg, MSG_WAITALL);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = SEND;
	raw_submit(raw);
	memset(iov, 0, sizeof(iov));
	memset(&msg, 0, sizeof(msg));
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, SEND, 0)->res, 6);
	assert_int_equal(sk_read(peer, got, 6), 6);
	assert_string_equal(got, "onetwo");
	sk_file_put(&peer->file);
}

static void
send_to_a_reset_peer_fails_once_with_its_error(void **state)
{
	struct raw *raw = *state;
	int slot;
	struct sk_sock *peer = raw_connect(raw, &slot);

	sk_reset(peer);
	raw_net();
	send_waitall(raw, slot, "x", 1, MSG_WAITALL);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, SEND, 0)->res, -ECONNRESET);
	send_waitall(raw, slot, "x", 1, MSG_WAITALL);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, SEND, 0)->res, -EPIPE);
	sk_file_put(&peer->file);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, raw_setup, raw_teardown)
	const struct CMUnitTest tests[] = {
		CASE(multishot_recv_goes_on_with_more),
		CASE(completions_need_an_enter),
		CASE(an_enter_does_at_most_twenty_pieces),
		CASE(empty_buffer_ring_ends_the_multishot),
		CASE(eof_carries_no_buffer),
		CASE(rst_after_data_gives_data_then_econnreset),
		CASE(cancel_completes_before_its_target),
		CASE(cancel_lets_arrived_data_through_first),
		CASE(cancel_may_come_after_its_target),
		CASE(cancel_may_answer_ealready_and_the_target_still_ends),
		CASE(close_under_an_armed_recv_sends_no_fin),
		CASE(close_with_unread_bytes_sends_rst),
		CASE(overflow_loses_nothing_but_ends_the_multishot),
		CASE(waitall_send_waits_and_reports_all),
		CASE(cancelled_waitall_send_reports_what_it_sent),
		CASE(send_without_waitall_is_cut_short),
		CASE(send_memory_is_read_late),
		CASE(iovecs_are_read_at_submit),
		CASE(send_to_a_reset_peer_fails_once_with_its_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
