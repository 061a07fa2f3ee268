/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: an end of either side settles what was asked and what was owed; actors are spawned and
 *         stopped on either shard.
 * How: two shards by hand in one thread.
 * Not: the ends of streams.
 */
#include "request_groups.h"
#include "unit_shards.h"

static void
end(struct rl_actor *actor)
{
	rli_actor_end(actor, RL_REASON_LOCAL, 0);
	bed_settle();
}

/* Before it was asked, while the message waits for it, and while it owes the answer. */
static void
request_to_who_ends_fails_with_enoent(void **state)
{
	(void)state;
	for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
		struct rl_actor *client = bed_spawn(0);
		struct rl_actor *server = bed_spawn(shard);
		uint64_t id = server->id;

		bed_settle();
		bed_forget();
		assert_int_equal(bed_request(client, id, 1, -1, NULL), 0);
		rli_actor_end(server, RL_REASON_LOCAL, 0); /* on its way, or in the mailbox */
		bed_settle();
		assert_int_equal(bed_only(client, RL_MSG_REPLY_FAILED)->error, -ENOENT);

		bed_forget();
		assert_int_equal(bed_request(client, id, 1, -1, NULL), 0); /* long over */
		bed_settle();
		assert_int_equal(bed_only(client, RL_MSG_REPLY_FAILED)->error, -ENOENT);

		bed_forget();
		server = bed_spawn(shard);
		assert_int_equal(bed_request(client, server->id, 1, -1, NULL), 0);
		bed_settle();
		assert_int_equal(bed_got(server, BED_KIND, NULL), 1);
		end(server);
		assert_int_equal(bed_only(client, RL_MSG_REPLY_FAILED)->error, -ENOENT);
		assert_int_equal(bed.actors[shard].promises.taken, 0);
	}
	assert_int_equal(bed_sum().undelivered.gone, 4);
}

/* Nobody is told, and the late answer is counted. */
static void
request_of_who_ends_is_dropped(void **state)
{
	(void)state;
	for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
		struct rl_actor *client = bed_spawn(0);
		struct rl_actor *server = bed_spawn(shard);

		bed_forget();
		assert_int_equal(bed_request(client, server->id, 1, RL_SEC(1), NULL), 0);
		bed_settle();
		end(client);
		assert_int_equal(bed.actors[0].requests.taken, 0);
		assert_int_equal(unit_wheel_armed(&bed.shards[0].wheel), 0);
		assert_int_equal(bed_reply(server, bed_only(server, BED_KIND)->id, 1), 0);
		bed_settle();
		assert_int_equal(bed_got(NULL, RL_MSG_REPLY, NULL), 0);
		assert_int_equal(bed_sum().replies_late, shard + 1);
	}
}

/* It asks itself, and ends: the promise is broken towards nobody. */
static void
request_to_itself_ends_with_the_actor(void **state)
{
	struct rl_actor *actor = bed_spawn(0);

	(void)state;
	assert_int_equal(bed_request(actor, actor->id, 1, -1, NULL), 0);
	bed_settle();
	assert_int_equal(bed_reply(actor, bed_only(actor, BED_KIND)->id, 2), 0);
	bed_settle();
	assert_int_equal(bed_only(actor, RL_MSG_REPLY)->number, 2);
	assert_int_equal(bed_request(actor, actor->id, 1, -1, NULL), 0);
	bed_settle();
	end(actor);
	assert_int_equal(bed_got(actor, RL_MSG_REPLY_FAILED, NULL), 0);
	assert_int_equal(bed.actors[0].requests.taken, 0);
	assert_int_equal(bed.actors[0].promises.taken, 0);
}

/* The end was decided: no request any more, and what is owed can still be answered in STOP. */
static int
hook_reply_in_stop(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_STOP) {
		struct rl_request request = { .to = rl_actor_self(self),
					      .kind = BED_KIND,
					      .timeout_ns = -1 };
		uint64_t number = 5;

		assert_int_equal(rl_actor_request(self, &request, NULL), -ESHUTDOWN);
		assert_int_equal(rl_actor_reply(self, (rl_request_id){ bed.seen[0].id }, &number,
						sizeof(number)),
				 0);
	}
	return 0;
}

