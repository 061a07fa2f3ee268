/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The mesh: how messages cross cores.
 *
 * Each ordered pair of shards has 16 blocks of 64 envelopes, and two single-producer
 * single-consumer rings: forward, through which filled blocks go, and reverse, through which they
 * come home. The rings have more slots than there are blocks, so who owns a block has a slot:
 * publishing and returning can't fail. What a turn sends to a shard fills one block (staged) that
 * is published once, at the turn's flush: the rings' ordering is paid per turn, not per message.
 *
 *	sender (out)                              receiver
 *	  free blocks, last in first out            take: forward ring
 *	  staged: filled by rli_mesh_stage()        deliver, mark what could not be delivered
 *	  flush: forward ring, inbound bit          return: reverse ring, bit only if it matters
 *	  home: reverse ring                        (a report is in it, or the owner wants room)
 *
 * Two handshakes of one kind make sure that nobody sleeps over something (the proof is at the head
 * of shard/sleep.h; tests/model checks both):
 *
 *	publish:  push; inbound |= bit (seq_cst); look at sleeping      rli_mesh_flush(), rli_wake()
 *	sleep:    sleeping = 1; fence (seq_cst); look at inbound               rli_mesh_is_quiet()
 *
 *	want:     want_room = 1; fence (seq_cst); look at the reverse ring     rli_mesh_stage()
 *	return:   push; fence (seq_cst); look at want_room              rli_mesh_flush()
 *
 * Of a pair's 16 blocks two are reserved for obligations (replies, reports of death: what must
 * arrive), and of the others the last four leave only when they are full or when a block comes
 * home, so that a pair holds at least 10 + 4 x 64 = 266 messages even when each turn sends one.
 */
#ifndef RINGLINE_MAILBOX_MESH_H
#define RINGLINE_MAILBOX_MESH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/list.h"
#include "base/mutant.h"
#include "mailbox/mailbox.h"

#define MESH_BLOCKS	     16
#define MESH_BLOCK_ENVELOPES 64
#define MESH_RESERVED	     2 /* blocks that only obligations may take */
#define MESH_PARTIAL_MAX     10 /* blocks out of home, above which only full ones leave */
#define MESH_WORDS	     (ID_SHARDS_MAX / 64)
/* x86-64: the builtin fetches for reading, and leaves the line with who reads it. */
#if defined(__x86_64__)
#define MESH_FETCH(line) __asm__ volatile("prefetchw %0" ::"m"(*(line)))
#else
#define MESH_FETCH(line) __builtin_prefetch((line), 1)
#endif
#define MESH_AHEAD 16 /* envelopes that are fetched before they are written */

struct mesh;
struct mesh_pair;

/* The first line is the sender's: a receiver touches it only to say what it could not deliver. */
struct mesh_block {
	_Alignas(64) uint32_t to; /* the receiver */
	uint64_t reports; /* set by the receiver: bit i, envelopes[i] was not delivered */
	struct mesh_block *next; /* on the sender's list `reported` */
	_Alignas(64) struct envelope envelopes[MESH_BLOCK_ENVELOPES];
};

/*
 * A message that must arrive: its memory is its owner's, taken when the obligation arose, so that
 * the want of room can only delay it. On the pair's list while no block had room for it.
 */
struct obligation {
	struct list_node node;
	/*
	 * Its record lives until this has left, and then goes: it is put on the port's list `sent`.
	 * Not for a record that goes to the other shard: from the push on that one has it.
	 */
	bool last;
	struct envelope envelope;
};

/* What was taken from another shard. */
struct mesh_taken {
	struct mesh_block *block;
	uint32_t count; /* of envelopes in it */
	bool notifies; /* nothing but notifications is in it */
};

/* One shard's end of the pair to one other shard. */
struct mesh_out {
	/*
	 * Where the next envelope goes, as long as it is before the end: that of the block that is
	 * being filled, or next itself while that block is held back, or there is none.
	 */
	_Alignas(64) struct envelope *next;
	struct envelope *end;
	bool mixed; /* something but notifications is staged */
	bool opened; /* the pair was used, and its blocks are counted */
	bool pushed; /* a block is in the ring, and its receiver was not woken */
	bool wants; /* want_room is set */
	struct mesh_block *staged; /* being filled; NULL: none */
	struct mesh_pair *pair;
	struct list_node dirty; /* on the port's list: staged or pushed, not announced */
	struct list obliged; /* obligations without room; then staged has none either */
	struct list waiters; /* of the actor module: who was told -EAGAIN */
	uint32_t free_count;
	uint32_t obligations; /* in the staged block */
	uint32_t pushed_at; /* position in the forward ring */
	uint32_t home_at; /* position in the reverse ring */
	struct mesh_block *free[MESH_BLOCKS];
};

/* One shard's end of the pair from one other shard. */
struct mesh_in {
	uint32_t taken_at; /* position in the forward ring */
	uint32_t returned_at; /* position in the reverse ring */
};

struct mesh_port {
	/*
	 * Others set bits, this shard exchanges words for 0; one cache line. inbound: who has
	 * published something for us. homing: whose return of our blocks we must look at.
	 */
	_Alignas(64) _Atomic uint64_t inbound[MESH_WORDS];
	_Atomic uint64_t homing[MESH_WORDS];

