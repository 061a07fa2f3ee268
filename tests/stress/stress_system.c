/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: between the shards of a running system messages, requests and notifications arrive once
 * each, whole and in order, whoever parks or runs out of room meanwhile; the counters say the same.
 * How: a flooder on each shard sends bursts of random length to a sink and to the hook of another
 * shard, and goes on at once, in its next turn, at RL_MSG_ROOM, or after a pause by chance. Every
 * element is numbered. The main thread watches that it goes on: 20 s without are a lost wake-up.
 * Not proved: more shards than there are CPUs (stress_mesh has threads instead), connections.
 */
#include "stress.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ringline/ringline.h>

#define SHARDS_MAX   3
#define BURST_MAX    300
#define REQUESTS_MAX 50
#define NOTIFIES     16 /* added to a shard's number: the source of its notifications */

enum {
	KIND_ELEMENT = RL_MSG_USER,
	KIND_AGAIN, /* of a flooder to itself */
};

struct run {
	const char *name;
	uint32_t shards;
	uint32_t spin_us;
	uint32_t without;
	bool both_ways;
	bool lazy;
};

struct flood {
	const struct run *run;
	struct rl_system *sys;
	rl_actor_id sinks[SHARDS_MAX];
	uint64_t count; /* of each kind from each flooder to each other shard */
	uint64_t seed;
	_Atomic uint64_t received;
	_Atomic uint64_t notified;
	_Atomic uint64_t finished; /* flooders */
	_Atomic uint64_t refused;
};

static struct flood flood;

struct sink {
	uint64_t next[SHARDS_MAX];
};

struct lane {
	uint64_t sent;
	uint64_t notified;
	bool full; /* until RL_MSG_ROOM */
};

struct flooder {
	uint64_t random;
	uint32_t requests; /* without an answer */
	bool due; /* a message or a timer of its own is on its way */
	bool finished;
	struct lane lanes[SHARDS_MAX];
};

struct shard_state {
	uint64_t next[SHARDS_MAX];
};

static void
shard_on_notify(struct rl_shard *shard, const struct rl_msg *msg)
{
	struct shard_state *state = rl_shard_state(shard);
	uint32_t from = msg->user.shard;

	STRESS_CHECK(from < flood.run->shards && msg->kind == KIND_ELEMENT);
	STRESS_CHECK(msg->len == sizeof(struct stress_element));
	stress_element_check(msg->user.data, NOTIFIES + from, state->next[from]++);
	atomic_fetch_add_explicit(&flood.notified, 1, memory_order_relaxed);
}

static const struct rl_shard_def shard_def = {
	.state_size = sizeof(struct shard_state),
	.on_notify = shard_on_notify,
};

static int
sink_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct sink *sink = rl_actor_state(self);
	uint32_t from = msg->user.shard;

	if (msg->kind != KIND_ELEMENT) {
		return RL_ACTOR_UNHANDLED;
	}
	STRESS_CHECK(from < flood.run->shards);
	STRESS_CHECK(msg->len == sizeof(struct stress_element));
	stress_element_check(msg->user.data, from, sink->next[from]++);
	atomic_fetch_add_explicit(&flood.received, 1, memory_order_relaxed);
	if (!rl_request_id_is_none(msg->user.request)) {
		STRESS_CHECK(rl_actor_reply(self, msg->user.request, msg->user.data, msg->len) ==
			     0);
	}
	return 0;
}

static const struct rl_actor_def sink_def = {
	.name = "sink",
	.receive = sink_receive,
	.state_size = sizeof(struct sink),
};

static int
flooder_request(struct rl_actor *self, uint32_t to, const struct stress_element *element)
{
	struct flooder *flooder = rl_actor_state(self);
	struct rl_request request = {
		.to = flood.sinks[to],
		.kind = KIND_ELEMENT,
		.data = element,
		.len = sizeof(*element),
		.timeout_ns = -1,
	};

	STRESS_CHECK(rl_actor_request(self, &request, NULL) == 0);
	flooder->requests++;
	return 0;
}

