/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * OpenSSL between two memory BIOs; a socket is written in pieces of any size.
 */
#include "tls_peer.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <openssl/err.h>

struct tls_certs certs;
struct rl_tls_options server_tls = RL_TLS_OPTIONS(.alpn = NULL);
struct rl_tls_options client_tls = RL_TLS_OPTIONS(.alpn = NULL);

int
tls_rig_main(const char *group, const struct CMUnitTest *tests, size_t count)
{
	int rc;

	tls_certs_make(&certs);
	server_tls.cert_file = certs.file[CERTS_SERVER];
	server_tls.key_file = certs.file[CERTS_SERVER_KEY];
	client_tls.ca_file = certs.file[CERTS_CA];
	rc = rig_main(group, tests, count);
	tls_certs_remove(&certs);
	return rc;
}

void
tls_listen(struct rig *rig, const struct rl_actor_def *def)
{
	const struct rl_listener_options options = {
		.arg = &rig->probes[0],
		.conn = { .tls = &server_tls },
	};

	(void)rig_listen_with(rig, "tls://127.0.0.1:0", def, &options);
	assert_memory_equal(rig->url, "tls://127.0.0.1:", 16);
}

int
raw_dial(const struct rig *rig)
{
	char url[RL_URL_MAX];

	(void)snprintf(url, sizeof(url), "tcp%s", rig->url + 3);
	return client_dial(url);
}