	_Alignas(64) struct mesh *mesh;
	uint32_t id;
	uint32_t shards;
	uint32_t next_source; /* where the next round begins, so that all get their turn */
	bool stopping; /* every block is wanted home */
	bool any_returned; /* since the last flush */
	uint64_t published; /* envelopes but obligations, since somebody set it to 0 */
	uint64_t returned[MESH_WORDS]; /* to whom */
	uint64_t told[MESH_WORDS]; /* to whom with reports in it */
	struct list dirty; /* of struct mesh_out */
	struct list
		sent; /* obligations that were the last of their record and left after waiting */
	struct mesh_block *reported; /* came home with undelivered messages in them, in order */
	struct mesh_block *reported_last;
	struct mesh_out *out; /* by destination */
	struct mesh_in *in; /* by source */
};

/* Shards that have marked this one, in rotation. */
struct mesh_sources {
	uint64_t words[MESH_WORDS];
	uint32_t at; /* next() looks here next ... */
	uint32_t left; /* ... and at so many in all */
};

/* NULL when there is no memory. Idle pairs cost address space only. */
struct mesh *rli_mesh_create(uint32_t shards);

void rli_mesh_destroy(struct mesh *mesh);

struct mesh_port *rli_mesh_port(struct mesh *mesh, uint32_t shard);

/* How rli_mesh_stage() goes on when the staged block has no room, or is held back. */
struct envelope *rli_mesh_stage_block(struct mesh_port *port, uint32_t to, uint32_t reserved);

/* Get a cache line that other cores have, to be written soon. */
static inline void
mesh_fetch(const struct envelope *envelope)
{
	MESH_FETCH(envelope);
}

/* An envelope to @to is at hand; @to may be @port itself, and then none ever is. */
static inline bool
rli_mesh_at_hand(const struct mesh_port *port, uint32_t to)
{
	return port->out[to].next != port->out[to].end;
}

/* Take it, for a notification. */
static inline struct envelope *
rli_mesh_next(struct mesh_port *port, uint32_t to)
{
	struct mesh_out *out = &port->out[to];
	struct envelope *envelope = out->next;

	out->next = envelope + 1;
	mesh_fetch(envelope + MESH_AHEAD); /* beyond the block it is harmless */
	return envelope;
}

/* What was taken is no notification. */
static inline void
rli_mesh_mix(struct mesh_port *port, uint32_t to)
{
	if (!port->out[to].mixed) {
		port->out[to].mixed = !RL_MUTANT(MIXED_FORGOTTEN);
	}
}

/*
 * Room for one envelope to @to, to be filled at once; NULL: no block has room, and its coming home
 * will be announced.
 */
static inline struct envelope *
rli_mesh_stage(struct mesh_port *port, uint32_t to)
{
	struct envelope *envelope = rli_mesh_at_hand(port, to)
					    ? rli_mesh_next(port, to)
					    : rli_mesh_stage_block(port, to, MESH_RESERVED);

	rli_mesh_mix(port, to);
	return envelope;
}

/*
 * Send @obligation to @to. True: copied, the memory is the caller's again. False: it waits on its
 * node, and goes before all that is staged later.
 */
bool rli_mesh_oblige(struct mesh_port *port, uint32_t to, struct obligation *obligation);

/* It waits? Then it may also be changed, or taken off with list_remove(). */
static inline bool
rli_obligation_waits(const struct obligation *obligation)
{
	return list_is_linked(&obligation->node);
}

/*
 * Publish what was staged, and announce what was returned to those who wait for it. Adds to the set
 * @wake those whose inbound bit was set: the caller wakes them if they sleep, and needs no fence
 * before it looks (rli_wake()). False: none.
 */
bool rli_mesh_flush(struct mesh_port *port, uint64_t *wake);

/* Who has published something; false: nobody. */
bool rli_mesh_inbound(struct mesh_port *port, struct mesh_sources *sources);

/* Whose returns must be looked at; false: nobody's. */
bool rli_mesh_homing(struct mesh_port *port, struct mesh_sources *sources);

/* The next of them; each is first once in as many rounds as there are shards. False: no more. */
bool rli_mesh_sources_next(struct mesh_port *port, struct mesh_sources *sources, uint32_t *source);

/* Mark @source for the next turn: not everything that it published was taken, ... */
void rli_mesh_inbound_again(struct mesh_port *port, uint32_t source);

/* ... or not everybody was told of the room that its return made. */
void rli_mesh_homing_again(struct mesh_port *port, uint32_t source);

/* Own blocks that came back from @to: free, or on the list `reported`. Places obligations. */
void rli_mesh_home(struct mesh_port *port, uint32_t to);

/* The next block with reports, off the list; NULL: there is none. */
struct mesh_block *rli_mesh_reported(struct mesh_port *port);

/* A block whose reports were dealt with is free again. */
void rli_mesh_reports_done(struct mesh_port *port, struct mesh_block *block);

/* The oldest block that @source sent; false: there is none. */
bool rli_mesh_take(struct mesh_port *port, uint32_t source, struct mesh_taken *taken);

/*
 * Give it back; announced by the next flush, if its owner waits for it or if it is @reported:
 * something in it was not delivered.
 */
void rli_mesh_return(struct mesh_port *port, uint32_t source, struct mesh_block *block,
		     bool reported);

/* An ordinary envelope has room at the moment. */
bool rli_mesh_has_room(const struct mesh_port *port, uint32_t to);

/* Nobody has marked this port: the look after the sleep was announced. */
bool rli_mesh_is_quiet(const struct mesh_port *port);

/* From now on every block is wanted home. */
void rli_mesh_stop(struct mesh_port *port);

/* Every block of this port is home and nothing waits to be sent. */
bool rli_mesh_is_home(const struct mesh_port *port);

#endif
