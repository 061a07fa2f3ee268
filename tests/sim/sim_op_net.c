/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What each request does when it is tried, and the ways in which it may legally fail.
 *
 * A try either finishes the request, or leaves it waiting for its file, or puts it straight back on
 * the work list (a multishot that had its share of this turn).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim_kernel.h"

/* Linux lets one multishot receive go round this often before others have their turn. */
#define RECV_ROUNDS 33

/* ---- what SQEs point to */

static void
capture_msg(struct sk_op *op)
{
	const struct msghdr *msg = (const void *)(uintptr_t)op->sqe.addr;

	sim_check(msg->msg_name == NULL && msg->msg_control == NULL,
		  "a gathered send carries an address or control data");
	op->iovs_count = (uint32_t)msg->msg_iovlen;
	op->iovs = malloc((op->iovs_count + 1) * sizeof(op->iovs[0]));
	memcpy(op->iovs, msg->msg_iov, op->iovs_count * sizeof(op->iovs[0]));
	for (uint32_t i = 0; i < op->iovs_count; i++) {
		op->len_bytes += op->iovs[i].iov_len;
	}
}

void
sk_capture(struct sk_op *op)
{
	const struct io_uring_sqe *sqe = &op->sqe;

	switch (sqe->opcode) {
	case IORING_OP_SENDMSG:
		capture_msg(op);
		break;
	case IORING_OP_SEND:
		op->iovs = malloc(sizeof(op->iovs[0]));
		op->iovs[0].iov_base = (void *)(uintptr_t)sqe->addr;
		op->iovs[0].iov_len = sqe->len;
		op->iovs_count = 1;
		op->len_bytes = sqe->len;
		break;
	case IORING_OP_CONNECT:
		memset(&op->addr, 0, sizeof(op->addr));
		memcpy(&op->addr, (const void *)(uintptr_t)sqe->addr,
		       sqe->off < sizeof(op->addr) ? sqe->off : sizeof(op->addr));
		break;
	default:
		break;
	}
}

/* ---- receive */

static int32_t
recv_fault(struct sk_sock *sock)
{
	if (sim_fault(FAULT_RECV_ETIMEDOUT)) {
		sk_break(sock, 0);
		return -ETIMEDOUT;
	}
	if (sim_fault(FAULT_RECV_EINTR)) {
		sk_disturb(sock);
		return -EINTR;
	}
	if (sim_fault(FAULT_RECV_ECANCELED)) {
		sk_disturb(sock);
		return -ECANCELED;
	}
	return 0;
}

/* How much of what is there this receive gets. */
static uint32_t
recv_share(const struct sk_sock *sock, uint32_t room)
{
	uint32_t n = sock->rcv.len < room ? sock->rcv.len : room;

	if (sim_fault(FAULT_RECV_ONE_BYTE)) {
		return 1;
	}
	return n > 1 && sim_fault(FAULT_RECV_CHUNK) ? (uint32_t)sim_between(1, n) : n;
}

/* Nothing to read: wait, or the end of the stream, or its error. */
static bool
recv_nothing(struct sk_op *op, struct sk_sock *sock)
{
	uint8_t none;
	int64_t res = sk_read(sock, &none, 1);

	if (res == -EAGAIN) {
		return false;
	}
	if (res == -ECONNRESET) {
		sim_fault_count(FAULT_RECV_ECONNRESET);
	}
	sim_event("k recv end", res, 0);
	sk_op_finish(op, (int32_t)res, 0);
	return true;
}

