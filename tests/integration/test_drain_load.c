/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: SIGTERM in the middle of the load of 1,000 connections loses no reply that was accepted
 * for sending: each client gets all of them, then FIN, never a reset, within the drain's deadline;
 * until then those who stay are served; a second SIGTERM cuts all of them.
 * How: a child (this program again, as a server) counts per connection what rl_conn_send() took,
 * and says how many replies that were with its last one; the clients count and check each byte. One
 * client in ten reads nothing before the signal, so that its replies wait in the kernel (TCP) or in
 * the server's own output (Unix sockets, for which the kernel takes little).
 * Not proved: that a request is answered which the server did not look at before the end.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLERS_MAX   1000
#define REQUEST_BYTES 64
#define REPLY_BYTES   2048
#define AHEAD	      4 /* requests on their way */
#define AHEAD_LATE    300 /* of those who read late: 600 KB of replies */
#define WARM_REPLIES  5 /* that each caller has before the signal */

enum reply_kind {
	REPLY_ANSWER,
	REPLY_LAST, /* number: how many answers were accepted before it */
};

struct reply {
	uint64_t kind;
	uint64_t number;
	uint8_t bytes[REPLY_BYTES - 16];
};

/* ---- the server ---- */

struct served {
	uint64_t accepted;
};

static bool serve_stays; /* set before the start */

static int
served_reply(struct rl_actor *self, enum reply_kind kind)
{
	struct served *served = rl_actor_state(self);
	struct reply reply = { .kind = kind, .number = served->accepted };
	int rc;

	pattern_fill(reply.number, 0, reply.bytes, sizeof(reply.bytes));
	rc = rl_conn_send(self, &reply, sizeof(reply));
	served->accepted += rc >= 0;
	return rc;
}

