/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * TLS under a connection. Invariants: a record that was made is behind all others in the
 * connection's output in the same call, so it is sent or the stream ends (pitfall 67); plaintext is
 * made only for who takes it in the same call (pitfall 46), and wiped where it lay; the last spans
 * of the send pool are never plaintext's, so records can always be made of it some time.
 */
#include "net/conn_tls.h"

#include <errno.h>
#include <string.h>

#include "base/mutant.h"
#include "net/conn.h"
#include "tls/tls_info.h"

#define TLS_TURN_BYTES	  (64u * 1024) /* decrypted per connection and turn */
#define TLS_INFLIGHT_MAX  (256u * 1024) /* of records: the rest stays plaintext */
#define TLS_QUEUE_CHUNK	  4096 /* many small sends become one record */
#define TLS_PROTOCOL_MAX  65536 /* that a handshake, alerts and key updates may add to the cap */
#define TLS_POOL_RESERVED 2 /* spans: one of 16 KiB chunks and one of 256 bytes */
#define TLS_RETRY_NS	  10000000 /* 10 ms */

int
rli_conn_tls_create(struct conn *conn, const struct conn_setup *setup)
{
	struct net *net = conn->shard->net;
	struct conn_tls *tls;
	int rc;

	if (net->tls_shaking == conn->shard->config->tls_handshakes_max) {
		return -ENOBUFS;
	}
	if (net->tls_buffer == NULL) {
		net->tls_buffer = rli_slab_take(&net->tls_buffers);
	}
	tls = net->tls_buffer != NULL ? rli_slab_take(&net->tlses) : NULL;
	if (tls == NULL) {
		return -ENOMEM;
	}
	*tls = (struct conn_tls){
		.conn = conn,
		.shaking = true,
		.handshake_ms = rli_conn_deadline_ms(setup->options->tls_handshake_timeout_ns,
						     conn->shard->config->tls_handshake_timeout_ns),
	};
	list_node_init(&tls->waiting);
	rc = rli_tls_session_init(&tls->session, setup->tls, &conn->shard->send_pool,
				  setup->server_name);
	if (rc != 0) {
		rli_slab_give(&net->tlses, tls);
		return rc;
	}
	if (setup->outbound) {
		tls->session.place = rli_tls_store_place(&net->tls_store, setup->tls,
							 setup->server_name, setup->port);
	}
	net->tls_shaking++;
	conn->tls = tls;
	return 0;
}

static void
tls_shaken(struct conn *conn)
{
	if (conn->tls->shaking) {
		conn->tls->shaking = false;
		conn->shard->net->tls_shaking--;
	}
}

void
rli_conn_tls_destroy(struct conn *conn)
{
	RL_ASSERT(conn->tls->plain_first == NULL);
	tls_shaken(conn);
	rli_conn_line_leave(conn);
	rli_tls_session_fini(&conn->tls->session);
	rli_slab_give(&conn->shard->net->tlses, conn->tls);
	conn->tls = NULL;
}

int
rli_conn_tls_client(struct rl_shard *shard, const struct rl_tls_options *options,
		    const struct tls_context **out)
{
	struct net *net = shard->net;
	struct tls_client *client;
	int rc;

	for (uint32_t i = 0; i < net->tls_clients_count; i++) {
		if (net->tls_clients[i].options == options) {
			*out = net->tls_clients[i].context;
			return 0;
		}
	}
	if (net->tls_clients_count == TLS_CLIENTS_MAX) {
		rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
			"tls: connections are opened with %u different options already",
			(unsigned)TLS_CLIENTS_MAX);
		return -ENOBUFS;
	}
	client = &net->tls_clients[net->tls_clients_count];
	rc = rli_tls_context_create(&client->context, TLS_CLIENT, options, shard->log);
	if (rc == 0) {
		client->options = options;
		net->tls_clients_count++;
		*out = client->context;
	}
	return rc;
}

void
rli_conn_tls_rotate(struct rl_shard *shard)
{
	struct net *net = shard->net;
	uint64_t due_ns = rli_tls_tickets_look(net->tls_tickets, shard->now_ns);

	if (due_ns != UINT64_MAX) {
		rli_wheel_start(&shard->wheel, &net->tickets_timer, due_ns);
	}
}

void
rli_conn_tls_fini(struct net *net)
{
	rli_tls_store_fini(&net->tls_store);
	while (net->tls_clients_count > 0) {
		net->tls_clients_count--;
		rli_tls_context_destroy(net->tls_clients[net->tls_clients_count].context);
	}
}

/* What the session made goes behind the output. */
static void
tls_absorb(struct conn *conn)
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

static enum rl_reason
tls_reason(int error)
{
	switch (error) {
	case -ENOMEM:
		return RL_REASON_MEMORY;
	case -ENOBUFS:
		return RL_REASON_LIMIT;
	default:
		return RL_REASON_TLS;
	}
}

/* An alert, if there is one, still leaves: see close_is_graceful(). */
static void
tls_failed(struct conn *conn)
{
	int error = conn->tls->session.error;
	enum rl_reason reason = tls_reason(error);

	rli_conn_tls_discard(conn);
	if (reason == RL_REASON_TLS && conn->state == CONN_OPEN) {
		rli_actor_end(conn->actor, reason, error);
	} else {
		rli_conn_cut(conn, reason, error);
	}
}

/* Before a call that reads: how much the protocol may say by itself. */
static void
tls_limit(struct conn *conn)
{
	uint64_t max = (uint64_t)conn->shard->config->send_cap_bytes + TLS_PROTOCOL_MAX;

	conn->tls->session.out_max = conn->out_bytes < max ? (uint32_t)(max - conn->out_bytes) : 0;
}

