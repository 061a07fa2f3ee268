/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: messages cross in order, and who asked is told what was lost; who was refused for want of
 *         room is told once when there is some, first come first served; notifications come in
 *         place, in order, and to itself in the next turn.
 * How: two shards, each turn by hand.
 * Not: two threads at once; sleeping and waking (test_wake.c); when the loop calls on_tick.
 */
#include "actor_mesh_groups.h"
#include "unit_shards.h"

#include "actor/actor_send.h"

static void
message_crosses_in_one_turn_of_each(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(1);

	(void)state;
	bed_settle();
	for (uint64_t i = 0; i < 5; i++) {
		assert_int_equal(bed_send(from, to->id, i), 0);
	}
	assert_true(rli_mesh_is_quiet(bed.shards[1].port)); /* nothing before the flush */
	rli_actors_flush_mesh(&bed.shards[0]);
	assert_false(rli_mesh_is_quiet(bed.shards[1].port));
	assert_true(bed_turn(1));
	assert_int_equal(bed.count, 5);
	for (uint64_t i = 0; i < 5; i++) {
		assert_ptr_equal(bed.seen[i].actor, to);
		assert_int_equal(bed.seen[i].number, i);
		assert_true(bed.seen[i].from == from->id);
		assert_int_equal(bed.seen[i].shard, 0);
	}
	assert_false(bed_turn(1));
	assert_false(bed_turn(0)); /* nobody is told that all went well */
}

static const struct bed_seen *
undelivered(struct rl_actor *from, uint64_t to)
{
	const struct bed_seen *seen;

	bed_forget();
	assert_int_equal(bed_send(from, to, 1), 0);
	bed_settle();
	seen = bed_only(from, RL_MSG_UNDELIVERED);
	assert_true(seen->whom == to);
	assert_int_equal(seen->id, BED_KIND);
	return seen;
}

static void
message_lost_is_reported_to_who_asked(void **state)
{
	struct rl_actor *from = bed_spawn_def(0, &bed_def_reports);
	struct rl_actor *to = bed_spawn(1);
	const struct bed_seen *last = NULL;
	uint64_t gone;

	(void)state;
	for (uint32_t i = 0; i <= bed.config.mailbox_max; i++) {
		assert_int_equal(bed_send(from, to->id, i), 0);
	}
	bed_settle();
	assert_int_equal(bed_got(to, BED_KIND, NULL), bed.config.mailbox_max);
	assert_int_equal(bed_got(from, RL_MSG_UNDELIVERED, &last), 1);
	assert_int_equal(last->error, -EAGAIN);
	assert_int_equal(bed_stats(1).undelivered.full, 1);

	gone = to->id;
	rli_actor_end(to, RL_REASON_LOCAL, 0);
	bed_settle();
	assert_int_equal(undelivered(from, gone)->error, -ENOENT);
	assert_int_equal(bed_stats(1).undelivered.gone, 1);

	to = bed_spawn(1);
	bed_settle();
	bed.actors[1].cut = true;
	assert_int_equal(undelivered(from, to->id)->error, -ESHUTDOWN);
	assert_int_equal(bed_stats(1).undelivered.stopping, 1);
	assert_int_equal(bed.shards[0].port->out[1].free_count,
			 MESH_BLOCKS); /* block is free again */
	bed.actors[1].cut = false;
}

/* Only those that were lost, each by its place in its block. */
static void
messages_lost_among_others_are_reported_alone(void **state)
{
	struct rl_actor *from = bed_spawn_def(0, &bed_def_reports);
	struct rl_actor *quiet = bed_spawn(0);
	struct rl_actor *to[8];
	uint32_t reported = 0;

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(to); i++) {
		to[i] = bed_spawn(1);
	}
	bed_settle();
	for (uint32_t i = 0; i < 63; i++) {
		uint64_t whom = i % 9 == 8 ? id_pack(9, 1, 1000 + i) : to[i % 9]->id;

		assert_int_equal(bed_send(from, whom, i), 0);
	}
	assert_int_equal(bed_send(quiet, id_pack(9, 1, 2000), 1), 0); /* did not ask */
	bed_settle();
	assert_int_equal(bed_got(NULL, BED_KIND, NULL), 56);
	for (uint32_t i = 0; i < bed.count; i++) {
		if (bed.seen[i].kind == RL_MSG_UNDELIVERED) {
			assert_ptr_equal(bed.seen[i].actor, from);
			assert_int_equal(id_slot(bed.seen[i].whom), 1000 + 9 * reported + 8);
			reported++;
		}
	}
	assert_int_equal(reported, 7);
	assert_int_equal(bed_stats(1).undelivered.gone, 8);
}

