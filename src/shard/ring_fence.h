/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The fence: what may be asked of a ring once it is enabled, and nothing else. Whoever breaks into
 * the process finds no way through a ring to open files, start processes or bind sockets.
 *
 * A request that is not here answers -EACCES. tidy.ring_fence compares the lists with what src/
 * prepares, so that a new request gets its row with its first use, and an old one leaves with its
 * last.
 */
#ifndef RINGLINE_SHARD_RING_FENCE_H
#define RINGLINE_SHARD_RING_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "shard/uring_compat.h"

/* X(opcode) */
#define RING_FENCE_OPS(X)                                           \
	X(IORING_OP_ACCEPT)                                         \
	X(IORING_OP_RECV)                                           \
	X(IORING_OP_SEND)                                           \
	X(IORING_OP_SENDMSG)                                        \
	X(IORING_OP_CONNECT) /* outbound; to AF_UNSPEC it resets */ \
	X(IORING_OP_LINK_TIMEOUT)                                   \
	X(IORING_OP_SHUTDOWN)                                       \
	X(IORING_OP_CLOSE)                                          \
	X(IORING_OP_ASYNC_CANCEL)                                   \
	X(IORING_OP_READ) /* of the shard's eventfd */              \
	X(IORING_OP_MSG_RING)

/* The flags that a request may have. */
#define RING_FENCE_FLAGS \
	(IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT | IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS)

/* X(op): what is registered with an enabled ring; all of it is its end. */
#define RING_FENCE_REGISTERS(X)        \
	X(IORING_UNREGISTER_FILES)     \
	X(IORING_UNREGISTER_PBUF_RING) \
	X(IORING_UNREGISTER_RING_FDS)

#define RING_FENCE_CASE(op) case op:

static inline bool
ring_fence_has_op(uint32_t op)
{
	switch (op) {
		RING_FENCE_OPS(RING_FENCE_CASE)
		return true;
	default:
		return false;
	}
}

#endif
