/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: START first and STOP last, each once, also for who never ran; stale ids inert in every
 *         verb, answers as the table in actor.h says, drain and cut.
 * How: by hand; with actor_messages.c, actor_refused.c, actor_wrong.c and actor_random.c.
 * Not: streams, the real turn.
 * Guards: pitfall 1, pitfall 2, pitfall 10, pitfall 11.
 */
#include "actor_groups.h"
#include "unit_actors.h"

static void
actor_spawned_starts_first_with_its_argument(void **state)
{
	struct rl_actor *actor = bed_spawn(&bed);

	(void)state;
	assert_int_equal(bed.count, 0); /* nothing runs before the turn */
	assert_int_equal(actor->life, ACTOR_STARTING);
	bed_post(rli_actor_id_bits(actor), 1);
	bed_turn();
	assert_int_equal(bed.count, 2);
	assert_int_equal(bed_last(1)->kind, RL_MSG_START);
	assert_ptr_equal(bed_last(1)->arg, &bed);
	assert_int_equal(bed_last(0)->tag, 1);
	assert_int_equal(actor->life, ACTOR_RUNNING);
	assert_int_equal(bed_stats().actors_started, 1);
	bed_turn();
	assert_int_equal(bed.count, 2); /* and never again */
}

static int
hook_look_at_self(struct rl_actor *self, const struct rl_msg *msg)
{
	const uint8_t *bytes = rl_actor_state(self);
	uint32_t i;

	assert_ptr_equal(rl_actor_shard(self), &bed.shard);
	assert_true(rl_actor_self(self).private_bits == rli_actor_id_bits(self));
	assert_false(rl_actor_id_is_none(rl_actor_self(self)));
	assert_ptr_equal(rli_actor_running, self);
	assert_int_equal((uintptr_t)bytes % 16, 0);
	for (i = 0; msg->kind == RL_MSG_START && i < bed_def.state_size; i++) {
		assert_int_equal(bytes[i], 0);
	}
	memset(rl_actor_state(self), 0xff, bed_def.state_size);
	return msg->kind == RL_MSG_START ? RL_ACTOR_STOP : 0;
}

/* Also when the memory served another before. */
static void
actor_state_is_zeroed_for_each_actor(void **state)
{
	uint32_t i;

	(void)state;
	bed.hook = hook_look_at_self;
	for (i = 0; i < 5; i++) {
		(void)bed_spawn(NULL);
		(void)bed_spawn(NULL);
		bed_turn();
		assert_int_equal(bed.actors.live, 0);
		assert_null(rli_actor_running);
	}
	assert_int_equal(bed.count, 20);
}

static void
actor_state_of_every_size_is_whole_and_its_own(void **state)
{
	static const size_t sizes[] = { 0, 1, 32, 33, 64, 4096, 4097, 65535, RL_ACTOR_STATE_MAX };
	struct rl_actor *actors[UNIT_COUNT(sizes)];
	struct rl_actor_def defs[UNIT_COUNT(sizes)];
	uint32_t i;
	size_t at;

	(void)state;
	for (i = 0; i < UNIT_COUNT(sizes); i++) {
		defs[i] = bed_def;
		defs[i].state_size = sizes[i];
		assert_int_equal(rli_actor_spawn(&bed.shard, &defs[i], NULL, &actors[i]), 0);
		assert_int_equal(rl_actor_state(actors[i]) == NULL, sizes[i] == 0);
		if (sizes[i] > 0) {
			memset(rl_actor_state(actors[i]), (int)i, sizes[i]);
		}
	}
	for (i = 0; i < UNIT_COUNT(sizes); i++) {
		const uint8_t *bytes = rl_actor_state(actors[i]);

		for (at = 0; at < sizes[i]; at++) {
			assert_int_equal(bytes[at], i);
		}
	}
	rli_actors_cut(&bed.shard, RL_REASON_LOCAL); /* the defs are on this stack */
	bed_turn();
}

static int
hook_stop_at_start(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	return msg->kind == RL_MSG_START ? RL_ACTOR_STOP : 0;
}

/* What waited for it is gone, and counted. */
static void
actor_stopped_gets_stop_last_and_once(void **state)
{
	struct rl_actor *actor = bed_spawn(NULL);
	uint64_t id = rli_actor_id_bits(actor);

	(void)state;
	bed.hook = hook_stop_at_start;
	bed_post(id, 1);
	bed_post(id, 2);
	bed_turn();
	assert_int_equal(bed.count, 2);
	assert_int_equal(bed_last(1)->kind, RL_MSG_START);
	assert_int_equal(bed_last(0)->kind, RL_MSG_STOP);
	assert_int_equal(bed_last(0)->reason, RL_REASON_LOCAL);
	assert_int_equal(bed_last(0)->error, 0);
	assert_int_equal(bed_stats().undelivered.gone, 2);
	assert_int_equal(bed_stats().actors_stopped, 1);
	bed_post(id, 3);
	bed_turn();
	assert_int_equal(bed.count, 2);
	assert_int_equal(bed_stats().undelivered.gone, 3);
}

