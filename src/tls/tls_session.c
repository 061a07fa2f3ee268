/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * TLS sessions. Invariants: room for an application record is there before OpenSSL is asked to make
 * it, so its sequence number never advances for a record that has nowhere to go (pitfall 67); what
 * was fed is taken to the last byte before more is wanted (pitfall 45).
 */
#include "tls/tls_session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/assert.h"
#include "base/host.h"
#include "base/mutant.h"
#include "tls/tls_error.h"

static pthread_once_t session_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *session_method; /* for good: it belongs to the process */

static uint32_t
session_chunk_bytes(uint32_t need)
{
	/* a full record takes one of 16 KiB and a small one, not the next larger class */
	if (need >= CHUNK_BYTES_MAX) {
		return CHUNK_BYTES_MAX;
	}
	return need > TLS_PLAIN_MAX ? TLS_PLAIN_MAX : need;
}

/* Room for @need bytes of records. False: the pool has none. */
static bool
session_reserve(struct tls_session *session, uint32_t need)
{
	while (session->out_room < need) {
		struct chunk *chunk = rli_chunk_take(session->pool,
						     session_chunk_bytes(need - session->out_room));

		if (chunk == NULL) {
			return false;
		}
		if (session->out_last != NULL) {
			session->out_last->next = chunk;
		} else {
			session->out_first = chunk;
		}
		if (session->out_at == NULL) {
			session->out_at = chunk;
		}
		session->out_last = chunk;
		session->out_room += chunk->capacity;
	}
	return true;
}

static void
session_append(struct tls_session *session, const char *data, uint32_t len)
{
	session->out_bytes += len;
	session->out_room -= len;
	while (len > 0) {
		struct chunk *chunk = session->out_at;
		uint32_t room = chunk->capacity - chunk->end;
		uint32_t bytes = len < room ? len : room;

		memcpy(chunk->data + chunk->end, data, bytes);
		chunk->end += bytes;
		data += bytes;
		len -= bytes;
		if (bytes == room) {
			session->out_at = chunk->next;
		}
	}
}

static int
bio_write(BIO *bio, const char *data, size_t len, size_t *written)
{
	struct tls_session *session = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	*written = 0;
	if (session->shut && !RL_MUTANT(TLS_SPEAKS_ON)) {
		/* an answer to a key update, an alert: FIN may have left already */
		*written = len;
		return 1;
	}
	if (len > session->out_max || session->out_bytes > session->out_max - len) {
		session->error = -ENOBUFS;
		return 0;
	}
	if (!session_reserve(session, (uint32_t)len)) {
		session->error = -ENOMEM;
		return 0;
	}
	session_append(session, data, (uint32_t)len);
	*written = len;
	return 1;
}

/* Before OpenSSL sees it, which takes the announced memory first. False: that ends the session. */
static bool
session_looks(struct tls_session *session, size_t len)
{
	static const char decode_error[] = { 21, 3, 3, 0, 2, 2, 50 };
	BIO *bio = SSL_get_wbio(session->ssl);
	size_t written;

	if (session->hello.done && SSL_version(session->ssl) != TLS1_3_VERSION) {
		session->hello.over = true; /* there is no second one */
	}
	if (rli_tls_hello_look(&session->hello, session->in, len)) {
		return true;
	}
	(void)bio_write(bio, decode_error, sizeof(decode_error), &written);
	session->error = -EPROTO;
	return false;
}

static int
bio_read(BIO *bio, char *out, size_t len, size_t *got)
{
	struct tls_session *session = BIO_get_data(bio);
	size_t bytes = len < session->in_len ? len : session->in_len;

	BIO_clear_retry_flags(bio);
	/* a header; or the last few bytes of a record, which is as good */
	if (len <= SSL3_RT_HEADER_LENGTH) {
		bytes = session->in_records > 0 ? bytes : 0;
		session->in_records -= bytes > 0 ? 1 : 0;
	}
	*got = bytes;
	if (bytes == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	if (!session->ready && !session->hello.over && !session_looks(session, bytes)) {
		*got = 0;
		return 0;
	}
	memcpy(out, session->in, bytes);
	session->in += bytes;
	session->in_len -= bytes;
	return 1;
}

static long
bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH; /* nothing is held back, so that is done */
}

