/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Receiving: the kernel's side of input. Invariants: a receive is in flight only while nothing has
 * arrived; a connection that is paused, or a handshake in line, holds no ring buffer after the
 * flush; each lent buffer goes home exactly once. What the actor gets of it is conn_input.c's.
 */
#include <errno.h>
#include <string.h>

#include "base/mutant.h"

#include "net/conn.h"

/* Parked connections are armed again when an eighth of the buffers is home, not at each one. */
#define UNPARK_SHARE 8

/* So many have to go for one slice, at most: what they held may be in pieces that are too small. */
#define EVICT_HOARDS 8

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
	return (!conn->paused && !conn->again) || conn_is_shaking(conn) || conn_is_held_up(conn);
}

/*
 * Automatic pause: an actor that has too much output waiting, its own or where it forwards to, gets
 * no more input.
 */
bool
rli_conn_recv_is_held(const struct conn *conn)
{
	if (conn->state != CONN_OPEN || conn_is_shaking(conn)) {
		return false;
	}
	if (conn->actor->forwards_owed > 0 && !RL_MUTANT(FORWARD_NOT_HELD)) {
		return true; /* what it would deliver could not be forwarded */
	}
	return !RL_MUTANT(AUTO_PAUSE_IGNORED) && conn->auto_pause &&
	       conn->out_bytes > conn->shard->config->send_high_bytes;
}

/*
 * A Unix stream gets one receive at a time, since Linux from 6.17 on loses its end under a
 * multishot one (ADR 37). PATH-2 arm recv. False: the submission queue is full.
 */
static bool
recv_arm(struct conn *conn)
{
	struct io_uring_sqe *sqe = rli_ring_sqe(conn->shard->ring);

	if (sqe == NULL) {
		counters_add(&conn->shard->counters, sq_full, 1);
		return false;
	}
	if (conn->is_unix && !RL_MUTANT(UNIX_MULTISHOT)) {
		io_uring_prep_recv(sqe, conn->fd, NULL, 0, 0);
	} else {
		io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
	}
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
	struct chunk *chunk = rli_chunk_take_any(&conn->shard->recv_pool, len);

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

uint16_t
rli_conn_lent_pop(struct conn *conn)
{
	uint16_t id = conn->lent_first;

	conn->lent_first = conn->shard->bufring.slots[id].next;
	if (conn->lent_first == BUFRING_NONE) {
		conn->lent_last = BUFRING_NONE;
	}
	return id;
}

/* The same, and others have to go where there is no memory. */
static bool
recv_save(struct conn *conn, uint16_t id)
{
	uint32_t evicted = 0;
	bool copied = recv_copy_out(conn, id);

	while (!copied && evicted < EVICT_HOARDS && rli_conn_evict_hoard(conn)) {
		copied = recv_copy_out(conn, id);
		evicted++;
	}
	return copied;
}

/* Paused, or in line: nothing that is held keeps a buffer of the ring that all share. */
static void
recv_hold(struct conn *conn)
{
	if (conn->lent_first == BUFRING_NONE) {
		return;
	}
	while (conn->lent_first != BUFRING_NONE) {
		uint16_t id = rli_conn_lent_pop(conn);
		bool saved = recv_save(conn, id);

		rli_bufring_return(&conn->shard->bufring, id);
		if (!saved) {
			rli_conn_cut(conn, RL_REASON_MEMORY, -ENOMEM);
			rli_conn_recv_discard(conn); /* it is no hoard any more */
			return;
		}
	}
	rli_conn_hoard(conn);
}

static bool
recv_cancel(struct conn *conn)
{
	if (conn->arrived_first == NULL) { /* else it is among the hoards */
		list_remove(&conn->parked);
	}
	return rli_op_cancel(conn->shard, &conn->recv);
}

static bool
recv_pause(struct conn *conn)
{
	if (conn->recv.state == OP_ARMED) {
		counters_add(&conn->shard->counters, pauses, 1);
	}
	return recv_cancel(conn);
}

/*
 * Idling begins when it is held no more: others may have kept it waiting, and nothing of its own
 * moved.
 */
static void
recv_set_held(struct conn *conn, bool held)
{
	conn->held = held;
	if (!held) {
		conn_moved(conn);
	}
	rli_conn_deadline_sync(conn);
	rli_conn_deadline_update(conn);
}

/*
 * Output above the high mark often leaves inline with this very turn's enter, so the first look
 * only remembers; the second, one turn later, pauses.
 */
static bool
recv_flush_held(struct conn *conn)
{
	if (!conn->held) {
		recv_set_held(conn, true);
		return false;
	}
	recv_hold(conn);
	return recv_pause(conn);
}

bool
rli_conn_recv_flush(struct conn *conn)
{
	bool held = rli_conn_recv_is_held(conn) && !conn_is_held_up(conn);

	if (conn->held && !held) {
		recv_set_held(conn, false);
	}
	if (conn_is_in_line(conn) && !RL_MUTANT(TLS_LINE_KEEPS_BUFFERS)) {
		recv_hold(conn);
		return recv_cancel(conn);
	}
	if (!recv_is_wanted(conn)) {
		/* also when input is over: what is left of it must not keep the shard's buffers */
		if (conn->state == CONN_OPEN && (conn->paused || conn->again || held)) {
			recv_hold(conn);
			return recv_pause(conn);
		}
		return recv_cancel(conn);
	}
	if (held) {
		return recv_flush_held(conn);
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
	if (conn->state != CONN_OPEN || conn->actor->life == ACTOR_ENDING || len == 0 ||
	    conn->eof_seen) {
		if (conn->tls != NULL) {
			rli_conn_tls_late(conn, rli_bufring_data(bufring, id), len);
		}
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
	conn->input_error = (int16_t)error; /* an errno */
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
		conn_moved(conn);
		if (conn->state == CONN_OPEN && conn->tls == NULL) {
			conn->until_ns = 0; /* the first byte has come */
		}
	} else if (res < 0) {
		recv_failed(conn, res);
	} else if (!(flags & OP_F_SETTLED)) {
		conn->eof_seen = true;
		if (conn->state == CONN_OPEN) {
			conn->until_ns = 0; /* no first byte will come */
		}
		rli_actor_ready(conn->actor);
	}
	if (op_is_idle(op) && !(RL_MUTANT(RECV_NOT_REARMED) && res < 0)) {
		rli_conn_mark(conn);
	}
}

/* What held delivery back is over: what is pending comes again, and the deadlines run again. */
static void
recv_go_on(struct conn *conn)
{
	conn->again = false;
	conn->put_off = false;
	conn->redeliver = true;
	conn_moved(conn);
	rli_conn_deadline_sync(conn);
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

	RL_ASSERT(self == rli_actor_running);
	if (conn == NULL) {
		return -ENOTCONN;
	}
	if (!conn->paused) {
		conn->paused = true;
		rli_conn_deadline_sync(conn);
		rli_conn_mark(conn);
	}
	return 0;
}

int
rl_conn_resume(struct rl_actor *self)
{
	struct conn *conn = self->conn;

	RL_ASSERT(self == rli_actor_running);
	if (conn == NULL) {
		return -ENOTCONN;
	}
	if (conn->paused || conn->again) {
		conn->paused = false;
		recv_go_on(conn);
	}
	conn->redeliver = true;
	rli_actor_ready(self);
	return 0;
}
