/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The list of CPUs is taken in the order in which it was given: shard i runs on the i-th. Without a
 * list the allowed CPUs are it.
 */
#include "config_parts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

#define CPUS_MAX      1024
#define CPUS_TEXT_MAX 128

_Static_assert(sizeof(((struct config_machine *)0)->cpus) / sizeof(uint16_t) == CPUS_MAX,
	       "a machine's CPUs fit");

struct cpus {
	uint16_t numbers[CPUS_MAX];
	uint32_t count;
};

/* What a refusal quotes. */
struct cpus_parser {
	const char *text;
	const struct config_machine *machine;
	const struct log *log;
};

static int
cpus_refuse(const struct cpus_parser *parser, const char *part, size_t len, const char *reason)
{
	char all_quoted[CPUS_TEXT_MAX];
	char part_quoted[CPUS_TEXT_MAX];

	rli_log_escape(all_quoted, sizeof(all_quoted), parser->text, strlen(parser->text));
	rli_log_escape(part_quoted, sizeof(part_quoted), part, len);
	rli_log(parser->log, RL_LOG_ERROR, LOG_NO_SHARD, "config: cpus = \"%s\": \"%s\" %s",
		all_quoted, part_quoted, reason);
	return -EINVAL;
}

static bool
cpus_contain(const uint16_t *numbers, uint32_t count, uint32_t number)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		if (numbers[i] == number) {
			return true;
		}
	}
	return false;
}

/* Up to 4 digits from *@at on; *@at moves behind them. */
static bool
cpus_number(const char **at, const char *end, uint32_t *number)
{
	const char *first = *at;

	*number = 0;
	while (*at < end && **at >= '0' && **at <= '9' && *at - first < 4) {
		*number = *number * 10 + (uint32_t)(**at - '0');
		(*at)++;
	}
	return *at > first;
}

/* "N" or "A-B". */
static int
cpus_parse_range(const struct cpus_parser *parser, struct cpus *cpus, const char *part, size_t len)
{
	const char *end = part + len;
	const char *at = part;
	uint32_t first;
	uint32_t last;
	bool good = cpus_number(&at, end, &first);

	last = first;
	if (good && at < end && *at == '-') {
		at++;
		good = cpus_number(&at, end, &last);
	}
	if (!good || at != end || first > last || last >= CPUS_MAX) {
		return cpus_refuse(parser, part, len, "is no CPU number or range (\"0,2-3\")");
	}
	for (; first <= last; first++) {
		if (cpus_contain(cpus->numbers, cpus->count, first)) {
			return cpus_refuse(parser, part, len, "names a CPU for the second time");
		}
		cpus->numbers[cpus->count++] = (uint16_t)first;
	}
	return 0;
}

static int
cpus_check_allowed(const struct cpus_parser *parser, const struct cpus *cpus)
{
	const struct config_machine *machine = parser->machine;
	char allowed[CPUS_TEXT_MAX];
	uint32_t i;

	for (i = 0; i < cpus->count; i++) {
		if (!cpus_contain(machine->cpus, machine->cpus_count, cpus->numbers[i])) {
			rli_config_cpus_format(allowed, sizeof(allowed), machine->cpus,
					       machine->cpus_count);
			rli_log(parser->log, RL_LOG_ERROR, LOG_NO_SHARD,
				"config: cpus: CPU %u is not there, or not allowed to this process"
				" (allowed: %s; see taskset(1) and cpusets)",
				cpus->numbers[i], allowed);
			return -ENODEV;
		}
	}
	return 0;
}

static int
cpus_parse(const struct cpus_parser *parser, struct cpus *cpus)
{
	const char *part = parser->text;

	for (;;) {
		size_t len = strcspn(part, ",");
		int rc = cpus_parse_range(parser, cpus, part, len);

		if (rc != 0) {
			return rc;
		}
		if (part[len] == '\0') {
			return cpus_check_allowed(parser, cpus);
		}
		part += len + 1;
	}
}

int
rli_config_cpus_resolve(const struct config_resolver *resolver)
{
	const struct config_machine *machine = resolver->machine;
	const struct log *log = resolver->log;
	struct config *config = resolver->config;
	struct cpus_parser parser = { config->user.cpus, machine, log };
	struct rl_config *user = &config->user;
	struct cpus cpus = { .count = 0 };
	uint32_t i;
	int rc;

	RL_ASSERT(machine->cpus_count > 0);
	RL_ASSERT(machine->cpus_count <= CPUS_MAX);

	if (user->cpus != NULL) {
		rc = cpus_parse(&parser, &cpus);
		if (rc != 0) {
			return rc;
		}
		user->cpus = NULL;
	} else {
		memcpy(cpus.numbers, machine->cpus, sizeof(cpus.numbers));
		cpus.count = machine->cpus_count;
	}
	if (user->shards == 0) {
		user->shards = cpus.count < ID_SHARDS_MAX ? cpus.count : ID_SHARDS_MAX;
	}
	if (user->shards > cpus.count) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"config: shards = %u, but only %u CPUs are %s: each shard needs its own",
			user->shards, cpus.count,
			parser.text != NULL ? "listed in cpus" : "allowed to this process");
		return -ENODEV;
	}
	for (i = 0; i < user->shards; i++) {
		config->cpus[i] = cpus.numbers[i];
	}
	return 0;
}

char *
rli_config_cpus_format(char *out, size_t size, const uint16_t *cpus, uint32_t count)
{
	const char *separator = "";
	size_t used = 0;
	uint32_t i;

	RL_ASSERT(size > 0);
	out[0] = '\0';
	for (i = 0; i < count && used < size; i++) {
		uint32_t first = i;

		while (i + 1 < count && cpus[i + 1] == cpus[i] + 1) {
			i++;
		}
		if (i > first) {
			used += (size_t)snprintf(out + used, size - used, "%s%u-%u", separator,
						 cpus[first], cpus[i]);
		} else {
			used += (size_t)snprintf(out + used, size - used, "%s%u", separator,
						 cpus[first]);
		}
		separator = ",";
	}
	return out;
}
