/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A socket address, as plain data: no system header is needed to keep or compare one.
 */
#ifndef RINGLINE_ADDR_H
#define RINGLINE_ADDR_H

#include <ringline/types.h>

RL_BEGIN_DECLS

enum rl_addr_family {
	/** No address is known: peer addresses are off, or the host is still looked up. */
	RL_ADDR_NONE,
	RL_ADDR_INET,
	RL_ADDR_INET6,
	RL_ADDR_UNIX,
};

/** Enough for any address that rl_addr_format() writes, its NUL included. */
#define RL_ADDR_TEXT_MAX 72

struct rl_addr {
	/** One of enum rl_addr_family. */
	uint8_t family;
	/** TCP port, host byte order; 0 where there is none. */
	uint16_t port;
	/** IPv6 scope id, 0 where there is none. */
	uint32_t scope;
	/** The address in network byte order: 4 bytes for INET, 16 for INET6. */
	uint8_t bytes[16];
};

/**
 * Write @p addr as text: "127.0.0.1:7878", "[::1]:7878", "unix", "none".
 *
 * @param addr  The address to write.
 * @param text  Where to write it, at least RL_ADDR_TEXT_MAX bytes; always NUL-terminated.
 *
 * Context:   any thread.
 * Ownership: borrows both.
 * Cost:      formats one line, no system call.
 * Returns:   @p text.
 */
RL_EXPORT char *rl_addr_format(const struct rl_addr *addr, char *text);

RL_END_DECLS

#endif
