/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Timers of an actor: they arrive as RL_MSG_TIMER.
 *
 * The clock is CLOCK_MONOTONIC: it does not jump with the wall clock and stands still while the
 * machine is suspended. Delays count from rl_shard_now_ns(), the time of the turn. A timer is never
 * early against that; it is late by at most one tick (131 us) plus the turn that it falls into.
 * Timers of one deadline come in the order in which they were started. After a successful
 * rl_timer_cancel() no message of that timer comes, not even one that was already due. An actor's
 * timers end with it.
 */
#ifndef RINGLINE_TIMER_H
#define RINGLINE_TIMER_H

#include <ringline/types.h>

RL_BEGIN_DECLS

#define RL_MS(n)  ((int64_t)(n) * 1000000)
#define RL_SEC(n) ((int64_t)(n) * 1000000000)

/**
 * Start a timer that comes once.
 *
 * @param self      The actor whose handler is running.
 * @param delay_ns  From rl_shard_now_ns(), in nanoseconds; 0 comes in the next turn, not in this.
 * @param tag       Comes back in the message; ringline does not look at it.
 * @param id        Where the timer's id goes; NULL if it will not be cancelled.
 *
 * Context:   actor handler.
 * Cost:      O(1), no allocation in the steady state.
 * Returns:   0
 *            -ENOBUFS  the shard's timers_max is reached
 *            -ESHUTDOWN  the actor's end was decided
 *            -EPERM   called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_timer_start(struct rl_actor *self, uint64_t delay_ns, uint64_t tag,
					   rl_timer_id *id);

/**
 * Start a timer that comes again and again, every @p period_ns.
 *
 * Periods are counted from the start, so they don't drift. A period that was missed because the
 * shard was busy is skipped: messages never pile up.
 *
 * @param self       The actor whose handler is running.
 * @param period_ns  Nanoseconds between messages, at least 1,000,000 (1 ms).
 * @param tag        Comes back in each message.
 * @param id         Where the timer's id goes; NULL if it will not be cancelled.
 *
 * Context:   actor handler.
 * Cost:      O(1), no allocation in the steady state.
 * Returns:   0
 *            -EINVAL  period_ns is below 1 ms
 *            -ENOBUFS  the shard's timers_max is reached
 *            -ESHUTDOWN  the actor's end was decided
 *            -EPERM   called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_timer_start_every(struct rl_actor *self, uint64_t period_ns,
						 uint64_t tag, rl_timer_id *id);

/**
 * Cancel a timer: no message of it comes after this.
 *
 * @param self  The actor whose handler is running; only its own timers can be cancelled.
 * @param id    The timer; one that has come, was cancelled or is another actor's is -ENOENT.
 *
 * Context:   actor handler.
 * Cost:      O(1).
 * Returns:   0
 *            -ENOENT  no such timer of this actor (any more)
 *            -EPERM   called on another thread than the shard's own
 */
RL_EXPORT int rl_timer_cancel(struct rl_actor *self, rl_timer_id id);

RL_END_DECLS

#endif
