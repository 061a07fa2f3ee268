/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tls_server - what the plain TLS servers of the bench share: how they fail, their context, their
 * listener, and their loop over epoll, with OpenSSL as a plain author would set it up.
 */
#ifndef RINGLINE_BENCH_TLS_SERVER_H
#define RINGLINE_BENCH_TLS_SERVER_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

/* What one kind of server does; @p peer is what accepted() made of a socket and its session. */
struct tls_server {
	const char *name;
	void *(*accepted)(int fd, SSL *ssl);
	void (*ready)(int epoll, void *peer);
};

/* What epoll is to say about @p fd; @p added: it knows it already. */
void tls_server_watch(int epoll, int fd, uint32_t events, void *peer, bool added);

/*
 * For main(): NAME PORT CERT KEY [--read-ahead]. Prints the ready line and serves until a signal
 * ends it. Port 0 is one of the kernel's choice.
 */
int tls_server_main(const struct tls_server *server, int argc, char **argv);

#endif
