/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: on real threads a name is found on every shard soon after it was registered, and no more
 * soon after its owner ended; actors that fight for names have each at most one owner at a time,
 * and a drain in the middle of that ends as any other.
 * How: actors on all shards that look again and again, with the test's thread as the director.
 * Not proved: every interleaving; test_name.c has random ones.
 */
#include "support.h"

#include <errno.h>

#define FIGHTERS 8 /* per shard */
#define ROUNDS	 2000u /* of all of them */
#define PERIOD	 ((uint64_t)RL_MS(1))

enum {
	KIND_REGISTER = RL_MSG_USER,
	KIND_END,
};

enum {
	MARK_GRANTED,
	MARK_REFUSED,
	MARK_FOUND, /* how many see it now */
	MARK_LOST,
};

/* Replies are none of a probe's kinds. */
static struct probe *
note(struct rl_actor *self, const struct rl_msg *msg)
{
	bool is_reply = msg->kind == RL_MSG_REPLY || msg->kind == RL_MSG_REPLY_FAILED;

	return is_reply ? probe_of(self) : probe_note(self, msg);
}

static int
holder_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = note(self, msg);

	switch (msg->kind) {
	case KIND_REGISTER:
		PROBE_EXPECT(probe, rl_actor_register(self, "holder", NULL) == 0);
		return 0;
	case RL_MSG_REPLY:
		probe_add(probe, &probe->marks[MARK_GRANTED], 1);
		return 0;
	case KIND_END:
		return RL_ACTOR_STOP;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def holder = {
	.name = "holder",
	.receive = holder_receive,
	.state_size = sizeof(struct probed),
};

struct seeker {
	struct probed probed;
	bool found;
};

/* Tells when it begins and when it ceases to find the holder. */
static int
seeker_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	struct seeker *seeker = rl_actor_state(self);
	rl_actor_id id;
	bool found;

	switch (msg->kind) {
	case RL_MSG_START:
		return rl_timer_start_every(self, PERIOD, 0, NULL);
	case RL_MSG_TIMER:
		found = rl_actor_find(self, "holder", &id) == 0;
		if (found != seeker->found) {
			seeker->found = found;
			probe_add(probe, &probe->marks[found ? MARK_FOUND : MARK_LOST], 1);
		}
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def seeker = {
	.name = "seeker",
	.receive = seeker_receive,
	.state_size = sizeof(struct seeker),
};

static void
name_is_found_on_every_shard_until_its_owner_ends(void **state)
{
	struct rig *rig = *state;
	struct probe *seekers = &rig->probes[1];

	rig->restless = true;
	rig_start(rig, RL_CONFIG());
	for (uint32_t i = 0; i < rig->shards; i++) {
		assert_int_equal(rl_system_spawn(rig->sys, i, &seeker, seekers, NULL), 0);
	}
	for (uint32_t i = 0; i < 2 * rig->shards; i++) {
		struct probe *probe = &rig->probes[0];

		assert_int_equal(rl_system_spawn(rig->sys, i % rig->shards, &holder, probe, NULL),
				 0);
		rig_await(rig, probe->starts, i + 1);
		rig_tell(rig, probe, KIND_REGISTER);
		rig_await(rig, probe->marks[MARK_GRANTED], i + 1);
		rig_await(rig, seekers->marks[MARK_FOUND], (uint64_t)rig->shards * (i + 1));
		rig_tell(rig, probe, KIND_END);
		rig_await(rig, seekers->marks[MARK_LOST], (uint64_t)rig->shards * (i + 1));
	}
	rig_end(rig);
	assert_int_equal(rig->stats.names_lost, 0);
}

struct fighter {
	struct probed probed;
	uint32_t step;
	char name[2];
};

/* How many have each name at this moment, which is never more than one. */
static _Atomic int owners[3];

static int
fighter_next(struct rl_actor *self, struct fighter *fighter)
{
	fighter->name[0] = (char)('a' + fighter->step++ % RIG_COUNT(owners));
	return rl_actor_register(self, fighter->name, NULL);
}

/* Registers, is told, gives it back, registers the next one. */
static int
fighter_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = note(self, msg);
	struct fighter *fighter = rl_actor_state(self);
	rl_actor_id id;
	int owner;

	switch (msg->kind) {
	case RL_MSG_START:
		return fighter_next(self, fighter);
	case RL_MSG_REPLY:
		owner = fighter->name[0] - 'a';
		PROBE_EXPECT(probe, atomic_fetch_add(&owners[owner], 1) == 0);
		PROBE_EXPECT(probe, rl_actor_find(self, fighter->name, &id) == 0 &&
					    rl_actor_id_eq(id, rl_actor_self(self)));
		atomic_fetch_sub(&owners[owner], 1);
		PROBE_EXPECT(probe, rl_actor_unregister(self, fighter->name) == 0);
		probe_add(probe, &probe->marks[MARK_GRANTED], 1);
		return fighter_next(self, fighter);
	case RL_MSG_REPLY_FAILED:
		if (msg->reply_failed.error == -ESHUTDOWN) {
			return RL_ACTOR_STOP;
		}
		PROBE_EXPECT(probe, msg->reply_failed.error == -EEXIST);
		probe_add(probe, &probe->marks[MARK_REFUSED], 1);
		return fighter_next(self, fighter);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def fighter = {
	.name = "fighter",
	.receive = fighter_receive,
	.state_size = sizeof(struct fighter),
};

static void
names_that_many_want_have_one_owner_each(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	rig->restless = true;
	rig_start(rig, RL_CONFIG());
	for (uint32_t i = 0; i < rig->shards * FIGHTERS; i++) {
		assert_int_equal(rl_system_spawn(rig->sys, i % rig->shards, &fighter, probe, NULL),
				 0);
	}
	rig_await(rig, probe->marks[MARK_GRANTED], ROUNDS);
	rig_end(rig); /* in the middle of it */
	assert_int_equal(probe->starts, probe->stops);
	assert_int_equal(rig->stats.names_lost, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(name_is_found_on_every_shard_until_its_owner_ends),
		rig_case(names_that_many_want_have_one_owner_each),
	};

	return rig_run("names", tests);
}