/* Who ends before the first turn still sees both ends of its life, and nothing in between. */
static void
actor_ended_before_its_first_turn_gets_start_and_stop(void **state)
{
	struct rl_actor *actor = bed_spawn(&bed);

	(void)state;
	bed_post(rli_actor_id_bits(actor), 1);
	rli_actor_end(actor, RL_REASON_LIMIT, -EMSGSIZE);
	bed_turn();
	assert_int_equal(bed.count, 2);
	assert_int_equal(bed_last(1)->kind, RL_MSG_START);
	assert_ptr_equal(bed_last(1)->arg, &bed);
	assert_int_equal(bed_last(0)->kind, RL_MSG_STOP);
	assert_int_equal(bed_last(0)->reason, RL_REASON_LIMIT);
	assert_int_equal(bed_last(0)->error, -EMSGSIZE);
	assert_int_equal(bed_stats().undelivered.gone, 1);
	assert_int_equal(bed.actors.live, 0);
}

static void
actor_ended_twice_keeps_the_first_reason(void **state)
{
	struct rl_actor *actor = bed_spawn(NULL);

	(void)state;
	bed_turn();
	rli_actor_end(actor, RL_REASON_TIMEOUT_IDLE, -1);
	rli_actor_end(actor, RL_REASON_FAILURE, -2);
	rli_actors_cut(&bed.shard, RL_REASON_SHUTDOWN);
	bed_turn();
	assert_int_equal(bed.count, 2);
	assert_int_equal(bed_last(0)->reason, RL_REASON_TIMEOUT_IDLE);
	assert_int_equal(bed_last(0)->error, -1);
}

static struct {
	uint32_t kind;
	int answer;
} script;

static int
hook_script(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	return msg->kind == script.kind ? script.answer : 0;
}

/* Bring a message of script.kind to a new actor, and see what became of it. */
static void
script_run(void)
{
	struct rl_actor *actor;
	struct rl_msg msg = { .kind = RL_MSG_EOF };

	bed.actors.draining = false;
	bed.actors.cut = false;
	actor = bed_spawn(NULL);
	bed.hook = hook_script;
	bed_forget();
	bed_turn();
	if (script.kind == RL_MSG_SHUTDOWN) {
		rli_actors_drain(&bed.shard, 1);
	} else if (script.kind == RL_MSG_TIMER) {
		assert_int_equal(bed_timer_start(actor, 0, 1, NULL), 0);
	} else if (script.kind == RL_MSG_EOF) {
		rli_actor_answered(actor, msg.kind, rli_actor_deliver(actor, &msg));
	} else if (script.kind == RL_MSG_USER + 1) {
		bed_post(rli_actor_id_bits(actor), 1);
	}
	bed_turn();
}

#define LIVES RL_REASON_COUNT

