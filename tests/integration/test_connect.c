/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: an outbound connection has exactly one outcome and the right reason for it, over each
 * kind of socket; what is sent before it is open leaves afterwards; two ends of one process that
 * both write before they read don't wait for each other for ever (pitfalls 41, 97, 98).
 * How: plain listeners in the test's thread that accept, refuse, or don't answer.
 * Not proved: connects that are lost on a network; there is none here.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

/* Says hello as soon as it starts, long before it is connected. */
static int
caller_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe;

	if (msg->kind == RL_MSG_OPEN) {
		/* before the test is told that it is open */
		atomic_store(&probe_of(self)->marks[0], msg->open.peer->family);
		atomic_store(&probe_of(self)->marks[1], msg->open.peer->port);
	}
	probe = probe_note(self, msg);
	switch (msg->kind) {
	case RL_MSG_START:
		/* a connect that failed at once has left no stream to send on */
		return rl_conn_send(self, "hello ", 6) == 0 ? rl_conn_send(self, "world", 5) : 0;
	case RL_MSG_OPEN:
		PROBE_EXPECT(probe, msg->open.outbound);
		return 0;
	case RL_MSG_USER:
		return RL_ACTOR_STOP;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def caller = {
	.name = "caller",
	.receive = caller_receive,
	.state_size = sizeof(struct probed),
};

static void
connect_run_plain(struct rig *rig, int listener, const char *url, enum rl_addr_family family)
{
	struct probe *probe = &rig->probes[0];

	rig_start(rig, RL_CONFIG());
	for (uint32_t i = 0; i < 2 * rig->shards; i++) {
		int fd;

		assert_int_equal(rig_open(rig, i % rig->shards, url, &caller, probe, NULL), 0);
		fd = client_accept(listener);
		client_recv_text(fd, "hello world");
		rig_await(rig, probe->opens, i + 1);
		assert_int_equal(probe->marks[0], family);
		client_close(fd);
		rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], i + 1);
	}
	client_close(listener);
	rig_end(rig);
	assert_int_equal(rig->stats.opened, 2 * rig->shards);
}

static void
connect_over_ipv4_sends_what_was_queued(void **state)
{
	struct rig *rig = *state;
	int listener = client_listen(rig->url, 16);

	connect_run_plain(rig, listener, rig->url, RL_ADDR_INET);
	assert_true(rig->probes[0].marks[1] != 0);
}

static void
connect_over_ipv6_sends_what_was_queued(void **state)
{
	struct client_addr addr = client_addr("tcp://[::1]:0");
	int listener = client_listen_on(&addr, 16);
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	uint16_t port;
	char url[RL_URL_MAX];

	assert_int_equal(getsockname(listener, (struct sockaddr *)&bound, &len), 0);
	memcpy(&port, (const char *)&bound + 2, sizeof(port));
	(void)snprintf(url, sizeof(url), "tcp://[::1]:%u", __builtin_bswap16(port));
	connect_run_plain(*state, listener, url, RL_ADDR_INET6);
}

/* The system's own resolver; where localhost is ::1 first, that is refused. */
static void
connect_to_localhost_by_name_sends_what_was_queued(void **state)
{
	struct rig *rig = *state;
	int listener = client_listen(rig->url, 16);
	char url[RL_URL_MAX];

	(void)snprintf(url, sizeof(url), "tcp://localhost%s", strrchr(rig->url, ':'));
	connect_run_plain(rig, listener, url, RL_ADDR_INET);
	assert_int_equal(rig->stats.lookups, 2 * rig->shards);
}

