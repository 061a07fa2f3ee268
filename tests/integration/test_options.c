/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what a listener's TCP options say, each accepted socket says too when the kernel is
 * asked, whoever accepts; opened sockets likewise; what the kernel refuses or cuts is one line with
 * the option's name.
 * How: plain descriptors of this process are asked with getsockopt(2); the timer of a socket that
 * is a fixed file stands in /proc/net/tcp.
 * Not proved: what the kernel then does with an option on a network that loses packets.
 */
#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define FDS_MAX 4096

static const struct rl_tcp_options all = {
	.nodelay = RL_CONN_OFF,
	.keepalive_idle_s = 33,
	.keepalive_interval_s = 7,
	.keepalive_count = 5,
	.user_timeout_ms = 22000,
	.recv_buffer_bytes = 50000,
	.send_buffer_bytes = 40000,
	.congestion = "reno",
};

static int
asked(int fd, int level, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);
	return value;
}

static uint16_t
port_of(int fd, int (*name)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_in in = { .sin_port = 0 };
	socklen_t len = sizeof(in);

	return name(fd, (struct sockaddr *)&in, &len) == 0 && in.sin_family == AF_INET
		       ? ntohs(in.sin_port)
		       : 0;
}

/* The descriptor of this process whose peer is @port; waits for it to be accepted. */
static int
fd_with_peer(struct rig *rig, uint16_t port)
{
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;

	while (rig_now_ns() < end_ns) {
		for (int fd = 3; fd < FDS_MAX; fd++) {
			if (port_of(fd, getpeername) == port) {
				return fd;
			}
		}
		rig_let_pass(rig, 1);
	}
	fail_msg("no descriptor has a peer with port %u", port);
	return -1;
}

