/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what was inserted is found, until it is removed, also when all share a bucket or a hash;
 *         a full table says so, and has room again.
 * How: names by number against an array; hashes that are chosen.
 * Not: who inserts what; test_name.c has that.
 */
#include "unit.h"

#include "actor/name_table.h"

#define NAMES_MAX 100

static struct name_table table;

static int
bed_setup(void **state)
{
	(void)state;
	memset(&table, 0, sizeof(table));
	assert_int_equal(rli_name_table_init(&table, sizeof(struct name), NAMES_MAX / 3, NAMES_MAX),
			 0);
	return 0;
}

static int
bed_teardown(void **state)
{
	(void)state;
	rli_name_table_fini(&table);
	return 0;
}

static struct name_key
key_of(uint32_t number, char text[RL_MSG_INLINE_MAX])
{
	int len = snprintf(text, RL_MSG_INLINE_MAX, "name %u", number);

	return rli_name_key(text, (size_t)len);
}

static void
table_inserted_names_are_found_until_removed(void **state)
{
	struct name *names[NAMES_MAX] = { 0 };
	uint64_t random = 1;

	(void)state;
	for (uint32_t step = 0; step < 20000; step++) {
		uint32_t number = (uint32_t)(unit_random(&random) % NAMES_MAX);
		char text[RL_MSG_INLINE_MAX];
		struct name_key key = key_of(number, text);

		assert_ptr_equal(rli_name_table_find(&table, &key), names[number]);
		if (names[number] != NULL) {
			assert_int_equal(names[number]->id, number);
			rli_name_table_remove(&table, names[number]);
			names[number] = NULL;
		} else {
			names[number] = rli_name_table_insert(&table, &key);
			assert_non_null(names[number]);
			assert_int_equal(names[number]->id, 0);
			names[number]->id = number;
		}
	}
}

static void
table_full_refuses_and_has_room_again(void **state)
{
	struct name *last = NULL;
	char text[RL_MSG_INLINE_MAX];
	struct name_key key;

	(void)state;
	for (uint32_t i = 0; i < NAMES_MAX; i++) {
		key = key_of(i, text);
		last = rli_name_table_insert(&table, &key);
		assert_non_null(last);
	}
	key = key_of(NAMES_MAX, text);
	assert_null(rli_name_table_insert(&table, &key));
	assert_null(rli_name_table_find(&table, &key));
	rli_name_table_remove(&table, last);
	assert_non_null(rli_name_table_insert(&table, &key));
	assert_non_null(rli_name_table_find(&table, &key));
}

/* The first, the middle and the last of a chain; texts that only a comparison tells apart. */
static void
table_names_of_one_hash_are_told_apart(void **state)
{
	static const char *const texts[] = { "a", "b", "ab", "abc", "b\0c" };
	struct name_key keys[UNIT_COUNT(texts)];
	struct name *names[UNIT_COUNT(texts)];
	static const uint32_t order[] = { 2, 0, 4, 1, 3 };

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(texts); i++) {
		keys[i] = (struct name_key){ texts[i], i == 4 ? 3 : (uint32_t)strlen(texts[i]), 7 };
		names[i] = rli_name_table_insert(&table, &keys[i]);
	}
	for (uint32_t i = 0; i < UNIT_COUNT(order); i++) {
		rli_name_table_remove(&table, names[order[i]]);
		names[order[i]] = NULL;
		for (uint32_t j = 0; j < UNIT_COUNT(texts); j++) {
			assert_ptr_equal(rli_name_table_find(&table, &keys[j]), names[j]);
		}
	}
}

static void
table_longest_name_is_whole(void **state)
{
	char text[RL_ACTOR_NAME_MAX + 1];
	struct name_key key;
	struct name_key other;

	(void)state;
	memset(text, 'x', sizeof(text));
	key = rli_name_key(text, RL_ACTOR_NAME_MAX);
	assert_non_null(rli_name_table_insert(&table, &key));
	other = rli_name_key(text, RL_ACTOR_NAME_MAX - 1);
	assert_true(key.hash != other.hash);
	assert_null(rli_name_table_find(&table, &other));
	assert_non_null(rli_name_table_find(&table, &key));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(table_inserted_names_are_found_until_removed,
						bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(table_full_refuses_and_has_room_again, bed_setup,
						bed_teardown),
		cmocka_unit_test_setup_teardown(table_names_of_one_hash_are_told_apart, bed_setup,
						bed_teardown),
		cmocka_unit_test_setup_teardown(table_longest_name_is_whole, bed_setup,
						bed_teardown),
	};

	return unit_run(tests);
}
