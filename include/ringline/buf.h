/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Counted buffers: one piece of memory that many actors on many shards read, encoded once.
 *
 *	struct rl_buf *buf;
 *	void *text;
 *	size_t taken;
 *	int rc = rl_buf_take(rl_actor_shard(self), len, &buf, &text);
 *
 *	if (rc == 0) {
 *		memcpy(text, line, len);
 *		rc = rl_actor_broadcast(self, members, count, KIND_LINE, buf, &taken);
 *		rl_buf_release(buf);
 *	}
 *
 * A buffer is written by who took it, before it is sent for the first time, and by nobody after
 * that. What a handler gets (rl_msg_buf()) is borrowed, as all of a message is; who wants to keep
 * it says rl_buf_ref(), and rl_buf_release() when it is done.
 *
 * A struct rl_buf is one shard's handle: it is counted without atomics, so only handlers and hooks
 * of the shard that they got it on may use it. Another shard gets a handle of its own by a message.
 * The memory goes home to the shard that took it when the last handle everywhere was released.
 */
#ifndef RINGLINE_BUF_H
#define RINGLINE_BUF_H

#include <ringline/msg.h>
#include <ringline/types.h>

RL_BEGIN_DECLS

/** The most bytes that a buffer holds. */
#define RL_BUF_MAX 65536

/** In private_bits: the message carries a buffer. Ringline's own. */
#define RL_MSG_PRIVATE_BUF 0x8000u

/** One shard's handle of a counted buffer. */
struct rl_buf {
	/** The bytes; they stay where they are as long as a reference is held. */
	const uint8_t *data;
	/** How many. */
	size_t len;
};

/**
 * Return the buffer that came with a message of the program's own.
 *
 * @param msg  What the handler was given; a kind from RL_MSG_USER on.
 *
 * Context:   actor handler.
 * Ownership: borrowed until the handler returns; rl_buf_ref() keeps it.
 * Cost:      two loads.
 * Returns:   the handle; NULL when the message carries none.
 */
static inline struct rl_buf *
rl_msg_buf(const struct rl_msg *msg)
{
	struct rl_buf *const *buf = (struct rl_buf *const *)(const void *)msg->user.data;

	return (msg->private_bits & RL_MSG_PRIVATE_BUF) != 0 ? *buf : NULL;
}

/**
 * Take a buffer of @p len bytes, to be filled and sent.
 *
 * @param shard  The shard that runs; its pool gives the memory (rl_config.buf_pool_bytes).
 * @param len    1 to RL_BUF_MAX.
 * @param buf    Where the handle goes; NULL after an error.
 * @param data   Where the address to write to goes: @p len bytes, aligned to 8, not zeroed.
 *
 * Context:   actor handler, shard hook.
 * Ownership: one reference, the caller's.
 * Cost:      two free-list pops.
 * Returns:   0
 *            -EINVAL    len is 0
 *            -EMSGSIZE  len is above RL_BUF_MAX
 *            -ENOBUFS   bufs_max or buf_pool_bytes is reached on this shard, or there is no memory
 *            -EPERM     called on another thread than the shard's own
 */
RL_EXPORT RL_MUST_CHECK int rl_buf_take(struct rl_shard *shard, size_t len, struct rl_buf **buf,
					void **data);

/**
 * Hold one more reference.
 *
 * @param buf  A handle of the shard that runs, on which a reference is held or borrowed.
 *
 * Context:   actor handler, shard hook; a fatal error on another thread.
 * Ownership: the new reference is the caller's.
 * Cost:      a few instructions.
 * Returns:   @p buf.
 */
RL_EXPORT struct rl_buf *rl_buf_ref(struct rl_buf *buf);

/**
 * Give a reference up. The last one on a shard sends the handle home, the last one of all frees the
 * memory. What is held when its actor ends stays held: let go in RL_MSG_STOP. A drain waits
 * for what other shards hold, until a second after its deadline or after the second signal. What is
 * left when the system stops is freed with it, after a line in the log.
 *
 * @param buf  A handle of the shard that runs; NULL is allowed.
 *
 * Context:   actor handler, shard hook; a fatal error on another thread.
 * Ownership: the reference is no longer the caller's.
 * Cost:      a few instructions; the last one on a shard that is not the buffer's own: an
 *            obligation, which always arrives.
 * Returns:   nothing.
 */
RL_EXPORT void rl_buf_release(struct rl_buf *buf);

/**
 * Send a buffer to an actor, wherever it lives: rl_actor_send() with a buffer for a payload.
 *
 * The receiver gets a message with len 0 and rl_msg_buf().
 *
 * @param self  The actor whose handler is running.
 * @param to    The receiver; may be self.
 * @param kind  RL_MSG_USER or above.
 * @param buf   A handle of this shard, with a reference of the caller's; another one's is a fatal
 *              error.
 *
 * Context:   actor handler.
 * Ownership: taken, one reference of the caller's goes with the message; after an error it is still
 *            the caller's.
 * Cost:      that of rl_actor_send(); the first time to another shard a free-list pop more.
 * Returns:   0
 *            what rl_actor_send() answers, in the same cases; -ENOBUFS also when bufs_max is
 *            reached on this shard
 */
RL_EXPORT RL_MUST_CHECK int rl_actor_send_buf(struct rl_actor *self, rl_actor_id to, uint32_t kind,
					      struct rl_buf *buf);

/**
 * Send one buffer to many actors on any shards, in the order of @p to.
 *
 * Stops at the first that does not take it, so that nothing is lost unseen: @p to[@p *taken] is
 * the one that the answer is about. Leave it out and go on behind it, or (-EAGAIN, and it lives on
 * another shard) go on with it after RL_MSG_ROOM.
 *
 * @param self   The actor whose handler is running.
 * @param to     The receivers.
 * @param count  How many; may be 0.
 * @param kind   RL_MSG_USER or above.
 * @param buf    A handle of this shard, as for rl_actor_send_buf().
 * @param taken  Where the number of receivers goes that took it, all in front of the others; not
 *               NULL.
 *
 * Context:   actor handler.
 * Ownership: each receiver gets a reference of its own; the caller's stays the caller's.
 * Cost:      per receiver on this shard a few instructions when its mailbox is empty, one of
 *            messages_max for all of them; otherwise that of rl_actor_send() without the copy.
 * Returns:   0: all took it
 *            what rl_actor_send_buf() answered for to[*taken]
 */
RL_EXPORT RL_MUST_CHECK int rl_actor_broadcast(struct rl_actor *self, const rl_actor_id *to,
					       size_t count, uint32_t kind, struct rl_buf *buf,
					       size_t *taken);

RL_END_DECLS

#endif
