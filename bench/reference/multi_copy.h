/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * multi_copy - sending from a pool: received bytes are copied into the connection's open chunk and
 * the receive buffer goes home at once. This is what a runtime has to do, and the fairer base.
 */
#ifndef RINGLINE_BENCH_MULTI_COPY_H
#define RINGLINE_BENCH_MULTI_COPY_H

#include "common/program.h"
#include "reference/multi.h"

#include <stdlib.h>

enum {
	COPY_CHUNK_BYTES = 65536
};

/* Also makes a new chunk, from none at all. */
static inline struct multi_chunk *
copy_grow_chunk(struct multi_chunk *chunk, uint32_t capacity)
{
	chunk = realloc(chunk, sizeof(*chunk) + capacity);
	if (chunk == NULL) {
		program_die("out of memory");
	}
	chunk->capacity = capacity;
	return chunk;
}

static inline struct multi_chunk *
copy_take_chunk(struct multi_server *server)
{
	struct multi_chunk *chunk = server->chunks_free;

	if (chunk != NULL) {
		server->chunks_free = chunk->next;
	} else {
		chunk = copy_grow_chunk(NULL, COPY_CHUNK_BYTES);
	}
	chunk->length = 0;
	return chunk;
}

static inline void
copy_release_chunk(struct multi_server *server, struct multi_chunk *chunk)
{
	chunk->next = server->chunks_free;
	server->chunks_free = chunk;
}

static inline void
copy_receive(struct multi_server *server, struct multi_conn *conn, uint16_t buf_id, uint32_t length)
{
	struct multi_chunk *chunk = conn->open;

	if (chunk == NULL) {
		chunk = conn->open = copy_take_chunk(server);
	}
	if (chunk->length + length > chunk->capacity) { /* gathering behind a slow send */
		chunk = conn->open = copy_grow_chunk(chunk, 2 * chunk->capacity + length);
	}
	memcpy(chunk->bytes + chunk->length, bare_buffers_data(&server->bufs, buf_id), length);
	chunk->length += length;
	multi_give_buf(server, buf_id);
}

/* One send for all that has gathered, unless one is in flight. */
static inline void
copy_send(struct multi_server *server, int index)
{
	struct multi_conn *conn = &server->conns[index];

	if (conn->in_flight != 0 || !conn->live || conn->open == NULL) {
		return;
	}
	conn->flying = conn->open;
	conn->open = NULL;
	conn->in_flight = 1;
	conn->send_offset = 0;
	multi_submit_send(server, index, conn->flying->bytes, conn->flying->length);
}

static inline void
copy_sent(struct multi_server *server, int index, int32_t result)
{
	struct multi_conn *conn = &server->conns[index];
	struct multi_chunk *chunk = conn->flying;

	conn->in_flight = 0;
	if (result > 0 && conn->send_offset + (uint32_t)result < chunk->length && !conn->ended) {
		server->counters->sends_short++;
		conn->send_offset += (uint32_t)result;
		conn->in_flight = 1;
		multi_submit_send(server, index, chunk->bytes + conn->send_offset,
				  chunk->length - conn->send_offset);
		return;
	}
	copy_release_chunk(server, chunk);
	conn->flying = NULL;
	if (conn->open != NULL) {
		multi_mark_dirty(server, index);
	}
}

static inline void
copy_drop(struct multi_server *server, struct multi_conn *conn)
{
	if (conn->open != NULL) {
		copy_release_chunk(server, conn->open);
		conn->open = NULL;
	}
}

#endif
