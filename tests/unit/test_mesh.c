/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: messages of a pair come in order, room ends and begins again exactly when the header says
 *         so and is announced only when it matters, sources are found and get their turns.
 * How: both ends by hand in one thread; with mesh_obliged.c.
 * Not: two threads at once; tests/model does the handshakes, integration tests the rest.
 */
#include "mesh_bed.h"

static void
mesh_messages_come_in_order_and_block_by_block(void **state)
{
	uint32_t round;

	(void)state;
	for (round = 1; round <= 200; round++) {
		struct mesh_block *block;

		for (uint32_t i = 0; i < round; i++) {
			assert_true(bed_stage());
		}
		assert_true(bed_flush());
		assert_false(bed_flush()); /* nothing is left */
		assert_true(bed_is_marked(bed.to, BED_FROM));
		while ((block = bed_take()) != NULL) {
			assert_int_equal(block->to, BED_TO);
			(void)bed_return(block);
		}
		assert_int_equal(bed.got, bed.sent);
	}
}

/* Neither direction is the other, and nobody else is told. */
static void
mesh_pairs_do_not_touch_each_other(void **state)
{
	struct mesh_port *third = rli_mesh_port(bed.mesh, 1);

	(void)state;
	assert_true(bed_stage());
	assert_true(bed_flush());
	assert_true(rli_mesh_is_quiet(bed.from));
	assert_true(rli_mesh_is_quiet(third));
	assert_true(bed_is_empty(bed.from, BED_TO));
	assert_true(bed_is_empty(bed.to, 1));
	assert_true(bed_is_empty(third, BED_FROM));
	assert_true(bed_is_empty(bed.to, BED_TO)); /* itself */
	for (uint32_t a = 0; a < BED_SHARDS; a++) {
		struct mesh_port *port = rli_mesh_port(bed.mesh, a);

		for (uint32_t b = 0; b < BED_SHARDS; b++) {
			/* who is idle was not set up: its memory was not touched */
			assert_int_equal(port->out[b].opened, a == BED_FROM && b == BED_TO);
		}
	}
	rli_mesh_home(bed.to, BED_FROM); /* nothing comes home to who never sent */
	assert_false(bed.to->out[BED_FROM].opened);
	assert_true(rli_mesh_is_home(bed.to));
	assert_false(rli_mesh_is_home(bed.from));
}

/* The sender looks for what came home when so many are out. */
#define CYCLE 3 /* MESH_CYCLE */

static void
mesh_idle_pair_touches_few_blocks(void **state)
{
	struct mesh_block *blocks[CYCLE];

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		struct mesh_block *block;

		assert_true(bed_stage());
		assert_true(bed_flush());
		block = bed_take();
		assert_non_null(block);
		if (i < CYCLE) {
			blocks[i] = block;
		} else {
			/* last in, first out: what was used last is the warmest */
			assert_ptr_equal(
				block,
				blocks[i / CYCLE % 2 == 0 ? i % CYCLE : CYCLE - 1 - i % CYCLE]);
		}
		assert_false(bed_return(block)); /* nobody wants to know */
		assert_true(rli_mesh_is_quiet(bed.from));
	}
}

static void
mesh_filled_has_no_room_until_a_block_is_home(void **state)
{
	struct mesh_block *block;

	(void)state;
	for (uint32_t i = 0; i < BED_ROOM; i++) {
		assert_true(rli_mesh_has_room(bed.from, BED_TO));
		assert_true(bed_stage());
		assert_false(bed.out->wants);
	}
	assert_false(rli_mesh_has_room(bed.from, BED_TO));
	assert_false(bed_stage());
	assert_true(bed.out->wants);
	assert_false(bed_stage());
	assert_int_equal(bed.out->free_count, MESH_RESERVED);
	assert_true(bed_flush());

	block = bed_take();
	assert_int_equal(bed.taken, MESH_BLOCK_ENVELOPES);
	assert_false(bed_stage()); /* taken is not home */
	assert_true(bed_return(block));
	assert_true(bed_is_marked(bed.from, BED_TO));
	assert_false(rli_mesh_has_room(bed.from, BED_TO)); /* until it is looked at */
	rli_mesh_home(bed.from, BED_TO);
	assert_true(rli_mesh_has_room(bed.from, BED_TO));
	assert_false(bed.out->wants);
	for (uint32_t i = 0; i < MESH_BLOCK_ENVELOPES; i++) {
		assert_true(bed_stage());
	}
	assert_false(bed_stage());
	while ((block = bed_take()) != NULL) {
		assert_true(bed_return(block));
	}
	assert_int_equal(bed.got, bed.sent); /* pushed as soon as it was full, announced later */
	assert_true(bed_stage()); /* found without being told */
}

