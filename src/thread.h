/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The threads of a system, for those who start them: thread.c, and thread_resolver.c for the
 * resolver's.
 */
#ifndef RINGLINE_THREAD_H
#define RINGLINE_THREAD_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>

#include "net/resolver.h"
#include "system.h"

enum thread_go {
	THREAD_WAITS, /* at the barrier */
	THREAD_TURNS,
	THREAD_QUITS, /* another shard failed to open */
};

struct thread {
	pthread_t handle;
	struct rl_system *system;
	struct rl_shard *shard;
	bool started;
};

/* Of a worker of the resolver; under the lock. */
struct thread_worker {
	pthread_t handle;
	struct rl_system *system;
	bool started; /* the last one there was */
};

struct thread_set {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* opened or go changed, or a request was answered */
	uint32_t opened; /* threads that have come to the barrier */
	int rc; /* the first failure among them */
	enum thread_go go;
	sigset_t mask_before;
	int signalfd;
	pthread_t acceptor;
	bool acceptor_started;
	pthread_t clerk;
	bool clerk_started; /* the last one there was; under the lock */
	cpu_set_t cpus; /* where the starting thread may run */
	struct thread_worker workers[RESOLVER_WORKERS_MAX];
	struct thread threads[ID_SHARDS_MAX];
};

/* thread_resolver.c: every shard is silent. Workers end, or are left behind in a lookup. */
void rli_thread_resolver_leave(struct rl_system *system);

#endif
