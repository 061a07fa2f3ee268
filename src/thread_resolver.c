/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The threads that look host names up. One is started when more lookups wait than threads will look
 * for one, and ends when none waits. Invariant: a thread outlives rl_system_stop() only inside
 * rli_sys_resolve(), which can't be interrupted, and touches nothing after that but the resolver,
 * which waits for it.
 */
#include <pthread.h>

#include "system.h"
#include "thread.h"

static void *
worker_main(void *arg)
{
	const struct thread_worker *me = arg;
	const struct thread_set *set = me->system->threads;
	struct resolver *resolver = me->system->resolver;
	uint32_t worker = (uint32_t)(me - set->workers);

	(void)pthread_setname_np(pthread_self(), "ringline/name"); /* as for shards */
	/* as the clerk: it was started by a shard, and must not stay on that one's core */
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set->cpus), &set->cpus);
	while (rli_resolver_take(resolver, worker)) {
		rli_resolver_look(resolver, worker);
		rli_resolver_answer(resolver, worker);
	}
	return NULL;
}

int
rli_thread_resolver_start(struct rl_system *system, uint32_t worker)
{
	struct thread_set *set = system->threads;
	struct thread_worker *thread = &set->workers[worker];
	int rc;

	pthread_mutex_lock(&set->lock);
	if (thread->started) {
		(void)pthread_join(thread->handle, NULL); /* it has nothing left to do */
	}
	thread->system = system;
	rc = pthread_create(&thread->handle, NULL, worker_main, thread);
	thread->started = rc == 0;
	pthread_mutex_unlock(&set->lock);
	if (rc != 0) {
		rli_log(&system->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"can't start a thread that looks up names: %s; see RLIMIT_NPROC",
			rli_errno_text(-rc));
	}
	return -rc;
}

void
rli_thread_resolver_leave(struct rl_system *system)
{
	struct thread_set *set = system->threads;
	uint32_t out = rli_resolver_leave(system->resolver);

	pthread_mutex_lock(&set->lock);
	for (uint32_t i = 0; i < RESOLVER_WORKERS_MAX; i++) {
		struct thread_worker *thread = &set->workers[i];

		if (!thread->started) {
			continue;
		}
		thread->started = false;
		if (out & 1u << i) {
			(void)pthread_detach(thread->handle);
		} else {
			(void)pthread_join(thread->handle, NULL);
		}
	}
	pthread_mutex_unlock(&set->lock);
	if (out != 0) {
		rli_log(&system->log, RL_LOG_INFO, LOG_NO_SHARD,
			"%d lookups of host names are left behind, which end with the system's "
			"resolver",
			__builtin_popcount(out));
	}
}
