/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a shard lets in, against the limits of its listeners: a model of its own, fed with what the
 * counters and the connections themselves say.
 */
#include <string.h>

#include "net/conn.h"
#include "net/net.h"

#include "sim_check.h"
#include "sim_world.h"

#define LIMITS_SHARDS 256

struct limits_shard {
	uint64_t accepted;
	uint64_t now_ns;
	double level; /* of a bucket that leaks as fast as all listeners together may accept */
};

static struct sim_check_limits limits;
static struct limits_shard limits_shards[LIMITS_SHARDS];

void
sim_check_limits_reset(void)
{
	memset(&limits, 0, sizeof(limits));
	memset(limits_shards, 0, sizeof(limits_shards));
}

void
sim_check_limits_set(const struct sim_check_limits *set)
{
	limits = *set;
}

/* When this turn accepted: the turn may have read the clock again since. */
static uint64_t
limits_accepted_ns(const struct rl_shard *shard)
{
	uint64_t latest_ns = 0;

	for (uint32_t i = 0; i < shard->net->conns.slots_used; i++) {
		const struct conn *conn = rli_slab_at(&shard->net->conns, i);

		if (conn->state != CONN_FREE && conn->active_ns > latest_ns) {
			latest_ns = conn->active_ns; /* a new one has got no byte yet */
		}
	}
	return latest_ns;
}

/*
 * Each listener has a bucket; the sum of them is never fuller than one large bucket with the sum of
 * the rates, which has no level left over for a listener that is idle.
 */
static void
limits_check_rate(const struct rl_shard *shard)
{
	struct limits_shard *check = &limits_shards[shard->id];
	uint64_t accepted = atomic_load_explicit(
		&shard->counters.words[offsetof(struct rl_stats, accepted) / sizeof(uint64_t)],
		memory_order_relaxed);
	uint64_t now_ns;

	if (accepted == check->accepted) {
		return;
	}
	now_ns = limits_accepted_ns(shard);
	check->level -= (double)(now_ns - check->now_ns) * 1e-9 * limits.listeners * limits.rate;
	if (check->level < 0) {
		check->level = 0;
	}
	check->level += (double)(accepted - check->accepted);
	check->accepted = accepted;
	check->now_ns = now_ns;
	sim_check(check->level <= limits.listeners * limits.burst + 1e-6,
		  "INV-8: shard %u has accepted %.3f at once, %u listeners allow %u each",
		  shard->id, check->level, limits.listeners, limits.burst);
}

/* How many accepted connections have this one's address: -1 if another came before it. */
static int
limits_count(const struct rl_shard *shard, const struct conn *first)
{
	int count = 0;

	for (uint32_t i = 0; i < shard->net->conns.slots_used; i++) {
		const struct conn *conn = rli_slab_at(&shard->net->conns, i);

		if (conn->state == CONN_FREE || conn->outbound ||
		    conn->peer.family != RL_ADDR_INET ||
		    memcmp(conn->peer.bytes, first->peer.bytes, 4) != 0) {
			continue;
		}
		if (count == 0 && conn != first) {
			return -1;
		}
		count++;
	}
	return count;
}

static void
limits_check_peers(const struct rl_shard *shard)
{
	const struct net *net = shard->net;
	uint32_t peers = 0;

	for (uint32_t i = 0; i < net->conns.slots_used; i++) {
		const struct conn *conn = rli_slab_at(&net->conns, i);
		int count;

		if (conn->state == CONN_FREE || conn->outbound ||
		    conn->peer.family != RL_ADDR_INET) {
			continue;
		}
		count = limits_count(shard, conn);
		if (count < 0) {
			continue;
		}
		peers++;
		sim_check((uint32_t)count <= limits.per_peer,
			  "one peer has %d connections on shard %u, %u are allowed", count,
			  shard->id, limits.per_peer);
		sim_check(rli_peers_count(&net->peers, &conn->peer) == (uint32_t)count,
			  "a peer has %d connections on shard %u, and %u are counted", count,
			  shard->id, rli_peers_count(&net->peers, &conn->peer));
	}
	sim_check(net->peers.slab.taken == peers,
		  "shard %u counts %u peers, and has connections of %u", shard->id,
		  net->peers.slab.taken, peers);
}

void
sim_check_limits_turn_end(const struct rl_shard *shard)
{
	if (limits.rate != 0) {
		limits_check_rate(shard);
	}
	if (limits.per_peer != 0) {
		limits_check_peers(shard);
	}
}
