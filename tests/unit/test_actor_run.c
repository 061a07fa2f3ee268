/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what is urgent goes before messages: start, drain, and then timers and what has come of
 *         requests and monitors as they came up, also between two messages; budgets count all of
 *         it; nothing but STOP comes once the end was decided.
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
	};

	return unit_run(tests);
}
