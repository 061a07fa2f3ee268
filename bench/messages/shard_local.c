/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Ringline's side on one core: messages among actors, actors that come and go, timers. */
#include "messages/shard_rows.h"

#include "common/program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The state of every actor here but those of the memory row. */
struct local {
	struct shard_run *run;
	rl_actor_id peer; /* pingpong: the other; spawn: who spawns */
	uint64_t random; /* timer */
};

static int
window_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct local *local = rl_actor_state(self);
	struct shard_run *run;
	struct ball ball;
	int rc;

	if (msg->kind != KIND_BALL) {
		if (msg->kind != RL_MSG_START) {
			return RL_ACTOR_UNHANDLED;
		}
		local->run = msg->start.arg;
		return 0;
	}
	run = local->run;
	ball = ball_next(RL_MSG_AS(msg, struct ball));
	if (!meter_add(run->meter, 1)) {
		return shard_run_end(run, 0);
	}
	rc = rl_actor_send(self, run->ids[ball_choice(&ball)], KIND_BALL, &ball, sizeof(ball));
	return rc == 0 ? 0 : shard_run_end(run, rc);
}

static const struct rl_actor_def window_def = {
	.name = "window",
	.receive = window_receive,
	.state_size = sizeof(struct local),
};

/* Spawns the others, then serves: the first message of each goes out in its name. */
static int
window_begin(struct rl_actor *self, const struct rl_msg *msg)
{
	struct shard_run *run = msg->start.arg;
	uint32_t i;
	int rc;

	if (msg->kind != RL_MSG_START) {
		return RL_ACTOR_UNHANDLED;
	}
	meter_watch(run->meter, 0);
	for (i = 0; i < MESSAGES_ACTORS; i++) {
		rc = rl_actor_spawn(self, &window_def, run, &run->ids[i]);
		if (rc != 0) {
			return shard_run_end(run, rc);
		}
	}
	for (i = 0; i < MESSAGES_WINDOW; i++) {
		struct ball ball = { messages_random(i), 0 };

		rc = rl_actor_send(self, run->ids[i % MESSAGES_ACTORS], KIND_BALL, &ball,
				   sizeof(ball));
		if (rc != 0) {
			return shard_run_end(run, rc);
		}
	}
	return 0;
}

static const struct rl_actor_def window_begin_def = { .name = "begin", .receive = window_begin };

static int
pingpong_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct local *local = rl_actor_state(self);
	struct ball ball;
	int rc;

	if (msg->kind != KIND_BALL) {
		if (msg->kind != RL_MSG_START) {
			return RL_ACTOR_UNHANDLED;
		}
		local->run = msg->start.arg;
		local->peer =
			local->run->ids[rl_actor_id_eq(rl_actor_self(self), local->run->ids[0])];
		return 0;
	}
	ball = ball_next(RL_MSG_AS(msg, struct ball));
	if (!meter_add(local->run->meter, 1)) {
		return shard_run_end(local->run, 0);
	}
	rc = rl_actor_send(self, local->peer, KIND_BALL, &ball, sizeof(ball));
	return rc == 0 ? 0 : shard_run_end(local->run, rc);
}

static const struct rl_actor_def pingpong_def = {
	.name = "pingpong",
	.receive = pingpong_receive,
	.state_size = sizeof(struct local),
};

static int
pingpong_begin(struct rl_actor *self, const struct rl_msg *msg)
{
	struct shard_run *run = msg->start.arg;
	struct ball ball = { 1, 0 };
	int rc = 0;
	int i;

	if (msg->kind != RL_MSG_START) {
		return RL_ACTOR_UNHANDLED;
	}
	meter_watch(run->meter, 0);
	for (i = 0; i < 2 && rc == 0; i++) {
		rc = rl_actor_spawn(self, &pingpong_def, run, &run->ids[i]);
	}
	if (rc == 0) {
		rc = rl_actor_send(self, run->ids[0], KIND_BALL, &ball, sizeof(ball));
	}
	return rc == 0 ? 0 : shard_run_end(run, rc);
}

static const struct rl_actor_def pingpong_begin_def = {
	.name = "begin",
	.receive = pingpong_begin,
};

struct hearer {
	uint64_t heard;
	const rl_actor_id *caller; /* of the last one: who waits until all have heard */
};

