/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what a send answers at the marks and at the cap, that each refusal owes exactly one
 * RL_MSG_WRITABLE, that automatic pause holds a fast writer back without losing a byte however many
 * there are, that order is kept, and that waiting costs no CPU (pitfalls 31, 40, 53, 59, 60).
 * How: peers that don't read, and then do.
 * Not proved: bounds on memory at every step; the simulator checks those.
 */
#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>

#define LOW   20000u
#define HIGH  100000u
#define CAP   300000u
#define BLOCK 7000u

#define MARKS_CONFIG                                                           \
	.send_low_bytes = LOW, .send_high_bytes = HIGH, .send_cap_bytes = CAP, \
	.recv_pending_max_bytes = 65536

/* marks of this file's actors */
enum mark {
	MARK_SENT, /* bytes taken */
	MARK_HIGH, /* rounds that ended in HIGH or -EAGAIN, each owes one WRITABLE */
	MARK_REFUSED,
	MARK_ROUNDS,
};

static size_t
fill_queued(struct rl_actor *self, struct probe *probe)
{
	struct rl_conn_stats stats;

	PROBE_EXPECT(probe, rl_conn_stats(self, &stats) == 0);
	return stats.queued_bytes;
}

static int
fill_send(struct rl_actor *self, struct probe *probe, size_t len)
{
	uint8_t block[BLOCK];
	uint64_t offset = atomic_load(&probe->marks[MARK_SENT]);
	int rc;

	pattern_fill(5, offset, block, len);
	rc = rl_conn_send(self, block, len);
	if (rc >= 0) {
		probe_add(probe, &probe->marks[MARK_SENT], len);
	}
	return rc;
}

/* Send until it is refused, and check each answer against what is queued. */
static void
fill_until_refused(struct rl_actor *self, struct probe *probe)
{
	static const uint8_t too_much[CAP + 1];
	size_t before = fill_queued(self, probe);
	int rc;

	do {
		rc = fill_send(self, probe, BLOCK);
		if (rc == -EAGAIN) {
			PROBE_EXPECT(probe, before + BLOCK > CAP);
			PROBE_EXPECT(probe, fill_queued(self, probe) == before);
		} else {
			before += BLOCK;
			PROBE_EXPECT(probe, fill_queued(self, probe) == before);
			PROBE_EXPECT(probe, before <= CAP);
			PROBE_EXPECT(probe, rc == (before > HIGH ? RL_CONN_SEND_HIGH : 0));
		}
	} while (rc >= 0);
	PROBE_EXPECT(probe, rc == -EAGAIN);
	PROBE_EXPECT(probe, rl_conn_send(self, too_much, CAP + 1) == -EMSGSIZE);
	PROBE_EXPECT(probe, rl_conn_send(self, too_much, 0) == 0);
	PROBE_EXPECT(probe, fill_queued(self, probe) == before);
	probe_add(probe, &probe->marks[MARK_HIGH], 1);
}

static int
fill_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_WRITABLE) {
		PROBE_EXPECT(probe, msg->writable.queued_bytes < LOW);
		PROBE_EXPECT(probe, msg->writable.queued_bytes == fill_queued(self, probe));
		PROBE_EXPECT(probe, probe->writables <= probe->marks[MARK_HIGH]);
	}
	if (msg->kind == RL_MSG_OPEN || msg->kind == RL_MSG_WRITABLE) {
		if (atomic_load(&probe->marks[MARK_ROUNDS]) > 0) {
			atomic_fetch_sub(&probe->marks[MARK_ROUNDS], 1);
			fill_until_refused(self, probe);
		}
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def fill = {
	.name = "fill",
	.receive = fill_receive,
	.state_size = sizeof(struct probed),
};

/* Read what the actors of @probe have sent so far, and check it. */
static void
fill_read(struct rig *rig, struct probe *probe, int fd, uint64_t rounds)
{
	uint8_t block[BLOCK];
	uint64_t offset = 0;

	while (atomic_load(&probe->writables) < rounds || offset < probe->marks[MARK_SENT]) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		ssize_t got;

		(void)poll(&poller, 1, 10);
		got = recv(fd, block, sizeof(block), 0);
		if (got < 0) {
			assert_int_equal(errno, EAGAIN);
			rig_let_pass(rig, 1);
			continue;
		}
		assert_true(got > 0);
		assert_true(pattern_matches(5, offset, block, (size_t)got));
		offset += (uint64_t)got;
	}
}