static bool
recv_into_buffer(struct sk_op *op, struct sk_sock *sock)
{
	struct sk_group *group = &op->ring->group;
	uint16_t id;
	struct sk_buffer *buffer = sk_group_take(group, &id);
	uint32_t n = recv_share(sock, buffer->len);
	uint32_t flags = IORING_CQE_F_BUFFER | (uint32_t)id << IORING_CQE_BUFFER_SHIFT;
	bool full = !sk_cq_has_room(op->ring);

	(void)sk_read(sock, (void *)(uintptr_t)buffer->addr, n);
	sim_event_wire("k recv", (const void *)(uintptr_t)buffer->addr, n);
	if (sock->rcv.len > 0) {
		flags |= IORING_CQE_F_SOCK_NONEMPTY;
	}
	if (full) {
		sim_fault_count(FAULT_RECV_CQ_FULL);
	}
	if (op->cancelled) {
		sim_fault_count(FAULT_RECV_AFTER_CANCEL);
	}
	if (full || !(op->sqe.ioprio & IORING_RECV_MULTISHOT) || sim_fault(FAULT_RECV_NO_MORE)) {
		sk_op_finish(op, (int32_t)n, flags);
		return true;
	}
	sk_op_post_more(op, (int32_t)n, flags);
	return false;
}

/*
 * Linux from 6.17 on: a multishot that is woken once for the last bytes of a Unix stream and for
 * its end takes the bytes, is told that none are left, and waits for a wake-up that has been.
 */
static bool
recv_loses_end(const struct sk_sock *sock, int round)
{
	return round > 0 && sock->is_unix && sock->rcv.len == 0 && sk_readable(sock) && sim_coin();
}

/* One-shot with a buffer of the ring's, or multishot. */
static bool
try_recv_select(struct sk_op *op)
{
	struct sk_sock *sock = sk_file_sock(op->file);
	int32_t fault;

	for (int round = 0; round < RECV_ROUNDS; round++) {
		/* a buffer is chosen first: without one there is not even an end of the stream */
		bool empty = sk_group_is_empty(&op->ring->group);

		if (empty || sim_fault(FAULT_RECV_ENOBUFS)) {
			if (empty) {
				sim_fault_count(FAULT_RECV_EMPTY_RING);
			}
			sk_op_finish(op, -ENOBUFS, 0);
			return true;
		}
		fault = recv_fault(sock);
		if (fault != 0) {
			sk_op_finish(op, fault, 0);
			return true;
		}
		if (recv_loses_end(sock, round)) {
			return false;
		}
		if (sock->rcv.len == 0) {
			return recv_nothing(op, sock);
		}
		if (recv_into_buffer(op, sock)) {
			return true;
		}
	}
	sk_op_trigger(op);
	return false;
}

static bool
try_recv(struct sk_op *op)
{
	struct sk_sock *sock = sk_file_sock(op->file);
	uint32_t n;

	if (op->sqe.flags & IOSQE_BUFFER_SELECT) {
		return try_recv_select(op);
	}
	if (sock->rcv.len == 0) {
		return recv_nothing(op, sock);
	}
	n = recv_share(sock, op->sqe.len);
	n = (uint32_t)sk_read(sock, (void *)(uintptr_t)op->sqe.addr, n);
	sk_op_finish(op, (int32_t)n, 0);
	return true;
}

/* ---- send */

static int32_t
send_fault(struct sk_sock *sock)
{
	static const struct {
		enum sim_fault fault;
		int32_t res;
		bool fatal;
	} faults[] = {
		{ FAULT_SEND_EPIPE, -EPIPE, true },    { FAULT_SEND_ECONNRESET, -ECONNRESET, true },
		{ FAULT_SEND_EAGAIN, -EAGAIN, false }, { FAULT_SEND_ENOBUFS, -ENOBUFS, false },
		{ FAULT_SEND_ENOMEM, -ENOMEM, false }, { FAULT_SEND_ECANCELED, -ECANCELED, false },
	};

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		if (!sim_fault(faults[i].fault)) {
			continue;
		}
		if (faults[i].fatal) {
			sk_break(sock, 0);
		} else {
			sk_disturb(sock);
		}
		return faults[i].res;
	}
	return 0;
}

