/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: an abort and a handler's failure reset the peer; a peer that resets, at whatever moment,
 * ends its own connection and nothing else; storms of such peers leave nothing behind, neither a
 * buffer nor a busy loop (pitfalls 1 to 12 and 35).
 * How: plain clients with SO_LINGER 0. RL_TEST_ROUNDS says how many rounds a storm has,
 * RL_TEST_SEED which random moments are tried.
 * Not proved: each single interleaving; the simulator's part.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What an actor of this file does; a listener's probe has it in marks[0]. */
enum fate {
	FATE_ABORT_IN_RECV,
	FATE_ABORT_AFTER_CLOSE,
	FATE_FAIL_IN_START,
	FATE_FAIL_IN_OPEN,
	FATE_FAIL_IN_RECV,
	FATE_FAIL_IN_EOF,
	FATE_NONSENSE_IN_RECV,
};

static int
doomed_recv(struct rl_actor *self, struct probe *probe, enum fate fate)
{
	static const uint8_t block[100000];

	switch (fate) {
	case FATE_ABORT_IN_RECV:
		PROBE_EXPECT(probe, rl_conn_send(self, block, sizeof(block)) == 0);
		PROBE_EXPECT(probe, rl_conn_abort(self) == 0);
		PROBE_EXPECT(probe, rl_conn_send(self, block, 1) == -ESHUTDOWN);
		return 0;
	case FATE_ABORT_AFTER_CLOSE:
		PROBE_EXPECT(probe, rl_conn_close(self) == 0);
		PROBE_EXPECT(probe, rl_conn_abort(self) == 0);
		return 0;
	case FATE_FAIL_IN_RECV:
		return -EIO;
	case FATE_NONSENSE_IN_RECV:
		return 4711;
	case FATE_FAIL_IN_START:
	case FATE_FAIL_IN_OPEN:
	case FATE_FAIL_IN_EOF:
		break;
	}
	return 0;
}

static int
doomed_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	enum fate fate = (enum fate)atomic_load(&probe->marks[0]);

	switch (msg->kind) {
	case RL_MSG_START:
		return fate == FATE_FAIL_IN_START ? -EIO : 0;
	case RL_MSG_OPEN:
		return fate == FATE_FAIL_IN_OPEN ? -EIO : 0;
	case RL_MSG_RECV:
		return doomed_recv(self, probe, fate);
	case RL_MSG_EOF:
		return fate == FATE_FAIL_IN_EOF ? -EIO : RL_ACTOR_UNHANDLED;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def doomed = {
	.name = "doomed",
	.receive = doomed_receive,
	.state_size = sizeof(struct probed),
};

/* The reset may come so early that the connect itself learns of it. */
static void
doomed_meet(const char *url, enum fate fate)
{
	int fd = client_try(url);

	if (fd < 0) {
		assert_int_equal(fd, -ECONNRESET);
		return;
	}
	if (fate != FATE_FAIL_IN_START && fate != FATE_FAIL_IN_OPEN) {
		client_send_text(fd, "x");
	}
	client_expect_reset(fd);
	client_close(fd);
}

static void
doomed_run(struct rig *rig, enum fate fate, enum rl_reason reason, int error)
{
	struct probe *probe = &rig->probes[0];

	atomic_store(&probe->marks[0], fate);
	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &doomed, probe);
	for (uint64_t i = 1; i <= 20; i++) {
		doomed_meet(rig->url, fate);
		rig_await(rig, probe->stopped[reason], i);
		assert_int_equal(probe->error, error);
	}
	rig_end(rig);
	assert_int_equal(rig->stats.closed[reason], 20);
}

static void
abort_by_actor_resets_the_peer(void **state)
{
	doomed_run(*state, FATE_ABORT_IN_RECV, RL_REASON_LOCAL, 0);
}

static void
abort_overrides_a_graceful_end(void **state)
{
	doomed_run(*state, FATE_ABORT_AFTER_CLOSE, RL_REASON_LOCAL, 0);
}

static void
failure_in_start_resets_the_peer(void **state)
{
	doomed_run(*state, FATE_FAIL_IN_START, RL_REASON_FAILURE, -EIO);
}

