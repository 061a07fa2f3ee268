/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * TLS under a connection's output. Invariants: a record that was made is behind all others in the
 * connection's output in the same call, so it is sent or the stream ends (pitfall 67); the last
 * spans of the send pool are never plaintext's, so records can always be made of it some time.
 */
#include "net/conn_tls.h"

#include <string.h>

#include "base/mutant.h"
#include "net/conn.h"

#define TLS_INFLIGHT_MAX  (256u * 1024) /* of records: the rest stays plaintext */
#define TLS_QUEUE_CHUNK	  4096 /* many small sends become one record */
#define TLS_POOL_RESERVED 2 /* spans: one of 16 KiB chunks and one of 256 bytes */
#define TLS_RETRY_NS	  10000000 /* 10 ms */

void
rli_conn_tls_absorb(struct conn *conn)
{
	uint32_t bytes = conn->tls->session.out_bytes;
	struct chunk *last;
	struct chunk *first = rli_tls_records_take(&conn->tls->session, &last);

	if (first == NULL) {
		return;
	}
	conn->out_bytes += bytes;
	for (struct chunk *chunk = first; chunk != NULL; chunk = chunk->next) {
		chunk->filled_ns = conn->shard->now_ns;
		conn->held_bytes += chunk->capacity;
	}
	if (conn->out_last != NULL) {
		conn->out_last->next = first;
	} else {
		conn->out_first = first;
	}
	conn->out_last = last;
	rli_conn_mark(conn);
}

/*
 * In chunks that are not too small. Something is left for records when all that is queued is
 * plaintext: what is left then is in the kernel's hands, and comes home.
 */
static struct chunk *
queue_reserve(struct chunk_pool *pool, size_t len)
{
	struct chunk *first = rli_chunk_take_list(pool, len, TLS_QUEUE_CHUNK);

	if (first != NULL && rli_chunk_spans_free(pool) < TLS_POOL_RESERVED) {
		rli_chunk_give_list(pool, first);
		return NULL;
	}
	return first;
}

bool
rli_conn_tls_may_queue(const struct conn *conn, size_t beyond)
{
	struct chunk *first = beyond > 0 ? queue_reserve(&conn->shard->send_pool, beyond) : NULL;

	rli_chunk_give_list(&conn->shard->send_pool, first);
	return beyond == 0 || first != NULL;
}

bool
rli_conn_tls_queue(struct conn *conn, const uint8_t *data, size_t len)
{
	struct conn_tls *tls = conn->tls;
	struct chunk *chunk = tls->plain_last;
	size_t beyond = chunk_beyond(chunk, len);

	if (beyond > 0) {
		struct chunk *more = rli_conn_send_fits_share(conn, beyond)
					     ? queue_reserve(&conn->shard->send_pool, beyond)
					     : NULL;

		if (more == NULL) {
			return false;
		}
		if (chunk != NULL) {
			chunk->next = more;
		} else {
			tls->plain_first = more;
			chunk = more;
		}
	}
	conn->out_bytes += (uint32_t)len;
	for (; len > 0; chunk = chunk->next) {
		size_t bytes = chunk->capacity - chunk->end;

		bytes = len < bytes ? len : bytes;
		conn->held_bytes += chunk->end == 0 ? chunk->capacity : 0;
		memcpy(chunk->data + chunk->end, data, bytes);
		chunk->end += (uint32_t)bytes;
		data += bytes;
		len -= bytes;
		tls->plain_last = chunk;
	}
	return true;
}

/* @bytes at the front of what is queued are done with. */
static void
queue_consume(struct conn *conn, uint32_t bytes)
{
	struct conn_tls *tls = conn->tls;
	struct chunk *chunk = tls->plain_first;

	rli_tls_wipe(chunk->data + chunk->start, bytes);
	conn->out_bytes -= bytes;
	chunk->start += bytes;
	if (chunk->start < chunk->end) {
		return;
	}
	tls->plain_first = chunk->next;
	if (tls->plain_first == NULL) {
		tls->plain_last = NULL;
	}
	conn->held_bytes -= chunk->capacity;
	conn->shard->net->home_bytes += chunk->capacity;
	rli_chunk_give(&conn->shard->send_pool, chunk);
}

void
rli_conn_tls_discard(struct conn *conn)
{
	struct conn_tls *tls = conn->tls;

	while (tls->plain_first != NULL) {
		queue_consume(conn, tls->plain_first->end - tls->plain_first->start);
	}
}

