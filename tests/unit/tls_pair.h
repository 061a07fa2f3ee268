/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Two TLS sessions and the wires between them, in memory.
 */
#ifndef RINGLINE_TESTS_TLS_PAIR_H
#define RINGLINE_TESTS_TLS_PAIR_H

#include "tls/tls_session.h"
#include "tls_certs.h"

#define WIRE_MAX (1u << 20)

/* What one end made and the other has not been fed. */
struct wire {
	uint8_t data[WIRE_MAX];
	size_t start;
	size_t end;
};

struct pair {
	struct chunk_pool pool;
	struct tls_context *contexts[2];
	struct tls_session ends[2];
	struct wire wires[2]; /* from that end */
};

enum {
	SERVER,
	CLIENT,
};

extern struct pair pair;

/* What an end read last. */
extern uint8_t plain[2][TLS_PLAIN_MAX];

/* Of the group that runs: files, and options of either end with the server's and the CA's. */
extern struct tls_certs certs;
extern struct rl_tls_options server_options;
extern struct rl_tls_options client_options;

/* They are there for the group's tests. */
int pair_setup(void **state);
int pair_teardown(void **state);

/* @name: for whom the client takes the server. */
void pair_init_with(const struct rl_tls_options *server, const struct rl_tls_options *client,
		    const char *name);

/* With the options above. */
void pair_init(void);

/* Both say goodbye, and two new ends stand there, the server's of @server. */
void pair_again(const struct tls_context *server, const char *name);

/* Nothing that was taken may stay out. */
void pair_fini(void);

/* What @end made goes onto its wire; returns how much. */
uint32_t pair_send(int end);

/* @end is fed up to @bytes of what the other end sent; then what it left stays on the wire. */
void pair_feed(int end, size_t bytes);
void pair_fed(int end);

/* Both, around a step of the handshake, or one read. */
enum tls_status pair_step(int end, size_t bytes);
enum tls_status pair_read(int end, size_t bytes, size_t *got);

/* @text arrives at the other end, and nothing else does. */
void pair_say(int end, const char *text);

/* Until both are done or one failed; pieces of @bytes. FAILED when either did. */
enum tls_status pair_handshake(size_t bytes);

#endif
