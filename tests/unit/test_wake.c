/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a sleeping shard is woken once per sleep, by a message to its ring or, where that can't
 *         be sent or fails, by its eventfd; one that is awake is left alone.
 * How: two shards with fake rings and real eventfds; completions by hand.
 * Not: that the kernel's message ends a wait; test_ring_uring.c and the simulator have that.
 * Guards: pitfall 80.
 */
#include "unit.h"

#include <errno.h>
#include <poll.h>

#include "fake_ring.h"
#include "shard/shard.h"
#include "shard/wake.h"

#define SQ_ENTRIES 4

static struct rl_shard from;
static struct rl_shard to;

static void
shard_begin(struct rl_shard *shard, uint32_t id)
{
	memset(shard, 0, sizeof(*shard));
	shard->id = id;
	shard->ring = fake_ring_create(SQ_ENTRIES);
	assert_int_equal(rli_sleep_init(&shard->sleep), 0);
}

static int
bed_setup(void **state)
{
	(void)state;
	fake_ring_plan = (struct fake_ring_plan){ .features = RL_FEATURE_MSG_RING };
	shard_begin(&from, 0);
	shard_begin(&to, 1);
	return 0;
}

static int
bed_teardown(void **state)
{
	(void)state;
	rli_sleep_fini(&from.sleep);
	rli_sleep_fini(&to.sleep);
	rli_ring_close(from.ring);
	rli_ring_close(to.ring);
	return 0;
}

/* How often the eventfd was written since the last look. */
static uint64_t
eventfd_writes(const struct rl_shard *shard)
{
	struct pollfd pollfd = { .fd = shard->sleep.eventfd, .events = POLLIN };
	uint64_t count = 0;

	if (poll(&pollfd, 1, 0) == 1) {
		assert_int_equal(read(pollfd.fd, &count, sizeof(count)), sizeof(count));
	}
	return count;
}

static void
assert_counted(const struct rl_shard *shard, uint64_t sent, uint64_t failed, uint64_t woken)
{
	struct rl_stats stats = { 0 };

	rli_counters_sum(&shard->counters, &stats);
	assert_int_equal(stats.wakeups_sent, sent);
	assert_int_equal(stats.wakeups_failed, failed);
	assert_int_equal(stats.wakeups, woken);
	assert_int_equal(stats.cqes_unknown, 0);
}

static bool
is_sleeping(const struct rl_shard *shard)
{
	return atomic_load(&shard->sleep.sleeping) != 0;
}

static void
wake_of_a_shard_that_is_awake_does_nothing(void **state)
{
	(void)state;
	rli_wake(&from, &to);
	rli_sleep_begin(&to.sleep);
	rli_sleep_end(&to.sleep);
	rli_wake(&from, &to);
	assert_int_equal(from.ring->sqes_count, 0);
	assert_int_equal(eventfd_writes(&to), 0);
	assert_counted(&from, 0, 0, 0);
}

static void
wake_of_a_sleeper_sends_one_message_to_its_ring(void **state)
{
	const struct io_uring_sqe *sqe;

	(void)state;
	rli_sleep_begin(&to.sleep);
	rli_wake(&from, &to);
	assert_false(is_sleeping(&to)); /* claimed: nobody else wakes it */
	rli_wake(&from, &to);
	assert_int_equal(from.ring->sqes_count, 1);
	assert_int_equal(to.ring->sqes_count, 0);
	sqe = fake_ring_last(from.ring);
	assert_int_equal(sqe->opcode, IORING_OP_MSG_RING);
	assert_int_equal(sqe->fd, rli_ring_fd(to.ring));
	assert_int_not_equal(rli_ring_fd(to.ring), rli_ring_fd(from.ring));
	assert_int_equal(sqe->addr, IORING_MSG_DATA);
	assert_int_equal(sqe->len, 0);
	assert_true(sqe->off == OP_USER_DATA_WOKEN);
	assert_int_equal(sqe->rw_flags, 0);
	assert_int_equal(sqe->flags, IOSQE_CQE_SKIP_SUCCESS);
	assert_true(sqe->user_data == ((uintptr_t)&to | OP_TAG_WAKE));
	assert_int_equal(eventfd_writes(&to), 0);
	assert_counted(&from, 1, 0, 0);
}

static void
wake_received_is_counted_and_says_nothing_else(void **state)
{
	(void)state;
	rli_op_complete(&to, OP_USER_DATA_WOKEN, 0, 0);
	rli_op_complete(&to, OP_USER_DATA_WOKEN, 0, 0); /* late, or twice: who cares */
	assert_counted(&to, 0, 0, 2);
	assert_int_equal(to.ring->sqes_count, 0);
	assert_int_equal(eventfd_writes(&to), 0);
}

