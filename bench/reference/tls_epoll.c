/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tls_epoll PORT CERT KEY - an echo server of the plain kind: epoll, non-blocking sockets, and
 * OpenSSL on the descriptors. One thread. What ringline's TLS is compared with.
 *
 * It does what a careful author would: reads until there is no more, answers each read with one
 * write, keeps what the socket does not take and reads no more until it did. Prints `ready`.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define TLS_EVENTS 256
#define TLS_BLOCK  16384

struct peer {
	SSL *ssl;
	int fd;
	uint32_t wants; /* what epoll was told */
	size_t start; /* of what was not written yet */
	size_t end;
	uint8_t block[TLS_BLOCK];
};

static void
tls_must(bool did, const char *what)
{
	if (!did) {
		(void)fprintf(stderr, "tls_epoll: can't %s: %s\n", what, strerror(errno));
		ERR_print_errors_fp(stderr);
		exit(1);
	}
}

static void
peer_end(struct peer *peer)
{
	ERR_clear_error();
	SSL_free(peer->ssl);
	(void)close(peer->fd);
	free(peer);
}

/* True: go on; false: it waits for the socket, or is gone. */
static bool
peer_may_go_on(int epoll, struct peer *peer, int answer)
{
	struct epoll_event event = { .data.ptr = peer };

	switch (SSL_get_error(peer->ssl, answer)) {
	case SSL_ERROR_WANT_READ:
		event.events = EPOLLIN;
		break;
	case SSL_ERROR_WANT_WRITE:
		event.events = EPOLLOUT;
		break;
	case SSL_ERROR_ZERO_RETURN:
		(void)SSL_shutdown(peer->ssl);
		peer_end(peer);
		return false;
	default:
		peer_end(peer);
		return false;
	}
	if (event.events != peer->wants) {
		peer->wants = event.events;
		tls_must(epoll_ctl(epoll, EPOLL_CTL_MOD, peer->fd, &event) == 0, "epoll_ctl");
	}
	return false;
}

static void
peer_serve(int epoll, struct peer *peer)
{
	for (;;) {
		int answer;

		while (peer->start < peer->end) {
			answer = SSL_write(peer->ssl, peer->block + peer->start,
					   (int)(peer->end - peer->start));
			if (answer <= 0) {
				(void)peer_may_go_on(epoll, peer, answer);
				return;
			}
			peer->start += (size_t)answer;
		}
		answer = SSL_read(peer->ssl, peer->block, sizeof(peer->block));
		if (answer <= 0) {
			(void)peer_may_go_on(epoll, peer, answer);
			return;
		}
		peer->start = 0;
		peer->end = (size_t)answer;
	}
}

static void
peer_accept(int epoll, int listener, SSL_CTX *ctx)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct peer *peer = calloc(1, sizeof(*peer));
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = peer };
		int one = 1;

		tls_must(peer != NULL, "calloc");
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		peer->fd = fd;
		peer->wants = EPOLLIN;
		peer->ssl = SSL_new(ctx);
		tls_must(peer->ssl != NULL && SSL_set_fd(peer->ssl, fd) == 1, "SSL_new");
		SSL_set_accept_state(peer->ssl);
		tls_must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
	}
}

static SSL_CTX *
tls_context(const char *cert, const char *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	tls_must(ctx != NULL && SSL_CTX_use_certificate_chain_file(ctx, cert) == 1 &&
			 SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1,
		 "use the certificate");
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

static int
tls_listen(const char *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	tls_must(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
			 bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0 && listen(fd, 4096) == 0,
		 "listen");
	return fd;
}

int
main(int argc, char **argv)
{
	struct epoll_event events[TLS_EVENTS];
	struct epoll_event first = { .events = EPOLLIN };
	SSL_CTX *ctx;
	int listener;
	int epoll;

	if (argc != 4) {
		(void)fprintf(stderr, "usage: tls_epoll PORT CERT KEY\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	ctx = tls_context(argv[2], argv[3]);
	listener = tls_listen(argv[1]);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	tls_must(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &first) == 0, "epoll");
	(void)printf("ready\n");
	(void)fflush(stdout);
	for (;;) {
		int count = epoll_wait(epoll, events, TLS_EVENTS, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == NULL) {
				peer_accept(epoll, listener, ctx);
			} else {
				peer_serve(epoll, events[i].data.ptr);
			}
		}
	}
}
