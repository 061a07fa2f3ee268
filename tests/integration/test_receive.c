/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: pause and resume lose nothing, what an actor leaves comes again in front of what follows,
 * however the bytes were cut, its limit holds, and an answer of -EAGAIN brings the bytes again with
 * the next WRITABLE or resume (pitfalls 36, 38, 42 to 46).
 * How: actors that pause, that take only whole lines, or that cannot go on.
 * Not proved: lifetimes of the buffers themselves; the simulator poisons them.
 */
#include "client.h"

#include <errno.h>
#include <poll.h>

/* Receives a pattern; the offset of the next byte is its state. */
struct checker {
	struct probe *probe;
	uint64_t offset;
};

static void
checker_take(struct rl_actor *self, const struct rl_msg *msg)
{
	struct checker *checker = rl_actor_state(self);

	PROBE_EXPECT(checker->probe,
		     pattern_matches(7, checker->offset, msg->recv.data, msg->recv.len));
	checker->offset += msg->recv.len;
}

/* Pauses when it opens and, while marks[0] is set, after each delivery; RL_MSG_USER resumes. */
static int
pauser_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	switch (msg->kind) {
	case RL_MSG_OPEN:
		PROBE_EXPECT(probe, rl_conn_pause(self) == 0);
		PROBE_EXPECT(probe, rl_conn_pause(self) == 0);
		return 0;
	case RL_MSG_RECV:
		PROBE_EXPECT(probe, probe->users > 0);
		checker_take(self, msg);
		if (probe->marks[0] != 0) {
			PROBE_EXPECT(probe, rl_conn_pause(self) == 0);
			PROBE_EXPECT(probe, rl_timer_start(self, 100000, 0, NULL) == 0);
		}
		return 0;
	case RL_MSG_TIMER:
	case RL_MSG_USER:
		PROBE_EXPECT(probe, rl_conn_resume(self) == 0);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def pauser = {
	.name = "pauser",
	.receive = pauser_receive,
	.state_size = sizeof(struct checker),
};

static void
pattern_send(int fd, uint64_t bytes)
{
	static uint8_t block[65536];

	for (uint64_t offset = 0; offset < bytes;) {
		size_t len =
			bytes - offset < sizeof(block) ? (size_t)(bytes - offset) : sizeof(block);

		pattern_fill(7, offset, block, len);
		client_send(fd, block, len);
		offset += len;
	}
}

static void
pause_holds_bytes_and_fin_until_resume(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &pauser, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 1);
	pattern_send(fd, 100000);
	client_shut(fd);
	rig_assert_idle(rig);
	assert_int_equal(probe->recvs, 0);
	assert_int_equal(probe->eofs, 0);
	rig_tell(rig, probe, RL_MSG_USER);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	assert_int_equal(probe->bytes, 100000);
	client_expect_fin(fd);
	client_close(fd);
	rig_end(rig);
}

/* The window closes: a paused connection takes only what fits between the two ends. */
static void
pause_closes_the_window(void **state)
{
	static uint8_t block[65536];
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	struct client_stream stream = { .seed = 7 };
	uint32_t standing = 0;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &pauser, probe);
	stream.fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 1);
	while (standing < 50) {
		size_t sent;

		pattern_fill(7, stream.sent, block, sizeof(block));
		sent = client_push(stream.fd, block, sizeof(block));
		stream.sent += sent;
		assert_true(stream.sent < 100000000);
		standing = sent > 0 ? 0 : standing + 1;
		if (sent == 0) {
			rig_let_pass(rig, 2);
		}
	}
	client_shut(stream.fd);
	rig_tell(rig, probe, RL_MSG_USER);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	assert_int_equal(probe->bytes, stream.sent);
	client_close(stream.fd);
	rig_end(rig);
	assert_int_equal(rig->stats.bytes_in, stream.sent);
}

static void
pause_after_each_delivery_loses_nothing(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	atomic_store(&probe->marks[0], 1);
	rig_start(rig, RL_CONFIG(.recv_buffers = 16, .recv_buffer_bytes = 4096));
	rig_listen(rig, "tcp://127.0.0.1:0", &pauser, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 1);
	rig_tell(rig, probe, RL_MSG_USER);
	pattern_send(fd, 3000000);
	client_shut(fd);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	assert_int_equal(probe->bytes, 3000000);
	client_close(fd);
	rig_end(rig);
}

