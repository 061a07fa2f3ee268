/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The table: buckets of singly linked entries, found by a keyed hash. Invariant: an entry's count
 * is the number of connections that were added and not removed, and an entry of zero is gone.
 */
#include "net/peers.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/host.h"

#define PEERS_PAGES   65536 /* a multiple of every page size that Linux has */
#define PEERS_BUCKETS (PEERS_PAGES / sizeof(struct peer *)) /* at least, a power of two */

/* No IPv6 address that a peer can have begins like this: it would be multicast. */
#define PEERS_KEY_INET 0xff04000000000000ull

int
rli_peers_init(struct peers *peers, uint32_t conns_max)
{
	size_t buckets = PEERS_BUCKETS;
	int rc = rli_slab_init(&peers->slab, sizeof(struct peer), conns_max);

	while (buckets < conns_max) {
		buckets *= 2;
	}
	peers->mask = (uint32_t)buckets - 1;
	peers->reserved_bytes = buckets * sizeof(struct peer *);
	peers->enabled = false;
	if (rc == 0) {
		peers->buckets = (struct peer **)rli_host_pages_reserve(peers->reserved_bytes);
		rc = peers->buckets != NULL ? 0 : -ENOMEM;
	}
	return rc;
}

void
rli_peers_fini(struct peers *peers)
{
	rli_slab_fini(&peers->slab);
	rli_host_pages_release((void *)peers->buckets, peers->reserved_bytes);
	peers->buckets = NULL;
}

int
rli_peers_enable(struct peers *peers)
{
	int rc;

	if (peers->enabled) {
		return 0;
	}
	rc = rli_host_pages_commit((void *)peers->buckets, peers->reserved_bytes);
	if (rc == 0) {
		peers->hash_key = hash_key_random();
		peers->enabled = true;
	}
	return rc;
}

bool
rli_peers_counts(const struct rl_addr *addr)
{
	return addr->family == RL_ADDR_INET || addr->family == RL_ADDR_INET6;
}

/* The network, or the address behind a prefix that no network has. */
static uint64_t
peers_key(const struct rl_addr *addr)
{
	uint64_t network;
	uint32_t host;

	RL_ASSERT(rli_peers_counts(addr));
	if (addr->family == RL_ADDR_INET) {
		memcpy(&host, addr->bytes, sizeof(host));
		return PEERS_KEY_INET | be32toh(host);
	}
	memcpy(&network, addr->bytes, sizeof(network));
	return be64toh(network);
}

static struct peer **
peers_bucket(const struct peers *peers, uint64_t key)
{
	RL_ASSERT(peers->enabled);
	return &peers->buckets[hash_word(&peers->hash_key, key) & peers->mask];
}

/* Where the entry is linked, or the end of its bucket. */
static struct peer **
peers_find(const struct peers *peers, uint64_t key)
{
	struct peer **at = peers_bucket(peers, key);

	while (*at != NULL && (*at)->key != key) {
		at = &(*at)->next;
	}
	return at;
}

int
rli_peers_add(struct peers *peers, const struct rl_addr *addr, uint32_t max)
{
	uint64_t key = peers_key(addr);
	struct peer **at = peers_find(peers, key);
	struct peer *peer = *at;

	if (peer == NULL) {
		peer = rli_slab_take(&peers->slab);
		if (peer == NULL) {
			return -ENOMEM;
		}
		peer->count = 0;
		peer->key = key;
		peer->next = NULL;
		*at = peer;
	}
	if (peer->count >= max) {
		return -EDQUOT;
	}
	peer->count++;
	return 0;
}

void
rli_peers_remove(struct peers *peers, const struct rl_addr *addr)
{
	struct peer **at = peers_find(peers, peers_key(addr));
	struct peer *peer = *at;

	RL_ASSERT(peer != NULL);
	if (--peer->count == 0) {
		*at = peer->next;
		rli_slab_give(&peers->slab, peer);
	}
}

uint32_t
rli_peers_count(const struct peers *peers, const struct rl_addr *addr)
{
	const struct peer *peer = peers->enabled ? *peers_find(peers, peers_key(addr)) : NULL;

	return peer != NULL ? peer->count : 0;
}
