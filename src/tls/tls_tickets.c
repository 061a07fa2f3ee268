/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Ticket keys. Invariant: a key is in one place, here; a handshake has a copy on its stack, which
 * it wipes. What has been retired can't be found in memory, so it opens no recording.
 */
#include "tls/tls_tickets.h"

#include <errno.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/assert.h"
#include "base/host.h"
#include "tls/tls_error.h"

#define TICKET_IV_BYTES 16

void
rli_tls_tickets_init(struct tls_tickets *tickets, int64_t rotation_ns)
{
	*tickets = (struct tls_tickets){
		.interval_ns = rotation_ns > 0 ? (uint64_t)rotation_ns : 0,
		.due_ns = UINT64_MAX,
		.proof_max_ns = TLS_PROOF_MAX_NS,
	};
	(void)pthread_mutex_init(&tickets->lock, NULL); /* never fails on Linux */
}

void
rli_tls_tickets_fini(struct tls_tickets *tickets)
{
	OPENSSL_cleanse(tickets->keys, sizeof(tickets->keys));
	tickets->count = 0;
	(void)pthread_mutex_destroy(&tickets->lock); /* nobody is inside any more */
}

/* With the lock held. */
static int
tickets_rotate(struct tls_tickets *tickets, uint64_t now_ns)
{
	struct ticket_key key;

	if (RAND_bytes(key.name, sizeof(key.name)) != 1 ||
	    RAND_priv_bytes(key.cipher, sizeof(key.cipher)) != 1 ||
	    RAND_priv_bytes(key.mac, sizeof(key.mac)) != 1) {
		rli_tls_error_clear();
		OPENSSL_cleanse(&key, sizeof(key));
		return -EIO;
	}
	tickets->keys[1] = tickets->keys[0]; /* over the oldest */
	tickets->keys[0] = key;
	OPENSSL_cleanse(&key, sizeof(key));
	tickets->count += tickets->count < TICKET_KEYS ? 1 : 0;
	tickets->due_ns = tickets->interval_ns != 0 ? now_ns + tickets->interval_ns : UINT64_MAX;
	return 0;
}

int
rli_tls_tickets_rotate(struct tls_tickets *tickets, uint64_t now_ns)
{
	int rc;

	pthread_mutex_lock(&tickets->lock);
	rc = tickets_rotate(tickets, now_ns);
	pthread_mutex_unlock(&tickets->lock);
	return rc;
}

int
rli_tls_tickets_ready(struct tls_tickets *tickets, uint64_t now_ns)
{
	int rc = 0;

	pthread_mutex_lock(&tickets->lock);
	if (tickets->count == 0) {
		rc = tickets_rotate(tickets, now_ns);
	}
	pthread_mutex_unlock(&tickets->lock);
	return rc;
}

uint64_t
rli_tls_tickets_look(struct tls_tickets *tickets, uint64_t now_ns)
{
	uint64_t due_ns;

	pthread_mutex_lock(&tickets->lock);
	if (now_ns >= tickets->due_ns && tickets_rotate(tickets, now_ns) != 0) {
		tickets->due_ns = now_ns + tickets->interval_ns / 8; /* the old ones do so long */
	}
	due_ns = tickets->due_ns;
	pthread_mutex_unlock(&tickets->lock);
	return due_ns;
}

void
rli_tls_tickets_newest(struct tls_tickets *tickets, struct ticket_key *key)
{
	pthread_mutex_lock(&tickets->lock);
	RL_ASSERT(tickets->count > 0);
	*key = tickets->keys[0];
	pthread_mutex_unlock(&tickets->lock);
}

enum ticket_match
rli_tls_tickets_find(struct tls_tickets *tickets, const uint8_t name[TICKET_NAME_BYTES],
		     struct ticket_key *key)
{
	enum ticket_match match = TICKET_UNKNOWN;