static void
send_at_the_marks_answers_by_the_book(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	const uint64_t rounds = 40;
	int fd;

	atomic_store(&probe->marks[MARK_ROUNDS], rounds);
	rig_start(rig, RL_CONFIG(MARKS_CONFIG));
	rig_listen(rig, "tcp://127.0.0.1:0", &fill, probe);
	fd = client_dial_narrow(rig->url);
	rig_assert_idle(rig);
	fill_read(rig, probe, fd, rounds);
	rig_assert_idle(rig);
	assert_int_equal(probe->writables, rounds); /* one for each, and none too many */
	client_close(fd);
	rig_await(rig, probe->stops, 1);
	rig_end(rig);
	assert_int_equal(rig->stats.sends_refused, rounds);
	assert_int_equal(rig->stats.bytes_out, probe->marks[MARK_SENT]);
}

/* One block that is nearly the cap, again and again: refused while output is below the low mark. */
static int
giant_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static const uint8_t block[CAP - 1000];
	struct probe *probe = probe_note(self, msg);
	int rc = 0;

	if (msg->kind != RL_MSG_OPEN && msg->kind != RL_MSG_WRITABLE) {
		return RL_ACTOR_UNHANDLED;
	}
	while (rc >= 0) {
		rc = rl_conn_send(self, block, sizeof(block));
	}
	PROBE_EXPECT(probe, rc == -EAGAIN);
	probe_add(probe, &probe->marks[MARK_REFUSED], 1);
	return 0;
}

static const struct rl_actor_def giant = {
	.name = "giant",
	.receive = giant_receive,
	.state_size = sizeof(struct probed),
};

/*
 * The cap is 300,000 bytes, a request takes 262,144 of a block of 299,000, so that 36,856 bytes are
 * left, which is below the low mark of 65,536: too much for the next block, and yet "writable". The
 * clients stop at many places, so that some leave their server waiting with just that tail.
 */
static void
send_refused_below_the_low_mark_does_not_spin(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	static uint8_t buffer[8192];
	int fds[64];

	rig_start(rig, RL_CONFIG(.send_low_bytes = 65536, .send_high_bytes = 131072,
				 .send_cap_bytes = CAP));
	rig_listen(rig, "tcp://127.0.0.1:0", &giant, probe);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial_narrow(rig->url);
		for (size_t blocks = 0; blocks < i; blocks++) {
			client_recv(fds[i], buffer, sizeof(buffer));
		}
	}
	rig_await(rig, probe->opens, RIG_COUNT(fds));
	rig_assert_idle(rig);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		client_reset(fds[i]);
	}
	rig_await(rig, probe->stops, RIG_COUNT(fds));
	rig_end(rig);
}

/* Sends pieces of all sizes whenever it is called. */
static int
pieces_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static _Thread_local uint8_t piece[100000];
	struct probe *probe = probe_note(self, msg);
	uint64_t offset;
	uint64_t random;

	if (msg->kind != RL_MSG_START && msg->kind != RL_MSG_OPEN && msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	offset = atomic_load(&probe->marks[MARK_SENT]);
	random = offset;
	for (uint32_t i = 0; i < 12; i++) {
		size_t len = (size_t)(client_random(&random) % (i % 4 == 0 ? sizeof(piece) : 300));
		int rc;

		pattern_fill(5, offset, piece, len);
		rc = rl_conn_send(self, piece, len);
		PROBE_EXPECT(probe, rc >= 0);
		offset += len;
	}
	atomic_store(&probe->marks[MARK_SENT], offset);
	return 0;
}

