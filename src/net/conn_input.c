/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Input on its way to the actor. Bytes wait in up to three places, in this order: pending (what the
 * actor left over), arrived (copied out of the ring while paused), lent (in the ring's buffers).
 * One delivery is what is pending plus at most one slice of the others. What is put off (-EAGAIN)
 * stays where it is, and counts as what was never delivered does; with TLS it is pending, since
 * bytes are decrypted once. It comes again as it is, so it becomes no more, however often it is put
 * off. Invariants: no byte of a leftover is copied twice, and it never exceeds
 * recv_pending_max_bytes; a buffer goes home with its last byte.
 */
#include <errno.h>
#include <string.h>

#include "actor/actor_run.h"
#include "base/mutant.h"
#include "net/conn.h"

static void
input_arrived_pop(struct conn *conn)
{
	struct chunk *chunk = conn->arrived_first;

	conn->arrived_first = chunk->next;
	if (conn->arrived_first == NULL) {
		conn->arrived_last = NULL;
		list_remove(&conn->parked);
	}
	rli_chunk_give(&conn->shard->recv_pool, chunk);
}

bool
rli_conn_recv_is_due(const struct conn *conn)
{
	if (conn->eof_delivered || (conn->paused && !RL_MUTANT(PAUSE_IGNORED)) || conn->again ||
	    rli_conn_recv_is_held(conn)) {
		return false;
	}
	return conn->arrived_first != NULL || conn->lent_first != BUFRING_NONE ||
	       (conn->redeliver && conn->pending != NULL) ||
	       (conn->tls != NULL && conn->tls->session.readable && !RL_MUTANT(TLS_REST_FORGOTTEN));
}

bool
rli_conn_recv_is_over(const struct conn *conn)
{
	if (conn->paused || conn->again || rli_conn_recv_is_held(conn) || conn->eof_delivered) {
		return false;
	}
	return (conn->eof_seen || conn->input_error != 0) &&
	       (RL_MUTANT(EOF_OVERTAKES) ||
		(conn->arrived_first == NULL && conn->lent_first == BUFRING_NONE));
}

struct slice
rli_conn_input_front(const struct conn *conn)
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
void
rli_conn_input_take(struct conn *conn, uint32_t bytes)
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
			input_arrived_pop(conn);
		}
		if (conn->arrived_first == NULL) {
			rli_conn_mark(conn); /* receiving may be armed again */
		}
		return;
	}
	bufring->slots[conn->lent_first].start += bytes;
	if (bufring->slots[conn->lent_first].start == bufring->slots[conn->lent_first].len) {
		rli_bufring_return(bufring, rli_conn_lent_pop(conn));
	}
}

/*
 * Behind what is pending, for @bytes within the limit. At most that many bytes move after more were
 * consumed: no byte moves twice.
 */
static void
pending_make_room(struct conn *conn, uint32_t bytes)
{
	struct pending *pending = conn->pending;
	uint32_t held = pending->end - pending->start;

	if (pending->end + bytes <= 2 * conn->shard->config->recv_pending_max_bytes) {
		return;
	}
	memmove(pending->data, pending->data + pending->start, held);
	if (conn->tls != NULL) {
		rli_tls_wipe(pending->data + held, pending->end - held);
	}
	pending->end = held;
	pending->start = 0;
}

/* Append as much of the front slice as the limit allows. */
static void
input_join(struct conn *conn)
{
	uint32_t max = conn->shard->config->recv_pending_max_bytes;
	struct pending *pending = conn->pending;
	struct slice slice = rli_conn_input_front(conn);
	uint32_t room = max - (pending->end - pending->start);
	uint32_t bytes = slice.len < room ? slice.len : room;

	pending_make_room(conn, bytes);
	if (bytes > 0) {
		memcpy(pending->data + pending->end, slice.data, bytes);
		pending->end += bytes;
		rli_conn_input_take(conn, bytes);
	}
}

static void
input_pending_give(struct conn *conn)
{
	if (conn->pending != NULL) {
		if (conn->tls != NULL) {
			rli_tls_wipe(conn->pending->data, conn->pending->end);
		}
		rli_slab_give(&conn->shard->net->pendings, conn->pending);
		conn->pending = NULL;
	}
}

static bool
input_pending_take(struct conn *conn)
{
	conn->pending = rli_slab_take(&conn->shard->net->pendings);
	if (conn->pending == NULL) {
		rli_conn_cut(conn, RL_REASON_MEMORY, -ENOMEM);
		return false;
	}
	conn->pending->start = 0;
	conn->pending->end = 0;
	return true;
}

/*
 * Keep what the actor left of the front slice: what it wants more behind is pending, what it has
 * put off stays where it is. False: no memory.
 */
static bool
input_leave(struct conn *conn, uint32_t consumed, int answer)
{
	struct slice slice = rli_conn_input_front(conn);

	rli_conn_input_take(conn, consumed);
	if (consumed == slice.len || (answer == -EAGAIN && !RL_MUTANT(LEFTOVER_LOST))) {
		return true;
	}
	if (RL_MUTANT(LEFTOVER_LOST)) {
		rli_conn_input_take(conn, slice.len - consumed);
		return true;
	}
	if (!input_pending_take(conn)) {
		return false;
	}
	input_join(conn);
	return true;
}

/* Call the handler with @slice; how much it consumed goes to *consumed. */
static int
input_call(struct conn *conn, struct slice slice, uint32_t *consumed)
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
	if (*consumed == 0) {
		conn->redeliver = false; /* a resume by who took nothing would spin */
	}
	return answer;
}

