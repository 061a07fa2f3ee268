/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The pool of letters; a mailbox and the pool that it draws from belong to one shard.
 */
#include "mailbox/mailbox.h"

int
rli_letter_pool_init(struct letter_pool *pool, uint32_t letters_max)
{
	*pool = (struct letter_pool){ 0 };
	return rli_slab_init(&pool->slab, sizeof(struct letter), letters_max);
}

void
rli_letter_pool_fini(struct letter_pool *pool)
{
	rli_slab_fini(&pool->slab);
}

uint32_t
rli_letters_taken(const struct letter_pool *pool)
{
	uint32_t taken = pool->slab.taken;

	for (const struct letter *letter = pool->free; letter != NULL; letter = letter->next) {
		taken--;
	}
	return taken;
}
