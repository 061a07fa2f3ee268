/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a list has room for what was asked, in the largest chunks that are needed and none below
 *         the least; when that is too much nothing is kept.
 * How: by hand.
 * Guards: pitfall 60.
 */
#include "chunk_groups.h"
#include "unit.h"

#include "shard/chunk.h"

#define STEP_BYTES ((size_t)CHUNK_COMMIT_SPANS * CHUNK_SPAN_BYTES)

static void
chunk_list_is_all_or_nothing(void **state)
{
	struct chunk_pool pool;
	struct chunk *first;
	struct chunk *rest;

	(void)state;
	assert_int_equal(rli_chunk_pool_init(&pool, STEP_BYTES), 0);
	first = rli_chunk_take_list(&pool, 2 * CHUNK_BYTES_MAX + 1, 1);
	assert_int_equal(first->capacity, CHUNK_BYTES_MAX);
	assert_int_equal(first->next->capacity, CHUNK_BYTES_MAX);
	assert_int_equal(first->next->next->capacity, 256);
	assert_null(first->next->next->next);
	rest = rli_chunk_take_list(&pool, 1, 4096);
	assert_int_equal(rest->capacity, 4096);
	assert_null(rest->next);
	assert_int_equal(pool.chunks_taken, 4);
	assert_null(rli_chunk_take_list(&pool, STEP_BYTES, 1));
	assert_int_equal(pool.chunks_taken, 4);
	rli_chunk_give_list(&pool, first);
	rli_chunk_give_list(&pool, rest);
	rli_chunk_give_list(&pool, NULL);
	assert_int_equal(pool.chunks_taken, 0);
	rli_chunk_pool_fini(&pool);
}

int
chunk_list_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunk_list_is_all_or_nothing),
	};

	return unit_run(tests);
}
