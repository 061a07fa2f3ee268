/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sending. Output is a list of chunks; one function submits it, at most one send in flight per
 * connection, gathered. Invariants: out_bytes is what the chunks hold, and held_bytes what they
 * are; the first inflight_bytes of them don't move while a send is in flight (appending behind them
 * is fine, the kernel was told where to stop); a stream never goes on after a hole.
 */
#include <errno.h>
#include <string.h>

#include "actor/actor_run.h"
#include "base/mutant.h"

#include "net/conn.h"

/* More in one request makes the stall deadline coarse and gains nothing (pitfall 65: 64 iovecs). */
#define SEND_BYTES_MAX	(256u * 1024)
#define SEND_IOVECS_MAX 64

#define SEND_RETRY_NS 10000000 /* 10 ms */
#define SEND_FEED_MAX 64 /* of those who wait for memory are told in one turn */
#define SEND_PASS_MAX 8 /* and so many are passed over, because there is not enough for them */

/* Shares begin when less than an eighth of the pool is free: a 32nd of that for each. */
#define SHARE_BEGINS 8
#define SHARE_PART   32

/* Of the last 32nd, who holds nothing gets no more than this at once: replies are mostly small. */
#define SHARE_LAST	 32
#define SHARE_LAST_BYTES 4096

/*
 * What one connection may hold of the pool now. While there is plenty, that is up to the cap; then
 * it shrinks with what is left, so that those who don't read never take the last of it. Chunks
 * count, not bytes: one byte that stays keeps a whole chunk.
 */
static size_t
output_share(const struct chunk_pool *pool)
{
	uint32_t spans = rli_chunk_spans_free(pool);
	size_t share = (size_t)spans * CHUNK_BYTES_MAX / SHARE_PART;

	if (spans > pool->spans_max / SHARE_BEGINS || RL_MUTANT(SHARE_IGNORED)) {
		return SIZE_MAX;
	}
	return share < CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX : share;
}

/* Who holds nothing gets what it asks for, so that a request of somebody who reads always goes. */
bool
rli_conn_send_fits_share(const struct conn *conn, size_t more)
{
	const struct chunk_pool *pool = &conn->shard->send_pool;

	if (conn->held_bytes == 0) {
		return more <= SHARE_LAST_BYTES ||
		       rli_chunk_spans_free(pool) >= pool->spans_max / SHARE_LAST;
	}
	return conn->held_bytes + more <= output_share(pool);
}

static const uint8_t *
output_fill(struct conn *conn, struct chunk *chunk, const uint8_t *data, size_t *len)
{
	size_t room = chunk->capacity - chunk->end;
	size_t bytes = *len < room ? *len : room;

	chunk->filled_ns = conn->shard->now_ns;
	memcpy(chunk->data + chunk->end, data, bytes);
	chunk->end += (uint32_t)bytes;
	*len -= bytes;
	return data + bytes;
}

/* False: no memory, or more than its share of it; nothing was queued. */
static bool
output_append(struct conn *conn, const uint8_t *data, size_t len)
{
	struct chunk *last = conn->out_last;
	size_t beyond = chunk_beyond(last, len);
	struct chunk *chunk = NULL;

	if (beyond > 0) {
		chunk = rli_conn_send_fits_share(conn, beyond)
				? rli_chunk_take_list(&conn->shard->send_pool, beyond, 1)
				: NULL;
		if (chunk == NULL) {
			return false;
		}
	}
	conn->out_bytes += (uint32_t)len;
	if (last != NULL) {
		data = output_fill(conn, last, data, &len);
		last->next = chunk;
	} else {
		conn->out_first = chunk;
	}
	for (; chunk != NULL; chunk = chunk->next) {
		data = output_fill(conn, chunk, data, &len);
		conn->held_bytes += chunk->capacity;
		conn->out_last = chunk;
	}
	return true;
}

static int
send_refused(struct conn *conn, size_t len)
{
	if (len > conn->refused_bytes) {
		conn->refused_bytes = (uint32_t)len;
	}
	counters_add(&conn->shard->counters, sends_refused, 1);
	return -EAGAIN;
}

/* The log names the knob, once a second. */
static void
send_starved_log(struct rl_shard *shard)
{
	rli_log_limited(shard->log, &shard->net->limit_starved, shard->now_ns, RL_LOG_WARN,
			(int)shard->id,
			"send memory is short: %u of %u KiB free, sends of those who hold more "
			"than their share wait (send_pool_bytes = %zu)",
			rli_chunk_spans_free(&shard->send_pool) * (CHUNK_BYTES_MAX / 1024),
			shard->send_pool.spans_max * (CHUNK_BYTES_MAX / 1024),
			shard->config->send_pool_bytes);
}

