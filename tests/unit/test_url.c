/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: good URLs become the right address and back; bad ones are refused, with a line why.
 * How: tables of both, every length of path, and mutated URLs with random seeds.
 * Not: whether one may bind or connect there. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>

#include "net/url.h"

struct good {
	const char *text;
	const char *canonical; /* NULL: the same */
};

static const struct good good_for_both[] = {
	{ "tcp://127.0.0.1:7878", NULL },
	{ "tcp://0.0.0.0:1", NULL },
	{ "tcp://255.255.255.255:65535", NULL },
	{ "tcp://127.0.0.1:00080", "tcp://127.0.0.1:80" },
	{ "tcp://[::1]:7878", NULL },
	{ "tcp://[::]:80", NULL },
	{ "tcp://[0:0:0:0:0:0:0:1]:7878", "tcp://[::1]:7878" },
	{ "tcp://[FE80::1%2]:80", "tcp://[fe80::1%2]:80" },
	{ "tcp://[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535", NULL },
	{ "tcp://[::ffff:10.0.0.1]:80", NULL },
	{ "tls://127.0.0.1:443", NULL },
	{ "tls://[::1]:0443", "tls://[::1]:443" },
	{ "unix:/run/ringline.sock", NULL },
	{ "unix:/x", NULL },
	{ "unix:/with space:and/colons", NULL },
	{ "unix:@abstract", NULL },
	{ "unix:@x", NULL },
	{ "unix:@/not/a/path", NULL },
};

static const struct good good_for_listen[] = {
	{ "tcp://127.0.0.1:0", NULL },
	{ "tcp://*:7878", "tcp://0.0.0.0:7878" },
	{ "tcp://*:0", "tcp://0.0.0.0:0" },
	{ "tcp://[::]:0", NULL },
};

struct bad {
	const char *text;
	const char *part; /* what the line quotes */
	const char *reason;
};

static const struct bad bad_for_both[] = {
	{ "", "", "is neither tcp://HOST:PORT, tls://HOST:PORT, unix:/path nor unix:@name" },
	{ "127.0.0.1:80", "127.0.0.1:80", "is neither tcp://HOST:PORT" },
	{ "TCP://127.0.0.1:80", "TCP://127.0.0.1:80", "is neither tcp://HOST:PORT" },
	{ "tcp:/127.0.0.1:80", "tcp:/127.0.0.1:80", "is neither tcp://HOST:PORT" },
	{ " tcp://127.0.0.1:80", " tcp://127.0.0.1:80", "is neither tcp://HOST:PORT" },
	{ "http://127.0.0.1:80", "http://127.0.0.1:80", "is neither tcp://HOST:PORT" },
	{ "tls:/127.0.0.1:80", "tls:/127.0.0.1:80", "is neither tcp://HOST:PORT" },
	{ "tls://", "", "should be HOST:PORT" },
	{ "tcp://", "", "should be HOST:PORT" },
	{ "tcp://127.0.0.1", "127.0.0.1", "should be HOST:PORT" },
	{ "tcp://::1:80", "::1:80", "should be HOST:PORT, an IPv6 host in brackets" },
	{ "tcp://127.0.0.1:1:1", "127.0.0.1:1:1", "should be HOST:PORT, an IPv6 host in brackets" },
	{ "tcp://127.0.0.1:", "", "is not a port, 0 to 65535" },
	{ "tcp://127.0.0.1:65536", "65536", "is not a port, 0 to 65535" },
	{ "tcp://127.0.0.1:-1", "-1", "is not a port, 0 to 65535" },
	{ "tcp://127.0.0.1:+1", "+1", "is not a port, 0 to 65535" },
	{ "tcp://127.0.0.1:80/", "80/", "is not a port, 0 to 65535" },
	{ "tcp://127.0.0.1: 80", " 80", "is not a port, 0 to 65535" },
	{ "tcp://127.0.0.1:0x50", "0x50", "is not a port, 0 to 65535" },
	{ "tcp://127.0.0.1:18446744073709551696", "18446744073709551696", "is not a port" },
	{ "tcp://[::1", "::1", "has no closing bracket" },
	{ "tcp://[::1]", "", "should be :PORT" },
	{ "tcp://[::1]80", "80", "should be :PORT" },
	{ "tcp://[::1]:", "", "is not a port" },
	{ "tcp://[]:80", "", "is not a numeric IPv6 host" },
	{ "tcp://[*]:80", "*", "is not a numeric IPv6 host" },
	{ "tcp://[127.0.0.1]:80", "127.0.0.1", "is not a numeric IPv6 host" },
	{ "tcp://[::1%]:80", "", "is not a numeric scope" },
	{ "tcp://[fe80::1%eth0]:80", "eth0", "is not a numeric scope" },
	{ "tcp://[fe80::1%4294967296]:80", "4294967296", "is not a numeric scope" },
	{ "unix:", "", "is neither an absolute path nor @name" },
	{ "unix:/", "/", "is neither an absolute path nor @name" },
	{ "unix:@", "@", "is neither an absolute path nor @name" },
	{ "unix:relative", "relative", "is neither an absolute path nor @name" },
	{ "unix:./relative", "./relative", "is neither an absolute path nor @name" },
};

