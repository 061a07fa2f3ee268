/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_front.h"

#include <errno.h>
#include <string.h>

#include <ringline/ringline.h>

#include "net/acceptor.h"
#include "net/net.h"

#include "sim_actor.h"
#include "sim_guard.h"
#include "sim_harness.h"
#include "sim_kernel.h"
#include "sim_world.h"

#define FRONT_PORT 9101 /* as in their URLs */

int
sim_mortal_receive(struct rl_actor *self, const struct rl_msg *msg, int64_t most_ns)
{
	uint64_t most = (uint64_t)(sim_coin() ? RL_MS(1) : most_ns);

	if (msg->kind == RL_MSG_START) {
		int rc = rl_timer_start(self, sim_below(most), 0, NULL);

		return rc == -ENOBUFS ? 0 : rc;
	}
	if (msg->kind == RL_MSG_TIMER) {
		return sim_world.healed ? 0 : -EIO;
	}
	return RL_ACTOR_UNHANDLED;
}

static int
killer_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	return sim_mortal_receive(self, msg, RL_MS(100));
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

/* Without the last one, which never comes to rest. */
static const struct rl_supervisor_def calm_def = {
	.name = "calm",
	.strategy = RL_REST_FOR_ONE,
	.restarts_max = -1,
	.backoff_min_ns = RL_MS(1),
	.backoff_max_ns = RL_MS(20),
	.children = children,
	.children_count = sizeof(children) / sizeof(children[0]) - 1,
};

static void
front_spawn(void)
{
	const struct rl_supervisor_def *def = sim_coin() ? &front_def : &calm_def;
	uint32_t shard = (uint32_t)sim_below(sim_config()->shards);
	int rc;

	if (sim_below(4) != 0) {
		return;
	}
	rc = rl_system_spawn(sim_system(), shard, &rl_supervisor, (void *)(uintptr_t)def, NULL);
	sim_check(rc == 0 || rc == -ENOMEM || rc == -ENOBUFS, "rl_system_spawn() answered %d", rc);
}

void
sim_front_spawn(void)
{
	front_spawn();
	sim_guard_spawn();
}

static bool
front_has(const struct sk_sock *sock)
{
	if (sock->state != SK_LISTEN) {
		return false;
	}
	return sock->is_unix ? memcmp(sock->local.un.sun_path, "\0front", 6) == 0
			     : sk_addr_port(&sock->local) == FRONT_PORT;
}

void
sim_front_break(void)
{
	struct sk_sock *found = NULL;
	struct list_node *node;
	uint32_t count = 0;

	for (node = sk.socks.head.next; node != &sk.socks.head; node = node->next) {
		struct sk_sock *sock = list_entry(node, struct sk_sock, node);

		if (front_has(sock) && sim_below(++count) == 0) {
			found = sock;
		}
	}
	if (found != NULL && sim_fault(FAULT_LISTENER_BREAKS)) {
		sk_listener_break(found);
	}
}

static void
front_check_listens(uint32_t number)
{
	const struct acceptor *acceptor = sim_system()->acceptor;

	sim_check(acceptor == NULL || acceptor->listeners[number].fd >= 0,
		  "a listener's actor has outlived the acceptor's socket");
	for (uint32_t i = 0; i < sim_config()->shards; i++) {
		sim_check(sim_on(i)->net->listeners[number].state == LISTENER_OPEN,
			  "a listener's actor has outlived the socket of shard %u", i);
	}
}

void
sim_front_check(void)
{
	for (uint32_t i = 0; i < CLERK_JOBS; i++) {
		const struct clerk_job *job = &sim_system()->clerk.jobs[i];

		if (job->state == CLERK_OPEN) {
			front_check_listens(id_slot(job->id.private_bits));
		}
	}
	sim_guard_check();
}
