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
	KIND_AWAIT,
	KIND_FIND, /* and await who is found */
};

enum {
	MARK_DOWN,
	MARK_ERROR,
	MARK_REPLY,
	MARK_REFUSED, /* errnos, added up */
	MARK_LISTENER, /* its id */
	MARK_PORT,
};

static char front_url[RL_URL_MAX];
static struct rl_listener_def front;
static const struct rl_listener_def nothing; /* an owner that has no listener */

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
	uint64_t until_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
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
	uint64_t until_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
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
owner_await(struct rl_actor *self, rl_actor_id listener)
{
	struct rl_request request = { .to = listener, .kind = RL_LISTENER_AWAIT, .timeout_ns = -1 };

	return rl_actor_request(self, &request, NULL);
}

static void
owner_answered(struct owner *owner, const struct rl_msg *msg)
{
	struct probe *probe = owner->probe;
	const struct rl_listening *listening = msg->reply.data;

	if (msg->kind == RL_MSG_REPLY_FAILED) {
		probe_add(probe, &probe->marks[MARK_REFUSED], (uint64_t)-msg->reply_failed.error);
		return;
	}
	PROBE_EXPECT(probe, msg->len == sizeof(*listening));
	atomic_store(&probe->marks[MARK_LISTENER], listening->id.private_bits);
	atomic_store(&probe->marks[MARK_PORT], listening->port);
	probe_add(probe, &probe->marks[MARK_REPLY], 1);
}

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
	if (msg->kind == RL_MSG_REPLY || msg->kind == RL_MSG_REPLY_FAILED) {
		owner_answered(owner, msg);
		return 0;
	}
	(void)probe_note(self, msg);
	switch (msg->kind) {
	case RL_MSG_START:
		if (owned == &nothing) {
			return 0;
		}
		rc = rl_actor_spawn(self, &rl_listener, (void *)(uintptr_t)owned, &owner->listener);
		rc = rc != 0 ? rc : rl_actor_monitor(self, owner->listener, NULL);
		return rc != 0 ? rc : owner_await(self, owner->listener);
	case KIND_END:
		return rl_actor_stop(self, owner->listener);
	case KIND_AWAIT:
		return owner_await(self, owner->listener);
	case KIND_FIND:
		if (rl_actor_find(self, "the front", &owner->listener) != 0) {
			probe_add(owner->probe, &owner->probe->marks[MARK_REFUSED], 1);
			return 0;
		}
		return owner_await(self, owner->listener);
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
	rig_await(rig, rig->probes[1].marks[MARK_REFUSED], ENOENT); /* who waited for it */
	assert_int_equal(rig->probes[1].marks[MARK_REPLY], 0);
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

/* The port is the kernel's choice: only who is told can know it. */
static void
listener_actor_answers_when_it_listens(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[1];
	static const char any_port[] = "tcp://127.0.0.1:0";
	char url[RL_URL_MAX];
	int fd;

	front_choose(rig);
	front.url = any_port;
	rig_start(rig, RL_CONFIG());
	own(rig, &front);
	rig_await(rig, probe->marks[MARK_REPLY], 1);
	(void)snprintf(front_url, sizeof(front_url), "tcp://127.0.0.1:%u",
		       (unsigned)probe->marks[MARK_PORT]);
	assert_int_equal(
		rl_listener_url(rig->sys, (rl_listener_id){ probe->marks[MARK_LISTENER] }, url), 0);
	assert_string_equal(url, front_url);
	fd = client_dial(front_url); /* at once: it listens */
	served(fd);
	client_close(fd);
	rig_tell(rig, probe, KIND_AWAIT); /* and who asks later is answered then */
	rig_await(rig, probe->marks[MARK_REPLY], 2);
	rig_tell(rig, probe, KIND_END);
	rig_await(rig, probe->marks[MARK_DOWN], 1);
	rig_tell(rig, probe, KIND_AWAIT);
	rig_await(rig, probe->marks[MARK_REFUSED], ENOENT);
	rig_await(rig, rig->probes[0].stops, rig->probes[0].starts);
	rig_end(rig);
}

/* Found by its name on another shard, also when it is another one after a restart. */
static void
listener_actor_is_found_by_its_name(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[1];
	struct rl_child_def children[] = {
		{ .name = "sibling", .def = &sibling_def, .arg = &rig->probes[2] },
		{ .name = "front", .def = &rl_listener, .arg = &front },
	};
	struct rl_supervisor_def supervisor = {
		.name = "all",
		.strategy = RL_ONE_FOR_ALL,
		.backoff_min_ns = RL_MS(1),
		.children = children,
		.children_count = RIG_COUNT(children),
	};

	rig->restless = true; /* the last restart is under way */
	front_choose(rig);
	front.name = "the front";
	rig_start(rig, RL_CONFIG());
	own(rig, &nothing);
	assert_int_equal(rl_system_spawn(rig->sys, 0, &rl_supervisor, &supervisor, NULL), 0);
	for (uint64_t i = 0; i < 3; i++) {
		rig_await(rig, rig->probes[2].starts, i + 1);
		while (probe->marks[MARK_REPLY] == i) { /* its name may be on its way */
			rig_tell(rig, probe, KIND_FIND);
			rig_let_pass(rig, 1);
		}
		rig_tell(rig, &rig->probes[2], KIND_END);
	}
	rig_end(rig);
}

/* It is refused its name, and does not listen without. */
static void
listener_actor_whose_name_is_taken_ends(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[1];
	struct rl_listener_def other;

	front_choose(rig);
	front.name = "the front";
	other = front;
	other.url = "tcp://127.0.0.1:0";
	rig_start(rig, RL_CONFIG());
	own(rig, &front);
	rig_await(rig, probe->marks[MARK_REPLY], 1);
	own(rig, &other);
	rig_await(rig, probe->marks[MARK_DOWN], 1);
	assert_int_equal(probe->marks[MARK_ERROR], EEXIST);
	rig_assert_logged(rig, "a listener can't have its name");
	rig_end(rig);
}

/* Somebody shuts the listening sockets of this process down. Returns how many there were. */
static uint32_t
sockets_break(void)
{
	uint32_t count = 0;

	for (int fd = 3; fd < 1024; fd++) {
		int listens = 0;
		socklen_t len = sizeof(listens);

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens) {
			assert_int_equal(shutdown(fd, SHUT_RD), 0);
			count++;
		}
	}
	return count;
}

