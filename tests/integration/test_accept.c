/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: with an acceptor connections go to the shards exactly in turn, past those that are full,
 * or where there are fewest, so that loads which have become uneven even out;
 * both policies at conns_max; what is between acceptor and shard when the listener closes or the
 * system drains is adopted or closed, and counted; out of descriptors it waits without spinning and
 * goes on; the port is not shared (pitfalls 85 to 89, 91).
 * How: plain clients, counters of each shard, a handler that holds its shard up, RLIMIT_NOFILE.
 * Not proved: what every integration test proves with RL_TEST_ACCEPT=round_robin, and each errno of
 * accept, which the simulator makes.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/id.h"

#define ROUND_ROBIN(...) RL_CONFIG(.accept_mode = RL_ACCEPT_ROUND_ROBIN, __VA_ARGS__)

static void
served(int fd)
{
	client_send_text(fd, "served?");
	client_recv_text(fd, "served?");
}

static uint64_t
accepted_by(const struct rig *rig, uint32_t shard)
{
	struct rl_stats stats;

	assert_int_equal(rl_system_stats(rig->sys, (int)shard, &stats), 0);
	return stats.accepted;
}

static void
turn_of_each_shard_is_exact(void **state)
{
	struct rig *rig = *state;
	int fds[120];

	rig_start(rig, ROUND_ROBIN());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial(rig->url);
		served(fds[i]);
		assert_int_equal(accepted_by(rig, i % rig->shards), i / rig->shards + 1);
	}
	for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
		client_close(fds[i]);
	}
	for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial(rig->url); /* a burst, and nobody waits for anybody */
	}
	for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
		served(fds[i]);
		client_close(fds[i]);
	}
	for (uint32_t i = 0; i < rig->shards; i++) {
		assert_int_equal(accepted_by(rig, i), 2 * RIG_COUNT(fds) / rig->shards);
	}
	rig_end(rig);
}

static void
turn_goes_past_a_shard_that_is_full(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fds[8];

	rig_start(rig, ROUND_ROBIN(.conns_max = 2));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	for (uint32_t i = 0; i < 2 * rig->shards; i++) {
		fds[i] = client_dial(rig->url);
		served(fds[i]);
	}
	for (uint32_t i = 0; i < 2; i++) { /* both of shard 0 */
		client_close(fds[i * rig->shards]);
		rig_await(rig, probe->stops, i + 1);
	}
	for (uint32_t i = 0; i < 2; i++) {
		fds[i * rig->shards] = client_dial(rig->url);
		served(fds[i * rig->shards]);
	}
	assert_int_equal(accepted_by(rig, 0), 4);
	for (uint32_t i = 0; i < 2 * rig->shards; i++) {
		client_close(fds[i]);
	}
	rig_end(rig);
	assert_int_equal(rig->stats.refused, 0);
}

/* The shard that has accepted one more than before. */
static uint32_t
shard_of_the_next(struct rig *rig, uint64_t counts[ID_SHARDS_MAX])
{
	uint32_t found = ID_SHARDS_MAX;

	for (uint32_t i = 0; i < rig->shards; i++) {
		uint64_t count = accepted_by(rig, i);

		if (count != counts[i]) {
			assert_int_equal(count, counts[i] + 1);
			assert_int_equal(found, ID_SHARDS_MAX);
			found = i;
		}
		counts[i] = count;
	}
	assert_int_not_equal(found, ID_SHARDS_MAX);
	return found;
}

#define CROWD 40

/* With two shards both are compared: the one that has fewer gets the next, whatever came before. */
static void
least_loaded_evens_out_what_has_become_uneven(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t counts[ID_SHARDS_MAX] = { 0 };
	uint32_t where[CROWD];
	uint32_t gone = 0;
	int fds[CROWD];

	rig_start(rig, RL_CONFIG(.accept_mode = RL_ACCEPT_LEAST_LOADED));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	for (uint32_t i = 0; i < CROWD; i++) {
		fds[i] = client_dial(rig->url);
		served(fds[i]);
		where[i] = shard_of_the_next(rig, counts);
	}
	assert_in_range(counts[0], CROWD / rig->shards, CROWD / rig->shards);
	for (uint32_t i = 0; i < CROWD; i++) { /* all of shard 0 */
		if (where[i] == 0) {
			client_close(fds[i]);
			fds[i] = -1;
			gone++;
		}
	}
	rig_await(rig, probe->stops, gone);
	for (uint32_t i = 0; i < CROWD; i++) {
		if (fds[i] < 0) {
			fds[i] = client_dial(rig->url);
			served(fds[i]);
			assert_int_equal(shard_of_the_next(rig, counts), 0);
		}
	}
	for (uint32_t i = 0; i < CROWD; i++) {
		client_close(fds[i]);
	}
	rig_await(rig, probe->stops, gone + CROWD);
	rig_end(rig);
}

