/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What shards tell each other, and what their hooks are told.
 */
#include <errno.h>

#include "sim_harness.h"
#include "sim_talk_common.h"

#define HOOK_MAGIC 0x70a57u

struct hook_state {
	_Alignas(64) uint32_t magic;
	uint64_t ticks;
};

int
talk_notify(struct rl_shard *from, uint32_t to)
{
	struct talk_body body;
	uint32_t len;
	uint32_t number = sim_ledger_send(TALKERS_MAX + rl_shard_id(from), TALKERS_MAX + to,
					  TALK_PLAIN, &body, &len);
	int rc;

	if (number == TALK_NONE) {
		return -ENOBUFS;
	}
	talk_spend();
	rc = rl_shard_notify(from, to, TALK_KIND + number, &body, len);
	sim_ledger_sent(number, rc);
	sim_check(rc == 0 || rc == -ENOBUFS || rc == -ESHUTDOWN ||
			  (rc == -EAGAIN && to != rl_shard_id(from)),
		  "rl_shard_notify() answered %d", rc);
	return rc;
}

int
talk_foreign_notify(uint32_t to)
{
	struct talk_body body;
	uint32_t len;
	uint32_t number = sim_ledger_send(TALK_FOREIGN, TALKERS_MAX + to, TALK_PLAIN, &body, &len);
	int rc;

	if (number == TALK_NONE) {
		return -EAGAIN;
	}
	rc = rl_system_notify(sim_system(), to, TALK_KIND + number, &body, len);
	sim_ledger_sent(number, rc);
	sim_check(rc == 0 || rc == -EAGAIN || rc == -ESHUTDOWN, "rl_system_notify() answered %d",
		  rc);
	return rc;
}

void
sim_talk_storm(uint32_t from, uint32_t to)
{
	int rc = rl_system_notify(sim_system(), from, TALK_STORM, &to, sizeof(to));

	sim_check(rc == 0 || rc == -EAGAIN, "a storm answered %d", rc);
}

static struct hook_state *
hook_state(struct rl_shard *shard)
{
	struct hook_state *state = rl_shard_state(shard);

	sim_check(talk.hooks[rl_shard_id(shard)] == TALK_HOOKS_STARTED,
		  "a hook of shard %u before on_start or after on_stop", rl_shard_id(shard));
	sim_check(state->magic == HOOK_MAGIC, "another shard's state");
	return state;
}

static int
hook_start(struct rl_shard *shard, void *arg)
{
	struct hook_state *state = rl_shard_state(shard);

	sim_check(arg == &talk && state->magic == 0 && (uintptr_t)state % 64 == 0,
		  "on_start with another argument or state");
	sim_check(rl_shard_count(shard) == talk.shards, "another number of shards");
	sim_check(talk.hooks[rl_shard_id(shard)] == TALK_HOOKS_NONE, "on_start again");
	talk.hooks[rl_shard_id(shard)] = TALK_HOOKS_STARTED;
	state->magic = HOOK_MAGIC;
	return 0;
}

/* A message to somebody in nobody's name. */
static void
hook_send(struct rl_shard *shard)
{
	const struct talker *to = sim_ledger_any();
	struct talk_body body;
	uint32_t len;
	uint32_t number = sim_ledger_send(TALKERS_MAX + rl_shard_id(shard), sim_ledger_number(to),
					  TALK_PLAIN, &body, &len);
	int rc;

	if (number == TALK_NONE) {
		return;
	}
	rc = rl_shard_send(shard, to->id, TALK_KIND + number, &body, len);
	sim_ledger_sent(number, rc);
	sim_check(rc == 0 || rc == -ENOENT || rc == -EAGAIN || rc == -ENOBUFS || rc == -ESHUTDOWN,
		  "rl_shard_send() answered %d", rc);
}

static void
hook_act(struct rl_shard *shard)
{
	uint32_t to = (uint32_t)sim_below(talk.shards);

	if (sim_below(3) == 0) {
		hook_send(shard);
		return;
	}
	for (uint32_t left = talk_burst(); left > 0; left--) {
		if (talk_notify(shard, to) != 0) {
			return;
		}
	}
}

static void
hook_notify(struct rl_shard *shard, const struct rl_msg *msg)
{
	(void)hook_state(shard);
	if (msg->kind == TALK_STORM) {
		while (talk_notify(shard, *RL_MSG_AS(msg, uint32_t)) == 0) {
		}
		return;
	}
	(void)sim_ledger_arrived(TALKERS_MAX + rl_shard_id(shard), msg);
	if (!talk.healed && sim_chance(talk.echo)) {
		hook_act(shard);
	}
}

static void
hook_tick(struct rl_shard *shard)
{
	hook_state(shard)->ticks++;
	if (!talk.healed && sim_below(128) == 0) {
		hook_act(shard);
	}
}

static void
hook_stop(struct rl_shard *shard)
{
	(void)hook_state(shard);
	talk.hooks[rl_shard_id(shard)] = TALK_HOOKS_STOPPED;
}

const struct rl_shard_def sim_talk_shard = {
	.state_size = sizeof(struct hook_state),
	.on_start = hook_start,
	.on_notify = hook_notify,
	.on_tick = hook_tick,
	.on_stop = hook_stop,
};
