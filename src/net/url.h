/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * URLs: tcp://HOST:PORT, tls://HOST:PORT, unix:/path, unix:@abstract; IPv6 hosts in brackets. HOST
 * is numeric, or a name where one connects, or `*` where one listens: all IPv4 addresses, 0.0.0.0.
 * ([::] is all IPv6 addresses, and the IPv4 ones too where net.ipv6.bindv6only is 0.) A scope is
 * numeric as well: [fe80::1%2].
 */
#ifndef RINGLINE_NET_URL_H
#define RINGLINE_NET_URL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <netinet/in.h>

#include <ringline/listener.h>

#include "base/log.h"

union url_sockaddr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

/* Where a host is, without the port. */
union url_inet {
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

#define URL_HOST_MAX 253 /* bytes of a name, as in the DNS */

struct url {
	union url_sockaddr sockaddr; /* AF_UNSPEC: the host is a name, and was not looked up yet */
	socklen_t len;
	in_port_t port; /* of a name, in network order */
	bool is_unix;
	bool is_tls;
	uint16_t mode; /* of the file that a listener's path makes; 0: as the umask has it */
	char host[URL_HOST_MAX + 1]; /* the name as it was written; "": the host is numeric */
};

enum url_use {
	URL_LISTEN,
	URL_CONNECT,
};

/*
 * Parse @text. 0 or -EINVAL, with one ERROR line that quotes (escaped) the offending part and says
 * what is expected. `*` and port 0 are for URL_LISTEN only.
 */
int rli_url_parse(struct url *url, const char *text, enum url_use use, const struct log *log);

/*
 * The host of a tcp:// or tls:// URL that was parsed, as a certificate would spell it: as written,
 * without brackets and scope, and without the dot that may end a name.
 */
void rli_url_host(const char *text, char out[URL_HOST_MAX + 1]);

/* The host is a name: rli_url_set_address() makes an address of it. */
static inline bool
url_is_name(const struct url *url)
{
	return url->host[0] != '\0';
}

/* The URL of a name leads to @inet from now on; its host stays what it was. */
void rli_url_set_address(struct url *url, const union url_inet *inet);

/*
 * The URL in its canonical spelling, RL_URL_MAX bytes; for an address, as a
 * listener's bound one; "" for a name that was not looked up.
 */
void rli_url_format(const struct url *url, char out[RL_URL_MAX]);

#endif
