/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Provided buffer rings, read from the product's own memory by head and tail, as the kernel does
 * it.
 *
 * INV-2: each buffer is in exactly one place. A shadow per id remembers which, so that an id that
 * is returned twice, or returned with another's memory, is seen when it is published. While a
 * buffer is the kernel's it holds a pattern (of its id and generation) that nobody may have
 * touched when the kernel fills it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim_kernel.h"
#include "sim_poison.h"

static uint64_t
buffer_pattern(uint16_t id, uint32_t generation)
{
	return sim_mix((uint64_t)id << 32 | generation);
}

static void
buffer_fill(struct sk_buffer *buffer, uint16_t id)
{
	uint64_t pattern = buffer_pattern(id, ++buffer->generation);
	uint8_t *at = (uint8_t *)(uintptr_t)buffer->addr;

	for (uint32_t i = 0; i + sizeof(pattern) <= buffer->len; i += sizeof(pattern)) {
		memcpy(at + i, &pattern, sizeof(pattern));
	}
	sim_poison(at, buffer->len);
}

static void
buffer_check(const struct sk_buffer *buffer, uint16_t id)
{
	uint64_t pattern = buffer_pattern(id, buffer->generation);
	uint8_t *at = (uint8_t *)(uintptr_t)buffer->addr;
	uint64_t diff = 0;

	sim_unpoison(at, buffer->len);
	for (uint32_t i = 0; i + sizeof(pattern) <= buffer->len; i += sizeof(pattern)) {
		uint64_t word;

		memcpy(&word, at + i, sizeof(word));
		diff |= word ^ pattern;
	}
	sim_check(diff == 0, "receive buffer %u was written to while it was the kernel's", id);
}

int
sk_group_register(struct sk_group *group, void *memory, uint32_t entries)
{
	if (group->registered) {
		return -EEXIST;
	}
	if (entries == 0 || (entries & (entries - 1)) != 0 || entries > SK_BUFFERS) {
		return -EINVAL;
	}
	sim_check(((uintptr_t)memory & 4095) == 0, "a buffer ring is not page-aligned");
	memset(group, 0, sizeof(*group));
	group->ring = memory;
	group->entries = entries;
	group->ids = entries * 4;
	group->buffers = calloc(group->ids, sizeof(*group->buffers));
	group->registered = true;
	return 0;
}

void
sk_group_unregister(struct sk_group *group)
{
	if (!group->registered) {
		return;
	}
	sk_group_scan(group);
	for (uint32_t id = 0; id < group->ids; id++) {
		if (group->buffers[id].place == SK_BUFFER_HOME) {
			buffer_check(&group->buffers[id], (uint16_t)id);
		}
	}
	free(group->buffers);
	memset(group, 0, sizeof(*group));
}

static void
group_take_home(struct sk_group *group, const struct io_uring_buf *entry)
{
	struct sk_buffer *buffer;

	sim_check(entry->bid < group->ids, "buffer id %u was published", entry->bid);
	buffer = &group->buffers[entry->bid];
	sim_check(buffer->place != SK_BUFFER_HOME, "INV-2: buffer %u was returned twice",
		  entry->bid);
	if (buffer->place == SK_BUFFER_LENT) {
		sim_check(buffer->addr == entry->addr && buffer->len == entry->len,
			  "INV-2: buffer %u came home with another's memory", entry->bid);
	}
	buffer->addr = entry->addr;
	buffer->len = entry->len;
	buffer->place = SK_BUFFER_HOME;
	buffer_fill(buffer, entry->bid);
	group->home++;
}

void
sk_group_scan(struct sk_group *group)
{
	uint16_t tail;

	if (!group->registered) {
		return;
	}
	tail = io_uring_smp_load_acquire(&group->ring->tail);
	sim_check((uint16_t)(tail - group->head) <= group->entries,
		  "INV-2: more buffers were published than the ring has");
	for (; group->seen != tail; group->seen = (uint16_t)(group->seen + 1)) {
		group_take_home(group, &group->ring->bufs[group->seen & (group->entries - 1)]);
	}
}

bool
sk_group_is_empty(struct sk_group *group)
{
	sk_group_scan(group);
	return !group->registered || group->head == group->seen;
}

struct sk_buffer *
sk_group_take(struct sk_group *group, uint16_t *id)
{
	const struct io_uring_buf *entry = &group->ring->bufs[group->head & (group->entries - 1)];
	struct sk_buffer *buffer = &group->buffers[entry->bid];

	group->head = (uint16_t)(group->head + 1);
	sim_check(buffer->place == SK_BUFFER_HOME && buffer->addr == entry->addr,
		  "INV-2: the entry of buffer %u was changed after it was published", entry->bid);
	buffer_check(buffer, entry->bid);
	buffer->place = SK_BUFFER_LENT;
	group->home--;
	*id = entry->bid;
	return buffer;
}
