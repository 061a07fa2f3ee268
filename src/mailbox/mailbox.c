/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Plain lists: a mailbox and the pool that it draws from belong to one shard.
 */
#include "mailbox/mailbox.h"

#include <errno.h>
#include <stddef.h>

#include "base/assert.h"

int
rli_envelope_pool_init(struct envelope_pool *pool, uint32_t envelopes_max)
{
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
	envelope = rli_slab_take(&pool->slab);
	if (envelope == NULL) {
		return -ENOBUFS;
	}
	*envelope = *from;
	envelope->next = NULL;
	if (mailbox->last != NULL) {
		mailbox->last->next = envelope;
	} else {
		mailbox->first = envelope;
	}
	mailbox->last = envelope;
	mailbox->count++;
	return 0;
}

struct envelope *
rli_mailbox_pop(struct mailbox *mailbox)
{
	struct envelope *envelope = mailbox->first;

	if (envelope == NULL) {
		RL_ASSERT(mailbox->count == 0);
		return NULL;
	}
	RL_ASSERT(mailbox->count > 0);
	mailbox->first = envelope->next;
	if (mailbox->first == NULL) {
		mailbox->last = NULL;
	}
	mailbox->count--;
	envelope->next = NULL;
	return envelope;
}

void
rli_mailbox_release(struct envelope_pool *pool, struct envelope *envelope)
{
	rli_slab_give(&pool->slab, envelope);
}

uint32_t
rli_mailbox_clear(struct mailbox *mailbox, struct envelope_pool *pool)
{
	uint32_t count = mailbox->count;
	struct envelope *envelope;

	while ((envelope = rli_mailbox_pop(mailbox)) != NULL) {
		rli_mailbox_release(pool, envelope);
	}
	return count;
}
