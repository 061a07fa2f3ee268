/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The start line: what the system runs with, so that a log tells what a report leaves out.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "config_parts.h"
#include "mailbox/mailbox.h"

#define DESCRIBE_CPUS_MAX 96

/* A text that grows; what does not fit is cut. */
struct describe_line {
	char *out;
	size_t size;
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void
describe_add(struct describe_line *line, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line->out + line->used, line->size - line->used, format, args);
	va_end(args);
	RL_ASSERT(len >= 0);
	line->used += (size_t)len;
	if (line->used >= line->size) {
		line->used = line->size - 1;
	}
}

/* In the largest unit that shows the number exactly. */
static void
describe_bytes(struct describe_line *line, const char *before, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;

	while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		unit++;
	}
	describe_add(line, "%s%llu %s", before, (unsigned long long)bytes, units[unit]);
}

void
rli_config_describe(const struct config *config, char *out, size_t size)
{
	const struct rl_config *user = &config->user;
	struct describe_line line = { out, size, 0 };
	char cpus[DESCRIBE_CPUS_MAX];

	RL_ASSERT(size > 0);
	rli_config_cpus_format(cpus, sizeof(cpus), config->cpus, user->shards);
	describe_add(&line, "%u %s on CPU %s, sq %u, cq %u; each: %u connections (%s), ",
		     user->shards, user->shards == 1 ? "shard" : "shards", cpus, user->sq_entries,
		     user->cq_entries, user->conns_max,
		     user->conns_policy == RL_CONNS_REFUSE ? "refuse" : "pause");
	describe_add(&line, "%u file slots, %u actors, %u timers, %u messages", config->files_max,
		     user->actors_max, user->timers_max, user->messages_max);
	describe_bytes(&line, " of ", sizeof(struct envelope));
	describe_add(&line, ", receive %u", user->recv_buffers);
	describe_bytes(&line, " x ", user->recv_buffer_bytes);
	describe_bytes(&line, " + ", user->recv_pool_bytes);
	describe_bytes(&line, ", send ", user->send_pool_bytes);
	describe_bytes(&line, " (low ", user->send_low_bytes);
	describe_bytes(&line, ", high ", user->send_high_bytes);
	describe_bytes(&line, ", cap ", user->send_cap_bytes);
	describe_bytes(&line, "), buffers ", user->buf_pool_bytes);
	if (user->accept_mode == RL_ACCEPT_ROUND_ROBIN) {
		describe_add(&line, ", round_robin");
	} else if (user->accept_mode == RL_ACCEPT_LEAST_LOADED) {
		describe_add(&line, ", least_loaded");
	}
	if (user->without != 0) {
		describe_add(&line, ", without 0x%x", user->without);
	}
}
