/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: chunks have the smallest class that fits, never overlap, keep their bytes; one budget
 *         bounds the pool whatever the mix; a pool that ran dry recovers, its spans pass from
 *         class to class. Lists of chunks: chunk_list.c.
 * How: by hand at the borders, and random takes and gives against a model.
 * Not: several threads.
 * Guards: pitfall 59, pitfall 108.
 */
#include "unit.h"

#include <errno.h>

#include "chunk_groups.h"
#include "shard/chunk.h"
#include "unit_memory.h"

#define STEP	   CHUNK_COMMIT_SPANS
#define STEP_BYTES ((size_t)STEP * CHUNK_SPAN_BYTES)

_Static_assert(STEP_BYTES % 65536 == 0, "a step is whole pages of every size there is");

static const uint32_t class_bytes[CHUNK_CLASSES] = { 256, 1024, 4096, 16384, 65536 };

static uint32_t
chunks_per_span(uint32_t class)
{
	return CHUNK_SPAN_BYTES / (uint32_t)(sizeof(struct chunk) + class_bytes[class]);
}

/* The size of a pool; whole steps, so that it has exactly so many. */
static size_t
spans(size_t count)
{
	return count * CHUNK_SPAN_BYTES;
}

/* The table at once, and the spans step by step. */
static void
chunk_pool_commits_its_table_and_then_what_is_used(void **state)
{
	size_t before = rli_host_pages_committed();
	struct chunk_pool pool;
	size_t table;
	uint32_t i;

	(void)state;
	assert_int_equal(rli_chunk_pool_init(&pool, spans(7 * STEP)), 0);
	assert_int_equal(pool.spans_max, 7 * STEP);
	assert_true(pool.reserved_bytes >= spans(7 * STEP));
	table = rli_host_pages_committed() - before;
	assert_true(table < CHUNK_SPAN_BYTES);
	for (i = 0; i < 7 * STEP; i++) {
		assert_non_null(rli_chunk_take(&pool, CHUNK_BYTES_MAX));
		assert_int_equal(rli_host_pages_committed() - before,
				 table + (i / STEP + 1) * STEP_BYTES);
	}
	rli_chunk_pool_fini(&pool);
	assert_int_equal(rli_host_pages_committed(), before);
	rli_chunk_pool_fini(&pool); /* again: nothing */
}

static void
chunk_pool_size_is_rounded_up_to_whole_steps(void **state)
{
	static const struct {
		size_t bytes;
		uint32_t spans;
	} rows[] = {
		{ 1, STEP },
		{ CHUNK_SPAN_BYTES + 1, STEP },
		{ STEP_BYTES - 1, STEP },
		{ STEP_BYTES, STEP },
		{ STEP_BYTES + 1, 2 * STEP },
		{ 2 * STEP_BYTES, 2 * STEP },
		{ 9 * STEP_BYTES, 9 * STEP },
	};
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(rows); i++) {
		struct chunk_pool pool;

		assert_int_equal(rli_chunk_pool_init(&pool, rows[i].bytes), 0);
		assert_int_equal(pool.spans_max, rows[i].spans);
		rli_chunk_pool_fini(&pool);
	}
}

static void
chunk_taken_has_the_smallest_class_that_fits(void **state)
{
	static const struct {
		size_t bytes;
		uint32_t capacity;
	} rows[] = {
		{ 0, 256 },	     { 1, 256 },       { 256, 256 },	 { 257, 1024 },
		{ 1024, 1024 },	     { 1025, 4096 },   { 4096, 4096 },	 { 4097, 16384 },
		{ 16384, 16384 },    { 16385, 65536 }, { 65536, 65536 }, { 65537, 65536 },
		{ SIZE_MAX, 65536 },
	};
	struct chunk_pool pool;
	uint32_t i;

	(void)state;
	assert_int_equal(rli_chunk_pool_init(&pool, spans(STEP)), 0);
	for (i = 0; i < UNIT_COUNT(rows); i++) {
		struct chunk *chunk = rli_chunk_take(&pool, rows[i].bytes);

		assert_non_null(chunk);
		assert_int_equal(chunk->capacity, rows[i].capacity);
		assert_int_equal(chunk->start, 0);
		assert_int_equal(chunk->end, 0);
		assert_null(chunk->next);
		memset(chunk->data, 0xff, chunk->capacity);
		chunk->start = 7; /* the owner's; nothing of it may be left next time */
		chunk->end = 9;
		chunk->next = chunk;
		rli_chunk_give(&pool, chunk);
	}
	assert_int_equal(pool.chunks_taken, 0);
	rli_chunk_pool_fini(&pool);
}