static void
failure_in_open_resets_the_peer(void **state)
{
	doomed_run(*state, FATE_FAIL_IN_OPEN, RL_REASON_FAILURE, -EIO);
}

static void
failure_in_recv_resets_the_peer(void **state)
{
	doomed_run(*state, FATE_FAIL_IN_RECV, RL_REASON_FAILURE, -EIO);
}

/* An answer that means nothing is a failure like any other. */
static void
failure_by_unknown_answer_resets_the_peer(void **state)
{
	doomed_run(*state, FATE_NONSENSE_IN_RECV, RL_REASON_FAILURE, -EINVAL);
}

/* The peer has sent its FIN, so the reset is what it reads last. */
static void
failure_in_eof_resets_the_peer(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	atomic_store(&probe->marks[0], FATE_FAIL_IN_EOF);
	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &doomed, probe);
	fd = client_dial(rig->url);
	client_shut(fd);
	client_expect_reset(fd);
	client_close(fd);
	rig_await(rig, probe->stopped[RL_REASON_FAILURE], 1);
	rig_end(rig);
}

static void
abort_of_unix_stream_ends_it(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	atomic_store(&probe->marks[0], FATE_ABORT_IN_RECV);
	rig_start(rig, RL_CONFIG());
	rig_listen(rig, client_unix_name(), &doomed, probe);
	fd = client_dial(rig->url);
	client_send_text(fd, "x");
	(void)client_read_end(fd, NULL); /* a Unix stream knows no reset, unless input was unread */
	client_close(fd);
	rig_await(rig, probe->stopped[RL_REASON_LOCAL], 1);
	rig_end(rig);
}

static void
peer_reset_ends_with_peer_rst(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	fd = client_dial(rig->url);
	client_send_text(fd, "x");
	client_recv_text(fd, "x");
	client_reset(fd);
	rig_await(rig, probe->stopped[RL_REASON_PEER_RST], 1);
	assert_int_equal(probe->error, -ECONNRESET);
	assert_int_equal(probe->eofs, 0);
	rig_end(rig);
}

/* Everything is queued everywhere: in the kernel, in the output, in the receive buffers. */
static void
peer_that_vanishes_with_data_queued_leaves_nothing(void **state)
{
	static uint8_t block[262144];
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fds[20];

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial(rig->url);
	}
	rig_await(rig, probe->opens, RIG_COUNT(fds));
	for (uint32_t standing = 0; standing < 50;) {
		size_t moved = 0;

		for (size_t i = 0; i < RIG_COUNT(fds); i++) {
			moved += client_push(fds[i], block, sizeof(block));
		}
		standing = moved > 0 ? 0 : standing + 1;
		rig_let_pass(rig, 1);
	}
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		client_await_input(fds[i]);
		if (i % 2 == 0) {
			client_reset(fds[i]);
		} else {
			client_close(fds[i]); /* with unread input: a reset, too */
		}
	}
	rig_await(rig, probe->stops, RIG_COUNT(fds));
	assert_int_equal(probe->stopped[RL_REASON_PEER_RST], RIG_COUNT(fds));
	rig_end(rig);
}

