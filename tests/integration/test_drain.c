/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a drain begun from a thread, a signal handler or a signal ends everything within its
 * deadline, tells every actor first, lets output leave, and a second one cuts; afterwards nothing
 * starts any more.
 * How: actors that end when told, that ignore it, and peers that don't read; for signals a child
 * that is this program again, as a server.
 * Not proved: order across shards; there is none.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "system.h"

/* Ignores RL_MSG_SHUTDOWN, but remembers the last one's deadline, and when it came. */
static int
deaf_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_SHUTDOWN) {
		atomic_store(&probe->marks[0], msg->shutdown.deadline_ns);
		atomic_store(&probe->marks[1], rl_shard_now_ns(rl_actor_shard(self)));
		return 0;
	}
	return msg->kind == RL_MSG_USER ? RL_ACTOR_STOP : 0;
}

static const struct rl_actor_def deaf = {
	.name = "deaf",
	.receive = deaf_receive,
	.state_size = sizeof(struct probed),
};

static void *
drain_thread(void *arg)
{
	rl_system_drain(arg);
	return NULL;
}

/* Ten connections of an actor that ends when told; rl_system_run() returns when they have. */
static void
drain_run(struct rig *rig, void (*begin)(struct rl_system *sys))
{
	struct probe *probe = &rig->probes[0];
	int fds[10];

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial(rig->url);
		client_send_text(fds[i], "x");
		client_recv_text(fds[i], "x");
	}
	begin(rig->sys);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		client_expect_fin(fds[i]);
		client_close(fds[i]);
	}
	assert_int_equal(rl_system_run(rig->sys), 0);
	assert_int_equal(probe->shutdowns, RIG_COUNT(fds));
	assert_int_equal(probe->stopped[RL_REASON_SHUTDOWN], RIG_COUNT(fds));
	assert_int_equal(client_try(rig->url), -ECONNREFUSED);
	rig_end(rig);
}

static void
begin_from_thread(struct rl_system *sys)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, drain_thread, sys), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void
drain_from_another_thread_ends_everything(void **state)
{
	drain_run(*state, begin_from_thread);
}

static struct rl_system *handler_sys;

static void
drain_handler(int number)
{
	(void)number;
	rl_system_drain(handler_sys);
}

static void
begin_from_handler(struct rl_system *sys)
{
	struct sigaction action = { .sa_handler = drain_handler };
	struct sigaction before;

	handler_sys = sys;
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
}

static void
drain_from_signal_handler_ends_everything(void **state)
{
	drain_run(*state, begin_from_handler);
}

/* One of the actors that are to end does it, on its shard. */
static int
ender_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	if (msg->kind == RL_MSG_START) {
		rl_system_drain(msg->start.arg);
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static void
begin_from_actor(struct rl_system *sys)
{
	static const struct rl_actor_def ender = { .name = "ender", .receive = ender_receive };

	assert_int_equal(rl_system_spawn(sys, 0, &ender, sys, NULL), 0);
}

static void
drain_from_an_actor_ends_everything(void **state)
{
	drain_run(*state, begin_from_actor);
}

/* Whoever calls at the same time: each call is a step, and the second one cuts. */
static void
drain_from_four_threads_at_once_cuts(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	pthread_t threads[4];
	int fd;

	rig_start(rig, RL_CONFIG(.drain_timeout_ns = -1));
	rig_listen(rig, "tcp://127.0.0.1:0", &deaf, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 1);
	for (size_t i = 0; i < RIG_COUNT(threads); i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, drain_thread, rig->sys), 0);
	}
	assert_int_equal(rl_system_run(rig->sys), 0);
	for (size_t i = 0; i < RIG_COUNT(threads); i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	}
	assert_int_equal(probe->stopped[RL_REASON_SHUTDOWN], 1);
	client_expect_reset(fd);
	client_close(fd);
	rig_end(rig);
}

static _Thread_local bool handler_runs;
static _Atomic bool handler_logged;

static void
handler_log(void *arg, enum rl_log_level level, int shard, const char *text)
{
	(void)arg;
	(void)level;
	(void)shard;
	(void)text;
	if (handler_runs) {
		atomic_store(&handler_logged, true);
	}
}

