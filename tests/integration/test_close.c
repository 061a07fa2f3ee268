/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a graceful end loses no byte of the reply, whoever goes on talking, and the peer sees FIN
 * and not a reset (pitfalls 48, 61, 62); what a send answers once the end was decided.
 * How: clients that write while the server ends, that half-close, or that never close.
 * Not proved: the deadlines (test_deadline.c) and ends that are not graceful (test_abort.c).
 */
#include "client.h"

#include <errno.h>
#include <poll.h>

#define REPLY_BYTES 1000000u
#define REPLY_SEED  77

/* How an actor of this file ends after its reply; a listener's probe has it in marks[0]. */
enum ending {
	ENDING_STOP,
	ENDING_CLOSE,
	ENDING_CLOSE_IN_OPEN,
};

static void
reply_send(struct rl_actor *self, struct probe *probe)
{
	static _Thread_local uint8_t reply[REPLY_BYTES];
	struct rl_conn_stats stats;
	int rc;

	pattern_fill(REPLY_SEED, 0, reply, sizeof(reply));
	rc = rl_conn_send(self, reply, sizeof(reply));
	PROBE_EXPECT(probe, rc == RL_CONN_SEND_HIGH);
	PROBE_EXPECT(probe, rl_conn_stats(self, &stats) == 0);
	PROBE_EXPECT(probe, stats.queued_bytes == REPLY_BYTES);
}

static int
reply_close(struct rl_actor *self, struct probe *probe)
{
	PROBE_EXPECT(probe, rl_conn_close(self) == 0);
	PROBE_EXPECT(probe, rl_conn_send(self, "x", 1) == -ESHUTDOWN);
	PROBE_EXPECT(probe, rl_conn_close(self) == -ESHUTDOWN);
	PROBE_EXPECT(probe, rl_conn_shutdown_write(self) == -ESHUTDOWN);
	return 0;
}

/* Replies to the first bytes, or to being opened, and ends. */
static int
reply_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	enum ending ending = (enum ending)atomic_load(&probe->marks[0]);
	uint32_t kind = ending == ENDING_CLOSE_IN_OPEN ? RL_MSG_OPEN : RL_MSG_RECV;

	PROBE_EXPECT(probe, msg->kind != RL_MSG_WRITABLE); /* nothing comes after the decision */
	if (msg->kind != kind) {
		return RL_ACTOR_UNHANDLED;
	}
	reply_send(self, probe);
	return ending == ENDING_STOP ? RL_ACTOR_STOP : reply_close(self, probe);
}

static const struct rl_actor_def reply = {
	.name = "reply",
	.receive = reply_receive,
	.state_size = sizeof(struct probed),
};

/* Read the whole reply and the FIN behind it; meanwhile write whatever goes out. */
static void
reply_read_while_writing(int fd)
{
	static uint8_t noise[16384];
	uint8_t in[16384];
	uint64_t offset = 0;
	ssize_t got;

	for (;;) {
		struct pollfd poller = { .fd = fd, .events = POLLIN | POLLOUT };

		assert_true(poll(&poller, 1, RIG_PATIENCE_MS) > 0);
		got = recv(fd, in, sizeof(in), 0);
		if (got == 0) {
			break;
		}
		if (got < 0) {
			assert_int_equal(errno, EAGAIN);
			assert_true(send(fd, noise, sizeof(noise), MSG_NOSIGNAL) > 0 ||
				    errno == EAGAIN);
			continue;
		}
		assert_true(pattern_matches(REPLY_SEED, offset, in, (size_t)got));
		offset += (uint64_t)got;
	}
	assert_int_equal(offset, REPLY_BYTES);
}

static void
reply_run(struct rig *rig, enum ending ending, const char *url)
{
	static uint8_t noise[300000];
	struct probe *probe = &rig->probes[0];

	atomic_store(&probe->marks[0], ending);
	rig_start(rig, RL_CONFIG(.linger_timeout_ns = RL_SEC(20)));
	rig_listen(rig, url, &reply, probe);
	for (uint64_t i = 1; i <= 20; i++) {
		int fd = client_dial(rig->url);

		(void)client_push(fd, noise, sizeof(noise));
		reply_read_while_writing(fd);
		client_close(fd);
		rig_await(rig, probe->stops, i);
	}
	assert_int_equal(probe->stopped[RL_REASON_LOCAL], 20);
	rig_end(rig);
	assert_int_equal(rig->stats.bytes_out, 20ull * REPLY_BYTES);
	assert_true(rig->stats.bytes_discarded > 0);
}

static void
close_by_stop_while_peer_sends_loses_no_reply(void **state)
{
	reply_run(*state, ENDING_STOP, "tcp://127.0.0.1:0");
}

static void
close_by_verb_while_peer_sends_loses_no_reply(void **state)
{
	reply_run(*state, ENDING_CLOSE, "tcp://127.0.0.1:0");
}