/* Nobody is told in its place, and the block is free. */
/* All that a way holds comes back: some of it in a turn, in which another actor is served too. */
static void
reports_of_many_come_over_some_turns(void **state)
{
	struct rl_actor *from = bed_spawn_def(0, &bed_def_reports);
	struct rl_actor *other = bed_spawn(0);
	uint32_t told;
	uint32_t turns = 0;

	(void)state;
	bed_settle();
	for (uint32_t i = 0; i < BED_PAIR; i++) {
		assert_int_equal(bed_send(from, id_pack(9, 1, 1000 + i), i), 0);
	}
	bed_turn(0);
	bed_turn(1);
	assert_int_equal(bed_send(other, other->id, 1), 0);
	do {
		told = bed_got(from, RL_MSG_UNDELIVERED, NULL);
		assert_true(bed_turn(0));
		assert_in_range(bed_got(from, RL_MSG_UNDELIVERED, NULL) - told, 1, 256);
		(void)bed_only(other, BED_KIND); /* was served in the first of these turns */
		turns++;
	} while (bed_got(from, RL_MSG_UNDELIVERED, NULL) < BED_PAIR);
	assert_int_equal(turns, (BED_PAIR + 255) / 256);
	told = 0;
	for (uint32_t i = 0; i < bed.count; i++) {
		if (bed.seen[i].kind == RL_MSG_UNDELIVERED) {
			assert_int_equal(id_slot(bed.seen[i].whom), 1000 + told++); /* in order */
		}
	}
	bed_settle();
	assert_int_equal(bed_got(from, RL_MSG_UNDELIVERED, NULL), BED_PAIR);
}

static void
report_for_who_has_ended_is_dropped(void **state)
{
	struct rl_actor *from = bed_spawn_def(0, &bed_def_reports);

	(void)state;
	assert_int_equal(bed_send(from, id_pack(9, 1, 1000), 1), 0);
	bed_turn(0);
	bed_turn(1);
	rli_actor_end(from, RL_REASON_LOCAL, 0);
	(void)bed_actors(&bed.shards[0]);
	(void)bed_spawn_def(0, &bed_def_reports); /* in the same slot */
	bed_settle();
	assert_int_equal(bed_got(NULL, RL_MSG_UNDELIVERED, NULL), 0);
	assert_int_equal(bed.shards[0].port->out[1].free_count, MESH_BLOCKS);
}

static int
hook_end_at_report(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	return msg->kind == RL_MSG_UNDELIVERED ? -EPIPE : 0;
}

/* The answer is policy as everywhere, and the second report finds nobody. */
static void
report_answered_with_a_failure_ends_the_actor(void **state)
{
	struct rl_actor *from = bed_spawn_def(0, &bed_def_reports);

	(void)state;
	assert_int_equal(bed_send(from, id_pack(9, 1, 1000), 1), 0);
	assert_int_equal(bed_send(from, id_pack(9, 1, 1001), 1), 0);
	bed.hook = hook_end_at_report;
	bed_settle();
	assert_int_equal(bed_got(from, RL_MSG_UNDELIVERED, NULL), 1);
	assert_int_equal(bed_only(from, RL_MSG_STOP)->error, -EPIPE);
}

/* Refused often, told once; and again after the next refusal. */
static void
room_is_told_once_after_a_refusal(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(1);

	(void)state;
	for (uint32_t round = 0; round < 3; round++) {
		bed_forget();
		assert_int_equal(bed_fill(from, to->id), BED_PAIR);
		bed_settle();
		assert_int_equal(bed_got(from, RL_MSG_ROOM, NULL), 0); /* a hook is not told */
		bed_forget();
		(void)bed_fill(from, to->id);
		for (uint32_t i = 0; i < 5; i++) {
			assert_int_equal(bed_send(from, to->id, i), -EAGAIN);
		}
		assert_int_equal(from->rooms_owed, 1);
		bed_turn(0);
		bed_turn(0);
		assert_int_equal(bed_got(from, RL_MSG_ROOM, NULL), 0); /* there is none yet */
		bed_settle();
		assert_int_equal(bed_only(from, RL_MSG_ROOM)->shard, 1);
		assert_int_equal(from->rooms_owed, 0);
		assert_int_equal(bed.actors[0].rooms.taken, 0);
	}
}

