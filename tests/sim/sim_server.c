/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The accepted side of a link.
 */
#include <errno.h>
#include <string.h>

#include "sim_actor_common.h"
#include "sim_harness.h"
#include "sim_kernel.h"
#include "sim_world.h"

struct server {
	struct stream stream;
	uint16_t port; /* of the peer */
	uint8_t at_eof;
	uint32_t frame;
	bool auto_pause;
};

/* How much of @len bytes it consumes now. */
static size_t
server_bite(const struct server *server, size_t len)
{
	switch (server->stream.link->appetite) {
	case APPETITE_ALL:
		return len;
	case APPETITE_SOME:
		return sim_between(0, len);
	default:
		return len - len % server->frame;
	}
}

/* The first bytes say which link this is; false: not yet. */
static bool
server_meet(struct server *server, const struct rl_msg *msg)
{
	struct sim_link *link;

	if (server->stream.link != NULL) {
		return true;
	}
	if (msg->recv.len < LINK_HEADER_BYTES) {
		return false;
	}
	link = sim_link_of_header(msg->recv.data);
	sim_check(link != NULL, "INV-1: a header that is none arrived at a server");
	sim_check(!link->served, "INV-6: link %u arrived twice", link->id);
	sim_check(server->port == 0 || link->client_port == 0 || server->port == link->client_port,
		  "INV-6: link %u has another's address: port %u, not %u", link->id, server->port,
		  link->client_port);
	link->served = true;
	server->stream.link = link;
	return true;
}

/* One send of the echo; what it answered. */
static int
server_echo_piece(struct rl_actor *self, struct server *server, const uint8_t *data, size_t len)
{
	struct stream *stream = &server->stream;
	int rc = stream_conn_send(self, data, len);

	sim_event("server echo", rc, (int64_t)len);
	stream_check_send(stream, rc);
	if (rc < 0) {
		sim_check(!server->auto_pause || sim_actors_memory_fails(),
			  "an echo was refused in spite of automatic pause");
		stream->owed = true;
		return rc;
	}
	stream->owed = stream->owed || rc == RL_CONN_SEND_HIGH;
	stream->sent += len;
	stream->link->server_sent = stream->sent;
	return rc;
}

/* Echo @bite bytes, in one piece or two; how many were taken. */
static size_t
server_echo(struct rl_actor *self, struct server *server, const struct rl_msg *msg, size_t bite)
{
	size_t first = bite > 1 && sim_coin() ? sim_between(1, bite) : bite;

	if (bite == 0 || server_echo_piece(self, server, msg->recv.data, first) < 0) {
		return 0;
	}
	if (first < bite &&
	    server_echo_piece(self, server, msg->recv.data + first, bite - first) < 0) {
		return first;
	}
	return bite;
}

/* Make bytes as long as they are taken; true: that was all. */
static bool
server_make(struct rl_actor *self, struct server *server)
{
	struct stream *stream = &server->stream;
	uint64_t total = sim_link_server_total(stream->link);

	while (stream->sent < total && !stream->owed) {
		uint64_t left = total - stream->sent;
		uint32_t piece = (uint32_t)sim_between(1, 4096);

		(void)stream_send(self, stream, LINK_SERVER, left < piece ? (uint32_t)left : piece);
	}
	return stream->sent == total;
}

static int
server_finish(struct rl_actor *self, struct server *server)
{
	struct stream *stream = &server->stream;

	if (stream->common.ended) {
		return 0;
	}
	switch (server->at_eof) {
	case 0:
		stream->common.ended = true;
		return RL_ACTOR_STOP;
	case 1:
		stream->common.ended = true;
		sim_check(rl_conn_close(self) == 0, "rl_conn_close() failed");
		return 0;
	default:
		if (!stream->shut) {
			stream->shut = true;
			sim_check(rl_conn_shutdown_write(self) == 0,
				  "rl_conn_shutdown_write() failed");
			sim_check(rl_conn_send(self, "x", 1) == -ESHUTDOWN,
				  "a send after the write side was shut");
		}
		if (!stream->eof) {
			return 0;
		}
		stream->common.ended = true;
		return RL_ACTOR_STOP;
	}
}

static int
server_recv(struct rl_actor *self, struct server *server, const struct rl_msg *msg)
{
	struct stream *stream = &server->stream;
	struct sim_link *link;
	size_t bite;
	size_t taken;

	if (!server_meet(server, msg)) {
		rl_conn_consumed(self, 0);
		return 0;
	}
	link = stream->link;
	sim_link_check(link, LINK_CLIENT, stream->got, msg->recv.data, msg->recv.len);
	bite = stream->got == 0 ? msg->recv.len : server_bite(server, msg->recv.len);
	taken = link->mode == LINK_ECHO ? server_echo(self, server, msg, bite) : bite;
	rl_conn_consumed(self, taken);
	stream->got += taken;
	link->server_got = stream->got;
	if (taken < bite) {
		stream->again = true;
		return -EAGAIN;
	}
	if (link->wild) {
		int wild = stream_run_wild(self, stream);

		if (stream->common.ended) {
			link->server_early = true;
			return wild;
		}
	}
	if (link->mode == LINK_SOURCE && !stream->shut && server_make(self, server)) {
		link->server_early = link->server_early || server->at_eof < 2;
		return server_finish(self, server);
	}
	return 0;
}