	pthread_mutex_lock(&tickets->lock);
	for (uint32_t i = 0; i < tickets->count && match == TICKET_UNKNOWN; i++) {
		if (memcmp(tickets->keys[i].name, name, TICKET_NAME_BYTES) == 0) {
			*key = tickets->keys[i];
			match = i == 0 ? TICKET_NEWEST : TICKET_OLDER;
		}
	}
	pthread_mutex_unlock(&tickets->lock);
	return match;
}

static bool
ticket_mac_init(EVP_MAC_CTX *mac, struct ticket_key *key)
{
	char digest[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/*
 * OpenSSL asks for a key, to seal or to open: 0: no such key, a full handshake follows; 1: here it
 * is; 2: and the client shall have a fresh ticket; -1: out of order.
 */
static int
ticket_key_answer(SSL *ssl, unsigned char name[TICKET_NAME_BYTES], unsigned char *iv,
		  EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seals)
{
	struct tls_tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	enum ticket_match match = TICKET_NEWEST;
	struct ticket_key key;
	bool done;

	if (seals) {
		rli_tls_tickets_newest(tickets, &key);
		memcpy(name, key.name, sizeof(key.name));
		done = RAND_bytes(iv, TICKET_IV_BYTES) == 1 &&
		       EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) == 1;
	} else {
		match = rli_tls_tickets_find(tickets, name, &key);
		if (match == TICKET_UNKNOWN) {
			return 0;
		}
		done = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) == 1;
	}
	done = done && ticket_mac_init(mac, &key);
	OPENSSL_cleanse(&key, sizeof(key));
	if (!done) {
		return -1;
	}
	/* a client of 1.3 uses each of its tickets once */
	return !seals && (match == TICKET_OLDER || SSL_version(ssl) == TLS1_3_VERSION) ? 2 : 1;
}

/*
 * Before a ticket is sealed: it says when certificates were looked at, which was in this handshake
 * or in the one that this session comes from. Else a client that resumes again and again would
 * never have to show its certificate any more.
 */
static int
ticket_note(SSL *ssl, void *arg)
{
	SSL_SESSION *session = SSL_get0_session(ssl);
	uint64_t now_ns = rli_host_now_ns();

	(void)arg;
	if (SSL_session_reused(ssl) == 1) {
		return 1; /* it has it from the ticket */
	}
	return SSL_SESSION_set1_ticket_appdata(session, &now_ns, sizeof(now_ns));
}

/* What certificates proved then counts now. */
static bool
ticket_proves(const struct tls_tickets *tickets, SSL_SESSION *session)
{
	const X509 *cert = SSL_SESSION_get0_peer(session);
	uint64_t proved_ns;
	void *noted;
	size_t len;

	if (SSL_SESSION_get0_ticket_appdata(session, &noted, &len) != 1 ||
	    len != sizeof(proved_ns)) {
		return false;
	}
	memcpy(&proved_ns, noted, sizeof(proved_ns));
	return rli_host_now_ns() - proved_ns < tickets->proof_max_ns &&
	       (cert == NULL || X509_cmp_current_time(X509_get0_notAfter(cert)) > 0);
}

/* After a ticket was opened, or was not. */
static SSL_TICKET_RETURN
ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_len,
	      SSL_TICKET_STATUS status, void *arg)
{
	(void)ssl;
	(void)name;
	(void)name_len;
	if ((status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) ||
	    !ticket_proves(arg, session)) {
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	}
	return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

void
rli_tls_tickets_use(struct tls_tickets *tickets, struct ssl_ctx_st *ssl_ctx)
{
	uint64_t life_s = TICKET_LIFE_MAX_S;

	if (tickets->interval_ns != 0 && tickets->interval_ns / 1000000000 < life_s) {
		life_s = tickets->interval_ns / 1000000000;
	}
	(void)SSL_CTX_set_timeout(ssl_ctx, life_s > 0 ? (long)life_s : 1);
	(void)SSL_CTX_set_app_data(ssl_ctx, tickets);
	(void)SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl_ctx, ticket_key_answer);
	(void)SSL_CTX_set_session_ticket_cb(ssl_ctx, ticket_note, ticket_opened, tickets);
}