/* A sleep that was woken otherwise may be followed by another while the first message is out. */
static void
wake_of_the_next_sleep_is_sent_again(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 1; i <= 3; i++) {
		rli_sleep_begin(&to.sleep);
		rli_wake(&from, &to);
		assert_int_equal(from.ring->sqes_count, i);
		assert_counted(&from, i, 0, 0);
		rli_sleep_end(&to.sleep);
	}
	assert_int_equal(eventfd_writes(&to), 0);
}

static void
wake_with_a_full_queue_writes_the_eventfd_at_once(void **state)
{
	(void)state;
	while (rli_ring_sqe(from.ring) != NULL) {
	}
	rli_sleep_begin(&to.sleep);
	rli_wake(&from, &to);
	rli_wake(&from, &to);
	assert_false(is_sleeping(&to));
	assert_int_equal(from.ring->sqes_count, SQ_ENTRIES);
	assert_int_equal(eventfd_writes(&to), 1);
	assert_int_equal(eventfd_writes(&from), 0);
	assert_counted(&from, 1, 1, 0);
}

static void
wake_refused_by_the_kernel_writes_the_eventfd(void **state)
{
	static const int32_t errors[] = { -EOVERFLOW, -EBADFD, -ENOMEM, -EBADF, -EINVAL,
					  -EACCES,    -EAGAIN, -EINTR,	-1,	INT32_MIN };
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(errors); i++) {
		rli_sleep_begin(&to.sleep);
		rli_wake(&from, &to);
		assert_int_equal(eventfd_writes(&to), 0);
		rli_op_complete(&from, fake_ring_last(from.ring)->user_data, errors[i], 0);
		assert_int_equal(eventfd_writes(&to), 1);
		assert_int_equal(eventfd_writes(&from), 0);
		assert_counted(&from, i + 1, i + 1, 0);
		assert_counted(&to, 0, 0, 0);
		from.ring->queued = 0;
		rli_sleep_end(&to.sleep);
	}
}

/* The shard woke and sleeps again since: the failure of an old message wakes it all the same. */
static void
wake_refused_late_still_writes_the_eventfd(void **state)
{
	(void)state;
	rli_sleep_begin(&to.sleep);
	rli_wake(&from, &to);
	rli_sleep_end(&to.sleep);
	rli_sleep_begin(&to.sleep);
	rli_op_complete(&from, (uintptr_t)&to | OP_TAG_WAKE, -ENOMEM, 0);
	assert_int_equal(eventfd_writes(&to), 1);
}

/* With IOSQE_CQE_SKIP_SUCCESS none comes; if one does, there is nothing to make good. */
static void
wake_completed_with_success_does_nothing(void **state)
{
	(void)state;
	rli_sleep_begin(&to.sleep);
	rli_wake(&from, &to);
	rli_op_complete(&from, (uintptr_t)&to | OP_TAG_WAKE, 0, 0);
	assert_int_equal(eventfd_writes(&to), 0);
	assert_counted(&from, 1, 0, 0);
}

static void
wake_without_messages_writes_the_eventfd(void **state)
{
	(void)state;
	fake_ring_plan.features = 0;
	rli_sleep_begin(&to.sleep);
	rli_wake(&from, &to);
	rli_wake(&from, &to);
	assert_int_equal(from.ring->sqes_count, 0);
	assert_int_equal(eventfd_writes(&to), 1);
	assert_counted(&from, 1, 0, 0); /* it is how wake-ups go here, no failure */
}

static void
wake_itself(void *shard)
{
	rli_wake(shard, shard);
}

static void
wake_of_itself_asserts(void **state)
{
	(void)state;
	assert_true(unit_asserts(wake_itself, &from));
}

int
main(void)
{
#define on_bed(test) cmocka_unit_test_setup_teardown(test, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		on_bed(wake_of_a_shard_that_is_awake_does_nothing),
		on_bed(wake_of_a_sleeper_sends_one_message_to_its_ring),
		on_bed(wake_received_is_counted_and_says_nothing_else),
		on_bed(wake_of_the_next_sleep_is_sent_again),
		on_bed(wake_with_a_full_queue_writes_the_eventfd_at_once),
		on_bed(wake_refused_by_the_kernel_writes_the_eventfd),
		on_bed(wake_refused_late_still_writes_the_eventfd),
		on_bed(wake_completed_with_success_does_nothing),
		on_bed(wake_without_messages_writes_the_eventfd),
		on_bed(wake_of_itself_asserts),
	};

	return unit_run(tests);
}