static const struct bad bad_for_listen[] = {
	{ "tcp://:80", "", "is not a numeric host to listen on" },
	{ "tcp://localhost:80", "localhost", "is not a numeric host to listen on" },
	{ "tcp://127.0.0.1.:80", "127.0.0.1.", "is not a numeric host to listen on" },
	{ "tcp://256.0.0.1:80", "256.0.0.1", "is not a numeric host to listen on" },
	{ "tcp://127.1:80", "127.1", "is not a numeric host to listen on" },
	{ "tcp://**:80", "**", "is not a numeric host to listen on" },
	{ "tcp://a\nb:80", "a\\x0ab", "is not a numeric host to listen on" },
	{ "tcp://\x1b[31m:80", "\\x1b[31m", "is not a numeric host to listen on" },
};

#define NO_NAME "is neither a numeric host nor a host name"

static const struct bad bad_for_connect[] = {
	{ "tcp://:80", "", NO_NAME },
	{ "tcp://.:80", ".", NO_NAME },
	{ "tcp://a..b:80", "a..b", NO_NAME },
	{ "tcp://.a:80", ".a", NO_NAME },
	{ "tcp://-a:80", "-a", NO_NAME },
	{ "tcp://a b:80", "a b", NO_NAME },
	{ "tcp://a/b:80", "a/b", NO_NAME },
	{ "tcp://user@host:80", "user@host", NO_NAME },
	{ "tcp://b\xc3\xbc.example:80", "b\\xc3\\xbc.example", NO_NAME },
	{ "tcp://a\nb:80", "a\\x0ab", NO_NAME },
	{ "tcp://\x1b[31m:80", "\\x1b[31m", NO_NAME },
	{ "tcp://**:80", "**", NO_NAME },
	/* what the resolver would take for an address, in the ways of old */
	{ "tcp://127.0.0.1.:80", "127.0.0.1.", NO_NAME },
	{ "tcp://256.0.0.1:80", "256.0.0.1", NO_NAME },
	{ "tcp://127.1:80", "127.1", NO_NAME },
	{ "tcp://2130706433:80", "2130706433", NO_NAME },
	{ "tcp://99999999999999999999:80", "99999999999999999999", NO_NAME },
	{ "tcp://0x7f000001:80", "0x7f000001", NO_NAME },
	{ "tcp://0x7f.0.0.0X1:80", "0x7f.0.0.0X1", NO_NAME },
	{ "tcp://example.org:0", "0", "is not a port to connect to, 1 to 65535" },
	{ "tcp://example.org:", "", "is not a port" },
	{ "tcp://example.org", "example.org", "should be HOST:PORT" },
	{ "tcp://127.0.0.1:0", "0", "is not a port to connect to, 1 to 65535" },
	{ "tcp://[::1]:0", "0", "is not a port to connect to, 1 to 65535" },
	{ "tcp://*:80", "*", "is not a host to connect to" },
};

