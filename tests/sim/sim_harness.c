/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_harness.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "actor/actor.h"
#include "base/assert.h"
#include "base/host.h"
#include "loop.h"
#include "net/net.h"

#include "sim_acceptor.h"
#include "sim_check.h"
#include "sim_host.h"
#include "sim_meanwhile.h"
#include "sim_resolver.h"

#define WAIT_STEPS_MAX	 400000
#define SETTLE_STEPS_MAX 2000000
#define END_TURNS_MAX	 1000
#define HARNESS_ACCEPTOR SIM_SHARDS_MAX /* among those who can go on: not a shard */

struct harness {
	struct rl_system *system;
	struct rl_config config;
	struct log log;
	struct sim_others others;
	uint32_t shards;
	bool open[SIM_SHARDS_MAX];
	bool ended[SIM_SHARDS_MAX];
	uint64_t step_ns;
	uint32_t lazy; /* how often a shard lets others go first, in 65536 */
	bool clerk_runs;
	bool clerk_inside; /* in one of its steps, which wait for shards */
	uint32_t slow; /* the same for one shard, which also lets the other shards go first */
	uint32_t slow_shard;
	uint64_t turns;
	struct rl_stats stats; /* of a system that is gone */
};

static struct harness harness;

static void
harness_log(void *arg, enum rl_log_level level, int shard, const char *text)
{
	(void)arg;
	if (sim_world.tracing) {
		printf("         log %d [%d] %s\n", (int)level, shard, text);
	}
}

void
sim_begin(uint64_t seed)
{
	memset(&harness, 0, sizeof(harness));
	sim_world_reset(seed);
	sk_kernel_init();
	sim_host_init();
	sim_check_reset();
	sim_acceptor_reset();
	sim_meanwhile_reset();
	sim_resolver_reset();
	sk.checks_owners = true;
	harness.step_ns = 20000;
	rli_log_init(&harness.log, harness_log, NULL, RL_LOG_WARN);
}

static uint32_t shards_runnable(uint32_t *list);

/* While the acceptor is in the middle of a step, a shard makes a turn. */
static void
harness_interleave(void)
{
	uint32_t shards[SIM_SHARDS_MAX + 1];
	uint32_t count = shards_runnable(shards);

	if (count > 0) {
		sim_turn(shards[sim_below(count)]);
	}
}

static int
harness_open_shards(void)
{
	for (uint32_t i = 0; i < harness.shards; i++) {
		int rc = rli_loop_open(sim_on(i), harness.system->config.files_max);

		if (rc != 0) {
			return rc;
		}
		harness.open[i] = true;
	}
	return 0;
}

int
sim_start(const struct rl_config *config)
{
	struct config_machine machine = { .cpus_count = SIM_SHARDS_MAX, .nofile = 100000 };
	struct config resolved;
	int rc;

	for (uint32_t i = 0; i < SIM_SHARDS_MAX; i++) {
		machine.cpus[i] = (uint16_t)i;
	}
	harness.config = *config;
	harness.config.log = harness_log;
	rc = rli_config_resolve(&resolved, &harness.config, &machine, &harness.log);
	sim_check(rc == 0, "the configuration was refused: %d", rc);
	harness.config = resolved.user;
	harness.shards = resolved.user.shards;
	rc = rli_system_create(&harness.system, &resolved, &harness.log);
	if (rc == 0) {
		rc = harness_open_shards();
	}
	if (rc == 0) {
		sim_acceptor_start(harness.system);
		sim_acceptor_others(harness_interleave);
	}
	if (rc != 0 && harness.system != NULL) {
		sim_stop();
	}
	harness.shards = rc == 0 ? harness.shards : 0;
	return rc;
}

void
sim_new_with(const struct rl_config *config, uint64_t seed)
{
	int rc;

	sim_begin(seed);
	rc = sim_start(config);
	sim_check(rc == 0, "a world without faults does not start: %d", rc);
}

