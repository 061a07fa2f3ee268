/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sending counted buffers. A message with one is a message like any other, but that it carries a
 * reference: the sender's count goes up when it was taken, and whoever frees the letter lets go.
 */
#include "actor/buf_send.h"

#include <errno.h>

#include "actor/actor_send.h"
#include "actor/buf.h"
#include "base/mutant.h"
#include "mailbox/mesh.h"

/* One message to many, or to one. */
struct buf_sending {
	struct rl_actor *self;
	struct buf *buf;
	uint32_t kind;
	uint32_t loan_to; /* the last shard that one was looked up for */
	struct buf *loan; /* and its handle; NULL: none was yet */
	struct letter *shared; /* for all whose mailbox is empty; NULL: none was yet */
};

static void
buf_fill(const struct buf_sending *sending, struct letter *letter, uint32_t bits)
{
	letter_set_head(letter, sending->kind, 0, bits);
	letter->msg.from.private_bits = sending->self->id;
	letter_set_source(letter, &sending->self->shard->actors->here);
	letter_set_buf(letter, &sending->buf->view);
	sending->buf->refs++;
}

/* The letter that many get; the sending has it too, until it is over. False: there is none. */
static bool
buf_share(struct actors *actors, struct buf_sending *sending)
{
	struct letter *letter = rli_letter_take(&actors->letters);

	if (letter == NULL) {
		return false;
	}
	buf_fill(sending, letter, LETTER_BUF | LETTER_SHARED);
	*letter_uses(letter) = 1;
	sending->shared = letter;
	return true;
}

static bool
buf_append(struct rl_shard *shard, struct buf_sending *sending, uint64_t to)
{
	struct letter *letter = rli_send_here(shard, to);

	if (letter == NULL) {
		return false;
	}
	buf_fill(sending, letter, LETTER_BUF);
	return true;
}

/* Into the mailbox of @to, which lives here; false: rli_send_here_refused() knows why. */
__attribute__((always_inline)) static inline bool
buf_send_here(struct rl_shard *shard, struct actors *actors, struct buf_sending *sending,
	      uint64_t to)
{
	struct rl_actor *actor = rli_actor_resolve(shard, to);

	if (actor == NULL) {
		return false;
	}
	if (!rli_mailbox_takes_shared(&actor->mailbox)) {
		return buf_append(shard, sending, to);
	}
	if (sending->shared == NULL && !buf_share(actors, sending)) {
		return false;
	}
	rli_mailbox_put_shared(&actor->mailbox, sending->shared);
	rli_actor_ready_with_others(actors, actor);
	return true;
}

static int
buf_send_away(struct rl_shard *shard, struct buf_sending *sending, uint64_t to)
{
	uint32_t number = id_shard(to);
	uint32_t head = shard->actors->buf_head;
	struct envelope *envelope;

	if (number >= shard->count || id_generation(to) == 0) {
		return -ENOENT;
	}
	if (sending->loan == NULL || sending->loan_to != number) {
		sending->loan = rli_buf_loan(sending->buf, number);
		sending->loan_to = number;
	}
	if (sending->loan == NULL) {
		return -ENOBUFS;
	}
	envelope = rli_mesh_stage(shard->port, number);
	if (envelope == NULL) {
		return rli_send_away_refused(number);
	}
	if (sending->self->def->reports) {
		head |= ENVELOPE_F_REPORT << 8;
	}
	envelope_store_pair(&envelope->ref, (uintptr_t)sending->loan, to);
	envelope_store_pair(&envelope->from, sending->self->id, envelope_what(sending->kind, head));
	sending->buf->refs++;
	shard->actors->bufs_away++;
	return 0;
}

/* To all that live here, up to the first that does not, or does not take it. Returns how many. */
__attribute__((noinline)) static size_t
broadcast_here(struct rl_shard *shard, struct buf_sending *sending, const rl_actor_id *to,
	       size_t count)
{
	struct actors *actors = shard->actors;
	size_t i;

	for (i = 0; i < count; i++) {
		if (!buf_send_here(shard, actors, sending, to[i].private_bits)) {
			break;
		}
	}
	counters_add(&shard->counters, msgs_sent, i);
	return i;
}

static int
broadcast_check(const struct rl_actor *self, const struct buf *buf, uint32_t kind)
{
	if (self->shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	RL_ASSERT(buf->shard == self->shard);
	RL_ASSERT(buf->refs > 0);
	if (kind < RL_MSG_USER) {
		return -EINVAL;
	}
	return self->shard->actors->cut ? -ESHUTDOWN : 0;
}

int
rl_actor_broadcast(struct rl_actor *self, const rl_actor_id *to, size_t count, uint32_t kind,
		   struct rl_buf *buf, size_t *taken)
{
	struct rl_shard *shard = self->shard;
	struct buf_sending sending = { .self = self, .buf = rli_buf_of(buf), .kind = kind };
	int rc = broadcast_check(self, sending.buf, kind);
	size_t done = 0;

	RL_ASSERT(rc != 0 || count < UINT32_MAX - sending.buf->refs);
	while (rc == 0 && done < count) {
		done += broadcast_here(shard, &sending, to + done, count - done);
		if (done == count) {
			break;
		}
		if (id_shard(to[done].private_bits) == shard->id) {
			rc = rli_send_here_refused(shard, to[done].private_bits);
		} else {
			rc = buf_send_away(shard, &sending, to[done].private_bits);
			done += rc == 0;
		}
	}
	if (sending.shared != NULL) {
		rli_letter_drop_shared(&shard->actors->letters, sending.shared);
	}
	*taken = done;
	return rc;
}

int
rl_actor_send_buf(struct rl_actor *self, rl_actor_id to, uint32_t kind, struct rl_buf *buf)
{
	size_t taken;
	int rc = rl_actor_broadcast(self, &to, 1, kind, buf, &taken);

	if (rc == 0) {
		rli_buf_give(rli_buf_of(buf), 1); /* the message has one of its own */
	}
	return rc;
}

int
rli_buf_arrived(struct rl_shard *shard, const struct envelope *envelope)
{
	struct buf *buf = (struct buf *)(uintptr_t)envelope->ref;
	struct letter *letter = NULL;
	int rc = -ESHUTDOWN;

	buf->refs++;
	buf->received++;
	if (!shard->actors->cut) {
		letter = rli_send_here(shard, envelope->to);
		rc = letter != NULL ? 0 : rli_send_here_refused(shard, envelope->to);
	}
	if (letter != NULL) {
		letter_fill(letter, envelope, 0, LETTER_BUF);
		letter_set_buf(letter, &buf->view);
		return 0;
	}
	if (!RL_MUTANT(BUF_OF_UNDELIVERED_KEPT)) {
		rli_buf_give(buf, 1);
	}
	return rli_actor_undelivered(shard, rc == -ENOBUFS ? -EAGAIN : rc);
}