static uint64_t
storm_seed(void)
{
	const char *chosen = getenv("RL_TEST_SEED");
	uint64_t seed = chosen != NULL ? strtoull(chosen, NULL, 0) : rig_now_ns();

	print_message("RL_TEST_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/* One client that does something legal and then vanishes. */
static void
storm_client(const char *url, uint64_t *random)
{
	static uint8_t block[200000];
	uint64_t moment = client_random(random);
	size_t len = (size_t)(client_random(random) % sizeof(block));
	int fd = client_dial(url);

	if (moment & 1) {
		(void)client_push(fd, block, len);
	}
	if (moment & 2) {
		(void)!recv(fd, block, len, 0); /* what there is, if anything */
	}
	if (moment & 4) {
		client_shut(fd);
	}
	if (moment & 8) {
		(void)!recv(fd, block, len, 0);
	}
	if ((moment & 0x30) == 0) {
		client_close(fd);
	} else {
		client_reset(fd);
	}
}

static void
peer_that_resets_at_any_moment_ends_only_itself(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t random = storm_seed();
	int witness;

	rig_start(rig, RL_CONFIG(.linger_timeout_ns = RL_MS(100)));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	witness = client_dial(rig->url);
	for (uint32_t i = 0; i < 1000; i++) {
		storm_client(rig->url, &random);
	}
	client_send_text(witness, "unharmed");
	client_recv_text(witness, "unharmed");
	client_close(witness);
	rig_end(rig);
	assert_true(rig->stats.closed[RL_REASON_PEER_RST] > 0);
}

/* Who is refused may be told so before its connect has even returned. */
static int
storm_dial(const char *url)
{
	int fd = client_try(url);

	while (fd == -ECONNRESET) {
		fd = client_try(url);
	}
	assert_true(fd >= 0);
	return fd;
}

/*
 * One that behaves is served when the storm is over. While the table is still full of those that
 * were reset it may be refused: then it comes again. Returns how often it came.
 */
static uint64_t
storm_witness(const char *url)
{
	for (uint64_t tries = 1; tries < 20000; tries++) {
		char text[8] = { 0 };
		int fd = storm_dial(url);
		ssize_t got;

		(void)send(fd, "unharmed", sizeof(text), MSG_NOSIGNAL);
		got = client_recv_some(fd, text, sizeof(text));
		if (got > 0) {
			client_recv(fd, text + got, sizeof(text) - (size_t)got);
			assert_memory_equal(text, "unharmed", sizeof(text));
			client_close(fd);
			return tries;
		}
		client_close(fd);
	}
	fail_msg("refused for ever");
	return 0;
}

/* Connect, send, reset; the connection is gone before it was accepted, or in the middle of it. */
static void
storm_run(struct rig *rig, struct rl_config config)
{
	const char *chosen = getenv("RL_TEST_ROUNDS");
	uint64_t rounds = chosen != NULL ? strtoull(chosen, NULL, 10) : 2000;
	struct probe *probe = &rig->probes[0];
	uint64_t tries;

	rig_start(rig, config);
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	for (uint64_t i = 0; i < rounds; i++) {
		int fd = storm_dial(rig->url);

		(void)send(fd, "hello", 5, MSG_NOSIGNAL);
		client_reset(fd);
	}
	tries = storm_witness(rig->url);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	rig_assert_idle(rig);
	rig_forgive_logged(rig, "conns_max"); /* each shard says so when it was full */
	rig_end(rig);
	assert_true(rig->stats.accepted > 0);
	/* who was reset while still in the backlog may never have been seen */
	assert_true(rig->stats.accepted + rig->stats.refused + rig->stats.accept_errors <=
		    rounds + tries);
}

static void
storm_of_resets_leaves_nothing(void **state)
{
	storm_run(*state, RL_CONFIG());
}

static void
storm_of_resets_with_small_tables_leaves_nothing(void **state)
{
	storm_run(*state, RL_CONFIG(.conns_max = 8, .accepts_in_flight = 2, .sq_entries = 64,
				    .cq_entries = 256, .recv_buffers = 8));
}

static void
storm_of_resets_while_accepting_is_paused_leaves_nothing(void **state)
{
	storm_run(*state, RL_CONFIG(.conns_max = 4, .conns_policy = RL_CONNS_PAUSE));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(abort_by_actor_resets_the_peer),
		rig_case(abort_overrides_a_graceful_end),
		rig_case(failure_in_start_resets_the_peer),
		rig_case(failure_in_open_resets_the_peer),
		rig_case(failure_in_recv_resets_the_peer),
		rig_case(failure_by_unknown_answer_resets_the_peer),
		rig_case(failure_in_eof_resets_the_peer),
		rig_case(abort_of_unix_stream_ends_it),
		rig_case(peer_reset_ends_with_peer_rst),
		rig_case(peer_that_vanishes_with_data_queued_leaves_nothing),
		rig_case(peer_that_resets_at_any_moment_ends_only_itself),
		rig_case(storm_of_resets_leaves_nothing),
		rig_case(storm_of_resets_with_small_tables_leaves_nothing),
		rig_case(storm_of_resets_while_accepting_is_paused_leaves_nothing),
	};

	return rig_run("abort", tests);
}
