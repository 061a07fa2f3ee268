/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what must arrive has blocks of its own, goes before what is sent later and keeps its
 *         order, is never dropped, and a stopped port comes home with all of it sent.
 * How: both ends by hand in one thread.
 * Not: two threads at once; what an obligation is for (test_request.c, test_monitor.c).
 */
#include "mesh_bed.h"

#define OBLIGED ((uint32_t)MESH_RESERVED * MESH_BLOCK_ENVELOPES)
#define MORE	100

static struct obligation obligations[OBLIGED + MORE];
static bool are_last = true; /* of their records: they show on the list `sent` */

static bool
oblige(uint32_t i)
{
	list_node_init(&obligations[i].node);
	obligations[i].last = are_last;
	obligations[i].envelope = (struct envelope){ .from = ++bed.sent };
	return rli_mesh_oblige(bed.from, BED_TO, &obligations[i]);
}

/* Full for messages, and @waiting more than the reserve has room for. */
static void
fill(uint32_t waiting)
{
	while (bed_stage()) {
	}
	for (uint32_t i = 0; i < OBLIGED + waiting; i++) {
		assert_int_equal(oblige(i), i < OBLIGED);
		assert_int_equal(rli_obligation_waits(&obligations[i]), i >= OBLIGED);
	}
	assert_int_equal(bed.out->free_count, 0);
	assert_false(bed_stage());
	(void)bed_flush();
}

static uint32_t
sent_count(void)
{
	uint32_t count = 0;

	while (list_pop_front(&bed.from->sent) != NULL) {
		count++;
	}
	return count;
}

/* Two blocks are theirs alone; what does not fit in them waits. */
static void
obligations_have_two_blocks_that_messages_can_not_take(void **state)
{
	(void)state;
	while (bed_stage()) {
	}
	assert_int_equal(bed.sent, BED_ROOM);
	assert_int_equal(bed.out->free_count, MESH_RESERVED);
	for (uint32_t i = 0; i < OBLIGED; i++) {
		assert_true(oblige(i));
		assert_false(rli_obligation_waits(&obligations[i])); /* the memory is ours again */
	}
	assert_false(oblige(OBLIGED));
	assert_true(rli_obligation_waits(&obligations[OBLIGED]));
	assert_true(bed.out->wants);
	assert_true(bed_flush());
	while (bed_take() != NULL) {
	}
	assert_int_equal(bed.got, BED_ROOM + OBLIGED);
}

/* A block comes home at a time: they fill it before any message gets in, in their order. */
static void
obligations_that_wait_go_first_and_in_order(void **state)
{
	struct mesh_block *block;

	(void)state;
	fill(MORE);
	block = bed_take();
	assert_true(bed_return(block));
	assert_false(bed_stage()); /* they were first */
	assert_false(rli_mesh_has_room(bed.from, BED_TO));
	rli_mesh_home(bed.from, BED_TO);
	assert_int_equal(sent_count(), MESH_BLOCK_ENVELOPES);
	assert_false(rli_obligation_waits(&obligations[OBLIGED + MESH_BLOCK_ENVELOPES - 1]));
	assert_true(rli_obligation_waits(&obligations[OBLIGED + MESH_BLOCK_ENVELOPES]));
	assert_false(bed_stage());

	block = bed_take();
	assert_true(bed_return(block));
	rli_mesh_home(bed.from, BED_TO);
	assert_int_equal(sent_count(), MORE - MESH_BLOCK_ENVELOPES);
	assert_true(bed.out->wants); /* a block is staged that may have to wait */
	assert_true(bed_stage()); /* the rest of the last block */
	(void)bed_flush();
	while ((block = bed_take()) != NULL) {
		(void)bed_return(block);
		rli_mesh_home(bed.from, BED_TO);
		(void)bed_flush();
	}
	assert_int_equal(bed.got, bed.sent);
	rli_mesh_home(bed.from, BED_TO);
	assert_false(bed.out->wants);
	assert_true(rli_mesh_is_home(bed.from));
}

/* One that comes later does not overtake those that wait, though a block is at home. */
static void
obligation_made_later_waits_behind_the_others(void **state)
{
	struct mesh_block *block;

	(void)state;
	fill(1);
	block = bed_take();
	assert_true(bed_return(block));
	assert_false(oblige(OBLIGED + 1));
	rli_mesh_home(bed.from, BED_TO);
	assert_int_equal(sent_count(), 2);
	while ((block = bed_take()) != NULL) {
		(void)bed_return(block);
		rli_mesh_home(bed.from, BED_TO);
		(void)bed_flush();
	}
	assert_int_equal(bed.got, bed.sent);
}

/* Taken back or changed while it waits: what is sent is what stands there then. */
static void
obligation_that_waits_may_be_taken_back_or_changed(void **state)
{
	struct mesh_block *block;
	struct mesh_taken taken;
	uint64_t last = 0;

	(void)state;
	fill(3);
	list_remove(&obligations[OBLIGED + 1].node);
	obligations[OBLIGED + 2].envelope.from = 7777;
	block = bed_take();
	assert_true(bed_return(block));
	rli_mesh_home(bed.from, BED_TO);
	assert_int_equal(sent_count(), 2);
	while (rli_mesh_take(bed.to, BED_FROM, &taken)) {
		last = taken.block->envelopes[taken.count - 1].from;
		(void)bed_return(taken.block);
		rli_mesh_home(bed.from, BED_TO);
		(void)bed_flush();
	}
	assert_int_equal(last, 7777);
}

