/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_world sim_world;

static char world_replay[256];

/* splitmix64's output function: good bits from any counter. */
uint64_t
sim_mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9;
	x ^= x >> 27;
	x *= 0x94d049bb133111eb;
	return x ^ x >> 31;
}

uint64_t
sim_random(void)
{
	sim_world.rng += 0x9e3779b97f4a7c15;
	return sim_mix(sim_world.rng);
}

uint64_t
sim_host_random(void)
{
	sim_world.host_rng += 0x9e3779b97f4a7c15;
	return sim_mix(sim_world.host_rng);
}

uint64_t
sim_tls_random(void)
{
	sim_world.tls_rng += 0x9e3779b97f4a7c15;
	return sim_mix(sim_world.tls_rng);
}

void
sim_world_reset(uint64_t seed)
{
	bool tracing = sim_world.tracing;

	memset(&sim_world, 0, sizeof(sim_world));
	sim_world.tracing = tracing;
	sim_world.seed = seed;
	sim_world.rng = sim_mix(seed + 1);
	sim_world.host_rng = sim_mix(seed ^ 0x5bd1e995);
	sim_world.tls_rng = sim_mix(seed ^ 0x715);
	sim_world.hash = 0xcbf29ce484222325;
	/* not zero, and not near the wrap of anything */
	sim_world.now_ns = 1000000000 + sim_below(1000000000);
}

static void
world_hash(uint64_t word)
{
	sim_world.hash = (sim_world.hash ^ word) * 0x100000001b3;
	sim_world.hash ^= sim_world.hash >> 29;
}

void
sim_event(const char *what, int64_t a, int64_t b)
{
	for (const char *at = what; *at != '\0'; at++) {
		world_hash((uint8_t)*at);
	}
	world_hash((uint64_t)a);
	world_hash((uint64_t)b);
	if (sim_world.tracing) {
		printf("%8" PRIu64 " %14.6f ms  %-24s %8" PRId64 " %8" PRId64 "\n",
		       sim_world.events, (double)sim_world.now_ns / 1e6, what, a, b);
	}
}

void
sim_event_bytes(const char *what, const void *data, size_t len)
{
	const uint8_t *at = data;
	size_t left = len;
	uint64_t word;

	for (; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		world_hash(word);
	}
	for (; left > 0; left--, at++) {
		world_hash(*at);
	}
	sim_event(what, (int64_t)len, 0);
}

void
sim_event_wire(const char *what, const void *data, size_t len)
{
	if (sim_world.sealed) {
		sim_event(what, (int64_t)len, 0);
	} else {
		sim_event_bytes(what, data, len);
	}
}

void
sim_interleave(void)
{
	static bool inside;

	if (!sim_world.in_turn || inside || sim_world.foreign == NULL ||
	    !sim_fault(FAULT_FOREIGN)) {
		return;
	}
	inside = true;
	sim_world.foreign();
	inside = false;
}

void
sim_replay_set(const char *line)
{
	(void)snprintf(world_replay, sizeof(world_replay), "%s", line);
}

const char *
sim_replay(void)
{
	return world_replay;
}

void
sim_fail(const char *format, ...)
{
	va_list args;

	(void)fflush(stdout);
	fprintf(stderr, "sim: seed %" PRIu64 ", event %" PRIu64 ", %.6f ms: ", sim_world.seed,
		sim_world.events, (double)sim_world.now_ns / 1e6);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	abort();
}
