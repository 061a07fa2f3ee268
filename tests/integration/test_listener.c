/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: both policies at conns_max, ports that are free when a listener has closed and refused
 * when somebody else has them, socket files that come and go, and nothing left after many starts
 * (pitfalls 28, 85 to 89, 96).
 * How: plain clients and plain listeners beside ours.
 * Not proved: errors of accept that need a broken kernel; the simulator makes those.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void
served(int fd)
{
	client_send_text(fd, "served?");
	client_recv_text(fd, "served?");
}

static void
conns_max_refuse_closes_the_next_at_once(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fds[4];
	int fd;

	rig_start(rig, RL_CONFIG(.shards = 1, .conns_max = 4));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	for (uint32_t i = 0; i < 4; i++) {
		fds[i] = client_dial(rig->url);
		served(fds[i]);
	}
	for (uint32_t i = 0; i < 30; i++) {
		fd = client_dial(rig->url);
		client_expect_fin(fd);
		client_close(fd);
	}
	assert_int_equal(rig_stats(rig).refused, 30);
	client_close(fds[0]);
	rig_await(rig, probe->stops, 1);
	fd = client_dial(rig->url);
	served(fd);
	client_close(fd);
	for (uint32_t i = 1; i < 4; i++) {
		served(fds[i]);
		client_close(fds[i]);
	}
	rig_await(rig, probe->stops, 5);
	rig_assert_logged_slowly(rig, rig->threads > rig->shards
					      ? "conns_max = 4 is reached on every shard: new "
						"connections are refused"
					      : "conns_max = 4 is reached: new connections are "
						"refused");
	rig_end(rig);
	assert_int_equal(rig->stats.refused, 30);
	assert_int_equal(rig->stats.accepted, 5);
}

static void
conns_max_pause_lets_the_next_wait(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fds[12];

	rig_start(rig, RL_CONFIG(.shards = 1, .conns_max = 4, .conns_policy = RL_CONNS_PAUSE));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	for (uint32_t i = 0; i < 12; i++) {
		fds[i] = client_dial(rig->url);
		client_send_text(fds[i], "served?");
	}
	for (uint32_t i = 0; i < 12; i++) {
		client_recv_text(fds[i], "served?");
		rig_assert_idle(rig);
		assert_int_equal(probe->opens, i < 8 ? i + 4 : 12);
		client_close(fds[i]);
		rig_await(rig, probe->stops, i + 1);
	}
	rig_assert_logged_slowly(rig, "new connections wait in the backlog");
	rig_end(rig);
	assert_int_equal(rig->stats.refused, 0);
	assert_int_equal(rig->stats.accepted, 12);
}

/* More at once than accepts are in flight, and than one turn takes. */
static void
burst_of_connections_is_accepted_whole(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fds[500];

	rig_start(rig, RL_CONFIG(.accepts_in_flight = 1));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial(rig->url);
	}
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		served(fds[i]);
		client_close(fds[i]);
	}
	rig_await(rig, probe->stops, RIG_COUNT(fds));
	rig_end(rig);
}

/* Binds without SO_REUSEADDR: what is there must be gone. */
static int
bind_plainly(const char *url)
{
	struct client_addr addr = client_addr(url);
	int fd = socket(addr.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	assert_true(fd >= 0);
	rc = bind(fd, (const struct sockaddr *)&addr.addr, addr.len) == 0 ? 0 : -errno;
	client_close(fd);
	return rc;
}

static void
close_frees_the_port_at_once(void **state)
{
	struct rig *rig = *state;
	char url[RL_URL_MAX];

	rig_start(rig, RL_CONFIG());
	for (uint32_t i = 0; i < 50; i++) {
		rl_listener_id id =
			rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);

		assert_int_equal(bind_plainly(rig->url), -EADDRINUSE);
		assert_int_equal(rl_listener_close(rig->sys, id), 0);
		assert_int_equal(bind_plainly(rig->url), 0);
		assert_int_equal(client_try(rig->url), -ECONNREFUSED);
		assert_int_equal(rl_listener_close(rig->sys, id), -ENOENT);
		assert_int_equal(rl_listener_url(rig->sys, id, url), -ENOENT);
		assert_string_equal(url, "");
	}
	rig_end(rig);
}

static void
close_leaves_connections_alone(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	rl_listener_id id;
	int fd;

	rig_start(rig, RL_CONFIG());
	id = rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	fd = client_dial(rig->url);
	served(fd);
	assert_int_equal(rl_listener_close(rig->sys, id), 0);
	served(fd);
	client_close(fd);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	rig_end(rig);
}

