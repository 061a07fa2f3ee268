/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proves what histogram.h promises: the error bound over the whole range, exact edges, quantiles
 * against a sorted list, and that a merge is as good as one histogram. `bench/run check` runs it.
 */
#include "common/program.h"
#include "support/histogram.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CHECK_VALUES = 20000
};

static const double check_error_max = 0.016;

static void
check_fail(const char *what, uint64_t value, uint64_t seen)
{
	fprintf(stderr, "check_histogram: %s: %" PRIu64 " became %" PRIu64 "\n", what, value, seen);
	exit(1);
}

static bool
check_is_near(uint64_t value, uint64_t seen)
{
	double distance = seen > value ? (double)(seen - value) : (double)(value - seen);

	return distance <= check_error_max * (double)value;
}

/* With a second, larger value the slot's middle shows, not the exact maximum. */
static void
check_value(uint64_t value)
{
	static struct histogram histogram;
	uint64_t seen;

	memset(&histogram, 0, sizeof(histogram));
	if (histogram_slot(value) >= HISTOGRAM_SLOTS) {
		check_fail("slot out of range", value, histogram_slot(value));
	}
	if (value != 0 && histogram_slot(value) < histogram_slot(value - 1)) {
		check_fail("slots out of order", value, histogram_slot(value));
	}
	histogram_add(&histogram, value);
	if (histogram_quantile(&histogram, 1) != value) {
		check_fail("maximum", value, histogram_quantile(&histogram, 1));
	}
	histogram_add(&histogram, UINT64_MAX);
	seen = histogram_quantile(&histogram, 0);
	if (!check_is_near(value, seen) || (value < 64 && seen != value)) {
		check_fail("precision", value, seen);
	}
}

static void
check_range(void)
{
	uint64_t value;
	int power;

	for (value = 0; value < 4096; value++) {
		check_value(value);
	}
	for (power = 12; power < 64; power++) {
		uint64_t start = 1ull << power;

		check_value(start - 1);
		check_value(start);
		check_value(start + 1);
		check_value(start + (start >> 1));
		check_value(start + (start >> 6) - 1);
		check_value(start + (start >> 6));
	}
	check_value(UINT64_MAX);
}

static int
check_compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static void
check_quantiles(void)
{
	static const double quantiles[] = { 0, 0.25, 0.5, 0.9, 0.99, 0.999, 1 };
	static struct histogram parts[2];
	static struct histogram whole;
	uint64_t *values = program_alloc(CHECK_VALUES, sizeof(*values));
	uint64_t random = 88172645463325252u;
	size_t i;

	for (i = 0; i < CHECK_VALUES; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		values[i] = random >> (random & 31u) >> 20;
		histogram_add(&whole, values[i]);
		histogram_add(&parts[i % 2], values[i]);
	}
	qsort(values, CHECK_VALUES, sizeof(*values), check_compare);
	for (i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
		size_t rank = (size_t)(quantiles[i] * CHECK_VALUES);
		uint64_t exact = values[rank < CHECK_VALUES ? rank : CHECK_VALUES - 1];

		if (!check_is_near(exact, histogram_quantile(&whole, quantiles[i]))) {
			check_fail("quantile", exact, histogram_quantile(&whole, quantiles[i]));
		}
	}
	histogram_merge(&parts[0], &parts[1]);
	if (memcmp(&parts[0], &whole, sizeof(whole)) != 0) {
		check_fail("merged count", whole.count, parts[0].count);
	}
	free(values);
}

static void
check_empty(void)
{
	static const struct histogram empty;

	if (histogram_quantile(&empty, 0.5) != 0 || histogram_mean(&empty) != 0) {
		check_fail("empty", 0, histogram_quantile(&empty, 0.5));
	}
}

int
main(void)
{
	check_empty();
	check_range();
	check_quantiles();
	puts("histogram: precise from 0 to 2^64-1");
	return 0;
}
