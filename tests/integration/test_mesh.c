/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what crosses shards on real threads: requests and every way in which they fail, monitors
 * and links, spawning elsewhere; a drain in the middle of a flood loses nothing uncounted; a shard
 * that has nothing to do sleeps; calls from a wrong thread are refused.
 * How: actors on the first and the last shard (the same one where there is one CPU), directed by
 * the test's thread. rig_end() sees to it that all shards are idle.
 * Not proved: the order of every interleaving; tests/stress and tests/model look at that.
 */
#include "support.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>

#define REQUESTS	20000u
#define REQUESTS_WINDOW 64u
#define FLOOD_BURST	500u

enum {
	KIND_ASK = RL_MSG_USER,
	KIND_MUTE, /* no answer, ever */
	KIND_REFUSE,
	KIND_END,
	KIND_UNKNOWN,
	KIND_WATCH,
	KIND_LINK,
	KIND_SPAWN,
	KIND_BLOCK,
	KIND_RELEASE,
	KIND_FLOOD,
	KIND_BALL,
};

/* What the actors count besides what a probe does. */
enum {
	MARK_REPLIES,
	MARK_FAILURES,
	MARK_DOWNS,
	MARK_ERROR, /* of the last failure, without its sign */
	MARK_REASON, /* of the last RL_MSG_DOWN */
	MARK_ROOMS,
	MARK_NOTIFIED,
	MARK_SHARD, /* where a spawned actor found itself */
};

static sem_t gate;
static struct rl_actor *volatile blocked; /* in its handler, on its shard's thread */
static struct rl_buf *volatile held; /* its */

static rl_actor_id
id_of(const struct probe *probe)
{
	return (rl_actor_id){ atomic_load(&probe->id) };
}

static void
mark(struct probe *probe, unsigned int which, uint64_t count)
{
	probe_add(probe, &probe->marks[which], count);
}

static void
mark_set(struct probe *probe, unsigned int which, uint64_t value)
{
	atomic_store(&probe->marks[which], value);
}

/* In its handler until the test lets it go. */
static int
server_block(struct rl_actor *self, struct probe *probe)
{
	struct rl_buf *buf;
	void *data;
	int rc = rl_buf_take(rl_actor_shard(self), 1, &buf, &data);

	PROBE_EXPECT(probe, rc == 0);
	held = buf;
	blocked = self;
	mark(probe, MARK_NOTIFIED, 1);
	while (sem_wait(&gate) != 0) {
	}
	return 0;
}

