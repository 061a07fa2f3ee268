/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "messages/bare_pair.h"

#include "common/program.h"

#include <errno.h>

static void *
pair_other(void *arg)
{
	struct bare_pair *pair = arg;

	program_pin(pair->options->other_cpu);
	meter_watch(pair->meter, 1);
	pair->other(pair->row);
	return NULL;
}

void
bare_pair_run(struct bare_pair *pair, void (*first)(void *row), void (*other)(void *row), void *row)
{
	pthread_t thread;

	pair->other = other;
	pair->row = row;
	program_pin(pair->options->cpu);
	meter_watch(pair->meter, 0);
	errno = pthread_barrier_init(&pair->ready, NULL, 2);
	if (errno == 0) {
		errno = pthread_create(&thread, NULL, pair_other, pair);
	}
	if (errno != 0) {
		program_die("pthread_create");
	}
	first(row);
	(void)pthread_join(thread, NULL);
	(void)pthread_barrier_destroy(&pair->ready);
}

void
bare_pair_meet(struct bare_pair *pair)
{
	(void)pthread_barrier_wait(&pair->ready);
}
