/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: what OpenSSL says becomes an errno or a text, and its queue is empty afterwards.
 * How: errors raised by hand.
 * Not: which of them OpenSSL raises when (test_tls_session.c).
 */
#include "unit.h"

#include <errno.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>
#include <openssl/x509_vfy.h>

#include "tls/tls_error.h"

static SSL_CTX *ssl_ctx;
static SSL *ssl;

static int
error_setup(void **state)
{
	(void)state;
	ssl_ctx = SSL_CTX_new(TLS_method());
	ssl = SSL_new(ssl_ctx);
	return ssl == NULL;
}

static int
error_teardown(void **state)
{
	(void)state;
	SSL_free(ssl);
	SSL_CTX_free(ssl_ctx);
	return 0;
}

static void
error_becomes_an_errno_and_the_queue_is_empty(void **state)
{
	static const struct {
		int lib;
		int reason;
		int error;
	} rows[] = {
		{ ERR_LIB_SSL, SSL_R_WRONG_VERSION_NUMBER, -EPROTO },
		{ ERR_LIB_SSL, SSL_R_UNSUPPORTED_PROTOCOL, -EPROTONOSUPPORT },
		{ ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER, -EPROTONOSUPPORT },
		{ ERR_LIB_SSL, SSL_R_NO_APPLICATION_PROTOCOL, -EPROTONOSUPPORT },
		{ ERR_LIB_SSL, SSL_R_TLSV1_ALERT_UNKNOWN_CA, -ECONNABORTED },
		{ ERR_LIB_SSL, SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, -ECONNABORTED },
		{ ERR_LIB_SSL, SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, -EKEYREJECTED },
		{ ERR_LIB_SSL, ERR_R_MALLOC_FAILURE, -ENOMEM },
		{ ERR_LIB_SSL, SSL_R_CALLBACK_FAILED, -EIO },
		{ ERR_LIB_USER, TLS_ERROR_NAME, -EADDRNOTAVAIL },
		{ ERR_LIB_RSA, 103, -EPROTO },
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
		ERR_raise(rows[i].lib, rows[i].reason);
		ERR_raise(ERR_LIB_SSL, ERR_R_INTERNAL_ERROR); /* what follows from it counts less */
		assert_int_equal(rli_tls_error_errno(ssl), rows[i].error);
		assert_int_equal(ERR_peek_error(), 0);
	}
}

static void
error_of_a_certificate_says_which(void **state)
{
	static const struct {
		long result;
		int error;
	} rows[] = {
		{ X509_V_ERR_CERT_HAS_EXPIRED, -EKEYEXPIRED },
		{ X509_V_ERR_CERT_NOT_YET_VALID, -EKEYEXPIRED },
		{ X509_V_ERR_CERT_REVOKED, -EKEYREVOKED },
		{ X509_V_ERR_HOSTNAME_MISMATCH, -EKEYREJECTED },
		{ X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, -EKEYREJECTED },
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
		SSL_set_verify_result(ssl, rows[i].result);
		ERR_raise(ERR_LIB_SSL, SSL_R_CERTIFICATE_VERIFY_FAILED);
		assert_int_equal(rli_tls_error_errno(ssl), rows[i].error);
	}
}

static void
error_text_is_the_first_cause(void **state)
{
	char text[TLS_ERROR_TEXT_MAX];

	(void)state;
	ERR_raise(ERR_LIB_SYS, ENOENT);
	ERR_raise(ERR_LIB_SSL, ERR_R_SYS_LIB);
	assert_string_equal(rli_tls_error_text(text), "No such file or directory");
	ERR_raise(ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER);
	assert_string_equal(rli_tls_error_text(text), "no shared cipher");
	assert_string_equal(rli_tls_error_text(text), "unknown reason");
	assert_int_equal(ERR_peek_error(), 0);
}

static void
error_queue_is_cleared_before_a_call(void **state)
{
	(void)state;
	ERR_raise(ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER);
	rli_tls_error_clear();
	assert_int_equal(ERR_peek_error(), 0);
	rli_tls_error_clear();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_becomes_an_errno_and_the_queue_is_empty),
		cmocka_unit_test(error_of_a_certificate_says_which),
		cmocka_unit_test(error_text_is_the_first_cause),
		cmocka_unit_test(error_queue_is_cleared_before_a_call),
	};

	return cmocka_run_group_tests(tests, error_setup, error_teardown);
}
