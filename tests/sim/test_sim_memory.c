/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What runs out: the n-th request for memory fails, for every n, once or from then on. Nothing
 * leaks, nobody hangs, and the system serves again when memory is back. And a completion that the
 * kernel dropped ends the process, loudly.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim_harness.h"
#include "sim_host.h"
#include "sim_scene.h"

#define CALLS_MAX 2000

static int
on_any(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	int rc;

	(void)scene;
	switch (msg->kind) {
	case RL_MSG_OPEN:
		rc = rl_timer_start(self, (uint64_t)RL_MS(5), 1, NULL);
		return rc == -ENOBUFS ? 0 : rc;
	case RL_MSG_RECV:
		if (msg->recv.len > 3) {
			rl_conn_consumed(self, msg->recv.len - 1); /* a leftover needs memory */
		}
		rc = rl_conn_send(self, msg->recv.data, msg->recv.len);
		return rc == RL_CONN_SEND_HIGH || rc == -ESHUTDOWN ? 0 : rc;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

/* Connect, talk, be silent, leave; whatever fails on the way. */
static void
visit(struct scene *scene)
{
	struct sk_sock *peer = scene_connect(scene);

	(void)scene_write(peer, "some bytes");
	sim_advance_ns((uint64_t)RL_MS(10));
	(void)scene_drain(peer);
	(void)scene_write(peer, "and more");
	sim_settle();
	(void)scene_drain(peer);
	scene_close(peer);
}

/* Returns false when no request failed: there are fewer than @n. */
static bool
scenario(uint64_t n, bool from_then_on)
{
	struct rl_config config =
		RL_CONFIG(.shards = 2, .sq_entries = 64, .cq_entries = 256, .conns_max = 8,
			  .recv_buffers = 8, .recv_buffer_bytes = 1024);
	struct rl_listener_options options = { 0 };
	struct scene scene = { .on = on_any };
	struct sk_sock *peer;
	rl_actor_id id;
	char text[32];
	int rc;

	sim_begin(n + 1);
	sim_host_fail_at(n, from_then_on);
	rc = sim_start(&config);
	if (rc != 0) {
		assert_int_equal(rc, -ENOMEM);
		sim_finish(false);
		return true;
	}
	rc = rl_system_spawn(sim_system(), 1, &scene_def, &scene, &id);
	assert_true(rc == 0 || rc == -ENOMEM || rc == -ENOBUFS);
	options.arg = &scene;
	if (rl_listener_open(sim_system(), "tcp://127.0.0.1:0", &scene_def, &options,
			     &scene.listener) != 0) {
		assert_true(sim_host_calls() > n);
		sim_host_fail_at(UINT64_MAX, false);
		scene_listen(&scene, "tcp://127.0.0.1:0", NULL);
	}
	sk_addr_tcp(&scene.addr, &scene.addr_len, 40000);
	visit(&scene);
	visit(&scene);

	/* memory is back: so is the service */
	rc = sim_host_calls() > n;
	sim_host_fail_at(UINT64_MAX, false);
	scene_listen(&scene, "tcp://127.0.0.1:0", NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "ok");
	sim_settle();
	assert_int_equal(scene_read(peer, text, sizeof(text)), 2);
	scene_close(peer);
	scene_end();
	return rc != 0;
}

static void
memory_nth_request_fails_once(void **state)
{
	uint64_t n = 0;

	(void)state;
	while (scenario(n, false)) {
		n++;
		assert_true(n < CALLS_MAX);
	}
	assert_true(n > 50);
}

static void
memory_is_gone_from_the_nth_request_on(void **state)
{
	uint64_t n = 0;

	(void)state;
	while (scenario(n, true)) {
		n++;
		assert_true(n < CALLS_MAX);
	}
	assert_true(n > 50);
}

/* Nobody knows whose completion it was, so nothing can be trusted any more. */
static void
dropped_completion_ends_the_process(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	sim_new(1, 31);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		(void)close(STDERR_FILENO);
		sk.dropped = true;
		sim_turn(0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	sim_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_nth_request_fails_once),
		cmocka_unit_test(memory_is_gone_from_the_nth_request_on),
		cmocka_unit_test(dropped_completion_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
