/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: each request that was taken has one outcome, told once, whatever happens to both ends,
 *         to the way and to the pools; what comes later is dropped and counted.
 * How: two shards by hand in one thread; with request_ends.c. Each case once within a shard and
 *      once across, where that makes a difference.
 * Not: two threads at once; the loop's order of phases.
 */
#include "request_groups.h"
#include "unit_shards.h"

/* Whom the cases ask: on the same shard, and on the other. */
static void
on_each_shard(void (*run)(struct rl_actor *client, struct rl_actor *server))
{
	for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
		bed_forget();
		run(bed_spawn(0), bed_spawn(shard));
	}
}

static void
reply_run(struct rl_actor *client, struct rl_actor *server)
{
	struct rl_stats before = bed_sum();
	rl_request_id id;

	assert_int_equal(bed_request(client, server->id, 42, RL_SEC(1), &id), 0);
	assert_false(rl_request_id_is_none(id));
	bed_settle();
	assert_int_equal(bed_only(server, BED_KIND)->number, 42);
	assert_int_equal(bed_only(server, BED_KIND)->from, client->id);
	assert_int_equal(bed_only(server, BED_KIND)->shard, 0);
	assert_int_equal(bed_reply(server, bed_only(server, BED_KIND)->id, 43), 0);
	assert_int_equal(bed_reply(server, bed_only(server, BED_KIND)->id, 44), -ENOENT);
	bed_settle();
	assert_int_equal(bed_only(client, RL_MSG_REPLY)->number, 43);
	assert_true(bed_only(client, RL_MSG_REPLY)->id == id.private_bits);
	assert_int_equal(bed_got(client, RL_MSG_REPLY_FAILED, NULL), 0);
	assert_int_equal(unit_wheel_armed(&client->shard->wheel),
			 0); /* the deadline went with it */
	assert_int_equal(bed_sum().requests, before.requests + 1);
	assert_int_equal(bed_sum().replies, before.replies + 1);
	assert_int_equal(bed_sum().replies_late, 0);
}

static void
request_answered_is_told_the_reply_once(void **state)
{
	(void)state;
	on_each_shard(reply_run);
}

static int
failed(struct rl_actor *server, uint64_t id, int error)
{
	int rc = rl_actor_reply_failed(bed_enter(server), (rl_request_id){ id }, error);

	bed_leave(server);
	return rc;
}

static void
failed_run(struct rl_actor *client, struct rl_actor *server)
{
	uint64_t id;

	assert_int_equal(bed_request(client, server->id, 1, -1, NULL), 0);
	bed_settle();
	id = bed_only(server, BED_KIND)->id;
	assert_int_equal(failed(server, id, 0), -EINVAL); /* the reply is still owed */
	assert_int_equal(failed(server, id, 1), -EINVAL);
	assert_int_equal(failed(server, id, -EDOM), 0);
	assert_int_equal(failed(server, id, -EDOM), -ENOENT);
	bed_settle();
	assert_int_equal(bed_only(client, RL_MSG_REPLY_FAILED)->error, -EDOM);
	assert_int_equal(bed_got(client, RL_MSG_REPLY, NULL), 0);
}

static void
request_answered_with_an_error_is_told_it(void **state)
{
	(void)state;
	on_each_shard(failed_run);
}

static void
timeout_run(struct rl_actor *client, struct rl_actor *server)
{
	struct rl_stats before = bed_sum();
	rl_request_id id;

	assert_int_equal(bed_request(client, server->id, 1, RL_MS(50), &id), 0);
	bed_settle();
	bed.shards[0].now_ns += (uint64_t)RL_MS(40);
	bed_settle();
	assert_int_equal(bed_got(client, RL_MSG_REPLY_FAILED, NULL), 0);
	bed.shards[0].now_ns += (uint64_t)RL_MS(11);
	bed_settle();
	bed_turn(0);
	assert_int_equal(bed_only(client, RL_MSG_REPLY_FAILED)->error, -ETIMEDOUT);
	assert_true(bed_only(client, RL_MSG_REPLY_FAILED)->id == id.private_bits);
	assert_int_equal(bed_sum().requests_timed_out, before.requests_timed_out + 1);

	/* the other end does not know; what it says is nobody's */
	assert_int_equal(bed_reply(server, bed_only(server, BED_KIND)->id, 2), 0);
	bed_settle();
	assert_int_equal(bed_got(client, RL_MSG_REPLY, NULL), 0);
	assert_int_equal(bed_sum().replies_late, before.replies_late + 1);
}

static void
request_timed_out_is_told_so_and_the_late_reply_is_counted(void **state)
{
	(void)state;
	on_each_shard(timeout_run);
}

