/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The sleep handshake: how a shard goes to sleep without missing what a foreign thread or another
 * shard just sent.
 *
 *	sender                                sleeper (the shard)
 *	  push where the sleeper looks          sleeping = 1
 *	  fence (seq_cst)                       fence (seq_cst)
 *	  if exchange(sleeping, 0) was 1:       if anything was pushed:
 *	      wake it                               sleeping = 0, don't sleep
 *	                                        else wait in the kernel; then sleeping = 0
 *
 * A push is whatever the sleeper's last look sees: an element in the inbox of foreign threads, or a
 * message in the ring from another shard and then that shard's bit in the sleeper's inbound bitmap
 * (a fetch_or with seq_cst). The last write of a push comes before the fence.
 *
 * Each side writes its own word and then reads the other's. With a full fence between the two on
 * both sides at least one of them sees the other's write: either the sender sees sleeping = 1 and
 * wakes the shard, or the shard sees the push and stays awake. Whoever exchanged 1 for 0 owns the
 * wake-up, so a burst of senders wakes once; and whoever owns it must see it through, because no
 * other will: a foreign thread writes the eventfd at once, another shard sends it with its turn's
 * requests and writes the eventfd if that fails (shard/wake.h).
 *
 * A wake-up that comes late, twice or to a shard that stayed awake costs a turn and nothing else.
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
 * Any thread, after a push and a seq_cst fence; async-signal-safe. True: the shard sleeps, or is
 * about to, and the caller owns its wake-up from here on.
 */
bool rli_sleep_claim(struct sleep *sleep);

/*
 * Any thread; async-signal-safe. Writes the eventfd, whoever claimed: for the owner of a wake-up,
 * and for who can't rely on the owner, because that shard may end before its next enter.
 */
void rli_sleep_interrupt(struct sleep *sleep);

/* Both: wakes the shard if it sleeps; true when it did. Async-signal-safe. */
bool rli_sleep_wake(struct sleep *sleep);

#endif
