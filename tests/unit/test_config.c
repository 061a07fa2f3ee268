/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: the layout of struct rl_config, struct_size, dependent defaults, rules between fields.
 * How: static asserts, and configurations resolved on a machine that is made up.
 * Not: each field's own range (test_config_fields.c), CPUs and descriptors (their own tests). */
#include "unit_config.h"

#include <ringline/shard.h>

/*
 * What compiled programs rely on (LP64). Fields are only ever appended: a line that has to change
 * here is a program that breaks.
 */
#define AT(field, offset) \
	_Static_assert(offsetof(struct rl_config, field) == (offset), #field " has not moved")

AT(struct_size, 0);
AT(shards, 8);
AT(cpus, 16);
AT(sq_entries, 24);
AT(cq_entries, 28);
AT(turn_cqes_max, 32);
AT(turn_actors_max, 36);
AT(actor_batch_max, 40);
AT(actors_max, 44);
AT(mailbox_max, 48);
AT(messages_max, 52);
AT(timers_max, 56);
AT(conns_max, 60);
AT(conns_policy, 64);
AT(accept_mode, 68);
AT(accepts_in_flight, 72);
AT(backlog, 76);
AT(recv_buffers, 80);
AT(recv_buffer_bytes, 84);
AT(recv_pending_max_bytes, 88);
AT(recv_pool_bytes, 96);
AT(send_pool_bytes, 104);
AT(send_low_bytes, 112);
AT(send_high_bytes, 116);
AT(send_cap_bytes, 120);
AT(connect_timeout_ns, 128);
AT(first_byte_timeout_ns, 136);
AT(idle_timeout_ns, 144);
AT(stall_timeout_ns, 152);
AT(linger_timeout_ns, 160);
AT(drain_timeout_ns, 168);
AT(log, 176);
AT(log_arg, 184);
AT(log_level, 192);
AT(without, 196);
AT(shard, 200);
AT(shard_arg, 208);
AT(spin_us, 216);
AT(requests_max, 220);
AT(monitors_max, 224);
AT(names_max, 228);
AT(bufs_max, 232);
AT(buf_pool_bytes, 240);
AT(lookups_max, 248);
AT(resolvers, 252);
AT(tls_handshake_timeout_ns, 256);
AT(tls_handshakes_max, 264);
AT(tls_handshake_steps_max, 268);
AT(output_timeout_ns, 272);
AT(evict_after_ns, 280);
AT(tls_ticket_rotation_ns, 288);
AT(tls_sites_max, 296);
_Static_assert(sizeof(struct rl_config) == 304, "struct rl_config has not changed its size");

_Static_assert(RL_LOG_ERROR == 1 && RL_LOG_DEBUG == 4, "log levels have their numbers");
_Static_assert(RL_CONNS_REFUSE == 0 && RL_CONNS_PAUSE == 1, "policies have their numbers");
_Static_assert(RL_ACCEPT_PER_SHARD == 0 && RL_ACCEPT_ROUND_ROBIN == 1 &&
		       RL_ACCEPT_LEAST_LOADED == 2,
	       "so do accept modes");
_Static_assert(RL_FEATURE_DEFER_TASKRUN == 1 && RL_FEATURE_MSG_RING == 32, "and features");

static struct config_machine machine;

static int
setup(void **state)
{
	machine = unit_machine(2, 20000);
	return unit_setup(state);
}

static void
config_null_is_all_defaults(void **state)
{
	struct rl_config user = RL_CONFIG(.shards = 0);
	struct config one = unit_resolved(NULL, &machine);
	struct config two = unit_resolved(&user, &machine);

	(void)state;
	assert_memory_equal(&one, &two, sizeof(one));
	assert_int_equal(one.user.struct_size, sizeof(struct rl_config));
	assert_int_equal(one.user.shards, 2);
	assert_int_equal(one.user.cq_entries, 16384);
	assert_int_equal(one.user.recv_pool_bytes, 2 * 9000 * 16384);
	assert_int_equal(one.user.send_low_bytes, 65536);
	assert_int_equal(one.user.send_cap_bytes, 1048576);
	assert_int_equal(one.user.conns_max, 9000);
	assert_int_equal(one.user.actors_max, 9000 + 1024);
	assert_int_equal(one.user.monitors_max, 9000 + 1024);
	assert_int_equal(one.user.spin_us, 0);
	assert_null(one.user.shard);
	assert_int_equal(one.listeners_max, 16);
}

static void
config_program_values_are_kept(void **state)
{
	static const struct rl_shard_def shard = { .state_size = 1 };
	static uint32_t arg;
	struct rl_config user =
		RL_CONFIG(.shards = 1, .sq_entries = 64, .cq_entries = 512, .actors_max = 5000,
			  .conns_max = 5000, .conns_policy = RL_CONNS_PAUSE,
			  .recv_pool_bytes = 65536, .send_low_bytes = 1, .send_high_bytes = 2,
			  .send_cap_bytes = 131072, .idle_timeout_ns = -1, .log = unit_log_sink,
			  .log_arg = &arg, .log_level = RL_LOG_DEBUG,
			  .without = RL_FEATURE_MIN_WAIT, .shard = &shard, .shard_arg = &arg,
			  .monitors_max = 7);
	struct config config = unit_resolved(&user, &machine);

	(void)state;
	assert_int_equal(config.user.shards, 1);
	assert_int_equal(config.user.sq_entries, 64);
	assert_int_equal(config.user.cq_entries, 512);
	assert_int_equal(config.user.actors_max, 5000);
	assert_int_equal(config.user.conns_max, 5000);
	assert_int_equal(config.user.conns_policy, RL_CONNS_PAUSE);
	assert_int_equal(config.user.recv_pool_bytes, 65536);
	assert_int_equal(config.user.send_low_bytes, 1);
	assert_int_equal(config.user.send_high_bytes, 2);
	assert_int_equal(config.user.send_cap_bytes, 131072);
	assert_true(config.user.idle_timeout_ns == -1);
	assert_true(config.user.log == unit_log_sink);
	assert_ptr_equal(config.user.log_arg, &arg);
	assert_int_equal(config.user.log_level, RL_LOG_DEBUG);
	assert_int_equal(config.user.without, RL_FEATURE_MIN_WAIT);
	assert_ptr_equal(config.user.shard, &shard);
	assert_ptr_equal(config.user.shard_arg, &arg);
	assert_int_equal(config.user.monitors_max, 7);
}

static void
config_without_struct_size_is_refused(void **state)
{
	static const size_t sizes[] = { 0, 4, 7, 9, 231, 233, 65544, SIZE_MAX, SIZE_MAX - 7 };
	struct rl_config user = { .shards = 1 };
	char text[256];
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(sizes); i++) {
		user.struct_size = sizes[i];
		(void)snprintf(text, sizeof(text),
			       "config: struct_size = %zu: the struct was made without "
			       "RL_CONFIG(), which sets it to 304",
			       sizes[i]);
		unit_refused(&user, &machine, -EINVAL, text);
	}
}

