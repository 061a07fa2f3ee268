/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A pair of connections that pass a link on: accepted here, opened to a server of the same system,
 * each forwarding what it receives to the other. What arrives at the ends is the link's to check;
 * here it is that whoever can't forward gets no input, and is told once.
 */
#include <errno.h>
#include <string.h>

#include "sim_actor_common.h"
#include "sim_relay.h"
#include "sim_tls.h"
#include "sim_world.h"

enum relay_kind {
	RELAY_PAIR = SIM_KIND_OPEN + 1, /* from the accepted end */
	RELAY_FIN, /* the sender's peer has half-closed */
};

struct relay {
	struct common common;
	const char *target; /* NULL: the opened end */
	rl_actor_id other;
	struct sim_link *link; /* the accepted end's, once the header has come */
	bool waits; /* RL_MSG_WRITABLE is owed */
	bool eof;
	bool shut;
};

static int
relay_fails(struct relay *relay, int rc)
{
	if (rc < 0 && relay->link != NULL) {
		sim_link_break(relay->link, "a relay fails");
	}
	relay->common.ended = rc < 0;
	return rc;
}

static int
relay_open(struct rl_actor *self, struct relay *relay)
{
	bool tls = strncmp(relay->target, "tls", 3) == 0;
	struct rl_conn_options options = { .tls = tls ? sim_tls_client() : NULL };
	int rc = rl_conn_open(self, relay->target, &sim_relay_def, NULL, &options, &relay->other);

	sim_event("relay open", rc, 0);
	if (rc == 0) {
		rc = rl_actor_link(self, relay->other);
	}
	if (rc == 0) {
		rc = rl_actor_send(self, relay->other, RELAY_PAIR, NULL, 0);
	}
	return relay_fails(relay, rc);
}

static int
relay_recv(struct rl_actor *self, struct relay *relay, const struct rl_msg *msg)
{
	size_t len = msg->recv.len;
	int rc;

	sim_check(!relay->waits, "RL_MSG_RECV for one that can't forward");
	if (relay->link == NULL && relay->target != NULL) {
		if (len < LINK_HEADER_BYTES) {
			rl_conn_consumed(self, 0);
			return 0;
		}
		relay->link = sim_link_of_header(msg->recv.data);
		sim_check(relay->link != NULL, "INV-1: a header that is none arrived at a relay");
		relay->link->relayed = true;
		relay->link->client_port = 0; /* the server sees another's */
	}
	len = len > 1 && common_may(16000) ? (size_t)sim_between(1, len) : len;
	rc = rl_conn_forward(self, relay->other, msg->recv.data, len);
	sim_event("relay forward", rc, (int64_t)len);
	if (rc == -EAGAIN || rc == RL_CONN_SEND_HIGH) {
		relay->waits = true;
	}
	if (rc >= 0) {
		rl_conn_consumed(self, len);
		if (len < msg->recv.len) {
			(void)rl_conn_resume(self); /* the rest at once */
		}
	}
	return rc == -EAGAIN ? rc : relay_fails(relay, rc);
}

static void
relay_writable(struct relay *relay, const struct rl_msg *msg)
{
	sim_check(rl_actor_id_eq(msg->writable.target, relay->other),
		  "RL_MSG_WRITABLE names another target");
	sim_check(relay->waits, "RL_MSG_WRITABLE that is not owed, of a target");
	relay->waits = false;
}

static int
relay_eof(struct rl_actor *self, struct relay *relay, const struct rl_msg *msg)
{
	int rc = rl_actor_send(self, relay->other, RELAY_FIN, NULL, 0);

	sim_check(!relay->waits, "RL_MSG_EOF for one that can't forward");
	if (msg->eof.leftover_bytes > 0) {
		sim_check(relay->link == NULL, "%zu bytes were not forwarded",
			  msg->eof.leftover_bytes);
	}
	relay->eof = true;
	if (rc != 0) {
		return relay_fails(relay, rc);
	}
	relay->common.ended = relay->shut;
	return relay->shut ? RL_ACTOR_STOP : 0;
}

static int
relay_fin(struct rl_actor *self, struct relay *relay)
{
	relay->shut = true;
	if (relay->eof) {
		relay->common.ended = true;
		return RL_ACTOR_STOP;
	}
	return relay_fails(relay, rl_conn_shutdown_write(self));
}

static int
relay_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct relay *relay = rl_actor_state(self);

	common_message(self, &relay->common, msg, &sim_relay_def);
	switch (msg->kind) {
	case RL_MSG_START:
		relay->target = msg->start.arg;
		return 0;
	case RL_MSG_OPEN:
		return relay->target != NULL ? relay_open(self, relay) : 0;
	case RELAY_PAIR:
		relay->other = msg->from;
		return 0;
	case RL_MSG_RECV:
		return relay_recv(self, relay, msg);
	case RL_MSG_WRITABLE:
		relay_writable(relay, msg);
		return 0;
	case RL_MSG_EOF:
		return relay_eof(self, relay, msg);
	case RELAY_FIN:
		return relay_fin(self, relay);
	case RL_MSG_SHUTDOWN:
	case RL_MSG_STOP:
		if (relay->link != NULL && (msg->kind == RL_MSG_SHUTDOWN || !relay->eof ||
					    msg->stop.reason != RL_REASON_PEER_FIN)) {
			sim_link_break(relay->link, "a relay ends");
		}
		relay->common.ended = true;
		return RL_ACTOR_UNHANDLED;
	default:
		return 0;
	}
}

const struct rl_actor_def sim_relay_def = {
	.name = "relay",
	.receive = relay_receive,
	.state_size = sizeof(struct relay),
};
