/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What both kinds of connection actors have in common.
 */
#include <errno.h>
#include <string.h>

#include "net/conn.h"

#include "sim_actor_common.h"
#include "sim_harness.h"
#include "sim_kernel.h"
#include "sim_tls.h"
#include "sim_world.h"

#define SEND_PIECE 4096

static void
stream_recv(struct rl_actor *self, struct stream *stream, const struct rl_msg *msg)
{
	/* what is the kernel's by now it may write to: none of it is what is delivered */
	sk_group_scan(&self->shard->ring->group);
	sim_check(stream->open, "RL_MSG_RECV before RL_MSG_OPEN");
	sim_check(!stream->eof, "RL_MSG_RECV after RL_MSG_EOF");
	sim_check(!stream->paused, "RL_MSG_RECV while paused");
	sim_check(!stream->again, "RL_MSG_RECV although the last was answered -EAGAIN");
	sim_check(msg->recv.len > 0, "RL_MSG_RECV without bytes");
	sim_event_bytes("actor recv", msg->recv.data, msg->recv.len);
}

/* What TLS may add to the cap: heads of records, and what the protocol itself has to say. */
static size_t
stream_overhead(const struct conn *conn)
{
	return conn->tls == NULL ? 0 : 65536 + 65536 / 4;
}

/* What is held for one connection stays within what the configuration says (INV-10). */
static void
stream_check_stats(struct rl_actor *self)
{
	const struct rl_config *config = sim_config();
	struct rl_conn_stats stats;
	uint64_t pending_max = config->recv_pending_max_bytes +
			       (uint64_t)config->recv_buffers * config->recv_buffer_bytes;

	if (rl_conn_stats(self, &stats) != 0) {
		return;
	}
	sim_check(stats.queued_bytes <= config->send_cap_bytes + stream_overhead(self->conn),
		  "INV-10: %zu bytes queued", stats.queued_bytes);
	sim_check(stats.pending_bytes <= 2 * pending_max, "INV-10: %zu bytes pending",
		  stats.pending_bytes);
}

static void
stream_timer(struct rl_actor *self, struct stream *stream, const struct rl_msg *msg)
{
	if (stream->paused && msg->timer.tag == stream->resume_tag) {
		sim_check(rl_conn_resume(self) == 0, "rl_conn_resume() failed");
		stream->paused = false;
		stream->again = false;
	}
}

void
stream_check_open(const struct rl_actor *self, const struct rl_msg *msg)
{
	const struct rl_tls_info *tls = msg->open.tls;

	sim_check((tls != NULL) == (self->conn->tls != NULL), "RL_MSG_OPEN is wrong about TLS");
	if (tls != NULL) {
		sim_check(strcmp(tls->version, "TLSv1.3") == 0 ||
				  strcmp(tls->version, "TLSv1.2") == 0,
			  "TLS of version %s", tls->version);
		sim_check(!msg->open.outbound || strcmp(tls->peer_subject, "CN=server") == 0,
			  "who was verified is %s", tls->peer_subject);
		sim_check(!sim_tls_is_mutual(self->conn->tls->session.ssl) ||
				  strcmp(tls->peer_subject, "CN=client") == 0,
			  "INV-11: who had to show a certificate is \"%s\"", tls->peer_subject);
		if (tls->resumed) {
			sim_fault_count(msg->open.outbound ? FAULT_TLS_RESUMED_OUT
							   : FAULT_TLS_RESUMED_IN);
		}
		sim_event("tls open", tls->version[6], (int64_t)strlen(tls->peer_subject));
	}
}

void
stream_message(struct rl_actor *self, struct stream *stream, const struct rl_msg *msg)
{
	switch (msg->kind) {
	case RL_MSG_OPEN:
		sim_check(!stream->open, "RL_MSG_OPEN twice");
		stream->open = true;
		break;
	case RL_MSG_RECV:
		stream_recv(self, stream, msg);
		break;
	case RL_MSG_EOF:
		sim_check(stream->open && !stream->eof, "RL_MSG_EOF twice or before RL_MSG_OPEN");
		sim_check(!stream->paused && !stream->again, "RL_MSG_EOF while paused");
		stream->eof = true;
		break;
	case RL_MSG_WRITABLE:
		sim_check(stream->owed, "RL_MSG_WRITABLE that is not owed");
		sim_check(msg->writable.queued_bytes < sim_config()->send_low_bytes,
			  "RL_MSG_WRITABLE with %zu bytes queued", msg->writable.queued_bytes);
		stream->owed = false;
		stream->again = false;
		break;
	case RL_MSG_TIMER:
		stream_timer(self, stream, msg);
		break;
	default:
		break;
	}
	stream_check_stats(self);
}

