/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the unit tests share: a log that remembers, a seeded generator, deaths that are expected,
 * and the check that a group leaves no descriptor and no memory behind. Include it first: cmocka
 * wants its own headers in this order.
 */
#ifndef RINGLINE_TESTS_UNIT_H
#define RINGLINE_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/host.h"
#include "base/log.h"

#define UNIT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ThreadSanitizer is on: gcc says it one way, clang another. */
#if defined(__SANITIZE_THREAD__)
#define TSAN_ON 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN_ON 1
#endif
#endif

/* A log whose sink keeps the last line and counts. */
struct unit_log {
	struct log log;
	uint32_t lines;
	enum rl_log_level level;
	int shard;
	char text[1024];
};

static inline void
unit_log_sink(void *arg, enum rl_log_level level, int shard, const char *text)
{
	struct unit_log *unit = arg;

	unit->lines++;
	unit->level = level;
	unit->shard = shard;
	(void)snprintf(unit->text, sizeof(unit->text), "%s", text);
}

static inline void
unit_log_init(struct unit_log *unit)
{
	*unit = (struct unit_log){ .shard = -2 };
	rli_log_init(&unit->log, unit_log_sink, unit, RL_LOG_DEBUG);
}

/* splitmix64: any seed is a good one. */
static inline uint64_t
unit_random(uint64_t *state)
{
	uint64_t number = *state += 0x9e3779b97f4a7c15;

	number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
	number = (number ^ number >> 27) * 0x94d049bb133111eb;
	return number ^ number >> 31;
}

/*
 * The seeds of a random test: a fixed list, or the one of RL_TEST_SEED to replay a failure. Each is
 * printed before it runs, so the last line of a failed test names the seed.
 */
static inline void
unit_each_seed(void (*run)(uint64_t seed), uint32_t seeds)
{
	const char *chosen = getenv("RL_TEST_SEED");
	uint64_t seed;

	if (chosen != NULL) {
		run(strtoull(chosen, NULL, 0));
		return;
	}
	for (seed = 1; seed <= seeds; seed++) {
		print_message("RL_TEST_SEED=%llu\n", (unsigned long long)seed);
		run(seed);
	}
}

/*
 * Run @die in a child. True when that killed the child by a signal, and its stderr contains @says.
 */
static inline bool
unit_dies(void (*die)(void *arg), void *arg, int killed_by, const char *says)
{
	char text[4096];
	size_t len = 0;
	ssize_t got;
	int pipes[2];
	int status;
	pid_t child;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)signal(SIGSEGV,
			     SIG_DFL); /* cmocka's handler would go on with the next test */
		(void)dup2(pipes[1], STDERR_FILENO);
		die(arg);
		_exit(0);
	}
	(void)close(pipes[1]);
	while (len < sizeof(text) - 1 &&
	       (got = read(pipes[0], text + len, sizeof(text) - 1 - len)) > 0) {
		len += (size_t)got;
	}
	text[len] = '\0';
	(void)close(pipes[0]);
	assert_int_equal(waitpid(child, &status, 0), child);

	if (strstr(text, says) == NULL) {
		print_message("stderr of the child: %s\n", text);
		return false;
	}
	return WIFSIGNALED(status) && WTERMSIG(status) == killed_by;
}

static inline bool
unit_asserts(void (*die)(void *arg), void *arg)
{
	return unit_dies(die, arg, SIGABRT, "ringline: assertion failed: ");
}

static inline uint32_t
unit_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint32_t count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL) {
		count++;
	}
	(void)closedir(dir);
	return count;
}

/* What was there when the group began. */
struct unit_before {
	uint32_t fds;
	size_t committed;
};

static struct unit_before unit_before;

static inline int
unit_setup(void **state)
{
	(void)state;
	unit_before.fds = unit_fds();
	unit_before.committed = rli_host_pages_committed();
	return 0;
}

static inline int
unit_teardown(void **state)
{
	(void)state;
	if (unit_fds() != unit_before.fds) {
		print_error("descriptors: %u before, %u after\n", unit_before.fds, unit_fds());
		return -1;
	}
	if (rli_host_pages_committed() != unit_before.committed) {
		print_error("committed bytes: %zu before, %zu after\n", unit_before.committed,
			    rli_host_pages_committed());
		return -1;
	}
	return 0;
}

#define unit_run(tests) cmocka_run_group_tests(tests, unit_setup, unit_teardown)

#endif
