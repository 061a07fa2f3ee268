/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * URLs: tcp://HOST:PORT, tls://HOST:PORT, unix:/path, unix:@abstract; IPv6 hosts in brackets. HOST
 * is numeric, or `*` where one listens: all IPv4 addresses, 0.0.0.0. ([::] is all IPv6 addresses,
 * and the IPv4 ones too where net.ipv6.bindv6only is 0.) A scope is numeric as well: [fe80::1%2].
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

struct url {
	union url_sockaddr sockaddr;
	socklen_t len;
	bool is_unix;
	bool is_tls;
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
 * The host of a tcp:// or tls:// URL that was parsed, as written, without brackets and scope.
 */
void rli_url_host(const char *text, char out[RL_URL_MAX]);

/* The URL in its canonical spelling, RL_URL_MAX bytes; for a listener's bound address. */
void rli_url_format(const struct url *url, char out[RL_URL_MAX]);

#endif
