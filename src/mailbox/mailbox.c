/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The pool of letters; a mailbox and the pool that it draws from belong to one shard. Invariant:
 * the stack of free ones has memory for every letter that there is.
 */
#include "mailbox/mailbox.h"

#include <errno.h>

#include "base/host.h"

/* A link reaches any letter of its pool; in debug builds each has a guard behind it. */
_Static_assert((INT64_C(1) << 24) * (sizeof(struct letter) + 16) <= INT32_MAX,
	       "messages_max is at most 2^24");

#define STACK_STEP_BYTES 65536 /* whole pages, whatever the page size */
#define STACK_STEP	 ((uint32_t)(STACK_STEP_BYTES / sizeof(struct letter *)))

int
rli_letter_pool_init(struct letter_pool *pool, uint32_t letters_max)
{
	uint32_t steps = letters_max / STACK_STEP + 1; /* the bottom takes one entry */
	void *bottom;

	*pool = (struct letter_pool){ .reserved_bytes = (size_t)steps * STACK_STEP_BYTES };
	bottom = rli_host_pages_reserve(pool->reserved_bytes);
	if (bottom == NULL) {
		return -ENOMEM;
	}
	pool->bottom = (struct letter **)bottom;
	pool->top = pool->bottom;
	if (rli_host_pages_commit(bottom, STACK_STEP_BYTES) != 0) {
		rli_letter_pool_fini(pool);
		return -ENOMEM;
	}
	pool->free_max = STACK_STEP - 1; /* fresh pages are zero, and so is the bottom */
	return rli_slab_init(&pool->slab, sizeof(struct letter), letters_max);
}

void
rli_letter_pool_fini(struct letter_pool *pool)
{
	if (pool->bottom != NULL) {
		rli_host_pages_release((void *)pool->bottom, pool->reserved_bytes);
		pool->bottom = NULL;
	}
	rli_slab_fini(&pool->slab);
}

struct letter *
rli_letter_grow(struct letter_pool *pool)
{
	if (pool->slab.taken == pool->free_max && pool->free_max < pool->slab.slots_max) {
		void *more = (void *)(pool->bottom + 1 + pool->free_max);

		if (rli_host_pages_commit(more, STACK_STEP_BYTES) != 0) {
			return NULL;
		}
		pool->free_max += STACK_STEP;
	}
	return rli_slab_take(&pool->slab);
}
