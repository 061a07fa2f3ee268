/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * IORING_OP_MSG_RING: a completion in another ring's queue, which is how shards wake each other.
 *
 * To a ring with DEFER_TASKRUN the message is a piece of task work there, to another a completion
 * at once; in the receiving ring it is an op of its own without a request. A message may be on its
 * way for a while (the scheduler lets it arrive), come twice, or come though nobody sent it.
 */
#include <errno.h>

#include "shard/op.h"

#include "sim_kernel.h"

/* ---- descriptors of rings */

struct sk_file *
sk_ring_file(struct ring *ring)
{
	struct sk_file *file = sk_file_new(SK_RING);

	file->ring = ring;
	return file;
}

void
sk_ring_file_close(struct ring *ring)
{
	struct sk_file *file = sk_fd_file(ring->fd);

	file->ring = NULL; /* requests of other rings may still hold the file */
	for (uint32_t i = 0; i < sk.messages_len;) {
		if (sk.messages[i].to == ring) {
			sk.messages[i] = sk.messages[--sk.messages_len];
		} else {
			i++;
		}
	}
	(void)sk_fd_close(ring->fd);
}

/* ---- messages */

static void
message_arrive(const struct sk_message *message)
{
	sim_event("k message", message->to->index, message->res);
	sk_op_post_alien(message->to, message->user_data, message->res);
}

static void
message_send(const struct sk_message *message)
{
	if (sk.messages_len < SK_MESSAGES_MAX && sim_fault(FAULT_MSG_RING_LATE)) {
		sk.messages[sk.messages_len++] = *message;
		return;
	}
	message_arrive(message);
}

bool
sk_message_step(uint32_t nth)
{
	struct sk_message message;

	if (nth >= sk.messages_len) {
		return false;
	}
	message = sk.messages[nth];
	sk.messages[nth] = sk.messages[--sk.messages_len];
	message_arrive(&message);
	return true;
}

static int32_t
message_fault(void)
{
	if (sim_fault(FAULT_MSG_RING_EOVERFLOW)) {
		return -EOVERFLOW;
	}
	if (sim_fault(FAULT_MSG_RING_ENOMEM)) {
		return -ENOMEM;
	}
	return sim_fault(FAULT_MSG_RING_EBADFD) ? -EBADFD : 0;
}

bool
sk_try_msg_ring(struct sk_op *op)
{
	struct sk_message message = {
		.to = op->file->ring,
		.user_data = op->sqe.off,
		.res = (int32_t)op->sqe.len,
	};
	int32_t res;

	sim_check(op->sqe.addr == IORING_MSG_DATA, "a message that passes a descriptor");
	if (message.to == NULL) {
		res = -EBADFD;
	} else if (op->sqe.file_index != 0 || op->sqe.rw_flags != 0) {
		res = -EINVAL; /* CQE_SKIP goes with descriptors only */
	} else {
		res = message_fault();
	}
	if (res == 0) {
		message_send(&message);
		if (sim_fault(FAULT_MSG_RING_TWICE)) {
			message_send(&message);
		}
	}
	sk_op_finish(op, res, 0);
	return true;
}

void
sk_message_from_nowhere(struct ring *ring)
{
	struct sk_message message = { .to = ring, .user_data = OP_USER_DATA_WOKEN };

	if (sim_fault(FAULT_MSG_RING_SPURIOUS)) {
		message_arrive(&message);
	}
}

/* ---- is a wake-up on its way? */

/* In the submission queue, or taken and not yet answered: a failure is told to the sender. */
static bool
ring_wakes(const struct ring *from, const struct ring *to)
{
	const struct list_node *node;

	if (from->over) {
		return false; /* its thread has ended: it submits nothing and hears of nothing */
	}
	for (uint32_t at = from->sq_head; at != from->sq_tail; at++) {
		const struct io_uring_sqe *sqe = &from->sqes[at % from->sq_entries];

		if (sqe->opcode == IORING_OP_MSG_RING && sqe->fd == to->fd) {
			return true;
		}
	}
	for (node = from->ops.head.next; node != &from->ops.head; node = node->next) {
		const struct sk_op *op = list_entry(node, struct sk_op, node);

		if (op->sqe.opcode == IORING_OP_MSG_RING && op->sqe.fd == to->fd) {
			return true;
		}
	}
	return false;
}

bool
sk_wake_is_on_its_way(const struct ring *to)
{
	for (uint32_t i = 0; i < sk.messages_len; i++) {
		if (sk.messages[i].to == to) {
			return true;
		}
	}
	for (uint32_t i = 0; i < SK_RINGS_MAX; i++) {
		if (sk.rings[i] != NULL && ring_wakes(sk.rings[i], to)) {
			return true;
		}
	}
	return false;
}
