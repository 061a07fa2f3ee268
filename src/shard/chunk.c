/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Chunk pools. Invariant: a span with a class has taken chunks out, or is the one span that its
 * class keeps warm; every other span is on the list of empty ones or was never touched.
 */
#include "shard/chunk.h"

#include <errno.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/host.h"

#define CHUNK_NO_CLASS	 UINT8_MAX
#define CHUNK_STEP_BYTES ((size_t)CHUNK_COMMIT_SPANS * CHUNK_SPAN_BYTES)

static const uint32_t class_bytes[CHUNK_CLASSES] = { 256, 1024, 4096, 16384, 65536 };

static uint8_t
chunk_class(size_t bytes)
{
	uint8_t class = 0;

	while (class < CHUNK_CLASSES - 1 && class_bytes[class] < bytes) {
		class += 1;
	}
	return class;
}

static size_t
class_stride(uint8_t class)
{
	RL_ASSERT(class < CHUNK_CLASSES);
	return sizeof(struct chunk) + class_bytes[class];
}

static size_t
chunk_page_round(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

int
rli_chunk_pool_init(struct chunk_pool *pool, size_t bytes)
{
	uint32_t steps = (uint32_t)((bytes + CHUNK_STEP_BYTES - 1) / CHUNK_STEP_BYTES);
	uint32_t spans = steps * CHUNK_COMMIT_SPANS;
	size_t table = chunk_page_round(spans * sizeof(struct chunk_span));
	uint8_t *memory;

	*pool = (struct chunk_pool){ .spans_max = spans };
	pool->reserved_bytes = table + (size_t)spans * CHUNK_SPAN_BYTES;
	memory = rli_host_pages_reserve(pool->reserved_bytes);
	if (memory == NULL) {
		return -ENOMEM;
	}
	if (rli_host_pages_commit(memory, table) != 0) {
		rli_host_pages_release(memory, pool->reserved_bytes);
		return -ENOMEM;
	}
	pool->spans = (struct chunk_span *)(void *)memory;
	pool->memory = memory + table;
	list_init(&pool->empty);
	for (size_t i = 0; i < CHUNK_CLASSES; i++) {
		list_init(&pool->with_free[i]);
	}
	return 0;
}

void
rli_chunk_pool_fini(struct chunk_pool *pool)
{
	if (pool->spans != NULL) {
		rli_host_pages_release(pool->spans, pool->reserved_bytes);
		pool->spans = NULL;
	}
}

static uint8_t *
span_memory(const struct chunk_pool *pool, const struct chunk_span *span)
{
	return pool->memory + (size_t)(span - pool->spans) * CHUNK_SPAN_BYTES;
}

/* Memory for the next spans. False: the host has none. */
static bool
span_commit(struct chunk_pool *pool)
{
	uint8_t *at = pool->memory + (size_t)pool->spans_committed * CHUNK_SPAN_BYTES;

	if (rli_host_pages_commit(at, CHUNK_STEP_BYTES) != 0) {
		return false;
	}
	pool->spans_committed += CHUNK_COMMIT_SPANS;
	return true;
}

/* A span that was never touched before. */
static struct chunk_span *
span_fresh(struct chunk_pool *pool)
{
	struct chunk_span *span;

	if (pool->spans_used == pool->spans_max) {
		return NULL;
	}
	if (pool->spans_used == pool->spans_committed && !span_commit(pool)) {
		return NULL;
	}
	span = &pool->spans[pool->spans_used];
	pool->spans_used++;
	list_node_init(&span->node);
	span->class = CHUNK_NO_CLASS;
	return span;
}

/*
 * An idle span that another class keeps warm: with no other memory left, it is better used here. At
 * most one per class, so the search is bounded.
 */
static struct chunk_span *
span_reclaim(struct chunk_pool *pool)
{
	for (size_t i = 0; i < CHUNK_CLASSES; i++) {
		struct list_node *node = list_first(&pool->with_free[i]);
		struct list_node *last = node == NULL ? NULL : pool->with_free[i].head.prev;

		if (last != NULL && list_entry(last, struct chunk_span, node)->taken == 0) {
			list_remove(last);
			return list_entry(last, struct chunk_span, node);
		}
	}
	return NULL;
}

static struct chunk_span *
span_for_class(struct chunk_pool *pool, uint8_t class)
{
	struct list_node *node = list_pop_front(&pool->empty);
	struct chunk_span *span =
		node != NULL ? list_entry(node, struct chunk_span, node) : span_fresh(pool);

	if (span == NULL) {
		span = span_reclaim(pool);
	}
	if (span == NULL) {
		return NULL;
	}
	if (span->class != class) {
		span->class = class;
		span->free = NULL;
		span->carved = 0;
	}
	RL_ASSERT(span->taken == 0);
	list_push_front(&pool->with_free[class], &span->node);
	return span;
}

static bool
span_is_exhausted(const struct chunk_span *span)
{
	size_t stride = class_stride(span->class);

	return span->free == NULL && (span->carved + 1u) * stride > CHUNK_SPAN_BYTES;
}

static struct chunk *
span_carve(struct chunk_pool *pool, struct chunk_span *span)
{
	size_t stride = class_stride(span->class);
	struct chunk *chunk =
		(struct chunk *)(void *)(span_memory(pool, span) + span->carved++ * stride);

	chunk->span = (uint32_t)(span - pool->spans);
	return chunk;
}

struct chunk *
rli_chunk_take(struct chunk_pool *pool, size_t bytes)
{
	uint8_t class = chunk_class(bytes);
	struct list_node *node = list_first(&pool->with_free[class]);
	struct chunk_span *span = node != NULL ? list_entry(node, struct chunk_span, node)
					       : span_for_class(pool, class);
	struct chunk *chunk;

	if (span == NULL) {
		return NULL;
	}
	RL_ASSERT(class < CHUNK_CLASSES);
	if (span->free != NULL) {
		chunk = span->free;
		span->free = chunk->next;
	} else {
		chunk = span_carve(pool, span);
	}
	chunk->capacity = class_bytes[class];
	pool->spans_busy += span->taken == 0 ? 1 : 0;
	span->taken++;
	pool->chunks_taken++;
	if (span_is_exhausted(span)) {
		list_remove(&span->node);
	}
	chunk->next = NULL;
	chunk->start = 0;
	chunk->end = 0;
	return chunk;
}

struct chunk *
rli_chunk_take_any(struct chunk_pool *pool, size_t bytes)
{
	struct chunk *chunk = rli_chunk_take(pool, bytes);

	for (uint8_t class = chunk_class(bytes) + 1; chunk == NULL && class < CHUNK_CLASSES;
	     class += 1) {
		chunk = rli_chunk_take(pool, class_bytes[class]);
	}
	return chunk;
}

/* The class keeps one idle span, so that a lone connection doesn't carve anew for every message. */
static void
span_became_idle(struct chunk_pool *pool, struct chunk_span *span)
{
	struct list *list = &pool->with_free[span->class];
	struct chunk_span *last = list_entry(list->head.prev, struct chunk_span, node);

	list_remove(&span->node);
	if (!list_is_empty(list) && last != span && last->taken == 0) {
		list_push_front(&pool->empty, &span->node);
	} else {
		list_push_back(list, &span->node); /* last: spans in use are preferred */
	}
}

void
rli_chunk_give(struct chunk_pool *pool, struct chunk *chunk)
{
	struct chunk_span *span;

	RL_ASSERT(chunk->span < pool->spans_used);
	RL_ASSERT(chunk->capacity != 0); /* given back twice */
	span = &pool->spans[chunk->span];
	RL_ASSERT(span->taken > 0);
	if (span_is_exhausted(span)) {
		list_push_front(&pool->with_free[span->class], &span->node);
	}
	chunk->capacity = 0;
	chunk->next = span->free;
	span->free = chunk;
	span->taken--;
	pool->chunks_taken--;
	if (span->taken == 0) {
		pool->spans_busy--;
		span_became_idle(pool, span);
	}
}

struct chunk *
rli_chunk_take_list(struct chunk_pool *pool, size_t bytes, size_t least)
{
	struct chunk *first = NULL;
	struct chunk **link = &first;

	while (bytes > 0) {
		struct chunk *chunk = rli_chunk_take(pool, bytes > least ? bytes : least);

		if (chunk == NULL) {
			rli_chunk_give_list(pool, first);
			return NULL;
		}
		*link = chunk;
		link = &chunk->next;
		bytes -= chunk->capacity < bytes ? chunk->capacity : bytes;
	}
	return first;
}

void
rli_chunk_give_list(struct chunk_pool *pool, struct chunk *first)
{
	while (first != NULL) {
		struct chunk *chunk = first;

		first = chunk->next;
		rli_chunk_give(pool, chunk);
	}
}
