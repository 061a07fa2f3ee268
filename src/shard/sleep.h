/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The sleep handshake: how a shard goes to sleep without missing what a foreign thread just sent.
 *
 *	sender                                sleeper (the shard)
 *	  push to the inbox                     sleeping = 1
 *	  fence (seq_cst)                       fence (seq_cst)
 *	  if exchange(sleeping, 0) was 1:       if the inbox is not empty:
 *	      write the eventfd                     sleeping = 0, don't sleep
 *	                                        else wait in the kernel; then sleeping = 0
 *
 * Each side writes its own word and then reads the other's. With a full fence between the two on
 * both sides at least one of them sees the other's write: either the sender sees sleeping = 1 and
 * writes the eventfd, or the shard sees the message and stays awake. Whoever exchanged 1 for 0 owns
 * the wake-up, so a burst of senders writes the eventfd once.
 */
#ifndef RINGLINE_SHARD_SLEEP_H
#define RINGLINE_SHARD_SLEEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sleep {
	_Atomic uint32_t sleeping;
	int eventfd;
};

/* 0, or what the host said when asked for an eventfd. */
int rli_sleep_init(struct sleep *sleep);

void rli_sleep_fini(struct sleep *sleep);

/*
 * The shard, first half: announce that it is about to sleep. The caller looks at its inbox once
 * more after this, and calls rli_sleep_end() in any case.
 */
void rli_sleep_begin(struct sleep *sleep);

void rli_sleep_end(struct sleep *sleep);

/*
 * Any thread, after a push; async-signal-safe. Wakes the shard if it sleeps; true when it did.
 */
bool rli_sleep_wake(struct sleep *sleep);

#endif
