/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: slots are distinct, keep their contents and place, are reused warm, and end in time.
 * How: by hand at the borders, and against a model with random takes and gives.
 * Not: what a slot's owner does with it; the guard words of debug builds are absent with NDEBUG. */
#include "unit.h"

#include <errno.h>

#include "base/slab.h"
#include "unit_memory.h"

#define STEP ((size_t)65536)

/* What lies between two slots: debug builds have a guard there. */
#ifdef NDEBUG
#define GUARD_BYTES ((size_t)0)
#else
#define GUARD_BYTES ((size_t)16)
#endif

static void
slab_fresh_has_no_slots_and_no_memory(void **state)
{
	size_t before = rli_host_pages_committed();
	struct slab slab;

	(void)state;
	assert_int_equal(rli_slab_init(&slab, 64, 1000), 0);
	assert_null(rli_slab_at(&slab, 0));
	assert_int_equal(slab.taken, 0);
	assert_int_equal(rli_host_pages_committed(), before);
	assert_true(rli_slab_reserved_bytes(&slab) >= 64 * 1000);
	rli_slab_fini(&slab);
	rli_slab_fini(&slab); /* again, and on zeroed memory: nothing */
}

static void
slab_taken_slots_are_zeroed_aligned_and_numbered(void **state)
{
	struct slab slab;
	uint32_t number;
	uint32_t i;

	(void)state;
	assert_int_equal(rli_slab_init(&slab, 49, 100), 0);
	for (number = 0; number < 100; number++) {
		uint8_t *slot = rli_slab_take(&slab);

		assert_non_null(slot);
		assert_int_equal((uintptr_t)slot % 16, 0);
		assert_int_equal(rli_slab_number(&slab, slot), number);
		assert_ptr_equal(rli_slab_at(&slab, number), slot);
		assert_ptr_equal(rli_slab_slot(&slab, number, 49), slot);
		assert_null(rli_slab_at(&slab, number + 1));
		for (i = 0; i < 49; i++) {
			assert_int_equal(slot[i], 0);
		}
		memset(slot, 0xff, 49);
	}
	assert_int_equal(slab.taken, 100);
	assert_null(rli_slab_take(&slab));
	assert_null(rli_slab_at(&slab, UINT32_MAX));
	rli_slab_fini(&slab);
}

static void
slab_given_slots_come_back_last_first(void **state)
{
	struct slab slab;
	uint64_t *slots[3];
	uint32_t i;

	(void)state;
	assert_int_equal(rli_slab_init(&slab, 64, 3), 0);
	for (i = 0; i < 3; i++) {
		slots[i] = rli_slab_take(&slab);
		slots[i][1] = i + 1;
	}
	rli_slab_give(&slab, slots[1]);
	rli_slab_give(&slab, slots[0]);
	rli_slab_give(&slab, slots[2]);
	assert_int_equal(slab.taken, 0);

	/* A free slot still is memory of its type, but for its first 4 bytes. */
	assert_int_equal(((uint64_t *)rli_slab_at(&slab, 2))[1], 3);

	assert_ptr_equal(rli_slab_take(&slab), slots[2]);
	assert_ptr_equal(rli_slab_take(&slab), slots[0]);
	assert_ptr_equal(rli_slab_take(&slab), slots[1]);
	assert_null(rli_slab_take(&slab));
	for (i = 0; i < 3; i++) {
		assert_int_equal(slots[i][1], i + 1);
	}
	rli_slab_fini(&slab);
}

/* Slots of 48,000 and 200,000 bytes lie across the borders of commits, or across several. */
static void
slab_slots_across_commits_are_usable_whole(void **state)
{
	static const uint32_t sizes[] = { 16, 4096, 48000, 65536, 200000 };
	uint32_t i;
	uint32_t number;

	(void)state;
	for (i = 0; i < UNIT_COUNT(sizes); i++) {
		size_t before = rli_host_pages_committed();
		uint32_t slots_max = (uint32_t)(4 * STEP / sizes[i]) + 3;
		struct slab slab;

		assert_int_equal(rli_slab_init(&slab, sizes[i], slots_max), 0);
		for (number = 0; number < slots_max; number++) {
			uint8_t *slot = rli_slab_take(&slab);
			size_t committed = rli_host_pages_committed() - before;

			assert_non_null(slot);
			memset(slot, 0xff, sizes[i]);

			/* As much as is used, rounded up to a step, and not more. */
			assert_int_equal(committed % STEP, 0);
			assert_true(committed >= ((size_t)number + 1) * sizes[i]);
			assert_true(committed < ((size_t)number + 1) * slab.slot_size + STEP);
		}
		assert_null(rli_slab_take(&slab));
		rli_slab_fini(&slab);
		assert_int_equal(rli_host_pages_committed(), before);
	}
}

/* The free list counts in the largest power of two that slots lie at multiples of. */
static void
slab_free_list_names_slots_of_any_size(void **state)
{
	static const size_t sizes[] = { 16, 48, 1024, 48000, 65536 };
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(sizes); i++) {
		struct slab slab;
		uint8_t *first;
		uint8_t *second;

		assert_int_equal(rli_slab_init(&slab, sizes[i], 3), 0);
		assert_int_equal(slab.slot_size % ((size_t)1 << slab.slot_shift), 0);
		assert_int_equal(slab.slot_size >> slab.slot_shift & 1, 1);
		first = rli_slab_take(&slab);
		second = rli_slab_take(&slab);
		rli_slab_give(&slab, first);
		rli_slab_give(&slab, second);
		assert_int_equal(slab.free_first, (slab.slot_size >> slab.slot_shift) + 1);
		assert_ptr_equal(rli_slab_take(&slab), second);
		assert_ptr_equal(rli_slab_take(&slab), first);
		assert_int_equal(slab.free_first, 0);
		rli_slab_fini(&slab);
	}
}

