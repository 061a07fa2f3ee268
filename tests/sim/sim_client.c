/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The opened side of a link, and the actor that opens it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sim_actor_common.h"
#include "sim_harness.h"
#include "sim_kernel.h"
#include "sim_tls.h"
#include "sim_world.h"

struct client {
	struct stream stream;
};

struct opener {
	struct common common;
};

#define TARGETS_MAX 10

static char opener_targets[TARGETS_MAX][RL_URL_MAX];
static uint32_t opener_targets_count;

void
sim_actors_targets(char (*urls)[RL_URL_MAX], uint32_t count)
{
	opener_targets_count = count < TARGETS_MAX ? count : TARGETS_MAX;
	memcpy(opener_targets, urls, opener_targets_count * RL_URL_MAX);
}

/* ---- the client */

static void
client_shut(struct rl_actor *self, struct stream *stream)
{
	if (stream->shut) {
		return;
	}
	stream->shut = true;
	sim_check(rl_conn_shutdown_write(self) == 0, "rl_conn_shutdown_write() failed");
	stream->link->client_fin = true;
}

static void
client_pump(struct rl_actor *self, struct client *client)
{
	struct stream *stream = &client->stream;
	uint64_t total = stream->link->client_total;

	while (stream->sent < total && !stream->owed) {
		uint64_t left = total - stream->sent;
		uint32_t piece = (uint32_t)sim_between(1, 4096);

		(void)stream_send(self, stream, LINK_CLIENT, left < piece ? (uint32_t)left : piece);
	}
	if (stream->sent == total && stream->link->half_close && !stream->common.ended) {
		client_shut(self, stream);
	}
}

static int
client_recv(struct rl_actor *self, struct client *client, const struct rl_msg *msg)
{
	struct stream *stream = &client->stream;
	struct sim_link *link = stream->link;
	bool last = stream->got + msg->recv.len >= sim_link_server_total(link);
	size_t bite = sim_below(4) != 0 || last ? msg->recv.len : sim_between(0, msg->recv.len);

	if (bite == 0 && msg->recv.len >= sim_config()->recv_pending_max_bytes) {
		bite = 1; /* to take nothing of a full leftover is to be ended with "limit" */
	}
	sim_link_check(link, LINK_SERVER, stream->got, msg->recv.data, msg->recv.len);
	rl_conn_consumed(self, bite);
	stream->got += bite;
	link->client_got = stream->got;
	if (link->wild) {
		int wild = stream_run_wild(self, stream);

		if (stream->common.ended) {
			sim_link_break(link, "a client leaves early");
			return wild;
		}
	}
	if (stream->got >= sim_link_server_total(link) && stream->sent == link->client_total) {
		client_shut(self, stream);
	}
	return 0;
}

static int
client_eof(struct client *client, const struct rl_msg *msg)
{
	struct stream *stream = &client->stream;

	sim_link_eof(stream->link, LINK_CLIENT, stream->got + msg->eof.leftover_bytes);
	stream->link->client_got = stream->got + msg->eof.leftover_bytes;
	stream->common.ended = true;
	return sim_coin() ? RL_ACTOR_STOP : RL_ACTOR_UNHANDLED;
}

static void
client_start(struct rl_actor *self, struct client *client, const struct rl_msg *msg)
{
	struct stream *stream = &client->stream;

	stream->link = msg->start.arg;
	if (sim_coin()) {
		client_pump(self, client); /* leaves as soon as the stream is open */
	}
}

/* The reason is the truth about the host, and each of its addresses was tried. */
static void
client_check_lookup(const struct sim_link *link, const struct rl_msg *msg)
{
	int error = msg->stop.error;
	bool refused = error == -ECONNREFUSED || error == -ENETUNREACH || error == -EMFILE;

	if (msg->stop.reason == RL_REASON_RESOLVE) {
		sim_check(error == (link->lookup_error != 0 ? link->lookup_error : -EAGAIN),
			  "a lookup that ended with %d was reported as %d", link->lookup_error,
			  error);
		sim_check(link->lookup_error != 0 || link->addrs == 0,
			  "a host that was found was reported as not found");
	}
	if (msg->stop.reason == RL_REASON_FAILURE && refused) {
		sim_check(link->addrs_tried == link->addrs,
			  "gave up after %u of %u addresses of a host", link->addrs_tried,
			  link->addrs);
	}
}