/* One message per flush: ten blocks leave with one each, the last four only when they are full. */
static void
mesh_trickle_fills_the_last_blocks(void **state)
{
	const uint32_t held = MESH_BLOCKS - MESH_RESERVED - MESH_PARTIAL_MAX;
	uint32_t pushed = 0;
	uint32_t blocks = 0;

	(void)state;
	while (bed_stage()) {
		bool leaves = bed_flush();

		pushed += leaves;
		if (bed.sent <= MESH_PARTIAL_MAX) {
			assert_true(leaves);
		} else {
			/* a block that is full leaves with the flush that follows */
			assert_int_equal(leaves,
					 (bed.sent - MESH_PARTIAL_MAX) % MESH_BLOCK_ENVELOPES == 0);
			assert_true(bed.out->wants);
		}
	}
	assert_int_equal(bed.sent, MESH_PARTIAL_MAX + held * MESH_BLOCK_ENVELOPES);
	assert_int_equal(bed.sent, 266);
	assert_int_equal(pushed, MESH_PARTIAL_MAX + held);
	while (bed_take() != NULL) {
		blocks++;
	}
	assert_int_equal(blocks, pushed);
	assert_int_equal(bed.got, bed.sent);
}

/* Send one per flush until a block is held back. */
static void
hold_back(struct mesh_block **first)
{
	for (uint32_t i = 0; i < MESH_PARTIAL_MAX; i++) {
		assert_true(bed_stage());
		assert_true(bed_flush());
	}
	*first = bed_take();
	assert_non_null(*first);
	assert_true(bed_stage());
	assert_false(bed_flush());
	assert_false(bed_flush()); /* it is not tried in every turn */
	assert_true(bed.out->wants);
	assert_non_null(bed.out->staged);
}

static void
mesh_held_back_leaves_when_a_block_comes_home(void **state)
{
	struct mesh_block *block;

	(void)state;
	hold_back(&block);
	assert_true(bed_return(block));
	assert_true(bed_is_marked(bed.from, BED_TO));
	rli_mesh_home(bed.from, BED_TO);
	assert_true(bed_flush());
	assert_null(bed.out->staged);
	while ((block = bed_take()) != NULL) {
		(void)bed_return(block);
	}
	assert_int_equal(bed.got, bed.sent);
}

/* What comes home between two looks is seen by the flush itself. */
static void
mesh_held_back_sees_a_block_that_came_meanwhile(void **state)
{
	struct mesh_block *block;

	(void)state;
	for (uint32_t i = 0; i < MESH_PARTIAL_MAX; i++) {
		assert_true(bed_stage());
		assert_true(bed_flush());
	}
	block = bed_take();
	assert_true(bed_stage());
	assert_false(bed_return(block)); /* nobody wanted it yet */
	assert_true(bed_flush());
}

/* Full by the inline path, which does not look: it leaves with the next flush all the same. */
static void
mesh_held_back_leaves_when_it_is_full(void **state)
{
	struct mesh_block *block;

	(void)state;
	hold_back(&block);
	for (uint32_t i = 1; i < MESH_BLOCK_ENVELOPES; i++) {
		assert_false(bed_flush());
		assert_true(bed_stage());
	}
	assert_true(bed_flush());
	assert_null(bed.out->staged);
}

