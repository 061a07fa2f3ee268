/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: messages from foreign threads arrive once, whole, and in order per thread, or are counted
 * by why they did not; actors spawned from outside; a sleeping shard always wakes (pitfalls 69, 78
 * and 80).
 * How: threads that send at full speed, and shards that are held up on purpose.
 * Not proved: the handshake's memory order; that is the model's part.
 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>

#define THREADS		4
#define THREAD_MESSAGES 10000u

#define KIND_COUNT (RL_MSG_USER + 7)
#define KIND_BLOCK (RL_MSG_USER + 8)

struct numbered {
	uint64_t number;
	uint32_t thread;
	uint32_t check;
};

struct counting {
	struct probe *probe;
	uint64_t next[THREADS];
};

static sem_t gate; /* holds a shard up, in the handler of an actor */

static int
counting_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct counting *counting = rl_actor_state(self);
	struct probe *probe = probe_note(self, msg);
	struct numbered numbered;

	if (msg->kind == KIND_BLOCK) {
		while (sem_wait(&gate) != 0) {
		}
		return 0;
	}
	if (msg->kind != KIND_COUNT) {
		return RL_ACTOR_UNHANDLED;
	}
	PROBE_EXPECT(probe, rl_actor_id_is_none(msg->from));
	PROBE_EXPECT(probe, msg->len == sizeof(numbered));
	PROBE_EXPECT(probe, (uintptr_t)msg->user.data % 16 == 0);
	memcpy(&numbered, msg->user.data, sizeof(numbered));
	PROBE_EXPECT(probe, numbered.thread < THREADS);
	PROBE_EXPECT(probe, numbered.check == (uint32_t)(numbered.number * 2654435761u));
	PROBE_EXPECT(probe, numbered.number == counting->next[numbered.thread % THREADS]++);
	return 0;
}

static const struct rl_actor_def counting = {
	.name = "counting",
	.receive = counting_receive,
	.state_size = sizeof(struct counting),
};

struct sender {
	pthread_t thread;
	struct rl_system *sys;
	rl_actor_id to;
	uint32_t number;
	int rc;
};

/* The inbox is bounded: a full one is tried again. */
static void *
sender_main(void *arg)
{
	struct sender *sender = arg;

	for (uint64_t i = 0; i < THREAD_MESSAGES;) {
		struct numbered numbered = { i, sender->number, (uint32_t)(i * 2654435761u) };
		int rc = rl_system_send(sender->sys, sender->to, KIND_COUNT, &numbered,
					sizeof(numbered));

		if (rc == 0) {
			i++;
		} else if (rc == -EAGAIN) {
			(void)poll(NULL, 0, 1);
		} else {
			sender->rc = rc;
			break;
		}
	}
	return NULL;
}

static void
send_from_four_threads_keeps_each_ones_order(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	struct sender senders[THREADS] = { 0 };
	rl_actor_id id;

	rig_start(rig, RL_CONFIG(.mailbox_max = 65536));
	assert_int_equal(rl_system_spawn(rig->sys, rig->shards - 1, &counting, probe, &id), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		senders[i] = (struct sender){ .sys = rig->sys, .to = id, .number = i };
		assert_int_equal(pthread_create(&senders[i].thread, NULL, sender_main, &senders[i]),
				 0);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
		assert_int_equal(senders[i].rc, 0);
	}
	rig_await(rig, probe->users, THREADS * THREAD_MESSAGES);
	rig_end(rig);
	assert_int_equal(rig->stats.msgs_delivered, THREADS * THREAD_MESSAGES);
}

/* One at a time: each finds the shard asleep, and must wake it. */
static void
send_to_a_sleeping_shard_always_wakes_it(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	rl_actor_id id;

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_system_spawn(rig->sys, 0, &counting, probe, &id), 0);
	for (uint64_t i = 0; i < 5000; i++) {
		struct numbered numbered = { i, 0, (uint32_t)(i * 2654435761u) };

		assert_int_equal(
			rl_system_send(rig->sys, id, KIND_COUNT, &numbered, sizeof(numbered)), 0);
		rig_await(rig, probe->users, i + 1);
	}
	rig_end(rig);
	assert_true(rig->stats.wakeups > 0);
}

