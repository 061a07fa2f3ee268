/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * dial - connected stream sockets, blocking, TCP_NODELAY where it applies. A refusal ends the
 * program: there is nothing to measure without the connections.
 */
#ifndef RINGLINE_BENCH_DIAL_H
#define RINGLINE_BENCH_DIAL_H

#include <netinet/in.h>
#include <stdint.h>

/* A numeric IPv4 address; anything else is a misuse of the program. */
struct sockaddr_in dial_address(const char *host, int port);

/* @p source is the local IPv4 address in host byte order, 0 for the kernel's choice. */
int dial_tcp(const struct sockaddr_in *address, uint32_t source);

int dial_unix(const char *path);

#endif
