/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The other end of TLS: OpenSSL over memory BIOs and a plain socket, in the test's own thread.
 * Every call that waits does so under the deadline RIG_PATIENCE_MS.
 */
#ifndef RINGLINE_TESTS_INTEGRATION_TLS_PEER_H
#define RINGLINE_TESTS_INTEGRATION_TLS_PEER_H

#include "client.h"

#include <openssl/ssl.h>

#include "../unit/tls_certs.h"

/* Of the group that runs: files, and options of either end with the server's and the CA's. */
extern struct tls_certs certs;
extern struct rl_tls_options server_tls;
extern struct rl_tls_options client_tls;

/* As rig_main(), with certificates. */
int tls_rig_main(const char *group, const struct CMUnitTest *tests, size_t count);

/* A tls:// listener whose actors have probe 0, and a plain socket to it. */
void tls_listen(struct rig *rig, const struct rl_actor_def *def);
int raw_dial(const struct rig *rig);

struct tls_peer {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	uint64_t seed; /* not 0: what is sent is cut into pieces by it */
	bool fin; /* the socket has ended */
};

struct tls_peer_setup {
	bool server; /* on a socket that was accepted */
	int version; /* the only one; 0: any */
	const char *ca;
	const char *cert;
	const char *key;
	const char *name; /* sent along */
	const char *alpn; /* as the wire has it */
	uint64_t seed;
};

void tls_peer_init(struct tls_peer *peer, int fd, const struct tls_peer_setup *setup);

/* 0, or -EPROTO: either end does not want to. */
int tls_peer_handshake(struct tls_peer *peer);

/* Both of the above on a socket of its own, which must succeed. */
void tls_peer_dial(struct tls_peer *peer, const char *url, const struct tls_peer_setup *setup);

void tls_peer_send(struct tls_peer *peer, const void *data, size_t len);

/* Some bytes: how many; 0: close_notify; -EPIPE: FIN without; -EPROTO: an alert, or no TLS. */
ssize_t tls_peer_recv(struct tls_peer *peer, void *data, size_t len);

/* Exactly that text. */
void tls_peer_recv_text(struct tls_peer *peer, const char *text);

/* close_notify, without FIN. */
void tls_peer_end(struct tls_peer *peer);

/* Move what there is, both ways, without waiting. */
void tls_peer_pump(struct tls_peer *peer);

/* Bytes that wait to be sent. */
size_t tls_peer_waiting(const struct tls_peer *peer);

void tls_peer_close(struct tls_peer *peer);

/* Both ends say close_notify and nothing else; then its socket is closed. */
void tls_peer_leave(struct tls_peer *peer);

#endif
