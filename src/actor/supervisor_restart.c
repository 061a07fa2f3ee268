/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The arithmetic of restarts. Invariant: the window holds at most restarts_max times, in order.
 */
#include "actor/supervisor_restart.h"

#include "base/assert.h"
#include "base/mutant.h"

uint64_t
rli_restart_delay(uint64_t min_ns, uint64_t max_ns, uint32_t failures)
{
	if (min_ns >= max_ns) {
		return max_ns;
	}
	/* a shift that loses bits would have gone beyond the maximum before */
	if (failures >= 64 || min_ns > max_ns >> failures) {
		return min_ns == 0 ? 0 : max_ns;
	}
	return min_ns << failures;
}

uint64_t
rli_restart_jitter(uint64_t delay_ns, uint64_t random)
{
	uint64_t half = delay_ns - delay_ns / 2; /* rounded up: never below the half */

	return half + random % (delay_ns - half + 1);
}

bool
rli_restart_allowed(struct restart_window *window, uint64_t now_ns, uint64_t window_ns,
		    uint32_t restarts_max)
{
	RL_ASSERT(restarts_max <= RL_RESTARTS_MAX);
	while (window->count > 0 && now_ns - window->at_ns[window->first] >= window_ns &&
	       !RL_MUTANT(RESTARTS_KEPT)) {
		window->first = (window->first + 1) % RL_RESTARTS_MAX;
		window->count--;
	}
	if (window->count >= restarts_max) {
		return false;
	}
	window->at_ns[(window->first + window->count) % RL_RESTARTS_MAX] = now_ns;
	window->count++;
	return true;
}
