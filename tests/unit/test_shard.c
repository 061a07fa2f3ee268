/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a shard comes up or leaves nothing, goes down in the one safe order, keeps its wake-up
 *         read armed, hands each completion to its op within the budget, and never lends the same
 *         arena memory twice before the kernel copied it.
 * How: a fake ring.
 * Not: the turn.
 * Guards: pitfall 13, pitfall 17, pitfall 27, pitfall 80.
 */
#include "unit.h"

#include <errno.h>

#include "fake_ring.h"
#include "shard/shard.h"
#include "unit_memory.h"

#define TIB ((size_t)1 << 40)

static struct rl_shard shard;
static struct rl_config config;
static struct unit_log unit_log;

static int
bed_setup(void **state)
{
	(void)state;
	fake_ring_plan = (struct fake_ring_plan){ 0 };
	fake_ring_trace_clear();
	unit_log_init(&unit_log);
	config = RL_CONFIG(.sq_entries = 64, .cq_entries = 256, .recv_buffers = 8,
			   .recv_buffer_bytes = 1024, .send_pool_bytes = 1 << 20,
			   .recv_pool_bytes = 1 << 16, .without = RL_FEATURE_MIN_WAIT, );
	return 0;
}

static int
open_setup(void **state)
{
	(void)bed_setup(state);
	assert_int_equal(rli_shard_init(&shard, 3, 5, &config, &unit_log.log), 0);
	assert_int_equal(rli_shard_open(&shard, 100), 0);
	return 0;
}

static int
open_teardown(void **state)
{
	(void)state;
	rli_shard_detach(&shard);
	rli_shard_fini(&shard);
	return 0;
}

static struct rl_stats
stats(void)
{
	struct rl_stats sum = { 0 };

	rli_counters_sum(&shard.counters, &sum);
	return sum;
}

static void
shard_initialised_has_what_others_need_and_no_ring(void **state)
{
	struct envelope envelope = { .kind = RL_MSG_USER };

	(void)state;
	memset(&shard, 0xff, sizeof(shard));
	assert_int_equal(rli_shard_init(&shard, 3, 5, &config, &unit_log.log), 0);
	assert_string_equal(fake_ring_trace(), "");
	assert_int_equal(rl_shard_id(&shard), 3);
	assert_int_equal(rl_shard_count(&shard), 5);
	assert_int_equal(rli_inbox_push(shard.inbox, &envelope), 0);
	assert_false(rli_sleep_wake(&shard.sleep));
	assert_true(shard.sleep.eventfd >= 0);
	assert_int_equal(stats().cqes, 0);
	rli_shard_detach(&shard); /* was never opened */
	rli_shard_fini(&shard);
	rli_shard_fini(&shard); /* again: nothing */
	assert_string_equal(fake_ring_trace(), "");
}

static void
shard_opened_passes_the_configuration_on(void **state)
{
	uint64_t before_ns = rli_host_now_ns();

	(void)state;
	assert_int_equal(rli_shard_init(&shard, 3, 5, &config, &unit_log.log), 0);
	assert_int_equal(rli_shard_open(&shard, 100), 0);
	assert_in_range(rl_shard_now_ns(&shard), before_ns, rli_host_now_ns());
	assert_int_equal(shard.ring->options.sq_entries, 64);
	assert_int_equal(shard.ring->options.cq_entries, 256);
	assert_int_equal(shard.ring->options.files_max, 100);
	assert_int_equal(shard.ring->options.without, RL_FEATURE_MIN_WAIT);
	assert_int_equal(shard.ring->options.shard, 3);
	assert_int_equal(shard.bufring.count, 8);
	assert_int_equal(shard.bufring.bytes, 1024);
	assert_true(shard.send_pool.spans_max >= (1 << 20) / CHUNK_SPAN_BYTES);
	assert_true(shard.recv_pool.spans_max >= 1);
	assert_int_equal(unit_log.lines, 0);
	(void)open_teardown(state);
}

/* The fake ring touches the buffers' memory when it closes: freed before would be a crash. */
static void
shard_closed_takes_its_parts_apart_in_order(void **state)
{
	size_t before = rli_host_pages_committed();

	(void)state;
	assert_int_equal(rli_shard_init(&shard, 0, 1, &config, &unit_log.log), 0);
	assert_int_equal(rli_shard_open(&shard, 100), 0);
	assert_non_null(rli_chunk_take(&shard.send_pool, 1));
	assert_non_null(rli_chunk_take(&shard.recv_pool, 1));
	rli_shard_detach(&shard);
	rli_shard_fini(&shard);
	assert_string_equal(fake_ring_trace(), "open register enable unregister detach close");
	assert_int_equal(rli_host_pages_committed(), before);
	rli_shard_fini(&shard);
	assert_string_equal(fake_ring_trace(), "open register enable unregister detach close");
}

