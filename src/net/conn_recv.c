/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Receiving. Bytes wait in up to three places, in this order: pending (what the actor left over),
 * arrived (copied out of the ring while paused), lent (in the ring's buffers, not delivered yet).
 * Invariants: a receive is in flight only while nothing has arrived; a connection that is paused
 * holds no ring buffer after the flush; each lent buffer goes home exactly once.
 */
#include <errno.h>
#include <string.h>

#include "base/mutant.h"

#include "net/conn.h"

/* Parked connections are armed again when an eighth of the buffers is home, not at each one. */
#define UNPARK_SHARE 8

static void recv_done(struct rl_shard *shard, struct op *op, int32_t res, uint32_t flags);

/* Does the state want bytes from the kernel? */
static bool
recv_is_wanted(const struct conn *conn)
{
	if (conn->eof_seen || conn->input_error != 0) {
		return false;
	}
	if (conn->state != CONN_OPEN) {
		return conn->state == CONN_FLUSHING || conn->state == CONN_LINGERING;
	}
	return !conn->paused && !conn->again;
}

/* Automatic pause: an actor that has too much output waiting gets no more input. */
static bool
recv_is_held(const struct conn *conn)
{
	return !RL_MUTANT(AUTO_PAUSE_IGNORED) && conn->state == CONN_OPEN && conn->auto_pause &&
	       conn->out_bytes > conn->shard->config->send_high_bytes;
}

/* PATH-2 arm recv. False: the submission queue is full. */
static bool
recv_arm(struct conn *conn)
{
	struct io_uring_sqe *sqe = rli_ring_sqe(conn->shard->ring);

	if (sqe == NULL) {
		counters_add(&conn->shard->counters, sq_full, 1);
		return false;
	}
	io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
	io_uring_sqe_set_flags(sqe, conn->sqe_flags | IOSQE_BUFFER_SELECT);
	sqe->buf_group = BUFRING_GROUP;
	op_arm(&conn->recv, sqe, recv_done);
	return true;
}

static void
recv_park(struct conn *conn)
{
	if (!list_is_linked(&conn->parked)) {
		list_push_back(&conn->shard->net->parked, &conn->parked);
		counters_add(&conn->shard->counters, enobufs_parks, 1);
	}
}

/* Copy one lent slice to the arrived list, so that its buffer can go home. False: no memory. */
static bool
recv_copy_out(struct conn *conn, uint16_t id)
{
	struct bufring *bufring = &conn->shard->bufring;
	const struct bufring_slot *slot = &bufring->slots[id];
	uint32_t len = slot->len - slot->start;
	struct chunk *chunk = rli_chunk_take(&conn->shard->recv_pool, len);

	if (chunk == NULL || chunk->capacity < len) {
		if (chunk != NULL) {
			rli_chunk_give(&conn->shard->recv_pool, chunk);
		}
		return false;
	}
	memcpy(chunk->data, rli_bufring_data(bufring, id) + slot->start, len);
	chunk->end = len;
	if (conn->arrived_last == NULL) {
		conn->arrived_first = chunk;
	} else {
		conn->arrived_last->next = chunk;
	}
	conn->arrived_last = chunk;
	conn->arrived_bytes += len;
	return true;
}

static uint16_t
recv_lent_pop(struct conn *conn)
{
	uint16_t id = conn->lent_first;

	conn->lent_first = conn->shard->bufring.slots[id].next;
	if (conn->lent_first == BUFRING_NONE) {
		conn->lent_last = BUFRING_NONE;
	}
	return id;
}

static void
recv_arrived_pop(struct conn *conn)
{
	struct chunk *chunk = conn->arrived_first;

	conn->arrived_first = chunk->next;
	if (conn->arrived_first == NULL) {
		conn->arrived_last = NULL;
	}
	rli_chunk_give(&conn->shard->recv_pool, chunk);
}

/* Paused: nothing that is held keeps a buffer of the ring that all share. */
static void
recv_hold(struct conn *conn)
{
	while (conn->lent_first != BUFRING_NONE) {
		uint16_t id = recv_lent_pop(conn);
		bool copied = recv_copy_out(conn, id);

		rli_bufring_return(&conn->shard->bufring, id);
		if (!copied) {
			rli_conn_cut(conn, RL_REASON_MEMORY, -ENOMEM);
			return;
		}
	}
}

static bool
recv_cancel(struct conn *conn)
{
	if (conn->recv.state == OP_ARMED) {
		counters_add(&conn->shard->counters, pauses, 1);
	}
	list_remove(&conn->parked);
	return rli_op_cancel(conn->shard, &conn->recv);
}

/*
 * Output above the high mark often leaves inline with this very turn's enter, so the first look
 * only remembers; the second, one turn later, pauses.
 */
static bool
recv_flush_held(struct conn *conn)
{
	if (!conn->held) {
		conn->held = true;
		return false;
	}
	recv_hold(conn);
	return recv_cancel(conn);
}

bool
rli_conn_recv_flush(struct conn *conn)
{
	if (!recv_is_wanted(conn)) {
		if (conn->state == CONN_OPEN && (conn->paused || conn->again)) {
			recv_hold(conn);
		}
		return recv_cancel(conn);
	}
	if (recv_is_held(conn)) {
		return recv_flush_held(conn);
	}
	if (conn->held) {
		conn->held = false;
		rli_conn_deadline_update(conn);
	}
	if (!op_is_idle(&conn->recv) || conn->arrived_first != NULL ||
	    list_is_linked(&conn->parked)) {
		return true;
	}
	if (conn->starving || conn->shard->bufring.home == 0) {
		conn->starving = false;
		recv_park(conn);
		return true;
	}
	return recv_arm(conn);
}

bool
rli_conn_recv_unpark(struct rl_shard *shard)
{
	struct net *net = shard->net;
	struct bufring *bufring = &shard->bufring;
	uint32_t may_arm = bufring->home;

	if (RL_MUTANT(UNPARK_FORGOTTEN) || list_is_empty(&net->parked) ||
	    bufring->home < bufring->count / UNPARK_SHARE) {
		return true;
	}
	while (may_arm > 0 && !list_is_empty(&net->parked)) {
		struct conn *conn = list_entry(list_first(&net->parked), struct conn, parked);

		if (!recv_arm(conn)) {
			return false;
		}
		list_remove(&conn->parked);
		may_arm--;
	}
	return true;
}

/* A filled buffer joins the connection's slices, or goes straight home when nobody wants it. */
static void
recv_slice(struct conn *conn, uint16_t id, uint32_t len)
{
	struct bufring *bufring = &conn->shard->bufring;

	rli_bufring_lend(bufring, id, len);
	if (conn->state != CONN_OPEN || conn->actor->life == ACTOR_ENDING || len == 0) {
		counters_add(&conn->shard->counters, bytes_discarded, len);
		if (!RL_MUTANT(BUFFER_LEAKED)) {
			rli_bufring_return(bufring, id);
		}
		return;
	}
	if (conn->lent_last == BUFRING_NONE) {
		conn->lent_first = id;
	} else {
		bufring->slots[conn->lent_last].next = id;
	}
	conn->lent_last = id;
	rli_actor_ready(conn->actor);
}

static void
recv_failed(struct conn *conn, int error)
{
	switch (error) {
	case -ENOBUFS:
		if (RL_MUTANT(ENOBUFS_CLOSES)) {
			break;
		}
		conn->starving = true; /* flow control, never an error of the peer's */
		return;
	case -ECANCELED:
	case -EINTR:
	case -EAGAIN:
		return; /* armed again by the flush if still wanted */
	default:
		break;
	}
	conn->input_error = error;
	if (conn->state == CONN_OPEN) {
		rli_actor_ready(conn->actor); /* what was received before is delivered first */
	} else if (conn->state == CONN_FLUSHING) {
		rli_conn_failed(conn, error); /* output is lost; after our FIN nothing is */
	}
}

/*
 * PATH-3 recv done: the buffer id counts only with F_BUFFER, and the op goes on only with F_MORE.
 */
static void
recv_done(struct rl_shard *shard, struct op *op, int32_t res, uint32_t flags)
{
	struct conn *conn = list_entry(op, struct conn, recv);
	uint32_t len = res > 0 ? (uint32_t)res : 0;

	if (flags & IORING_CQE_F_BUFFER || RL_MUTANT(BUFFER_FLAG_UNCHECKED)) {
		recv_slice(conn, (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT), len);
	}
	if (res > 0) {
		counters_add(&shard->counters, recvs, 1);
		counters_add(&shard->counters, bytes_in, len);
		conn->bytes_in += len;
		conn->active_ns = shard->now_ns;
		if (conn->state == CONN_OPEN) {
			conn->until_ns = 0; /* the first byte has come */
		}
	} else if (res < 0) {
		recv_failed(conn, res);
	} else if (!(flags & OP_F_SETTLED)) {
		conn->eof_seen = true;
		rli_actor_ready(conn->actor);
	}
	if (op_is_idle(op) && !(RL_MUTANT(RECV_NOT_REARMED) && res < 0)) {
		rli_conn_mark(conn);
	}
}

bool
rli_conn_recv_is_due(const struct conn *conn)
{
	if (conn->eof_delivered || (conn->paused && !RL_MUTANT(PAUSE_IGNORED)) || conn->again ||
	    recv_is_held(conn)) {
		return false;
	}
	return conn->arrived_first != NULL || conn->lent_first != BUFRING_NONE ||
	       (conn->redeliver && conn->pending != NULL);
}

bool
rli_conn_recv_is_over(const struct conn *conn)
{
	if (conn->paused || conn->again || recv_is_held(conn) || conn->eof_delivered) {
		return false;
	}
	return (conn->eof_seen || conn->input_error != 0) &&
	       (RL_MUTANT(EOF_OVERTAKES) ||
		(conn->arrived_first == NULL && conn->lent_first == BUFRING_NONE));
}

/* The oldest slice that is not pending. */
struct slice {
	const uint8_t *data;
	uint32_t len;
};

static struct slice
recv_slice_front(const struct conn *conn)
{
	const struct bufring *bufring = &conn->shard->bufring;
	const struct chunk *chunk = conn->arrived_first;

	if (chunk != NULL) {
		return (struct slice){ chunk->data + chunk->start, chunk->end - chunk->start };
	}
	if (conn->lent_first != BUFRING_NONE) {
		const struct bufring_slot *slot = &bufring->slots[conn->lent_first];

		return (struct slice){ rli_bufring_data(bufring, conn->lent_first) + slot->start,
				       slot->len - slot->start };
	}
	return (struct slice){ NULL, 0 };
}

/* @bytes of the front slice are taken care of; the slice goes home with its last one. */
static void
recv_slice_take(struct conn *conn, uint32_t bytes)
{
	struct bufring *bufring = &conn->shard->bufring;
	struct chunk *chunk = conn->arrived_first;

	if (bytes == 0) {
		return;
	}
	if (chunk != NULL) {
		chunk->start += bytes;
		conn->arrived_bytes -= bytes;
		if (chunk->start == chunk->end) {
			recv_arrived_pop(conn);
		}
		if (conn->arrived_first == NULL) {
			rli_conn_mark(conn); /* receiving may be armed again */
		}
		return;
	}
	bufring->slots[conn->lent_first].start += bytes;
	if (bufring->slots[conn->lent_first].start == bufring->slots[conn->lent_first].len) {
		rli_bufring_return(bufring, recv_lent_pop(conn));
	}
}

/* Append as much of the front slice as the limit allows. */
static void
recv_join(struct conn *conn)
{
	uint32_t max = conn->shard->config->recv_pending_max_bytes;
	struct pending *pending = conn->pending;
	struct slice slice = recv_slice_front(conn);
	uint32_t room = max - (pending->end - pending->start);
	uint32_t bytes = slice.len < room ? slice.len : room;

	if (pending->end + bytes > 2 * max) {
		/* at most max bytes move after more than max were consumed: no byte moves twice */
		memmove(pending->data, pending->data + pending->start,
			pending->end - pending->start);
		pending->end -= pending->start;
		pending->start = 0;
	}
	if (bytes > 0) {
		memcpy(pending->data + pending->end, slice.data, bytes);
		pending->end += bytes;
		recv_slice_take(conn, bytes);
	}
}

static void
recv_pending_give(struct conn *conn)
{
	if (conn->pending != NULL) {
		rli_slab_give(&conn->shard->net->pendings, conn->pending);
		conn->pending = NULL;
	}
}

/* Keep what the actor left of the front slice. False: no memory, or more than the limit. */
static bool
recv_leave(struct conn *conn, uint32_t consumed)
{
	struct slice slice = recv_slice_front(conn);

	recv_slice_take(conn, consumed);
	if (consumed == slice.len) {
		return true;
	}
	if (RL_MUTANT(LEFTOVER_LOST)) {
		recv_slice_take(conn, slice.len - consumed);
		return true;
	}
	conn->pending = rli_slab_take(&conn->shard->net->pendings);
	if (conn->pending == NULL) {
		rli_conn_cut(conn, RL_REASON_MEMORY, -ENOMEM);
		return false;
	}
	conn->pending->start = 0;
	conn->pending->end = 0;
	recv_join(conn);
	return true;
}

/* Call the handler with @slice; how much it consumed goes to *consumed. */
static int
recv_call(struct conn *conn, struct slice slice, uint32_t *consumed)
{
	struct net_view *view = &conn->shard->net->view;
	struct rl_msg msg = { .kind = RL_MSG_RECV };
	int answer;

	msg.recv.data = slice.data;
	msg.recv.len = slice.len;
	*view = (struct net_view){ .conn = conn, .len = slice.len };
	answer = rli_actor_deliver(conn->actor, &msg);
	if (!view->told) {
		view->consumed = answer == -EAGAIN ? 0 : slice.len;
	}
	view->conn = NULL;
	*consumed = (uint32_t)view->consumed;
	return answer;
}

static void
recv_answered(struct conn *conn, int answer)
{
	if (answer != -EAGAIN) {
		rli_actor_answered(conn->actor, RL_MSG_RECV, answer);
		return;
	}
	if (conn->actor->life == ACTOR_ENDING) {
		return;
	}
	conn->again = true;
	rli_conn_mark(conn);
	if (!conn->writable_owed) {
		counters_add(&conn->shard->counters, again_unowed, 1);
	}
}

/* The limit is reached, nothing was consumed, and more may come: waiting would be for ever. */
static bool
recv_is_stuck(const struct conn *conn, uint32_t consumed, int answer)
{
	const struct pending *pending = conn->pending;

	return pending != NULL && consumed == 0 && answer != -EAGAIN && !conn->final_delivered &&
	       conn->actor->life != ACTOR_ENDING &&
	       pending->end - pending->start == conn->shard->config->recv_pending_max_bytes;
}

/* One delivery: what is pending plus at most one slice, or one slice in place. */
void
rli_conn_recv_deliver(struct conn *conn)
{
	uint32_t consumed;
	int answer;

	conn->redeliver = false;
	if (conn->pending == NULL) {
		answer = recv_call(conn, recv_slice_front(conn), &consumed);
		if (!recv_leave(conn, consumed)) {
			return;
		}
	} else {
		struct pending *pending = conn->pending;

		recv_join(conn);
		answer = recv_call(conn,
				   (struct slice){ pending->data + pending->start,
						   pending->end - pending->start },
				   &consumed);
		pending->start += consumed;
		if (pending->start == pending->end) {
			recv_pending_give(conn);
		}
	}
	recv_answered(conn, answer);
	if (recv_is_stuck(conn, consumed, answer)) {
		rli_conn_cut(conn, RL_REASON_LIMIT, 0);
	}
}

/* A leftover comes once more before the end; then EOF, or the end itself after an error. */
void
rli_conn_recv_deliver_end(struct conn *conn)
{
	struct rl_msg msg = { .kind = RL_MSG_EOF };

	if (conn->input_error != 0) {
		conn->eof_delivered = true;
		rli_conn_failed(conn, conn->input_error);
		return;
	}
	if (conn->pending != NULL && !conn->final_delivered) {
		conn->final_delivered = true;
		rli_conn_recv_deliver(conn);
		return;
	}
	conn->eof_delivered = true;
	if (conn->pending != NULL) {
		msg.eof.leftover_bytes = conn->pending->end - conn->pending->start;
	}
	rli_actor_answered(conn->actor, msg.kind, rli_actor_deliver(conn->actor, &msg));
}

void
rli_conn_recv_discard(struct conn *conn)
{
	struct counters *counters = &conn->shard->counters;
	struct slice slice;

	while ((slice = recv_slice_front(conn)).len != 0) {
		counters_add(counters, bytes_discarded, slice.len);
		recv_slice_take(conn, slice.len);
	}
	recv_pending_give(conn);
}

void
rl_conn_consumed(struct rl_actor *self, size_t bytes)
{
	struct net_view *view = &self->shard->net->view;

	RL_ASSERT(self->running);
	RL_ASSERT(view->conn != NULL);
	RL_ASSERT(view->conn == self->conn);
	RL_ASSERT(bytes <= view->len);
	view->consumed = bytes;
	view->told = true;
}

/* What held delivery back is over: what is pending comes again, and the deadlines run again. */
static void
recv_go_on(struct conn *conn)
{
	conn->again = false;
	conn->redeliver = conn->pending != NULL;
	conn->active_ns = conn->shard->now_ns;
	rli_conn_deadline_update(conn);
	rli_conn_mark(conn);
}

void
rli_conn_recv_again(struct conn *conn)
{
	if (conn->again) {
		recv_go_on(conn);
	}
}

int
rl_conn_pause(struct rl_actor *self)
{
	struct conn *conn = self->conn;

	RL_ASSERT(self->running);
	if (conn == NULL) {
		return -ENOTCONN;
	}
	if (!conn->paused) {
		conn->paused = true;
		rli_conn_deadline_pause(conn);
		rli_conn_mark(conn);
	}
	return 0;
}

int
rl_conn_resume(struct rl_actor *self)
{
	struct conn *conn = self->conn;

	RL_ASSERT(self->running);
	if (conn == NULL) {
		return -ENOTCONN;
	}
	if (conn->paused) {
		conn->paused = false;
		rli_conn_deadline_resume(conn);
	}
	recv_go_on(conn);
	rli_actor_ready(self);
	return 0;
}