/* A message that is staged already is not overtaken: it was sent before. */
static void
obligation_goes_into_the_staged_block_in_order(void **state)
{
	(void)state;
	assert_true(bed_stage());
	assert_true(oblige(0));
	assert_true(bed_stage());
	assert_true(bed_flush());
	assert_non_null(bed_take());
	assert_int_equal(bed.taken, 3);
	assert_null(bed_take());
}

/* Its home counts for them too: a block with reports is not free before they were dealt with. */
static void
obligation_is_placed_when_reports_are_done(void **state)
{
	struct mesh_block *block;

	(void)state;
	fill(1);
	block = bed_take();
	block->reports = 1;
	assert_true(bed_return(block));
	rli_mesh_home(bed.from, BED_TO);
	assert_int_equal(sent_count(), 0);
	bed.from->reported = NULL;
	rli_mesh_reports_done(bed.from, block);
	assert_int_equal(sent_count(), 1);
	assert_non_null(bed.out->staged);
	(void)bed_flush();
}

/* Take and return until nothing moves, with both looking only when they are marked. */
static void
settle(void)
{
	struct mesh_block *block;
	bool moved = true;

	while (moved) {
		moved = bed_flush();
		if (bed_is_marked(bed.to, BED_FROM)) {
			moved = true;
			while ((block = bed_take()) != NULL) {
				(void)bed_return(block);
			}
		}
		if (bed_is_marked(bed.from, BED_TO)) {
			moved = true;
			rli_mesh_home(bed.from, BED_TO);
			(void)sent_count();
		}
	}
}

static void
mesh_stopped_while_obligations_wait_comes_home(void **state)
{
	(void)state;
	fill(MORE);
	rli_mesh_stop(bed.from);
	assert_false(rli_mesh_is_home(bed.from));
	settle();
	assert_true(rli_mesh_is_home(bed.from));
	assert_int_equal(bed.got, bed.sent);
	assert_true(rli_mesh_is_home(bed.to));
}

static void
mesh_stopped_while_a_block_is_held_back_comes_home(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < MESH_PARTIAL_MAX + 3; i++) {
		assert_true(bed_stage());
		(void)bed_flush();
	}
	assert_non_null(bed.out->staged);
	rli_mesh_stop(bed.from);
	assert_false(rli_mesh_is_home(bed.from));
	settle();
	assert_true(rli_mesh_is_home(bed.from));
	assert_int_equal(bed.got, bed.sent);
}

/* Blocks that were returned in silence before the stop are found by it. */
static void
mesh_stopped_finds_what_came_home_in_silence(void **state)
{
	(void)state;
	assert_true(bed_stage());
	assert_true(bed_flush());
	assert_false(bed_return(bed_take()));
	assert_false(rli_mesh_is_home(bed.from));
	rli_mesh_stop(bed.from);
	assert_true(rli_mesh_is_home(bed.from));
}

/* A pair that is first used by the last words: its blocks are wanted home too. */
static void
mesh_opened_after_the_stop_comes_home(void **state)
{
	(void)state;
	rli_mesh_stop(bed.from);
	assert_true(rli_mesh_is_home(bed.from));
	assert_true(oblige(0));
	assert_false(rli_mesh_is_home(bed.from));
	settle();
	assert_true(rli_mesh_is_home(bed.from));
	assert_int_equal(bed.got, 1);
	assert_true(bed.out->wants);
}

/*
 * The receiver may have an obligation's message, and what its memory belongs to, as soon as the
 * block is in the ring: from then on the sender's lists must not lead through that memory.
 */
static void
obligation_that_the_receiver_has_is_touched_no_more(void **state)
{
	struct mesh_block *block;
	uint32_t blocks = MESH_BLOCKS - 1;

	(void)state;
	are_last = false;
	fill(MESH_BLOCK_ENVELOPES + 1);
	block = bed_take();
	assert_true(bed_return(block));
	while (blocks > 0) {
		assert_non_null(bed_take());
		blocks--;
	}
	assert_null(bed_take());
	rli_mesh_home(bed.from, BED_TO);
	/* what is full may be in the ring before any flush */
	block = bed_take();
	for (uint32_t i = 0; block != NULL && i < bed.taken; i++) {
		assert_false(list_is_linked(&obligations[OBLIGED + i].node));
	}
	assert_int_equal(sent_count(), 0);
	are_last = true;
}

int
mesh_obliged_run(void)
{
	const struct CMUnitTest tests[] = {
		on_mesh(obligations_have_two_blocks_that_messages_can_not_take),
		on_mesh(obligations_that_wait_go_first_and_in_order),
		on_mesh(obligation_made_later_waits_behind_the_others),
		on_mesh(obligation_that_waits_may_be_taken_back_or_changed),
		on_mesh(obligation_goes_into_the_staged_block_in_order),
		on_mesh(obligation_is_placed_when_reports_are_done),
		on_mesh(mesh_stopped_while_obligations_wait_comes_home),
		on_mesh(mesh_stopped_while_a_block_is_held_back_comes_home),
		on_mesh(mesh_stopped_finds_what_came_home_in_silence),
		on_mesh(mesh_opened_after_the_stop_comes_home),
		on_mesh(obligation_that_the_receiver_has_is_touched_no_more),
	};

	return unit_run(tests);
}