/* Answers as it is asked to. */
static int
server_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	int rc = 0;

	switch (msg->kind) {
	case RL_MSG_START:
		mark_set(probe, MARK_SHARD, rl_shard_id(rl_actor_shard(self)));
		return 0;
	case KIND_ASK:
		PROBE_EXPECT(probe, !rl_request_id_is_none(msg->user.request));
		rc = rl_actor_reply(self, msg->user.request, msg->user.data, msg->len);
		PROBE_EXPECT(probe, rc == 0);
		rc = rl_actor_reply(self, msg->user.request, msg->user.data, msg->len);
		PROBE_EXPECT(probe, rc == -ENOENT);
		return 0;
	case KIND_MUTE:
		return 0;
	case KIND_REFUSE:
		rc = rl_actor_reply_failed(self, msg->user.request, -EXDEV);
		PROBE_EXPECT(probe, rc == 0);
		return 0;
	case KIND_END:
		return RL_ACTOR_STOP;
	case KIND_BLOCK:
		return server_block(self, probe);
	case KIND_RELEASE:
		rl_buf_release(held);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def server = {
	.name = "server",
	.receive = server_receive,
	.state_size = sizeof(struct probed),
};

struct asker {
	struct probe *probe;
	uint64_t asked;
	uint64_t answered;
};

/* The other one is always that of the next probe. */
static rl_actor_id
asker_other(const struct probe *probe)
{
	return id_of(probe + 1);
}

static void
asker_ask(struct rl_actor *self, uint32_t kind, int64_t timeout_ns)
{
	struct asker *asker = rl_actor_state(self);
	struct rl_request request = {
		.to = asker_other(asker->probe),
		.kind = kind,
		.data = &asker->asked,
		.len = sizeof(asker->asked),
		.timeout_ns = timeout_ns,
	};
	int rc = rl_actor_request(self, &request, NULL);

	PROBE_EXPECT(asker->probe, rc == 0);
	asker->asked++;
}

static void
asker_answered(struct rl_actor *self, const struct rl_msg *msg)
{
	struct asker *asker = rl_actor_state(self);
	uint64_t number;

	if (msg->len == sizeof(rl_actor_id) && asker->asked == 0) { /* of rl_actor_spawn_on() */
		mark(asker->probe, MARK_REPLIES, 1);
		return;
	}
	PROBE_EXPECT(asker->probe, msg->len == sizeof(number));
	memcpy(&number, msg->reply.data, sizeof(number));
	PROBE_EXPECT(asker->probe, number == asker->answered);
	asker->answered++;
	if (asker->asked < REQUESTS) {
		asker_ask(self, KIND_ASK, RL_SEC(30));
	}
	mark(asker->probe, MARK_REPLIES, 1);
}

/* What the test's thread tells it to do. */
static int
asker_told(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_of(self);
	uint32_t shards = rl_shard_count(rl_actor_shard(self));
	rl_monitor_id id;
	int rc = 0;

	switch (msg->kind) {
	case KIND_ASK:
		for (uint32_t i = 0; i < REQUESTS_WINDOW; i++) {
			asker_ask(self, KIND_ASK, RL_SEC(30));
		}
		break;
	case KIND_MUTE:
		asker_ask(self, KIND_MUTE, RL_MS(20));
		break;
	case KIND_REFUSE:
	case KIND_UNKNOWN:
	case KIND_END:
		asker_ask(self, msg->kind, -1);
		break;
	case KIND_WATCH:
		rc = rl_actor_monitor(self, asker_other(probe), &id);
		break;
	case KIND_LINK:
		rc = rl_actor_link(self, asker_other(probe));
		break;
	case KIND_SPAWN:
		rc = rl_actor_spawn_on(self, shards, &server, probe + 1, NULL);
		PROBE_EXPECT(probe, rc == -EINVAL);
		rc = rl_actor_spawn_on(self, shards - 1, &server, probe + 1, NULL);
		break;
	default:
		return RL_ACTOR_UNHANDLED;
	}
	PROBE_EXPECT(probe, rc == 0);
	return 0;
}

static int
asker_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	switch (msg->kind) {
	case RL_MSG_REPLY:
		asker_answered(self, msg);
		return 0;
	case RL_MSG_REPLY_FAILED:
		PROBE_EXPECT(probe_of(self), msg->reply_failed.error < 0);
		mark_set(probe_of(self), MARK_ERROR, (uint64_t)-msg->reply_failed.error);
		mark(probe_of(self), MARK_FAILURES, 1);
		return 0;
	case RL_MSG_DOWN:
		PROBE_EXPECT(probe_of(self),
			     rl_actor_id_eq(msg->down.actor, asker_other(probe_of(self))));
		mark_set(probe_of(self), MARK_REASON, (uint64_t)msg->down.reason);
		mark(probe_of(self), MARK_DOWNS, 1);
		return 0;
	default:
		(void)probe_note(self, msg);
		return msg->kind >= RL_MSG_USER ? asker_told(self, msg) : RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def asker = {
	.name = "asker",
	.receive = asker_receive,
	.state_size = sizeof(struct asker),
};

/* The asker in probe 0 on the first shard, the server in probe 1 on the last one. */
static void
mesh_start(struct rig *rig, struct rl_config config)
{
	rig_start(rig, config);
	assert_int_equal(rl_system_spawn(rig->sys, 0, &asker, &rig->probes[0], NULL), 0);
	assert_int_equal(rl_system_spawn(rig->sys, rig->shards - 1, &server, &rig->probes[1], NULL),
			 0);
	rig_await(rig, rig->probes[0].starts, 1);
	rig_await(rig, rig->probes[1].starts, 1);
}

static void
request_across_shards_is_answered_in_order(void **state)
{
	struct rig *rig = *state;

	mesh_start(rig, RL_CONFIG());
	rig_tell(rig, &rig->probes[0], KIND_ASK);
	rig_await(rig, rig->probes[0].marks[MARK_REPLIES], REQUESTS);
	rig_end(rig);
	assert_int_equal(rig->probes[0].marks[MARK_REPLIES], REQUESTS);
	assert_int_equal(rig->probes[0].marks[MARK_FAILURES], 0);
	assert_int_equal(rig->stats.requests, REQUESTS);
	assert_int_equal(rig->stats.replies, REQUESTS);
}

static void
request_that_fails_says_why(void **state)
{
	static const struct {
		uint32_t kind;
		uint64_t error;
	} failures[] = {
		{ KIND_MUTE, ETIMEDOUT }, { KIND_REFUSE, EXDEV }, { KIND_UNKNOWN, ENOSYS },
		{ KIND_END, ENOENT },	  { KIND_ASK, ENOENT }, /* it has ended by now */
	};
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t count = 0;

	mesh_start(rig, RL_CONFIG());
	for (size_t i = 0; i < RIG_COUNT(failures); i++) {
		rig_tell(rig, probe, failures[i].kind);
		count += failures[i].kind == KIND_ASK ? REQUESTS_WINDOW : 1;
		rig_await(rig, probe->marks[MARK_FAILURES], count);
		assert_int_equal(probe->marks[MARK_ERROR], failures[i].error);
	}
	rig_end(rig);
	assert_int_equal(probe->marks[MARK_FAILURES], count);
	assert_int_equal(rig->stats.requests_timed_out, 1);
}

static void
monitor_across_shards_tells_the_end_once(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	mesh_start(rig, RL_CONFIG());
	rig_tell(rig, probe, KIND_WATCH);
	rig_tell(rig, probe, KIND_WATCH);
	rig_await_stat(rig, monitors, 2);
	rig_assert_idle(rig);
	assert_int_equal(probe->marks[MARK_DOWNS], 0);
	rig_tell(rig, &rig->probes[1], KIND_END);
	rig_await(rig, probe->marks[MARK_DOWNS], 2);
	assert_int_equal(probe->marks[MARK_REASON], RL_REASON_LOCAL);
	rig_tell(rig, probe, KIND_WATCH); /* too late */
	rig_await(rig, probe->marks[MARK_DOWNS], 3);
	assert_int_equal(probe->marks[MARK_REASON], RL_REASON_GONE);
	rig_end(rig);
	assert_int_equal(probe->marks[MARK_DOWNS], 3);
	assert_int_equal(rig->stats.downs, 3);
}

/* Linking to one that has ended ends the caller; a normal end of the other one does not. */
static void
link_across_shards_shares_an_abnormal_end(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	mesh_start(rig, RL_CONFIG());
	rig_tell(rig, probe, KIND_LINK);
	rig_await_stat(rig, monitors, 1);
	rig_assert_idle(rig);
	rig_tell(rig, &rig->probes[1], KIND_END);
	rig_await(rig, rig->probes[1].stops, 1);
	rig_assert_idle(rig);
	assert_int_equal(probe->stops, 0);
	rig_tell(rig, probe, KIND_LINK);
	rig_await(rig, probe->stops, 1);
	assert_int_equal(probe->stopped[RL_REASON_LINKED], 1);
	rig_end(rig);
}

static void
spawn_on_another_shard_answers_its_id(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_system_spawn(rig->sys, 0, &asker, &rig->probes[0], NULL), 0);
	rig_await(rig, rig->probes[0].starts, 1);
	rig_tell(rig, &rig->probes[0], KIND_SPAWN);
	rig_await(rig, rig->probes[0].marks[MARK_REPLIES], 1);
	rig_await(rig, rig->probes[1].starts, 1);
	assert_int_equal(rig->probes[1].marks[MARK_SHARD], rig->shards - 1);
	rig_end(rig);
}

/* To both probes' sinks, in bursts, until it is told to stop. */
static int
flooder_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe;
	int rc = 0;

	if (msg->kind == RL_MSG_ROOM) {
		probe = probe_of(self);
		mark(probe, MARK_ROOMS, 1);
	} else {
		probe = probe_note(self, msg);
	}
	if (msg->kind != RL_MSG_ROOM && msg->kind != RL_MSG_TIMER && msg->kind != RL_MSG_START) {
		return RL_ACTOR_UNHANDLED;
	}
	for (uint32_t i = 0; i < FLOOD_BURST && rc == 0; i++) {
		rc = rl_actor_send(self, id_of(&probe->rig->probes[i % 2]), KIND_FLOOD, &i,
				   sizeof(i));
	}
	PROBE_EXPECT(probe, rc == 0 || rc == -EAGAIN || rc == -ENOENT || rc == -ESHUTDOWN);
	if (msg->kind != RL_MSG_ROOM) {
		rc = rl_timer_start(self, 0, 0, NULL);
		PROBE_EXPECT(probe, rc == 0);
	}
	return 0;
}

