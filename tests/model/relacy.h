/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the Relacy programs share. Each is run as PROGRAM VARIANT: the variant "none" is the
 * algorithm as it is, any other changes it in one place. Exits with 0 when no schedule failed, with
 * 1 when one did and its history was printed, with 2 when there is no such variant.
 */
#ifndef RINGLINE_TESTS_MODEL_RELACY_H
#define RINGLINE_TESTS_MODEL_RELACY_H

#include <cstdio>
#include <cstring>

#include <relacy/relacy.hpp>

using rl::mo_acq_rel;
using rl::mo_acquire;
using rl::mo_relaxed;
using rl::mo_release;
using rl::mo_seq_cst;

enum {
	SCHEDULES = 400000
};

/* Where a shard waits in the kernel, and what wakes it. */
class kernel_wait
{
	HANDLE event;

      public:
	void open()
	{
		event = CreateEvent(0, 0, 0, 0);
	}

	void close()
	{
		CloseHandle(event);
	}

	void wake()
	{
		SetEvent(event);
	}

	void wait()
	{
		WaitForSingleObject(event, INFINITE);
	}
};

/*
 * The number of the variant that is asked for, in a list that begins with "none"; negative: it has
 * no such name.
 */
inline int
variant_number(const char *const *names, int argc, char **argv)
{
	int i;

	for (i = 0; names[i] != NULL; i++) {
		if (argc == 2 && strcmp(names[i], argv[1]) == 0) {
			return i;
		}
	}
	fprintf(stderr, "usage: %s VARIANT\n", argv[0]);
	for (i = 0; names[i] != NULL; i++) {
		fprintf(stderr, "  %s\n", names[i]);
	}
	return -1;
}

template <class suite>
int
run_schedules()
{
	rl::ostringstream progress;
	rl::test_params params;
	bool good;

	params.iteration_count = SCHEDULES;
	params.progress_stream = &progress;
	good = rl::simulate<suite>(params);
	printf("result: %s after %u schedules\n", rl::test_result_str(params.test_result),
	       (unsigned)params.stop_iteration);
	return good ? 0 : 1;
}

#endif
