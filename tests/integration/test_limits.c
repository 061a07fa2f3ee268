/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a server that hits a limit goes on: descriptors run out under it and come back, conns_max
 * is reached with both policies, actors_max is, clients come too fast, or one has too many
 * connections. The peer sees what docs/limits.md says, the log has at most a line a second with the
 * knob's name, the counter moves, the CPU is idle meanwhile, and connections that exist notice
 * nothing (pitfalls 85, 86, 91).
 * How: prlimit(2) on this process, clients that were there before and keep on talking, CPU time of
 * the process.
 * Not proved: each errno of accept, which the simulator makes.
 */
#include "client.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define HEALTHY	     4
#define WAITING	     12
#define WATCHED_NS   400000000ull
#define BUSY_PERCENT 25

/* Those who were there before; each is answered within the rig's patience. */
struct healthy {
	int fds[HEALTHY];
};

static void
healthy_ask(struct healthy *healthy)
{
	for (uint32_t i = 0; i < HEALTHY; i++) {
		client_send_text(healthy->fds[i], "still there?");
		client_recv_text(healthy->fds[i], "still there?");
	}
}

static void
healthy_dial(struct healthy *healthy, const struct rig *rig)
{
	memset(healthy, 0, sizeof(*healthy));
	for (uint32_t i = 0; i < HEALTHY; i++) {
		healthy->fds[i] = client_dial(rig->url);
	}
	healthy_ask(healthy);
}

static void
healthy_close(struct healthy *healthy)
{
	healthy_ask(healthy);
	for (uint32_t i = 0; i < HEALTHY; i++) {
		client_close(healthy->fds[i]);
	}
}

/* Of this process, which waits in poll(2) while it is asked: /proc takes a descriptor to read. */
static uint64_t
cpu_used_ns(void)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* While nothing is asked of it, the system uses next to no CPU; a busy loop would take all. */
static void
assert_idle_meanwhile(struct rig *rig)
{
	uint64_t cpu_ns = cpu_used_ns();
	uint64_t end_ns = rig_now_ns() + WATCHED_NS;
	uint64_t began_ns = rig_now_ns();

	while (rig_now_ns() < end_ns) {
		rig_let_pass(rig, 20);
	}
	cpu_ns = cpu_used_ns() - cpu_ns;
	assert_true(cpu_ns * 100 < (rig_now_ns() - began_ns) * BUSY_PERCENT);
}

/*
 * From now on no descriptor can be made; those that exist are as good as before. @most 0: as many
 * as there are. With fewer than a thread waits for even poll(2) answers EINVAL.
 */
static void
nofile_lower(struct rlimit *before, rlim_t most)
{
	struct rlimit lowered;
	int free_fd = dup(STDIN_FILENO);

	assert_true(free_fd >= 0);
	assert_int_equal(close(free_fd), 0);
	assert_int_equal(prlimit(getpid(), RLIMIT_NOFILE, NULL, before), 0);
	lowered = (struct rlimit){ .rlim_cur = most != 0 ? most : (rlim_t)free_fd,
				   .rlim_max = before->rlim_max };
	assert_int_equal(prlimit(getpid(), RLIMIT_NOFILE, &lowered, NULL), 0);
}

static void
nofile_restore(const struct rlimit *before)
{
	assert_int_equal(prlimit(getpid(), RLIMIT_NOFILE, before, NULL), 0);
}

/* Sockets that are made while there are descriptors, and connect when there are none. */
static void
waiting_make(int fds[WAITING])
{
	for (uint32_t i = 0; i < WAITING; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(fds[i] >= 0);
	}
}

static void
waiting_connect(const int fds[WAITING], const char *url)
{
	struct client_addr addr = client_addr(url);

	for (uint32_t i = 0; i < WAITING; i++) {
		const char byte = 'w';

		/* the kernel does the handshake without us */
		assert_int_equal(connect(fds[i], (const struct sockaddr *)&addr.addr, addr.len), 0);
		assert_int_equal(send(fds[i], &byte, 1, 0), 1);
	}
}

static bool
has_answer(int fd, int ms)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	return poll(&ready, 1, ms) == 1;
}

/* How many of them have been served. */
static uint32_t
waiting_served(const int fds[WAITING])
{
	uint32_t served = 0;

	for (uint32_t i = 0; i < WAITING; i++) {
		served += has_answer(fds[i], 0);
	}
	return served;
}

