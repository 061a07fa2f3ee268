/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The provided-buffer ring. Invariant: home + lent = count, and slots[id].lent says on which side
 * buffer id is.
 *
 * liburing 2.3 has no io_uring_setup_buf_ring(), and we want the memory to be ours anyway: kernels
 * 6.4 to 6.6.4 had a use-after-free in buffer rings that the kernel maps (CVE-2024-0582).
 */
#include "shard/bufring.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/host.h"
#include "base/mutant.h"

/* Spreads the buffers' first lines over cache sets, which a stride of whole pages would not. */
#define STRIDE_PAD 192

static size_t
bufring_round(size_t bytes, size_t to)
{
	return (bytes + to - 1) / to * to;
}

static void
bufring_layout(struct bufring *bufring, uint8_t *at)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	bufring->ring = (struct io_uring_buf_ring *)(void *)at;
	at += bufring_round(bufring->count * sizeof(struct io_uring_buf), page);
	bufring->slots = (struct bufring_slot *)(void *)at;
	at += bufring_round(bufring->count * sizeof(struct bufring_slot), page);
	bufring->memory = at;
}

static size_t
bufring_bytes(const struct bufring *bufring)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return bufring_round(bufring->count * sizeof(struct io_uring_buf), page) +
	       bufring_round(bufring->count * sizeof(struct bufring_slot), page) +
	       bufring_round((size_t)bufring->count * bufring->stride, page);
}

static void
bufring_add(struct bufring *bufring, uint16_t id)
{
	uint32_t mask = bufring->count - 1;
	struct io_uring_buf *buf = &bufring->ring->bufs[bufring->tail & mask];

	buf->addr = (uintptr_t)rli_bufring_data(bufring, id);
	buf->len = bufring->bytes;
	buf->bid = id;
	bufring->tail = (uint16_t)(bufring->tail + 1); /* wraps, as the kernel's does */
	bufring->home++;
	bufring->unpublished = true;
}

int
rli_bufring_init(struct bufring *bufring, struct ring *ring, uint32_t count, uint32_t bytes,
		 struct counters *counters)
{
	uint8_t *memory;
	int rc;

	*bufring = (struct bufring){
		.counters = counters,
		.count = count,
		.bytes = bytes,
		.stride = bytes + STRIDE_PAD,
	};
	bufring->reserved_bytes = bufring_bytes(bufring);
	memory = rli_host_pages_reserve(bufring->reserved_bytes);
	if (memory == NULL) {
		return -ENOMEM;
	}
	rc = rli_host_pages_commit(memory, bufring->reserved_bytes);
	if (rc == 0) {
		bufring_layout(bufring, memory);
		rc = rli_ring_buffers_register(ring, BUFRING_GROUP, bufring->ring, count);
	}
	if (rc != 0) {
		rli_host_pages_release(memory, bufring->reserved_bytes);
		bufring->ring = NULL;
		return rc;
	}
	for (uint32_t id = 0; id < count; id++) {
		bufring_add(bufring, (uint16_t)id);
	}
	rli_bufring_publish(bufring);
	return 0;
}

void
rli_bufring_unregister(struct bufring *bufring, struct ring *ring)
{
	if (bufring->ring != NULL) {
		rli_ring_buffers_unregister(ring, BUFRING_GROUP);
	}
}

void
rli_bufring_fini(struct bufring *bufring)
{
	if (bufring->ring != NULL) {
		rli_host_pages_release(bufring->ring, bufring->reserved_bytes);
		bufring->ring = NULL;
	}
}

struct bufring_slot *
rli_bufring_lend(struct bufring *bufring, uint16_t id, uint32_t len)
{
	struct bufring_slot *slot;

	RL_ASSERT(id < bufring->count);
	RL_ASSERT(len <= bufring->bytes);
	slot = &bufring->slots[id];
	RL_ASSERT(!slot->lent);
	*slot = (struct bufring_slot){ .len = len, .next = BUFRING_NONE, .lent = true };
	bufring->home--;
	counters_add(bufring->counters, bufs_lent, 1);
	return slot;
}

void
rli_bufring_return(struct bufring *bufring, uint16_t id)
{
	RL_ASSERT(id < bufring->count);
	RL_ASSERT(bufring->slots[id].lent);
	bufring->slots[id].lent = false;
	bufring_add(bufring, id);
	if (RL_MUTANT(BUFFER_RETURNED_TWICE)) {
		bufring_add(bufring, id);
	}
	counters_add(bufring->counters, bufs_home, 1);
}

void
rli_bufring_publish(struct bufring *bufring)
{
	if (!bufring->unpublished) {
		return;
	}
	bufring->unpublished = false;
	/* the kernel loads the tail with acquire: it sees the entries that were written before */
	io_uring_smp_store_release(&bufring->ring->tail, bufring->tail);
}
