/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Connections: birth, the order in which things are delivered, death. Invariant: RL_MSG_OPEN comes
 * before the first RL_MSG_RECV, all bytes before RL_MSG_EOF, and RL_MSG_STOP when the slot's ops
 * are IDLE and its descriptor is closed.
 */
#include "net/conn.h"

#include <errno.h>
#include <string.h>

#include "actor/actor_run.h"
#include "base/mutant.h"
#include "net/sys.h"
#include "net/tcp.h"

int
rli_conn_options_check(const struct rl_conn_options *options, const struct log *log)
{
	const struct {
		const char *name;
		int64_t value;
	} timeouts[] = {
		{ "connect_timeout_ns", options->connect_timeout_ns },
		{ "idle_timeout_ns", options->idle_timeout_ns },
		{ "first_byte_timeout_ns", options->first_byte_timeout_ns },
		{ "stall_timeout_ns", options->stall_timeout_ns },
		{ "linger_timeout_ns", options->linger_timeout_ns },
		{ "tls_handshake_timeout_ns", options->tls_handshake_timeout_ns },
	};

	for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
		if (timeouts[i].value < -1) {
			rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
				"connection options: %s = %lld: must be -1 (none), 0 (as "
				"configured) "
				"or nanoseconds",
				timeouts[i].name, (long long)timeouts[i].value);
			return -EINVAL;
		}
	}
	if (options->auto_pause > RL_CONN_OFF) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"connection options: auto_pause = %u: must be RL_CONN_DEFAULT, _ON or _OFF",
			(unsigned)options->auto_pause);
		return -EINVAL;
	}
	return rli_tcp_options_check(&options->tcp, log);
}

static bool
conn_auto_pause(const struct conn_setup *setup)
{
	switch (setup->options->auto_pause) {
	case RL_CONN_ON:
		return true;
	case RL_CONN_OFF:
		return false;
	case RL_CONN_DEFAULT:
		break;
	}
	return !setup->outbound;
}

static void
conn_init(struct conn *conn, struct rl_shard *shard, const struct conn_setup *setup)
{
	memset(conn, 0, sizeof(*conn));
	conn->fd = setup->fd;
	conn->sqe_flags = setup->sqe_flags;
	conn->is_unix = setup->is_unix;
	conn->outbound = setup->outbound;
	conn->auto_pause = conn_auto_pause(setup);
	conn->shard = shard;
	rli_conn_deadline_init(conn, setup->options);
	conn->state = setup->outbound ? CONN_CONNECTING : CONN_OPEN;
	conn->lent_first = BUFRING_NONE;
	conn->lent_last = BUFRING_NONE;
	conn->active_ns = shard->now_ns;
	op_init(&conn->recv);
	op_init(&conn->send);
	op_init(&conn->control);
	list_node_init(&conn->dirty);
	list_node_init(&conn->parked);
	list_node_init(&conn->starved);
	rli_timer_init(&conn->timer, TIMER_CONN);
}

int
rli_conn_create(struct rl_shard *shard, const struct conn_setup *setup, struct conn **out)
{
	struct net *net = shard->net;
	struct conn *conn;
	int rc;

	*out = NULL;
	if (net->conns_count == shard->config->conns_max) {
		return -ENOBUFS;
	}
	conn = rli_slab_take(&net->conns);
	if (conn == NULL) {
		return -ENOMEM;
	}
	conn_init(conn, shard, setup);
	rc = setup->tls == NULL ? 0 : rli_conn_tls_create(conn, setup);
	if (rc == 0) {
		rc = rli_actor_spawn(shard, setup->def, setup->arg, &conn->actor);
	}
	if (rc != 0) {
		if (conn->tls != NULL) {
			rli_conn_tls_destroy(conn);
		}
		conn->state = CONN_FREE;
		rli_slab_give(&net->conns, conn);
		return rc;
	}
	conn->actor->conn = conn;
	net->conns_count++;
	*out = conn;
	return 0;
}

void
rli_conn_mark(struct conn *conn)
{
	if (!list_is_linked(&conn->dirty)) {
		list_push_back(&conn->shard->net->dirty, &conn->dirty);
	}
}

void
rli_conn_opened(struct conn *conn)
{
	conn->state = CONN_OPEN;
	conn->active_ns = conn->shard->now_ns;
	rli_conn_mark(conn);
	rli_actor_ready(conn->actor);
}

static void
conn_deliver_open(struct conn *conn)
{
	struct rl_msg msg = { .kind = RL_MSG_OPEN };
	struct rl_tls_info info;

	if (conn->tls != NULL) {
		if (!rli_conn_tls_info(conn, &info)) {
			return;
		}
		msg.open.tls = &info;
	}
	msg.open.peer = &conn->peer;
	msg.open.outbound = conn->outbound;
	conn->opened = true;
	rli_actor_answered(conn->actor, msg.kind, rli_actor_deliver(conn->actor, &msg));
}

/* One message of the stream, in the order that the contract promises; false: there is none. */
static bool
conn_deliver_next(struct conn *conn)
{
	if (conn->state != CONN_OPEN) {
		return false;
	}
	if (conn_is_held_up(conn)) {
		rli_conn_mark(conn); /* what came may be what its output waits for */
	}
	if (!conn->opened) {
		if (conn->tls != NULL && !rli_conn_tls_shake(conn)) {
			return false;
		}
		conn_deliver_open(conn);
	} else if (rli_conn_send_is_writable(conn)) {
		rli_conn_send_deliver_writable(conn);
	} else if (rli_conn_recv_is_due(conn) &&
		   !(RL_MUTANT(EOF_OVERTAKES) && rli_conn_recv_is_over(conn))) {
		rli_conn_recv_deliver(conn);
	} else if (rli_conn_recv_is_over(conn)) {
		rli_conn_recv_deliver_end(conn);
	} else {
		return false;
	}
	return true;
}

