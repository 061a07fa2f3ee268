/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what can't be had is refused and leaves nothing behind; a bad definition is told in the
 *         log; what a caller must not do aborts.
 * How: by hand; deaths in a child.
 * Not: memory that runs out at every other place; tests/sim does that.
 */
#include "actor_groups.h"
#include "unit_actors.h"
#include "unit_memory.h"

static void
actor_spawn_refused_leaves_nothing(void **state)
{
	struct rl_actor *actor = (struct rl_actor *)&bed;
	uint32_t i;

	(void)state;
	for (i = 0; i < 64; i++) {
		(void)bed_spawn(NULL);
	}
	assert_int_equal(rli_actor_spawn(&bed.shard, &bed_def, NULL, &actor), -ENOBUFS);
	assert_null(actor);
	assert_int_equal(bed.actors.live, 64);
	assert_int_equal(bed_stats().actors_started, 64);
}

/* Exactly this line, once; then nothing was taken, and nothing is counted. */
static void
spawn_refused(const struct rl_actor_def *def, const char *text)
{
	struct rl_actor *actor = (struct rl_actor *)&bed;

	bed.log.lines = 0;
	assert_int_equal(rli_actor_spawn(&bed.shard, def, NULL, &actor), -EINVAL);
	assert_null(actor);
	assert_int_equal(bed.log.lines, 1);
	assert_int_equal(bed.log.level, RL_LOG_ERROR);
	assert_string_equal(bed.log.text, text);
	assert_int_equal(bed.actors.live, 0);
	assert_int_equal(bed.actors.slab.taken, 0);
	assert_int_equal(bed_stats().actors_started, 0);
	bed.log.lines = 0;
}

static void
actor_spawn_of_a_bad_definition_is_refused_with_a_line(void **state)
{
	struct rl_actor_def deaf = bed_def;
	struct rl_actor_def large = bed_def;
	struct rl_actor *actor;

	(void)state;
	deaf.receive = NULL;
	spawn_refused(NULL, "an actor's definition needs a receive function");
	spawn_refused(&deaf, "an actor's definition needs a receive function");
	large.state_size = RL_ACTOR_STATE_MAX + 1;
	spawn_refused(&large, "actor \"bed\": state_size = 65537: must be at most 65536");
	large.name = NULL;
	large.state_size = SIZE_MAX;
	spawn_refused(&large,
		      "actor \"\": state_size = 18446744073709551615: must be at most 65536");

	large.state_size = RL_ACTOR_STATE_MAX;
	assert_int_equal(rli_actor_spawn(&bed.shard, &large, NULL, &actor), 0);
	assert_int_equal(bed.log.lines, 0);
	rli_actors_cut(&bed.shard, RL_REASON_LOCAL); /* the definition is on this stack */
	bed_turn();
}

static void
actor_spawn_without_memory_for_the_state_answers_enomem(void **state)
{
	struct rl_actor_def def = bed_def;
	struct rl_actor *actor = bed_spawn(NULL); /* the headers have memory from here on */
	struct rlimit limit;
	int rc;

	(void)state;
	if (!unit_memory_can_fail()) {
		return;
	}
	def.state_size = RL_ACTOR_STATE_MAX;
	limit = unit_memory_begin(8);
	rc = rli_actor_spawn(&bed.shard, &def, NULL, &actor);
	unit_memory_end(limit);
	assert_int_equal(rc, -ENOMEM);
	assert_null(actor);
	assert_int_equal(bed.actors.slab.taken, 1);
	assert_int_equal(bed.actors.live, 1);
	assert_int_equal(rli_actor_spawn(&bed.shard, &def, NULL, &actor), 0); /* it is back */
	rli_actors_cut(&bed.shard, RL_REASON_LOCAL);
	bed_turn();
}

static void
stop_running(void *arg)
{
	rli_actor_stop(arg);
}

static void
end_free(void *arg)
{
	rli_actor_end(arg, RL_REASON_LOCAL, 0);
	rli_actor_stop(arg);
	rli_actor_end(arg, RL_REASON_LOCAL, 0);
}

static int
hook_run_nested(struct rl_actor *self, const struct rl_msg *msg)
{
	return msg->kind == RL_MSG_START ? 0 : (int)rli_actor_run(self, 1);
}

static void
run_within_run(void *arg)
{
	bed.hook = hook_run_nested;
	bed_post(rli_actor_id_bits(arg), 1);
	bed_post(rli_actor_id_bits(arg), 2);
	bed_turn();
}

static void
actor_misused_asserts(void **state)
{
	struct rl_actor *actor = bed_spawn(NULL);

	(void)state;
	assert_true(unit_asserts(stop_running, actor));
	assert_true(unit_asserts(end_free, actor));
	assert_true(unit_asserts(run_within_run, actor));
}

/* The first of its slabs, the last, and each between. */
static void
actors_without_memory_at_any_place_answer_enomem(void **state)
{
	static struct rl_shard shard;
	static struct actors actors;
	struct rl_config config = RL_CONFIG(.actors_max = 1, .messages_max = 1, .timers_max = 1,
					    .requests_max = 1, .monitors_max = 1, .names_max = 1,
					    .bufs_max = 1, .buf_pool_bytes = 1 << 20);
	struct rlimit limit;
	size_t pages = 0;
	int rc = -ENOMEM;

	(void)state;
	if (!unit_memory_can_fail()) {
		return;
	}
	shard.count = 1;
	shard.config = &config;
	shard.actors = &actors;
	while (rc != 0) {
		assert_int_equal(rc, -ENOMEM);
		memset(&actors, 0, sizeof(actors));
		limit = unit_memory_begin(pages++);
		rc = rli_actors_init(&shard);
		unit_memory_end(limit);
		rli_actors_fini(&shard);
	}
	assert_true(pages >= ACTOR_STATE_CLASSES);
}

int
actor_refused_run(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(actor_spawn_refused_leaves_nothing),
		on_bed(actor_spawn_of_a_bad_definition_is_refused_with_a_line),
		on_bed(actor_spawn_without_memory_for_the_state_answers_enomem),
		on_bed(actor_misused_asserts),
		cmocka_unit_test(actors_without_memory_at_any_place_answer_enomem),
	};

	return unit_run(tests);
}
