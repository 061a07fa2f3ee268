/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "stress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t
options_number(const char *name, const char *text)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value == 0) {
		(void)fprintf(stderr, "%s: '%s' is not a number above 0\n", name, text);
		exit(2);
	}
	return value;
}

void
stress_parse(struct stress_options *options, int argc, char **argv)
{
	options->messages = 2000000;
	options->seed = stress_now_ns();
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 < argc && strcmp(argv[i], "--messages") == 0) {
			options->messages = options_number(argv[i], argv[i + 1]);
		} else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
			options->seed = options_number(argv[i], argv[i + 1]);
		} else {
			(void)fprintf(stderr, "usage: %s [--messages N] [--seed N]\n", argv[0]);
			exit(2);
		}
	}
	(void)printf("seed %" PRIu64 "\n", options->seed);
	(void)fflush(stdout);
}

void
stress_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	exit(1);
}

uint64_t
stress_random(uint64_t *state)
{
	uint64_t number = *state += 0x9e3779b97f4a7c15;

	number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
	number = (number ^ number >> 27) * 0x94d049bb133111eb;
	return number ^ number >> 31;
}

uint64_t
stress_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* always there */
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct stress_element
stress_element_make(uint32_t source, uint64_t sequence)
{
	struct stress_element element = { .source = source, .sequence = sequence };
	uint64_t state = sequence << 8 | source;

	element.mixed[0] = stress_random(&state);
	element.mixed[1] = ~sequence;
	element.check = (uint32_t)(element.mixed[0] >> 7);
	return element;
}

void
stress_element_check(const void *data, uint32_t source, uint64_t sequence)
{
	struct stress_element expected = stress_element_make(source, sequence);
	struct stress_element element;

	memcpy(&element, data, sizeof(element));
	if (memcmp(&element, &expected, sizeof(element)) != 0) {
		stress_fail("expected message %" PRIu64 " of %u, got %" PRIu64
			    " of %u (check %x, %x for that)",
			    sequence, source, element.sequence, element.source, element.check,
			    stress_element_make(element.source, element.sequence).check);
	}
}