/* For each class: the least pool gives exactly what fits, then nothing, and recovers whole. */
static void
chunk_pool_exhausted_gives_nothing_and_recovers(void **state)
{
	struct chunk *chunks[STEP * (CHUNK_SPAN_BYTES / 256)];
	uint32_t class;
	uint32_t i;

	(void)state;
	for (class = 0; class < CHUNK_CLASSES; class ++) {
		uint32_t count = STEP * chunks_per_span(class);
		struct chunk_pool pool;

		assert_int_equal(rli_chunk_pool_init(&pool, spans(STEP)), 0);
		for (i = 0; i < count; i++) {
			chunks[i] = rli_chunk_take(&pool, class_bytes[class]);
			assert_non_null(chunks[i]);
		}
		assert_null(rli_chunk_take(&pool, class_bytes[class]));
		assert_null(rli_chunk_take(&pool, 1)); /* nor of another class */
		assert_null(rli_chunk_take(&pool, CHUNK_BYTES_MAX));
		assert_null(rli_chunk_take_any(&pool, 1));
		assert_int_equal(pool.chunks_taken, count);

		rli_chunk_give(&pool, chunks[count / 2]);
		assert_ptr_equal(rli_chunk_take_any(&pool, 1), chunks[count / 2]);
		/* a span with nothing else in it would rather be cut anew */
		assert_int_equal(chunks[count / 2]->capacity,
				 chunks_per_span(class) == 1 ? 256 : class_bytes[class]);
		assert_null(rli_chunk_take(&pool, class_bytes[class]));
		for (i = 0; i < count; i++) {
			rli_chunk_give(&pool, chunks[i]);
		}
		assert_int_equal(pool.chunks_taken, 0);
		for (i = 0; i < STEP; i++) {
			assert_non_null(rli_chunk_take(&pool, CHUNK_BYTES_MAX));
		}
		assert_null(rli_chunk_take(&pool, CHUNK_BYTES_MAX));
		rli_chunk_pool_fini(&pool);
	}
}

/*
 * One span, the others are in use; each class in turn and then backwards: what one class kept warm
 * serves the next.
 */
static void
chunk_idle_span_passes_from_class_to_class(void **state)
{
	struct chunk_pool pool;
	uint32_t round;
	uint32_t i;

	(void)state;
	assert_int_equal(rli_chunk_pool_init(&pool, spans(STEP)), 0);
	for (i = 1; i < STEP; i++) {
		assert_non_null(rli_chunk_take(&pool, CHUNK_BYTES_MAX));
	}
	for (round = 0; round < 4 * CHUNK_CLASSES; round++) {
		uint32_t step = round % (2 * CHUNK_CLASSES);
		uint32_t class = step < CHUNK_CLASSES ? step : 2 * CHUNK_CLASSES - 1 - step;
		struct chunk *chunk = rli_chunk_take(&pool, class_bytes[class]);

		assert_non_null(chunk);
		assert_int_equal(chunk->capacity, class_bytes[class]);
		assert_int_equal(chunk->span, STEP - 1);
		memset(chunk->data, 0xff, chunk->capacity);
		rli_chunk_give(&pool, chunk);
	}
	rli_chunk_pool_fini(&pool);
}

/* All idle spans but one per class are common stock again: n spans serve any n large chunks. */
static void
chunk_spans_come_home_whatever_they_were_used_for(void **state)
{
	struct chunk *chunks[STEP * (CHUNK_SPAN_BYTES / 256)];
	struct chunk_pool pool;
	uint32_t class;
	uint32_t i;

	(void)state;
	assert_int_equal(rli_chunk_pool_init(&pool, spans(STEP)), 0);
	for (class = 0; class < CHUNK_CLASSES; class ++) {
		uint32_t count = 0;

		while ((chunks[count] = rli_chunk_take(&pool, class_bytes[class])) != NULL) {
			count++;
		}
		assert_int_equal(count, STEP * chunks_per_span(class));
		for (i = 0; i < count; i++) {
			rli_chunk_give(&pool, chunks[(i * 7919) % count]);
		}
		assert_int_equal(pool.chunks_taken, 0);
	}
	rli_chunk_pool_fini(&pool);
}

