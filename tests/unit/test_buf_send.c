/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a broadcast reaches its receivers in order, on any shard, each with a reference of its
 *         own; it stops at the first that does not take it and says which; what is not delivered
 *         lets go of the buffer; after an error the sender's reference is the sender's.
 * How: two shards, each turn by hand; random sends, keeps and ends against a count.
 * Not: two threads at once (stress_mesh, the simulator).
 */
#include "unit_bufs.h"

#define RECEIVERS 6

static struct rl_actor *actors[RECEIVERS]; /* even: on shard 0, odd: on shard 1 */
static rl_actor_id ids[RECEIVERS];

static void
receivers_spawn(void)
{
	for (uint32_t i = 0; i < RECEIVERS; i++) {
		actors[i] = bed_spawn(i % 2);
		ids[i].private_bits = actors[i]->id;
	}
}

static void
broadcast_reaches_all(void **state)
{
	struct rl_buf *buf = bufs_take(0, 5);
	size_t taken;

	(void)state;
	receivers_spawn();
	assert_int_equal(bufs_broadcast(actors[0], ids, RECEIVERS, buf, &taken), 0);
	assert_int_equal(taken, RECEIVERS);
	assert_int_equal(bufs_refs(buf), 1 + 1 + RECEIVERS / 2); /* those here share a letter */
	bufs_release(buf);
	bed_settle();
	for (uint32_t i = 0; i < RECEIVERS; i++) {
		const struct bed_seen *seen = bed_only(actors[i], BED_KIND);

		assert_true(seen->from == actors[0]->id);
		assert_int_equal(seen->shard, 0);
	}
	assert_int_equal(bed_sum().msgs_sent, RECEIVERS);
	assert_int_equal(bed_sum().msgs_delivered, RECEIVERS);
	bufs_assert_all_home();
}

static void
broadcast_to_nobody_is_nothing(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_buf *buf = bufs_take(0, 5);
	size_t taken = 1;

	(void)state;
	assert_int_equal(bufs_broadcast(from, NULL, 0, buf, &taken), 0);
	assert_int_equal(taken, 0);
	assert_int_equal(bufs_refs(buf), 1);
	bufs_release(buf);
}

/* The same order as with other messages of the sender's. */
static void
broadcast_keeps_order_with_messages(void **state)
{
	struct rl_buf *buf = bufs_take(0, 5);
	size_t taken;

	(void)state;
	receivers_spawn();
	for (uint32_t i = 0; i < RECEIVERS; i++) {
		assert_int_equal(bed_send(actors[0], ids[i].private_bits, 1), 0);
	}
	assert_int_equal(bufs_broadcast(actors[0], ids, RECEIVERS, buf, &taken), 0);
	for (uint32_t i = 0; i < RECEIVERS; i++) {
		assert_int_equal(bed_send(actors[0], ids[i].private_bits, 2), 0);
	}
	bufs_release(buf);
	bed_settle();
	for (uint32_t i = 0; i < RECEIVERS; i++) {
		uint64_t order = 0;

		for (uint32_t n = 0; n < bed.count; n++) {
			if (bed.seen[n].actor == actors[i]) {
				order = order * 10 + bed.seen[n].number + 1;
			}
		}
		assert_int_equal(order, 213); /* 1, the buffer's message, 2 */
	}
}

/* What came to @actor, as digits: the numbers of the messages and 1, in order. */
static uint64_t
order_of(const struct rl_actor *actor)
{
	uint64_t order = 0;

	for (uint32_t n = 0; n < bed.count; n++) {
		if (bed.seen[n].actor == actor && bed.seen[n].kind == BED_KIND) {
			order = order * 10 + bed.seen[n].number + 1;
		}
	}
	return order;
}

