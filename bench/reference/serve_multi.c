/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The limit: per turn one io_uring_enter, which takes all that arrived (multishot receives into one
 * group of shared buffers) and submits at most one gathered send per connection.
 */
#include "common/bare_ring.h"
#include "common/program.h"
#include "reference/multi.h"
#include "reference/multi_copy.h"
#include "reference/multi_lent.h"
#include "reference/reference.h"

#include <stdio.h>

enum {
	MULTI_SQ_ENTRIES = 4096,
	MULTI_CQ_ENTRIES = 16384
};

static void
multi_open(struct multi_server *server, const struct reference_options *options,
	   struct reference_counters *counters)
{
	struct bare_ring_config config = {
		.sq_entries = MULTI_SQ_ENTRIES,
		.cq_entries = MULTI_CQ_ENTRIES,
		.min_wait_us = options->min_wait_us,
		.no_sq_array = true,
	};

	bare_ring_open(&server->ring, &config);
	bare_ring_register_table(&server->ring, REFERENCE_CONNS_MAX);
	bare_buffers_open(&server->bufs, &server->ring, options->buf_count, options->buf_size_bytes,
			  MULTI_GROUP);
	server->bufs_home = options->buf_count;
	server->copy = options->copy;
	server->conns = program_alloc(REFERENCE_CONNS_MAX, sizeof(*server->conns));
	server->dirty = program_alloc(REFERENCE_CONNS_MAX, sizeof(*server->dirty));
	server->starved = program_alloc(REFERENCE_CONNS_MAX, sizeof(*server->starved));
	server->counters = counters;
}

/* A listener has no slot in the table: a plain descriptor. */
static void
multi_arm_accept(struct multi_server *server, int listen_fd)
{
	struct io_uring_sqe *sqe = multi_sqe(server, IORING_OP_ACCEPT, listen_fd, MULTI_ACCEPT);

	sqe->flags = 0;
	sqe->ioprio = IORING_ACCEPT_MULTISHOT;
	sqe->file_index = IORING_FILE_INDEX_ALLOC;
}

static void
multi_accepted(struct multi_server *server, int listen_fd, const struct io_uring_cqe *cqe)
{
	struct multi_conn *conn;
	struct iovec *iov;

	if ((cqe->flags & IORING_CQE_F_MORE) == 0 && !reference_stopping()) {
		multi_arm_accept(server, listen_fd);
	}
	if (cqe->res < 0) {
		if (!reference_stopping()) {
			fprintf(stderr, "limit_echo: accept: %s\n", strerror(-cqe->res));
		}
		return;
	}
	conn = &server->conns[cqe->res];
	iov = conn->iov;
	memset(conn, 0, sizeof(*conn));
	conn->iov = iov;
	conn->live = true;
	server->counters->accepted++;
	multi_arm(server, cqe->res);
}

static void
multi_finish(struct multi_server *server, int index)
{
	struct multi_conn *conn = &server->conns[index];
	struct io_uring_sqe *sqe;

	lent_drop(server, conn);
	copy_drop(server, conn);
	sqe = bare_ring_sqe(&server->ring, IORING_OP_CLOSE, 0, MULTI_IGNORED);
	sqe->file_index = (uint32_t)index + 1;
}

/* The receive has ended: end of stream or an error. */
static void
multi_end(struct multi_server *server, int index)
{
	struct multi_conn *conn = &server->conns[index];

	if (conn->ended) {
		return;
	}
	conn->live = false;
	conn->ended = true;
	if (conn->in_flight == 0) {
		multi_finish(server, index);
	}
}

/* A send failed: the shutdown makes the receive end, and that ends the connection. */
static void
multi_break(struct multi_server *server, int index)
{
	struct io_uring_sqe *sqe;

	server->conns[index].live = false;
	sqe = multi_sqe(server, IORING_OP_SHUTDOWN, index, MULTI_IGNORED);
	sqe->len = SHUT_RDWR;
}

