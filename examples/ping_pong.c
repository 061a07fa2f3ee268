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

#include <ringline/ringline.h>

#include "ping_pong/ping.h"
#include "support/stats_json.h"
#include "support/wakeup.h"

enum {
	PING_BALL = RL_MSG_USER,
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

/* The first balls, from this thread: each shard that serves is told once. */
static int
ping_serve(void)
{
	int rc = rl_system_notify(ping.sys, 0, PING_BALL, NULL, 0);

	if (rc == 0 && ping.balls > 1) {
		rc = rl_system_notify(ping.sys, 1, PING_BALL, NULL, 0);
	}
	return rc;
}

int
main(int argc, char **argv)
{
	struct options options = { .config = RL_CONFIG(.shards = 2, .shard = &ping_shard,
						       .conns_max = 1) };
	int rc;

	ping_parse(&ping, &options, argc, argv);
	rc = rl_system_start(&options.config, &ping.sys);
	if (rc == 0) {
		ping.began_ns = wakeup_now_ns();
		rc = ping_serve();
	}
	if (rc == 0) {
		rc = rl_system_run(ping.sys); /* until ping_over(), or a signal */
		rc = rc == 0 ? ping.rc : rc;
	}
	if (rc == 0) {
		ping_print(&ping);
		if (options.stats) {
			stats_json_print(stdout, ping.sys);
		}
		rc = options_flush();
	}
	rl_system_stop(ping.sys);
	return rc == 0 ? 0 : 1;
}
