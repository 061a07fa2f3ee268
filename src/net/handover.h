/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How accepted sockets get from the acceptor to one shard: a bounded ring with one producer and one
 * consumer, its memory made once. The shard tells the acceptor how many connections it has, so that
 * a socket goes to a shard with room for it.
 *
 * Waking the other side is not done here: see shard/sleep.h for the handshake that goes with a push
 * and with a publish.
 */
#ifndef RINGLINE_NET_HANDOVER_H
#define RINGLINE_NET_HANDOVER_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define HANDOVER_LINE 64

/* The last that comes: the acceptor hands over nothing any more. */
#define HANDOVER_END UINT32_MAX

struct handed {
	int fd; /* -1: the shard is done with it */
	uint32_t listener; /* its number, or HANDOVER_END */
	socklen_t len; /* of the address; 0: there is none */
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} peer;
};

enum handover_room {
	HANDOVER_ROOM,
	HANDOVER_BEHIND, /* the shard has not taken what it got before */
	HANDOVER_FULL, /* with what waits for it the shard has conns_max connections */
};

struct handover {
	_Alignas(HANDOVER_LINE) _Atomic uint64_t tail; /* the acceptor's */
	_Alignas(HANDOVER_LINE) _Atomic uint64_t head; /* the shard's, as it was published */
	_Atomic uint32_t conns; /* likewise */
	uint64_t taken; /* the shard's own head, ahead of what was published */
	uint32_t slots_count;
	uint32_t conns_max;
	struct handed *slots;
};

/* How many slots take @sockets at once: one more, so that the end always fits. */
static inline uint32_t
handover_slots(uint32_t sockets)
{
	return sockets + 1;
}

void rli_handover_init(struct handover *handover, struct handed *slots, uint32_t slots_count,
		       uint32_t conns_max);

/* The acceptor: may it push? An answer other than ROOM can be out of date when it is given. */
enum handover_room rli_handover_room(const struct handover *handover);

/*
 * The acceptor: how many connections the shard has, with those that are on their way to it. Out of
 * date by what has closed since the shard's last turn.
 */
uint64_t rli_handover_load(const struct handover *handover);

/* The acceptor: copies. There must be room. */
void rli_handover_push(struct handover *handover, const struct handed *handed);

/* The acceptor, once and last: there is always room for this one. */
void rli_handover_end(struct handover *handover);

/* The shard: how many it has not dropped yet, those that it is done with among them. */
uint32_t rli_handover_count(const struct handover *handover);

/* The shard: the @nth of them, 0 is the oldest; it may set its fd to -1 when it is done with it. */
struct handed *rli_handover_at(struct handover *handover, uint32_t nth);

/* The shard: of the oldest @count, all of which it has seen, drop the first that are done with. */
void rli_handover_drop(struct handover *handover, uint32_t count);

/*
 * The shard: tell the acceptor what was dropped, and that there are @conns connections. True: there
 * may be more room than before, and whoever waits for it has to be woken.
 */
bool rli_handover_publish(struct handover *handover, uint32_t conns);

#endif
