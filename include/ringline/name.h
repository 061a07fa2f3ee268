/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Names: finding an actor without having been told its id.
 *
 * A name has a home shard, by its hash, which decides who has it; every shard keeps a copy of all
 * names, which follows soon after. So finding is a look into the shard's own memory, and may for a
 * moment miss a new name or return an actor that has just ended.
 */
#ifndef RINGLINE_NAME_H
#define RINGLINE_NAME_H

#include <ringline/types.h>

RL_BEGIN_DECLS

/** The longest name, in bytes without the final zero. */
#define RL_ACTOR_NAME_MAX 31

/**
 * Give the running actor a name, in the whole system; completes by a reply.
 *
 * RL_MSG_REPLY (without payload): the actor has the name and this shard's copy knows.
 * RL_MSG_REPLY_FAILED: -EEXIST (it is taken, be it by this actor), -ENOBUFS (the name's home shard
 * knows of names_max names, or there is no memory for one more), -EAGAIN (the home shard's
 * requests_max is reached). An actor may have several names; they are free again when it ends.
 * Cancelling the request gives the name back. Names are looked up through a hash without a secret:
 * don't let peers choose thousands of them.
 *
 * @param self     The actor whose handler is running.
 * @param name     1 to RL_ACTOR_NAME_MAX bytes and a final zero.
 * @param request  Where the request's id goes, "no id" after an error; NULL if not wanted.
 *
 * Context:   actor handler.
 * Ownership: copies @p name.
 * Cost:      one request to the name's home shard, and one message to each shard.
 * Returns:   0
 *            -EINVAL    the name is empty or too long
 *            -ENOBUFS   actors of this shard have names_max names, or requests_max is reached
 *            -ESHUTDOWN the actor's end was decided
 *            -EPERM     called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_actor_register(struct rl_actor *self, const char *name,
					      rl_request_id *request);

/**
 * Give a name back before the end.
 *
 * It is free when its home shard knows; a registration by this actor, or by another one of its
 * shard, comes after that. A registration whose reply has not come yet is taken back with
 * rl_actor_request_cancel() instead.
 *
 * @param self  The actor whose handler is running.
 * @param name  A name that it was granted.
 *
 * Context:   actor handler.
 * Cost:      a look at what the actor has asked for, and one message to each shard.
 * Returns:   0
 *            -ENOENT  it does not have this name
 *            -EPERM   called on another thread than the shard's own
 */
RL_EXPORT int rl_actor_unregister(struct rl_actor *self, const char *name);

/**
 * Find the actor that has a name.
 *
 * @param self  The actor whose handler is running.
 * @param name  The name.
 * @param id    Where the id goes; "no id" after an error.
 *
 * Context:   actor handler.
 * Cost:      one look into a hash table of this shard.
 * Returns:   0
 *            -ENOENT  nobody has this name, as far as this shard knows
 *            -EPERM   called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_actor_find(struct rl_actor *self, const char *name, rl_actor_id *id);

RL_END_DECLS

#endif
