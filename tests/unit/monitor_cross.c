/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a lease comes home and tells at most one end when the words of both shards cross, wait
 *         for room, or meet in one turn, and when the lease is used again at once.
 * How: two shards, each turn by hand.
 * Not: two threads at once.
 */
#include "monitor_groups.h"
#include "unit_shards.h"

static struct rl_actor *watcher;
static struct rl_actor *target;
static struct rl_actor *filler; /* on the target's shard */
static struct rl_actor *sink; /* on the watcher's */

static int
cross_setup(void **state)
{
	(void)bed_setup(state);
	watcher = bed_spawn(0);
	sink = bed_spawn(0);
	target = bed_spawn(1);
	filler = bed_spawn(1);
	bed_settle();
	bed_forget();
	return 0;
}

#define on_cross(test) cmocka_unit_test_setup_teardown(test, cross_setup, bed_teardown)

/* No room from the shard of @from for anything, and @waiting obligations wait already. */
static void
block_way(struct rl_actor *from, uint64_t to, uint32_t waiting)
{
	(void)bed_fill(from, to);
	(void)bed_enter(from);
	for (uint32_t i = 0; i < MESH_RESERVED * MESH_BLOCK_ENVELOPES + waiting; i++) {
		/* to nobody: a word that is forgotten where it arrives */
		assert_int_equal(
			rl_actor_stop(from, (rl_actor_id){ id_pack(99, id_shard(to), 99) }), 0);
	}
	bed_leave(from);
}

static void
down_that_crosses_a_demonitor_is_not_told(void **state)
{
	rl_monitor_id id;

	(void)state;
	assert_int_equal(bed_monitor(watcher, target->id, &id), 0);
	bed_settle();
	rli_actor_end(target, RL_REASON_LOCAL, 0);
	bed_turn(1); /* DOWN is on its way */
	assert_int_equal(bed_demonitor(watcher, id), 0);
	bed_settle();
	assert_int_equal(bed_got(watcher, RL_MSG_DOWN, NULL), 0);
	assert_int_equal(bed.actors[0].leases.taken, 0);
}

static void
down_that_crosses_the_watchers_end_is_not_told(void **state)
{
	(void)state;
	for (uint32_t link = 0; link < 2; link++) {
		struct rl_actor *first = bed_spawn(0);
		struct rl_actor *second = bed_spawn(1);

		bed_settle();
		assert_int_equal(link ? bed_link(first, second->id)
				      : bed_monitor(first, second->id, NULL),
				 0);
		bed_settle();
		rli_actor_end(second, RL_REASON_FAILURE, -EIO);
		bed_turn(1);
		rli_actor_end(first, RL_REASON_FAILURE, -EIO);
		(void)bed_actors(&bed.shards[0]); /* it ends before the word is read */
		bed_settle();
		assert_int_equal(bed_got(first, RL_MSG_DOWN, NULL), 0);
		assert_int_equal(bed.actors[0].leases.taken, 0);
	}
}

/* The lease is only free when its far half is home. */
static void
lease_released_is_not_used_again_before_it_is_home(void **state)
{
	rl_monitor_id first;
	rl_monitor_id second;

	(void)state;
	assert_int_equal(bed_monitor(watcher, target->id, &first), 0);
	bed_settle();
	assert_int_equal(bed_demonitor(watcher, first), 0);
	assert_int_equal(bed.actors[0].leases.taken, 1);
	assert_int_equal(bed_monitor(watcher, target->id, &second), 0);
	assert_int_not_equal(id_slot(first.private_bits), id_slot(second.private_bits));
	bed_settle();
	assert_int_equal(bed.actors[0].leases.taken, 1);
	rli_actor_end(target, RL_REASON_LOCAL, 0);
	bed_settle();
	assert_true(bed_only(watcher, RL_MSG_DOWN)->id == second.private_bits);
}

/* Nobody there knows of it: it is free at once. */
static void
monitor_taken_back_before_it_left_is_free_at_once(void **state)
{
	rl_monitor_id id;

	(void)state;
	block_way(watcher, target->id, 1);
	assert_int_equal(bed_monitor(watcher, target->id, &id), 0);
	assert_int_equal(bed_demonitor(watcher, id), 0);
	assert_int_equal(bed.actors[0].leases.taken, 0);
	bed_settle();
	assert_true(list_is_empty(&target->owed));
}

static void
monitor_without_room_waits_and_works(void **state)
{
	(void)state;
	block_way(watcher, target->id, 1);
	assert_int_equal(bed_monitor(watcher, target->id, NULL), 0);
	bed_settle();
	rli_actor_end(target, RL_REASON_LIMIT, -EFBIG);
	bed_settle();
	assert_int_equal(bed_only(watcher, RL_MSG_DOWN)->error, -EFBIG);
}