/* A connection that sends now and then gets the same warm chunk, and no memory is committed. */
static void
chunk_lone_user_gets_the_same_chunk_again(void **state)
{
	struct chunk_pool pool;
	struct chunk *first;
	uint32_t i;

	(void)state;
	assert_int_equal(rli_chunk_pool_init(&pool, spans(STEP)), 0);
	first = rli_chunk_take(&pool, 1000);
	rli_chunk_give(&pool, first);
	for (i = 0; i < 1000; i++) {
		assert_ptr_equal(rli_chunk_take(&pool, 1000), first);
		rli_chunk_give(&pool, first);
	}
	assert_int_equal(pool.spans_used, 1);
	rli_chunk_pool_fini(&pool);
}

/* Also while others of the class are in use: an idle span stays, a second one goes home. */
static void
chunk_class_keeps_one_idle_span_beside_those_in_use(void **state)
{
	struct chunk *chunks[12];
	struct chunk_pool pool;
	uint32_t i;

	(void)state;
	assert_int_equal(rli_chunk_pool_init(&pool, spans(STEP)), 0);
	for (i = 0; i < 12; i++) {
		chunks[i] = rli_chunk_take(&pool, 16384); /* four to a span */
	}
	assert_int_equal(pool.spans_used, 3);
	rli_chunk_give(&pool, chunks[0]); /* the first span stays in use, with room */
	for (i = 4; i < 8; i++) {
		rli_chunk_give(&pool, chunks[i]);
	}
	assert_true(list_is_empty(&pool.empty));
	for (i = 8; i < 12; i++) {
		rli_chunk_give(&pool, chunks[i]);
	}
	assert_false(list_is_empty(&pool.empty));
	assert_int_equal(pool.chunks_taken, 3);
	rli_chunk_pool_fini(&pool);
}

/* Not even the page that a reservation needs for itself; then that, but not the pool's table. */
static void
chunk_pool_without_memory_answers_enomem(void **state)
{
	size_t before = rli_host_pages_committed();
	size_t pages;

	(void)state;
	if (!unit_memory_can_fail()) {
		return;
	}
	for (pages = 0; pages < 2; pages++) {
		struct rlimit limit = unit_memory_begin(pages);
		struct chunk_pool pool;
		int rc = rli_chunk_pool_init(&pool, spans(STEP));

		unit_memory_end(limit);
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(rli_host_pages_committed(), before);
		rli_chunk_pool_fini(&pool);
	}
}

static void
chunk_pool_without_address_space_answers_enomem(void **state)
{
	struct chunk_pool pool;

	(void)state;
	assert_int_equal(rli_chunk_pool_init(&pool, (size_t)200 << 40), -ENOMEM);
	rli_chunk_pool_fini(&pool);
}

/* A pool that can't grow gives what it has, then nothing, and grows again as soon as it can. */
static void
chunk_without_memory_for_a_step_is_not_given(void **state)
{
	size_t step_pages = STEP_BYTES / (size_t)sysconf(_SC_PAGESIZE);
	size_t before = rli_host_pages_committed();
	size_t committed;
	struct chunk_pool pool;
	struct rlimit limit;
	struct chunk *first;
	struct chunk *one;
	struct chunk *two;
	uint32_t i;

	(void)state;
	if (!unit_memory_can_fail()) {
		return;
	}
	assert_int_equal(rli_chunk_pool_init(&pool, spans(2 * STEP)), 0);
	first = rli_chunk_take(&pool, CHUNK_BYTES_MAX);
	committed = rli_host_pages_committed();
	limit = unit_memory_begin(step_pages - 1);
	for (i = 1; i < STEP && rli_chunk_take(&pool, CHUNK_BYTES_MAX) != NULL; i++) {
	}
	one = rli_chunk_take(&pool, CHUNK_BYTES_MAX);
	two = rli_chunk_take(&pool, 1);
	unit_memory_end(limit);

	assert_int_equal(i, STEP); /* those were committed */
	assert_null(one);
	assert_null(two);
	assert_int_equal(pool.chunks_taken, STEP);
	assert_int_equal(pool.spans_used, STEP);
	assert_int_equal(rli_host_pages_committed(), committed);
	rli_chunk_give(&pool, first);
	assert_ptr_equal(rli_chunk_take(&pool, CHUNK_BYTES_MAX), first);
	assert_non_null(rli_chunk_take(&pool, CHUNK_BYTES_MAX));
	assert_non_null(rli_chunk_take(&pool, 1));
	rli_chunk_pool_fini(&pool);
	assert_int_equal(rli_host_pages_committed(), before);
}

static void
give_foreign(void *arg)
{
	struct chunk chunk = { .capacity = 256, .span = 1 };

	rli_chunk_give(arg, &chunk);
}