/* One letter for all whose mailbox is empty; who gets more gets a letter of its own. */
static void
broadcast_shares_a_letter(void **state)
{
	struct letter_pool *pool = &bed.actors[0].letters;
	struct rl_buf *buf = bufs_take(0, 5);
	rl_actor_id here[3];
	size_t taken;

	(void)state;
	receivers_spawn();
	for (uint32_t i = 0; i < UNIT_COUNT(here); i++) {
		here[i] = ids[2 * i];
	}
	assert_int_equal(bufs_broadcast(actors[0], here, UNIT_COUNT(here), buf, &taken), 0);
	assert_int_equal(rli_letters_taken(pool), 1);
	assert_int_equal(bufs_refs(buf), 1 + 1);
	assert_int_equal(bed_send(actors[0], here[0].private_bits, 2), 0); /* a copy and another */
	assert_int_equal(rli_letters_taken(pool), 3);
	assert_int_equal(bufs_refs(buf), 1 + 2);
	assert_int_equal(rli_mailbox_count(&actors[0]->mailbox), 2);
	assert_int_equal(bed_send(actors[0], here[0].private_bits, 3), 0);
	assert_int_equal(bufs_broadcast(actors[0], here, UNIT_COUNT(here), buf, &taken), 0);
	assert_int_equal(bed_send(actors[0], here[1].private_bits, 4), 0);
	assert_int_equal(bed_send(actors[0], here[2].private_bits, 5), 0);
	bufs_release(buf);
	bed_settle();
	assert_int_equal(order_of(actors[0]), 1341);
	assert_int_equal(order_of(actors[2]), 115);
	assert_int_equal(order_of(actors[4]), 116);
	assert_int_equal(bed_sum().msgs_delivered, 10);
	assert_int_equal(rli_letters_taken(pool), 0);
	bufs_assert_all_home();
}

/* The last that has a shared letter keeps it when another message comes. */
static void
broadcast_to_one_needs_no_copy(void **state)
{
	struct letter_pool *pool = &bed.actors[0].letters;
	struct rl_buf *buf = bufs_take(0, 5);

	(void)state;
	receivers_spawn();
	assert_int_equal(bufs_send(actors[0], ids[2].private_bits, buf), 0);
	assert_int_equal(rli_letters_taken(pool), 1);
	assert_int_equal(bed_send(actors[0], ids[2].private_bits, 3), 0);
	assert_int_equal(rli_letters_taken(pool), 2);
	bed_settle();
	assert_int_equal(order_of(actors[2]), 14);
	bufs_assert_all_home();
}

/* Twice in one broadcast: it has the letter, and then one of its own for each. */
static void
broadcast_twice_to_one_comes_twice(void **state)
{
	struct rl_buf *buf = bufs_take(0, 5);
	rl_actor_id here[4];
	size_t taken;

	(void)state;
	receivers_spawn();
	here[0] = here[1] = here[3] = ids[2];
	here[2] = ids[4];
	assert_int_equal(bufs_broadcast(actors[0], here, UNIT_COUNT(here), buf, &taken), 0);
	assert_int_equal(bufs_refs(buf), 1 + 1 + 3);
	bufs_release(buf);
	bed_settle();
	assert_int_equal(order_of(actors[2]), 111);
	assert_int_equal(order_of(actors[4]), 1);
	assert_int_equal(rli_letters_taken(&bed.actors[0].letters), 0);
	bufs_assert_all_home();
}

/* Who ends with a shared letter in its mailbox loses its message, and the others nothing. */
static void
broadcast_shared_is_lost_alone(void **state)
{
	struct rl_buf *buf = bufs_take(0, 5);
	rl_actor_id here[2];
	size_t taken;

	(void)state;
	receivers_spawn();
	bed_settle();
	bed_forget();
	here[0] = ids[2];
	here[1] = ids[4];
	assert_int_equal(bufs_broadcast(actors[0], here, UNIT_COUNT(here), buf, &taken), 0);
	rli_actor_end(actors[2], RL_REASON_LOCAL, 0);
	bufs_release(buf);
	bed_settle();
	assert_int_equal(order_of(actors[2]), 0);
	assert_int_equal(order_of(actors[4]), 1);
	assert_int_equal(bed_sum().undelivered.gone, 1);
	assert_int_equal(rli_letters_taken(&bed.actors[0].letters), 0);
	bufs_assert_all_home();
}

/* No letter for the copy, or room for one message only: refused, and nothing has changed. */
static void
broadcast_shared_and_no_room_behind_it(void **state)
{
	struct letter_pool *pool = &bed.actors[0].letters;
	struct rl_buf *buf = bufs_take(0, 5);
	struct letter *taken_all[BED_SEEN];
	uint32_t count = 0;
	rl_actor_id here[2];
	size_t taken;

	(void)state;
	receivers_spawn();
	here[0] = ids[2];
	here[1] = ids[4];
	assert_int_equal(bufs_broadcast(actors[0], here, UNIT_COUNT(here), buf, &taken), 0);
	actors[2]->mailbox.limit = 1;
	assert_int_equal(bed_send(actors[0], here[0].private_bits, 3), -EAGAIN);
	actors[2]->mailbox.limit = 2;
	while (count < BED_SEEN && (taken_all[count] = rli_letter_take(pool)) != NULL) {
		count++;
	}
	assert_in_range(count, 1, BED_SEEN - 1);
	assert_int_equal(bed_send(actors[0], here[0].private_bits, 3), -ENOBUFS);
	assert_int_equal(bufs_refs(buf), 1 + 1);
	while (count > 0) {
		rli_letter_give(pool, taken_all[--count]);
	}
	assert_int_equal(bed_send(actors[0], here[0].private_bits, 4), 0);
	bufs_release(buf);
	bed_settle();
	assert_int_equal(order_of(actors[2]), 15);
	assert_int_equal(order_of(actors[4]), 1);
	bufs_assert_all_home();
}

