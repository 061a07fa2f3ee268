/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What an outbound connect needs until the kernel and the resolver are done with it, and no longer.
 */
#ifndef RINGLINE_NET_CONN_OPEN_H
#define RINGLINE_NET_CONN_OPEN_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/conn.h>

#include "net/resolver.h"
#include "net/url.h"
#include "shard/op.h"

struct conn;

/* How far it is. A numeric address begins with the last one. */
enum connect_stage {
	CONNECT_ASKS, /* the resolver is to be asked */
	CONNECT_LOOKS_UP, /* it was, and its answer is to come */
	CONNECT_TURNS, /* to the next address, on a new socket */
	CONNECT_TRIES, /* one address, in `url` */
};

struct connect {
	uint32_t slab_link;
	struct op timeout; /* the linked timeout */
	struct conn *conn;
	struct url url; /* its host is what was asked for, its address the one that is tried */
	struct rl_tcp_options tcp; /* for the sockets of a name's addresses */
	struct lookup lookup; /* of a name, and what it brought */
	uint32_t next; /* of the addresses that it brought */
	struct __kernel_timespec left; /* until turn_ns, for the kernel */
	uint64_t deadline_ns; /* for all of it; 0: none */
	uint64_t turn_ns; /* until then it is this address's turn; 0: for ever */
	uint64_t retry_ns; /* not before that: the listener's backlog was full */
	int64_t first_byte_timeout_ns;
	uint8_t stage; /* enum connect_stage */
	bool timed_out;
	bool overdue; /* its turn is over, and no timeout was linked to it: cancel it */
	bool done; /* the connect itself completed, with result */
	int result;
};

/* Whether another address is left to try. */
static inline bool
connect_has_more(const struct connect *connect)
{
	return connect->next < connect->lookup.addrs.count;
}

#endif