/* Silence is kept as long as nobody asks: a report, want of room and the end each ask. */
static void
mesh_return_is_announced_when_it_matters(void **state)
{
	struct mesh_block *block;

	(void)state;
	assert_true(bed_stage());
	assert_true(bed_flush());
	block = bed_take();
	block->reports = 1;
	assert_true(bed_return(block));
	assert_true(bed_is_marked(bed.from, BED_TO));
	rli_mesh_home(bed.from, BED_TO);
	assert_ptr_equal(bed.from->reported, block);
	assert_null(block->next);
	assert_int_equal(bed.out->free_count, MESH_BLOCKS - 1);
	bed.from->reported = NULL;
	rli_mesh_reports_done(bed.from, block);
	assert_int_equal(bed.out->free_count, MESH_BLOCKS);
	assert_int_equal(block->reports, 0);
	assert_true(rli_mesh_is_home(bed.from));

	assert_true(bed_stage());
	assert_true(bed_flush());
	assert_false(bed_return(bed_take()));
	assert_true(bed_stage());
	assert_true(bed_flush());
	rli_mesh_stop(bed.from);
	assert_true(bed_return(bed_take()));
}

/* Several come home in one look; each is on the list, once. */
static void
mesh_reports_are_listed_each(void **state)
{
	struct mesh_block *block;
	uint32_t listed = 0;

	(void)state;
	for (uint32_t i = 0; i < 5; i++) {
		assert_true(bed_stage());
		assert_true(bed_flush());
	}
	for (uint32_t i = 0; i < 5; i++) {
		block = bed_take();
		block->reports = i % 2 == 0 ? (uint64_t)1 << 63 : 0;
		assert_int_equal(bed_return(block), i % 2 == 0);
	}
	assert_true(bed_is_marked(bed.from, BED_TO));
	rli_mesh_home(bed.from, BED_TO);
	while ((block = rli_mesh_reported(bed.from)) != NULL) {
		assert_true(block->reports == (uint64_t)1 << 63);
		rli_mesh_reports_done(bed.from, block);
		listed++;
	}
	assert_int_equal(listed, 3);
	assert_true(rli_mesh_is_home(bed.from));
}

/* Who waits for room is looked after again in the next turn, though nobody marks. */
static void
mesh_report_done_gives_room_to_who_waits(void **state)
{
	struct list_node waiter;
	struct mesh_block *block;

	(void)state;
	while (bed_stage()) {
	}
	list_node_init(&waiter);
	list_push_back(&bed.out->waiters, &waiter);
	assert_true(bed_flush());
	block = bed_take();
	block->reports = 1;
	assert_true(bed_return(block));
	assert_true(bed_is_marked(bed.from, BED_TO));
	rli_mesh_home(bed.from, BED_TO);
	assert_false(rli_mesh_has_room(bed.from, BED_TO));
	bed.from->reported = NULL;
	rli_mesh_reports_done(bed.from, block);
	assert_true(rli_mesh_has_room(bed.from, BED_TO));
	assert_true(bed.out->wants);
	assert_true(bed_is_marked(bed.from, BED_TO));
	list_remove(&waiter);
	rli_mesh_home(bed.from, BED_TO);
	assert_false(bed.out->wants);
}

/* One notification, as rl_shard_notify() stages it. */
static void
stage_notify(void)
{
	struct envelope *envelope = rli_mesh_at_hand(bed.from, BED_TO)
					    ? rli_mesh_next(bed.from, BED_TO)
					    : rli_mesh_stage_block(bed.from, BED_TO, MESH_RESERVED);

	assert_non_null(envelope);
	envelope->from = ++bed.sent;
}

/* The receiver then need not look what is in it: a block with anything else must not say so. */
static void
mesh_block_of_notifications_alone_says_so(void **state)
{
	struct obligation obligation = { .envelope = { .from = 4 } };

	(void)state;
	for (uint32_t i = 0; i < MESH_BLOCK_ENVELOPES + 1; i++) {
		stage_notify();
	}
	assert_true(bed_flush());
	(void)bed_return(bed_take());
	assert_true(bed.notifies);
	(void)bed_return(bed_take());
	assert_true(bed.notifies);

	stage_notify();
	assert_true(bed_stage());
	assert_true(bed_flush());
	(void)bed_return(bed_take());
	assert_false(bed.notifies);

	list_node_init(&obligation.node);
	stage_notify();
	obligation.envelope.from = ++bed.sent;
	assert_true(rli_mesh_oblige(bed.from, BED_TO, &obligation));
	assert_true(bed_flush());
	(void)bed_return(bed_take());
	assert_false(bed.notifies);

	stage_notify();
	assert_true(bed_flush());
	assert_non_null(bed_take());
	assert_true(bed.notifies);
}

