/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the tests of the configuration share: a machine that they make up, and checks of what it
 * says.
 */
#ifndef RINGLINE_TESTS_UNIT_CONFIG_H
#define RINGLINE_TESTS_UNIT_CONFIG_H

#include "unit.h"

#include <errno.h>

#include "config.h"

/* CPUs 0 to @cpus - 1. */
static inline struct config_machine
unit_machine(uint32_t cpus, uint64_t nofile)
{
	struct config_machine machine = { .cpus_count = cpus, .nofile = nofile };
	uint32_t i;

	for (i = 0; i < cpus; i++) {
		machine.cpus[i] = (uint16_t)i;
	}
	return machine;
}

/* Resolve on @machine, without a line in the log. */
static inline struct config
unit_resolved(const struct rl_config *user, const struct config_machine *machine)
{
	struct unit_log log;
	struct config config;
	int rc;

	unit_log_init(&log);
	memset(&config, 0xff, sizeof(config));
	rc = rli_config_resolve(&config, user, machine, &log.log);
	if (rc != 0 || log.lines != 0) {
		fail_msg("%d: %s", rc, log.text);
	}
	return config;
}

/* Refused with @expected, and with exactly this line. */
static inline void
unit_refused(const struct rl_config *user, const struct config_machine *machine, int expected,
	     const char *text)
{
	struct unit_log log;
	struct config config;

	unit_log_init(&log);
	assert_int_equal(rli_config_resolve(&config, user, machine, &log.log), expected);
	assert_int_equal(log.lines, 1);
	assert_int_equal(log.level, RL_LOG_ERROR);
	assert_int_equal(log.shard, LOG_NO_SHARD);
	assert_string_equal(log.text, text);
}

#endif