/* A late reply does not answer the request that has the record now. */
static void
reply_late_answers_no_other_request(void **state)
{
	struct rl_actor *client = bed_spawn(0);
	struct rl_actor *server = bed_spawn(1);
	rl_request_id first;
	rl_request_id second;
	uint64_t owed;

	(void)state;
	assert_int_equal(bed_request(client, server->id, 1, -1, &first), 0);
	bed_settle();
	owed = bed_only(server, BED_KIND)->id;
	assert_int_equal(rl_actor_request_cancel(bed_enter(client), first), 0);
	bed_leave(client);
	assert_int_equal(bed_request(client, server->id, 2, -1, &second), 0);
	assert_int_equal(id_slot(first.private_bits), id_slot(second.private_bits));
	assert_false(rl_request_id_eq(first, second));
	assert_int_equal(bed_reply(server, owed, 1), 0);
	bed_settle();
	assert_int_equal(bed_got(client, RL_MSG_REPLY, NULL), 0);
	assert_int_equal(bed_sum().replies_late, 1);
}

static void
cancel_run(struct rl_actor *client, struct rl_actor *server)
{
	struct rl_actor *other = bed_spawn(0);
	rl_request_id id;

	assert_int_equal(bed_request(client, server->id, 1, RL_SEC(1), &id), 0);
	bed_settle();
	assert_int_equal(rl_actor_request_cancel(bed_enter(other), id), -ENOENT); /* not its own */
	bed_leave(other);
	assert_int_equal(rl_actor_request_cancel(bed_enter(client), id), 0);
	assert_int_equal(rl_actor_request_cancel(client, id), -ENOENT);
	bed_leave(client);
	assert_int_equal(bed_reply(server, bed_only(server, BED_KIND)->id, 2), 0);
	bed.shards[0].now_ns += (uint64_t)RL_SEC(2);
	bed_settle();
	assert_int_equal(bed_got(client, RL_MSG_REPLY, NULL), 0);
	assert_int_equal(bed_got(client, RL_MSG_REPLY_FAILED, NULL), 0);
	assert_int_equal(bed.actors[0].requests.taken, 0);
}

static void
request_cancelled_is_told_nothing(void **state)
{
	(void)state;
	on_each_shard(cancel_run);
}

/* The reply has come and waits in the queue of notices: too late to come all the same. */
static void
request_cancelled_after_the_reply_came_is_told_nothing(void **state)
{
	struct rl_actor *client = bed_spawn(0);
	struct rl_actor *server = bed_spawn(0);
	rl_request_id id;

	(void)state;
	assert_int_equal(bed_request(client, server->id, 1, -1, &id), 0);
	bed_settle();
	assert_int_equal(bed_reply(server, bed_only(server, BED_KIND)->id, 2), 0);
	assert_int_equal(rl_actor_request_cancel(bed_enter(client), id), 0);
	bed_leave(client);
	bed_settle();
	assert_int_equal(bed_got(client, RL_MSG_REPLY, NULL), 0);
}

static int
hook_unhandled(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	return msg->kind == BED_KIND ? RL_ACTOR_UNHANDLED : 0;
}

static void
unhandled_run(struct rl_actor *client, struct rl_actor *server)
{
	bed.hook = hook_unhandled;
	assert_int_equal(bed_request(client, server->id, 1, -1, NULL), 0);
	bed_settle();
	assert_int_equal(bed_only(client, RL_MSG_REPLY_FAILED)->error, -ENOSYS);
	assert_int_equal(server->life, ACTOR_RUNNING);
}

static void
request_unhandled_fails_with_enosys(void **state)
{
	(void)state;
	on_each_shard(unhandled_run);
}

static int
hook_reply_and_unhandled(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == BED_KIND && !rl_request_id_is_none(msg->user.request)) {
		assert_int_equal(rl_actor_reply(self, msg->user.request, NULL, 0), 0);
		return RL_ACTOR_UNHANDLED;
	}
	return 0;
}

/* Answered is answered. */
static void
request_answered_and_unhandled_has_one_outcome(void **state)
{
	struct rl_actor *client = bed_spawn(0);
	struct rl_actor *server = bed_spawn(1);

	(void)state;
	bed.hook = hook_reply_and_unhandled;
	assert_int_equal(bed_request(client, server->id, 1, -1, NULL), 0);
	bed_settle();
	assert_int_equal(bed_got(client, RL_MSG_REPLY, NULL), 1);
	assert_int_equal(bed_got(client, RL_MSG_REPLY_FAILED, NULL), 0);
	assert_int_equal(bed_sum().replies_late, 0);
}