static void
check_good(const struct good *good, enum url_use use)
{
	char out[RL_URL_MAX];
	struct unit_log log;
	struct url url;
	struct url again;

	unit_log_init(&log);
	memset(&url, 0xff, sizeof(url));
	assert_int_equal(rli_url_parse(&url, good->text, use, &log.log), 0);
	assert_int_equal(log.lines, 0);
	rli_url_format(&url, out);
	assert_string_equal(out, good->canonical != NULL ? good->canonical : good->text);

	/* What is printed means the same. */
	assert_int_equal(rli_url_parse(&again, out, use, &log.log), 0);
	assert_int_equal(again.len, url.len);
	assert_int_equal(again.is_unix, url.is_unix);
	assert_int_equal(again.is_tls, url.is_tls);
	assert_int_equal(url.is_tls, strncmp(good->text, "tls", 3) == 0);
	assert_memory_equal(&again.sockaddr, &url.sockaddr, sizeof(url.sockaddr));
}

static void
check_bad(const struct bad *bad, enum url_use use)
{
	char quoted[256];
	struct unit_log log;
	struct url url;

	unit_log_init(&log);
	assert_int_equal(rli_url_parse(&url, bad->text, use, &log.log), -EINVAL);
	assert_int_equal(log.lines, 1);
	assert_int_equal(log.level, RL_LOG_ERROR);
	assert_int_equal(log.shard, LOG_NO_SHARD);
	(void)snprintf(quoted, sizeof(quoted), "\": \"%s\" %s", bad->part, bad->reason);
	if (strncmp(log.text, "url \"", 5) != 0 || strstr(log.text, quoted) == NULL) {
		fail_msg("%s: expected %s, got: %s", bad->text, quoted, log.text);
	}
}

static void
url_good_is_parsed_and_printed(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(good_for_both); i++) {
		check_good(&good_for_both[i], URL_LISTEN);
		check_good(&good_for_both[i], URL_CONNECT);
	}
	for (i = 0; i < UNIT_COUNT(good_for_listen); i++) {
		check_good(&good_for_listen[i], URL_LISTEN);
	}
}

static void
url_bad_is_refused_with_the_part(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(bad_for_both); i++) {
		check_bad(&bad_for_both[i], URL_LISTEN);
		check_bad(&bad_for_both[i], URL_CONNECT);
	}
	for (i = 0; i < UNIT_COUNT(bad_for_listen); i++) {
		check_bad(&bad_for_listen[i], URL_LISTEN);
	}
	for (i = 0; i < UNIT_COUNT(bad_for_connect); i++) {
		check_bad(&bad_for_connect[i], URL_CONNECT);
	}
}

static void
url_tcp_has_the_sockaddr_that_it_says(void **state)
{
	struct unit_log log;
	struct url url;

	(void)state;
	unit_log_init(&log);
	assert_int_equal(rli_url_parse(&url, "tcp://1.2.3.4:258", URL_CONNECT, &log.log), 0);
	assert_false(url.is_unix);
	assert_int_equal(url.len, sizeof(struct sockaddr_in));
	assert_int_equal(url.sockaddr.in.sin_family, AF_INET);
	assert_int_equal(url.sockaddr.in.sin_port, htons(258));
	assert_memory_equal(&url.sockaddr.in.sin_addr, "\1\2\3\4", 4);

	assert_int_equal(rli_url_parse(&url, "tcp://[fe80::1%7]:258", URL_CONNECT, &log.log), 0);
	assert_false(url.is_unix);
	assert_int_equal(url.len, sizeof(struct sockaddr_in6));
	assert_int_equal(url.sockaddr.in6.sin6_family, AF_INET6);
	assert_int_equal(url.sockaddr.in6.sin6_port, htons(258));
	assert_int_equal(url.sockaddr.in6.sin6_scope_id, 7);
	assert_int_equal(url.sockaddr.in6.sin6_addr.s6_addr[0], 0xfe);
	assert_int_equal(url.sockaddr.in6.sin6_addr.s6_addr[15], 1);
}