/* A line for each shard that saw it, and none any more once the next one listens. */
static void
forget_lines(struct rig *rig)
{
	(void)pthread_mutex_lock(&rig->log.lock);
	assert_non_null(strstr(rig->log.text, "a listening socket is broken"));
	rig->log.lines = 0;
	(void)pthread_mutex_unlock(&rig->log.lock);
}

/* It ends, with the errno, and is closed on all shards: another one can listen there. */
static void
listener_actor_that_the_kernel_ends_ends(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[1];

	front_choose(rig);
	rig_start(rig, RL_CONFIG());
	own(rig, &front);
	for (uint64_t i = 0; i < 3; i++) {
		int fd;

		rig_await(rig, probe->marks[MARK_REPLY], i + 1);
		fd = client_dial(front_url);
		served(fd);
		assert_true(sockets_break() > 0);
		rig_await(rig, probe->marks[MARK_DOWN], i + 1);
		assert_int_equal(probe->marks[MARK_ERROR], (i + 1) * EINVAL);
		served(fd); /* its connections live on */
		client_close(fd);
		own(rig, &front);
	}
	rig_await(rig, probe->marks[MARK_REPLY], 4);
	forget_lines(rig);
	rig_await(rig, rig->probes[0].stops, rig->probes[0].starts);
	rig_end(rig);
}

/* Under a supervisor it listens again. */
static void
listener_actor_that_the_kernel_ends_is_restarted(void **state)
{
	struct rig *rig = *state;
	struct rl_child_def child = { .name = "front", .def = &rl_listener, .arg = &front };
	struct rl_supervisor_def supervisor = {
		.name = "one",
		.backoff_min_ns = RL_MS(1),
		.children = &child,
		.children_count = 1,
	};

	front_choose(rig);
	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_system_spawn(rig->sys, 0, &rl_supervisor, &supervisor, NULL), 0);
	for (uint32_t i = 0; i < 3; i++) {
		client_close(dial_patiently(rig));
		assert_true(sockets_break() > 0); /* from here on clients are refused */
	}
	client_close(dial_patiently(rig));
	forget_lines(rig);
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

/* Has one on each shard; the last one fails then. */
static int
failing_on_start(struct rl_shard *shard, void *arg)
{
	if (rl_shard_spawn(shard, &rl_listener, arg, NULL) != 0) {
		return -EIO;
	}
	return rl_shard_id(shard) + 1 == rl_shard_count(shard) ? -EXDEV : 0;
}

static void
silent_log(void *arg, enum rl_log_level level, int shard, const char *text)
{
	(void)arg;
	(void)level;
	(void)shard;
	(void)text;
}

/* Nobody would answer who opens a listener of a system that does not start. */
static void
start_that_fails_opens_none(void **state)
{
	static const struct rl_shard_def def = { .on_start = failing_on_start };
	struct rl_config config = RL_CONFIG(.shard = &def, .shard_arg = &front, .log = silent_log);
	struct rl_system *sys = NULL;

	(void)state;
	client_close(client_listen(front_url, 1));
	front = (struct rl_listener_def){ .url = front_url, .def = &rig_echo };
	assert_int_equal(rl_system_start(&config, &sys), -EXDEV);
	assert_true(rig_threads_are_gone());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(listener_actor_listens_until_it_ends),
		rig_case(listener_actor_that_can_not_listen_ends_with_the_errno),
		rig_case(listener_actor_is_restarted_with_its_siblings),
		rig_case(listener_actor_answers_when_it_listens),
		rig_case(listener_actor_is_found_by_its_name),
		rig_case(listener_actor_whose_name_is_taken_ends),
		rig_case(listener_actor_that_the_kernel_ends_ends),
		rig_case(listener_actor_that_the_kernel_ends_is_restarted),
		rig_case(drain_in_the_middle_of_opening_ends),
		cmocka_unit_test(start_that_fails_opens_none),
	};

	return rig_run("listener_actor", tests);
}
