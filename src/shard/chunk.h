/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Chunks: size-classed memory for bytes that wait, one pool for output and one for paused input.
 *
 * A pool is a number of equal spans within one reservation. A span is carved into chunks of one
 * class and goes back to the common stock when all of them are home, so one budget bounds the whole
 * pool whatever mix of sizes comes along. Memory is committed when a span is first used.
 */
#ifndef RINGLINE_SHARD_CHUNK_H
#define RINGLINE_SHARD_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define CHUNK_CLASSES	   5 /* 256, 1024, 4096, 16384, 65536 bytes of payload */
#define CHUNK_BYTES_MAX	   65536
#define CHUNK_COMMIT_SPANS 16 /* 17 x 64 KiB: whole pages, whatever the page size */
#define CHUNK_SPAN_BYTES   69632 /* 17 pages: one 65536, four 16384, ... with their headers */

/* The bytes from start to end are filled; end to capacity is room. */
struct chunk {
	struct chunk *next;
	uint32_t start;
	uint32_t end;
	uint32_t capacity;
	uint32_t span;
	uint64_t filled_ns; /* the owner's: when it last put bytes in */
	uint8_t data[];
};

struct chunk_span {
	struct list_node node; /* on its class's list while it has a free chunk, else on none */
	struct chunk *free;
	uint16_t carved; /* chunks that were ever cut out since it got its class */
	uint16_t taken;
	uint8_t class;
};

struct chunk_pool {
	uint8_t *memory;
	struct chunk_span *spans;
	struct list with_free[CHUNK_CLASSES];
	struct list empty; /* spans without a class */
	uint32_t spans_max;
	uint32_t spans_used; /* spans that were ever touched */
	uint32_t spans_committed;
	uint32_t chunks_taken;
	uint32_t spans_busy; /* spans with a chunk out */
	size_t reserved_bytes;
};

/* @bytes is rounded up to whole steps of CHUNK_COMMIT_SPANS spans. 0, -ENOMEM. */
int rli_chunk_pool_init(struct chunk_pool *pool, size_t bytes);

void rli_chunk_pool_fini(struct chunk_pool *pool);

/*
 * An empty chunk whose capacity is the smallest class that holds @bytes, or the largest there is.
 * NULL when the pool has none of that class and no span left.
 */
struct chunk *rli_chunk_take(struct chunk_pool *pool, size_t bytes);

/* The same, or a larger one where that is all there is. */
struct chunk *rli_chunk_take_any(struct chunk_pool *pool, size_t bytes);

void rli_chunk_give(struct chunk_pool *pool, struct chunk *chunk);

/*
 * A list of chunks with room for @bytes in all, none of them for less than @least; all or nothing.
 * NULL: the pool is empty.
 */
struct chunk *rli_chunk_take_list(struct chunk_pool *pool, size_t bytes, size_t least);

void rli_chunk_give_list(struct chunk_pool *pool, struct chunk *first);

/* How many of @len bytes do not fit behind @last, the end of a list; NULL: it is empty. */
static inline size_t
chunk_beyond(const struct chunk *last, size_t len)
{
	size_t room = last == NULL ? 0 : last->capacity - last->end;

	return len > room ? len - room : 0;
}

/* Spans that any class can have; rooms in spans of which a chunk is out are not counted. */
static inline uint32_t
rli_chunk_spans_free(const struct chunk_pool *pool)
{
	return pool->spans_max - pool->spans_busy;
}

#endif
