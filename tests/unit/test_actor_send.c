/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a send is taken or refused as the tables in actor.h and shard.h say, on both shards;
 *         what is taken arrives whole, and "no id" names nobody.
 * How: two shards by hand in one thread.
 * Not: what happens to messages on their way (test_actor_mesh.c).
 */
#include "unit_shards.h"

#include "actor/actor_send.h"
#include "unit_memory.h"

static rl_actor_id
id_of(const struct rl_actor *actor)
{
	return (rl_actor_id){ actor->id };
}

static int
shard_send(uint32_t shard, uint64_t to, uint64_t number)
{
	rli_shard_current = &bed.shards[shard];
	return rl_shard_send(&bed.shards[shard], (rl_actor_id){ to }, BED_KIND, &number,
			     sizeof(number));
}

static struct {
	uint8_t bytes[RL_MSG_INLINE_MAX];
	uint32_t len;
	uint32_t kind;
	uint64_t from;
} sent;

static int
hook_compare(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	if (msg->kind < RL_MSG_USER) {
		return 0;
	}
	assert_int_equal(msg->kind, sent.kind);
	assert_int_equal(msg->len, sent.len);
	assert_true(msg->from.private_bits == sent.from);
	assert_true(rl_request_id_is_none(msg->user.request));
	assert_int_equal((uintptr_t)msg->user.data % 16, 0);
	assert_memory_equal(msg->user.data, sent.bytes, sent.len);
	return 0;
}

static void
message_of_any_length_arrives_whole(void **state)
{
	struct rl_actor *from = bed_spawn(0);

	(void)state;
	bed.hook = hook_compare;
	for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
		struct rl_actor *to = bed_spawn(shard);

		for (uint32_t len = 0; len <= RL_MSG_INLINE_MAX; len++) {
			sent.len = len;
			sent.kind = len % 2 == 0 ? RL_MSG_USER : UINT32_MAX;
			for (uint32_t i = 0; i < len; i++) {
				sent.bytes[i] = (uint8_t)(i * 7 + len);
			}
			bed_forget();
			sent.from = from->id;
			assert_int_equal(rl_actor_send(bed_enter(from), id_of(to), sent.kind,
						       len == 0 ? NULL : sent.bytes, len),
					 0);
			bed_leave(from);
			bed_settle();
			assert_int_equal(bed_only(to, sent.kind)->shard, 0);

			bed_forget();
			sent.from = 0; /* a hook is nobody */
			rli_shard_current = &bed.shards[0];
			assert_int_equal(rl_shard_send(&bed.shards[0], id_of(to), sent.kind,
						       len == 0 ? NULL : sent.bytes, len),
					 0);
			bed_settle();
			assert_int_equal(bed_got(to, sent.kind, NULL), 1);
		}
	}
}

static void
messages_to_itself_and_back_and_forth_keep_their_order(void **state)
{
	struct rl_actor *actors[3] = { bed_spawn(0), bed_spawn(0), bed_spawn(1) };
	uint64_t next[3] = { 0 };

	(void)state;
	for (uint64_t number = 0; number < 400; number++) {
		for (uint32_t i = 0; i < UNIT_COUNT(actors); i++) {
			assert_int_equal(bed_send(actors[0], actors[i]->id, number), 0);
		}
		if (number % 7 == 6) {
			bed_settle();
		}
	}
	bed_settle();
	for (uint32_t i = 0; i < bed.count; i++) {
		for (uint32_t k = 0; k < UNIT_COUNT(actors); k++) {
			if (bed.seen[i].actor == actors[k]) {
				assert_int_equal(bed.seen[i].number, next[k]++);
			}
		}
	}
	assert_int_equal(bed_sum().msgs_delivered, 3 * 400);
}

