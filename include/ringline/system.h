/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The system: the whole runtime of a process.
 *
 *	struct rl_config config = RL_CONFIG(.shards = 2);
 *	struct rl_system *sys;
 *	int rc = rl_system_start(&config, &sys);
 *
 *	if (rc == 0) {
 *		rc = rl_listener_open(sys, "tcp://127.0.0.1:7878", &echo, NULL, NULL);
 *	}
 *	if (rc == 0) {
 *		rc = rl_system_run(sys);
 *	}
 *	rl_system_stop(sys);
 *
 * fork() is not supported after rl_system_start(): the child has the rings but not the threads.
 */
#ifndef RINGLINE_SYSTEM_H
#define RINGLINE_SYSTEM_H

#include <ringline/actor.h>
#include <ringline/config.h>
#include <ringline/stats.h>
#include <ringline/types.h>

RL_BEGIN_DECLS

/**
 * Return the version of the library that the program runs with, "0.1.0" for instance.
 *
 * Context:   any thread, before start too.
 * Ownership: the string is static.
 * Cost:      one load.
 * Returns:   the version.
 */
RL_EXPORT const char *rl_version(void);

/**
 * Check the configuration, start every shard, and return when all of them turn.
 *
 * Blocks SIGINT and SIGTERM in the calling thread, so that rl_system_run() can wait for them;
 * rl_system_stop() restores the mask. Call it before the program starts threads of its own, or
 * block the two in those. Any failure undoes all of it and logs one line with the cause and the
 * remedy. Raises the soft RLIMIT_NOFILE of the process to its hard limit, for good.
 *
 * @param config  Made by RL_CONFIG(); borrowed. NULL means all defaults.
 * @param sys     Where the system goes; NULL there when it fails.
 *
 * Context:   before start; the main thread.
 * Ownership: copies @p config; gives *sys, to be handed to rl_system_stop().
 * Cost:      threads, rings and buffers: some milliseconds.
 * Returns:   0
 *            -EINVAL   a field is out of range
 *            -ENOSYS, -EPERM  io_uring is not there, or forbidden
 *            -ENOMEM   memory, or RLIMIT_MEMLOCK
 *            -EMFILE   RLIMIT_NOFILE is too low for conns_max
 *            -ENODEV   fewer allowed CPUs than shards
 *            -EAGAIN   no thread to be had (RLIMIT_NPROC)
 */
RL_EXPORT RL_MUST_CHECK int rl_system_start(const struct rl_config *config, struct rl_system **sys);

/**
 * Wait for SIGINT, SIGTERM or rl_system_drain(), then drain.
 *
 * Drain: listeners close, every actor gets RL_MSG_SHUTDOWN, and whoever has not ended at
 * drain_timeout_ns is cut. A second signal cuts at once.
 *
 * @param sys  The system.
 *
 * Context:   the thread that called rl_system_start().
 * Cost:      sleeps until there is something to do.
 * Returns:   0 when all actors have ended
 */
RL_EXPORT int rl_system_run(struct rl_system *sys);

/**
 * Begin to drain; a second call cuts what is left.
 *
 * @param sys  The system.
 *
 * Context:   any thread, and a signal handler (async-signal-safe).
 * Cost:      one write(2) per shard.
 * Returns:   nothing.
 */
RL_EXPORT void rl_system_drain(struct rl_system *sys);

/**
 * Stop: drain at once if that was not done, join the threads, free everything.
 *
 * No other thread may be inside an rl_system_ or rl_listener_ call, nor enter one afterwards. A
 * lookup of a host name that the system's resolver has not ended yet is not waited for: its thread
 * ends with it, so the library must not be unloaded before.
 *
 * @param sys  The system; NULL does nothing.
 *
 * Context:   the thread that called rl_system_start().
 * Ownership: takes @p sys.
 * Cost:      up to the drain's deadline.
 * Returns:   nothing.
 */
RL_EXPORT void rl_system_stop(struct rl_system *sys);