/*
 * The pool is empty, or it has its share of it, or the host has no memory to put behind the pool:
 * see rli_conn_send_feed().
 */
static int
send_starved(struct conn *conn, size_t len)
{
	struct net *net = conn->shard->net;

	if (!list_is_linked(&conn->starved)) {
		/* one of those that were told; once, however often it is refused */
		net->starved_refused += conn->fed == net->feeds ? 1 : 0;
		list_push_back(&net->starved, &conn->starved);
		net->starved_count++;
	}
	counters_add(&conn->shard->counters, sends_starved, 1);
	send_starved_log(conn->shard);
	return send_refused(conn, len);
}

/* PATH-6 send queued */
int
rli_conn_send_queue(struct conn *conn, const void *data, size_t len)
{
	const struct rl_config *config = conn->shard->config;

	if (conn->out_bytes + len > config->send_cap_bytes && !RL_MUTANT(CAP_IGNORED)) {
		return send_refused(conn, len);
	}
	if (conn->tls != NULL ? !rli_conn_tls_queue(conn, data, len)
			      : !output_append(conn, data, len)) {
		return send_starved(conn, len);
	}
	rli_conn_mark(conn);
	return conn->out_bytes > config->send_high_bytes ? RL_CONN_SEND_HIGH : 0;
}

int
rl_conn_send(struct rl_actor *self, const void *data, size_t len)
{
	struct conn *conn = self->conn;
	int rc;

	RL_ASSERT(self == rli_actor_running);
	if (conn == NULL) {
		return -ENOTCONN;
	}
	if (self->life == ACTOR_ENDING || conn->shut_wanted) {
		return -ESHUTDOWN;
	}
	if (len > self->shard->config->send_cap_bytes) {
		return -EMSGSIZE;
	}
	if (len == 0) {
		return 0;
	}
	rc = rli_conn_send_queue(conn, data, len);
	if (rc != 0) {
		conn->writable_owed = true;
	}
	return rc;
}

/* @bytes have left: their chunks go home. */
static void
output_consume(struct conn *conn, uint32_t bytes)
{
	struct rl_shard *shard = conn->shard;

	RL_ASSERT(bytes <= conn->out_bytes);
	conn->out_bytes -= bytes;
	while (conn->out_first != NULL) {
		struct chunk *chunk = conn->out_first;
		uint32_t held = chunk->end - chunk->start;

		if (bytes < held) {
			chunk->start += bytes;
			return;
		}
		bytes -= held;
		conn->out_first = chunk->next;
		conn->held_bytes -= RL_MUTANT(SHARE_NOT_GIVEN_BACK) ? 0 : chunk->capacity;
		shard->net->home_bytes += chunk->capacity;
		rli_chunk_give(&shard->send_pool, chunk);
	}
	conn->out_last = NULL;
}

void
rli_conn_send_discard(struct conn *conn)
{
	RL_ASSERT(op_is_idle(&conn->send));
	if (conn->tls != NULL) {
		rli_conn_tls_discard(conn);
	}
	output_consume(conn, conn->out_bytes);
}

static void
send_failed(struct conn *conn, int error)
{
	switch (error) {
	case -EAGAIN:
	case -EINTR:
		conn->poll_first =
			true; /* backpressure: keep the bytes, try again when there is room */
		return;
	case -ECANCELED:
		return; /* what that means depends on why: rli_conn_looked() */
	default:
		rli_conn_failed(conn, error);
	}
}

static void
send_progress(struct conn *conn, uint32_t bytes)
{
	struct rl_shard *shard = conn->shard;

	if (RL_MUTANT(SHORT_SEND_IS_FULL)) {
		bytes = conn->inflight_bytes;
	}
	if (bytes < conn->inflight_bytes) {
		counters_add(&shard->counters, sends_short, 1);
	}
	counters_add(&shard->counters, bytes_out, bytes);
	conn->bytes_out += bytes;
	conn_moved(conn);
	output_consume(conn, bytes);
}

/* PATH-8 send done and memory returned */
static void
send_done(struct rl_shard *shard, struct op *op, int32_t res, uint32_t flags)
{
	struct conn *conn = list_entry(op, struct conn, send);

	(void)shard;
	if (!(flags & OP_F_SETTLED)) {
		if (res > 0) {
			send_progress(conn, (uint32_t)res);
		} else {
			/* nothing taken, whatever that means, is no reason to spin */
			send_failed(conn, res != 0 ? res : -EAGAIN);
		}
		conn->inflight_bytes = 0;
		if (conn->stalled) {
			rli_conn_looked(conn, res);
		}
	}
	if (rli_conn_send_is_writable(conn) || rli_conn_recv_is_due(conn) ||
	    rli_conn_recv_is_over(conn)) {
		rli_actor_ready(conn->actor);
	}
	if (conn->out_bytes != 0 || conn->held || conn->shut_wanted || conn->outlet != NULL ||
	    conn->state != CONN_OPEN) {
		rli_conn_mark(conn);
	}
}

