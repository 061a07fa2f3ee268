/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The line of handshakes: a step costs as much as many messages, so a turn has few, first come
 * first served. All that wait don't run in every turn, since a flood has thousands of them, and
 * they keep none of the receive buffers that all share (ADR 35).
 */
#include "base/mutant.h"
#include "net/conn.h"

bool
rli_conn_line_may(struct conn *conn)
{
	struct net *net = conn->shard->net;

	if (conn->tls->called) {
		return true;
	}
	if (net->tls_steps >= conn->shard->config->tls_handshake_steps_max) {
		return false;
	}
	net->tls_steps++; /* then nobody waits */
	return true;
}

void
rli_conn_line_join(struct conn *conn)
{
	if (RL_MUTANT(TLS_STEPS_FORGOTTEN)) {
		return;
	}
	if (!list_is_linked(&conn->tls->waiting)) {
		list_push_back(&conn->shard->net->tls_waiting, &conn->tls->waiting);
	}
	rli_conn_mark(conn);
}

void
rli_conn_line_leave(struct conn *conn)
{
	struct conn_tls *tls = conn->tls;

	list_remove(&tls->waiting);
	if (tls->called) {
		tls->called = false;
		conn->shard->net->tls_called--;
	}
}

/* Who was called and has not run yet, since the turn had no room for all, is still first. */
void
rli_conn_line_turn(struct rl_shard *shard)
{
	struct net *net = shard->net;

	while (net->tls_called < shard->config->tls_handshake_steps_max &&
	       !list_is_empty(&net->tls_waiting)) {
		struct conn_tls *tls =
			list_entry(list_pop_front(&net->tls_waiting), struct conn_tls, waiting);

		if (tls->conn->actor->life != ACTOR_ENDING) {
			tls->called = true;
			net->tls_called++;
			rli_actor_ready(tls->conn->actor);
		}
	}
	net->tls_steps = net->tls_called;
}