/* What itself_broadcast sends, in its first message. */
static struct rl_buf *itself_buf;

static int
itself_broadcast(struct rl_actor *self, const struct rl_msg *msg)
{
	rl_actor_id to[] = { rl_actor_self(self), ids[4] };
	uint64_t number = 5;
	size_t taken;

	if (self == actors[2] && msg->kind == BED_KIND && bed_got(self, BED_KIND, NULL) == 1) {
		assert_int_equal(
			rl_actor_broadcast(self, to, UNIT_COUNT(to), BED_KIND, itself_buf, &taken),
			0);
		assert_int_equal(rl_actor_send(self, to[0], BED_KIND, &number, sizeof(number)), 0);
	}
	return 0;
}

/* Itself among others, from the last of its messages, from one before, and from a shared one. */
static void
broadcast_to_itself_comes_behind_the_rest(void **state)
{
	static const uint64_t orders[] = { 316, 3416, 116 };

	(void)state;
	receivers_spawn();
	for (uint32_t i = 0; i < UNIT_COUNT(orders); i++) {
		uint64_t to = ids[2].private_bits;

		itself_buf = bufs_take(0, 5);
		bed_forget();
		bed.hook = itself_broadcast;
		assert_int_equal(i == 2 ? bufs_send(actors[0], to, bufs_take(0, 6))
					: bed_send(actors[0], to, 2),
				 0);
		assert_int_equal(i == 1 ? bed_send(actors[0], to, 3) : 0, 0);
		bed_settle();
		assert_int_equal(order_of(actors[2]), orders[i]);
		assert_int_equal(order_of(actors[4]), 1);
		assert_int_equal(rli_letters_taken(&bed.actors[0].letters), 0);
		bufs_release(itself_buf);
		bufs_assert_all_home();
	}
}

static void
broadcast_stops_at_who_has_ended(void **state)
{
	struct rl_buf *buf = bufs_take(0, 5);
	size_t taken;

	(void)state;
	receivers_spawn();
	rli_actor_end(actors[2], RL_REASON_LOCAL, 0);
	ids[4].private_bits = 0; /* no id */
	bed_settle();
	bed_forget();
	assert_int_equal(bufs_broadcast(actors[0], ids, RECEIVERS, buf, &taken), -ENOENT);
	assert_int_equal(taken, 2);
	assert_int_equal(bufs_broadcast(actors[0], ids + 3, RECEIVERS - 3, buf, &taken), -ENOENT);
	assert_int_equal(taken, 1);
	assert_int_equal(bufs_refs(buf), 1 + 3);
	assert_int_equal(bufs_broadcast(actors[0], ids + 5, 1, buf, &taken), 0);
	bufs_release(buf);
	bed_settle();
	assert_int_equal(bed_got(NULL, BED_KIND, NULL), 4);
	bufs_assert_all_home();
}

static void
broadcast_stops_at_a_full_mailbox(void **state)
{
	struct rl_buf *buf = bufs_take(0, 5);
	size_t taken;

	(void)state;
	receivers_spawn();
	for (uint32_t i = 0; i < bed.config.mailbox_max; i++) {
		assert_int_equal(bed_send(actors[0], ids[2].private_bits, i), 0);
	}
	assert_int_equal(bufs_broadcast(actors[0], ids, RECEIVERS, buf, &taken), -EAGAIN);
	assert_int_equal(taken, 2);
	bufs_release(buf);
	bed_settle();
	assert_int_equal(bed_got(actors[0], RL_MSG_ROOM, NULL), 0); /* no notice follows */
	bufs_assert_all_home();
}

/* The way to the other shard is full: told once there is room, it goes on where it stopped. */
static void
broadcast_goes_on_after_room(void **state)
{
	struct rl_buf *buf = bufs_take(0, 5);
	size_t taken;

	(void)state;
	receivers_spawn();
	(void)bed_fill(actors[0], ids[1].private_bits);
	assert_int_equal(bufs_broadcast(actors[0], ids, RECEIVERS, buf, &taken), -EAGAIN);
	assert_int_equal(taken, 1);
	bed_settle();
	assert_int_equal(bed_only(actors[0], RL_MSG_ROOM)->shard, 1);
	bed_forget();
	assert_int_equal(bufs_broadcast(actors[0], ids + 1, RECEIVERS - 1, buf, &taken), 0);
	bufs_release(buf);
	bed_settle();
	assert_int_equal(bed_got(NULL, BED_KIND, NULL), RECEIVERS - 1);
	bufs_assert_all_home();
}

