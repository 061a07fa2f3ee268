/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * OpenSSL's error queue: cleared before, translated after a call.
 */
#include "tls/tls_error.h"

#include <errno.h>
#include <stdio.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>
#include <openssl/x509_vfy.h>

#include "base/log.h"

void
rli_tls_error_clear(void)
{
	if (ERR_peek_error() != 0) { /* clearing costs more than looking */
		ERR_clear_error();
	}
}

const char *
rli_tls_error_text(char text[TLS_ERROR_TEXT_MAX])
{
	unsigned long error = ERR_peek_error();
	const char *reason = ERR_reason_error_string(error);

	if (error == 0) {
		(void)snprintf(text, TLS_ERROR_TEXT_MAX, "unknown reason");
	} else if (ERR_SYSTEM_ERROR(error)) {
		(void)snprintf(text, TLS_ERROR_TEXT_MAX, "%s",
			       rli_errno_text(-ERR_GET_REASON(error)));
	} else if (reason != NULL) {
		(void)snprintf(text, TLS_ERROR_TEXT_MAX, "%s", reason);
	} else {
		ERR_error_string_n(error, text, TLS_ERROR_TEXT_MAX);
	}
	ERR_clear_error();
	return text;
}

static int
error_of_certificate(const SSL *ssl)
{
	switch (SSL_get_verify_result(ssl)) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return -EKEYEXPIRED;
	case X509_V_ERR_CERT_REVOKED:
		return -EKEYREVOKED;
	default:
		return -EKEYREJECTED;
	}
}

int
rli_tls_error_errno(const struct ssl_st *ssl)
{
	unsigned long error = ERR_peek_error();
	int reason = ERR_GET_REASON(error);

	ERR_clear_error();
	if (reason == ERR_R_MALLOC_FAILURE) {
		return -ENOMEM;
	}
	if (ERR_GET_LIB(error) == ERR_LIB_USER && reason == TLS_ERROR_NAME) {
		return -EADDRNOTAVAIL;
	}
	if (ERR_GET_LIB(error) != ERR_LIB_SSL) {
		return -EPROTO;
	}
	if (reason >= SSL_AD_REASON_OFFSET) {
		return -ECONNABORTED; /* the alert's number is what exceeds the offset */
	}
	switch (reason) {
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return error_of_certificate(ssl);
	case SSL_R_CALLBACK_FAILED: /* of ours: it seals tickets, and binds sessions to names */
		return -EIO;
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return -EKEYREJECTED;
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_WRONG_SSL_VERSION:
	case SSL_R_NO_PROTOCOLS_AVAILABLE:
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_NO_SHARED_GROUPS:
	case SSL_R_NO_SUITABLE_KEY_SHARE:
	case SSL_R_NO_SUITABLE_GROUPS:
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
	case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
	case SSL_R_NO_APPLICATION_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
		return -EPROTONOSUPPORT;
	default:
		return -EPROTO;
	}
}