/* Twice, because what it learnt the first time must not harm the second; then as low as it goes. */
static void
check_nofile(struct rig *rig, const struct rl_config *config)
{
	struct healthy healthy;
	struct rlimit before;
	int fds[WAITING];

	rig_start(rig, *config);
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	healthy_dial(&healthy, rig);
	for (uint32_t round = 1; round <= 2; round++) {
		uint64_t errors = rig_stats(rig).accept_errors;
		uint64_t watched_errors;
		uint64_t watched_ns;

		waiting_make(fds);
		nofile_lower(&before, round == 1 ? 0 : 1);
		waiting_connect(fds, rig->url);
		rig_await_stat(rig, accept_errors, errors + 3);
		healthy_ask(&healthy);
		errors = rig_stats(rig).accept_errors;
		watched_ns = rig_now_ns();
		assert_idle_meanwhile(rig);
		watched_errors = rig_stats(rig).accept_errors - errors;
		watched_ns = rig_now_ns() - watched_ns;
		healthy_ask(&healthy);
		/* an accept that was armed before still has the limit of that moment */
		assert_in_range(waiting_served(fds), 0, rig->shards);
		nofile_restore(&before);
		/* 40 ms later each, then 80, 160: a few tries by each shard in 400 ms */
		assert_in_range(watched_errors, 0, 6 * (watched_ns / WATCHED_NS) * rig->shards);
		for (uint32_t i = 0; i < WAITING; i++) {
			char byte;

			assert_true(has_answer(fds[i], RIG_PATIENCE_MS));
			assert_int_equal(recv(fds[i], &byte, 1, 0), 1);
			client_close(fds[i]);
		}
		rig_await(rig, rig->probes[0].stops, (uint64_t)round * WAITING);
	}
	rig_assert_logged_slowly(rig, "can't accept (Too many open files; raise RLIMIT_NOFILE");
	healthy_close(&healthy);
	rig_await(rig, rig->probes[0].stops, 2 * WAITING + HEALTHY);
	rig_end(rig);
	assert_int_equal(rig->stats.accepted, 2 * WAITING + HEALTHY);
	assert_int_equal(rig->stats.refused, 0);
}

static void
nofile_lowered_and_restored_under_an_acceptor(void **state)
{
	const struct rl_config config = RL_CONFIG(.accept_mode = RL_ACCEPT_ROUND_ROBIN);

	check_nofile(*state, &config);
}

static void
nofile_lowered_and_restored_under_shards_with_plain_files(void **state)
{
	const struct rl_config config =
		RL_CONFIG(.without = RL_FEATURE_FIXED_FILES, .accepts_in_flight = 1);

	check_nofile(*state, &config);
}

/* An accept into a ring's table needs no descriptor: such a server does not even notice. */
static void
nofile_lowered_leaves_fixed_files_alone(void **state)
{
	struct rig *rig = *state;
	struct rlimit before;
	int fds[WAITING];

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	waiting_make(fds);
	nofile_lower(&before, 0);
	waiting_connect(fds, rig->url);
	for (uint32_t i = 0; i < WAITING; i++) {
		assert_true(has_answer(fds[i], RIG_PATIENCE_MS));
	}
	nofile_restore(&before);
	for (uint32_t i = 0; i < WAITING; i++) {
		client_close(fds[i]);
	}
	rig_await(rig, rig->probes[0].stops, WAITING);
	rig_end(rig);
	assert_int_equal(rig->stats.accept_errors, 0);
}

/* When they are gone, others are served; and the end. */
static void
healthy_leave_room(struct healthy *healthy, struct rig *rig)
{
	int fd;

	healthy_close(healthy);
	rig_await(rig, rig->probes[0].stops, HEALTHY);
	fd = client_dial(rig->url);
	client_send_text(fd, "served?");
	client_recv_text(fd, "served?");
	client_close(fd);
	rig_await(rig, rig->probes[0].stops, HEALTHY + 1);
	rig_end(rig);
}

/* Clients come in a stream, and each is turned away at once; nobody else notices. */
static void
conns_max_refuses_under_shards(void **state)
{
	struct rig *rig = *state;
	struct healthy healthy;
	uint64_t refused = 0;
	uint64_t end_ns;
	int fd;

	rig_start(rig, RL_CONFIG(.shards = 1, .conns_max = HEALTHY));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	healthy_dial(&healthy, rig);
	end_ns = rig_now_ns() + WATCHED_NS;
	while (rig_now_ns() < end_ns) {
		fd = client_dial(rig->url);
		client_expect_fin(fd);
		client_close(fd);
		assert_int_equal(rig_stats(rig).refused, ++refused);
		healthy_ask(&healthy);
	}
	rig_assert_idle(rig);
	rig_assert_logged_slowly(rig, "conns_max = 4 is reached: new connections are refused");
	healthy_leave_room(&healthy, rig);
}

