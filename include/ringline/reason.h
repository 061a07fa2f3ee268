/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Why an actor ended. RL_MSG_STOP carries one of these, the counters in struct rl_stats count
 * closed connections by them, and --stats prints them by the same names.
 */
#ifndef RINGLINE_REASON_H
#define RINGLINE_REASON_H

#include <ringline/types.h>

RL_BEGIN_DECLS

enum rl_reason {
	/** The peer half-closed and the actor ended normally after that. */
	RL_REASON_PEER_FIN,
	/** The peer reset the connection. */
	RL_REASON_PEER_RST,
	/** The actor ended itself: RL_ACTOR_STOP, rl_conn_close(), rl_conn_abort(). */
	RL_REASON_LOCAL,
	/** A handler answered a negative errno, or the kernel failed the stream: see error. */
	RL_REASON_FAILURE,
	/** A limit was hit, for instance recv_pending_max_bytes with nothing consumed. */
	RL_REASON_LIMIT,
	/** Memory that the connection needed to go on was not to be had. */
	RL_REASON_MEMORY,
	/**
	 * A TLS handshake or record failed: see error. -EKEYREJECTED, -EKEYEXPIRED, -EKEYREVOKED:
	 * the peer's certificate; -ECONNABORTED: the peer's alert; -EPROTONOSUPPORT: nothing in
	 * common; -EPROTO: anything else.
	 */
	RL_REASON_TLS,
	/** With TLS: the stream ended without close_notify, so bytes may be missing. */
	RL_REASON_TLS_TRUNCATED,
	/** The system drained. */
	RL_REASON_SHUTDOWN,
	/** No byte went either way for idle_timeout_ns. */
	RL_REASON_TIMEOUT_IDLE,
	/** The peer sent no first byte within first_byte_timeout_ns. */
	RL_REASON_TIMEOUT_FIRST_BYTE,
	/** The TLS handshake took longer than tls_handshake_timeout_ns. */
	RL_REASON_TIMEOUT_HANDSHAKE,
	/** An outbound connection was not made within its deadline. */
	RL_REASON_TIMEOUT_CONNECT,
	/**
	 * The peer took no byte of the output for stall_timeout_ns; or, with TLS, output waited so
	 * long for the rest of a message of the protocol's.
	 */
	RL_REASON_TIMEOUT_STALL,
	/** The peer did not answer our FIN within linger_timeout_ns. */
	RL_REASON_TIMEOUT_LINGER,
	/** The drain's deadline cut the connection. */
	RL_REASON_TIMEOUT_DRAIN,
	/** Only in RL_MSG_DOWN: it had ended before it could be monitored, or never existed. */
	RL_REASON_GONE,
	/** An actor that it was linked to did not end normally. */
	RL_REASON_LINKED,
	/** The host of an outbound connection could not be looked up: see error. */
	RL_REASON_RESOLVE,
	/** Output waited for output_timeout_ns, and the peer took some, but not that. */
	RL_REASON_TIMEOUT_OUTPUT,
	/**
	 * The shard's send memory ran out, and the peer had taken nothing of it for a while; or its
	 * memory for received bytes did, and this one, paused, held much of it for long.
	 */
	RL_REASON_EVICTED,

	RL_REASON_COUNT
};

/**
 * Return the name of @p reason as counters and logs spell it, "timeout_idle" for instance.
 *
 * @param reason  Any value.
 *
 * Context:   any thread.
 * Ownership: the string is static.
 * Cost:      one load.
 * Returns:   the name; "unknown" for a value outside the enum.
 */
RL_EXPORT const char *rl_reason_name(enum rl_reason reason);

RL_END_DECLS

#endif
