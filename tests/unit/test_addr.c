/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: kernel addresses become plain data and text; what we don't know becomes RL_ADDR_NONE.
 * How: addresses made by hand, cut at every length, unaligned, and random bytes.
 * Not: what the kernel writes for which socket. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "net/addr.h"

static struct sockaddr_in
inet4(const char *host, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

	assert_int_equal(inet_pton(AF_INET, host, &in.sin_addr), 1);
	return in;
}

static struct sockaddr_in6
inet6(const char *host, uint16_t port, uint32_t scope)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(port),
				    .sin6_scope_id = scope };

	assert_int_equal(inet_pton(AF_INET6, host, &in6.sin6_addr), 1);
	return in6;
}

static void
check_text(const void *sockaddr, socklen_t len, enum rl_addr_family family, const char *expected)
{
	char text[RL_ADDR_TEXT_MAX + 1];
	struct rl_addr addr;

	memset(&addr, 0xff, sizeof(addr));
	memset(text, 'x', sizeof(text));
	rli_addr_from_sockaddr(&addr, sockaddr, len);
	assert_int_equal(addr.family, family);
	assert_ptr_equal(rl_addr_format(&addr, text), text);
	assert_string_equal(text, expected);
	assert_int_equal(text[RL_ADDR_TEXT_MAX], 'x');
}

static void
addr_of_each_family_has_its_text(void **state)
{
	struct sockaddr_in in = inet4("127.0.0.1", 7878);
	struct sockaddr_in6 in6 = inet6("::1", 7878, 0);
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	(void)state;
	check_text(&in, sizeof(in), RL_ADDR_INET, "127.0.0.1:7878");
	check_text(&in6, sizeof(in6), RL_ADDR_INET6, "[::1]:7878");
	check_text(&un, sizeof(un.sun_family), RL_ADDR_UNIX, "unix");
	check_text(&un, sizeof(un), RL_ADDR_UNIX, "unix");
	check_text(NULL, 0, RL_ADDR_NONE, "none");
}

static void
addr_bytes_are_in_network_order(void **state)
{
	static const uint8_t zeros[12];
	struct sockaddr_in in = inet4("1.2.3.4", 258);
	struct rl_addr addr;

	(void)state;
	rli_addr_from_sockaddr(&addr, &in, sizeof(in));
	assert_int_equal(addr.port, 258);
	assert_int_equal(addr.scope, 0);
	assert_memory_equal(addr.bytes, "\1\2\3\4", 4);
	assert_memory_equal(addr.bytes + 4, zeros, sizeof(zeros));
}

static void
addr_longest_text_fits(void **state)
{
	struct sockaddr_in6 in6 =
		inet6("1111:2222:3333:4444:5555:6666:7777:8888", 65535, UINT32_MAX);
	struct sockaddr_in in = inet4("255.255.255.255", 65535);

	(void)state;
	check_text(&in6, sizeof(in6), RL_ADDR_INET6,
		   "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535");
	check_text(&in, sizeof(in), RL_ADDR_INET, "255.255.255.255:65535");
}

static void
addr_ipv4_mapped_comes_out_as_ipv4(void **state)
{
	struct sockaddr_in6 in6 = inet6("::ffff:10.1.2.3", 80, 0);

	(void)state;
	check_text(&in6, sizeof(in6), RL_ADDR_INET, "10.1.2.3:80");
}

static void
addr_cut_or_foreign_is_none(void **state)
{
	struct sockaddr_in in = inet4("127.0.0.1", 7878);
	struct sockaddr_in6 in6 = inet6("::1", 7878, 0);
	struct sockaddr foreign = { .sa_family = AF_APPLETALK };
	socklen_t len;

	(void)state;
	for (len = 0; len < sizeof(in); len++) {
		check_text(&in, len, RL_ADDR_NONE, "none");
	}
	for (len = 0; len < sizeof(in6); len++) {
		check_text(&in6, len, RL_ADDR_NONE, "none");
	}
	check_text(&foreign, sizeof(foreign), RL_ADDR_NONE, "none");
}

static void
addr_family_out_of_range_prints_none(void **state)
{
	struct rl_addr addr = { .family = 200 };
	char text[RL_ADDR_TEXT_MAX];

	(void)state;
	assert_string_equal(rl_addr_format(&addr, text), "none");
}

/* Any bytes of any length, at an odd address; the sanitizers watch. */
static void
run_random(uint64_t seed)
{
	uint32_t step;

	for (step = 0; step < 20000; step++) {
		socklen_t len = (socklen_t)(unit_random(&seed) % 140);
		uint8_t *bytes = malloc(len + 1);
		char text[RL_ADDR_TEXT_MAX];
		struct rl_addr addr;
		uint32_t i;

		assert_non_null(bytes);
		for (i = 0; i <= len; i++) {
			bytes[i] = (uint8_t)unit_random(&seed);
		}
		if (len >= 2 && unit_random(&seed) % 4 != 0) {
			static const sa_family_t families[] = { AF_INET, AF_INET6, AF_UNIX };

			memcpy(bytes + 1, &families[unit_random(&seed) % 3], sizeof(sa_family_t));
		}
		rli_addr_from_sockaddr(&addr, bytes + 1, len);
		assert_in_range(addr.family, RL_ADDR_NONE, RL_ADDR_UNIX);
		assert_in_range(strlen(rl_addr_format(&addr, text)), 4, RL_ADDR_TEXT_MAX - 1);
		free(bytes);
	}
}

static void
addr_random_bytes_are_harmless(void **state)
{
	(void)state;
	unit_each_seed(run_random, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addr_of_each_family_has_its_text),
		cmocka_unit_test(addr_bytes_are_in_network_order),
		cmocka_unit_test(addr_longest_text_fits),
		cmocka_unit_test(addr_ipv4_mapped_comes_out_as_ipv4),
		cmocka_unit_test(addr_cut_or_foreign_is_none),
		cmocka_unit_test(addr_family_out_of_range_prints_none),
		cmocka_unit_test(addr_random_bytes_are_harmless),
	};

	return unit_run(tests);
}
