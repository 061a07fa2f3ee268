/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Choosing by name. OpenSSL asks three times: with the client's first words, before it looks at
 * tickets (sni_hello); whether the name means anything to us (sni_acknowledge); and for a
 * certificate, unless a session is resumed (sni_certificate).
 */
#include "tls/tls_sni.h"

#include <errno.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/mutant.h"
#include "tls/tls_error.h"

/* Takes every name of @cert; the number of those that can be asked for, or -ENOMEM. */
static int
sni_add_names(struct tls_sni *sni, const X509 *cert, uint32_t owner)
{
	int critical = -1;
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
	/* -1: it has none; names that can't be read are refused when the file is */
	int taken = names == NULL && critical != -1 ? -ENOMEM : 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && taken >= 0; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		int rc;

		if (name->type != GEN_DNS) {
			continue;
		}
		rc = rli_tls_names_add(&sni->names,
				       (const char *)ASN1_STRING_get0_data(name->d.dNSName),
				       (size_t)ASN1_STRING_length(name->d.dNSName), owner);
		taken = rc < 0 ? rc : taken + rc;
	}
	GENERAL_NAMES_free(names);
	return taken;
}

int
rli_tls_sni_default(struct tls_sni *sni, const struct ssl_ctx_st *ssl_ctx)
{
	int taken = sni_add_names(sni, SSL_CTX_get0_certificate(ssl_ctx), 0);

	return taken < 0 ? taken : 0;
}

int
rli_tls_sni_add(struct tls_sni *sni, struct ssl_ctx_st *ssl_ctx)
{
	struct tls_pair *pair = &sni->pairs[sni->pairs_count];
	STACK_OF(X509) *chain = NULL;
	int taken;

	(void)SSL_CTX_get0_chain_certs(ssl_ctx, (void *)&chain); /* there may be none */
	pair->cert = SSL_CTX_get0_certificate(ssl_ctx);
	pair->key = SSL_CTX_get0_privatekey(ssl_ctx);
	pair->chain = chain != NULL ? X509_chain_up_ref(chain) : NULL;
	if (chain != NULL && pair->chain == NULL) {
		return -ENOMEM;
	}
	(void)X509_up_ref(pair->cert);
	(void)EVP_PKEY_up_ref(pair->key);
	sni->pairs_count++;
	taken = sni_add_names(sni, pair->cert, sni->pairs_count);
	if (taken < 0) {
		return taken;
	}
	return taken == 0 ? -ENOENT : 0;
}

static size_t
take_u16(const uint8_t **at)
{
	size_t value = (size_t)(*at)[0] << 8 | (*at)[1];

	*at += 2;
	return value;
}

/*
 * The name in a client's first words, in lower case. Empty: there is none, or it is not as it
 * should be, and OpenSSL, which looks at it next, will say so.
 */
static void
sni_parse(SSL *ssl, char name[TLS_NAME_MAX + 1])
{
	const uint8_t *at;
	size_t len;
	size_t name_len;

	name[0] = '\0';
	/* a list's length; a type, 0; a length; the name, which is the only one */
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &at, &len) != 1 || len < 5 ||
	    take_u16(&at) != len - 2 || at[0] != TLSEXT_NAMETYPE_host_name) {
		return;
	}
	at++;
	name_len = take_u16(&at);
	if (name_len != len - 5 || name_len > TLS_NAME_MAX || memchr(at, '\0', name_len) != NULL) {
		return;
	}
	memcpy(name, at, name_len);
	name[name_len] = '\0';
	rli_tls_name_lower(name, name_len);
}

