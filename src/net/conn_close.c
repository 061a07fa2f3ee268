/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The end of a stream, one function that takes it a step further whenever something happened:
 *
 *	graceful  FLUSHING -> LINGERING -> CANCELLING -> CLOSING -> CLOSED
 *	abort     CANCELLING -> RESETTING -> CLOSING -> CLOSED
 *
 * Closing with unread input would send RST and destroy the reply that is still on its way, and not
 * reading while flushing would wait for ever on a client that writes all before it reads: so input
 * is received and discarded from the decision on. A fixed file must not be closed under an armed
 * receive (no FIN would leave, pitfall 48): so nothing is closed before every op is IDLE.
 */
#include "net/conn.h"

#include "base/mutant.h"

static void
control_done(struct rl_shard *shard, struct op *op, int32_t res, uint32_t flags)
{
	struct conn *conn = list_entry(op, struct conn, control);

	/* shutdown and reset can fail because the peer was quicker, and close can't be undone */
	(void)shard;
	(void)res;
	(void)flags;
	if (conn->state == CONN_RESETTING) {
		conn->state = CONN_CLOSING;
	} else if (conn->state == CONN_CLOSING && !(RL_MUTANT(CLOSE_TWICE) && res == 0)) {
		conn->state = CONN_CLOSED;
	}
	rli_conn_mark(conn);
}

static struct io_uring_sqe *
control_sqe(struct conn *conn)
{
	struct io_uring_sqe *sqe = rli_ring_sqe(conn->shard->ring);

	if (sqe == NULL) {
		counters_add(&conn->shard->counters, sq_full, 1);
	}
	return sqe;
}

static bool
control_shutdown(struct conn *conn)
{
	struct io_uring_sqe *sqe = control_sqe(conn);

	if (sqe == NULL) {
		return false;
	}
	io_uring_prep_shutdown(sqe, conn->fd, SHUT_WR);
	io_uring_sqe_set_flags(sqe, conn->sqe_flags);
	op_arm(&conn->control, sqe, control_done);
	conn->shut_sent = true;
	return true;
}

/*
 * CONNECT to AF_UNSPEC resets a TCP socket, a fixed file too, where setsockopt has no descriptor.
 */
static bool
control_reset(struct conn *conn)
{
	static const struct sockaddr unspec = { .sa_family = AF_UNSPEC };
	struct io_uring_sqe *sqe = control_sqe(conn);

	if (sqe == NULL) {
		return false;
	}
	io_uring_prep_connect(sqe, conn->fd, &unspec, sizeof(unspec));
	io_uring_sqe_set_flags(sqe, conn->sqe_flags);
	op_arm(&conn->control, sqe, control_done);
	return true;
}

static bool
control_close(struct conn *conn)
{
	struct io_uring_sqe *sqe = control_sqe(conn);

	if (sqe == NULL) {
		return false;
	}
	if (conn->sqe_flags & IOSQE_FIXED_FILE) {
		io_uring_prep_close_direct(sqe, (unsigned)conn->fd);
	} else {
		io_uring_prep_close(sqe, conn->fd);
	}
	sqe->flags |= RL_MUTANT(FENCE_IGNORED) ? IOSQE_ASYNC : 0;
	op_arm(&conn->control, sqe, control_done);
	return true;
}

bool
rli_conn_shutdown_flush(struct conn *conn)
{
	if (!conn->shut_wanted || conn->shut_sent ||
	    (conn->tls != NULL && !rli_conn_tls_may_shut(conn)) ||
	    (!RL_MUTANT(FIN_OVERTAKES) && (conn->out_bytes != 0 || !op_is_idle(&conn->send)))) {
		return true;
	}
	return control_shutdown(conn);
}

/* Only these leave gracefully, a failure of TLS with its alert; everything else is an abort. */
static bool
close_is_graceful(const struct conn *conn)
{
	if (conn->abort || conn->state != CONN_OPEN) {
		return false;
	}
	return conn->actor->reason == RL_REASON_LOCAL || conn->actor->reason == RL_REASON_TLS ||
	       conn->actor->reason == RL_REASON_PEER_FIN ||
	       conn->actor->reason == RL_REASON_SHUTDOWN;
}

void
rli_conn_close_begin(struct conn *conn)
{
	if (conn->state >= CONN_CANCELLING || (conn->state > CONN_OPEN && !conn->abort)) {
		return; /* under way, and nothing calls for more haste */
	}
	if (conn->actor->reason == RL_REASON_LOCAL && conn->eof_delivered && !conn->abort) {
		conn->actor->reason = RL_REASON_PEER_FIN;
	}
	if (close_is_graceful(conn)) {
		conn->state = CONN_FLUSHING;
		if (!op_is_idle(&conn->send)) {
			rli_conn_deadline_update(conn); /* its output must not wait any more */
		}
	} else {
		/* a socket that failed already has nothing to reset, and Unix sockets can't */
		conn->reset =
			conn->state != CONN_CONNECTING && !conn->is_unix && conn->input_error == 0;
		conn->state = CONN_CANCELLING;
	}
	if (conn->tls != NULL) {
		rli_conn_line_leave(conn);
	}
	rli_conn_send_forget(conn);
	if (conn->state == CONN_FLUSHING && conn->tls != NULL && conn->tls->session.halfway) {
		rli_conn_tls_go_on(conn); /* or there would be no close_notify */
	}
	rli_conn_recv_discard(conn);
	rli_conn_mark(conn);
}