static void
conns_max_pauses_under_shards(void **state)
{
	struct rig *rig = *state;
	struct healthy healthy;
	int fds[WAITING];

	rig_start(rig,
		  RL_CONFIG(.shards = 1, .conns_max = HEALTHY + 1, .conns_policy = RL_CONNS_PAUSE));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	healthy_dial(&healthy, rig);
	waiting_make(fds);
	waiting_connect(fds, rig->url);
	for (uint32_t i = 0; i < WAITING; i++) {
		assert_true(has_answer(fds[i], RIG_PATIENCE_MS)); /* first come, first served */
		if (i == 0) {
			assert_idle_meanwhile(rig);
		}
		healthy_ask(&healthy);
		assert_false(i + 1 < WAITING && has_answer(fds[i + 1], 5));
		client_close(fds[i]);
	}
	rig_await(rig, rig->probes[0].stops, WAITING);
	rig_assert_logged_slowly(rig,
				 "conns_max = 5 is reached: new connections wait in the backlog");
	healthy_close(&healthy);
	rig_await(rig, rig->probes[0].stops, WAITING + HEALTHY);
	rig_end(rig);
	assert_int_equal(rig->stats.refused, 0);
	assert_int_equal(rig->stats.accepted, WAITING + HEALTHY);
}

/* Others have the actors that connections would need. */
static void
actors_max_refuses(void **state)
{
	struct rig *rig = *state;
	struct healthy healthy;
	uint64_t refused = 0;
	int fd;

	rig_start(rig, RL_CONFIG(.shards = 1, .conns_max = 8, .actors_max = 8));
	for (uint32_t i = HEALTHY; i < 8; i++) {
		assert_int_equal(rl_system_spawn(rig->sys, 0, &rig_sink, &rig->probes[1], NULL), 0);
	}
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	healthy_dial(&healthy, rig);
	while (refused < 20) {
		fd = client_dial(rig->url);
		client_expect_fin(fd);
		client_close(fd);
		assert_int_equal(rig_stats(rig).refused, ++refused);
		healthy_ask(&healthy);
	}
	rig_assert_idle(rig);
	rig_assert_logged_slowly(rig, "actors_max is reached");
	healthy_leave_room(&healthy, rig);
}

/* A connection that is served, or one that is closed at once: which? */
static bool
is_served(int fd)
{
	char text[16];

	(void)send(fd, "served?", 7, MSG_NOSIGNAL); /* it may be gone by now */
	return client_recv_some(fd, text, sizeof(text)) > 0;
}

/* All at once: the burst is served, the others are not; as many more as the time has brought. */
static void
accept_rate_refuses_what_is_beyond(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	const struct rl_listener_options options = { .arg = probe,
						     .accept_rate_max = 10,
						     .accept_burst = HEALTHY + 3 };
	struct healthy healthy;
	uint64_t began_ns;
	uint64_t allowed;
	uint32_t served = 0;
	uint32_t refused = 0;

	rig_start(rig, RL_CONFIG(.shards = 1));
	rig_listen_with(rig, "tcp://127.0.0.1:0", &rig_echo, &options);
	began_ns = rig_now_ns();
	healthy_dial(&healthy, rig);
	while (rig_now_ns() - began_ns < WATCHED_NS || refused == 0) {
		int fds[HEALTHY + 4]; /* more at once than the time brings, however slow it is */

		assert_true(rig_now_ns() - began_ns < RIG_PATIENCE_MS * 1000000ull);
		for (size_t i = 0; i < RIG_COUNT(fds); i++) {
			fds[i] = client_dial(rig->url);
		}
		for (size_t i = 0; i < RIG_COUNT(fds); i++) {
			bool is_in = is_served(fds[i]);

			served += is_in;
			refused += !is_in;
			client_close(fds[i]);
		}
		healthy_ask(&healthy);
	}
	allowed = HEALTHY + 3 + (rig_now_ns() - began_ns) / 100000000;
	rig_await(rig, probe->stops, served);
	rig_assert_idle(rig);
	assert_in_range(served, 3, allowed - HEALTHY);
	assert_int_equal(rig_stats(rig).refused, refused);
	assert_int_equal(rig_stats(rig).refused_rate, refused);
	rig_assert_logged_slowly(rig, "accept_rate_max = 10 is exceeded: connections are refused");
	began_ns = rig_now_ns();
	do { /* a token comes home every 100 ms */
		int fd = client_dial(rig->url);

		served = is_served(fd);
		client_close(fd);
		rig_let_pass(rig, 10);
	} while (!served && rig_now_ns() - began_ns < RIG_PATIENCE_MS * 1000000ull);
	assert_true(served);
	rig_forgive_logged(rig, "accept_rate_max");
	healthy_close(&healthy);
	rig_end(rig);
	assert_int_equal(rig->stats.refused, rig->stats.refused_rate);
	assert_int_equal(rig->stats.refused_peer, 0);
}

