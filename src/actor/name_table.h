/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A hash table of names: a fixed number of buckets, and entries from a slab. Nothing in it moves or
 * grows. Names are the program's own, so their hash needs no secret.
 */
#ifndef RINGLINE_ACTOR_NAME_TABLE_H
#define RINGLINE_ACTOR_NAME_TABLE_H

#include <stdint.h>

#include <ringline/msg.h>
#include <ringline/name.h>

#include "base/slab.h"

_Static_assert(RL_ACTOR_NAME_MAX <= RL_MSG_INLINE_MAX, "a name travels inside a message");

/* A name to look for: borrowed, without a final zero. */
struct name_key {
	const void *text;
	uint32_t len;
	uint64_t hash;
};

/* The head of every entry. */
struct name {
	uint32_t slab_link; /* the slab's, while the slot is free */
	uint32_t next; /* in the bucket: the slot's number + 1, 0: the last */
	uint64_t hash;
	uint64_t id; /* who has it */
	uint8_t len;
	uint8_t text[RL_MSG_INLINE_MAX];
};

struct name_table {
	uint32_t *buckets; /* the first entry's number + 1 */
	size_t reserved_bytes;
	uint32_t buckets_mask;
	struct slab names;
};

/*
 * Entries of @entry_size bytes that begin with a struct name. Quick for up to @names_usual of them,
 * full with @names_max. 0, -ENOMEM.
 */
int rli_name_table_init(struct name_table *table, size_t entry_size, uint32_t names_usual,
			uint32_t names_max);

/* Zeroed memory is fine. */
void rli_name_table_fini(struct name_table *table);

struct name_key rli_name_key(const void *text, size_t len);

/* NULL: there is none. */
struct name *rli_name_table_find(const struct name_table *table, const struct name_key *key);

/* A new entry, of which the head is filled in, for nobody yet; it was not there. NULL: full. */
struct name *rli_name_table_insert(struct name_table *table, const struct name_key *key);

/* Gives the entry's slot back. */
void rli_name_table_remove(struct name_table *table, struct name *name);

#endif