static void
actor_answers_are_policy_as_documented(void **state)
{
	static const struct {
		uint32_t kind;
		int answer;
		uint32_t reason;
		int error;
	} rows[] = {
		{ RL_MSG_START, 0, LIVES, 0 },
		{ RL_MSG_START, RL_CONN_SEND_HIGH, LIVES, 0 },
		{ RL_MSG_START, RL_ACTOR_UNHANDLED, LIVES, 0 },
		{ RL_MSG_START, RL_ACTOR_STOP, RL_REASON_LOCAL, 0 },
		{ RL_MSG_START, -EIO, RL_REASON_FAILURE, -EIO },
		{ RL_MSG_TIMER, RL_ACTOR_UNHANDLED, LIVES, 0 },
		{ RL_MSG_TIMER, RL_ACTOR_STOP, RL_REASON_LOCAL, 0 },
		{ RL_MSG_TIMER, -EPROTO, RL_REASON_FAILURE, -EPROTO },
		{ RL_MSG_USER + 1, 0, LIVES, 0 },
		{ RL_MSG_USER + 1, RL_CONN_SEND_HIGH, LIVES, 0 },
		{ RL_MSG_USER + 1, RL_ACTOR_UNHANDLED, LIVES, 0 },
		{ RL_MSG_USER + 1, RL_ACTOR_STOP, RL_REASON_LOCAL, 0 },
		{ RL_MSG_USER + 1, -EAGAIN, RL_REASON_FAILURE, -EAGAIN },
		{ RL_MSG_USER + 1, 4, RL_REASON_FAILURE, -EINVAL },
		{ RL_MSG_USER + 1, INT32_MAX, RL_REASON_FAILURE, -EINVAL },
		{ RL_MSG_USER + 1, INT32_MIN, RL_REASON_FAILURE, INT32_MIN },
		{ RL_MSG_EOF, 0, LIVES, 0 },
		{ RL_MSG_EOF, RL_ACTOR_UNHANDLED, RL_REASON_PEER_FIN, 0 },
		{ RL_MSG_EOF, RL_ACTOR_STOP, RL_REASON_PEER_FIN, 0 },
		{ RL_MSG_EOF, -EIO, RL_REASON_FAILURE, -EIO },
		{ RL_MSG_SHUTDOWN, 0, LIVES, 0 },
		{ RL_MSG_SHUTDOWN, RL_CONN_SEND_HIGH, LIVES, 0 },
		{ RL_MSG_SHUTDOWN, RL_ACTOR_UNHANDLED, RL_REASON_SHUTDOWN, 0 },
		{ RL_MSG_SHUTDOWN, RL_ACTOR_STOP, RL_REASON_SHUTDOWN, 0 },
		{ RL_MSG_SHUTDOWN, -EIO, RL_REASON_FAILURE, -EIO },
	};
	uint64_t unhandled = 0;
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(rows); i++) {
		script.kind = rows[i].kind;
		script.answer = rows[i].answer;
		script_run();
		assert_int_equal(bed_last(0)->kind == RL_MSG_STOP, rows[i].reason != LIVES);
		if (rows[i].reason != LIVES) {
			assert_int_equal(bed_last(0)->reason, rows[i].reason);
			assert_int_equal(bed_last(0)->error, rows[i].error);
		}
		unhandled += rows[i].answer == RL_ACTOR_UNHANDLED;
		assert_int_equal(bed_stats().msgs_unhandled, unhandled);
		bed.hook = NULL;
		rli_actors_cut(&bed.shard, RL_REASON_LOCAL);
		bed_turn();
	}
}

static int
hook_fail_at_stop(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_STOP) {
		assert_int_equal(rl_timer_start(self, 0, 1, NULL), -ESHUTDOWN);
		bed_post(rli_actor_id_bits(self), 1); /* to itself: too late */
		return -EIO;
	}
	return 0;
}

/* Nothing that happens in it starts anything again. */
static void
actor_answer_to_stop_changes_nothing(void **state)
{
	struct rl_actor *actor = bed_spawn(NULL);

	(void)state;
	bed.hook = hook_fail_at_stop;
	bed_turn();
	rli_actor_end(actor, RL_REASON_LOCAL, 0);
	bed_turn();
	bed_turn();
	assert_int_equal(bed.count, 2);
	assert_int_equal(bed_last(0)->reason, RL_REASON_LOCAL);
	assert_int_equal(bed_stats().undelivered.gone, 1);
	assert_int_equal(bed.actors.live, 0);
}

/* Every verb that takes an id, with ids that are over, never were, or belong elsewhere. */
static void
actor_stale_and_foreign_ids_are_inert(void **state)
{
	struct rl_actor *first = bed_spawn(NULL);
	uint64_t stale = rli_actor_id_bits(first);
	struct rl_actor *second;
	uint64_t ids[6];
	uint32_t i;

	(void)state;
	assert_ptr_equal(rli_actor_resolve(&bed.shard, stale), first);
	rli_actor_end(first, RL_REASON_LOCAL, 0);
	assert_ptr_equal(rli_actor_resolve(&bed.shard, stale), first); /* until its STOP */
	bed_turn();
	assert_null(rli_actor_resolve(&bed.shard, stale));

	second = bed_spawn(NULL);
	assert_ptr_equal(second, first); /* the same slot: the id must tell */
	bed_turn();
	ids[0] = stale;
	ids[1] = 0;
	ids[2] = UINT64_MAX;
	ids[3] = id_pack(id_generation(second->id) + 1, BED_SHARD, 0);
	ids[4] = id_pack(id_generation(second->id), BED_SHARD + 1, 0);
	ids[5] = id_pack(id_generation(second->id), BED_SHARD, 1);
	bed_forget();
	for (i = 0; i < UNIT_COUNT(ids); i++) {
		assert_null(rli_actor_resolve(&bed.shard, ids[i]));
		bed_post(ids[i], i);
		assert_int_equal(bed_stats().undelivered.gone, i + 1);
	}
	bed_turn();
	assert_int_equal(bed.count, 0);
	assert_ptr_equal(rli_actor_resolve(&bed.shard, rli_actor_id_bits(second)), second);
}

