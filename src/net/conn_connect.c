/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The connect itself: one address after the other, each on a socket of its own, until one takes us.
 * Each carries its deadline as a linked timeout: one chain, one outcome. Invariant: the connect's
 * own result decides; when it succeeded although its turn was over at the same moment, the stream
 * is open, and when it succeeded after the end was decided, the socket is closed like any other.
 *
 * All addresses share one deadline. One that others wait behind gets an even share of what is left,
 * and at most CONNECT_TURN_NS: a host that swallows what it is sent then costs that, not all.
 */
#include <errno.h>

#include "base/mutant.h"
#include "net/addr.h"
#include "net/conn.h"
#include "net/conn_open.h"
#include "net/sys.h"

/* A Unix listener whose backlog is full answers at once, where TCP would keep us waiting. */
#define CONNECT_RETRY_NS 10000000 /* 10 ms */

/* A SYN that was lost is sent again after 1 s. */
#define CONNECT_TURN_NS ((uint64_t)RL_SEC(2))

static void
connect_succeeded(struct conn *conn)
{
	int64_t first_byte_ns = conn->connect->first_byte_timeout_ns;
	bool released = rli_conn_connect_release(conn);

	RL_ASSERT(released); /* both of its ops are IDLE, and its lookup is over */
	conn->until_ns = 0;
	rli_conn_opened(conn);
	rli_conn_deadline_start(conn, first_byte_ns);
}

/* One line for each address that others follow, and for each that could not be tried. */
static void
connect_log(const struct conn *conn, int error)
{
	const struct rl_shard *shard = conn->shard;
	char text[RL_ADDR_TEXT_MAX];

	rli_log(shard->log, RL_LOG_DEBUG, (int)shard->id, "%s at %s: %s%s", conn->connect->url.host,
		rl_addr_format(&conn->peer, text), rli_errno_text(error),
		connect_has_more(conn->connect) ? "; the next address" : "");
}

/* ---- the end of one try */

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
connect_failed(struct conn *conn)
{
	struct connect *connect = conn->connect;
	bool late = connect->timed_out || connect->result == -ECANCELED;
	int error = late ? -ETIMEDOUT : connect->result;

	if (conn->actor->life == ACTOR_ENDING) {
		rli_conn_mark(conn); /* it ends already, and for a reason that came before */
	} else if (!late && connect_may_retry(error)) {
		connect_again_later(conn);
	} else if (connect_has_more(connect) && !RL_MUTANT(ADDRESSES_IGNORED)) {
		connect_log(conn, error);
		connect->stage = CONNECT_TURNS;
		rli_conn_mark(conn);
	} else {
		if (late) {
			rli_conn_deadline_passed(conn, RL_REASON_TIMEOUT_CONNECT);
		} else {
			rli_conn_cut(conn, RL_REASON_FAILURE, error);
		}
		rli_conn_mark(conn);
	}
}

static void
connect_settled(struct conn *conn)
{
	struct connect *connect = conn->connect;

	if (!op_is_idle(&conn->control) || !op_is_idle(&connect->timeout)) {
		return; /* it takes both to tell which was first */
	}
	if (conn->state != CONN_CONNECTING || !connect->done) {
		rli_conn_mark(conn);
	} else if (connect->result == 0) {
		connect_succeeded(conn);
	} else {
		connect_failed(conn);
	}
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
	struct conn *conn = connect->conn;

	(void)shard;
	(void)flags;
	if (res != -ECANCELED && res != -EINVAL) {
		connect->timed_out = true;
	} else if (res == -EINVAL && !connect->done) {
		conn->until_ns = connect->deadline_ns;
		rli_conn_deadline_by(conn, connect->turn_ns);
	}
	connect_settled(conn);
}

/* ---- and of all of it */

