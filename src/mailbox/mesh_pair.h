/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What lies between two shards, for the two files that work on it: mesh.c, the whole and the
 * receiver's side, and mesh_out.c, the sender's.
 */
#ifndef RINGLINE_MAILBOX_MESH_PAIR_H
#define RINGLINE_MAILBOX_MESH_PAIR_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "mailbox/mesh.h"
#include "mailbox/mesh_ring.h"

/* In the tag of a forward entry, beside the count: nothing but notifications is in the block. */
#define MESH_TAG_NOTIFIES 0x80u

_Static_assert(MESH_BLOCK_ENVELOPES < MESH_TAG_NOTIFIES, "a tag has room for both");

struct mesh_pair {
	struct mesh_ring forward;
	struct mesh_ring reverse;
	_Alignas(64) _Atomic uint32_t want_room; /* the sender writes, the receiver reads */
	_Alignas(64) struct mesh_block blocks[MESH_BLOCKS];
};

struct mesh {
	size_t reserved_bytes;
	uint32_t shards;
	struct mesh_port *ports;
	struct mesh_out *outs; /* [from][to] */
	struct mesh_in *ins; /* [to][from] */
	struct mesh_pair *pairs; /* [from][to] */
};

/* Where the blocks of @source for us come from. */
static inline struct mesh_pair *
mesh_inbound_pair(const struct mesh_port *port, uint32_t source)
{
	return &port->mesh->pairs[(size_t)source * port->shards + port->id];
}

static inline void
mesh_set_add(uint64_t *words, uint32_t shard)
{
	words[shard / 64] |= (uint64_t)1 << shard % 64;
}

#endif
