/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The line of handshakes: a step costs as much as many messages. So each waits for a turn in which
 * nothing else is taken in, behind one whose output has left; such a turn has few, first come first
 * served. All that wait don't run in every turn, since a flood has thousands of them, and they keep
 * none of the receive buffers that all share (ADR 35, 39).
 */
#include "base/mutant.h"
#include "net/conn.h"

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
static bool
line_call(struct rl_shard *shard)
{
	struct net *net = shard->net;
	bool called = false;

	while (net->tls_called < shard->config->tls_handshake_steps_max &&
	       !list_is_empty(&net->tls_waiting)) {
		struct conn_tls *tls =
			list_entry(list_pop_front(&net->tls_waiting), struct conn_tls, waiting);

		if (tls->conn->actor->life != ACTOR_ENDING) {
			tls->called = true;
			net->tls_called++;
			rli_actor_ready(tls->conn->actor);
			called = true;
		}
	}
	return called;
}

bool
rli_conn_line_turn(struct rl_shard *shard)
{
	struct net *net = shard->net;

	net->tls_turn = !net->tls_turn && line_call(shard);
	return net->tls_turn || list_is_empty(&net->tls_waiting) || RL_MUTANT(TLS_LINE_SLEPT_OVER);
}
