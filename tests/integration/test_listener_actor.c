/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a listener that an actor has listens until the actor ends, and its connections live on;
 * under a supervisor it closes and opens with its siblings; one that can't listen ends with the
 * errno; a drain ends them, also in the middle of opening.
 * How: plain clients on real sockets; the supervisor's strategies are test_supervisor.c's.
 * Not proved: every order of opening, closing and draining; the simulator draws those.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ringline/monitor.h>
#include <ringline/supervisor.h>

enum {
	KIND_END = RL_MSG_USER,
};

enum {
	MARK_DOWN,
	MARK_ERROR,
};

static char front_url[RL_URL_MAX];
static struct rl_listener_def front;

/* A free port; the next test gets another one. */
static void
front_choose(struct rig *rig)
{
	client_close(client_listen(front_url, 1));
	front = (struct rl_listener_def){
		.url = front_url,
		.def = &rig_echo,
		.options = { .arg = &rig->probes[0] },
	};
}

static void
served(int fd)
{
	client_send_text(fd, "served?");
	client_recv_text(fd, "served?");
}

/* Something came back, and not the end of a listener that was closing just then. */
static bool
is_served(int fd)
{
	char text[8];

	return send(fd, "served?", 7, MSG_NOSIGNAL) == 7 &&
	       client_recv_some(fd, text, sizeof(text)) == 7;
}

/* A client of the listener, as soon as it listens. */
static int
dial_patiently(struct rig *rig)
{
	uint64_t until_ns = rig_now_ns() + (uint64_t)RL_SEC(10);
	int fd;

	while ((fd = client_try(front_url)) < 0 || !is_served(fd)) {
		if (fd >= 0) {
			client_close(fd);
		}
		assert_true(rig_now_ns() < until_ns);
		rig_let_pass(rig, 1);
	}
	return fd;
}

/* Until nobody listens any more. */
static void
await_refusal(struct rig *rig)
{
	uint64_t until_ns = rig_now_ns() + (uint64_t)RL_SEC(10);
	int fd;

	while ((fd = client_try(front_url)) != -ECONNREFUSED) {
		if (fd >= 0) {
			client_close(fd); /* else it was reset with the backlog */
		}
		assert_true(rig_now_ns() < until_ns);
		rig_let_pass(rig, 1);
	}
}

/* Has a listener of its own, with the argument that it was given, and watches it. */
struct owner {
	struct probe *probe;
	rl_actor_id listener;
};

static const struct rl_listener_def *owned;

static int
owner_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct owner *owner = rl_actor_state(self);
	int rc = 0;

	if (msg->kind == RL_MSG_DOWN) {
		probe_add(owner->probe, &owner->probe->marks[MARK_ERROR],
			  (uint64_t)-msg->down.error);
		probe_add(owner->probe, &owner->probe->marks[MARK_DOWN], 1);
		return 0;
	}
	(void)probe_note(self, msg);
	switch (msg->kind) {
	case RL_MSG_START:
		rc = rl_actor_spawn(self, &rl_listener, (void *)(uintptr_t)owned, &owner->listener);
		return rc != 0 ? rc : rl_actor_monitor(self, owner->listener, NULL);
	case KIND_END:
		return rl_actor_stop(self, owner->listener);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def owner_def = {
	.name = "owner",
	.receive = owner_receive,
	.state_size = sizeof(struct owner),
};

static void
own(struct rig *rig, const struct rl_listener_def *def)
{
	owned = def;
	assert_int_equal(
		rl_system_spawn(rig->sys, rig->shards - 1, &owner_def, &rig->probes[1], NULL), 0);
}

static void
listener_actor_listens_until_it_ends(void **state)
{
	struct rig *rig = *state;
	int fd;

	front_choose(rig);
	rig_start(rig, RL_CONFIG());
	own(rig, &front);
	fd = dial_patiently(rig);
	rig_tell(rig, &rig->probes[1], KIND_END);
	rig_await(rig, rig->probes[1].marks[MARK_DOWN], 1);
	assert_int_equal(rig->probes[1].marks[MARK_ERROR], 0);
	await_refusal(rig);
	served(fd); /* it lives on */
	client_close(fd);
	rig_await(rig, rig->probes[0].stops, rig->probes[0].starts);
	rig_end(rig);
}

/* Somebody else has the port. */
static void
listener_actor_that_can_not_listen_ends_with_the_errno(void **state)
{
	struct rig *rig = *state;
	int taken;

	front_choose(rig);
	taken = client_listen(front_url, 1);
	rig_start(rig, RL_CONFIG());
	own(rig, &front);
	rig_await(rig, rig->probes[1].marks[MARK_DOWN], 1);
	assert_int_equal(rig->probes[1].marks[MARK_ERROR], EADDRINUSE);
	rig_assert_logged(rig, "another program listens there");
	own(rig, NULL);
	rig_await(rig, rig->probes[1].marks[MARK_DOWN], 2);
	assert_int_equal(rig->probes[1].marks[MARK_ERROR], EADDRINUSE + EINVAL);
	rig_assert_logged(rig, "a listener needs a struct rl_listener_def");
	client_close(taken);
	rig_end(rig);
}

/* Fails when it is told to. */
static int
sibling_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)probe_note(self, msg);
	if (msg->kind == KIND_END) {
		return -EIO;
	}
	return msg->kind == RL_MSG_START ? 0 : RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def sibling_def = {
	.name = "sibling",
	.receive = sibling_receive,
	.state_size = sizeof(struct probed),
};

static void
listener_actor_is_restarted_with_its_siblings(void **state)
{
	struct rig *rig = *state;
	struct rl_child_def children[] = {
		{ .name = "sibling", .def = &sibling_def, .arg = &rig->probes[1] },
		{ .name = "front", .def = &rl_listener, .arg = &front },
	};
	struct rl_supervisor_def supervisor = {
		.name = "all",
		.strategy = RL_ONE_FOR_ALL,
		.backoff_min_ns = RL_MS(1),
		.children = children,
		.children_count = RIG_COUNT(children),
	};
	int fds[4];

	front_choose(rig);
	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_system_spawn(rig->sys, 0, &rl_supervisor, &supervisor, NULL), 0);
	for (uint64_t i = 0; i < RIG_COUNT(fds); i++) {
		rig_await(rig, rig->probes[1].starts, i + 1);
		fds[i] = dial_patiently(rig);
		rig_tell(rig, &rig->probes[1], KIND_END);
	}
	rig_await(rig, rig->probes[1].starts, RIG_COUNT(fds) + 1);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		served(fds[i]); /* whatever became of the listener */
		client_close(fds[i]);
	}
	rig_await(rig, rig->probes[0].stops, rig->probes[0].starts);
	rig_end(rig);
}

/* Whatever has become of the opening by then. */
static void
drain_in_the_middle_of_opening_ends(void **state)
{
	struct rig *rig = *state;

	rig->restless = true; /* it may be at it */
	front_choose(rig);
	rig_start(rig, RL_CONFIG());
	own(rig, &front);
	rl_system_drain(rig->sys);
	assert_int_equal(rl_system_run(rig->sys), 0);
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(listener_actor_listens_until_it_ends),
		rig_case(listener_actor_that_can_not_listen_ends_with_the_errno),
		rig_case(listener_actor_is_restarted_with_its_siblings),
		rig_case(drain_in_the_middle_of_opening_ends),
	};

	return rig_run("listener_actor", tests);
}
