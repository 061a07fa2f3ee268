/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sending. An envelope is built where it is to lie: in the receiver's mailbox, or in the block that
 * leaves for its shard with the turn's flush.
 */
#include "actor/actor_send.h"

#include <errno.h>

#include <ringline/actor.h>
#include <ringline/shard.h>

#include "actor/actor_mesh.h"
#include "actor/buf.h"
#include "base/mutant.h"
#include "mailbox/mesh.h"

int
rli_actor_undelivered(struct rl_shard *shard, int error)
{
	if (error == -ENOENT) {
		counters_add(&shard->counters, undelivered.gone, 1);
	} else if (error == -ESHUTDOWN) {
		counters_add(&shard->counters, undelivered.stopping, 1);
	} else {
		counters_add(&shard->counters, undelivered.full,
			     RL_MUTANT(MAILBOX_FULL_SILENT) ? 0 : 1);
	}
	return error;
}

int
rli_send_here_refused(const struct rl_shard *shard, uint64_t to)
{
	const struct rl_actor *actor = rli_actor_resolve(shard, to);

	if (shard->actors->cut) {
		return -ESHUTDOWN;
	}
	if (actor == NULL || actor->life == ACTOR_ENDING) {
		return -ENOENT;
	}
	return rli_actor_waiting(actor) >= actor->mailbox.limit ? -EAGAIN : -ENOBUFS;
}

struct letter *
rli_send_here_after_all(struct actors *actors, struct rl_actor *actor)
{
	struct mailbox *mailbox = &actor->mailbox;
	struct letter *letter;

	if (mailbox->count < mailbox->limit || rli_actor_waiting(actor) >= mailbox->limit) {
		return NULL; /* no letter, or no room */
	}
	if (mailbox->count == MAILBOX_SHARED_ONE &&
	    !rli_letter_unshare(&actors->letters, mailbox)) {
		return NULL;
	}
	letter = rli_letter_take(&actors->letters);
	if (letter != NULL) {
		rli_mailbox_link(mailbox, letter);
	}
	return letter; /* it is ready already, or runs */
}

int
rli_send_away_refused(uint32_t to)
{
	return rli_actor_running == NULL ? -EAGAIN : rli_room_want(rli_actor_running, to);
}

static int
send_refused(const struct rl_shard *shard, uint32_t kind, size_t len)
{
	if (shard != rli_shard_current) {
		return -EPERM;
	}
	if (kind < RL_MSG_USER) {
		return -EINVAL;
	}
	return len > RL_MSG_INLINE_MAX ? -EMSGSIZE : -ESHUTDOWN;
}

static inline bool
send_is_allowed(const struct rl_shard *shard, uint32_t kind, size_t len)
{
	return shard == rli_shard_current && kind >= RL_MSG_USER && len <= RL_MSG_INLINE_MAX;
}

/* In a mailbox; what leaves for other shards is counted when it is published. */
__attribute__((always_inline)) static inline void
send_fill(const struct actors *actors, struct letter *letter, const struct rl_actor *from,
	  uint32_t kind, const void *data, size_t len)
{
	letter_set_head(letter, kind, (uint32_t)len, 0);
	letter->msg.from.private_bits = from == NULL ? 0 : from->id;
	letter_set_source(letter, &actors->here);
	letter_copy_payload(letter->msg.user.data, data, len);
}

/* For whom it is, in a block that leaves for another shard. */
static inline void
send_address(struct envelope *envelope, uint64_t to)
{
	envelope_store_pair(&envelope->ref, 0, to); /* no reply is wanted */
}

/* The rest; counted when it is published. Every store counts: see envelope_copy_payload(). */
__attribute__((always_inline)) static inline void
send_fill_away(const struct rl_shard *shard, struct envelope *envelope, const struct rl_actor *from,
	       uint32_t kind, const void *data, size_t len)
{
	uint32_t head = shard->actors->message_head | (uint32_t)len;

	if (from != NULL && from->def->reports) {
		head |= ENVELOPE_F_REPORT << 8;
	}
	envelope_store_pair(&envelope->from, from == NULL ? 0 : from->id,
			    envelope_what(kind, head));
	envelope_copy_payload(envelope->payload, data, len);
}