static void
actor_generation_wrapped_skips_zero(void **state)
{
	struct rl_actor *actor = bed_spawn(NULL);
	uint64_t first = rli_actor_id_bits(actor);
	uint64_t last;

	(void)state;
	rli_actor_end(actor, RL_REASON_LOCAL, 0);
	bed_turn();
	actor->id = ACTOR_ID_FREE(id_pack(UINT32_MAX - 1, 0, 0));
	assert_ptr_equal(bed_spawn(NULL), actor);
	last = rli_actor_id_bits(actor);
	assert_int_equal(id_generation(last), UINT32_MAX);
	rli_actor_end(actor, RL_REASON_LOCAL, 0);
	bed_turn();
	assert_ptr_equal(bed_spawn(NULL), actor);
	assert_null(rli_actor_resolve(&bed.shard, last));
	assert_true(rli_actor_id_bits(actor) == first); /* 2^32 - 1 lives later */
}

static uint64_t shutdown_deadline_ns;

static int
hook_note_deadline(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	if (msg->kind == RL_MSG_SHUTDOWN) {
		shutdown_deadline_ns = msg->shutdown.deadline_ns;
	}
	return 0;
}

/* START still comes first, SHUTDOWN before what waits, and no actor comes any more. */
static void
actors_drained_are_told_once_and_none_is_spawned(void **state)
{
	struct rl_actor *running = bed_spawn(NULL);
	struct rl_actor *starting;
	struct rl_actor *ending;
	struct rl_actor *refused;

	(void)state;
	bed_turn();
	starting = bed_spawn(NULL);
	ending = bed_spawn(NULL);
	rli_actor_end(ending, RL_REASON_LOCAL, 0);
	bed_post(rli_actor_id_bits(running), 1);
	bed_forget();
	bed.hook = hook_note_deadline;
	rli_actors_drain(&bed.shard, 12345);
	assert_int_equal(rli_actor_spawn(&bed.shard, &bed_def, NULL, &refused), -ESHUTDOWN);
	bed_turn();
	assert_int_equal(bed.count, 6);
	assert_int_equal(shutdown_deadline_ns, 12345);
	assert_int_equal(bed.seen[0].kind, RL_MSG_START); /* starting: it was ready first */
	assert_ptr_equal(bed.seen[0].actor, starting);
	assert_int_equal(bed.seen[1].kind, RL_MSG_SHUTDOWN);
	assert_int_equal(bed.seen[2].kind, RL_MSG_START); /* ending */
	assert_int_equal(bed.seen[3].kind, RL_MSG_STOP);
	assert_int_equal(bed.seen[4].kind, RL_MSG_SHUTDOWN); /* running */
	assert_int_equal(bed.seen[5].tag, 1);
	bed_turn();
	assert_int_equal(bed.count, 6);
	assert_int_equal(bed.actors.live, 2);
}

static void
actors_cut_end_all_with_the_reason(void **state)
{
	struct rl_actor *over;
	uint32_t i;

	(void)state;
	over = bed_spawn(NULL);
	for (i = 0; i < 9; i++) {
		(void)bed_spawn(NULL);
	}
	rli_actor_end(over, RL_REASON_LOCAL, 0);
	bed_turn();
	bed_forget();
	(void)bed_spawn(NULL); /* in the slot of the one that is over; has not started */
	rli_actors_cut(&bed.shard, RL_REASON_TIMEOUT_DRAIN);
	bed_turn();
	assert_int_equal(bed.count, 11);
	for (i = 0; i < 11; i++) {
		assert_true(bed.seen[i].kind == RL_MSG_START ||
			    bed.seen[i].reason == RL_REASON_TIMEOUT_DRAIN);
	}
	assert_int_equal(bed.actors.live, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(actor_spawned_starts_first_with_its_argument),
		on_bed(actor_state_is_zeroed_for_each_actor),
		on_bed(actor_state_of_every_size_is_whole_and_its_own),
		on_bed(actor_stopped_gets_stop_last_and_once),
		on_bed(actor_ended_before_its_first_turn_gets_start_and_stop),
		on_bed(actor_ended_twice_keeps_the_first_reason),
		on_bed(actor_answers_are_policy_as_documented),
		on_bed(actor_answer_to_stop_changes_nothing),
		on_bed(actor_stale_and_foreign_ids_are_inert),
		on_bed(actor_generation_wrapped_skips_zero),
		on_bed(actors_drained_are_told_once_and_none_is_spawned),
		on_bed(actors_cut_end_all_with_the_reason),
	};

	return unit_run(tests) + actor_messages_run() + actor_refused_run() + actor_wrong_run() +
	       actor_random_run();
}
