/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The parts that config.c resolves a configuration with. Each answers 0, or a negative errno after
 * one ERROR line.
 */
#ifndef RINGLINE_CONFIG_PARTS_H
#define RINGLINE_CONFIG_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "config.h"

#define CONFIG_KIB ((uint64_t)1024)
#define CONFIG_MIB (1024 * CONFIG_KIB)
#define CONFIG_GIB (1024 * CONFIG_MIB)

/* What all parts need. */
struct config_resolver {
	struct config *config;
	const struct config_machine *machine;
	const struct log *log;
};

/* Check each field that the program set for itself, and fill in the defaults that are constants. */
int rli_config_fields_resolve(const struct config_resolver *resolver);

/* user.shards and user.cpus, still as the program gave them, become user.shards and cpus. */
int rli_config_cpus_resolve(const struct config_resolver *resolver);

/* conns_max, files_max and listeners_max, within what RLIMIT_NOFILE allows. */
int rli_config_files_resolve(const struct config_resolver *resolver);

/* "0,2-3"; cut to what fits. Returns @out. */
char *rli_config_cpus_format(char *out, size_t size, const uint16_t *cpus, uint32_t count);

static inline uint64_t
config_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t
config_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
