/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The actors that live in the simulated system. They check what they are told against the
 * contract (each message in its place, each byte, each timer, each answer), and in between do
 * everything that the API allows: consume in part, pause, refuse, close, abort, fail, start and
 * cancel timers.
 */
#ifndef RINGLINE_SIM_ACTOR_H
#define RINGLINE_SIM_ACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/ringline.h>

#include "sim_link.h"

/* Echoes, swallows or makes bytes, as the header of its connection wants it. */
extern const struct rl_actor_def sim_server_def;

/* What a connection's client is, when rl_conn_open() made it; its argument is a struct sim_link. */
extern const struct rl_actor_def sim_client_def;

/* Has no stream; opens connections when it is told to (message SIM_KIND_OPEN). */
extern const struct rl_actor_def sim_opener_def;

enum sim_kind {
	SIM_KIND_NUMBER = RL_MSG_USER, /* struct sim_number */
	SIM_KIND_OPEN, /* uint32_t: which target */
};

struct sim_number {
	uint64_t number; /* grows from message to message of one sender to one actor */
	uint32_t target; /* the number of the actor that it is meant for */
	uint32_t spare;
};

/* What is known of one actor, long after it has ended. */
struct sim_actor {
	rl_actor_id id;
	const struct rl_actor_def *def;
	bool started;
	bool stopped;
	uint64_t last_number;
};

#define SIM_ACTORS_MAX 4096

void sim_actors_reset(void);
uint32_t sim_actors_count(void);
struct sim_actor *sim_actor(uint32_t i);
uint32_t sim_actors_live(void);

/* INV-3: everybody who started has stopped. */
void sim_actors_check_stopped(void);

/* From now on nobody does anything that could cost bytes or time. */
void sim_actors_heal(void);

/* Can rl_conn_send() be refused for want of memory in this world? */
void sim_actors_memory_may_fail(bool may);

/* Where openers connect to: URLs, chosen by number. */
void sim_actors_targets(char (*urls)[RL_URL_MAX], uint32_t count);

#endif
