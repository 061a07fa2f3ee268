/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The shard's receive buffers: one provided-buffer ring that all its connections share.
 *
 * Each buffer is in exactly one place: home (in the ring, the kernel's to fill) or lent (filled;
 * ours to return). A slot per buffer remembers which, so a buffer that the kernel hands out twice,
 * or that we return twice, is caught where it happens. Returned buffers become visible to the
 * kernel at rli_bufring_publish(), once per turn and always before a wait.
 */
#ifndef RINGLINE_SHARD_BUFRING_H
#define RINGLINE_SHARD_BUFRING_H

#include <stdbool.h>
#include <stdint.h>

#include "shard/counters.h"
#include "shard/ring.h"

#define BUFRING_GROUP 0
#define BUFRING_NONE  UINT16_MAX

/* A lent buffer, while it is on its connection's list of slices. */
struct bufring_slot {
	uint32_t start; /* bytes already consumed */
	uint32_t len; /* bytes filled */
	uint16_t next; /* the connection's next slice, BUFRING_NONE: last */
	bool lent;
};

struct bufring {
	struct io_uring_buf_ring *ring;
	uint8_t *memory;
	struct bufring_slot *slots;
	struct counters *counters;
	uint32_t count; /* buffers, a power of two */
	uint32_t bytes; /* of each */
	uint32_t stride; /* from one to the next: off the page stride, which spreads cache sets */
	uint32_t home; /* how many the kernel could fill, once published */
	uint16_t tail;
	bool unpublished;
	size_t reserved_bytes; /* of the one reservation that holds it all */
};

/* Allocate, register, fill and publish. 0, -ENOMEM, or the kernel's answer. */
int rli_bufring_init(struct bufring *bufring, struct ring *ring, uint32_t count, uint32_t bytes,
		     struct counters *counters);

/* On the ring's thread. */
void rli_bufring_unregister(struct bufring *bufring, struct ring *ring);

/* After the ring was closed. */
void rli_bufring_fini(struct bufring *bufring);

static inline uint8_t *
rli_bufring_data(const struct bufring *bufring, uint16_t id)
{
	return bufring->memory + (size_t)id * bufring->stride;
}

/* The kernel filled buffer @id with @len bytes (F_BUFFER was set in the completion). */
struct bufring_slot *rli_bufring_lend(struct bufring *bufring, uint16_t id, uint32_t len);

/* Give buffer @id back; the kernel may use it from the next publish on. */
void rli_bufring_return(struct bufring *bufring, uint16_t id);

void rli_bufring_publish(struct bufring *bufring);

#endif