static const struct rl_actor_def flooder = {
	.name = "flooder",
	.receive = flooder_receive,
	.state_size = sizeof(struct probed),
};

static void
drain_in_the_middle_of_a_flood_counts_every_message(void **state)
{
	struct rig *rig = *state;
	const struct rl_stats *stats = &rig->stats;
	uint32_t last;

	rig_start(rig, RL_CONFIG());
	last = rig->shards - 1;
	assert_int_equal(rl_system_spawn(rig->sys, 0, &rig_sink, &rig->probes[0], NULL), 0);
	assert_int_equal(rl_system_spawn(rig->sys, last, &rig_sink, &rig->probes[1], NULL), 0);
	rig_await(rig, rig->probes[0].starts, 1);
	rig_await(rig, rig->probes[1].starts, 1);
	assert_int_equal(rl_system_spawn(rig->sys, 0, &flooder, &rig->probes[2], NULL), 0);
	assert_int_equal(rl_system_spawn(rig->sys, last, &flooder, &rig->probes[3], NULL), 0);
	rig_await_stat(rig, msgs_delivered, 100000);
	rig->restless = true;
	rig_end(rig);
	assert_int_equal(stats->msgs_sent, stats->msgs_delivered + stats->undelivered.full +
						   stats->undelivered.gone +
						   stats->undelivered.stopping);
	assert_int_equal(stats->msgs_delivered, rig->probes[0].users + rig->probes[1].users);
}

