/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a shard's state is there, zeroed and aligned, from on_start to on_stop; on_stop comes
 *         exactly when on_start was called and did not fail; what fails leaves nothing.
 * How: the functions by hand, with memory that runs out at every place.
 * Not: when the loop calls them (tests/sim).
 */
#include "unit.h"

#include <errno.h>

#include "actor/actor.h"
#include "actor/hooks.h"
#include "unit_memory.h"

static struct rl_shard shard;
static struct actors actors; /* none */
static struct rl_config config;
static struct unit_log log_seen;
static uint32_t starts;
static uint32_t stops;
static uint32_t ticks;
static int start_rc;

#define STATE_BYTES 100000

static int
on_start(struct rl_shard *self, void *arg)
{
	uint8_t *bytes = rl_shard_state(self);

	assert_ptr_equal(self, &shard);
	assert_ptr_equal(arg, &config);
	assert_int_equal((uintptr_t)bytes % 64, 0);
	for (size_t i = 0; i < STATE_BYTES; i++) {
		assert_int_equal(bytes[i], 0);
	}
	memset(bytes, 0xff, STATE_BYTES);
	starts++;
	return start_rc;
}

static void
on_tick(struct rl_shard *self)
{
	assert_ptr_equal(self, &shard);
	ticks++;
}

static void
on_stop(struct rl_shard *self)
{
	const uint8_t *bytes = rl_shard_state(self);

	assert_int_equal(bytes[STATE_BYTES - 1], 0xff); /* it is there still */
	stops++;
}

static const struct rl_shard_def all = {
	.state_size = STATE_BYTES, .on_start = on_start, .on_tick = on_tick, .on_stop = on_stop
};

static int
setup(void **state)
{
	(void)state;
	memset(&shard, 0, sizeof(shard));
	unit_log_init(&log_seen);
	config = RL_CONFIG(.shard = &all, .shard_arg = &config);
	memset(&actors, 0, sizeof(actors));
	list_init(&actors.ready);
	shard.actors = &actors;
	shard.id = 3;
	shard.config = &config;
	shard.log = &log_seen.log;
	starts = 0;
	stops = 0;
	ticks = 0;
	start_rc = 0;
	return 0;
}

#define on_shard(test) cmocka_unit_test_setup(test, setup)

static void
hooks_in_their_order_have_the_state(void **state)
{
	(void)state;
	assert_int_equal(rli_hooks_start(&shard), 0);
	assert_int_equal(starts, 1);
	assert_int_equal(ticks, 0);
	rli_hooks_tick(&shard);
	rli_hooks_tick(&shard);
	assert_int_equal(ticks, 2);
	rli_hooks_stop(&shard);
	assert_int_equal(stops, 1);
	assert_null(rl_shard_state(&shard));
	rli_hooks_stop(&shard); /* again: nothing */
	assert_int_equal(stops, 1);
	assert_int_equal(log_seen.lines, 0);
}

/* A positive answer means nothing, and so it is a failure too. */
static void
hook_start_that_fails_is_logged_and_not_stopped(void **state)
{
	static const int answers[][2] = { { -EIO, -EIO }, { -ENOMEM, -ENOMEM }, { 1, -EINVAL } };

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(answers); i++) {
		(void)setup(NULL);
		start_rc = answers[i][0];
		assert_int_equal(rli_hooks_start(&shard), answers[i][1]);
		assert_int_equal(log_seen.lines, 1);
		assert_int_equal(log_seen.level, RL_LOG_ERROR);
		assert_int_equal(log_seen.shard, 3);
		assert_null(rl_shard_state(&shard));
		rli_hooks_stop(&shard);
		assert_int_equal(starts, 1);
		assert_int_equal(stops, 0);
	}
}

static void
hooks_never_started_are_not_stopped(void **state)
{
	(void)state;
	rli_hooks_stop(&shard);
	assert_int_equal(stops, 0);
}

/* Each alone may be left out, and all of them. */
static void
hooks_left_out_are_not_called(void **state)
{
	static const struct rl_shard_def none = { 0 };
	static const struct rl_shard_def state_only = { .state_size = 1 };

	(void)state;
	config.shard = NULL;
	assert_int_equal(rli_hooks_start(&shard), 0);
	rli_hooks_tick(&shard);
	assert_null(rl_shard_state(&shard));
	rli_hooks_stop(&shard);

	config.shard = &none;
	assert_int_equal(rli_hooks_start(&shard), 0);
	rli_hooks_tick(&shard);
	assert_null(rl_shard_state(&shard));
	rli_hooks_stop(&shard);

	config.shard = &state_only;
	assert_int_equal(rli_hooks_start(&shard), 0);
	assert_non_null(rl_shard_state(&shard));
	rli_hooks_stop(&shard);
	assert_int_equal(log_seen.lines, 0);
}

static void
hooks_without_memory_answer_enomem(void **state)
{
	size_t pages = 0;
	int rc = -ENOMEM;

	(void)state;
	if (!unit_memory_can_fail()) {
		return;
	}
	while (rc != 0) {
		struct rlimit limit;

		assert_int_equal(rc, -ENOMEM);
		(void)setup(NULL);
		limit = unit_memory_begin(pages++);
		rc = rli_hooks_start(&shard);
		unit_memory_end(limit);
		assert_int_equal(starts, rc == 0);
		assert_int_equal(log_seen.lines, rc != 0);
		rli_hooks_stop(&shard);
		assert_int_equal(stops, rc == 0);
	}
	assert_true(pages > 1);
}

static void
hooks_without_address_space_answer_enomem(void **state)
{
	static const struct rl_shard_def large = { .state_size = (size_t)1 << 62 };

	(void)state;
	config.shard = &large; /* the configuration refuses it long before */
	assert_int_equal(rli_hooks_start(&shard), -ENOMEM);
	assert_int_equal(log_seen.lines, 1);
	rli_hooks_stop(&shard);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_shard(hooks_in_their_order_have_the_state),
		on_shard(hook_start_that_fails_is_logged_and_not_stopped),
		on_shard(hooks_never_started_are_not_stopped),
		on_shard(hooks_left_out_are_not_called),
		on_shard(hooks_without_memory_answer_enomem),
		on_shard(hooks_without_address_space_answer_enomem),
	};

	return unit_run(tests);
}
