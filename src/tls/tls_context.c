/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * TLS contexts. Everything that can be wrong with files and options is found here, before the first
 * connection, and named. The context rides on its SSL_CTX, which counts its sessions, so it goes
 * with the last of them.
 */
#include "tls/tls_context.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/assert.h"
#include "tls/tls_error.h"
#include "tls/tls_session.h"

/* Key exchange that forgets, ciphers that authenticate; TLS 1.3 has no others. */
#define CONTEXT_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
#define CONTEXT_GROUPS	"X25519:P-256"
#define CONTEXT_LEVEL	2 /* 112 bits: RSA from 2,048 bits on, no SHA-1 */
#define CONTEXT_DEPTH	5 /* certificates between a peer's and its root */
#define CONTEXT_CHAIN	32768 /* bytes of a client's; OpenSSL takes what is announced at once */

static pthread_once_t context_once = PTHREAD_ONCE_INIT;
static int context_index = -1; /* of struct tls_context in an SSL_CTX */

static void
context_free(void *parent, void *context, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
	struct tls_context *freed = context;

	(void)parent;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	if (freed != NULL) {
		/* pairs with: rli_tls_context_leave(); whatever they read was read before */
		RL_ASSERT(atomic_load_explicit(&freed->users, memory_order_acquire) == 0);
		rli_tls_sni_fini(&freed->sni);
	}
	OPENSSL_free(context);
}

static void
context_index_init(void)
{
	context_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, context_free);
}

/* Nobody is asked for a passphrase: there may be no terminal, and a server must start alone. */
static int
context_no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)writing;
	(void)arg;
	if (size > 0) {
		buf[0] = '\0';
	}
	return -1;
}

static int
context_refuse(const struct log *log, const char *field, const char *value, const char *reason)
{
	char shown[256];

	rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD, "tls: %s = \"%s\": %s", field,
		rli_log_escape(shown, sizeof(shown), value, strlen(value)), reason);
	return -EINVAL;
}

/* OpenSSL minds. */
static int
context_refuse_file(const struct log *log, const char *field, const char *file)
{
	char text[TLS_ERROR_TEXT_MAX];

	return context_refuse(log, field, file, rli_tls_error_text(text));
}

static int
context_check_dates(SSL_CTX *ssl_ctx, const char *file, const struct log *log)
{
	const X509 *cert = SSL_CTX_get0_certificate(ssl_ctx);

	if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0) {
		return context_refuse(log, "cert_file", file, "the certificate has expired");
	}
	if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0) {
		return context_refuse(log, "cert_file", file, "the certificate is not valid yet");
	}
	return 0;
}

/* A mistake that does no harm today, and that nobody would ever notice. */
static void
context_check_key_file(const char *file, const struct log *log)
{
	char shown[256];
	struct stat status;

	if (stat(file, &status) == 0 && (status.st_mode & (S_IROTH | S_IWOTH)) != 0) {
		rli_log(log, RL_LOG_WARN, LOG_NO_SHARD,
			"tls: key_file = \"%s\": everybody may read or write it; chmod 600",
			rli_log_escape(shown, sizeof(shown), file, strlen(file)));
	}
}

static int
context_load_own(SSL_CTX *ssl_ctx, const char *cert_file, const char *key_file,
		 const struct log *log)
{
	const X509 *cert;

	if (SSL_CTX_use_certificate_chain_file(ssl_ctx, cert_file) != 1) {
		return context_refuse_file(log, "cert_file", cert_file);
	}
	cert = SSL_CTX_get0_certificate(ssl_ctx);
	/* SSL_CTX_check_private_key() would say of a key of another kind: no certificate */
	if (SSL_CTX_use_PrivateKey_file(ssl_ctx, key_file, SSL_FILETYPE_PEM) != 1 ||
	    X509_check_private_key(cert, SSL_CTX_get0_privatekey(ssl_ctx)) != 1) {
		return context_refuse_file(log, "key_file", key_file);
	}
	context_check_key_file(key_file, log);
	return context_check_dates(ssl_ctx, cert_file, log);
}

static int
context_load_trust(SSL_CTX *ssl_ctx, enum tls_role role, const char *file, const struct log *log)
{
	STACK_OF(X509_NAME) * names;

	if (file == NULL) {
		if (role == TLS_CLIENT && SSL_CTX_set_default_verify_paths(ssl_ctx) != 1) {
			return context_refuse_file(log, "ca_file", "(the system's)");
		}
		return 0;
	}
	if (SSL_CTX_load_verify_file(ssl_ctx, file) != 1) {
		return context_refuse_file(log, "ca_file", file);
	}
	if (role == TLS_SERVER) {
		names = SSL_load_client_CA_file(file);
		if (names == NULL) {
			return context_refuse_file(log, "ca_file", file);
		}
		SSL_CTX_set_client_CA_list(ssl_ctx, names);
	}
	return 0;
}

