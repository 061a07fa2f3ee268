/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: the hash is SipHash-2-4 of 8 bytes, and another key is another hash.
 * How: the vector of its authors; counting bits and buckets.
 * Not: that SipHash keeps its promise. */
#include "unit.h"

#include "base/hash.h"

/* "vectors_sip64" of the reference implementation, the one for the input 00 01 .. 07. */
static void
hash_of_the_reference_is_the_references(void **state)
{
	const struct hash_key key = { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull };

	(void)state;
	assert_true(hash_word(&key, 0x0706050403020100ull) == 0x93f5f5799a932462ull);
}

static void
hash_with_another_key_is_another(void **state)
{
	uint32_t same = 0;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		struct hash_key a = hash_key_random();
		struct hash_key b = hash_key_random();

		same += (hash_word(&a, i) & 1023) == (hash_word(&b, i) & 1023);
	}
	assert_in_range(same, 0, 20); /* one is expected */
}

/* What a peer can choose best: addresses that differ in a few bits. */
static void
hash_spreads_neighbours_over_buckets(void **state)
{
	struct hash_key key = hash_key_random();
	uint8_t counts[1024] = { 0 };
	uint32_t most = 0;

	(void)state;
	for (uint64_t i = 0; i < 1024; i++) {
		uint8_t count = ++counts[hash_word(&key, i << 32) & 1023];

		most = count > most ? count : most;
	}
	assert_in_range(most, 2, 12);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_of_the_reference_is_the_references),
		cmocka_unit_test(hash_with_another_key_is_another),
		cmocka_unit_test(hash_spreads_neighbours_over_buckets),
	};

	return unit_run(tests);
}
