/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what is urgent goes before messages: start, drain, and then timers and what has come of
 *         requests and monitors as they came up, also between two messages; budgets count all of
 *         it; nothing but STOP comes once the end was decided; what an actor sends itself while it
 *         is given its messages: room, order, and what is lost when it stops.
 * How: one shard of two, runs by hand.
 * Not: what each answer means (test_actor.c), random lives (actor_random.c).
 */
#include "unit_shards.h"

static int
timer_start(struct rl_actor *actor, uint64_t delay_ns)
{
	int rc = rl_timer_start(bed_enter(actor), delay_ns, 7, NULL);

	bed_leave(actor);
	return rc;
}

/* Everything at once waits for one that has not started. */
static void
actor_with_all_sorts_waiting_gets_them_in_order(void **state)
{
	static const uint32_t kinds[] = { RL_MSG_START, RL_MSG_SHUTDOWN, RL_MSG_DOWN,
					  RL_MSG_REPLY, RL_MSG_TIMER,	 BED_KIND };
	struct rl_actor *other = bed_spawn(0);
	struct rl_actor *actor;

	(void)state;
	assert_int_equal(rli_actor_spawn(&bed.shards[0], &bed_def, NULL, &actor), 0);
	assert_int_equal(bed_send(other, actor->id, 1), 0);
	assert_int_equal(timer_start(actor, 0), 0);
	assert_int_equal(bed_monitor(actor, id_pack(99, 0, 99), NULL), 0);
	assert_int_equal(bed_request(actor, other->id, 1, -1, NULL), 0);
	(void)rli_actor_run(other, 16);
	assert_int_equal(bed_reply(other, bed_only(other, BED_KIND)->id, 1), 0);
	rli_actors_drain(&bed.shards[0], 1);
	other->shutdown_due = false;
	bed_timers(&bed.shards[0]);
	bed_forget();
	assert_int_equal(rli_actor_run(actor, 16), 16 - UNIT_COUNT(kinds));
	assert_int_equal(bed.count, UNIT_COUNT(kinds));
	for (uint32_t i = 0; i < UNIT_COUNT(kinds); i++) {
		assert_int_equal(bed.seen[i].kind, kinds[i]);
	}
	assert_false(rli_actor_has_work(actor));
}

/* The same with a budget of one: nothing is lost between two runs, and nothing overtakes. */
static void
actor_run_one_at_a_time_gets_the_same(void **state)
{
	struct rl_actor *other = bed_spawn(0);
	struct rl_actor *actor;

	(void)state;
	assert_int_equal(rli_actor_spawn(&bed.shards[0], &bed_def, NULL, &actor), 0);
	assert_int_equal(bed_send(other, actor->id, 1), 0);
	assert_int_equal(bed_monitor(actor, id_pack(99, 0, 99), NULL), 0);
	for (uint32_t i = 1; i <= 3; i++) {
		assert_true(rli_actor_has_work(actor));
		assert_int_equal(rli_actor_run(actor, 0), 0);
		assert_int_equal(rli_actor_run(actor, 1), 0);
		assert_int_equal(bed.count, i);
	}
	assert_int_equal(bed.seen[0].kind, RL_MSG_START);
	assert_int_equal(bed.seen[1].kind, RL_MSG_DOWN);
	assert_int_equal(bed.seen[2].kind, BED_KIND);
	assert_false(rli_actor_has_work(actor));
	assert_int_equal(rli_actor_run(actor, 16), 16);
}

static int
hook_monitor_nobody(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == BED_KIND && bed.seen[bed.count - 1].number == 1) {
		assert_int_equal(rl_actor_monitor(self, (rl_actor_id){ id_pack(99, 0, 99) }, NULL),
				 0);
	}
	return 0;
}

static void
notice_between_two_messages_comes_between_them(void **state)
{
	struct rl_actor *actor = bed_spawn(0);

	(void)state;
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(bed_send(actor, actor->id, i), 0);
	}
	bed.hook = hook_monitor_nobody;
	bed_settle();
	assert_int_equal(bed.count, 5);
	assert_int_equal(bed.seen[1].number, 1);
	assert_int_equal(bed.seen[2].kind, RL_MSG_DOWN);
	assert_int_equal(bed.seen[3].number, 2);
}

