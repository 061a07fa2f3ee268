/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The invariants that can be seen from outside of a shard, checked around every turn.
 */
#ifndef RINGLINE_SIM_CHECK_H
#define RINGLINE_SIM_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/stats.h>

struct rl_shard;
struct rl_system;

void sim_check_reset(void);

void sim_check_turn_begin(const struct rl_shard *shard);
void sim_check_turn_end(struct rl_shard *shard);

/* In the middle of its turn, which has begun to poll and found nothing yet. */
bool sim_check_is_polling(const struct rl_shard *shard);

/* INV-7: then each look ends the polling if something has come. */
void sim_check_poll(const struct rl_shard *shard);
/* What the listeners of the run limit, on each shard; 0: they don't. */
struct sim_check_limits {
	uint32_t listeners;
	uint32_t rate; /* each one's, a second */
	uint32_t burst;
	uint32_t per_peer; /* of all that know addresses */
};

void sim_check_limits_reset(void);
void sim_check_limits_set(const struct sim_check_limits *set);
void sim_check_limits_turn_end(const struct rl_shard *shard);

/* Asleep with something to do. */
void sim_check_sleeper(const struct rl_shard *shard);

/* Another shard has marked it. */
bool sim_check_is_marked(const struct rl_shard *shard);

/* Nothing is left on a shard that has ended. */
void sim_check_silent(const struct rl_shard *shard);

/* No listener has outlived the actor that had it. */
void sim_check_clerk(const struct rl_system *system);

/* INV-12: the counters of a system that has stopped. */
void sim_check_balance(const struct rl_stats *stats);

/* Print what keeps the shards from being silent. */
void sim_check_explain(const struct rl_system *system, uint32_t shards);

#endif
