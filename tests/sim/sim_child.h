/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Runs that must fail, each in a process of its own: the canary, and the mutants.
 */
#ifndef RINGLINE_SIM_CHILD_H
#define RINGLINE_SIM_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "sim_run.h"

/* Seeds run one after the other until one fails; how that went. */
struct sim_child {
	bool failed;
	uint64_t seeds; /* up to and with the first that failed */
	char why[160]; /* the first line that it said */
};

/* @mutant: 0 is none. */
struct sim_child sim_child_run(uint64_t from, uint64_t seeds, const struct sim_run_options *options,
			       unsigned mutant);

/* The planted bug is found; false (with a word why) when it is not. */
bool sim_canary(uint64_t from, const struct sim_run_options *options);

/* Each mutant, or the one called @name, is killed within @seeds seeds; prints the table. */
bool sim_mutants(uint64_t from, uint64_t seeds, const struct sim_run_options *options,
		 const char *name);

#endif