static int
server_eof(struct rl_actor *self, struct server *server, const struct rl_msg *msg)
{
	struct stream *stream = &server->stream;

	if (stream->link == NULL) {
		stream->common.ended = true;
		return RL_ACTOR_UNHANDLED;
	}
	sim_link_eof(stream->link, LINK_SERVER, stream->got + msg->eof.leftover_bytes);
	if (msg->eof.leftover_bytes > 0) {
		stream->link->server_early = true; /* it left them on purpose */
	}
	if (stream->link->mode == LINK_SINK &&
	    stream_send(self, stream, LINK_SERVER, LINK_REPLY_BYTES) == -EAGAIN) {
		sim_link_break(stream->link, "no memory for the reply");
	}
	if (stream->link->mode == LINK_SOURCE && !stream->shut && !server_make(self, server)) {
		return 0; /* the rest leaves as there is room */
	}
	return server_finish(self, server);
}

static int
server_writable(struct rl_actor *self, struct server *server)
{
	struct stream *stream = &server->stream;

	if (stream->link == NULL || stream->link->mode != LINK_SOURCE || stream->shut) {
		return 0;
	}
	if (!server_make(self, server)) {
		return 0;
	}
	if (!stream->eof && server->at_eof < 2) {
		stream->link->server_early = true;
	}
	return server_finish(self, server);
}

/* Some connections wait for other times than configured; never for less than a peer needs. */
static void
server_set_deadlines(struct rl_actor *self)
{
	int64_t ns = (int64_t)sim_between((uint64_t)RL_SEC(2), (uint64_t)RL_SEC(90));

	for (uint32_t which = 0; which <= RL_CONN_DEADLINE_LINGER; which++) {
		if (which != RL_CONN_DEADLINE_FIRST_BYTE && sim_below(16) == 0) {
			sim_check(rl_conn_set_deadline(self, (enum rl_conn_deadline)which,
						       sim_coin() ? ns : 0) == 0,
				  "rl_conn_set_deadline() failed");
		}
	}
}

static void
server_open(struct rl_actor *self, struct server *server, const struct rl_msg *msg)
{
	sim_check(!msg->open.outbound, "an accepted connection says it is outbound");
	stream_check_open(self, msg);
	server->port = msg->open.peer->family == RL_ADDR_INET ? msg->open.peer->port : 0;
	server->frame = (uint32_t)sim_between(1, 100);
	server->at_eof = (uint8_t)sim_below(3);
	server_set_deadlines(self);
}

static void
server_stop(struct server *server, const struct rl_msg *msg)
{
	struct stream *stream = &server->stream;

	sim_event("server stop", msg->stop.reason, msg->stop.error);
	if (stream->link != NULL) {
		sim_link_stopped(stream->link, LINK_SERVER, msg->stop.reason, msg->stop.error,
				 stream->aborted);
		if (!stream->eof) {
			stream->link->server_early = true;
		}
	}
}

/* Who the peer is: an answer, wherever it can be had. */
static void
server_ask(const struct rl_actor *self, const struct rl_msg *msg)
{
	struct rl_peer_cred cred = { 0 };
	int rc = rl_conn_peer_cred(self, &cred);

	if (msg->open.peer->family != RL_ADDR_UNIX) {
		sim_check(rc == -EOPNOTSUPP || rc == -ENOTCONN,
			  "who has no Unix peer was told its credentials: %d", rc);
		return;
	}
	sim_event("server cred", rc, cred.pid);
	sim_check(rc == -ENODATA || (rc == 0 && cred.pid == SIM_PEER_PID &&
				     cred.uid == SIM_PEER_UID && cred.gid == SIM_PEER_GID),
		  "credentials that nobody has: %d", rc);
}

static int
server_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct server *server = rl_actor_state(self);
	int answer = 0;

	common_message(self, &server->stream.common, msg, &sim_server_def);
	if (msg->kind != RL_MSG_START && msg->kind != RL_MSG_STOP) {
		stream_message(self, &server->stream, msg);
	}
	switch (msg->kind) {
	case RL_MSG_START:
		server->auto_pause = msg->start.arg != NULL;
		return 0;
	case RL_MSG_OPEN:
		server_open(self, server, msg);
		server_ask(self, msg);
		break;
	case RL_MSG_RECV:
		answer = server_recv(self, server, msg);
		break;
	case RL_MSG_EOF:
		answer = server_eof(self, server, msg);
		break;
	case RL_MSG_WRITABLE:
		answer = server_writable(self, server);
		break;
	case RL_MSG_SHUTDOWN:
		server->stream.common.ended = sim_below(4) != 0;
		return server->stream.common.ended ? RL_ACTOR_UNHANDLED : 0;
	case RL_MSG_STOP:
		server_stop(server, msg);
		return 0;
	default:
		break;
	}
	if (answer == 0 || answer == RL_CONN_SEND_HIGH) {
		stream_fidget(self, &server->stream);
	}
	return answer;
}

const struct rl_actor_def sim_server_def = {
	.name = "server",
	.receive = server_receive,
	.state_size = sizeof(struct server),
};
