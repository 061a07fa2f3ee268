/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Counted buffers on the two shards of unit_shards.h: taking one with a number in it, sending it
 * as the handler of an actor, and what came of it.
 */
#ifndef RINGLINE_TESTS_UNIT_BUFS_H
#define RINGLINE_TESTS_UNIT_BUFS_H

#include "unit_shards.h"

#include "actor/buf.h"
#include "actor/buf_send.h"

/* One reference, the caller's; the number is its content. */
static inline struct rl_buf *
bufs_take(uint32_t shard, uint64_t number)
{
	struct rl_buf *buf;
	void *data;

	rli_shard_current = &bed.shards[shard];
	assert_int_equal(rl_buf_take(rli_shard_current, sizeof(number), &buf, &data), 0);
	memcpy(data, &number, sizeof(number));
	return buf;
}

static inline uint64_t
bufs_number(const struct rl_buf *buf)
{
	uint64_t number;

	assert_int_equal(buf->len, sizeof(number));
	memcpy(&number, buf->data, sizeof(number));
	return number;
}

/* As the shard that counts on it. */
static inline void
bufs_release(struct rl_buf *buf)
{
	rli_shard_current = rli_buf_of(buf)->shard;
	rl_buf_release(buf);
}

static inline uint32_t
bufs_refs(struct rl_buf *buf)
{
	return rli_buf_of(buf)->refs;
}

static inline int
bufs_send(struct rl_actor *from, uint64_t to, struct rl_buf *buf)
{
	int rc = rl_actor_send_buf(bed_enter(from), (rl_actor_id){ to }, BED_KIND, buf);

	bed_leave(from);
	return rc;
}

static inline int
bufs_broadcast(struct rl_actor *from, const rl_actor_id *to, size_t count, struct rl_buf *buf,
	       size_t *taken)
{
	int rc = rl_actor_broadcast(bed_enter(from), to, count, BED_KIND, buf, taken);

	bed_leave(from);
	return rc;
}

/* Nobody on any shard has one. */
static inline void
bufs_assert_all_home(void)
{
	struct rl_stats stats = bed_sum();

	assert_int_equal(stats.shared_bufs_taken, stats.shared_bufs_freed);
	for (uint32_t i = 0; i < BED_SHARDS; i++) {
		assert_int_equal(bed.actors[i].bufs.taken, 0);
		assert_int_equal(bed.actors[i].buf_memory.chunks_taken, 0);
	}
}

#endif
