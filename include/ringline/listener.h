/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Listeners make connection actors out of accepted sockets, on every shard.
 */
#ifndef RINGLINE_LISTENER_H
#define RINGLINE_LISTENER_H

#include <ringline/actor.h>
#include <ringline/conn.h>
#include <ringline/msg.h>
#include <ringline/types.h>

RL_BEGIN_DECLS

/** The longest URL that rl_listener_url() writes, its NUL included. */
#define RL_URL_MAX 128

/** What a listener's connections share; zero means "as configured". */
struct rl_listener_options {
	/** Comes in the RL_MSG_START of every accepted connection. */
	void *arg;
	/** How its connections differ from the configuration. */
	struct rl_conn_options conn;
	/** Do not fetch peer addresses: RL_MSG_OPEN then carries RL_ADDR_NONE. */
	bool peer_addr_off;
	/**
	 * TCP_DEFER_ACCEPT: seconds, 1 to 255, that the kernel keeps a connection back until its
	 * first bytes are there. Default: none. For protocols in which the client speaks first; the
	 * kernel counts in retransmissions, so it is rounded up.
	 */
	uint32_t defer_accept_s;
	/**
	 * TCP_FASTOPEN: clients that may be in a fast open at once, 1 to 65535. Default: none.
	 * Needs net.ipv4.tcp_fastopen with bit 2, and a protocol to which a first request that
	 * comes twice does no harm.
	 */
	uint32_t fastopen_queue;
	/**
	 * Unix sockets: rl_conn_peer_cred() answers. Connections are plain descriptors then, which
	 * count against RLIMIT_NOFILE.
	 */
	bool peer_cred;
	/**
	 * Permissions of the file of a unix:/path, 0001 to 0777; whoever may write it may connect.
	 * Default: 0777 less the umask.
	 */
	uint32_t unix_mode;
	/**
	 * Connections accepted per second on each shard, 1 to 1,000,000; those beyond are closed at
	 * once (rl_stats.refused_rate). Default: no limit.
	 */
	uint32_t accept_rate_max;
	/**
	 * How many of them may come at once after a pause, 1 to 1,000,000; only with
	 * accept_rate_max. Default: that of one second.
	 */
	uint32_t accept_burst;
	/**
	 * Connections that one peer address may have on each shard, 1 to 1,044,480, counted over
	 * all listeners with this option; more are closed at once (rl_stats.refused_peer). An IPv6
	 * network of 64 bits counts as one address. Default: no limit. Needs peer addresses, so not
	 * for Unix sockets and not with peer_addr_off.
	 */
	uint32_t conns_per_peer_max;
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
	/** A name that the actor registers when it starts (name.h); NULL: none. */
	const char *name;
};

/** What the actor answers to RL_LISTENER_AWAIT. */
struct rl_listening {
	/** For rl_listener_url(); closing is the actor's own. */
	rl_listener_id id;
	/** The port, be it the kernel's choice; 0 for a Unix socket. */
	uint16_t port;
};

/** What the actor can be asked. */
enum rl_listener_kind {
	/**
	 * A request without payload: answered with a struct rl_listening when it listens, or now if
	 * it does. -ENOENT: it has ended, who monitors it knows why; -ENOBUFS: 16 others
	 * wait.
	 */
	RL_LISTENER_AWAIT = RL_MSG_USER,
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
 * such actors have a listener or wait for one, -EAGAIN when no thread can be started, and what
 * rl_actor_register() says when its name is taken. When the actor ends, however it does, the
 * listener closes, before another that is opened after that; its connections live on.
 *
 * Who wants to know when it listens sends it a request, RL_LISTENER_AWAIT. When the kernel ends a
 * listening socket on any shard (EBADF or EINVAL: somebody closed it or shut it down), the actor
 * ends with "failure" and that errno, and under a supervisor listens again.
 *
 * In a drain it ends like any other actor; listeners then stop by themselves.
 */
extern RL_EXPORT const struct rl_actor_def rl_listener;

/**
 * Listen on @p url on every shard, and spawn an actor of @p def for each connection.
 *
 * Returns when every shard listens, or the acceptor does for them (see rl_accept_mode); on
 * failure none does, and one log line says why, of level ERROR, in a drain INFO. A TCP port that
 * somebody else listens on is -EADDRINUSE although the shards share it among themselves; only two
 * programs of one user that open it in the same instant can both get it, and with an acceptor not
 * even they.
 *
 * @param sys      The system.
 * @param url      tcp://HOST:PORT with a numeric HOST or `*`, PORT 0 lets the kernel choose;
 *                 tls://HOST:PORT, which needs options->conn.tls;
 *                 unix:/path, unix:@abstract. The file of a Unix path is removed when the
 *                 listener closes, if it is still the one that was made; one that nobody listens
 *                 on is replaced.
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
 *            -EEXIST  a file that is no socket has the path, logged
 *            -ENOBUFS  no room for another listener (16)
 *            -ENOMEM  no memory
 *            -EIO     OpenSSL has no random numbers for the key of tickets, logged
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
 * Read a tls:// listener's certificates and keys anew: connections that are accepted from then on
 * have them, those that exist live on as they are.
 *
 * Returns when every shard has the new ones. When one of them can't be used, one log line says
 * why, and all the old ones stay. Sessions of before are resumed, unless ca_file or alpn has
 * changed.
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
