/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Between the files of the ledger only.
 */
#ifndef RINGLINE_SIM_LEDGER_STATE_H
#define RINGLINE_SIM_LEDGER_STATE_H

#include "sim_ledger.h"

#define MESSAGES_MAX 60000
#define LINKS_MAX    512

enum message_state {
	MESSAGE_SENDING,
	MESSAGE_REFUSED,
	MESSAGE_SENT,
	MESSAGE_ARRIVED,
	MESSAGE_REPORTED,
};

enum answer_state {
	ANSWER_NONE,
	ANSWER_REPLY,
	ANSWER_FAILED,
};

struct message {
	uint16_t from;
	uint16_t to;
	uint8_t state;
	uint8_t mode;
	uint8_t answer;
	bool stale; /* the receiver had ended when it was sent */
	uint8_t group; /* so many from here on were sent as one, with one buffer; 0: alone */
};

struct ledger_link {
	struct talker *maker;
	struct talker *other;
	bool was_gone; /* the other one had ended when the link was made */
};

struct ledger {
	uint32_t shards;
	uint32_t talkers_count;
	uint32_t messages_count;
	uint32_t links_count;
	uint32_t changes;
	uint32_t looked; /* changes at the last look */
	uint32_t looked_messages; /* those before have come to their end */
	struct talker talkers[TALKERS_MAX];
	struct ledger_link links[LINKS_MAX];
	uint32_t last[TALK_FOREIGN][TALK_SENDERS]; /* [receiver][sender]: 1 + the last number */
};

extern struct ledger ledger;
extern struct message ledger_messages[MESSAGES_MAX];

/* Ends that no linked actor shares. */
static inline bool
ledger_is_normal(enum rl_reason reason)
{
	return reason == RL_REASON_LOCAL || reason == RL_REASON_PEER_FIN ||
	       reason == RL_REASON_SHUTDOWN;
}

#endif