/* The same while connections keep the shard busy: between its turns it must look. */
static void
send_to_a_busy_shard_is_never_forgotten(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	struct probe *echoes = &rig->probes[1];
	struct client_stream streams[32];
	rl_actor_id id;

	rig_start(rig, RL_CONFIG(.shards = 1));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, echoes);
	assert_int_equal(rl_system_spawn(rig->sys, 0, &counting, probe, &id), 0);
	for (uint64_t i = 0; i < RIG_COUNT(streams); i++) {
		streams[i] = (struct client_stream){
			.fd = client_dial(rig->url),
			.seed = i,
			.total = UINT64_MAX,
		};
	}
	for (uint64_t i = 0; i < 2000; i++) {
		struct numbered numbered = { i, 0, (uint32_t)(i * 2654435761u) };

		client_stream_step(&streams[i % RIG_COUNT(streams)]);
		client_stream_step(&streams[(i * 7 + 1) % RIG_COUNT(streams)]);
		assert_int_equal(
			rl_system_send(rig->sys, id, KIND_COUNT, &numbered, sizeof(numbered)), 0);
		rig_await(rig, probe->users, i + 1);
	}
	for (uint64_t i = 0; i < RIG_COUNT(streams); i++) {
		client_reset(streams[i].fd);
	}
	rig_await(rig, echoes->stops, RIG_COUNT(streams));
	rig_end(rig);
}

static void
send_of_nonsense_is_refused(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint8_t payload[RL_MSG_INLINE_MAX + 1] = { 0 };
	rl_actor_id none = { 0 };
	rl_actor_id id;

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_system_spawn(rig->sys, 0, &rig_sink, probe, &id), 0);
	assert_int_equal(rl_system_send(rig->sys, id, RL_MSG_STOP, NULL, 0), -EINVAL);
	assert_int_equal(rl_system_send(rig->sys, id, 0, NULL, 0), -EINVAL);
	assert_int_equal(rl_system_send(rig->sys, id, RL_MSG_USER, payload, sizeof(payload)),
			 -EMSGSIZE);
	assert_int_equal(rl_system_send(rig->sys, none, RL_MSG_USER, NULL, 0), -ENOENT);
	assert_int_equal(
		rl_system_send(rig->sys, (rl_actor_id){ UINT64_MAX }, RL_MSG_USER, NULL, 0),
		rig->shards > 255 ? 0 : -ENOENT);
	assert_int_equal(rl_system_send(rig->sys, id, RL_MSG_USER, payload, RL_MSG_INLINE_MAX), 0);
	rig_await(rig, probe->users, 1);
	rig_end(rig);
	assert_int_equal(rig->stats.msgs_sent, 1);
	assert_int_equal(rig->stats.msgs_delivered, 1);
}

static int
brief_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)probe_note(self, msg);
	return msg->kind == RL_MSG_START ? RL_ACTOR_STOP : 0;
}

static const struct rl_actor_def brief = {
	.name = "brief",
	.receive = brief_receive,
	.state_size = sizeof(struct probed),
};

/* The slot is taken again and again; the old id never reaches the new one. */
static void
send_to_a_stale_id_is_counted_as_gone(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	rl_actor_id ids[20];
	rl_actor_id id;

	rig_start(rig, RL_CONFIG(.shards = 1, .conns_max = 1, .actors_max = 1));
	for (size_t i = 0; i < RIG_COUNT(ids); i++) {
		assert_int_equal(rl_system_spawn(rig->sys, 0, &brief, probe, &ids[i]), 0);
		rig_await_stat(rig, actors_stopped, i + 1);
	}
	assert_int_equal(rl_system_spawn(rig->sys, 0, &rig_sink, probe, &id), 0);
	for (size_t i = 0; i < RIG_COUNT(ids); i++) {
		assert_false(rl_actor_id_eq(ids[i], id));
		assert_int_equal(rl_system_send(rig->sys, ids[i], RL_MSG_USER, NULL, 0), 0);
	}
	rig_await_stat(rig, undelivered.gone, RIG_COUNT(ids));
	assert_int_equal(probe->users, 0);
	rig_end(rig);
}

