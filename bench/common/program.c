/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "common/program.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void
program_die(const char *what)
{
	int error = errno;

	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(error));
	exit(1);
}

void
program_misuse(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

long
program_integer(const char *flag, const char *text, long min, long max)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < min || value > max) {
		program_misuse("%s: '%s' is not a whole number from %ld to %ld", flag, text, min,
			       max);
	}
	return value;
}

double
program_number(const char *flag, const char *text, double min)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !isfinite(value) || value < min) {
		program_misuse("%s: '%s' is not a number of at least %g", flag, text, min);
	}
	return value;
}

void
program_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0) {
		return;
	}
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0) {
		program_die("pinning to --cpu");
	}
}

unsigned
program_raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
		program_die("getrlimit");
	}
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
		program_die("setrlimit");
	}
	return limit.rlim_max > UINT32_MAX ? UINT32_MAX : (unsigned)limit.rlim_max;
}

void *
program_alloc(size_t count, size_t size_bytes)
{
	void *memory = calloc(count, size_bytes);

	if (memory == NULL) {
		program_die("out of memory");
	}
	return memory;
}