/* A signal handler interrupts calls that hold locks, and may not call a log sink. */
static void
drain_takes_no_lock_and_logs_nothing(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG(.log = handler_log, .log_level = RL_LOG_DEBUG));
	assert_int_equal(pthread_mutex_lock(&rig->sys->listeners_lock), 0);
	assert_int_equal(pthread_mutex_lock(&rig->sys->clerk.lock), 0);
	handler_runs = true;
	begin_from_handler(rig->sys);
	handler_runs = false;
	assert_int_equal(pthread_mutex_unlock(&rig->sys->clerk.lock), 0);
	assert_int_equal(pthread_mutex_unlock(&rig->sys->listeners_lock), 0);
	assert_int_equal(rl_system_run(rig->sys), 0);
	assert_false(handler_logged);
	rig_end(rig);
}

static void
drain_tells_the_deadline_and_cuts_there(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t since_ns;
	int fd;

	rig_start(rig, RL_CONFIG(.drain_timeout_ns = RL_MS(300)));
	rig_listen(rig, "tcp://127.0.0.1:0", &deaf, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 1);
	assert_int_equal(rl_system_spawn(rig->sys, 0, &deaf, probe, NULL), 0);
	rig_await(rig, probe->starts, 2);
	since_ns = rig_now_ns();
	rl_system_drain(rig->sys);
	assert_int_equal(rl_system_run(rig->sys), 0);
	assert_true(rig_now_ns() - since_ns >= 300000000);
	assert_int_equal(probe->shutdowns, 2);
	assert_true(probe->marks[0] >= since_ns + 300000000);
	assert_true(probe->marks[0] <= probe->marks[1] + 300000000);
	assert_int_equal(probe->stopped[RL_REASON_TIMEOUT_DRAIN], 2);
	rig->log.lines = 0; /* what they say: test_drain_phases.c */
	client_expect_reset(fd);
	client_close(fd);
	rig_end(rig);
	assert_int_equal(rig->stats.closed[RL_REASON_TIMEOUT_DRAIN], 1);
}

static void
drain_a_second_time_cuts_at_once(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG(.drain_timeout_ns = -1));
	rig_listen(rig, "tcp://127.0.0.1:0", &deaf, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 1);
	assert_int_equal(rl_system_spawn(rig->sys, 0, &deaf, probe, NULL), 0);
	rl_system_drain(rig->sys);
	rig_await(rig, probe->shutdowns, 2);
	rig_assert_idle(rig); /* no deadline: it waits, and not busily */
	assert_int_equal(probe->stops, 0);
	rl_system_drain(rig->sys);
	assert_int_equal(rl_system_run(rig->sys), 0);
	assert_int_equal(probe->stopped[RL_REASON_SHUTDOWN], 2);
	client_expect_reset(fd);
	client_close(fd);
	rig_end(rig);
}

/* Who ends in good time is not waited for any longer. */
static void
drain_waits_for_actors_that_finish(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG(.drain_timeout_ns = RL_SEC(1000))); /* not in this test's time */
	rig_listen(rig, "tcp://127.0.0.1:0", &deaf, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 1);
	rl_system_drain(rig->sys);
	rig_await(rig, probe->shutdowns, 1);
	rig_tell(rig, probe, RL_MSG_USER);
	client_expect_fin(fd);
	client_close(fd);
	assert_int_equal(rl_system_run(rig->sys), 0);
	assert_int_equal(probe->stopped[RL_REASON_LOCAL], 1);
	rig_end(rig);
}

