/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Letting in. The peer's own limit comes first, so that who is over it takes no tokens from others.
 */
#include "net/admit.h"

#include <errno.h>

#include "base/mutant.h"
#include "net/net.h"

bool
rli_admit_counts(const struct listener *listener, const struct rl_addr *peer)
{
	return listener->options.conns_per_peer_max != 0 && rli_peers_counts(peer);
}

static void
admit_log_peer(struct listener *listener, const struct rl_addr *peer)
{
	struct rl_shard *shard = listener->shard;
	char text[RL_ADDR_TEXT_MAX];

	counters_add(&shard->counters, refused_peer, 1);
	rli_log_limited(shard->log, &shard->net->limit_peer, shard->now_ns, RL_LOG_WARN,
			(int)shard->id,
			"conns_per_peer_max = %u is reached by %s: its next connections are "
			"refused",
			listener->options.conns_per_peer_max, rl_addr_format(peer, text));
}

static void
admit_log_rate(struct listener *listener)
{
	struct rl_shard *shard = listener->shard;

	counters_add(&shard->counters, refused_rate, 1);
	rli_log_limited(shard->log, &shard->net->limit_rate, shard->now_ns, RL_LOG_WARN,
			(int)shard->id, "accept_rate_max = %u is exceeded: connections are refused",
			listener->options.accept_rate_max);
}

static void
admit_log_refused(const struct listener *listener, int rc)
{
	struct rl_shard *shard = listener->shard;
	struct net *net = shard->net;

	if (net->conns_count == shard->config->conns_max) {
		rli_log_limited(shard->log, &net->limit_full, shard->now_ns, RL_LOG_WARN,
				(int)shard->id,
				"conns_max = %u is reached: new connections are refused",
				shard->config->conns_max);
	} else if (listener->tls != NULL && net->tls_shaking == shard->config->tls_handshakes_max) {
		rli_log_limited(shard->log, &net->limit_full, shard->now_ns, RL_LOG_WARN,
				(int)shard->id,
				"tls_handshakes_max = %u is reached: new connections are refused",
				shard->config->tls_handshakes_max);
	} else {
		rli_log_limited(shard->log, &net->limit_full, shard->now_ns, RL_LOG_WARN,
				(int)shard->id, "a connection is refused (%s%s)",
				rli_errno_text(rc),
				rc == -ENOBUFS ? "; actors_max is reached" : "");
	}
}

void
rli_admit_log_paused(const struct listener *listener)
{
	struct rl_shard *shard = listener->shard;

	rli_log_limited(shard->log, &shard->net->limit_full, shard->now_ns, RL_LOG_WARN,
			(int)shard->id,
			"conns_max = %u is reached: new connections wait in the backlog",
			shard->config->conns_max);
}

static bool
admit_by_rate(struct listener *listener)
{
	uint32_t per_s = listener->options.accept_rate_max;
	uint32_t burst = listener->options.accept_burst;

	return per_s == 0 || rate_take(&listener->rate, listener->shard->now_ns, per_s,
				       burst != 0 ? burst : per_s);
}

int
rli_admit(struct listener *listener, const struct rl_addr *peer)
{
	struct peers *peers = &listener->shard->net->peers;
	bool counts = rli_admit_counts(listener, peer);
	int rc = counts ? rli_peers_add(peers, peer, listener->options.conns_per_peer_max) : 0;

	if (rc == -EDQUOT) {
		admit_log_peer(listener, peer);
	} else if (rc != 0) {
		admit_log_refused(listener, rc);
	} else if (!admit_by_rate(listener)) {
		rc = -EDQUOT;
		admit_log_rate(listener);
		if (counts && !RL_MUTANT(PEER_LEAKED)) {
			rli_peers_remove(peers, peer);
		}
	}
	return rc;
}

void
rli_admit_undo(struct listener *listener, const struct rl_addr *peer, int rc)
{
	if (rli_admit_counts(listener, peer) && !RL_MUTANT(PEER_LEAKED)) {
		rli_peers_remove(&listener->shard->net->peers, peer);
	}
	admit_log_refused(listener, rc);
}