static void
full_shards_refuse_together(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fds[16];
	int fd;

	rig_start(rig, ROUND_ROBIN(.conns_max = 3));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	for (uint32_t i = 0; i < 3 * rig->shards; i++) {
		fds[i] = client_dial(rig->url);
		served(fds[i]);
	}
	for (uint32_t i = 0; i < 20; i++) {
		fd = client_dial(rig->url);
		client_expect_fin(fd);
		client_close(fd);
	}
	assert_int_equal(rig_stats(rig).refused, 20);
	client_close(fds[0]);
	rig_await(rig, probe->stops, 1);
	fds[0] = client_dial(rig->url);
	served(fds[0]);
	for (uint32_t i = 0; i < 3 * rig->shards; i++) {
		served(fds[i]);
		client_close(fds[i]);
	}
	rig_assert_logged_slowly(rig, "conns_max = 3 is reached on every shard: new connections "
				      "are refused");
	rig_end(rig);
	assert_int_equal(rig->stats.refused, 20);
	assert_int_equal(rig->stats.accepted, 3 * rig->shards + 1);
}

static void
full_shards_pause_together(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint32_t room;
	int fds[12];

	rig_start(rig, ROUND_ROBIN(.conns_max = 2, .conns_policy = RL_CONNS_PAUSE));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	room = 2 * rig->shards;
	for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial(rig->url);
		client_send_text(fds[i], "served?");
	}
	for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
		uint32_t opens = i + room < RIG_COUNT(fds) ? i + room : RIG_COUNT(fds);

		client_recv_text(fds[i], "served?");
		rig_await(rig, probe->opens, opens);
		rig_assert_idle(rig);
		assert_int_equal(probe->opens, opens);
		client_close(fds[i]);
		rig_await(rig, probe->stops, i + 1);
	}
	rig_assert_logged_slowly(rig, "conns_max = 2 is reached on every shard: new connections "
				      "wait in the backlog");
	rig_end(rig);
	assert_int_equal(rig->stats.refused, 0);
	assert_int_equal(rig->stats.accepted, RIG_COUNT(fds));
}

/* Served, or told that it was too late; never left alone. */
static bool
settled(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char byte;

	assert_int_equal(poll(&ready, 1, RIG_PATIENCE_MS), 1);
	return recv(fd, &byte, 1, 0) == 1;
}

static void
close_under_a_burst_leaves_nobody_alone(void **state)
{
	struct rig *rig = *state;
	uint64_t count = 0;

	rig_start(rig, ROUND_ROBIN());
	for (uint32_t round = 0; round < 30; round++) {
		rl_listener_id id =
			rig_listen(rig, round % 2 ? client_unix_name() : "tcp://127.0.0.1:0",
				   &rig_echo, &rig->probes[0]);
		int fds[40];

		for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
			fds[i] = client_dial(rig->url);
			(void)send(fds[i], "x", 1, 0); /* a Unix peer may be gone already */
		}
		assert_int_equal(rl_listener_close(rig->sys, id), 0);
		assert_int_equal(client_try(rig->url), -ECONNREFUSED);
		for (uint32_t i = 0; i < RIG_COUNT(fds); i++) {
			count += settled(fds[i]);
			client_close(fds[i]);
		}
	}
	rig_end(rig);
	assert_int_equal(rig->stats.accepted, count);
	assert_int_equal(rig->stats.refused, 0);
}

/* Holds its shard up until a byte can be read from held[0]; not for ever, if the test fails. */
static int held[2];

static int
holder_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	struct pollfd ready = { .fd = held[0], .events = POLLIN };

	if (msg->kind == RL_MSG_RECV && !atomic_exchange(&probe->marks[1], 1)) {
		probe_add(probe, &probe->marks[0], 1);
		PROBE_EXPECT(probe, poll(&ready, 1, RIG_PATIENCE_MS) == 1);
	}
	return msg->kind == RL_MSG_RECV ? rl_conn_send(self, msg->recv.data, msg->recv.len)
					: RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def holder = {
	.name = "holder",
	.receive = holder_receive,
	.state_size = sizeof(struct probed),
};

static void
await_refusal(struct rig *rig)
{
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	int fd = client_try(rig->url);

	while (fd != -ECONNREFUSED) { /* or -ECONNRESET: the socket went at this very moment */
		if (fd >= 0) {
			client_close(fd);
		}
		assert_true(rig_now_ns() < end_ns);
		fd = client_try(rig->url);
	}
}

