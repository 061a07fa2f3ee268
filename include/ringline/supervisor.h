/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Supervisors: actors that start others, and start them again when they end.
 *
 *	static const struct rl_child_def children[] = {
 *		{ .name = "cache", .def = &cache_def },
 *		{ .name = "upstream", .def = &upstream_def, .url = "tcp://10.0.0.7:6379" },
 *	};
 *
 *	static struct rl_supervisor_def backend = {
 *		.name = "backend", .strategy = RL_REST_FOR_ONE,
 *		.children = children, .children_count = 2,
 *	};
 *
 *	rc = rl_actor_spawn(self, &rl_supervisor, &backend, &id);
 *
 * rl_supervisor is an ordinary actor definition, and the argument of its spawn says what to
 * supervise: so every verb that spawns an actor spawns a supervisor (rl_actor_spawn(),
 * rl_actor_spawn_on(), rl_shard_spawn(), rl_system_spawn()), and a supervisor can be the child of
 * another ({ .def = &rl_supervisor, .arg = &inner }).
 *
 * Children live on the supervisor's shard. They are started in the order of the array, none waiting
 * for what the one before it does in its RL_MSG_START, and stopped in the reverse order, each when
 * the one after it has ended. A child that is started again is a new actor with a new id: who needs
 * it finds it by its name (name.h), which a child best registers in its RL_MSG_START. A child with
 * a URL is an outbound connection, opened as by rl_conn_open(): a client that reconnects is one
 * that is supervised. A child of definition rl_listener is a listener (listener.h).
 *
 * When a child fails, that is ends although it should live (see enum rl_restart) or can't be
 * started, those that the strategy names are stopped, and after a delay they are all started. The
 * delay of a child's n-th failure in a row, n from 0, is
 *
 *	min(backoff_max_ns, backoff_min_ns << n)	and then any value from its half to itself
 *
 * by chance, so that what failed together does not come back together. The row ends, and n begins
 * at 0 again, when the child lived for backoff_max_ns; the time until a deadline to connect passed,
 * or a host was not found, does not count as life.
 *
 * With the failure that is more than restarts_max within window_ns the supervisor gives up: it
 * stops its children and ends with the reason "failure" and -ECANCELED, which its own supervisor
 * treats as a failed child. That is escalation.
 *
 * A supervisor ends after its children when the system drains, and when its own supervisor stops
 * it. In a drain each child gets RL_MSG_SHUTDOWN before it is stopped; one that ends itself upon it
 * need not be stopped, one that answers 0 there is stopped when its turn has come. rl_actor_stop()
 * asks an actor to end at once: a supervisor then asks its children in reverse order, but does not
 * wait for them.
 *
 * What C can't contain, a supervisor can't cure: a memory fault in a child ends the process.
 * Supervision is for what a handler noticed and answered with an error, for ends that others
 * caused, and for connections.
 */
#ifndef RINGLINE_SUPERVISOR_H
#define RINGLINE_SUPERVISOR_H

#include <ringline/actor.h>
#include <ringline/conn.h>
#include <ringline/timer.h>
#include <ringline/types.h>

RL_BEGIN_DECLS

/** The most children of one supervisor; for more, let some of them be supervisors. */
#define RL_CHILDREN_MAX 64

/** The largest restarts_max. */
#define RL_RESTARTS_MAX 64

/** Who is stopped and started when a child fails; zero is the first. */
enum rl_strategy {
	/** The child alone. */
	RL_ONE_FOR_ONE,
	/** All children. */
	RL_ONE_FOR_ALL,
	/** The child, and those after it. */
	RL_REST_FOR_ONE,
};

/** When the end of a child is a failure; zero is the first. */
enum rl_restart {
	/** Always. */
	RL_PERMANENT,
	/** Unless the reason is local, peer_fin or shutdown: then it is over, until others fail. */
	RL_TRANSIENT,
	/** Never; nor is it started again with others. */
	RL_TEMPORARY,
};

struct rl_child_def {
	/** For logs; a short static string. */
	const char *name;
	/** What it is. */
	const struct rl_actor_def *def;
	/** Comes in its RL_MSG_START, each time. */
	void *arg;
	/** NULL: an actor. Else an outbound connection to this, see rl_conn_open(). */
	const char *url;
	/** Of the connection; NULL: as configured. */
	const struct rl_conn_options *options;
	/** When its end is a failure. */
	enum rl_restart restart;
};

/** What a supervisor does; zero means the default. Outlives the system, and is never written. */
struct rl_supervisor_def {
	/** For logs; a short static string. */
	const char *name;
	/** Who is restarted with whom. */
	enum rl_strategy strategy;
	/**
	 * Restarts within window_ns, 1 to RL_RESTARTS_MAX; one more and it gives up. -1: it never
	 * does. Default 10: one child that fails all the time stays below it, by its backoff.
	 */
	int32_t restarts_max;
	/** The window, which slides. Default 10 s. */
	int64_t window_ns;
	/** The first delay; -1: none at all. Default 100 ms. */
	int64_t backoff_min_ns;
	/** The longest, at least backoff_min_ns. Default 10 s, or that if it is more. */
	int64_t backoff_max_ns;
	/** Whom, in the order of their start; must outlive the system. */
	const struct rl_child_def *children;
	/** Up to RL_CHILDREN_MAX. */
	size_t children_count;
};

/**
 * The definition of every supervisor: the argument of its spawn is a struct rl_supervisor_def.
 *
 * A bad one ends it in its RL_MSG_START with "failure" and -EINVAL, after a log line that names the
 * field. It ends with another errno when it can't do its work: -ENOBUFS is timers_max.
 */
extern RL_EXPORT const struct rl_actor_def rl_supervisor;

RL_END_DECLS

#endif
