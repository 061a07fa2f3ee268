/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* bare_pair - two pinned and watched threads of the bare side that meet before they begin. */
#ifndef RINGLINE_BENCH_BARE_PAIR_H
#define RINGLINE_BENCH_BARE_PAIR_H

#include "messages/messages.h"

#include <pthread.h>

struct bare_pair {
	const struct messages_options *options;
	struct meter *meter;
	pthread_barrier_t ready;
	void (*other)(void *row);
	void *row;
};

/* Runs @p first here and @p other on a thread of its own, until both return. */
void bare_pair_run(struct bare_pair *pair, void (*first)(void *row), void (*other)(void *row),
		   void *row);

/* Returns when both threads have called it. */
void bare_pair_meet(struct bare_pair *pair);

#endif
