/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Links: what both ends of a connection say about it, compared (INV-1).
 *
 * A client's stream begins with a header that names the link and what it wants of the server; every
 * further byte follows from the link and its offset, so whoever reads can tell a lost, doubled,
 * swapped or foreign byte at once. The server echoes the stream, or swallows it and answers at its
 * end, or sends a stream of its own.
 *
 * A link is broken as soon as something happened that may cost bytes: a fault was injected into it,
 * an end was aborted, a deadline passed. Until then all that was accepted for sending arrives.
 */
#ifndef RINGLINE_SIM_LINK_H
#define RINGLINE_SIM_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ringline/reason.h>

#define LINK_HEADER_BYTES 8
#define LINK_REPLY_BYTES  8
#define LINKS_MAX	  1024

enum link_mode {
	LINK_ECHO,
	LINK_SINK,
	LINK_SOURCE,
	LINK_MODES
};

enum link_appetite {
	APPETITE_ALL,
	APPETITE_SOME, /* any part of what is there */
	APPETITE_FRAMES, /* whole frames of some length only */
	APPETITES
};

enum link_side {
	LINK_CLIENT,
	LINK_SERVER,
};

struct sim_link {
	uint32_t id;
	uint8_t mode; /* enum link_mode */
	bool is_unix;
	bool tls; /* at its client's end */
	bool modelled[2]; /* that end of TLS is a peer's, which writes down what it says */
	bool said[2]; /* close_notify */
	bool opened; /* its client is an actor and got RL_MSG_OPEN */
	bool wild; /* its actors may do anything at any time */
	bool half_close; /* the client says FIN when it has sent all, not when it has read all */
	uint8_t appetite; /* enum link_appetite, of the server */
	bool broken;
	bool served; /* the server knows it */
	bool client_fin; /* has written all, and said so */
	bool server_early; /* the server ends before it has read all */
	bool client_eof; /* saw the server's end */
	bool server_eof;
	bool client_over;
	bool server_over;
	uint16_t client_port; /* 0: not known */
	int lookup_error; /* of its host name, if it has one */
	uint32_t addrs; /* that it was found to have */
	uint32_t addrs_tried;
	const char *why; /* broken */
	bool relayed; /* by a pair of connections in between, which may be reset by themselves */
	bool unexplained; /* one end was reset, and the other did not say yet that it did that */
	bool server_clean; /* over, and with a reason that sends no RST */
	uint32_t client_total; /* header included */
	uint32_t server_total; /* SOURCE */
	uint64_t client_sent; /* accepted for sending */
	uint64_t server_got; /* consumed, and right */
	uint64_t server_sent;
	uint64_t client_got;
};

void sim_links_reset(void);
uint32_t sim_links_count(void);

/* A new one at random; NULL when there are LINKS_MAX. */
struct sim_link *sim_link_new(bool is_unix);

/* From 1; NULL: there is none. */
struct sim_link *sim_link(uint32_t id);

void sim_link_break(struct sim_link *link, const char *why);

/* A remote peer was reset: somebody must have had a reason. */
void sim_link_reset(struct sim_link *link, enum link_side side);

/* Memory may fail in this world, or the receive limit be reached. */
void sim_links_memory_may_fail(bool may);

/* Some of those that come have much for their clients. */
void sim_links_large(bool large);

/* The same by tag of a socket. */
void sim_link_disturb(uint32_t tag);

/* Write bytes @offset .. @offset + @len of the stream that @side sends. */
void sim_link_fill(const struct sim_link *link, enum link_side side, uint64_t offset, uint8_t *data,
		   size_t len);

/* Check them. */
void sim_link_check(const struct sim_link *link, enum link_side side, uint64_t offset,
		    const uint8_t *data, size_t len);

/* How long the server's stream will be when everything goes well. */
uint64_t sim_link_server_total(const struct sim_link *link);

/* The link that a header names; NULL: it is none. @data has LINK_HEADER_BYTES. */
struct sim_link *sim_link_of_header(const uint8_t *data);

/* A reader saw a clean end of the stream after all its bytes. */
void sim_link_eof(struct sim_link *link, enum link_side reader, uint64_t got);

/* A remote peer's TLS failed, or ended without close_notify although it was shaken. */
void sim_link_tls_failed(struct sim_link *link, const char *why);
void sim_link_truncated(struct sim_link *link, enum link_side reader);

/* An actor on @side of it ended. */
void sim_link_stopped(struct sim_link *link, enum link_side side, enum rl_reason reason, int error,
		      bool aborted);

/* All are over; those that were not broken are complete. */
bool sim_links_are_over(void);
void sim_links_check_complete(void);
uint32_t sim_links_whole(void);
void sim_links_print_open(void);

#endif
