/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tls_bios PORT CERT KEY - the least that a TLS server keeps for a connection that sees no socket:
 * OpenSSL's session, its two memory BIOs, and a descriptor. It echoes. What an idle connection of
 * ringline's is compared with; it is not meant to be fast.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/program_tls.h"
#include "reference/tls_server.h"

#define BIOS_BLOCK 16384

struct peer {
	SSL *ssl;
	int fd;
	bool blocked; /* what is in the BIO waits for the socket */
};

/* Both are for the moment of one call: peers share them. */
static char bios_cipher[BIOS_BLOCK];
static char bios_plain[BIOS_BLOCK];

static void
peer_end(struct peer *peer)
{
	ERR_clear_error();
	SSL_free(peer->ssl);
	(void)close(peer->fd);
	free(peer);
}

/* False: the socket has failed. */
static bool
peer_send(int epoll, struct peer *peer)
{
	BIO *bio = SSL_get_wbio(peer->ssl);
	bool blocked = false;
	char *data;
	long len;

	while (!blocked && (len = BIO_get_mem_data(bio, &data)) > 0) {
		ssize_t sent = send(peer->fd, data, (size_t)len, MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN) {
			return false;
		}
		blocked = sent < len;
		for (ssize_t left = sent; left > 0;) { /* what was sent is taken out */
			left -= BIO_read(bio, bios_cipher,
					 left < BIOS_BLOCK ? (int)left : BIOS_BLOCK);
		}
	}
	if (blocked != peer->blocked) {
		peer->blocked = blocked;
		tls_server_watch(epoll, peer->fd, blocked ? EPOLLOUT : EPOLLIN, peer, true);
	}
	return true;
}

/* False: the stream has ended, one way or another; an alert may wait to be sent. */
static bool
peer_echo(struct peer *peer)
{
	int answer;

	while ((answer = SSL_read(peer->ssl, bios_plain, BIOS_BLOCK)) > 0) {
		if (SSL_write(peer->ssl, bios_plain, answer) != answer) {
			return false; /* a memory BIO takes everything */
		}
	}
	switch (SSL_get_error(peer->ssl, answer)) {
	case SSL_ERROR_WANT_READ:
		return true;
	case SSL_ERROR_ZERO_RETURN:
		(void)SSL_shutdown(peer->ssl);
		return false;
	default:
		return false;
	}
}

static void
peer_serve(int epoll, void *ready)
{
	struct peer *peer = ready;
	bool lives = peer_send(epoll, peer);
	ssize_t got = 0;

	while (lives && !peer->blocked) {
		got = recv(peer->fd, bios_cipher, BIOS_BLOCK, 0);
		if (got <= 0) {
			lives = got < 0 && errno == EAGAIN;
			break;
		}
		lives = BIO_write(SSL_get_rbio(peer->ssl), bios_cipher, (int)got) == got &&
			peer_echo(peer);
		lives = peer_send(epoll, peer) && lives;
	}
	if (!lives) {
		peer_end(peer);
	}
}

static void *
peer_accepted(int fd, SSL *ssl)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	BIO *in = BIO_new(BIO_s_mem());
	BIO *out = BIO_new(BIO_s_mem());

	program_tls_must(peer != NULL && in != NULL && out != NULL, "make a peer");
	peer->fd = fd;
	peer->ssl = ssl;
	SSL_set_bio(ssl, in, out);
	return peer;
}

int
main(int argc, char **argv)
{
	static const struct tls_server server = {
		.name = "tls_bios",
		.accepted = peer_accepted,
		.ready = peer_serve,
	};

	return tls_server_main(&server, argc, argv);
}