/* Each step of opening fails in turn; the line names what to do, and nothing is left. */
static void
shard_open_failed_at_any_step_leaves_nothing(void **state)
{
	static const struct {
		int open_rc;
		int buffers_rc;
		int enable_rc;
		size_t send_pool_bytes;
		size_t recv_pool_bytes;
		int rc;
		uint32_t lines; /* the ring says itself why it can't be had */
		const char *trace;
	} rows[] = {
		{ -EPERM, 0, 0, TIB, TIB, -EPERM, 0, "open" },
		{ 0, 0, 0, 200 * TIB, TIB, -ENOMEM, 1, "open detach close" },
		{ 0, 0, 0, 1, 200 * TIB, -ENOMEM, 1, "open detach close" },
		{ 0, -ENOMEM, 0, 1, 1, -ENOMEM, 1, "open register detach close" },
		{ 0, -EINVAL, 0, 1, 1, -EINVAL, 1, "open register detach close" },
		{ 0, 0, -EPERM, 1, 1, -EPERM, 0, "open register enable unregister detach close" },
	};
	size_t before = rli_host_pages_committed();
	uint32_t fds = unit_fds();
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(rows); i++) {
		fake_ring_trace_clear();
		unit_log_init(&unit_log);
		fake_ring_plan.open_rc = rows[i].open_rc;
		fake_ring_plan.buffers_rc = rows[i].buffers_rc;
		fake_ring_plan.enable_rc = rows[i].enable_rc;
		config.send_pool_bytes = rows[i].send_pool_bytes;
		config.recv_pool_bytes = rows[i].recv_pool_bytes;
		assert_int_equal(rli_shard_init(&shard, 2, 5, &config, &unit_log.log), 0);
		assert_int_equal(rli_shard_open(&shard, 100), rows[i].rc);
		assert_int_equal(unit_log.lines, rows[i].lines);
		if (rows[i].lines > 0) {
			assert_int_equal(unit_log.level, RL_LOG_ERROR);
			assert_int_equal(unit_log.shard, 2);
			assert_non_null(strstr(unit_log.text, "recv_buffers"));
		}
		rli_shard_fini(&shard);
		assert_string_equal(fake_ring_trace(), rows[i].trace);
		assert_int_equal(rli_host_pages_committed(), before);
		assert_int_equal(unit_fds(), fds);
	}
}

/* The host has so many pages and no more: whatever step that is, nothing is left. */
static void
shard_open_out_of_memory_at_any_page_leaves_nothing(void **state)
{
	size_t before = rli_host_pages_committed();
	size_t pages;
	int rc = -ENOMEM;

	(void)state;
	if (!unit_memory_can_fail()) {
		return;
	}
	for (pages = 0; rc != 0; pages++) {
		struct rlimit limit;

		assert_true(pages < 1000);
		unit_log_init(&unit_log);
		assert_int_equal(rli_shard_init(&shard, 0, 1, &config, &unit_log.log), 0);
		limit = unit_memory_begin(pages);
		rc = rli_shard_open(&shard, 100);
		unit_memory_end(limit);
		assert_true(rc == 0 || rc == -ENOMEM);
		assert_int_equal(unit_log.lines, rc == 0 ? 0 : 1);
		if (rc == 0) {
			rli_shard_detach(&shard);
		}
		rli_shard_fini(&shard);
		assert_int_equal(rli_host_pages_committed(), before);
		fake_ring_trace_clear();
	}
	assert_true(pages > 4); /* or it never failed */
}

static void
shard_init_without_memory_answers_enomem(void **state)
{
	size_t before = rli_host_pages_committed();
	uint32_t fds = unit_fds();
	size_t pages;

	(void)state;
	if (!unit_memory_can_fail()) {
		return;
	}
	for (pages = 0; pages < 2; pages++) {
		struct rlimit limit = unit_memory_begin(pages);
		int rc = rli_shard_init(&shard, 0, 1, &config, &unit_log.log);

		unit_memory_end(limit);
		assert_int_equal(rc, -ENOMEM);
		rli_shard_fini(&shard);
		assert_int_equal(rli_host_pages_committed(), before);
		assert_int_equal(unit_fds(), fds);
	}
}

static void
shard_without_descriptors_answers_emfile(void **state)
{
	size_t before = rli_host_pages_committed();
	struct rlimit limit;
	struct rlimit none;
	int rc;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	rc = rli_shard_init(&shard, 0, 1, &config, &unit_log.log);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(rc, -EMFILE);
	assert_int_equal(rli_host_pages_committed(), before);
	rli_shard_fini(&shard);
}