static void
input_answered(struct conn *conn, int answer)
{
	if (answer != -EAGAIN) {
		rli_actor_answered(conn->actor, RL_MSG_RECV, answer);
		return;
	}
	if (conn->actor->life == ACTOR_ENDING) {
		return;
	}
	conn->again = true;
	conn->same = true;
	conn->put_off = conn->writable_owed || conn->actor->rooms_owed > 0 ||
			conn->actor->forwards_owed > 0;
	rli_conn_deadline_sync(conn);
	rli_conn_mark(conn);
	if (!conn->put_off) {
		counters_add(&conn->shard->counters, again_unowed, 1);
	}
}

/* The limit is reached, nothing was consumed, and more has come: waiting would be for ever. */
static bool
input_is_stuck(const struct conn *conn, uint32_t consumed, int answer)
{
	const struct pending *pending = conn->pending;

	return pending != NULL && consumed == 0 && answer != -EAGAIN && !conn->final_delivered &&
	       conn->actor->life != ACTOR_ENDING &&
	       pending->end - pending->start == conn->shard->config->recv_pending_max_bytes &&
	       (rli_conn_input_front(conn).len != 0 ||
		(conn->tls != NULL && conn->tls->session.readable));
}

static void
input_stuck(struct conn *conn)
{
	struct rl_shard *shard = conn->shard;

	rli_log_limited(shard->log, &shard->net->limit_pending, shard->now_ns, RL_LOG_WARN,
			(int)shard->id,
			"a connection was ended: its actor waits for more than may be pending "
			"(recv_pending_max_bytes = %u)",
			shard->config->recv_pending_max_bytes);
	rli_conn_cut(conn, RL_REASON_LIMIT, 0);
}

/* With TLS: a record's worth, decrypted into what all connections share, and wiped there. */
static bool
input_deliver_plain(struct conn *conn, uint32_t *consumed, int *answer)
{
	uint32_t max = conn->shard->config->recv_pending_max_bytes;
	uint8_t *plain = rli_conn_tls_buffer(conn);
	uint32_t len = rli_conn_tls_read(conn, plain, max < TLS_PLAIN_MAX ? max : TLS_PLAIN_MAX);
	bool kept = true;

	if (len == 0) {
		return false;
	}
	*answer = input_call(conn, (struct slice){ plain, len }, consumed);
	if (*consumed < len) {
		kept = input_pending_take(conn);
	}
	if (kept && *consumed < len) {
		conn->pending->end = len - *consumed;
		memcpy(conn->pending->data, plain + *consumed, conn->pending->end);
	}
	rli_tls_wipe(plain, len);
	return kept;
}

/* With TLS: decrypt behind what is pending. False: it has not become more, and could. */
static bool
input_join_plain(struct conn *conn)
{
	struct pending *pending = conn->pending;
	uint32_t room =
		conn->shard->config->recv_pending_max_bytes - (pending->end - pending->start);
	uint32_t bytes;

	room = room < TLS_PLAIN_MAX ? room : TLS_PLAIN_MAX;
	pending_make_room(conn, room);
	if (room == 0) {
		return true;
	}
	bytes = rli_conn_tls_read(conn, pending->data + pending->end, room);
	pending->end += bytes;
	return bytes > 0;
}

/* One delivery of what is not behind a leftover. False: there was none, or its rest was lost. */
static bool
input_deliver_front(struct conn *conn, uint32_t *consumed, int *answer)
{
	if (conn->tls != NULL) {
		return input_deliver_plain(conn, consumed, answer);
	}
	*answer = input_call(conn, rli_conn_input_front(conn), consumed);
	return input_leave(conn, *consumed, *answer);
}

/* One delivery of a leftover and what joins it. False: nothing did. */
static bool
input_deliver_pending(struct conn *conn, bool again, bool same, uint32_t *consumed, int *answer)
{
	struct pending *pending = conn->pending;

	if (!same && conn->tls == NULL) {
		input_join(conn);
	} else if (!same && !input_join_plain(conn) &&
		   (!again || conn->actor->life == ACTOR_ENDING)) {
		return false; /* or the stream has failed, and nothing is delivered any more */
	}
	*answer = input_call(
		conn,
		(struct slice){ pending->data + pending->start, pending->end - pending->start },
		consumed);
	pending->start += *consumed;
	if (pending->start == pending->end) {
		input_pending_give(conn);
	}
	return true;
}

/* One delivery: what is pending plus at most one slice, or one slice in place. */
void
rli_conn_recv_deliver(struct conn *conn)
{
	bool again = conn->redeliver || conn->final_delivered;
	bool same = conn->same;
	uint32_t consumed;
	bool delivered;
	int answer;

	conn->redeliver = false;
	conn->same = false;
	if (conn->pending == NULL) {
		delivered = input_deliver_front(conn, &consumed, &answer);
	} else {
		delivered = input_deliver_pending(conn, again, same, &consumed, &answer);
	}
	if (!delivered) {
		return;
	}
	input_answered(conn, answer);
	if (input_is_stuck(conn, consumed, answer)) {
		input_stuck(conn);
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
	if (conn->tls != NULL && !conn->tls->session.ended && !RL_MUTANT(TLS_CUT_IS_EOF)) {
		conn->eof_delivered = true;
		rli_conn_cut(conn, RL_REASON_TLS_TRUNCATED, 0); /* pitfall 47 */
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

	while ((slice = rli_conn_input_front(conn)).len != 0) {
		counters_add(counters, bytes_discarded, slice.len);
		rli_conn_input_take(conn, slice.len);
	}
	input_pending_give(conn);
}

void
rl_conn_consumed(struct rl_actor *self, size_t bytes)
{
	struct net_view *view = &self->shard->net->view;

	RL_ASSERT(self == rli_actor_running);
	RL_ASSERT(view->conn != NULL);
	RL_ASSERT(view->conn == self->conn);
	RL_ASSERT(bytes <= view->len);
	view->consumed = bytes;
	view->told = true;
}
