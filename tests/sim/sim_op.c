/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The life of a request, whatever it does: issued, perhaps waiting, triggered (a piece of task
 * work), finished, reaped.
 *
 * The rules that the product keeps are checked here, at the kernel's side of the door: one request
 * and one cancel in flight per user_data, nothing armed while a cancel aimed at it is out, and the
 * owner's memory unchanged from the arming to the last completion.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shard/op.h"
#include "shard/ring_fence.h"

#include "sim_kernel.h"

/* ---- user_data in flight */

static struct sk_op **
bucket(struct ring *ring, uint64_t user_data)
{
	return &ring->buckets[user_data >> 4 & (SK_OP_BUCKETS - 1)];
}

/* A live one with exactly this user_data. */
struct sk_op *
sk_op_find(struct ring *ring, uint64_t user_data)
{
	struct sk_op *op = *bucket(ring, user_data);

	while (op != NULL && op->user_data != user_data) {
		op = op->hash_next;
	}
	return op;
}

static void
op_unhash(struct sk_op *op)
{
	struct sk_op **at = bucket(op->ring, op->user_data);

	while (*at != op) {
		at = &(*at)->hash_next;
	}
	*at = op->hash_next;
}

/* Is @user_data the address of a struct op? Not so a wake-up's, of which many can be out. */
static bool
op_has_owner(uint64_t user_data)
{
	return sk.checks_owners && user_data >= OP_ADDRESS_MIN && !(user_data & OP_TAG_WAKE);
}

static void
op_check_identity(struct ring *ring, uint64_t user_data)
{
	if (!op_has_owner(user_data)) {
		return;
	}
	sim_check(sk_op_find(ring, user_data) == NULL,
		  "INV-5: two requests of one op are in flight (%s)",
		  user_data & OP_TAG_CANCEL ? "cancels" : "targets");
	if (!(user_data & OP_TAG_CANCEL)) {
		sim_check(sk_op_find(ring, user_data | OP_TAG_CANCEL) == NULL,
			  "INV-6: an op was armed while a cancel aimed at it is out");
	}
}

static const void *
op_owner_mark(uint64_t user_data)
{
	const struct op *owner = (const struct op *)(uintptr_t)(user_data & ~(uint64_t)15);
	const void *mark = NULL;

	if (op_has_owner(user_data)) {
		memcpy(&mark, &owner->done, sizeof(mark));
	}
	return mark;
}

static struct sk_op *
op_new(struct ring *ring, const struct io_uring_sqe *sqe)
{
	struct sk_op *op = calloc(1, sizeof(*op));
	struct sk_op **at;

	op_check_identity(ring, sqe->user_data);
	op->ring = ring;
	op->sqe = *sqe;
	op->user_data = sqe->user_data;
	op->owner_mark = op_owner_mark(sqe->user_data);
	list_node_init(&op->node);
	list_node_init(&op->place);
	list_push_back(&ring->ops, &op->node);
	at = bucket(ring, op->user_data);
	op->hash_next = *at;
	*at = op;
	return op;
}

void
sk_op_free(struct sk_op *op)
{
	if (op_has_owner(op->user_data)) {
		sim_check(op->owner_mark == op_owner_mark(op->user_data),
			  "INV-6: an op's memory was recycled while the kernel held it");
	}
	op_unhash(op);
	list_remove(&op->node);
	free(op->iovs);
	free(op);
}

/* ---- states */

static void
op_leave(struct sk_op *op)
{
	if (op->state == SK_OP_TRIGGERED) {
		op->ring->work_len--;
	}
	list_remove(&op->place);
}

static void
op_wait(struct sk_op *op)
{
	op_leave(op);
	op->state = SK_OP_WAITING;
	if (op->sqe.opcode == IORING_OP_LINK_TIMEOUT) {
		list_push_back(&sk.timeouts, &op->place);
	} else if (op->file != NULL) {
		list_push_back(&op->file->waiters, &op->place);
	}
}

void
sk_op_trigger(struct sk_op *op)
{
	if (op->state != SK_OP_WAITING) {
		return;
	}
	op_leave(op);
	op->state = SK_OP_TRIGGERED;
	list_push_back(&op->ring->work, &op->place);
	op->ring->work_len++;
}

static void
op_put_file(struct sk_op *op)
{
	struct sk_file *file = op->file;

	op->file = NULL;
	if (file != NULL) {
		sk_file_put(file);
	}
}