/* The oldest slice is what the next call reads; and what that took is taken from it. */
static uint32_t
tls_feed(struct conn *conn)
{
	struct slice slice = rli_conn_input_front(conn);

	rli_tls_feed(&conn->tls->session, slice.data, slice.len);
	return slice.len;
}

/* True: the slice is used up, and there is another. */
static bool
tls_fed(struct conn *conn, uint32_t len)
{
	uint32_t left = (uint32_t)conn->tls->session.in_len;

	rli_tls_feed(&conn->tls->session, NULL, 0);
	rli_conn_input_take(conn, len - left);
	return len > 0 && left == 0 && rli_conn_input_front(conn).len > 0;
}

static void
shake_done(struct conn *conn)
{
	tls_shaken(conn);
	counters_add(&conn->shard->counters, tls_handshakes, 1);
	if (rli_tls_session_resumed(&conn->tls->session)) {
		counters_add(&conn->shard->counters, tls_resumed, 1);
	}
	conn->until_ns = 0;
	rli_conn_deadline_start(conn, conn->tls->first_byte_timeout_ns);
	rli_conn_mark(conn); /* what was sent meanwhile, and a pause, count from now on */
}

static void
shake_step(struct conn *conn)
{
	enum tls_status status;
	uint32_t len;

	tls_limit(conn);
	if (conn->outbound && !conn->tls->begun) {
		rli_tls_session_resume(&conn->tls->session);
	}
	conn->tls->begun = true;
	do {
		len = tls_feed(conn);
		status = rli_tls_handshake(&conn->tls->session);
	} while (tls_fed(conn, len) && status == TLS_WANTS);
	tls_absorb(conn);
	if (status == TLS_DONE) {
		shake_done(conn);
		if (RL_MUTANT(TLS_BEHIND_LOST)) {
			rli_conn_recv_discard(conn);
		}
	} else if (status != TLS_WANTS) {
		tls_failed(conn);
	}
}

bool
rli_conn_tls_shake(struct conn *conn)
{
	struct conn_tls *tls = conn->tls;
	bool fed = rli_conn_input_front(conn).len > 0;

	if (tls->session.ready) {
		return true;
	}
	if (fed || (conn->outbound && !tls->begun)) {
		if (!rli_conn_line_may(conn)) {
			rli_conn_line_join(conn);
			return false;
		}
		rli_conn_line_leave(conn);
		rli_conn_mark(conn); /* its receive goes on */
		shake_step(conn);
		if (tls->session.ready || conn->actor->life == ACTOR_ENDING) {
			return tls->session.ready;
		}
	}
	if (conn->input_error != 0) {
		rli_conn_failed(conn, conn->input_error);
	} else if (conn->eof_seen) {
		rli_conn_cut(conn, RL_REASON_TLS_TRUNCATED, 0);
	}
	return false;
}

bool
rli_conn_tls_info(struct conn *conn, struct rl_tls_info *info)
{
	if (!rli_tls_info(&conn->tls->session, info)) {
		tls_failed(conn);
		return false;
	}
	return true;
}

uint8_t *
rli_conn_tls_buffer(const struct conn *conn)
{
	return conn->shard->net->tls_buffer;
}

/* False: this turn's share is used up; the actor runs again in the next. */
static bool
read_may(struct conn *conn)
{
	struct conn_tls *tls = conn->tls;

	if (tls->turn_ns != conn->shard->now_ns) {
		tls->turn_ns = conn->shard->now_ns;
		tls->turn_bytes = 0;
	}
	if (tls->turn_bytes < TLS_TURN_BYTES) {
		return true;
	}
	rli_actor_ready(conn->actor);
	return false;
}

/* Nothing counts that is behind close_notify, and no first byte will come. */
static void
read_ended(struct conn *conn)
{
	struct slice slice;

	conn->eof_seen = true;
	conn->until_ns = 0;
	while ((slice = rli_conn_input_front(conn)).len > 0) {
		counters_add(&conn->shard->counters, bytes_discarded, slice.len);
		rli_conn_input_take(conn, slice.len);
	}
	rli_conn_mark(conn);
}

uint32_t
rli_conn_tls_read(struct conn *conn, uint8_t *out, uint32_t max)
{
	enum tls_status status;
	size_t got = 0;
	uint32_t len;

	if (!read_may(conn)) {
		return 0;
	}
	tls_limit(conn);
	do {
		len = tls_feed(conn);
		status = rli_tls_read(&conn->tls->session, out, max, &got);
	} while (tls_fed(conn, len) && status == TLS_WANTS);
	tls_absorb(conn);
	if (status == TLS_DONE) {
		conn->tls->turn_bytes += (uint32_t)got;
		conn->until_ns = 0; /* the first byte has come */
	} else if (status == TLS_ENDED) {
		read_ended(conn);
	} else if (status != TLS_WANTS) {
		tls_failed(conn);
	}
	return (uint32_t)got;
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

size_t
rli_conn_tls_beyond(const struct conn *conn, size_t len)
{
	const struct chunk *last = conn->tls->plain_last;
	size_t room = last == NULL ? 0 : last->capacity - last->end;

	return len > room ? len - room : 0;
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
	size_t beyond = rli_conn_tls_beyond(conn, len);

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
	if (tls->plain_first == NULL && (!ends || tls->session.said)) {
		return;
	}
	tls->session.out_max = UINT32_MAX;
	status = flush_records(conn);
	if (RL_MUTANT(TLS_NO_NOTIFY) && tls->plain_first == NULL && ends) {
		tls->session.said = true;
	} else if (status == TLS_DONE && tls->plain_first == NULL && ends) {
		status = rli_tls_end(&tls->session);
	}
	tls_absorb(conn);
	if (status == TLS_NO_ROOM) {
		flush_starved(conn);
	} else if (status != TLS_DONE) {
		tls_failed(conn);
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
