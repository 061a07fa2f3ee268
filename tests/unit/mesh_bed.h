/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Two ends of a mesh, stepped in one thread, and numbers that are sent through it. With the groups
 * of cases that test_mesh is made of; each answers how many failed.
 */
#ifndef RINGLINE_TESTS_MESH_BED_H
#define RINGLINE_TESTS_MESH_BED_H

#include "unit.h"

#include "mailbox/mesh.h"

/* Obligations, and the end: mesh_obliged.c. */
int mesh_obliged_run(void);

#define BED_SHARDS 3
#define BED_FROM   0
#define BED_TO	   2
#define BED_ROOM   ((MESH_BLOCKS - MESH_RESERVED) * MESH_BLOCK_ENVELOPES)

static struct {
	struct mesh *mesh;
	struct mesh_port *from;
	struct mesh_port *to;
	struct mesh_out *out; /* of from, to to */
	uint64_t sent; /* numbers so far */
	uint64_t got;
	uint32_t taken; /* in the last block */
	bool notifies; /* it has nothing but notifications */
} bed;

static inline int
bed_setup(void **state)
{
	(void)state;
	memset(&bed, 0, sizeof(bed));
	bed.mesh = rli_mesh_create(BED_SHARDS);
	assert_non_null(bed.mesh);
	bed.from = rli_mesh_port(bed.mesh, BED_FROM);
	bed.to = rli_mesh_port(bed.mesh, BED_TO);
	bed.out = &bed.from->out[BED_TO];
	return 0;
}

static inline int
bed_teardown(void **state)
{
	(void)state;
	rli_mesh_destroy(bed.mesh);
	return 0;
}

/* One number; false: there is no room. */
static inline bool
bed_stage(void)
{
	struct envelope *envelope = rli_mesh_stage(bed.from, BED_TO);

	if (envelope != NULL) {
		envelope->from = ++bed.sent;
	}
	return envelope != NULL;
}

/* Flush @port. True: that marked the other, and nobody else. */
static inline bool
bed_flush_port(struct mesh_port *port, uint32_t other)
{
	uint64_t wake[MESH_WORDS] = { 0 };
	bool any = rli_mesh_flush(port, wake);

	assert_int_equal(any, wake[0] != 0);
	assert_true(wake[0] == 0 || wake[0] == (uint64_t)1 << other);
	return any;
}

/* True: something left, and the receiver has to look. */
static inline bool
bed_flush(void)
{
	if (!bed_flush_port(bed.from, BED_TO)) {
		return false;
	}
	assert_false(rli_mesh_is_quiet(bed.to));
	assert_false(bed_flush_port(bed.from, BED_TO)); /* once */
	return true;
}

/* Whether @by has marked @port, and nobody else has; looks once, at both sets. */
static inline bool
bed_is_marked(struct mesh_port *port, uint32_t by)
{
	struct mesh_sources inbound;
	struct mesh_sources homing;
	bool any = rli_mesh_inbound(port, &inbound);
	struct mesh_sources *sources = any ? &inbound : &homing;
	uint32_t source;

	any = rli_mesh_homing(port, &homing) || any;
	if (!any) {
		return false;
	}
	assert_true(rli_mesh_sources_next(port, sources, &source));
	assert_int_equal(source, by);
	assert_false(rli_mesh_sources_next(port, sources, &source));
	assert_true(rli_mesh_is_quiet(port));
	return true;
}

/* The oldest block, with its numbers in order; NULL: there is none. */
static inline struct mesh_block *
bed_take(void)
{
	struct mesh_taken taken;

	if (!rli_mesh_take(bed.to, BED_FROM, &taken)) {
		return NULL;
	}
	bed.taken = taken.count;
	bed.notifies = taken.notifies;
	for (uint32_t i = 0; i < taken.count; i++) {
		assert_int_equal(taken.block->envelopes[i].from, ++bed.got);
	}
	return taken.block;
}

/* Whoever has no block of @source finds none. */
static inline bool
bed_is_empty(struct mesh_port *port, uint32_t source)
{
	struct mesh_taken taken;

	return !rli_mesh_take(port, source, &taken);
}

/* Give it home, with the receiver's flush. True: the sender has to look. */
static inline bool
bed_return(struct mesh_block *block)
{
	rli_mesh_return(bed.to, BED_FROM, block, block->reports != 0);
	return bed_flush_port(bed.to, BED_FROM);
}

#define on_mesh(test) cmocka_unit_test_setup_teardown(test, bed_setup, bed_teardown)

#endif
