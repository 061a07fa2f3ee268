/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: an op ends at its own last completion, and is IDLE only when no cancel is out either, so
 *         a late cancel can't kill what was armed after it.
 * How: synthetic completions in both orders, and a random kernel; F_MORE counts whatever the
 *         result says.
 * Not: a real kernel.
 * Guards: pitfall 1, pitfall 2, pitfall 6, pitfall 8, pitfall 9, pitfall 16, pitfall 107.
 */
#include "unit.h"

#include <errno.h>
#include <sys/mman.h>

#include "fake_ring.h"
#include "shard/op.h"
#include "shard/shard.h"

#define SQ_ENTRIES 8
#define MORE	   IORING_CQE_F_MORE

/* What done() was told last. */
struct told {
	struct op *op;
	uint32_t calls;
	int32_t res;
	uint32_t flags;
	bool idle; /* the op was, at the call */
};

/* Shared with children that are expected to die, so that their counters can be read. */
static struct rl_shard *shard;
static struct told told;

static void
tell(struct rl_shard *on, struct op *op, int32_t res, uint32_t flags)
{
	assert_ptr_equal(on, shard);
	told = (struct told){ op, told.calls + 1, res, flags, op_is_idle(op) };
}

static int
bed_setup(void **state)
{
	(void)state;
	shard = mmap(NULL, sizeof(*shard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	assert_true(shard != MAP_FAILED);
	shard->ring = fake_ring_create(SQ_ENTRIES);
	told = (struct told){ 0 };
	return 0;
}

static int
bed_teardown(void **state)
{
	(void)state;
	rli_ring_close(shard->ring);
	return munmap(shard, sizeof(*shard));
}

static uint64_t
counted(size_t word)
{
	return atomic_load(&shard->counters.words[word]);
}

#define COUNTED(field) counted(offsetof(struct rl_stats, field) / sizeof(uint64_t))

static void
arm(struct op *op)
{
	struct io_uring_sqe *sqe = rli_ring_sqe(shard->ring);

	assert_non_null(sqe);
	io_uring_prep_nop(sqe);
	op_arm(op, sqe, tell);
}

static void
complete(struct op *op, int32_t res, uint32_t flags)
{
	rli_op_complete(shard, (uintptr_t)op, res, flags);
}

static void
complete_cancel(struct op *op, int32_t res)
{
	rli_op_complete(shard, (uintptr_t)op | OP_TAG_CANCEL, res, 0);
}

static void
assert_told(uint32_t calls, int32_t res, uint32_t flags, bool idle)
{
	assert_int_equal(told.calls, calls);
	assert_int_equal(told.res, res);
	assert_int_equal(told.flags, flags);
	assert_int_equal(told.idle, idle);
}

static void
op_armed_is_idle_again_at_its_completion(void **state)
{
	struct op op;

	(void)state;
	op_init(&op);
	assert_true(op_is_idle(&op));
	arm(&op);
	assert_false(op_is_idle(&op));
	assert_true(fake_ring_last(shard->ring)->user_data == (uintptr_t)&op);
	complete(&op, 17, 0);
	assert_told(1, 17, 0, true);
	assert_ptr_equal(told.op, &op);
	arm(&op); /* and once more */
	complete(&op, -EPIPE, 0);
	assert_told(2, -EPIPE, 0, true);
}

static void
op_multishot_stays_armed_while_more_come(void **state)
{
	struct op op;

	(void)state;
	op_init(&op);
	arm(&op);
	complete(&op, 100, MORE | IORING_CQE_F_BUFFER | 7u << IORING_CQE_BUFFER_SHIFT);
	assert_told(1, 100, MORE | IORING_CQE_F_BUFFER | 7u << IORING_CQE_BUFFER_SHIFT, false);
	complete(&op, -ENOBUFS, MORE); /* an error, and yet it goes on */
	assert_told(2, -ENOBUFS, MORE, false);
	complete(&op, 5, 0); /* a success, and yet the last */
	assert_told(3, 5, 0, true);
}

static void
op_cancelled_sends_one_cancel_at_its_own_address(void **state)
{
	const struct io_uring_sqe *sqe;
	struct op op;

	(void)state;
	op_init(&op);
	assert_true(rli_op_cancel(shard, &op)); /* IDLE: nothing to do */
	assert_int_equal(shard->ring->sqes_count, 0);
	arm(&op);
	assert_true(rli_op_cancel(shard, &op));
	assert_true(rli_op_cancel(shard, &op)); /* already asked */
	assert_int_equal(shard->ring->sqes_count, 2);
	sqe = fake_ring_last(shard->ring);
	assert_int_equal(sqe->opcode, IORING_OP_ASYNC_CANCEL);
	assert_true(sqe->addr == (uintptr_t)&op);
	assert_true(sqe->user_data == ((uintptr_t)&op | OP_TAG_CANCEL));
	assert_int_equal(sqe->cancel_flags, 0);
	assert_int_equal(sqe->flags, 0); /* its own completion must come: no CQE_SKIP_SUCCESS */
	complete(&op, -ECANCELED, 0);
	complete_cancel(&op, 0);
}

static void
op_cancelled_ends_settled_when_the_cancel_comes_last(void **state)
{
	struct op op;

	(void)state;
	op_init(&op);
	arm(&op);
	assert_true(rli_op_cancel(shard, &op));
	complete(&op, -ECANCELED, 0);
	assert_told(1, -ECANCELED, 0, false); /* the cancel is still out */
	assert_true(rli_op_cancel(shard, &op)); /* no second one meanwhile */
	assert_int_equal(shard->ring->sqes_count, 2);
	complete_cancel(&op, -ENOENT);
	assert_told(2, 0, OP_F_SETTLED, true);
}

static void
op_cancelled_ends_with_its_target_when_that_comes_last(void **state)
{
	struct op op;

	(void)state;
	op_init(&op);
	arm(&op);
	assert_true(rli_op_cancel(shard, &op));
	complete_cancel(&op, -EALREADY);
	assert_int_equal(told.calls, 0); /* a cancel's result is advice */
	assert_false(op_is_idle(&op));
	assert_true(rli_op_cancel(shard, &op));
	assert_int_equal(shard->ring->sqes_count, 2);
	complete(&op, 42, 0); /* the target succeeded all the same */
	assert_told(1, 42, 0, true);
}

static void
op_cancelled_multishot_delivers_until_its_last_in_both_orders(void **state)
{
	uint32_t order;

	(void)state;
	for (order = 0; order < 2; order++) {
		struct op op;

		op_init(&op);
		told = (struct told){ 0 };
		arm(&op);
		complete(&op, 1, MORE);
		assert_true(rli_op_cancel(shard, &op));
		complete(&op, 2, MORE); /* data that was on its way */
		assert_told(2, 2, MORE, false);
		if (order == 0) {
			complete_cancel(&op, 0);
		}
		complete(&op, 3, MORE);
		assert_told(3, 3, MORE, false);
		complete(&op, -ECANCELED, 0);
		assert_told(4, -ECANCELED, 0, order == 0);
		if (order == 1) {
			complete_cancel(&op, 0);
			assert_told(5, 0, OP_F_SETTLED, true);
		}
		assert_true(op_is_idle(&op));
	}
}

/* No result of a cancel changes anything: 0, ENOENT, EALREADY, EINVAL, or a count. */
static void
op_cancel_result_changes_nothing(void **state)
{
	static const int32_t results[] = { 0, 1, -ENOENT, -EALREADY, -EINVAL, INT32_MIN };
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(results); i++) {
		struct op op;

		op_init(&op);
		told = (struct told){ 0 };
		arm(&op);
		assert_true(rli_op_cancel(shard, &op));
		complete_cancel(&op, results[i]);
		assert_int_equal(told.calls, 0);
		assert_false(op_is_idle(&op));
		complete(&op, 9, 0);
		assert_told(1, 9, 0, true);
		shard->ring->queued = 0;
	}
}

static void
op_cancelled_with_a_full_queue_stays_armed_and_asks_again(void **state)
{
	struct op op;

	(void)state;
	op_init(&op);
	arm(&op);
	while (rli_ring_sqe(shard->ring) != NULL) {
	}
	assert_false(rli_op_cancel(shard, &op));
	assert_int_equal(COUNTED(sq_full), 1);
	assert_int_equal(op.state, OP_ARMED);
	assert_false(op.cancel_out);
	shard->ring->queued = 0;
	assert_true(rli_op_cancel(shard, &op));
	assert_int_equal(COUNTED(sq_full), 1);
	complete(&op, -ECANCELED, 0);
	complete_cancel(&op, 0);
	assert_true(op_is_idle(&op));
}

static void
tell_and_arm(struct rl_shard *on, struct op *op, int32_t res, uint32_t flags)
{
	tell(on, op, res, flags);
	if (op_is_idle(op)) {
		arm(op);
	}
}

/* An owner may arm again in done(), at the target's end as well as at a settlement. */
static void
op_rearmed_from_done_is_armed(void **state)
{
	struct op op;

	(void)state;
	op_init(&op);
	op_arm(&op, rli_ring_sqe(shard->ring), tell_and_arm);
	complete(&op, 1, 0);
	assert_int_equal(op.state, OP_ARMED);
	complete(&op, 2, 0); /* what was armed in done() */
	assert_told(2, 2, 0, true);

	op_arm(&op, rli_ring_sqe(shard->ring), tell_and_arm);
	assert_true(rli_op_cancel(shard, &op));
	complete(&op, -ECANCELED, 0);
	assert_int_equal(op.state, OP_CANCELLING);
	complete_cancel(&op, 0);
	assert_int_equal(op.state, OP_ARMED);
	assert_true(op.target_out);
	assert_false(op.cancel_out);
}

static void
arm_armed(void *arg)
{
	arm(arg);
	arm(arg);
}

static void
arm_while_cancel_is_out(void *arg)
{
	arm(arg);
	(void)rli_op_cancel(shard, arg);
	complete(arg, -ECANCELED, 0);
	arm(arg);
}

static void
complete_idle(void *arg)
{
	complete(arg, 0, 0);
}

static void
complete_twice(void *arg)
{
	arm(arg);
	complete(arg, 0, 0);
	complete(arg, 0, 0);
}

static void
complete_again_before_the_cancel(void *arg)
{
	arm(arg);
	(void)rli_op_cancel(shard, arg);
	complete(arg, 0, 0);
	complete(arg, 0, 0);
}

static void
complete_cancel_never_sent(void *arg)
{
	arm(arg);
	complete_cancel(arg, 0);
}

static void
op_misused_asserts(void **state)
{
	struct op op;

	(void)state;
	op_init(&op);
	assert_true(unit_asserts(arm_armed, &op));
	assert_true(unit_asserts(arm_while_cancel_is_out, &op));
	assert_true(unit_asserts(complete_idle, &op));
	assert_true(unit_asserts(complete_twice, &op));
	assert_true(unit_asserts(complete_again_before_the_cancel, &op));
	assert_true(unit_asserts(complete_cancel_never_sent, &op));
}

static void
complete_unknown(void *arg)
{
	rli_op_complete(shard, *(uint64_t *)arg, 0, 0);
}

/* Debug builds stop right after counting, so a child counts there, in memory that both see. */
static void
op_completion_of_nobody_is_counted(void **state)
{
	static const uint64_t unknown[] = { 0, 1, 2, 15, 16, 63, 65, 66, 4095 };
	uint64_t user_data;
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(unknown); i++) {
		user_data = unknown[i];
#ifdef NDEBUG
		complete_unknown(&user_data);
#else
		assert_true(unit_asserts(complete_unknown, &user_data));
#endif
		assert_int_equal(COUNTED(cqes_unknown), i + 1);
	}
	assert_int_equal(told.calls, 0);
}

