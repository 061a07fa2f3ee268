/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "load/load.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>

static void
usage_add_thread(struct load_usage *usage, const char *path)
{
	FILE *file = fopen(path, "re");
	uint64_t ran_ns;
	uint64_t waited_ns;

	if (file == NULL) {
		return; /* the thread has ended */
	}
	if (fscanf(file, "%" SCNu64 " %" SCNu64, &ran_ns, &waited_ns) == 2) {
		usage->ran_ns += ran_ns;
		usage->waited_ns += waited_ns;
	}
	fclose(file);
}

struct load_usage
load_usage_of(int pid)
{
	struct load_usage usage = { .ran_ns = 0 };
	struct dirent *entry;
	char path[320];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	if (tasks == NULL) {
		return usage;
	}
	while ((entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] != '.') {
			snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid,
				 entry->d_name);
			usage_add_thread(&usage, path);
		}
	}
	closedir(tasks);
	return usage;
}
