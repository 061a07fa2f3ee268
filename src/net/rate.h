/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A token bucket, kept as the moment at which it will be full again: nothing has to be refilled,
 * and a clock that jumps by years overflows nothing. Zeroed memory is a full bucket.
 */
#ifndef RINGLINE_NET_RATE_H
#define RINGLINE_NET_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mutant.h"

#define RATE_MAX 1000000 /* per second, and at once */

struct rate {
	uint64_t full_ns;
};

/* Take a token of a bucket that holds @burst and gains @per_s a second; false: it is empty. */
static inline bool
rate_take(struct rate *rate, uint64_t now_ns, uint32_t per_s, uint32_t burst)
{
	/* rounded up: never more than was allowed */
	uint64_t interval_ns = (1000000000ull + per_s - 1) / per_s;

	if (rate->full_ns < now_ns && !RL_MUTANT(RATE_SAVED_UP)) {
		rate->full_ns = now_ns; /* full is full: what was not used is not saved up */
	}
	if (rate->full_ns > now_ns + (burst - 1) * interval_ns) {
		return false;
	}
	rate->full_ns += interval_ns;
	return true;
}

#endif
