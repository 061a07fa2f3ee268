/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The pool of letters; a mailbox and the pool that it draws from belong to one shard. Invariant:
 * the stack of free ones has memory for every letter that there is.
 */
#include "mailbox/mailbox.h"

#include <errno.h>

#include "base/host.h"

#define STACK_STEP_BYTES 65536 /* whole pages, whatever the page size */
#define STACK_STEP	 ((uint32_t)(STACK_STEP_BYTES / sizeof(struct letter *)))

int
rli_letter_pool_init(struct letter_pool *pool, uint32_t letters_max)
{
	uint32_t steps = (letters_max + STACK_STEP - 1) / STACK_STEP;

	*pool = (struct letter_pool){ .reserved_bytes = (size_t)steps * STACK_STEP_BYTES };
	pool->free = (struct letter **)rli_host_pages_reserve(pool->reserved_bytes);
	if (pool->free == NULL) {
		return -ENOMEM;
	}
	return rli_slab_init(&pool->slab, sizeof(struct letter), letters_max);
}

void
rli_letter_pool_fini(struct letter_pool *pool)
{
	if (pool->free != NULL) {
		rli_host_pages_release((void *)pool->free, pool->reserved_bytes);
		pool->free = NULL;
	}
	rli_slab_fini(&pool->slab);
}

struct letter *
rli_letter_grow(struct letter_pool *pool)
{
	if (pool->slab.taken == pool->free_max && pool->free_max < pool->slab.slots_max) {
		void *more = (void *)(pool->free + pool->free_max);

		if (rli_host_pages_commit(more, STACK_STEP_BYTES) != 0) {
			return NULL;
		}
		pool->free_max += STACK_STEP;
	}
	return rli_slab_take(&pool->slab);
}
