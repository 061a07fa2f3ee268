/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what several actors broadcast to many on every shard reaches each of them, whole and in
 * the order of each speaker, and all memory is home at the end; a drain waits for a buffer that a
 * program keeps for ever, but not for ever, and a line says so.
 * How: real shards; receivers check every byte, and keep some of the buffers for a while.
 * Not proved: the order of every interleaving; the simulator looks at that.
 */
#include "support.h"

#include <errno.h>
#include <string.h>

#define SPEAKERS  4u
#define LISTENERS 24u
#define TEXTS	  1500u

enum {
	KIND_TEXT = RL_MSG_USER,
	KIND_GO,
};

enum {
	MARK_HEARD,
	MARK_SPOKEN,
};

/* Written before anybody speaks. */
static rl_actor_id audience[LISTENERS];

struct text {
	uint32_t speaker;
	uint32_t number;
	uint32_t len;
	uint8_t filler[];
};

struct listener {
	struct probe *probe;
	uint32_t next[SPEAKERS];
	struct rl_buf *kept;
};

static bool
text_is_whole(const struct text *text, size_t len)
{
	bool whole = text->len == len;

	for (size_t i = 0; i + sizeof(*text) < len; i++) {
		whole = whole && text->filler[i] == (uint8_t)(text->number + i);
	}
	return whole;
}

/* The one that it keeps is looked at again when it is let go. */
static void
listener_keep(struct listener *listener, struct rl_buf *buf)
{
	if (listener->kept != NULL) {
		const struct text *text = (const void *)listener->kept->data;

		PROBE_EXPECT(listener->probe, text_is_whole(text, listener->kept->len));
	}
	rl_buf_release(listener->kept);
	listener->kept = buf == NULL ? NULL : rl_buf_ref(buf);
}

static int
listener_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	struct listener *listener = rl_actor_state(self);
	const struct text *text;
	struct rl_buf *buf;

	if (msg->kind == RL_MSG_STOP) {
		listener_keep(listener, NULL);
		return 0;
	}
	if (msg->kind != KIND_TEXT) {
		return msg->kind == RL_MSG_START ? 0 : RL_ACTOR_UNHANDLED;
	}
	buf = rl_msg_buf(msg);
	text = (const void *)buf->data;
	PROBE_EXPECT(probe, text_is_whole(text, buf->len));
	PROBE_EXPECT(probe, text->number == listener->next[text->speaker]);
	listener->next[text->speaker]++;
	if (text->number % 7 == 0) {
		listener_keep(listener, buf);
	}
	probe_add(probe, &probe->marks[MARK_HEARD], 1);
	return 0;
}

static const struct rl_actor_def listener_def = {
	.name = "listener",
	.receive = listener_receive,
	.state_size = sizeof(struct listener),
};

struct speaker {
	struct probe *probe;
	uint32_t me;
	uint32_t number;
	uint32_t reached; /* of the audience, by the text in hand */
	struct rl_buf *buf;
};

static int
speaker_take(struct rl_actor *self, struct speaker *speaker)
{
	size_t len = sizeof(struct text) + speaker->number * 37 % 3000;
	struct text *text;
	void *data;
	int rc = rl_buf_take(rl_actor_shard(self), len, &speaker->buf, &data);

	if (rc == 0) {
		text = data;
		text->speaker = speaker->me;
		text->number = speaker->number;
		text->len = (uint32_t)len;
		for (size_t i = 0; i + sizeof(*text) < len; i++) {
			text->filler[i] = (uint8_t)(text->number + i);
		}
		speaker->reached = 0;
	}
	return rc;
}

/* Goes on with the text in hand; 0 when all have it. */
static int
speaker_reach(struct rl_actor *self, struct speaker *speaker)
{
	size_t taken;
	int rc = rl_actor_broadcast(self, audience + speaker->reached, LISTENERS - speaker->reached,
				    KIND_TEXT, speaker->buf, &taken);

	speaker->reached += (uint32_t)taken;
	if (rc == 0) {
		rl_buf_release(speaker->buf);
		speaker->buf = NULL;
		speaker->number++;
		probe_add(speaker->probe, &speaker->probe->marks[MARK_SPOKEN], 1);
	}
	return rc;
}

/* When there is no room on the way it goes on at RL_MSG_ROOM, else with a message to itself. */
static int
speaker_speak(struct rl_actor *self, struct speaker *speaker)
{
	int rc = 0;

	if (speaker->number == TEXTS) {
		return 0;
	}
	if (speaker->buf == NULL) {
		rc = speaker_take(self, speaker);
	}
	if (rc == 0) {
		rc = speaker_reach(self, speaker);
	}
	if (rc == -EAGAIN &&
	    rl_actor_id_shard(audience[speaker->reached]) != rl_shard_id(rl_actor_shard(self))) {
		return 0;
	}
	PROBE_EXPECT(speaker->probe, rc == 0 || rc == -EAGAIN);
	return rl_actor_send(self, rl_actor_self(self), KIND_GO, NULL, 0);
}

