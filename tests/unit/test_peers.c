/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: each address is counted for itself and up to its limit, IPv6 by its network of 64 bits;
 *         what was added and removed leaves nothing; no address is another's.
 * How: addresses at the edges, and random use against a plain array; memory that runs out.
 * Not: who is counted when (integration.limits, the simulator). */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>

#include "net/peers.h"

#include "unit_memory.h"

static struct rl_addr
address(const char *text)
{
	struct rl_addr addr = { .family = strchr(text, ':') ? RL_ADDR_INET6 : RL_ADDR_INET };

	assert_int_equal(
		inet_pton(addr.family == RL_ADDR_INET6 ? AF_INET6 : AF_INET, text, addr.bytes), 1);
	return addr;
}

static struct peers
table(uint32_t conns_max)
{
	struct peers peers = { .enabled = false };

	assert_int_equal(rli_peers_init(&peers, conns_max), 0);
	assert_int_equal(rli_peers_enable(&peers), 0);
	return peers;
}

static void
peers_up_to_the_limit_each(void **state)
{
	struct peers peers = table(100);
	struct rl_addr one = address("192.0.2.1");
	struct rl_addr two = address("192.0.2.2");

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(rli_peers_add(&peers, &one, 3), 0);
	}
	one.port = 4711; /* a port is no other peer */
	assert_int_equal(rli_peers_add(&peers, &one, 3), -EDQUOT);
	assert_int_equal(rli_peers_add(&peers, &two, 3), 0);
	assert_int_equal(rli_peers_count(&peers, &one), 3);
	assert_int_equal(rli_peers_count(&peers, &two), 1);
	rli_peers_remove(&peers, &one);
	assert_int_equal(rli_peers_add(&peers, &one, 3), 0);
	assert_int_equal(rli_peers_add(&peers, &one, 4), 0); /* another listener's limit */
	for (uint32_t i = 0; i < 4; i++) {
		rli_peers_remove(&peers, &one);
	}
	rli_peers_remove(&peers, &two);
	assert_int_equal(peers.slab.taken, 0);
	rli_peers_fini(&peers);
}

static void
peers_of_one_ipv6_network_are_one(void **state)
{
	static const char *const others[] = {
		"2001:db8:0:2::1", "2001:db8:1:1::1", "2001:db9:0:1::1", "::1",
		"fe80::1",	   "0.0.0.1",	      "2001:db8::1",	 "32.1.13.184",
	};
	struct peers peers = table(100);
	struct rl_addr one = address("2001:db8:0:1::1");
	struct rl_addr same = address("2001:db8:0:1:ffff:ffff:ffff:ffff");

	(void)state;
	assert_int_equal(rli_peers_add(&peers, &one, 1), 0);
	assert_int_equal(rli_peers_add(&peers, &same, 1), -EDQUOT);
	for (size_t i = 0; i < UNIT_COUNT(others); i++) {
		struct rl_addr other = address(others[i]);

		assert_int_equal(rli_peers_count(&peers, &other), 0);
		assert_int_equal(rli_peers_add(&peers, &other, 1), 0);
	}
	assert_int_equal(peers.slab.taken, 1 + UNIT_COUNT(others));
	rli_peers_fini(&peers);
}

static void
peers_without_an_address_are_not_counted(void **state)
{
	struct rl_addr addr = { .family = RL_ADDR_UNIX };

	(void)state;
	assert_false(rli_peers_counts(&addr));
	addr.family = RL_ADDR_NONE;
	assert_false(rli_peers_counts(&addr));
	addr.family = RL_ADDR_INET;
	assert_true(rli_peers_counts(&addr));
	addr.family = RL_ADDR_INET6;
	assert_true(rli_peers_counts(&addr));
}

static void
peers_beyond_the_table_are_enomem(void **state)
{
	struct peers peers = table(2);
	struct rl_addr one = address("10.0.0.1");
	struct rl_addr two = address("10.0.0.2");
	struct rl_addr three = address("10.0.0.3");

	(void)state;
	assert_int_equal(rli_peers_add(&peers, &one, 9), 0);
	assert_int_equal(rli_peers_add(&peers, &two, 9), 0);
	assert_int_equal(rli_peers_add(&peers, &three, 9), -ENOMEM);
	assert_int_equal(rli_peers_add(&peers, &one, 9), 0);
	rli_peers_remove(&peers, &two);
	assert_int_equal(rli_peers_add(&peers, &three, 9), 0);
	rli_peers_fini(&peers);
}

static void
peers_cost_no_memory_before_they_are_enabled(void **state)
{
	size_t before = rli_host_pages_committed();
	struct peers peers = { .enabled = false };
	struct rl_addr one = address("10.0.0.1");

	(void)state;
	assert_int_equal(rli_peers_init(&peers, 1044480), 0);
	assert_int_equal(rli_host_pages_committed(), before);
	assert_int_equal(rli_peers_count(&peers, &one), 0);
	if (unit_memory_can_fail()) {
		struct rlimit limit = unit_memory_begin(0);
		int rc = rli_peers_enable(&peers);

		unit_memory_end(limit);
		assert_int_equal(rc, -ENOMEM);
	}
	assert_int_equal(rli_peers_enable(&peers), 0);
	assert_int_equal(rli_peers_enable(&peers), 0);
	assert_int_equal(rli_host_pages_committed() - before, 8 * 1048576);
	rli_peers_fini(&peers);
	assert_int_equal(rli_host_pages_committed(), before);
}

#define RANDOM_ADDRS 300
#define RANDOM_MAX   5

static void
run_random(uint64_t seed)
{
	struct peers peers = table(RANDOM_ADDRS);
	uint32_t counts[RANDOM_ADDRS] = { 0 };
	uint32_t used = 0;

	for (uint32_t step = 0; step < 20000; step++) {
		uint32_t i = (uint32_t)(unit_random(&seed) % RANDOM_ADDRS);
		struct rl_addr addr = { .family = i % 2 ? RL_ADDR_INET : RL_ADDR_INET6 };

		memcpy(addr.bytes, &i, sizeof(i));
		assert_int_equal(rli_peers_count(&peers, &addr), counts[i]);
		if (unit_random(&seed) % 2 == 0) {
			int rc = rli_peers_add(&peers, &addr, RANDOM_MAX);

			assert_int_equal(rc, counts[i] < RANDOM_MAX ? 0 : -EDQUOT);
			used += rc == 0 && counts[i] == 0;
			counts[i] += rc == 0;
		} else if (counts[i] > 0) {
			rli_peers_remove(&peers, &addr);
			used -= --counts[i] == 0;
		}
		assert_int_equal(peers.slab.taken, used);
	}
	rli_peers_fini(&peers);
}

static void
peers_random_use_matches_an_array(void **state)
{
	(void)state;
	unit_each_seed(run_random, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peers_up_to_the_limit_each),
		cmocka_unit_test(peers_of_one_ipv6_network_are_one),
		cmocka_unit_test(peers_without_an_address_are_not_counted),
		cmocka_unit_test(peers_beyond_the_table_are_enomem),
		cmocka_unit_test(peers_cost_no_memory_before_they_are_enabled),
		cmocka_unit_test(peers_random_use_matches_an_array),
	};

	return unit_run(tests);
}
