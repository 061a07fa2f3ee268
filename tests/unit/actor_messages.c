/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: no wake is lost and none doubled, runs keep to their budget, messages come whole and in
 *         order, and what does not come is counted.
 * How: by hand.
 * Not: how a message gets to the shard; test_inbox and tests/sim do that.
 * Guards: pitfall 69, pitfall 70, pitfall 71.
 */
#include "actor_groups.h"
#include "unit_actors.h"

static void
actor_made_ready_often_runs_once(void **state)
{
	struct rl_actor *actor = bed_spawn(NULL);
	struct rl_actor *other = bed_spawn(NULL);
	struct list batch;

	(void)state;
	rli_actor_ready(actor);
	rli_actor_ready(other);
	rli_actor_ready(actor);
	list_init(&batch);
	list_splice_back(&batch, &bed.actors.ready);
	assert_ptr_equal(rli_actor_next(&batch), actor);
	assert_ptr_equal(rli_actor_next(&batch), other);
	assert_null(rli_actor_next(&batch));
	rli_actor_ready(actor); /* for the tear-down */
	rli_actor_ready(other);
}

static struct rl_actor *target;

static int
hook_wake_self_and_other(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_USER + 1 && bed_last(0)->tag == 1) {
		bed_post(rli_actor_id_bits(self), 2);
		bed_post(rli_actor_id_bits(target), 3);
	}
	return 0;
}

/* A wake during its own run, and one for an actor that ran already in this turn, both count. */
static void
actor_made_ready_during_a_run_is_not_lost(void **state)
{
	struct rl_actor *actor;

	(void)state;
	target = bed_spawn(NULL);
	actor = bed_spawn(NULL);
	bed_turn();
	bed.hook = hook_wake_self_and_other;
	bed_forget();
	bed_post(rli_actor_id_bits(target), 0);
	bed_post(rli_actor_id_bits(actor), 1);
	bed_turn();
	assert_int_equal(bed.count, 3); /* 0, 1, and 2 within the budget */
	bed_turn();
	assert_int_equal(bed.count, 4);
	assert_ptr_equal(bed_last(0)->actor, target);
	assert_int_equal(bed_last(0)->tag, 3);
	bed_turn();
	assert_int_equal(bed.count, 4);
	assert_true(list_is_empty(&bed.actors.ready));
}

static int
hook_ready_self(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)msg;
	rli_actor_ready(self);
	return 0;
}

/* What a stream has for its actor is not seen by has_work: being ready alone brings it back. */
static void
actor_made_ready_by_its_own_handler_stays_ready(void **state)
{
	struct rl_actor *actor = bed_spawn(NULL);

	(void)state;
	bed.hook = hook_ready_self;
	assert_ptr_equal(rli_actor_next(&bed.actors.ready), actor);
	assert_int_equal(rli_actor_run(actor, 1), 0);
	assert_false(rli_actor_has_work(actor));
	assert_ptr_equal(rli_actor_next(&bed.actors.ready), actor);
	rli_actor_ready(actor); /* for the tear-down */
}

static void
actor_run_keeps_to_its_budget_and_the_order(void **state)
{
	struct rl_actor *actor = bed_spawn(NULL);
	uint64_t number;

	(void)state;
	for (number = 1; number <= 8; number++) {
		bed_post(rli_actor_id_bits(actor), number);
	}
	assert_int_equal(rli_actor_run(actor, 0), 0);
	assert_int_equal(bed.count, 0);
	assert_int_equal(rli_actor_run(actor, 3), 0); /* START and two */
	assert_int_equal(bed.count, 3);
	assert_true(rli_actor_has_work(actor));
	assert_int_equal(rli_actor_run(actor, 10), 4); /* the other six */
	assert_false(rli_actor_has_work(actor));
	for (number = 1; number <= 8; number++) {
		assert_int_equal(bed_last((uint32_t)(8 - number))->tag, number);
	}
	assert_int_equal(bed_stats().msgs_delivered, 8);
}

static void
actor_mailbox_full_drops_and_counts(void **state)
{
	struct rl_actor *actor = bed_spawn(NULL);
	uint64_t number;

	(void)state;
	for (number = 1; number <= 20; number++) {
		bed_post(rli_actor_id_bits(actor), number);
	}
	assert_int_equal(bed_stats().undelivered.full, 12); /* mailbox_max is 8 */
	bed_turn();
	assert_int_equal(bed.count, 9);
	assert_int_equal(bed_last(0)->tag, 8); /* the oldest stay */
	bed_post(rli_actor_id_bits(actor), 21);
	bed_turn();
	assert_int_equal(bed_last(0)->tag, 21);
}

static void
actor_envelope_pool_empty_drops_and_counts(void **state)
{
	struct rl_actor *actors[5];
	uint32_t i;

	(void)state;
	for (i = 0; i < 5; i++) {
		actors[i] = bed_spawn(NULL);
	}
	for (i = 0; i < 40; i++) {
		bed_post(rli_actor_id_bits(actors[i % 5]), i);
	}
	assert_int_equal(bed_stats().undelivered.full, 8); /* messages_max is 32 */
	bed_turn();
	assert_int_equal(bed_stats().msgs_delivered, 32);
	bed_post(rli_actor_id_bits(actors[0]), 40);
	assert_int_equal(bed_stats().undelivered.full, 8);
}

static struct envelope sent;

static int
hook_compare(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	if (msg->kind >= RL_MSG_USER) {
		assert_int_equal(msg->kind, sent.kind);
		assert_int_equal(msg->len, sent.len);
		assert_true(msg->from.private_bits == sent.from);
		assert_int_equal((uintptr_t)msg->user.data % 16, 0);
		assert_memory_equal(msg->user.data, sent.payload, sent.len);
	} else {
		assert_int_equal(msg->len, 0);
		assert_true(rl_actor_id_is_none(msg->from));
	}
	return 0;
}

static void
actor_message_arrives_whole(void **state)
{
	struct rl_actor *actor = bed_spawn(NULL);
	uint32_t len;

	(void)state;
	bed.hook = hook_compare;
	for (len = 0; len <= RL_MSG_INLINE_MAX; len++) {
		sent = (struct envelope){ .to = rli_actor_id_bits(actor),
					  .from = len == 0 ? 0 : 1000 + len,
					  .kind = len % 2 == 0 ? RL_MSG_USER : UINT32_MAX,
					  .len = (uint8_t)len };
		memset(sent.payload, (int)len, len);
		counters_add(&bed.shard.counters, msgs_sent, 1);
		assert_int_equal(rli_actor_post(&bed.shard, &sent), 0);
		bed_turn();
	}
	assert_int_equal(bed_stats().msgs_delivered, RL_MSG_INLINE_MAX + 1);
}

int
actor_messages_run(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(actor_made_ready_often_runs_once),
		on_bed(actor_made_ready_during_a_run_is_not_lost),
		on_bed(actor_made_ready_by_its_own_handler_stays_ready),
		on_bed(actor_run_keeps_to_its_budget_and_the_order),
		on_bed(actor_mailbox_full_drops_and_counts),
		on_bed(actor_envelope_pool_empty_drops_and_counts),
		on_bed(actor_message_arrives_whole),
	};

	return unit_run(tests);
}