/* What a send may answer. */
void
stream_check_send(struct stream *stream, int rc)
{
	switch (rc) {
	case 0:
	case RL_CONN_SEND_HIGH:
	case -EAGAIN:
		return;
	case -ENOTCONN:
		/* an actor whose end came before its beginning has no stream when it starts */
		sim_check(!stream->open, "a send answered -ENOTCONN");
		return;
	case -ESHUTDOWN:
		/* no memory, and none that could come home: the connection ends */
		sim_check(sim_actors_memory_fails(), "a send answered -ESHUTDOWN");
		stream->common.ended = true;
		stream->aborted = true;
		if (stream->link != NULL) {
			sim_link_break(stream->link, "no memory");
		}
		return;
	default:
		sim_fail("rl_conn_send() answered %d", rc);
	}
}

/* What a connection may hold when so little is free. */
static size_t
stream_share(const struct chunk_pool *pool)
{
	uint32_t spans = rli_chunk_spans_free(pool);
	size_t share = (size_t)spans * 65536 / 32;

	return spans > pool->spans_max / 8 ? SIZE_MAX : share < 65536 ? 65536 : share;
}

int
stream_conn_send(struct rl_actor *self, const void *data, size_t len)
{
	const struct conn *conn = self->conn;
	const struct chunk *last;
	size_t room;
	size_t held;
	size_t share;
	int rc;

	if (conn == NULL) {
		return rl_conn_send(self, data, len);
	}
	last = conn->tls != NULL ? conn->tls->plain_last : conn->out_last;
	room = last == NULL ? 0 : last->capacity - last->end;
	held = conn->held_bytes;
	share = stream_share(&self->shard->send_pool);
	rc = rl_conn_send(self, data, len);
	if (rc >= 0 && held > 0 && len > room) {
		sim_check(held + len - room <= share, "INV-10: %zu bytes beyond a share of %zu",
			  held + len - room, share);
	}
	return rc;
}

int
stream_send(struct rl_actor *self, struct stream *stream, enum link_side side, uint32_t len)
{
	uint8_t data[SEND_PIECE];
	int rc;

	len = len < sizeof(data) ? len : (uint32_t)sizeof(data);
	sim_link_fill(stream->link, side, stream->sent, data, len);
	rc = stream_conn_send(self, data, len);
	sim_event("actor send", rc, len);
	if (rc == 0 || rc == RL_CONN_SEND_HIGH) {
		stream->sent += len;
		if (side == LINK_SERVER) {
			stream->link->server_sent = stream->sent;
		} else {
			stream->link->client_sent = stream->sent;
		}
	}
	if (rc == RL_CONN_SEND_HIGH || rc < 0) {
		stream->owed = true;
	}
	stream_check_send(stream, rc);
	memset(data, 0xdd, sizeof(data)); /* it was copied, so this harms nobody */
	return rc;
}

/* Stop reading for a while; a timer ends it. */
static void
stream_pause(struct rl_actor *self, struct stream *stream)
{
	struct common_timer *timer = &stream->common.timers[0];

	if (timer->armed || stream->paused) {
		return;
	}
	timer->tag = ++stream->common.tag_next;
	timer->every = false;
	timer->due_ns = rl_shard_now_ns(rl_actor_shard(self)) + sim_below((uint64_t)RL_MS(20));
	if (rl_timer_start(self, timer->due_ns - rl_shard_now_ns(rl_actor_shard(self)), timer->tag,
			   &timer->id) != 0) {
		return;
	}
	timer->armed = true;
	stream->resume_tag = timer->tag;
	stream->paused = true;
	sim_check(rl_conn_pause(self) == 0, "rl_conn_pause() failed");
}

void
stream_fidget(struct rl_actor *self, struct stream *stream)
{
	if (stream->common.ended || !stream->open) {
		return;
	}
	if (common_may(3000)) {
		stream_pause(self, stream);
	}
	if (common_may(2000)) {
		common_timer_start(self, &stream->common);
	}
	if (common_may(1000) && !stream->paused) {
		common_timer_cancel(self, &stream->common);
	}
	if (common_may(500) && !stream->paused && stream->open) {
		sim_check(rl_conn_resume(self) == 0, "rl_conn_resume() failed");
		stream->again = false;
	}
}

int
stream_run_wild(struct rl_actor *self, struct stream *stream)
{
	if (!common_may(4000)) {
		return 0;
	}
	stream->common.ended = true;
	switch (sim_below(5)) {
	case 0:
		stream->aborted = true;
		sim_check(rl_conn_abort(self) == 0, "rl_conn_abort() failed");
		sim_link_break(stream->link, "an actor aborts");
		return 0;
	case 1:
		sim_check(rl_conn_close(self) == 0, "rl_conn_close() failed");
		sim_check(rl_conn_close(self) == -ESHUTDOWN, "rl_conn_close() succeeds twice");
		sim_check(rl_conn_send(self, "x", 1) == -ESHUTDOWN, "a send after the end");
		return 0;
	case 2:
		stream->aborted = true;
		sim_link_break(stream->link, "an actor fails");
		return -EPROTO;
	case 3:
		stream->aborted = true;
		sim_link_break(stream->link, "an actor closes and aborts");
		sim_check(rl_conn_close(self) == 0, "rl_conn_close() failed");
		sim_check(rl_conn_abort(self) == 0, "rl_conn_abort() after rl_conn_close() failed");
		return 0;
	default:
		return RL_ACTOR_STOP;
	}
}
