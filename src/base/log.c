/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Lines are put together on the stack and leave in one piece: one call of the sink, or one
 * write(2). Nothing is allocated and no lock is taken, so that a failed assertion can speak from
 * anywhere.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

#define LOG_TEXT_MAX   512
#define LOG_PREFIX_MAX 64
#define LOG_LIMIT_NS   1000000000

static const char *const log_level_names[] = {
	[RL_LOG_DEFAULT] = "log", [RL_LOG_ERROR] = "error", [RL_LOG_WARN] = "warning",
	[RL_LOG_INFO] = "info",	  [RL_LOG_DEBUG] = "debug",
};

/* Nobody can be told when stderr is closed or full, so what is left of the line is dropped then. */
static void
log_write(const char *line, size_t len)
{
	int errno_before = errno;

	while (len > 0) {
		ssize_t put = write(STDERR_FILENO, line, len);

		if (put < 0 && errno == EINTR) {
			continue;
		}
		if (put <= 0) {
			break;
		}
		line += put;
		len -= (size_t)put;
	}
	errno = errno_before;
}

static void
log_stderr(enum rl_log_level level, int shard, const char *text)
{
	char line[LOG_PREFIX_MAX + LOG_TEXT_MAX + 1];
	int len;

	if (shard == LOG_NO_SHARD) {
		len = snprintf(line, sizeof(line), "ringline: %s: %s\n", log_level_names[level],
			       text);
	} else {
		len = snprintf(line, sizeof(line), "ringline: %s: [shard %d] %s\n",
			       log_level_names[level], shard, text);
	}
	RL_ASSERT(len > 0);
	RL_ASSERT((size_t)len < sizeof(line));
	log_write(line, (size_t)len);
}

static void
log_emit(const struct log *log, enum rl_log_level level, int shard, const char *text)
{
	if (log->sink != NULL) {
		log->sink(log->arg, level, shard, text);
	} else {
		log_stderr(level, shard, text);
	}
}

static bool
log_passes(const struct log *log, enum rl_log_level level)
{
	RL_ASSERT(level >= RL_LOG_ERROR);
	RL_ASSERT(level <= RL_LOG_DEBUG);
	return level <= log->level;
}

void
rli_log_init(struct log *log, rl_log_fn sink, void *arg, enum rl_log_level level)
{
	RL_ASSERT(level <= RL_LOG_DEBUG);
	log->sink = sink;
	log->arg = arg;
	log->level = level == RL_LOG_DEFAULT ? RL_LOG_WARN : level;
}

void
rli_log(const struct log *log, enum rl_log_level level, int shard, const char *format, ...)
{
	char text[LOG_TEXT_MAX + 1];
	va_list args;

	if (!log_passes(log, level)) {
		return;
	}
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_emit(log, level, shard, text);
}

void
rli_log_limited(const struct log *log, struct log_limit *limit, uint64_t now_ns,
		enum rl_log_level level, int shard, const char *format, ...)
{
	char text[LOG_TEXT_MAX + 1];
	char note[LOG_PREFIX_MAX] = "";
	int note_len = 0;
	va_list args;
	size_t len;

	if (!log_passes(log, level)) {
		return;
	}
	if (now_ns < limit->next_ns) {
		limit->suppressed++;
		return;
	}
	if (limit->suppressed > 0) {
		note_len =
			snprintf(note, sizeof(note), " (and %u more like it)", limit->suppressed);
	}
	limit->next_ns = now_ns + LOG_LIMIT_NS;
	limit->suppressed = 0;

	/* The note must survive the cut: a flood whose lines are long is a flood all the same. */
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text) - (size_t)note_len, format, args);
	va_end(args);
	len = strlen(text);
	memcpy(text + len, note, (size_t)note_len + 1);
	log_emit(log, level, shard, text);
}

const char *
rli_errno_text(int error)
{
	const char *text = strerrordesc_np(-error);

	return text != NULL ? text : "unknown error";
}

char *
rli_log_escape(char *out, size_t size, const char *text, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t used = 0;
	size_t i;

	RL_ASSERT(size > 0);
	for (i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)text[i];
		bool plain = byte >= ' ' && byte <= '~';

		/* An escape goes in whole or not at all. */
		if (used + (plain ? 1 : 4) >= size) {
			break;
		}
		if (plain) {
			out[used++] = (char)byte;
			continue;
		}
		out[used++] = '\\';
		out[used++] = 'x';
		out[used++] = digits[byte >> 4];
		out[used++] = digits[byte & 0xf];
	}
	out[used] = '\0';
	return out;
}

void
rli_assert_failed(const char *condition, const char *file, int line)
{
	char text[LOG_PREFIX_MAX + LOG_TEXT_MAX];
	int len = snprintf(text, sizeof(text) - 1, "ringline: assertion failed: %s (%s:%d)\n",
			   condition, file, line);

	if (len > 0) {
		size_t cut = sizeof(text) - 2;

		log_write(text, (size_t)len < cut ? (size_t)len : cut);
	}
	abort();
}
