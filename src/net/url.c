/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Nothing is resolved and nobody is asked: a URL is text in and a socket address or a name out.
 * What is refused is quoted in one log line, escaped and cut, because it may come from anywhere.
 */
#include "net/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

/* What is shown of a text in a log line; two of them, all escaped, leave room for the reason. */
#define URL_SHOWN_MAX	48
#define URL_ESCAPED_MAX (4 * (size_t)URL_SHOWN_MAX)
#define URL_QUOTE_MAX	(URL_ESCAPED_MAX + sizeof("..."))

#define URL_LABEL_MAX 63 /* between two dots of a name, as in the DNS */

/* A piece of the URL; not terminated. */
struct url_part {
	const char *text;
	size_t len;
};

/* What a refusal needs to know besides the part. */
struct url_parser {
	struct url *url;
	const char *text;
	enum url_use use;
	const struct log *log;
};

static void
url_quote(char out[URL_QUOTE_MAX], struct url_part part)
{
	bool cut = part.len > URL_SHOWN_MAX;
	char shown[URL_ESCAPED_MAX + 1];

	rli_log_escape(shown, sizeof(shown), part.text, cut ? URL_SHOWN_MAX : part.len);
	(void)snprintf(out, URL_QUOTE_MAX, "%s%s", shown, cut ? "..." : "");
}

static int
url_refuse(const struct url_parser *parser, struct url_part part, const char *reason)
{
	struct url_part all = { parser->text, strlen(parser->text) };
	char all_quoted[URL_QUOTE_MAX];
	char part_quoted[URL_QUOTE_MAX];

	url_quote(all_quoted, all);
	url_quote(part_quoted, part);
	rli_log(parser->log, RL_LOG_ERROR, LOG_NO_SHARD, "url \"%s\": \"%s\" %s", all_quoted,
		part_quoted, reason);
	return -EINVAL;
}

/* Digits only, at least one, and no more than @max. */
static bool
url_number(struct url_part part, uint32_t max, uint32_t *number)
{
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < part.len; i++) {
		if (part.text[i] < '0' || part.text[i] > '9') {
			return false;
		}
		value = value * 10 + (uint64_t)(part.text[i] - '0');
		if (value > max) {
			return false;
		}
	}
	*number = (uint32_t)value;
	return part.len > 0;
}

/* inet_pton(3) for a part. */
static bool
url_numeric_host(int family, struct url_part host, void *address)
{
	char text[INET6_ADDRSTRLEN];

	if (host.len >= sizeof(text)) {
		return false;
	}
	memcpy(text, host.text, host.len);
	text[host.len] = '\0';
	return inet_pton(family, text, address) == 1;
}

static int
url_parse_port(const struct url_parser *parser, struct url_part part, in_port_t *port)
{
	uint32_t number;

	if (!url_number(part, UINT16_MAX, &number)) {
		return url_refuse(parser, part, "is not a port, 0 to 65535");
	}
	if (number == 0 && parser->use == URL_CONNECT) {
		return url_refuse(parser, part, "is not a port to connect to, 1 to 65535");
	}
	*port = htons((uint16_t)number);
	return 0;
}

/*
 * Up to the dot that ends it, or the end. False: it is none. `_` is in no host name by the book,
 * and in many by habit.
 */
static bool
url_label(struct url_part *rest, struct url_part *label)
{
	size_t i = 0;

	while (i < rest->len && rest->text[i] != '.') {
		char c = rest->text[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '_') {
			return false;
		}
		i++;
	}
	*label = (struct url_part){ rest->text, i };
	i += i < rest->len ? 1 : 0;
	rest->text += i;
	rest->len -= i;
	return label->len > 0 && label->len <= URL_LABEL_MAX && label->text[0] != '-';
}

/* Digits, or the beginning of a hexadecimal number. */
static bool
url_is_number(struct url_part label)
{
	size_t i = 0;

	if (label.len > 1 && label.text[0] == '0' && (label.text[1] | 0x20) == 'x') {
		return true;
	}
	while (i < label.len && label.text[i] >= '0' && label.text[i] <= '9') {
		i++;
	}
	return i == label.len;
}

/*
 * A name, and no mistyped or old-fashioned IPv4 address such as 127.1 or 0x7f000001: those end in a
 * label that is a number.
 */
