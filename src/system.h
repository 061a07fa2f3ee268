/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The composition root: what a system is made of, without its threads. thread.c adds those; the
 * simulator steps the shards itself, in one thread, and brings its own rli_thread_wait().
 */
#ifndef RINGLINE_SYSTEM_INTERNAL_H
#define RINGLINE_SYSTEM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include <ringline/listener.h>
#include <ringline/system.h>

#include "base/log.h"
#include "config.h"
#include "mailbox/inbox.h"
#include "net/sys.h"
#include "net/url.h"
#include "shard/shard.h"
#include "tls/tls_tickets.h"

/* How far the end has come; it only grows. */
enum system_drain {
	SYSTEM_RUNS,
	SYSTEM_DRAINS, /* listeners close, actors are asked to end, the drain's deadline runs */
	SYSTEM_CUTS, /* what is left is ended now */
	SYSTEM_ENDS, /* every shard is silent, and its thread may end */
};

/* One listening URL over all shards. */
struct system_listener {
	const struct rl_actor_def *def;
	struct rl_listener_options options;
	struct url bound;
	struct sys_file file; /* of a Unix path */
	struct tls_context *tls; /* NULL: plain */
	uint32_t generation;
	bool open;
	bool busy; /* being opened or closed */
	struct clerk_job *job; /* its actor's; NULL: it has none. Both under the clerk's lock */
	int broken; /* why the kernel ended it, on the first shard that saw it; 0: it did not */
};

enum clerk_state {
	CLERK_FREE,
	CLERK_OPENS, /* the clerk has it, or an answer is on its way */
	CLERK_OPEN,
	CLERK_CLOSES, /* the clerk has it, and frees it */
	CLERK_CLOSED, /* and CONTROL_BROKEN, which is on its way, frees it */
};

/* The listener of one actor, from its start until it is closed; see clerk.c. */
struct clerk_job {
	struct control control; /* CONTROL_OPENED */
	struct control broken; /* CONTROL_BROKEN, once at most */
	struct clerk_job *next; /* of those that wait for the thread */
	const struct rl_listener_def *def;
	uint64_t actor;
	uint32_t shard;
	rl_listener_id id; /* once it is open */
	uint16_t port;
	int rc;
	int error; /* with CONTROL_BROKEN */
	bool breaks; /* CONTROL_BROKEN is on its way; under the clerk's lock */
	uint8_t state; /* enum clerk_state; likewise */
	bool doomed; /* the actor has ended; its shard's alone */
};

#define CLERK_JOBS 32

/* What actors want opened and closed, in the order in which they asked. */
struct clerk {
	pthread_mutex_t lock; /* never held over a call that waits */
	struct clerk_job *first;
	struct clerk_job *last;
	bool runs; /* there is a thread, and it will look again */
	struct clerk_job jobs[CLERK_JOBS];
};

struct mesh;
struct resolver;

struct rl_system {
	struct config config;
	struct log log;
	struct system_listener listeners[CONFIG_LISTENERS_MAX];
	pthread_mutex_t listeners_lock; /* any thread may open and close listeners */
	_Atomic uint32_t drain; /* enum system_drain */
	_Atomic uint32_t silent; /* shards with nothing left to end */
	struct mesh *mesh;
	struct rl_shard *shards[ID_SHARDS_MAX]; /* what each shard knows the others by */
	int eventfd; /* tells rl_system_run() to look: drain was called, or all are silent */
	size_t reserved_bytes;
	struct acceptor *acceptor; /* NULL: the shards accept themselves */
	struct clerk clerk;
	struct resolver *resolver;
	struct tls_tickets tickets;
	struct thread_set *threads; /* thread.c's; NULL in the simulator */
};

/*
 * What the outside asks of a shard, or of the acceptor: pushed to its inbox, answered by
 * rli_system_answer() on its thread, while the asker waits in rli_thread_wait() with the memory on
 * its stack.
 */
enum control_kind {
	CONTROL_LISTEN,
	CONTROL_RELOAD, /* its TLS only */
	CONTROL_UNLISTEN,
	CONTROL_SPAWN,
	CONTROL_OPENED, /* a struct clerk_job, which nobody waits for */
	CONTROL_RESOLVED, /* a struct lookup, likewise */
	CONTROL_BROKEN, /* likewise */
};

