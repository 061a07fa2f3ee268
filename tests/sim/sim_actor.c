/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What all simulated actors have in common: the order of their messages, numbers, timers.
 */
#include "sim_actor.h"

#include <errno.h>
#include <string.h>

#include "sim_actor_common.h"
#include "sim_resolver.h"
#include "sim_world.h"

static struct sim_actor actors[SIM_ACTORS_MAX];
static uint32_t actors_count;
static bool actors_healed;
static bool actors_memory_may_fail;

void
sim_actors_reset(void)
{
	actors_count = 0;
	actors_healed = false;
	actors_memory_may_fail = false;
}

uint32_t
sim_actors_count(void)
{
	return actors_count;
}

struct sim_actor *
sim_actor(uint32_t i)
{
	return &actors[i];
}

uint32_t
sim_actors_live(void)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < actors_count; i++) {
		live += !actors[i].stopped;
	}
	return live;
}

void
sim_actors_check_stopped(void)
{
	for (uint32_t i = 0; i < actors_count; i++) {
		sim_check(actors[i].stopped, "INV-3: actor %u (%s) got no RL_MSG_STOP", i,
			  actors[i].def->name);
	}
}

void
sim_actors_heal(void)
{
	actors_healed = true;
}

void
sim_actors_memory_may_fail(bool may)
{
	actors_memory_may_fail = may;
}

bool
sim_actors_memory_fails(void)
{
	return actors_memory_may_fail;
}

bool
common_may(uint32_t chance)
{
	return !actors_healed && sim_chance(chance);
}

/* ---- timers (INV-9) */

void
common_timer_start(struct rl_actor *self, struct common *common)
{
	uint64_t now_ns = rl_shard_now_ns(rl_actor_shard(self));
	struct common_timer *timer = NULL;
	bool every = sim_below(8) == 0;
	uint64_t delay_ns;
	int rc;

	for (uint32_t i = 0; i < COMMON_TIMERS && timer == NULL; i++) {
		if (!common->timers[i].armed) {
			timer = &common->timers[i];
		}
	}
	if (timer == NULL) {
		return;
	}
	switch (sim_below(4)) {
	case 0:
		delay_ns = sim_below(2);
		break;
	case 1:
		delay_ns = sim_below((uint64_t)RL_MS(1));
		break;
	default:
		delay_ns = sim_below((uint64_t)RL_MS(50));
		break;
	}
	timer->tag = ++common->tag_next;
	timer->every = every;
	if (every) {
		delay_ns = (uint64_t)RL_MS(1) + delay_ns;
		rc = rl_timer_start_every(self, delay_ns, timer->tag, &timer->id);
	} else {
		rc = rl_timer_start(self, delay_ns, timer->tag, &timer->id);
	}
	sim_check(rc == 0 || rc == -ENOBUFS || rc == -ESHUTDOWN, "a timer was not started: %d", rc);
	timer->armed = rc == 0;
	timer->due_ns = now_ns + delay_ns;
	timer->started_turn_ns = now_ns;
}

void
common_timer_cancel(struct rl_actor *self, struct common *common)
{
	struct common_timer *timer = &common->timers[sim_below(COMMON_TIMERS)];
	int rc;

	if (timer->tag == 0) {
		return;
	}
	rc = rl_timer_cancel(self, timer->id);
	sim_check(rc == (timer->armed ? 0 : -ENOENT), "INV-9: a cancel answered %d, armed %d", rc,
		  timer->armed);
	timer->armed = false;
}

static void
common_timer_came(struct rl_actor *self, struct common *common, const struct rl_msg *msg)
{
	uint64_t now_ns = rl_shard_now_ns(rl_actor_shard(self));
	struct common_timer *timer = NULL;

	for (uint32_t i = 0; i < COMMON_TIMERS; i++) {
		if (common->timers[i].armed && common->timers[i].tag == msg->timer.tag) {
			timer = &common->timers[i];
		}
	}
	sim_check(timer != NULL, "INV-9: a timer came that is not armed (tag %llu)",
		  (unsigned long long)msg->timer.tag);
	sim_check(now_ns >= timer->due_ns, "INV-9: a timer came %llu ns early",
		  (unsigned long long)(timer->due_ns - now_ns));
	if (timer->every) {
		timer->due_ns += (uint64_t)RL_MS(1);
		if (sim_below(3) == 0 || actors_healed) {
			sim_check(rl_timer_cancel(self, timer->id) == 0,
				  "INV-9: a periodic timer can't be cancelled from its message");
			timer->armed = false;
		}
	} else {
		timer->armed = false;
	}
}

/* ---- every message */

static void
common_start(struct rl_actor *self, struct common *common, const struct rl_actor_def *def)
{
	const uint8_t *bytes = (const uint8_t *)common;

	for (size_t i = 0; i < sizeof(*common); i++) {
		sim_check(bytes[i] == 0, "INV-3: an actor's state does not begin with zeros");
	}
	sim_check(actors_count < SIM_ACTORS_MAX, "more actors than the simulation remembers");
	common->actor = &actors[actors_count++];
	memset(common->actor, 0, sizeof(*common->actor));
	common->actor->id = rl_actor_self(self);
	common->actor->def = def;
	common->actor->started = true;
}

static void
common_number(struct common *common, const struct rl_msg *msg)
{
	struct sim_number number;

	sim_check(msg->len == sizeof(number), "INV-4: a message of another length");
	memcpy(&number, msg->user.data, sizeof(number));
	sim_check(number.target == (uint32_t)(common->actor - actors),
		  "INV-6: a message to actor %u was delivered to actor %u", number.target,
		  (uint32_t)(common->actor - actors));
	sim_check(number.number > common->actor->last_number, "INV-4: message %llu came after %llu",
		  (unsigned long long)number.number,
		  (unsigned long long)common->actor->last_number);
	common->actor->last_number = number.number;
}

void
common_message(struct rl_actor *self, struct common *common, const struct rl_msg *msg,
	       const struct rl_actor_def *def)
{
	sim_event("actor", msg->kind,
		  common->actor == NULL ? -1 : (int64_t)(common->actor - actors));
	if (sim_below(8) == 0) {
		sim_resolver_interleave(); /* other threads don't wait for handlers */
	}
	if (msg->kind == RL_MSG_START) {
		common_start(self, common, def);
		return;
	}
	sim_check(common->actor != NULL, "INV-3: message %u before RL_MSG_START", msg->kind);
	sim_check(!common->actor->stopped, "INV-3: message %u after RL_MSG_STOP", msg->kind);
	sim_check(rl_actor_id_eq(common->actor->id, rl_actor_self(self)), "INV-6: another id");
	sim_check(!common->ended || msg->kind == RL_MSG_STOP,
		  "INV-3: message %u after the end was decided", msg->kind);
	switch (msg->kind) {
	case RL_MSG_STOP:
		common->actor->stopped = true;
		break;
	case RL_MSG_TIMER:
		common_timer_came(self, common, msg);
		break;
	case SIM_KIND_NUMBER:
		common_number(common, msg);
		break;
	default:
		break;
	}
}