static void
connect_to_unix_path_sends_what_was_queued(void **state)
{
	char folder[] = "/tmp/ringline-test-XXXXXX";
	char url[RL_URL_MAX];
	struct client_addr addr;

	assert_non_null(mkdtemp(folder));
	(void)snprintf(url, sizeof(url), "unix:%s/socket", folder);
	addr = client_addr(url);
	connect_run_plain(*state, client_listen_on(&addr, 16), url, RL_ADDR_UNIX);
	assert_int_equal(unlink(url + 5), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void
connect_to_abstract_name_sends_what_was_queued(void **state)
{
	const char *url = client_unix_name();
	struct client_addr addr = client_addr(url);

	connect_run_plain(*state, client_listen_on(&addr, 16), url, RL_ADDR_UNIX);
}

static void
connect_refused_is_a_failure_with_its_errno(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int nobody = client_reserve(rig->url);

	rig_start(rig, RL_CONFIG());
	for (uint64_t i = 1; i <= 20; i++) {
		assert_int_equal(rig_open(rig, 0, rig->url, &caller, probe, NULL), 0);
		rig_await(rig, probe->stopped[RL_REASON_FAILURE], i);
		assert_int_equal(probe->error, -ECONNREFUSED);
	}
	assert_int_equal(rig_open(rig, 0, client_unix_name(), &caller, probe, NULL), 0);
	rig_await(rig, probe->stopped[RL_REASON_FAILURE], 21);
	assert_int_equal(probe->error, -ECONNREFUSED);
	assert_int_equal(rig_open(rig, 0, "unix:/nonexistent/socket", &caller, probe, NULL), 0);
	rig_await(rig, probe->stopped[RL_REASON_FAILURE], 22);
	assert_int_equal(probe->error, -ENOENT);
	assert_int_equal(probe->opens, 0);
	client_close(nobody);
	rig_end(rig);
}

/* A connect that gets no answer, with a deadline of 200 ms. */
static void
connect_run_timeout(struct rig *rig, int listener, const char *url)
{
	struct rl_conn_options options = { .connect_timeout_ns = RL_MS(200) };
	struct probe *probe = &rig->probes[0];
	uint64_t since_ns;
	int fds[64];
	struct client_addr addr = client_addr(url);
	size_t count = client_fill_backlog(listener, &addr, fds, RIG_COUNT(fds));

	rig_start(rig, RL_CONFIG(.log_level = RL_LOG_INFO));
	rig_watch_log(rig, "(connect_timeout_ns)");
	since_ns = rig_now_ns();
	assert_int_equal(rig_open(rig, 0, url, &caller, probe, &options), 0);
	rig_await(rig, probe->stops, 1);
	assert_true(rig_now_ns() - since_ns >= 200000000);
	assert_int_equal(probe->stopped[RL_REASON_TIMEOUT_CONNECT], 1);
	rig_assert_watched(rig);
	assert_int_equal(probe->error, -ETIMEDOUT);
	assert_int_equal(probe->opens, 0);
	for (size_t i = 0; i < count; i++) {
		client_close(fds[i]);
	}
	client_close(listener);
	rig_end(rig);
}

static void
connect_without_answer_ends_at_its_deadline(void **state)
{
	struct rig *rig = *state;
	int listener = client_listen(rig->url, 0);

	connect_run_timeout(rig, listener, rig->url);
}

static void
connect_to_full_unix_backlog_ends_at_its_deadline(void **state)
{
	const char *url = client_unix_name();
	struct client_addr addr = client_addr(url);

	connect_run_timeout(*state, client_listen_on(&addr, 0), url);
}

/* Pauses before it is connected; RL_MSG_USER resumes. */
static int
pauser_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_START) {
		PROBE_EXPECT(probe, rl_conn_pause(self) == 0);
		return 0;
	}
	if (msg->kind == RL_MSG_USER) {
		PROBE_EXPECT(probe, rl_conn_resume(self) == 0);
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def pauser = {
	.name = "pauser",
	.receive = pauser_receive,
	.state_size = sizeof(struct probed),
};

/* A Unix connect waits for room in the backlog, which the test then makes. */
static void
connect_paused_before_it_is_open_keeps_its_deadlines(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	struct rl_conn_options options = { .first_byte_timeout_ns = RL_MS(100) };
	const char *url = client_unix_name();
	struct client_addr addr = client_addr(url);
	int listener = client_listen_on(&addr, 0);
	int fds[64];
	size_t count = client_fill_backlog(listener, &addr, fds, RIG_COUNT(fds) - 1);

	rig_start(rig, RL_CONFIG(.idle_timeout_ns = -1));
	assert_int_equal(rig_open(rig, 0, url, &pauser, probe, &options), 0);
	rig_await(rig, probe->starts, 1);
	for (size_t i = 0; i < count - 1; i++) {
		client_close(client_accept(listener));
	}
	fds[count] = client_accept(listener);
	rig_await(rig, probe->opens, 1);
	rig_let_pass(rig, 200);
	assert_int_equal(probe->stops, 0);
	rig_tell(rig, probe, RL_MSG_USER);
	rig_await(rig, probe->stopped[RL_REASON_TIMEOUT_FIRST_BYTE], 1);
	for (size_t i = 0; i <= count; i++) {
		client_close(fds[i]);
	}
	client_close(listener);
	rig_end(rig);
}

/* Without a deadline it waits; the actor's own end is what ends it then. */
static void
connect_that_is_given_up_stops_at_once(void **state)
{
	struct rl_conn_options options = { .connect_timeout_ns = -1 };
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int listener = client_listen(rig->url, 0);
	struct client_addr addr = client_addr(rig->url);
	int fds[64];
	size_t count = client_fill_backlog(listener, &addr, fds, RIG_COUNT(fds));

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rig_open(rig, 0, rig->url, &caller, probe, &options), 0);
	rig_await(rig, probe->starts, 1);
	rig_tell(rig, probe, RL_MSG_USER);
	rig_await(rig, probe->stopped[RL_REASON_LOCAL], 1);
	assert_int_equal(probe->opens, 0);

	/* the drain's default ends one, too */
	assert_int_equal(rig_open(rig, 0, rig->url, &caller, probe, NULL), 0);
	rig_await(rig, probe->starts, 2);
	for (size_t i = 0; i < count; i++) {
		client_close(fds[i]);
	}
	client_close(listener);
	rig_end(rig);
}

/* Pitfall 97: whoever connects is answered, and left, at once. */
static void
connect_data_and_fin_at_once_come_in_order(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int listener = client_listen(rig->url, 300);

	rig_start(rig, RL_CONFIG());
	for (uint64_t i = 1; i <= 200; i++) {
		int fd;

		assert_int_equal(rig_open(rig, 0, rig->url, &rig_sink, probe, NULL), 0);
		fd = client_accept(listener);
		client_send_text(fd, "all there is");
		client_close(fd);
		rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], i);
		assert_int_equal(probe->opens, i);
		assert_int_equal(probe->bytes, i * strlen("all there is"));
	}
	client_close(listener);
	rig_end(rig);
}

