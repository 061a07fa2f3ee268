/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Shards: one pinned thread, one ring, one set of pools, one scheduler each.
 *
 * A program may give every shard private state and hooks of its own, for what is not an actor's but
 * a core's: a cache, a table, statistics. Shards notify each other; nobody takes a lock.
 *
 *	static void
 *	stats_on_notify(struct rl_shard *shard, const struct rl_msg *msg)
 *	{
 *		struct stats *stats = rl_shard_state(shard);
 *
 *		stats->bytes += RL_MSG_AS(msg, struct hit)->bytes;
 *	}
 *
 *	static const struct rl_shard_def stats_shard = {
 *		.state_size = sizeof(struct stats), .on_notify = stats_on_notify,
 *	};
 *
 *	struct rl_config config = RL_CONFIG(.shard = &stats_shard);
 *
 * Hooks run on the shard's own thread, between actors; like them they must not block.
 */
#ifndef RINGLINE_SHARD_H
#define RINGLINE_SHARD_H

#include <ringline/actor.h>
#include <ringline/msg.h>
#include <ringline/types.h>

RL_BEGIN_DECLS

/** The largest rl_shard_def.state_size: 1 GiB. */
#define RL_SHARD_STATE_MAX ((size_t)1 << 30)

/** What every shard has beside its actors. Static data: it must outlive the system. */
struct rl_shard_def {
	/** Bytes of private state, zeroed before on_start; up to RL_SHARD_STATE_MAX. */
	size_t state_size;
	/**
	 * Called first, before any listener opens. A negative errno makes rl_system_start() fail
	 * with it; on_stop is then not called on this shard. When the start fails, here or on
	 * another shard, actors that were spawned meanwhile get RL_MSG_START and RL_MSG_STOP.
	 *
	 * @param shard  The shard.
	 * @param arg    rl_config.shard_arg.
	 */
	int (*on_start)(struct rl_shard *shard, void *arg);
	/** A notification arrived: a message of the program's own kind, borrowed until return. */
	void (*on_notify)(struct rl_shard *shard, const struct rl_msg *msg);
	/** Once per turn that did something, after the actors; a shard at rest has no turns. */
	void (*on_tick)(struct rl_shard *shard);
	/** Called last, when all actors of the shard have ended. */
	void (*on_stop)(struct rl_shard *shard);
};

/**
 * Return the number of @p shard, from 0.
 *
 * Context:   actor handler, shard hook.
 * Cost:      one load.
 * Returns:   0 to rl_shard_count() - 1.
 */
RL_EXPORT uint32_t rl_shard_id(const struct rl_shard *shard);

/**
 * Return how many shards the system of @p shard has.
 *
 * Context:   actor handler, shard hook.
 * Cost:      two loads.
 * Returns:   at least 1.
 */
RL_EXPORT uint32_t rl_shard_count(const struct rl_shard *shard);

/**
 * Return the shard's time in nanoseconds, CLOCK_MONOTONIC, read once per turn.
 *
 * It does not move while handlers run: all that happens in one turn has one time.
 *
 * Context:   actor handler, shard hook.
 * Cost:      one load.
 * Returns:   the time of this turn.
 */
RL_EXPORT uint64_t rl_shard_now_ns(const struct rl_shard *shard);

/**
 * Return the shard's private state.
 *
 * Context:   actor handler, shard hook.
 * Ownership: the memory is the shard's until its on_stop returned, and does not move.
 * Cost:      one load.
 * Returns:   state_size bytes, aligned to 64; NULL when state_size is 0.
 */
RL_EXPORT void *rl_shard_state(const struct rl_shard *shard);

/**
 * Notify a shard: its on_notify gets the message.
 *
 * Between two shards notifications arrive in the order in which they were taken, at most once each;
 * nothing orders them against messages to actors. All that one turn sends to a shard leaves
 * together. A shard that has no on_notify drops and counts them (rl_stats.undelivered.gone). To
 * itself a shard's notification comes in the next turn.
 *
 * @param shard  The shard whose handler or hook is running.
 * @param to     Which shard, 0 to rl_shard_count() - 1.
 * @param kind   RL_MSG_USER or above.
 * @param data   The payload; NULL when len is 0.
 * @param len    Its length, up to RL_MSG_INLINE_MAX bytes.
 *
 * Context:   actor handler, shard hook.
 * Ownership: copies @p data.
 * Cost:      one copy of 64 bytes, no allocation, no atomic; publishing costs once per turn.
 * Returns:   0
 *            -EINVAL    no such shard, or kind is below RL_MSG_USER
 *            -EMSGSIZE  len is above RL_MSG_INLINE_MAX
 *            -EAGAIN    no room to that shard; RL_MSG_ROOM follows when an actor's handler called
 *            -ENOBUFS   to itself: messages_max is reached; to another: no memory for the notice
 *            -ESHUTDOWN the system is stopping
 *            -EPERM     called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_shard_notify(struct rl_shard *shard, uint32_t to, uint32_t kind,
					    const void *data, size_t len);

/**
 * Spawn an actor on this shard.
 *
 * The same as rl_actor_spawn(), for hooks, which are no actors.
 *
 * @param shard  The shard whose handler or hook is running.
 * @param def    What it is; must outlive the system.
 * @param arg    Comes in its RL_MSG_START.
 * @param id     Where its id goes; NULL if not wanted.
 *
 * Context:   actor handler, shard hook.
 * Cost:      as rl_actor_spawn().
 * Returns:   0
 *            -EINVAL, -ENOBUFS, -ENOMEM, -ESHUTDOWN, -EPERM  as rl_actor_spawn()
 */
RL_EXPORT RL_MUST_CHECK int rl_shard_spawn(struct rl_shard *shard, const struct rl_actor_def *def,
					   void *arg, rl_actor_id *id);

/**
 * Send a message to an actor in the name of nobody.
 *
 * The same as rl_actor_send(), for hooks, which are no actors: the message's from is "no id", and
 * neither RL_MSG_ROOM nor a report of its loss follows.
 *
 * @param shard  The shard whose handler or hook is running.
 * @param to     The actor.
 * @param kind   RL_MSG_USER or above.
 * @param data   The payload; NULL when len is 0.
 * @param len    Its length, up to RL_MSG_INLINE_MAX bytes.
 *
 * Context:   actor handler, shard hook.
 * Ownership: copies @p data.
 * Cost:      as rl_actor_send().
 * Returns:   0
 *            -EINVAL, -EMSGSIZE, -ENOENT, -EAGAIN, -ENOBUFS, -ESHUTDOWN, -EPERM  as
 *            rl_actor_send()
 */
RL_EXPORT RL_MUST_CHECK int rl_shard_send(struct rl_shard *shard, rl_actor_id to, uint32_t kind,
					  const void *data, size_t len);

RL_END_DECLS

#endif
