/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a handshake came to, in words that outlive OpenSSL's.
 */
#include "tls/tls_info.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tls/tls_error.h"

/* An RFC 2253 subject escapes what could be taken for another part of it. */
static bool
info_subject(const X509 *cert, char out[RL_TLS_TEXT_MAX])
{
	BIO *bio = BIO_new(BIO_s_mem());
	int len = -1;

	if (bio != NULL &&
	    X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0 &&
	    BIO_pending(bio) < RL_TLS_TEXT_MAX) {
		len = BIO_pending(bio) == 0 ? 0 : BIO_read(bio, out, RL_TLS_TEXT_MAX - 1);
	}
	BIO_free(bio);
	if (len < 0) {
		return false;
	}
	out[len] = '\0';
	return true;
}

static bool
info_peer(const X509 *cert, struct rl_tls_info *info)
{
	unsigned int len = sizeof(info->peer_sha256);

	return info_subject(cert, info->peer_subject) &&
	       X509_digest(cert, EVP_sha256(), info->peer_sha256, &len) == 1;
}

bool
rli_tls_info(struct tls_session *session, struct rl_tls_info *info)
{
	const X509 *cert = SSL_get0_peer_certificate(session->ssl);
	const char *name = SSL_get_servername(session->ssl, TLSEXT_NAMETYPE_host_name);
	const unsigned char *alpn;
	unsigned int alpn_len;

	memset(info, 0, sizeof(*info));
	info->version = SSL_get_version(session->ssl);
	info->cipher = SSL_get_cipher_name(session->ssl);
	info->resumed = rli_tls_session_resumed(session);
	SSL_get0_alpn_selected(session->ssl, &alpn, &alpn_len);
	memcpy(info->alpn, alpn != NULL ? (const char *)alpn : "", alpn_len);
	if (name != NULL && strlen(name) < sizeof(info->server_name)) {
		memcpy(info->server_name, name, strlen(name));
	}
	if (cert != NULL && !info_peer(cert, info)) {
		session->error =
			rli_tls_error_errno(session->ssl) == -ENOMEM ? -ENOMEM : -EKEYREJECTED;
		return false;
	}
	return true;
}
