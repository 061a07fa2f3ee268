/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Ringline's side: each row is a system of one shard or two that is started, works until the meter
 * has enough, and drains.
 */
#ifndef RINGLINE_BENCH_SHARD_ROWS_H
#define RINGLINE_BENCH_SHARD_ROWS_H

#include "messages/messages.h"

#include <ringline/ringline.h>

/* What actors and hooks of a row share. Written before the system starts, or by one shard alone. */
struct shard_run {
	const struct messages_options *options;
	struct meter *meter;
	struct rl_system *sys;
	rl_actor_id ids[MESSAGES_ACTORS];
	rl_actor_id sender; /* rows notify and send; shard 0 alone */
};

enum {
	KIND_BALL = RL_MSG_USER,
	KIND_GO /* to itself: go on in the next round */
};

/*
 * Start @p config on the CPUs of the options, spawn @p def on shard 0 with @p run as its argument
 * (none when NULL: then the shard is notified of KIND_GO), and wait for the end. Notes what the
 * counters say for each operation.
 */
void shard_run(struct shard_run *run, const struct rl_config *config,
	       const struct rl_actor_def *def);

/* The row has what it wants, or @p rc went wrong. Any handler; answers what it may return. */
int shard_run_end(struct shard_run *run, int rc);

void shard_window(const struct messages_options *options, struct meter *meter);
void shard_pingpong(const struct messages_options *options, struct meter *meter);
void shard_broadcast(const struct messages_options *options, struct meter *meter);
void shard_spawn(const struct messages_options *options, struct meter *meter);
void shard_memory(const struct messages_options *options, struct meter *meter);
void shard_timer(const struct messages_options *options, struct meter *meter);
void shard_notify(const struct messages_options *options, struct meter *meter);
void shard_drowsy(const struct messages_options *options, struct meter *meter);
void shard_send(const struct messages_options *options, struct meter *meter);
void shard_parked(const struct messages_options *options, struct meter *meter);
void shard_spinning(const struct messages_options *options, struct meter *meter);

#endif
