/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_front.h"

#include <errno.h>

#include <ringline/ringline.h>

#include "sim_actor.h"
#include "sim_harness.h"
#include "sim_world.h"

/* It lives for a while, mostly short, as long as there are faults. */
static int
killer_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	uint64_t most = (uint64_t)(sim_coin() ? RL_MS(1) : RL_MS(100));

	if (msg->kind == RL_MSG_START) {
		int rc = rl_timer_start(self, sim_below(most), 0, NULL);

		return rc == -ENOBUFS ? 0 : rc;
	}
	if (msg->kind == RL_MSG_TIMER) {
		return sim_world.healed ? 0 : -EIO;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def killer_def = { .name = "killer", .receive = killer_receive };

static const struct rl_listener_def fronts[] = {
	{ .url = "unix:@front", .def = &sim_server_def },
	{ .url = "tcp://127.0.0.1:9101", .def = &sim_server_def },
	{ .url = "tcp://127.0.0.1:9101", .def = &sim_server_def }, /* the port is taken */
};

static const struct rl_child_def children[] = {
	{ .name = "killer", .def = &killer_def },
	{ .name = "unix", .def = &rl_listener, .arg = (void *)(uintptr_t)&fronts[0] },
	{ .name = "tcp", .def = &rl_listener, .arg = (void *)(uintptr_t)&fronts[1] },
	{ .name = "again", .def = &rl_listener, .arg = (void *)(uintptr_t)&fronts[2] },
};

static const struct rl_supervisor_def front_def = {
	.name = "front",
	.strategy = RL_ONE_FOR_ALL,
	.restarts_max = -1,
	.backoff_min_ns = RL_MS(1),
	.backoff_max_ns = RL_MS(20),
	.children = children,
	.children_count = sizeof(children) / sizeof(children[0]),
};

void
sim_front_spawn(void)
{
	uint32_t shard = (uint32_t)sim_below(sim_config()->shards);
	int rc;

	if (sim_below(4) != 0) {
		return;
	}
	rc = rl_system_spawn(sim_system(), shard, &rl_supervisor, (void *)(uintptr_t)&front_def,
			     NULL);
	sim_check(rc == 0 || rc == -ENOMEM || rc == -ENOBUFS, "rl_system_spawn() answered %d", rc);
}
