/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Requests: a message that is owed an answer, with a deadline.
 *
 *	rc = rl_actor_request(self, &(struct rl_request){ .to = cache, .kind = GET, .data = &key,
 *							  .len = sizeof(key),
 *							  .timeout_ns = RL_MS(50) }, &id);
 *
 * Exactly one of RL_MSG_REPLY and RL_MSG_REPLY_FAILED comes for each request that was taken, unless
 * the asking actor ends first. The receiver sees an ordinary message whose user.request names the
 * reply that it owes; it may answer later, from any handler of its own, and in any order. A reply
 * is not ordered against messages: it comes before those that wait in the mailbox, up to 16 in a
 * row. What comes after the deadline is dropped and counted (rl_stats.replies_late).
 */
#ifndef RINGLINE_REQUEST_H
#define RINGLINE_REQUEST_H

#include <ringline/types.h>

RL_BEGIN_DECLS

struct rl_request {
	/** Who is asked. */
	rl_actor_id to;
	/** RL_MSG_USER or above. */
	uint32_t kind;
	/** Bytes at data, up to RL_MSG_INLINE_MAX. */
	uint32_t len;
	/** The payload, copied; NULL when len is 0. */
	const void *data;
	/** How long to wait, in nanoseconds; more than 0. -1: as long as the other end lives. */
	int64_t timeout_ns;
};

/**
 * Ask an actor, wherever it lives.
 *
 * RL_MSG_REPLY_FAILED says with error why there is no answer: -ETIMEDOUT (the deadline passed; the
 * message may have been handled all the same), -ENOENT (the other end had ended, or ended without
 * an answer), -EAGAIN (its mailbox, or its shard's requests_max, was full), -ENOSYS (its handler
 * does not know the kind), -ESHUTDOWN, or what rl_actor_reply_failed() was given. A request is
 * never refused because the way to a shard is full: it waits for room, in order with the actor's
 * other messages to that shard.
 *
 * @param self     The actor whose handler is running.
 * @param request  What and whom; borrowed.
 * @param id       Where the request's id goes; NULL if not wanted.
 *
 * Context:   actor handler.
 * Ownership: copies the payload.
 * Cost:      a record from the shard's pool, a timer, and one message each way.
 * Returns:   0
 *            -EINVAL    kind is below RL_MSG_USER, or timeout_ns is 0 or below -1
 *            -EMSGSIZE  len is above RL_MSG_INLINE_MAX
 *            -ENOENT    @p to can't be an actor of this system
 *            -ENOBUFS   requests_max is reached on this shard
 *            -ESHUTDOWN the system is stopping, or the actor's end was decided
 *            -EPERM     called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_actor_request(struct rl_actor *self,
					     const struct rl_request *request, rl_request_id *id);

/**
 * Give up on a request: neither of its two messages comes after this.
 *
 * @param self  The actor whose handler is running.
 * @param id    The request, one of its own.
 *
 * Context:   actor handler.
 * Cost:      O(1).
 * Returns:   0
 *            -ENOENT  it is over, or not this actor's
 *            -EPERM   called on another thread than the shard's own
 */
RL_EXPORT int rl_actor_request_cancel(struct rl_actor *self, rl_request_id id);

/**
 * Answer a request: RL_MSG_REPLY at the other end.
 *
 * @param self  The actor whose handler is running, the one that received the request.
 * @param id    user.request of the message.
 * @param data  The payload; NULL when len is 0.
 * @param len   Its length, up to RL_MSG_INLINE_MAX bytes.
 *
 * Context:   actor handler.
 * Ownership: copies @p data.
 * Cost:      one message; allocates nothing, and is never refused for want of room.
 * Returns:   0; also when nobody waits for it any more
 *            -EMSGSIZE  len is above RL_MSG_INLINE_MAX; the reply is still owed
 *            -ENOENT    @p id is not owed by this actor (any more)
 *            -EPERM   called on another thread than the shard's own
 */
RL_EXPORT int rl_actor_reply(struct rl_actor *self, rl_request_id id, const void *data, size_t len);

/**
 * Answer a request with an error: RL_MSG_REPLY_FAILED at the other end.
 *
 * @param self   The actor whose handler is running, the one that received the request.
 * @param id     user.request of the message.
 * @param error  A negative errno.
 *
 * Context:   actor handler.
 * Cost:      as rl_actor_reply().
 * Returns:   0; also when nobody waits for it any more
 *            -EINVAL  error is not negative; the reply is still owed
 *            -ENOENT  @p id is not owed by this actor (any more)
 *            -EPERM   called on another thread than the shard's own
 */
RL_EXPORT int rl_actor_reply_failed(struct rl_actor *self, rl_request_id id, int error);

RL_END_DECLS

#endif
