/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * multi - the state of serve_multi, and what its two ways of sending share. The functions of this
 * header and of multi_lent.h and multi_copy.h run per message, and are inline so that the compiler
 * sees one hot loop.
 *
 * A slot of the file table is a connection's index. It is closed only when its receive has ended
 * and no send is in flight, so no late completion can meet a slot that was used again.
 */
#ifndef RINGLINE_BENCH_MULTI_H
#define RINGLINE_BENCH_MULTI_H

#include "common/bare_ring.h"
#include "reference/reference.h"

#include <sys/socket.h>

enum {
	MULTI_GROUP = 1,
	MULTI_IOV_MAX = 64
};
enum multi_op {
	MULTI_IGNORED = 0,
	MULTI_ACCEPT,
	MULTI_RECV,
	MULTI_SEND
};

/* A received piece that waits in its receive buffer until it was sent. */
struct multi_seg {
	struct multi_seg *next;
	uint8_t *data;
	uint32_t length;
	uint16_t buf_id;
};

/* What --copy gathers for one send. */
struct multi_chunk {
	struct multi_chunk *next;
	uint32_t length;
	uint32_t capacity;
	uint8_t bytes[];
};

struct multi_conn {
	struct multi_seg *first;
	struct multi_seg *last;
	struct multi_chunk *open; /* gathers while another one flies */
	struct multi_chunk *flying;
	uint32_t in_flight; /* segments, or 1 for a chunk; 0 means that no send is in flight */
	uint32_t send_offset;
	uint32_t send_length;
	bool dirty; /* on the list of this turn's sends */
	bool live;
	bool ended; /* its receive has ended for good */
	struct iovec *iov; /* outlives the connection: slots are used again */
	struct msghdr header;
};

struct multi_server {
	struct bare_ring ring;
	struct bare_buffers bufs;
	unsigned bufs_home;
	bool copy;
	struct multi_conn *conns;
	int *dirty;
	int dirty_count;
	int *starved; /* receives that found no buffer, first come first served */
	int starved_count;
	struct multi_seg *segs_free;
	struct multi_chunk *chunks_free;
	struct reference_counters *counters;
};

static inline struct io_uring_sqe *
multi_sqe(struct multi_server *server, uint8_t opcode, int index, enum multi_op op)
{
	struct io_uring_sqe *sqe =
		bare_ring_sqe(&server->ring, opcode, index, (uint64_t)op << 32 | (uint32_t)index);

	sqe->flags = IOSQE_FIXED_FILE;
	return sqe;
}

static inline void
multi_give_buf(struct multi_server *server, uint16_t id)
{
	bare_buffers_give(&server->bufs, id);
	server->bufs_home++;
}

static inline void
multi_mark_dirty(struct multi_server *server, int index)
{
	struct multi_conn *conn = &server->conns[index];

	if (!conn->dirty) {
		conn->dirty = true;
		server->dirty[server->dirty_count++] = index;
	}
}

static inline void
multi_arm(struct multi_server *server, int index)
{
	struct io_uring_sqe *sqe = multi_sqe(server, IORING_OP_RECV, index, MULTI_RECV);

	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = MULTI_GROUP;
	sqe->ioprio = IORING_RECV_MULTISHOT;
}

static inline void
multi_submit_send(struct multi_server *server, int index, const void *data, uint32_t length)
{
	struct io_uring_sqe *sqe = multi_sqe(server, IORING_OP_SEND, index, MULTI_SEND);

	sqe->addr = (uintptr_t)data;
	sqe->len = length;
	sqe->msg_flags = MSG_NOSIGNAL;
	server->counters->sends++;
}

#endif
