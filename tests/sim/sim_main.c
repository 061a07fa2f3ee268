/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The simulator as a program: many seeds, or one replayed.
 *
 *	sim --seeds 2000 --from 1 --table
 *	sim --seed 77 --trace
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sim_child.h"
#include "sim_run.h"
#include "sim_world.h"

#define EVENTS_DEFAULT 1000

struct args {
	uint64_t from;
	uint64_t seeds;
	bool twice;
	bool table;
	bool all_faults;
	bool canary;
	bool mutants;
	const char *mutant; /* NULL: all */
	struct sim_run_options run;
	char extra[160]; /* what the line that replays a seed has to repeat */
};

static const char usage[] =
	"usage: sim [--seeds N] [--from S] [--events N] [--fault NAME=CHANCE]... [--table] "
	"[--twice]\n"
	"       sim --seed S [--trace] ...\n"
	"\n"
	"  --seeds N         run N seeds, one after the other (1)\n"
	"  --from S          the first of them (1)\n"
	"  --seed S          run this one\n"
	"  --events N        each does at least N events of chaos (1000)\n"
	"  --fault NAME=P    in every seed this fault has chance P, 0 to 1\n"
	"  --tls             TLS in every seed, not in some\n"
	"  --trace           print what happens\n"
	"  --twice           run each twice: both must go the same way\n"
	"  --table           print how often each fault fired\n"
	"  --all-faults      fail if one never did\n"
	"  --canary          fail if a planted bug is not found\n"
	"  --mutants         kill every mutant within --seeds seeds; needs the build with mutants\n"
	"  --mutant NAME     that one alone\n";

/* Async-signal-safe but for the numbers, which were formatted before the seed began. */
static void
on_crash(int number)
{
	static const char text[] = "sim: replay with: ";
	const char *line = sim_replay();

	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)!write(STDERR_FILENO, line, strlen(line));
	(void)!write(STDERR_FILENO, "\n", 1);
	signal(number, SIG_DFL);
	raise(number);
}

static void
catch_crashes(void)
{
	static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		signal(signals[i], on_crash);
	}
}

static bool
parse_number(const char *text, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 0);
	return errno == 0 && end != text && *end == '\0';
}

static bool
parse_fault(struct args *args, const char *text)
{
	const char *equals = strchr(text, '=');
	char name[64];
	char *end;
	double chance;
	int fault;

	if (equals == NULL || (size_t)(equals - text) >= sizeof(name) ||
	    args->run.overrides_count == SIM_OVERRIDES_MAX) {
		return false;
	}
	(void)snprintf(name, sizeof(name), "%.*s", (int)(equals - text), text);
	chance = strtod(equals + 1, &end);
	fault = sim_fault_by_name(name);
	if (fault < 0 || *end != '\0' || !(chance >= 0 && chance <= 1)) {
		return false;
	}
	args->run.overrides[args->run.overrides_count].fault = fault;
	args->run.overrides[args->run.overrides_count++].chance = (uint32_t)(chance * 65536);
	return true;
}

static void
remember(struct args *args, const char *option, const char *value)
{
	size_t used = strlen(args->extra);

	(void)snprintf(args->extra + used, sizeof(args->extra) - used, " %s %s", option, value);
}

/* Options that stand alone; false: it is none. */
static bool
parse_flag(struct args *args, const char *option)
{
	if (strcmp(option, "--trace") == 0) {
		sim_world.tracing = true;
	} else if (strcmp(option, "--twice") == 0) {
		args->twice = true;
	} else if (strcmp(option, "--table") == 0) {
		args->table = true;
	} else if (strcmp(option, "--all-faults") == 0) {
		args->all_faults = true;
	} else if (strcmp(option, "--canary") == 0) {
		args->canary = true;
	} else if (strcmp(option, "--mutants") == 0) {
		args->mutants = true;
	} else if (strcmp(option, "--tls") == 0) {
		remember(args, option, "");
		args->run.tls = true;
	} else {
		return false;
	}
	return true;
}

static bool
parse_value(struct args *args, const char *option, const char *value)
{
	if (strcmp(option, "--fault") == 0) {
		remember(args, option, value);
		return parse_fault(args, value);
	}
	if (strcmp(option, "--mutant") == 0) {
		args->mutants = true;
		args->mutant = value;
		return true;
	}
	if (strcmp(option, "--events") == 0) {
		remember(args, option, value);
		return parse_number(value, &args->run.events);
	}
	if (strcmp(option, "--seeds") == 0) {
		return parse_number(value, &args->seeds);
	}
	if (strcmp(option, "--from") == 0 || strcmp(option, "--seed") == 0) {
		return parse_number(value, &args->from);
	}
	return false;
}

static bool
parse(struct args *args, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (parse_flag(args, argv[i])) {
			continue;
		}
		if (i + 1 == argc || !parse_value(args, argv[i], argv[i + 1])) {
			return false;
		}
		i++;
	}
	return true;
}

static double
seconds_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
add(struct sim_run_result *sum, const struct sim_run_result *result)
{
	sum->hash = sim_mix(sum->hash ^ result->hash);
	sum->events += result->events;
	sum->turns += result->turns;
	sum->messages += result->messages;
	sum->links += result->links;
	sum->links_whole += result->links_whole;
}

static struct sim_run_result
run_seed(const struct args *args, uint64_t seed)
{
	struct sim_run_result result;
	char line[256];

	(void)snprintf(line, sizeof(line), "scripts/sim --seed %" PRIu64 "%s --trace", seed,
		       args->extra);
	sim_replay_set(line);
	result = sim_run(seed, &args->run);
	if (args->twice) {
		struct sim_run_result again = sim_run(seed, &args->run);

		sim_check(again.hash == result.hash && again.events == result.events,
			  "the same seed went another way: hash %016" PRIx64 ", then %016" PRIx64,
			  result.hash, again.hash);
	}
	return result;
}

/* A fault that never happens is a fault that nothing was tested against. */
static int
check_faults(void)
{
	int missing = 0;

	for (int i = 0; i < SIM_FAULTS; i++) {
		if (sim_fault_fired[i] == 0) {
			fprintf(stderr, "sim: the fault %s never fired\n",
				sim_fault_name((enum sim_fault)i));
			missing++;
		}
	}
	return missing;
}

int
main(int argc, char **argv)
{
	struct args args = { .from = 1, .seeds = 1, .run = { .events = EVENTS_DEFAULT } };
	struct sim_run_result sum = { 0 };
	double begin = seconds_now();
	double took;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (!parse(&args, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	if (args.mutants) {
		return sim_mutants(args.from, args.seeds, &args.run, args.mutant) ? 0 : 1;
	}
	if (args.canary && !sim_canary(args.from, &args.run)) {
		return 1;
	}
	catch_crashes();
	for (uint64_t i = 0; i < args.seeds; i++) {
		struct sim_run_result result = run_seed(&args, args.from + i);

		add(&sum, &result);
	}
	took = seconds_now() - begin;
	if (args.table) {
		sim_fault_table();
	}
	printf("sim: %" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " events, %" PRIu64
	       " turns, %" PRIu64 " messages, %" PRIu32 " links (%" PRIu32
	       " whole), %.1f s, %.1f seeds/s, hash %016" PRIx64 "\n",
	       args.seeds, args.from, sum.events, sum.turns, sum.messages, sum.links,
	       sum.links_whole, took, (double)args.seeds / (took > 0 ? took : 1), sum.hash);
	return args.all_faults && check_faults() > 0 ? 1 : 0;
}
