/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The resolver: host names are looked up by threads of its own (workers), because the system's
 * resolver blocks for as long as it likes and knows no cancelling.
 *
 *	shard                                     worker
 *	  ask: WAITS ------------------------------> take: RUNS
 *	                                              rli_sys_resolve(), outside of the lock
 *	  rli_conn_resolved() <--- a control -------- answer: ANSWERED
 *
 * A lookup is its asker's memory, a worker has copies of all that it needs meanwhile. So a lookup
 * that nobody wants any more is free at once, however long the worker is still out; only one whose
 * answer is already in the shard's inbox must wait for it there, which is a turn.
 *
 * The resolver lies in pages of its own, and the last who leaves gives them back: a worker that is
 * out when the system stops is left behind, and comes home to nothing but these pages.
 */
#ifndef RINGLINE_NET_RESOLVER_H
#define RINGLINE_NET_RESOLVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "mailbox/inbox.h"
#include "net/sys.h"
#include "shard/shard.h"

#define RESOLVER_WORKERS_MAX 16

enum lookup_state {
	LOOKUP_IDLE, /* nobody but its owner knows it */
	LOOKUP_WAITS, /* for a worker */
	LOOKUP_RUNS, /* a worker is out for it */
	LOOKUP_ANSWERED, /* its control is in the inbox, or was taken from there */
};

struct lookup {
	struct control control; /* brings the answer to the shard */
	struct list_node node; /* WAITS: on resolver->waiting */
	struct rl_shard *shard;
	const char *host; /* the owner's, as long as it is not idle */
	uint8_t state; /* enum lookup_state; under the resolver's lock */
	uint8_t worker; /* RUNS: which */
	int rc;
	struct sys_addrs addrs; /* ANSWERED */
};

enum worker_state {
	WORKER_ENDED, /* or never began */
	WORKER_RUNS, /* will look for a lookup, or end */
	WORKER_OUT, /* in rli_sys_resolve() */
};

struct worker {
	struct lookup *lookup; /* NULL: nobody wants the answer any more */
	uint8_t state; /* enum worker_state */
	bool left; /* behind, by a system that has stopped */
	char host[URL_HOST_MAX + 1];
	int rc; /* its own while it is out */
	struct sys_addrs addrs;
};

struct resolver {
	pthread_mutex_t lock; /* of all below; never held over a call that waits */
	struct list waiting;
	uint32_t waiting_count;
	uint32_t workers_max;
	uint32_t kind; /* of the control that brings an answer */
	uint32_t owners; /* the system, and workers that were left behind */
	struct worker workers[RESOLVER_WORKERS_MAX];
};

/* NULL: no memory. */
struct resolver *rli_resolver_create(uint32_t workers_max, uint32_t kind);

/* The system has no more use for it. NULL does nothing. */
void rli_resolver_release(struct resolver *resolver);

static inline void
lookup_init(struct lookup *lookup, struct rl_shard *shard, const char *host)
{
	list_node_init(&lookup->node);
	lookup->shard = shard;
	lookup->host = host;
	lookup->state = LOOKUP_IDLE;
	lookup->rc = 0;
	lookup->addrs.count = 0;
}

/* On the lookup's shard: begin it; somebody hires workers before the turn ends. */
void rli_resolver_ask(struct resolver *resolver, struct lookup *lookup);

/*
 * On the lookup's shard: its answer is not wanted any more. True: the lookup is idle. False: the
 * answer came before, and its control is yet to be taken from the inbox.
 */
bool rli_resolver_cancel(struct resolver *resolver, struct lookup *lookup);

/*
 * Those who wait are more than the workers that will look for work: the number of a worker whose
 * thread the caller starts, or -1.
 */
int rli_resolver_hire(struct resolver *resolver);

/* It could not be started. Who waits for nobody is answered with @rc. */
void rli_resolver_unhire(struct resolver *resolver, uint32_t worker, int rc);

/*
 * On a worker's thread: get a lookup, do it, hand the answer over. take() says false when there is
 * none: then the thread ends, and must not touch the resolver again.
 */
bool rli_resolver_take(struct resolver *resolver, uint32_t worker);
void rli_resolver_look(struct resolver *resolver, uint32_t worker);
void rli_resolver_answer(struct resolver *resolver, uint32_t worker);

/*
 * The system stops, and nobody asks any more: a bit for each worker that is out. Those are left
 * behind, the others come to their end by themselves.
 */
uint32_t rli_resolver_leave(struct resolver *resolver);

#endif
