/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * TLS under a connection: its life, its handshake and its input. Invariant: plaintext is made only
 * for who takes it in the same call (pitfall 46), and wiped where it lay. Output is
 * conn_tls_send.c's.
 */
#include "net/conn_tls.h"

#include <errno.h>
#include <string.h>

#include "base/mutant.h"
#include "net/conn.h"
#include "tls/tls_info.h"

#define TLS_TURN_BYTES	 (64u * 1024) /* decrypted per connection and turn */
#define TLS_RECORD_BYTES 2048 /* that a record without plaintext weighs: a change of keys is dear */
#define TLS_SILENT_MAX	 1024 /* records without plaintext one after the other */
#define TLS_PROTOCOL_MAX 65536 /* that a handshake, alerts and key updates may add to the cap */

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
void
rli_conn_tls_failed(struct conn *conn)
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

/* How many records may still be begun in this turn. None: the actor runs again in the next. */
static uint32_t
turn_begin(struct conn *conn)
{
	struct conn_tls *tls = conn->tls;

	if (tls->turn_ns != conn->shard->now_ns) {
		tls->turn_ns = conn->shard->now_ns;
		tls->turn_bytes = 0;
	}
	if (tls->turn_bytes >= TLS_TURN_BYTES) {
		rli_actor_ready(conn->actor);
		return 0;
	}
	tls->session.in_records = (TLS_TURN_BYTES - tls->turn_bytes) / TLS_RECORD_BYTES + 1;
	return tls->session.in_records;
}

/* Of @records some were begun, and @plain bytes came of them: of the last, if any did. */
static void
turn_end(struct conn *conn, uint32_t records, uint32_t plain)
{
	struct conn_tls *tls = conn->tls;
	uint32_t begun = records - tls->session.in_records;

	if (plain > 0) {
		begun -= begun > 0 ? 1 : 0;
		tls->silent = 0;
	}
	tls->silent += begun;
	tls->turn_bytes += plain + begun * TLS_RECORD_BYTES;
	tls->session.in_records = UINT32_MAX;
	if (plain == 0 && rli_conn_input_front(conn).len > 0) {
		rli_actor_ready(conn->actor);
	}
}

void
rli_conn_tls_go_on(struct conn *conn)
{
	bool open = conn->state == CONN_OPEN; /* else there is no other turn */
	uint32_t records = open ? turn_begin(conn) : UINT32_MAX;
	enum tls_status status;
	uint32_t len;

	if (records == 0) {
		return;
	}
	tls_limit(conn);
	do {
		len = tls_feed(conn);
		status = rli_tls_handshake(&conn->tls->session);
	} while (tls_fed(conn, len) && status == TLS_WANTS);
	if (open) {
		turn_end(conn, records, 0);
	}
	rli_conn_tls_absorb(conn);
	if (status == TLS_FAILED) {
		rli_conn_tls_failed(conn);
	}
}

void
rli_conn_tls_late(struct conn *conn, const uint8_t *data, uint32_t len)
{
	struct tls_session *session = &conn->tls->session;
	enum tls_status status;

	if (session->halfway && conn->state <= CONN_FLUSHING) {
		rli_conn_tls_go_on(conn); /* nobody has looked at it since the end was decided */
	}
	if (!session->halfway || conn->state > CONN_FLUSHING) {
		return;
	}
	tls_limit(conn);
	rli_tls_feed(session, data, len);
	status = rli_tls_handshake(session);
	rli_tls_feed(session, NULL, 0);
	rli_conn_tls_absorb(conn);
	if (status == TLS_FAILED) {
		rli_conn_cut(conn, tls_reason(session->error), session->error);
	}
	rli_conn_mark(conn);
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
	rli_conn_tls_absorb(conn);
	if (status == TLS_DONE) {
		shake_done(conn);
		if (RL_MUTANT(TLS_BEHIND_LOST)) {
			rli_conn_recv_discard(conn);
		}
	} else if (status != TLS_WANTS) {
		rli_conn_tls_failed(conn);
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
		if (!tls->called) {
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
		rli_conn_tls_failed(conn);
		return false;
	}
	return true;
}

uint8_t *
rli_conn_tls_buffer(const struct conn *conn)
{
	return conn->shard->net->tls_buffer;
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
	uint32_t records = turn_begin(conn);
	enum tls_status status;
	size_t got = 0;
	uint32_t len;

	if (records == 0) {
		return 0;
	}
	tls_limit(conn);
	do {
		len = tls_feed(conn);
		status = rli_tls_read(&conn->tls->session, out, max, &got);
	} while (tls_fed(conn, len) && status == TLS_WANTS);
	turn_end(conn, records, (uint32_t)got);
	rli_conn_tls_absorb(conn);
	if (status == TLS_DONE) {
		conn->until_ns = 0; /* the first byte has come */
	} else if (status == TLS_ENDED) {
		read_ended(conn);
	} else if (status != TLS_WANTS) {
		rli_conn_tls_failed(conn);
	} else if (conn->tls->silent > TLS_SILENT_MAX) {
		rli_conn_cut(conn, RL_REASON_LIMIT, -ENOBUFS);
	}
	return (uint32_t)got;
}
