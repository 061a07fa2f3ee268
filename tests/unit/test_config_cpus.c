/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: shards and CPU lists are resolved in the order given, or refused with the wrong part.
 * How: machines that are made up, tables of lists, random bytes.
 * Not: pinning, and what the kernel says about real CPUs. */
#include "unit_config.h"

#include "config_parts.h"

static void
cpus_without_a_list_are_the_allowed_ones(void **state)
{
	struct config_machine machine = { .cpus = { 1, 5, 7 }, .cpus_count = 3, .nofile = 20000 };
	struct rl_config two = RL_CONFIG(.shards = 2);
	struct config config = unit_resolved(NULL, &machine);

	(void)state;
	assert_int_equal(config.user.shards, 3);
	assert_int_equal(config.cpus[0], 1);
	assert_int_equal(config.cpus[1], 5);
	assert_int_equal(config.cpus[2], 7);

	config = unit_resolved(&two, &machine);
	assert_int_equal(config.user.shards, 2);
	assert_int_equal(config.cpus[0], 1);
	assert_int_equal(config.cpus[1], 5);
}

static void
cpus_more_than_shards_can_be_make_256(void **state)
{
	struct config_machine machine = unit_machine(1024, UINT64_MAX);
	struct rl_config user = RL_CONFIG(.cpus = "0-1023");
	struct config config = unit_resolved(NULL, &machine);

	(void)state;
	assert_int_equal(config.user.shards, 256);
	assert_int_equal(config.cpus[255], 255);
	config = unit_resolved(&user, &machine);
	assert_int_equal(config.user.shards, 256);
}

static void
cpus_listed_are_taken_in_their_order(void **state)
{
	struct config_machine machine = unit_machine(10, 20000);
	char list[] = "9,2-4,0";
	struct rl_config user = RL_CONFIG(.cpus = list);
	struct config config = unit_resolved(&user, &machine);
	static const uint16_t expected[] = { 9, 2, 3, 4, 0 };

	(void)state;
	assert_int_equal(config.user.shards, 5);
	assert_memory_equal(config.cpus, expected, sizeof(expected));
	assert_null(config.user.cpus); /* the caller's text is not kept */

	user.shards = 3;
	config = unit_resolved(&user, &machine);
	assert_int_equal(config.user.shards, 3);
	assert_memory_equal(config.cpus, expected, 3 * sizeof(expected[0]));
}

static void
cpus_text_that_is_wrong_is_refused_by_part(void **state)
{
	static const struct {
		const char *list;
		const char *text;
	} lists[] = {
		{ "", "config: cpus = \"\": \"\" is no CPU number or range (\"0,2-3\")" },
		{ ",", "config: cpus = \",\": \"\" is no CPU number or range (\"0,2-3\")" },
		{ "0,", "config: cpus = \"0,\": \"\" is no CPU number or range (\"0,2-3\")" },
		{ "0,x,1",
		  "config: cpus = \"0,x,1\": \"x\" is no CPU number or range (\"0,2-3\")" },
		{ "0, 1", "config: cpus = \"0, 1\": \" 1\" is no CPU number or range (\"0,2-3\")" },
		{ "-1", "config: cpus = \"-1\": \"-1\" is no CPU number or range (\"0,2-3\")" },
		{ "1-", "config: cpus = \"1-\": \"1-\" is no CPU number or range (\"0,2-3\")" },
		{ "1-2-3", "config: cpus = \"1-2-3\": \"1-2-3\" is no CPU number or range "
			   "(\"0,2-3\")" },
		{ "0,3-2", "config: cpus = \"0,3-2\": \"3-2\" is no CPU number or range "
			   "(\"0,2-3\")" },
		{ "1024", "config: cpus = \"1024\": \"1024\" is no CPU number or range "
			  "(\"0,2-3\")" },
		{ "0-99999", "config: cpus = \"0-99999\": \"0-99999\" is no CPU number or range "
			     "(\"0,2-3\")" },
		{ "4294967296", "config: cpus = \"4294967296\": \"4294967296\" is no CPU number or "
				"range (\"0,2-3\")" },
		{ "0\n", "config: cpus = \"0\\x0a\": \"0\\x0a\" is no CPU number or range "
			 "(\"0,2-3\")" },
		{ "0,1,0", "config: cpus = \"0,1,0\": \"0\" names a CPU for the second time" },
		{ "2,0-3", "config: cpus = \"2,0-3\": \"0-3\" names a CPU for the second time" },
	};
	struct config_machine machine = unit_machine(4, 20000);
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(lists); i++) {
		struct rl_config user = RL_CONFIG(.cpus = lists[i].list);

		unit_refused(&user, &machine, -EINVAL, lists[i].text);
	}
}