static void
shard_wake_read_is_armed_once(void **state)
{
	const struct io_uring_sqe *sqe;

	(void)state;
	assert_true(rli_shard_arm_wake(&shard));
	assert_true(rli_shard_arm_wake(&shard));
	assert_int_equal(shard.ring->sqes_count, 1);
	sqe = fake_ring_last(shard.ring);
	assert_int_equal(sqe->opcode, IORING_OP_READ);
	assert_int_equal(sqe->fd, shard.sleep.eventfd);
	assert_true(sqe->addr == (uintptr_t)&shard.wake_value);
	assert_int_equal(sqe->len, sizeof(shard.wake_value));
	assert_true(sqe->user_data == (uintptr_t)&shard.wake_op);
}

/* Whatever the read says, the shard is awake, and can be armed for the next time. */
static void
shard_wake_read_completed_can_be_armed_again(void **state)
{
	static const int32_t results[] = { 8, -EAGAIN, -ECANCELED, -EINTR, 0 };
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(results); i++) {
		assert_true(rli_shard_arm_wake(&shard));
		assert_int_equal(shard.ring->sqes_count, i + 1);
		fake_ring_put(shard.ring, (uintptr_t)&shard.wake_op, results[i], 0);
		assert_int_equal(rli_shard_reap(&shard, 16), 1);
		assert_int_equal(stats().wakeups, i + 1);
		assert_true(op_is_idle(&shard.wake_op));
	}
}

static void
shard_wake_read_with_a_full_queue_says_so_and_is_tried_again(void **state)
{
	(void)state;
	while (rli_ring_sqe(shard.ring) != NULL) {
	}
	assert_false(rli_shard_arm_wake(&shard));
	assert_false(rli_shard_arm_wake(&shard));
	assert_int_equal(stats().sq_full, 2);
	assert_true(op_is_idle(&shard.wake_op));
	shard.ring->queued = 0;
	assert_true(rli_shard_arm_wake(&shard));
	assert_false(op_is_idle(&shard.wake_op));
	assert_int_equal(stats().sq_full, 2);
}

static bool
iovecs_are_within(const struct msghdr *msg)
{
	return msg->msg_iov >= shard.arena.iovecs &&
	       msg->msg_iov + msg->msg_iovlen <= shard.arena.iovecs + ARENA_IOVECS;
}

static void
shard_arena_lends_each_place_once_until_it_is_reset(void **state)
{
	const struct iovec *next;
	struct msghdr *first;
	uint32_t i;

	(void)state;
	first = rli_shard_msghdr(&shard, 3);
	assert_non_null(first);
	assert_int_equal(first->msg_iovlen, 3);
	assert_null(first->msg_name);
	assert_null(first->msg_control);
	assert_int_equal(first->msg_flags, 0);
	next = first->msg_iov + 3;
	for (i = 1; i < 1000; i++) {
		struct msghdr *msg = rli_shard_msghdr(&shard, i % 3 + 1);

		assert_ptr_equal(msg, first + i);
		assert_ptr_equal(msg->msg_iov, next);
		assert_true(iovecs_are_within(msg));
		memset(msg->msg_iov, 0xff, msg->msg_iovlen * sizeof(struct iovec));
		next += msg->msg_iovlen;
	}
	assert_int_equal(first->msg_iovlen, 3);
	memset(first, 0xff, sizeof(*first));
	rli_shard_arena_reset(&shard);
	assert_ptr_equal(rli_shard_msghdr(&shard, 1), first);
	assert_int_equal(first->msg_iovlen, 1);
	assert_null(first->msg_name); /* nothing of the last turn is left */
	assert_int_equal(first->msg_flags, 0);
}

static void
shard_arena_without_iovecs_or_msghdrs_gives_nothing(void **state)
{
	uint32_t i;

	(void)state;
	assert_null(rli_shard_msghdr(&shard, ARENA_IOVECS + 1));
	assert_non_null(rli_shard_msghdr(&shard, ARENA_IOVECS - 1));
	assert_null(rli_shard_msghdr(&shard, 2));
	assert_non_null(rli_shard_msghdr(&shard, 1)); /* the last one */
	assert_null(rli_shard_msghdr(&shard, 1));
	rli_shard_arena_reset(&shard);
	for (i = 0; i < ARENA_MSGHDRS; i++) {
		struct msghdr *msg = rli_shard_msghdr(&shard, 1);

		assert_non_null(msg);
		assert_true(iovecs_are_within(msg));
	}
	assert_null(rli_shard_msghdr(&shard, 1));
	rli_shard_arena_reset(&shard);
	assert_non_null(rli_shard_msghdr(&shard, 1));
}