static const struct rl_actor_def pieces = {
	.name = "pieces",
	.receive = pieces_receive,
	.state_size = sizeof(struct probed),
};

static void
send_of_many_sizes_keeps_the_order(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	static uint8_t in[65536];
	uint64_t offset = 0;
	int fd;

	rig_start(rig, RL_CONFIG(.send_high_bytes = 33554432, .send_cap_bytes = 67108864));
	rig_listen(rig, "tcp://127.0.0.1:0", &pieces, probe);
	fd = client_dial(rig->url);
	for (uint64_t i = 0; i < 30; i++) {
		client_send_text(fd, "more");
		rig_await(rig, probe->bytes, 4 * (i + 1));
	}
	client_shut(fd);
	rig_await(rig, probe->eofs, 1);
	while (offset < probe->marks[MARK_SENT]) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		ssize_t got;

		assert_int_equal(poll(&poller, 1, RIG_PATIENCE_MS), 1);
		got = recv(fd, in, sizeof(in), 0);
		assert_true(got > 0);
		assert_true(pattern_matches(5, offset, in, (size_t)got));
		offset += (uint64_t)got;
	}
	client_expect_fin(fd);
	client_close(fd);
	rig_await(rig, probe->stops, 1);
	rig_end(rig);
}

/* A piece of one stream, if there is room for it. */
static size_t
pause_push(struct client_stream *stream)
{
	static uint8_t block[65536];
	struct pollfd poller = { .fd = stream->fd, .events = POLLOUT };
	uint64_t left = stream->total - stream->sent;
	size_t len = left < sizeof(block) ? (size_t)left : sizeof(block);

	if (len == 0 || poll(&poller, 1, 0) == 0) {
		return 0;
	}
	pattern_fill(stream->seed, stream->sent, block, len);
	len = client_push(stream->fd, block, len);
	stream->sent += len;
	return len;
}

/* Write as long as anything goes out; nothing is read, so that it must come to a stand. */
static void
pause_fill(struct rig *rig, struct client_stream *streams, uint64_t clients)
{
	uint32_t standing = 0;

	while (standing < 25) {
		size_t moved = 0;

		for (uint64_t i = 0; i < clients; i++) {
			moved += pause_push(&streams[i]);
		}
		standing = moved > 0 ? 0 : standing + 1;
		if (moved == 0) {
			rig_let_pass(rig, 2);
		}
	}
}

/* Clients write all they can before they read the first byte; then everything must come back. */
static void
pause_run(struct rig *rig, uint64_t clients, uint64_t bytes, struct rl_config config)
{
	struct client_stream streams[256];
	struct probe *probe = &rig->probes[0];

	rig_start(rig, config);
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	for (uint64_t i = 0; i < clients; i++) {
		streams[i] = (struct client_stream){
			.fd = client_dial(rig->url),
			.seed = 9000 + i,
			.total = bytes,
		};
	}
	pause_fill(rig, streams, clients);
	rig_assert_idle(rig);
	client_stream_run(streams, clients);
	for (uint64_t i = 0; i < clients; i++) {
		client_close(streams[i].fd);
	}
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], clients);
	rig_end(rig);
	assert_int_equal(rig->stats.sends_refused, 0);
	assert_int_equal(rig->stats.bytes_out, clients * bytes);
}

static void
pause_of_one_slow_reader_loses_nothing(void **state)
{
	pause_run(*state, 1, 20000000, RL_CONFIG());
}

/*
 * The smallest window that the kernel gives, read byte by byte: progress, however slow, is no
 * stall.
 */