#define EAGER_BYTES (10 * 262144u)

/* Both ends write ten times the high mark before they look at the first byte. */
struct eager {
	struct probe *probe;
	uint64_t sent;
	uint64_t received;
	bool eof;
};

static int
eager_send(struct rl_actor *self, struct eager *eager)
{
	uint8_t block[16384];

	while (eager->sent < EAGER_BYTES) {
		int rc;

		pattern_fill(11, eager->sent, block, sizeof(block));
		rc = rl_conn_send(self, block, sizeof(block));
		if (rc == -EAGAIN) {
			return 0;
		}
		PROBE_EXPECT(eager->probe, rc >= 0);
		eager->sent += sizeof(block);
	}
	if (eager->eof) {
		return RL_ACTOR_STOP;
	}
	return rl_conn_shutdown_write(self) == 0 ? 0 : -EPROTO;
}

static int
eager_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct eager *eager = rl_actor_state(self);
	struct probe *probe = probe_note(self, msg);

	switch (msg->kind) {
	case RL_MSG_OPEN:
	case RL_MSG_WRITABLE:
		return eager->sent < EAGER_BYTES ? eager_send(self, eager) : 0;
	case RL_MSG_RECV:
		PROBE_EXPECT(probe,
			     pattern_matches(11, eager->received, msg->recv.data, msg->recv.len));
		eager->received += msg->recv.len;
		return 0;
	case RL_MSG_EOF:
		PROBE_EXPECT(probe, eager->received == EAGER_BYTES);
		eager->eof = true;
		return eager->sent == EAGER_BYTES ? RL_ACTOR_STOP : 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def eager = {
	.name = "eager",
	.receive = eager_receive,
	.state_size = sizeof(struct eager),
};

static void
connect_two_eager_ends_get_through(struct rig *rig, const char *url)
{
	struct probe *accepted = &rig->probes[0];
	struct probe *opened = &rig->probes[1];
	uint64_t count = 10;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, url, &eager, accepted);
	for (uint64_t i = 0; i < count; i++) {
		assert_int_equal(
			rig_open(rig, (uint32_t)i % rig->shards, rig->url, &eager, opened, NULL),
			0);
	}
	rig_await(rig, accepted->stops, count);
	rig_await(rig, opened->stops, count);
	assert_int_equal(accepted->bytes, count * EAGER_BYTES);
	assert_int_equal(opened->bytes, count * EAGER_BYTES);
	rig_end(rig);
	assert_int_equal(rig->stats.opened, count);
	assert_int_equal(rig->stats.accepted, count);
}