/* Copy from the product's memory, as late as this is: what was freed since is somebody else's. */
static int64_t
send_copy(struct sk_op *op, struct sk_sock *sock, uint64_t max)
{
	uint64_t skip = op->done_bytes;
	uint64_t total = 0;

	for (uint32_t i = 0; i < op->iovs_count && total < max; i++) {
		const struct iovec *iov = &op->iovs[i];
		uint64_t n = iov->iov_len;
		int64_t took;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n = n - skip < max - total ? n - skip : max - total;
		took = sk_write(sock, (const uint8_t *)iov->iov_base + skip, (uint32_t)n);
		if (took < 0) {
			return total > 0 ? (int64_t)total : took;
		}
		sim_event_wire("k send", (const uint8_t *)iov->iov_base + skip, (size_t)took);
		total += (uint64_t)took;
		if ((uint64_t)took < n) {
			break;
		}
		skip = 0;
	}
	return (int64_t)total;
}

static bool
send_end(struct sk_op *op, int32_t error)
{
	int32_t res = op->done_bytes > 0 ? (int32_t)op->done_bytes : error;

	if (op->done_bytes > 0 && error < 0) {
		/* Linux tells an error once: here to a send that reports its bytes instead */
		sim_fault_count(FAULT_SEND_ERROR_LOST);
		sk_disturb(sk_file_sock(op->file));
	}
	sim_event("k send end", res, error);
	sk_op_finish(op, res, 0);
	return true;
}

static bool
try_send(struct sk_op *op)
{
	struct sk_sock *sock = sk_file_sock(op->file);
	int32_t fault = send_fault(sock);
	uint64_t max = op->len_bytes - op->done_bytes;
	int64_t took;

	if (fault != 0) {
		return send_end(op, fault);
	}
	if (max > 1 && sim_fault(FAULT_SEND_CHUNK)) {
		max = sim_between(1, max);
	}
	took = op->len_bytes == 0 ? 0 : send_copy(op, sock, max);
	if (took < 0 && took != -EAGAIN) {
		return send_end(op, (int32_t)took);
	}
	op->done_bytes += took > 0 ? (uint64_t)took : 0;
	if (op->done_bytes == op->len_bytes) {
		return send_end(op, 0);
	}
	if (op->done_bytes > 0 &&
	    (!(op->sqe.msg_flags & MSG_WAITALL) || sim_fault(FAULT_SEND_SHORT))) {
		return send_end(op, 0);
	}
	if (took > 0) {
		sk_op_trigger(op);
	}
	return false;
}

/* ---- the rest */

static bool
connect_unspec(struct sk_op *op, struct sk_sock *sock)
{
	if (sock->is_unix) {
		sk_op_finish(op, -EINVAL, 0);
		return true;
	}
	if (sim_fault(FAULT_UNSPEC_EINTR)) {
		sk_disturb(sock);
		sk_op_finish(op, -EINTR, 0);
		return true;
	}
	sk_reset(sock);
	sk_op_finish(op, 0, 0);
	return true;
}

static bool
try_connect(struct sk_op *op)
{
	struct sk_sock *sock = sk_file_sock(op->file);
	int rc;

	if (!op->started && op->addr.sa.sa_family == AF_UNSPEC) {
		return connect_unspec(op, sock);
	}
	if (!op->started) {
		op->started = true;
		sock->black_hole = sim_fault(FAULT_CONNECT_BLACK_HOLE);
		rc = sim_fault(FAULT_CONNECT_ENETUNREACH)
			     ? -ENETUNREACH
			     : sk_connect(sock, &op->addr, (socklen_t)op->sqe.off);
		if (rc != 0) {
			sk_disturb(sock);
			sk_op_finish(op, rc, 0);
			return true;
		}
	}
	if (sock->state == SK_SYN_SENT) {
		return false;
	}
	rc = -sock->error;
	sock->error = 0;
	sim_event("k connect", rc, 0);
	sk_op_finish(op, sock->state == SK_OPEN ? 0 : rc, 0);
	return true;
}

