/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: timers come once, never early, in order, with their tag; none after its cancel, though
 *         it was due; periods neither drift nor pile up; all end with their actor; want of room is
 *         an error, never a timer that fires at once.
 * How: a clock moved by hand.
 * Not: the wheel's own cases.
 * Guards: pitfall 11, pitfall 79.
 */
#include "unit_actors.h"

#define MS(n) ((uint64_t)RL_MS(n))

static struct rl_actor *actor;
static uint64_t begin_ns;

static int
timer_setup(void **state)
{
	(void)bed_setup(state);
	actor = bed_spawn(NULL);
	bed_turn();
	bed_forget();
	begin_ns = bed.shard.now_ns;
	return 0;
}

static rl_timer_id
start(uint64_t delay_ns, uint64_t tag)
{
	rl_timer_id id = { 0 };

	assert_int_equal(bed_timer_start(actor, delay_ns, tag, &id), 0);
	assert_true(id.private_bits != 0);
	return id;
}

static rl_timer_id
start_every(uint64_t period_ns, uint64_t tag)
{
	rl_timer_id id = { 0 };

	assert_int_equal(bed_timer_start_every(actor, period_ns, tag, &id), 0);
	assert_true(id.private_bits != 0);
	return id;
}

/* How many messages a turn at this time brings. */
static uint32_t
came_at(uint64_t now_ns)
{
	uint32_t before = bed.count;

	bed_turn_at(now_ns);
	return bed.count - before;
}

static void
timer_started_comes_once_and_not_early(void **state)
{
	(void)state;
	(void)start(MS(10), 42);
	assert_int_equal(came_at(begin_ns), 0);
	assert_int_equal(came_at(begin_ns + MS(10) - 1), 0);
	assert_int_equal(came_at(begin_ns + MS(10) + BED_TICK_NS), 1);
	assert_int_equal(bed_last(0)->kind, RL_MSG_TIMER);
	assert_int_equal(bed_last(0)->tag, 42);
	assert_int_equal(came_at(begin_ns + MS(100000)), 0);
	assert_int_equal(bed_stats().timers_fired, 1);
	assert_int_equal(bed.actors.timers.taken, 0);
}

static int
hook_start_zero(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_TIMER && msg->timer.tag < 10) {
		assert_int_equal(rl_timer_start(self, 0, msg->timer.tag + 1, NULL), 0);
	}
	return 0;
}

/* A handler that starts one after the other can't hold the turn: each comes in the next. */
static void
timer_of_zero_comes_in_the_next_turn_never_in_this_one(void **state)
{
	uint64_t tag;

	(void)state;
	bed.hook = hook_start_zero;
	(void)start(0, 1);
	for (tag = 1; tag <= 10; tag++) {
		assert_int_equal(came_at(begin_ns), 1); /* the clock need not move */
		assert_int_equal(bed_last(0)->tag, tag);
	}
	assert_int_equal(came_at(begin_ns), 0);
}

static void
timers_of_one_deadline_come_in_the_order_of_their_start(void **state)
{
	uint64_t tag;

	(void)state;
	for (tag = 0; tag < 8; tag++) {
		(void)start(MS(5), tag);
	}
	(void)start(MS(4), 100);
	assert_int_equal(came_at(begin_ns + MS(50)), 9);
	assert_int_equal(bed.seen[0].tag, 100);
	for (tag = 0; tag < 8; tag++) {
		assert_int_equal(bed.seen[1 + tag].tag, tag);
	}
}

static void
timer_beyond_the_clock_never_comes(void **state)
{
	rl_timer_id id = start(UINT64_MAX, 1);

	(void)state;
	(void)start(UINT64_MAX - begin_ns + 1, 2);
	assert_int_equal(came_at(begin_ns + (uint64_t)RL_SEC(1000000000)), 0);
	assert_int_equal(bed_timer_cancel(actor, id), 0);
	assert_int_equal(bed.actors.timers.taken, 1);
}

static void
timer_cancelled_never_comes(void **state)
{
	rl_timer_id id = start(MS(10), 1);

	(void)state;
	(void)start(MS(10), 2);
	assert_int_equal(came_at(begin_ns + MS(9)), 0);
	assert_int_equal(bed_timer_cancel(actor, id), 0);
	assert_int_equal(bed_timer_cancel(actor, id), -ENOENT);
	assert_int_equal(came_at(begin_ns + MS(20)), 1);
	assert_int_equal(bed_last(0)->tag, 2);
}

static rl_timer_id victims[4];
static int cancelled[4];

