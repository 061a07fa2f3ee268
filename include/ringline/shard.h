/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Shards: one pinned thread, one ring, one set of pools, one scheduler each.
 */
#ifndef RINGLINE_SHARD_H
#define RINGLINE_SHARD_H

#include <ringline/types.h>

RL_BEGIN_DECLS

/**
 * Return the number of @p shard, from 0.
 *
 * Context:   actor handler.
 * Cost:      one load.
 * Returns:   0 to rl_shard_count() - 1.
 */
RL_EXPORT uint32_t rl_shard_id(const struct rl_shard *shard);

/**
 * Return how many shards the system of @p shard has.
 *
 * Context:   actor handler.
 * Cost:      two loads.
 * Returns:   at least 1.
 */
RL_EXPORT uint32_t rl_shard_count(const struct rl_shard *shard);

/**
 * Return the shard's time in nanoseconds, CLOCK_MONOTONIC, read once per turn.
 *
 * It does not move while handlers run: all that happens in one turn has one time.
 *
 * Context:   actor handler.
 * Cost:      one load.
 * Returns:   the time of this turn.
 */
RL_EXPORT uint64_t rl_shard_now_ns(const struct rl_shard *shard);

RL_END_DECLS

#endif
