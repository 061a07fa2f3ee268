/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "histogram.h"

/* The middle of a slot; the inverse of histogram_slot. */
static uint64_t
histogram_middle(uint32_t slot)
{
	uint32_t group = slot >> HISTOGRAM_STEP_BITS;
	uint64_t step = slot & ((1u << HISTOGRAM_STEP_BITS) - 1);

	if (group == 0) {
		return step;
	}
	return ((step + (1u << HISTOGRAM_STEP_BITS)) << (group - 1)) + ((1ull << (group - 1)) >> 1);
}

uint64_t
histogram_quantile(const struct histogram *histogram, double quantile)
{
	double wanted = quantile * (double)histogram->count;
	uint64_t rank = wanted > 0 ? (uint64_t)wanted : 0;
	uint64_t seen = 0;
	uint64_t middle;
	uint32_t slot;

	if (rank >= histogram->count) {
		return histogram->max;
	}
	for (slot = 0; slot < HISTOGRAM_SLOTS; slot++) {
		seen += histogram->slots[slot];
		if (seen > rank) {
			middle = histogram_middle(slot);
			return middle < histogram->max ? middle : histogram->max;
		}
	}
	return histogram->max;
}

double
histogram_mean(const struct histogram *histogram)
{
	return histogram->count != 0 ? (double)histogram->sum / (double)histogram->count : 0;
}

void
histogram_merge(struct histogram *histogram, const struct histogram *from)
{
	uint32_t slot;

	for (slot = 0; slot < HISTOGRAM_SLOTS; slot++) {
		histogram->slots[slot] += from->slots[slot];
	}
	histogram->count += from->count;
	histogram->sum += from->sum;
	if (from->max > histogram->max) {
		histogram->max = from->max;
	}
}