static bool
url_is_host_name(struct url_part host)
{
	struct url_part label = { host.text, 0 };

	if (host.len == 0 || host.len > URL_HOST_MAX) {
		return false;
	}
	while (host.len > 0) {
		if (!url_label(&host, &label)) {
			return false;
		}
	}
	return !url_is_number(label);
}

static int
url_parse_name(const struct url_parser *parser, struct url_part host, struct url_part port)
{
	struct url *url = parser->url;

	if (!url_is_host_name(host)) {
		return url_refuse(parser, host, "is neither a numeric host nor a host name");
	}
	memcpy(url->host, host.text, host.len);
	url->sockaddr.sa.sa_family = AF_UNSPEC;
	url->len = 0;
	return url_parse_port(parser, port, &url->port);
}

static int
url_parse_inet(const struct url_parser *parser, struct url_part host, struct url_part port)
{
	struct sockaddr_in *in = &parser->url->sockaddr.in;

	in->sin_family = AF_INET;
	parser->url->len = sizeof(*in);

	if (host.len == 1 && host.text[0] == '*') {
		if (parser->use == URL_CONNECT) {
			return url_refuse(parser, host, "is not a host to connect to");
		}
		in->sin_addr.s_addr = htonl(INADDR_ANY);
	} else if (!url_numeric_host(AF_INET, host, &in->sin_addr)) {
		return parser->use == URL_CONNECT
			       ? url_parse_name(parser, host, port)
			       : url_refuse(parser, host,
					    "is not a numeric host to listen on (127.0.0.1, [::1], "
					    "or *)");
	}
	return url_parse_port(parser, port, &in->sin_port);
}

/* @rest is what follows the opening bracket. */
static int
url_parse_inet6(const struct url_parser *parser, struct url_part rest)
{
	struct sockaddr_in6 *in6 = &parser->url->sockaddr.in6;
	const char *bracket = memchr(rest.text, ']', rest.len);
	struct url_part host = rest;
	struct url_part port;
	const char *percent;

	in6->sin6_family = AF_INET6;
	parser->url->len = sizeof(*in6);

	if (bracket == NULL) {
		return url_refuse(parser, rest, "has no closing bracket");
	}
	host.len = (size_t)(bracket - rest.text);
	port = (struct url_part){ bracket + 1, rest.len - host.len - 1 };

	percent = memchr(host.text, '%', host.len);
	if (percent != NULL) {
		struct url_part scope = { percent + 1,
					  host.len - (size_t)(percent + 1 - host.text) };

		if (!url_number(scope, UINT32_MAX, &in6->sin6_scope_id)) {
			return url_refuse(parser, scope, "is not a numeric scope");
		}
		host.len = (size_t)(percent - host.text);
	}
	if (!url_numeric_host(AF_INET6, host, &in6->sin6_addr)) {
		return url_refuse(parser, host, "is not a numeric IPv6 host");
	}
	if (port.len == 0 || port.text[0] != ':') {
		return url_refuse(parser, port, "should be :PORT");
	}
	return url_parse_port(parser, (struct url_part){ port.text + 1, port.len - 1 },
			      &in6->sin6_port);
}

static int
url_parse_tcp(const struct url_parser *parser, struct url_part rest)
{
	const char *colon = memchr(rest.text, ':', rest.len);
	struct url_part host = rest;
	struct url_part port;

	if (rest.len > 0 && rest.text[0] == '[') {
		return url_parse_inet6(parser, (struct url_part){ rest.text + 1, rest.len - 1 });
	}
	if (colon == NULL) {
		return url_refuse(parser, rest, "should be HOST:PORT");
	}
	host.len = (size_t)(colon - rest.text);
	port = (struct url_part){ colon + 1, rest.len - host.len - 1 };
	if (memchr(port.text, ':', port.len) != NULL) {
		return url_refuse(parser, rest, "should be HOST:PORT, an IPv6 host in brackets");
	}
	return url_parse_inet(parser, host, port);
}

/* A path ends with a NUL that counts; an abstract name begins with one, and its length ends it. */
static int
url_parse_unix(const struct url_parser *parser, struct url_part path)
{
	struct sockaddr_un *un = &parser->url->sockaddr.un;
	bool is_abstract = path.len > 0 && path.text[0] == '@';

	if (path.len < 2 || (path.text[0] != '/' && !is_abstract)) {
		return url_refuse(parser, path, "is neither an absolute path nor @name");
	}
	if (path.len >= sizeof(un->sun_path)) {
		return url_refuse(parser, path, "is longer than 107 bytes");
	}
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path.text, path.len);
	if (is_abstract) {
		un->sun_path[0] = '\0';
	}
	parser->url->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len +
				       (is_abstract ? 0 : 1));
	parser->url->is_unix = true;
	return 0;
}

