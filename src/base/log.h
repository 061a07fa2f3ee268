/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One log sink. Never called on the data path above DEBUG: errors there bump a counter and speak
 * through rli_log_limited(), one line per second and limiter.
 */
#ifndef RINGLINE_BASE_LOG_H
#define RINGLINE_BASE_LOG_H

#include <stdint.h>

#include <ringline/config.h>

/* One per system; every module that speaks gets a pointer to it. */
struct log {
	rl_log_fn sink;
	void *arg;
	enum rl_log_level level;
};

/* A line's own rate limit; zeroed, and used by one thread. */
struct log_limit {
	uint64_t next_ns;
	uint32_t suppressed;
};

#define LOG_NO_SHARD (-1)

/* NULL @sink: lines go to stderr as "ringline: error: [shard 3] text". */
void rli_log_init(struct log *log, rl_log_fn sink, void *arg, enum rl_log_level level);

/* Lines are cut at 512 bytes. */
__attribute__((format(printf, 4, 5))) void rli_log(const struct log *log, enum rl_log_level level,
						   int shard, const char *format, ...);

/*
 * As rli_log(), but at most one line a second for each @limit; the next line that passes says how
 * many were held back.
 */
__attribute__((format(printf, 6, 7))) void rli_log_limited(const struct log *log,
							   struct log_limit *limit, uint64_t now_ns,
							   enum rl_log_level level, int shard,
							   const char *format, ...);

/* What a negative errno means, "Connection refused" for instance; static, for any thread. */
const char *rli_errno_text(int error);

/*
 * Copy @text with everything but printable ASCII escaped as \xNN, so that nobody writes into our
 * log but us. Always NUL-terminates within @size; returns @out.
 */
char *rli_log_escape(char *out, size_t size, const char *text, size_t len);

#endif
