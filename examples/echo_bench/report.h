/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * report - what echo_bench has measured, as text or as one line of JSON.
 */
#ifndef RINGLINE_EXAMPLES_REPORT_H
#define RINGLINE_EXAMPLES_REPORT_H

#include <stdbool.h>

#include "echo_bench/load.h"
#include "echo_bench/usage.h"

struct report {
	const struct load *load;
	struct load_window window;
	struct usage begin;
	struct usage end;
};

/* After rl_system_run() returned. To stdout. */
void report_print(const struct report *report, bool json);

/* To stderr: a line about the first fault, and one with their sums if there were several. */
void report_faults(const struct load *load);

#endif