static void
reply_from_the_last_message_counts(void **state)
{
	struct rl_actor *client = bed_spawn(0);
	struct rl_actor *server = bed_spawn(1);

	(void)state;
	assert_int_equal(bed_request(client, server->id, 1, -1, NULL), 0);
	bed_settle();
	bed.hook = hook_reply_in_stop;
	end(server);
	bed.hook = NULL;
	assert_int_equal(bed_only(client, RL_MSG_REPLY)->number, 5);
	assert_int_equal(bed_got(client, RL_MSG_REPLY_FAILED, NULL), 0);
}

static void
request_while_the_system_stops_fails_with_eshutdown(void **state)
{
	struct rl_actor *client = bed_spawn(0);
	struct rl_actor *server = bed_spawn(1);
	struct rl_actor *late = bed_spawn(1);

	(void)state;
	assert_int_equal(bed_request(client, server->id, 1, -1, NULL), 0);
	bed_turn(0);
	bed_turn(1);
	bed_forget();
	rli_actors_cut(&bed.shards[1], RL_REASON_SHUTDOWN);
	assert_int_equal(bed_request(client, late->id, 1, -1, NULL), 0);
	bed_settle();
	assert_int_equal(bed_got(client, RL_MSG_REPLY_FAILED, NULL), 2);
	for (uint32_t i = 0; i < bed.count; i++) {
		assert_true(bed.seen[i].kind != RL_MSG_REPLY_FAILED ||
			    bed.seen[i].error == -ESHUTDOWN);
	}
}

/*
 * A request that never left is no message that was lost, or it is counted: one of the two. The
 * table in stats.h has no third place for it.
 */
static void
request_taken_back_before_it_left_balances(void **state)
{
	struct rl_actor *client = bed_spawn(0);
	struct rl_actor *sink = bed_spawn(1);
	rl_request_id id = { 0 };

	(void)state;
	(void)bed_fill(client, sink->id);
	for (uint32_t i = 0; i <= MESH_RESERVED * MESH_BLOCK_ENVELOPES; i++) {
		assert_int_equal(bed_request(client, sink->id, 1, -1, &id), 0);
	}
	assert_false(list_is_empty(&bed.shards[0].port->out[1].obliged));
	assert_int_equal(rl_actor_request_cancel(bed_enter(client), id), 0);
	bed_leave(client);
	assert_true(list_is_empty(&bed.shards[0].port->out[1].obliged));
	bed_settle();
	end(client);
	end(sink);
	bed_assert_balanced();
}

static const struct rl_actor_def large_def = { .name = "large",
					       .receive = bed_receive,
					       .state_size = RL_ACTOR_STATE_MAX + 1 };

static void
actor_spawned_on_a_shard_is_named_by_the_reply(void **state)
{
	struct rl_actor *client = bed_spawn(0);

	(void)state;
	for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
		rl_request_id id;
		uint64_t spawned;

		bed_forget();
		assert_int_equal(rl_actor_spawn_on(bed_enter(client), shard, &bed_def, &bed, &id),
				 0);
		bed_leave(client);
		bed_settle();
		spawned = bed_only(client, RL_MSG_REPLY)->number;
		assert_true(bed_only(client, RL_MSG_REPLY)->id == id.private_bits);
		assert_int_equal(id_shard(spawned), shard);
		assert_non_null(rli_actor_resolve(&bed.shards[shard], spawned));
		assert_int_equal(bed_got(NULL, RL_MSG_START, NULL), 1);
		assert_int_equal(bed_send(client, spawned, 6), 0);
		bed_settle();
		assert_int_equal(bed_only(NULL, BED_KIND)->number, 6);
	}
	assert_int_equal(rl_actor_spawn_on(bed_enter(client), BED_SHARDS, &bed_def, NULL, NULL),
			 -EINVAL);
	bed_leave(client);
}

