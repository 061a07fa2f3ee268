/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The simulated kernel, second part: accepting, connecting, timeouts, resets, eventfds,
 * descriptors, partial submission and sleeping. See test_sim_kernel.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim_raw.h"

#define CONNECT 100
#define TIMEOUT 200
#define OTHER	300

static const struct sockaddr unspec = { .sa_family = AF_UNSPEC };

/* A plain descriptor for a socket of ours. */
static int
our_socket(bool is_unix)
{
	return sk_fd_install(&sk_socket(is_unix)->file);
}

static void
connect_to(struct raw *raw, int fd, uint16_t port, struct __kernel_timespec *ts)
{
	static union url_sockaddr addr;
	struct io_uring_sqe *sqe = raw_sqe(raw, CONNECT);
	socklen_t len;

	sk_addr_tcp(&addr, &len, port);
	io_uring_prep_connect(sqe, fd, &addr.sa, len);
	sqe->user_data = CONNECT;
	if (ts != NULL) {
		sqe->flags |= IOSQE_IO_LINK;
		sqe = raw_sqe(raw, TIMEOUT);
		io_uring_prep_link_timeout(sqe, ts, 0);
		sqe->user_data = TIMEOUT;
	}
}

static void
plain(struct raw *raw, int fd, uint8_t opcode, const struct sockaddr *addr)
{
	struct io_uring_sqe *sqe = raw_sqe(raw, OTHER);

	if (opcode == IORING_OP_CLOSE) {
		io_uring_prep_close(sqe, fd);
	} else {
		io_uring_prep_connect(sqe, fd, addr, sizeof(*addr));
	}
	sqe->user_data = OTHER;
}

static void
accept_each_has_its_own_address(void **state)
{
	struct raw *raw = *state;
	struct sockaddr_in addrs[3];
	socklen_t lens[3];
	struct sk_sock *peers[3];

	for (int i = 0; i < 3; i++) {
		struct io_uring_sqe *sqe = raw_sqe(raw, OTHER + (uint64_t)i);

		lens[i] = sizeof(addrs[i]);
		io_uring_prep_accept(sqe, raw->listen_fd, (struct sockaddr *)&addrs[i], &lens[i],
				     0);
		sqe->file_index = IORING_FILE_INDEX_ALLOC;
		sqe->user_data = OTHER + (uint64_t)i;
	}
	assert_int_equal(raw_settle(raw), 0);
	for (int i = 0; i < 3; i++) {
		union url_sockaddr addr;
		socklen_t len;

		peers[i] = sk_socket(false);
		sk_addr_tcp(&addr, &len, RAW_PORT);
		(void)sk_connect(peers[i], &addr, len);
	}
	raw_net();
	assert_int_equal(raw_settle(raw), 3);
	for (int i = 0; i < 3; i++) {
		int slot = raw_cqe(raw, OTHER + (uint64_t)i, 0)->res;
		struct sk_sock *sock = sk_file_sock(raw->ring->files[slot]);

		assert_int_equal(ntohs(addrs[i].sin_port), sk_addr_port(&sock->peer->local));
		sk_file_put(&peers[i]->file);
	}
}

static void
accept_multishot_goes_on(void **state)
{
	struct raw *raw = *state;
	struct io_uring_sqe *sqe = raw_sqe(raw, OTHER);
	struct sk_sock *peers[2];
	int slot;

	io_uring_prep_multishot_accept(sqe, raw->listen_fd, NULL, NULL, 0);
	sqe->file_index = IORING_FILE_INDEX_ALLOC;
	sqe->user_data = OTHER;
	raw_settle(raw);
	for (int i = 0; i < 2; i++) {
		union url_sockaddr addr;
		socklen_t len;

		peers[i] = sk_socket(false);
		sk_addr_tcp(&addr, &len, RAW_PORT);
		(void)sk_connect(peers[i], &addr, len);
		raw_net();
		assert_int_equal(raw_settle(raw), 1);
		slot = raw->cqes[0].res;
		assert_int_equal(slot, i);
		assert_true(raw->cqes[0].flags & IORING_CQE_F_MORE);
		sk_file_put(&peers[i]->file);
	}
}