static int
hook_stop_itself(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == BED_KIND) {
		assert_int_equal(rl_actor_stop(self, rl_actor_self(self)), 0);
	}
	return 0;
}

/* What waits, urgent or not, is not told any more. */
static void
actor_whose_end_was_decided_gets_only_stop(void **state)
{
	struct rl_actor *actor = bed_spawn(0);

	(void)state;
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(bed_send(actor, actor->id, i), 0);
	}
	bed.hook = hook_stop_itself;
	assert_int_equal(rli_actor_run(actor, 16), 15);
	assert_int_equal(actor->life, ACTOR_ENDING);
	assert_int_equal(rli_actor_run(actor, 16), 16);
	bed_settle();
	assert_int_equal(bed.count, 2);
	assert_int_equal(bed.seen[1].kind, RL_MSG_STOP);
	assert_int_equal(bed_sum().undelivered.gone, 3);
}

static int
other_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	bed_note(self, msg);
	bed.seen[bed.count - 1].error = 77;
	return 0;
}

static int
hook_become(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == BED_KIND) {
		rl_actor_become(self, other_receive);
	}
	return 0;
}

static void
actor_that_became_another_goes_on_with_the_next_message(void **state)
{
	struct rl_actor *actor = bed_spawn(0);

	(void)state;
	assert_int_equal(bed_send(actor, actor->id, 0), 0);
	assert_int_equal(bed_send(actor, actor->id, 1), 0);
	bed.hook = hook_become;
	bed_settle();
	assert_int_equal(bed.count, 2);
	assert_int_equal(bed.seen[0].error, 0);
	assert_int_equal(bed.seen[1].error, 77);
}

/* More notices than may come in a row, and one message: it comes after so many, none is lost. */
static void
notices_in_a_row_do_not_starve_a_message(void **state)
{
	struct rl_actor *actor = bed_spawn(0);
	uint32_t notices = 0;
	uint32_t at = 0;

	(void)state;
	for (uint32_t i = 0; i < NOTICES_IN_A_ROW; i++) {
		assert_int_equal(timer_start(actor, 0), 0);
	}
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(bed_monitor(actor, id_pack(99, 0, 99), NULL), 0);
	}
	assert_int_equal(bed_send(actor, actor->id, 1), 0);
	assert_int_equal(bed_send(actor, actor->id, 2), 0);
	bed_timers(&bed.shards[0]);
	bed_forget();
	assert_int_equal(rli_actor_run(actor, 64), 64 - (NOTICES_IN_A_ROW + 4 + 2));
	for (uint32_t i = 0; i < bed.count; i++) {
		if (bed.seen[i].kind != BED_KIND) {
			notices++;
		} else if (at == 0) {
			at = i;
		}
	}
	assert_int_equal(at, NOTICES_IN_A_ROW);
	assert_int_not_equal(bed.seen[at + 1].kind, BED_KIND); /* one, and then they go on */
	assert_int_equal(notices, NOTICES_IN_A_ROW + 4);
	assert_int_equal(bed.count, NOTICES_IN_A_ROW + 4 + 2);
	assert_false(rli_actor_has_work(actor));
}

/*
 * A mailbox of 8 that was full: while its actor handles them, each makes room for one more, for one
 * that it sends itself, and for no other.
 */
static int
hook_send_itself_two(struct rl_actor *self, const struct rl_msg *msg)
{
	uint64_t number;

	assert_int_equal(msg->kind, BED_KIND);
	number = bed.seen[bed.count - 1].number + 100;
	assert_true(rl_request_id_is_none(msg->user.request));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			rl_actor_send(self, rl_actor_self(self), BED_KIND, &number, sizeof(number)),
			i == 0 ? 0 : -EAGAIN);
	}
	assert_true(rl_request_id_is_none(msg->user.request));
	assert_int_equal(msg->user.shard, 0);
	return 0;
}

