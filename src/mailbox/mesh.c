/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The mesh as a whole, and the receiver's side of a pair. Invariant: each of a pair's blocks is in
 * exactly one place (free, staged, a ring, the receiver's hands, reported).
 */
#include "mailbox/mesh.h"

#include "base/assert.h"
#include "base/host.h"
#include "base/mutant.h"
#include "mailbox/mesh_pair.h"

/* A multiple of every page size that Linux has (4, 16 and 64 KiB). */
#define MESH_PAGES 65536

/* A shard's row begins on a cache line of its own: it writes there for every block. */
static size_t
mesh_in_row(uint32_t shards)
{
	size_t per_line = 64 / sizeof(struct mesh_in);

	return (shards + per_line - 1) / per_line * per_line;
}

static size_t
mesh_bytes(uint32_t shards)
{
	size_t bytes = 64 + sizeof(struct mesh);

	bytes += 64 + shards * sizeof(struct mesh_port);
	bytes += 64 + (size_t)shards * shards * sizeof(struct mesh_out);
	bytes += 64 + (size_t)shards * mesh_in_row(shards) * sizeof(struct mesh_in);
	bytes += 64 + (size_t)shards * shards * sizeof(struct mesh_pair);
	return (bytes + MESH_PAGES - 1) / MESH_PAGES * MESH_PAGES;
}

/* The next @bytes, aligned to a cache line. */
static void *
mesh_carve(uint8_t **at, size_t bytes)
{
	void *carved = *at;

	*at += (bytes + 63) / 64 * 64;
	return carved;
}

static void
mesh_out_init(struct mesh_out *out, struct mesh_pair *pair)
{
	out->pair = pair;
	list_node_init(&out->dirty);
	list_init(&out->obliged);
	list_init(&out->waiters);
}

static void
mesh_port_init(struct mesh *mesh, uint32_t id)
{
	struct mesh_port *port = &mesh->ports[id];

	port->mesh = mesh;
	port->id = id;
	port->shards = mesh->shards;
	port->out = &mesh->outs[(size_t)id * mesh->shards];
	port->in = &mesh->ins[id * mesh_in_row(mesh->shards)];
	list_init(&port->dirty);
	list_init(&port->sent);
	for (uint32_t w = 0; w < MESH_WORDS; w++) {
		atomic_init(&port->inbound[w], 0);
		atomic_init(&port->homing[w], 0);
	}
	for (uint32_t to = 0; to < mesh->shards; to++) {
		mesh_out_init(&port->out[to], &mesh->pairs[(size_t)id * mesh->shards + to]);
	}
}

struct mesh *
rli_mesh_create(uint32_t shards)
{
	size_t bytes = mesh_bytes(shards);
	uint8_t *at = rli_host_pages_reserve(bytes);
	struct mesh *mesh;

	if (at == NULL) {
		return NULL;
	}
	if (rli_host_pages_commit(at, bytes) != 0) {
		rli_host_pages_release(at, bytes);
		return NULL;
	}
	mesh = mesh_carve(&at, sizeof(*mesh));
	mesh->reserved_bytes = bytes;
	mesh->shards = shards;
	mesh->ports = mesh_carve(&at, shards * sizeof(*mesh->ports));
	mesh->outs = mesh_carve(&at, (size_t)shards * shards * sizeof(*mesh->outs));
	mesh->ins = mesh_carve(&at, shards * mesh_in_row(shards) * sizeof(*mesh->ins));
	mesh->pairs = mesh_carve(&at, (size_t)shards * shards * sizeof(*mesh->pairs));
	for (uint32_t i = 0; i < shards; i++) {
		mesh_port_init(mesh, i);
	}
	return mesh;
}

void
rli_mesh_destroy(struct mesh *mesh)
{
	rli_host_pages_release(mesh, mesh->reserved_bytes);
}

struct mesh_port *
rli_mesh_port(struct mesh *mesh, uint32_t shard)
{
	RL_ASSERT(shard < mesh->shards);
	return &mesh->ports[shard];
}

static bool
mesh_exchange(struct mesh_port *port, _Atomic uint64_t *set, struct mesh_sources *sources)
{
	uint64_t any = 0;

	for (uint32_t w = 0; w * 64 < port->shards; w++) {
		sources->words[w] = 0;
		/* Mostly nothing is there, and an exchange takes the line away from who marks. */
		if (atomic_load_explicit(&set[w], memory_order_relaxed) != 0) {
			/* pairs with: mesh_mark() */
			sources->words[w] =
				atomic_exchange_explicit(&set[w], 0, memory_order_acq_rel);
		}
		any |= sources->words[w];
	}
	sources->at = port->next_source;
	sources->left = port->shards;
	return any != 0;
}

bool
rli_mesh_inbound(struct mesh_port *port, struct mesh_sources *sources)
{
	if (!mesh_exchange(port, port->inbound, sources)) {
		return false;
	}
	port->next_source = port->next_source + 1 == port->shards ? 0 : port->next_source + 1;
	return true;
}

bool
rli_mesh_homing(struct mesh_port *port, struct mesh_sources *sources)
{
	return mesh_exchange(port, port->homing, sources);
}

bool
rli_mesh_sources_next(struct mesh_port *port, struct mesh_sources *sources, uint32_t *source)
{
	while (sources->left > 0) {
		uint32_t candidate = sources->at;

		sources->at = candidate + 1 == port->shards ? 0 : candidate + 1;
		sources->left--;
		if (sources->words[candidate / 64] >> candidate % 64 & 1) {
			*source = candidate;
			return true;
		}
	}
	return false;
}

/* Relaxed: the same thread reads it again, before it sleeps. */
static void
mesh_mark_again(_Atomic uint64_t *set, uint32_t source)
{
	atomic_fetch_or_explicit(&set[source / 64], (uint64_t)1 << source % 64,
				 memory_order_relaxed);
}

void
rli_mesh_inbound_again(struct mesh_port *port, uint32_t source)
{
	mesh_mark_again(port->inbound, source);
}

void
rli_mesh_homing_again(struct mesh_port *port, uint32_t source)
{
	mesh_mark_again(port->homing, source);
}

bool
rli_mesh_take(struct mesh_port *port, uint32_t source, struct mesh_taken *taken)
{
	struct mesh_pair *pair = mesh_inbound_pair(port, source);
	struct mesh_entry entry;

	if (!mesh_ring_pop(&pair->forward, &port->in[source].taken_at, &entry)) {
		return false;
	}
	taken->block = &pair->blocks[entry.block];
	taken->count = entry.tag & ~MESH_TAG_NOTIFIES;
	taken->notifies = (entry.tag & MESH_TAG_NOTIFIES) != 0;
	RL_ASSERT(taken->count > 0);
	RL_ASSERT(taken->count <= MESH_BLOCK_ENVELOPES);
	RL_ASSERT(entry.block < MESH_BLOCKS);
	return true;
}

void
rli_mesh_return(struct mesh_port *port, uint32_t source, struct mesh_block *block, bool reported)
{
	struct mesh_pair *pair = mesh_inbound_pair(port, source);

	mesh_ring_push(&pair->reverse, &port->in[source].returned_at,
		       (struct mesh_entry){ (uint32_t)(block - pair->blocks), reported });
	port->any_returned = true;
	mesh_set_add(port->returned, source);
	if (reported) {
		mesh_set_add(port->told, source);
	}
}

bool
rli_mesh_is_quiet(const struct mesh_port *port)
{
	uint64_t any = 0;

	/* Relaxed: the caller announced its sleep with a full fence before this (shard/sleep.h). */
	for (uint32_t w = 0; w * 64 < port->shards; w++) {
		any |= atomic_load_explicit(&port->inbound[w], memory_order_relaxed);
		any |= atomic_load_explicit(&port->homing[w], memory_order_relaxed);
	}
	return any == 0 || RL_MUTANT(INBOUND_NOT_LOOKED_AT);
}
