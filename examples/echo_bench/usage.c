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

/* Its first two numbers. A thread that has ended meanwhile counts nothing. */
static void
usage_add_thread(const char *path, uint64_t *ran_ns, uint64_t *waited_ns)
{
	FILE *file = fopen(path, "re");
	char line[96] = "";
	char *end;

	if (file == NULL) {
		return;
	}
	if (fgets(line, sizeof(line), file) == NULL) {
		line[0] = '\0';
	}
	(void)fclose(file);
	*ran_ns += strtoull(line, &end, 10);
	*waited_ns += strtoull(end, NULL, 10);
}

static bool
usage_process(const char *pid, uint64_t *ran_ns, uint64_t *waited_ns)
{
	const struct dirent *entry;
	char path[320];
	DIR *tasks;

	*ran_ns = 0;
	*waited_ns = 0;
	(void)snprintf(path, sizeof(path), "/proc/%s/task", pid);
	tasks = opendir(path);
	if (tasks == NULL) {
		return false;
	}
	while ((entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] != '.') {
			(void)snprintf(path, sizeof(path), "/proc/%s/task/%s/schedstat", pid,
				       entry->d_name);
			usage_add_thread(path, ran_ns, waited_ns);
		}
	}
	(void)closedir(tasks);
	return *ran_ns > 0;
}

void
usage_read(struct usage *usage, int server_pid)
{
	struct rusage own;
	uint64_t ran_ns;
	char pid[16];

	(void)getrusage(RUSAGE_SELF, &own); /* of oneself it can't fail */
	usage->at_ns = wakeup_now_ns();
	usage->own_ns = usage_timeval_ns(own.ru_utime) + usage_timeval_ns(own.ru_stime);
	(void)usage_process("self", &ran_ns, &usage->own_waited_ns);
	(void)snprintf(pid, sizeof(pid), "%d", server_pid);
	usage->server_known =
		server_pid != 0 && usage_process(pid, &usage->server_ns, &usage->server_waited_ns);
}