/**
 * Send a message to an actor from a thread that is not a shard's.
 *
 * Taken means queued to the actor's shard. It is delivered at most once; when the actor has ended
 * by then, or its mailbox is full, that is counted (rl_stats.undelivered).
 *
 * @param sys   The system.
 * @param to    The actor.
 * @param kind  RL_MSG_USER or above.
 * @param data  The payload; NULL when len is 0.
 * @param len   Its length, up to RL_MSG_INLINE_MAX bytes.
 *
 * Context:   any thread.
 * Ownership: copies @p data.
 * Cost:      one lock-free enqueue; one write(2) if the shard sleeps.
 * Returns:   0
 *            -EINVAL    kind is below RL_MSG_USER
 *            -EMSGSIZE  len is above RL_MSG_INLINE_MAX
 *            -ENOENT    @p to can't be an actor of this system
 *            -EAGAIN    the shard's inbox is full; no notice follows
 *            -ESHUTDOWN the system is stopping
 */
RL_EXPORT RL_MUST_CHECK int rl_system_send(struct rl_system *sys, rl_actor_id to, uint32_t kind,
					   const void *data, size_t len);

/**
 * Notify a shard from a thread that is not a shard's: its on_notify gets the message.
 *
 * @param sys    The system.
 * @param shard  Which shard, 0 to shards - 1.
 * @param kind   RL_MSG_USER or above.
 * @param data   The payload; NULL when len is 0.
 * @param len    Its length, up to RL_MSG_INLINE_MAX bytes.
 *
 * Context:   any thread.
 * Ownership: copies @p data.
 * Cost:      as rl_system_send().
 * Returns:   0
 *            -EINVAL    no such shard, or kind is below RL_MSG_USER
 *            -EMSGSIZE  len is above RL_MSG_INLINE_MAX
 *            -EAGAIN    the shard's inbox is full; no notice follows
 *            -ESHUTDOWN the system is stopping
 */
RL_EXPORT RL_MUST_CHECK int rl_system_notify(struct rl_system *sys, uint32_t shard, uint32_t kind,
					     const void *data, size_t len);

/**
 * Spawn an actor on a shard, from a thread that is not a shard's.
 *
 * @param sys    The system.
 * @param shard  Where, 0 to shards - 1.
 * @param def    What it is; must outlive the system.
 * @param arg    Comes in its RL_MSG_START.
 * @param id     Where its id goes; NULL if not wanted.
 *
 * Context:   any thread but a shard's; blocks until the shard answered.
 * Cost:      a wake-up of the shard and of the caller.
 * Returns:   0
 *            -EINVAL    no such shard, or state_size is above RL_ACTOR_STATE_MAX
 *            -ENOBUFS   actors_max is reached
 *            -ENOMEM    no memory for its state
 *            -ESHUTDOWN the system drains
 */
RL_EXPORT RL_MUST_CHECK int rl_system_spawn(struct rl_system *sys, uint32_t shard,
					    const struct rl_actor_def *def, void *arg,
					    rl_actor_id *id);

/**
 * Change the key of TLS session tickets now, for all listeners; they do so by themselves, too
 * (tls_ticket_rotation_ns).
 *
 * Tickets of the key before are still resumed, and replaced. After a second call nothing is
 * resumed that was given out before the first: so call it twice when somebody may have read this
 * process's memory.
 *
 * @param sys  The system.
 *
 * Context:   any thread.
 * Cost:      80 random bytes, under a lock that handshakes take to copy a key.
 * Returns:   0
 *            -EIO  no random numbers; the keys stay
 */
RL_EXPORT RL_MUST_CHECK int rl_system_rotate_tickets(struct rl_system *sys);

/**
 * Return how many shards the system has.
 *
 * @param sys  The system.
 *
 * Context:   any thread.
 * Cost:      one load.
 * Returns:   at least 1.
 */
RL_EXPORT uint32_t rl_system_shards(const struct rl_system *sys);

/**
 * Read the counters.
 *
 * @param sys    The system.
 * @param shard  Which shard, or -1 for the sum over all.
 * @param stats  Where they go.
 *
 * Context:   any thread.
 * Cost:      a relaxed load per counter and shard.
 * Returns:   0
 *            -EINVAL  no such shard
 */
RL_EXPORT int rl_system_stats(const struct rl_system *sys, int shard, struct rl_stats *stats);

RL_END_DECLS

#endif