static void
what_was_handled_makes_room_at_once(void **state)
{
	struct rl_actor *actor = bed_spawn(0);

	(void)state;
	for (uint64_t i = 0; i < bed.config.mailbox_max; i++) {
		assert_int_equal(bed_send(actor, actor->id, i), 0);
	}
	assert_int_equal(bed_send(actor, actor->id, 0), -EAGAIN);
	bed.hook = hook_send_itself_two;
	assert_int_equal(rli_actor_run(actor, 3), 0);
	assert_int_equal(rli_actor_run(actor, 8), 0);
	assert_int_equal(rli_actor_run(actor, 16), 0);
	for (uint64_t i = 0; i < bed.count; i++) {
		assert_int_equal(bed.seen[i].number, i % 8 + i / 8 * 100);
	}
	assert_int_equal(rli_mailbox_count(&actor->mailbox), bed.config.mailbox_max);
	assert_int_equal(bed_send(actor, actor->id, 0), -EAGAIN);
	assert_int_equal(rli_letters_taken(&bed.actors[0].letters), bed.config.mailbox_max);
	bed.hook = NULL;
	bed_settle();
	assert_int_equal(bed.count, 27 + 8);
}

/* How much a handler sends itself, and when: after so many were handled. */
static uint32_t itself_after;
static uint32_t itself_count;

static int
hook_send_itself(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)msg;
	if (bed.count == itself_after) {
		for (uint64_t i = 0; i < itself_count; i++) {
			uint64_t number = 100 + i;

			assert_int_equal(rl_actor_send(self, rl_actor_self(self), BED_KIND, &number,
						       sizeof(number)),
					 0);
		}
	}
	return 0;
}

/* Of runs of each length out of mailboxes of each length, in each of their handlers. */
static void
what_an_actor_sends_itself_comes_behind_the_rest(void **state)
{
	struct rl_actor *actor = bed_spawn(0);

	(void)state;
	bed.hook = hook_send_itself;
	for (uint32_t i = 0; i < 4 * 4 * 4; i++) {
		uint32_t waits = i % 4 + 1;

		itself_after = i / 4 % 4 + 1;
		itself_count = itself_after <= waits ? 2 : 0;
		bed_forget();
		for (uint64_t number = 0; number < waits; number++) {
			assert_int_equal(bed_send(actor, actor->id, number), 0);
		}
		while (rli_actor_has_work(actor)) {
			(void)rli_actor_run(actor, i / 16 + 1);
		}
		assert_int_equal(bed.count, waits + itself_count);
		for (uint32_t at = 0; at < bed.count; at++) {
			assert_int_equal(bed.seen[at].number, at < waits ? at : 100 + at - waits);
		}
		assert_int_equal(rli_letters_taken(&bed.actors[0].letters), 0);
	}
}

static int
hook_send_itself_and_stop(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)hook_send_itself(self, msg);
	return bed.count == itself_after ? RL_ACTOR_STOP : 0;
}

/* Those of its run that it has not handled, and what it sent itself: each is lost, and counted. */
static void
actor_that_stops_in_mid_run_loses_the_rest(void **state)
{
	(void)state;
	bed.hook = hook_send_itself_and_stop;
	itself_count = 2;
	for (itself_after = 1; itself_after <= 5; itself_after++) {
		struct rl_actor *actor = bed_spawn(0);
		uint64_t gone = bed_sum().undelivered.gone;

		bed_forget();
		for (uint64_t number = 0; number < 5; number++) {
			assert_int_equal(bed_send(actor, actor->id, number), 0);
		}
		bed_settle();
		assert_int_equal(bed.count, itself_after + 1); /* and STOP */
		assert_int_equal(bed_sum().undelivered.gone, gone + 5 - itself_after + 2);
		assert_int_equal(rli_letters_taken(&bed.actors[0].letters), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(actor_with_all_sorts_waiting_gets_them_in_order),
		on_bed(actor_run_one_at_a_time_gets_the_same),
		on_bed(notice_between_two_messages_comes_between_them),
		on_bed(actor_whose_end_was_decided_gets_only_stop),
		on_bed(notices_in_a_row_do_not_starve_a_message),
		on_bed(actor_that_became_another_goes_on_with_the_next_message),
		on_bed(what_was_handled_makes_room_at_once),
		on_bed(what_an_actor_sends_itself_comes_behind_the_rest),
		on_bed(actor_that_stops_in_mid_run_loses_the_rest),
	};

	return unit_run(tests);
}