/*
 * A refused send looks for a notice that it is owed already in front of all others only: something
 * that looks like one behind the first of them is not seen.
 */
static void
room_wanted_walks_no_other_notices(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(1);
	struct room decoys[2] = { { .actor = from, .shard = 1 }, { .actor = from, .shard = 1 } };
	rl_monitor_id monitor;

	(void)state;
	bed_settle();
	assert_int_equal(bed_monitor(from, id_pack(9, 0, 9), NULL), 0); /* a notice: nobody's id */
	assert_int_equal(bed_monitor(from, to->id, &monitor), 0); /* held */
	rli_tie_init(&decoys[0].tie, TIE_ROOM, &from->notices);
	rli_tie_init(&decoys[1].tie, TIE_ROOM, &from->held);
	(void)bed_fill(from, to->id);
	assert_int_equal(bed_send(from, to->id, 1), -EAGAIN);
	list_remove(&decoys[0].tie.node);
	list_remove(&decoys[1].tie.node);
	assert_int_equal(from->rooms_owed, 1);
	assert_int_equal(bed_send(from, to->id, 1), -EAGAIN);
	assert_int_equal(from->rooms_owed, 1);
	bed_settle();
	(void)bed_only(from, RL_MSG_ROOM);
	(void)bed_only(from, RL_MSG_DOWN);
}

/* Notify from an actor's handler is refused the same way. */
static void
room_is_told_after_a_refused_notification(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(1);

	(void)state;
	(void)bed_fill(from, to->id);
	(void)bed_enter(from);
	assert_int_equal(rl_shard_notify(&bed.shards[0], 1, BED_KIND, NULL, 0), -EAGAIN);
	bed_leave(from);
	bed_settle();
	assert_int_equal(bed_got(from, RL_MSG_ROOM, NULL), 1);
}

/* In the name of nobody: nobody is told, whoever's handler calls. */
static void
room_is_not_told_after_a_refusal_to_nobody(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(1);

	(void)state;
	(void)bed_fill(from, to->id);
	(void)bed_enter(from);
	assert_int_equal(rl_shard_send(&bed.shards[0], (rl_actor_id){ to->id }, BED_KIND, NULL, 0),
			 -EAGAIN);
	bed_leave(from);
	assert_int_equal(from->rooms_owed, 0);
	bed_settle();
	assert_int_equal(bed_got(from, RL_MSG_ROOM, NULL), 0);
}

static uint32_t told;

/* Each uses up all the room that it is told of. */
static int
hook_take_all_room(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_ROOM) {
		told++;
		while (rl_shard_send(rl_actor_shard(self), (rl_actor_id){ id_pack(9, 1, 999) },
				     BED_KIND, NULL, 0) == 0) {
		}
	}
	return 0;
}

static void
room_is_told_in_the_order_of_refusals(void **state)
{
	struct rl_actor *actors[100];
	struct rl_actor *to = bed_spawn(1);
	uint32_t next = 0;

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(actors); i++) {
		actors[i] = bed_spawn(0);
	}
	bed_settle();
	(void)bed_fill(actors[0], to->id);
	for (uint32_t i = 0; i < UNIT_COUNT(actors); i++) {
		assert_int_equal(bed_send(actors[i], to->id, i), -EAGAIN);
	}
	/* one that ends meanwhile is not missed by those behind it */
	rli_actor_end(actors[7], RL_REASON_LOCAL, 0);
	rli_actor_end(actors[99], RL_REASON_LOCAL, 0);
	bed_forget();
	bed_settle();
	for (uint32_t i = 0; i < bed.count; i++) {
		if (bed.seen[i].kind == RL_MSG_ROOM) {
			next += next == 7;
			assert_ptr_equal(bed.seen[i].actor, actors[next++]);
		}
	}
	assert_int_equal(next, 99);
	assert_int_equal(bed.actors[0].rooms.taken, 0);
}

