/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a shard has of the network: its connections, its listeners, and the lists that the flush
 * phase works through. Handlers and completions only change states and mark; SQEs are prepared in
 * rli_net_flush() and nowhere else.
 */
#ifndef RINGLINE_NET_NET_H
#define RINGLINE_NET_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slab.h"
#include "net/conn_tls.h"
#include "net/listener.h"
#include "net/peers.h"
#include "shard/shard.h"

struct conn;
struct handover;
struct resolver;

#define NET_LISTENERS_MAX 16
#define NET_HOARDS	  8

/* The RL_MSG_RECV that is being handled: at most one per shard, since handlers don't nest. */
struct net_view {
	struct conn *conn; /* NULL: none */
	size_t len;
	size_t consumed;
	bool told; /* rl_conn_consumed() was called */
};

struct net {
	struct slab conns;
	struct slab connects; /* outbound connects under way */
	struct slab pendings; /* what actors left unconsumed */
	struct slab accepts;
	struct peers peers; /* counted for listeners that limit them */
	struct slab tlses; /* struct conn_tls */
	struct slab tls_buffers; /* one */
	struct slab outlets;
	struct list dirty; /* connections that the flush has to look at */
	struct list
		parked; /* connections that wait for a receive buffer, first come first served */
	struct list hoards[NET_HOARDS]; /* connections whose input waits in memory, by its size */
	struct list starved; /* connections that wait for send memory, likewise */
	struct list tls_starved; /* connections that have no room to make a record of what waits */
	struct list tls_waiting; /* handshakes with a step to do, in a later turn */
	struct listener listeners[NET_LISTENERS_MAX];
	struct handover *handover; /* from the acceptor; NULL: the shards accept themselves */
	struct sleep *acceptor; /* whom to tell that there is room */
	struct resolver *resolver; /* the system's */
	struct net_view view;
	uint32_t conns_count;
	uint32_t accepts_armed;
	uint32_t lookups; /* of host names, under way */
	struct timer starved_timer;
	uint32_t starved_told; /* at the last flush */
	uint32_t starved_refused; /* of those, since then */
	uint32_t feeds; /* counts the flushes */
	uint8_t *
		tls_buffer; /* where one delivery is decrypted to; NULL before the first needs it */
	uint32_t tls_shaking; /* handshakes under way */
	uint32_t tls_called; /* handshakes that were promised one, and have not run yet */
	struct tls_tickets *tls_tickets; /* the system's */
	struct tls_store tls_store;
	struct timer tickets_timer; /* armed on the first shard only */
	uint32_t tls_clients_count;
	struct tls_client tls_clients[TLS_CLIENTS_MAX];
	size_t home_bytes; /* of send chunks given back since the last flush */
	size_t room_bytes; /* of those that came home since this round of the starved began */
	uint32_t starved_count; /* on starved */
	uint32_t starved_left; /* to be looked at in this round */
	bool tls_turn; /* the next turn is theirs who were called: it takes nothing in */
	bool draining;
	bool listeners_dirty;
	bool listeners_broken; /* rli_listener_broken() has something to tell */
	bool handover_over; /* nothing comes from the acceptor any more */
	bool lookups_asked; /* there may be too few workers for them */
	struct log_limit limit_accept;
	struct log_limit limit_starved;
	struct log_limit limit_full;
	struct log_limit limit_rate;
	struct log_limit limit_peer;
	struct log_limit limit_lookup;
	struct log_limit limit_lookups;
	struct log_limit limit_evicted;
	struct log_limit limit_hoard;
	struct log_limit limit_pending;
	struct log_limit limit_deadlines[RL_REASON_COUNT];
	struct timer evict_timer;
	uint32_t evict_hand; /* the slot that is looked at next */
	uint32_t evict_left; /* of this round */
	size_t evict_bytes; /* to be suspected in this round */
};

/* 0, -ENOMEM. Uses shard->net, which the composition root has set. */
int rli_net_init(struct rl_shard *shard);
void rli_net_fini(struct rl_shard *shard);

/*
 * Phase 5: one send per connection that has output and none in flight, receiving armed and
 * cancelled, tear-downs taken a step further, accepts armed. True when nothing is left over; false
 * when the submission queue was full or a state wants another look: take another turn without
 * waiting.
 */
bool rli_net_flush(struct rl_shard *shard);

/* Drain: listeners close, nothing is accepted or opened any more. */
void rli_net_drain(struct rl_shard *shard);

/* Listeners that are not closed yet; bytes that wait in all connections to be sent. */
uint32_t rli_net_listeners(const struct rl_shard *shard);
uint64_t rli_net_queued_bytes(const struct rl_shard *shard);

/* The drain's end: every connection that has not closed, or is about to, is cut, and counted. */
void rli_net_cut(struct rl_shard *shard, enum rl_reason reason);

/* No connection and no listener is left, and the kernel holds nothing of ours. */
bool rli_net_is_silent(const struct rl_shard *shard);

#endif
