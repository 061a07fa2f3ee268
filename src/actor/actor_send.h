/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sending: the same call wherever the receiver lives.
 */
#ifndef RINGLINE_ACTOR_ACTOR_SEND_H
#define RINGLINE_ACTOR_ACTOR_SEND_H

#include "actor/actor.h"

/*
 * A message that came from elsewhere, to whoever has the id. 0, or -ENOENT, -EAGAIN (full),
 * -ESHUTDOWN: not delivered, and counted.
 */
int rli_actor_post(struct rl_shard *shard, const struct envelope *envelope);

/*
 * A letter in a mailbox that seems to be full, or NULL: there is none, or it is full. It has room
 * behind a shared one, and while its actor runs for as many as that has handled.
 */
struct letter *rli_send_here_after_all(struct actors *actors, struct rl_actor *actor);

/* A letter at the end of the mailbox of @to, or NULL. */
static inline struct letter *
rli_send_here(const struct rl_shard *shard, uint64_t to)
{
	struct rl_actor *actor = rli_actor_resolve(shard, to);
	struct letter *letter;

	if (actor == NULL) {
		return NULL;
	}
	letter = rli_mailbox_append(&actor->mailbox, &shard->actors->letters);
	if (letter == NULL) {
		return rli_send_here_after_all(shard->actors, actor);
	}
	rli_actor_ready(actor);
	return letter;
}

/* Why it was NULL. */
int rli_send_here_refused(const struct rl_shard *shard, uint64_t to);

/* There was no room to shard @to: the running actor is told later. -EAGAIN, or -ENOBUFS. */
int rli_send_away_refused(uint32_t to);

/* Count a message that was not delivered, and return @error. */
int rli_actor_undelivered(struct rl_shard *shard, int error);

/* A notification for this shard itself, from itself or from a foreign thread. 0 or -ENOBUFS. */
int rli_shard_post(struct rl_shard *shard, const struct envelope *envelope);

#endif