static bool
url_skip(struct url_part *part, const char *prefix)
{
	size_t len = strlen(prefix);

	if (part->len < len || memcmp(part->text, prefix, len) != 0) {
		return false;
	}
	part->text += len;
	part->len -= len;
	return true;
}

int
rli_url_parse(struct url *url, const char *text, enum url_use use, const struct log *log)
{
	struct url_parser parser = { .url = url, .text = text, .use = use, .log = log };
	struct url_part rest = { text, 0 };

	RL_ASSERT(text != NULL);
	*url = (struct url){ .len = 0 };
	rest.len = strlen(text);

	if (url_skip(&rest, "tcp://")) {
		return url_parse_tcp(&parser, rest);
	}
	if (url_skip(&rest, "unix:")) {
		return url_parse_unix(&parser, rest);
	}
	if (url_skip(&rest, "tls://")) {
		url->is_tls = true;
		return url_parse_tcp(&parser, rest);
	}
	return url_refuse(&parser, rest,
			  "is neither tcp://HOST:PORT, tls://HOST:PORT, unix:/path nor unix:@name");
}

void
rli_url_host(const char *text, char out[URL_HOST_MAX + 1])
{
	const char *host = strstr(text, "//");
	size_t len;

	RL_ASSERT(host != NULL);
	host += 2;
	host += *host == '[' ? 1 : 0;
	len = host[-1] == '[' ? strcspn(host, "]%") : strcspn(host, ":");
	len -= len > 0 && host[len - 1] == '.' ? 1 : 0;
	(void)snprintf(out, URL_HOST_MAX + 1, "%.*s", (int)len, host);
}

void
rli_url_set_address(struct url *url, const union url_inet *inet)
{
	memset(&url->sockaddr, 0, sizeof(url->sockaddr));
	if (inet->in.sin_family == AF_INET) {
		url->sockaddr.in = inet->in;
		url->sockaddr.in.sin_port = url->port;
		url->len = sizeof(inet->in);
	} else {
		url->sockaddr.in6 = inet->in6;
		url->sockaddr.in6.sin6_port = url->port;
		url->len = sizeof(inet->in6);
	}
}

static void
url_format_unix(const struct url *url, char out[RL_URL_MAX])
{
	const struct sockaddr_un *un = &url->sockaddr.un;
	size_t offset = offsetof(struct sockaddr_un, sun_path);
	size_t len = url->len > offset ? url->len - offset : 0;

	if (len > sizeof(un->sun_path)) {
		len = sizeof(un->sun_path);
	}
	if (len > 0 && un->sun_path[0] == '\0') {
		(void)snprintf(out, RL_URL_MAX, "unix:@%.*s", (int)(len - 1), un->sun_path + 1);
	} else {
		(void)snprintf(out, RL_URL_MAX, "unix:%.*s", (int)len, un->sun_path);
	}
}

void
rli_url_format(const struct url *url, char out[RL_URL_MAX])
{
	const union url_sockaddr *addr = &url->sockaddr;
	const char *scheme = url->is_tls ? "tls" : "tcp";
	char host[INET6_ADDRSTRLEN] = "";
	char scope[12] = "";

	switch (addr->sa.sa_family) {
	case AF_INET:
		(void)inet_ntop(AF_INET, &addr->in.sin_addr, host, sizeof(host)); /* it has room */
		(void)snprintf(out, RL_URL_MAX, "%s://%s:%u", scheme, host,
			       ntohs(addr->in.sin_port));
		break;
	case AF_INET6:
		(void)inet_ntop(AF_INET6, &addr->in6.sin6_addr, host, sizeof(host)); /* likewise */
		if (addr->in6.sin6_scope_id != 0) {
			(void)snprintf(scope, sizeof(scope), "%%%u", addr->in6.sin6_scope_id);
		}
		(void)snprintf(out, RL_URL_MAX, "%s://[%s%s]:%u", scheme, host, scope,
			       ntohs(addr->in6.sin6_port));
		break;
	case AF_UNIX:
		url_format_unix(url, out);
		break;
	default:
		out[0] = '\0';
		break;
	}
}