/* The chunks from the first on, as far as one request takes them; returns how many. */
static uint32_t
send_measure(const struct conn *conn, uint32_t *bytes)
{
	uint32_t iovecs = 0;

	*bytes = 0;
	for (const struct chunk *chunk = conn->out_first;
	     chunk != NULL && iovecs < SEND_IOVECS_MAX && *bytes < SEND_BYTES_MAX;
	     chunk = chunk->next) {
		*bytes += chunk->end - chunk->start;
		iovecs++;
	}
	return iovecs;
}

/* Several chunks: gathered through the turn's arena. False: no room in it, or in the queue. */
static struct io_uring_sqe *
send_prepare_gathered(struct conn *conn, uint32_t iovecs, int flags)
{
	struct io_uring_sqe *sqe = NULL;
	struct msghdr *msg = rli_shard_msghdr(conn->shard, iovecs);
	const struct chunk *chunk = conn->out_first;

	if (msg == NULL) {
		return NULL;
	}
	for (uint32_t i = 0; i < iovecs; i++, chunk = chunk->next) {
		msg->msg_iov[i].iov_base = (void *)(uintptr_t)(chunk->data + chunk->start);
		msg->msg_iov[i].iov_len = chunk->end - chunk->start;
	}
	sqe = rli_ring_sqe(conn->shard->ring);
	if (sqe != NULL) {
		io_uring_prep_sendmsg(sqe, conn->fd, msg, (unsigned)flags);
	}
	return sqe;
}

static struct io_uring_sqe *
send_prepare(struct conn *conn, uint32_t *bytes)
{
	int flags = MSG_NOSIGNAL | MSG_WAITALL;
	uint32_t iovecs = send_measure(conn, bytes);
	const struct chunk *chunk = conn->out_first;
	struct io_uring_sqe *sqe;

	if (iovecs > 1) {
		return send_prepare_gathered(conn, iovecs, flags);
	}
	sqe = rli_ring_sqe(conn->shard->ring);
	if (sqe != NULL) {
		io_uring_prep_send(sqe, conn->fd, chunk->data + chunk->start, *bytes, flags);
	}
	return sqe;
}

/* PATH-7 send submitted: the one place where a connection's bytes are handed to the kernel. */
bool
rli_conn_send_flush(struct conn *conn)
{
	struct rl_shard *shard = conn->shard;
	struct io_uring_sqe *sqe;
	uint32_t bytes;

	if (conn->stalled) {
		return rli_op_cancel(shard, &conn->send);
	}
	if (conn->tls != NULL) {
		rli_conn_tls_flush(conn);
	}
	if (conn->out_first == NULL || (!op_is_idle(&conn->send) && !RL_MUTANT(TWO_SENDS))) {
		return true;
	}
	sqe = send_prepare(conn, &bytes);
	if (sqe == NULL) {
		counters_add(&shard->counters, sq_full, 1);
		return false;
	}
	io_uring_sqe_set_flags(sqe, conn->sqe_flags);
	if (conn->poll_first) {
		conn->poll_first = false;
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	} else {
		conn->send_since_ns = shard->now_ns; /* trying again is not progress */
	}
	conn->inflight_bytes = bytes;
	op_arm(&conn->send, sqe, send_done);
	counters_add(&shard->counters, sends, 1);
	rli_conn_deadline_by(conn, conn_deadline_after(conn->send_since_ns, conn->stall_ms));
	if (conn_output_is_much(conn)) {
		rli_conn_deadline_by(conn, rli_conn_overdue_ns(conn));
	}
	return true;
}

bool
rli_conn_send_is_low(const struct conn *conn)
{
	const struct rl_config *config = conn->shard->config;

	return conn->state == CONN_OPEN && conn->out_bytes < config->send_low_bytes &&
	       conn->out_bytes + conn->refused_bytes <= config->send_cap_bytes &&
	       !list_is_linked(&conn->starved);
}

bool
rli_conn_send_is_writable(const struct conn *conn)
{
	return !RL_MUTANT(WRITABLE_FORGOTTEN) && conn->writable_owed && rli_conn_send_is_low(conn);
}

