/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One-shot receives: each connection owns a buffer, is received into it, echoes it, and is received
 * again. As cheap as the multishot way and cheaper with hundreds of busy connections, for a parked
 * buffer per connection.
 */
#include "common/bare_ring.h"
#include "common/program.h"
#include "reference/reference.h"

#include <stdio.h>
#include <sys/socket.h>

enum {
	SINGLE_SQ_ENTRIES = 4096,
	SINGLE_CQ_ENTRIES = 16384
};
enum single_op {
	SINGLE_IGNORED = 0,
	SINGLE_ACCEPT,
	SINGLE_RECV,
	SINGLE_SEND
};

struct single_conn {
	uint8_t *buf; /* outlives the connection: slots are used again */
	uint32_t length;
	uint32_t sent;
};

struct single_server {
	struct bare_ring ring;
	struct single_conn *conns;
	uint32_t buf_size_bytes;
	struct reference_counters *counters;
};

static inline struct io_uring_sqe *
single_sqe(struct single_server *server, uint8_t opcode, int index, enum single_op op)
{
	struct io_uring_sqe *sqe =
		bare_ring_sqe(&server->ring, opcode, index, (uint64_t)op << 32 | (uint32_t)index);

	sqe->flags = IOSQE_FIXED_FILE;
	return sqe;
}

static inline void
single_recv(struct single_server *server, int index)
{
	struct io_uring_sqe *sqe = single_sqe(server, IORING_OP_RECV, index, SINGLE_RECV);

	sqe->addr = (uintptr_t)server->conns[index].buf;
	sqe->len = server->buf_size_bytes;
}

static inline void
single_send(struct single_server *server, int index)
{
	const struct single_conn *conn = &server->conns[index];
	struct io_uring_sqe *sqe = single_sqe(server, IORING_OP_SEND, index, SINGLE_SEND);

	sqe->addr = (uintptr_t)conn->buf + conn->sent;
	sqe->len = conn->length - conn->sent;
	sqe->msg_flags = MSG_NOSIGNAL;
	server->counters->sends++;
}

/* A connection has one operation in flight at most, so its end is the end of the slot. */
static void
single_close(struct single_server *server, int index)
{
	struct io_uring_sqe *sqe = bare_ring_sqe(&server->ring, IORING_OP_CLOSE, 0, SINGLE_IGNORED);

	sqe->file_index = (uint32_t)index + 1;
}

static void
single_arm_accept(struct single_server *server, int listen_fd)
{
	struct io_uring_sqe *sqe = single_sqe(server, IORING_OP_ACCEPT, listen_fd, SINGLE_ACCEPT);

	sqe->flags = 0;
	sqe->ioprio = IORING_ACCEPT_MULTISHOT;
	sqe->file_index = IORING_FILE_INDEX_ALLOC;
}

static void
single_accepted(struct single_server *server, int listen_fd, const struct io_uring_cqe *cqe)
{
	struct single_conn *conn;

	if ((cqe->flags & IORING_CQE_F_MORE) == 0 && !reference_stopping()) {
		single_arm_accept(server, listen_fd);
	}
	if (cqe->res < 0) {
		if (!reference_stopping()) {
			fprintf(stderr, "limit_echo: accept: %s\n", strerror(-cqe->res));
		}
		return;
	}
	conn = &server->conns[cqe->res];
	if (conn->buf == NULL) {
		conn->buf = program_alloc(1, server->buf_size_bytes);
	}
	server->counters->accepted++;
	single_recv(server, cqe->res);
}

static inline void
single_recv_done(struct single_server *server, int index, int32_t result)
{
	struct single_conn *conn = &server->conns[index];

	if (result <= 0) {
		single_close(server, index);
		return;
	}
	server->counters->recvs++;
	server->counters->bytes_in += (uint64_t)result;
	conn->length = (uint32_t)result;
	conn->sent = 0;
	single_send(server, index);
}

static inline void
single_send_done(struct single_server *server, int index, int32_t result)
{
	struct single_conn *conn = &server->conns[index];

	if (result < 0) {
		single_close(server, index);
		return;
	}
	conn->sent += (uint32_t)result;
	if (conn->sent < conn->length) {
		server->counters->sends_short++;
		single_send(server, index);
	} else {
		single_recv(server, index);
	}
}

static inline void
single_reap(struct single_server *server, int listen_fd)
{
	unsigned head = bare_ring_first(&server->ring);
	unsigned end = bare_ring_end(&server->ring);

	server->counters->cqes += end - head;
	for (; head != end; head++) {
		const struct io_uring_cqe *cqe = &server->ring.cqes[head & server->ring.cq_mask];
		int index = (int)(uint32_t)cqe->user_data;

		switch ((enum single_op)(cqe->user_data >> 32)) {
		case SINGLE_ACCEPT:
			single_accepted(server, listen_fd, cqe);
			break;
		case SINGLE_RECV:
			single_recv_done(server, index, cqe->res);
			break;
		case SINGLE_SEND:
			single_send_done(server, index, cqe->res);
			break;
		case SINGLE_IGNORED:
			break;
		}
	}
	bare_ring_consumed(&server->ring, head);
}

void
serve_single(const struct reference_options *options, int listen_fd,
	     struct reference_counters *counters)
{
	static struct single_server server;
	struct bare_ring_config config = {
		.sq_entries = SINGLE_SQ_ENTRIES,
		.cq_entries = SINGLE_CQ_ENTRIES,
		.min_wait_us = options->min_wait_us,
		.no_sq_array = true,
	};

	bare_ring_open(&server.ring, &config);
	bare_ring_register_table(&server.ring, REFERENCE_CONNS_MAX);
	server.conns = program_alloc(REFERENCE_CONNS_MAX, sizeof(*server.conns));
	server.buf_size_bytes = options->buf_size_bytes;
	server.counters = counters;
	single_arm_accept(&server, listen_fd);
	while (!reference_stopping()) {
		bare_ring_enter(&server.ring, options->wait_nr, IORING_ENTER_GETEVENTS);
		counters->turns++;
		single_reap(&server, listen_fd);
	}
	counters->enters = server.ring.enters;
	counters->syscalls = server.ring.enters;
}
