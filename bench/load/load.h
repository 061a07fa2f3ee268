/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * load - what the parts of the load generator share: the options, the window of measurement, and
 * one worker per thread with its own ring and its own share of the connections.
 */
#ifndef RINGLINE_BENCH_LOAD_H
#define RINGLINE_BENCH_LOAD_H

#include "common/bare_ring.h"
#include "support/histogram.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The payload is periodic with a prime period, and each connection starts at a phase of its own:
 * loss, duplication, reordering and mixed-up connections all show in one memcmp. One send is
 * taken from one piece of memory, so the pattern is longer than its period by the longest send.
 */
#define LOAD_PATTERN_PERIOD 8191u
#define LOAD_SEND_MAX	    (1u << 20)

struct load_options {
	const char *host;
	const char *unix_path;
	int port;
	uint32_t conns;
	uint32_t depth;
	uint32_t size_bytes;
	unsigned threads;
	int cpu;
	int pid;
	bool verify;
	bool spin;
	bool json;
	double seconds;
	double warmup_seconds;
	double rate; /* messages per second in all; 0 is as fast as the echoes come */
};

struct load_window {
	uint64_t begin_ns;
	uint64_t end_ns;
};

struct load_conn {
	uint64_t *stamps; /* when the outstanding messages left: a ring of depth entries */
	uint32_t oldest;
	uint32_t outstanding;
	uint32_t phase;
	uint32_t sent_offset; /* modulo the period, as is received_offset */
	uint32_t received_offset;
	uint32_t partial_bytes; /* of the message that is arriving */
	uint64_t to_send_bytes;
	uint32_t in_flight_bytes;
	int fd;
	bool dead;
	bool dirty;
};

struct load_worker {
	struct bare_ring ring;
	struct bare_buffers bufs;
	const struct load_options *options;
	const uint8_t *pattern;
	struct load_conn *conns;
	uint32_t conns_count;
	uint32_t conns_first; /* number of the first one among all workers' */
	uint32_t *dirty;
	uint32_t dirty_count;
	unsigned id;
	bool measuring;
	struct load_window window; /* written by the main thread before it lets us go */
	struct __kernel_timespec tick;
	double tokens; /* messages that --rate allows now */
	uint64_t tokens_at_ns;
	uint32_t cursor;
	struct histogram latency;
	uint64_t bytes;
	uint64_t messages;
	uint64_t turns;
	uint64_t errors;
	uint64_t mismatches;
	uint64_t stalled;
	uint64_t cpu_begin_ns;
	uint64_t cpu_end_ns;
};

/* What schedstat says about a process, all threads summed. */
struct load_usage {
	uint64_t ran_ns;
	uint64_t waited_ns; /* runnable, and something else had the core */
};

/* All workers' results as one, with both processes' use of the window. */
struct load_result {
	struct histogram latency;
	uint64_t bytes;
	uint64_t messages;
	uint64_t turns;
	uint64_t errors;
	uint64_t mismatches;
	uint64_t stalled;
	uint64_t cpu_ns;
	uint64_t usage_window_ns;
	struct load_usage server;
	struct load_usage client;
};

/* Connects and arms; after it the worker waits for nothing but load_worker_run. */
void load_worker_prepare(struct load_worker *worker);

/* Sends and verifies until the end of the window. */
void load_worker_run(struct load_worker *worker);

struct load_usage load_usage_of(int pid);

void load_report(const struct load_options *options, const struct load_result *result);

#endif
