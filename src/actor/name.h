/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Names. A name's home shard, by its hash, decides who has it; every shard has a copy of all names.
 *
 *	actor's shard                     home shard                     the others
 *	  claim; REGISTER --------------> entry made, or refused
 *	  <----------------------- REPLY  NAME ------------------------> copy
 *	  copy                            NAME (to the next one) ------>
 *
 *	  UNREGISTER -------------------> entry is nobody's
 *	                                  NAME ------------------------> no copy
 *	                                  all were told: entry freed
 *
 * A NAME carries what the home knows at the moment of its sending, so a copy follows the home
 * whatever it missed: pairs are FIFO. It is the obligation of the entry, goes to one shard after
 * the other, and begins another round when the entry changes meanwhile. UNREGISTER is the
 * obligation of the claim, which is there since before the REGISTER left: so an end needs no
 * memory, and undoes a registration that is still under way.
 */
#ifndef RINGLINE_ACTOR_NAME_H
#define RINGLINE_ACTOR_NAME_H

#include "actor/actor.h"
#include "actor/name_table.h"
#include "mailbox/mesh.h"

/* That an actor has a name, or is about to; on the actor's shard. */
struct name_claim {
	uint32_t slab_link; /* the slab's, while the slot is free */
	uint32_t generation;
	struct tie tie; /* held */
	struct rl_actor *actor; /* NULL: released, or free */
	bool granted; /* the home said yes */
	bool told; /* and the actor knows */
	struct obligation
		undo; /* UNREGISTER; from the beginning with the claim's id and the name */
};

/* A name on its home shard: nobody's while its removal is told. */
struct name_home {
	struct name name;
	uint64_t claim; /* whose UNREGISTER counts: an actor can have asked twice */
	uint32_t to; /* the next shard to tell */
	uint32_t left; /* how many are to be told */
	bool waits; /* for room, to tell the one before `to` */
	struct obligation news; /* NAME */
};

/* 0, -ENOMEM. */
int rli_names_init(struct rl_shard *shard);
void rli_names_fini(struct rl_shard *shard);

/* A REGISTER came to the name's home shard. 0, or -EAGAIN: it can't even be answered. */
int rli_name_register_arrived(struct rl_shard *shard, const struct envelope *envelope);

/* An UNREGISTER came to the name's home shard, or a NAME from there. */
void rli_name_arrived(struct rl_shard *shard, const struct envelope *envelope);

/*
 * A request with REGISTER for this claim, by its id, has its outcome: 0, or why not. Returns what
 * the actor is told: a name that has no room in this shard's copy is given back, -ENOBUFS.
 */
int rli_name_settled(struct rl_shard *shard, uint64_t id, int error);

/* The actor is told that it has the name. */
void rli_name_told(struct rl_shard *shard, uint64_t id);

/* Nobody waits for that outcome any more: the name is given back if it was granted. */
void rli_name_cancelled(struct rl_shard *shard, uint64_t id);

/* The actor has ended; the claim is off its list. */
void rli_name_drop(struct name_claim *claim);

/* A NAME or an UNREGISTER that had to wait has left. */
void rli_name_sent(struct rl_shard *shard, struct obligation *obligation);

#endif