static void
session_method_init(void)
{
	BIO_METHOD *method =
		BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ringline chunks");

	if (method != NULL && BIO_meth_set_write_ex(method, bio_write) == 1 &&
	    BIO_meth_set_read_ex(method, bio_read) == 1 &&
	    BIO_meth_set_ctrl(method, bio_ctrl) == 1) {
		session_method = method;
	} else {
		BIO_meth_free(method);
	}
}

static bool
name_is_numeric(const char *name)
{
	struct in6_addr address;

	return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

static int
session_expect(SSL *ssl, const char *name)
{
	if (name_is_numeric(name)) {
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1 ? 0 : -EINVAL;
	}
	if (name[0] == '.') {
		return -EINVAL; /* OpenSSL would take any name that ends so */
	}
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
				       X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1 ? 0
											 : -EINVAL;
}

int
rli_tls_session_init(struct tls_session *session, const struct tls_context *context,
		     struct chunk_pool *pool, const char *server_name)
{
	BIO *bio;
	int rc = 0;

	*session = (struct tls_session){ .pool = pool,
					 .out_max = UINT32_MAX,
					 .in_records = UINT32_MAX };
	(void)pthread_once(&session_once, session_method_init); /* it can't fail */
	rli_tls_error_clear();
	session->ssl = SSL_new(context->ssl_ctx);
	if (session->ssl != NULL) {
		rli_tls_context_join(context->ssl_ctx);
	}
	bio = session_method != NULL ? BIO_new(session_method) : NULL;
	if (session->ssl == NULL || bio == NULL) {
		BIO_free(bio);
		rc = -ENOMEM;
	} else {
		BIO_set_data(bio, session);
		BIO_set_init(bio, 1);
		SSL_set_bio(session->ssl, bio, bio);
		if (context->server) {
			SSL_set_accept_state(session->ssl);
		} else {
			SSL_set_connect_state(session->ssl);
			session->hello.over = true;
			rc = session_expect(session->ssl, server_name);
		}
	}
	if (rc != 0) {
		rli_tls_session_fini(session);
	}
	return rc;
}

/* OpenSSL has a session to be resumed later: 1 takes it. */
static int
session_keep(SSL *ssl, SSL_SESSION *kept)
{
	const struct tls_session *session = SSL_get_app_data(ssl);
	uint64_t now_ns = rli_host_now_ns();

	if (session == NULL || SSL_get_verify_result(ssl) != X509_V_OK) {
		return 0;
	}
	return rli_tls_store_keep(session->place, kept,
				  SSL_session_reused(ssl) == 1 ? session->proved_ns : now_ns,
				  now_ns);
}

void
rli_tls_session_keeps(struct ssl_ctx_st *ssl_ctx)
{
	(void)SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_CLIENT |
							      SSL_SESS_CACHE_NO_INTERNAL_STORE);
	SSL_CTX_sess_set_new_cb(ssl_ctx, session_keep);
}

void
rli_tls_session_resume(struct tls_session *session)
{
	SSL_SESSION *kept =
		rli_tls_store_take(session->place, rli_host_now_ns(), &session->proved_ns);

	(void)SSL_set_app_data(session->ssl, session); /* without, nothing is kept */
	if (kept != NULL) {
		(void)SSL_set_session(session->ssl, kept); /* without, it is a full handshake */
		SSL_SESSION_free(kept);
		rli_tls_error_clear();
	}
}

bool
rli_tls_session_resumed(const struct tls_session *session)
{
	return SSL_session_reused(session->ssl) == 1;
}

