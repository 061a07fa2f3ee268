/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The configuration as the system runs with it: every field of struct rl_config resolved to a value
 * within its range, and the sizes that follow from them.
 */
#ifndef RINGLINE_CONFIG_INTERNAL_H
#define RINGLINE_CONFIG_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ringline/config.h>

#include "base/id.h"
#include "base/log.h"

/* What the machine allows; filled by the system, or by a test. */
struct config_machine {
	uint16_t cpus[1024]; /* allowed CPUs in ascending order */
	uint32_t cpus_count;
	uint64_t nofile; /* RLIMIT_NOFILE after it was raised as far as it goes */
};

#define CONFIG_LISTENERS_MAX 16

struct config {
	/*
	 * No zeros left: each number is its effective value (deadlines: ns or -1). Only cpus is
	 * NULL: the caller's text is not kept, the array below says it all.
	 */
	struct rl_config user;
	uint16_t cpus[ID_SHARDS_MAX]; /* cpus[i] is where shard i is pinned */
	uint32_t files_max; /* fixed-file table of a shard: connections, accepts in flight */
	uint32_t listeners_max;
};

/* One thread accepts for all shards. */
static inline bool
config_has_acceptor(const struct rl_config *user)
{
	return user->accept_mode != RL_ACCEPT_PER_SHARD;
}

/* Enough for any line that rli_config_describe() writes but for the strangest lists of CPUs. */
#define CONFIG_TEXT_MAX 512

/*
 * Resolve @user (NULL: all defaults) on @machine. 0, or after one ERROR line that names field,
 * value and range or cause and remedy: -EINVAL, -ENODEV (fewer allowed CPUs than shards, or a
 * listed CPU that is not allowed), -EMFILE (RLIMIT_NOFILE too low for conns_max and our own
 * descriptors).
 */
int rli_config_resolve(struct config *config, const struct rl_config *user,
		       const struct config_machine *machine, const struct log *log);

/* One line for the start log: the effective configuration and the sizes of the pools. */
void rli_config_describe(const struct config *config, char *out, size_t size);

#endif
