/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the contract says about messages between actors, kept apart from the product: every talker,
 * every message, request, monitor and link of a seed, and what has come of each. The talkers
 * (sim_talk.c) write down what they do and what they are told; whatever breaks the contract ends
 * the run.
 *
 * When nothing is in flight (sim_ledger_look()), all that is left over must have an excuse.
 */
#ifndef RINGLINE_SIM_LEDGER_H
#define RINGLINE_SIM_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/ringline.h>

#define TALKERS_MAX  128
#define TALK_SHARDS  8
#define TALK_FOREIGN (TALKERS_MAX + TALK_SHARDS) /* a sender that is no shard */
#define TALK_SENDERS (TALK_FOREIGN + 1)
#define TALK_TIES    16
#define TALK_BUFS    4
#define TALK_KIND    0x10000u /* and the number of the message */
#define TALK_NONE    UINT32_MAX

/* How a request is to be answered. */
enum talk_mode {
	TALK_PLAIN, /* it is none */
	TALK_NOW,
	TALK_TWICE,
	TALK_LATER,
	TALK_NEVER,
	TALK_FAIL,
	TALK_UNHANDLED,
	TALK_MODES
};

struct talk_body {
	uint32_t number;
	uint16_t from; /* a talker, or TALKERS_MAX + a shard, or TALK_FOREIGN */
	uint16_t to; /* likewise */
	uint32_t check;
	uint8_t filler[RL_MSG_INLINE_MAX - 12];
};

_Static_assert(sizeof(struct talk_body) == RL_MSG_INLINE_MAX, "it fills a message");

struct talk_request {
	rl_request_id id;
	uint32_t number; /* TALK_NONE: a spawn */
	uint32_t target; /* or who is spawned */
	uint64_t due_ns; /* UINT64_MAX: no deadline */
	bool open;
};

struct talk_watch {
	rl_monitor_id id;
	uint32_t target;
	bool open;
};

struct talk_promise {
	rl_request_id id;
	uint32_t number;
	bool open;
};

/* An actor, long after it has ended. The first ones of each seed never existed. */
struct talker {
	rl_actor_id id;
	uint32_t shard;
	bool known; /* others may have its id */
	bool reports;
	bool started;
	bool stopped;
	bool decided; /* it answered that it wants to end: with this reason */
	bool young; /* it was told nothing but RL_MSG_START: its end may have been decided before */
	bool called_gone; /* somebody was told that it has ended */
	enum rl_reason reason;
	int error;
	bool room_owed[TALK_SHARDS];
	struct talk_request requests[TALK_TIES];
	struct talk_watch watches[TALK_TIES];
	struct talk_promise promises[TALK_TIES];
	struct rl_buf *bufs[TALK_BUFS]; /* that it keeps a reference to */
};

void sim_ledger_reset(uint32_t shards);

/* A record for an actor that is to be spawned, or NULL. */
struct talker *sim_ledger_talker(uint32_t shard, bool reports);
/* It was not spawned. */
void sim_ledger_unspawned(struct talker *talker);
uint32_t sim_ledger_number(const struct talker *talker);
/* Any that others may know, ended ones among them; some living one, or NULL. */
struct talker *sim_ledger_any(void);
struct talker *sim_ledger_living(void);

/* ---- messages */

/* A message is about to be sent; fills @body. TALK_NONE: the ledger is full. */
uint32_t sim_ledger_send(uint32_t from, uint32_t to, enum talk_mode mode, struct talk_body *body,
			 uint32_t *len);
/* For a body that is sent whole, whatever the length. */
void sim_ledger_seal(struct talk_body *body);
/* Those from @first on are sent as one, with one buffer and the kind of the first. */
void sim_ledger_group(uint32_t first, uint32_t count);
/* What sending it answered. */
void sim_ledger_sent(uint32_t number, int rc);
/* It arrived at @to. */
enum talk_mode sim_ledger_arrived(uint32_t to, const struct rl_msg *msg);
/* The bytes of a buffer are those that it was filled with. */
void sim_ledger_check_buf(const struct rl_buf *buf);
/* Its request was answered, with an error or not. */
void sim_ledger_answered(uint32_t number, int error);

/* There was no room to a shard. */
void sim_ledger_no_room(struct talker *me, uint32_t shard);

/* ---- what a talker is told; each ends the run when it must not come */

void sim_ledger_message(struct talker *me, const struct rl_actor *self, const struct rl_msg *msg);
void sim_ledger_wants_end(struct talker *me, enum rl_reason reason, int error);

/* ---- ties */

/* A free record, or NULL. */
struct talk_request *sim_ledger_request(struct talker *me);
struct talk_watch *sim_ledger_watch(struct talker *me);
struct talk_promise *sim_ledger_promise(struct talker *me);
void sim_ledger_link(struct talker *me, struct talker *other);

/* ---- the whole */

/* Something happened since the last look, and nothing is in flight: what is left has an excuse. */
void sim_ledger_look(void);
/* Nothing is in flight on any shard. */
bool sim_ledger_is_quiet(void);
/* Deadlines have passed: no request that has one is open. */
bool sim_ledger_is_settled(void);
void sim_ledger_explain(void);
/* The system has stopped. */
void sim_ledger_end(void);

#endif
