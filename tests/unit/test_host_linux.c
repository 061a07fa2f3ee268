/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: clock, random numbers, pages and eventfds do what host.h says, refusals included.
 * How: against the real kernel; refusals by rlimits, bad descriptors and impossible sizes.
 * Not: a getrandom(2) that is forbidden; what the simulator's host does. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "unit_memory.h"

#define STEP ((size_t)65536)

static void
clock_read_twice_never_goes_back(void **state)
{
	struct timespec now;
	uint64_t before;
	uint64_t after;

	(void)state;
	before = rli_host_now_ns();
	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	after = rli_host_now_ns();

	/* The same clock, in nanoseconds. */
	assert_true(before <= (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
	assert_true((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec <= after);
}

static void
random_many_numbers_use_every_bit(void **state)
{
	uint64_t numbers[64];
	uint64_t ever_set = 0;
	uint64_t ever_clear = 0;
	uint32_t i;
	uint32_t j;

	(void)state;
	for (i = 0; i < UNIT_COUNT(numbers); i++) {
		numbers[i] = rli_host_random();
		ever_set |= numbers[i];
		ever_clear |= ~numbers[i];
		for (j = 0; j < i; j++) {
			assert_true(numbers[i] != numbers[j]);
		}
	}
	assert_true(ever_set == UINT64_MAX);
	assert_true(ever_clear == UINT64_MAX);
}

static void
pages_committed_in_parts_are_zero_and_counted(void **state)
{
	size_t before = rli_host_pages_committed();
	uint8_t *pages = rli_host_pages_reserve(8 * STEP);
	size_t i;

	(void)state;
	assert_non_null(pages);
	assert_int_equal((uintptr_t)pages % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
	assert_int_equal(rli_host_pages_committed(), before);

	assert_int_equal(rli_host_pages_commit(pages, STEP), 0);
	assert_int_equal(rli_host_pages_commit(pages + 4 * STEP, 2 * STEP), 0);
	assert_int_equal(rli_host_pages_committed(), before + 3 * STEP);
	for (i = 0; i < STEP; i++) {
		assert_int_equal(pages[i], 0);
		assert_int_equal(pages[5 * STEP + i], 0);
	}
	memset(pages, 0xff, STEP);
	memset(pages + 4 * STEP, 0xff, 2 * STEP);

	rli_host_pages_release(pages, 8 * STEP);
	assert_int_equal(rli_host_pages_committed(), before);
}

static void
touch(void *at)
{
	*(volatile uint8_t *)at = 1;
}

static void
pages_not_committed_kill_who_touches_them(void **state)
{
	uint8_t *pages = rli_host_pages_reserve(2 * STEP);

	(void)state;
	assert_non_null(pages);
	assert_int_equal(rli_host_pages_commit(pages, STEP), 0);
	assert_true(unit_dies(touch, pages + STEP, SIGSEGV, ""));
	touch(pages + STEP - 1);
	rli_host_pages_release(pages, 2 * STEP);
}

/* Of the mapping that begins at @at: its resident kilobytes, and the kernel's flags of it. */
static size_t
mapping_look(const void *at, char flags[256])
{
	FILE *file = fopen("/proc/self/smaps", "re");
	char line[512];
	bool found = false;
	size_t rss_kb = SIZE_MAX;
	char *rest;

	assert_non_null(file);
	flags[0] = '\0';
	while (flags[0] == '\0' && fgets(line, sizeof(line), file) != NULL) {
		uintptr_t begin = strtoul(line, &rest, 16);

		if (*rest == '-') {
			found = begin <= (uintptr_t)at &&
				(uintptr_t)at < strtoul(rest + 1, NULL, 16);
		} else if (found && strncmp(line, "Rss:", 4) == 0) {
			rss_kb = strtoul(line + 4, NULL, 10);
		} else if (found && strncmp(line, "VmFlags:", 8) == 0) {
			(void)snprintf(flags, 256, "%.255s", line + 8);
		}
	}
	(void)fclose(file);
	return rss_kb;
}

/* Where the administrator has forbidden that (2), every commit is charged at once. */
static bool
host_overcommits(void)
{
	FILE *file = fopen("/proc/sys/vm/overcommit_memory", "re");
	int mode;

	assert_non_null(file);
	mode = fgetc(file);
	(void)fclose(file);
	return mode != '2';
}

/* 256 shards commit 4 GiB for what lies between them, and touch little of it. */
static void
pages_committed_cost_nothing_until_touched(void **state)
{
	size_t bytes = (size_t)1 << 30;
	uint8_t *pages = rli_host_pages_reserve(bytes);
	char flags[256];

	(void)state;
	assert_non_null(pages);
	assert_int_equal(rli_host_pages_commit(pages, bytes), 0);
	pages[bytes / 2] = 1;
	assert_in_range(mapping_look(pages + bytes / 2, flags), 4, 4096);
	if (host_overcommits()) {
		assert_non_null(strstr(flags, " nr")); /* no swap is reserved for it, */
		assert_null(strstr(flags, " ac")); /* and it is not accounted for */
	}
	rli_host_pages_release(pages, bytes);
}

static void
pages_of_no_address_space_are_null(void **state)
{
	(void)state;
	assert_null(rli_host_pages_reserve((size_t)1 << 60));
}

static void
pages_of_no_memory_answer_enomem(void **state)
{
	size_t committed = rli_host_pages_committed();
	uint8_t *pages = rli_host_pages_reserve(2 * STEP);
	struct rlimit before;
	void *refused;
	int rc;

	(void)state;
	assert_non_null(pages);
	if (unit_memory_can_fail()) {
		before = unit_memory_begin(0);
		rc = rli_host_pages_commit(pages, STEP);
		refused = rli_host_pages_reserve(STEP); /* its own page is memory, too */
		unit_memory_end(before);
		assert_int_equal(rc, -ENOMEM);
		assert_null(refused);
		assert_int_equal(rli_host_pages_committed(), committed);
	}
	assert_int_equal(rli_host_pages_commit(pages, STEP), 0);
	rli_host_pages_release(pages, 2 * STEP);
}

static void
release_wrong_size(void *pages)
{
	rli_host_pages_release(pages, STEP);
}

static void
commit_foreign(void *pages)
{
	(void)pages;
	(void)rli_host_pages_commit(mmap(NULL, STEP, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
				    STEP);
}

static void
commit_uneven(void *pages)
{
	(void)rli_host_pages_commit((uint8_t *)pages + 16, STEP);
}

static void
pages_misused_assert(void **state)
{
	void *pages = rli_host_pages_reserve(2 * STEP);

	(void)state;
	assert_non_null(pages);
	assert_int_equal(rli_host_pages_commit(pages, 2 * STEP), 0);
	assert_true(unit_asserts(release_wrong_size, pages));
	assert_true(unit_asserts(commit_uneven, pages));
	assert_true(unit_asserts(commit_foreign, pages));
	rli_host_pages_release(pages, 2 * STEP);
	rli_host_pages_release(NULL, STEP);
}

static void *
pages_thread(void *arg)
{
	uint32_t i;

	(void)arg;
	for (i = 0; i < 300; i++) {
		uint8_t *pages = rli_host_pages_reserve(4 * STEP);

		if (pages == NULL || rli_host_pages_commit(pages + STEP, STEP) != 0 ||
		    rli_host_pages_commit(pages + 2 * STEP, 2 * STEP) != 0) {
			return (void *)(uintptr_t)1;
		}
		pages[2 * STEP] = 1;
		rli_host_pages_release(pages, 4 * STEP);
	}
	return NULL;
}

static void
pages_of_many_threads_are_counted_right(void **state)
{
	size_t before = rli_host_pages_committed();
	pthread_t threads[4];
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(threads); i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, pages_thread, NULL), 0);
	}
	for (i = 0; i < UNIT_COUNT(threads); i++) {
		void *failed;

		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(rli_host_pages_committed(), before);
}

static void
eventfd_opened_is_nonblocking_and_private(void **state)
{
	uint64_t value;
	int fd = rli_host_eventfd_open();

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(read(fd, &value, sizeof(value)), -1);
	assert_int_equal(errno, EAGAIN);
	rli_host_eventfd_close(fd);
}

static void
eventfd_written_twice_is_drained_at_once(void **state)
{
	uint64_t value;
	int fd = rli_host_eventfd_open();

	(void)state;
	assert_int_equal(rli_host_eventfd_write(fd), 0);
	assert_int_equal(rli_host_eventfd_write(fd), 0);
	rli_host_eventfd_drain(fd);
	assert_int_equal(read(fd, &value, sizeof(value)), -1);
	assert_int_equal(errno, EAGAIN);

	rli_host_eventfd_drain(fd); /* nothing there: returns all the same */
	assert_int_equal(rli_host_eventfd_write(fd), 0);
	assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	assert_int_equal(value, 1);
	rli_host_eventfd_close(fd);
}

static void
eventfd_full_counts_as_written(void **state)
{
	uint64_t most = UINT64_MAX - 1;
	int fd = rli_host_eventfd_open();

	(void)state;
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(rli_host_eventfd_write(fd), 0);
	rli_host_eventfd_close(fd);
}

static void
eventfd_write_leaves_errno_alone(void **state)
{
	int fd = rli_host_eventfd_open();

	(void)state;
	rli_host_eventfd_close(fd);
	errno = EXDEV;
	assert_int_equal(rli_host_eventfd_write(fd), -EBADF);
	assert_int_equal(errno, EXDEV);
}

static void
eventfd_without_descriptors_answers_emfile(void **state)
{
	struct rlimit limit;
	struct rlimit none;
	int fd;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	fd = rli_host_eventfd_open();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(fd, -EMFILE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clock_read_twice_never_goes_back),
		cmocka_unit_test(random_many_numbers_use_every_bit),
		cmocka_unit_test(pages_committed_in_parts_are_zero_and_counted),
		cmocka_unit_test(pages_not_committed_kill_who_touches_them),
		cmocka_unit_test(pages_committed_cost_nothing_until_touched),
		cmocka_unit_test(pages_of_no_address_space_are_null),
		cmocka_unit_test(pages_of_no_memory_answer_enomem),
		cmocka_unit_test(pages_misused_assert),
		cmocka_unit_test(pages_of_many_threads_are_counted_right),
		cmocka_unit_test(eventfd_opened_is_nonblocking_and_private),
		cmocka_unit_test(eventfd_written_twice_is_drained_at_once),
		cmocka_unit_test(eventfd_full_counts_as_written),
		cmocka_unit_test(eventfd_write_leaves_errno_alone),
		cmocka_unit_test(eventfd_without_descriptors_answers_emfile),
	};

	return unit_run(tests);
}
