/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * messages - what ringline's side and the bare side have in common: the rows, how large they are,
 * and what a message carries. Each side is one program with a sub-command per row; main.c is the
 * same for both, and so is the clock (meter.h).
 */
#ifndef RINGLINE_BENCH_MESSAGES_H
#define RINGLINE_BENCH_MESSAGES_H

#include "messages/meter.h"

#include <stdint.h>

enum {
	MESSAGES_ACTORS = 64,
	MESSAGES_WINDOW = 1000, /* in flight on one core */
	MESSAGES_RECEIVERS = 1000, /* of a broadcast */
	MESSAGES_TEXT_BYTES = 256, /* that is broadcast */
	MESSAGES_BATCH = 16, /* an actor's share of a turn, ringline's default */
	MESSAGES_SPAWNS = 256, /* actors that are alive at a time while actors come and go */
	MESSAGES_ACTOR_BYTES = 256, /* what an actor may take */
	MESSAGES_STATE_BYTES = 64,
	MESSAGES_BURST = 256, /* what a sender sends before it lets others run */
	MESSAGES_RING = 1024, /* entries of the bare ring, as many as ringline's blocks hold */
	MESSAGES_PUBLISH = 64,
	MESSAGES_SPIN_US = 100,
	MESSAGES_LAP = 64, /* round trips of a lap when one is too short for the clock */
};

struct messages_options {
	double seconds;
	double warmup_seconds;
	uint64_t count; /* operations instead of the seconds; 0: none */
	uint32_t population; /* timers outstanding, actors alive */
	int spin_us; /* of ringline's shards between two cores; -1: as the row says */
	int cpu;
	int other_cpu;
};

struct messages_row {
	const char *name;
	const char *what;
	enum meter_figure figure;
	uint64_t stride;
	void (*run)(const struct messages_options *options, struct meter *meter);
};

/* Of the side that the program is; ends with a row without name. */
extern const struct messages_row messages_rows[];

/* What every message carries: 16 bytes that decide where it goes next. */
struct ball {
	uint64_t random;
	uint64_t hops;
};

/* Knuth's multiplier; the upper bits are good enough to choose an actor. */
static inline uint64_t
messages_random(uint64_t random)
{
	return random * 6364136223846793005u + 1442695040888963407u;
}

static inline struct ball
ball_next(const struct ball *ball)
{
	return (struct ball){ messages_random(ball->random), ball->hops + 1 };
}

static inline uint32_t
ball_choice(const struct ball *ball)
{
	return (uint32_t)(ball->random >> 33) % MESSAGES_ACTORS;
}

/* A timer's delay, one to two minutes: none of them comes due during a run. */
static inline uint64_t
messages_delay_ns(uint64_t random)
{
	return UINT64_C(60000000000) + (random >> 32) * 16;
}

#endif