/* Also takes what arrives after a failed send: multi_finish gives the memory back. */
static inline void
multi_received(struct multi_server *server, int index, const struct io_uring_cqe *cqe)
{
	uint16_t buf_id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	uint32_t length = (uint32_t)cqe->res;

	server->counters->recvs++;
	server->counters->bytes_in += length;
	server->bufs_home--;
	if (server->copy) {
		copy_receive(server, &server->conns[index], buf_id, length);
	} else {
		lent_receive(server, &server->conns[index], buf_id, length);
	}
	multi_mark_dirty(server, index);
}

static inline void
multi_recv_done(struct multi_server *server, int index, const struct io_uring_cqe *cqe)
{
	if (cqe->res > 0) {
		multi_received(server, index, cqe);
	} else if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
		server->bufs_home--;
		multi_give_buf(server, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
	}
	if (cqe->res == -ENOBUFS) {
		server->counters->enobufs_parks++;
		server->starved[server->starved_count++] = index;
	} else if (cqe->res <= 0) {
		multi_end(server, index);
	} else if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
		server->counters->rearms++;
		multi_arm(server, index);
	}
}

static inline void
multi_send_done(struct multi_server *server, int index, int32_t result)
{
	const struct multi_conn *conn = &server->conns[index];

	if (server->copy) {
		copy_sent(server, index, result);
	} else {
		lent_sent(server, index, result);
	}
	if (conn->ended) {
		if (conn->in_flight == 0) {
			multi_finish(server, index);
		}
	} else if (result < 0) {
		multi_break(server, index);
	}
}

static inline void
multi_reap(struct multi_server *server, int listen_fd)
{
	unsigned head = bare_ring_first(&server->ring);
	unsigned end = bare_ring_end(&server->ring);

	server->counters->cqes += end - head;
	for (; head != end; head++) {
		const struct io_uring_cqe *cqe = &server->ring.cqes[head & server->ring.cq_mask];
		int index = (int)(uint32_t)cqe->user_data;

		switch ((enum multi_op)(cqe->user_data >> 32)) {
		case MULTI_ACCEPT:
			multi_accepted(server, listen_fd, cqe);
			break;
		case MULTI_RECV:
			multi_recv_done(server, index, cqe);
			break;
		case MULTI_SEND:
			multi_send_done(server, index, cqe->res);
			break;
		case MULTI_IGNORED:
			break;
		}
	}
	bare_ring_consumed(&server->ring, head);
}

/* What is armed here reaches the kernel with the next enter, so after the publish at the end. */
static inline void
multi_feed_starved(struct multi_server *server)
{
	unsigned enough = (server->bufs.mask + 1u) / 8;
	int kept = 0;
	int i;

	for (i = 0; i < server->starved_count; i++) {
		int index = server->starved[i];

		if (!server->conns[index].live) {
			multi_end(server, index); /* no completion will come to end it */
		} else if (server->bufs_home > enough) {
			multi_arm(server, index);
		} else {
			server->starved[kept++] = index;
		}
	}
	server->starved_count = kept;
	bare_buffers_publish(&server->bufs);
}

static inline void
multi_send_dirty(struct multi_server *server)
{
	int i;

	for (i = 0; i < server->dirty_count; i++) {
		int index = server->dirty[i];

		server->conns[index].dirty = false;
		if (server->copy) {
			copy_send(server, index);
		} else {
			lent_send(server, index);
		}
	}
	server->dirty_count = 0;
}

void
serve_multi(const struct reference_options *options, int listen_fd,
	    struct reference_counters *counters)
{
	static struct multi_server server;

	multi_open(&server, options, counters);
	multi_arm_accept(&server, listen_fd);
	while (!reference_stopping()) {
		bare_ring_enter(&server.ring, options->wait_nr, IORING_ENTER_GETEVENTS);
		counters->turns++;
		if (atomic_load_explicit(server.ring.sq_flags, memory_order_relaxed) &
		    IORING_SQ_CQ_OVERFLOW) {
			counters->cq_overflows++;
		}
		multi_reap(&server, listen_fd);
		multi_feed_starved(&server);
		multi_send_dirty(&server);
	}
	counters->enters = server.ring.enters;
	counters->syscalls = server.ring.enters;
}