static int
served_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	size_t taken = 0;
	int rc = 0;

	switch (msg->kind) {
	case RL_MSG_RECV:
		while (rc >= 0 && msg->recv.len - taken >= REQUEST_BYTES) {
			rc = served_reply(self, REPLY_ANSWER);
			taken += rc >= 0 ? REQUEST_BYTES : 0;
		}
		rl_conn_consumed(self, taken);
		return rc > 0 ? 0 : rc;
	case RL_MSG_SHUTDOWN:
		if (serve_stays) {
			return 0;
		}
		rc = served_reply(self, REPLY_LAST);
		return rc < 0 ? rc : RL_ACTOR_STOP;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def served_def = {
	.name = "served",
	.receive = served_receive,
	.state_size = sizeof(struct served),
};

/* Writes its URL to stdout, runs until it has drained, and writes how its connections ended. */
static int
serve(const char *url, const char *manner)
{
	struct rl_config config = RL_CONFIG(.shards = rig_shards(), .without = rig_without(),
					    .linger_timeout_ns = RL_MS(RIG_PATIENCE_MS));
	const char *accept = getenv("RL_TEST_ACCEPT");
	char bound[RL_URL_MAX];
	struct rl_system *sys;
	struct rl_stats stats;
	rl_listener_id id;
	int rc;

	serve_stays = strcmp(manner, "stays") == 0;
	config.drain_timeout_ns = serve_stays ? -1 : RL_MS(RIG_PATIENCE_MS);
	if (accept != NULL) {
		config.accept_mode = strcmp(accept, "round_robin") == 0 ? RL_ACCEPT_ROUND_ROBIN
									: RL_ACCEPT_LEAST_LOADED;
	}
	rc = rl_system_start(&config, &sys);
	if (rc == 0) {
		rc = rl_listener_open(sys, url, &served_def, NULL, &id);
	}
	if (rc == 0) {
		rc = rl_listener_url(sys, id, bound);
	}
	if (rc == 0) {
		(void)printf("%s\n", bound);
		(void)fflush(stdout);
		rc = rl_system_run(sys);
		(void)rl_system_stats(sys, -1, &stats);
		rig_assert_balanced(&stats);
		(void)printf("%llu by shutdown\n",
			     (unsigned long long)stats.closed[RL_REASON_SHUTDOWN]);
	}
	rl_system_stop(sys);
	return rc == 0 ? 0 : 1;
}

static struct {
	pid_t pid;
	FILE *out;
	char url[RL_URL_MAX];
} server;

static void
server_start(const char *url, const char *manner)
{
	int pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	server.pid = fork();
	assert_true(server.pid >= 0);
	if (server.pid == 0) {
		(void)dup2(pipes[1], STDOUT_FILENO);
		(void)execl("/proc/self/exe", "server", url, manner, NULL);
		_exit(127);
	}
	client_close(pipes[1]);
	server.out = fdopen(pipes[0], "r");
	assert_non_null(server.out);
	assert_non_null(fgets(server.url, sizeof(server.url), server.out));
	server.url[strcspn(server.url, "\n")] = '\0';
}

/* It ended by itself, with 0; how many connections ended as a drain ends them. */
static uint64_t
server_end(void)
{
	char line[64];
	int status;

	assert_non_null(fgets(line, sizeof(line), server.out));
	assert_int_equal(waitpid(server.pid, &status, 0), server.pid);
	server.pid = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(fclose(server.out), 0);
	return strtoull(line, NULL, 10);
}

static int
server_teardown(void **state)
{
	(void)state;
	if (server.pid > 0) {
		(void)kill(server.pid, SIGKILL);
		(void)waitpid(server.pid, NULL, 0);
		server.pid = 0;
	}
	return 0;
}

/* ---- the clients ---- */

struct caller {
	int fd; /* -1: its connection has ended */
	int end; /* how: 0 for FIN, or a negative errno */
	bool late; /* reads nothing before the signal */
	bool last; /* REPLY_LAST came */
	uint64_t sent; /* bytes of requests */
	uint64_t answers;
	uint64_t accepted; /* what REPLY_LAST said */
	size_t have; /* bytes of the next reply */
	struct reply reply;
};

static struct caller callers[CALLERS_MAX];
static uint32_t callers_count;

static void
caller_take_reply(struct caller *caller)
{
	const struct reply *reply = &caller->reply;

	assert_false(caller->last);
	assert_int_equal(reply->number, caller->answers); /* none missing, none twice */
	assert_true(pattern_matches(reply->number, 0, reply->bytes, sizeof(reply->bytes)));
	if (reply->kind == REPLY_LAST) {
		caller->last = true;
		caller->accepted = reply->number;
	} else {
		assert_int_equal(reply->kind, REPLY_ANSWER);
		caller->answers++;
	}
	caller->have = 0;
}

static void
caller_read(struct caller *caller)
{
	uint8_t *at = (uint8_t *)&caller->reply;
	ssize_t got;

	while ((got = recv(caller->fd, at + caller->have, REPLY_BYTES - caller->have, 0)) > 0) {
		caller->have += (size_t)got;
		if (caller->have == REPLY_BYTES) {
			caller_take_reply(caller);
		}
	}
	if (got < 0 && errno == EAGAIN) {
		return;
	}
	caller->end = got < 0 ? -errno : 0;
	client_close(caller->fd);
	caller->fd = -1;
}

static void
caller_write(struct caller *caller)
{
	static const uint8_t requests[AHEAD_LATE * REQUEST_BYTES];
	uint64_t ahead = caller->late ? AHEAD_LATE : caller->answers + AHEAD;
	uint64_t bytes = ahead * REQUEST_BYTES - caller->sent;
	ssize_t sent;

	if (bytes == 0) {
		return;
	}
	sent = send(caller->fd, requests, bytes, MSG_NOSIGNAL);
	if (sent > 0) {
		caller->sent += (uint64_t)sent;
	}
	/* that it ended is learnt by reading, behind what had come before */
	assert_true(sent > 0 || errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
}

static bool
caller_is_warm(const struct caller *caller)
{
	return caller->late ? caller->sent == AHEAD_LATE * REQUEST_BYTES
			    : caller->answers >= WARM_REPLIES;
}

static bool
caller_is_over(const struct caller *caller)
{
	return caller->fd < 0;
}

static uint64_t served_until; /* answers that each caller shall have */

static bool
caller_was_served(const struct caller *caller)
{
	assert_true(caller->fd >= 0);
	return caller->answers >= served_until;
}

static void
callers_poll(struct pollfd *fds, bool late_read)
{
	for (uint32_t i = 0; i < callers_count; i++) {
		bool reads = late_read || !callers[i].late;
		bool writes = callers[i].late && callers[i].sent < AHEAD_LATE * REQUEST_BYTES;

		fds[i].fd = callers[i].fd;
		fds[i].events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
	}
	assert_true(poll(fds, callers_count, RIG_PATIENCE_MS) >= 0);
}

/* Request and read until all are @done; every caller goes on meanwhile. */
static void
callers_run(bool (*done)(const struct caller *caller), bool late_read)
{
	static struct pollfd fds[CALLERS_MAX];
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	uint32_t waiting = callers_count;

	while (waiting > 0) {
		waiting = 0;
		for (uint32_t i = 0; i < callers_count; i++) {
			if (callers[i].fd >= 0) {
				caller_write(&callers[i]);
			}
			waiting += !done(&callers[i]);
		}
		if (rig_now_ns() > end_ns) {
			print_error("%u of %u still wait\n", waiting, callers_count);
			fail();
		}
		if (waiting == 0) {
			break;
		}
		callers_poll(fds, late_read);
		for (uint32_t i = 0; i < callers_count; i++) {
			if (callers[i].fd >= 0 && (fds[i].revents & ~POLLOUT) != 0) {
				caller_read(&callers[i]);
			}
		}
	}
}

static void
callers_dial(void)
{
	const char *text = getenv("RL_TEST_CLIENTS");

	callers_count = text == NULL ? CALLERS_MAX : (uint32_t)strtoul(text, NULL, 10);
	assert_in_range(callers_count, 1, CALLERS_MAX);
	for (uint32_t i = 0; i < callers_count; i++) {
		bool late = i % 10 == 9;

		callers[i] = (struct caller){ .late = late };
		callers[i].fd = late ? client_dial_narrow(server.url) : client_dial(server.url);
	}
}

static void
sigterm_loses_no_reply(const char *url)
{
	server_start(url, "ends");
	callers_dial();
	callers_run(caller_is_warm, false);
	assert_int_equal(kill(server.pid, SIGTERM), 0);
	callers_run(caller_is_over, true);
	for (uint32_t i = 0; i < callers_count; i++) {
		assert_int_equal(callers[i].end, 0); /* FIN, not a reset */
		assert_int_equal(callers[i].have, 0); /* and no half reply before it */
		assert_true(callers[i].last);
		assert_int_equal(callers[i].answers, callers[i].accepted);
	}
	assert_int_equal(server_end(), callers_count);
}

static void
sigterm_under_load_loses_no_reply(void **state)
{
	(void)state;
	sigterm_loses_no_reply("tcp://127.0.0.1:0");
}

static void
sigterm_under_load_loses_no_reply_on_a_unix_socket(void **state)
{
	(void)state;
	sigterm_loses_no_reply(client_unix_name());
}

/* The first one lets whoever stays be served on, for as long as it takes. */
static void
sigterm_twice_under_load_cuts(void **state)
{
	uint64_t cut_ns;

	(void)state;
	server_start("tcp://127.0.0.1:0", "stays");
	callers_dial();
	for (uint32_t i = 0; i < callers_count; i++) {
		callers[i].late = false;
	}
	served_until = WARM_REPLIES;
	callers_run(caller_was_served, true);
	assert_int_equal(kill(server.pid, SIGTERM), 0);
	for (uint32_t i = 0; i < callers_count; i++) {
		served_until =
			callers[i].answers > served_until ? callers[i].answers : served_until;
	}
	served_until += AHEAD + WARM_REPLIES; /* more than can have been on their way */
	callers_run(caller_was_served, true);
	assert_int_equal(kill(server.pid, SIGTERM), 0);
	cut_ns = rig_now_ns();
	callers_run(caller_is_over, true);
	assert_int_equal(server_end(), callers_count);
	assert_true(rig_now_ns() - cut_ns < RIG_PATIENCE_MS * 1000000ull);
	for (uint32_t i = 0; i < callers_count; i++) {
		assert_true(callers[i].end == 0 || callers[i].end == -ECONNRESET);
	}
}

#define load_case(name) cmocka_unit_test_teardown(name, server_teardown)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		load_case(sigterm_under_load_loses_no_reply),
		load_case(sigterm_under_load_loses_no_reply_on_a_unix_socket),
		load_case(sigterm_twice_under_load_cuts),
	};

	if (argc > 2) {
		return serve(argv[1], argv[2]);
	}
	return rig_run("drain_load", tests);
}
