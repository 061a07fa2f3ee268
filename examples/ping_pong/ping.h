/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * ping - what is to be played, and what came of it.
 */
#ifndef RINGLINE_EXAMPLES_PING_H
#define RINGLINE_EXAMPLES_PING_H

#include <stdint.h>

#include <ringline/ringline.h>

#include "support/histogram.h"
#include "support/options.h"

enum {
	PING_BALLS = 128, /* of each shard, with --load; two of them fit in any case */
};

struct ping {
	uint64_t rounds;
	uint32_t balls; /* that a shard serves */
	struct rl_system *sys;
	uint64_t began_ns;
	/* Shard 0's alone while the system runs. */
	struct histogram latency;
	uint64_t ended_ns;
	int rc;
};

/* --rounds, --load and --spin-us over the defaults. */
void ping_parse(struct ping *ping, struct options *options, int argc, char **argv);

void ping_print(const struct ping *ping);

#endif
