/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The invariant: slots 0 .. slots_used - 1 lie wholly in committed memory. Commits go by bytes, not
 * by slots, so a slot may straddle two of them: it is given out only after both.
 */
#include "base/slab.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "base/host.h"

/* A multiple of every page size that Linux has (4, 16 and 64 KiB). */
#define SLAB_STEP_BYTES ((size_t)65536)
#define SLAB_ALIGN	16
#define SLAB_LARGE	4096 /* slots above this lie at multiples of it */

#ifdef NDEBUG

#define SLAB_GUARD_BYTES 0

#else

#define SLAB_GUARD_BYTES SLAB_ALIGN

static const uint64_t slab_guards[] = { 0x66726565736c6f74, 0x74616b656e736c74 };

static inline uint64_t *
slab_guard(const struct slab *slab, const void *slot)
{
	return (uint64_t *)(uintptr_t)((const uint8_t *)slot + slab->guard_at);
}

void
rli_slab_guard_set(const struct slab *slab, void *slot, bool taken)
{
	*slab_guard(slab, slot) = slab_guards[taken];
}

void
rli_slab_guard_check(const struct slab *slab, const void *slot, bool taken)
{
	RL_ASSERT(*slab_guard(slab, slot) == slab_guards[taken]);
}

#endif

static size_t
slab_round_up(size_t bytes, size_t step)
{
	return (bytes + step - 1) / step * step;
}

/* Make the next unused slot's memory usable. */
static int
slab_commit(struct slab *slab)
{
	size_t wanted = ((size_t)slab->slots_used + 1) * slab->slot_size;
	size_t step;
	int rc;

	if (wanted <= slab->committed_bytes) {
		return 0;
	}
	step = slab_round_up(wanted - slab->committed_bytes, SLAB_STEP_BYTES);
	rc = rli_host_pages_commit(slab->base + slab->committed_bytes, step);
	if (rc == 0) {
		slab->committed_bytes += step;
	}
	return rc;
}

int
rli_slab_init(struct slab *slab, size_t slot_size, uint32_t slots_max)
{
	size_t guard_at = slab_round_up(slot_size, SLAB_ALIGN);
	size_t stride = guard_at + SLAB_GUARD_BYTES;

	RL_ASSERT(slot_size >= sizeof(uint32_t));
	RL_ASSERT(stride <= UINT32_MAX);
	RL_ASSERT(slots_max > 0);

	if (stride > SLAB_LARGE) {
		/* a guard must not spoil the alignment, which the free list counts in */
		stride = slab_round_up(stride, SLAB_LARGE);
	}
	*slab = (struct slab){
		.slot_size = (uint32_t)stride,
		.guard_at = (uint32_t)guard_at,
		.slot_shift = (uint32_t)__builtin_ctz((unsigned int)stride),
		.slots_max = slots_max,
		.reserved_bytes = slab_round_up(stride * slots_max, SLAB_STEP_BYTES),
	};
	/* the free list counts from 1 in units of the alignment */
	RL_ASSERT(slab->reserved_bytes >> slab->slot_shift < UINT32_MAX);
	slab->base = rli_host_pages_reserve(slab->reserved_bytes);
	if (slab->base == NULL) {
		*slab = (struct slab){ 0 };
		return -ENOMEM;
	}
	return 0;
}

void
rli_slab_fini(struct slab *slab)
{
	if (slab->base != NULL) {
		rli_host_pages_release(slab->base, slab->reserved_bytes);
	}
	*slab = (struct slab){ 0 };
}

void *
rli_slab_grow(struct slab *slab)
{
	void *slot;

	if (slab->slots_used == slab->slots_max || slab_commit(slab) != 0) {
		return NULL;
	}
	slot = slab->base + (size_t)slab->slots_used * slab->slot_size;
	slab->slots_used++;
	rli_slab_guard_set(slab, slot, true);
	slab->taken++;
	return slot;
}

uint32_t
rli_slab_number(const struct slab *slab, const void *slot)
{
	size_t offset = (size_t)((const uint8_t *)slot - slab->base);
	size_t number = offset / slab->slot_size;

	RL_ASSERT((const uint8_t *)slot >= slab->base);
	RL_ASSERT(number < slab->slots_used);
	RL_ASSERT(offset % slab->slot_size == 0);
	return (uint32_t)number;
}

size_t
rli_slab_reserved_bytes(const struct slab *slab)
{
	return slab->reserved_bytes;
}
