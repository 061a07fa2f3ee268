/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The story of one seed: a world with faults, actors and peers in chaos; then everything is
 * healed and all that was not broken must come to a good end; then the system drains and nothing
 * is left.
 */
#ifndef RINGLINE_SIM_RUN_H
#define RINGLINE_SIM_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/ringline.h>

#include "sim_world.h"

#define SIM_OVERRIDES_MAX 16
#define RUN_STORM_SHARDS  7

struct sim_run_options {
	uint64_t events; /* at least so many */
	bool canary; /* with a planted bug, which must be found */
	bool tls; /* in each seed, not in some */
	uint32_t overrides_count;
	struct {
		int fault; /* enum sim_fault */
		uint32_t chance; /* in 65536 */
	} overrides[SIM_OVERRIDES_MAX];
};

struct sim_run_result {
	uint64_t hash;
	uint64_t events;
	uint64_t turns;
	uint64_t messages; /* talked */
	uint32_t links;
	uint32_t links_whole; /* complete, nothing broken */
};

/*
 * For sim_run.c (sim_run_config.c): the configuration that the seed draws; how many spans of send
 * memory it is to have, 0: as configured.
 */
uint32_t sim_run_config(struct rl_config *config, bool tls);

struct sim_run_result sim_run(uint64_t seed, const struct sim_run_options *options);

#endif
