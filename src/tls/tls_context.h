/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What many TLS sessions share: certificate, key, whom to trust, what is allowed. Made on any
 * thread, used by all shards, never changed; sessions keep it alive.
 */
#ifndef RINGLINE_TLS_TLS_CONTEXT_H
#define RINGLINE_TLS_TLS_CONTEXT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <ringline/tls.h>

#include "base/log.h"
#include "tls/tls_sni.h"
#include "tls/tls_tickets.h"

#define TLS_ALPN_MAX 255 /* bytes of the list as it goes over the wire */

struct ssl_ctx_st;

struct tls_context {
	struct ssl_ctx_st *ssl_ctx;
	_Atomic uint32_t users; /* sessions, and until it is destroyed one more */
	bool server;
	uint8_t alpn_len;
	uint8_t alpn[TLS_ALPN_MAX]; /* each protocol behind its length */
	struct tls_sni sni; /* a server's */
};

enum tls_role {
	TLS_SERVER,
	TLS_CLIENT,
};

/*
 * Read the files and check them: 0, -EINVAL with one ERROR line that names the file or field and
 * says why (OpenSSL's reason, if it is OpenSSL that minds), or -ENOMEM. @options may be NULL for a
 * client. It reads files, so it may block.
 */
int rli_tls_context_create(struct tls_context **out, enum tls_role role,
			   const struct rl_tls_options *options, const struct log *log);

/*
 * A server's sessions are resumed by @tickets, which must be ready and outlive it. Before the first
 * session; without this they have tickets of their own context's, which nobody else can open.
 */
void rli_tls_context_resume(struct tls_context *context, struct tls_tickets *tickets);

/*
 * A session of it begins, and ends, before it is freed. OpenSSL counts them, too, and frees the
 * context; this count is how we know that nobody reads it then.
 */
void rli_tls_context_join(struct ssl_ctx_st *ssl_ctx);
void rli_tls_context_leave(struct ssl_ctx_st *ssl_ctx);

/* Sessions that were made of it live on. NULL does nothing. */
void rli_tls_context_destroy(struct tls_context *context);

#endif
