/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Actors: private state and one receive function, on one shard for life.
 *
 *	struct session { uint64_t requests; };
 *
 *	static int
 *	session_receive(struct rl_actor *self, const struct rl_msg *msg)
 *	{
 *		struct session *session = rl_actor_state(self);
 *		...
 *	}
 *
 *	static const struct rl_actor_def session_def = {
 *		.name = "session", .receive = session_receive, .state_size = sizeof(struct session),
 *	};
 *
 * A receive function runs to its end before the actor gets another message, never runs on two cores
 * at once, and must not block: every other actor of its shard waits meanwhile. A memory fault in it
 * ends the process; C can't contain that. What it answers decides what happens next:
 *
 *	0                       done
 *	RL_ACTOR_STOP           a normal end: queued output leaves, then FIN
 *	RL_ACTOR_UNHANDLED      the default for this kind, counted: EOF and SHUTDOWN end the actor
 *	                        normally, all others are dropped
 *	RL_CONN_SEND_HIGH       as 0, so that "return rl_conn_send(...)" says what it means
 *	-EAGAIN                 only as the answer to RL_MSG_RECV: not now (see rl_conn_consumed())
 *	any other negative      a failure: the actor ends with that error, a stream of its is reset
 */
#ifndef RINGLINE_ACTOR_H
#define RINGLINE_ACTOR_H

#include <ringline/msg.h>
#include <ringline/types.h>

RL_BEGIN_DECLS

/** Answers of a receive function; RL_CONN_SEND_HIGH (3) is in conn.h. */
enum rl_actor_answer {
	RL_ACTOR_STOP = 1,
	RL_ACTOR_UNHANDLED = 2,
};

/** The largest state_size. */
#define RL_ACTOR_STATE_MAX 65536

typedef int (*rl_actor_receive_fn)(struct rl_actor *self, const struct rl_msg *msg);

/** What an actor is. Static data: it must outlive the system, and is never written. */
struct rl_actor_def {
	/** For logs; a short static string. */
	const char *name;
	/** The one entry point; never NULL. */
	rl_actor_receive_fn receive;
	/** Bytes of private state, zeroed before RL_MSG_START; up to RL_ACTOR_STATE_MAX. */
	size_t state_size;
};

/**
 * Return the id of the running actor: what others send to.
 *
 * @param self  The actor whose handler is running.
 *
 * Context:   actor handler.
 * Cost:      a few instructions.
 * Returns:   its id; never "no id".
 */
RL_EXPORT rl_actor_id rl_actor_self(const struct rl_actor *self);

/**
 * Return the running actor's private state.
 *
 * @param self  The actor whose handler is running.
 *
 * Context:   actor handler.
 * Ownership: the memory is the actor's until its RL_MSG_STOP returned, and does not move.
 * Cost:      one load.
 * Returns:   state_size bytes, aligned for any type; NULL when state_size is 0.
 */
RL_EXPORT void *rl_actor_state(const struct rl_actor *self);

/**
 * Return the shard that the running actor lives on.
 *
 * @param self  The actor whose handler is running.
 *
 * Context:   actor handler.
 * Cost:      one load.
 * Returns:   the shard; valid as long as the system runs.
 */
RL_EXPORT struct rl_shard *rl_actor_shard(const struct rl_actor *self);

RL_END_DECLS

#endif