static void
slab_without_address_space_answers_enomem(void **state)
{
	struct slab slab;

	(void)state;
	/* 2^62 bytes, which the free list could count: it does so in units of 2^30 */
	assert_int_equal(rli_slab_init(&slab, ((size_t)1 << 30) - GUARD_BYTES, UINT32_MAX - 1),
			 -ENOMEM);
	rli_slab_fini(&slab);
}

static void
slab_without_memory_gives_nothing_and_recovers(void **state)
{
	struct slab slab;
	struct rlimit before;
	void *refused;

	(void)state;
	assert_int_equal(rli_slab_init(&slab, 4096, 100), 0);
	if (unit_memory_can_fail()) {
		before = unit_memory_begin(0);
		refused = rli_slab_take(&slab);
		unit_memory_end(before);
		assert_null(refused);
		assert_int_equal(slab.taken, 0);
		assert_null(rli_slab_at(&slab, 0));
	}
	assert_non_null(rli_slab_take(&slab));
	rli_slab_fini(&slab);
}

struct misuse {
	struct slab slab;
	uint8_t *slot;
};

static void
give_twice(void *arg)
{
	struct misuse *misuse = arg;

	rli_slab_give(&misuse->slab, misuse->slot);
	rli_slab_give(&misuse->slab, misuse->slot);
}

static void
give_middle(void *arg)
{
	struct misuse *misuse = arg;

	rli_slab_give(&misuse->slab, misuse->slot + 16);
}

static void
give_never_taken(void *arg)
{
	struct misuse *misuse = arg;

	rli_slab_give(&misuse->slab, misuse->slot + misuse->slab.slot_size);
}

static void
give_foreign(void *arg)
{
	struct misuse *misuse = arg;

	rli_slab_give(&misuse->slab, misuse);
}

static void
write_beyond(void *arg)
{
	struct misuse *misuse = arg;

	memset(misuse->slot, 0, 65);
	rli_slab_give(&misuse->slab, misuse->slot);
}

static void
slab_misused_asserts(void **state)
{
	struct misuse misuse;

	(void)state;
	assert_int_equal(rli_slab_init(&misuse.slab, 64, 10), 0);
	misuse.slot = rli_slab_take(&misuse.slab);
	assert_true(unit_asserts(give_foreign, &misuse));
#ifndef NDEBUG
	assert_true(unit_asserts(give_middle, &misuse));
	assert_true(unit_asserts(give_never_taken, &misuse));
	assert_true(unit_asserts(give_twice, &misuse));
	assert_true(unit_asserts(write_beyond, &misuse));
#else
	(void)give_middle;
	(void)give_never_taken;
	(void)give_twice;
	(void)write_beyond;
#endif
	rli_slab_fini(&misuse.slab);
}

#define MODEL_SLOTS 1000

/* Every slot carries its number and a tag; whoever has it finds both as they were. */
static void
run_model(uint64_t seed)
{
	uint64_t *taken[MODEL_SLOTS];
	uint64_t tags[MODEL_SLOTS];
	uint32_t count = 0;
	struct slab slab;
	uint32_t step;

	assert_int_equal(rli_slab_init(&slab, 8 + unit_random(&seed) % 3000, MODEL_SLOTS), 0);
	for (step = 0; step < 20000; step++) {
		bool grow = unit_random(&seed) % 1000 < (step / 4000 % 2 == 0 ? 700 : 300);

		if (grow && count == MODEL_SLOTS) {
			assert_null(rli_slab_take(&slab));
		} else if (grow) {
			taken[count] = rli_slab_take(&slab);
			assert_non_null(taken[count]);
			assert_ptr_equal(rli_slab_at(&slab, rli_slab_number(&slab, taken[count])),
					 taken[count]);
			tags[count] = unit_random(&seed);
			*taken[count] = tags[count];
			count++;
		} else if (count > 0) {
			uint32_t i = (uint32_t)(unit_random(&seed) % count);

			assert_true(*taken[i] == tags[i]);
			rli_slab_give(&slab, taken[i]);
			count--;
			taken[i] = taken[count];
			tags[i] = tags[count];
		}
		assert_int_equal(slab.taken, count);
	}
	rli_slab_fini(&slab);
}

static void
slab_random_use_matches_the_model(void **state)
{
	(void)state;
	unit_each_seed(run_model, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slab_fresh_has_no_slots_and_no_memory),
		cmocka_unit_test(slab_taken_slots_are_zeroed_aligned_and_numbered),
		cmocka_unit_test(slab_given_slots_come_back_last_first),
		cmocka_unit_test(slab_slots_across_commits_are_usable_whole),
		cmocka_unit_test(slab_free_list_names_slots_of_any_size),
		cmocka_unit_test(slab_without_address_space_answers_enomem),
		cmocka_unit_test(slab_without_memory_gives_nothing_and_recovers),
		cmocka_unit_test(slab_misused_asserts),
		cmocka_unit_test(slab_random_use_matches_the_model),
	};

	return unit_run(tests);
}
