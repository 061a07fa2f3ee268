/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tls_epoll PORT CERT KEY [--read-ahead] - an echo server of the plain kind: epoll, non-blocking
 * sockets, and OpenSSL on the descriptors. One thread. What ringline's TLS is compared with.
 *
 * It does what a careful author would: reads until there is no more, answers each read with one
 * write, keeps what the socket does not take and reads no more until it did. --read-ahead lets
 * OpenSSL read more than one record's header at a time, which saves a system call a message.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/program_tls.h"
#include "reference/tls_server.h"

#define TLS_BLOCK 16384

struct peer {
	SSL *ssl;
	int fd;
	uint32_t wants; /* what epoll was told */
	size_t start; /* of what was not written yet */
	size_t end;
	uint8_t block[TLS_BLOCK];
};

static void
peer_end(struct peer *peer)
{
	ERR_clear_error();
	SSL_free(peer->ssl);
	(void)close(peer->fd);
	free(peer);
}

/* It waits for the socket, or is gone. */
static void
peer_stopped(int epoll, struct peer *peer, int answer)
{
	uint32_t events;

	switch (SSL_get_error(peer->ssl, answer)) {
	case SSL_ERROR_WANT_READ:
		events = EPOLLIN;
		break;
	case SSL_ERROR_WANT_WRITE:
		events = EPOLLOUT;
		break;
	case SSL_ERROR_ZERO_RETURN:
		(void)SSL_shutdown(peer->ssl);
		peer_end(peer);
		return;
	default:
		peer_end(peer);
		return;
	}
	if (events != peer->wants) {
		peer->wants = events;
		tls_server_watch(epoll, peer->fd, events, peer, true);
	}
}

static void
peer_serve(int epoll, void *ready)
{
	struct peer *peer = ready;

	for (;;) {
		int answer;

		while (peer->start < peer->end) {
			answer = SSL_write(peer->ssl, peer->block + peer->start,
					   (int)(peer->end - peer->start));
			if (answer <= 0) {
				peer_stopped(epoll, peer, answer);
				return;
			}
			peer->start += (size_t)answer;
		}
		answer = SSL_read(peer->ssl, peer->block, sizeof(peer->block));
		if (answer <= 0) {
			peer_stopped(epoll, peer, answer);
			return;
		}
		peer->start = 0;
		peer->end = (size_t)answer;
	}
}

static void *
peer_accepted(int fd, SSL *ssl)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	program_tls_must(peer != NULL && SSL_set_fd(ssl, fd) == 1, "make a peer");
	peer->fd = fd;
	peer->wants = EPOLLIN;
	peer->ssl = ssl;
	return peer;
}

int
main(int argc, char **argv)
{
	static const struct tls_server server = {
		.name = "tls_epoll",
		.accepted = peer_accepted,
		.ready = peer_serve,
	};

	return tls_server_main(&server, argc, argv);
}
