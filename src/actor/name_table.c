/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tables of names. Invariant: an entry is taken from the slab exactly while it is in the bucket of
 * its hash.
 */
#include "actor/name_table.h"

#include <errno.h>
#include <string.h>

#include "base/host.h"

/* A multiple of every page size that Linux has (4, 16 and 64 KiB). */
#define NAME_TABLE_PAGES 65536

int
rli_name_table_init(struct name_table *table, size_t entry_size, uint32_t names_usual,
		    uint32_t names_max)
{
	uint32_t buckets = 1;
	size_t bytes;

	while (buckets < names_usual) {
		buckets *= 2;
	}
	bytes = buckets * sizeof(*table->buckets);
	bytes = (bytes + NAME_TABLE_PAGES - 1) / NAME_TABLE_PAGES * NAME_TABLE_PAGES;
	table->buckets_mask = buckets - 1;
	table->buckets = rli_host_pages_reserve(bytes);
	if (table->buckets == NULL) {
		return -ENOMEM;
	}
	table->reserved_bytes = bytes;
	if (rli_host_pages_commit(table->buckets, bytes) != 0) {
		return -ENOMEM; /* the caller calls fini */
	}
	return rli_slab_init(&table->names, entry_size, names_max);
}

void
rli_name_table_fini(struct name_table *table)
{
	rli_host_pages_release(table->buckets, table->reserved_bytes);
	table->buckets = NULL;
	table->reserved_bytes = 0;
	rli_slab_fini(&table->names);
}

/* FNV-1a, and a finish that lets every byte reach every bit. */
struct name_key
rli_name_key(const void *text, size_t len)
{
	const uint8_t *bytes = text;
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++) {
		hash = (hash ^ bytes[i]) * 0x100000001b3;
	}
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccd;
	hash ^= hash >> 33;
	return (struct name_key){ text, (uint32_t)len, hash };
}

/* The low bits of a hash choose the home shard, so they are alike in all names of a home. */
static uint32_t *
name_bucket(const struct name_table *table, uint64_t hash)
{
	return &table->buckets[(uint32_t)(hash >> 32) & table->buckets_mask];
}

struct name *
rli_name_table_find(const struct name_table *table, const struct name_key *key)
{
	uint32_t number = *name_bucket(table, key->hash);

	while (number != 0) {
		struct name *name = rli_slab_at(&table->names, number - 1);

		if (name->hash == key->hash && name->len == key->len &&
		    memcmp(name->text, key->text, key->len) == 0) {
			return name;
		}
		number = name->next;
	}
	return NULL;
}

struct name *
rli_name_table_insert(struct name_table *table, const struct name_key *key)
{
	uint32_t *bucket = name_bucket(table, key->hash);
	struct name *name = rli_slab_take(&table->names);

	if (name == NULL) {
		return NULL;
	}
	name->hash = key->hash;
	name->id = 0;
	name->len = (uint8_t)key->len;
	memcpy(name->text, key->text, key->len);
	name->next = *bucket;
	*bucket = rli_slab_number(&table->names, name) + 1;
	return name;
}

void
rli_name_table_remove(struct name_table *table, struct name *name)
{
	uint32_t number = rli_slab_number(&table->names, name) + 1;
	uint32_t *link = name_bucket(table, name->hash);

	while (*link != number) {
		struct name *other = rli_slab_at(&table->names, *link - 1);

		RL_ASSERT(other != NULL);
		link = &other->next;
	}
	*link = name->next;
	rli_slab_give(&table->names, name);
}
