/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: rl_system_run() hears a signal, and takes no CPU meanwhile, when RLIMIT_NOFILE was
 * lowered below what it waits for; a signal that comes while rl_system_stop() works kills nobody.
 * How: signals of this process to itself, from a second thread; whether the system's memory is
 * still there when the first one is interrupted.
 * Not proved: what a drain does (test_drain.c).
 */
#include "client.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define WATCHED_NS   400000000ull
#define BUSY_PERCENT 25
#define STOPS	     30

/* ---- fewer descriptors than are waited for */

struct watcher {
	struct rig *rig;
	struct rlimit before;
	uint64_t cpu_ns; /* of this process while it was watched */
	uint64_t took_ns;
	_Atomic bool heard; /* rl_system_run() has returned */
	bool late; /* not until the limit was restored */
};

static uint64_t
cpu_used_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *
watcher_main(void *arg)
{
	struct watcher *watcher = arg;
	uint64_t began_ns = rig_now_ns();

	watcher->cpu_ns = cpu_used_ns();
	while (rig_now_ns() - began_ns < WATCHED_NS) {
		rig_let_pass(watcher->rig, 20);
	}
	watcher->cpu_ns = cpu_used_ns() - watcher->cpu_ns;
	watcher->took_ns = rig_now_ns() - began_ns;
	(void)kill(getpid(), SIGTERM);
	began_ns = rig_now_ns();
	while (!watcher->heard && rig_now_ns() - began_ns < RIG_PATIENCE_MS * 1000000ull) {
		rig_let_pass(watcher->rig, 1);
	}
	watcher->late = !watcher->heard;
	(void)prlimit(getpid(), RLIMIT_NOFILE, &watcher->before, NULL);
	return NULL;
}

static void
signal_is_heard_with_fewer_descriptors_than_are_waited_for(void **state)
{
	struct rig *rig = *state;
	struct watcher watcher = { .rig = rig };
	struct rlimit lowered;
	pthread_t thread;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	assert_int_equal(prlimit(getpid(), RLIMIT_NOFILE, NULL, &watcher.before), 0);
	lowered = (struct rlimit){ .rlim_cur = 1, .rlim_max = watcher.before.rlim_max };
	assert_int_equal(prlimit(getpid(), RLIMIT_NOFILE, &lowered, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, watcher_main, &watcher), 0);
	assert_int_equal(rl_system_run(rig->sys), 0);
	watcher.heard = true;
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(watcher.late);
	assert_true(watcher.cpu_ns * 100 < watcher.took_ns * BUSY_PERCENT);
	rig_forgive_logged(rig, "raise RLIMIT_NOFILE"); /* an acceptor can't accept either */
	rig_end(rig);
}

/* ---- signals while the system stops */

static struct {
	_Atomic bool stops; /* in rl_system_stop() */
	_Atomic bool done;
	const void *sys;
	volatile sig_atomic_t early; /* it was interrupted while it still had memory to free */
} stopping;

static void
stopping_on_signal(int number)
{
	(void)number;
	if (stopping.stops && msync((void *)(uintptr_t)stopping.sys, 1, MS_ASYNC) == 0) {
		stopping.early = 1;
	}
}

static void *
stopping_hammer(void *arg)
{
	(void)arg;
	while (!stopping.done) {
		(void)kill(getpid(), SIGTERM); /* blocked here */
	}
	return NULL;
}

static void
signal_while_it_stops_is_forgotten(void **state)
{
	struct sigaction action = { .sa_handler = stopping_on_signal };
	struct sigaction before;
	struct rig *rig = *state;

	assert_int_equal(sigaction(SIGTERM, &action, &before), 0);
	for (uint32_t i = 0; i < STOPS; i++) {
		pthread_t thread;

		rig_start(rig, RL_CONFIG(.shards = 1));
		stopping.sys = rig->sys;
		stopping.done = false;
		assert_int_equal(pthread_create(&thread, NULL, stopping_hammer, NULL), 0);
		stopping.stops = true;
		rl_system_stop(rig->sys);
		stopping.stops = false;
		rig->sys = NULL;
		stopping.done = true;
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(stopping.early, 0);
	}
	assert_int_equal(sigaction(SIGTERM, &before, NULL), 0);
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(signal_is_heard_with_fewer_descriptors_than_are_waited_for),
		rig_case(signal_while_it_stops_is_forgotten),
	};

	return rig_run("signals", tests);
}
