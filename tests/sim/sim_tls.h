/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The other end of the system's TLS connections: a session of OpenSSL's own between a remote peer's
 * plaintext and its socket, over memory, moved by the peer's steps. It may do what the network and
 * bad peers do: flip a bit, write junk, change keys, end without close_notify.
 *
 * OpenSSL takes its random numbers from the seed, for both ends, and all keys and certificates are
 * made of them, with fixed dates: records have the same lengths whenever a seed is run. Only what
 * is sealed in tickets knows the real time.
 */
#ifndef RINGLINE_SIM_TLS_H
#define RINGLINE_SIM_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ringline/tls.h>

struct sk_sock;
struct ssl_ctx_st;
struct ssl_st;
struct bio_st;

/* Who both ends are, as their certificates have it. */
#define SIM_TLS_NAME "server.sim"

struct sim_tls {
	struct ssl_st *ssl;
	struct bio_st *in; /* from the socket, not yet looked at */
	struct bio_st *out; /* for the socket */
	uint64_t written; /* to the socket */
	uint64_t moved; /* either way */
	uint64_t flip_at; /* of what is written: a bit of this byte is flipped; UINT64_MAX: none */
	uint64_t junk_at; /* here junk is written instead; UINT64_MAX: none */
	uint32_t fat; /* bytes more in each of a server's tickets */
	uint8_t kind; /* enum sim_tls_kind */
	bool asks_short;
	bool updates; /* changes its keys now and then */
	bool again; /* keeps its sessions, for whoever comes again */
	bool shaken;
	bool failed; /* for good; an alert may wait in out */
	bool said; /* close_notify */
	bool ended; /* close_notify came */
	bool fin; /* FIN came */
	bool spoilt; /* a bit was flipped, or junk written */
};

/* Options for listeners (also for those that want to know who their clients are), and clients. */
const struct rl_tls_options *sim_tls_listener(bool mutual);
const struct rl_tls_options *sim_tls_client(void);

enum sim_tls_kind {
	SIM_TLS_CLIENT,
	SIM_TLS_NOBODY, /* a client without a certificate */
	SIM_TLS_ENDLESS, /* one whose name does not fit into what the actor is told */
	SIM_TLS_LONG_CLIENT, /* its certificate takes several records of 512 bytes */
	SIM_TLS_SERVER,
	SIM_TLS_LONG_SERVER, /* likewise */
	SIM_TLS_STRANGER, /* a server whose certificate nobody trusts */
	SIM_TLS_KINDS
};

/* Random numbers are the seed's from here on; keys and contexts are made. Once is enough. */
void sim_tls_setup(void);

void sim_tls_init(struct sim_tls *tls, enum sim_tls_kind kind);
void sim_tls_fini(struct sim_tls *tls); /* also of one that was never made */

/* 1.2, not 1.3. */
void sim_tls_old(struct sim_tls *tls);

/*
 * Its records have at most 512 bytes: a message of the protocol's may take several, as a ticket
 * with @fat bytes more does, which a server makes.
 */
void sim_tls_split(struct sim_tls *tls, uint32_t fat);

/* A client that wants records of at most 512 bytes from the other end, too. */
void sim_tls_ask_short(struct sim_tls *tls);

/*
 * A client that comes again: with a session that one like it has kept, maybe, and that of another
 * listener, maybe; what it gets is kept in its turn. Behind sim_tls_ask_short().
 */
void sim_tls_again(struct sim_tls *tls);

/* No session is kept any more. */
void sim_tls_forget(void);

/* A server that lets nobody in who has shown no certificate. */
bool sim_tls_is_mutual(const struct ssl_st *ssl);

/* Move ciphertext, at most @max bytes: how many, 0 for FIN, or an errno as from a socket. */
int64_t sim_tls_out(struct sim_tls *tls, struct sk_sock *sock, uint32_t max);
int64_t sim_tls_in(struct sim_tls *tls, struct sk_sock *sock, uint32_t max);

/* Ciphertext to write; input to look at without more from the socket. */
bool sim_tls_has_output(const struct sim_tls *tls);
bool sim_tls_has_input(const struct sim_tls *tls);

/* A step of the handshake. */
void sim_tls_shake(struct sim_tls *tls);

/* Plaintext may be written now. */
bool sim_tls_may_write(const struct sim_tls *tls);

/* How many bytes were taken, or -EAGAIN, or -EPROTO. */
int64_t sim_tls_write(struct sim_tls *tls, const void *data, uint32_t len);

/*
 * How many bytes came; 0: close_notify; -EAGAIN; -ECONNABORTED: FIN without close_notify; -EPROTO.
 */
int64_t sim_tls_read(struct sim_tls *tls, void *data, uint32_t len);

/* Say close_notify. */
void sim_tls_end(struct sim_tls *tls);

/* Change keys; the other end has to as well, if @both. Nothing in 1.2. */
void sim_tls_update(struct sim_tls *tls, bool both);

/* The first of OpenSSL's complaints. */
const char *sim_tls_why(void);

/* For sim_tls.c: PEM in memory, as files, and contexts of OpenSSL's (sim_tls_certs.c). */
struct sim_tls_files {
	char ca[32];
	char server[32];
	char server_key[32];
	char client[32];
	char client_key[32];
};

void sim_tls_certs(struct sim_tls_files *files, struct ssl_ctx_st *contexts[SIM_TLS_KINDS]);

#endif