static void
send_refused_for_what_it_says_takes_nothing(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	uint8_t data[RL_MSG_INLINE_MAX + 1] = { 0 };

	(void)state;
	for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
		rl_actor_id to = id_of(bed_spawn(shard));
		struct rl_shard *here = &bed.shards[0];

		(void)bed_enter(from);
		assert_int_equal(rl_actor_send(from, to, RL_MSG_USER - 1, NULL, 0), -EINVAL);
		assert_int_equal(rl_shard_send(here, to, 0, NULL, 0), -EINVAL);
		assert_int_equal(rl_shard_notify(here, shard, RL_MSG_START, NULL, 0), -EINVAL);
		assert_int_equal(rl_actor_send(from, to, BED_KIND, data, sizeof(data)), -EMSGSIZE);
		assert_int_equal(rl_shard_send(here, to, BED_KIND, data, SIZE_MAX), -EMSGSIZE);
		assert_int_equal(rl_shard_notify(here, shard, BED_KIND, data, sizeof(data)),
				 -EMSGSIZE);
		rli_shard_current = &bed.shards[1]; /* another thread, where nobody runs */
		rli_actor_running = NULL;
		assert_int_equal(rl_actor_send(from, to, BED_KIND, NULL, 0), -EPERM);
		assert_int_equal(rl_shard_send(here, to, BED_KIND, NULL, 0), -EPERM);
		assert_int_equal(rl_shard_notify(here, shard, BED_KIND, NULL, 0), -EPERM);
		rli_shard_current = NULL; /* a thread that is no shard's */
		assert_int_equal(rl_actor_send(from, to, BED_KIND, NULL, 0), -EPERM);
		bed_leave(from);
	}
	rli_shard_current = &bed.shards[0];
	assert_int_equal(rl_shard_notify(&bed.shards[0], BED_SHARDS, BED_KIND, NULL, 0), -EINVAL);
	assert_int_equal(bed_send(from, id_pack(1, BED_SHARDS, 0), 1), -ENOENT);
	assert_int_equal(bed_send(from, id_pack(1, 255, 0), 1), -ENOENT);
	assert_int_equal(bed_sum().msgs_sent, 0);
	bed_settle();
	assert_int_equal(bed.count, 0);
}

static void
send_to_who_has_ended_is_enoent_here_and_counted_there(void **state)
{
	struct rl_actor *from = bed_spawn(0);

	(void)state;
	for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
		struct rl_actor *to = bed_spawn(shard);
		uint64_t id = to->id;

		rli_actor_end(to, RL_REASON_LOCAL, 0);
		assert_int_equal(bed_send(from, id, 1), shard == 0 ? -ENOENT : 0); /* ending */
		bed_settle();
		assert_int_equal(bed_send(from, id, 1), shard == 0 ? -ENOENT : 0);
		assert_int_equal(shard_send(0, id, 1), shard == 0 ? -ENOENT : 0);
		bed_settle();
	}
	assert_int_equal(bed_sum().undelivered.gone, 3);
	assert_int_equal(bed_got(NULL, BED_KIND, NULL), 0);
}

/* A full mailbox of the same shard: no notice follows. */
static void
send_to_a_full_mailbox_is_eagain_without_a_notice(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(0);

	(void)state;
	for (uint32_t i = 0; i < bed.config.mailbox_max; i++) {
		assert_int_equal(bed_send(from, to->id, i), 0);
	}
	assert_int_equal(bed_send(from, to->id, 9), -EAGAIN);
	assert_int_equal(shard_send(0, to->id, 9), -EAGAIN);
	bed_settle();
	assert_int_equal(bed_got(from, RL_MSG_ROOM, NULL), 0);
	assert_int_equal(bed_got(to, BED_KIND, NULL), bed.config.mailbox_max);
	assert_int_equal(bed_sum().undelivered.full, 0); /* it was told */
	assert_int_equal(bed_send(from, to->id, 9), 0);
}

static void
send_without_envelopes_is_enobufs(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	uint64_t last = 0;

	(void)state;
	for (uint32_t i = 0; i < bed.config.messages_max; i++) {
		if (i % bed.config.mailbox_max == 0) {
			last = bed_spawn(0)->id;
		}
		assert_int_equal(bed_send(from, last, i), 0);
	}
	assert_int_equal(bed_send(from, bed_spawn(0)->id, 1), -ENOBUFS);
	assert_int_equal(rl_shard_notify(&bed.shards[0], 0, BED_KIND, NULL, 0), -ENOBUFS);
	assert_int_equal(bed_send(from, last, 1), -EAGAIN); /* said first: it is more */
	bed_settle();
	assert_int_equal(bed_send(from, last, 1), 0);
}

