/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: functions that wait for a shard abort on the thread of one, in a handler and in a hook,
 * instead of waiting for themselves for ever.
 * How: each is called in a child, which has a system of its own and must die of it.
 * Not proved: what they do on other threads; most other tests are about that.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/tls_certs.h"

#define KIND_CALL RL_MSG_USER

/* How a child ended that should have died. */
#define EXIT_RETURNED 3
#define EXIT_FAILED   4

static struct rl_system *volatile blocking_system; /* the child's */
static rl_listener_id blocking_listener; /* on its thread only before the call */
static struct tls_certs certs;
static struct rl_tls_options tls;

static const struct rl_listener_options secure = { .conn = { .tls = &tls } };

static void
call_spawn(void)
{
	(void)!rl_system_spawn(blocking_system, 0, &rig_sink, NULL, NULL);
}

static void
call_listener_open(void)
{
	(void)!rl_listener_open(blocking_system, "tcp://127.0.0.1:0", &rig_sink, NULL, NULL);
}

static void
call_listener_reload(void)
{
	(void)!rl_listener_reload(blocking_system, blocking_listener, &tls);
}

static void
call_listener_close(void)
{
	(void)rl_listener_close(blocking_system, blocking_listener);
}

static void
call_run(void)
{
	(void)rl_system_run(blocking_system);
}

static void
call_stop(void)
{
	rl_system_stop(blocking_system);
}

static void (*const calls[])(void) = {
	call_spawn,	     call_listener_open, call_listener_reload,
	call_listener_close, call_run,		 call_stop,
};

static void
call_and_exit(const struct rl_msg *msg)
{
	calls[*RL_MSG_AS(msg, uint32_t)]();
	_exit(EXIT_RETURNED);
}

static int
caller_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	if (msg->kind == KIND_CALL) {
		call_and_exit(msg);
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def caller = { .name = "caller", .receive = caller_receive };

static void
caller_on_notify(struct rl_shard *shard, const struct rl_msg *msg)
{
	(void)shard;
	call_and_exit(msg);
}

static const struct rl_shard_def hooked = { .on_notify = caller_on_notify };

/* In the child: returns only if something went wrong before the call. */
static void
child_call(struct rig *rig, uint32_t which, bool in_hook)
{
	rl_actor_id id;

	if (rig_try_start(rig, RL_CONFIG(.shard = &hooked)) != 0) {
		return;
	}
	blocking_system = rig->sys;
	if (rl_listener_open(rig->sys, "tls://127.0.0.1:0", &rig_sink, &secure,
			     &blocking_listener) != 0 ||
	    rl_system_spawn(rig->sys, 0, &caller, NULL, &id) != 0) {
		return;
	}
	if ((in_hook ? rl_system_notify(rig->sys, 0, KIND_CALL, &which, sizeof(which))
		     : rl_system_send(rig->sys, id, KIND_CALL, &which, sizeof(which))) == 0) {
		(void)poll(NULL, 0, 2 * RIG_PATIENCE_MS); /* until it is killed */
	}
}

/* What the child says until it has ended: up to @size bytes; it is killed if it takes too long. */
static void
child_listen(pid_t child, int fd, char *text, size_t size)
{
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t got = 1;

	while (got > 0 && len + 1 < size && rig_now_ns() < end_ns) {
		if (poll(&pollfd, 1, RIG_PATIENCE_MS) == 1) {
			got = read(fd, text + len, size - 1 - len);
			len += got > 0 ? (size_t)got : 0;
		}
	}
	text[len] = '\0';
	if (got > 0) {
		(void)kill(child, SIGKILL);
	}
}

static void
assert_dies(struct rig *rig, uint32_t which, bool in_hook)
{
	char text[4096];
	int pipes[2];
	int status;
	pid_t child;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)dup2(pipes[1], STDERR_FILENO);
		child_call(rig, which, in_hook);
		_exit(EXIT_FAILED);
	}
	(void)close(pipes[1]);
	child_listen(child, pipes[0], text, sizeof(text));
	(void)close(pipes[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT ||
	    strstr(text, "assertion failed: !thread_is_ours (") == NULL) {
		print_error("call %u %s: status %#x; it said: %s\n", which,
			    in_hook ? "in a hook" : "in a handler", (unsigned int)status, text);
		fail();
	}
}

static void
function_that_waits_for_shards_aborts_on_one(void **state)
{
	struct rig *rig = *state;

	for (uint32_t i = 0; i < RIG_COUNT(calls); i++) {
		assert_dies(rig, i, false);
		assert_dies(rig, i, true);
	}
	rig_start(rig, RL_CONFIG());
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(function_that_waits_for_shards_aborts_on_one),
	};
	int rc;

	tls_certs_make(&certs);
	tls = (struct rl_tls_options)RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_SERVER],
						    .key_file = certs.file[CERTS_SERVER_KEY]);
	rc = rig_run("blocking", tests);
	tls_certs_remove(&certs);
	return rc;
}