static void
url_name_is_kept_until_it_has_an_address(void **state)
{
	static const char *const names[] = {
		"localhost", "example.org", "example.org.", "a",
		"1a",	     "a1.b-2.c_3",  "0x.a",	    "3com.com",
	};
	union url_inet inet = { .in = { .sin_family = AF_INET } };
	union url_inet inet6 = { .in6 = { .sin6_family = AF_INET6, .sin6_scope_id = 3 } };
	char text[300];
	struct unit_log log;
	struct url url;

	(void)state;
	unit_log_init(&log);
	for (size_t i = 0; i < UNIT_COUNT(names); i++) {
		(void)snprintf(text, sizeof(text), "tcp://%s:258", names[i]);
		assert_int_equal(rli_url_parse(&url, text, URL_CONNECT, &log.log), 0);
		assert_true(url_is_name(&url));
		assert_string_equal(url.host, names[i]);
		assert_int_equal(url.sockaddr.sa.sa_family, AF_UNSPEC);
		assert_int_equal(url.len, 0);
		rli_url_format(&url, text);
		assert_string_equal(text, "");
	}
	inet.in.sin_addr.s_addr = htonl(0x01020304);
	rli_url_set_address(&url, &inet);
	rli_url_format(&url, text);
	assert_string_equal(text, "tcp://1.2.3.4:258");
	assert_int_equal(url.len, sizeof(struct sockaddr_in));
	inet6.in6.sin6_addr.s6_addr[0] = 0xfe;
	inet6.in6.sin6_addr.s6_addr[1] = 0x80;
	rli_url_set_address(&url, &inet6);
	rli_url_format(&url, text);
	assert_string_equal(text, "tcp://[fe80::%3]:258");
	assert_int_equal(url.len, sizeof(struct sockaddr_in6));
	assert_string_equal(url.host, "3com.com");
	assert_int_equal(log.lines, 0);
}

/* Names and labels of any length, around 253 and 63 bytes. */
static void
url_name_up_to_253_bytes_fits(void **state)
{
	char text[400];
	struct unit_log log;
	struct url url;

	(void)state;
	unit_log_init(&log);
	for (size_t len = 1; len < 300; len++) {
		for (size_t label = 60; label < 67; label++) {
			size_t longest = len < label ? len : label;

			memcpy(text, "tcp://", 6);
			for (size_t i = 0; i < len; i++) {
				text[6 + i] = i % (label + 1) == label ? '.' : 'x';
			}
			memcpy(text + 6 + len, ":1", 3);
			assert_int_equal(rli_url_parse(&url, text, URL_CONNECT, &log.log),
					 len <= 253 && longest <= 63 ? 0 : -EINVAL);
		}
	}
}

static void
url_unix_has_the_sockaddr_that_it_says(void **state)
{
	struct unit_log log;
	struct url url;

	(void)state;
	unit_log_init(&log);
	assert_int_equal(rli_url_parse(&url, "unix:/a/b", URL_LISTEN, &log.log), 0);
	assert_true(url.is_unix);
	assert_int_equal(url.sockaddr.un.sun_family, AF_UNIX);
	assert_string_equal(url.sockaddr.un.sun_path, "/a/b");
	assert_int_equal(url.len, offsetof(struct sockaddr_un, sun_path) + 5);

	assert_int_equal(rli_url_parse(&url, "unix:@ab", URL_LISTEN, &log.log), 0);
	assert_true(url.is_unix);
	assert_memory_equal(url.sockaddr.un.sun_path, "\0ab\0", 4);
	assert_int_equal(url.len, offsetof(struct sockaddr_un, sun_path) + 3);
}