static int
speaker_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct speaker *speaker = rl_actor_state(self);

	if (msg->kind == RL_MSG_ROOM) { /* which no probe counts */
		return speaker_speak(self, speaker);
	}
	(void)probe_note(self, msg);
	switch (msg->kind) {
	case RL_MSG_START:
		return 0;
	case KIND_GO:
		if (msg->len > 0) {
			speaker->me = *RL_MSG_AS(msg, uint32_t);
		}
		return speaker_speak(self, speaker);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def speaker_def = {
	.name = "speaker",
	.receive = speaker_receive,
	.state_size = sizeof(struct speaker),
};

static void
broadcast_over_shards_reaches_all_in_order(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	rig_start(rig, RL_CONFIG(.mailbox_max = 65536, .bufs_max = 4096));
	for (uint32_t i = 0; i < LISTENERS; i++) {
		assert_int_equal(rl_system_spawn(rig->sys, i % rig->shards, &listener_def, probe,
						 &audience[i]),
				 0);
	}
	for (uint32_t i = 0; i < SPEAKERS; i++) {
		rl_actor_id id;

		assert_int_equal(rl_system_spawn(rig->sys, i % rig->shards, &speaker_def,
						 &rig->probes[1], &id),
				 0);
		assert_int_equal(rl_system_send(rig->sys, id, KIND_GO, &i, sizeof(i)), 0);
	}
	rig_await(rig, rig->probes[1].marks[MARK_SPOKEN], SPEAKERS * TEXTS);
	rig_await(rig, probe->marks[MARK_HEARD], SPEAKERS * TEXTS * LISTENERS);
	rig_end(rig);
	assert_int_equal(rig->stats.shared_bufs_taken, SPEAKERS * TEXTS);
	assert_int_equal(rig->stats.shared_bufs_freed, SPEAKERS * TEXTS);
}

/* Keeps what it gets, beyond its own end. */
static int
keeper_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == KIND_TEXT) {
		(void)rl_buf_ref(rl_msg_buf(msg));
		probe_add(probe, &probe->marks[MARK_HEARD], 1);
		return 0;
	}
	return msg->kind == RL_MSG_START ? 0 : RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def keeper_def = {
	.name = "keeper",
	.receive = keeper_receive,
	.state_size = sizeof(struct probed),
};

/* Sends one to the first of the audience when it is told to. */
static int
giver_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	struct rl_buf *buf;
	void *data;

	if (msg->kind == KIND_GO) {
		PROBE_EXPECT(probe, rl_buf_take(rl_actor_shard(self), 1, &buf, &data) == 0);
		PROBE_EXPECT(probe, rl_actor_send_buf(self, audience[0], KIND_TEXT, buf) == 0);
		return 0;
	}
	return msg->kind == RL_MSG_START ? 0 : RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def giver_def = {
	.name = "giver",
	.receive = giver_receive,
	.state_size = sizeof(struct probed),
};

static void
buf_that_is_kept_for_ever_delays_a_drain_to_its_deadline(void **state)
{
	struct rig *rig = *state;
	uint64_t begin_ns;
	rl_actor_id giver;

	rig_start(rig, RL_CONFIG(.drain_timeout_ns = RL_MS(50)));
	assert_int_equal(rl_system_spawn(rig->sys, rig->shards - 1, &keeper_def, &rig->probes[0],
					 &audience[0]),
			 0);
	assert_int_equal(rl_system_spawn(rig->sys, 0, &giver_def, &rig->probes[1], &giver), 0);
	assert_int_equal(rl_system_send(rig->sys, giver, KIND_GO, NULL, 0), 0);
	rig_await(rig, rig->probes[0].marks[MARK_HEARD], 1);
	begin_ns = rig_now_ns();
	rl_system_drain(rig->sys);
	assert_int_equal(rl_system_run(rig->sys), 0);
	if (rig->shards > 1) { /* else it is away from nobody */
		assert_true(rig_now_ns() - begin_ns >= (uint64_t)RL_MS(50));
	}
	rl_system_stop(rig->sys);
	rig->sys = NULL;
	assert_true(rig->log.lines > 0); /* more, if an actor had no CPU until the deadline */
	rig_forgive_logged(rig, "1 counted buffers of this shard were never released");
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(broadcast_over_shards_reaches_all_in_order),
		rig_case(buf_that_is_kept_for_ever_delays_a_drain_to_its_deadline),
	};

	return rig_run("bufs", tests);
}
