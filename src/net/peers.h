/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How many connections each peer address has on this shard, for listeners that limit it: a hash
 * table with one entry for each address that has any, so never more entries than conns_max. An IPv4
 * address is a peer, and so is an IPv6 network of 64 bits, since that is what one customer gets.
 *
 * Memory for it is committed when the first such listener opens; without one there is none.
 */
#ifndef RINGLINE_NET_PEERS_H
#define RINGLINE_NET_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ringline/addr.h>

#include "base/hash.h"
#include "base/slab.h"

struct peer {
	uint32_t slab_link;
	uint32_t count;
	uint64_t key;
	struct peer *next; /* in its bucket */
};

struct peers {
	struct slab slab;
	struct peer **buckets; /* reserved; committed once enabled */
	struct hash_key hash_key;
	size_t reserved_bytes;
	uint32_t mask;
	bool enabled;
};

/* Room for @conns_max addresses. 0, -ENOMEM. */
int rli_peers_init(struct peers *peers, uint32_t conns_max);
void rli_peers_fini(struct peers *peers);

/* There is a listener that counts. 0, -ENOMEM. */
int rli_peers_enable(struct peers *peers);

/* An address that can be counted: not a Unix socket's, and not unknown. */
bool rli_peers_counts(const struct rl_addr *addr);

/*
 * One more connection of @addr, unless it has @max: 0, -EDQUOT (it has), -ENOMEM. What answered 0
 * is taken back by rli_peers_remove() with the same address.
 */
int rli_peers_add(struct peers *peers, const struct rl_addr *addr, uint32_t max);
void rli_peers_remove(struct peers *peers, const struct rl_addr *addr);

/* How many it has. */
uint32_t rli_peers_count(const struct peers *peers, const struct rl_addr *addr);

#endif