static bool
try_read(struct sk_op *op)
{
	uint64_t *to = (void *)(uintptr_t)op->sqe.addr;

	sim_check(op->file->kind == SK_EVENTFD && op->sqe.len == sizeof(*to),
		  "a read of something that is no eventfd");
	if (op->file->counter == 0 && !sim_fault(FAULT_WAKE_SPURIOUS)) {
		return false;
	}
	if (sim_fault(FAULT_WAKE_READ_FAILS)) {
		sk_op_finish(op, sim_coin() ? -EINTR : -ECANCELED, 0);
		return true;
	}
	*to = op->file->counter > 0 ? op->file->counter : 1;
	op->file->counter = 0;
	sk_op_finish(op, sizeof(*to), 0);
	return true;
}

static bool
try_shutdown(struct sk_op *op)
{
	int rc = sk_shutdown(sk_file_sock(op->file), (int)op->sqe.len);

	if (rc == -ENOTCONN) {
		sim_fault_count(FAULT_SHUTDOWN_ENOTCONN);
	}
	sk_op_finish(op, rc, 0);
	return true;
}

static bool
try_close(struct sk_op *op)
{
	uint32_t index = op->sqe.file_index;
	struct sk_file *file = NULL;
	int32_t rc = 0;

	if (index == 0) {
		rc = sk_fd_close(op->sqe.fd);
	} else if (index - 1 < op->ring->files_max) {
		file = op->ring->files[index - 1];
		op->ring->files[index - 1] = NULL;
	}
	if (index != 0 && file == NULL) {
		rc = -EBADF;
	} else if (file != NULL) {
		sk_file_put(file);
	}
	sim_check(rc == 0 || !sk.checks_owners, "INV-5: a close of what is not open");
	if (rc == 0 && sim_fault(FAULT_CLOSE_EIO)) {
		rc = -EIO; /* closed all the same */
	}
	sk_op_finish(op, rc, 0);
	return true;
}

bool
sk_try(struct sk_op *op)
{
	switch (op->sqe.opcode) {
	case IORING_OP_ACCEPT:
		return sk_try_accept(op);
	case IORING_OP_RECV:
		return try_recv(op);
	case IORING_OP_SEND:
	case IORING_OP_SENDMSG:
		return try_send(op);
	case IORING_OP_CONNECT:
		return try_connect(op);
	case IORING_OP_SHUTDOWN:
		return try_shutdown(op);
	case IORING_OP_CLOSE:
		return try_close(op);
	case IORING_OP_READ:
		return try_read(op);
	case IORING_OP_MSG_RING:
		if (op->file->kind == SK_RING) {
			return sk_try_msg_ring(op);
		}
		sk_op_finish(op, -EBADFD, 0);
		return true;
	case IORING_OP_NOP:
		sk_op_finish(op, 0, 0);
		return true;
	default:
		sim_fail("the simulated kernel has no opcode %d", op->sqe.opcode);
	}
}

void
sk_end_cancelled(struct sk_op *op)
{
	struct sk_sock *sock;

	/* data that was there is delivered first, and the last word is still the cancel's */
	if (op->sqe.opcode == IORING_OP_RECV && op->sqe.ioprio & IORING_RECV_MULTISHOT) {
		sock = sk_file_sock(op->file);
		while (sock->rcv.len > 0 && sk_cq_has_room(op->ring) &&
		       !sk_group_is_empty(&op->ring->group) && sim_fault(FAULT_RECV_AFTER_CANCEL)) {
			if (recv_into_buffer(op, sock)) {
				return;
			}
		}
	}
	if (op->done_bytes > 0) {
		sim_fault_count(FAULT_SEND_CANCELLED_PART);
	}
	sk_op_finish(op, op->done_bytes > 0 ? (int32_t)op->done_bytes : -ECANCELED, 0);
}
