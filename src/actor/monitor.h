/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Monitors and links. One record for both, the lease, with two halves: the watcher's, and the
 * watched one's. It is taken from the pool of the watcher's shard when the monitor is made, which
 * is the only moment at which memory can be short; its far half is lent to the watched actor's
 * shard with the WATCH, and comes home with the last word from there:
 *
 *	watcher's shard                       watched actor's shard
 *	  WATCH ------------------------------> on the actor's list, or ...
 *	  <------------------------------ DOWN  ... it has ended: the lease is over
 *
 *	  UNWATCH or EXIT --------------------> off the list (EXIT: and ends the actor)
 *	  <------------------------ LEASE_HOME  the lease is over; a DOWN that crossed is ignored
 *
 * Pairs are FIFO, so each side knows what the other has seen. While a half is lent the lender
 * touches nothing of it.
 */
#ifndef RINGLINE_ACTOR_MONITOR_H
#define RINGLINE_ACTOR_MONITOR_H

#include "actor/actor.h"
#include "mailbox/mesh.h"

struct lease {
	uint32_t slab_link; /* the slab's, while the slot is free */
	uint32_t generation;
	uint64_t target;
	uint8_t home; /* the watcher's shard */
	bool link; /* not a monitor */

	/* the watcher's half */
	bool released; /* UNWATCH or EXIT was sent, LEASE_HOME is to come */
	bool over; /* DOWN has come, and is to be delivered */
	uint8_t reason; /* of DOWN */
	int error;
	struct tie tie; /* held, then a notice */
	struct rl_actor *watcher; /* NULL: released, or free */
	struct obligation near; /* WATCH, then UNWATCH or EXIT */

	/* the watched one's half */
	bool late; /* it had ended before the WATCH came */
	struct tie watched; /* owed */
	struct obligation far; /* DOWN, or LEASE_HOME */
};

/* What came from another shard about a lease. */
void rli_lease_arrived(struct rl_shard *shard, const struct envelope *envelope);

/* Tell the watcher. */
void rli_lease_deliver(struct rl_actor *actor, struct lease *lease);

/* The watcher, @actor, has ended. */
void rli_lease_drop(struct rl_actor *actor, struct lease *lease);

/* The watched one, @actor, has ended. */
void rli_lease_ended(struct rl_actor *actor, struct lease *lease);

#endif
