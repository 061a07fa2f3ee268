/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Ringline's side between two cores: notifications and messages under load, and round trips. */
#include "messages/shard_rows.h"

#include "common/program.h"

#include <errno.h>
#include <stdlib.h>

/* What every shard has: the row, and what it saw last. */
struct side {
	struct shard_run *run;
	uint64_t hops;
	uint32_t lap; /* round trips of the current lap; spinning */
	uint32_t lap_ops;
};

struct sender {
	struct shard_run *run;
	struct ball ball;
	uint32_t spawned; /* receivers that have answered */
};

static int
side_start(struct rl_shard *shard, void *arg)
{
	struct side *side = rl_shard_state(shard);

	side->run = arg;
	meter_watch(side->run->meter, rl_shard_id(shard));
	return 0;
}

/*
 * Sends until there is no room (RL_MSG_ROOM follows), or a burst, and goes on in the next turn: to
 * itself a shard's notification comes then, an actor's message in this turn already.
 */
__attribute__((always_inline)) static inline int
sender_burst(struct rl_actor *self, struct sender *sender, bool notify)
{
	struct rl_shard *shard = rl_actor_shard(self);
	struct ball ball = sender->ball;
	int rc = 0;
	int i;

	for (i = 0; i < MESSAGES_BURST && rc == 0; i++) {
		struct ball next = ball_next(&ball);

		if (notify) {
			rc = rl_shard_notify(shard, 1, KIND_BALL, &next, sizeof(next));
		} else {
			rc = rl_actor_send(self, sender->run->ids[ball_choice(&next)], KIND_BALL,
					   &next, sizeof(next));
		}
		if (rc == 0) {
			/* by member: a copy of both at once waits for the stores of each */
			ball.random = next.random;
			ball.hops = next.hops;
		}
	}
	sender->ball = ball;
	if (rc == -EAGAIN) {
		return 0;
	}
	if (rc == 0) {
		rc = rl_shard_notify(shard, 0, KIND_GO, NULL, 0);
	}
	return rc == 0 ? 0 : shard_run_end(sender->run, rc);
}

/* On the sender's shard, in the turn after a burst. */
static void
sender_go(struct rl_shard *shard, struct side *side)
{
	int rc = rl_shard_send(shard, side->run->sender, KIND_GO, NULL, 0);

	if (rc != 0) {
		(void)shard_run_end(side->run, rc);
	}
}

static int
notify_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct sender *sender = rl_actor_state(self);

	if (msg->kind == RL_MSG_START) {
		sender->run = msg->start.arg;
		sender->run->sender = rl_actor_self(self);
	} else if (msg->kind != KIND_GO && msg->kind != RL_MSG_ROOM) {
		return RL_ACTOR_UNHANDLED;
	}
	return sender_burst(self, sender, true);
}

static const struct rl_actor_def notify_def = {
	.name = "notify",
	.receive = notify_receive,
	.state_size = sizeof(struct sender),
};

static void
notify_on_notify(struct rl_shard *shard, const struct rl_msg *msg)
{
	struct side *side = rl_shard_state(shard);

	if (msg->kind == KIND_GO) {
		sender_go(shard, side);
		return;
	}
	side->hops = RL_MSG_AS(msg, struct ball)->hops;
	if (!meter_add(side->run->meter, 1)) {
		(void)shard_run_end(side->run, 0);
	}
}

static const struct rl_shard_def notify_shard = {
	.state_size = sizeof(struct side),
	.on_start = side_start,
	.on_notify = notify_on_notify,
};

static int
target_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct side *side = rl_actor_state(self);

	if (msg->kind != KIND_BALL) {
		if (msg->kind != RL_MSG_START) {
			return RL_ACTOR_UNHANDLED;
		}
		side->run = msg->start.arg;
		return 0;
	}
	side->hops = RL_MSG_AS(msg, struct ball)->hops;
	return meter_add(side->run->meter, 1) ? 0 : shard_run_end(side->run, 0);
}

static const struct rl_actor_def target_def = {
	.name = "target",
	.receive = target_receive,
	.state_size = sizeof(struct side),
};

