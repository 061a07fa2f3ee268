/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The life of counted buffers. Invariant: a handle with no reference is in no mailbox and in no
 * block; it is the pool's, or a loan that waits to be used again.
 */
#include "actor/buf.h"

#include <errno.h>

#include "base/mutant.h"

int
rli_bufs_init(struct rl_shard *shard)
{
	struct actors *actors = shard->actors;
	int rc = rli_slab_init(&actors->bufs, sizeof(struct buf), shard->config->bufs_max);

	actors->buf_head = envelope_head(shard->id, ENVELOPE_BUF);
	if (rc == 0) {
		rc = rli_chunk_pool_init(&actors->buf_memory, shard->config->buf_pool_bytes);
	}
	return rc;
}

void
rli_bufs_fini(struct rl_shard *shard)
{
	struct actors *actors = shard->actors;

	if (actors->buf_memory.chunks_taken > 0) {
		rli_log(shard->log, RL_LOG_WARN, (int)shard->id,
			"%u counted buffers of this shard were never released",
			actors->buf_memory.chunks_taken);
	}
	rli_chunk_pool_fini(&actors->buf_memory);
	rli_slab_fini(&actors->bufs);
}

/* A handle of @shard, with no reference yet; NULL: no memory. */
static struct buf *
buf_make(struct rl_shard *shard)
{
	struct buf *buf = rli_slab_take(&shard->actors->bufs);

	if (buf != NULL) {
		*buf = (struct buf){ .shard = shard };
		list_node_init(&buf->home.node);
	}
	return buf;
}

int
rl_buf_take(struct rl_shard *shard, size_t len, struct rl_buf **out, void **data)
{
	struct actors *actors = shard->actors;
	struct buf *buf;

	*out = NULL;
	*data = NULL;
	if (shard != rli_shard_current) {
		return -EPERM;
	}
	if (len == 0) {
		return -EINVAL;
	}
	if (len > RL_BUF_MAX) {
		return -EMSGSIZE;
	}
	buf = buf_make(shard);
	if (buf == NULL) {
		return -ENOBUFS;
	}
	buf->chunk = rli_chunk_take(&actors->buf_memory, len);
	if (buf->chunk == NULL) {
		rli_slab_give(&actors->bufs, buf);
		return -ENOBUFS;
	}
	buf->refs = 1;
	buf->view = (struct rl_buf){ buf->chunk->data, len };
	counters_add(&shard->counters, shared_bufs_taken, 1);
	*out = &buf->view;
	*data = buf->chunk->data;
	return 0;
}

struct buf *
rli_buf_loan_make(struct buf *buf, uint32_t to)
{
	struct buf *loan = buf_make(buf->shard);

	if (loan != NULL) {
		loan->view = buf->view;
		loan->shard = buf->shard->peers[to];
		loan->lender = buf;
		loan->to = to;
		loan->next = buf->loans;
		buf->loans = loan;
	}
	return loan;
}

/* The handles of other shards are idle, and ours again. */
static void
buf_free_loans(struct buf *buf)
{
	struct buf *loan = buf->loans;

	buf->loans = NULL;
	while (loan != NULL) {
		struct buf *next = loan->next;

		rli_slab_give(&buf->shard->actors->bufs, loan);
		loan = next;
	}
}

/* From the moment when it left, the lender may free the loan: it is not touched any more. */
static void
buf_send_home(struct buf *loan)
{
	struct rl_shard *shard = loan->shard;
	uint32_t count = loan->received;

	loan->received = 0;
	if (rli_obligation_waits(&loan->home)) {
		loan->home.envelope.kind += RL_MUTANT(BUF_HOME_FORGOTTEN) ? 0 : count;
		return;
	}
	loan->home.last = false;
	loan->home.envelope = (struct envelope){
		.ref = (uintptr_t)loan->lender,
		.kind = count,
		.class = ENVELOPE_BUF_HOME,
		.shard = (int16_t)shard->id,
	};
	(void)rli_mesh_oblige(shard->port, loan->lender->shard->id, &loan->home); /* or it waits */
}

void
rli_buf_unused(struct buf *buf)
{
	struct actors *actors = buf->shard->actors;

	buf_free_loans(buf);
	if (buf->lender != NULL) {
		buf_send_home(buf);
		return;
	}
	counters_add(&buf->shard->counters, shared_bufs_freed, 1);
	rli_chunk_give(&actors->buf_memory, buf->chunk);
	rli_slab_give(&actors->bufs, buf);
}

bool
rli_letter_unshare(struct letter_pool *pool, struct mailbox *mailbox)
{
	struct letter *shared = mailbox->first;
	struct letter *own = shared;

	if (*letter_uses(shared) > 1) {
		own = rli_letter_take(pool);
		if (own == NULL) {
			return false;
		}
		*own = *shared;
		(void)rl_buf_ref(letter_buf(own));
		*letter_uses(shared) -= RL_MUTANT(SHARED_LETTER_KEPT) ? 0 : 1;
	}
	rli_mailbox_unshare(mailbox, own);
	return true;
}

void
rli_buf_came_home(struct rl_shard *shard, const struct envelope *envelope)
{
	RL_ASSERT(shard->actors->bufs_away >= envelope->kind);
	shard->actors->bufs_away -= envelope->kind;
	rli_buf_give((struct buf *)(uintptr_t)envelope->ref, envelope->kind);
}

struct rl_buf *
rl_buf_ref(struct rl_buf *view)
{
	struct buf *buf = rli_buf_of(view);

	RL_ASSERT(buf->shard == rli_shard_current);
	RL_ASSERT(buf->refs > 0 && buf->refs < UINT32_MAX);
	buf->refs++;
	return view;
}

void
rl_buf_release(struct rl_buf *view)
{
	if (view != NULL) {
		RL_ASSERT(rli_buf_of(view)->shard == rli_shard_current);
		rli_buf_give(rli_buf_of(view), 1);
	}
}