/* The shard does nothing, so what the acceptor hands over stays in between: 16, the rest waits. */
static void
drain_of_a_shard_that_is_behind_closes_what_it_was_handed(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fds[30];

	assert_int_equal(pipe2(held, O_CLOEXEC), 0);
	rig_start(rig, ROUND_ROBIN(.shards = 1, .accepts_in_flight = 1));
	rig_listen(rig, "tcp://127.0.0.1:0", &holder, probe);
	fds[0] = client_dial(rig->url);
	client_send_text(fds[0], "x");
	rig_await(rig, probe->marks[0], 1);
	for (uint32_t i = 1; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial(rig->url);
	}
	rl_system_drain(rig->sys);
	await_refusal(rig); /* the acceptor needs no shard to close its socket */
	assert_int_equal(write(held[1], "x", 1), 1);
	for (uint32_t i = 1; i < RIG_COUNT(fds); i++) {
		assert_false(settled(fds[i]));
		client_close(fds[i]);
	}
	client_close(fds[0]);
	assert_int_equal(rl_system_run(rig->sys), 0);
	client_close(held[0]);
	client_close(held[1]);
	rig_end(rig);
	assert_in_range(rig->stats.accepted + rig->stats.refused, 1, 17);
}

static void
close_and_stop_wake_an_acceptor_that_waits(void **state)
{
	struct rig *rig = *state;

	for (uint32_t round = 0; round < 20; round++) {
		uint64_t began_ns = rig_now_ns();
		rl_listener_id id;

		rig_start(rig, ROUND_ROBIN());
		id = rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
		rig_listen(rig, client_unix_name(), &rig_echo, &rig->probes[0]);
		rig_assert_idle(rig);
		assert_int_equal(rl_listener_close(rig->sys, id), 0);
		rl_system_stop(rig->sys);
		rig->sys = NULL;
		assert_int_equal(client_try(rig->url), -ECONNREFUSED);
		assert_int_equal(rig_fds(), rig->fds_before + 1); /* the rig's own event */
		assert_true(rig_threads_are_gone());
		assert_true(rig_now_ns() - began_ns < RIG_PATIENCE_MS / 2 * 1000000ull);
	}
	rig_end(rig);
}

static uint64_t
cpu_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* No descriptor can be made any more, until it is put back. */
static void
nofile_use_up(struct rlimit *before)
{
	struct rlimit none;
	int free_fd = dup(STDIN_FILENO);

	assert_true(free_fd >= 0);
	assert_int_equal(close(free_fd), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
	none = (struct rlimit){ .rlim_cur = (rlim_t)free_fd, .rlim_max = before->rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void
nofile_used_up_waits_idle_and_goes_on(void **state)
{
	struct rig *rig = *state;
	struct client_addr addr;
	struct rlimit before;
	uint64_t since_ns;
	uint64_t errors;
	uint64_t used_ns;
	int fd;

	rig_start(rig, ROUND_ROBIN());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	addr = client_addr(rig->url);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	nofile_use_up(&before);
	assert_int_equal(connect(fd, (const struct sockaddr *)&addr.addr, addr.len), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	rig_await_stat(rig, accept_errors, 4); /* 10, 20, 40 ms later each */
	errors = rig_stats(rig).accept_errors;
	used_ns = cpu_ns();
	since_ns = rig_now_ns();
	rig_let_pass(rig, 400);
	rig_await_stat(rig, accept_errors, errors + 1);
	errors = rig_stats(rig).accept_errors - errors;
	used_ns = cpu_ns() - used_ns;
	since_ns = rig_now_ns() - since_ns;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_in_range(errors, 1, 1 + since_ns / 80000000); /* 80 ms later at least */
	assert_true(used_ns < since_ns / 4);
	served(fd);
	client_close(fd);
	rig_assert_logged_slowly(rig, "can't accept");
	rig_await(rig, rig->probes[0].stops, 1);
	rig_end(rig);
	assert_int_equal(rig->stats.accepted, 1);
}

/* Where each shard has a socket of its own the kernel would let another of this user join. */
static void
port_is_shared_with_nobody(void **state)
{
	struct rig *rig = *state;
	struct client_addr addr;
	int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	rig_start(rig, ROUND_ROBIN());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	addr = client_addr(rig->url);
	assert_int_equal(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(other, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	assert_int_equal(bind(other, (const struct sockaddr *)&addr.addr, addr.len), -1);
	assert_int_equal(errno, EADDRINUSE);
	client_close(other);
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(turn_of_each_shard_is_exact),
		rig_case(turn_goes_past_a_shard_that_is_full),
		rig_case(least_loaded_evens_out_what_has_become_uneven),
		rig_case(full_shards_refuse_together),
		rig_case(full_shards_pause_together),
		rig_case(close_under_a_burst_leaves_nobody_alone),
		rig_case(drain_of_a_shard_that_is_behind_closes_what_it_was_handed),
		rig_case(close_and_stop_wake_an_acceptor_that_waits),
		rig_case(nofile_used_up_waits_idle_and_goes_on),
		rig_case(port_is_shared_with_nobody),
	};

	return rig_run("accept", tests);
}