static int
sni_hello(SSL *ssl, int *alert, void *arg)
{
	const struct tls_sni *sni = arg;
	struct {
		uint8_t binding[TLS_BINDING_BYTES];
		char name[TLS_NAME_MAX + 1];
	} bound = { .name = "" };
	uint8_t digest[TLS_BINDING_BYTES];

	sni_parse(ssl, bound.name);
	if (sni->refuses && bound.name[0] != '\0' &&
	    rli_tls_names_find(&sni->names, bound.name) == TLS_NAMES_NONE) {
		*alert = SSL_AD_UNRECOGNIZED_NAME;
		ERR_raise(ERR_LIB_USER, TLS_ERROR_NAME);
		return SSL_CLIENT_HELLO_ERROR;
	}
	if (!RL_MUTANT(TLS_UNBOUND)) {
		memcpy(bound.binding, sni->binding, sizeof(bound.binding));
	}
	if (EVP_Digest(&bound, sizeof(bound), digest, NULL, EVP_sha256(), NULL) != 1 ||
	    SSL_set_session_id_context(ssl, digest, sizeof(digest)) != 1) {
		*alert = SSL_AD_INTERNAL_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* So that sessions of TLS 1.2 remember it. */
static int
sni_acknowledge(SSL *ssl, int *alert, void *arg)
{
	(void)ssl;
	(void)arg;
	*alert = SSL_AD_UNRECOGNIZED_NAME; /* what it would be, and is not */
	return SSL_TLSEXT_ERR_OK;
}

static int
sni_certificate(SSL *ssl, void *arg)
{
	const struct tls_sni *sni = arg;
	const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	size_t len = asked != NULL ? strlen(asked) : 0;
	char name[TLS_NAME_MAX + 1];
	const struct tls_pair *pair;
	uint32_t owner;

	if (len == 0 || len > TLS_NAME_MAX) {
		return 1; /* the default */
	}
	memcpy(name, asked, len + 1);
	rli_tls_name_lower(name, len);
	owner = rli_tls_names_find(&sni->names, name);
	if (owner == TLS_NAMES_NONE || owner == 0) {
		return 1;
	}
	pair = &sni->pairs[owner - 1];
	SSL_certs_clear(ssl); /* the default's key may be of another kind, and preferred */
	return SSL_use_cert_and_key(ssl, pair->cert, pair->key, pair->chain, 1);
}

/* Whom a client's certificate may be from. */
static bool
binding_of_trust(EVP_MD_CTX *digest, const SSL_CTX *ssl_ctx)
{
	STACK_OF(X509) *trusted = X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(ssl_ctx));
	bool done = trusted != NULL;

	for (int i = 0; i < sk_X509_num(trusted) && done; i++) {
		uint8_t one[EVP_MAX_MD_SIZE];
		unsigned int len;

		done = X509_digest(sk_X509_value(trusted, i), EVP_sha256(), one, &len) == 1 &&
		       EVP_DigestUpdate(digest, one, len) == 1;
	}
	sk_X509_pop_free(trusted, X509_free);
	return done;
}

static bool
binding_make(uint8_t out[TLS_BINDING_BYTES], const SSL_CTX *ssl_ctx, const char *alpn)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	bool done = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
		    EVP_DigestUpdate(digest, alpn, strlen(alpn) + 1) == 1 &&
		    binding_of_trust(digest, ssl_ctx) && EVP_DigestFinal_ex(digest, out, NULL) == 1;

	EVP_MD_CTX_free(digest);
	return done;
}

int
rli_tls_sni_use(struct tls_sni *sni, struct ssl_ctx_st *ssl_ctx, const char *alpn)
{
	if (!binding_make(sni->binding, ssl_ctx, alpn != NULL ? alpn : "")) {
		rli_tls_error_clear();
		return -ENOMEM;
	}
	rli_tls_names_sort(&sni->names);
	SSL_CTX_set_client_hello_cb(ssl_ctx, sni_hello, sni);
	(void)SSL_CTX_set_tlsext_servername_callback(ssl_ctx, sni_acknowledge);
	if (sni->pairs_count > 0) {
		SSL_CTX_set_cert_cb(ssl_ctx, sni_certificate, sni);
	}
	return 0;
}

void
rli_tls_sni_fini(struct tls_sni *sni)
{
	for (uint32_t i = 0; i < sni->pairs_count; i++) {
		X509_free(sni->pairs[i].cert);
		EVP_PKEY_free(sni->pairs[i].key);
		sk_X509_pop_free(sni->pairs[i].chain, X509_free);
	}
	sni->pairs_count = 0;
	rli_tls_names_fini(&sni->names);
}