/* When no block is being filled, or something is wrong; in the order of the answers. */
__attribute__((noinline)) static int
send_away_slowly(struct rl_shard *shard, const struct rl_actor *from, uint64_t to, uint32_t kind,
		 const void *data, size_t len)
{
	struct envelope *envelope;

	if (!send_is_allowed(shard, kind, len) || shard->actors->cut) {
		return send_refused(shard, kind, len);
	}
	RL_ASSERT(from == NULL || from->running);
	if (id_shard(to) >= shard->count || id_generation(to) == 0) {
		return -ENOENT;
	}
	envelope = rli_mesh_stage(shard->port, id_shard(to));
	if (envelope == NULL) {
		return from == NULL ? -EAGAIN : rli_send_away_refused(id_shard(to));
	}
	send_address(envelope, to);
	send_fill_away(shard, envelope, from, kind, data, len);
	return 0;
}

/*
 * To an actor of another shard. @from is NULL in a hook. The common case, a block for that shard is
 * being filled, is written out: no call leaves it, so it needs no stack.
 */
static int
send_away(struct rl_shard *shard, const struct rl_actor *from, uint64_t to, uint32_t kind,
	  const void *data, size_t len)
{
	uint32_t number = id_shard(to);
	struct envelope *envelope;

	if (!send_is_allowed(shard, kind, len) || shard->actors->cut || number >= shard->count ||
	    id_generation(to) == 0 || !rli_mesh_at_hand(shard->port, number)) {
		return send_away_slowly(shard, from, to, kind, data, len);
	}
	RL_ASSERT(from == NULL || from->running);
	rli_mesh_mix(shard->port, number);
	envelope = rli_mesh_next(shard->port, number);
	send_address(envelope, to);
	send_fill_away(shard, envelope, from, kind, data, len);
	return 0;
}

/* Whatever is not the common case here; every check is made again, in the order of the answers. */
__attribute__((noinline)) static int
send_slowly(struct rl_shard *shard, const struct rl_actor *from, uint64_t to, uint32_t kind,
	    const void *data, size_t len)
{
	struct letter *letter;

	if (id_shard(to) != shard->id) {
		return send_away(shard, from, to, kind, data, len);
	}
	if (!send_is_allowed(shard, kind, len)) {
		return send_refused(shard, kind, len);
	}
	RL_ASSERT(from == NULL || from->running);
	letter = rli_send_here(shard, to);
	if (letter == NULL) {
		return rli_send_here_refused(shard, to);
	}
	send_fill(shard->actors, letter, from, kind, data, len);
	counters_add(&shard->counters, msgs_sent, 1);
	return 0;
}

/* With the arguments of rl_actor_send(), so that it can jump here with none of them moved. */
__attribute__((noinline)) static int
send_slowly_from(struct rl_actor *self, rl_actor_id to, uint32_t kind, const void *data, size_t len)
{
	return send_slowly(self->shard, self, to.private_bits, kind, data, len);
}

/*
 * To one whose mailbox is empty: it becomes ready. Whose is not is ready already, or runs and is
 * looked at again (rli_actor_has_work()). Apart from rl_actor_send(), which without this needs no
 * stack.
 */
__attribute__((noinline)) static int
send_first(const struct rl_actor *self, struct rl_actor *actor, struct letter *letter)
{
	actor->mailbox.first = letter;
	actor->mailbox.last = letter;
	actor->mailbox.count = 1;
	rli_actor_ready_on(self->shard->actors, actor);
	return 0;
}

/*
 * The common case, to an actor of the same shard, is written out: no call leaves it, so it needs no
 * stack. Whatever is in its way is send_slowly()'s, other threads and shards too: neither is
 * anybody whose handler runs here, or who has such an id.
 */
