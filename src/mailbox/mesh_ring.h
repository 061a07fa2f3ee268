/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A single-producer single-consumer ring of block numbers.
 *
 * An entry says by itself whose turn it is: it carries the lap in which it was written, so the
 * consumer finds out with one load whether it is new, and writes nothing. What crosses cores is the
 * entry's cache line alone, not an index of either side. There are twice as many entries as blocks,
 * so an entry that is overwritten was read long ago, and pushing can't fail.
 */
#ifndef RINGLINE_MAILBOX_MESH_RING_H
#define RINGLINE_MAILBOX_MESH_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

#define MESH_RING_ENTRIES   32 /* a power of two */
#define MESH_RING_LAP_SHIFT 16
#define MESH_RING_TAG_SHIFT 8
#define MESH_RING_BLOCK	    0xffu

/* Zeroed memory is an empty ring: laps begin with 1. */
struct mesh_ring {
	_Alignas(64) _Atomic uint32_t entries[MESH_RING_ENTRIES];
};

/* What an entry says beside its lap: a block, and a small number that goes with it. */
struct mesh_entry {
	uint32_t block;
	uint32_t tag; /* up to 255 */
};

/* Which lap position @at belongs to; they wrap, and 65,536 laps lie between two of one number. */
static inline uint32_t
mesh_ring_lap(uint32_t at)
{
	return (at / MESH_RING_ENTRIES + 1) << MESH_RING_LAP_SHIFT;
}

/* The producer; @at is its position. Publishes all that was written before. */
static inline void
mesh_ring_push(struct mesh_ring *ring, uint32_t *at, struct mesh_entry entry)
{
	uint32_t word = mesh_ring_lap(*at) | entry.tag << MESH_RING_TAG_SHIFT | entry.block;

	/* pairs with: mesh_ring_pop() */
	atomic_store_explicit(&ring->entries[*at % MESH_RING_ENTRIES], word, memory_order_release);
	(*at)++;
}

/* The consumer; @at is its position. False: empty. */
static inline bool
mesh_ring_pop(struct mesh_ring *ring, uint32_t *at, struct mesh_entry *entry)
{
	/* pairs with: mesh_ring_push() */
	uint32_t word =
		atomic_load_explicit(&ring->entries[*at % MESH_RING_ENTRIES], memory_order_acquire);

	if ((word ^ mesh_ring_lap(*at)) >> MESH_RING_LAP_SHIFT != 0) {
		return false;
	}
	(*at)++;
	entry->block = word & MESH_RING_BLOCK;
	entry->tag = word >> MESH_RING_TAG_SHIFT & 0xff;
	return true;
}

#endif