static void
check_says_all(int fd)
{
	char name[RL_TCP_CONGESTION_MAX] = "";
	socklen_t len = sizeof(name);

	assert_int_equal(asked(fd, IPPROTO_TCP, TCP_NODELAY), 0);
	assert_int_equal(asked(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(asked(fd, IPPROTO_TCP, TCP_KEEPIDLE), 33);
	assert_int_equal(asked(fd, IPPROTO_TCP, TCP_KEEPINTVL), 7);
	assert_int_equal(asked(fd, IPPROTO_TCP, TCP_KEEPCNT), 5);
	assert_int_equal(asked(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 22000);
	assert_int_equal(asked(fd, SOL_SOCKET, SO_RCVBUF), 2 * 50000);
	assert_int_equal(asked(fd, SOL_SOCKET, SO_SNDBUF), 2 * 40000);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	assert_string_equal(name, "reno");
}

static void
check_says_nothing(int fd)
{
	assert_int_equal(asked(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(asked(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
	assert_int_equal(asked(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
	assert_int_not_equal(asked(fd, SOL_SOCKET, SO_RCVBUF), 2 * 50000);
}

static void
check_inherited(struct rig *rig, const struct rl_config *config)
{
	struct rl_listener_options options = { .arg = &rig->probes[0] };
	int fds[8];

	rig_start(rig, *config);
	for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
		if (i % (RIG_COUNT(fds) / 2) == 0) {
			options.conn.tcp = i == 0 ? (struct rl_tcp_options){ .nodelay = 0 } : all;
			rig_listen_with(rig, "tcp://127.0.0.1:0", &rig_echo, &options);
		}
		fds[i] = client_dial(rig->url);
		client_send_text(fds[i], "served?");
		client_recv_text(fds[i], "served?");
		(i < RIG_COUNT(fds) / 2 ? check_says_nothing : check_says_all)(
			fd_with_peer(rig, port_of(fds[i], getsockname)));
	}
	for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
		client_close(fds[i]);
	}
	rig_await(rig, rig->probes[0].stops, RIG_COUNT(fds));
	rig_end(rig);
}

static void
options_are_inherited_by_what_a_shard_accepts(void **state)
{
	const struct rl_config config = RL_CONFIG(.without = RL_FEATURE_FIXED_FILES);

	check_inherited(*state, &config);
}

static void
options_are_inherited_by_what_an_acceptor_accepts(void **state)
{
	const struct rl_config config = RL_CONFIG(.accept_mode = RL_ACCEPT_ROUND_ROBIN);

	check_inherited(*state, &config);
}

/*
 * The timer of the socket between these ports, on the server's side: 2 is a keep-alive. A line is
 * "sl: address:port address:port state tx:rx tr:when ...", all hexadecimal.
 */
static int
timer_of(uint16_t port, uint16_t peer)
{
	FILE *file = fopen("/proc/net/tcp", "re");
	char line[512];
	int timer = -1;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		char *at = line;
		unsigned long fields[4] = { 0 }; /* behind each colon: the ports are 1 and 2 */

		for (size_t i = 0; i < RIG_COUNT(fields) && (at = strchr(at, ':')) != NULL; i++) {
			fields[i] = strtoul(at + 1, &at, 16);
		}
		if (at != NULL && fields[1] == port && fields[2] == peer) {
			timer = (int)strtoul(at, NULL, 16);
		}
	}
	(void)fclose(file);
	return timer;
}

/* Another one runs until our answer was acknowledged. */
static void
timer_await(uint16_t port, uint16_t peer, int timer)
{
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;

	while (timer_of(port, peer) != timer && rig_now_ns() < end_ns) {
		(void)poll(NULL, 0, 1);
	}
	assert_int_equal(timer_of(port, peer), timer);
}

static void
options_are_inherited_by_fixed_files_too(void **state)
{
	struct rig *rig = *state;
	struct rl_listener_options options = { .arg = &rig->probes[0] };
	uint16_t port;
	int fd;

	rig_start(rig, RL_CONFIG());
	for (uint32_t i = 0; i < 2; i++) {
		options.conn.tcp.keepalive_idle_s = i == 0 ? 0 : 100;
		rig_listen_with(rig, "tcp://127.0.0.1:0", &rig_echo, &options);
		fd = client_dial(rig->url);
		client_send_text(fd, "served?");
		client_recv_text(fd, "served?");
		rig_assert_idle(rig);
		port = port_of(fd, getpeername);
		timer_await(port, port_of(fd, getsockname), i == 0 ? 0 : 2);
		client_close(fd);
		rig_await(rig, rig->probes[0].stops, i + 1);
	}
	rig_end(rig);
}

static void
options_of_an_opened_connection_are_its_sockets(void **state)
{
	struct rig *rig = *state;
	const struct rl_conn_options options = { .tcp = all };
	char url[RL_URL_MAX];
	int listener = client_listen(url, 4);

	rig_start(rig, RL_CONFIG());
	for (uint32_t i = 0; i < 2; i++) {
		int fd;

		assert_int_equal(
			rig_open(rig, 0, url, &rig_echo, &rig->probes[0], i == 0 ? NULL : &options),
			0);
		fd = client_accept(listener);
		rig_await(rig, rig->probes[0].opens, i + 1);
		(i == 0 ? check_says_nothing
			: check_says_all)(fd_with_peer(rig, port_of(listener, getsockname)));
		client_close(fd);
		rig_await(rig, rig->probes[0].stops, i + 1);
	}
	client_close(listener);
	rig_end(rig);
}

/* Says more than a peer that does not read can take. */
static int
talker_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static const uint8_t much[500000];

	(void)probe_note(self, msg);
	if (msg->kind == RL_MSG_OPEN) {
		return rl_conn_send(self, much, sizeof(much));
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def talker = {
	.name = "talker",
	.receive = talker_receive,
	.state_size = sizeof(struct probed),
};

/* The kernel gives up long before our own stall deadline, and we say so. */
static void
user_timeout_ends_with_the_kernels_errno(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	const struct rl_listener_options options = { .arg = probe,
						     .conn.tcp.user_timeout_ms = 300 };
	int fd;

	rig_start(rig, RL_CONFIG(.stall_timeout_ns = -1, .idle_timeout_ns = -1));
	rig_listen_with(rig, "tcp://127.0.0.1:0", &talker, &options);
	fd = client_dial_narrow(rig->url);
	rig_await(rig, probe->stopped[RL_REASON_FAILURE], 1);
	assert_int_equal(probe->error, -ETIMEDOUT);
	client_close(fd);
	rig_end(rig);
}

static void
deferred_accept_waits_for_the_first_byte(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	const struct rl_listener_options options = { .arg = probe, .defer_accept_s = 60 };
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen_with(rig, "tcp://127.0.0.1:0", &rig_echo, &options);
	fd = client_dial(rig->url);
	rig_let_pass(rig, 60);
	rig_assert_idle(rig);
	assert_int_equal(probe->starts, 0);
	client_send_text(fd, "served?");
	client_recv_text(fd, "served?");
	assert_int_equal(probe->starts, 1);
	client_close(fd);
	rig_await(rig, probe->stops, 1);
	rig_end(rig);
}

static void
fast_open_is_told_to_the_listening_sockets(void **state)
{
	struct rig *rig = *state;
	const struct rl_listener_options options = { .arg = &rig->probes[0], .fastopen_queue = 23 };
	uint32_t found = 0;
	uint16_t port;

	rig_start(rig, RL_CONFIG());
	rig_listen_with(rig, "tcp://127.0.0.1:0", &rig_echo, &options);
	port = (uint16_t)strtoul(strrchr(rig->url, ':') + 1, NULL, 10);
	for (int fd = 3; fd < FDS_MAX; fd++) {
		if (port_of(fd, getsockname) == port) {
			assert_int_equal(asked(fd, IPPROTO_TCP, TCP_FASTOPEN), 23);
			found++;
		}
	}
	assert_in_range(found, 1, rig->shards);
	rig_end(rig);
}

static void
options_that_are_wrong_are_refused_with_one_line(void **state)
{
	struct rig *rig = *state;
	const struct rl_listener_options deferred = { .defer_accept_s = 256 };
	const struct rl_listener_options keepalive = { .conn.tcp.keepalive_count = 1 };
	const struct rl_listener_options unknown = { .conn.tcp.congestion = "none such" };
	const struct rl_conn_options conn = { .tcp.user_timeout_ms = 1u << 31 };
	const struct rl_conn_options conn_unknown = { .tcp.congestion = "none such" };
	const struct rl_conn_options conn_unix = { .tcp.keepalive_idle_s = 1 };
	const char *url = "tcp://127.0.0.1:0";

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_listener_open(rig->sys, url, &rig_echo, &deferred, NULL), -EINVAL);
	rig_assert_logged(rig, "defer_accept_s = 256: must be 0 (default), or 1 to 255");
	assert_int_equal(rl_listener_open(rig->sys, url, &rig_echo, &keepalive, NULL), -EINVAL);
	rig_assert_logged(rig, "tcp.keepalive_idle_s = 0");
	assert_int_equal(rl_listener_open(rig->sys, url, &rig_echo, &unknown, NULL), -ENOENT);
	rig_assert_logged(rig, "it refused the option tcp.congestion");
	url = client_unix_name();
	assert_int_equal(rl_listener_open(rig->sys, url, &rig_echo,
					  &(struct rl_listener_options){ .fastopen_queue = 1 },
					  NULL),
			 -EINVAL);
	rig_assert_logged(rig, "fastopen_queue");

	url = "tcp://127.0.0.1:9";
	assert_int_equal(rig_open(rig, 0, url, &rig_echo, &rig->probes[0], &conn), -EINVAL);
	rig_assert_logged(rig, "tcp.user_timeout_ms");
	assert_int_equal(rig_open(rig, 0, url, &rig_echo, &rig->probes[0], &conn_unknown), -ENOENT);
	rig_assert_logged(rig, "tcp.congestion");
	url = client_unix_name();
	assert_int_equal(rig_open(rig, 0, url, &rig_echo, &rig->probes[0], &conn_unix), -EINVAL);
	rig_assert_logged(rig, "tcp.keepalive_idle_s: a Unix socket");
	rig_end(rig);
}

static void
buffer_that_the_kernel_cuts_is_logged(void **state)
{
	struct rig *rig = *state;
	const struct rl_listener_options options = { .conn.tcp.recv_buffer_bytes = 1u << 30 };
	FILE *file = fopen("/proc/sys/net/core/rmem_max", "re");
	unsigned long long most = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%llu", &most), 1);
	(void)fclose(file);
	rig_start(rig, RL_CONFIG());
	rig_listen_with(rig, "tcp://127.0.0.1:0", &rig_echo, &options);
	if (most < 1u << 30) {
		rig_assert_logged(rig, "raise net.core.rmem_max");
	}
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(options_are_inherited_by_what_a_shard_accepts),
		rig_case(options_are_inherited_by_what_an_acceptor_accepts),
		rig_case(options_are_inherited_by_fixed_files_too),
		rig_case(options_of_an_opened_connection_are_its_sockets),
		rig_case(user_timeout_ends_with_the_kernels_errno),
		rig_case(deferred_accept_waits_for_the_first_byte),
		rig_case(fast_open_is_told_to_the_listening_sockets),
		rig_case(options_that_are_wrong_are_refused_with_one_line),
		rig_case(buffer_that_the_kernel_cuts_is_logged),
	};

	return rig_run("options", tests);
}
