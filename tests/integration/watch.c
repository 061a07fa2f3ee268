/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What /proc says of this process: its descriptors, and whether the system's threads rest.
 */
#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* A shard that has nothing to do must not run for this long; tried again until patience is out. */
#define RIG_IDLE_MS 40

/*
 * By an open(2) that ThreadSanitizer sees: it does not see how a ring closes a descriptor, and
 * would take ours, of the same number, for the one that another thread accepted.
 */
static DIR *
rig_open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fdopendir(fd);
}

uint32_t
rig_fds(void)
{
	DIR *dir = rig_open_dir("/proc/self/fd");
	uint32_t count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL) {
		count++;
	}
	(void)closedir(dir);
	return count;
}

bool
rig_fds_are_allowed(uint32_t clients, uint32_t need)
{
	struct rlimit limit = { 0 };

	(void)getrlimit(RLIMIT_NOFILE, &limit); /* these two can't fail */
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	if (need <= limit.rlim_max) {
		return true;
	}
	print_error("%u clients need a hard RLIMIT_NOFILE of %u, and it is %llu (ulimit -Hn); "
		    "RL_TEST_CLIENTS says how many\n",
		    clients, need, (unsigned long long)limit.rlim_max);
	return false;
}

/* The first line of a thread's file in /proc; empty when the thread has gone. */
static void
rig_task_read(const char *tid, const char *name, char *text, size_t size)
{
	char path[300];
	FILE *file;

	text[0] = '\0';
	(void)snprintf(path, sizeof(path), "/proc/self/task/%s/%s", tid, name);
	file = fopen(path, "re");
	if (file == NULL) {
		return;
	}
	if (fgets(text, (int)size, file) == NULL) {
		text[0] = '\0';
	}
	(void)fclose(file);
}

/* Threads of ours. */
struct rig_threads {
	uint32_t count;
	uint32_t awake; /* that run, or would if they had a CPU */
	uint64_t cpu_ns; /* that they have used */
};

static struct rig_threads
rig_our_threads(void)
{
	struct rig_threads threads = { 0 };
	DIR *dir = rig_open_dir("/proc/self/task");
	const struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		const char *state;
		char text[128];

		rig_task_read(entry->d_name, "stat", text, sizeof(text)); /* "tid (name) S ..." */
		state = strrchr(text, ')');
		if (state != NULL && strstr(text, "(ringline/") != NULL) {
			threads.count++;
			threads.awake += strncmp(state, ") S", 3) != 0;
			rig_task_read(entry->d_name, "schedstat", text, sizeof(text));
			threads.cpu_ns += strtoull(text, NULL, 10);
		}
	}
	(void)closedir(dir);
	return threads;
}

uint64_t
rig_awake_ns(void)
{
	DIR *dir = rig_open_dir("/proc/self/task");
	const struct dirent *entry;
	uint64_t awake_ns = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		char text[128];
		char *end = text;

		rig_task_read(entry->d_name, "schedstat", text, sizeof(text));
		awake_ns += strtoull(text, &end, 10); /* on a CPU */
		awake_ns += strtoull(end, NULL, 10); /* on the way to one */
	}
	(void)closedir(dir);
	return awake_ns;
}

/* A thread that was joined may be seen for a moment longer. */
bool
rig_threads_are_gone(void)
{
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;

	while (rig_our_threads().count != 0) {
		if (rig_now_ns() > end_ns) {
			return false;
		}
		(void)poll(NULL, 0, 1);
	}
	return true;
}

/*
 * A busy loop, or a tick, never lets a whole interval pass without a turn; and who waits for a CPU
 * is not idle. What still goes on from before (a peer's FIN, a deadline, a clerk that has nothing
 * left to do) only makes us look again.
 */
void
rig_assert_idle(struct rig *rig)
{
	struct pollfd fd = { .fd = rig->event, .events = POLLIN };
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	struct rig_threads before;
	struct rig_threads after;
	uint64_t turns;

	while (rig_our_threads().count > rig->threads && rig_now_ns() < end_ns) {
		(void)poll(&fd, 1, 1); /* those that work for a while are on their way out */
	}
	do {
		rig_clear_event(rig);
		before = rig_our_threads();
		turns = rig_stats(rig).turns;
		(void)poll(&fd, 1, RIG_IDLE_MS);
		after = rig_our_threads();
		turns = rig_stats(rig).turns - turns;
		if (rig_now_ns() > end_ns) {
			print_error("idle, and yet %llu turns and %llu us of CPU in %d ms, by %u "
				    "threads, not %u, %u of them awake\n",
				    (unsigned long long)turns,
				    (unsigned long long)(after.cpu_ns - before.cpu_ns) / 1000,
				    RIG_IDLE_MS, after.count, rig->threads, after.awake);
			fail();
		}
	} while (before.count != rig->threads || after.count != rig->threads || turns != 0 ||
		 before.awake + after.awake != 0 || after.cpu_ns != before.cpu_ns);
}