/* Messages to the actor and those of its stream take turns, so that neither starves the other. */
void
rli_conn_run(struct rl_actor *actor, uint32_t budget)
{
	struct conn *conn = actor->conn;
	bool more = true;

	while (budget > 0 && more && actor->life != ACTOR_ENDING) {
		uint32_t left = rli_actor_run(actor, 1);

		more = left == 0;
		if (actor->room_told) {
			actor->room_told = false;
			rli_conn_recv_again(conn); /* what answered -EAGAIN meanwhile */
			rli_conn_mark(conn); /* or was held */
		}
		if (actor->life == ACTOR_RUNNING && conn_deliver_next(conn)) {
			more = true;
		}
		budget--;
	}
	if (actor->life == ACTOR_ENDING) {
		rli_conn_close_begin(conn);
	} else if (more) {
		rli_actor_ready(actor);
	}
}

static enum rl_reason
conn_reason(int error)
{
	switch (error) {
	case -ECONNRESET:
	case -EPIPE:
		return RL_REASON_PEER_RST;
	case -ENOMEM:
	case -ENOBUFS:
		return RL_REASON_MEMORY;
	default:
		return RL_REASON_FAILURE;
	}
}

const char *
rli_conn_state_name(const struct conn *conn)
{
	static const char *const names[] = {
		[CONN_FREE] = " free",		 [CONN_CONNECTING] = " connecting",
		[CONN_OPEN] = " open",		 [CONN_FLUSHING] = " flushing",
		[CONN_LINGERING] = " lingering", [CONN_CANCELLING] = " closing",
		[CONN_RESETTING] = " closing",	 [CONN_CLOSING] = " closing",
		[CONN_CLOSED] = " closing",
	};

	return conn == NULL ? "" : names[conn->state];
}

void
rli_conn_failed(struct conn *conn, int error)
{
	rli_conn_cut(conn, conn_reason(error), error);
}

void
rli_conn_cut(struct conn *conn, enum rl_reason reason, int error)
{
	if (conn->state >= CONN_CANCELLING) {
		return; /* it ends already, and the first reason counts */
	}
	conn->abort = true;
	if (conn->actor->life == ACTOR_ENDING) {
		/* the graceful end did not come to its end: this is why, but for an alert's sake */
		if (conn->actor->reason != RL_REASON_TLS) {
			conn->actor->reason = (uint8_t)reason;
			conn->actor->error = error;
		}
		rli_conn_close_begin(conn);
		return;
	}
	rli_actor_end(conn->actor, reason, error);
}

int
rl_conn_close(struct rl_actor *self)
{
	RL_ASSERT(self == rli_actor_running);
	if (self->conn == NULL) {
		return -ENOTCONN;
	}
	if (self->life == ACTOR_ENDING) {
		return -ESHUTDOWN;
	}
	rli_actor_end(self, RL_REASON_LOCAL, 0);
	return 0;
}

int
rl_conn_abort(struct rl_actor *self)
{
	RL_ASSERT(self == rli_actor_running);
	if (self->conn == NULL) {
		return -ENOTCONN;
	}
	self->conn->abort = true;
	rli_actor_end(self, RL_REASON_LOCAL, 0);
	return 0;
}

int
rl_conn_peer(const struct rl_actor *self, struct rl_addr *peer)
{
	if (self->conn == NULL) {
		return -ENOTCONN;
	}
	*peer = self->conn->peer;
	return 0;
}

int
rl_conn_peer_cred(const struct rl_actor *self, struct rl_peer_cred *cred)
{
	const struct conn *conn = self->conn;

	RL_ASSERT(self == rli_actor_running);
	if (conn == NULL || !conn->opened) {
		return -ENOTCONN;
	}
	if (!conn->is_unix) {
		return -EOPNOTSUPP;
	}
	/* no plain call reaches a fixed file */
	return conn->sqe_flags & IOSQE_FIXED_FILE ? -ENODATA : rli_sys_peer_cred(conn->fd, cred);
}

static size_t
conn_lent_bytes(const struct conn *conn)
{
	const struct bufring_slot *slots = conn->shard->bufring.slots;
	size_t bytes = 0;

	for (uint16_t id = conn->lent_first; id != BUFRING_NONE; id = slots[id].next) {
		bytes += slots[id].len - slots[id].start;
	}
	return bytes;
}

int
rl_conn_stats(const struct rl_actor *self, struct rl_conn_stats *stats)
{
	const struct conn *conn = self->conn;

	if (conn == NULL) {
		return -ENOTCONN;
	}
	*stats = (struct rl_conn_stats){
		.bytes_in = conn->bytes_in,
		.bytes_out = conn->bytes_out,
		.queued_bytes = conn->out_bytes,
		.pending_bytes = conn->arrived_bytes + conn_lent_bytes(conn),
	};
	if (conn->pending != NULL) {
		stats->pending_bytes += conn->pending->end - conn->pending->start;
	}
	return 0;
}
