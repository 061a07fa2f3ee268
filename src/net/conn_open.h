/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What an outbound connect needs until the kernel is done with it, and no longer.
 */
#ifndef RINGLINE_NET_CONN_OPEN_H
#define RINGLINE_NET_CONN_OPEN_H

#include <stdbool.h>
#include <stdint.h>

#include "net/url.h"
#include "shard/op.h"

struct conn;

struct connect {
	uint32_t slab_link;
	struct op timeout; /* the linked timeout */
	struct conn *conn;
	struct url url;
	struct __kernel_timespec left; /* until deadline_ns, for the kernel */
	uint64_t deadline_ns; /* 0: none */
	uint64_t retry_ns; /* not before that: the listener's backlog was full */
	int64_t first_byte_timeout_ns;
	bool timed_out;
	bool done; /* the connect itself completed, with result */
	int result;
};

#endif
