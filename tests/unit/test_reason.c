/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: every reason has the name that counters and users know, and no two have the same.
 * How: against the list written down again, as users see it.
 * Not: which end gets which reason. */
#include "unit.h"

#include <ringline/reason.h>

static void
reason_every_value_has_its_name(void **state)
{
	static const char *const names[] = { "peer_fin",
					     "peer_rst",
					     "local",
					     "failure",
					     "limit",
					     "memory",
					     "tls",
					     "tls_truncated",
					     "shutdown",
					     "timeout_idle",
					     "timeout_first_byte",
					     "timeout_handshake",
					     "timeout_connect",
					     "timeout_stall",
					     "timeout_linger",
					     "timeout_drain",
					     "gone",
					     "linked",
					     "resolve",
					     "timeout_output",
					     "evicted" };
	uint32_t i;

	(void)state;
	assert_int_equal(UNIT_COUNT(names), RL_REASON_COUNT);
	for (i = 0; i < RL_REASON_COUNT; i++) {
		assert_string_equal(rl_reason_name((enum rl_reason)i), names[i]);
	}
	assert_string_equal(rl_reason_name(RL_REASON_EVICTED), "evicted");
}

static void
reason_outside_the_enum_is_unknown(void **state)
{
	volatile int outside = -1;

	(void)state;
	assert_string_equal(rl_reason_name(RL_REASON_COUNT), "unknown");
	assert_string_equal(rl_reason_name((enum rl_reason)outside), "unknown");
	outside = INT32_MAX;
	assert_string_equal(rl_reason_name((enum rl_reason)outside), "unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reason_every_value_has_its_name),
		cmocka_unit_test(reason_outside_the_enum_is_unknown),
	};

	return unit_run(tests);
}
