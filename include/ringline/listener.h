/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Listeners make connection actors out of accepted sockets, on every shard.
 */
#ifndef RINGLINE_LISTENER_H
#define RINGLINE_LISTENER_H

#include <ringline/actor.h>
#include <ringline/conn.h>
#include <ringline/types.h>

RL_BEGIN_DECLS

/** The longest URL, its NUL included: a Unix path has at most 107 bytes. */
#define RL_URL_MAX 128

/** What a listener's connections share; zero means "as configured". */
struct rl_listener_options {
	/** Comes in the RL_MSG_START of every accepted connection. */
	void *arg;
	/** How its connections differ from the configuration. */
	struct rl_conn_options conn;
	/** Do not fetch peer addresses: RL_MSG_OPEN then carries RL_ADDR_NONE. */
	bool peer_addr_off;
};

/**
 * A listener that an actor has: the argument of the spawn of rl_listener. Outlives the system, and
 * is never written.
 */
struct rl_listener_def {
	/** As for rl_listener_open(). */
	const char *url;
	/** What each connection's actor is. */
	const struct rl_actor_def *def;
	/** What its connections share. */
	struct rl_listener_options options;
};

/**
 * An actor that listens as long as it lives: the argument of its spawn is a struct
 * rl_listener_def. So a listener can be the child of a supervisor:
 *
 *	static const struct rl_listener_def front = {
 *		.url = "tcp://0.0.0.0:7878", .def = &session_def,
 *	};
 *	static const struct rl_child_def children[] = {
 *		{ .name = "backend", .def = &backend_def },
 *		{ .name = "front", .def = &rl_listener, .arg = (void *)&front },
 *	};
 *
 * It listens on every shard, soon after it was started: opening takes system calls that may block,
 * which a thread does that exists only while there is something to open or close. When it can't, a
 * line in the log says why, and the actor ends with "failure" and the errno that
 * rl_listener_open() would have answered: -EINVAL also for a bad argument, -ENOBUFS also when 32
 * such actors have a listener or wait for one, -EAGAIN when no thread can be started. When the
 * actor ends, however it does, the listener closes, before another that is opened after that; its
 * connections live on.
 *
 * In a drain it ends like any other actor; listeners then stop by themselves.
 */
extern RL_EXPORT const struct rl_actor_def rl_listener;

/**
 * Listen on @p url on every shard, and spawn an actor of @p def for each connection.
 *
 * Returns when every shard listens, or the acceptor does for them (RL_ACCEPT_ROUND_ROBIN); on
 * failure none does, and one log line says why, of level ERROR, in a drain INFO. A TCP port that
 * somebody else listens on is -EADDRINUSE although the shards share it among themselves; only two
 * programs of one user that open it in the same instant can both get it, and with an acceptor not
 * even they.
 *
 * @param sys      The system.
 * @param url      tcp://HOST:PORT with a numeric HOST or `*`, PORT 0 lets the kernel choose;
 *                 tls://HOST:PORT, which needs options->conn.tls; unix:/path,
 *                 unix:@abstract.
 * @param def      What each connection's actor is.
 * @param options  What its connections share; NULL: nothing.
 * @param id       Where the listener's id goes; NULL if not wanted.
 *
 * Context:   any thread but a shard's; blocks until the shards answered.
 * Ownership: borrows @p url and @p options; @p def must outlive the system.
 * Cost:      system calls on every shard.
 * Returns:   0
 *            -EINVAL  the URL, an option or a certificate's file, with one log line naming the
 *                     offending part
 *            -EADDRINUSE, -EACCES, -EADDRNOTAVAIL, -EMFILE, ...  the kernel's answer, logged
 *            -ENOBUFS  no room for another listener (16)
 *            -ESHUTDOWN  the system drains
 */
RL_EXPORT RL_MUST_CHECK int rl_listener_open(struct rl_system *sys, const char *url,
					     const struct rl_actor_def *def,
					     const struct rl_listener_options *options,
					     rl_listener_id *id);

/**
 * Write the URL that a listener is bound to, with the port that the kernel chose.
 *
 * @param sys  The system.
 * @param id   The listener.
 * @param url  Where it goes, RL_URL_MAX bytes; empty on failure.
 *
 * Context:   any thread.
 * Cost:      a copy.
 * Returns:   0
 *            -ENOENT  no such listener
 */
RL_EXPORT int rl_listener_url(struct rl_system *sys, rl_listener_id id, char url[RL_URL_MAX]);

/**
 * Read a tls:// listener's certificate and key anew: connections that are accepted from then on
 * have them, those that exist live on as they are.
 *
 * Returns when every shard has the new ones. When they can't be used, one log line says why, and
 * the old ones stay. Tickets that were given out before are not resumed any more.
 *
 * @param sys  The system.
 * @param id   The listener.
 * @param tls  As in rl_conn_options; may name other files than before.
 *
 * Context:   any thread but a shard's; blocks until the shards answered.
 * Ownership: borrows @p tls.
 * Cost:      reads the files; a message to every shard.
 * Returns:   0
 *            -EINVAL  a file or an option, with one log line; or the listener is not tls://
 *            -ENOENT  no such listener
 *            -ENOMEM  no memory
 */
RL_EXPORT RL_MUST_CHECK int rl_listener_reload(struct rl_system *sys, rl_listener_id id,
					       const struct rl_tls_options *tls);

/**
 * Stop accepting: no connection is accepted after this returned, and the port is free. Those that
 * exist live on, and so do those that an acceptor had handed to a shard, unless it has no room.
 *
 * @param sys  The system.
 * @param id   The listener.
 *
 * Context:   any thread but a shard's; blocks until the shards answered.
 * Cost:      system calls on every shard, or on the acceptor's thread.
 * Returns:   0
 *            -ENOENT  no such listener
 */
RL_EXPORT int rl_listener_close(struct rl_system *sys, rl_listener_id id);

RL_END_DECLS

#endif
