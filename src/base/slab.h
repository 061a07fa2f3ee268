/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A slab: fixed-size, type-stable slots in reserved address space.
 *
 * Memory is committed in steps of at least 64 KiB as slots are first used and never moves, so a
 * slot is always memory of its type: a late completion may look at a freed slot, and finds a state
 * there. Free slots are reused last in, first out, because they are warm. Slots are zeroed at their
 * first use only.
 *
 * Slot numbers start at 0. A slab can tell whether a number was ever in use (rli_slab_at()), which
 * is what resolving a user's id starts with.
 */
#ifndef RINGLINE_BASE_SLAB_H
#define RINGLINE_BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"

struct slab {
	uint8_t *base;
	size_t reserved_bytes;
	size_t committed_bytes;
	uint32_t slot_size; /* from one slot to the next */
	uint32_t guard_at; /* in a slot; debug builds */
	uint32_t slot_shift; /* slots lie at multiples of 1 << slot_shift */
	uint32_t slots_max;
	uint32_t slots_used; /* slots that were ever given out: 0 .. slots_used - 1 */
	uint32_t taken; /* given out at the moment */
	uint32_t free_first; /* (offset >> slot_shift) + 1 of the free list's first, 0: none */
};

/*
 * @slot_size is rounded up to 16 bytes, which is also how a slot is aligned (a debug build puts a
 * guard word behind each slot, so don't count on more). The first 4 bytes of a *free* slot hold the
 * free list, all other bytes stay as the owner left them (so a generation counter must not be
 * first). 0, -ENOMEM.
 */
int rli_slab_init(struct slab *slab, size_t slot_size, uint32_t slots_max);

/* Every slot must have been given back, or the owner no longer cares. Zeroed memory is fine. */
void rli_slab_fini(struct slab *slab);

/* How rli_slab_take() goes on when no slot is free. */
void *rli_slab_grow(struct slab *slab);

#ifdef NDEBUG
#define rli_slab_guard_set(slab, slot, taken)	((void)0)
#define rli_slab_guard_check(slab, slot, taken) ((void)0)
#else
/*
 * Debug builds put a word behind each slot that says whether it is taken: it catches a slot that is
 * given back twice, and one whose owner wrote beyond its end.
 */
void rli_slab_guard_set(const struct slab *slab, void *slot, bool taken);
void rli_slab_guard_check(const struct slab *slab, const void *slot, bool taken);
#endif

/* A slot, or NULL when slots_max are taken or the host has no memory. */
static inline void *
rli_slab_take(struct slab *slab)
{
	uint8_t *slot;

	if (slab->free_first == 0) {
		return rli_slab_grow(slab);
	}
	slot = slab->base + ((size_t)(slab->free_first - 1) << slab->slot_shift);
	rli_slab_guard_check(slab, slot, false);
	/* the first 4 bytes of a free slot; memcpy, since they are part of another type */
	memcpy(&slab->free_first, slot, sizeof(slab->free_first));
	rli_slab_guard_set(slab, slot, true);
	slab->taken++;
	return slot;
}

/* Giving a slot back twice, or with bytes written behind its end, is caught in debug builds. */
static inline void
rli_slab_give(struct slab *slab, void *slot)
{
	size_t offset = (size_t)((uint8_t *)slot - slab->base);

	RL_ASSERT(slab->taken > 0);
	RL_ASSERT(offset < slab->committed_bytes);
	rli_slab_guard_check(slab, slot, true);
	rli_slab_guard_set(slab, slot, false);
	memcpy(slot, &slab->free_first, sizeof(slab->free_first));
	slab->free_first = (uint32_t)(offset >> slab->slot_shift) + 1;
	slab->taken--;
}

/* The slot with this number, or NULL if that was never in use. It may be free at the moment. */
static inline void *
rli_slab_at(const struct slab *slab, uint32_t number)
{
	if (number >= slab->slots_used) {
		return NULL;
	}
	return slab->base + (size_t)number * slab->slot_size;
}

/*
 * The same for a number below slots_used, with the size as it was given to rli_slab_init(), up to
 * 4096: the compiler knows what to multiply by.
 */
#ifdef NDEBUG
static inline void *
rli_slab_slot(const struct slab *slab, uint32_t number, size_t slot_size)
{
	return slab->base + (size_t)number * ((slot_size + 15) & ~(size_t)15);
}
#else
static inline void *
rli_slab_slot(const struct slab *slab, uint32_t number, size_t slot_size)
{
	RL_ASSERT(number < slab->slots_used);
	RL_ASSERT(((slot_size + 15) & ~(size_t)15) == slab->guard_at);
	return slab->base + (size_t)number * slab->slot_size; /* a guard word lies behind each */
}
#endif

uint32_t rli_slab_number(const struct slab *slab, const void *slot);

/* Address space of the slab in bytes, for the start line. */
size_t rli_slab_reserved_bytes(const struct slab *slab);

#endif
