/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Between the files of the remote peers only.
 */
#ifndef RINGLINE_SIM_PEER_COMMON_H
#define RINGLINE_SIM_PEER_COMMON_H

#include "sim_peer.h"
#include "sim_tls.h"

#define PIECE_BYTES  8192
#define PIECE_HEALED 512

struct peer {
	struct sk_sock *sock; /* NULL: a free place */
	struct sim_link *link; /* a server's: NULL until the header came */
	uint8_t header[LINK_HEADER_BYTES];
	enum link_side side;
	struct sim_tls tls; /* without ssl: it speaks plainly */
	uint32_t piece; /* writes at most so much at once */
	uint32_t mouthful; /* reads at most so much at once */
	uint64_t think_ns; /* up to so long between two steps */
	uint64_t next_ns;
	uint64_t sent;
	uint64_t got;
	uint64_t reset_at; /* after so many bytes either way; UINT64_MAX: never */
	uint64_t leave_at; /* close without reading on */
	uint64_t cut_at; /* TLS: FIN, even in the middle of a record */
	bool silent; /* does nothing until it is healed */
	bool no_reading;
	bool no_notify; /* TLS: ends without close_notify */
	bool fin; /* has ended its stream */
	bool fin_sent;
	bool eof;
};

extern bool peers_healed;

/* sim_peer.c: its link is broken; it was reset; it leaves. */
void peer_break(struct peer *peer, const char *why);
void peer_reset_came(struct peer *peer);
void peer_end(struct peer *peer);

/* A peer of TLS, good or bad. */
void peer_new_tls(struct peer *peer);

/* Bytes either way, as the network has them. */
uint64_t peer_moved(const struct peer *peer);

/* Whoever reads nothing shakes hands all the same. */
bool peer_may_write(const struct peer *peer);
bool peer_may_read(const struct peer *peer);

/* Ciphertext waits for the socket; nothing does, and FIN is next. */
bool peer_has_output(const struct peer *peer);
bool peer_owes_fin(const struct peer *peer);

/* FIN came without close_notify: that was its end. */
void peer_truncated(struct peer *peer);

/* Ciphertext moves, and hands are shaken. False: that was its end. */
bool peer_step_tls(struct peer *peer);

#endif