static int
hook_cancel_victims(struct rl_actor *self, const struct rl_msg *msg)
{
	uint32_t i;

	if (msg->kind == RL_MSG_TIMER && msg->timer.tag == 1) {
		for (i = 0; i < 4; i++) {
			cancelled[i] = rl_timer_cancel(self, victims[i]);
		}
	}
	return 0;
}

/* Due in the same tick, or later, or a period: the first of them may cancel the rest. */
static void
timer_due_and_not_delivered_can_be_cancelled(void **state)
{
	(void)state;
	bed.hook = hook_cancel_victims;
	victims[0] = start(MS(5), 1); /* itself: it has come, so there is no such timer */
	victims[1] = start(MS(5), 2);
	victims[2] = start_every(MS(5), 3);
	victims[3] = start(MS(6), 4);
	assert_int_equal(came_at(begin_ns + MS(50)), 1);
	assert_int_equal(cancelled[0], -ENOENT);
	assert_int_equal(cancelled[1], 0);
	assert_int_equal(cancelled[2], 0);
	assert_int_equal(cancelled[3], 0);
	assert_int_equal(came_at(begin_ns + MS(100)), 0);
	assert_int_equal(bed_stats().timers_fired, 1);
}

static int
hook_cancel_own(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_TIMER) {
		cancelled[0] = rl_timer_cancel(self, msg->timer.id);
	}
	return 0;
}

static void
timer_cancelled_in_its_own_handler_ends_only_a_period(void **state)
{
	rl_timer_id id;

	(void)state;
	bed.hook = hook_cancel_own;
	(void)start(MS(5), 1);
	assert_int_equal(came_at(begin_ns + MS(6)), 1);
	assert_int_equal(cancelled[0], -ENOENT); /* a one-shot is over already */
	id = start_every(MS(5), 2);
	assert_int_equal(came_at(begin_ns + MS(12)), 1);
	assert_int_equal(cancelled[0], 0);
	assert_int_equal(bed_timer_cancel(actor, id), -ENOENT);
	assert_int_equal(came_at(begin_ns + MS(100)), 0);
}

/* Counted from the start: being late does not move the ones that follow. */
static void
timer_periodic_does_not_drift(void **state)
{
	uint64_t period_ns = MS(7);
	uint64_t n;

	(void)state;
	(void)start_every(period_ns, 9);
	for (n = 1; n < 200; n++) {
		uint64_t due_ns = begin_ns + n * period_ns;

		assert_int_equal(came_at(due_ns - 1), 0);
		assert_int_equal(came_at(due_ns + MS(n % 6) + BED_TICK_NS), 1);
		assert_int_equal(bed_last(0)->tag, 9);
	}
	assert_int_equal(bed.actors.timers.taken, 1);
}

static void
timer_periodic_skips_what_it_missed(void **state)
{
	(void)state;
	(void)start_every(MS(10), 9);
	assert_int_equal(came_at(begin_ns + MS(57)), 1); /* for all of 10 to 50 */
	assert_int_equal(came_at(begin_ns + MS(58)), 0);
	assert_int_equal(came_at(begin_ns + MS(60) - 1), 0);
	assert_int_equal(came_at(begin_ns + MS(60) + BED_TICK_NS), 1);
	assert_int_equal(came_at(begin_ns + MS(3600000)), 1); /* an hour of SIGSTOP */
	assert_int_equal(came_at(begin_ns + MS(3600000) + BED_TICK_NS), 0);
}

/* One that waits for its actor's turn is not armed meanwhile, so it can't come twice. */
static void
timer_periodic_waiting_for_its_actor_does_not_pile_up(void **state)
{
	struct timer *due;
	uint32_t i;

	(void)state;
	(void)start_every(MS(10), 9);
	for (i = 1; i < 6; i++) {
		rli_wheel_expire(&bed.shard.wheel, begin_ns + i * MS(11));
		while ((due = rli_wheel_due_pop(&bed.shard.wheel)) != NULL) {
			rli_actor_timer_due(due);
		}
	}
	assert_int_equal(came_at(begin_ns + MS(66)), 1);
	assert_int_equal(came_at(begin_ns + MS(69)), 0);
}

static void
timer_started_wrongly_is_refused(void **state)
{
	rl_timer_id id = { 7 };
	uint32_t i;

	(void)state;
	assert_int_equal(bed_timer_start_every(actor, MS(1) - 1, 1, &id), -EINVAL);
	assert_int_equal(bed_timer_start_every(actor, 0, 1, NULL), -EINVAL);
	assert_int_equal(id.private_bits, 7);
	for (i = 0; i < 16; i++) {
		assert_int_equal(bed_timer_start(actor, MS(1), i, NULL), 0);
	}
	assert_int_equal(bed_timer_start(actor, MS(1), 99, &id), -ENOBUFS); /* timers_max is 16 */
	assert_int_equal(bed_timer_start_every(actor, MS(1), 99, &id), -ENOBUFS);
	assert_int_equal(came_at(begin_ns + MS(5)), 16);
	for (i = 0; i < 16; i++) {
		assert_int_equal(bed.seen[i].tag, i);
	}
	(void)start(MS(1), 1); /* there is room again */
}

