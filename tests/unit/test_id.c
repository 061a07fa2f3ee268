/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: ids give back what was packed, differ in every part, and are never "no id".
 * How: all borders of the three parts, and random parts.
 * Not: who may use an id; the tests of actors, timers and listeners do that.
 * Guards: pitfall 10.
 */
#include "unit.h"

#include "base/id.h"

static void
id_packed_gives_its_parts_back(void **state)
{
	static const uint32_t generations[] = { 1, 2, 0x7fffffff, 0x80000000, UINT32_MAX };
	static const uint32_t shards[] = { 0, 1, 127, 128, ID_SHARDS_MAX - 1 };
	static const uint32_t slots[] = { 0, 1, 0xffff, 0x800000, ID_SLOT_MAX };
	uint32_t i;

	(void)state;
	for (i = 0; i < 5 * 5 * 5; i++) {
		uint32_t generation = generations[i % 5];
		uint32_t shard = shards[i / 5 % 5];
		uint32_t slot = slots[i / 25];
		uint64_t id = id_pack(generation, shard, slot);

		assert_true(id != 0);
		assert_int_equal(id_generation(id), generation);
		assert_int_equal(id_shard(id), shard);
		assert_int_equal(id_slot(id), slot);
	}
}

static void
id_random_parts_come_back(void **state)
{
	uint64_t seed = 1;
	uint32_t i;

	(void)state;
	for (i = 0; i < 100000; i++) {
		uint32_t generation = (uint32_t)unit_random(&seed);
		uint32_t shard = unit_random(&seed) % ID_SHARDS_MAX;
		uint32_t slot = unit_random(&seed) & ID_SLOT_MAX;
		uint64_t id = id_pack(generation, shard, slot);

		assert_int_equal(id_generation(id), generation);
		assert_int_equal(id_shard(id), shard);
		assert_int_equal(id_slot(id), slot);
		assert_true(id_pack(generation + 1, shard, slot) != id);
		assert_true(id_pack(generation, shard ^ 1, slot) != id);
		assert_true(id_pack(generation, shard, slot ^ 1) != id);
	}
}

static void
id_parts_too_large_do_not_spill(void **state)
{
	(void)state;
	assert_true(id_pack(7, ID_SHARDS_MAX + 3, 5) == id_pack(7, 3, 5));
	assert_true(id_pack(7, 3, ID_SLOT_MAX + 1 + 5) == id_pack(7, 3, 5));
}

/* The first slot of the first shard is the one whose id would be all-zero. */
static void
id_generation_wrapped_skips_zero(void **state)
{
	(void)state;
	assert_int_equal(id_generation_next(0), 1); /* zeroed memory: the first generation */
	assert_int_equal(id_generation_next(1), 2);
	assert_true(id_generation_next(UINT32_MAX - 1) == UINT32_MAX);
	assert_int_equal(id_generation_next(UINT32_MAX), 1);
	assert_true(id_pack(id_generation_next(UINT32_MAX), 0, 0) != 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(id_packed_gives_its_parts_back),
		cmocka_unit_test(id_random_parts_come_back),
		cmocka_unit_test(id_parts_too_large_do_not_spill),
		cmocka_unit_test(id_generation_wrapped_skips_zero),
	};

	return unit_run(tests);
}