static void
url_unix_up_to_107_bytes_fits(void **state)
{
	char text[256] = "unix:";
	char out[RL_URL_MAX];
	struct unit_log log;
	struct url url;
	uint32_t len;
	uint32_t i;

	(void)state;
	unit_log_init(&log);
	for (i = 0; i < 2; i++) {
		for (len = 2; len <= 200; len++) {
			memset(text + 5, 'p', len);
			text[5] = i == 0 ? '/' : '@';
			text[5 + len] = '\0';
			assert_int_equal(rli_url_parse(&url, text, URL_CONNECT, &log.log),
					 len <= 107 ? 0 : -EINVAL);
			if (len <= 107) {
				assert_in_range(url.len, 1, sizeof(struct sockaddr_un));
				rli_url_format(&url, out);
				assert_string_equal(out, text);
			} else {
				assert_non_null(strstr(log.text, "is longer than 107 bytes"));
			}
		}
	}
}

/* No host is too long for the buffer that it is parsed in. */
static void
url_host_of_any_length_is_refused(void **state)
{
	struct unit_log log;
	struct url url;
	int len;

	(void)state;
	unit_log_init(&log);
	for (len = 1; len < 200; len++) {
		char text[256];

		(void)snprintf(text, sizeof(text), "tcp://%0*d:80", len, 0);
		assert_int_equal(rli_url_parse(&url, text, URL_LISTEN, &log.log), -EINVAL);
		assert_non_null(strstr(log.text, "is not a numeric host"));
		(void)snprintf(text, sizeof(text), "tcp://[%0*d]:80", len, 0);
		assert_int_equal(rli_url_parse(&url, text, URL_LISTEN, &log.log), -EINVAL);
		assert_non_null(strstr(log.text, "is not a numeric IPv6 host"));
	}
}

static void
url_long_is_cut_in_the_line(void **state)
{
	char text[3000];
	struct unit_log log;
	struct url url;

	(void)state;
	unit_log_init(&log);
	memset(text, '\n', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(rli_url_parse(&url, text, URL_LISTEN, &log.log), -EINVAL);
	assert_non_null(strstr(log.text, "\\x0a...\": \"\\x0a"));
	/* However long it was, the reason is there whole. */
	assert_non_null(strstr(log.text, "\\x0a...\" is neither tcp://HOST:PORT, "
					 "tls://HOST:PORT, unix:/path nor unix:@name"));
}

static void
url_host_is_what_was_written(void **state)
{
	static const char *const rows[][2] = {
		{ "tls://127.0.0.1:443", "127.0.0.1" },
		{ "tcp://[::1]:80", "::1" },
		{ "tls://[FE80::1%2]:80", "FE80::1" },
		{ "tcp://*:80", "*" },
		{ "tls://example.org:443", "example.org" },
		{ "tls://example.org.:443", "example.org" },
	};
	char host[URL_HOST_MAX + 1];
	char text[300];

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
		rli_url_host(rows[i][0], host);
		assert_string_equal(host, rows[i][1]);
	}
	/* the longest name, whole */
	(void)snprintf(text, sizeof(text), "tls://%0*d:443", URL_HOST_MAX, 0);
	rli_url_host(text, host);
	assert_int_equal(strlen(host), URL_HOST_MAX);
}

static void
url_unknown_family_prints_nothing(void **state)
{
	struct url url = { .len = 0 };
	char out[RL_URL_MAX] = "x";

	(void)state;
	rli_url_format(&url, out);
	assert_string_equal(out, "");

	/* An unnamed Unix socket, as the kernel gives it. */
	url.sockaddr.un.sun_family = AF_UNIX;
	url.len = sizeof(sa_family_t);
	rli_url_format(&url, out);
	assert_string_equal(out, "unix:");

	/* A path that fills sun_path has no NUL behind it. */
	memset(url.sockaddr.un.sun_path, 'p', sizeof(url.sockaddr.un.sun_path));
	url.len = sizeof(url.sockaddr.un);
	rli_url_format(&url, out);
	assert_int_equal(strlen(out), 5 + sizeof(url.sockaddr.un.sun_path));

	/* The kernel counts the NUL that had no room. */
	url.len = sizeof(url.sockaddr.un) + 1;
	rli_url_format(&url, out);
	assert_int_equal(strlen(out), 5 + sizeof(url.sockaddr.un.sun_path));
}

static void
parse_null(void *arg)
{
	struct unit_log log;
	struct url url;

	unit_log_init(&log);
	(void)rli_url_parse(&url, arg, URL_LISTEN, &log.log);
}

