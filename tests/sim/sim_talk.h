/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Talkers: actors on all shards that do to each other what the API allows, in bursts, and write it
 * down in the ledger (sim_ledger.h). They act when a foreign thread pokes them, and now and then
 * when they are told something, so that the talk dies down by itself.
 */
#ifndef RINGLINE_SIM_TALK_H
#define RINGLINE_SIM_TALK_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/ringline.h>

/* The shards' hooks; the system's configuration names them. */
extern const struct rl_shard_def sim_talk_shard;

/* What shard_arg is to be. */
void *sim_talk_arg(void);

/* Draws the manners of this seed; before the system starts. */
void sim_talk_reset(uint32_t shards);

/* The first talkers. */
void sim_talk_populate(void);

/* A foreign thread's: make somebody act; also while a shard is in the middle of its turn. */
void sim_talk_poke(void);

/* A new one from a foreign thread, which waits for it; not while a shard is in its turn. */
void sim_talk_newcomer(void);

/* A foreign thread tells shard @from to send to @to as much as there is room for. */
void sim_talk_storm(uint32_t from, uint32_t to);

/* Everybody answers what is owed, and nobody begins anything any more. */
void sim_talk_heal(void);

/* The world is healed: the talk has died down, and all deadlines passed. */
bool sim_talk_is_done(void);

/* After the system has stopped. */
void sim_talk_end(void);

/* How many messages were talked. */
uint32_t sim_talk_messages(void);

#endif