/* One element; 0, or -EAGAIN. */
static int
flooder_send(struct rl_actor *self, uint32_t to)
{
	struct flooder *flooder = rl_actor_state(self);
	struct lane *lane = &flooder->lanes[to];
	struct rl_shard *shard = rl_actor_shard(self);
	struct stress_element element;
	int rc;

	if (lane->notified < lane->sent) {
		element = stress_element_make(NOTIFIES + rl_shard_id(shard), lane->notified);
		rc = rl_shard_notify(shard, to, KIND_ELEMENT, &element, sizeof(element));
		lane->notified += rc == 0;
		return rc;
	}
	element = stress_element_make(rl_shard_id(shard), lane->sent);
	if (flooder->requests < REQUESTS_MAX && stress_chance(&flooder->random, 16)) {
		rc = flooder_request(self, to, &element);
	} else {
		rc = rl_actor_send(self, flood.sinks[to], KIND_ELEMENT, &element, sizeof(element));
	}
	lane->sent += rc == 0;
	return rc;
}

/* True: it could go on at once. */
static bool
flooder_burst(struct rl_actor *self, uint32_t to)
{
	struct flooder *flooder = rl_actor_state(self);
	struct lane *lane = &flooder->lanes[to];
	uint64_t burst = 1 + stress_random(&flooder->random) % BURST_MAX;

	while (burst-- > 0 && !lane->full && lane->notified < flood.count) {
		int rc = lane->sent < flood.count || lane->notified < lane->sent
				 ? flooder_send(self, to)
				 : 0;

		STRESS_CHECK(rc == 0 || rc == -EAGAIN);
		if (rc == -EAGAIN) {
			lane->full = true;
			atomic_fetch_add_explicit(&flood.refused, 1, memory_order_relaxed);
		}
	}
	return !lane->full && lane->notified < flood.count;
}

/* Goes on in this turn, in the next one, or after a pause. */
static void
flooder_continue(struct rl_actor *self)
{
	struct flooder *flooder = rl_actor_state(self);
	uint64_t delay_ns = 0;

	flooder->due = true;
	if (stress_chance(&flooder->random, 2)) {
		STRESS_CHECK(rl_actor_send(self, rl_actor_self(self), KIND_AGAIN, NULL, 0) == 0);
		return;
	}
	if (flood.run->lazy && stress_chance(&flooder->random, 8)) {
		delay_ns = stress_random(&flooder->random) % 300000;
	}
	STRESS_CHECK(rl_timer_start(self, delay_ns, 0, NULL) == 0);
}

static void
flooder_work(struct rl_actor *self)
{
	struct flooder *flooder = rl_actor_state(self);
	uint32_t here = rl_shard_id(rl_actor_shard(self));
	bool all = flooder->requests == 0;
	bool more = false;

	for (uint32_t to = 0; to < flood.run->shards; to++) {
		if (to != here) {
			more = flooder_burst(self, to) || more;
			all = all && flooder->lanes[to].notified == flood.count;
		}
	}
	if (more && !flooder->due) {
		flooder_continue(self);
	}
	if (all && flooder->requests == 0 && !flooder->finished) {
		flooder->finished = true;
		atomic_fetch_add(&flood.finished, 1);
	}
}

static int
flooder_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct flooder *flooder = rl_actor_state(self);

	switch (msg->kind) {
	case RL_MSG_START:
		flooder->random = flood.seed + rl_shard_id(rl_actor_shard(self));
		break;
	case KIND_AGAIN:
	case RL_MSG_TIMER:
		STRESS_CHECK(flooder->due);
		flooder->due = false;
		break;
	case RL_MSG_ROOM:
		STRESS_CHECK(flooder->lanes[msg->room.shard].full);
		flooder->lanes[msg->room.shard].full = false;
		break;
	case RL_MSG_REPLY:
		STRESS_CHECK(msg->len == sizeof(struct stress_element));
		STRESS_CHECK(flooder->requests > 0);
		flooder->requests--;
		break;
	case RL_MSG_REPLY_FAILED:
		stress_fail("a request failed: %s", strerror(-msg->reply_failed.error));
	default:
		return RL_ACTOR_UNHANDLED;
	}
	flooder_work(self);
	return 0;
}

static const struct rl_actor_def flooder_def = {
	.name = "flooder",
	.receive = flooder_receive,
	.state_size = sizeof(struct flooder),
};

static uint64_t
flood_progress(void)
{
	return atomic_load(&flood.received) + atomic_load(&flood.notified) +
	       atomic_load(&flood.finished);
}

