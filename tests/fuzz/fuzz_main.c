/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Runs a target over its beginnings, then over mutations of them.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

static uint8_t input[FUZZ_BYTES_MAX];
static size_t input_len;
static uint64_t rng;

static uint64_t
draw(uint64_t below)
{
	rng = rng * 6364136223846793005 + 1442695040888963407;
	return (rng >> 33) % below;
}

static void
on_crash(int number)
{
	static const char digits[] = "0123456789abcdef";
	char hex[2 * FUZZ_BYTES_MAX + 1];

	for (size_t i = 0; i < input_len; i++) {
		hex[2 * i] = digits[input[i] >> 4];
		hex[2 * i + 1] = digits[input[i] & 15];
	}
	hex[2 * input_len] = '\n';
	(void)!write(STDERR_FILENO, "fuzz: replay with --hex ", 24);
	(void)!write(STDERR_FILENO, hex, 2 * input_len + 1);
	signal(number, SIG_DFL);
	raise(number);
}

static void
input_set(const char *hex)
{
	for (input_len = 0; input_len < sizeof(input) && hex[0] != '\0' && hex[1] != '\0';
	     hex += 2) {
		char digits[3] = { hex[0], hex[1], '\0' };

		input[input_len++] = (uint8_t)strtoul(digits, NULL, 16);
	}
}

static void
input_mutate(void)
{
	for (uint64_t left = 1 + draw(8); left > 0; left--) {
		size_t at = (size_t)draw(input_len + 1);

		switch (draw(4)) {
		case 0: /* insert */
			if (input_len < sizeof(input)) {
				memmove(input + at + 1, input + at, input_len - at);
				input[at] = (uint8_t)draw(256);
				input_len++;
			}
			break;
		case 1: /* remove */
			if (at < input_len) {
				memmove(input + at, input + at + 1, input_len - at - 1);
				input_len--;
			}
			break;
		case 2: /* flip */
			if (at < input_len) {
				input[at] ^= (uint8_t)(1u << draw(8));
			}
			break;
		default: /* replace */
			if (at < input_len) {
				input[at] = (uint8_t)draw(256);
			}
			break;
		}
	}
}

static uint64_t
beginnings(void)
{
	uint64_t count = 0;

	while (fuzz_beginnings[count] != NULL) {
		count++;
	}
	return count;
}

/* Until @runs are made or @seconds have passed. */
static void
fuzz(uint64_t runs, uint64_t seconds)
{
	uint64_t count = beginnings();
	time_t end = time(NULL) + (time_t)seconds;
	uint64_t i = 0;

	for (; i < runs && (seconds == 0 || time(NULL) < end); i++) {
		if (i < count || draw(8) == 0) {
			input_set(fuzz_beginnings[i < count ? i : draw(count)]);
		}
		if (i >= count) {
			input_mutate();
		}
		(void)LLVMFuzzerTestOneInput(input, input_len);
	}
	printf("fuzz: %" PRIu64 " runs\n", i);
}

int
main(int argc, char **argv)
{
	uint64_t runs = 1000;
	uint64_t seconds = 0;

	signal(SIGABRT, on_crash);
	signal(SIGSEGV, on_crash);
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--runs") == 0) {
			runs = strtoull(argv[i + 1], NULL, 0);
		} else if (strcmp(argv[i], "--seconds") == 0) {
			seconds = strtoull(argv[i + 1], NULL, 0);
			runs = UINT64_MAX;
		} else if (strcmp(argv[i], "--seed") == 0) {
			rng = strtoull(argv[i + 1], NULL, 0);
		} else if (strcmp(argv[i], "--hex") == 0) {
			input_set(argv[i + 1]);
			(void)LLVMFuzzerTestOneInput(input, input_len);
			return 0;
		}
	}
	fuzz(runs, seconds);
	return 0;
}