/* "h2,http/1.1" as the wire has it. */
static int
context_parse_alpn(struct tls_context *context, const char *text, const struct log *log)
{
	const char *at = text;
	size_t used = 0;

	for (;;) {
		size_t len = strcspn(at, ",");

		if (len == 0 || used + 1 + len > TLS_ALPN_MAX) {
			return context_refuse(log, "alpn", text,
					      len == 0 ? "a protocol without a name"
						       : "longer than 255 bytes");
		}
		context->alpn[used] = (uint8_t)len;
		memcpy(context->alpn + used + 1, at, len);
		used += 1 + len;
		if (at[len] == '\0') {
			context->alpn_len = (uint8_t)used;
			return 0;
		}
		at += len + 1;
	}
}

/* Ours are in order of preference; a client that has only others is told so. */
static int
context_choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		    const unsigned char *in, unsigned int in_len, void *arg)
{
	const struct tls_context *context = arg;
	unsigned char *chosen;

	(void)ssl;
	if (SSL_select_next_proto(&chosen, out_len, context->alpn, context->alpn_len, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED) {
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* False: OpenSSL's own configuration forbids something that we want. */
static bool
context_allow(SSL_CTX *ssl_ctx)
{
	SSL_CTX_set_security_level(ssl_ctx, CONTEXT_LEVEL);
	(void)SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
						   SSL_OP_CIPHER_SERVER_PREFERENCE |
						   SSL_OP_PRIORITIZE_CHACHA |
						   SSL_OP_CLEANSE_PLAINTEXT);
	/* a write is done or fails: there is room for its records, which may be several */
	(void)SSL_CTX_set_mode(ssl_ctx,
			       SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* tickets carry sessions, those of 1.2 as well: who takes none has none to resume */
	(void)SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify_depth(ssl_ctx, CONTEXT_DEPTH);
	SSL_CTX_set_default_passwd_cb(ssl_ctx, context_no_passphrase);
	return SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_2_VERSION) == 1 &&
	       SSL_CTX_set_cipher_list(ssl_ctx, CONTEXT_CIPHERS) == 1 &&
	       SSL_CTX_set1_groups_list(ssl_ctx, CONTEXT_GROUPS) == 1;
}

static int
context_check_certs(enum tls_role role, const struct rl_tls_options *options, const struct log *log)
{
	if (role == TLS_CLIENT && (options->certs_count > 0 || options->refuse_unknown_names)) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"tls: certs and refuse_unknown_names are for listeners");
		return -EINVAL;
	}
	if (options->certs_count > RL_TLS_CERTS_MAX ||
	    (options->certs_count > 0 && options->certs == NULL)) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"tls: certs_count = %u: must be the number of certs, 0 to %u",
			options->certs_count, (unsigned)RL_TLS_CERTS_MAX);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < options->certs_count; i++) {
		if (options->certs[i].cert_file == NULL || options->certs[i].key_file == NULL) {
			rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
				"tls: certs[%u]: needs cert_file and key_file", i);
			return -EINVAL;
		}
	}
	return 0;
}

static int
context_check(enum tls_role role, const struct rl_tls_options *options, const struct log *log)
{
	if (options->struct_size != sizeof(*options)) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"tls: struct_size = %zu: must be %zu; use RL_TLS_OPTIONS",
			options->struct_size, sizeof(*options));
		return -EINVAL;
	}
	if ((options->cert_file == NULL) != (options->key_file == NULL)) {
		return options->cert_file != NULL
			       ? context_refuse(log, "cert_file", options->cert_file,
						"has no key_file")
			       : context_refuse(log, "key_file", options->key_file,
						"has no cert_file");
	}
	if (role == TLS_SERVER && options->cert_file == NULL) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"tls: a listener needs cert_file and key_file");
		return -EINVAL;
	}
	if (role == TLS_SERVER && options->server_name != NULL) {
		return context_refuse(log, "server_name", options->server_name,
				      "is for connections that are opened");
	}
	if (options->server_name != NULL &&
	    (options->server_name[0] == '\0' || strlen(options->server_name) > 255)) {
		return context_refuse(log, "server_name", options->server_name,
				      "must have 1 to 255 bytes");
	}
	return context_check_certs(role, options, log);
}

/* One of several: loaded into a context of its own, so that it is checked as the first is. */
static int
context_add_cert(struct tls_context *context, const struct rl_tls_cert *cert, const struct log *log)
{
	SSL_CTX *ssl_ctx = SSL_CTX_new(TLS_server_method());
	int rc = -ENOMEM;

	if (ssl_ctx != NULL && context_allow(ssl_ctx)) {
		rc = context_load_own(ssl_ctx, cert->cert_file, cert->key_file, log);
		rc = rc == 0 ? rli_tls_sni_add(&context->sni, ssl_ctx) : rc;
	}
	SSL_CTX_free(ssl_ctx);
	return rc == -ENOENT ? context_refuse(log, "cert_file", cert->cert_file,
					      "it has no DNS name, so nobody would ever get it")
			     : rc;
}

