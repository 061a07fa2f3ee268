/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * load - the connections of echo_bench: closed loops, each with `depth` messages under way, that
 * compare every byte that comes back with the one that left.
 *
 * Each shard has a driver, which opens the shard's share of the connections, a few at a time, and
 * gets the window of measurement as a message. All actors of a shard write to one struct
 * load_shard, without locks: they never run at the same time. The main thread reads the counters
 * that are atomic at any time, and the rest when rl_system_run() has returned.
 *
 * A turn has one time, rl_shard_now_ns(), read when the kernel handed over its completions. It
 * stamps the arrivals of a turn and the messages that they make room for. So a latency contains
 * what the load generator itself took to send the message, and is never flattering.
 */
#ifndef RINGLINE_EXAMPLES_LOAD_H
#define RINGLINE_EXAMPLES_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <ringline/ringline.h>

#include "support/histogram.h"
#include "support/wakeup.h"

enum {
	LOAD_DEPTH_MAX = 4096, /* their stamps are in the actor's state */
	LOAD_SHARDS_MAX = 256,

	/*
	 * The payload has a prime period, and each connection starts at a phase of its own: loss,
	 * duplication, reordering and mixed-up connections all show in one memcmp. A piece is
	 * compared or sent from one place, so that there are as many bytes behind the period.
	 */
	LOAD_PATTERN_PERIOD = 8191,
	LOAD_PIECE_MAX = 65536,
};

struct load_options {
	const char *url;
	const struct rl_conn_options *conn; /* NULL: not tls:// */
	uint32_t conns;
	uint32_t depth;
	uint32_t size_bytes;
};

struct load_window {
	uint64_t begin_ns;
	uint64_t end_ns;
};

enum load_fault {
	LOAD_NO_FAULT,
	LOAD_REFUSED, /* by ringline: the URL is none */
	LOAD_CONNECT, /* the connection was not made */
	LOAD_MISMATCH, /* another byte came back than was sent */
	LOAD_SURPLUS, /* more bytes came back than were sent */
	LOAD_CLOSED, /* the server ended the connection */
	LOAD_BROKEN, /* it ended in any other way */
	LOAD_STALLED, /* something was still missing when we gave up */
	LOAD_FAULTS,
};

/* The first thing that went wrong on a shard. */
struct load_first_fault {
	enum load_fault fault;
	uint32_t conn;
	uint64_t at_bytes; /* after so many good bytes */
	enum rl_reason reason;
	int error;
};

struct load_shard {
	/* What the actors go by. */
	_Alignas(64) const struct load *load; /* shards share no cache line */
	rl_actor_id driver;
	uint32_t conns_wanted;
	uint32_t conns_first; /* number of the first one among all shards' */
	struct load_window window;

	uint32_t conns_numbered;
	bool connects_failed; /* no more are begun */

	/* What they report. */
	uint64_t messages; /* in the window, as are bytes and latency */
	uint64_t bytes;
	struct histogram latency;
	struct load_first_fault first;

	/* What the main thread looks at meanwhile. */
	_Atomic uint64_t echoes;
	_Atomic uint32_t conns_begun;
	_Atomic uint32_t conns_opened;
	_Atomic uint32_t conns_ended;
	_Atomic uint64_t faults[LOAD_FAULTS];
};

struct load {
	struct load_options options;
	struct rl_actor_def conn_def; /* its state depends on the depth */
	/* Rung when a shard is a step further: all the sums below but load_echoes() may differ. */
	struct wakeup wakeup;
	uint8_t pattern[LOAD_PATTERN_PERIOD + LOAD_PIECE_MAX];
	uint32_t shards_count;
	struct load_shard shards[LOAD_SHARDS_MAX];
};

/* Options and wakeup are set; divides the connections among the shards of the system. */
void load_init(struct load *load, uint32_t shards_count);

/*
 * Let a shard begin to connect; its connections start to talk as they open. 0 or a negative errno.
 * When the first shard was heard of, by load_begun() or a fault, the URL is known to be one.
 */
int load_start(struct load *load, struct rl_system *sys, uint32_t shard);

/* Tell all shards the window. 0 or a negative errno. */
int load_set_window(const struct load *load, struct rl_system *sys,
		    const struct load_window *window);

/* Sums over the shards, from any thread. */
uint32_t load_begun(const struct load *load);
uint32_t load_opened(const struct load *load);
uint32_t load_ended(const struct load *load);
uint64_t load_echoes(const struct load *load);
uint64_t load_faults(const struct load *load, enum load_fault fault);
uint64_t load_faults_all(const struct load *load);

#endif