static void
config_of_an_older_program_gets_defaults_for_the_rest(void **state)
{
	struct rl_config user = RL_CONFIG(.shards = 1, .idle_timeout_ns = 5, .without = 0xffffffff);
	struct config config;

	(void)state;
	/* It ends before idle_timeout_ns: what lies behind is not looked at. */
	user.struct_size = offsetof(struct rl_config, idle_timeout_ns);
	config = unit_resolved(&user, &machine);
	assert_int_equal(config.user.struct_size, sizeof(struct rl_config));
	assert_int_equal(config.user.shards, 1);
	assert_true(config.user.idle_timeout_ns == RL_SEC(60));
	assert_int_equal(config.user.without, 0);

	user.struct_size = sizeof(size_t);
	config = unit_resolved(&user, &machine);
	assert_int_equal(config.user.shards, 2);
}

static void
config_of_a_newer_program_may_not_use_what_we_lack(void **state)
{
	struct {
		struct rl_config known;
		uint8_t unknown[24];
	} user = { .known = RL_CONFIG(.shards = 1) };
	struct config config;

	(void)state;
	user.known.struct_size = sizeof(user);
	config = unit_resolved(&user.known, &machine);
	assert_int_equal(config.user.struct_size, sizeof(struct rl_config));
	assert_int_equal(config.user.shards, 1);

	user.unknown[23] = 1;
	unit_refused(&user.known, &machine, -EINVAL,
		     "config: struct_size = 328 with byte 327 set: the program uses a field that "
		     "this library (struct_size = 304) does not have");
	user.unknown[0] = 1;
	unit_refused(&user.known, &machine, -EINVAL,
		     "config: struct_size = 328 with byte 304 set: the program uses a field that "
		     "this library (struct_size = 304) does not have");
}

/* Setting one field alone never contradicts a default that was not asked for. */
static void
config_dependent_defaults_follow(void **state)
{
	struct rl_config sq = RL_CONFIG(.sq_entries = 16384);
	struct rl_config small = RL_CONFIG(.send_high_bytes = 2);
	struct rl_config large =
		RL_CONFIG(.send_high_bytes = 8 << 20, .recv_pending_max_bytes = 1 << 20);
	struct rl_config buffers = RL_CONFIG(.recv_buffers = 8, .recv_buffer_bytes = 1024);
	struct rl_config actors = RL_CONFIG(.actors_max = 100);
	struct config config;

	(void)state;
	config = unit_resolved(&sq, &machine);
	assert_int_equal(config.user.cq_entries, 65536);
	config = unit_resolved(&small, &machine);
	assert_int_equal(config.user.send_low_bytes, 1);
	assert_int_equal(config.user.send_cap_bytes, 1 << 20);
	config = unit_resolved(&large, &machine);
	assert_int_equal(config.user.send_low_bytes, 65536);
	assert_int_equal(config.user.send_cap_bytes, (8 << 20) + (1 << 20) + 16384);
	config = unit_resolved(&buffers, &machine);
	assert_int_equal(config.user.recv_pool_bytes, 2 * 9000 * 1024);
	config = unit_resolved(&actors, &machine);
	assert_int_equal(config.user.conns_max, 100);
	assert_int_equal(config.user.monitors_max, 100);
}