/* Echoes whole lines, and only those. */
static int
lines_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	const uint8_t *last;

	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	last = memrchr(msg->recv.data, '\n', msg->recv.len);
	rl_conn_consumed(self, last == NULL ? 0 : (size_t)(last - msg->recv.data) + 1);
	if (last == NULL) {
		return 0;
	}
	probe_add(probe, &probe->marks[0], 1);
	return rl_conn_send(self, msg->recv.data, (size_t)(last - msg->recv.data) + 1);
}

static const struct rl_actor_def lines = {
	.name = "lines",
	.receive = lines_receive,
	.state_size = sizeof(struct probed),
};

/* A text whose lines have 1 to @line_max bytes; the last one is whole. */
static void
lines_text(uint8_t *text, size_t len, uint64_t seed, size_t line_max)
{
	size_t left = 0;

	pattern_fill(seed, 0, text, len);
	for (size_t i = 0; i < len; i++) {
		if (left == 0) {
			left = 1 + (size_t)(client_random(&seed) % line_max);
		}
		left--;
		if (text[i] == '\n') {
			text[i] = 'x';
		}
		if (left == 0 || i == len - 1) {
			text[i] = '\n';
		}
	}
}

/* Send @text in pieces of 1 to @cut_max bytes, and expect it back. */
static void
lines_run(struct rig *rig, size_t len, size_t line_max, size_t cut_max)
{
	static uint8_t text[400000];
	static uint8_t back[sizeof(text)];
	uint64_t random = len + cut_max;
	size_t received = 0;
	size_t sent = 0;
	int fd = client_dial(rig->url);

	assert_true(len <= sizeof(text));
	lines_text(text, len, line_max, line_max);
	while (received < len) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		size_t cut = 1 + (size_t)(client_random(&random) % cut_max);
		ssize_t got;

		cut = cut < len - sent ? cut : len - sent;
		sent += cut > 0 ? client_push(fd, text + sent, cut) : 0;
		if (sent == len) {
			assert_int_equal(poll(&poller, 1, RIG_PATIENCE_MS), 1);
		}
		got = recv(fd, back + received, len - received, 0);
		assert_true(got > 0 || (got < 0 && errno == EAGAIN));
		received += got > 0 ? (size_t)got : 0;
	}
	assert_memory_equal(back, text, len);
	client_shut(fd);
	client_expect_fin(fd);
	client_close(fd);
}

static void
leftover_comes_again_however_the_bytes_are_cut(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &lines, &rig->probes[0]);
	lines_run(rig, 3000, 40, 1);
	lines_run(rig, 100000, 300, 37);
	lines_run(rig, 400000, 3000, 5000);
	lines_run(rig, 400000, 60000, 100000);
	lines_run(rig, 400000, 65536, 400000);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 5);
	rig_end(rig);
}

/* Smaller receive buffers than leftovers, and leftovers with little room. */
static void
leftover_with_small_buffers_comes_again(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG(.recv_buffer_bytes = 1024, .recv_pending_max_bytes = 5000));
	rig_listen(rig, "tcp://127.0.0.1:0", &lines, &rig->probes[0]);
	lines_run(rig, 100000, 40, 1000);
	lines_run(rig, 400000, 4999, 50000);
	lines_run(rig, 400000, 5000, 400000);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 3);
	rig_end(rig);
}

static void
leftover_is_told_at_eof(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &lines, probe);
	fd = client_dial(rig->url);
	client_send_text(fd, "whole\nhalf a li");
	client_recv_text(fd, "whole\n");
	rig_assert_idle(rig);
	client_send_text(fd, "ne");
	client_shut(fd);
	client_expect_fin(fd);
	client_close(fd);
	rig_await(rig, probe->stops, 1);
	assert_int_equal(probe->eofs, 1);
	assert_int_equal(probe->leftover, strlen("half a line"));
	assert_int_equal(probe->marks[0], 1);
	rig_end(rig);
}

static void
leftover_above_the_limit_ends_with_limit(void **state)
{
	static uint8_t block[65537];
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &lines, probe);

	/* as many as the limit may wait for their end */
	memset(block, 'x', sizeof(block));
	fd = client_dial(rig->url);
	client_send(fd, block, 65535);
	rig_assert_idle(rig);
	assert_int_equal(probe->stops, 0);
	client_send_text(fd, "\n");
	client_recv(fd, block, 65535);
	client_recv_text(fd, "\n");
	client_close(fd);

	fd = client_dial(rig->url);
	client_send(fd, block, 65536);
	rig_assert_idle(rig);
	assert_int_equal(probe->stopped[RL_REASON_LIMIT], 0);
	client_send(fd, block, 1);
	client_expect_reset(fd);
	client_close(fd);
	rig_await(rig, probe->stopped[RL_REASON_LIMIT], 1);
	rig_assert_logged(rig, "(recv_pending_max_bytes = 65536)");
	rig_end(rig);
	assert_int_equal(rig->stats.closed[RL_REASON_LIMIT], 1);
}