static void
pause_of_a_reader_of_single_bytes_loses_nothing(void **state)
{
	static const int least = 1;
	static uint8_t out[32768];
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t offset = 0;
	size_t pushed = 0;
	uint8_t byte;
	int fd;

	rig_start(rig, RL_CONFIG(.stall_timeout_ns = RL_SEC(5)));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	fd = client_dial_narrow(rig->url);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &least, sizeof(least)), 0);
	pattern_fill(77, 0, out, sizeof(out));
	while (offset < sizeof(out)) {
		pushed += client_push(fd, out + pushed, sizeof(out) - pushed);
		assert_int_equal(client_recv_some(fd, &byte, 1), 1);
		assert_true(pattern_matches(77, offset++, &byte, 1));
	}
	client_shut(fd);
	client_expect_fin(fd);
	client_close(fd);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	rig_end(rig);
}

static void
pause_of_forty_slow_readers_loses_nothing(void **state)
{
	pause_run(*state, 40, 6000000, RL_CONFIG());
}

/* As many receive buffers as a phone would have: held back by the ring, not by memory. */
static void
pause_of_many_slow_readers_with_few_buffers_loses_nothing(void **state)
{
	pause_run(*state, 60, 6000000, RL_CONFIG(.recv_buffers = 16));
}

/*
 * Until each has had @wanted bytes. Whoever has something is read, and nobody waited for alone: who
 * is starved gets memory only from what others' peers take.
 */
static void
pool_read_all(const int *fds, size_t count, uint64_t wanted)
{
	static uint8_t buffer[65536];
	struct pollfd polls[16];
	uint64_t got[16] = { 0 };
	size_t left = count;

	assert_in_range(count, 1, RIG_COUNT(polls));
	for (size_t i = 0; i < count; i++) {
		polls[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	}
	while (left > 0) {
		assert_true(poll(polls, count, RIG_PATIENCE_MS) > 0);
		left = 0;
		for (size_t i = 0; i < count; i++) {
			if (polls[i].revents != 0) {
				ssize_t len = recv(fds[i], buffer, sizeof(buffer), 0);

				assert_true(len > 0);
				got[i] += (uint64_t)len;
			}
			left += got[i] < wanted;
		}
	}
}

/* More than the ring's worth of output per connection, and a pool for a few of them only. */
static void
pool_that_is_too_small_makes_everybody_wait_and_nobody_fail(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fds[16];

	rig_start(rig, RL_CONFIG(.shards = 1, .send_pool_bytes = 8388608, .send_cap_bytes = 4194304,
				 .send_high_bytes = 2097152, .evict_after_ns = -1));
	rig_listen(rig, "tcp://127.0.0.1:0", &giant, probe);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial_narrow(rig->url);
	}
	rig_await(rig, probe->opens, RIG_COUNT(fds));
	rig_assert_idle(rig);
	pool_read_all(fds, RIG_COUNT(fds), 20 * 65536);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		client_reset(fds[i]);
	}
	rig_await(rig, probe->stopped[RL_REASON_PEER_RST], RIG_COUNT(fds));
	rig_assert_logged_slowly(rig, "send_pool_bytes");
	rig_end(rig);
	assert_true(rig->stats.sends_starved > 0);
	assert_true(rig->stats.sends_refused >= rig->stats.sends_starved);
}

/* Takes as much as it gets, in blocks, and again whenever it is told that there is room. */
static int
hog_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static const uint8_t block[65536];
	struct probe *probe = probe_note(self, msg);
	int rc = 0;

	if (msg->kind != RL_MSG_OPEN && msg->kind != RL_MSG_WRITABLE) {
		return RL_ACTOR_UNHANDLED;
	}
	while (rc >= 0) {
		rc = rl_conn_send(self, block, sizeof(block));
		if (rc >= 0) {
			probe_add(probe, &probe->marks[MARK_SENT], sizeof(block));
		}
	}
	PROBE_EXPECT(probe, rc == -EAGAIN);
	probe_add(probe, &probe->marks[MARK_REFUSED], 1);
	return 0;
}