/* Two buffers for every connection up to 1 GiB, and never less than the receive buffers twice. */
static void
config_recv_pool_follows_connections_and_buffers(void **state)
{
	static const struct {
		uint32_t conns_max;
		uint32_t recv_buffers;
		uint32_t recv_buffer_bytes;
		uint64_t pool_bytes;
	} rows[] = {
		{ 256, 256, 16384, 2 * 256 * 16384 },
		{ 255, 256, 16384, 2 * 256 * 16384 },
		{ 257, 256, 16384, 2 * 257 * 16384 },
		{ 8191, 256, 65536, (uint64_t)2 * 8191 * 65536 },
		{ 8192, 256, 65536, (uint64_t)1 << 30 },
		{ 8193, 256, 65536, (uint64_t)1 << 30 },
		{ 9000, 32768, 65536, (uint64_t)4 << 30 },
	};
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(rows); i++) {
		struct rl_config user = RL_CONFIG(.conns_max = rows[i].conns_max,
						  .recv_buffers = rows[i].recv_buffers,
						  .recv_buffer_bytes = rows[i].recv_buffer_bytes);
		struct config config = unit_resolved(&user, &machine);

		assert_int_equal(config.user.recv_pool_bytes, rows[i].pool_bytes);
		user.recv_pool_bytes = 65536; /* said, not derived */
		config = unit_resolved(&user, &machine);
		assert_int_equal(config.user.recv_pool_bytes, 65536);
	}
}

static void
config_fields_that_contradict_are_refused(void **state)
{
	struct rl_config cq = RL_CONFIG(.sq_entries = 1024, .cq_entries = 2048);
	struct rl_config low = RL_CONFIG(.send_low_bytes = 262144);
	struct rl_config cap = RL_CONFIG(.send_cap_bytes = 344063);
	struct rl_config pool =
		RL_CONFIG(.send_cap_bytes = (2 << 20) + 1, .send_pool_bytes = 4 << 20);
	struct rl_config odd =
		RL_CONFIG(.send_cap_bytes = (4 << 20) + 1, .send_pool_bytes = (8 << 20) + 1);
	struct rl_config actors = RL_CONFIG(.actors_max = 100, .conns_max = 101);

	(void)state;
	unit_refused(&cq, &machine, -EINVAL,
		     "config: cq_entries = 2048: must be at least 4 x sq_entries = 4096");
	unit_refused(&low, &machine, -EINVAL,
		     "config: send_low_bytes = 262144: must be below send_high_bytes = 262144");
	unit_refused(&cap, &machine, -EINVAL,
		     "config: send_cap_bytes = 344063: must be at least send_high_bytes + "
		     "recv_pending_max_bytes + recv_buffer_bytes = 344064");
	unit_refused(&pool, &machine, -EINVAL,
		     "config: send_cap_bytes = 2097153: must be at most half of send_pool_bytes = "
		     "4194304");
	unit_refused(&odd, &machine, -EINVAL,
		     "config: send_cap_bytes = 4194305: must be at most half of send_pool_bytes = "
		     "8388609");
	unit_refused(&actors, &machine, -EINVAL,
		     "config: actors_max = 100: must be at least conns_max = 101, since every "
		     "connection is an actor");

	/* One more or less, and each is fine. */
	cq.cq_entries = 4096;
	low.send_low_bytes--;
	cap.send_cap_bytes++;
	pool.send_cap_bytes--;
	odd.send_pool_bytes++;
	actors.actors_max++;
	(void)unit_resolved(&cq, &machine);
	(void)unit_resolved(&low, &machine);
	(void)unit_resolved(&cap, &machine);
	(void)unit_resolved(&pool, &machine);
	(void)unit_resolved(&odd, &machine);
	(void)unit_resolved(&actors, &machine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_null_is_all_defaults),
		cmocka_unit_test(config_program_values_are_kept),
		cmocka_unit_test(config_without_struct_size_is_refused),
		cmocka_unit_test(config_of_an_older_program_gets_defaults_for_the_rest),
		cmocka_unit_test(config_of_a_newer_program_may_not_use_what_we_lack),
		cmocka_unit_test(config_dependent_defaults_follow),
		cmocka_unit_test(config_recv_pool_follows_connections_and_buffers),
		cmocka_unit_test(config_fields_that_contradict_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, unit_teardown);
}
