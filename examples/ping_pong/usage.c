/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The flags of ping_pong, and its result.
 */
#include "ping_pong/ping.h"

#include <inttypes.h>
#include <stdio.h>

struct usage {
	struct ping *ping;
	struct options *options;
};

static void
usage_apply_rounds(void *arg, const char *flag, const char *text)
{
	struct usage *usage = arg;

	usage->ping->rounds = (uint64_t)options_integer(flag, text, 1, INT64_MAX);
}

static void
usage_apply_load(void *arg, const char *flag, const char *text)
{
	struct usage *usage = arg;

	(void)flag;
	(void)text;
	usage->ping->balls = PING_BALLS;
}

static void
usage_apply_spin(void *arg, const char *flag, const char *text)
{
	struct usage *usage = arg;

	usage->options->config.spin_us = (uint32_t)options_integer(flag, text, 1, 1000);
}

static const struct options_flag usage_flags[] = {
	{ "rounds", "N", "how many round trips (100000)", usage_apply_rounds },
	{ "load", NULL, "many balls at once, not one", usage_apply_load },
	{ "spin-us", "US", "poll so long before sleeping, 1 to 1000 (not at all)",
	  usage_apply_spin },
	{ NULL, NULL, NULL, NULL },
};

void
ping_parse(struct ping *ping, struct options *options, int argc, char **argv)
{
	struct usage usage = { ping, options };
	const struct options_spec spec = {
		.summary = "Play a ball between two shards.",
		.role = OPTIONS_ALONE,
		.flags = usage_flags,
		.arg = &usage,
	};

	ping->rounds = 100000;
	ping->balls = 1;
	options_parse(options, &spec, argc, argv);
	if (options->config.shards != 2) {
		options_misuse("--shards: '%u' is not 2", options->config.shards);
	}
}

void
ping_print(const struct ping *ping)
{
	const struct histogram *latency = &ping->latency;
	double seconds = (double)(ping->ended_ns - ping->began_ns) / 1e9;

	if (latency->count < ping->rounds) {
		(void)printf("interrupted after %" PRIu64 " round trips\n", latency->count);
		return;
	}
	(void)printf("%" PRIu64 " round trips in %.3f s: %.0f/s; us: mean %.2f, p50 %.2f, "
		     "p99 %.2f, p99.9 %.2f, max %.2f\n",
		     latency->count, seconds, (double)latency->count / seconds,
		     histogram_mean(latency) / 1e3, (double)histogram_quantile(latency, 0.5) / 1e3,
		     (double)histogram_quantile(latency, 0.99) / 1e3,
		     (double)histogram_quantile(latency, 0.999) / 1e3, (double)latency->max / 1e3);
}