static int
hearer_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct hearer *hearer = rl_actor_state(self);
	uint64_t word;

	if (msg->kind == RL_MSG_START) {
		hearer->caller = msg->start.arg;
		return 0;
	}
	if (msg->kind != KIND_BALL) {
		return RL_ACTOR_UNHANDLED;
	}
	memcpy(&word, rl_msg_buf(msg)->data, sizeof(word));
	hearer->heard += word;
	return hearer->caller == NULL ? 0 : rl_actor_send(self, *hearer->caller, KIND_GO, NULL, 0);
}

static const struct rl_actor_def hearer_def = {
	.name = "hearer",
	.receive = hearer_receive,
	.state_size = sizeof(struct hearer),
};

/* Who broadcasts. */
struct caller {
	struct shard_run *run;
	uint64_t number;
	rl_actor_id self;
	rl_actor_id ids[MESSAGES_RECEIVERS];
};

static int
caller_call(struct rl_actor *self, struct caller *caller)
{
	struct rl_buf *buf;
	size_t taken;
	void *text;
	int rc = rl_buf_take(rl_actor_shard(self), MESSAGES_TEXT_BYTES, &buf, &text);

	if (rc != 0) {
		return rc;
	}
	memset(text, (int)++caller->number, MESSAGES_TEXT_BYTES);
	rc = rl_actor_broadcast(self, caller->ids, MESSAGES_RECEIVERS, KIND_BALL, buf, &taken);
	rl_buf_release(buf);
	return rc;
}

static int
caller_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct caller *caller = rl_actor_state(self);
	int rc = 0;
	int i;

	if (msg->kind == RL_MSG_START) {
		caller->run = msg->start.arg;
		meter_watch(caller->run->meter, 0);
		caller->self = rl_actor_self(self);
		for (i = 0; i < MESSAGES_RECEIVERS && rc == 0; i++) {
			rc = rl_actor_spawn(self, &hearer_def,
					    i + 1 < MESSAGES_RECEIVERS ? NULL : &caller->self,
					    &caller->ids[i]);
		}
	} else if (msg->kind != KIND_GO) {
		return RL_ACTOR_UNHANDLED;
	} else if (!meter_add(caller->run->meter, MESSAGES_RECEIVERS)) {
		return shard_run_end(caller->run, 0);
	}
	rc = rc == 0 ? caller_call(self, caller) : rc;
	return rc == 0 ? 0 : shard_run_end(caller->run, rc);
}

static const struct rl_actor_def caller_def = {
	.name = "caller",
	.receive = caller_receive,
	.state_size = sizeof(struct caller),
};

/* The last of a burst, the one with an argument, tells the spawner that all have been. */
static int
child_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	uint8_t *state = rl_actor_state(self);
	const rl_actor_id *spawner;

	state[0] = (uint8_t)msg->kind;
	if (msg->kind != RL_MSG_START) {
		return RL_ACTOR_UNHANDLED;
	}
	spawner = msg->start.arg;
	if (spawner != NULL) {
		int rc = rl_actor_send(self, *spawner, KIND_GO, NULL, 0);

		return rc == 0 ? RL_ACTOR_STOP : rc;
	}
	return RL_ACTOR_STOP;
}

static const struct rl_actor_def child_def = {
	.name = "child",
	.receive = child_receive,
	.state_size = MESSAGES_STATE_BYTES,
};

static int
spawn_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct local *local = rl_actor_state(self);
	int rc = 0;
	int i;

	if (msg->kind == RL_MSG_START) {
		local->run = msg->start.arg;
		local->peer = rl_actor_self(self);
		meter_watch(local->run->meter, 0);
	} else if (msg->kind != KIND_GO) {
		return RL_ACTOR_UNHANDLED;
	} else if (!meter_add(local->run->meter, MESSAGES_SPAWNS)) {
		return shard_run_end(local->run, 0);
	}
	for (i = 1; i < MESSAGES_SPAWNS && rc == 0; i++) {
		rc = rl_actor_spawn(self, &child_def, NULL, NULL);
	}
	if (rc == 0) {
		rc = rl_actor_spawn(self, &child_def, &local->peer, NULL);
	}
	return rc == 0 ? 0 : shard_run_end(local->run, rc);
}