int
rl_actor_send(struct rl_actor *self, rl_actor_id to, uint32_t kind, const void *data, size_t len)
{
	struct actors *actors = self->shard->actors;
	struct letter *letter;
	struct rl_actor *actor;

	if (self != rli_actor_running || kind < RL_MSG_USER || len > RL_MSG_INLINE_MAX) {
		return send_slowly_from(self, to, kind, data, len);
	}
	/* NULL also if it lives elsewhere */
	actor = rli_actor_resolve(self->shard, to.private_bits);
	if (actor == NULL || actor->mailbox.count >= actor->mailbox.limit) {
		return send_slowly_from(self, to, kind, data, len);
	}
	letter = rli_letter_look(&actors->letters);
	if (letter == NULL) {
		return send_slowly_from(self, to, kind, data, len);
	}
	rli_letter_take_free(&actors->letters);
	send_fill(actors, letter, self, kind, data, len);
	counters_add(&self->shard->counters, msgs_sent, 1);
	if (actor->mailbox.count == 0) {
		return send_first(self, actor, letter);
	}
	letter_set_next(actor->mailbox.last, letter);
	actor->mailbox.last = letter;
	actor->mailbox.count++;
	return 0;
}

int
rl_shard_send(struct rl_shard *shard, rl_actor_id to, uint32_t kind, const void *data, size_t len)
{
	return send_slowly(shard, NULL, to.private_bits, kind, data, len);
}

/* In a block that leaves for another shard; see send_fill_away(). */
__attribute__((always_inline)) static inline void
notify_fill(const struct actors *actors, struct envelope *envelope, uint32_t kind, const void *data,
	    size_t len)
{
	envelope->what = envelope_what(kind, actors->notify_head | (uint32_t)len);
	envelope_copy_payload(envelope->payload, data, len);
}

/* Whatever is not the common case; the order of the checks is that of the answers. */
__attribute__((noinline)) static int
notify_slowly(struct rl_shard *shard, uint32_t to, uint32_t kind, const void *data, size_t len)
{
	struct actors *actors = shard->actors;
	struct envelope *envelope;
	struct letter *letter;

	if (!send_is_allowed(shard, kind, len) || actors->cut) {
		return send_refused(shard, kind, len);
	}
	if (to >= shard->count) {
		return -EINVAL;
	}
	if (to == shard->id) {
		letter = rli_mailbox_append(&actors->notifies, &actors->letters);
		if (letter == NULL) {
			return -ENOBUFS;
		}
		send_fill(actors, letter, NULL, kind, data, len);
		counters_add(&shard->counters, msgs_sent, 1);
		return 0;
	}
	envelope = rli_mesh_stage_block(shard->port, to, MESH_RESERVED);
	if (envelope == NULL) {
		return rli_send_away_refused(to);
	}
	notify_fill(actors, envelope, kind, data, len);
	return 0;
}

/*
 * The common case, to another shard for which a block is being filled, is written out: no call
 * leaves it. Whatever is in its way is notify_slowly()'s.
 */
int
rl_shard_notify(struct rl_shard *shard, uint32_t to, uint32_t kind, const void *data, size_t len)
{
	if (!send_is_allowed(shard, kind, len) || shard->actors->cut || to >= shard->count ||
	    !rli_mesh_at_hand(shard->port, to)) {
		return notify_slowly(shard, to, kind, data, len);
	}
	notify_fill(shard->actors, rli_mesh_next(shard->port, to), kind, data, len);
	return 0;
}

int
rli_actor_post(struct rl_shard *shard, const struct envelope *envelope)
{
	struct letter *letter;

	if (shard->actors->cut) {
		return rli_actor_undelivered(shard, -ESHUTDOWN);
	}
	letter = rli_send_here(shard, envelope->to);
	if (letter == NULL) {
		int rc = rli_send_here_refused(shard, envelope->to);

		return rli_actor_undelivered(shard, rc == -ENOBUFS ? -EAGAIN : rc);
	}
	letter_fill(letter, envelope, envelope->ref, 0);
	return 0;
}

int
rli_shard_post(struct rl_shard *shard, const struct envelope *envelope)
{
	struct actors *actors = shard->actors;
	struct letter *letter = rli_mailbox_append(&actors->notifies, &actors->letters);

	if (letter == NULL) {
		return rli_actor_undelivered(shard, -EAGAIN);
	}
	letter_fill(letter, envelope, 0, 0);
	return 0;
}