void
rli_conn_send_deliver_writable(struct conn *conn)
{
	struct rl_msg msg = { .kind = RL_MSG_WRITABLE };

	msg.writable.queued_bytes = conn->out_bytes;
	conn->writable_owed = false;
	conn->refused_bytes = 0;
	rli_conn_recv_again(conn);
	rli_actor_answered(conn->actor, msg.kind, rli_actor_deliver(conn->actor, &msg));
}

void
rli_conn_send_forget(struct conn *conn)
{
	struct net *net = conn->shard->net;

	if (list_is_linked(&conn->starved)) {
		list_remove(&conn->starved);
		net->starved_count -= conn->records_wait ? 0 : 1;
		conn->records_wait = false;
	}
}

static void
send_feed_tell(struct conn *conn)
{
	rli_conn_send_forget(conn);
	conn->fed = conn->shard->net->feeds;
	rli_actor_ready(conn->actor);
	rli_conn_mark(conn); /* those who forward to it go on with the next flush */
}

/* Who is told that there is memory for @beyond bytes is not refused it for anybody else's sake. */
static bool
send_feed_fits(const struct conn *conn, size_t beyond)
{
	return rli_conn_send_fits_share(conn, beyond) &&
	       (conn->tls == NULL || RL_MUTANT(TLS_TOLD_IN_VAIN) ||
		rli_conn_tls_may_queue(conn, beyond));
}

/* The next ones of those who wait, as far as @room goes; how many were told. */
static uint32_t
send_feed_next(struct net *net, size_t room)
{
	uint32_t told = 0;
	uint32_t passed = 0;

	while (net->starved_left > 0 && told < SEND_FEED_MAX && passed < SEND_PASS_MAX &&
	       !list_is_empty(&net->starved)) {
		struct conn *conn = list_entry(list_first(&net->starved), struct conn, starved);
		const struct chunk *last =
			conn->tls != NULL ? conn->tls->plain_last : conn->out_last;
		size_t beyond = chunk_beyond(last, conn->refused_bytes);

		net->starved_left--;
		if (beyond <= room && send_feed_fits(conn, beyond)) {
			room -= beyond;
			send_feed_tell(conn);
			told++;
		} else {
			/* what is too little for it may do for others */
			list_remove(&conn->starved);
			list_push_back(&net->starved, &conn->starved);
			passed++;
		}
	}
	return told;
}

/*
 * Those who wait try again in the order they came, when chunks came home, as far as there is enough
 * for them; and once more as long as some of those who were told did not need the memory after all.
 * When all are refused again, nobody is told before the next chunk comes home; if none is out, the
 * host has no memory to put behind the pool, and only time will tell.
 */
bool
rli_conn_send_feed(struct rl_shard *shard)
{
	struct net *net = shard->net;
	bool unused = net->starved_refused < net->starved_told;

	net->feeds++;
	if (net->home_bytes > 0 || unused) {
		net->starved_left = net->starved_count;
	}
	net->starved_told = 0;
	net->starved_refused = 0;
	if (net->starved_left > 0) {
		net->room_bytes += net->home_bytes; /* into spans in use; of use to some */
		net->starved_told = send_feed_next(
			net, net->room_bytes + (size_t)rli_chunk_spans_free(&shard->send_pool) *
						       CHUNK_BYTES_MAX);
	}
	net->home_bytes = 0;
	if (net->starved_left > 0 && !list_is_empty(&net->starved)) {
		return false;
	}
	net->starved_left = 0;
	net->room_bytes = 0;
	if (net->starved_told == 0 && !list_is_empty(&net->starved) &&
	    shard->send_pool.chunks_taken == 0 && !timer_is_armed(&net->starved_timer)) {
		rli_wheel_start(&shard->wheel, &net->starved_timer, shard->now_ns + SEND_RETRY_NS);
	}
	return true;
}

void
rli_conn_send_retry(struct rl_shard *shard)
{
	rli_conn_tls_feed(shard, true);
	while (!list_is_empty(&shard->net->starved)) {
		struct conn *conn =
			list_entry(list_first(&shard->net->starved), struct conn, starved);

		send_feed_tell(conn);
	}
}

int
rl_conn_shutdown_write(struct rl_actor *self)
{
	struct conn *conn = self->conn;

	RL_ASSERT(self == rli_actor_running);
	if (conn == NULL) {
		return -ENOTCONN;
	}
	if (conn->shut_wanted || self->life == ACTOR_ENDING) {
		return -ESHUTDOWN;
	}
	conn->shut_wanted = true;
	rli_conn_mark(conn);
	return 0;
}
