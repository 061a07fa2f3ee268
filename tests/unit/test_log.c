/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: levels, the stderr format, the cut, the limiter, escaping, and how an assertion fails.
 * How: a sink that remembers, stderr read through a pipe, children that die.
 * Not: several threads in one sink at once, which is the sink's own business. */
#include "unit.h"

#include <errno.h>

#include "base/assert.h"

/* What @log writes to stderr for one line. */
static void
read_stderr(char *text, size_t size, const struct log *log, int shard, const char *line)
{
	int pipes[2];
	int saved = dup(STDERR_FILENO);
	ssize_t got;

	assert_true(saved >= 0);
	assert_int_equal(pipe(pipes), 0);
	assert_true(dup2(pipes[1], STDERR_FILENO) >= 0);
	rli_log(log, RL_LOG_WARN, shard, "%s", line);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	(void)close(pipes[1]);
	got = read(pipes[0], text, size - 1);
	(void)close(pipes[0]);
	assert_true(got >= 0);
	text[got] = '\0';
}

static void
log_below_its_level_says_nothing(void **state)
{
	struct unit_log unit;

	(void)state;
	unit_log_init(&unit);
	rli_log_init(&unit.log, unit_log_sink, &unit, RL_LOG_INFO);
	rli_log(&unit.log, RL_LOG_DEBUG, 3, "not this");
	assert_int_equal(unit.lines, 0);
	rli_log(&unit.log, RL_LOG_INFO, 3, "but %s %d", "this", 7);
	assert_int_equal(unit.lines, 1);
	assert_int_equal(unit.level, RL_LOG_INFO);
	assert_int_equal(unit.shard, 3);
	assert_string_equal(unit.text, "but this 7");
}

static void
log_default_level_is_warn(void **state)
{
	struct unit_log unit;

	(void)state;
	unit_log_init(&unit);
	rli_log_init(&unit.log, unit_log_sink, &unit, RL_LOG_DEFAULT);
	rli_log(&unit.log, RL_LOG_INFO, LOG_NO_SHARD, "no");
	assert_int_equal(unit.lines, 0);
	rli_log(&unit.log, RL_LOG_WARN, LOG_NO_SHARD, "yes");
	rli_log(&unit.log, RL_LOG_ERROR, LOG_NO_SHARD, "yes");
	assert_int_equal(unit.lines, 2);
}

static void
log_without_sink_writes_to_stderr(void **state)
{
	struct log log;
	char text[256];

	(void)state;
	rli_log_init(&log, NULL, NULL, RL_LOG_DEFAULT);
	read_stderr(text, sizeof(text), &log, 3, "it is so");
	assert_string_equal(text, "ringline: warning: [shard 3] it is so\n");
	read_stderr(text, sizeof(text), &log, LOG_NO_SHARD, "and so");
	assert_string_equal(text, "ringline: warning: and so\n");
}

static void
log_line_too_long_is_cut_and_ended(void **state)
{
	static const char prefix[] = "ringline: warning: [shard -2147483648] ";
	struct unit_log unit;
	struct log log;
	char line[2000];
	char text[2000];

	(void)state;
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\0';

	unit_log_init(&unit);
	rli_log(&unit.log, RL_LOG_ERROR, 0, "%s", line);
	assert_int_equal(strlen(unit.text), 512);

	rli_log_init(&log, NULL, NULL, RL_LOG_DEFAULT);
	read_stderr(text, sizeof(text), &log, INT32_MIN, line);
	assert_int_equal(strlen(text), sizeof(prefix) - 1 + 512 + 1);
	assert_memory_equal(text, prefix, sizeof(prefix) - 1);
	assert_int_equal(text[strlen(text) - 1], '\n');
}

static void
log_with_stderr_closed_is_silent(void **state)
{
	struct log log;
	int saved = dup(STDERR_FILENO);

	(void)state;
	rli_log_init(&log, NULL, NULL, RL_LOG_DEFAULT);
	assert_true(saved >= 0);
	assert_int_equal(close(STDERR_FILENO), 0);
	errno = EXDEV;
	rli_log(&log, RL_LOG_ERROR, 0, "into the void");
	assert_int_equal(errno, EXDEV);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
}

static void
limited_flood_passes_once_a_second_and_counts(void **state)
{
	struct log_limit limit = { 0 };
	struct unit_log unit;
	uint64_t now_ns = 5000;
	uint32_t i;

	(void)state;
	unit_log_init(&unit);
	for (i = 0; i < 10; i++) {
		rli_log_limited(&unit.log, &limit, now_ns + i, RL_LOG_ERROR, 1, "no %s", "room");
	}
	assert_int_equal(unit.lines, 1);
	assert_string_equal(unit.text, "no room");

	rli_log_limited(&unit.log, &limit, now_ns + 999999999, RL_LOG_ERROR, 1, "no %s", "room");
	assert_int_equal(unit.lines, 1);
	rli_log_limited(&unit.log, &limit, now_ns + 1000000000, RL_LOG_ERROR, 1, "no %s", "room");
	assert_int_equal(unit.lines, 2);
	assert_string_equal(unit.text, "no room (and 10 more like it)");

	/* The count starts anew, and a quiet second leaves none. */
	rli_log_limited(&unit.log, &limit, now_ns + 2000000000, RL_LOG_ERROR, 1, "no %s", "room");
	assert_int_equal(unit.lines, 3);
	assert_string_equal(unit.text, "no room");
}