/* From another address of the loopback network. */
static int
dial_from(const char *url, uint32_t host)
{
	struct client_addr addr = client_addr(url);
	struct sockaddr_in from = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + host);
	assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&addr.addr, addr.len), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void
check_conns_per_peer(struct rig *rig, struct rl_config config)
{
	struct probe *probe = &rig->probes[0];
	const struct rl_listener_options options = { .arg = probe, .conns_per_peer_max = 3 };
	int fds[2][3];
	int fd;

	config.shards = 1;
	rig_start(rig, config);
	rig_listen_with(rig, "tcp://127.0.0.1:0", &rig_echo, &options);
	for (uint32_t round = 1; round <= 5; round++) {
		for (uint32_t i = 0; i < 6; i++) {
			fds[i % 2][i / 2] = dial_from(rig->url, i % 2);
			assert_true(is_served(fds[i % 2][i / 2]));
		}
		for (uint32_t i = 0; i < 10; i++) {
			fd = dial_from(rig->url, i % 2);
			assert_false(is_served(fd));
			client_close(fd);
		}
		assert_int_equal(rig_stats(rig).refused_peer, 11ull * round - 1);
		client_close(
			fds[1][1]); /* one of the other's ends: only the other may come again */
		rig_await(rig, probe->stops, 7ull * (round - 1) + 1);
		fds[1][1] = dial_from(rig->url, 1);
		assert_true(is_served(fds[1][1]));
		fd = dial_from(rig->url, 0);
		assert_false(is_served(fd));
		client_close(fd);
		rig_await_stat(rig, refused_peer, 11ull * round);
		for (uint32_t i = 0; i < 6; i++) {
			client_close(fds[i % 2][i / 2]);
		}
		rig_await(rig, probe->stops, 7ull * round);
	}
	rig_assert_logged_slowly(rig, "conns_per_peer_max = 3 is reached by 127.0.0.");
	rig_end(rig);
	assert_int_equal(rig->stats.accepted, 35);
	assert_int_equal(rig->stats.refused, rig->stats.refused_peer);
	assert_int_equal(rig->stats.refused_rate, 0);
}

static void
conns_per_peer_under_shards(void **state)
{
	check_conns_per_peer(*state, RL_CONFIG());
}

static void
conns_per_peer_under_an_acceptor(void **state)
{
	check_conns_per_peer(*state, RL_CONFIG(.accept_mode = RL_ACCEPT_ROUND_ROBIN));
}

/* Of two listeners only one limits: what comes through the other is not counted. */
static void
conns_per_peer_of_one_listener_is_not_the_others(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	const struct rl_listener_options options = { .arg = probe, .conns_per_peer_max = 1 };
	char url[RL_URL_MAX];
	int fds[8];
	int fd;

	rig_start(rig, RL_CONFIG(.shards = 1));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	memcpy(url, rig->url, sizeof(url));
	rig_listen_with(rig, "tcp://[::1]:0", &rig_echo, &options);
	for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial(i + 1 < RIG_COUNT(fds) ? url : rig->url);
		assert_true(is_served(fds[i]));
	}
	fd = client_dial(rig->url);
	assert_false(is_served(fd));
	client_close(fd);
	for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
		client_close(fds[i]);
	}
	rig_await(rig, probe->stops, RIG_COUNT(fds));
	rig_assert_logged(rig, "conns_per_peer_max = 1 is reached by [::1]:");
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(nofile_lowered_and_restored_under_an_acceptor),
		rig_case(nofile_lowered_and_restored_under_shards_with_plain_files),
		rig_case(nofile_lowered_leaves_fixed_files_alone),
		rig_case(conns_max_refuses_under_shards),
		rig_case(conns_max_pauses_under_shards),
		rig_case(actors_max_refuses),
		rig_case(accept_rate_refuses_what_is_beyond),
		rig_case(conns_per_peer_under_shards),
		rig_case(conns_per_peer_under_an_acceptor),
		rig_case(conns_per_peer_of_one_listener_is_not_the_others),
	};

	return rig_run("limits", tests);
}