/* An echo that says "not now" whenever its send is refused, and takes @marks[1] bytes at a time. */
static int
again_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	size_t len = msg->recv.len;
	size_t step = (size_t)probe->marks[1];
	int rc;

	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	if (step != 0 && len > step) {
		len = step;
	}
	rc = rl_conn_send(self, msg->recv.data, len);
	if (rc == -EAGAIN) {
		probe_add(probe, &probe->marks[0], 1);
		return -EAGAIN;
	}
	if (len < msg->recv.len) {
		rl_conn_consumed(self, len);
		return step == 0 ? 0 : rl_conn_resume(self);
	}
	return rc;
}

static const struct rl_actor_def again = {
	.name = "again",
	.receive = again_receive,
	.state_size = sizeof(struct probed),
};

/* Without automatic pause the actor meets its cap; what it did not take comes again. */
static void
again_run(struct rig *rig, uint64_t step, uint64_t bytes)
{
	struct rl_listener_options options = {
		.arg = &rig->probes[0],
		.conn.auto_pause = RL_CONN_OFF,
	};
	struct client_stream stream = { .seed = 8, .total = bytes };
	static uint8_t block[65536];
	uint64_t end_ns;

	atomic_store(&rig->probes[0].marks[1], step);
	rig_start(rig, RL_CONFIG());
	rig_listen_with(rig, "tcp://127.0.0.1:0", &again, &options);
	stream.fd = client_dial(rig->url);
	end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	while (rig->probes[0].marks[0] == 0) {
		size_t len = sizeof(block);

		assert_true(rig_now_ns() < end_ns);
		len = len < stream.total - stream.sent ? len : (size_t)(stream.total - stream.sent);
		pattern_fill(8, stream.sent, block, len);
		stream.sent += client_push(stream.fd, block, len);
		rig_let_pass(rig, 1);
	}
	rig_assert_idle(rig);
	client_stream_run(&stream, 1);
	client_close(stream.fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 1);
	rig_end(rig);
	assert_true(rig->stats.sends_refused > 0);
	assert_int_equal(rig->stats.again_unowed, 0);
	assert_int_equal(rig->stats.bytes_out, bytes);
}

static void
again_brings_the_bytes_with_writable(void **state)
{
	again_run(*state, 0, 40000000);
}

static void
again_after_part_of_them_brings_the_rest(void **state)
{
	again_run(*state, 5000, 40000000);
}

/* Answers -EAGAIN without having been refused: nothing is owed, only resume helps. */
static int
stubborn_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	switch (msg->kind) {
	case RL_MSG_RECV:
		if (probe->users == 0) {
			rl_conn_consumed(self, 2);
			return -EAGAIN;
		}
		return rl_conn_send(self, msg->recv.data, msg->recv.len);
	case RL_MSG_USER:
		PROBE_EXPECT(probe, rl_conn_resume(self) == 0);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def stubborn = {
	.name = "stubborn",
	.receive = stubborn_receive,
	.state_size = sizeof(struct probed),
};

static void
again_with_nothing_owed_waits_for_resume(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &stubborn, probe);
	fd = client_dial(rig->url);
	client_send_text(fd, "12345");
	rig_await(rig, probe->recvs, 1);
	rig_assert_idle(rig);
	client_send_text(fd, "67890");
	client_shut(fd);
	rig_assert_idle(rig);
	assert_int_equal(probe->recvs, 1);
	rig_tell(rig, probe, RL_MSG_USER);
	client_recv_text(fd, "34567890");
	client_expect_fin(fd);
	client_close(fd);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	rig_end(rig);
	assert_int_equal(rig->stats.again_unowed, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(pause_holds_bytes_and_fin_until_resume),
		rig_case(pause_closes_the_window),
		rig_case(pause_after_each_delivery_loses_nothing),
		rig_case(leftover_comes_again_however_the_bytes_are_cut),
		rig_case(leftover_with_small_buffers_comes_again),
		rig_case(leftover_is_told_at_eof),
		rig_case(leftover_above_the_limit_ends_with_limit),
		rig_case(again_brings_the_bytes_with_writable),
		rig_case(again_after_part_of_them_brings_the_rest),
		rig_case(again_with_nothing_owed_waits_for_resume),
	};

	return rig_run("receive", tests);
}