/* Of another actor, of an earlier life of the slot, of another shard, of nobody. */
static void
timer_ids_that_are_not_its_own_are_inert(void **state)
{
	struct rl_actor *other = bed_spawn(NULL);
	rl_timer_id id = start(MS(10), 1);
	rl_timer_id stale = start(MS(10), 2);
	uint64_t bits = id.private_bits;
	uint64_t wrong[5];
	uint32_t i;

	(void)state;
	assert_int_equal(bed_timer_cancel(actor, stale), 0);
	stale = start(MS(10), 3); /* in the same slot */
	wrong[0] = 0;
	wrong[1] = UINT64_MAX;
	wrong[2] = id_pack(id_generation(bits) + 1, BED_SHARD, id_slot(bits));
	wrong[3] = id_pack(id_generation(bits), BED_SHARD + 1, id_slot(bits));
	wrong[4] = id_pack(id_generation(stale.private_bits) - 1, BED_SHARD,
			   id_slot(stale.private_bits));
	for (i = 0; i < UNIT_COUNT(wrong); i++) {
		assert_int_equal(bed_timer_cancel(actor, (rl_timer_id){ wrong[i] }), -ENOENT);
	}
	assert_int_equal(bed_timer_cancel(other, id), -ENOENT);
	bed_turn();
	assert_int_equal(came_at(begin_ns + MS(20)), 2);
	assert_int_equal(bed_last(1)->tag, 1);
	assert_int_equal(bed_last(0)->tag, 3);
}

static void
timer_generation_wrapped_skips_zero(void **state)
{
	rl_timer_id id = start(MS(10), 1);
	struct actor_timer *timer = rli_slab_at(&bed.actors.timers, id_slot(id.private_bits));

	(void)state;
	assert_int_equal(bed_timer_cancel(actor, id), 0);
	timer->id = id_pack(UINT32_MAX - 1, BED_SHARD, 0);
	id = start(MS(10), 2);
	assert_true(id.private_bits == id_pack(UINT32_MAX, BED_SHARD, 0));
	assert_int_equal(bed_timer_cancel(actor, id), 0);
	id = start(MS(10), 3);
	assert_true(id.private_bits == id_pack(1, BED_SHARD, 0));
	assert_int_equal(came_at(begin_ns + MS(20)), 1);
	assert_int_equal(bed_last(0)->tag, 3);
	assert_int_equal(bed_timer_cancel(actor, id), -ENOENT);
}

/* What the shard goes by is the slot's number, and that it was given out in this order. */
static void
timer_ids_are_of_their_slots(void **state)
{
	rl_timer_id ids[16];
	uint32_t i;

	(void)state;
	for (i = 0; i < 16; i++) {
		ids[i] = start(MS(10), i);
		assert_true(ids[i].private_bits == id_pack(1, BED_SHARD, i));
	}
	for (i = 0; i < 16; i += 3) {
		assert_int_equal(bed_timer_cancel(actor, ids[i]), 0);
		assert_int_equal(bed_timer_cancel(actor, ids[i]), -ENOENT);
	}
	for (i = 16; i > 0; i--) { /* last in, first out */
		if ((i - 1) % 3 == 0) {
			rl_timer_id id = start(MS(10), 100 + i);

			assert_true(id.private_bits == id_pack(2, BED_SHARD, i - 1));
			assert_int_equal(bed_timer_cancel(actor, ids[i - 1]), -ENOENT);
		}
	}
	assert_int_equal(came_at(begin_ns + MS(20)), 16);
	for (i = 0; i < 16; i++) {
		assert_int_equal(bed_timer_cancel(actor, ids[i]), -ENOENT);
	}
}

