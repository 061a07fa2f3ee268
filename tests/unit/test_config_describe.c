/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: the start line names what the system runs with, in one line, cut where there is no room.
 * How: two configurations and their lines, and every size of buffer.
 * Not: that the line is logged. */
#include "unit_config.h"

static void
describe_default_names_everything(void **state)
{
	struct config_machine machine = unit_machine(2, 20000);
	struct config config = unit_resolved(NULL, &machine);
	char out[CONFIG_TEXT_MAX];

	(void)state;
	rli_config_describe(&config, out, sizeof(out));
	assert_string_equal(
		out, "2 shards on CPU 0-1, sq 1024, cq 16384; each: 9000 connections "
		     "(refuse), 9128 file slots, 10024 actors, 1048576 timers, 65536 "
		     "messages of 64 B, receive 256 x 16 KiB + 288000 KiB, send 256 MiB (low 64 "
		     "KiB, high 256 KiB, cap 1 MiB), buffers 64 MiB");
}

static void
describe_chosen_says_so(void **state)
{
	struct config_machine machine = unit_machine(4, 20000);
	struct rl_config user =
		RL_CONFIG(.shards = 1, .cpus = "3", .conns_policy = RL_CONNS_PAUSE,
			  .conns_max = 100, .recv_buffer_bytes = 3000, .send_low_bytes = 1000,
			  .without = RL_FEATURE_MIN_WAIT | RL_FEATURE_FIXED_FILES);
	struct config config = unit_resolved(&user, &machine);
	char out[CONFIG_TEXT_MAX];

	(void)state;
	rli_config_describe(&config, out, sizeof(out));
	assert_string_equal(out, "1 shard on CPU 3, sq 1024, cq 16384; each: 100 connections "
				 "(pause), 228 file slots, 1124 actors, 1048576 timers, 65536 "
				 "messages of 64 B, receive 256 x 3000 B + 1500 KiB, send 256 MiB "
				 "(low 1000 B, high 256 KiB, cap 1 MiB), buffers 64 MiB, "
				 "without 0x18");
}

static void
describe_without_room_is_cut(void **state)
{
	struct config_machine machine = unit_machine(2, 20000);
	struct config config = unit_resolved(NULL, &machine);
	char whole[CONFIG_TEXT_MAX];
	char out[CONFIG_TEXT_MAX + 1];
	size_t size;

	(void)state;
	rli_config_describe(&config, whole, sizeof(whole));
	for (size = 1; size < sizeof(whole); size++) {
		memset(out, 'x', sizeof(out));
		rli_config_describe(&config, out, size);
		assert_true(strlen(out) == (size - 1 < strlen(whole) ? size - 1 : strlen(whole)));
		assert_memory_equal(out, whole, strlen(out));
		assert_int_equal(out[size], 'x');
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(describe_default_names_everything),
		cmocka_unit_test(describe_chosen_says_so),
		cmocka_unit_test(describe_without_room_is_cut),
	};

	return unit_run(tests);
}