static void
accept_into_a_full_table_drops_the_connection(void **state)
{
	struct raw *raw = *state;
	struct sk_sock *peers[33];
	uint8_t byte;
	int slot;

	for (int i = 0; i < 33; i++) {
		peers[i] = raw_connect(raw, &slot);
	}
	assert_int_equal(slot, -ENFILE);
	raw_net();
	assert_int_equal(sk_read(peers[32], &byte, 1), -ECONNRESET);
	for (int i = 0; i < 33; i++) {
		sk_file_put(&peers[i]->file);
	}
}

static void
connect_succeeds_and_cancels_its_timeout(void **state)
{
	struct raw *raw = *state;
	struct __kernel_timespec ts = { .tv_sec = 1 };
	int fd = our_socket(false);

	connect_to(raw, fd, RAW_PORT, &ts);
	raw_settle(raw);
	raw_settle(raw);
	assert_int_equal(sk_file_sock(sk_fd_file(fd))->state, SK_OPEN);
	assert_int_equal(sk_timeouts_next_ns(), UINT64_MAX);
}

static void
connect_refused_ends_its_timeout(void **state)
{
	struct raw *raw = *state;
	struct __kernel_timespec ts = { .tv_sec = 1 };
	int fd = our_socket(false);

	connect_to(raw, fd, 9, &ts);
	raw_enter(raw);
	raw_net();
	raw->count = raw_enter(raw) + raw_enter(raw);
	assert_null(sk_op_find(raw->ring, CONNECT));
	assert_null(sk_op_find(raw->ring, TIMEOUT));
}

static void
connect_timeout_cancels_it(void **state)
{
	struct raw *raw = *state;
	struct __kernel_timespec ts = { .tv_sec = 1 };
	int fd = our_socket(false);

	sim_fault_set(FAULT_CONNECT_BLACK_HOLE, 65536);
	connect_to(raw, fd, RAW_PORT, &ts);
	assert_int_equal(raw_settle(raw), 0);
	memset(&ts, 0xff, sizeof(ts)); /* it was read when the SQE was taken */
	sim_world.now_ns += 999999999;
	sk_timeouts_run();
	assert_int_equal(raw_enter(raw), 0);
	sim_world.now_ns += 1;
	sk_timeouts_run();
	assert_int_equal(raw_enter(raw), 2);
	assert_int_equal(raw_cqe(raw, CONNECT, 0)->res, -ECANCELED);
	assert_int_equal(raw_cqe(raw, TIMEOUT, 0)->res, -ETIME);
}

/* A submission that ends between the two leaves the connect without its deadline. */
static void
cut_chain_leaves_a_timeout_that_is_invalid(void **state)
{
	struct raw *raw = *state;
	struct __kernel_timespec ts = { .tv_sec = 1 };
	int fd = our_socket(false);

	sim_fault_set(FAULT_ENTER_PARTIAL, 65536);
	sim_fault_set(FAULT_LINK_CUT, 65536);
	connect_to(raw, fd, RAW_PORT, &ts);
	raw_enter(raw);
	assert_int_equal(rli_ring_queued(raw->ring), 1);
	sim_fault_set(FAULT_ENTER_PARTIAL, 0);
	raw_enter(raw);
	assert_int_equal(raw_cqe(raw, TIMEOUT, 0)->res, -EINVAL);
}

static void
connect_to_unspec_resets_tcp(void **state)
{
	struct raw *raw = *state;
	struct io_uring_sqe *sqe;
	struct sk_sock *peer;
	uint8_t byte;
	int slot;

	peer = raw_connect(raw, &slot);
	sqe = raw_sqe(raw, OTHER);
	io_uring_prep_connect(sqe, slot, &unspec, sizeof(unspec));
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = OTHER;
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, OTHER, 0)->res, 0);
	assert_int_equal(sk_read(peer, &byte, 1), -ECONNRESET);
	sk_file_put(&peer->file);
}