/* Numbers and tags lead away from ops: what a wake-up says is never taken for an op's address. */
static void
op_completion_of_a_wake_up_touches_no_op(void **state)
{
	uint8_t memory[sizeof(struct rl_shard)] = { 0 };
	static struct rl_shard other;

	(void)state;
	assert_int_equal(OP_TAG_WAKE & OP_TAG_CANCEL, 0);
	assert_true((OP_TAG_WAKE | OP_TAG_CANCEL) < OP_ALIGN);
	memset(&other, 0, sizeof(other));
	rli_op_complete(shard, (uintptr_t)&other | OP_TAG_WAKE, 0, 0);
	assert_memory_equal(&other, memory, sizeof(other));
	assert_int_equal(COUNTED(wakeups), 0);
	rli_op_complete(shard, OP_USER_DATA_WOKEN, 0, 0);
	assert_int_equal(COUNTED(wakeups), 1);
	assert_int_equal(COUNTED(cqes_unknown), 0);
	assert_int_equal(told.calls, 0);
}

/*
 * A random kernel over a few ops. It knows requests and cancels by user_data only, as the real one
 * does, and each remembers which arming it belongs to, as the real one does not.
 */
#define OPS 6

struct request {
	struct op op;
	uint32_t arming; /* which arming of the op this is, from 1 */
	bool out; /* the kernel has the request */
	bool doomed; /* a cancel found it: its last completion is to come */
	bool cancel_out; /* the kernel has the cancel */
	bool cancel_done; /* it acted, its completion is to come */
	uint32_t cancel_arming; /* which arming it was meant for */
	uint32_t told;
	uint32_t expected;
};