void
sim_new(uint32_t shards, uint64_t seed)
{
	struct rl_config config =
		RL_CONFIG(.shards = shards, .sq_entries = 64, .cq_entries = 256, .conns_max = 64,
			  .recv_buffers = 16, .recv_buffer_bytes = 2048,
			  .send_pool_bytes = 8 * 1024 * 1024);

	sim_new_with(&config, seed);
}

struct rl_system *
sim_system(void)
{
	return harness.system;
}

struct rl_shard *
sim_on(uint32_t shard)
{
	return rli_system_shard(harness.system, shard);
}

const struct rl_config *
sim_config(void)
{
	return &harness.config;
}

void
sim_others_set(const struct sim_others *others)
{
	harness.others = *others;
}

void
sim_step_ns(uint64_t ns)
{
	harness.step_ns = ns;
}

void
sim_lazy(uint32_t chance)
{
	harness.lazy = chance;
}

void
sim_slow(uint32_t shard, uint32_t chance)
{
	harness.slow_shard = shard;
	harness.slow = chance;
}

uint64_t
sim_turns(void)
{
	return harness.turns;
}

struct rl_stats
sim_stats(void)
{
	struct rl_stats stats = harness.stats;

	if (harness.system != NULL) {
		(void)rl_system_stats(harness.system, -1, &stats);
	}
	return stats;
}

bool
sim_is_asleep(uint32_t shard)
{
	return sim_on(shard)->ring->asleep;
}

/* ---- stepping */

void
sim_turn(uint32_t shard)
{
	struct rl_shard *on = sim_on(shard);

	if (on->ring->asleep) {
		sk_ring_wake(on->ring);
		on->now_ns =
			sim_world.now_ns; /* what the turn's end reads when its enter returns */
	}
	sim_event("turn", shard, 0);
	sim_check_turn_begin(on);
	harness.turns++;
	sim_world.in_turn = true;
	sim_meanwhile_wake(shard);
	harness.ended[shard] = !rli_loop_turn(on);
	on->ring->over = harness.ended[shard];
	sim_world.in_turn = false;
	sim_check_turn_end(on);
}

bool
sim_is_running(uint32_t shard)
{
	return harness.open[shard] && !harness.ended[shard];
}

bool
sim_is_runnable(uint32_t shard)
{
	const struct ring *ring;

	if (!sim_is_running(shard)) {
		return false;
	}
	ring = sim_on(shard)->ring;
	return !ring->asleep || sk_ring_is_wakeable(ring);
}

static uint32_t
shards_runnable(uint32_t *list)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < harness.shards; i++) {
		if (sim_is_runnable(i)) {
			list[count++] = i;
		}
	}
	return count;
}

static uint32_t
harness_runnable(uint32_t *list)
{
	uint32_t count = shards_runnable(list);

	if (sim_acceptor_is_ready()) {
		list[count++] = HARNESS_ACCEPTOR;
	}
	return count;
}

static void
time_passes(uint64_t ns)
{
	sim_world.now_ns += ns;
	sk_timeouts_run();
}

/* A shard that sleeps although something is there for it sleeps for ever. */
static void
harness_check_sleepers(void)
{
	for (uint32_t i = 0; i < harness.shards; i++) {
		if (harness.open[i] && !harness.ended[i]) {
			sim_check_sleeper(sim_on(i));
		}
	}
	sim_acceptor_check();
}

/* Who goes next of @count, of whom the first @runnable are those in @shards. */
static uint32_t
step_pick(const uint32_t *shards, uint32_t runnable, uint32_t count)
{
	uint32_t pick = (uint32_t)sim_below(count);

	if (pick < runnable && count > runnable && sim_chance(harness.lazy)) {
		/* the shards are slow: more piles up for each turn */
		return runnable + (uint32_t)sim_below(count - runnable);
	}
	for (uint32_t tries = 0; harness.slow > 0 && tries < 40 && pick < runnable &&
				 shards[pick] == harness.slow_shard && sim_chance(harness.slow);
	     tries++) {
		pick = (uint32_t)sim_below(count);
	}
	return pick;
}