/* A peer that has our FIN already reads the end of the stream, and only its write fails. */
static void
reset_after_fin_reads_as_the_end(void **state)
{
	struct raw *raw = *state;
	struct io_uring_sqe *sqe;
	struct sk_sock *peer;
	uint8_t byte = 0;
	int slot;

	peer = raw_connect(raw, &slot);
	sqe = raw_sqe(raw, OTHER);
	io_uring_prep_shutdown(sqe, slot, SHUT_WR);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = OTHER;
	raw_settle(raw);
	sqe = raw_sqe(raw, OTHER + 1);
	io_uring_prep_connect(sqe, slot, &unspec, sizeof(unspec));
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = OTHER + 1;
	raw_settle(raw);
	assert_int_equal(sk_read(peer, &byte, 1), 0);
	assert_int_equal(sk_write(peer, &byte, 1), -EPIPE);
	sk_file_put(&peer->file);
}

static void
connect_to_unspec_is_invalid_on_unix(void **state)
{
	struct raw *raw = *state;

	plain(raw, our_socket(true), IORING_OP_CONNECT, &unspec);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, OTHER, 0)->res, -EINVAL);
}

static void
eventfd_read_waits_for_a_write(void **state)
{
	struct raw *raw = *state;
	int fd = sk_eventfd_open();
	uint64_t value = 0;
	struct io_uring_sqe *sqe = raw_sqe(raw, OTHER);

	io_uring_prep_read(sqe, fd, &value, sizeof(value), 0);
	sqe->user_data = OTHER;
	assert_int_equal(raw_settle(raw), 0);
	(void)sk_eventfd_write(fd);
	(void)sk_eventfd_write(fd);
	assert_int_equal(raw_settle(raw), 1);
	assert_int_equal(raw_cqe(raw, OTHER, 0)->res, sizeof(value));
	assert_int_equal(value, 2);
}

static void
closed_descriptor_is_bad(void **state)
{
	struct raw *raw = *state;
	int fd = our_socket(false);

	plain(raw, fd, IORING_OP_CLOSE, NULL);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, OTHER, 0)->res, 0);
	plain(raw, fd, IORING_OP_CLOSE, NULL);
	raw_settle(raw);
	assert_int_equal(raw_cqe(raw, OTHER, 0)->res, -EBADF);
}

static void
reuseport_group_shares_the_connections(void **state)
{
	struct raw *raw = *state;
	struct sk_sock *first = sk_file_sock(sk_fd_file(raw->listen_fd));
	struct sk_sock *second = sk_socket(false);
	union url_sockaddr addr;
	socklen_t len;

	sk_addr_tcp(&addr, &len, RAW_PORT);
	(void)sk_bind(second, &addr, len);
	sk_listen(second, 64);
	for (int i = 0; i < 16; i++) {
		(void)sk_connect(sk_socket(false), &addr, len);
	}
	raw_net();
	assert_int_equal(first->backlog_len + second->backlog_len, 16);
	assert_in_range(second->backlog_len, 1, 15);
}

static void
full_backlog_makes_a_syn_wait(void **state)
{
	struct raw *raw = *state;
	struct sk_sock *listener = sk_file_sock(sk_fd_file(raw->listen_fd));
	struct sk_sock *last = NULL;
	union url_sockaddr addr;
	socklen_t len;

	sk_addr_tcp(&addr, &len, RAW_PORT);
	for (int i = 0; i < 17; i++) {
		last = sk_socket(false);
		(void)sk_connect(last, &addr, len);
		raw_net();
	}
	assert_int_equal(listener->backlog_len, 16);
	assert_int_equal(last->state, SK_SYN_SENT);
	sk_file_put(&sk_accept(listener)->file);
	raw_net();
	assert_int_equal(last->state, SK_OPEN);
}