#define MANY 256

static void
mark_from(struct mesh *mesh, uint32_t source, uint32_t to)
{
	struct mesh_port *port = rli_mesh_port(mesh, source);
	uint64_t wake[MESH_WORDS] = { 0 };

	assert_non_null(rli_mesh_stage(port, to));
	assert_true(rli_mesh_flush(port, wake));
	assert_true(wake[to / 64] == (uint64_t)1 << to % 64);
}

/* Every word of the bitmap; each round begins with the next shard. */
static void
mesh_sources_of_many_shards_are_found_in_rotation(void **state)
{
	static const uint32_t marked[] = { 0, 1, 63, 64, 65, 127, 128, 200, 254, 255 };
	struct mesh *mesh = rli_mesh_create(MANY);
	struct mesh_port *port = rli_mesh_port(mesh, 130);
	struct mesh_sources sources;
	uint32_t source;

	(void)state;
	assert_false(rli_mesh_inbound(port, &sources));
	for (uint32_t first = 0; first < MANY + 2; first++) {
		uint32_t at = 0;

		for (uint32_t i = 0; i < UNIT_COUNT(marked); i++) {
			rli_mesh_inbound_again(port, marked[i]);
		}
		assert_false(rli_mesh_is_quiet(port));
		assert_true(rli_mesh_inbound(port, &sources));
		assert_true(rli_mesh_is_quiet(port));
		while (at < UNIT_COUNT(marked) && marked[at] < first % MANY) {
			at++;
		}
		for (uint32_t i = 0; i < UNIT_COUNT(marked); i++) {
			assert_true(rli_mesh_sources_next(port, &sources, &source));
			assert_int_equal(source, marked[(at + i) % UNIT_COUNT(marked)]);
		}
		assert_false(rli_mesh_sources_next(port, &sources, &source));
		assert_false(rli_mesh_inbound(port, &sources)); /* a look for nothing is no round */
	}
	for (uint32_t i = 0; i < UNIT_COUNT(marked); i++) {
		mark_from(mesh, marked[i], 130);
	}
	assert_true(rli_mesh_inbound(port, &sources));
	for (uint32_t i = 0; i < UNIT_COUNT(marked); i++) {
		assert_true(rli_mesh_sources_next(port, &sources, &source));
		assert_false(bed_is_empty(port, source));
	}
	rli_mesh_destroy(mesh);
}

static void
mesh_flush_names_every_destination(void **state)
{
	uint64_t wake[MESH_WORDS] = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 3 * MESH_BLOCK_ENVELOPES; i++) {
		assert_non_null(rli_mesh_stage(bed.from, 2));
		assert_non_null(rli_mesh_stage(bed.from, 1));
	}
	assert_true(rli_mesh_flush(bed.from, wake));
	assert_true(wake[0] == 6);
	assert_false(rli_mesh_flush(bed.from, wake));
	assert_true(wake[0] == 6); /* it is added to */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_mesh(mesh_messages_come_in_order_and_block_by_block),
		on_mesh(mesh_pairs_do_not_touch_each_other),
		on_mesh(mesh_idle_pair_touches_few_blocks),
		on_mesh(mesh_filled_has_no_room_until_a_block_is_home),
		on_mesh(mesh_trickle_fills_the_last_blocks),
		on_mesh(mesh_held_back_leaves_when_a_block_comes_home),
		on_mesh(mesh_held_back_sees_a_block_that_came_meanwhile),
		on_mesh(mesh_held_back_leaves_when_it_is_full),
		on_mesh(mesh_return_is_announced_when_it_matters),
		on_mesh(mesh_reports_are_listed_each),
		on_mesh(mesh_report_done_gives_room_to_who_waits),
		on_mesh(mesh_block_of_notifications_alone_says_so),
		cmocka_unit_test(mesh_sources_of_many_shards_are_found_in_rotation),
		on_mesh(mesh_flush_names_every_destination),
	};

	return unit_run(tests) + mesh_obliged_run();
}
