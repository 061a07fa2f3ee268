/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * usage - what this process and the server have used of the CPUs until now.
 *
 * The server's comes from the scheduler's own account of its threads,
 * /proc/PID/task/TID/schedstat, in nanoseconds; it is there for any process of this machine,
 * whoever owns it.
 */
#ifndef RINGLINE_EXAMPLES_USAGE_H
#define RINGLINE_EXAMPLES_USAGE_H

#include <stdbool.h>
#include <stdint.h>

struct usage {
	uint64_t at_ns; /* when it was read */
	uint64_t own_ns;
	uint64_t own_waited_ns; /* could run, and something else had the CPU */
	uint64_t server_ns;
	uint64_t server_waited_ns;
	bool server_known;
};

/* @p server_pid 0: there is none to ask about. */
void usage_read(struct usage *usage, int server_pid);

#endif