static void
cpus_not_allowed_are_refused(void **state)
{
	struct config_machine machine = { .cpus = { 0, 1, 2, 6 },
					  .cpus_count = 4,
					  .nofile = 20000 };
	struct rl_config user = RL_CONFIG(.cpus = "0-3");

	(void)state;
	unit_refused(&user, &machine, -ENODEV,
		     "config: cpus: CPU 3 is not there, or not allowed to this process (allowed: "
		     "0-2,6; see taskset(1) and cpusets)");
}

static void
shards_more_than_cpus_are_refused(void **state)
{
	struct config_machine machine = unit_machine(2, 20000);
	struct rl_config allowed = RL_CONFIG(.shards = 3);
	struct rl_config listed = RL_CONFIG(.shards = 2, .cpus = "1");

	(void)state;
	unit_refused(&allowed, &machine, -ENODEV,
		     "config: shards = 3, but only 2 CPUs are allowed to this process: each shard "
		     "needs its own");
	unit_refused(&listed, &machine, -ENODEV,
		     "config: shards = 2, but only 1 CPUs are listed in cpus: each shard needs its "
		     "own");
}

static void
cpus_format_makes_ranges_and_cuts(void **state)
{
	static const uint16_t cpus[] = { 0, 2, 3, 4, 9, 8, 1000, 1001 };
	char out[64];
	size_t size;

	(void)state;
	assert_ptr_equal(rli_config_cpus_format(out, sizeof(out), cpus, 8), out);
	assert_string_equal(out, "0,2-4,9,8,1000-1001");
	assert_string_equal(rli_config_cpus_format(out, sizeof(out), cpus, 1), "0");
	assert_string_equal(rli_config_cpus_format(out, sizeof(out), cpus, 0), "");
	for (size = 1; size < 20; size++) {
		memset(out, 'x', sizeof(out));
		rli_config_cpus_format(out, size, cpus, 8);
		assert_true(strlen(out) == size - 1);
		assert_memory_equal(out, "0,2-4,9,8,1000-1001", size - 1);
		assert_int_equal(out[size], 'x');
	}
}

/* Anything that is taken can be said again and means the same. */
static void
run_random(uint64_t seed)
{
	static const char bytes[] = "0123456789,-0123456789,-x\n";
	struct config_machine machine = unit_machine(1000, UINT64_MAX);
	uint32_t taken = 0;
	uint32_t step;

	for (step = 0; step < 20000; step++) {
		char list[32] = { 0 };
		char again[256];
		struct rl_config user = RL_CONFIG(.cpus = list);
		struct unit_log log;
		struct config config;
		uint64_t i;

		for (i = unit_random(&seed) % 12; i > 0; i--) {
			list[i - 1] = bytes[unit_random(&seed) % (sizeof(bytes) - 1)];
		}
		unit_log_init(&log);
		if (rli_config_resolve(&config, &user, &machine, &log.log) != 0) {
			assert_int_equal(log.lines, 1);
			continue;
		}
		taken++;
		rli_config_cpus_format(again, sizeof(again), config.cpus, config.user.shards);
		user.cpus = again;
		{
			struct config second = unit_resolved(&user, &machine);

			assert_int_equal(second.user.shards, config.user.shards);
			assert_memory_equal(second.cpus, config.cpus,
					    config.user.shards * sizeof(config.cpus[0]));
		}
	}
	assert_in_range(taken, 100, 20000);
}

static void
cpus_random_lists_are_taken_or_refused(void **state)
{
	(void)state;
	unit_each_seed(run_random, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpus_without_a_list_are_the_allowed_ones),
		cmocka_unit_test(cpus_more_than_shards_can_be_make_256),
		cmocka_unit_test(cpus_listed_are_taken_in_their_order),
		cmocka_unit_test(cpus_text_that_is_wrong_is_refused_by_part),
		cmocka_unit_test(cpus_not_allowed_are_refused),
		cmocka_unit_test(shards_more_than_cpus_are_refused),
		cmocka_unit_test(cpus_format_makes_ranges_and_cuts),
		cmocka_unit_test(cpus_random_lists_are_taken_or_refused),
	};

	return unit_run(tests);
}