/* Ends that find no room: each waits in its lease, and each is told. */
static void
downs_without_room_wait_and_are_told_in_order(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 300; i++) {
		assert_int_equal(bed_monitor(watcher, target->id, NULL), 0);
	}
	bed_settle();
	block_way(filler, sink->id, 0);
	rli_actor_end(target, RL_REASON_LIMIT, 0);
	bed_turn(1);
	assert_false(list_is_empty(&bed.shards[1].port->out[0].obliged));
	bed_settle();
	assert_int_equal(bed_got(watcher, RL_MSG_DOWN, NULL), 300);
	assert_int_equal(bed.actors[0].leases.taken, 0);
}

/* The word of an end that waits becomes the word that the lease is home. */
static void
down_that_waits_when_nobody_wants_it_gives_the_lease_home(void **state)
{
	rl_monitor_id id;

	(void)state;
	assert_int_equal(bed_monitor(watcher, target->id, &id), 0);
	bed_settle();
	block_way(filler, sink->id, 1);
	rli_actor_end(target, RL_REASON_LIMIT, 0);
	(void)bed_actors(&bed.shards[1]);
	assert_int_equal(bed_demonitor(watcher, id), 0);
	rli_actors_flush_mesh(&bed.shards[0]);
	bed_turn(1); /* UNWATCH meets the DOWN that has not left */
	bed_settle();
	assert_int_equal(bed_got(watcher, RL_MSG_DOWN, NULL), 0);
	assert_int_equal(bed.actors[0].leases.taken, 0);
}

/* In one turn the DOWN gets its room, and the word that nobody wants it comes. */
static void
down_that_leaves_as_the_demonitor_comes_gives_the_lease_home(void **state)
{
	rl_monitor_id id;

	(void)state;
	assert_int_equal(bed_monitor(watcher, target->id, &id), 0);
	bed_settle();
	block_way(filler, sink->id, 1);
	rli_actor_end(target, RL_REASON_LIMIT, 0);
	bed_turn(1);
	assert_false(list_is_empty(&bed.shards[1].port->out[0].obliged));
	assert_int_equal(bed_demonitor(watcher, id), 0);
	bed_turn(0); /* takes all, gives the blocks home, and the UNWATCH leaves */
	bed_turn(1);
	bed_settle();
	assert_int_equal(bed_got(watcher, RL_MSG_DOWN, NULL), 0);
	assert_int_equal(bed.actors[0].leases.taken, 0);
}

static rl_monitor_id demonitored;
static uint32_t reports;

static int
hook_demonitor_at_the_second_block(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_UNDELIVERED && ++reports == MESH_BLOCK_ENVELOPES + 1) {
		assert_int_equal(rl_actor_demonitor(self, demonitored), 0);
	}
	return 0;
}

/* The WATCH got its room from the first block's reports; the second's make the handler run. */
static void
monitor_taken_back_as_it_leaves_is_home_before_it_is_free(void **state)
{
	struct rl_actor *sender = bed_spawn_def(0, &bed_def_reports);
	uint64_t nobody = id_pack(99, 1, 99);

	(void)state;
	reports = 0;
	while (bed_send(sender, nobody, 1) == 0) {
	}
	block_way(watcher, target->id, MESH_RESERVED * MESH_BLOCK_ENVELOPES);
	assert_int_equal(bed_monitor(sender, target->id, &demonitored), 0);
	bed.hook = hook_demonitor_at_the_second_block;
	bed_turn(0);
	bed_turn(1);
	bed_turn(0);
	bed_settle();
	bed.hook = NULL;
	assert_int_equal(reports, BED_PAIR);
	assert_int_equal(bed.actors[0].leases.taken, 0);
	assert_true(list_is_empty(&target->owed)); /* of a lease that is not lent, nothing */
}

int
monitor_cross_run(void)
{
	const struct CMUnitTest tests[] = {
		on_cross(down_that_crosses_a_demonitor_is_not_told),
		on_cross(down_that_crosses_the_watchers_end_is_not_told),
		on_cross(lease_released_is_not_used_again_before_it_is_home),
		on_cross(monitor_taken_back_before_it_left_is_free_at_once),
		on_cross(monitor_without_room_waits_and_works),
		on_cross(downs_without_room_wait_and_are_told_in_order),
		on_cross(down_that_waits_when_nobody_wants_it_gives_the_lease_home),
		on_cross(down_that_leaves_as_the_demonitor_comes_gives_the_lease_home),
		on_cross(monitor_taken_back_as_it_leaves_is_home_before_it_is_free),
	};

	return unit_run(tests);
}