/* Room that is gone again when the next one is told: that one's turn comes all the same. */
static void
room_that_others_take_comes_again(void **state)
{
	struct rl_actor *actors[70];
	struct rl_actor *to = bed_spawn(1);

	(void)state;
	told = 0;
	for (uint32_t i = 0; i < UNIT_COUNT(actors); i++) {
		actors[i] = bed_spawn(0);
	}
	bed_settle();
	(void)bed_fill(actors[0], to->id);
	for (uint32_t i = 0; i < UNIT_COUNT(actors); i++) {
		assert_int_equal(bed_send(actors[i], to->id, i), -EAGAIN);
	}
	bed.hook = hook_take_all_room;
	bed_forget();
	for (uint32_t i = 0; told < UNIT_COUNT(actors); i++) {
		assert_true(i < 1000);
		bed_turn(0);
		bed_turn(1);
	}
	assert_int_equal(bed_got(NULL, RL_MSG_ROOM, NULL), UNIT_COUNT(actors));
}

/* The rest is marked again: nothing is forgotten, and other work comes in between. */
static void
drain_over_its_budget_goes_on_in_the_next_turn(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	uint64_t nobody = id_pack(9, 1, 999);

	(void)state;
	for (uint32_t i = 0; i < 5 * MESH_BLOCK_ENVELOPES; i++) {
		assert_int_equal(bed_send(from, nobody, i), 0);
	}
	bed_turn(0);
	rli_shard_current = &bed.shards[1];
	for (uint32_t block = 1; block <= 5; block++) {
		assert_true(rli_actors_drain_mesh(&bed.shards[1], 1));
		assert_int_equal(bed_stats(1).undelivered.gone, block * MESH_BLOCK_ENVELOPES);
		assert_false(rli_mesh_is_quiet(bed.shards[1].port));
	}
	(void)rli_actors_drain_mesh(&bed.shards[1], 1);
	assert_true(rli_mesh_is_quiet(bed.shards[1].port));
}

static int (*notified)(struct rl_shard *shard, const struct rl_msg *msg);
static uint32_t ticks[BED_SHARDS];

static void
on_notify(struct rl_shard *shard, const struct rl_msg *msg)
{
	assert_null(rli_actor_running);
	bed_note(NULL, msg);
	bed.seen[bed.count - 1].reason = rl_shard_id(shard);
	if (notified != NULL) {
		(void)notified(shard, msg);
	}
}

static void
on_tick(struct rl_shard *shard)
{
	ticks[rl_shard_id(shard)]++;
}

static const struct rl_shard_def shard_def = { .on_notify = on_notify, .on_tick = on_tick };

static int
notify_setup(void **state)
{
	notified = NULL;
	memset(ticks, 0, sizeof(ticks));
	(void)bed_setup(state);
	bed.config.shard = &shard_def;
	return 0;
}

#define on_notified(test) cmocka_unit_test_setup_teardown(test, notify_setup, bed_teardown)

static int
notify(uint32_t from, uint32_t to, uint64_t number)
{
	rli_shard_current = &bed.shards[from];
	return rl_shard_notify(&bed.shards[from], to, BED_KIND, &number, sizeof(number));
}

/* With messages between them in the same blocks; each sort keeps its order. */
static void
notifications_cross_in_order_among_messages(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(1);
	uint64_t next = 0;

	(void)state;
	bed_settle();
	for (uint64_t i = 0; i < 200; i++) {
		assert_int_equal(notify(0, 1, i), 0);
		if (i % 30 == 0) {
			assert_int_equal(bed_send(from, to->id, i), 0);
		}
	}
	bed_turn(0);
	bed_turn(1);
	for (uint32_t i = 0; i < bed.count; i++) {
		if (bed.seen[i].actor == NULL) {
			assert_int_equal(bed.seen[i].number, next++);
			assert_int_equal(bed.seen[i].shard, 0);
			assert_int_equal(bed.seen[i].reason, 1);
			assert_int_equal(bed.seen[i].from, 0);
		}
	}
	assert_int_equal(next, 200);
	assert_int_equal(bed_got(to, BED_KIND, NULL), 7);
	assert_int_equal(bed_sum().msgs_delivered, 207);
	rli_mesh_home(bed.shards[0].port, 1);
	assert_int_equal(bed.shards[0].port->out[1].free_count, MESH_BLOCKS); /* all went home */
}