struct control_request {
	struct control control;
	struct rl_system *system;
	_Atomic uint32_t *unanswered; /* counts down over all shards that were asked */
	const struct tls_context *tls; /* LISTEN, RELOAD: NULL for a plain one */
	uint32_t listener; /* LISTEN, UNLISTEN: which */
	int fd; /* LISTEN: this one's socket, taken on success; -1: the acceptor has it */
	const struct rl_actor_def *def; /* SPAWN */
	void *arg;
	rl_actor_id id;
	int rc;
};

/* Everything but threads and rings. 0, or a negative errno after a log line. */
int rli_system_create(struct rl_system **out, const struct config *config, const struct log *log);

struct rl_shard *rli_system_shard(const struct rl_system *system, uint32_t i);

/* After every shard was closed, or failed to open. */
void rli_system_destroy(struct rl_system *system);

/* Hand @request to a shard and wake it; the asker then waits for *request->unanswered to be 0. */
void rli_system_ask(struct rl_system *system, uint32_t shard, struct control_request *request);

/* The same of the acceptor, which there must be. */
void rli_system_acceptor_ask(struct rl_system *system, struct control_request *request);

/* Makes the acceptor if the configuration wants one. 0 or a negative errno. */
int rli_system_acceptor_create(struct rl_system *system);

/*
 * One step of the acceptor. As rli_loop_turn() it may sleep, at its very end. False: every shard is
 * silent, end the thread.
 */
bool rli_system_acceptor_step(struct rl_system *system);

/* On the shard: @request is done. Its memory is the asker's again when this returned. */
void rli_system_answer(struct control_request *request);

/*
 * thread.c, or the simulator: return when @unanswered is 0. Never called on a shard's thread.
 */
void rli_thread_wait(struct rl_system *system, _Atomic uint32_t *unanswered);

/* thread.c, or the simulator: *@unanswered became 0; wake the waiter. Called on a shard. */
void rli_thread_answered(struct rl_system *system);

/* The clerk: do one thing that was asked for. False: there is nothing, end. */
bool rli_clerk_step(struct rl_system *system);

/* On the shard of its actor: CONTROL_OPENED, CONTROL_BROKEN. */
void rli_clerk_opened(struct rl_shard *shard, struct clerk_job *job);
void rli_clerk_broke(struct rl_shard *shard, struct clerk_job *job);

/* On any shard, or the acceptor: the kernel has ended its socket of listener @number. */
void rli_clerk_broken(struct rl_system *system, uint32_t number, int error);

/* Listener @number is about to be somebody else's. */
void rli_clerk_forget(struct rl_system *system, uint32_t number);

/* At the end of a shard's turn: what became of its part of the listeners. */
void rli_system_listeners_tell(struct rl_shard *shard);

/*
 * thread.c, or the simulator: a thread that calls rli_clerk_step() while it answers true; the last
 * one is at its end, if there was one. 0 or a negative errno. Called on a shard.
 */
int rli_thread_clerk_start(struct rl_system *system);

/* 0 or -ENOMEM. */
int rli_system_resolver_create(struct rl_system *system);

/* At the end of a turn: threads for what it asked of the resolver. */
void rli_system_resolve(struct rl_shard *shard);

/*
 * thread_resolver.c, or the simulator: a thread for a worker of the resolver; the last one that it
 * had is at its end, if there was one. 0 or a negative errno. Called on a shard.
 */
int rli_thread_resolver_start(struct rl_system *system, uint32_t worker);

static inline uint32_t
rli_system_drain_level(const struct rl_system *system)
{
	/* pairs with: rl_system_drain(), whose wake-up orders it where that matters */
	return atomic_load_explicit(&system->drain, memory_order_relaxed);
}

/* On a shard, once: it has nothing left. The last one tells whoever waits for the drain. */
void rli_system_went_silent(struct rl_system *system);

/* Every shard has nothing left. */
bool rli_system_is_silent(const struct rl_system *system);

/* The files of Unix listeners that are still open. */
void rli_system_remove_sockets(struct rl_system *system);

/* All are silent: let the threads end. */
void rli_system_end(struct rl_system *system);

#endif