/* The thread that opens listeners for actors; it has one step in hand at a time. */
static void
harness_clerk_step(void)
{
	harness.clerk_inside = true;
	harness.clerk_runs = rli_clerk_step(harness.system);
	harness.clerk_inside = false;
}

bool
sim_step(void)
{
	uint32_t shards[SIM_SHARDS_MAX + 1];
	uint32_t runnable = harness_runnable(shards);
	uint32_t others = harness.others.ready != NULL ? harness.others.ready() : 0;
	uint32_t network = sk_net_ready();
	uint32_t clerk = harness.clerk_runs && !harness.clerk_inside ? 1 : 0;
	uint32_t resolver = sim_resolver_ready();
	uint32_t count = runnable + others + network + resolver + clerk;
	uint32_t pick;

	if (count == 0) {
		return false;
	}
	sim_event_count();
	time_passes(harness.step_ns > 0 ? sim_below(harness.step_ns) : 0);
	if (sim_fault(FAULT_TIME_JUMP)) {
		time_passes((uint64_t)RL_SEC(60));
	}
	pick = step_pick(shards, runnable, count);
	if (pick < runnable && shards[pick] == HARNESS_ACCEPTOR) {
		sim_acceptor_step();
	} else if (pick < runnable) {
		sim_turn(shards[pick]);
	} else if (pick < runnable + others) {
		harness.others.step(pick - runnable);
	} else if (pick == count - 1 && clerk == 1) {
		harness_clerk_step();
	} else if (pick < runnable + others + resolver) {
		sim_resolver_step(pick - runnable - others);
	} else {
		(void)sk_net_step();
	}
	harness_check_sleepers();
	return true;
}

static uint64_t
next_event_ns(void)
{
	uint64_t times[] = {
		sk_timeouts_next_ns(),
		sim_acceptor_next_ns(),
		sim_resolver_next_ns(),
		harness.others.next_ns != NULL ? harness.others.next_ns() : UINT64_MAX,
	};
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		next = times[i] < next ? times[i] : next;
	}
	for (uint32_t i = 0; i < harness.shards; i++) {
		if (harness.open[i] && !harness.ended[i]) {
			uint64_t ring = sk_ring_next_ns(sim_on(i)->ring);

			next = ring < next ? ring : next;
		}
	}
	return next;
}

bool
sim_wait_until(uint64_t limit_ns)
{
	uint64_t next = next_event_ns();

	if (next > limit_ns || next == UINT64_MAX) {
		if (limit_ns > sim_world.now_ns && limit_ns != UINT64_MAX) {
			time_passes(limit_ns - sim_world.now_ns);
		}
		return false;
	}
	time_passes(next > sim_world.now_ns ? next - sim_world.now_ns : 0);
	return true;
}

/* A shard in a backlog waits a moment for more to come, with work at hand: let the moment pass. */
static bool
settle_batches(void)
{
	for (uint32_t i = 0; i < harness.shards; i++) {
		const struct ring *ring = sim_on(i)->ring;

		if (harness.open[i] && !harness.ended[i] && ring->asleep &&
		    ring->min_ns != UINT64_MAX && sk_ring_is_busy(ring)) {
			time_passes(ring->min_ns - sim_world.now_ns);
			return true;
		}
	}
	return false;
}

void
sim_settle(void)
{
	uint32_t steps = 0;

	while (sim_step() || settle_batches()) {
		sim_check(++steps < SETTLE_STEPS_MAX, "INV-8: the world does not come to rest");
	}
}

void
sim_advance_ns(uint64_t ns)
{
	uint64_t limit = sim_world.now_ns + ns;

	do {
		sim_settle();
	} while (sim_world.now_ns < limit && sim_wait_until(limit));
	sim_settle();
}