static void
actor_refused_by_its_shard_fails_the_request(void **state)
{
	struct rl_actor *client = bed_spawn(0);

	(void)state;
	for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
		bed_forget();
		assert_int_equal(
			rl_actor_spawn_on(bed_enter(client), shard, &large_def, NULL, NULL), 0);
		bed_leave(client);
		bed_settle();
		assert_int_equal(bed_only(client, RL_MSG_REPLY_FAILED)->error, -EINVAL);
		assert_int_equal(bed.log.lines, 1);
		bed.log.lines = 0;
	}
	bed.actors[1].draining = true;
	bed_forget();
	assert_int_equal(rl_actor_spawn_on(bed_enter(client), 1, &bed_def, NULL, NULL), 0);
	bed_leave(client);
	bed_settle();
	assert_int_equal(bed_only(client, RL_MSG_REPLY_FAILED)->error, -ESHUTDOWN);
	bed.actors[0].draining = true;
	assert_int_equal(rl_actor_spawn_on(bed_enter(client), 1, &bed_def, NULL, NULL), -ESHUTDOWN);
	bed_leave(client);
}

static int
stop(struct rl_actor *from, uint64_t to)
{
	int rc = rl_actor_stop(bed_enter(from), (rl_actor_id){ to });

	bed_leave(from);
	return rc;
}

/* Past a full mailbox and a full way, normally, and once. */
static void
actor_asked_to_stop_ends_normally_wherever_it_is(void **state)
{
	(void)state;
	for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
		struct rl_actor *from = bed_spawn(0);
		struct rl_actor *target = bed_spawn(shard);
		uint64_t id = target->id;

		bed_settle();
		bed_forget();
		if (shard == 0) {
			while (bed_send(from, id, 1) == 0) {
			}
		} else {
			(void)bed_fill(from, id);
			for (uint32_t i = 0; i < 200; i++) {
				assert_int_equal(stop(from, id_pack(77, 1, 99)), 0); /* nobody */
			}
		}
		assert_int_equal(stop(from, id), 0);
		assert_int_equal(stop(from, id), 0);
		bed_settle();
		assert_int_equal(bed_only(target, RL_MSG_STOP)->reason, RL_REASON_LOCAL);
		assert_int_equal(stop(from, id), 0); /* it is where the caller wants it */
		bed_settle();
		assert_int_equal(bed.actors[0].promises.taken, 0);
	}
}

static void
actor_asked_to_stop_without_room_or_name_is_refused(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	void *promises[1024];

	(void)state;
	assert_int_equal(stop(from, 0), -ENOENT);
	assert_int_equal(stop(from, id_pack(1, BED_SHARDS, 0)), -ENOENT);
	for (uint32_t i = 0; i < bed.config.requests_max; i++) {
		promises[i] = rli_slab_take(&bed.actors[0].promises);
	}
	assert_int_equal(stop(from, id_pack(1, 1, 0)), -ENOBUFS);
	for (uint32_t i = 0; i < bed.config.requests_max; i++) {
		rli_slab_give(&bed.actors[0].promises, promises[i]);
	}
	assert_int_equal(stop(from, from->id), 0); /* itself */
	bed_settle();
	assert_int_equal(bed_only(from, RL_MSG_STOP)->reason, RL_REASON_LOCAL);
}

int
request_ends_run(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(request_to_who_ends_fails_with_enoent),
		on_bed(request_of_who_ends_is_dropped),
		on_bed(request_to_itself_ends_with_the_actor),
		on_bed(reply_from_the_last_message_counts),
		on_bed(request_while_the_system_stops_fails_with_eshutdown),
		on_bed(request_taken_back_before_it_left_balances),
		on_bed(actor_spawned_on_a_shard_is_named_by_the_reply),
		on_bed(actor_refused_by_its_shard_fails_the_request),
		on_bed(actor_asked_to_stop_ends_normally_wherever_it_is),
		on_bed(actor_asked_to_stop_without_room_or_name_is_refused),
	};

	return unit_run(tests);
}
