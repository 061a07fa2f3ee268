/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The keys of session tickets: one set for all shards and listeners of a system, so a ticket that
 * one of them gave is good at every other. The newest key seals; the one before it still opens,
 * until the next rotation wipes it (ADR 32).
 *
 * A handshake holds the lock for as long as it takes to copy a key.
 */
#ifndef RINGLINE_TLS_TLS_TICKETS_H
#define RINGLINE_TLS_TLS_TICKETS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define TICKET_KEYS	  2
#define TICKET_NAME_BYTES 16
#define TICKET_LIFE_MAX_S 7200 /* a ticket's; and never longer than one rotation */
#define TLS_PROOF_MAX_NS  (UINT64_C(86400) * 1000000000) /* how long certificates count, resumed */

struct ssl_ctx_st;

struct ticket_key {
	uint8_t name[TICKET_NAME_BYTES]; /* goes with the ticket, in the clear */
	uint8_t cipher[32];
	uint8_t mac[32];
};

struct tls_tickets {
	pthread_mutex_t lock;
	uint64_t interval_ns; /* 0: it is never due */
	uint64_t due_ns;
	uint64_t proof_max_ns; /* set before they are used; then read only */
	uint32_t count; /* of keys that there are */
	struct ticket_key keys[TICKET_KEYS]; /* the newest first */
};

enum ticket_match {
	TICKET_UNKNOWN,
	TICKET_NEWEST,
	TICKET_OLDER, /* whoever has it needs a fresh one */
};

/* Without keys. @rotation_ns below 0: never. */
void rli_tls_tickets_init(struct tls_tickets *tickets, int64_t rotation_ns);

/* Wipes the keys. */
void rli_tls_tickets_fini(struct tls_tickets *tickets);

/* A new key; the oldest is wiped. 0, or -EIO: no random numbers, and the keys stay. Any thread. */
int rli_tls_tickets_rotate(struct tls_tickets *tickets, uint64_t now_ns);

/* There is a key from now on. 0 or -EIO. Any thread. */
int rli_tls_tickets_ready(struct tls_tickets *tickets, uint64_t now_ns);

/* Rotate if it is time. Returns when it is time again; UINT64_MAX: never. Any thread. */
uint64_t rli_tls_tickets_look(struct tls_tickets *tickets, uint64_t now_ns);

/* Copies of keys, to be wiped by the caller. Any thread. */
void rli_tls_tickets_newest(struct tls_tickets *tickets, struct ticket_key *key);
enum ticket_match rli_tls_tickets_find(struct tls_tickets *tickets,
				       const uint8_t name[TICKET_NAME_BYTES],
				       struct ticket_key *key);

/*
 * Sessions of this server's context get tickets that these keys seal, and can be resumed as long as
 * they open. The keys must be ready, and outlive it.
 */
void rli_tls_tickets_use(struct tls_tickets *tickets, struct ssl_ctx_st *ssl_ctx);

#endif
