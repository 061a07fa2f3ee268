/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The resolver without its threads and without the call that blocks. Invariant: whoever waits is
 * served by a worker that will look for work, or is answered; so every lookup that was asked for is
 * answered or cancelled, exactly once.
 */
#include "net/resolver.h"

#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/host.h"
#include "base/mutant.h"

static size_t
resolver_bytes(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (sizeof(struct resolver) + page - 1) / page * page;
}

struct resolver *
rli_resolver_create(uint32_t workers_max, uint32_t kind)
{
	size_t bytes = resolver_bytes();
	struct resolver *resolver = rli_host_pages_reserve(bytes);

	RL_ASSERT(workers_max > 0 && workers_max <= RESOLVER_WORKERS_MAX);
	if (resolver == NULL) {
		return NULL;
	}
	if (rli_host_pages_commit(resolver, bytes) != 0) {
		rli_host_pages_release(resolver, bytes);
		return NULL;
	}
	(void)pthread_mutex_init(&resolver->lock, NULL); /* never fails on Linux */
	list_init(&resolver->waiting);
	resolver->workers_max = workers_max;
	resolver->kind = kind;
	resolver->owners = 1;
	return resolver;
}

/* Under the lock, which is given up. */
static void
resolver_disown(struct resolver *resolver)
{
	bool last = --resolver->owners == 0;

	pthread_mutex_unlock(&resolver->lock);
	if (last) {
		(void)pthread_mutex_destroy(&resolver->lock); /* nobody else knows it */
		rli_host_pages_release(resolver, resolver_bytes());
	}
}

void
rli_resolver_release(struct resolver *resolver)
{
	if (resolver != NULL) {
		pthread_mutex_lock(&resolver->lock);
		RL_ASSERT(list_is_empty(&resolver->waiting));
		resolver_disown(resolver);
	}
}

/*
 * Under the lock, the wake-up too: when the system stops, a worker is either out or has nothing
 * more to do with any shard.
 */
static void
lookup_answer(struct resolver *resolver, struct lookup *lookup, int rc)
{
	struct rl_shard *shard = lookup->shard;

	lookup->rc = rc;
	lookup->state = LOOKUP_ANSWERED;
	lookup->control.kind = resolver->kind;
	rli_inbox_control_push(shard->inbox, &lookup->control);
	(void)rli_sleep_wake(&shard->sleep);
}

static struct lookup *
resolver_next(struct resolver *resolver)
{
	struct list_node *node = list_pop_front(&resolver->waiting);

	if (node == NULL) {
		return NULL;
	}
	resolver->waiting_count--;
	return list_entry(node, struct lookup, node);
}

void
rli_resolver_ask(struct resolver *resolver, struct lookup *lookup)
{
	pthread_mutex_lock(&resolver->lock);
	RL_ASSERT(lookup->state == LOOKUP_IDLE);
	lookup->state = LOOKUP_WAITS;
	list_push_back(&resolver->waiting, &lookup->node);
	resolver->waiting_count++;
	pthread_mutex_unlock(&resolver->lock);
}

bool
rli_resolver_cancel(struct resolver *resolver, struct lookup *lookup)
{
	bool idle = true;

	pthread_mutex_lock(&resolver->lock);
	switch ((enum lookup_state)lookup->state) {
	case LOOKUP_WAITS:
		list_remove(&lookup->node);
		resolver->waiting_count--;
		break;
	case LOOKUP_RUNS:
		if (!RL_MUTANT(LOOKUP_NOT_TAKEN_BACK)) {
			resolver->workers[lookup->worker].lookup = NULL;
		}
		break;
	case LOOKUP_ANSWERED:
		idle = RL_MUTANT(LOOKUP_FREED_EARLY);
		break;
	case LOOKUP_IDLE:
		break;
	}
	if (idle) {
		lookup->state = LOOKUP_IDLE;
	}
	pthread_mutex_unlock(&resolver->lock);
	return idle;
}

int
rli_resolver_hire(struct resolver *resolver)
{
	uint32_t willing = 0;
	int vacant = -1;
	int hired = -1;

	pthread_mutex_lock(&resolver->lock);
	for (uint32_t i = resolver->workers_max; i > 0; i--) {
		willing += resolver->workers[i - 1].state == WORKER_RUNS;
		vacant = resolver->workers[i - 1].state == WORKER_ENDED ? (int)i - 1 : vacant;
	}
	if (resolver->waiting_count > willing && vacant >= 0) {
		resolver->workers[vacant].state = WORKER_RUNS;
		hired = vacant;
	}
	pthread_mutex_unlock(&resolver->lock);
	return hired;
}

void
rli_resolver_unhire(struct resolver *resolver, uint32_t worker, int rc)
{
	struct lookup *lookup;
	bool alone = true;

	pthread_mutex_lock(&resolver->lock);
	resolver->workers[worker].state = WORKER_ENDED;
	for (uint32_t i = 0; i < resolver->workers_max; i++) {
		alone = alone && resolver->workers[i].state == WORKER_ENDED;
	}
	while (alone && (lookup = resolver_next(resolver)) != NULL) {
		lookup->addrs.count = 0;
		lookup->addrs.why = "There is no thread to look it up";
		lookup_answer(resolver, lookup, rc);
	}
	pthread_mutex_unlock(&resolver->lock);
}

bool
rli_resolver_take(struct resolver *resolver, uint32_t worker)
{
	struct worker *me = &resolver->workers[worker];
	struct lookup *lookup;

	pthread_mutex_lock(&resolver->lock);
	lookup = resolver_next(resolver);
	if (lookup == NULL) {
		me->state = WORKER_ENDED;
		if (me->left) {
			resolver_disown(resolver);
		} else {
			pthread_mutex_unlock(&resolver->lock);
		}
		return false;
	}
	me->state = WORKER_OUT;
	me->lookup = lookup;
	memcpy(me->host, lookup->host, strlen(lookup->host) + 1);
	lookup->state = LOOKUP_RUNS;
	lookup->worker = (uint8_t)worker;
	pthread_mutex_unlock(&resolver->lock);
	return true;
}

void
rli_resolver_look(struct resolver *resolver, uint32_t worker)
{
	struct worker *me = &resolver->workers[worker];

	me->rc = rli_sys_resolve(me->host, &me->addrs);
}

void
rli_resolver_answer(struct resolver *resolver, uint32_t worker)
{
	struct worker *me = &resolver->workers[worker];

	pthread_mutex_lock(&resolver->lock);
	if (me->lookup != NULL) {
		me->lookup->addrs = me->addrs;
		lookup_answer(resolver, me->lookup, me->rc);
		me->lookup = NULL;
	}
	me->state = WORKER_RUNS;
	pthread_mutex_unlock(&resolver->lock);
}

uint32_t
rli_resolver_leave(struct resolver *resolver)
{
	uint32_t out = 0;

	pthread_mutex_lock(&resolver->lock);
	for (uint32_t i = 0; i < resolver->workers_max; i++) {
		struct worker *worker = &resolver->workers[i];

		if (worker->state == WORKER_OUT) {
			RL_ASSERT(worker->lookup == NULL);
			worker->left = true;
			resolver->owners++;
			out |= 1u << i;
		}
	}
	pthread_mutex_unlock(&resolver->lock);
	return out;
}