static void
broadcast_refused_takes_nothing(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(1);
	struct rl_buf *buf = bufs_take(0, 5);
	rl_actor_id id = { to->id };
	rl_actor_id nowhere = { id_pack(1, 200, 1) };
	size_t taken = 1;

	(void)state;
	(void)bed_enter(from);
	assert_int_equal(rl_actor_broadcast(from, &id, 1, RL_MSG_USER - 1, buf, &taken), -EINVAL);
	assert_int_equal(taken, 0);
	assert_int_equal(rl_actor_broadcast(from, &nowhere, 1, BED_KIND, buf, &taken), -ENOENT);
	rli_shard_current = &bed.shards[1];
	assert_int_equal(rl_actor_broadcast(from, &id, 1, BED_KIND, buf, &taken), -EPERM);
	assert_int_equal(rl_actor_send_buf(from, id, BED_KIND, buf), -EPERM);
	rli_shard_current = &bed.shards[0];
	bed.actors[0].cut = true;
	assert_int_equal(rl_actor_send_buf(from, id, BED_KIND, buf), -ESHUTDOWN);
	bed.actors[0].cut = false;
	bed_leave(from);
	assert_int_equal(bufs_refs(buf), 1);
	bufs_release(buf);
}

/* bufs_max is reached by the buffers themselves: no handle is left for the other shard. */
static void
send_without_a_handle_answers_enobufs(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(1);
	struct rl_buf *bufs[16];

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(bufs); i++) {
		bufs[i] = bufs_take(0, i);
	}
	assert_int_equal(bufs_send(from, to->id, bufs[0]), -ENOBUFS);
	assert_int_equal(bufs_refs(bufs[0]), 1);
	bufs_release(bufs[1]);
	assert_int_equal(bufs_send(from, to->id, bufs[0]), 0);
	for (uint32_t i = 2; i < UNIT_COUNT(bufs); i++) {
		bufs_release(bufs[i]);
	}
	bed_settle();
	assert_int_equal(bed_got(to, BED_KIND, NULL), 1);
	bufs_assert_all_home();
}

/* Reported to who asked, and let go of. */
static void
send_that_is_not_delivered_lets_go(void **state)
{
	struct rl_actor *from = bed_spawn_def(0, &bed_def_reports);
	struct rl_actor *to = bed_spawn(1);
	uint64_t gone = to->id;
	struct rl_buf *buf;

	(void)state;
	rli_actor_end(to, RL_REASON_LOCAL, 0);
	bed_settle();
	bed_forget();
	assert_int_equal(bufs_send(from, gone, bufs_take(0, 1)), 0);
	bed_settle();
	assert_true(bed_only(from, RL_MSG_UNDELIVERED)->whom == gone);
	assert_int_equal(bed_stats(1).undelivered.gone, 1);
	bufs_assert_all_home();

	to = bed_spawn(1);
	buf = bufs_take(0, 2);
	for (uint32_t i = 0; i <= bed.config.mailbox_max; i++) {
		assert_int_equal(bufs_send(from, to->id, rl_buf_ref(buf)), 0);
	}
	bufs_release(buf);
	bed_settle();
	assert_int_equal(bed_stats(1).undelivered.full, 1);
	bufs_assert_all_home();

	bed.actors[1].cut = true;
	assert_int_equal(bufs_send(from, to->id, bufs_take(0, 1)), 0);
	bed_settle();
	assert_int_equal(bed_stats(1).undelivered.stopping, 1);
	bed.actors[1].cut = false;
	bufs_assert_all_home();
}

/* What waits in the mailbox of who ends, here and elsewhere. */
static void
messages_of_who_ends_let_go(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *here = bed_spawn(0);
	struct rl_actor *there = bed_spawn(1);

	(void)state;
	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(bufs_send(from, here->id, bufs_take(0, i)), 0);
		assert_int_equal(bufs_send(from, there->id, bufs_take(0, i)), 0);
	}
	rli_actors_flush_mesh(&bed.shards[0]);
	rli_shard_current = &bed.shards[1];
	assert_true(rli_actors_drain_mesh(&bed.shards[1], 4096));
	assert_int_equal(there->mailbox.count, 3);
	rli_actor_end(here, RL_REASON_LOCAL, 0);
	rli_actor_end(there, RL_REASON_LOCAL, 0);
	bed_settle();
	assert_int_equal(bed_got(NULL, BED_KIND, NULL), 0);
	assert_int_equal(bed_sum().undelivered.gone, 6);
	bufs_assert_all_home();
}

