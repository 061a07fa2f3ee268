/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "echo_bench/usage.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "support/wakeup.h"

static uint64_t
usage_timeval_ns(struct timeval time)
{
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_usec * 1000u;
}

/* Its first number is the time on a CPU. A thread that has ended meanwhile counts nothing. */
static uint64_t
usage_thread_ns(const char *path)
{
	FILE *file = fopen(path, "re");
	char line[96] = "";

	if (file == NULL) {
		return 0;
	}
	if (fgets(line, sizeof(line), file) == NULL) {
		line[0] = '\0';
	}
	(void)fclose(file);
	return strtoull(line, NULL, 10);
}

static bool
usage_process_ns(int pid, uint64_t *sum_ns)
{
	const struct dirent *entry;
	char path[320];
	DIR *tasks;

	*sum_ns = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	if (tasks == NULL) {
		return false;
	}
	while ((entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] != '.') {
			(void)snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid,
				       entry->d_name);
			*sum_ns += usage_thread_ns(path);
		}
	}
	(void)closedir(tasks);
	return *sum_ns > 0;
}

void
usage_read(struct usage *usage, int server_pid)
{
	struct rusage own;

	(void)getrusage(RUSAGE_SELF, &own); /* of oneself it can't fail */
	usage->at_ns = wakeup_now_ns();
	usage->own_ns = usage_timeval_ns(own.ru_utime) + usage_timeval_ns(own.ru_stime);
	usage->server_known = server_pid != 0 && usage_process_ns(server_pid, &usage->server_ns);
}