static int
context_fill_server(struct tls_context *context, const struct rl_tls_options *options,
		    const struct log *log)
{
	SSL_CTX *ssl_ctx = context->ssl_ctx;
	int rc = rli_tls_sni_default(&context->sni, ssl_ctx);

	for (uint32_t i = 0; i < options->certs_count && rc == 0; i++) {
		rc = context_add_cert(context, &options->certs[i], log);
	}
	if (rc != 0) {
		return rc;
	}
	context->sni.refuses = options->refuse_unknown_names;
	if (options->ca_file != NULL) {
		SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
				   NULL);
	}
	(void)SSL_CTX_set_max_cert_list(ssl_ctx, CONTEXT_CHAIN);
	if (context->alpn_len > 0) {
		SSL_CTX_set_alpn_select_cb(ssl_ctx, context_choose_alpn, context);
	}
	return rli_tls_sni_use(&context->sni, ssl_ctx, options->alpn);
}

static int
context_fill_client(struct tls_context *context)
{
	SSL_CTX *ssl_ctx = context->ssl_ctx;

	SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, NULL);
	rli_tls_session_keeps(ssl_ctx);
	return context->alpn_len == 0 || SSL_CTX_set_alpn_protos(ssl_ctx, context->alpn,
								 context->alpn_len) == 0
		       ? 0
		       : -ENOMEM;
}

static int
context_fill(struct tls_context *context, enum tls_role role, const struct rl_tls_options *options,
	     const struct log *log)
{
	SSL_CTX *ssl_ctx = context->ssl_ctx;
	int rc = 0;

	if (!context_allow(ssl_ctx)) {
		return context_refuse_file(log, "ciphers", CONTEXT_CIPHERS);
	}
	if (options->cert_file != NULL) {
		rc = context_load_own(ssl_ctx, options->cert_file, options->key_file, log);
	}
	if (rc == 0) {
		rc = context_load_trust(ssl_ctx, role, options->ca_file, log);
	}
	if (rc == 0 && options->alpn != NULL) {
		rc = context_parse_alpn(context, options->alpn, log);
	}
	if (rc != 0) {
		return rc;
	}
	return role == TLS_SERVER ? context_fill_server(context, options, log)
				  : context_fill_client(context);
}

int
rli_tls_context_create(struct tls_context **out, enum tls_role role,
		       const struct rl_tls_options *options, const struct log *log)
{
	static const struct rl_tls_options as_configured = RL_TLS_OPTIONS(.alpn = NULL);
	struct tls_context *context;
	int rc;

	*out = NULL;
	options = options != NULL ? options : &as_configured;
	rc = context_check(role, options, log);
	if (rc != 0) {
		return rc;
	}
	(void)pthread_once(&context_once, context_index_init); /* it can't fail */
	rli_tls_error_clear();
	context = OPENSSL_zalloc(sizeof(*context));
	if (context == NULL) {
		return -ENOMEM;
	}
	atomic_init(&context->users, 1);
	context->server = role == TLS_SERVER;
	context->ssl_ctx =
		SSL_CTX_new(role == TLS_SERVER ? TLS_server_method() : TLS_client_method());
	if (context->ssl_ctx == NULL ||
	    SSL_CTX_set_ex_data(context->ssl_ctx, context_index, context) != 1) {
		SSL_CTX_free(context->ssl_ctx);
		OPENSSL_free(context);
		rli_tls_error_clear();
		return -ENOMEM;
	}
	rc = context_fill(context, role, options, log);
	if (rc != 0) {
		rli_tls_context_destroy(context);
		return rc;
	}
	*out = context;
	return 0;
}

void
rli_tls_context_resume(struct tls_context *context, struct tls_tickets *tickets)
{
	RL_ASSERT(context->server);
	rli_tls_tickets_use(tickets, context->ssl_ctx);
}

void
rli_tls_context_join(struct ssl_ctx_st *ssl_ctx)
{
	struct tls_context *context = SSL_CTX_get_ex_data(ssl_ctx, context_index);

	(void)atomic_fetch_add_explicit(&context->users, 1, memory_order_relaxed);
}

void
rli_tls_context_leave(struct ssl_ctx_st *ssl_ctx)
{
	struct tls_context *context = SSL_CTX_get_ex_data(ssl_ctx, context_index);

	/* pairs with: context_free() */
	(void)atomic_fetch_sub_explicit(&context->users, 1, memory_order_release);
}

void
rli_tls_context_destroy(struct tls_context *context)
{
	if (context != NULL) {
		SSL_CTX *ssl_ctx = context->ssl_ctx;

		rli_tls_context_leave(ssl_ctx);
		SSL_CTX_free(ssl_ctx); /* the last session frees both */
	}
	rli_tls_error_clear();
}
