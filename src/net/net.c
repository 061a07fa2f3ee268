/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The flush phase and what a shard's connections share. Invariant: a connection or listener that
 * wants something from the kernel is on a list that the flush works through, until it got it; a
 * full submission queue delays it and never loses it (pitfall 16).
 */
#include "net/net.h"

#include "base/mutant.h"
#include "net/conn.h"
#include "net/conn_open.h"
#include "net/handover.h"

int
rli_net_init(struct rl_shard *shard)
{
	const struct rl_config *config = shard->config;
	struct net *net = shard->net;
	size_t pending = sizeof(struct pending) + 2 * (size_t)config->recv_pending_max_bytes;
	int rc = rli_slab_init(&net->conns, sizeof(struct conn), config->conns_max);

	list_init(&net->dirty);
	list_init(&net->parked);
	for (uint32_t i = 0; i < NET_HOARDS; i++) {
		list_init(&net->hoards[i]);
	}
	list_init(&net->starved);
	list_init(&net->tls_starved);
	list_init(&net->tls_waiting);
	rli_timer_init(&net->starved_timer, TIMER_STARVED);
	rli_timer_init(&net->evict_timer, TIMER_EVICT);
	rli_timer_init(&net->tickets_timer, TIMER_TICKETS);
	if (rc == 0) {
		rc = rli_slab_init(&net->connects, sizeof(struct connect), config->conns_max);
	}
	if (rc == 0) {
		rc = rli_slab_init(&net->pendings, pending, config->conns_max);
	}
	if (rc == 0) {
		rc = rli_slab_init(&net->accepts, sizeof(struct accept),
				   NET_LISTENERS_MAX * config->accepts_in_flight);
	}
	if (rc == 0) {
		rc = rli_peers_init(&net->peers, config->conns_max);
	}
	if (rc == 0) {
		rc = rli_slab_init(&net->tlses, sizeof(struct conn_tls), config->conns_max);
	}
	if (rc == 0) {
		rc = rli_slab_init(&net->tls_buffers, TLS_PLAIN_MAX, 1);
	}
	if (rc == 0) {
		rc = rli_tls_store_init(&net->tls_store, config->tls_sites_max);
	}
	if (rc == 0) {
		rc = rli_slab_init(&net->outlets, sizeof(struct outlet), config->conns_max);
	}
	return rc;
}

void
rli_net_fini(struct rl_shard *shard)
{
	struct net *net = shard->net;

	rli_slab_fini(&net->conns);
	rli_slab_fini(&net->connects);
	rli_slab_fini(&net->pendings);
	rli_slab_fini(&net->accepts);
	rli_peers_fini(&net->peers);
	rli_slab_fini(&net->tlses);
	rli_slab_fini(&net->tls_buffers);
	rli_conn_tls_fini(net);
	rli_slab_fini(&net->outlets);
}

/* False: @conn wants another look, in this turn's successor and without a wait in between. */
static bool
net_flush_conn(struct conn *conn)
{
	bool told = rli_conn_forward_flush(conn);

	switch ((enum conn_state)conn->state) {
	case CONN_CONNECTING:
		return rli_conn_connect_flush(conn);
	case CONN_OPEN: {
		bool sent = rli_conn_send_flush(conn);
		bool received = rli_conn_recv_flush(conn);

		return rli_conn_shutdown_flush(conn) && sent && received && told;
	}
	case CONN_FLUSHING:
	case CONN_LINGERING:
	case CONN_CANCELLING:
	case CONN_RESETTING:
	case CONN_CLOSING:
	case CONN_CLOSED:
		return rli_conn_close_flush(conn) && (told || conn->state == CONN_FREE);
	case CONN_FREE:
		break;
	}
	RL_UNREACHABLE();
}

static bool
net_flush_listeners(struct rl_shard *shard)
{
	struct net *net = shard->net;
	bool done = true;

	if (!net->listeners_dirty) {
		return true;
	}
	for (uint32_t i = 0; i < NET_LISTENERS_MAX; i++) {
		if (net->listeners[i].state != LISTENER_FREE) {
			done = rli_listener_flush(&net->listeners[i]) && done;
		}
	}
	net->listeners_dirty = !done;
	return done;
}

/* The acceptor learns what was adopted, and what has closed. */
static void
net_publish(struct rl_shard *shard)
{
	struct net *net = shard->net;

	if (net->handover != NULL && rli_handover_publish(net->handover, net->conns_count) &&
	    !RL_MUTANT(ROOM_NOT_TOLD)) {
		(void)rli_sleep_wake(net->acceptor);
	}
}

bool
rli_net_flush(struct rl_shard *shard)
{
	struct net *net = shard->net;
	struct list batch;
	struct list_node *node;
	bool done = true;
	size_t home_bytes = net->home_bytes;

	if (net->tls_turn || !list_is_empty(&net->tls_waiting)) {
		done = rli_conn_line_turn(shard);
	}
	if (!list_is_empty(&net->tls_starved)) {
		rli_conn_tls_feed(shard, false);
	}
	/* what this turn's handlers queued leaves with one enter */
	list_init(&batch);
	list_splice_back(&batch, &net->dirty);
	while ((node = list_pop_front(&batch)) != NULL) {
		struct conn *conn = list_entry(node, struct conn, dirty);

		if (!net_flush_conn(conn) && !RL_MUTANT(SQ_FULL_LOST)) {
			rli_conn_mark(conn);
			done = false;
		}
	}
	if (net->home_bytes > home_bytes && !list_is_empty(&net->tls_starved)) {
		rli_conn_tls_feed(shard, false); /* what came home behind their backs */
		done = false;
	}
	rli_bufring_publish(&shard->bufring);
	done = rli_conn_recv_unpark(shard) && done;
	done = rli_conn_send_feed(shard) && done;
	rli_conn_evict_flush(shard);
	net_publish(shard);
	return net_flush_listeners(shard) && done;
}

void
rli_net_drain(struct rl_shard *shard)
{
	struct net *net = shard->net;

	net->draining = true;
	for (uint32_t i = 0; i < NET_LISTENERS_MAX; i++) {
		rli_listener_stop(shard, i, NULL);
	}
}

uint32_t
rli_net_listeners(const struct rl_shard *shard)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < NET_LISTENERS_MAX; i++) {
		count += shard->net->listeners[i].state != LISTENER_FREE;
	}
	return count;
}

uint64_t
rli_net_queued_bytes(const struct rl_shard *shard)
{
	const struct slab *conns = &shard->net->conns;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < conns->slots_used; i++) {
		const struct conn *conn = rli_slab_at(conns, i);

		bytes += conn->state != CONN_FREE ? conn->out_bytes : 0;
	}
	return bytes;
}

void
rli_net_cut(struct rl_shard *shard, enum rl_reason reason)
{
	struct net *net = shard->net;

	for (uint32_t i = 0; i < net->conns.slots_used; i++) {
		struct conn *conn = rli_slab_at(&net->conns, i);

		if (conn->state == CONN_FREE || conn->state >= CONN_CANCELLING ||
		    (RL_MUTANT(CUT_SPARES_THE_ENDING) && conn->state > CONN_OPEN)) {
			continue;
		}
		conn->cut = true;
		counters_add(&shard->counters, drain_cut_bytes, conn->out_bytes);
		rli_conn_cut(conn, reason, 0);
	}
}

bool
rli_net_is_silent(const struct rl_shard *shard)
{
	const struct net *net = shard->net;

	return rli_net_listeners(shard) == 0 && net->conns_count == 0 &&
	       (net->handover == NULL || net->handover_over);
}
