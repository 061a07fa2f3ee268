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
	/**
	 * Ask for RL_MSG_UNDELIVERED when a message that was taken for another shard could not be
	 * delivered there. Lost messages are counted in any case.
	 */
	bool reports;
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

/**
 * Spawn an actor on this shard.
 *
 * It exists when this returns: messages to its id are delivered after its RL_MSG_START, which comes
 * soon, after the running handler.
 *
 * @param self  The actor whose handler is running. It need not outlive the new one.
 * @param def   What it is; must outlive the system.
 * @param arg   Comes in its RL_MSG_START.
 * @param id    Where its id goes; NULL if not wanted.
 *
 * Context:   actor handler.
 * Cost:      two free-list pops and zeroing state_size bytes.
 * Returns:   0
 *            -EINVAL    def has no receive function, or state_size is above RL_ACTOR_STATE_MAX
 *            -ENOBUFS   actors_max is reached
 *            -ENOMEM    no memory for its state
 *            -ESHUTDOWN the system drains
 *            -EPERM   called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_actor_spawn(struct rl_actor *self, const struct rl_actor_def *def,
					   void *arg, rl_actor_id *id);

/**
 * Spawn an actor on any shard; its id comes as the reply of a request.
 *
 * RL_MSG_REPLY carries the rl_actor_id of the new actor, RL_MSG_REPLY_FAILED what rl_actor_spawn()
 * would have answered there, or -EAGAIN when that shard holds requests_max already. There is no
 * deadline: a shard always answers. @p arg crosses to another core: what it points to must be
 * static, or handed over for good.
 *
 * @param self     The actor whose handler is running.
 * @param shard    Where, 0 to rl_shard_count() - 1.
 * @param def      What it is; must outlive the system.
 * @param arg      Comes in its RL_MSG_START.
 * @param request  Where the request's id goes; NULL if not wanted.
 *
 * Context:   actor handler.
 * Cost:      one request.
 * Returns:   0
 *            -EINVAL    no such shard
 *            -ENOBUFS   requests_max is reached on this shard
 *            -ESHUTDOWN the system drains, or the actor's end was decided
 *            -EPERM     called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_actor_spawn_on(struct rl_actor *self, uint32_t shard,
					      const struct rl_actor_def *def, void *arg,
					      rl_request_id *request);

/**
 * Send a message to an actor, wherever it lives.
 *
 * Taken means queued, not delivered: at most once, in order between any two actors, and lost when
 * the receiver ends first. Nothing orders messages of different senders, or messages against bytes
 * and timers.
 *
 * @param self  The actor whose handler is running.
 * @param to    The receiver; may be self. A stale id is an error or a report, never undefined.
 * @param kind  RL_MSG_USER or above.
 * @param data  The payload; NULL when len is 0.
 * @param len   Its length, up to RL_MSG_INLINE_MAX bytes.
 *
 * Context:   actor handler.
 * Ownership: copies @p data.
 * Cost:      one copy of 64 bytes, no allocation, no atomic; to another shard, publishing costs
 *            once per turn.
 * Returns:   0
 *            -EINVAL    kind is below RL_MSG_USER
 *            -EMSGSIZE  len is above RL_MSG_INLINE_MAX
 *            -ENOENT    @p to has ended, or is no actor of this system; on another shard
 *                       RL_MSG_UNDELIVERED says so to who asked for it
 *            -EAGAIN    it lives on this shard and its mailbox is full (no notice follows), or on
 *                       another (rl_actor_id_shard()) and there is no room on the way
 *                       (RL_MSG_ROOM follows)
 *            -ENOBUFS   messages_max is reached on this shard, or there is no memory for the notice
 *            -ESHUTDOWN the system is stopping
 *            -EPERM     called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_actor_send(struct rl_actor *self, rl_actor_id to, uint32_t kind,
					  const void *data, size_t len);

/**
 * Ask an actor to end normally, as if it had answered RL_ACTOR_STOP.
 *
 * Needs no room in its mailbox, and overtakes what waits there. Its RL_MSG_STOP has reason "local".
 * An id that has ended is no error: it is where the caller wanted it.
 *
 * @param self  The actor whose handler is running.
 * @param to    Who is to end; may be self.
 *
 * Context:   actor handler.
 * Cost:      to another shard one obligation: it always arrives.
 * Returns:   0
 *            -ENOENT   @p to can't be an actor of this system
 *            -ENOBUFS  requests_max is reached on this shard
 *            -EPERM   called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_actor_stop(struct rl_actor *self, rl_actor_id to);

/**
 * Go on with another receive function, from the next message on.
 *
 * State, stream, timers and mailbox stay: for protocols that have phases. A call outside the
 * handler of @p self, or on another thread, is an assertion.
 *
 * @param self     The actor whose handler is running.
 * @param receive  The new entry point; not NULL.
 *
 * Context:   actor handler.
 * Cost:      one store.
 * Returns:   nothing.
 */
RL_EXPORT void rl_actor_become(struct rl_actor *self, rl_actor_receive_fn receive);

/**
 * Return the shard that an actor lives on, living or not: where an -EAGAIN came from, for instance.
 *
 * @param id  The actor.
 *
 * Context:   any thread.
 * Cost:      a few instructions.
 * Returns:   the number of its shard; 0 for "no id".
 */
RL_EXPORT uint32_t rl_actor_id_shard(rl_actor_id id);

RL_END_DECLS

#endif