/* Pitfall: with SO_REUSEPORT on both sides the kernel would let them share. */
static void
port_of_another_program_is_eaddrinuse(void **state)
{
	struct rig *rig = *state;
	struct client_addr addr = client_addr("tcp://127.0.0.1:0");
	int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in in;
	socklen_t len = sizeof(in);
	char url[RL_URL_MAX];
	int one = 1;

	assert_int_equal(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(other, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	assert_int_equal(bind(other, (const struct sockaddr *)&addr.addr, addr.len), 0);
	assert_int_equal(listen(other, 1), 0);
	assert_int_equal(getsockname(other, (struct sockaddr *)&in, &len), 0);
	(void)snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", ntohs(in.sin_port));

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_listener_open(rig->sys, url, &rig_echo, NULL, NULL), -EADDRINUSE);
	rig_assert_logged(rig, url);
	client_close(other);
	rig_listen(rig, url, &rig_echo, &rig->probes[0]);
	assert_int_equal(rl_listener_open(rig->sys, url, &rig_echo, NULL, NULL), -EADDRINUSE);
	rig_assert_logged(rig, url);
	rig_end(rig);
}

/* The server closes first, so the port is full of TIME_WAIT sockets, and starts again at once. */
static int
hangup_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)probe_note(self, msg);
	return msg->kind == RL_MSG_OPEN ? RL_ACTOR_STOP : RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def hangup = {
	.name = "hangup",
	.receive = hangup_receive,
	.state_size = sizeof(struct probed),
};

static void
restart_on_the_same_port_works_at_once(void **state)
{
	struct rig *rig = *state;
	char url[RL_URL_MAX] = "tcp://127.0.0.1:0";

	for (uint32_t round = 0; round < 10; round++) {
		rig_start(rig, RL_CONFIG());
		rig_listen(rig, url, &hangup, &rig->probes[0]);
		(void)snprintf(url, sizeof(url), "%s", rig->url);
		for (uint32_t i = 0; i < 10; i++) {
			int fd = client_dial(url);

			client_expect_fin(fd);
			client_close(fd);
		}
		rig_await(rig, rig->probes[0].stops, 10ull * (round + 1));
		if (round < 9) {
			rl_system_stop(rig->sys);
		}
	}
	assert_int_equal(bind_plainly(url), -EADDRINUSE);
	rig_end(rig);
}

static void
listeners_up_to_sixteen_all_serve(void **state)
{
	struct rig *rig = *state;
	char urls[16][RL_URL_MAX];
	rl_listener_id ids[16];
	rl_listener_id id;

	rig_start(rig, RL_CONFIG());
	for (uint32_t i = 0; i < 16; i++) {
		ids[i] = rig_listen(rig, i % 2 ? "tcp://[::1]:0" : "tcp://127.0.0.1:0", &rig_echo,
				    &rig->probes[0]);
		(void)snprintf(urls[i], sizeof(urls[i]), "%s", rig->url);
	}
	assert_int_equal(rl_listener_open(rig->sys, "tcp://127.0.0.1:0", &rig_echo, NULL, &id),
			 -ENOBUFS);
	rig_assert_logged(rig, "16 listeners");
	assert_int_equal(rl_listener_close(rig->sys, id), -ENOENT);
	for (uint32_t i = 0; i < 16; i++) {
		int fd = client_dial(urls[i]);

		served(fd);
		client_close(fd);
	}
	assert_int_equal(rl_listener_close(rig->sys, ids[5]), 0);
	rig_listen(rig, urls[5], &rig_echo, &rig->probes[0]);
	assert_int_equal(rl_listener_close(rig->sys, ids[5]), -ENOENT);
	rig_await(rig, rig->probes[0].stops, 16);
	rig_end(rig);
}

static void
wildcard_host_listens_everywhere(void **state)
{
	struct rig *rig = *state;
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://*:0", &rig_echo, &rig->probes[0]);
	assert_non_null(strstr(rig->url, "tcp://0.0.0.0:"));
	fd = client_dial(rig->url);
	served(fd);
	client_close(fd);
	rig_await(rig, rig->probes[0].stops, 1);
	rig_end(rig);
}

static void
unix_file_of_a_dead_server_is_replaced(void **state)
{
	struct rig *rig = *state;
	char folder[] = "/tmp/ringline-test-XXXXXX";
	char url[RL_URL_MAX];
	struct client_addr addr;
	rl_listener_id id;
	int other;

	assert_non_null(mkdtemp(folder));
	(void)snprintf(url, sizeof(url), "unix:%s/socket", folder);
	addr = client_addr(url);
	rig_start(rig, RL_CONFIG());

	other = client_listen_on(&addr, 1); /* alive */
	assert_int_equal(rl_listener_open(rig->sys, url, &rig_echo, NULL, NULL), -EADDRINUSE);
	rig_assert_logged(rig, url);
	client_close(other); /* dead: its file stays behind */
	assert_int_equal(access(url + 5, F_OK), 0);
	id = rig_listen(rig, url, &rig_echo, &rig->probes[0]);
	assert_string_equal(rig->url, url);
	other = client_dial(url);
	served(other);
	client_close(other);
	assert_int_equal(rl_listener_close(rig->sys, id), 0);
	assert_int_not_equal(access(url + 5, F_OK), 0);

	other = open(url + 5, O_CREAT | O_WRONLY | O_CLOEXEC, 0600); /* no socket: not ours */
	client_close(other);
	assert_int_equal(rl_listener_open(rig->sys, url, &rig_echo, NULL, NULL), -EEXIST);
	rig_assert_logged(rig, url);
	assert_int_equal(unlink(url + 5), 0);
	assert_int_equal(rmdir(folder), 0);
	rig_await(rig, rig->probes[0].stops, 1);
	rig_end(rig);
}