static bool
close_input_is_over(const struct conn *conn)
{
	return conn->eof_seen || conn->input_error != 0;
}

/* Output leaves under the stall deadline; then FIN, which closing alone sends if input is over. */
static bool
close_flush_output(struct conn *conn)
{
	bool ok = rli_conn_send_flush(conn) && rli_conn_recv_flush(conn);

	if (!ok || conn->out_bytes != 0 || !op_is_idle(&conn->send) ||
	    (conn->tls != NULL && !rli_conn_tls_may_shut(conn))) {
		return ok;
	}
	if (close_input_is_over(conn) || RL_MUTANT(LINGER_SKIPPED)) {
		conn->state = CONN_CANCELLING;
		return true;
	}
	if (!conn->shut_sent && !control_shutdown(conn)) {
		return false;
	}
	conn->state = CONN_LINGERING;
	conn->until_ns = conn_deadline_after(conn->shard->now_ns, conn->linger_ms);
	rli_conn_deadline_by(conn, conn->until_ns);
	return true;
}

static bool
close_linger(struct conn *conn)
{
	if (close_input_is_over(conn)) {
		conn->state = CONN_CANCELLING;
		return true;
	}
	return rli_conn_recv_flush(conn);
}

/* Wait until the kernel holds nothing of this connection's. */
static bool
close_cancel(struct conn *conn)
{
	bool ok = rli_op_cancel(conn->shard, &conn->recv);

	list_remove(&conn->parked);
	ok = rli_op_cancel(conn->shard, &conn->send) && ok;
	if (conn->connect != NULL) {
		ok = rli_conn_connect_cancel(conn) && ok;
	}
	if (!ok || (!op_is_idle(&conn->recv) && !RL_MUTANT(CLOSE_UNDER_RECV)) ||
	    !op_is_idle(&conn->send) || !op_is_idle(&conn->control) ||
	    !rli_conn_connect_release(conn)) {
		return ok;
	}
	rli_conn_send_discard(conn);
	conn->state = conn->reset ? CONN_RESETTING : CONN_CLOSING;
	if (conn->fd < 0) {
		conn->state = CONN_CLOSED; /* its host was never found: there is no socket */
	}
	return true;
}

static void
close_count(const struct conn *conn)
{
	struct counters *counters = &conn->shard->counters;

	counters_add_closed(counters, conn->actor->reason);
	if (!conn->shard->net->draining) {
		return;
	}
	if (conn->cut) {
		counters_add(counters, drain_cut, 1);
	} else {
		counters_add(counters, drain_ended, 1);
	}
}

static void
close_finish(struct conn *conn)
{
	struct rl_shard *shard = conn->shard;
	struct rl_actor *actor = conn->actor;

	RL_ASSERT(op_is_idle(&conn->recv) && op_is_idle(&conn->send) && op_is_idle(&conn->control));
	RL_ASSERT(conn->lent_first == BUFRING_NONE && conn->arrived_first == NULL);
	RL_ASSERT(conn->held_bytes == 0);
	RL_ASSERT(conn->out_first == NULL && conn->pending == NULL && conn->connect == NULL);
	if (!RL_MUTANT(TIMER_SURVIVES_CONN)) {
		(void)rli_wheel_cancel(&shard->wheel, &conn->timer); /* false: none was armed */
	}
	if (conn->outlet != NULL) {
		rli_slab_give(&shard->net->outlets, conn->outlet);
	}
	list_remove(&conn->dirty);
	list_remove(&conn->parked);
	rli_conn_send_forget(conn);
	if (conn->tls != NULL) {
		rli_conn_tls_destroy(conn);
	}
	close_count(conn);
	actor->conn = NULL;
	conn->state = CONN_FREE;
	if (conn->peer_counted && !RL_MUTANT(PEER_NOT_GIVEN_BACK)) {
		rli_peers_remove(&shard->net->peers, &conn->peer);
	}
	shard->net->conns_count--;
	shard->net->listeners_dirty = true; /* conns_max may have held accepting back */
	rli_slab_give(&shard->net->conns, conn);
	rli_actor_ready(actor); /* RL_MSG_STOP is all that is left */
}

/* One step; it may change the state. False: the submission queue was full. */
static bool
close_step(struct conn *conn)
{
	switch ((enum conn_state)conn->state) {
	case CONN_FLUSHING:
		return close_flush_output(conn);
	case CONN_LINGERING:
		return close_linger(conn);
	case CONN_CANCELLING:
		return close_cancel(conn);
	case CONN_RESETTING:
		return !op_is_idle(&conn->control) || control_reset(conn);
	case CONN_CLOSING:
		return !op_is_idle(&conn->control) || control_close(conn);
	case CONN_CLOSED:
		if (!rli_conn_forward_flush(conn)) {
			return false; /* some wait for it still */
		}
		close_finish(conn);
		return true;
	case CONN_FREE:
	case CONN_CONNECTING:
	case CONN_OPEN:
		break;
	}
	RL_UNREACHABLE();
}

bool
rli_conn_close_flush(struct conn *conn)
{
	uint8_t before;
	bool ok;

	do {
		before = conn->state;
		ok = close_step(conn);
	} while (ok && conn->state != before && conn->state != CONN_FREE);
	return ok;
}