static const struct rl_actor_def spawn_def = {
	.name = "spawn",
	.receive = spawn_receive,
	.state_size = sizeof(struct local),
};

static int
idle_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	return msg->kind == RL_MSG_START ? 0 : RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def idle_def = { .name = "idle", .receive = idle_receive };

/* The last of the population has started before the message that this actor sends itself comes. */
static int
memory_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct local *local = rl_actor_state(self);
	uint32_t population;
	uint32_t i;
	int rc = 0;

	if (msg->kind == KIND_GO) {
		population = local->run->options->population;
		meter_note(local->run->meter, "bytes",
			   ((double)meter_rss_bytes() - (double)local->random) / population);
		meter_note(local->run->meter, "actors", population);
		return shard_run_end(local->run, 0);
	}
	if (msg->kind != RL_MSG_START) {
		return RL_ACTOR_UNHANDLED;
	}
	local->run = msg->start.arg;
	local->random = meter_rss_bytes();
	population = local->run->options->population;
	for (i = 0; i < population && rc == 0; i++) {
		rc = rl_actor_spawn(self, &idle_def, NULL, NULL);
	}
	if (rc == 0) {
		rc = rl_actor_send(self, rl_actor_self(self), KIND_GO, NULL, 0);
	}
	return rc == 0 ? 0 : shard_run_end(local->run, rc);
}

static const struct rl_actor_def memory_def = {
	.name = "memory",
	.receive = memory_receive,
	.state_size = sizeof(struct local),
};

/* The population first, then one more again and again, cancelled at once. */
static int
timer_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct local *local = rl_actor_state(self);
	uint32_t count = MESSAGES_BURST;
	rl_timer_id timer;
	uint32_t i;
	int rc = 0;

	if (msg->kind == RL_MSG_START) {
		local->run = msg->start.arg;
		meter_watch(local->run->meter, 0);
		count = local->run->options->population;
	} else if (msg->kind != KIND_GO) {
		return RL_ACTOR_UNHANDLED;
	} else if (!meter_add(local->run->meter, MESSAGES_BURST)) {
		return shard_run_end(local->run, 0);
	}
	for (i = 0; i < count && rc == 0; i++) {
		local->random = messages_random(local->random);
		rc = rl_timer_start(self, messages_delay_ns(local->random), i, &timer);
		if (rc == 0 && msg->kind == KIND_GO) {
			rc = rl_timer_cancel(self, timer);
		}
	}
	if (rc == 0) {
		rc = rl_actor_send(self, rl_actor_self(self), KIND_GO, NULL, 0);
	}
	return rc == 0 ? 0 : shard_run_end(local->run, rc);
}

static const struct rl_actor_def timer_def = {
	.name = "timer",
	.receive = timer_receive,
	.state_size = sizeof(struct local),
};

static void
local_run(const struct messages_options *options, struct meter *meter, struct rl_config config,
	  const struct rl_actor_def *def)
{
	struct shard_run *run = program_alloc(1, sizeof(*run));

	run->options = options;
	run->meter = meter;
	config.shards = 1;
	shard_run(run, &config, def);
	free(run);
}

void
shard_window(const struct messages_options *options, struct meter *meter)
{
	local_run(options, meter, RL_CONFIG(.shards = 1), &window_begin_def);
}

void
shard_pingpong(const struct messages_options *options, struct meter *meter)
{
	local_run(options, meter, RL_CONFIG(.shards = 1), &pingpong_begin_def);
}

void
shard_broadcast(const struct messages_options *options, struct meter *meter)
{
	local_run(options, meter, RL_CONFIG(.shards = 1), &caller_def);
}

void
shard_spawn(const struct messages_options *options, struct meter *meter)
{
	local_run(options, meter, RL_CONFIG(.shards = 1), &spawn_def);
}

void
shard_memory(const struct messages_options *options, struct meter *meter)
{
	local_run(options, meter, RL_CONFIG(.actors_max = options->population + 1024), &memory_def);
}

void
shard_timer(const struct messages_options *options, struct meter *meter)
{
	local_run(options, meter, RL_CONFIG(.timers_max = options->population + 1024), &timer_def);
}