static void
mailbox_run(struct rl_actor *client, struct rl_actor *server)
{
	const struct bed_seen *last;

	for (uint32_t i = 0; i < 9; i++) { /* mailbox_max is 8 */
		assert_int_equal(bed_request(client, server->id, i, -1, NULL), 0);
	}
	bed_settle();
	assert_int_equal(bed_got(server, BED_KIND, NULL), 8);
	assert_int_equal(bed_got(client, RL_MSG_REPLY_FAILED, &last), 1);
	assert_int_equal(last->error, -EAGAIN);
	assert_int_equal(bed_got(client, RL_MSG_REPLY, NULL), 0);
}

static void
request_to_a_full_mailbox_fails_with_eagain(void **state)
{
	(void)state;
	on_each_shard(mailbox_run);
	assert_int_equal(bed_sum().undelivered.full, 2);
}

/* Every answer of the table in request.h that needs no room and no time. */
static void
request_refused_takes_nothing(void **state)
{
	struct rl_actor *client = bed_spawn(0);
	struct rl_actor *server = bed_spawn(1);
	uint8_t data[RL_MSG_INLINE_MAX + 1] = { 0 };
	struct rl_request good = { .to = { server->id }, .kind = BED_KIND, .timeout_ns = -1 };
	struct rl_request bad = good;
	rl_request_id id = { 1 };

	(void)state;
	(void)bed_enter(client);
	bad.kind = RL_MSG_USER - 1;
	assert_int_equal(rl_actor_request(client, &bad, &id), -EINVAL);
	bad = good;
	bad.timeout_ns = 0;
	assert_int_equal(rl_actor_request(client, &bad, &id), -EINVAL);
	bad.timeout_ns = -2;
	assert_int_equal(rl_actor_request(client, &bad, &id), -EINVAL);
	bad = good;
	bad.data = data;
	bad.len = sizeof(data);
	assert_int_equal(rl_actor_request(client, &bad, &id), -EMSGSIZE);
	bad = good;
	bad.to.private_bits = id_pack(1, BED_SHARDS, 0);
	assert_int_equal(rl_actor_request(client, &bad, &id), -ENOENT);
	bad.to.private_bits = 0;
	assert_int_equal(rl_actor_request(client, &bad, &id), -ENOENT);
	rli_shard_current = &bed.shards[1];
	assert_int_equal(rl_actor_request(client, &good, &id), -EPERM);
	assert_int_equal(rl_actor_request_cancel(client, id), -EPERM);
	assert_int_equal(rl_actor_reply(client, id, NULL, 0), -EPERM);
	assert_int_equal(rl_actor_reply_failed(client, id, -EIO), -EPERM);
	assert_int_equal(rl_actor_stop(client, good.to), -EPERM);
	assert_int_equal(rl_actor_spawn_on(client, 1, &bed_def, NULL, &id), -EPERM);
	rli_shard_current = &bed.shards[0];
	assert_int_equal(rl_actor_reply(client, id, data, sizeof(data)), -EMSGSIZE);
	bed_leave(client);
	assert_int_equal(bed.actors[0].requests.taken, 0);
	assert_int_equal(bed_sum().requests, 0);
	assert_int_equal(bed_sum().msgs_sent, 0);
}

static void
requests_beyond_the_maximum_are_refused(void **state)
{
	struct rl_actor *client = bed_spawn(0);
	struct rl_actor *server = bed_spawn(1);
	rl_request_id id = { 1 };
	rl_request_id last;

	(void)state;
	for (uint32_t i = 0; i < bed.config.requests_max; i++) {
		assert_int_equal(bed_request(client, server->id, i, -1, &last), 0);
	}
	assert_int_equal(bed_request(client, server->id, 0, -1, &id), -ENOBUFS);
	assert_true(rl_request_id_is_none(id));
	assert_int_equal(rl_actor_spawn_on(bed_enter(client), 1, &bed_def, NULL, NULL), -ENOBUFS);
	assert_int_equal(rl_actor_request_cancel(client, last), 0);
	bed_leave(client);
	assert_int_equal(bed_request(client, server->id, 0, -1, NULL), 0);
}

