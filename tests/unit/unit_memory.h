/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A host that runs out of memory at a chosen page, by RLIMIT_DATA: what is writable and private
 * counts, so a reservation's own page and every commit do, and address space does not.
 *
 * ThreadSanitizer takes memory of its own for every mapping, and dies when it gets none; its builds
 * leave such cases out.
 */
#ifndef RINGLINE_TESTS_UNIT_MEMORY_H
#define RINGLINE_TESTS_UNIT_MEMORY_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNIT_MEMORY_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(UNIT_MEMORY_TSAN)
#define UNIT_MEMORY_CAN_FAIL false
#else
#define UNIT_MEMORY_CAN_FAIL true
#endif

/* What counts towards RLIMIT_DATA now. */
static inline size_t
unit_memory_used(void)
{
	char text[4096];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t got = read(fd, text, sizeof(text) - 1);
	const char *line;

	(void)close(fd);
	assert_true(got > 0);
	text[got] = '\0';
	line = strstr(text, "VmData:");
	assert_non_null(line);
	return strtoul(line + strlen("VmData:"), NULL, 10) * 1024;
}

/* From now on no more than @pages can be had, until unit_memory_end(). */
static inline struct rlimit
unit_memory_begin(size_t pages)
{
	struct rlimit before;
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
	limit = before;
	limit.rlim_cur = unit_memory_used() + pages * (size_t)sysconf(_SC_PAGESIZE);
	assert_int_equal(setrlimit(RLIMIT_DATA, &limit), 0);
	return before;
}

static inline void
unit_memory_end(struct rlimit before)
{
	assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
}

/* An emulator of programs (qemu-user) knows the limit, and keeps none. */
static inline bool
unit_memory_is_limited(void)
{
	struct rlimit before = unit_memory_begin(0);
	void *pages = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	unit_memory_end(before);
	if (pages != MAP_FAILED) {
		(void)munmap(pages, 65536);
	}
	return pages == MAP_FAILED;
}

/* False: the case has to be left out. */
static inline bool
unit_memory_can_fail(void)
{
	if (!UNIT_MEMORY_CAN_FAIL) {
		print_message("left out: ThreadSanitizer needs memory itself\n");
		return false;
	}
	if (!unit_memory_is_limited()) {
		print_message("left out: RLIMIT_DATA is not enforced here\n");
		return false;
	}
	return true;
}

#endif
