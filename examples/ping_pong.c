/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * ping_pong - what it costs to get from one core to another one and back.
 *
 *	ping_pong --rounds 200000                         one ball: latency
 *	ping_pong --rounds 200000 --spin-us 50            the same, and nobody sleeps in between
 *	strace -c -f ping_pong --load --rounds 20000000   many balls: throughput
 *
 * What to learn: code that belongs to a core and to no actor is a hook of the shard (on_notify),
 * shards notify each other without locks, and what a turn sends to a shard leaves together. A
 * single ball finds the other shard asleep each time, so each hop is a wake-up. With --load 128
 * balls of each shard are under way: they travel together, a busy shard needs no waking, and the
 * calls that strace counts are far fewer than the messages.
 *
 * Prints the result in one line, with --stats the counters in another one. Exit code: 0 done or
 * interrupted, 1 failed, 2 wrong usage.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <ringline/ringline.h>

#include "support/histogram.h"
#include "support/options.h"
#include "support/stats_json.h"
#include "support/wakeup.h"

enum {
	PING_BALL = RL_MSG_USER,
	PING_BALLS = 128, /* of each shard; two of them fit between two shards in any case */
};

struct ping {
	struct rl_system *sys;
	uint64_t rounds;
	uint32_t balls; /* that a shard serves */
	uint64_t began_ns;
	/* Shard 0's alone while the system runs. */
	struct histogram latency;
	uint64_t ended_ns;
	int rc;
};

static struct ping ping;

static void
ping_over(int rc)
{
	ping.rc = ping.rc != 0 ? ping.rc : rc;
	ping.ended_ns = wakeup_now_ns();
	rl_system_drain(ping.sys);
}

static void
ping_hit(struct rl_shard *shard, uint64_t served_ns)
{
	uint32_t to = 1 - rl_shard_id(shard);
	int rc = rl_shard_notify(shard, to, PING_BALL, &served_ns, sizeof(served_ns));

	if (rc != 0 && rc != -ESHUTDOWN) {
		ping_over(rc); /* -EAGAIN can't be: so many fit */
	}
}

/* Each ball carries when it was served; shard 0 measures those that come back to it. */
static void
ping_on_notify(struct rl_shard *shard, const struct rl_msg *msg)
{
	uint64_t now_ns = wakeup_now_ns();
	uint32_t i;

	if (msg->user.shard == RL_SHARD_NONE) { /* from main() */
		for (i = 0; i < ping.balls; i++) {
			ping_hit(shard, now_ns);
		}
	} else if (rl_shard_id(shard) == 1) {
		ping_hit(shard, *RL_MSG_AS(msg, uint64_t));
	} else if (ping.latency.count < ping.rounds) { /* what comes later is not counted */
		histogram_add(&ping.latency, now_ns - *RL_MSG_AS(msg, uint64_t));
		if (ping.latency.count < ping.rounds) {
			ping_hit(shard, now_ns);
		} else {
			ping_over(0);
		}
	}
}

static const struct rl_shard_def ping_shard = { .on_notify = ping_on_notify };

static void
ping_print(void)
{
	const struct histogram *latency = &ping.latency;
	double seconds = (double)(ping.ended_ns - ping.began_ns) / 1e9;

	if (latency->count < ping.rounds) {
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

static void
ping_apply_rounds(void *arg, const char *flag, const char *text)
{
	(void)arg;
	ping.rounds = (uint64_t)options_integer(flag, text, 1, INT64_MAX);
}

static void
ping_apply_load(void *arg, const char *flag, const char *text)
{
	(void)arg;
	(void)flag;
	(void)text;
	ping.balls = PING_BALLS;
}

static void
ping_apply_spin(void *arg, const char *flag, const char *text)
{
	struct options *options = arg;

	options->config.spin_us = (uint32_t)options_integer(flag, text, 1, 1000);
}

static const struct options_flag ping_flags[] = {
	{ "rounds", "N", "how many round trips (100000)", ping_apply_rounds },
	{ "load", NULL, "many balls at once, not one", ping_apply_load },
	{ "spin-us", "US", "poll so long before sleeping, 1 to 1000 (not at all)",
	  ping_apply_spin },
	{ NULL, NULL, NULL, NULL },
};

int
main(int argc, char **argv)
{
	struct options options = { .config = RL_CONFIG(.shards = 2, .shard = &ping_shard,
						       .conns_max = 1) };
	const struct options_spec spec = {
		.summary = "Play a ball between two shards.",
		.role = OPTIONS_ALONE,
		.flags = ping_flags,
		.arg = &options,
	};
	int rc;

	ping.rounds = 100000;
	ping.balls = 1;
	options_parse(&options, &spec, argc, argv);
	if (options.config.shards != 2) {
		options_misuse("--shards: '%u' is not 2", options.config.shards);
	}
	rc = rl_system_start(&options.config, &ping.sys);
	if (rc == 0) {
		ping.began_ns = wakeup_now_ns();
		rc = rl_system_notify(ping.sys, 0, PING_BALL, NULL, 0);
	}
	if (rc == 0 && ping.balls > 1) {
		rc = rl_system_notify(ping.sys, 1, PING_BALL, NULL, 0);
	}
	if (rc == 0) {
		rc = rl_system_run(ping.sys); /* until ping_over(), or a signal */
		rc = rc == 0 ? ping.rc : rc;
	}
	if (rc == 0) {
		ping_print();
		if (options.stats) {
			stats_json_print(stdout, ping.sys);
		}
		rc = options_flush();
	}
	rl_system_stop(ping.sys);
	return rc == 0 ? 0 : 1;
}