static void
open_with_a_bad_url_is_refused_with_one_line(void **state)
{
	static const struct {
		const char *url;
		const char *part;
	} urls[] = {
		{ "", "" },
		{ "tcp://", "" },
		{ "tcp://localhost:80", "localhost" },
		{ "tcp://127.0.0.1", "127.0.0.1" },
		{ "tcp://127.0.0.1:65536", "65536" },
		{ "tcp://127.0.0.1:-1", "-1" },
		{ "tcp://127.0.0.1:", "" },
		{ "tcp://256.0.0.1:80", "256.0.0.1" },
		{ "tcp://::1:80", "::1:80" },
		{ "tcp://[::1]80", "80" },
		{ "tcp://[::zz]:80", "::zz" },
		{ "unix:", "" },
		{ "unix:@", "@" },
		{ "unix:relative/path", "relative/path" },
		{ "tls://localhost:1", "localhost" },
		{ "udp://127.0.0.1:1", "udp://127.0.0.1:1" },
		{ "tcp://127.0.0.1:\n80", "\\x0a80" },
	};
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	for (size_t i = 0; i < RIG_COUNT(urls); i++) {
		char quoted[RL_URL_MAX];

		(void)snprintf(quoted, sizeof(quoted), "\"%s\"", urls[i].part);
		assert_int_equal(rl_listener_open(rig->sys, urls[i].url, &rig_echo, NULL, NULL),
				 -EINVAL);
		rig_assert_logged(rig, quoted);
	}
	assert_int_equal(rl_listener_open(rig->sys, "tcp://192.0.2.1:80", &rig_echo, NULL, NULL),
			 -EADDRNOTAVAIL);
	rig_assert_logged(rig, "tcp://192.0.2.1:80");
	rig_end(rig);
}

static void
open_with_too_large_a_state_is_einval(void **state)
{
	static const struct rl_actor_def large = {
		.name = "large",
		.receive = hangup_receive,
		.state_size = RL_ACTOR_STATE_MAX + 1,
	};
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_listener_open(rig->sys, "tcp://127.0.0.1:0", &large, NULL, NULL),
			 -EINVAL);
	rig_assert_logged(rig, "large");
	rig_end(rig);
}

/* Kilobytes of address space. */
static unsigned long
rig_vm_kb(void)
{
	char line[128];
	unsigned long kb = 0;
	FILE *file = fopen("/proc/self/status", "re");

	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "VmSize:", 7) == 0) {
			kb = strtoul(line + 7, NULL, 10);
		}
	}
	(void)fclose(file);
	return kb;
}

static void
start_and_stop_fifty_times_leaks_nothing(void **state)
{
	struct rig *rig = *state;
	unsigned long vm_kb = 0;

	for (uint64_t i = 1; i <= 50; i++) {
		int fd;

		rig_start(rig, RL_CONFIG());
		rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
		fd = client_dial(rig->url);
		served(fd);
		client_shut(fd);
		client_expect_fin(fd);
		client_close(fd);
		rig_await(rig, rig->probes[0].stops, i);
		if (i < 50) {
			rl_system_stop(rig->sys);
			rig->sys = NULL;
			assert_int_equal(rig_fds(), rig->fds_before + 1); /* the rig's own event */
			assert_true(rig_threads_are_gone());
			vm_kb = i == 5 ? rig_vm_kb() : vm_kb;
		}
	}
	rig_end(rig);
	/* the C library keeps arenas and stacks of threads that have ended */
	assert_true(rig_vm_kb() < vm_kb + 262144);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(conns_max_refuse_closes_the_next_at_once),
		rig_case(conns_max_pause_lets_the_next_wait),
		rig_case(burst_of_connections_is_accepted_whole),
		rig_case(close_frees_the_port_at_once),
		rig_case(close_leaves_connections_alone),
		rig_case(port_of_another_program_is_eaddrinuse),
		rig_case(restart_on_the_same_port_works_at_once),
		rig_case(listeners_up_to_sixteen_all_serve),
		rig_case(wildcard_host_listens_everywhere),
		rig_case(unix_file_of_a_dead_server_is_replaced),
		rig_case(open_with_a_bad_url_is_refused_with_one_line),
		rig_case(open_with_too_large_a_state_is_einval),
		rig_case(start_and_stop_fifty_times_leaks_nothing),
	};

	return rig_run("listener", tests);
}
