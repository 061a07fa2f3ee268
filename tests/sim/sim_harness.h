/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The runtime in the simulated world: all shards of one system stepped in one thread.
 *
 *	sim_new(2, 42);                    two shards, seed 42, no faults
 *	rl_listener_open(sim_system(), ...);
 *	sim_settle();                      until nothing happens without time passing
 *	sim_advance_ns(RL_SEC(60));        a minute passes
 *	sim_end();                         drain, stop, and nothing may be left
 *
 * Who goes next (a shard's turn, a step of the network, a remote peer) is drawn from the seed. A
 * shard that waits in the kernel gets no turn until something ends its wait: so "everybody sleeps
 * and something is left to do" is seen at once.
 */
#ifndef RINGLINE_SIM_HARNESS_H
#define RINGLINE_SIM_HARNESS_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/ringline.h>

#include "system.h"

#include "sim_kernel.h"
#include "sim_world.h"

#define SIM_SHARDS_MAX 8

/* Others who act in the world: remote peers, foreign threads. */
struct sim_others {
	/* How many could do something now. */
	uint32_t (*ready)(void);
	/* Let one of them, 0 .. ready() - 1, do it. */
	void (*step)(uint32_t nth);
	/* When one that waits for time to pass will be ready; UINT64_MAX: none. */
	uint64_t (*next_ns)(void);
};

/* A fresh world: nothing runs yet, no faults. */
void sim_begin(uint64_t seed);

/* Make and open a system; 0, or what failed. Shards and their rings may be refused by faults. */
int sim_start(const struct rl_config *config);

/* sim_begin(), and sim_start() with small defaults, which must work. */
void sim_new(uint32_t shards, uint64_t seed);

/* As sim_new(), with @config. */
void sim_new_with(const struct rl_config *config, uint64_t seed);

/* Drain, stop, and check that nothing is left. */
void sim_end(void);

/* The parts of sim_end(): drain until silent; end the shards and free all; check the world. */
void sim_drain(void);
void sim_stop(void);
void sim_finish(bool forgive);

struct rl_system *sim_system(void);
struct rl_shard *sim_on(uint32_t shard);
const struct rl_config *sim_config(void);

void sim_others_set(const struct sim_others *others);

/* One turn of a shard, asleep or not. */
void sim_turn(uint32_t shard);

bool sim_is_asleep(uint32_t shard);

/* It has started, and not ended. */
bool sim_is_running(uint32_t shard);

/* And it could make a turn now. */
bool sim_is_runnable(uint32_t shard);

/* One event, chosen at random; false: nothing can happen before time passes. */
bool sim_step(void);

/* Let time pass until something can happen, at most until @limit_ns; false: nothing ever will. */
bool sim_wait_until(uint64_t limit_ns);

void sim_settle(void);
void sim_advance_ns(uint64_t ns);

/* Run until @done(arg), @limit_ns of virtual time at most; true when it came. */
bool sim_run_until(bool (*done)(void *arg), void *arg, uint64_t limit_ns);

/* How long a step may take: 0 .. ns. */
void sim_step_ns(uint64_t ns);

/* How often shards let the rest of the world go first, in 65536: more work for each turn. */
void sim_lazy(uint32_t chance);

/* How often one shard lets all others go first, shards too: what is for it piles up. */
void sim_slow(uint32_t shard, uint32_t chance);

/* The sum over all shards; valid also after sim_stop(). */
struct rl_stats sim_stats(void);

/* Turns of all shards so far. */
uint64_t sim_turns(void);

#endif