/* The shard is held up, so that nothing leaves its inbox. */
static void
send_to_a_full_inbox_is_eagain(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t taken = 0;
	rl_actor_id id;
	int rc = 0;

	assert_int_equal(sem_init(&gate, 0, 0), 0);
	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_system_spawn(rig->sys, 0, &counting, probe, &id), 0);
	assert_int_equal(rl_system_send(rig->sys, id, KIND_BLOCK, NULL, 0), 0);
	rig_await(rig, probe->users, 1);
	while (rc == 0 && taken < 100000) {
		struct numbered numbered = { taken, 0, (uint32_t)(taken * 2654435761u) };

		rc = rl_system_send(rig->sys, id, KIND_COUNT, &numbered, sizeof(numbered));
		taken += rc == 0;
	}
	assert_int_equal(rc, -EAGAIN);
	assert_true(taken >= 1000);
	assert_int_equal(sem_post(&gate), 0);
	rig_await(rig, probe->users, 1 + taken);
	rig_end(rig);
	assert_int_equal(rig->stats.undelivered.full, 0);
}

static void
send_to_a_full_mailbox_is_counted_as_full(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	rl_actor_id id;

	assert_int_equal(sem_init(&gate, 0, 0), 0);
	rig_start(rig, RL_CONFIG(.mailbox_max = 10));
	assert_int_equal(rl_system_spawn(rig->sys, 0, &counting, probe, &id), 0);
	assert_int_equal(rl_system_send(rig->sys, id, KIND_BLOCK, NULL, 0), 0);
	rig_await(rig, probe->users, 1);
	for (uint64_t i = 0; i < 100; i++) {
		struct numbered numbered = { i, 0, (uint32_t)(i * 2654435761u) };

		assert_int_equal(
			rl_system_send(rig->sys, id, KIND_COUNT, &numbered, sizeof(numbered)), 0);
	}
	assert_int_equal(sem_post(&gate), 0);
	rig_await_stat(rig, undelivered.full, 90);
	rig_await(rig, probe->users, 11);
	rig_end(rig);
	assert_int_equal(rig->stats.undelivered.full, 90);
	assert_int_equal(rig->stats.msgs_delivered, 11);
}

static void
spawn_answers_for_every_mistake(void **state)
{
	static const struct rl_actor_def large = {
		.name = "large",
		.receive = brief_receive,
		.state_size = RL_ACTOR_STATE_MAX + 1,
	};
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	rl_actor_id id;

	rig_start(rig, RL_CONFIG(.conns_max = 4, .actors_max = 4));
	for (uint32_t shard = 0; shard < rig->shards; shard++) {
		for (uint32_t i = 0; i < 4; i++) {
			assert_int_equal(rl_system_spawn(rig->sys, shard, &rig_sink, probe, &id),
					 0);
			assert_false(rl_actor_id_is_none(id));
		}
		assert_int_equal(rl_system_spawn(rig->sys, shard, &rig_sink, probe, &id), -ENOBUFS);
		assert_true(rl_actor_id_is_none(id));
	}
	assert_int_equal(rl_system_spawn(rig->sys, rig->shards, &rig_sink, probe, &id), -EINVAL);
	assert_int_equal(rl_system_spawn(rig->sys, 0, &large, probe, &id), -EINVAL);
	rig_assert_logged(rig, "large");
	assert_int_equal(rl_system_stats(rig->sys, (int)rig->shards, &rig->stats), -EINVAL);
	rig_await(rig, probe->starts, 4ull * rig->shards);
	rig_end(rig);
	assert_int_equal(probe->stopped[RL_REASON_SHUTDOWN], 4ull * rig->shards);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(send_from_four_threads_keeps_each_ones_order),
		rig_case(send_to_a_sleeping_shard_always_wakes_it),
		rig_case(send_to_a_busy_shard_is_never_forgotten),
		rig_case(send_of_nonsense_is_refused),
		rig_case(send_to_a_stale_id_is_counted_as_gone),
		rig_case(send_to_a_full_inbox_is_eagain),
		rig_case(send_to_a_full_mailbox_is_counted_as_full),
		rig_case(spawn_answers_for_every_mistake),
	};

	return rig_run("messages", tests);
}
