/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * stress - what the programs of this directory share: their options, chance, and how they fail.
 *
 *	stress_mesh --messages 100000000 --seed 7
 *
 * The seed that is printed repeats the chances, not the interleaving: that is the machine's.
 */
#ifndef RINGLINE_TESTS_STRESS_STRESS_H
#define RINGLINE_TESTS_STRESS_STRESS_H

#include <stdbool.h>
#include <stdint.h>

struct stress_options {
	uint64_t messages; /* per run, over all pairs */
	uint64_t seed;
};

/* How long anything may take that another core has to do; far more than any machine needs. */
#define STRESS_PATIENCE_MS 60000

/* What a program exits with where io_uring is denied. */
#define STRESS_SKIPPED 77

/* Ends the program with 2 on an option that is none. */
void stress_parse(struct stress_options *options, int argc, char **argv);

/* Says what is wrong and ends the program with 1: the state is of no use after that. */
__attribute__((noreturn, format(printf, 1, 2))) void stress_fail(const char *format, ...);

#define STRESS_CHECK(condition)                                                           \
	do {                                                                              \
		if (!(condition)) {                                                       \
			stress_fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition); \
		}                                                                         \
	} while (0)

/* splitmix64: any seed is a good one. */
uint64_t stress_random(uint64_t *state);

/* True once in @n times. */
static inline bool
stress_chance(uint64_t *state, uint32_t n)
{
	return stress_random(state) % n == 0;
}

uint64_t stress_now_ns(void);

/* What a message carries: any byte of another message, or of none, shows. */
struct stress_element {
	uint32_t source;
	uint32_t check;
	uint64_t sequence;
	uint64_t mixed[2];
};

struct stress_element stress_element_make(uint32_t source, uint64_t sequence);

/* Fails unless it is the given one. */
void stress_element_check(const void *data, uint32_t source, uint64_t sequence);

#endif