static void
partial_submit_keeps_the_rest(void **state)
{
	struct raw *raw = *state;

	for (uint64_t i = 0; i < 8; i++) {
		struct io_uring_sqe *sqe = raw_sqe(raw, OTHER + i);

		io_uring_prep_nop(sqe);
		sqe->user_data = OTHER + i;
	}
	sim_fault_set(FAULT_ENTER_PARTIAL, 65536);
	raw_enter(raw);
	assert_in_range(rli_ring_queued(raw->ring), 1, 7);
	assert_int_equal(raw->count + rli_ring_queued(raw->ring), 8);
	sim_fault_set(FAULT_ENTER_PARTIAL, 0);
	raw_enter(raw);
	assert_int_equal(rli_ring_queued(raw->ring), 0);
}

static void
waiting_ring_sleeps_until_something_comes(void **state)
{
	struct raw *raw = *state;
	struct ring_wait wait = { .nr = 1, .timeout_ns = 5000 };
	struct sk_sock *peer;
	int slot;

	peer = raw_connect(raw, &slot);
	raw_recv_multishot(raw, slot, OTHER);
	(void)rli_ring_enter(raw->ring, &wait);
	assert_true(raw->ring->asleep);
	assert_false(sk_ring_is_wakeable(raw->ring));
	(void)sk_write(peer, "x", 1);
	raw_net();
	assert_true(sk_ring_is_wakeable(raw->ring));
	sk_ring_wake(raw->ring);
	assert_int_equal(sk_cq_count(raw->ring), 1);

	raw_enter(raw);
	(void)rli_ring_enter(raw->ring, &wait);
	sim_world.now_ns += 4999;
	assert_false(sk_ring_is_wakeable(raw->ring));
	sim_world.now_ns += 1;
	assert_true(sk_ring_is_wakeable(raw->ring));
	sk_ring_wake(raw->ring);
	sk_file_put(&peer->file);
}

/* A wait for many is not ended by one, but by the minimum wait and one. */
static void
minimum_wait_ends_with_what_there_is(void **state)
{
	struct raw *raw = *state;
	struct ring_wait wait = { .nr = 8, .min_us = 100, .timeout_ns = RING_NO_TIMEOUT };
	struct sk_sock *peer;
	int slot;

	peer = raw_connect(raw, &slot);
	raw_recv_multishot(raw, slot, OTHER);
	(void)rli_ring_enter(raw->ring, &wait);
	(void)sk_write(peer, "x", 1);
	raw_net();
	assert_false(sk_ring_is_wakeable(raw->ring));
	sim_world.now_ns += 100000;
	assert_true(sk_ring_is_wakeable(raw->ring));
	sk_ring_wake(raw->ring);
	sk_file_put(&peer->file);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, raw_setup, raw_teardown)
	const struct CMUnitTest tests[] = {
		CASE(accept_each_has_its_own_address),
		CASE(accept_multishot_goes_on),
		CASE(accept_into_a_full_table_drops_the_connection),
		CASE(connect_succeeds_and_cancels_its_timeout),
		CASE(connect_refused_ends_its_timeout),
		CASE(connect_timeout_cancels_it),
		CASE(cut_chain_leaves_a_timeout_that_is_invalid),
		CASE(connect_to_unspec_resets_tcp),
		CASE(reset_after_fin_reads_as_the_end),
		CASE(connect_to_unspec_is_invalid_on_unix),
		CASE(eventfd_read_waits_for_a_write),
		CASE(closed_descriptor_is_bad),
		CASE(reuseport_group_shares_the_connections),
		CASE(full_backlog_makes_a_syn_wait),
		CASE(partial_submit_keeps_the_rest),
		CASE(waiting_ring_sleeps_until_something_comes),
		CASE(minimum_wait_ends_with_what_there_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
