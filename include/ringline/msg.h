/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What an actor receives.
 *
 * Everything that happens to an actor arrives as one of these, one at a time, in its receive
 * function. The struct and all that it points to are borrowed: valid until receive returns. Kinds
 * below RL_MSG_USER are ringline's, the rest are the program's.
 */
#ifndef RINGLINE_MSG_H
#define RINGLINE_MSG_H

#include <assert.h>

#include <ringline/addr.h>
#include <ringline/reason.h>
#include <ringline/tls.h>
#include <ringline/types.h>

RL_BEGIN_DECLS

enum rl_msg_kind {
	/** The first message ever: start.arg is the argument of the spawn or the listener. */
	RL_MSG_START = 1,
	/** The stream is usable: accepted, or connected; with TLS, the handshake is done. */
	RL_MSG_OPEN,
	/** Bytes arrived; see rl_conn_consumed() for taking only part of them. */
	RL_MSG_RECV,
	/**
	 * Output fell below the low mark, once after the first HIGH or -EAGAIN: this connection's,
	 * or that of one that it forwards to, which then may also take nothing more.
	 */
	RL_MSG_WRITABLE,
	/** The peer will send no more; all its bytes were delivered. The write side still works. */
	RL_MSG_EOF,
	/** A timer of this actor is due. */
	RL_MSG_TIMER,
	/** The system drains: finish before the deadline. Unhandled, it ends the actor normally. */
	RL_MSG_SHUTDOWN,
	/** The last message ever, exactly once, with the reason. */
	RL_MSG_STOP,
	/** Once after an -EAGAIN from a message to another shard: there is room again. */
	RL_MSG_ROOM,
	/** The answer to a request of this actor. */
	RL_MSG_REPLY,
	/** A request of this actor will get no answer; its error says why. */
	RL_MSG_REPLY_FAILED,
	/** An actor that this one monitors has ended, or was not there; once per monitor. */
	RL_MSG_DOWN,
	/** A message of this actor could not be delivered; see rl_actor_def.reports. */
	RL_MSG_UNDELIVERED,

	/** The first kind that belongs to the program. */
	RL_MSG_USER = 0x100
};

/** The most bytes that a message carries inside itself. */
#define RL_MSG_INLINE_MAX 32

/** In user.shard: the sender is no shard. */
#define RL_SHARD_NONE UINT32_MAX

/**
 * The payload of @p msg as a TYPE: RL_MSG_AS(msg, struct hit)->bytes. Debug builds check the size.
 */
#define RL_MSG_AS(msg, type) ((const type *)rl_msg_payload((msg), sizeof(type)))

struct rl_msg {
	/** An enum rl_msg_kind, or a number of the program's own from RL_MSG_USER on. */
	uint32_t kind;
	/** Bytes at user.data or reply.data; 0 for all others. */
	uint16_t len;
	/** Ringline's own. */
	uint16_t private_bits;
	/** Who sent it: no id for ringline's own kinds and for foreign threads. */
	rl_actor_id from;
	union {
		struct {
			/** The argument given to the spawn, the listener or rl_conn_open(). */
			void *arg;
		} start;
		struct {
			/** The other end. */
			const struct rl_addr *peer;
			/** True when this end called rl_conn_open(). */
			bool outbound;
			/** What TLS came to; NULL: the connection is not encrypted. */
			const struct rl_tls_info *tls;
		} open;
		struct {
			/** The bytes, in place: ringline's memory until receive returns. */
			const uint8_t *data;
			/** How many; never 0. */
			size_t len;
		} recv;
		struct {
			/** Bytes of output still queued. */
			size_t queued_bytes;
			/** The connection that it forwards to; no id: its own. */
			rl_actor_id target;
		} writable;
		struct {
			/** Bytes that the actor left over and that are now lost to it. */
			size_t leftover_bytes;
		} eof;
		struct {
			/** Which timer; already over when it was a one-shot. */
			rl_timer_id id;
			/** What rl_timer_start() was given. */
			uint64_t tag;
		} timer;
		struct {
			/** When what is left is cut, on the clock of rl_shard_now_ns(). */
			uint64_t deadline_ns;
		} shutdown;
		struct {
			enum rl_reason reason;
			/** A negative errno where the reason has one, else 0. */
			int error;
		} stop;
		struct {
			/** The shard that has room. */
			uint32_t shard;
		} room;
		struct {
			/** What the other end gave to rl_actor_reply(), aligned for any type. */
			const void *data;
			/** Which request. */
			rl_request_id id;
		} reply;
		struct {
			/** -ETIMEDOUT and so on: see rl_actor_request(). Never 0. */
			int error;
			/** Which request. */
			rl_request_id id;
		} reply_failed;
		struct {
			/** Which monitor; it is over. */
			rl_monitor_id id;
			/** Who ended. */
			rl_actor_id actor;
			/** Why; RL_REASON_GONE when it had ended before, or never existed. */
			enum rl_reason reason;
			/** A negative errno where the reason has one, else 0. */
			int error;
		} down;
		struct {
			/** For whom it was. */
			rl_actor_id to;
			/** Its kind. */
			uint32_t kind;
			/** -EAGAIN: its mailbox was full; -ENOENT: it had ended; -ESHUTDOWN. */
			int error;
		} undelivered;
		struct {
			/** Names the reply that is owed; "no request" when none is. */
			rl_request_id request;
			/** The shard that it came from; RL_SHARD_NONE: a foreign thread. */
			uint32_t shard;
			/** Ringline's own. */
			int32_t private_link;
			/** The payload of a program's own message, aligned for any type. */
			uint8_t data[RL_MSG_INLINE_MAX] RL_ALIGNED(16);
		} user;
	};
};

/**
 * Return the payload of a program's own message; RL_MSG_AS() casts it.
 *
 * @param msg   The message.
 * @param size  How many bytes the caller takes it for; asserted to be msg->len in debug builds.
 *
 * Context:   any handler.
 * Ownership: borrowed until the handler returns.
 * Cost:      one load.
 * Returns:   the payload.
 */
static inline const void *
rl_msg_payload(const struct rl_msg *msg, size_t size)
{
#ifndef NDEBUG
	assert(msg->len == size);
#endif
	(void)size;
	return msg->user.data;
}

RL_END_DECLS

#endif
