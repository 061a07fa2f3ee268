/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The bare side on one core: messages among actors, and actors that come and go. */
#include "messages/bare_dispatch.h"
#include "messages/bare_rows.h"

#include "common/program.h"

#include <stdlib.h>
#include <string.h>

enum {
	KIND_BALL = 1,
	KIND_START
};

/* What every actor knows. */
struct local {
	struct bare_core core;
	struct meter *meter;
	struct bare_actor actors[MESSAGES_ACTORS];
	bool over;
};

static int
window_receive(struct bare_actor *self, const struct bare_msg *msg)
{
	struct local *local = self->state;
	struct ball ball = ball_next((const struct ball *)(const void *)msg->payload);

	if (!meter_add(local->meter, 1)) {
		local->over = true;
		return 0;
	}
	bare_post(&local->core, &local->actors[ball_choice(&ball)], KIND_BALL, &ball, sizeof(ball));
	return 0;
}

static int
pingpong_receive(struct bare_actor *self, const struct bare_msg *msg)
{
	struct local *local = self->state;
	struct ball ball = ball_next((const struct ball *)(const void *)msg->payload);

	if (!meter_add(local->meter, 1)) {
		local->over = true;
		return 0;
	}
	bare_post(&local->core, &local->actors[self == &local->actors[0]], KIND_BALL, &ball,
		  sizeof(ball));
	return 0;
}

static void
local_run(const struct messages_options *options, struct meter *meter, bare_receive_fn receive,
	  uint32_t window)
{
	struct local *local = program_alloc(1, sizeof(*local));
	uint32_t i;

	program_pin(options->cpu);
	bare_core_init(&local->core, MESSAGES_WINDOW + 1);
	local->meter = meter;
	for (i = 0; i < MESSAGES_ACTORS; i++) {
		local->actors[i].receive = receive;
		local->actors[i].state = local;
	}
	for (i = 0; i < window; i++) {
		struct ball ball = { messages_random(i), 0 };

		bare_post(&local->core, &local->actors[i % MESSAGES_ACTORS], KIND_BALL, &ball,
			  sizeof(ball));
	}
	meter_watch(meter, 0);
	while (!local->over && bare_run_one(&local->core)) {
	}
	bare_core_fini(&local->core);
	free(local);
}

void
bare_window(const struct messages_options *options, struct meter *meter)
{
	local_run(options, meter, window_receive, MESSAGES_WINDOW);
}

void
bare_pingpong(const struct messages_options *options, struct meter *meter)
{
	local_run(options, meter, pingpong_receive, 1);
}

/* Who hears of a text that all are shown. */
struct hearer {
	struct bare_actor actor;
	uint64_t heard;
};

static int
broadcast_receive(struct bare_actor *self, const struct bare_msg *msg)
{
	struct hearer *hearer = (struct hearer *)self;
	const uint8_t *text;
	uint64_t word;

	memcpy(&text, msg->payload, sizeof(text));
	memcpy(&word, text, sizeof(word));
	hearer->heard += word;
	return 0;
}

void
bare_broadcast(const struct messages_options *options, struct meter *meter)
{
	struct hearer *hearers = program_alloc(MESSAGES_RECEIVERS, sizeof(*hearers));
	uint64_t number = 0;
	struct bare_core core;
	unsigned i;

	program_pin(options->cpu);
	bare_core_init(&core, MESSAGES_RECEIVERS);
	for (i = 0; i < MESSAGES_RECEIVERS; i++) {
		hearers[i].actor.receive = broadcast_receive;
	}
	meter_watch(meter, 0);
	do {
		uint8_t *text = malloc(MESSAGES_TEXT_BYTES);

		if (text == NULL) {
			program_die("out of memory");
		}
		number++;
		memset(text, (int)number, MESSAGES_TEXT_BYTES);
		for (i = 0; i < MESSAGES_RECEIVERS; i++) {
			bare_post(&core, &hearers[i].actor, KIND_BALL, &text, sizeof(text));
		}
		while (bare_run_one(&core)) {
		}
		free(text);
	} while (meter_add(meter, MESSAGES_RECEIVERS));
	bare_core_fini(&core);
	free(hearers);
}

/* An actor of the size that a runtime's may have: its state is behind its header. */
struct child {
	struct bare_actor actor;
	uint8_t rest[MESSAGES_ACTOR_BYTES - sizeof(struct bare_actor)];
};

static int
child_receive(struct bare_actor *self, const struct bare_msg *msg)
{
	struct child *child = (struct child *)self;

	child->rest[0] = (uint8_t)msg->kind;
	return 1;
}

static void
child_spawn(struct bare_core *core)
{
	static const struct ball nothing;
	struct child *child = malloc(sizeof(*child));

	if (child == NULL) {
		program_die("out of memory");
	}
	child->actor = (struct bare_actor){ .receive = child_receive, .state = child->rest };
	memset(child->rest, 0, MESSAGES_STATE_BYTES);
	bare_post(core, &child->actor, KIND_START, &nothing, sizeof(nothing));
}

void
bare_spawn(const struct messages_options *options, struct meter *meter)
{
	struct bare_core core;
	unsigned i;

	program_pin(options->cpu);
	bare_core_init(&core, MESSAGES_SPAWNS);
	meter_watch(meter, 0);
	do {
		for (i = 0; i < MESSAGES_SPAWNS; i++) {
			child_spawn(&core);
		}
		while (bare_run_one(&core)) {
		}
	} while (meter_add(meter, MESSAGES_SPAWNS));
	bare_core_fini(&core);
}