/* The other shard owes as many as it may: it says so, the same as if the mailbox were full. */
static void
requests_beyond_what_may_be_owed_fail_with_eagain(void **state)
{
	struct rl_actor *client = bed_spawn(0);
	struct rl_actor *server = bed_spawn(1);
	void *promises[1024];

	(void)state;
	for (uint32_t i = 0; i < bed.config.requests_max; i++) {
		promises[i] = rli_slab_take(&bed.actors[1].promises);
	}
	assert_int_equal(bed_request(client, server->id, 1, -1, NULL), 0);
	bed_settle();
	assert_int_equal(bed_only(client, RL_MSG_REPLY_FAILED)->error, -EAGAIN);
	bed_forget();
	assert_int_equal(rl_actor_spawn_on(bed_enter(client), 1, &bed_def, NULL, NULL), 0);
	bed_leave(client);
	bed_settle();
	assert_int_equal(bed_only(client, RL_MSG_REPLY_FAILED)->error, -EAGAIN);
	for (uint32_t i = 0; i < bed.config.requests_max; i++) {
		rli_slab_give(&bed.actors[1].promises, promises[i]);
	}
	assert_int_equal(bed_sum().undelivered.full, 1);
}

/* It goes out when there is room again, behind what was sent before and before what comes later. */
static void
request_without_room_waits_and_keeps_the_order(void **state)
{
	struct rl_actor *client = bed_spawn(0);
	struct rl_actor *server = bed_spawn(1);
	struct rl_actor *sink = bed_spawn(1);
	uint32_t count;

	(void)state;
	(void)bed_fill(client, sink->id);
	for (uint32_t i = 0; i < 200; i++) { /* more than the reserve has room for */
		assert_int_equal(bed_request(client, sink->id, 1, RL_SEC(9), NULL), 0);
	}
	assert_int_equal(bed_request(client, server->id, 1, -1, NULL), 0);
	assert_false(list_is_empty(&bed.shards[0].port->out[1].obliged));
	assert_int_equal(bed_send(client, server->id, 2), -EAGAIN);
	bed_turn(0);
	bed_turn(1);
	bed_turn(0);
	assert_int_equal(bed_send(client, server->id, 2), 0);
	bed_settle();
	assert_int_equal(bed_got(server, BED_KIND, NULL), 2);
	for (count = 0; bed.seen[count].actor != server; count++) {
	}
	assert_int_equal(bed.seen[count].number, 1);
	assert_int_equal(bed_reply(server, bed.seen[count].id, 3), 0);
	bed_settle();
	assert_int_equal(bed_only(client, RL_MSG_REPLY)->number, 3);
}

/* Answers need no room either: each waits in its promise, and the promise goes with it. */
static void
reply_without_room_waits_and_arrives(void **state)
{
	struct rl_actor *client = bed_spawn(0);
	struct rl_actor *server = bed_spawn(1);
	uint64_t ids[300];
	uint32_t owed = 0;

	(void)state;
	for (uint32_t round = 0; round < 300 / 5; round++) {
		bed_forget();
		for (uint32_t i = 0; i < 5; i++) {
			assert_int_equal(bed_request(client, server->id, i, -1, NULL), 0);
		}
		bed_settle();
		for (uint32_t i = 0; i < bed.count; i++) {
			ids[owed++] = bed.seen[i].id;
		}
	}
	assert_int_equal(owed, 300);
	bed_forget();
	(void)bed_fill(server, client->id);
	for (uint32_t i = 0; i < owed; i++) {
		assert_int_equal(bed_reply(server, ids[i], i), 0);
		assert_int_equal(bed_reply(server, ids[i], i), -ENOENT);
	}
	assert_int_equal(bed.actors[1].promises.taken, 300 - MESH_RESERVED * MESH_BLOCK_ENVELOPES);
	bed_settle();
	assert_int_equal(bed_got(client, RL_MSG_REPLY, NULL), 300);
	assert_int_equal(bed.actors[1].promises.taken, 0);
	for (uint32_t i = 0, next = 0; i < bed.count; i++) {
		if (bed.seen[i].kind == RL_MSG_REPLY) {
			assert_int_equal(bed.seen[i].number, next++);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(request_answered_is_told_the_reply_once),
		on_bed(request_answered_with_an_error_is_told_it),
		on_bed(request_timed_out_is_told_so_and_the_late_reply_is_counted),
		on_bed(reply_late_answers_no_other_request),
		on_bed(request_cancelled_is_told_nothing),
		on_bed(request_cancelled_after_the_reply_came_is_told_nothing),
		on_bed(request_unhandled_fails_with_enosys),
		on_bed(request_answered_and_unhandled_has_one_outcome),
		on_bed(request_to_a_full_mailbox_fails_with_eagain),
		on_bed(request_refused_takes_nothing),
		on_bed(requests_beyond_the_maximum_are_refused),
		on_bed(requests_beyond_what_may_be_owed_fail_with_eagain),
		on_bed(request_without_room_waits_and_keeps_the_order),
		on_bed(reply_without_room_waits_and_arrives),
	};

	return unit_run(tests) + request_ends_run();
}