static struct request requests[OPS];

static void
request_done(struct rl_shard *on, struct op *op, int32_t res, uint32_t flags)
{
	struct request *request = (struct request *)op;

	(void)on;
	(void)res;
	request->told++;
	if (flags & OP_F_SETTLED) {
		assert_false(request->out);
	}
	assert_int_equal(op_is_idle(op), !request->out && !request->cancel_out);
}

static void
request_check(const struct request *request)
{
	assert_int_equal(request->told, request->expected);
	assert_int_equal(op_is_idle(&request->op), !request->out && !request->cancel_out);
}

static void
request_arm(struct request *request)
{
	if (!op_is_idle(&request->op)) {
		return;
	}
	op_arm(&request->op, rli_ring_sqe(shard->ring), request_done);
	request->arming++;
	request->out = true;
	request->doomed = false;
}

static void
request_cancel(struct request *request)
{
	uint32_t before = shard->ring->sqes_count;

	assert_true(rli_op_cancel(shard, &request->op));
	if (shard->ring->sqes_count == before) {
		return;
	}
	assert_false(request->cancel_out);
	request->cancel_out = true;
	request->cancel_done = false;
	request->cancel_arming = request->arming;
}

/* A cancel kills whatever is armed at its address now: that must be what it was meant for. */
static void
kernel_cancels(struct request *request)
{
	if (request->cancel_out && !request->cancel_done) {
		assert_int_equal(request->arming, request->cancel_arming);
		request->doomed = request->out;
		request->cancel_done = true;
	}
}