/* An answer is an answer, whatever the message carries. */
static int
hook_stop(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	return msg->kind == BED_KIND ? RL_ACTOR_STOP : RL_ACTOR_UNHANDLED;
}

static void
answer_to_a_buffer_is_policy(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(0);

	(void)state;
	bed.hook = hook_stop;
	assert_int_equal(bufs_send(from, to->id, bufs_take(0, 1)), 0);
	assert_int_equal(bufs_send(from, to->id, bufs_take(0, 2)), 0); /* lost with it */
	bed_settle();
	assert_int_equal(bed_got(to, BED_KIND, NULL), 1);
	assert_int_equal(bed_only(to, RL_MSG_STOP)->reason, RL_REASON_LOCAL);
	bufs_assert_all_home();
}

/* What the random test knows of the buffers that actors hold. */
static struct {
	uint64_t seed;
	struct rl_buf *held[BED_SHARDS][64];
	uint32_t count[BED_SHARDS];
} model;

static uint32_t
pick(uint32_t below)
{
	return (uint32_t)(unit_random(&model.seed) % below);
}

static int
hook_random(struct rl_actor *self, const struct rl_msg *msg)
{
	uint32_t shard = self->shard->id;
	struct rl_buf *buf;

	if (msg->kind != BED_KIND || (buf = rl_msg_buf(msg)) == NULL) {
		return 0;
	}
	assert_true(bufs_number(buf) < 1000);
	bed_forget();
	if (pick(2) == 0 && model.count[shard] < 64) {
		model.held[shard][model.count[shard]++] = rl_buf_ref(buf);
	}
	if (pick(4) == 0 &&
	    rl_actor_send_buf(self, ids[pick(RECEIVERS)], BED_KIND, rl_buf_ref(buf)) != 0) {
		rl_buf_release(buf);
	}
	return 0;
}

static void
random_step(uint32_t step)
{
	uint32_t shard = pick(2);
	size_t taken;

	if (pick(3) == 0 && bed.actors[shard].bufs.taken < 8) {
		struct rl_buf *buf = bufs_take(shard, step % 1000);

		(void)bufs_broadcast(actors[shard], ids + pick(3), 1 + pick(3), buf, &taken);
		bufs_release(buf);
	}
	if (pick(2) == 0 && model.count[shard] > 0) {
		bufs_release(model.held[shard][--model.count[shard]]);
	}
	if (pick(20) == 0) {
		(void)bed_fill(actors[shard], ids[1 - shard].private_bits);
	}
	if (pick(2) == 0) {
		(void)bed_turn(shard);
	}
}

static void
random_keeps_and_sends_balance(void **state)
{
	(void)state;
	receivers_spawn();
	for (uint64_t seed = 1; seed <= 20; seed++) {
		model.seed = seed;
		bed.hook = hook_random;
		for (uint32_t step = 0; step < 2000; step++) {
			random_step(step);
			bed_forget();
		}
		for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
			while (model.count[shard] > 0) {
				bufs_release(model.held[shard][--model.count[shard]]);
			}
		}
		bed.hook = NULL;
		for (bool active = true; active;) {
			active = bed_turn(0);
			active = bed_turn(1) || active;
			bed_forget();
		}
		bufs_assert_all_home();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(broadcast_reaches_all),
		on_bed(broadcast_to_nobody_is_nothing),
		on_bed(broadcast_keeps_order_with_messages),
		on_bed(broadcast_shares_a_letter),
		on_bed(broadcast_to_one_needs_no_copy),
		on_bed(broadcast_twice_to_one_comes_twice),
		on_bed(broadcast_shared_is_lost_alone),
		on_bed(broadcast_shared_and_no_room_behind_it),
		on_bed(broadcast_to_itself_comes_behind_the_rest),
		on_bed(broadcast_stops_at_who_has_ended),
		on_bed(broadcast_stops_at_a_full_mailbox),
		on_bed(broadcast_goes_on_after_room),
		on_bed(broadcast_refused_takes_nothing),
		on_bed(send_without_a_handle_answers_enobufs),
		on_bed(send_that_is_not_delivered_lets_go),
		on_bed(messages_of_who_ends_let_go),
		on_bed(answer_to_a_buffer_is_policy),
		on_bed(random_keeps_and_sends_balance),
	};

	return unit_run(tests);
}
