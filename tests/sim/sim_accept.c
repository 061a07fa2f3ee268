/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Accepting, by request and by accept4(2): connections leave the backlog, or an error says why not.
 */
#include <errno.h>
#include <string.h>

#include "sim_kernel.h"

static int
files_slot(struct ring *ring)
{
	/* the lowest free one: used again at once, while old completions are still queued */
	for (uint32_t i = 0; i < ring->files_max; i++) {
		if (ring->files[i] == NULL) {
			return (int)i;
		}
	}
	return -ENFILE;
}

static void
accept_write_address(const struct sk_op *op, const struct sk_sock *sock)
{
	void *to = (void *)(uintptr_t)op->sqe.addr;
	socklen_t *len = (void *)(uintptr_t)op->sqe.addr2;

	if (to == NULL || len == NULL) {
		return;
	}
	memcpy(to, &sock->remote, *len < sock->remote_len ? *len : sock->remote_len);
	*len = sock->remote_len;
}

static int32_t
accept_install(struct sk_op *op, struct sk_sock *sock)
{
	int32_t res;

	if (op->sqe.file_index == 0) {
		res = sk_fd_install(&sock->file);
	} else {
		sim_check(op->sqe.file_index == IORING_FILE_INDEX_ALLOC,
			  "a direct accept names a slot of its own");
		sim_check(!(op->sqe.accept_flags & SOCK_CLOEXEC),
			  "SOCK_CLOEXEC with a direct slot is -EINVAL");
		res = files_slot(op->ring);
		if (res >= 0) {
			op->ring->files[res] = &sock->file;
		}
	}
	if (res < 0) {
		sk_disturb(sock); /* the table is full: the connection is dropped */
		sk_reset(sock);
		sk_file_put(&sock->file);
	}
	return res;
}

/* What the system is out of, it is often out of for a while. */
static void
accept_gone(int32_t res)
{
	if (sim_coin()) {
		sk.accept_gone_res = res;
		sk.accept_gone_until_ns = sim_world.now_ns + sim_below(200000000);
	}
}

/* Out of something, or forbidden: no connection is taken. */
static int32_t
accept_fault(void)
{
	static const struct {
		enum sim_fault fault;
		int32_t res;
	} faults[] = {
		{ FAULT_ACCEPT_EMFILE, -EMFILE }, { FAULT_ACCEPT_ENFILE, -ENFILE },
		{ FAULT_ACCEPT_ENOMEM, -ENOMEM }, { FAULT_ACCEPT_ENOBUFS, -ENOBUFS },
		{ FAULT_ACCEPT_EACCES, -EACCES }, /* a security module says so, to all of them */
	};

	if (sim_world.now_ns < sk.accept_gone_until_ns && !sim_world.healed) {
		return sk.accept_gone_res;
	}
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		if (sim_fault(faults[i].fault)) {
			accept_gone(faults[i].res);
			return faults[i].res;
		}
	}
	return 0;
}

/* The errors of one connection, which accept(2) passes on: it is taken, and lost. */
static int32_t
accept_lost(void)
{
	static const int32_t network[] = { -ENETDOWN, -EPROTO,	     -ENOPROTOOPT, -EHOSTDOWN,
					   -ENONET,   -EHOSTUNREACH, -ENETUNREACH };

	if (sim_fault(FAULT_ACCEPT_ECONNABORTED)) {
		return -ECONNABORTED;
	}
	if (sim_fault(FAULT_ACCEPT_EPERM)) {
		return -EPERM;
	}
	if (sim_fault(FAULT_ACCEPT_NETWORK)) {
		return network[sim_below(sizeof(network) / sizeof(network[0]))];
	}
	return 0;
}

/* One connection off the backlog, which is not empty: 0 and @sock, or what went wrong. */
static int32_t
accept_take(struct sk_sock *listener, bool plain, struct sk_sock **sock)
{
	int32_t res = accept_fault();

	if (res == 0 && plain && sk.fds_open >= sk.fds_limit) {
		return -EMFILE; /* found out before a connection is taken */
	}
	if (res != 0) {
		return res;
	}
	res = accept_lost();
	*sock = sk_accept(listener);
	if (res != 0) {
		sk_disturb(*sock);
		sk_reset(*sock);
		sk_file_put(&(*sock)->file);
		return res;
	}
	if ((*sock)->peer->file.refs > 0 && sim_fault(FAULT_ACCEPT_RESET)) {
		sk_disturb(*sock);
		sk_break(*sock, ECONNRESET);
	}
	return 0;
}

/* Slot or descriptor, or what went wrong. */
static int32_t
accept_one(struct sk_op *op, struct sk_sock *listener)
{
	struct sk_sock *sock;
	int32_t res = accept_take(listener, op->sqe.file_index == 0, &sock);

	if (res != 0) {
		return res;
	}
	accept_write_address(op, sock);
	return accept_install(op, sock);
}

bool
sk_try_accept(struct sk_op *op)
{
	struct sk_sock *listener = sk_file_sock(op->file);
	bool multishot = (op->sqe.ioprio & IORING_ACCEPT_MULTISHOT) != 0;

	if (listener->state != SK_LISTEN || (op->sqe.ioprio & IORING_ACCEPT_POLL_FIRST &&
					     !(op->ring->features & RL_FEATURE_ACCEPT_POLL))) {
		sk_op_finish(op, -EINVAL, 0);
		return true;
	}
	while (listener->backlog_len > 0) {
		int32_t res = accept_one(op, listener);
		uint32_t more = listener->backlog_len > 0 ? IORING_CQE_F_SOCK_NONEMPTY : 0;

		sim_event("k accept", res < 0 ? res : 0, multishot);
		if (res < 0 || !multishot || !sk_cq_has_room(op->ring)) {
			sk_op_finish(op, res, res < 0 ? 0 : more);
			return true;
		}
		sk_op_post_more(op, res, more);
	}
	return false;
}

int
sk_accept_plain(struct sk_sock *listener, struct sockaddr *peer, socklen_t *len)
{
	struct sk_sock *sock;
	int32_t res;

	if (listener->state != SK_LISTEN) {
		return -EINVAL;
	}
	if (sim_fault(FAULT_ACCEPT_EINTR)) {
		return -EINTR;
	}
	if (listener->backlog_len == 0) {
		return -EAGAIN;
	}
	res = accept_take(listener, true, &sock);
	sim_event("k accept4", res, 0);
	if (res != 0) {
		return res;
	}
	if (peer != NULL) {
		memcpy(peer, &sock->remote, *len < sock->remote_len ? *len : sock->remote_len);
		*len = sock->remote_len;
	}
	return sk_fd_install(&sock->file); /* there is one: accept_take() has looked */
}