static void
kernel_completes_cancel(struct request *request)
{
	if (request->cancel_out && request->cancel_done) {
		request->cancel_out = false;
		request->expected += !request->out;
		complete_cancel(&request->op, request->doomed ? 0 : -ENOENT);
	}
}

static void
kernel_completes(struct request *request, bool last)
{
	if (request->out) {
		request->out = !(last || request->doomed);
		request->expected++;
		complete(&request->op, request->doomed ? -ECANCELED : 1, request->out ? MORE : 0);
	}
}

static void
run_kernel(uint64_t seed)
{
	uint32_t step;
	uint32_t i;

	memset(requests, 0, sizeof(requests));
	for (step = 0; step < 50000; step++) {
		struct request *request = &requests[unit_random(&seed) % OPS];

		shard->ring->queued = 0;
		fake_ring_forget(shard->ring);
		switch (unit_random(&seed) % 6) {
		case 0:
			request_arm(request);
			break;
		case 1:
			request_cancel(request);
			break;
		case 2:
			kernel_cancels(request);
			break;
		case 3:
			kernel_completes_cancel(request);
			break;
		case 4:
			kernel_completes(request, false);
			break;
		default:
			kernel_completes(request, true);
			break;
		}
		request_check(request);
	}
	for (i = 0; i < OPS; i++) {
		kernel_cancels(&requests[i]);
		kernel_completes(&requests[i], true);
		kernel_completes_cancel(&requests[i]);
		request_check(&requests[i]);
		assert_true(op_is_idle(&requests[i].op));
		assert_true(requests[i].arming > 100);
	}
	assert_int_equal(COUNTED(cqes_unknown), 0);
}

static void
op_random_completions_keep_the_cancel_rule(void **state)
{
	(void)state;
	unit_each_seed(run_kernel, 10);
}

#define on_bed(test) cmocka_unit_test_setup_teardown(test, bed_setup, bed_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(op_armed_is_idle_again_at_its_completion),
		on_bed(op_multishot_stays_armed_while_more_come),
		on_bed(op_cancelled_sends_one_cancel_at_its_own_address),
		on_bed(op_cancelled_ends_settled_when_the_cancel_comes_last),
		on_bed(op_cancelled_ends_with_its_target_when_that_comes_last),
		on_bed(op_cancelled_multishot_delivers_until_its_last_in_both_orders),
		on_bed(op_cancel_result_changes_nothing),
		on_bed(op_cancelled_with_a_full_queue_stays_armed_and_asks_again),
		on_bed(op_rearmed_from_done_is_armed),
		on_bed(op_misused_asserts),
		on_bed(op_completion_of_nobody_is_counted),
		on_bed(op_completion_of_a_wake_up_touches_no_op),
		on_bed(op_random_completions_keep_the_cancel_rule),
	};

	return unit_run(tests);
}