/* A connect is over: its timeout has nothing to do any more. */
static void
op_cut_link(struct sk_op *op)
{
	struct sk_op *timeout = op->link;

	if (timeout == NULL) {
		return;
	}
	op->link = NULL;
	timeout->link = NULL;
	if (op->sqe.opcode == IORING_OP_LINK_TIMEOUT) {
		return; /* it fired, and the connect will say what became of it */
	}
	if (timeout->res_known) {
		return; /* it fired, and reports what it did */
	}
	timeout->res_known = true;
	timeout->res = -ECANCELED;
	sk_op_trigger(timeout);
}

void
sk_op_finish(struct sk_op *op, int32_t res, uint32_t flags)
{
	op_leave(op);
	op->state = SK_OP_FINISHED;
	op_cut_link(op);
	op_put_file(op);
	if (res >= 0 && op->sqe.flags & IOSQE_CQE_SKIP_SUCCESS) {
		sim_event("k skip", op->sqe.opcode, res);
		if (op->unreaped == 0) {
			sk_op_free(op);
		}
		return;
	}
	op->unreaped++;
	sk_cq_post(op->ring, op, res, flags);
}

void
sk_op_post_more(struct sk_op *op, int32_t res, uint32_t flags)
{
	op->unreaped++;
	sk_cq_post(op->ring, op, res, flags | IORING_CQE_F_MORE);
}

/* Executed, but its completion comes later: from now on a cancel finds nothing. */
static void
op_finish_late(struct sk_op *op, int32_t res)
{
	op->res_known = true;
	op->res = res;
	sk_op_trigger(op);
}

void
sk_op_post_alien(struct ring *ring, uint64_t user_data, int32_t res)
{
	const struct io_uring_sqe none = { .opcode = IORING_OP_NOP, .user_data = user_data };
	struct sk_op *op = op_new(ring, &none);

	if (ring->features & RL_FEATURE_DEFER_TASKRUN) {
		op_finish_late(op, res);
	} else {
		sk_op_finish(op, res, 0);
	}
}

void
sk_op_drop(struct sk_op *op)
{
	op_leave(op);
	if (op->link != NULL) {
		op->link->link = NULL;
	}
	op_put_file(op);
	op_unhash(op);
	list_remove(&op->node);
	free(op->iovs);
	free(op);
}

/* ---- cancel */

static bool
op_is_gone(const struct sk_op *op)
{
	return op == NULL || op->state == SK_OP_FINISHED || op->res_known;
}

/* What io_try_cancel() does to @target. */
static int32_t
op_cancel(struct sk_op *target)
{
	if (op_is_gone(target)) {
		sim_fault_count(FAULT_CANCEL_ENOENT);
		return -ENOENT;
	}
	target->cancelled = true;
	sk_op_trigger(target);
	/* -EALREADY: it is being executed at this moment, and will end one way or the other soon */
	return sim_fault(FAULT_CANCEL_EALREADY) ? -EALREADY : 0;
}

static void
op_do_cancel(struct sk_op *op)
{
	struct sk_op *target = sk_op_find(op->ring, op->sqe.addr);
	int32_t res = op_cancel(target);

	sim_event("k cancel", res, target == NULL ? -1 : target->sqe.opcode);
	if (sim_fault(FAULT_CANCEL_LATE)) {
		op_finish_late(op, res);
	} else {
		sk_op_finish(op, res, 0);
	}
}

/* ---- linked timeouts */

static void
op_timeout_fire(struct sk_op *timeout)
{
	struct sk_op *connect = timeout->link;
	int32_t res = -ETIME;

	if (op_is_gone(connect) || sk_op_is_ready(connect)) {
		sim_fault_count(FAULT_CONNECT_RACE);
	}
	if (op_is_gone(connect)) {
		res = -ENOENT;
	} else {
		connect->cancelled = true;
		sk_op_trigger(connect);
	}
	sim_event("k timeout", res, 0);
	op_finish_late(timeout, res);
}

void
sk_timeouts_run(void)
{
	struct list_node *node = sk.timeouts.head.next;

	while (node != &sk.timeouts.head) {
		struct sk_op *op = list_entry(node, struct sk_op, place);

		node = node->next;
		if (op->deadline_ns <= sim_world.now_ns) {
			op_timeout_fire(op);
		}
	}
}

uint64_t
sk_timeouts_next_ns(void)
{
	uint64_t next = UINT64_MAX;
	struct list_node *node;

	for (node = sk.timeouts.head.next; node != &sk.timeouts.head; node = node->next) {
		struct sk_op *op = list_entry(node, struct sk_op, place);

		next = op->deadline_ns < next ? op->deadline_ns : next;
	}
	return next;
}