/* Megabytes are queued when the drain begins, for a peer that reads only later. */
static int
reply_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static _Thread_local uint8_t reply[8000000];
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_OPEN) {
		pattern_fill(3, 0, reply, sizeof(reply));
		PROBE_EXPECT(probe, rl_conn_send(self, reply, sizeof(reply)) >= 0);
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def reply = {
	.name = "reply",
	.receive = reply_receive,
	.state_size = sizeof(struct probed),
};

static void
drain_lets_queued_output_leave(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	static uint8_t in[8000000];
	int fd;

	rig_start(rig, RL_CONFIG(.send_cap_bytes = 16777216));
	rig_listen(rig, "tcp://127.0.0.1:0", &reply, probe);
	fd = client_dial_narrow(rig->url);
	rig_await(rig, probe->opens, 1);
	rl_system_drain(rig->sys);
	rig_await(rig, probe->shutdowns, 1);
	client_recv(fd, in, sizeof(in));
	assert_true(pattern_matches(3, 0, in, sizeof(in)));
	client_expect_fin(fd);
	client_close(fd);
	assert_int_equal(rl_system_run(rig->sys), 0);
	assert_int_equal(probe->stopped[RL_REASON_SHUTDOWN], 1);
	rig_end(rig);
}

/* The peer never reads: what is left is cut at the drain's deadline. */
static void
drain_cuts_output_that_does_not_leave(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG(.send_cap_bytes = 16777216, .drain_timeout_ns = RL_MS(300)));
	rig_listen(rig, "tcp://127.0.0.1:0", &reply, probe);
	fd = client_dial_narrow(rig->url);
	rig_await(rig, probe->opens, 1);
	rl_system_drain(rig->sys);
	assert_int_equal(rl_system_run(rig->sys), 0);
	assert_int_equal(probe->stopped[RL_REASON_TIMEOUT_DRAIN], 1);
	rig_assert_logged(rig, "drain: cut after");
	client_close(fd);
	rig_end(rig);
}

/* Nothing starts any more, before and after the last actor has gone. */
static void
drain_refuses_whatever_is_new(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	rl_actor_id id;

	rig_start(rig, RL_CONFIG(.drain_timeout_ns = -1));
	assert_int_equal(rl_system_spawn(rig->sys, 0, &deaf, probe, &id), 0);
	rl_system_drain(rig->sys);
	rig_await(rig, probe->shutdowns, 1);
	assert_int_equal(rl_system_spawn(rig->sys, 0, &deaf, probe, NULL), -ESHUTDOWN);
	assert_int_equal(rl_listener_open(rig->sys, "tcp://127.0.0.1:0", &deaf, NULL, NULL),
			 -ESHUTDOWN);
	assert_int_equal(rl_system_send(rig->sys, id, RL_MSG_USER + 1, NULL, 0), 0);
	rig_await(rig, probe->users, 1);
	rl_system_drain(rig->sys);
	assert_int_equal(rl_system_run(rig->sys), 0);
	assert_int_equal(rl_system_send(rig->sys, id, RL_MSG_USER + 1, NULL, 0), -ESHUTDOWN);
	assert_int_equal(rl_system_spawn(rig->sys, 0, &deaf, probe, NULL), -ESHUTDOWN);
	rig_end(rig);
}

/* With traffic in full swing on every shard. */
static void
drain_under_load_balances(void **state)
{
	static uint8_t block[65536];
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fds[64];

	rig_start(rig, RL_CONFIG(.drain_timeout_ns = RL_MS(200), .linger_timeout_ns = RL_MS(50),
				 .log_level = RL_LOG_ERROR));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial(rig->url);
	}
	for (uint32_t round = 0; round < 40; round++) {
		if (round == 20) {
			rl_system_drain(rig->sys);
		}
		for (size_t i = 0; i < RIG_COUNT(fds); i++) {
			(void)!send(fds[i], block, sizeof(block), MSG_NOSIGNAL);
			(void)!recv(fds[i], block, i * 1000, 0);
		}
	}
	assert_int_equal(rl_system_run(rig->sys), 0);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		client_close(fds[i]);
	}
	rig_end(rig);
}

/* stop() without run() drains by itself and gives the signals back. */
static void
stop_alone_drains_and_restores_the_mask(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	sigset_t before;
	sigset_t after;
	int fd;

	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
	rig_start(rig, RL_CONFIG());
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
	assert_int_equal(sigismember(&after, SIGTERM), 1);
	assert_int_equal(sigismember(&after, SIGINT), 1);
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 1);
	client_shut(fd);
	rl_system_stop(rig->sys);
	rig->sys = NULL;
	assert_int_equal(probe->stops, 1);
	client_expect_fin(fd);
	client_close(fd);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
	for (int number = 1; number < 32; number++) {
		assert_int_equal(sigismember(&before, number), sigismember(&after, number));
	}
	rl_system_stop(NULL);
	rig_end(rig);
}

/* ---- signals: this program again, as a server ---- */

