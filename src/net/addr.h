/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From the kernel's addresses to plain data. rl_addr_format() of ringline/addr.h is in addr.c too.
 */
#ifndef RINGLINE_NET_ADDR_H
#define RINGLINE_NET_ADDR_H

#include <sys/socket.h>

#include <ringline/addr.h>

/*
 * Family RL_ADDR_NONE for lengths and families that we don't know. An IPv4 peer of an IPv6 socket
 * (::ffff:a.b.c.d) comes out as what it is, INET.
 */
void rli_addr_from_sockaddr(struct rl_addr *addr, const void *sockaddr, socklen_t len);

#endif
