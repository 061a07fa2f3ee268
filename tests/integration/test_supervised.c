/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a connection that is a supervisor's child is opened again, with backoff, after a refusal,
 * a reset and a FIN; a transient one not after a FIN; the drain ends both, and opens none again.
 * How: plain listeners in the test's thread that are there, or not, or go away.
 * Not proved: strategies and times; test_supervisor.c has those.
 */
#include "client.h"

#include <errno.h>

static int
client_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)probe_note(self, msg);
	return msg->kind == RL_MSG_OPEN ? rl_conn_send(self, "hello", 5) : RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def client = {
	.name = "client",
	.receive = client_receive,
	.state_size = sizeof(struct probed),
};

static struct rl_child_def children[1];

static struct rl_supervisor_def supervisor = {
	.name = "clients",
	.restarts_max = -1,
	.backoff_min_ns = RL_MS(1),
	.backoff_max_ns = RL_MS(20),
	.children = children,
	.children_count = 1,
};

/* One client of @url. */
static void
supervise(struct rig *rig, const char *url, enum rl_restart restart)
{
	children[0] = (struct rl_child_def){
		.name = "client",
		.def = &client,
		.arg = &rig->probes[0],
		.url = url,
		.restart = restart,
	};
	rig->restless = true; /* it tries again and again */
	assert_int_equal(rl_system_spawn(rig->sys, 0, &rl_supervisor, &supervisor, NULL), 0);
}

static int
accept_hello(int listener)
{
	int fd = client_accept(listener);

	client_recv_text(fd, "hello");
	return fd;
}

static void
supervised_client_connects_again_when_there_is_a_server(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	const char *url = client_unix_name();
	struct client_addr addr = client_addr(url);
	int listener;
	int fd;

	rig_start(rig, RL_CONFIG());
	supervise(rig, url, RL_PERMANENT);
	rig_await(rig, probe->stopped[RL_REASON_FAILURE], 5);
	assert_int_equal(probe->error, -ECONNREFUSED);
	assert_int_equal(probe->opens, 0);

	listener = client_listen_on(&addr, 16);
	client_close(accept_hello(listener));
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	fd = accept_hello(listener);
	client_close(listener);
	client_close(fd);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 2);
	rig_await(rig, probe->stopped[RL_REASON_FAILURE], 10);

	listener = client_listen_on(&addr, 16);
	fd = accept_hello(listener);
	rl_system_drain(rig->sys);
	client_expect_fin(fd);
	client_close(fd);
	client_close(listener);
	rig_end(rig);
	assert_int_equal(probe->opens, 3);
	assert_int_equal(probe->starts, probe->stops);
}

static void
supervised_client_that_is_transient_is_done_after_a_fin(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int listener = client_listen(rig->url, 16);

	rig_start(rig, RL_CONFIG());
	supervise(rig, rig->url, RL_TRANSIENT);
	client_reset(accept_hello(listener));
	rig_await(rig, probe->stopped[RL_REASON_PEER_RST], 1);
	client_close(accept_hello(listener));
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	rig_let_pass(rig, 100);
	client_close(listener);
	rig_end(rig);
	assert_int_equal(probe->starts, 2);
}

/* The drain comes while a restart is due. */
static void
supervised_client_in_backoff_does_not_hold_up_the_end(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	rig_start(rig, RL_CONFIG());
	supervisor.backoff_min_ns = RL_SEC(100);
	supervisor.backoff_max_ns = RL_SEC(100);
	supervise(rig, client_unix_name(), RL_PERMANENT);
	rig_await(rig, probe->stopped[RL_REASON_FAILURE], 1);
	rig_end(rig);
	assert_int_equal(probe->starts, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(supervised_client_connects_again_when_there_is_a_server),
		rig_case(supervised_client_that_is_transient_is_done_after_a_fin),
		rig_case(supervised_client_in_backoff_does_not_hold_up_the_end),
	};

	return rig_run("supervised", tests);
}