#define OPS 300

struct counted_op {
	struct op op;
	uint32_t order; /* when it was told, from 1 */
	int32_t res;
};

static struct counted_op ops[OPS];
static uint32_t told;

static void
count_done(struct rl_shard *on, struct op *op, int32_t res, uint32_t flags)
{
	struct counted_op *counted = (struct counted_op *)op;

	assert_ptr_equal(on, &shard);
	assert_int_equal(flags, 0);
	counted->order = ++told;
	counted->res = res;
}

static void
put_ops(uint32_t count)
{
	uint32_t i;

	told = 0;
	for (i = 0; i < count; i++) {
		struct io_uring_sqe sqe = { 0 };

		ops[i] = (struct counted_op){ 0 };
		op_init(&ops[i].op);
		op_arm(&ops[i].op, &sqe, count_done);
		fake_ring_put(shard.ring, sqe.user_data, (int32_t)i, 0);
	}
}

static void
shard_reap_takes_no_more_than_its_budget_in_order(void **state)
{
	static const uint32_t budgets[] = { 1, 63, 64, 65, 107, 1000 };
	uint32_t expected = 0;
	uint32_t i;

	(void)state;
	put_ops(OPS);
	for (i = 0; i < UNIT_COUNT(budgets) - 1; i++) {
		assert_int_equal(rli_shard_reap(&shard, budgets[i]), budgets[i]);
		expected += budgets[i];
		assert_int_equal(told, expected);
	}
	assert_int_equal(expected, OPS);
	assert_int_equal(rli_shard_reap(&shard, budgets[i]), 0);
	for (i = 0; i < OPS; i++) {
		assert_int_equal(ops[i].order, i + 1);
		assert_int_equal(ops[i].res, i);
		assert_true(op_is_idle(&ops[i].op));
	}
	assert_int_equal(stats().cqes, OPS);
}

static void
shard_reap_takes_all_that_is_there(void **state)
{
	static const uint32_t counts[] = { 0, 1, 64, 65, 128, 200 };
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(counts); i++) {
		put_ops(counts[i]);
		assert_int_equal(rli_shard_reap(&shard, 4096), counts[i]);
		assert_int_equal(told, counts[i]);
		assert_int_equal(fake_ring_waiting(shard.ring), 0);
	}
}

static struct op again;

static void
arm_and_complete_again(struct rl_shard *on, struct op *op, int32_t res, uint32_t flags)
{
	struct io_uring_sqe *sqe = rli_ring_sqe(on->ring);

	(void)res;
	(void)flags;
	told++;
	op_arm(op, sqe, arm_and_complete_again);
	on->ring->queued = 0;
	fake_ring_put(on->ring, sqe->user_data, 0, 0);
}

/* An op that completes as fast as it is armed can't hold a turn for longer than the budget. */
static void
shard_reap_ends_though_completions_keep_coming(void **state)
{
	(void)state;
	told = 0;
	op_init(&again);
	op_arm(&again, rli_ring_sqe(shard.ring), arm_and_complete_again);
	fake_ring_put(shard.ring, (uintptr_t)&again, 0, 0);
	assert_in_range(rli_shard_reap(&shard, 1000), 1, 1000);
	assert_in_range(told, 1, 1000);
	assert_int_equal(fake_ring_waiting(shard.ring), 1);
}

#define on_bed(test)	cmocka_unit_test_setup(test, bed_setup)
#define when_open(test) cmocka_unit_test_setup_teardown(test, open_setup, open_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(shard_initialised_has_what_others_need_and_no_ring),
		on_bed(shard_opened_passes_the_configuration_on),
		on_bed(shard_closed_takes_its_parts_apart_in_order),
		on_bed(shard_open_failed_at_any_step_leaves_nothing),
		on_bed(shard_open_out_of_memory_at_any_page_leaves_nothing),
		on_bed(shard_init_without_memory_answers_enomem),
		on_bed(shard_without_descriptors_answers_emfile),
		when_open(shard_wake_read_is_armed_once),
		when_open(shard_wake_read_completed_can_be_armed_again),
		when_open(shard_wake_read_with_a_full_queue_says_so_and_is_tried_again),
		when_open(shard_arena_lends_each_place_once_until_it_is_reset),
		when_open(shard_arena_without_iovecs_or_msghdrs_gives_nothing),
		when_open(shard_reap_takes_no_more_than_its_budget_in_order),
		when_open(shard_reap_takes_all_that_is_there),
		when_open(shard_reap_ends_though_completions_keep_coming),
	};

	return unit_run(tests);
}
