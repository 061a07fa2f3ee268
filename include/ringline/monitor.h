/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Monitors and links: learning that an actor ended, and ending with it.
 *
 * A monitor is one-way: the watcher gets RL_MSG_DOWN exactly once, with the reason, wherever the
 * other one lives; also when it had ended before (reason "gone"). Two monitors of one actor are two
 * messages. A link is two-way: when either end ends otherwise than normally (reasons local,
 * peer_fin and shutdown are normal), the other ends too, with reason "linked". Both are over when
 * the actor that made them ends.
 *
 * C can't contain a wild pointer: a memory fault ends the process, and nobody is told.
 */
#ifndef RINGLINE_MONITOR_H
#define RINGLINE_MONITOR_H

#include <ringline/types.h>

RL_BEGIN_DECLS

/**
 * Watch an actor. To watch oneself is of no use: RL_MSG_STOP is the last message.
 *
 * @param self    The actor whose handler is running.
 * @param target  Whom to watch; may have ended, may be on another shard.
 * @param id      Where the monitor's id goes; NULL if not wanted.
 *
 * Context:   actor handler.
 * Cost:      a record from the shard's pool, and one message each way if it is on another shard.
 * Returns:   0
 *            -ENOENT    @p target can't be an actor of this system
 *            -ENOBUFS   monitors_max is reached on this shard
 *            -ESHUTDOWN the actor's end was decided
 *            -EPERM     called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_actor_monitor(struct rl_actor *self, rl_actor_id target,
					     rl_monitor_id *id);

/**
 * Stop watching: no RL_MSG_DOWN of this monitor comes after this.
 *
 * @param self  The actor whose handler is running.
 * @param id    The monitor, one of its own.
 *
 * Context:   actor handler.
 * Cost:      O(1), and one message each way if the other is on another shard.
 * Returns:   0
 *            -ENOENT  it is over, or not this actor's
 *            -EPERM   called on another thread than the shard's own
 */
RL_EXPORT int rl_actor_demonitor(struct rl_actor *self, rl_monitor_id id);

/**
 * Share the fate of another actor.
 *
 * Linking to an actor that has ended ends the caller, with reason "linked".
 *
 * @param self    The actor whose handler is running.
 * @param target  The other one.
 *
 * Context:   actor handler.
 * Cost:      as rl_actor_monitor().
 * Returns:   0
 *            -EINVAL    @p target is self
 *            -ENOENT    @p target can't be an actor of this system
 *            -ENOBUFS   monitors_max is reached on this shard
 *            -ESHUTDOWN the actor's end was decided
 *            -EPERM     called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_actor_link(struct rl_actor *self, rl_actor_id target);

RL_END_DECLS

#endif