static void
client_stop(struct client *client, const struct rl_msg *msg)
{
	struct stream *stream = &client->stream;
	struct sim_link *link = stream->link;

	sim_event("client stop", msg->stop.reason, msg->stop.error);
	if (!stream->open) {
		/* what was sent before RL_MSG_OPEN may be the first to learn of a reset */
		sim_check(msg->stop.reason != RL_REASON_PEER_FIN,
			  "a connection that was never open ended with %s",
			  rl_reason_name(msg->stop.reason));
		client_check_lookup(link, msg);
		sim_link_break(link, "not connected");
	}
	sim_link_stopped(link, LINK_CLIENT, msg->stop.reason, msg->stop.error, stream->aborted);
}

static int
client_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct client *client = rl_actor_state(self);
	struct stream *stream = &client->stream;
	int answer = 0;

	common_message(self, &stream->common, msg, &sim_client_def);
	if (msg->kind != RL_MSG_START && msg->kind != RL_MSG_STOP) {
		stream_message(self, stream, msg);
	}
	switch (msg->kind) {
	case RL_MSG_START:
		client_start(self, client, msg);
		return 0;
	case RL_MSG_OPEN:
		sim_check(msg->open.outbound, "an opened connection says it is not outbound");
		stream_check_open(self, msg);
		stream->link->opened = true;
		client_pump(self, client);
		break;
	case RL_MSG_RECV:
		answer = client_recv(self, client, msg);
		break;
	case RL_MSG_WRITABLE:
		client_pump(self, client);
		break;
	case RL_MSG_EOF:
		return client_eof(client, msg);
	case RL_MSG_SHUTDOWN:
		stream->common.ended = true;
		return RL_ACTOR_UNHANDLED;
	case RL_MSG_STOP:
		client_stop(client, msg);
		return 0;
	default:
		break;
	}
	if (answer == 0) {
		stream_fidget(self, stream);
	}
	return answer;
}

const struct rl_actor_def sim_client_def = {
	.name = "client",
	.receive = client_receive,
	.state_size = sizeof(struct client),
};

/* ---- the opener */

static void
opener_open(struct rl_actor *self, uint32_t which)
{
	static const char *const names[] = { "one", "many", "holes", "refused", "none" };
	const char *url = opener_targets[which % opener_targets_count];
	struct rl_conn_options options = { 0 };
	struct sim_link *link = sim_link_new(url[0] == 'u');
	char named[RL_URL_MAX];
	rl_actor_id id;
	int rc;

	if (link == NULL) {
		return;
	}
	link->tls = strncmp(url, "tls", 3) == 0;
	options.tls = link->tls ? sim_tls_client() : NULL;
	if (sim_coin()) {
		options.connect_timeout_ns = (int64_t)sim_between(1, (uint64_t)RL_MS(100));
	}
	if (url[0] != 'u' && sim_coin()) {
		(void)snprintf(named, sizeof(named), "%.3s://%s-%u.sim%s", url, names[sim_below(5)],
			       link->id, strrchr(url, ':'));
		url = named;
	}
	sk.tag = link->id;
	rc = rl_conn_open(self, url, &sim_client_def, link, &options, &id);
	sk.tag = 0;
	sim_event("open", rc, link->id);
	if (rc != 0) {
		sim_check(rc == -ENOBUFS || rc == -EMFILE || rc == -ENOMEM || rc == -ESHUTDOWN,
			  "rl_conn_open() answered %d", rc);
		sim_link_break(link, "not opened");
		link->client_over = true;
	}
}

static int
opener_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct opener *opener = rl_actor_state(self);
	uint32_t which;

	common_message(self, &opener->common, msg, &sim_opener_def);
	switch (msg->kind) {
	case SIM_KIND_OPEN:
		memcpy(&which, msg->user.data, sizeof(which));
		opener_open(self, which);
		break;
	case RL_MSG_SHUTDOWN:
		opener->common.ended = true;
		return RL_ACTOR_UNHANDLED;
	case RL_MSG_STOP:
		return 0;
	default:
		break;
	}
	if (common_may(4000)) {
		common_timer_start(self, &opener->common);
	}
	if (common_may(2000)) {
		common_timer_cancel(self, &opener->common);
	}
	return 0;
}

const struct rl_actor_def sim_opener_def = {
	.name = "opener",
	.receive = opener_receive,
	.state_size = sizeof(struct opener),
};
