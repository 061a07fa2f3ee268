/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "messages/shard_rows.h"

#include "common/program.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

const struct messages_row messages_rows[] = {
	{ "window", "64 actors of one shard, 1000 messages on their way", METER_CPU, 4096,
	  shard_window },
	{ "pingpong", "two actors of one shard, one message", METER_CPU, 4096, shard_pingpong },
	{ "broadcast", "a counted buffer to 1000 actors of one shard", METER_CPU, 4096,
	  shard_broadcast },
	{ "spawn", "spawn and stop of an actor", METER_CPU, 4096, shard_spawn },
	{ "memory", "bytes of an actor without state", METER_BYTES, 1, shard_memory },
	{ "timer", "start and cancel of a timer", METER_CPU, 4096, shard_timer },
	{ "notify", "notifications to another shard, both polling", METER_WALL, 4096,
	  shard_notify },
	{ "drowsy", "the same, and a shard with nothing to do sleeps at once", METER_WALL, 4096,
	  shard_drowsy },
	{ "send", "messages to 64 actors of another shard, both polling", METER_WALL, 4096,
	  shard_send },
	{ "parked", "round trips of notifications, shards asleep", METER_LAP, 16, shard_parked },
	{ "spinning", "round trips of notifications, shards polling", METER_LAP, 1024,
	  shard_spinning },
	{ NULL, NULL, METER_CPU, 0, NULL },
};

/* The first thing that went wrong on any shard; relaxed: the main thread reads after the end. */
static _Atomic int run_error;
static atomic_bool run_ended;

static void
run_check(int rc, const char *what)
{
	if (rc < 0) {
		errno = -rc;
		program_die(what);
	}
}

int
shard_run_end(struct shard_run *run, int rc)
{
	int none = 0;

	if (rc != 0 && rc != -ESHUTDOWN) {
		(void)atomic_compare_exchange_strong_explicit(
			&run_error, &none, rc, memory_order_relaxed, memory_order_relaxed);
	}
	/* once: a second call would cut what still ends by itself; nothing is ordered by it */
	if (!atomic_exchange_explicit(&run_ended, true, memory_order_relaxed)) {
		rl_system_drain(run->sys);
	}
	return 0;
}

static void
run_note(const struct shard_run *run)
{
	double ops = run->meter->ops > 0 ? (double)run->meter->ops : 1;
	struct rl_stats stats;

	run_check(rl_system_stats(run->sys, -1, &stats), "rl_system_stats");
	meter_note(run->meter, "wakeups", (double)stats.wakeups / ops);
	meter_note(run->meter, "enters", (double)stats.enters / ops);
	meter_note(run->meter, "turns", (double)stats.turns / ops);
}

void
shard_run(struct shard_run *run, const struct rl_config *config, const struct rl_actor_def *def)
{
	const struct messages_options *options = run->options;
	struct rl_config full = *config;
	char cpus[32];

	(void)snprintf(cpus, sizeof(cpus), config->shards == 1 ? "%d" : "%d,%d", options->cpu,
		       options->other_cpu);
	full.cpus = cpus;
	full.conns_max = 16;
	full.drain_timeout_ns = RL_SEC(60);
	run_check(rl_system_start(&full, &run->sys), "rl_system_start");
	if (def != NULL) {
		run_check(rl_system_spawn(run->sys, 0, def, run, NULL), "rl_system_spawn");
	} else {
		run_check(rl_system_notify(run->sys, 0, KIND_GO, NULL, 0), "rl_system_notify");
	}
	run_check(rl_system_run(run->sys), "rl_system_run");
	run_check(atomic_load_explicit(&run_error, memory_order_relaxed), "a handler");
	run_note(run);
	rl_system_stop(run->sys);
}
