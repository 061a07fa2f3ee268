/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Plain lists: a mailbox and the pool that it draws from belong to one shard.
 */
#include "mailbox/mailbox.h"

#include <errno.h>

int
rli_envelope_pool_init(struct envelope_pool *pool, uint32_t envelopes_max)
{
	*pool = (struct envelope_pool){ 0 };
	return rli_slab_init(&pool->slab, sizeof(struct envelope), envelopes_max);
}

void
rli_envelope_pool_fini(struct envelope_pool *pool)
{
	rli_slab_fini(&pool->slab);
}

int
rli_mailbox_push(struct mailbox *mailbox, struct envelope_pool *pool, uint32_t count_max,
		 const struct envelope *from)
{
	struct envelope *envelope;

	if (mailbox->count >= count_max) {
		return -EAGAIN;
	}
	envelope = rli_mailbox_append(mailbox, pool);
	if (envelope == NULL) {
		return -ENOBUFS;
	}
	*envelope = *from;
	envelope->next = NULL;
	return 0;
}
