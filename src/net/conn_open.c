/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Outbound connections. The connect carries its deadline as a linked timeout: one chain, one
 * outcome. Invariant: the connect's own result decides; when it succeeded although the deadline
 * passed at the same moment, the stream is open, and when it succeeded after the end was decided,
 * the socket is closed like any other.
 */
#include "net/conn_open.h"

#include <errno.h>
#include <string.h>

#include "base/mutant.h"
#include "net/addr.h"
#include "net/conn.h"
#include "net/sys.h"

/* A Unix listener whose backlog is full answers at once, where TCP would keep us waiting. */
#define CONNECT_RETRY_NS 10000000 /* 10 ms */

static void
connect_succeeded(struct conn *conn)
{
	int64_t first_byte_ns = conn->connect->first_byte_timeout_ns;
	bool released = rli_conn_connect_release(conn);

	RL_ASSERT(released); /* both of its ops are IDLE */
	conn->until_ns = 0;
	rli_conn_opened(conn);
	rli_conn_deadline_start(conn, first_byte_ns);
}

/* From here on the wheel has the deadline, which no single request spans any more. */
static void
connect_again_later(struct conn *conn)
{
	struct connect *connect = conn->connect;

	connect->done = false;
	connect->retry_ns = conn->shard->now_ns + CONNECT_RETRY_NS;
	conn->until_ns = connect->deadline_ns;
	rli_conn_deadline_by(conn, connect->retry_ns);
}

static bool
connect_may_retry(int result)
{
	return result == -EAGAIN || result == -EINTR;
}

static void
connect_settled(struct conn *conn)
{
	struct connect *connect = conn->connect;

	if (!op_is_idle(&conn->control) || !op_is_idle(&connect->timeout)) {
		return; /* it takes both to tell which was first */
	}
	if (conn->state == CONN_CONNECTING && connect->done) {
		if (connect->result == 0) {
			connect_succeeded(conn);
			return;
		}
		if (connect->timed_out || connect->result == -ECANCELED) {
			rli_conn_cut(conn, RL_REASON_TIMEOUT_CONNECT, -ETIMEDOUT);
		} else if (connect_may_retry(connect->result) &&
			   conn->actor->life != ACTOR_ENDING) {
			connect_again_later(conn);
			return;
		} else {
			rli_conn_cut(conn, RL_REASON_FAILURE, connect->result);
		}
	}
	rli_conn_mark(conn);
}

void
rli_conn_connect_due(struct conn *conn)
{
	uint64_t until_ns = conn->until_ns;

	if (until_ns != 0 && until_ns <= conn->shard->now_ns) {
		rli_conn_cut(conn, RL_REASON_TIMEOUT_CONNECT, -ETIMEDOUT);
		return;
	}
	if (until_ns != 0) {
		rli_conn_deadline_by(conn, until_ns);
	}
	rli_conn_mark(conn); /* time to try again */
}

static void
connect_done(struct rl_shard *shard, struct op *op, int32_t res, uint32_t flags)
{
	struct conn *conn = list_entry(op, struct conn, control);

	(void)shard;
	if (!(flags & OP_F_SETTLED)) {
		conn->connect->done = true;
		conn->connect->result = res;
	}
	connect_settled(conn);
}

/*
 * -ECANCELED: the connect was quicker. -EINVAL: there was none to link to, because a partial submit
 * cut the chain; then the wheel takes the deadline over. Anything else: the deadline passed. -ETIME
 * says so for a connect that polled; one that blocks in a worker is interrupted instead (-EINTR),
 * and the timeout then reports how it fared with that.
 */
static void
timeout_done(struct rl_shard *shard, struct op *op, int32_t res, uint32_t flags)
{
	struct connect *connect = list_entry(op, struct connect, timeout);

	(void)shard;
	(void)flags;
	if (res != -ECANCELED && res != -EINVAL) {
		connect->timed_out = true;
	} else if (res == -EINVAL && !connect->done) {
		connect->conn->until_ns = connect->deadline_ns;
		rli_conn_deadline_by(connect->conn, connect->deadline_ns);
	}
	connect_settled(connect->conn);
}

static void
connect_measure(struct connect *connect, uint64_t now_ns)
{
	/* a deadline that has just passed still takes its one outcome from the kernel */
	uint64_t left_ns = connect->deadline_ns > now_ns ? connect->deadline_ns - now_ns : 1;

	connect->left = (struct __kernel_timespec){
		.tv_sec = (int64_t)(left_ns / 1000000000),
		.tv_nsec = (long long)(left_ns % 1000000000),
	};
}

bool
rli_conn_connect_flush(struct conn *conn)
{
	struct connect *connect = conn->connect;
	struct rl_shard *shard = conn->shard;
	bool timed = connect->deadline_ns != 0;
	struct io_uring_sqe *sqe;

	if (connect->done || connect->retry_ns > shard->now_ns || !op_is_idle(&conn->control) ||
	    !op_is_idle(&connect->timeout)) {
		return true;
	}
	if (rli_ring_room(shard->ring) < (timed ? 2 : 1)) {
		counters_add(&shard->counters, sq_full, 1);
		return false;
	}
	sqe = rli_ring_sqe(shard->ring);
	io_uring_prep_connect(sqe, conn->fd, &connect->url.sockaddr.sa, connect->url.len);
	io_uring_sqe_set_flags(sqe, conn->sqe_flags | (timed ? IOSQE_IO_LINK : 0u));
	op_arm(&conn->control, sqe, connect_done);
	if (timed) {
		connect_measure(connect, shard->now_ns);
		sqe = rli_ring_sqe(shard->ring);
		io_uring_prep_link_timeout(sqe, &connect->left, 0);
		op_arm(&connect->timeout, sqe, timeout_done);
	}
	return true;
}