static int
served_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	switch (msg->kind) {
	case RL_MSG_RECV:
		return rl_conn_send(self, msg->recv.data, msg->recv.len);
	case RL_MSG_SHUTDOWN:
		return rl_conn_send(self, "draining", 8); /* and stays */
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def served = { .name = "served", .receive = served_receive };

/* Writes its URL to stdout, then runs until a signal. */
static int
serve(void)
{
	struct rl_config config =
		RL_CONFIG(.shards = rig_shards(), .without = rig_without(), .drain_timeout_ns = -1);
	char url[RL_URL_MAX];
	struct rl_system *sys;
	rl_listener_id id;
	int rc = rl_system_start(&config, &sys);

	if (rc == 0) {
		rc = rl_listener_open(sys, "tcp://127.0.0.1:0", &served, NULL, &id);
	}
	if (rc == 0) {
		rc = rl_listener_url(sys, id, url);
	}
	if (rc == 0) {
		(void)printf("%s\n", url);
		(void)fflush(stdout);
		rc = rl_system_run(sys);
	}
	rl_system_stop(sys);
	return rc == 0 ? 0 : 1;
}

static pid_t
server_start(char url[RL_URL_MAX])
{
	int pipes[2];
	ssize_t got;
	pid_t child;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)dup2(pipes[1], STDOUT_FILENO);
		(void)execl("/proc/self/exe", "server", "--serve", NULL);
		_exit(127);
	}
	client_close(pipes[1]);
	got = read(pipes[0], url, RL_URL_MAX - 1); /* one write(2), so it comes whole */
	assert_true(got > 1);
	url[got - 1] = '\0';
	client_close(pipes[0]);
	return child;
}

static void
server_ends(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* One shard may speak before the last one has stopped to listen. */
static void
server_stops_listening(const char *url)
{
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	int fd;

	while ((fd = client_try(url)) >= 0) {
		assert_true(rig_now_ns() < end_ns);
		client_close(fd);
	}
	assert_true(fd == -ECONNREFUSED || fd == -ECONNRESET);
}

static void
signal_drains_and_exits_with_0(int number)
{
	char url[RL_URL_MAX];
	pid_t child = server_start(url);
	int fd = client_dial(url);

	client_send_text(fd, "hello");
	client_recv_text(fd, "hello");
	assert_int_equal(kill(child, number), 0);
	client_recv_text(fd, "draining");
	server_stops_listening(url);
	client_send_text(fd, "still served");
	client_recv_text(fd, "still served");
	client_shut(fd);
	client_expect_fin(fd);
	client_close(fd);
	server_ends(child);
}

static void
sigterm_drains_and_exits_with_0(void **state)
{
	signal_drains_and_exits_with_0(SIGTERM);
	rig_end(*state);
}

static void
sigint_drains_and_exits_with_0(void **state)
{
	signal_drains_and_exits_with_0(SIGINT);
	rig_end(*state);
}

static void
sigterm_twice_cuts_and_exits_with_0(void **state)
{
	char url[RL_URL_MAX];
	pid_t child = server_start(url);
	int fd = client_dial(url);

	client_send_text(fd, "hello");
	client_recv_text(fd, "hello");
	assert_int_equal(kill(child, SIGTERM), 0);
	client_recv_text(fd, "draining");
	assert_int_equal(kill(child, SIGTERM), 0);
	client_expect_reset(fd);
	client_close(fd);
	server_ends(child);
	rig_end(*state);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		rig_case(drain_from_another_thread_ends_everything),
		rig_case(drain_from_signal_handler_ends_everything),
		rig_case(drain_from_an_actor_ends_everything),
		rig_case(drain_from_four_threads_at_once_cuts),
		rig_case(drain_takes_no_lock_and_logs_nothing),
		rig_case(drain_tells_the_deadline_and_cuts_there),
		rig_case(drain_a_second_time_cuts_at_once),
		rig_case(drain_waits_for_actors_that_finish),
		rig_case(drain_lets_queued_output_leave),
		rig_case(drain_cuts_output_that_does_not_leave),
		rig_case(drain_refuses_whatever_is_new),
		rig_case(drain_under_load_balances),
		rig_case(stop_alone_drains_and_restores_the_mask),
		rig_case(sigterm_drains_and_exits_with_0),
		rig_case(sigint_drains_and_exits_with_0),
		rig_case(sigterm_twice_cuts_and_exits_with_0),
	};

	if (argc > 1 && strcmp(argv[1], "--serve") == 0) {
		return serve();
	}
	return rig_run("drain", tests);
}
