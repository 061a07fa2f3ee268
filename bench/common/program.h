/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * program - what the small programs of the bench share: how they fail, read their flags, read the
 * clock and take a core for themselves. Nothing here runs on a hot path but program_now_ns.
 */
#ifndef RINGLINE_BENCH_PROGRAM_H
#define RINGLINE_BENCH_PROGRAM_H

#include <stdint.h>
#include <time.h>

/* What the world refused: one line on stderr with errno's text, exit 1. */
__attribute__((noreturn)) void program_die(const char *what);

/* What the caller got wrong: one line on stderr, exit 2. */
__attribute__((noreturn, format(printf, 1, 2))) void program_misuse(const char *format, ...);

/* A flag's value as a whole number from @p min to @p max; anything else is a misuse. */
long program_integer(const char *flag, const char *text, long min, long max);

/* A flag's value as a number of at least @p min; anything else is a misuse. */
double program_number(const char *flag, const char *text, double min);

/* Pins the calling thread; a negative @p cpu leaves it where it is. */
void program_pin(int cpu);

/* Raises the soft limit of open files to the hard one; returns it. */
unsigned program_raise_file_limit(void);

/* Memory that lives as long as the program; never NULL. */
void *program_alloc(size_t count, size_t size_bytes);

static inline uint64_t
program_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* CPU time of this process, all of its threads. */
static inline uint64_t
program_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
