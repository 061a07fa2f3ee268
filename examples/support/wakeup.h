/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * wakeup - how a main thread that has something to do besides rl_system_run() sleeps: until an
 * actor rings, a signal comes, or a deadline passes.
 *
 * rl_system_start() has blocked SIGINT and SIGTERM in the main thread, so they stay pending until
 * they are read here, or by rl_system_run() later on.
 */
#ifndef RINGLINE_EXAMPLES_WAKEUP_H
#define RINGLINE_EXAMPLES_WAKEUP_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Both become readable; who polls more than these two puts them into its own poll(2). */
struct wakeup {
	int event_fd;
	int signal_fd;
};

enum wakeup_cause {
	WAKEUP_TIMEOUT,
	WAKEUP_RING,
	WAKEUP_SIGNAL,
};

/* After rl_system_start(). 0 or a negative errno; then there is nothing to undo. */
int wakeup_init(struct wakeup *wakeup);

void wakeup_fini(struct wakeup *wakeup);

/* From any thread and any handler: one write(2) to an eventfd, which does not block. */
void wakeup_ring(const struct wakeup *wakeup);

/* Forget the rings so far: look at what they were about after this, not before. */
void wakeup_clear(const struct wakeup *wakeup);

/* Take one of the signals that came; false: there is none. */
bool wakeup_take_signal(const struct wakeup *wakeup);

/* Sleep until @p deadline_ns, on wakeup_now_ns()'s clock, or earlier; rings are cleared. */
enum wakeup_cause wakeup_wait(const struct wakeup *wakeup, uint64_t deadline_ns);

/* The clock of rl_shard_now_ns(). */
static inline uint64_t
wakeup_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* always there */
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
