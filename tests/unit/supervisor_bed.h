/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Supervisors on the shard of unit_actors.h, and children that write down when they start and stop:
 * "+a" and "-a".
 */
#ifndef RINGLINE_TESTS_SUPERVISOR_BED_H
#define RINGLINE_TESTS_SUPERVISOR_BED_H

#include "unit_actors.h"

#include <ringline/monitor.h>
#include <ringline/supervisor.h>

#define KIDS 4

/* A child, and what it answers. */
struct kid {
	char name;
	int start_answer;
	int shutdown_answer;
	uint32_t shutdowns; /* that it was told of */
	struct rl_actor *actor; /* while it lives */
};

static struct kid kids[KIDS];
static char kid_trace[4096];
static size_t kid_trace_len;

static inline void
kid_write(char what, const struct kid *kid)
{
	assert_true(kid_trace_len + 3 < sizeof(kid_trace));
	kid_trace[kid_trace_len++] = what;
	kid_trace[kid_trace_len++] = kid->name;
	kid_trace[kid_trace_len] = '\0';
}

/* What was written since the last look. */
static inline const char *
kid_look(void)
{
	static char seen[sizeof(kid_trace)];

	memcpy(seen, kid_trace, kid_trace_len + 1);
	kid_trace_len = 0;
	kid_trace[0] = '\0';
	return seen;
}

static inline int
kid_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct kid **kid = rl_actor_state(self);

	switch (msg->kind) {
	case RL_MSG_START:
		*kid = msg->start.arg;
		(*kid)->actor = self;
		kid_write('+', *kid);
		return (*kid)->start_answer;
	case RL_MSG_STOP:
		(*kid)->actor = NULL;
		kid_write('-', *kid);
		return 0;
	case RL_MSG_SHUTDOWN:
		(*kid)->shutdowns++;
		return (*kid)->shutdown_answer;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def kid_def = {
	.name = "kid",
	.receive = kid_receive,
	.state_size = sizeof(struct kid *),
};

#define KID(number)                   \
	{                             \
		.name = "kid",        \
		.def = &kid_def,      \
		.arg = &kids[number], \
	}

static inline int
kids_setup(void **state)
{
	int rc = bed_setup(state);

	memset(kids, 0, sizeof(kids));
	for (uint32_t i = 0; i < KIDS; i++) {
		kids[i].name = (char)('a' + i);
	}
	kid_trace_len = 0;
	kid_trace[0] = '\0';
	return rc;
}

/* The first @count of them, each once. */
static inline void
kids_heard(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(kids[i].shutdowns, 1);
	}
}

/* Turns without time, until nobody has anything to do. */
static inline void
kids_settle(void)
{
	bed_turn();
	while (!list_is_empty(&bed.actors.ready)) {
		bed_turn();
	}
}

static inline int
kids_teardown(void **state)
{
	kids_settle();
	bed.log.lines = 0; /* supervisors speak */
	rli_actors_cut(&bed.shard, RL_REASON_SHUTDOWN);
	kids_settle();
	return bed_teardown(state);
}

/* Spawned, with all its children. */
static inline struct rl_actor *
kids_supervise(struct rl_supervisor_def *def)
{
	struct rl_actor *actor;

	assert_int_equal(rli_actor_spawn(&bed.shard, &rl_supervisor, def, &actor), 0);
	kids_settle();
	return actor;
}

static inline void
kid_end(uint32_t number, enum rl_reason reason, int error)
{
	assert_non_null(kids[number].actor);
	rli_actor_end(kids[number].actor, reason, error);
	kids_settle();
}

/* How long it takes until something more is written, in whole ticks. */
static inline uint64_t
kids_wait(void)
{
	uint64_t begin_ns = bed.shard.now_ns;
	size_t before = kid_trace_len;

	while (kid_trace_len == before) {
		assert_true(bed.shard.now_ns - begin_ns < (uint64_t)RL_SEC(60));
		bed.shard.now_ns += BED_TICK_NS;
		kids_settle();
	}
	return bed.shard.now_ns - begin_ns;
}

static inline void
kids_pass(uint64_t ns)
{
	bed.shard.now_ns += ns;
	kids_settle();
}

/* @waited_ns is what a delay of @delay_ns can become. */
static inline void
assert_delay(uint64_t waited_ns, uint64_t delay_ns)
{
	assert_in_range(waited_ns, delay_ns / 2, delay_ns + 2 * BED_TICK_NS);
}

#define on_kids(test) cmocka_unit_test_setup_teardown(test, kids_setup, kids_teardown)

#endif
