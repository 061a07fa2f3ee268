/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Between the files of the talkers only.
 */
#ifndef RINGLINE_SIM_TALK_COMMON_H
#define RINGLINE_SIM_TALK_COMMON_H

#include "sim_ledger.h"
#include "sim_talk.h"

#define TALK_POKE   0x8000u
#define TALK_STORM  0x8001u
#define TALK_BUDGET 5000 /* messages of a seed, after which bursts are small */

enum talk_hooks {
	TALK_HOOKS_NONE,
	TALK_HOOKS_STARTED,
	TALK_HOOKS_STOPPED,
};

/* The manners of a seed. */
struct talk {
	uint32_t shards;
	uint32_t burst_max; /* messages in one go */
	uint32_t echo; /* how often being told something leads to something, in 65536 */
	uint32_t life; /* one in so many acts is the last */
	uint32_t left; /* of the budget */
	uint32_t messages;
	bool healed;
	enum talk_hooks hooks[TALK_SHARDS];
};

extern struct talk talk;

/* Counted buffers: sent to many, kept and sent on, let go of; let go of all at the end. */
void talk_broadcast(struct rl_actor *self, struct talker *me);
void talk_pass_on(struct rl_actor *self, struct talker *me);
void talk_let_go(struct rl_actor *self, struct talker *me);
void talk_keep_buf(struct talker *me, const struct rl_msg *msg);
void talk_let_go_of_all(struct talker *me);

/* How many, in one go. */
uint32_t talk_burst(void);
void talk_spend(void);

/* One notification from a shard, or from a foreign thread; what that answered. */
int talk_notify(struct rl_shard *from, uint32_t to);
int talk_foreign_notify(uint32_t to);

#endif