/*
 * No chunk for a record: when one comes home, or the host may have memory again. Whoever was
 * refused memory for plaintext as well waits here: it is told when what is queued has left.
 */
static void
flush_starved(struct conn *conn)
{
	struct rl_shard *shard = conn->shard;

	rli_conn_send_forget(conn);
	list_push_back(&shard->net->tls_starved, &conn->starved);
	conn->records_wait = true;
	/* the pool has more, so it is the host that has none: only time will tell */
	if (shard->send_pool.spans_used < shard->send_pool.spans_max &&
	    !timer_is_armed(&shard->net->starved_timer)) {
		rli_wheel_start(&shard->wheel, &shard->net->starved_timer,
				shard->now_ns + TLS_RETRY_NS);
	}
}

/* Records of what is queued, one per chunk or TLS_PLAIN_MAX. */
static enum tls_status
flush_records(struct conn *conn)
{
	struct conn_tls *tls = conn->tls;
	enum tls_status status = TLS_DONE;

	while (tls->plain_first != NULL && tls->session.out_bytes < TLS_INFLIGHT_MAX) {
		const struct chunk *chunk = tls->plain_first;
		uint32_t bytes = chunk->end - chunk->start;

		bytes = bytes < TLS_PLAIN_MAX ? bytes : TLS_PLAIN_MAX;
		status = rli_tls_write(&tls->session, chunk->data + chunk->start, bytes);
		if (status != TLS_DONE) {
			break;
		}
		queue_consume(conn, bytes);
	}
	return status;
}

/*
 * OpenSSL makes nothing while it has a part of a message. The rest may be here already, or comes,
 * or the stall deadline does. True: the connection waits.
 */
static bool
flush_held_up(struct conn *conn)
{
	struct conn_tls *tls = conn->tls;

	if (tls->session.halfway && conn->state == CONN_OPEN) {
		rli_conn_tls_go_on(conn);
	}
	if (!tls->session.halfway) {
		tls->held_up = false;
		return tls->session.error != 0;
	}
	if (conn->state != CONN_OPEN && (conn->eof_seen || conn->input_error != 0)) {
		rli_conn_cut(conn, RL_REASON_TLS_TRUNCATED, 0);
	} else if (!tls->held_up) {
		tls->held_up = true;
		conn->send_since_ns = conn->shard->now_ns;
		rli_conn_deadline_update(conn);
	}
	return true;
}

void
rli_conn_tls_flush(struct conn *conn)
{
	struct conn_tls *tls = conn->tls;
	bool ends = conn->shut_wanted || conn->state != CONN_OPEN;
	enum tls_status status = TLS_DONE;

	if (!tls->session.ready) {
		if (conn->state != CONN_OPEN) {
			rli_conn_tls_discard(conn); /* it never opened */
		}
		return;
	}
	if (tls->session.error != 0 || conn->out_first != NULL) {
		return; /* what was made leaves first */
	}
	if ((tls->plain_first == NULL && (!ends || tls->session.said)) || flush_held_up(conn)) {
		return;
	}
	tls->session.out_max = UINT32_MAX;
	status = flush_records(conn);
	if (RL_MUTANT(TLS_NO_NOTIFY) && tls->plain_first == NULL && ends) {
		tls->session.said = true;
	} else if (status == TLS_DONE && tls->plain_first == NULL && ends) {
		status = rli_tls_end(&tls->session);
	}
	rli_conn_tls_absorb(conn);
	if (status == TLS_NO_ROOM) {
		flush_starved(conn);
	} else if (status != TLS_DONE) {
		rli_conn_tls_failed(conn);
	}
}

bool
rli_conn_tls_may_shut(const struct conn *conn)
{
	const struct tls_session *session = &conn->tls->session;

	return session->said || session->error != 0 ||
	       (!session->ready && conn->state != CONN_OPEN);
}

void
rli_conn_tls_feed(struct rl_shard *shard, bool retry)
{
	struct list *starved = &shard->net->tls_starved;

	if (shard->net->home_bytes == 0 && !retry) {
		return;
	}
	while (!list_is_empty(starved)) {
		struct conn *conn = list_entry(list_first(starved), struct conn, starved);

		rli_conn_send_forget(conn);
		rli_conn_mark(conn);
		if (rli_conn_send_is_writable(conn)) {
			rli_actor_ready(conn->actor); /* its last byte may have left meanwhile */
		}
	}
}
