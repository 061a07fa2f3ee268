/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Addresses are read with memcpy: what the kernel filled in need not be aligned, nor as long as the
 * struct of its family.
 */
#include "net/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* Eight groups of four digits; inet_ntop(3) writes dots only behind zeros, which is shorter. */
#define ADDR_HOST_MAX  sizeof("1111:2222:3333:4444:5555:6666:7777:8888")
#define ADDR_SCOPE_MAX sizeof("%4294967295")

_Static_assert(ADDR_HOST_MAX + ADDR_SCOPE_MAX + sizeof("[]:65535") <= RL_ADDR_TEXT_MAX,
	       "the longest address fits with its NUL");

static void
addr_from_inet(struct rl_addr *addr, const void *sockaddr)
{
	struct sockaddr_in in;

	memcpy(&in, sockaddr, sizeof(in));
	addr->family = RL_ADDR_INET;
	addr->port = ntohs(in.sin_port);
	memcpy(addr->bytes, &in.sin_addr, sizeof(in.sin_addr));
}

static void
addr_from_inet6(struct rl_addr *addr, const void *sockaddr)
{
	struct sockaddr_in6 in6;

	memcpy(&in6, sockaddr, sizeof(in6));
	addr->port = ntohs(in6.sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
		addr->family = RL_ADDR_INET;
		memcpy(addr->bytes, &in6.sin6_addr.s6_addr[12], 4);
		return;
	}
	addr->family = RL_ADDR_INET6;
	addr->scope = in6.sin6_scope_id;
	memcpy(addr->bytes, &in6.sin6_addr, sizeof(in6.sin6_addr));
}

void
rli_addr_from_sockaddr(struct rl_addr *addr, const void *sockaddr, socklen_t len)
{
	sa_family_t family = AF_UNSPEC;

	*addr = (struct rl_addr){ .family = RL_ADDR_NONE };
	if (sockaddr != NULL && len >= sizeof(family)) {
		memcpy(&family, sockaddr, sizeof(family));
	}
	if (family == AF_INET && len >= sizeof(struct sockaddr_in)) {
		addr_from_inet(addr, sockaddr);
	} else if (family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
		addr_from_inet6(addr, sockaddr);
	} else if (family == AF_UNIX) {
		addr->family = RL_ADDR_UNIX;
	}
}

char *
rl_addr_format(const struct rl_addr *addr, char *text)
{
	char host[ADDR_HOST_MAX] = "";
	char scope[ADDR_SCOPE_MAX] = "";

	switch (addr->family) {
	case RL_ADDR_INET:
		(void)inet_ntop(AF_INET, addr->bytes, host, sizeof(host)); /* it has room */
		(void)snprintf(text, RL_ADDR_TEXT_MAX, "%s:%u", host, addr->port);
		break;
	case RL_ADDR_INET6:
		(void)inet_ntop(AF_INET6, addr->bytes, host, sizeof(host)); /* it has room */
		if (addr->scope != 0) {
			(void)snprintf(scope, sizeof(scope), "%%%u", addr->scope);
		}
		(void)snprintf(text, RL_ADDR_TEXT_MAX, "[%.45s%.11s]:%u", host, scope, addr->port);
		break;
	case RL_ADDR_UNIX:
		(void)snprintf(text, RL_ADDR_TEXT_MAX, "unix");
		break;
	default:
		(void)snprintf(text, RL_ADDR_TEXT_MAX, "none");
		break;
	}
	return text;
}