static int
notify_itself_again(struct rl_shard *shard, const struct rl_msg *msg)
{
	uint64_t number;

	memcpy(&number, msg->user.data, sizeof(number));
	if (number > 0) {
		return notify(shard->id, shard->id, number - 1);
	}
	return 0;
}

static void
notification_to_itself_comes_in_the_next_turn(void **state)
{
	(void)state;
	notified = notify_itself_again;
	assert_int_equal(notify(0, 0, 3), 0);
	assert_int_equal(bed.count, 0);
	assert_false(rli_actors_mesh_is_idle(&bed.shards[0])); /* the loop must not wait */
	for (uint32_t turn = 1; turn <= 4; turn++) {
		assert_true(bed_turn(0));
		assert_int_equal(bed.count, turn);
		assert_int_equal(bed.seen[turn - 1].number, 4 - turn);
		assert_int_equal(bed.seen[turn - 1].shard, 0);
		assert_int_equal(ticks[0], turn);
	}
	assert_true(rli_actors_mesh_is_idle(&bed.shards[0]));
	assert_false(bed_turn(0));
	assert_int_equal(ticks[0], 4);
}

/* Not all in one turn, or a shard that fills its pool would do nothing else for as long. */
static void
notifications_to_itself_come_over_some_turns(void **state)
{
	(void)state;
	rli_letter_pool_fini(&bed.actors[0].letters);
	assert_int_equal(rli_letter_pool_init(&bed.actors[0].letters, 3000), 0);
	for (uint64_t i = 0; i < 2500; i++) {
		assert_int_equal(notify(0, 0, i), 0);
	}
	assert_true(bed_turn(0));
	assert_int_equal(bed.count, 1024);
	assert_false(rli_actors_mesh_is_idle(&bed.shards[0]));
	bed_settle();
	assert_int_equal(bed.count, 2500);
	for (uint32_t i = 0; i < 2500; i++) {
		assert_int_equal(bed.seen[i].number, i);
	}
}

/* From a thread that is no shard's, as the loop takes it from the inbox. */
static void
notification_of_a_foreign_thread_says_so(void **state)
{
	struct envelope envelope = { .kind = BED_KIND,
				     .class = ENVELOPE_NOTIFY,
				     .shard = ENVELOPE_FOREIGN };

	(void)state;
	for (uint32_t i = 0; i <= bed.config.messages_max; i++) {
		counters_add(&bed.shards[0].counters, msgs_sent, 1);
		assert_int_equal(rli_shard_post(&bed.shards[0], &envelope),
				 i == bed.config.messages_max ? -EAGAIN : 0);
	}
	bed_settle();
	assert_int_equal(bed.count, bed.config.messages_max);
	assert_int_equal(bed.seen[0].shard, RL_SHARD_NONE);
	assert_int_equal(bed_sum().undelivered.full, 1);
}

static void
notifications_for_nobody_are_counted(void **state)
{
	(void)state;
	bed.config.shard = NULL;
	assert_int_equal(notify(0, 0, 1), 0);
	assert_int_equal(notify(0, 1, 1), 0);
	bed_settle();
	assert_int_equal(bed_stats(0).undelivered.gone, 1);
	assert_int_equal(bed_stats(1).undelivered.gone, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(message_crosses_in_one_turn_of_each),
		on_bed(message_lost_is_reported_to_who_asked),
		on_bed(messages_lost_among_others_are_reported_alone),
		on_bed(reports_of_many_come_over_some_turns),
		on_bed(report_for_who_has_ended_is_dropped),
		on_bed(report_answered_with_a_failure_ends_the_actor),
		on_bed(room_is_told_once_after_a_refusal),
		on_bed(room_wanted_walks_no_other_notices),
		on_bed(room_is_told_after_a_refused_notification),
		on_bed(room_is_not_told_after_a_refusal_to_nobody),
		on_bed(room_is_told_in_the_order_of_refusals),
		on_bed(room_that_others_take_comes_again),
		on_bed(drain_over_its_budget_goes_on_in_the_next_turn),
		on_notified(notifications_cross_in_order_among_messages),
		on_notified(notification_to_itself_comes_in_the_next_turn),
		on_notified(notifications_to_itself_come_over_some_turns),
		on_notified(notification_of_a_foreign_thread_says_so),
		on_notified(notifications_for_nobody_are_counted),
	};

	return unit_run(tests) + actor_mesh_random_run();
}