bool
sim_run_until(bool (*done)(void *arg), void *arg, uint64_t limit_ns)
{
	uint64_t limit = sim_world.now_ns + limit_ns;

	while (!done(arg)) {
		if (sim_world.now_ns >= limit) {
			return false;
		}
		if (!sim_step() && !sim_wait_until(limit)) {
			return done(arg);
		}
	}
	return true;
}

/* ---- the twin of thread.c */

static bool
is_answered(void *arg)
{
	_Atomic uint32_t *unanswered = arg;

	return atomic_load(unanswered) == 0;
}

void
rli_thread_wait(struct rl_system *system, _Atomic uint32_t *unanswered)
{
	(void)system;
	for (uint32_t i = 0; !is_answered(unanswered); i++) {
		sim_check(sim_step() || sim_wait_until(UINT64_MAX),
			  "a request to the shards is never answered: all of them sleep");
		sim_check(i < WAIT_STEPS_MAX, "a request to the shards is not answered");
	}
}

int
rli_thread_clerk_start(struct rl_system *system)
{
	RL_ASSERT(system == harness.system);
	if (sim_fault(FAULT_THREAD_FAILS)) {
		return -EAGAIN;
	}
	harness.clerk_runs = true;
	return 0;
}

void
rli_thread_answered(struct rl_system *system)
{
	(void)system;
}

/* ---- the end */

static bool
is_silent(void *arg)
{
	(void)arg;
	return rli_system_is_silent(harness.system);
}

void
sim_drain(void)
{
	int64_t drain_ns = harness.config.drain_timeout_ns;
	uint64_t limit = drain_ns < 0 ? UINT64_MAX / 2 : (uint64_t)drain_ns;

	sim_event("drain", 0, 0);
	sim_fault_set(FAULT_TIME_JUMP, 0); /* the deadline is measured from here */
	if (rli_system_drain_level(harness.system) == SYSTEM_RUNS) {
		rl_system_drain(harness.system);
	}
	/* a cut still has to cancel, reset and close: some turns, no waiting for anybody */
	if (!sim_run_until(is_silent, NULL, limit + (uint64_t)RL_SEC(2))) {
		sim_check_explain(harness.system, harness.shards);
		sim_fail("INV-12: the drain's deadline has passed and the system is not silent");
	}
}

static void
harness_end_shards(void)
{
	while (harness.clerk_runs) {
		harness_clerk_step();
	}
	sim_resolver_leave(harness.system->resolver);
	rli_system_end(harness.system);
	for (uint32_t i = 0; i < harness.shards; i++) {
		for (uint32_t turns = 0; !harness.ended[i]; turns++) {
			sim_check(turns < END_TURNS_MAX, "a shard does not end");
			sim_turn(i);
			harness_check_sleepers();
		}
		sim_check_silent(sim_on(i));
	}
	sim_acceptor_end();
}

void
sim_stop(void)
{
	bool all_open = true;

	for (uint32_t i = 0; i < harness.shards; i++) {
		all_open = all_open && harness.open[i];
	}
	if (all_open) {
		harness_end_shards();
	}
	harness.stats = sim_stats();
	for (uint32_t i = 0; i < harness.shards; i++) {
		if (harness.open[i]) {
			rli_loop_close(sim_on(i));
			sim_check(sim_on(i)->ring->files_left == 0,
				  "%u slots of the file table were left open",
				  sim_on(i)->ring->files_left);
			harness.open[i] = false;
		}
	}
	sim_check_clerk(harness.system);
	rli_system_remove_sockets(harness.system);
	rli_system_destroy(harness.system);
	harness.system = NULL;
	harness.shards = 0;
	if (all_open) {
		sim_check_balance(&harness.stats);
	}
}

void
sim_finish(bool forgive)
{
	sim_resolver_end();
	sk_kernel_fini(forgive);
	sim_host_fini(forgive);
}

void
sim_end(void)
{
	sim_drain();
	sim_stop();
	sim_finish(false);
}
