/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * TLS under a connection: between what the ring received and what the actor gets, and between what
 * the actor sent and what the ring sends. A connection without it pays one branch on each way.
 *
 * Input stays ciphertext until right before its delivery. Output waits as plaintext until the
 * flush makes records of it; conn->out_bytes counts both, so every limit and mark holds as it does
 * without TLS.
 */
#ifndef RINGLINE_NET_CONN_TLS_H
#define RINGLINE_NET_CONN_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "tls/tls_session.h"

struct conn;
struct conn_setup;
struct net;
struct rl_shard;

#define TLS_CLIENTS_MAX 8 /* different options of opened connections, per shard */

struct conn_tls {
	uint32_t slab_link;
	uint32_t turn_bytes; /* decrypted in the turn of turn_ns; records without any weigh, too */
	uint32_t silent; /* records since the last byte of plaintext */
	struct tls_session session;
	struct chunk *plain_first; /* sent by the actor, no record yet */
	struct chunk *plain_last;
	struct conn *conn;
	struct list_node waiting; /* on net->tls_waiting */
	uint64_t turn_ns;
	int64_t first_byte_timeout_ns; /* from the end of the handshake on */
	uint32_t handshake_ms; /* its deadline; DEADLINE_NONE is none */
	bool begun; /* a client has said hello */
	bool shaking; /* counted in net->tls_shaking */
	bool called; /* first in line: a step is promised; counted in net->tls_called */
	bool held_up; /* output waits for the rest of a message of the peer's */
};

_Static_assert(sizeof(struct conn_tls) <= 208, "docs/limits.md says what TLS adds to a connection");

/* What opened connections with the same options share; read when the first of them is opened. */
struct tls_client {
	const struct rl_tls_options *options;
	struct tls_context *context;
};

/* 0, -ENOBUFS (too many handshakes under way), -ENOMEM, -EINVAL (the name). */
int rli_conn_tls_create(struct conn *conn, const struct conn_setup *setup);
void rli_conn_tls_destroy(struct conn *conn);

/*
 * The context of connections that @options open; may read files. 0, -EINVAL or -ENOMEM, or -ENOBUFS
 * with one line: there are TLS_CLIENTS_MAX others.
 */
int rli_conn_tls_client(struct rl_shard *shard, const struct rl_tls_options *options,
			const struct tls_context **out);
void rli_conn_tls_fini(struct net *net);

/* On the first shard, when listeners have begun, and TIMER_TICKETS: are the keys due? */
void rli_conn_tls_rotate(struct rl_shard *shard);

/* Before RL_MSG_OPEN: a step of the handshake. True when it is done. */
bool rli_conn_tls_shake(struct conn *conn);

/* For RL_MSG_OPEN. False: the end was decided instead. */
bool rli_conn_tls_info(struct conn *conn, struct rl_tls_info *info);

/*
 * Decrypt up to @max bytes of what was received. 0: nothing is there (yet), or the stream has ended
 * in one way or another; conn says which.
 */
uint32_t rli_conn_tls_read(struct conn *conn, uint8_t *out, uint32_t max);

/* The stream can't go on: session.error says why. */
void rli_conn_tls_failed(struct conn *conn);

/* Where one delivery is decrypted to: TLS_PLAIN_MAX bytes that all connections share. */
uint8_t *rli_conn_tls_buffer(const struct conn *conn);

/* conn_tls_send.c */

/* What the session made goes behind the output. */
void rli_conn_tls_absorb(struct conn *conn);

/* Queue plaintext. False: no memory, and nothing was queued. */
bool rli_conn_tls_queue(struct conn *conn, const uint8_t *data, size_t len);

/* Is there memory for @beyond bytes more, as rli_conn_tls_queue() wants it? */
bool rli_conn_tls_may_queue(const struct conn *conn, size_t beyond);

/* Make records of what is queued, and close_notify when it is time. */
void rli_conn_tls_flush(struct conn *conn);

/* Forget what is queued. */
void rli_conn_tls_discard(struct conn *conn);

/*
 * While output is held up, input is received and looked at whatever the actor thinks of it, up to
 * the message's end. Behind the decision to end: the last that is wanted of what was received, and
 * of what still comes.
 */
void rli_conn_tls_go_on(struct conn *conn);
void rli_conn_tls_late(struct conn *conn, const uint8_t *data, uint32_t len);

/* FIN may leave: close_notify has been queued, or never will be. */
bool rli_conn_tls_may_shut(const struct conn *conn);

/* Chunks came home, or @retry: those that had no room for a record try again. */
void rli_conn_tls_feed(struct rl_shard *shard, bool retry);

/* conn_line.c: handshakes that have a step to do */

/* It waits to be called, and its input too, out of the ring's buffers (rli_conn_recv_flush()). */
void rli_conn_line_join(struct conn *conn);

/* It does its step now, or never will. */
void rli_conn_line_leave(struct conn *conn);

/*
 * The next turn's steps go to those that have waited longest, unless this one had some. False:
 * somebody waits, and is not called yet.
 */
bool rli_conn_line_turn(struct rl_shard *shard);

#endif
