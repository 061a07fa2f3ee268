/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a server shows to whom: the certificate that belongs to the name that a client asks for, and
 * the sessions that may be resumed under that name. A ticket is good for the name, the protocols
 * and the trust in clients' certificates that it was made with, and for nothing else (ADR 33).
 */
#ifndef RINGLINE_TLS_TLS_SNI_H
#define RINGLINE_TLS_TLS_SNI_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/tls.h>

#include "tls/tls_names.h"

#define TLS_BINDING_BYTES 32

struct evp_pkey_st;
struct ssl_ctx_st;
struct stack_st_X509;
struct x509_st;

/* A certificate that is not the default. */
struct tls_pair {
	struct x509_st *cert;
	struct evp_pkey_st *key;
	struct stack_st_X509 *chain; /* NULL: none */
};

struct tls_sni {
	struct tls_names names; /* owner: 0 for the default, i + 1 for pairs[i] */
	bool refuses; /* who asks for a name that nobody has */
	uint32_t pairs_count;
	uint8_t binding[TLS_BINDING_BYTES]; /* of sessions, but for the name */
	struct tls_pair pairs[RL_TLS_CERTS_MAX];
};

/* The names of the default, which @ssl_ctx has. 0 or -ENOMEM. */
int rli_tls_sni_default(struct tls_sni *sni, const struct ssl_ctx_st *ssl_ctx);

/* The certificate and key that @ssl_ctx has, too. The same, or -ENOENT: it has no DNS name. */
int rli_tls_sni_add(struct tls_sni *sni, struct ssl_ctx_st *ssl_ctx);

/*
 * When all were added: sessions of @ssl_ctx choose by @sni, which must live as long. @alpn and the
 * certificates that it trusts become part of the binding. 0 or -ENOMEM.
 */
int rli_tls_sni_use(struct tls_sni *sni, struct ssl_ctx_st *ssl_ctx, const char *alpn);

void rli_tls_sni_fini(struct tls_sni *sni);

#endif
