/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A keyed hash for tables whose keys a peer can choose: SipHash-2-4 of one 64-bit word (Aumasson
 * and Bernstein, 2012). Without the key nobody can make keys that fall into one bucket, so a table
 * stays a table whatever addresses its entries have.
 */
#ifndef RINGLINE_BASE_HASH_H
#define RINGLINE_BASE_HASH_H

#include <stdint.h>

#include "base/host.h"

struct hash_key {
	uint64_t k0;
	uint64_t k1;
};

struct hash_state {
	uint64_t v0;
	uint64_t v1;
	uint64_t v2;
	uint64_t v3;
};

static inline struct hash_key
hash_key_random(void)
{
	uint64_t k0 = rli_host_random();

	return (struct hash_key){ k0, rli_host_random() };
}

static inline uint64_t
hash_rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void
hash_round(struct hash_state *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = hash_rotate(s->v1, 13) ^ s->v0;
	s->v3 = hash_rotate(s->v3, 16) ^ s->v2;
	s->v0 = hash_rotate(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = hash_rotate(s->v1, 17) ^ s->v2;
	s->v3 = hash_rotate(s->v3, 21) ^ s->v0;
	s->v2 = hash_rotate(s->v2, 32);
}

static inline void
hash_block(struct hash_state *s, uint64_t block)
{
	s->v3 ^= block;
	hash_round(s);
	hash_round(s);
	s->v0 ^= block;
}

/* Of the 8 bytes of @word, lowest first. */
static inline uint64_t
hash_word(const struct hash_key *key, uint64_t word)
{
	struct hash_state s = {
		key->k0 ^ 0x736f6d6570736575ull,
		key->k1 ^ 0x646f72616e646f6dull,
		key->k0 ^ 0x6c7967656e657261ull,
		key->k1 ^ 0x7465646279746573ull,
	};

	hash_block(&s, word);
	hash_block(&s, (uint64_t)sizeof(word) << 56);
	s.v2 ^= 0xff;
	hash_round(&s);
	hash_round(&s);
	hash_round(&s);
	hash_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
