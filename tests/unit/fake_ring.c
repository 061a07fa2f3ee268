/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a test gets wrong about the fake itself (too many SQEs, a ring that is closed twice) ends
 * the program at once: it is never a result of the code under test.
 */
#include "fake_ring.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

struct fake_ring_plan fake_ring_plan;

/* Not from the heap: a ring can be had while a test withholds memory. */
static struct ring rings[2];

static char trace[256];

static void
trace_add(const char *word)
{
	size_t len = strlen(trace);

	RL_ASSERT(len + 1 + strlen(word) < sizeof(trace));
	if (len > 0) {
		trace[len++] = ' ';
	}
	memcpy(trace + len, word, strlen(word) + 1);
}

const char *
fake_ring_trace(void)
{
	return trace;
}

void
fake_ring_trace_clear(void)
{
	trace[0] = '\0';
}

struct ring *
fake_ring_create(uint32_t sq_entries)
{
	struct ring *ring = rings[0].open ? &rings[1] : &rings[0];

	RL_ASSERT(!ring->open);
	RL_ASSERT(sq_entries <= FAKE_RING_SQES_MAX);
	memset(ring, 0, sizeof(*ring));
	ring->open = true;
	ring->fd = FAKE_RING_FD + (int)(ring - rings);
	ring->options.sq_entries = sq_entries;
	ring->takes_max = UINT32_MAX;
	return ring;
}

const struct io_uring_sqe *
fake_ring_last(const struct ring *ring)
{
	RL_ASSERT(ring->sqes_count > 0);
	return &ring->sqes[ring->sqes_count - 1];
}

void
fake_ring_forget(struct ring *ring)
{
	RL_ASSERT(ring->queued == 0);
	ring->sqes_count = 0;
}

uint32_t
fake_ring_waiting(const struct ring *ring)
{
	return ring->cq_tail - ring->cq_head;
}

void
fake_ring_put(struct ring *ring, uint64_t user_data, int32_t res, uint32_t flags)
{
	RL_ASSERT(fake_ring_waiting(ring) < FAKE_RING_CQES_MAX);
	ring->cqes[ring->cq_tail++ % FAKE_RING_CQES_MAX] =
		(struct ring_cqe){ user_data, res, flags };
}

int
rli_ring_open(struct ring **ring, const struct ring_options *options, const struct log *log)
{
	(void)log;
	trace_add("open");
	*ring = NULL;
	if (fake_ring_plan.open_rc != 0) {
		return fake_ring_plan.open_rc;
	}
	*ring = fake_ring_create(options->sq_entries);
	(*ring)->options = *options;
	return 0;
}

int
rli_ring_enable(struct ring *ring, int shard, const struct log *log)
{
	(void)ring;
	(void)shard;
	(void)log;
	trace_add("enable");
	return fake_ring_plan.enable_rc;
}

void
rli_ring_detach(struct ring *ring)
{
	(void)ring;
	trace_add("detach");
}

/* A kernel may write to a buffer ring for as long as the ring lives, so it must still be mapped. */
void
rli_ring_close(struct ring *ring)
{
	if (ring == NULL) {
		return;
	}
	RL_ASSERT(ring->open);
	trace_add("close");
	if (ring->buffers_seen != NULL) {
		*(volatile uint16_t *)&ring->buffers_seen->tail = 0;
	}
	ring->open = false;
}

uint32_t
rli_ring_features(const struct ring *ring)
{
	return fake_ring_plan.features & ~ring->options.without;
}

int
rli_ring_fd(const struct ring *ring)
{
	return ring->fd;
}

uint32_t
rli_ring_queued(const struct ring *ring)
{
	return ring->queued;
}

uint32_t
rli_ring_room(const struct ring *ring)
{
	return ring->options.sq_entries - ring->queued;
}

struct io_uring_sqe *
rli_ring_sqe(struct ring *ring)
{
	struct io_uring_sqe *sqe;

	if (rli_ring_room(ring) == 0) {
		return NULL;
	}
	RL_ASSERT(ring->sqes_count < FAKE_RING_SQES_MAX);
	sqe = &ring->sqes[ring->sqes_count++];
	ring->queued++;
	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

int
rli_ring_enter(struct ring *ring, const struct ring_wait *wait)
{
	RL_ASSERT(wait->nr == 0 || wait->timeout_ns != 0);
	ring->wait = *wait;
	ring->enters++;
	ring->queued -= ring->queued < ring->takes_max ? ring->queued : ring->takes_max;
	return ring->enter_rc;
}

uint32_t
rli_ring_reap(struct ring *ring, struct ring_cqe *cqes, uint32_t max)
{
	uint32_t count = 0;

	while (count < max && ring->cq_head != ring->cq_tail) {
		cqes[count++] = ring->cqes[ring->cq_head++ % FAKE_RING_CQES_MAX];
	}
	return count;
}

bool
rli_ring_is_behind(const struct ring *ring)
{
	return ring->behind;
}

bool
rli_ring_overflowed(struct ring *ring)
{
	return ring->overflowed;
}

bool
rli_ring_has_news(const struct ring *ring)
{
	return fake_ring_waiting(ring) > 0 || ring->behind || ring->overflowed;
}

int
rli_ring_buffers_register(struct ring *ring, uint16_t group, void *memory, uint32_t entries)
{
	trace_add("register");
	if (fake_ring_plan.buffers_rc != 0) {
		return fake_ring_plan.buffers_rc;
	}
	RL_ASSERT(ring->buffers == NULL);
	ring->buffers = memory;
	ring->buffers_entries = entries;
	ring->buffers_group = group;
	ring->buffers_seen = memory;
	return 0;
}

void
rli_ring_buffers_unregister(struct ring *ring, uint16_t group)
{
	trace_add("unregister");
	if (ring->buffers != NULL && ring->buffers_group == group) {
		ring->buffers = NULL;
	}
}