static const struct rl_actor_def hog = {
	.name = "hog",
	.receive = hog_receive,
	.state_size = sizeof(struct probed),
};

/*
 * Without shares 16 peers that never read hold all of a pool of 16 MiB, 1 MiB each. With them the
 * others have a chunk each and the pool is not empty: somebody who reads gets its echo.
 */
static void
share_of_peers_that_never_read_leaves_memory_for_who_reads(void **state)
{
	struct rig *rig = *state;
	struct probe *hogs = &rig->probes[0];
	struct client_stream stream = { .seed = 77, .total = 3000000 };
	static uint8_t buffer[65536];
	int fds[30];

	rig_start(rig, RL_CONFIG(.shards = 1, .send_pool_bytes = 16777216, .evict_after_ns = -1));
	rig_listen(rig, "tcp://127.0.0.1:0", &hog, hogs);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial_narrow(rig->url);
	}
	rig_await(rig, hogs->marks[MARK_REFUSED], RIG_COUNT(fds));
	rig_assert_idle(rig);
	assert_true(rig_stats(rig).sends_starved > 0);
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[1]);
	stream.fd = client_dial(rig->url);
	client_stream_run(&stream, 1);
	client_close(stream.fd);
	rig_await(rig, rig->probes[1].stopped[RL_REASON_PEER_FIN], 1);
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		client_recv(fds[i], buffer, sizeof(buffer));
	}
	rig_await(rig, hogs->writables, 1); /* memory comes home, and who waits is told */
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		client_reset(fds[i]);
	}
	rig_await(rig, hogs->stopped[RL_REASON_PEER_RST], RIG_COUNT(fds));
	rig_assert_logged_slowly(rig, "send_pool_bytes");
	rig_end(rig);
}

static int
streamless_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	struct rl_conn_stats stats;
	struct rl_addr peer;

	if (msg->kind == RL_MSG_START || msg->kind == RL_MSG_STOP) {
		PROBE_EXPECT(probe, rl_conn_send(self, "x", 1) == -ENOTCONN);
		PROBE_EXPECT(probe, rl_conn_pause(self) == -ENOTCONN);
		PROBE_EXPECT(probe, rl_conn_resume(self) == -ENOTCONN);
		PROBE_EXPECT(probe, rl_conn_close(self) == -ENOTCONN);
		PROBE_EXPECT(probe, rl_conn_abort(self) == -ENOTCONN);
		PROBE_EXPECT(probe, rl_conn_shutdown_write(self) == -ENOTCONN);
		PROBE_EXPECT(probe, rl_conn_peer(self, &peer) == -ENOTCONN);
		PROBE_EXPECT(probe, rl_conn_stats(self, &stats) == -ENOTCONN);
	}
	return msg->kind == RL_MSG_START ? RL_ACTOR_STOP : 0;
}

static const struct rl_actor_def streamless = {
	.name = "streamless",
	.receive = streamless_receive,
	.state_size = sizeof(struct probed),
};

static void
send_of_an_actor_without_stream_is_enotconn(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_system_spawn(rig->sys, 0, &streamless, probe, NULL), 0);
	rig_await(rig, probe->stops, 1);
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(send_at_the_marks_answers_by_the_book),
		rig_case(send_refused_below_the_low_mark_does_not_spin),
		rig_case(send_of_many_sizes_keeps_the_order),
		rig_case(send_of_an_actor_without_stream_is_enotconn),
		rig_case(pause_of_one_slow_reader_loses_nothing),
		rig_case(pause_of_a_reader_of_single_bytes_loses_nothing),
		rig_case(pause_of_forty_slow_readers_loses_nothing),
		rig_case(pause_of_many_slow_readers_with_few_buffers_loses_nothing),
		rig_case(pool_that_is_too_small_makes_everybody_wait_and_nobody_fail),
		rig_case(share_of_peers_that_never_read_leaves_memory_for_who_reads),
	};

	return rig_run("backpressure", tests);
}
