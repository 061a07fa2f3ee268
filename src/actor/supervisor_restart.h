/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * When a supervisor restarts: the delay that grows, and the window in which restarts are counted.
 */
#ifndef RINGLINE_ACTOR_SUPERVISOR_RESTART_H
#define RINGLINE_ACTOR_SUPERVISOR_RESTART_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/supervisor.h>

/* min(@max_ns, @min_ns << @failures), without overflow. */
uint64_t rli_restart_delay(uint64_t min_ns, uint64_t max_ns, uint32_t failures);

/* From the half of @delay_ns to itself, both included, as @random chooses. */
uint64_t rli_restart_jitter(uint64_t delay_ns, uint64_t random);

/* The last restarts, oldest first from `first` on; zeroed, it is empty. */
struct restart_window {
	uint64_t at_ns[RL_RESTARTS_MAX];
	uint32_t first;
	uint32_t count;
};

/*
 * Count a restart at @now_ns. False: it is more than @restarts_max in the @window_ns that end now,
 * and is not counted.
 */
bool rli_restart_allowed(struct restart_window *window, uint64_t now_ns, uint64_t window_ns,
			 uint32_t restarts_max);

#endif
