/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * multi_lent - sending straight from the receive buffers: each is lent to the send, and goes home
 * when its bytes have left. Zero copies in user space, and one slow reader can hold every buffer.
 */
#ifndef RINGLINE_BENCH_MULTI_LENT_H
#define RINGLINE_BENCH_MULTI_LENT_H

#include "common/program.h"
#include "reference/multi.h"

enum {
	LENT_SEGS_STEP = 1024
};

static inline struct multi_seg *
lent_take_seg(struct multi_server *server)
{
	struct multi_seg *seg = server->segs_free;
	int i;

	if (seg == NULL) {
		seg = program_alloc(LENT_SEGS_STEP, sizeof(*seg));
		for (i = 0; i < LENT_SEGS_STEP - 1; i++) {
			seg[i].next = &seg[i + 1];
		}
	}
	server->segs_free = seg->next;
	seg->next = NULL;
	return seg;
}

static inline void
lent_release_seg(struct multi_server *server, struct multi_seg *seg)
{
	multi_give_buf(server, seg->buf_id);
	seg->next = server->segs_free;
	server->segs_free = seg;
}

static inline void
lent_receive(struct multi_server *server, struct multi_conn *conn, uint16_t buf_id, uint32_t length)
{
	struct multi_seg *seg = lent_take_seg(server);

	seg->data = bare_buffers_data(&server->bufs, buf_id);
	seg->length = length;
	seg->buf_id = buf_id;
	if (conn->first != NULL) {
		conn->last->next = seg;
	} else {
		conn->first = seg;
	}
	conn->last = seg;
}

static inline void
lent_submit_gathered(struct multi_server *server, int index, uint32_t iov_count)
{
	struct multi_conn *conn = &server->conns[index];
	struct io_uring_sqe *sqe = multi_sqe(server, IORING_OP_SENDMSG, index, MULTI_SEND);

	conn->header = (struct msghdr){ .msg_iov = conn->iov, .msg_iovlen = iov_count };
	sqe->addr = (uintptr_t)&conn->header;
	sqe->len = 1;
	sqe->msg_flags = MSG_NOSIGNAL;
	server->counters->sends++;
	server->counters->sends_gathered++;
}

/* One send for all that has gathered, unless one is in flight. */
static inline void
lent_send(struct multi_server *server, int index)
{
	struct multi_conn *conn = &server->conns[index];
	struct iovec *iov = conn->iov;
	struct multi_seg *seg;
	uint32_t seg_count = 0;
	uint32_t iov_count = 0;
	uint32_t length = 0;

	if (conn->in_flight != 0 || !conn->live || conn->first == NULL) {
		return;
	}
	if (iov == NULL) {
		iov = conn->iov = program_alloc(MULTI_IOV_MAX, sizeof(*iov));
	}
	for (seg = conn->first; seg != NULL && iov_count < MULTI_IOV_MAX; seg = seg->next) {
		iov[iov_count].iov_base = seg->data;
		iov[iov_count++].iov_len = seg->length;
		length += seg->length;
		seg_count++;
	}
	conn->in_flight = seg_count;
	conn->send_length = length;
	if (iov_count == 1) {
		multi_submit_send(server, index, iov[0].iov_base, (uint32_t)iov[0].iov_len);
	} else {
		lent_submit_gathered(server, index, iov_count);
	}
}

/* After a failure the segments of the send go home unsent: the connection ends. */
static inline void
lent_sent(struct multi_server *server, int index, int32_t result)
{
	struct multi_conn *conn = &server->conns[index];
	uint32_t left = result > 0 ? (uint32_t)result : 0;
	uint32_t covered = conn->in_flight;

	conn->in_flight = 0;
	if (result > 0 && left < conn->send_length) {
		server->counters->sends_short++;
	}
	while (conn->first != NULL && covered != 0 && (left != 0 || result < 0)) {
		struct multi_seg *seg = conn->first;

		if (result >= 0 && left < seg->length) {
			seg->data += left;
			seg->length -= left;
			break;
		}
		left -= result < 0 ? 0 : seg->length;
		conn->first = seg->next;
		covered--;
		lent_release_seg(server, seg);
	}
	if (conn->first != NULL) {
		multi_mark_dirty(server, index);
	}
}

static inline void
lent_drop(struct multi_server *server, struct multi_conn *conn)
{
	struct multi_seg *seg;

	while ((seg = conn->first) != NULL) {
		conn->first = seg->next;
		lent_release_seg(server, seg);
	}
}

#endif