static void
chunk_given_to_a_pool_without_its_span_asserts(void **state)
{
	struct chunk_pool pool;

	(void)state;
	assert_int_equal(rli_chunk_pool_init(&pool, spans(STEP)), 0);
	rli_chunk_give(&pool, rli_chunk_take(&pool, 1)); /* span 0 is known now, 1 is not */
	assert_true(unit_dies(give_foreign, &pool, SIGABRT, "chunk->span < pool->spans_used"));
	rli_chunk_pool_fini(&pool);
}

static void
give_twice(void *arg)
{
	struct chunk *chunk = rli_chunk_take(arg, 1);

	rli_chunk_give(arg, chunk);
	rli_chunk_give(arg, chunk);
}

/* The span has chunks out: their count would not tell. */
static void
give_twice_beside_others(void *arg)
{
	struct chunk *chunk = rli_chunk_take(arg, 1);

	(void)rli_chunk_take(arg, 1);
	(void)rli_chunk_take(arg, 1);
	rli_chunk_give(arg, chunk);
	rli_chunk_give(arg, chunk);
}

/* It is not the first of the free ones any more. */
static void
give_twice_with_another_between(void *arg)
{
	struct chunk *chunk = rli_chunk_take(arg, 1);
	struct chunk *other = rli_chunk_take(arg, 1);

	(void)rli_chunk_take(arg, 1);
	rli_chunk_give(arg, chunk);
	rli_chunk_give(arg, other);
	rli_chunk_give(arg, chunk);
}

/* Its span is common stock again. */
static void
give_twice_after_the_span_went_home(void *arg)
{
	struct chunk *warm = rli_chunk_take(arg, CHUNK_BYTES_MAX);
	struct chunk *chunk = rli_chunk_take(arg, CHUNK_BYTES_MAX);

	rli_chunk_give(arg, warm);
	rli_chunk_give(arg, chunk);
	rli_chunk_give(arg, chunk);
}

static void
chunk_given_twice_asserts(void **state)
{
	void (*const ways[])(void *arg) = {
		give_twice,
		give_twice_beside_others,
		give_twice_with_another_between,
		give_twice_after_the_span_went_home,
	};
	struct chunk_pool pool;
	uint32_t i;

	(void)state;
	assert_int_equal(rli_chunk_pool_init(&pool, spans(STEP)), 0);
	for (i = 0; i < UNIT_COUNT(ways); i++) {
		assert_true(unit_dies(ways[i], &pool, SIGABRT, "chunk->capacity != 0"));
	}
	rli_chunk_pool_fini(&pool);
}

#define MODEL_SPANS  (2 * STEP)
#define MODEL_CHUNKS (MODEL_SPANS * (CHUNK_SPAN_BYTES / 256))

/* The live chunks, and for each span its class and how many of them are in it. */
struct model {
	struct chunk_pool pool;
	struct chunk *chunks[MODEL_CHUNKS];
	uint8_t tags[MODEL_CHUNKS];
	uint32_t count;
	uint32_t in_span[MODEL_SPANS];
	uint32_t capacity_in_span[MODEL_SPANS];
	uint64_t seed;
};

/* All bytes of the whole chunk, so that any overlap shows. */
static void
model_fill(struct model *model, uint32_t i)
{
	model->tags[i] = (uint8_t)unit_random(&model->seed);
	memset(model->chunks[i]->data, model->tags[i], model->chunks[i]->capacity);
	model->chunks[i]->end = model->chunks[i]->capacity;
}

static void
model_check_chunk(const struct model *model, uint32_t i)
{
	const struct chunk *chunk = model->chunks[i];

	assert_int_equal(chunk->end, chunk->capacity);
	assert_int_equal(chunk->data[0], model->tags[i]);
	assert_memory_equal(chunk->data, chunk->data + 1, chunk->capacity - 1);
}

/* Whether the contract owes a chunk: one free in its class, a span that is idle or untouched. */
static bool
model_owes(const struct model *model, uint32_t class)
{
	uint32_t i;

	for (i = 0; i < MODEL_SPANS; i++) {
		if (model->in_span[i] == 0 || (model->capacity_in_span[i] == class_bytes[class] &&
					       model->in_span[i] < chunks_per_span(class))) {
			return true;
		}
	}
	return false;
}

static uint32_t
model_spans_idle(const struct model *model)
{
	uint32_t idle = 0;

	for (uint32_t i = 0; i < MODEL_SPANS; i++) {
		idle += model->in_span[i] == 0;
	}
	return idle;
}