static void
connect_to_own_listener_both_write_first(void **state)
{
	connect_two_eager_ends_get_through(*state, "tcp://127.0.0.1:0");
}

static void
connect_to_own_unix_listener_both_write_first(void **state)
{
	connect_two_eager_ends_get_through(*state, client_unix_name());
}

static void
connect_to_a_bad_url_is_refused_with_one_line(void **state)
{
	static const char *const urls[] = {
		"",
		"tcp://",
		"tcp://local host:80",
		"tcp://127.1:80",
		"tcp://127.0.0.1",
		"tcp://127.0.0.1:0",
		"tcp://*:80",
		"tcp://1.2.3.4:65536",
		"unix:",
		"unix:relative",
		"tls://localhost",
		"http://1.2.3.4:1",
		"tcp://[::1:80",
		"tcp://127.0.0.1:8x",
	};
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	for (size_t i = 0; i < RIG_COUNT(urls); i++) {
		assert_int_equal(rig_open(rig, 0, urls[i], &caller, &rig->probes[0], NULL),
				 -EINVAL);
		rig_assert_logged(rig, "url");
	}
	assert_int_equal(rig->probes[0].starts, 0);
	rig_end(rig);
}

/* No room for one more: an error to the caller, nothing started, no descriptor lost. */
static void
connect_above_conns_max_is_enobufs(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int listener = client_listen(rig->url, 16);

	rig_start(rig, RL_CONFIG(.shards = 1, .conns_max = 3));
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(rig_open(rig, 0, rig->url, &caller, probe, NULL), 0);
	}
	assert_int_equal(rig_open(rig, 0, rig->url, &caller, probe, NULL), -ENOBUFS);
	rig_await(rig, probe->opens, 3);
	rig_tell(rig, probe, RL_MSG_USER);
	for (uint32_t i = 0; i < 3; i++) {
		client_close(client_accept(listener));
	}
	rig_await(rig, probe->stops, 3);
	assert_int_equal(rig_open(rig, 0, rig->url, &caller, probe, NULL), 0);
	client_close(client_accept(listener));
	rig_await(rig, probe->stops, 4);
	client_close(listener);
	rig_end(rig);
	assert_int_equal(rig->stats.opened, 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(connect_over_ipv4_sends_what_was_queued),
		rig_case(connect_over_ipv6_sends_what_was_queued),
		rig_case(connect_to_localhost_by_name_sends_what_was_queued),
		rig_case(connect_to_unix_path_sends_what_was_queued),
		rig_case(connect_to_abstract_name_sends_what_was_queued),
		rig_case(connect_refused_is_a_failure_with_its_errno),
		rig_case(connect_without_answer_ends_at_its_deadline),
		rig_case(connect_to_full_unix_backlog_ends_at_its_deadline),
		rig_case(connect_paused_before_it_is_open_keeps_its_deadlines),
		rig_case(connect_that_is_given_up_stops_at_once),
		rig_case(connect_data_and_fin_at_once_come_in_order),
		rig_case(connect_to_own_listener_both_write_first),
		rig_case(connect_to_own_unix_listener_both_write_first),
		rig_case(connect_to_a_bad_url_is_refused_with_one_line),
		rig_case(connect_above_conns_max_is_enobufs),
	};

	return rig_run("connect", tests);
}