/* The next actor in the slot hears nothing of the timers that were armed, or due already. */
static void
timers_end_with_their_actor(void **state)
{
	struct timer *due;
	rl_timer_id armed;
	struct rl_actor *next;

	(void)state;
	(void)start(MS(1), 1);
	(void)start_every(MS(1), 2);
	armed = start(MS(50), 3);
	rli_wheel_expire(&bed.shard.wheel, begin_ns + MS(5));
	while ((due = rli_wheel_due_pop(&bed.shard.wheel)) != NULL) {
		rli_actor_timer_due(due); /* two of them are due */
	}
	rli_actor_end(actor, RL_REASON_LOCAL, 0);
	assert_int_equal(bed_timer_start(actor, 0, 4, NULL), -ESHUTDOWN);
	assert_int_equal(bed_timer_start_every(actor, MS(1), 4, NULL), -ESHUTDOWN);
	bed_forget();
	bed_turn_at(begin_ns + MS(5));
	assert_int_equal(bed.count, 1);
	assert_int_equal(bed_last(0)->kind, RL_MSG_STOP);
	assert_int_equal(bed.actors.timers.taken, 0);
	assert_int_equal(unit_wheel_armed(&bed.shard.wheel), 0);

	next = bed_spawn(NULL);
	assert_ptr_equal(next, actor);
	bed_turn();
	bed_forget();
	assert_int_equal(bed_timer_cancel(next, armed), -ENOENT);
	assert_int_equal(came_at(begin_ns + MS(100)), 0);
	assert_int_equal(bed_stats().timers_fired, 0);
}

static int
hook_stop_at_timer(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	return msg->kind == RL_MSG_TIMER ? RL_ACTOR_STOP : 0;
}

static void
timers_due_behind_the_end_do_not_come(void **state)
{
	(void)state;
	bed.hook = hook_stop_at_timer;
	(void)start_every(MS(5), 1);
	(void)start(MS(5), 2);
	assert_int_equal(came_at(begin_ns + MS(6)), 2);
	assert_int_equal(bed_last(1)->tag, 1);
	assert_int_equal(bed_last(0)->kind, RL_MSG_STOP);
}

/* What one turn does not take comes in the next, and timers go before messages. */
static void
timers_beyond_the_budget_come_in_the_next_turn(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < 16; i++) {
		(void)start(MS(5), i);
	}
	bed_post(rli_actor_id_bits(actor), 100);
	bed_post(rli_actor_id_bits(actor), 101);
	assert_int_equal(came_at(begin_ns + MS(6)), BED_BUDGET);
	assert_int_equal(bed_last(0)->tag, 15);
	assert_int_equal(came_at(begin_ns + MS(6)), 2);
	assert_int_equal(bed_last(0)->tag, 101);
}

static void
start_outside(void *arg)
{
	(void)!rl_timer_start(arg, 0, 1, NULL);
}

static void
start_every_outside(void *arg)
{
	(void)!rl_timer_start_every(arg, MS(1), 1, NULL);
}

static int
hook_start_for_other(struct rl_actor *self, const struct rl_msg *msg)
{
	return msg->kind == RL_MSG_TIMER && self != actor ? rl_timer_start(actor, 0, 1, NULL) : 0;
}

/* Also in a handler, if it is not its own. */
static void
start_in_another_handler(void *arg)
{
	bed.hook = hook_start_for_other;
	(void)bed_timer_start(arg, 0, 1, NULL);
	bed_turn();
}

static void
timer_started_outside_its_handler_asserts(void **state)
{
	struct rl_actor *other = bed_spawn(NULL);

	(void)state;
	bed_turn();
	assert_true(unit_dies(start_outside, actor, SIGABRT, "->running ("));
	assert_true(unit_dies(start_every_outside, actor, SIGABRT, "->running ("));
	assert_true(unit_dies(start_in_another_handler, other, SIGABRT, "->running ("));
}

#define with_actor(test) cmocka_unit_test_setup_teardown(test, timer_setup, bed_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_actor(timer_started_comes_once_and_not_early),
		with_actor(timer_of_zero_comes_in_the_next_turn_never_in_this_one),
		with_actor(timers_of_one_deadline_come_in_the_order_of_their_start),
		with_actor(timer_beyond_the_clock_never_comes),
		with_actor(timer_cancelled_never_comes),
		with_actor(timer_due_and_not_delivered_can_be_cancelled),
		with_actor(timer_cancelled_in_its_own_handler_ends_only_a_period),
		with_actor(timer_periodic_does_not_drift),
		with_actor(timer_periodic_skips_what_it_missed),
		with_actor(timer_periodic_waiting_for_its_actor_does_not_pile_up),
		with_actor(timer_started_wrongly_is_refused),
		with_actor(timer_ids_that_are_not_its_own_are_inert),
		with_actor(timer_generation_wrapped_skips_zero),
		with_actor(timer_ids_are_of_their_slots),
		with_actor(timers_end_with_their_actor),
		with_actor(timers_due_behind_the_end_do_not_come),
		with_actor(timers_beyond_the_budget_come_in_the_next_turn),
		with_actor(timer_started_outside_its_handler_asserts),
	};

	return unit_run(tests);
}
