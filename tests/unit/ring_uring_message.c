/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a message from one ring to another ends the other's wait, comes whole however full the
 *         queue is, and is answered only when it failed; news are seen without an enter.
 * How: two rings of this kernel, on one thread and on two that wait for each other; with every
 *         feature and with none.
 * Not: what a kernel does that has no memory; tests/sim/test_sim_kernel_message.c has that, and
 *         the same messages for the simulated kernel.
 * Guards: pitfall 80.
 */
#include "ring_bed.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define WOKEN  64
#define SENT   4096
#define ROUNDS 2000

/* What shard/wake.c asks for. */
static struct io_uring_sqe *
push_message(struct ring *ring, int to, uint32_t len)
{
	struct io_uring_sqe *sqe = rli_ring_sqe(ring);

	assert_non_null(sqe);
	io_uring_prep_msg_ring(sqe, to, len, WOKEN, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = SENT;
	return sqe;
}

static void
ring_message_arrives_and_only_a_failure_is_told(void **state)
{
	uint32_t without;

	(void)state;
	for (without = 0; without < 2; without++) {
		struct ring *from = ring_open(without ? UINT32_MAX : 0);
		struct ring *to = ring_open(without ? UINT32_MAX : 0);
		struct ring_cqe cqe;

		assert_int_not_equal(rli_ring_fd(from), rli_ring_fd(to));
		(void)push_message(from, rli_ring_fd(to), 7);
		ring_enter(from, &poll_once);
		assert_int_equal(rli_ring_queued(from), 0);
		assert_true(rli_ring_has_news(to)); /* before an enter of its own */
		reap_exactly(to, &cqe, 1);
		assert_int_equal(cqe.user_data, WOKEN);
		assert_int_equal(cqe.res, 7);
		assert_int_equal(cqe.flags, 0);
		ring_enter(to, &poll_once);
		ring_enter(from, &poll_once);
		assert_int_equal(rli_ring_reap(to, &cqe, 1), 0);
		assert_int_equal(rli_ring_reap(from, &cqe, 1), 0);
		ring_end(from);
		ring_end(to);
	}
}

static void
message_fails(struct ring *from, int32_t error)
{
	struct ring_cqe cqe;

	reap_exactly(from, &cqe, 1);
	assert_int_equal(cqe.user_data, SENT);
	assert_int_equal(cqe.res, error);
}

static void
ring_message_to_no_ring_fails_and_is_told(void **state)
{
	struct ring *from = ring_open(0);
	struct ring *to = ring_open(0);
	int fd = rli_host_eventfd_open();
	int closed = rli_ring_fd(to);
	struct io_uring_sqe *sqe;
	struct ring_cqe cqe;

	(void)state;
	assert_true(fd >= 0);
	(void)push_message(from, fd, 0);
	message_fails(from, -EBADFD);
	/* a message whose receiver hears nothing exists for descriptors only */
	sqe = push_message(from, rli_ring_fd(to), 0);
	sqe->rw_flags = 1;
	message_fails(from, -EINVAL);
	ring_enter(to, &poll_once);
	assert_int_equal(rli_ring_reap(to, &cqe, 1), 0);
	ring_end(to);
	(void)push_message(from, closed, 0);
	message_fails(from, -EBADF);
	rli_host_eventfd_close(fd);
	ring_end(from);
}

/* 4 places for 12 messages: as with any completion they are late, and none is lost. */
static void
ring_messages_overflowed_come_late_and_none_is_lost(void **state)
{
	uint32_t without;

	(void)state;
	for (without = 0; without < 2; without++) {
		struct ring_options small = options;
		struct ring *from = ring_open(0);
		struct ring_cqe cqes[12];
		uint32_t got = 0;
		struct ring *to;
		uint32_t i;

		small.sq_entries = 4;
		small.cq_entries = 4;
		small.without = without ? UINT32_MAX : options.without;
		assert_int_equal(ring_open_with(&to, &small), 0);
		for (i = 0; i < 12; i++) {
			(void)push_message(from, rli_ring_fd(to), i);
		}
		ring_enter(from, &poll_once);
		while (got < 12) {
			assert_true(rli_ring_has_news(to));
			ring_enter(to, &poll_once);
			got += rli_ring_reap(to, cqes + got, 12 - got);
		}
		for (i = 0; i < 12; i++) {
			assert_int_equal(cqes[i].user_data, WOKEN);
			assert_int_equal(cqes[i].res, i);
		}
		assert_int_equal(rli_ring_reap(from, cqes, 1), 0);
		ring_end(from);
		ring_end(to);
	}
}

struct player {
	struct ring *ring;
	const struct player *other;
	uint32_t without;
	_Atomic int fd; /* of its ring; 0: not open yet */
	bool lost;
};

static void
player_opens(struct player *player)
{
	player->ring = ring_open(player->without);
	/* pairs with: player_sends() */
	atomic_store_explicit(&player->fd, rli_ring_fd(player->ring), memory_order_release);
}

static void
player_waits(struct player *player)
{
	const struct ring_wait wait = { .nr = 1, .timeout_ns = DEADLINE_NS };
	uint64_t end_ns = rli_host_now_ns() + DEADLINE_NS;
	struct ring_cqe cqe;

	do {
		(void)rli_ring_enter(player->ring, &wait);
		if (rli_ring_reap(player->ring, &cqe, 1) == 1) {
			player->lost = cqe.user_data != WOKEN;
			return;
		}
	} while (rli_host_now_ns() < end_ns);
	player->lost = true;
}

static void
player_sends(struct player *player)
{
	struct io_uring_sqe *sqe = rli_ring_sqe(player->ring);

	if (sqe == NULL) {
		player->lost = true;
		return;
	}
	/* pairs with: player_opens() */
	io_uring_prep_msg_ring(sqe, atomic_load_explicit(&player->other->fd, memory_order_acquire),
			       0, WOKEN, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = SENT;
}

/* A message leaves with the enter that waits for the answer, as in a turn. */
static void
player_plays(struct player *player, bool begins)
{
	uint32_t i;

	for (i = 0; i < ROUNDS && !player->lost; i++) {
		if (begins || i > 0) {
			player_sends(player);
		}
		player_waits(player);
	}
	if (!begins) {
		player_sends(player);
		(void)rli_ring_enter(player->ring, &poll_once);
	}
	rli_ring_detach(player->ring);
}

static void *
player_run(void *arg)
{
	player_opens(arg);
	player_plays(arg, false);
	return NULL;
}

/* Two shards that do nothing but wake each other: a wait ends with each message, and in time. */
static void
ring_message_ends_the_wait_of_another_thread(void **state)
{
	uint32_t without;

	(void)state;
	for (without = 0; without < 2; without++) {
		struct player first = { .without = without ? UINT32_MAX : 0 };
		struct player second = { .without = without ? UINT32_MAX : 0 };
		uint64_t end_ns = rli_host_now_ns() + DEADLINE_NS;
		pthread_t thread;

		first.other = &second;
		second.other = &first;
		player_opens(&first);
		assert_int_equal(pthread_create(&thread, NULL, player_run, &second), 0);
		/* pairs with: player_opens() */
		while (atomic_load_explicit(&second.fd, memory_order_acquire) == 0) {
			assert_true(rli_host_now_ns() < end_ns);
		}
		player_plays(&first, true);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_false(first.lost);
		assert_false(second.lost);
		rli_ring_close(first.ring);
		rli_ring_close(second.ring);
	}
}

static void
ring_has_news_of_completions_until_they_are_reaped(void **state)
{
	struct ring *ring = ring_open(0);
	struct ring_cqe cqe;

	(void)state;
	assert_false(rli_ring_has_news(ring));
	push_nop(ring, 1);
	push_nop(ring, 2);
	assert_false(rli_ring_has_news(ring)); /* what was not submitted is no news */
	ring_enter(ring, &poll_once);
	assert_true(rli_ring_has_news(ring));
	assert_int_equal(rli_ring_reap(ring, &cqe, 1), 1);
	assert_true(rli_ring_has_news(ring));
	assert_int_equal(rli_ring_reap(ring, &cqe, 1), 1);
	assert_false(rli_ring_has_news(ring));
	ring_end(ring);
}

/* What became ready since the last enter shows only in the flags. */
static void
ring_has_news_of_work_that_an_enter_would_do(void **state)
{
	uint32_t without;

	(void)state;
	for (without = 0; without < 2; without++) {
		struct ring *ring = ring_open(without ? UINT32_MAX : 0);
		int fd = rli_host_eventfd_open();
		struct io_uring_sqe *sqe = rli_ring_sqe(ring);
		struct ring_cqe cqe;

		assert_true(fd >= 0);
		io_uring_prep_poll_add(sqe, fd, POLLIN);
		sqe->user_data = 1;
		ring_enter(ring, &poll_once);
		assert_false(rli_ring_has_news(ring));
		assert_int_equal(rli_host_eventfd_write(fd), 0);
		assert_true(rli_ring_has_news(ring));
		reap_exactly(ring, &cqe, 1);
		ring_enter(ring, &poll_once); /* the flag may be stale until the next enter */
		assert_false(rli_ring_has_news(ring));
		rli_host_eventfd_close(fd);
		ring_end(ring);
	}
}

static void
ring_has_news_of_an_overflow(void **state)
{
	struct ring_options small = options;
	struct ring_cqe cqes[8];
	struct ring *ring;
	uint32_t i;

	(void)state;
	small.sq_entries = 4;
	small.cq_entries = 4;
	assert_int_equal(ring_open_with(&ring, &small), 0);
	for (i = 0; i < 8; i++) {
		push_nop(ring, i);
		if (rli_ring_room(ring) == 0) {
			ring_enter(ring, &poll_once);
		}
	}
	assert_int_equal(rli_ring_reap(ring, cqes, 8), 4);
	assert_true(rli_ring_has_news(ring)); /* the queue is empty, and yet there is more */
	ring_enter(ring, &poll_once);
	assert_int_equal(rli_ring_reap(ring, cqes, 8), 4);
	assert_false(rli_ring_has_news(ring));
	ring_end(ring);
}

int
ring_message_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_message_arrives_and_only_a_failure_is_told),
		cmocka_unit_test(ring_message_to_no_ring_fails_and_is_told),
		cmocka_unit_test(ring_messages_overflowed_come_late_and_none_is_lost),
		cmocka_unit_test(ring_message_ends_the_wait_of_another_thread),
		cmocka_unit_test(ring_has_news_of_completions_until_they_are_reaped),
		cmocka_unit_test(ring_has_news_of_work_that_an_enter_would_do),
		cmocka_unit_test(ring_has_news_of_an_overflow),
	};

	return unit_run(tests);
}
