/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The 64 bits of a public id: generation 32, shard 8, slot 24. Generations start at 1 and skip 0
 * when they wrap, so no id is all-zero.
 */
#ifndef RINGLINE_BASE_ID_H
#define RINGLINE_BASE_ID_H

#include <stdint.h>

#define ID_SLOT_BITS  24
#define ID_SLOT_MAX   ((1u << ID_SLOT_BITS) - 1)
#define ID_SHARDS_MAX 256

static inline uint64_t
id_pack(uint32_t generation, uint32_t shard, uint32_t slot)
{
	return (uint64_t)generation << 32 | (uint64_t)(shard & 0xff) << ID_SLOT_BITS |
	       (slot & ID_SLOT_MAX);
}

static inline uint32_t
id_generation(uint64_t id)
{
	return (uint32_t)(id >> 32);
}

static inline uint32_t
id_shard(uint64_t id)
{
	return (uint32_t)(id >> ID_SLOT_BITS) & 0xff;
}

static inline uint32_t
id_slot(uint64_t id)
{
	return (uint32_t)id & ID_SLOT_MAX;
}

static inline uint32_t
id_generation_next(uint32_t generation)
{
	return generation + 1 == 0 ? 1 : generation + 1;
}

#endif
