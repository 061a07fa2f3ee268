/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* One row of the table of messages, measured once: the part that both sides have in common. */
#include "messages/messages.h"

#include "common/program.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CPU_MAX = 1023,
	POPULATION_MAX = 10 * 1000 * 1000,
	SPIN_MAX_US = 1000
};

static void
usage(void)
{
	const struct messages_row *row;

	printf("Usage: %s ROW [options]\n"
	       "\n"
	       "Measures one row and prints a line of JSON: \"ns\" is nanoseconds per operation.\n"
	       "\n"
	       "Rows:\n",
	       program_invocation_short_name);
	for (row = messages_rows; row->name != NULL; row++) {
		printf("  %-12s %s\n", row->name, row->what);
	}
	printf("\n"
	       "Options:\n"
	       "  --seconds S      how long to measure (0.25)\n"
	       "  --warmup S       how long to run before that (0.05)\n"
	       "  --count N        N operations instead of that time, without warm-up\n"
	       "  --population N   timers outstanding, or actors alive (1000000)\n"
	       "  --spin-us N      how long a shard polls before it sleeps (as the row says)\n"
	       "  --cpu N          the CPU to work on, and to send from (0)\n"
	       "  --other-cpu N    the CPU to send to (1)\n"
	       "  --help           this text\n");
}

static const struct messages_row *
row_find(const char *name)
{
	const struct messages_row *row;

	for (row = messages_rows; row->name != NULL; row++) {
		if (strcmp(row->name, name) == 0) {
			return row;
		}
	}
	program_misuse("there is no row '%s'; --help lists them", name);
}

static void
option_set(struct messages_options *options, int option, const char *text)
{
	switch (option) {
	case 's':
		options->seconds = program_number("--seconds", text, 0.001);
		return;
	case 'w':
		options->warmup_seconds = program_number("--warmup", text, 0);
		return;
	case 'n':
		options->count = (uint64_t)program_integer("--count", text, 1, INT64_MAX);
		return;
	case 'p':
		options->population =
			(uint32_t)program_integer("--population", text, 1, POPULATION_MAX);
		return;
	case 'u':
		options->spin_us = (int)program_integer("--spin-us", text, 0, SPIN_MAX_US);
		return;
	case 'c':
		options->cpu = (int)program_integer("--cpu", text, 0, CPU_MAX);
		return;
	case 'o':
		options->other_cpu = (int)program_integer("--other-cpu", text, 0, CPU_MAX);
		return;
	case 'h':
		usage();
		exit(0);
	default:
		program_misuse("wrong usage; --help explains it");
	}
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "warmup", required_argument, NULL, 'w' },
		{ "count", required_argument, NULL, 'n' },
		{ "population", required_argument, NULL, 'p' },
		{ "spin-us", required_argument, NULL, 'u' },
		{ "cpu", required_argument, NULL, 'c' },
		{ "other-cpu", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct messages_options options = {
		.seconds = 0.25,
		.warmup_seconds = 0.05,
		.population = 1000 * 1000,
		.spin_us = -1,
		.other_cpu = 1,
	};
	const struct messages_row *row;
	struct meter_config config;
	struct meter meter;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		option_set(&options, option, optarg);
	}
	if (optind + 1 != argc) {
		program_misuse("one ROW is needed; --help lists them");
	}
	row = row_find(argv[optind]);
	config = (struct meter_config){
		.seconds = options.seconds,
		.warmup_seconds = options.warmup_seconds,
		.count = options.count,
		.stride = row->stride,
		.figure = row->figure,
	};
	meter_init(&meter, &config);
	row->run(&options, &meter);
	meter_print(&meter, row->name);
	meter_fini(&meter);
	return fflush(stdout) == 0 ? 0 : 1;
}
