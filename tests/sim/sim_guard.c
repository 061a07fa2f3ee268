/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The supervisors are the library's own, each within a receive function that looks at what comes
 * and at what is answered. Each has one child, so every failure is seen: its RL_MSG_DOWN, or a
 * start that took no monitor.
 */
#include "sim_guard.h"

#include <errno.h>
#include <string.h>

#include <ringline/ringline.h>

#include "actor/actor.h"
#include "shard/shard.h"

#include "sim_front.h"
#include "sim_harness.h"
#include "sim_world.h"

#define GUARD_SEEDS 4 /* one in so many has them */
#define GUARDS	    2

struct guard {
	rl_actor_id id;
	bool ending; /* no failure counts any more */
	bool owed; /* it gave up, and its supervisor does not know yet */
	uint32_t failures; /* that were followed by a restart */
	uint64_t at_ns[RL_RESTARTS_MAX]; /* the last of them, failure n at n % RL_RESTARTS_MAX */
};

static struct guard guards[GUARDS];
static bool top_lives;

static int
faulty_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	return sim_mortal_receive(self, msg, RL_MS(20));
}

static const struct rl_actor_def faulty_def = { .name = "faulty", .receive = faulty_receive };
static const struct rl_child_def faulty = { .name = "faulty", .def = &faulty_def };

static const struct rl_supervisor_def guard_defs[GUARDS] = {
	{
		.name = "narrow",
		.restarts_max = 2,
		.window_ns = RL_MS(15),
		.backoff_min_ns = RL_MS(1),
		.backoff_max_ns = RL_MS(4),
		.children = &faulty,
		.children_count = 1,
	},
	{
		.name = "wide",
		.restarts_max = 5,
		.window_ns = RL_MS(60),
		.backoff_min_ns = -1,
		.backoff_max_ns = RL_MS(4),
		.children = &faulty,
		.children_count = 1,
	},
};

static struct guard *
guard_of(rl_actor_id id)
{
	for (uint32_t i = 0; i < GUARDS; i++) {
		if (rl_actor_id_eq(guards[i].id, id)) {
			return &guards[i];
		}
	}
	return NULL;
}

static struct guard *
guard_begin(rl_actor_id id, const struct rl_supervisor_def *def)
{
	struct guard *guard = &guards[def - guard_defs];

	sim_check(!guard->owed, "supervisor \"%s\" is back, and nobody was told that it gave up",
		  def->name);
	*guard = (struct guard){ .id = id };
	return guard;
}

/* It fails now: is that one restart more in its window, or one too many? */
static bool
guard_may_restart(struct guard *guard, uint64_t now_ns)
{
	const struct rl_supervisor_def *def = &guard_defs[guard - guards];
	uint32_t recent = 0;

	for (uint32_t i = 1; i <= guard->failures && i <= (uint32_t)def->restarts_max; i++) {
		uint64_t at_ns = guard->at_ns[(guard->failures - i) % RL_RESTARTS_MAX];

		recent += now_ns - at_ns < (uint64_t)def->window_ns;
	}
	if (recent == (uint32_t)def->restarts_max) {
		return false;
	}
	guard->at_ns[guard->failures++ % RL_RESTARTS_MAX] = now_ns;
	return true;
}

/* Its child failed in the handler that gave @answer. */
static void
guard_check_failed(struct guard *guard, uint64_t now_ns, int answer)
{
	const char *name = guard_defs[guard - guards].name;

	if (guard_may_restart(guard, now_ns)) {
		/* without a timer for the delay it can't go on */
		sim_check(answer == 0 || answer == -ENOBUFS,
			  "supervisor \"%s\" could restart after failure %u, and answered %d", name,
			  guard->failures, answer);
		guard->ending = answer != 0;
		return;
	}
	sim_check(answer == -ECANCELED,
		  "supervisor \"%s\" should give up after %u restarts, and answered %d", name,
		  guard->failures, answer);
	sim_event("gives up", (int64_t)(guard - guards), guard->failures);
	guard->ending = true;
	guard->owed = true;
}

static int
guard_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	const struct rl_shard *shard = rl_actor_shard(self);
	const struct slab *monitors = &shard->actors->leases;
	struct guard *guard = msg->kind == RL_MSG_START
				      ? guard_begin(rl_actor_self(self), msg->start.arg)
				      : guard_of(rl_actor_self(self));
	bool starts = (msg->kind == RL_MSG_START || msg->kind == RL_MSG_TIMER) &&
		      !shard->actors->draining && self->life != ACTOR_ENDING;
	uint32_t taken = monitors->taken;
	int answer = rl_supervisor.receive(self, msg);

	/* NULL: there was no monitor for it, so another has its place already */
	if (guard == NULL || guard->ending || msg->kind == RL_MSG_STOP) {
		return answer;
	}
	if (msg->kind == RL_MSG_SHUTDOWN) {
		guard->ending = true;
	} else if (msg->kind == RL_MSG_DOWN || (starts && monitors->taken == taken)) {
		guard_check_failed(guard, rl_shard_now_ns(shard), answer);
	} else {
		sim_check(answer != -ECANCELED, "a supervisor gives up without a failure");
	}
	return answer;
}

/* It has no limit itself, so they always come back. */
static int
top_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct guard *guard = msg->kind == RL_MSG_DOWN ? guard_of(msg->down.actor) : NULL;

	if (guard != NULL && guard->owed) {
		sim_check(msg->down.reason == RL_REASON_FAILURE && msg->down.error == -ECANCELED,
			  "a supervisor gave up, and its own was told %s, %d",
			  rl_reason_name(msg->down.reason), msg->down.error);
		guard->owed = false;
	}
	top_lives = msg->kind != RL_MSG_STOP;
	return rl_supervisor.receive(self, msg);
}

void
sim_guard_spawn(void)
{
	static struct rl_actor_def guard_def = { .name = "guard", .receive = guard_receive };
	static struct rl_actor_def top_def = { .name = "top", .receive = top_receive };
	static const struct rl_child_def children[GUARDS] = {
		{ .name = "narrow", .def = &guard_def, .arg = (void *)(uintptr_t)&guard_defs[0] },
		{ .name = "wide", .def = &guard_def, .arg = (void *)(uintptr_t)&guard_defs[1] },
	};
	static const struct rl_supervisor_def top = {
		.name = "top",
		.restarts_max = -1,
		.backoff_min_ns = RL_MS(1),
		.backoff_max_ns = RL_MS(2),
		.children = children,
		.children_count = GUARDS,
	};
	int rc;

	top_lives = false;
	memset(guards, 0, sizeof(guards));
	if (sim_world.seed % GUARD_SEEDS != 0) {
		return;
	}
	guard_def.state_size = rl_supervisor.state_size;
	top_def.state_size = rl_supervisor.state_size;
	rc = rl_system_spawn(sim_system(), (uint32_t)sim_below(sim_config()->shards), &top_def,
			     (void *)(uintptr_t)&top, NULL);
	sim_check(rc == 0 || rc == -ENOMEM || rc == -ENOBUFS, "rl_system_spawn() answered %d", rc);
}

void
sim_guard_check(void)
{
	for (uint32_t i = 0; i < GUARDS; i++) {
		sim_check(!top_lives || !guards[i].owed,
			  "supervisor \"%s\" gave up, and its own was not told",
			  guard_defs[i].name);
	}
}