/* What is about actors: all of it but rl_actor_become(), which answers nothing. */
static void
assert_actor_verbs_refused(rl_actor_id id, struct probe *probe)
{
	struct rl_request request = { .to = id, .kind = KIND_ASK, .timeout_ns = -1 };
	rl_monitor_id monitor = { 0 };
	rl_request_id asked = { 7 };
	rl_actor_id found = id;
	size_t taken = 7;

	assert_int_equal(rl_actor_send(blocked, id, KIND_ASK, NULL, 0), -EPERM);
	assert_int_equal(rl_actor_send_buf(blocked, id, KIND_ASK, held), -EPERM);
	assert_int_equal(rl_actor_broadcast(blocked, &id, 1, KIND_ASK, held, &taken), -EPERM);
	assert_int_equal(taken, 0);
	assert_int_equal(rl_actor_request(blocked, &request, NULL), -EPERM);
	assert_int_equal(rl_actor_request_cancel(blocked, asked), -EPERM);
	assert_int_equal(rl_actor_reply(blocked, asked, NULL, 0), -EPERM);
	assert_int_equal(rl_actor_reply_failed(blocked, asked, -EIO), -EPERM);
	assert_int_equal(rl_actor_spawn(blocked, &server, probe, NULL), -EPERM);
	assert_int_equal(rl_actor_spawn_on(blocked, 0, &server, probe, NULL), -EPERM);
	assert_int_equal(rl_actor_stop(blocked, id), -EPERM);
	assert_int_equal(rl_actor_monitor(blocked, id, NULL), -EPERM);
	assert_int_equal(rl_actor_demonitor(blocked, monitor), -EPERM);
	assert_int_equal(rl_actor_link(blocked, id_of(probe - 1)), -EPERM);
	assert_int_equal(rl_actor_register(blocked, "name", &asked), -EPERM);
	assert_true(rl_request_id_is_none(asked));
	assert_int_equal(rl_actor_unregister(blocked, "name"), -EPERM);
	assert_int_equal(rl_actor_find(blocked, "name", &found), -EPERM);
	assert_true(rl_actor_id_is_none(found));
}

static void
assert_verbs_refused(rl_actor_id id, struct probe *probe)
{
	struct rl_shard *shard = rl_actor_shard(blocked);
	rl_timer_id timer = { 0 };
	struct rl_buf *buf;
	void *data;

	assert_actor_verbs_refused(id, probe);
	assert_int_equal(rl_timer_start(blocked, 0, 0, NULL), -EPERM);
	assert_int_equal(rl_timer_start_every(blocked, (uint64_t)RL_MS(1), 0, NULL), -EPERM);
	assert_int_equal(rl_timer_cancel(blocked, timer), -EPERM);
	assert_int_equal(rl_shard_send(shard, id, KIND_ASK, NULL, 0), -EPERM);
	assert_int_equal(rl_shard_spawn(shard, &server, probe, NULL), -EPERM);
	assert_int_equal(rl_shard_notify(shard, 0, KIND_BALL, NULL, 0), -EPERM);
	assert_int_equal(rl_buf_take(shard, 1, &buf, &data), -EPERM);
	assert_null(buf);
}

/* Be its handler running at the time, or not. */
static void
call_from_a_wrong_thread_is_eperm(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[1];
	rl_actor_id id;

	assert_int_equal(sem_init(&gate, 0, 0), 0);
	mesh_start(rig, RL_CONFIG());
	id = id_of(probe);
	rig_tell(rig, probe, KIND_BLOCK);
	rig_await(rig, probe->marks[MARK_NOTIFIED], 1);
	assert_verbs_refused(id, probe);
	assert_int_equal(sem_post(&gate), 0);
	/* its shard answers in no handler: that one has returned */
	assert_int_equal(
		rl_system_spawn(rig->sys, rl_actor_id_shard(id), &rig_sink, &rig->probes[2], NULL),
		0);
	assert_verbs_refused(id, probe);
	rig_tell(rig, probe, KIND_RELEASE);
	rig_end(rig);
	assert_int_equal(rig->stats.msgs_sent, 2);
	(void)sem_destroy(&gate);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(request_across_shards_is_answered_in_order),
		rig_case(request_that_fails_says_why),
		rig_case(monitor_across_shards_tells_the_end_once),
		rig_case(link_across_shards_shares_an_abnormal_end),
		rig_case(spawn_on_another_shard_answers_its_id),
		rig_case(drain_in_the_middle_of_a_flood_counts_every_message),
		rig_case(call_from_a_wrong_thread_is_eperm),
	};

	return rig_run("mesh", tests);
}