void
rli_tls_session_fini(struct tls_session *session)
{
	rli_chunk_give_list(session->pool, session->out_first);
	session->out_first = NULL;
	if (session->ssl != NULL) {
		rli_tls_context_leave(SSL_get_SSL_CTX(session->ssl));
	}
	SSL_free(session->ssl);
	rli_tls_error_clear();
	*session = (struct tls_session){ .said = true };
}

/* A call answered that it did not do it: why. */
static enum tls_status
session_failed(struct tls_session *session, int answer)
{
	int why = SSL_get_error(session->ssl, answer);

	if (why == SSL_ERROR_WANT_READ) {
		session->halfway = session->ready && SSL_in_init(session->ssl) == 1;
		return TLS_WANTS;
	}
	if (why == SSL_ERROR_ZERO_RETURN) {
		session->ended = true;
		return TLS_ENDED;
	}
	session->said = true; /* a fatal alert was the last record, either way */
	if (session->error == 0) {
		session->error = rli_tls_error_errno(session->ssl);
	}
	rli_tls_error_clear();
	return TLS_FAILED;
}

enum tls_status
rli_tls_handshake(struct tls_session *session)
{
	int answer;

	rli_tls_error_clear();
	session->halfway = false;
	answer = SSL_do_handshake(session->ssl);
	if (answer != 1) {
		return session_failed(session, answer);
	}
	session->ready = true;
	return TLS_DONE;
}

enum tls_status
rli_tls_read(struct tls_session *session, uint8_t *out, size_t len, size_t *got)
{
	int answer;

	*got = 0;
	rli_tls_error_clear();
	session->halfway = false;
	answer = SSL_read_ex(session->ssl, out, len, got);
	session->readable = answer == 1 && SSL_pending(session->ssl) > 0;
	return answer == 1 ? TLS_DONE : session_failed(session, answer);
}

enum tls_status
rli_tls_write(struct tls_session *session, const uint8_t *data, size_t len)
{
	size_t written;
	int answer;

	RL_ASSERT(len > 0 && len <= TLS_PLAIN_MAX);
	if (session->halfway) {
		return TLS_WANTS; /* OpenSSL would not, either */
	}
	if (!session_reserve(session, (uint32_t)len + TLS_OVERHEAD_MAX)) {
		return TLS_NO_ROOM;
	}
	rli_tls_error_clear();
	answer = SSL_write_ex(session->ssl, data, len, &written);
	if (answer != 1) {
		return session_failed(session, answer);
	}
	RL_ASSERT(written == len);
	return TLS_DONE;
}

enum tls_status
rli_tls_end(struct tls_session *session)
{
	int answer;

	if (session->said || !session->ready) {
		return TLS_DONE;
	}
	if (session->halfway) {
		return TLS_WANTS; /* OpenSSL would fail */
	}
	if (!session_reserve(session, 2 + TLS_OVERHEAD_MAX)) {
		return TLS_NO_ROOM;
	}
	rli_tls_error_clear();
	session->said = true;
	answer = SSL_shutdown(session->ssl); /* 0: said, and the peer has not yet; 1: it has */
	session->shut = true;
	return answer >= 0 ? TLS_DONE : session_failed(session, answer);
}

/* Chunks that were reserved and not filled go home. */
static void
session_trim(struct tls_session *session)
{
	struct chunk **link = &session->out_first;

	session->out_last = NULL;
	while (*link != NULL && (*link)->end > 0) {
		session->out_last = *link;
		link = &(*link)->next;
	}
	rli_chunk_give_list(session->pool, *link);
	*link = NULL;
}

struct chunk *
rli_tls_records_take(struct tls_session *session, struct chunk **last)
{
	struct chunk *first;

	session_trim(session);
	first = session->out_first;
	*last = session->out_last;
	session->out_first = NULL;
	session->out_last = NULL;
	session->out_at = NULL;
	session->out_bytes = 0;
	session->out_room = 0;
	return first;
}

void
rli_tls_wipe(void *at, size_t len)
{
	explicit_bzero(at, len); /* OPENSSL_cleanse() takes four times as long for a record */
}