static void
op_link_timeout(struct sk_op *connect, const struct io_uring_sqe *sqe)
{
	struct sk_op *timeout = op_new(connect->ring, sqe);
	const struct __kernel_timespec *ts = (const void *)(uintptr_t)sqe->addr;

	sim_check(ts->tv_sec >= 0 && ts->tv_nsec >= 0, "a linked timeout is negative");
	timeout->deadline_ns =
		sim_world.now_ns + (uint64_t)ts->tv_sec * 1000000000 + (uint64_t)ts->tv_nsec;
	timeout->link = connect;
	connect->link = timeout;
	op_wait(timeout);
}

/* ---- issue and run */

static struct sk_file *
op_file(const struct ring *ring, const struct io_uring_sqe *sqe)
{
	if (sqe->flags & IOSQE_FIXED_FILE) {
		return (uint32_t)sqe->fd < ring->files_max ? ring->files[sqe->fd] : NULL;
	}
	return sk_fd_file(sqe->fd);
}

static bool
op_needs_file(const struct io_uring_sqe *sqe)
{
	switch (sqe->opcode) {
	case IORING_OP_NOP:
	case IORING_OP_CLOSE:
	case IORING_OP_ASYNC_CANCEL:
	case IORING_OP_LINK_TIMEOUT:
		return false;
	default:
		return true;
	}
}

static void
op_start(struct sk_op *op)
{
	if (op->sqe.opcode == IORING_OP_ASYNC_CANCEL) {
		op_do_cancel(op);
	} else if (op->sqe.opcode == IORING_OP_LINK_TIMEOUT) {
		sk_op_finish(op, -EINVAL, 0); /* nothing that it could be linked to */
	} else if (sim_fault(FAULT_CQ_ASYNC)) {
		sk_op_trigger(op); /* not at once: what it points to is read later */
	} else {
		(void)sk_try(op);
	}
}

static bool
op_is_fenced_off(const struct ring *ring, const struct io_uring_sqe *sqe)
{
	return ring->features & RL_FEATURE_RESTRICTIONS &&
	       (!ring_fence_has_op(sqe->opcode) || (sqe->flags & ~RING_FENCE_FLAGS) != 0);
}

void
sk_op_issue(struct ring *ring, const struct io_uring_sqe *sqe, const struct io_uring_sqe *next)
{
	struct sk_op *op = op_new(ring, sqe);

	if (op_is_fenced_off(ring, sqe)) {
		sk_op_finish(op, -EACCES, 0);
		return;
	}
	if (op_needs_file(sqe)) {
		op->file = op_file(ring, sqe);
	}
	sim_event("k issue", sqe->opcode,
		  op->file != NULL && op->file->kind == SK_SOCK
			  ? (int64_t)sk_file_sock(op->file)->tag
			  : -1);
	if (op_needs_file(sqe)) {
		if (op->file == NULL) {
			sim_check(
				!sk.checks_owners,
				"INV-5: a request (opcode %d) names a descriptor that is not open",
				sqe->opcode);
			sk_op_finish(op, -EBADF, 0);
			return;
		}
		sk_file_get(op->file);
	}
	sk_capture(op);
	if (next != NULL) {
		op_link_timeout(op, next);
	}
	op_wait(op);
	op_start(op);
}

void
sk_op_run(struct sk_op *op)
{
	if (op->res_known) {
		sk_op_finish(op, op->res, 0);
		return;
	}
	if (op->cancelled && !(sk_op_is_ready(op) && sim_fault(FAULT_CANCEL_MISSED))) {
		sk_end_cancelled(op);
		return;
	}
	op_wait(op);
	if (!sk_try(op) && op->cancelled) {
		/* the cancel came too late for this attempt, and finds it at the next */
		sk_op_trigger(op);
	}
}

bool
sk_op_is_ready(const struct sk_op *op)
{
	struct sk_sock *sock;

	if (op->cancelled || op->res_known || op->file == NULL) {
		return true;
	}
	sock = sk_file_sock(op->file);
	if (sock == NULL) {
		return op->file->kind == SK_RING || op->file->counter > 0;
	}
	switch (op->sqe.opcode) {
	case IORING_OP_SEND:
	case IORING_OP_SENDMSG:
		return sk_writable(sock);
	case IORING_OP_CONNECT:
		return sock->state != SK_SYN_SENT;
	case IORING_OP_ACCEPT:
	case IORING_OP_RECV:
		return sk_readable(sock);
	default:
		return true;
	}
}
