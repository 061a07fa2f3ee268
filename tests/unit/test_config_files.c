/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: conns_max and the file table fit into RLIMIT_NOFILE, by both sums that the kernel makes.
 * How: limits that are made up, down to where nothing fits; both sums are made again here.
 * Not: raising the limit, and what the kernel really does at it. */
#include "unit_config.h"

/* 16 spare, 2 of rl_system_run(), 1 probe; a ring, an eventfd and 16 listeners for each shard. */
static uint64_t
own_files(uint64_t shards)
{
	return 16 + 2 + 1 + shards * (1 + 1 + 16);
}

static void
files_default_is_nine_tenths_up_to_65536(void **state)
{
	struct config_machine machine = unit_machine(2, 20000);
	struct config config = unit_resolved(NULL, &machine);

	(void)state;
	assert_int_equal(config.user.conns_max, 9000);
	assert_int_equal(config.files_max, 9000 + 8 * 16);

	machine.nofile = 1048576;
	config = unit_resolved(NULL, &machine);
	assert_int_equal(config.user.conns_max, 65536);
	machine.nofile = UINT64_MAX; /* RLIM_INFINITY */
	config = unit_resolved(NULL, &machine);
	assert_int_equal(config.user.conns_max, 65536);
	assert_int_equal(config.files_max, 65536 + 128);
}

/* Whatever the limit is: the default fits, also when all connections are opened, or is refused. */
static void
files_default_always_fits(void **state)
{
	uint64_t nofile;
	uint64_t shards;
	uint64_t refused = 0;

	(void)state;
	for (shards = 1; shards <= 256; shards = shards * 2 + 1) {
		for (nofile = 0; nofile < 6000; nofile += 1 + nofile / 64) {
			struct config_machine machine = unit_machine((uint32_t)shards, nofile);
			struct unit_log log;
			struct config config;
			int rc;

			unit_log_init(&log);
			rc = rli_config_resolve(&config, NULL, &machine, &log.log);
			if (rc != 0) {
				assert_int_equal(rc, -EMFILE);
				assert_int_equal(log.lines, 1);
				assert_true(nofile < own_files(shards) + shards || nofile < 129);
				refused++;
				continue;
			}
			assert_in_range(config.user.conns_max, 1, 65536);
			assert_true(config.user.conns_max * shards <= nofile * 9 / 10);
			assert_true(config.user.conns_max * shards + own_files(shards) <= nofile);
			assert_true(config.files_max <= nofile);
		}
	}
	assert_true(refused > 0);
}

static void
files_chosen_may_count_on_fixed_files(void **state)
{
	struct config_machine machine = unit_machine(2, 20000);
	struct rl_config user = RL_CONFIG(.conns_max = 20000 - 128);
	struct config config = unit_resolved(&user, &machine);

	(void)state;
	assert_int_equal(config.user.conns_max, 19872);
	assert_int_equal(config.files_max, 20000);

	user.conns_max++;
	unit_refused(
		&user, &machine, -EMFILE,
		"config: conns_max = 19873: RLIMIT_NOFILE = 20000 allows 19872 per shard beside "
		"55 descriptors of our own and 128 accepts in flight; raise it (ulimit -n, "
		"LimitNOFILE=), or take fewer connections or shards");
}

static void
files_accepts_in_flight_take_slots(void **state)
{
	struct config_machine machine = unit_machine(1, 10000);
	struct rl_config user = RL_CONFIG(.accepts_in_flight = 256, .conns_max = 10000 - 4096);
	struct config config = unit_resolved(&user, &machine);

	(void)state;
	assert_int_equal(config.files_max, 10000);
	user.conns_max++;
	unit_refused(&user, &machine, -EMFILE,
		     "config: conns_max = 5905: RLIMIT_NOFILE = 10000 allows 5904 per shard beside "
		     "37 descriptors of our own and 4096 accepts in flight; raise it (ulimit -n, "
		     "LimitNOFILE=), or take fewer connections or shards");
}

/* Without fixed files every connection of every shard is a descriptor of the process. */
static void
files_plain_are_counted_as_a_sum(void **state)
{
	struct config_machine machine = unit_machine(4, 20000);
	uint64_t own = own_files(4) + 4 * 128;
	uint64_t most = (20000 - own) / 4;
	struct rl_config user =
		RL_CONFIG(.without = RL_FEATURE_FIXED_FILES, .conns_max = (uint32_t)most);
	struct config config = unit_resolved(&user, &machine);
	char text[512];

	(void)state;
	assert_int_equal(config.user.conns_max, most);
	user.conns_max++;
	(void)snprintf(
		text, sizeof(text),
		"config: conns_max = %u: RLIMIT_NOFILE = 20000 allows %u per shard beside %u "
		"descriptors of our own and 128 accepts in flight; raise it (ulimit -n, "
		"LimitNOFILE=), or take fewer connections or shards",
		user.conns_max, (unsigned int)most, (unsigned int)own);
	unit_refused(&user, &machine, -EMFILE, text);

	user.conns_max = 0;
	config = unit_resolved(&user, &machine);
	assert_true(config.user.conns_max * 4 + own <= 20000);
}

/* With an acceptor likewise; its 16 sockets are for all shards, with an eventfd and one more. */
static void
files_of_an_acceptor_are_counted_as_a_sum(void **state)
{
	struct config_machine machine = unit_machine(4, 20000);
	uint64_t own = 16 + 2 + 1 + 16 + 2 + 4 * (1 + 1 + 128);
	uint64_t most = (20000 - own) / 4;
	struct rl_config user =
		RL_CONFIG(.accept_mode = RL_ACCEPT_ROUND_ROBIN, .conns_max = (uint32_t)most);
	struct config config = unit_resolved(&user, &machine);
	char text[512];

	(void)state;
	assert_int_equal(config.user.conns_max, most);
	user.conns_max++;
	(void)snprintf(
		text, sizeof(text),
		"config: conns_max = %u: RLIMIT_NOFILE = 20000 allows %u per shard beside %u "
		"descriptors of our own and 128 accepts in flight; raise it (ulimit -n, "
		"LimitNOFILE=), or take fewer connections or shards",
		user.conns_max, (unsigned int)most, (unsigned int)own);
	unit_refused(&user, &machine, -EMFILE, text);

	user.conns_max = 0;
	config = unit_resolved(&user, &machine);
	assert_true(config.user.conns_max * 4 + own <= 20000);
}

/* Rings, eventfds and listeners of 256 shards alone are more than this process may have. */
static void
files_own_that_do_not_fit_are_refused(void **state)
{
	struct config_machine machine = unit_machine(256, own_files(256));
	struct rl_config user = RL_CONFIG(.conns_max = 10);

	(void)state;
	unit_refused(&user, &machine, -EMFILE,
		     "config: conns_max = 10: RLIMIT_NOFILE = 4627 allows 0 per shard beside 4627 "
		     "descriptors of our own and 128 accepts in flight; raise it (ulimit -n, "
		     "LimitNOFILE=), or take fewer connections or shards");
	machine.nofile++;
	(void)unit_resolved(&user, &machine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_default_is_nine_tenths_up_to_65536),
		cmocka_unit_test(files_default_always_fits),
		cmocka_unit_test(files_chosen_may_count_on_fixed_files),
		cmocka_unit_test(files_accepts_in_flight_take_slots),
		cmocka_unit_test(files_own_that_do_not_fit_are_refused),
		cmocka_unit_test(files_plain_are_counted_as_a_sum),
		cmocka_unit_test(files_of_an_acceptor_are_counted_as_a_sum),
	};

	return unit_run(tests);
}