static void
limited_long_line_keeps_its_count(void **state)
{
	static const char note[] = " (and 1 more like it)";
	struct log_limit limit = { 0 };
	struct unit_log unit;
	char line[2000];

	(void)state;
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	unit_log_init(&unit);
	rli_log_limited(&unit.log, &limit, 1, RL_LOG_ERROR, 1, "%s", line);
	assert_int_equal(strlen(unit.text), 512);
	rli_log_limited(&unit.log, &limit, 2, RL_LOG_ERROR, 1, "%s", line);
	rli_log_limited(&unit.log, &limit, 2000000000, RL_LOG_ERROR, 1, "%s", line);
	assert_int_equal(unit.lines, 2);
	assert_int_equal(strlen(unit.text), 512);
	assert_string_equal(unit.text + 512 - (sizeof(note) - 1), note);
}

static void
limited_below_its_level_is_not_counted(void **state)
{
	struct log_limit limit = { 0 };
	struct unit_log unit;

	(void)state;
	unit_log_init(&unit);
	rli_log_init(&unit.log, unit_log_sink, &unit, RL_LOG_WARN);
	rli_log_limited(&unit.log, &limit, 1, RL_LOG_DEBUG, 1, "quiet");
	rli_log_limited(&unit.log, &limit, 1, RL_LOG_WARN, 1, "loud");
	assert_int_equal(unit.lines, 1);
	assert_string_equal(unit.text, "loud");
}

static void
escape_every_byte_comes_out_printable(void **state)
{
	char text[256];
	char out[4 * 256 + 1];
	uint32_t i;

	(void)state;
	for (i = 0; i < 256; i++) {
		text[i] = (char)i;
	}
	assert_ptr_equal(rli_log_escape(out, sizeof(out), text, sizeof(text)), out);
	for (i = 0; out[i] != '\0'; i++) {
		assert_in_range((unsigned char)out[i], ' ', '~');
	}
	assert_int_equal(i, 95 + 4 * (256 - 95));
	assert_memory_equal(out, "\\x00\\x01", 8);
	assert_string_equal(out + i - 8, "\\xfe\\xff");

	rli_log_escape(out, sizeof(out), "a b\n\x1b[31m~", 9);
	assert_string_equal(out, "a b\\x0a\\x1b[31m");
}

static void
escape_without_room_cuts_between_bytes(void **state)
{
	char out[8];

	(void)state;
	memset(out, 'x', sizeof(out));
	rli_log_escape(out, 8, "abcd\nef", 7);
	assert_string_equal(out, "abcd"); /* \x0a would need 9 bytes with the NUL */
	rli_log_escape(out, 8, "abc\nef", 6);
	assert_string_equal(out, "abc\\x0a");
	rli_log_escape(out, 1, "abc", 3);
	assert_string_equal(out, "");
	rli_log_escape(out, 4, "abc", 3);
	assert_string_equal(out, "abc");
	rli_log_escape(out, 8, "", 0);
	assert_string_equal(out, "");
}

static void
errno_text_is_the_errors_meaning(void **state)
{
	(void)state;
	assert_string_equal(rli_errno_text(-ECONNREFUSED), "Connection refused");
	assert_string_equal(rli_errno_text(-EMFILE), "Too many open files");
	assert_string_equal(rli_errno_text(-100000), "unknown error");
	assert_string_equal(rli_errno_text(INT32_MAX), "unknown error");
}

static void
fail_assertion(void *arg)
{
	const char *text = arg;

	RL_ASSERT(text == NULL);
}

static void
fail_long_assertion(void *arg)
{
	rli_assert_failed(arg, "file.c", 1);
}

static void
assertion_failed_says_where_and_aborts(void **state)
{
	char line[5000];
	char set[] = "x";

	(void)state;
	assert_true(unit_dies(fail_assertion, set, SIGABRT,
			      "ringline: assertion failed: text == NULL ("));
	assert_true(unit_dies(fail_assertion, set, SIGABRT, "test_log.c:"));
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	assert_true(unit_dies(fail_long_assertion, line, SIGABRT, "assertion failed: xxxx"));
	fail_assertion(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(log_below_its_level_says_nothing),
		cmocka_unit_test(log_default_level_is_warn),
		cmocka_unit_test(log_without_sink_writes_to_stderr),
		cmocka_unit_test(log_line_too_long_is_cut_and_ended),
		cmocka_unit_test(log_with_stderr_closed_is_silent),
		cmocka_unit_test(limited_flood_passes_once_a_second_and_counts),
		cmocka_unit_test(limited_long_line_keeps_its_count),
		cmocka_unit_test(limited_below_its_level_is_not_counted),
		cmocka_unit_test(escape_every_byte_comes_out_printable),
		cmocka_unit_test(escape_without_room_cuts_between_bytes),
		cmocka_unit_test(errno_text_is_the_errors_meaning),
		cmocka_unit_test(assertion_failed_says_where_and_aborts),
	};

	return unit_run(tests);
}