void
tls_peer_init(struct tls_peer *peer, int fd, const struct tls_peer_setup *setup)
{
	*peer = (struct tls_peer){ .fd = fd, .seed = setup->seed };
	peer->ctx = SSL_CTX_new(TLS_method());
	assert_non_null(peer->ctx);
	if (setup->version != 0) {
		(void)SSL_CTX_set_min_proto_version(peer->ctx, setup->version);
		(void)SSL_CTX_set_max_proto_version(peer->ctx, setup->version);
	}
	if (setup->ca != NULL) {
		assert_int_equal(SSL_CTX_load_verify_file(peer->ctx, setup->ca), 1);
		SSL_CTX_set_verify(peer->ctx, SSL_VERIFY_PEER, NULL);
	}
	if (setup->cert != NULL) {
		assert_int_equal(SSL_CTX_use_certificate_chain_file(peer->ctx, setup->cert), 1);
		assert_int_equal(
			SSL_CTX_use_PrivateKey_file(peer->ctx, setup->key, SSL_FILETYPE_PEM), 1);
	}
	if (setup->alpn != NULL) {
		assert_int_equal(SSL_CTX_set_alpn_protos(peer->ctx, (const uint8_t *)setup->alpn,
							 (unsigned)strlen(setup->alpn)),
				 0);
	}
	peer->ssl = SSL_new(peer->ctx);
	assert_non_null(peer->ssl);
	SSL_set_bio(peer->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	if (setup->server) {
		SSL_set_accept_state(peer->ssl);
	} else {
		SSL_set_connect_state(peer->ssl);
	}
	if (setup->name != NULL) {
		assert_int_equal(SSL_set_tlsext_host_name(peer->ssl, setup->name), 1);
	}
}

size_t
tls_peer_waiting(const struct tls_peer *peer)
{
	return (size_t)BIO_pending(SSL_get_wbio(peer->ssl));
}

static void
peer_push(struct tls_peer *peer)
{
	BIO *bio = SSL_get_wbio(peer->ssl);
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	while (len > 0) {
		size_t piece = (size_t)len;
		ssize_t sent;

		if (peer->seed != 0) {
			size_t most = client_random(&peer->seed) % 3 == 0 ? 9 : 30000;
			size_t cut = client_random(&peer->seed) % most + 1;

			piece = cut < piece ? cut : piece;
		}
		sent = send(peer->fd, data, piece, MSG_NOSIGNAL);
		if (sent <= 0) {
			return; /* full, or the other end has gone */
		}
		(void)BIO_read(bio, data, (int)sent); /* onto itself: only to advance */
		len = BIO_get_mem_data(bio, &data);
	}
}

static void
peer_pull(struct tls_peer *peer)
{
	static uint8_t block[65536];
	ssize_t got;

	while (BIO_pending(SSL_get_rbio(peer->ssl)) < (int)sizeof(block) &&
	       (got = recv(peer->fd, block, sizeof(block), 0)) >= 0) {
		if (got == 0) {
			peer->fin = true;
			return;
		}
		assert_int_equal(BIO_write(SSL_get_rbio(peer->ssl), block, (int)got), got);
	}
	if (errno != EAGAIN) {
		peer->fin = true;
	}
}

void
tls_peer_pump(struct tls_peer *peer)
{
	peer_push(peer);
	if (!peer->fin) {
		errno = EAGAIN;
		peer_pull(peer);
	}
}

static void
peer_wait(struct tls_peer *peer)
{
	struct pollfd poller = {
		.fd = peer->fd,
		.events = (short)(tls_peer_waiting(peer) > 0 ? POLLIN | POLLOUT : POLLIN),
	};

	assert_int_equal(poll(&poller, 1, RIG_PATIENCE_MS), 1);
}

int
tls_peer_handshake(struct tls_peer *peer)
{
	for (;;) {
		int answer = SSL_do_handshake(peer->ssl);
		int why = SSL_get_error(peer->ssl, answer);

		tls_peer_pump(peer);
		if (answer == 1) {
			while (tls_peer_waiting(peer) > 0) {
				peer_wait(peer);
				peer_push(peer);
			}
			return 0;
		}
		if (why != SSL_ERROR_WANT_READ ||
		    (peer->fin && BIO_pending(SSL_get_rbio(peer->ssl)) == 0)) {
			ERR_clear_error();
			return -EPROTO;
		}
		if (BIO_pending(SSL_get_rbio(peer->ssl)) == 0) {
			peer_wait(peer);
		}
	}
}

void
tls_peer_dial(struct tls_peer *peer, const char *url, const struct tls_peer_setup *setup)
{
	char plain[RL_URL_MAX];

	assert_memory_equal(url, "tls", 3);
	(void)snprintf(plain, sizeof(plain), "tcp%s", url + 3);
	tls_peer_init(peer, client_dial(plain), setup);
	assert_int_equal(tls_peer_handshake(peer), 0);
}

void
tls_peer_send(struct tls_peer *peer, const void *data, size_t len)
{
	assert_int_equal(SSL_write(peer->ssl, data, (int)len), (int)len);
	peer_push(peer);
	while (tls_peer_waiting(peer) > 0) {
		peer_wait(peer);
		tls_peer_pump(peer);
	}
}

ssize_t
tls_peer_recv(struct tls_peer *peer, void *data, size_t len)
{
	for (;;) {
		size_t got;
		int answer = SSL_read_ex(peer->ssl, data, len, &got);
		int why = SSL_get_error(peer->ssl, answer);

		if (answer == 1) {
			return (ssize_t)got;
		}
		if (why == SSL_ERROR_ZERO_RETURN) {
			return 0;
		}
		if (why != SSL_ERROR_WANT_READ) {
			ERR_clear_error();
			return -EPROTO;
		}
		if (peer->fin) {
			return -EPIPE;
		}
		peer_wait(peer);
		tls_peer_pump(peer);
	}
}

void
tls_peer_recv_text(struct tls_peer *peer, const char *text)
{
	size_t len = strlen(text);
	char buf[256];
	size_t have = 0;

	assert_true(len <= sizeof(buf));
	while (have < len) {
		ssize_t got = tls_peer_recv(peer, buf + have, len - have);

		assert_true(got > 0);
		have += (size_t)got;
	}
	assert_memory_equal(buf, text, len);
}

void
tls_peer_end(struct tls_peer *peer)
{
	assert_true(SSL_shutdown(peer->ssl) >= 0);
	while (tls_peer_waiting(peer) > 0) {
		peer_push(peer);
	}
}

void
tls_peer_close(struct tls_peer *peer)
{
	SSL_free(peer->ssl);
	SSL_CTX_free(peer->ctx);
	ERR_clear_error();
	client_close(peer->fd);
}

void
tls_peer_leave(struct tls_peer *peer)
{
	char byte;

	tls_peer_end(peer);
	assert_int_equal(tls_peer_recv(peer, &byte, 1), 0);
	tls_peer_close(peer);
}
