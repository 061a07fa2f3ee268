/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "reference/tls_server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "common/program_tls.h"

#define TLS_EVENTS 256

void
tls_server_watch(int epoll, int fd, uint32_t events, void *peer, bool added)
{
	struct epoll_event event = { .events = events, .data.ptr = peer };

	program_tls_must(epoll_ctl(epoll, added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0,
			 "epoll_ctl");
}

/* Nothing is cached, as ringline does it: a session is in its ticket. */
static SSL_CTX *
server_context(const char *cert, const char *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	program_tls_must(ctx != NULL && SSL_CTX_use_certificate_chain_file(ctx, cert) == 1 &&
				 SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1,
			 "use the certificate");
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

static int
server_listen(int port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	program_tls_must(
		fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
			bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0 &&
			listen(fd, 4096) == 0 && getsockname(fd, (struct sockaddr *)&in, &len) == 0,
		"listen");
	(void)printf("ready tls://127.0.0.1:%u shards=1\n", ntohs(in.sin_port));
	(void)fflush(stdout);
	return fd;
}

static void
server_accept(const struct tls_server *server, int epoll, int listener, SSL_CTX *ctx)
{
	int one = 1;
	SSL *ssl;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		ssl = SSL_new(ctx);
		program_tls_must(ssl != NULL, "SSL_new");
		SSL_set_accept_state(ssl);
		tls_server_watch(epoll, fd, EPOLLIN, server->accepted(fd, ssl), false);
	}
}

int
tls_server_main(const struct tls_server *server, int argc, char **argv)
{
	struct epoll_event events[TLS_EVENTS];
	SSL_CTX *ctx;
	int listener;
	int epoll;
	int port;

	if (argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "--read-ahead") != 0)) {
		program_misuse("usage: %s PORT CERT KEY [--read-ahead]", server->name);
	}
	port = (int)program_integer("PORT", argv[1], 0, 65535);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)program_raise_file_limit();
	ctx = server_context(argv[2], argv[3]);
	SSL_CTX_set_read_ahead(ctx, argc == 5);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	program_tls_must(epoll >= 0, "epoll_create1");
	listener = server_listen(port);
	tls_server_watch(epoll, listener, EPOLLIN, NULL, false);
	for (;;) {
		int count = epoll_wait(epoll, events, TLS_EVENTS, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == NULL) {
				server_accept(server, epoll, listener, ctx);
			} else {
				server->ready(epoll, events[i].data.ptr);
			}
		}
	}
}