static void
send_while_the_system_stops_is_eshutdown(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *here = bed_spawn(0);
	struct rl_actor *there = bed_spawn(1);

	(void)state;
	rli_actors_cut(&bed.shards[0], RL_REASON_SHUTDOWN);
	assert_int_equal(bed_send(from, here->id, 1), -ESHUTDOWN);
	assert_int_equal(bed_send(from, there->id, 1), -ESHUTDOWN);
	assert_int_equal(shard_send(0, there->id, 1), -ESHUTDOWN);
	assert_int_equal(rl_shard_notify(&bed.shards[0], 0, BED_KIND, NULL, 0), -ESHUTDOWN);
	assert_int_equal(rl_shard_notify(&bed.shards[0], 1, BED_KIND, NULL, 0), -ESHUTDOWN);
}

/* Slot 0 of shard 0, while it is free: the one that an id of zeroes points to. */
static void
send_to_no_id_is_enoent(void **state)
{
	struct rl_actor *first = bed_spawn(0);
	struct rl_actor *from = bed_spawn(0);
	struct envelope envelope = { .kind = BED_KIND };

	(void)state;
	assert_int_equal(rli_slab_number(&bed.actors[0].slab, first), 0);
	assert_int_equal(bed_send(from, 0, 1), -ENOENT);
	rli_actor_end(first, RL_REASON_LOCAL, 0);
	bed_settle();
	assert_null(rli_actor_resolve(&bed.shards[0], 0));
	assert_int_equal(bed_send(from, 0, 1), -ENOENT);
	assert_int_equal(shard_send(0, 0, 1), -ENOENT);
	counters_add(&bed.shards[0].counters, msgs_sent, 1);
	assert_int_equal(rli_actor_post(&bed.shards[0], &envelope), -ENOENT);
	assert_true(list_is_empty(&bed.actors[0].ready));
}

/* The same slot when an actor was refused it for want of memory, before any had it. */
static void
send_to_no_id_before_any_actor_is_enoent(void **state)
{
	static const struct rl_actor_def large = { .name = "large",
						   .receive = bed_receive,
						   .state_size = RL_ACTOR_STATE_MAX };
	struct rl_actor *actor;
	struct rlimit limit;
	int rc;

	(void)state;
	if (!unit_memory_can_fail()) {
		return;
	}
	limit = unit_memory_begin(65536 / (size_t)sysconf(_SC_PAGESIZE) + 4);
	rc = rli_actor_spawn(&bed.shards[0], &large, NULL, &actor);
	unit_memory_end(limit);
	assert_int_equal(rc, -ENOMEM);
	assert_int_equal(bed.actors[0].slab.slots_used, 1);
	assert_null(rli_actor_resolve(&bed.shards[0], 0));
	assert_int_equal(shard_send(0, 0, 1), -ENOENT);
}

/* From a thread that is no shard's, as the loop takes it from the inbox. */
static void
message_of_a_foreign_thread_says_so(void **state)
{
	struct rl_actor *to = bed_spawn(0);
	struct envelope envelope = { .to = to->id, .kind = BED_KIND, .shard = ENVELOPE_FOREIGN };

	(void)state;
	counters_add(&bed.shards[0].counters, msgs_sent, 1);
	assert_int_equal(rli_actor_post(&bed.shards[0], &envelope), 0);
	bed_settle();
	assert_int_equal(bed_only(to, BED_KIND)->shard, RL_SHARD_NONE);
	assert_int_equal(bed_only(to, BED_KIND)->from, 0);
}

static void
send_outside(void *arg)
{
	(void)!rl_actor_send(arg, (rl_actor_id){ 1 }, BED_KIND, NULL, 0);
}

static void
send_outside_its_handler_asserts(void **state)
{
	struct rl_actor *actor = bed_spawn(0);

	(void)state;
	rli_shard_current = &bed.shards[0];
	assert_true(unit_asserts(send_outside, actor));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(message_of_any_length_arrives_whole),
		on_bed(messages_to_itself_and_back_and_forth_keep_their_order),
		on_bed(send_refused_for_what_it_says_takes_nothing),
		on_bed(send_to_who_has_ended_is_enoent_here_and_counted_there),
		on_bed(send_to_a_full_mailbox_is_eagain_without_a_notice),
		on_bed(send_without_envelopes_is_enobufs),
		on_bed(send_while_the_system_stops_is_eshutdown),
		on_bed(send_to_no_id_is_enoent),
		on_bed(send_to_no_id_before_any_actor_is_enoent),
		on_bed(message_of_a_foreign_thread_says_so),
		on_bed(send_outside_its_handler_asserts),
	};

	return unit_run(tests);
}