static void
url_null_asserts(void **state)
{
	(void)state;
	assert_true(unit_asserts(parse_null, NULL));
}

/* Bytes that the grammar knows, and some that it does not. */
static char
random_byte(uint64_t *seed)
{
	static const char bytes[] = "tcp://unix:@/[]:*%.0123456789abcdef-+ ls\n\x1b\x7f\x80\xff";

	return unit_random(seed) % 8 == 0 ? (char)(1 + unit_random(seed) % 255)
					  : bytes[unit_random(seed) % (sizeof(bytes) - 1)];
}

static size_t
random_url(char *text, size_t size, uint64_t *seed)
{
	size_t len = 0;
	uint64_t edits;

	if (unit_random(seed) % 3 == 0) {
		for (len = 0; len < unit_random(seed) % (size - 1); len++) {
			text[len] = random_byte(seed);
		}
		text[len] = '\0';
		return len;
	}
	(void)snprintf(text, size, "%s",
		       good_for_both[unit_random(seed) % UNIT_COUNT(good_for_both)].text);
	len = strlen(text);
	for (edits = unit_random(seed) % 4; edits > 0; edits--) {
		size_t at = (size_t)(unit_random(seed) % (len + 1));

		switch (unit_random(seed) % 3) {
		case 0: /* insert */
			memmove(text + at + 1, text + at, len - at + 1);
			text[at] = random_byte(seed);
			len++;
			break;
		case 1: /* cut */
			text[at] = '\0';
			len = at;
			break;
		default: /* overwrite */
			if (at < len) {
				text[at] = random_byte(seed);
			}
			break;
		}
	}
	return len;
}

static void
run_random(uint64_t seed)
{
	uint32_t step;

	for (step = 0; step < 50000; step++) {
		char text[160];
		char out[RL_URL_MAX];
		size_t len = random_url(text, sizeof(text) - 4, &seed);
		char *exact = malloc(len + 1); /* so that the sanitizer sees one byte too far */
		enum url_use use = unit_random(&seed) % 2 == 0 ? URL_LISTEN : URL_CONNECT;
		struct unit_log log;
		struct url url;
		int rc;

		assert_non_null(exact);
		memcpy(exact, text, len + 1);
		unit_log_init(&log);
		rc = rli_url_parse(&url, exact, use, &log.log);
		if (rc == 0) {
			struct good good = { exact, NULL };

			assert_int_equal(log.lines, 0);
			if (url_is_name(&url)) {
				free(exact); /* it is no address yet */
				continue;
			}
			rli_url_format(&url, out);
			good.canonical = out;
			check_good(&good, use);
		} else {
			const char *byte;

			assert_int_equal(rc, -EINVAL);
			assert_int_equal(log.lines, 1);
			for (byte = log.text; *byte != '\0'; byte++) {
				assert_in_range((unsigned char)*byte, ' ', '~');
			}
		}
		free(exact);
	}
}

static void
url_random_is_parsed_or_refused(void **state)
{
	(void)state;
	unit_each_seed(run_random, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(url_good_is_parsed_and_printed),
		cmocka_unit_test(url_bad_is_refused_with_the_part),
		cmocka_unit_test(url_tcp_has_the_sockaddr_that_it_says),
		cmocka_unit_test(url_name_is_kept_until_it_has_an_address),
		cmocka_unit_test(url_name_up_to_253_bytes_fits),
		cmocka_unit_test(url_unix_has_the_sockaddr_that_it_says),
		cmocka_unit_test(url_unix_up_to_107_bytes_fits),
		cmocka_unit_test(url_host_of_any_length_is_refused),
		cmocka_unit_test(url_long_is_cut_in_the_line),
		cmocka_unit_test(url_host_is_what_was_written),
		cmocka_unit_test(url_unknown_family_prints_nothing),
		cmocka_unit_test(url_null_asserts),
		cmocka_unit_test(url_random_is_parsed_or_refused),
	};

	return unit_run(tests);
}