/* Not one byte was received when the end is decided: all input is discarded. */
static void
close_in_open_while_peer_sends_loses_no_reply(void **state)
{
	reply_run(*state, ENDING_CLOSE_IN_OPEN, "tcp://127.0.0.1:0");
}

static void
close_of_unix_stream_loses_no_reply(void **state)
{
	reply_run(*state, ENDING_STOP, client_unix_name());
}

/* The client writes it all before it reads the first byte: not reading it would wait for ever. */
static void
close_with_peer_that_writes_first_gets_through(void **state)
{
	static uint8_t noise[65536];
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t bytes;
	int fd;

	rig_start(rig, RL_CONFIG(.linger_timeout_ns = RL_SEC(20)));
	rig_listen(rig, "tcp://127.0.0.1:0", &reply, probe);
	fd = client_dial(rig->url);
	for (uint32_t i = 0; i < 320; i++) {
		client_send(fd, noise, sizeof(noise)); /* 20 MiB: more than any buffer between us */
	}
	client_shut(fd);
	assert_int_equal(client_read_end(fd, &bytes), 0);
	assert_int_equal(bytes, REPLY_BYTES);
	client_close(fd);
	rig_await(rig, probe->stopped[RL_REASON_LOCAL], 1);
	rig_end(rig);
	assert_int_equal(rig->stats.bytes_in, 320ull * sizeof(noise));
}

/* Says something, sends FIN, and goes on listening. */
static int
half_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_OPEN) {
		PROBE_EXPECT(probe, rl_conn_send(self, "hello", 5) == 0);
		PROBE_EXPECT(probe, rl_conn_shutdown_write(self) == 0);
		PROBE_EXPECT(probe, rl_conn_shutdown_write(self) == -ESHUTDOWN);
		PROBE_EXPECT(probe, rl_conn_send(self, "more", 4) == -ESHUTDOWN);
		return 0;
	}
	if (msg->kind == RL_MSG_EOF) {
		PROBE_EXPECT(probe, rl_conn_send(self, "more", 4) == -ESHUTDOWN);
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def half = {
	.name = "half",
	.receive = half_receive,
	.state_size = sizeof(struct probed),
};

static void
close_of_write_side_keeps_receiving(void **state)
{
	static uint8_t block[100000];
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &half, probe);
	fd = client_dial(rig->url);
	client_recv_text(fd, "hello");
	client_expect_fin(fd);
	for (uint32_t i = 0; i < 30; i++) {
		client_send(fd, block, sizeof(block));
	}
	client_close(fd);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	assert_int_equal(probe->bytes, 30 * sizeof(block));
	rig_end(rig);
}

/* Answers EOF with 0: the write side stays usable for as long as it likes. */
static int
late_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)probe_note(self, msg);
	switch (msg->kind) {
	case RL_MSG_EOF:
		return 0;
	case RL_MSG_USER:
		return rl_conn_send(self, "late", 4);
	case RL_MSG_USER + 1:
		return RL_ACTOR_STOP;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def late = {
	.name = "late",
	.receive = late_receive,
	.state_size = sizeof(struct probed),
};

static void
close_after_peers_fin_may_come_much_later(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &late, probe);
	fd = client_dial(rig->url);
	client_shut(fd);
	rig_await(rig, probe->eofs, 1);
	rig_assert_idle(rig);
	rig_tell(rig, probe, RL_MSG_USER);
	client_recv_text(fd, "late");
	rig_tell(rig, probe, RL_MSG_USER);
	client_recv_text(fd, "late");
	rig_tell(rig, probe, RL_MSG_USER + 1);
	client_expect_fin(fd);
	client_close(fd);
	rig_await(rig, probe->stops, 1);
	assert_int_equal(probe->eofs, 1);
	rig_end(rig);
}

/* What was decided first counts; a stale id is inert. */
static void
close_makes_its_id_stale_at_once(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &late, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 1);
	rig_tell(rig, probe, RL_MSG_USER + 1);
	client_expect_fin(fd);
	for (uint32_t i = 0; i < 5; i++) {
		rig_tell(rig, probe, RL_MSG_USER);
	}
	rig_await_stat(rig, undelivered.gone, 5);
	client_close(fd);
	rig_await(rig, probe->stops, 1);
	assert_int_equal(probe->users, 1);
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(close_by_stop_while_peer_sends_loses_no_reply),
		rig_case(close_by_verb_while_peer_sends_loses_no_reply),
		rig_case(close_in_open_while_peer_sends_loses_no_reply),
		rig_case(close_of_unix_stream_loses_no_reply),
		rig_case(close_with_peer_that_writes_first_gets_through),
		rig_case(close_of_write_side_keeps_receiving),
		rig_case(close_after_peers_fin_may_come_much_later),
		rig_case(close_makes_its_id_stale_at_once),
	};

	return rig_run("close", tests);
}