bool
rli_conn_connect_cancel(struct conn *conn)
{
	return rli_op_cancel(conn->shard, &conn->control);
}

bool
rli_conn_connect_release(struct conn *conn)
{
	struct connect *connect = conn->connect;

	if (connect == NULL) {
		return true;
	}
	if ((!op_is_idle(&connect->timeout) && !RL_MUTANT(CONNECT_FREED_EARLY)) ||
	    !op_is_idle(&conn->control)) {
		return false;
	}
	conn->connect = NULL;
	rli_slab_give(&conn->shard->net->connects, connect);
	return true;
}

static void
connect_init(struct connect *connect, struct conn *conn, const struct url *url,
	     const struct rl_conn_options *options)
{
	int64_t timeout_ns = options->connect_timeout_ns != 0
				     ? options->connect_timeout_ns
				     : conn->shard->config->connect_timeout_ns;

	op_init(&connect->timeout);
	connect->conn = conn;
	connect->url = *url;
	connect->first_byte_timeout_ns = options->first_byte_timeout_ns;
	connect->deadline_ns = timeout_ns > 0 ? conn->shard->now_ns + (uint64_t)timeout_ns : 0;
	connect->retry_ns = 0;
	connect->timed_out = false;
	connect->done = false;
	connect->result = 0;
	rli_addr_from_sockaddr(&conn->peer, &url->sockaddr, url->len);
}

static int
conn_open_on(struct rl_shard *shard, const struct url *url, const struct conn_setup *setup,
	     rl_actor_id *id)
{
	struct connect *connect = rli_slab_take(&shard->net->connects);
	struct conn *conn;
	int rc;

	if (connect == NULL) {
		return -ENOBUFS;
	}
	rc = rli_conn_create(shard, setup, &conn);
	if (rc != 0) {
		rli_slab_give(&shard->net->connects, connect);
		return rc;
	}
	connect_init(connect, conn, url, setup->options);
	conn->connect = connect;
	counters_add(&shard->counters, opened, 1);
	rli_conn_mark(conn);
	if (id != NULL) {
		id->private_bits = rli_actor_id_bits(conn->actor);
	}
	return 0;
}

/* Whom to trust, and whom to expect. */
static int
open_tls(struct rl_shard *shard, const char *text, struct conn_setup *setup, char host[RL_URL_MAX])
{
	const struct rl_tls_options *tls = setup->options->tls;

	setup->server_name = tls != NULL ? tls->server_name : NULL;
	if (setup->server_name == NULL) {
		rli_url_host(text, host);
		setup->server_name = host;
	}
	return rli_conn_tls_client(shard, tls, &setup->tls);
}

/* Whoever says how to encrypt wants to: an URL without it is a mistake, and a dangerous one. */
static int
open_refuse_plain(struct rl_shard *shard, const char *text)
{
	char shown[2 * RL_URL_MAX];

	rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
		"connection options: tls is given, but the url \"%s\" is not tls://",
		rli_log_escape(shown, sizeof(shown), text, strlen(text)));
	return -EINVAL;
}

int
rl_conn_open(struct rl_actor *self, const char *text, const struct rl_actor_def *def, void *arg,
	     const struct rl_conn_options *options, rl_actor_id *id)
{
	static const struct rl_conn_options as_configured;
	struct rl_shard *shard = self->shard;
	struct conn_setup setup = {
		.def = def,
		.arg = arg,
		.options = options != NULL ? options : &as_configured,
		.outbound = true,
	};
	char host[RL_URL_MAX];
	struct url url;
	int rc;

	RL_ASSERT(self->running);
	if (id != NULL) {
		*id = (rl_actor_id){ 0 };
	}
	rc = rli_conn_options_check(setup.options, shard->log);
	if (rc == 0) {
		rc = rli_actor_def_check(def, shard->log);
	}
	if (rc == 0) {
		rc = rli_url_parse(&url, text, URL_CONNECT, shard->log);
	}
	if (rc != 0) {
		return rc;
	}
	if (shard->net->draining) {
		return -ESHUTDOWN;
	}
	if (url.is_tls) {
		rc = open_tls(shard, text, &setup, host);
	} else if (setup.options->tls != NULL) {
		rc = open_refuse_plain(shard, text);
	}
	if (rc != 0) {
		return rc;
	}
	setup.is_unix = url.is_unix;
	setup.fd = rli_sys_socket(&url);
	if (setup.fd < 0) {
		return setup.fd;
	}
	rc = conn_open_on(shard, &url, &setup, id);
	if (rc != 0) {
		rli_sys_close(setup.fd);
	}
	return rc;
}
