/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * histogram - how often each value was seen, with a relative error below 1.6 %, for latencies.
 *
 * Log-linear: every power of two is cut into 64 equal slots, and values below 64 are exact. A slot
 * stands for its middle. Any uint64_t has a slot, adding costs a count of leading zeros and four
 * additions, and nothing is ever allocated or dropped.
 *
 *	static struct histogram latency;        (all zero is an empty histogram; 30 KB)
 *	histogram_add(&latency, elapsed_ns);
 *	printf("p99 %.1f us\n", (double)histogram_quantile(&latency, 0.99) / 1e3);
 *
 * Not atomic: one histogram per thread, merged when the threads have ended.
 */
#ifndef RINGLINE_EXAMPLES_HISTOGRAM_H
#define RINGLINE_EXAMPLES_HISTOGRAM_H

#include <stdint.h>

/* 64 slots for the values below 64, and 64 more for each of the powers of two from 2^6 to 2^63. */
enum {
	HISTOGRAM_STEP_BITS = 6,
	HISTOGRAM_SLOTS = (64 - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS,
};

struct histogram {
	uint64_t count;
	uint64_t max; /* exact */
	uint64_t sum; /* exact, modulo 2^64 */
	uint64_t slots[HISTOGRAM_SLOTS];
};

static inline uint32_t
histogram_slot(uint64_t value)
{
	uint32_t power;
	uint32_t octave;

	if (value < 1u << HISTOGRAM_STEP_BITS) {
		return (uint32_t)value;
	}
	power = 63u - (uint32_t)__builtin_clzll(value);
	octave = power - HISTOGRAM_STEP_BITS;
	return ((octave + 1) << HISTOGRAM_STEP_BITS) +
	       ((uint32_t)(value >> octave) - (1u << HISTOGRAM_STEP_BITS));
}

/* Counts one value. */
static inline void
histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->slots[histogram_slot(value)]++;
	histogram->count++;
	histogram->sum += value;
	if (value > histogram->max) {
		histogram->max = value;
	}
}

/*
 * The value that @p quantile (0 to 1) of the values lie at or below, to the slot's precision and
 * never above the exact maximum; 0 for an empty histogram.
 */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

/* The exact mean; 0 for an empty histogram. */
double histogram_mean(const struct histogram *histogram);

/* Adds all that @p from has counted; @p from stays as it is. */
void histogram_merge(struct histogram *histogram, const struct histogram *from);

#endif