void
rli_conn_connect_due(struct conn *conn)
{
	struct connect *connect = conn->connect;
	uint64_t until_ns = conn->until_ns;
	uint64_t now_ns = conn->shard->now_ns;

	if (until_ns != 0 && until_ns <= now_ns) {
		rli_conn_deadline_passed(conn, RL_REASON_TIMEOUT_CONNECT);
		return;
	}
	if (until_ns != 0) {
		rli_conn_deadline_by(conn, until_ns);
	}
	connect->overdue = connect->stage == CONNECT_TRIES && connect->turn_ns != 0 &&
			   connect->turn_ns <= now_ns;
	rli_conn_mark(conn); /* time to try again, or no more */
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
	struct net *net = conn->shard->net;

	if (connect == NULL) {
		return true;
	}
	if ((!op_is_idle(&connect->timeout) && !RL_MUTANT(CONNECT_FREED_EARLY)) ||
	    !op_is_idle(&conn->control)) {
		return false;
	}
	if (connect->stage == CONNECT_LOOKS_UP &&
	    !rli_resolver_cancel(net->resolver, &connect->lookup)) {
		return false; /* rli_conn_resolved() marks the connection */
	}
	net->lookups -= connect->stage == CONNECT_ASKS || connect->stage == CONNECT_LOOKS_UP;
	conn->connect = NULL;
	rli_slab_give(&net->connects, connect);
	return true;
}

/* ---- the beginning of one */

static uint64_t
connect_turn_ns(const struct connect *connect, uint64_t now_ns)
{
	uint32_t behind = connect->lookup.addrs.count - connect->next;
	uint64_t share_ns = CONNECT_TURN_NS;

	if (behind == 0) {
		return connect->deadline_ns;
	}
	if (connect->deadline_ns != 0) {
		uint64_t left_ns =
			connect->deadline_ns > now_ns ? connect->deadline_ns - now_ns : 0;
		uint64_t even_ns = left_ns / (behind + 1);

		share_ns = even_ns < share_ns ? even_ns : share_ns;
	}
	return now_ns + share_ns;
}

/* A socket for the next address that there can be one for. False: for none, and that is the end. */
static bool
connect_turn(struct conn *conn)
{
	struct connect *connect = conn->connect;
	int rc = -ENOENT;

	if (conn->fd >= 0) {
		rli_sys_close(conn->fd);
		conn->fd = -1;
	}
	while (connect_has_more(connect)) {
		rli_url_set_address(&connect->url, &connect->lookup.addrs.list[connect->next++]);
		rli_addr_from_sockaddr(&conn->peer, &connect->url.sockaddr, connect->url.len);
		rc = rli_conn_socket(conn->shard, &connect->url, &connect->tcp);
		if (rc >= 0) {
			conn->fd = rc;
			connect->turn_ns = connect_turn_ns(connect, conn->shard->now_ns);
			connect->stage = CONNECT_TRIES;
			connect->done = false;
			connect->timed_out = false;
			connect->overdue = false;
			connect->retry_ns = 0;
			return true;
		}
		connect_log(conn, rc);
	}
	rli_conn_cut(conn, RL_REASON_FAILURE, rc);
	return false;
}

static void
connect_measure(struct connect *connect, uint64_t now_ns)
{
	/* a turn that is just over still takes its one outcome from the kernel */
	uint64_t left_ns = connect->turn_ns > now_ns ? connect->turn_ns - now_ns : 1;

	connect->left = (struct __kernel_timespec){
		.tv_sec = (int64_t)(left_ns / 1000000000),
		.tv_nsec = (long long)(left_ns % 1000000000),
	};
}

static bool
connect_submit(struct conn *conn)
{
	struct connect *connect = conn->connect;
	struct rl_shard *shard = conn->shard;
	bool timed = connect->turn_ns != 0;
	struct io_uring_sqe *sqe;

	if (connect->done || connect->retry_ns > shard->now_ns || !op_is_idle(&connect->timeout)) {
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
rli_conn_connect_flush(struct conn *conn)
{
	struct connect *connect = conn->connect;

	if (conn->actor->life == ACTOR_ENDING) {
		return true; /* it is ready to run, and then its end begins */
	}
	switch ((enum connect_stage)connect->stage) {
	case CONNECT_ASKS:
		rli_conn_connect_ask(conn);
		return true;
	case CONNECT_LOOKS_UP:
		return true;
	case CONNECT_TURNS:
		return !connect_turn(conn) || connect_submit(conn);
	case CONNECT_TRIES:
		if (op_is_idle(&conn->control)) {
			return connect_submit(conn);
		}
		return !connect->overdue || rli_op_cancel(conn->shard, &conn->control);
	}
	RL_UNREACHABLE();
}