static void
flood_wait(uint64_t wanted)
{
	uint64_t moved_ns = stress_now_ns();
	uint64_t seen = 0;

	while (seen < wanted) {
		uint64_t now = flood_progress();

		if (now != seen) {
			seen = now;
			moved_ns = stress_now_ns();
		} else if (stress_now_ns() - moved_ns > STRESS_PATIENCE_MS * 1000000ull) {
			stress_fail("%s: it stands still after %" PRIu64 " of %" PRIu64
				    ": a lost wake-up, or a lost message",
				    flood.run->name, seen, wanted);
		}
		(void)poll(NULL, 0, 5);
	}
}

static void
flood_report(uint64_t messages, double seconds)
{
	struct rl_stats stats;

	STRESS_CHECK(rl_system_stats(flood.sys, -1, &stats) == 0);
	STRESS_CHECK(stats.undelivered.full + stats.undelivered.gone + stats.undelivered.stopping ==
		     0);
	STRESS_CHECK(stats.msgs_sent == stats.msgs_delivered);
	STRESS_CHECK(stats.requests == stats.replies && stats.replies_late == 0);
	(void)printf("%-26s %" PRIu64 " messages, %.2f M/s, %" PRIu64 " requests, %" PRIu64
		     " times no room, %" PRIu64 " wake-ups, %" PRIu64 " enters\n",
		     flood.run->name, messages, (double)messages / seconds / 1e6, stats.requests,
		     atomic_load(&flood.refused), stats.wakeups_sent, stats.enters);
	(void)fflush(stdout);
}

static void
flood_run(const struct run *run, const struct stress_options *options)
{
	struct rl_config config =
		RL_CONFIG(.shards = run->shards, .shard = &shard_def, .spin_us = run->spin_us,
			  .without = run->without, .conns_max = 1, .mailbox_max = 65536,
			  .messages_max = 1u << 20);
	uint32_t flooders = run->both_ways ? run->shards : 1;
	uint32_t lanes = flooders * (run->shards - 1);
	uint64_t began_ns = stress_now_ns();
	int rc;

	memset(&flood, 0, sizeof(flood));
	flood.run = run;
	flood.seed = options->seed;
	flood.count = options->messages / 2 / lanes;
	rc = rl_system_start(&config, &flood.sys);
	if (rc == -ENOSYS || rc == -EPERM) {
		exit(STRESS_SKIPPED); /* logged */
	}
	STRESS_CHECK(rc == 0);
	for (uint32_t i = 0; i < run->shards; i++) {
		STRESS_CHECK(rl_system_spawn(flood.sys, i, &sink_def, NULL, &flood.sinks[i]) == 0);
	}
	for (uint32_t i = 0; i < flooders; i++) {
		STRESS_CHECK(rl_system_spawn(flood.sys, i, &flooder_def, NULL, NULL) == 0);
	}
	flood_wait(2 * flood.count * lanes + flooders);
	rl_system_drain(flood.sys);
	STRESS_CHECK(rl_system_run(flood.sys) == 0);
	flood_report(2 * flood.count * lanes, (double)(stress_now_ns() - began_ns) / 1e9);
	rl_system_stop(flood.sys);
}

int
main(int argc, char **argv)
{
	static const struct run runs[] = {
		{ .name = "one way", .shards = 2 },
		{ .name = "one way, parking", .shards = 2, .lazy = true },
		{ .name = "both ways", .shards = 2, .both_ways = true },
		{ .name = "both ways, parking", .shards = 2, .both_ways = true, .lazy = true },
		{ .name = "both ways, polling",
		  .shards = 2,
		  .both_ways = true,
		  .lazy = true,
		  .spin_us = 20 },
		{ .name = "both ways, by eventfd",
		  .shards = 2,
		  .both_ways = true,
		  .lazy = true,
		  .without = RL_FEATURE_MSG_RING },
		{ .name = "three shards, parking", .shards = 3, .both_ways = true, .lazy = true },
	};
	struct stress_options options;
	cpu_set_t cpus;

	stress_parse(&options, argc, argv);
	CPU_ZERO(&cpus);
	STRESS_CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		if (runs[i].shards <= (uint32_t)CPU_COUNT(&cpus)) {
			flood_run(&runs[i], &options);
		} else {
			(void)printf("%-26s left out: only %d CPUs\n", runs[i].name,
				     CPU_COUNT(&cpus));
		}
	}
	return 0;
}
