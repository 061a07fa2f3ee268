/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One end of a TLS stream, between records and plaintext. OpenSSL sees no socket and no copy of
 * what came: its BIO reads straight from the bytes that were fed, and writes records straight into
 * chunks (ADR 28).
 *
 * A call takes what it needs of the fed bytes; what it made waits in out_first until
 * rli_tls_records_take(). Records that were made are counted by the peer: they are sent, in order,
 * or the stream ends.
 */
#ifndef RINGLINE_TLS_TLS_SESSION_H
#define RINGLINE_TLS_TLS_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shard/chunk.h"
#include "tls/tls_context.h"
#include "tls/tls_hello.h"
#include "tls/tls_store.h"

#define TLS_PLAIN_MAX	 16384 /* bytes in a record */
#define TLS_OVERHEAD_MAX 40 /* that a record adds to them: header, nonce, type, tag */

struct ssl_ctx_st;
struct ssl_st;

enum tls_status {
	TLS_DONE,
	TLS_WANTS, /* all that was fed is taken, or in_records are, and it wants more */
	TLS_ENDED, /* the peer said close_notify: nothing comes any more */
	TLS_NO_ROOM, /* no chunk for the record: nothing was made, try again when there is one */
	TLS_FAILED, /* for good: see error; an alert may wait among the records */
};

struct tls_session {
	struct ssl_st *ssl;
	struct chunk_pool *pool;

	/* fed and not taken yet; set around each call that reads */
	const uint8_t *in;
	size_t in_len;
	uint32_t in_records; /* may be begun; then what is fed is left, and more is wanted */

	/* made and not taken yet; from out_at on there is room */
	struct chunk *out_first;
	struct chunk *out_last;
	struct chunk *out_at;
	uint32_t out_bytes;
	uint32_t out_room;
	uint32_t out_max; /* what the protocol itself may make: more ends the session */

	struct tls_hello hello; /* a server's: what of it was looked at */
	struct tls_place place; /* a client's: where sessions come from, and go to */
	uint64_t proved_ns; /* when the session that it offers was verified */

	int error; /* FAILED: why, a negative errno; -ENOBUFS: out_max */
	bool ready; /* the handshake is done */
	bool readable; /* decrypted bytes wait inside */
	bool halfway; /* a message of the peer's has begun: nothing is made before its rest came */
	bool ended; /* close_notify came */
	bool said; /* close_notify was made, or can't be any more */
	bool shut; /* it was made: nothing may follow it */
};

/*
 * @server_name: for a client, whom the certificate must name; a numeric address is one. 0, -ENOMEM,
 * or -EINVAL for a name that can't be one.
 */
int rli_tls_session_init(struct tls_session *session, const struct tls_context *context,
			 struct chunk_pool *pool, const char *server_name);

/* A client's context hands out what its sessions may be resumed by. */
void rli_tls_session_keeps(struct ssl_ctx_st *ssl_ctx);

/*
 * Before a client's first step: resume what is kept at its place, which must be that of its name
 * and context, and keep there what comes.
 */
void rli_tls_session_resume(struct tls_session *session);

/* After the handshake: an earlier one was resumed. */
bool rli_tls_session_resumed(const struct tls_session *session);

/* Records that were not taken go home. Zeroed memory is fine. */
void rli_tls_session_fini(struct tls_session *session);

/* The bytes that the next calls read; what is left of them is in session->in_len. */
static inline void
rli_tls_feed(struct tls_session *session, const uint8_t *data, size_t len)
{
	session->in = data;
	session->in_len = len;
}

/*
 * A step of the handshake: DONE, WANTS or FAILED. A client's first needs nothing fed. When it is
 * done and the session is halfway through a later message, the same for that one, and no further.
 */
enum tls_status rli_tls_handshake(struct tls_session *session);

/* Plaintext of at most one record: DONE with *got > 0, WANTS, ENDED or FAILED. */
enum tls_status rli_tls_read(struct tls_session *session, uint8_t *out, size_t len, size_t *got);

/*
 * Make records of up to TLS_PLAIN_MAX bytes, all or nothing: one, or several for a client that
 * asked for shorter ones. DONE, NO_ROOM or FAILED; or WANTS while it is halfway: nothing was made,
 * try again after what was fed next.
 */
enum tls_status rli_tls_write(struct tls_session *session, const uint8_t *data, size_t len);

/* Make close_notify, once, and only after a handshake; reading goes on. Answers as a write does. */
enum tls_status rli_tls_end(struct tls_session *session);

/* What was made, as a list of chunks: out_bytes in all, to be counted before the call. */
struct chunk *rli_tls_records_take(struct tls_session *session, struct chunk **last);

/* Overwrite plaintext, whatever the compiler thinks of it. */
void rli_tls_wipe(void *at, size_t len);

#endif
