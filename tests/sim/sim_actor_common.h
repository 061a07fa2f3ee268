/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Between the files of the simulated actors only.
 */
#ifndef RINGLINE_SIM_ACTOR_COMMON_H
#define RINGLINE_SIM_ACTOR_COMMON_H

#include "sim_actor.h"

#define COMMON_TIMERS 4

struct common_timer {
	rl_timer_id id;
	uint64_t tag;
	uint64_t due_ns;
	uint64_t started_turn_ns;
	bool armed;
	bool every;
};

/* The head of every simulated actor's state. */
struct common {
	struct sim_actor *actor;
	struct common_timer timers[COMMON_TIMERS];
	uint64_t tag_next;
	bool ended; /* it said so itself */
};

/* The head of a connection's: what the contract says about its stream. */
struct stream {
	struct common common;
	struct sim_link *link;
	uint64_t got; /* consumed */
	uint64_t sent;
	uint64_t resume_tag; /* the timer that ends a pause */
	bool open;
	bool eof;
	bool owed; /* RL_MSG_WRITABLE will come */
	bool paused;
	bool again; /* RL_MSG_RECV was answered -EAGAIN: nothing comes before a notice */
	bool shut;
	bool aborted;
	bool over; /* consumed less than it was given, and that was the last */
};

/* Checks that hold for every actor; to be called first with every message. */
void common_message(struct rl_actor *self, struct common *common, const struct rl_msg *msg,
		    const struct rl_actor_def *def);
void common_timer_start(struct rl_actor *self, struct common *common);
void common_timer_cancel(struct rl_actor *self, struct common *common);

/* @chance in 65536, never once the world is healed. */
bool common_may(uint32_t chance);

bool sim_actors_memory_fails(void);

/* What RL_MSG_OPEN says of TLS is what was agreed on. */
void stream_check_open(const struct rl_actor *self, const struct rl_msg *msg);

/* Checks of a stream's message order. */
void stream_message(struct rl_actor *self, struct stream *stream, const struct rl_msg *msg);

/* Send bytes of the link's stream from stream->sent on; what rl_conn_send() answered. */
int stream_send(struct rl_actor *self, struct stream *stream, enum link_side side, uint32_t len);

/* rl_conn_send(), and a check that nobody gets more than its share. */
int stream_conn_send(struct rl_actor *self, const void *data, size_t len);

/* What a send answered is one of the things that it may. */
void stream_check_send(struct stream *stream, int rc);

/* Something that any handler may do now and then. */
void stream_fidget(struct rl_actor *self, struct stream *stream);

/* A wild one ends somehow, or not now (0); else what its handler answers. */
int stream_run_wild(struct rl_actor *self, struct stream *stream);

#endif