static void
model_take(struct model *model, uint32_t class)
{
	size_t below = class == 0 ? 0 : class_bytes[class - 1];
	size_t bytes = below + 1 + unit_random(&model->seed) % (class_bytes[class] - below);
	bool owed = model_owes(model, class);
	struct chunk *chunk = rli_chunk_take(&model->pool, bytes);
	size_t place;

	assert_int_equal(chunk != NULL, owed);
	if (chunk == NULL) {
		return;
	}
	assert_int_equal(chunk->capacity, class_bytes[class]);
	assert_int_equal(chunk->end, 0);
	assert_null(chunk->next);
	place = (size_t)((uint8_t *)chunk - model->pool.memory);
	assert_in_range(chunk->span, 0, MODEL_SPANS - 1);
	assert_int_equal(place / CHUNK_SPAN_BYTES, chunk->span);
	assert_int_equal((place + sizeof(*chunk) + chunk->capacity - 1) / CHUNK_SPAN_BYTES,
			 chunk->span);
	assert_int_equal((uintptr_t)chunk->data % 8, 0);
	if (model->in_span[chunk->span] > 0) {
		assert_int_equal(model->capacity_in_span[chunk->span], chunk->capacity);
	}
	model->capacity_in_span[chunk->span] = chunk->capacity;
	model->in_span[chunk->span]++;
	model->chunks[model->count] = chunk;
	model_fill(model, model->count++);
}

static void
model_give(struct model *model, uint32_t i)
{
	model_check_chunk(model, i);
	model->in_span[model->chunks[i]->span]--;
	rli_chunk_give(&model->pool, model->chunks[i]);
	model->count--;
	model->chunks[i] = model->chunks[model->count];
	model->tags[i] = model->tags[model->count];
}

/* Phases that fill and phases that empty, each with a class of its own that it prefers. */
static void
run_model(uint64_t seed)
{
	struct model *model = calloc(1, sizeof(*model));
	size_t before = rli_host_pages_committed();
	uint32_t step;

	assert_non_null(model);
	model->seed = seed;
	assert_int_equal(rli_chunk_pool_init(&model->pool, spans(MODEL_SPANS)), 0);
	for (step = 0; step < 20000; step++) {
		uint32_t phase = step / 1000;
		uint32_t grows = phase % 2 == 0 ? 75 : 20;
		uint32_t class = phase / 2 % CHUNK_CLASSES;

		if (unit_random(&model->seed) % 2 == 0) {
			class = (uint32_t)(unit_random(&model->seed) % CHUNK_CLASSES);
		}
		if (unit_random(&model->seed) % 100 < grows) {
			model_take(model, class);
		} else if (model->count > 0) {
			model_give(model, (uint32_t)(unit_random(&model->seed) % model->count));
		}
		assert_int_equal(model->pool.chunks_taken, model->count);
		assert_int_equal(rli_chunk_spans_free(&model->pool), model_spans_idle(model));
		assert_true(rli_host_pages_committed() - before <= model->pool.reserved_bytes);
	}
	while (model->count > 0) {
		model_give(model, model->count - 1);
	}
	assert_int_equal(model->pool.chunks_taken, 0);
	for (step = 0; step < MODEL_SPANS; step++) { /* every span came home */
		model_take(model, CHUNK_CLASSES - 1);
	}
	assert_int_equal(model->count, MODEL_SPANS);
	rli_chunk_pool_fini(&model->pool);
	free(model);
}

static void
chunk_random_use_matches_the_model(void **state)
{
	(void)state;
	unit_each_seed(run_model, 8);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunk_pool_commits_its_table_and_then_what_is_used),
		cmocka_unit_test(chunk_pool_size_is_rounded_up_to_whole_steps),
		cmocka_unit_test(chunk_taken_has_the_smallest_class_that_fits),
		cmocka_unit_test(chunk_pool_exhausted_gives_nothing_and_recovers),
		cmocka_unit_test(chunk_idle_span_passes_from_class_to_class),
		cmocka_unit_test(chunk_spans_come_home_whatever_they_were_used_for),
		cmocka_unit_test(chunk_lone_user_gets_the_same_chunk_again),
		cmocka_unit_test(chunk_class_keeps_one_idle_span_beside_those_in_use),
		cmocka_unit_test(chunk_pool_without_address_space_answers_enomem),
		cmocka_unit_test(chunk_pool_without_memory_answers_enomem),
		cmocka_unit_test(chunk_without_memory_for_a_step_is_not_given),
		cmocka_unit_test(chunk_given_to_a_pool_without_its_span_asserts),
		cmocka_unit_test(chunk_given_twice_asserts),
		cmocka_unit_test(chunk_random_use_matches_the_model),
	};

	return unit_run(tests) + chunk_list_run();
}
