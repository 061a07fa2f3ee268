/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Connections: actors that own a byte stream (TCP, with TLS or without, or a Unix socket).
 *
 * All verbs but rl_conn_open() and rl_conn_forward() work on the stream of the running actor
 * itself, and forwarding reaches connections of the same shard only, so there is nothing to lock
 * and no question of which thread one is on. Everybody else sends that actor a message. Verbs
 * assert that the handler of @p self runs on this thread, but rl_conn_peer() and rl_conn_stats(),
 * which only look.
 *
 * Backpressure, outward: a send is taken (0), taken above the high mark (RL_CONN_SEND_HIGH), or
 * refused with nothing queued (-EAGAIN at the cap or when the shard's send memory is out). After
 * the first HIGH or -EAGAIN exactly one RL_MSG_WRITABLE follows, when output fell below the low
 * mark. Backpressure, inward: with automatic pause (the default for accepted connections)
 * RL_MSG_RECV comes only while output is at or below the high mark, so an actor that sends no more
 * than it received never sees a refusal. It is off for connections that this end opened: two ends
 * that both stop reading while their output is high would wait for each other for ever, so one side
 * must keep reading.
 */
#ifndef RINGLINE_CONN_H
#define RINGLINE_CONN_H

#include <ringline/actor.h>
#include <ringline/addr.h>
#include <ringline/tls.h>
#include <ringline/types.h>

RL_BEGIN_DECLS

/** A send's third answer: taken, but output is above the high mark; RL_MSG_WRITABLE follows. */
#define RL_CONN_SEND_HIGH 3

enum rl_conn_switch {
	RL_CONN_DEFAULT,
	RL_CONN_ON,
	RL_CONN_OFF,
};

/** The longest name of a congestion control, its NUL included. */
#define RL_TCP_CONGESTION_MAX 16

/**
 * What TCP sockets are told. Zero means the kernel's own default, or the one that is named here. A
 * listener tells its listening sockets, and what they accept inherits all of it. When the kernel
 * refuses one, rl_listener_open() or rl_conn_open() fails with its errno and one log line that
 * names it. With a Unix URL they must be zero.
 */
struct rl_tcp_options {
	/** TCP_NODELAY. Default: on, because what a turn sends leaves together anyway. */
	enum rl_conn_switch nodelay;
	/**
	 * SO_KEEPALIVE: probe a peer that has been silent for so many seconds, 1 to 32767. Default:
	 * no probes. A peer that does not answer ends the connection: "failure", -ETIMEDOUT.
	 */
	uint32_t keepalive_idle_s;
	/** Seconds between probes, 1 to 32767; only with keepalive_idle_s. Default: kernel's. */
	uint32_t keepalive_interval_s;
	/** Unanswered probes that end it, 1 to 127; only with keepalive_idle_s. */
	uint32_t keepalive_count;
	/**
	 * TCP_USER_TIMEOUT: milliseconds, 1 to 2^31 - 1, that sent bytes may stay unacknowledged;
	 * then "failure", -ETIMEDOUT.
	 */
	uint32_t user_timeout_ms;
	/**
	 * SO_RCVBUF and SO_SNDBUF, 2048 to 2^30 bytes; either stops the kernel from sizing that
	 * buffer itself. It cuts them at net.core.rmem_max and wmem_max; a listener logs that.
	 */
	uint32_t recv_buffer_bytes;
	uint32_t send_buffer_bytes;
	/** TCP_CONGESTION: "bbr" for instance; must be available. */
	char congestion[RL_TCP_CONGESTION_MAX];
};

/** How a connection differs from the configuration; zero means "as configured". */
struct rl_conn_options {
	/** Deadline for lookup and connect (outbound only); 0: connect_timeout_ns, -1: none. */
	int64_t connect_timeout_ns;
	/** 0: idle_timeout_ns of the configuration, -1: none. */
	int64_t idle_timeout_ns;
	/** 0: first_byte_timeout_ns of the configuration, -1: none. */
	int64_t first_byte_timeout_ns;
	/** Automatic pause; default: on for accepted connections, off for opened ones. */
	enum rl_conn_switch auto_pause;
	/** 0: stall_timeout_ns of the configuration, -1: none. */
	int64_t stall_timeout_ns;
	/** 0: linger_timeout_ns of the configuration, -1: none. */
	int64_t linger_timeout_ns;
	/** What its TCP socket is told; a listener's connections inherit it. */
	struct rl_tcp_options tcp;
	/**
	 * For tls:// URLs, and only there. Listeners need it, and borrow it for the call that
	 * opens them. Opened connections: NULL trusts the system's store; otherwise it must outlive
	 * the system and not change, since each shard reads its files once, when it first opens a
	 * connection with it (which blocks for as long as that takes). At most 8 different ones.
	 */
	const struct rl_tls_options *tls;
	/** 0: tls_handshake_timeout_ns of the configuration, -1: none; for tls:// alone. */
	int64_t tls_handshake_timeout_ns;
};

/** The deadlines that rl_conn_set_deadline() sets; each closes with its own reason. */
enum rl_conn_deadline {
	/** Since the last byte either way: RL_REASON_TIMEOUT_IDLE. */
	RL_CONN_DEADLINE_IDLE,
	/** From now until a byte comes, once: RL_REASON_TIMEOUT_FIRST_BYTE. */
	RL_CONN_DEADLINE_FIRST_BYTE,
	/** While the kernel takes no byte of what was sent: RL_REASON_TIMEOUT_STALL. */
	RL_CONN_DEADLINE_STALL,
	/** From our FIN to the peer's: RL_REASON_TIMEOUT_LINGER. */
	RL_CONN_DEADLINE_LINGER,
};

/**
 * Open a connection to @p url and spawn the actor that owns it, on the running actor's shard.
 *
 * The new actor gets RL_MSG_START, then either RL_MSG_OPEN or, when no connection was made,
 * RL_MSG_STOP with RL_REASON_RESOLVE, RL_REASON_TIMEOUT_CONNECT or RL_REASON_FAILURE and the errno
 * (with TLS also RL_REASON_TLS, _TLS_TRUNCATED and _TIMEOUT_HANDSHAKE): exactly one outcome. It may
 * send as soon as it started; what it sends leaves when the stream is open.
 *
 * A name is looked up by the system's resolver, on a thread of its own, and its addresses are tried
 * one after the other until one of them answers. The deadline runs over all of that; an address
 * that others wait behind gets an even share of what is left of it, 2 s at most. The reason of a
 * failure is the last address's.
 *
 * TCP lets a socket connect to itself: to a port of this machine where nobody listens and which the
 * kernel picks for this end (net.ipv4.ip_local_port_range). Let servers listen below that range.
 *
 * @param self     The actor whose handler is running.
 * @param url      tcp://HOST:PORT or tls://HOST:PORT, HOST an address or a name, or unix:/path,
 *                 unix:@abstract.
 * @param def      What the new actor is.
 * @param arg      Comes in its RL_MSG_START.
 * @param options  How it differs from the configuration; NULL: not at all.
 * @param id       Where its id goes; NULL if not wanted.
 *
 * Context:   actor handler.
 * Ownership: borrows @p url and @p options; @p def must outlive the system.
 * Cost:      two system calls for the socket, one more for each TCP option that is set; the
 *            connect itself is a ring request. Of a name: a lock to hand the lookup over, a
 *            thread if too few run, and those calls later, for each address. Of TLS: a session,
 *            from malloc, and the files the first time that a shard meets these options.
 * Returns:   0
 *            -EINVAL  the URL, an option, @p def or, with TLS, a file that can't be used, with one
 *                     log line naming the offending part
 *            -ENOBUFS  actors_max, conns_max, tls_handshakes_max or, with a name, lookups_max is
 *                     reached; with TLS also: 8 different options are in use on this shard
 *            -EMFILE, -ENFILE, -ENOMEM  the kernel has no socket to give
 *            -ENOENT, -EPERM, ...  the kernel refused a TCP option, with one log line
 *            -ESHUTDOWN  the system drains
 */
RL_EXPORT RL_MUST_CHECK int rl_conn_open(struct rl_actor *self, const char *url,
					 const struct rl_actor_def *def, void *arg,
					 const struct rl_conn_options *options, rl_actor_id *id);

/**
 * Queue bytes for the peer.
 *
 * Everything that is sent in one turn leaves in one system call at its end, in the order in which
 * it was sent. Taken does not mean delivered: a failed send fails the connection, and what was
 * still queued then is lost with it.
 *
 * @param self  The connection's own actor, its handler running.
 * @param data  The bytes.
 * @param len   How many; 0 is allowed and does nothing.
 *
 * Context:   actor handler.
 * Ownership: copies @p data.
 * Cost:      one copy, no allocation, no system call.
 * Returns:   0
 *            RL_CONN_SEND_HIGH  taken; output is above the high mark, RL_MSG_WRITABLE follows
 *            -EAGAIN     nothing taken: the cap, or the shard's memory; RL_MSG_WRITABLE follows
 *            -EMSGSIZE   @p len is above send_cap_bytes
 *            -ENOTCONN   @p self has no stream
 *            -ESHUTDOWN  the write side was shut or the end was decided
 */
RL_EXPORT RL_MUST_CHECK int rl_conn_send(struct rl_actor *self, const void *data, size_t len);

/**
 * Queue bytes for the peer of another connection of this shard.
 *
 * They join its output behind all that is queued there, under its marks and its cap. After the
 * first RL_CONN_SEND_HIGH or -EAGAIN exactly one RL_MSG_WRITABLE that names @p to follows, when
 * that output fell below the low mark, or when it takes nothing more: then trying again says why.
 * Until it was delivered, the running actor's own input is held back, as automatic pause does it,
 * whatever its auto_pause says: so a proxy stops reading where it can't write, for each direction
 * by itself. Several who wait are told in the order in which they came, up to 16 in a turn, and
 * above the high mark nothing is taken from others. An actor without a stream can forward too.
 *
 * @param self  The actor whose handler is running.
 * @param to    The connection; @p self is allowed, and the same as rl_conn_send().
 * @param data  The bytes.
 * @param len   How many; 0 is allowed and does nothing.
 *
 * Context:   actor handler.
 * Ownership: copies @p data.
 * Cost:      one copy, no allocation, no system call.
 * Returns:   0
 *            RL_CONN_SEND_HIGH  taken; that output is above its high mark, RL_MSG_WRITABLE follows
 *            -EAGAIN     nothing taken: the cap, the shard's memory, or others wait;
 *                        RL_MSG_WRITABLE follows
 *            -ENOBUFS    nothing taken, and no record left to remember who waits: nothing follows
 *            -EMSGSIZE   @p len is above send_cap_bytes
 *            -ENOENT     @p to has ended, or never existed
 *            -ENOTCONN   @p to has no stream
 *            -ESHUTDOWN  the write side of @p to was shut, or its end was decided
 *            -EXDEV      @p to lives on another shard
 */
RL_EXPORT RL_MUST_CHECK int rl_conn_forward(struct rl_actor *self, rl_actor_id to, const void *data,
					    size_t len);

/**
 * Say how many bytes of this RL_MSG_RECV were consumed; without a call, all were.
 *
 * The rest stays and comes again, in front of what arrives next. A handler that has to wait for
 * more bytes consumes what it can and returns 0. One that can't go on now (its own output is
 * refused, for instance) returns -EAGAIN: then reading pauses and the rest (all, without a call)
 * comes again with the next RL_MSG_WRITABLE that is owed to this actor, or after rl_conn_resume().
 *
 * @param self   The connection's own actor, while it handles RL_MSG_RECV.
 * @param bytes  How many bytes from the front of msg->recv.data; at most msg->recv.len.
 *
 * Context:   actor handler, RL_MSG_RECV only (asserted).
 * Cost:      one store; the rest is copied once when the handler returns.
 * Returns:   nothing.
 */
RL_EXPORT void rl_conn_consumed(struct rl_actor *self, size_t bytes);

/**
 * Stop the delivery of RL_MSG_RECV until rl_conn_resume().
 *
 * The kernel's receive window closes in turn, so the peer is held back; no byte is lost. While a
 * connection is paused the idle and first-byte deadlines don't run, and a reset by the peer is
 * noticed only at the next send or at resume.
 *
 * @param self  The connection's own actor.
 *
 * Context:   actor handler.
 * Cost:      one store; a cancel goes out with this turn's system call.
 * Returns:   0
 *            -ENOTCONN  @p self has no stream
 */
RL_EXPORT int rl_conn_pause(struct rl_actor *self);

/**
 * Undo rl_conn_pause(), and ask again at once for the bytes that were left unconsumed.
 *
 * In the answer to an RL_MSG_RECV of which nothing was consumed it brings nothing back by itself:
 * that would spin.
 *
 * @param self  The connection's own actor.
 *
 * Context:   actor handler.
 * Cost:      one store; receiving is armed again with this turn's system call.
 * Returns:   0
 *            -ENOTCONN  @p self has no stream
 */
RL_EXPORT int rl_conn_resume(struct rl_actor *self);

/**
 * Send FIN after all that is queued (with TLS close_notify before it), and keep on receiving.
 *
 * @param self  The connection's own actor.
 *
 * Context:   actor handler.
 * Cost:      one store; the request goes out when the output is empty.
 * Returns:   0
 *            -ENOTCONN   @p self has no stream
 *            -ESHUTDOWN  it was already done, or the end was decided
 */
RL_EXPORT int rl_conn_shutdown_write(struct rl_actor *self);

/**
 * End gracefully: let the output leave, send FIN, wait for the peer's, close.
 *
 * Takes effect when the handler returned. From then on received bytes are discarded; the flush runs
 * under stall_timeout_ns and output_timeout_ns, and the wait for the peer's FIN under
 * linger_timeout_ns. RL_MSG_STOP comes at the end of all that. What the peer has not read by the
 * linger deadline can be lost, if it still sends: its next byte is then answered by RST. With TLS
 * close_notify goes before FIN. A connection that is not open yet just ends.
 *
 * @param self  The connection's own actor.
 *
 * Context:   actor handler.
 * Cost:      one store.
 * Returns:   0
 *            -ENOTCONN  @p self has no stream
 *            -ESHUTDOWN  the end was already decided
 */
RL_EXPORT int rl_conn_close(struct rl_actor *self);

/**
 * End now: output is discarded, the peer of a TCP connection gets RST.
 *
 * Takes effect when the handler returned, also after an rl_conn_close() in the same handler.
 *
 * @param self  The connection's own actor.
 *
 * Context:   actor handler.
 * Cost:      one store.
 * Returns:   0
 *            -ENOTCONN  @p self has no stream
 */
RL_EXPORT int rl_conn_abort(struct rl_actor *self);

/**
 * Change a deadline of this connection: a protocol that waits long for the next request and
 * briefly for the rest of one, for instance.
 *
 * The idle deadline still counts from the last byte: one that is already past ends the connection
 * in the next turn. The first-byte deadline counts from now: the next byte that comes meets it. It
 * stands still while the connection is paused.
 *
 * @param self        The connection's own actor.
 * @param which       Which one.
 * @param timeout_ns  In nanoseconds, rounded up to a millisecond but for the first byte; 0: as
 *                    configured, -1: none. 49 days and more are as good as none.
 *
 * Context:   actor handler.
 * Cost:      a few stores; a timer is started if this deadline is the earliest.
 * Returns:   0
 *            -EINVAL     @p which is none of them, or @p timeout_ns is below -1
 *            -ENOTCONN   @p self has no stream; for the first byte also: it is not open yet
 *            -ESHUTDOWN  the first byte's, and no byte can come: the peer's FIN was received
 */
RL_EXPORT int rl_conn_set_deadline(struct rl_actor *self, enum rl_conn_deadline which,
				   int64_t timeout_ns);

/**
 * Copy the peer's address.
 *
 * Of an outbound connection that is not open yet it is the address that is being tried, and of the
 * family RL_ADDR_NONE as long as its host is looked up.
 *
 * @param self  The connection's own actor.
 * @param peer  Where it goes.
 *
 * Context:   actor handler.
 * Cost:      a copy of 24 bytes.
 * Returns:   0
 *            -ENOTCONN  @p self has no stream
 */
RL_EXPORT int rl_conn_peer(const struct rl_actor *self, struct rl_addr *peer);

/** Who the peer of a Unix socket was when it connected, or began to listen. */
struct rl_peer_cred {
	/** Its process, 0 where this process can't see it (another pid namespace). */
	int32_t pid;
	uint32_t uid;
	uint32_t gid;
};

/**
 * Ask the kernel who the peer of a Unix socket is (SO_PEERCRED).
 *
 * A pid may belong to another process by now; the ids are what the kernel saw, and stay.
 *
 * @param self  The connection's own actor.
 * @param cred  Where it goes.
 *
 * Context:   actor handler.
 * Cost:      one system call.
 * Returns:   0
 *            -ENOTCONN  @p self has no stream, or it is not open yet
 *            -EOPNOTSUPP  it is no Unix socket
 *            -ENODATA  its listener did not ask for it (rl_listener_options.peer_cred)
 */
RL_EXPORT int rl_conn_peer_cred(const struct rl_actor *self, struct rl_peer_cred *cred);

/** One connection's figures. */
struct rl_conn_stats {
	/** Bytes received from and taken by the peer's side so far; with TLS, as encrypted. */
	uint64_t bytes_in;
	uint64_t bytes_out;
	/** Output that was sent or forwarded here, but not yet taken by the kernel. */
	size_t queued_bytes;
	/** Received bytes that wait for the actor (left over, or held while paused). */
	size_t pending_bytes;
};

/**
 * Read the figures of the running actor's connection.
 *
 * @param self   The connection's own actor.
 * @param stats  Where they go.
 *
 * Context:   actor handler.
 * Cost:      a few loads.
 * Returns:   0
 *            -ENOTCONN  @p self has no stream
 */
RL_EXPORT int rl_conn_stats(const struct rl_actor *self, struct rl_conn_stats *stats);

RL_END_DECLS

#endif