/* Spawns the receivers on the other shard, and sends when it knows them all. */
static int
send_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct sender *sender = rl_actor_state(self);
	int rc = 0;
	int i;

	switch (msg->kind) {
	case RL_MSG_START:
		sender->run = msg->start.arg;
		sender->run->sender = rl_actor_self(self);
		for (i = 0; i < MESSAGES_ACTORS && rc == 0; i++) {
			rc = rl_actor_spawn_on(self, 1, &target_def, sender->run, NULL);
		}
		return rc == 0 ? 0 : shard_run_end(sender->run, rc);
	case RL_MSG_REPLY:
		sender->run->ids[sender->spawned++] = *(const rl_actor_id *)msg->reply.data;
		if (sender->spawned < MESSAGES_ACTORS) {
			return 0;
		}
		return sender_burst(self, sender, false);
	case RL_MSG_REPLY_FAILED:
		return shard_run_end(sender->run, msg->reply_failed.error);
	case KIND_GO:
	case RL_MSG_ROOM:
		return sender_burst(self, sender, false);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def send_def = {
	.name = "send",
	.receive = send_receive,
	.state_size = sizeof(struct sender),
};

static void
send_on_notify(struct rl_shard *shard, const struct rl_msg *msg)
{
	(void)msg; /* there is but one kind */
	sender_go(shard, rl_shard_state(shard));
}

static const struct rl_shard_def send_shard = {
	.state_size = sizeof(struct side),
	.on_start = side_start,
	.on_notify = send_on_notify,
};

/* Shard 1 sends back what it gets; shard 0 counts, and ends a lap every lap_ops round trips. */
static void
trip_on_notify(struct rl_shard *shard, const struct rl_msg *msg)
{
	static const struct ball nothing;
	struct side *side = rl_shard_state(shard);
	struct meter *meter = side->run->meter;
	struct ball ball = nothing;
	int rc;

	if (msg->kind == KIND_GO) {
		meter_lap(meter, side->lap_ops);
	} else {
		ball = ball_next(RL_MSG_AS(msg, struct ball));
		if (rl_shard_id(shard) == 0) {
			if (++side->lap == side->lap_ops) {
				side->lap = 0;
				meter_lap(meter, side->lap_ops);
			}
			if (!meter_add(meter, 1)) {
				(void)shard_run_end(side->run, 0);
				return;
			}
		}
	}
	rc = rl_shard_notify(shard, 1 - rl_shard_id(shard), KIND_BALL, &ball, sizeof(ball));
	if (rc != 0) {
		(void)shard_run_end(side->run, rc);
	}
}

static int
parked_start(struct rl_shard *shard, void *arg)
{
	struct side *side = rl_shard_state(shard);

	side->lap_ops = 1;
	return side_start(shard, arg);
}

static int
spinning_start(struct rl_shard *shard, void *arg)
{
	struct side *side = rl_shard_state(shard);

	side->lap_ops = MESSAGES_LAP;
	return side_start(shard, arg);
}

static const struct rl_shard_def parked_shard = {
	.state_size = sizeof(struct side),
	.on_start = parked_start,
	.on_notify = trip_on_notify,
};

static const struct rl_shard_def spinning_shard = {
	.state_size = sizeof(struct side),
	.on_start = spinning_start,
	.on_notify = trip_on_notify,
};

static void
cross_run(const struct messages_options *options, struct meter *meter,
	  const struct rl_shard_def *shard, const struct rl_actor_def *def, uint32_t row_spin_us)
{
	struct shard_run *run = program_alloc(1, sizeof(*run));
	uint32_t spin_us = options->spin_us < 0 ? row_spin_us : (uint32_t)options->spin_us;
	struct rl_config config =
		RL_CONFIG(.shards = 2, .shard = shard, .shard_arg = run, .spin_us = spin_us);

	run->options = options;
	run->meter = meter;
	shard_run(run, &config, def);
	free(run);
}

void
shard_notify(const struct messages_options *options, struct meter *meter)
{
	cross_run(options, meter, &notify_shard, &notify_def, MESSAGES_SPIN_US);
}

void
shard_drowsy(const struct messages_options *options, struct meter *meter)
{
	cross_run(options, meter, &notify_shard, &notify_def, 0);
}

void
shard_send(const struct messages_options *options, struct meter *meter)
{
	cross_run(options, meter, &send_shard, &send_def, MESSAGES_SPIN_US);
}

void
shard_parked(const struct messages_options *options, struct meter *meter)
{
	cross_run(options, meter, &parked_shard, NULL, 0);
}

void
shard_spinning(const struct messages_options *options, struct meter *meter)
{
	cross_run(options, meter, &spinning_shard, NULL, MESSAGES_SPIN_US);
}
