/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: peers that never read, more than the send memory is for, are evicted, with a reason, a
 * counter and a line that names the knob; meanwhile who reads gets its replies, none late; output
 * that waits for too long ends its connection; a window of a few bytes is no stall (pitfalls 59,
 * 63).
 * How: real sockets, a small pool, short deadlines.
 * Not proved: exact times and who goes first; the simulator has those.
 */
#include "client.h"

#include <errno.h>
#include <string.h>

#define CRAWLERS    200
#define REPLY	    400000u
#define PATIENCE_MS 300

/* Takes as much as it gets, in blocks, and again whenever it is told that there is room. */
static int
pour_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static const uint8_t block[65536];
	struct probe *probe = probe_note(self, msg);
	int rc = 0;

	if (msg->kind != RL_MSG_OPEN && msg->kind != RL_MSG_WRITABLE) {
		return RL_ACTOR_UNHANDLED;
	}
	while (rc >= 0) {
		rc = rl_conn_send(self, block, sizeof(block));
	}
	PROBE_EXPECT(probe, rc == -EAGAIN);
	return 0;
}

static const struct rl_actor_def pour = {
	.name = "pour",
	.receive = pour_receive,
	.state_size = sizeof(struct probed),
};

/*
 * The longest of some round trips through an echo, in nanoseconds: how long it slept, since a
 * thread that gets no CPU is not to blame.
 */
static uint64_t
slow_ping(int fd, uint32_t count)
{
	uint8_t ping[512] = { 0 };
	uint64_t longest_ns = 0;

	while (count-- > 0) {
		uint64_t awake_ns = rig_awake_ns();
		uint64_t since_ns = rig_now_ns();
		uint64_t took_ns;

		client_send(fd, ping, sizeof(ping));
		client_recv(fd, ping, sizeof(ping));
		took_ns = rig_now_ns() - since_ns;
		awake_ns = rig_awake_ns() - awake_ns;
		took_ns = took_ns > awake_ns ? took_ns - awake_ns : 0;
		longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
	}
	return longest_ns;
}

/* 200 peers could have 1 MiB each where there are 16 in all, and read none of it. */
static void
evict_of_peers_that_never_read_spares_who_reads(void **state)
{
	struct rig *rig = *state;
	struct probe *crawlers = &rig->probes[0];
	uint64_t since_ns = rig_now_ns();
	uint64_t longest_ns = 0;
	int fds[CRAWLERS];
	int healthy;

	rig_start(rig, RL_CONFIG(.shards = 1, .send_pool_bytes = 16777216,
				 .evict_after_ns = RL_MS(PATIENCE_MS)));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[1]);
	healthy = client_dial(rig->url);
	rig_listen(rig, "tcp://127.0.0.1:0", &pour, crawlers);
	for (size_t i = 0; i < CRAWLERS; i++) {
		fds[i] = client_dial_narrow(rig->url);
	}
	rig_watch_log(rig, "peer takes nothing was ended");
	while (crawlers->stopped[RL_REASON_EVICTED] == 0 || rig_stats(rig).sends_starved == 0) {
		uint64_t took_ns = slow_ping(healthy, 10);

		longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
		assert_true(rig_now_ns() - since_ns < RIG_PATIENCE_MS * 1000000ull);
	}
	assert_true(longest_ns < 1000000000);
	rig_assert_watched(rig);
	assert_int_equal(crawlers->error, -ENOBUFS);
	assert_true(crawlers->stops < CRAWLERS); /* no more than it takes */
	for (size_t i = 0; i < CRAWLERS; i++) {
		client_reset(fds[i]);
	}
	rig_await(rig, crawlers->stops, CRAWLERS);
	client_close(healthy);
	rig_await(rig, rig->probes[1].stopped[RL_REASON_PEER_FIN], 1);
	rig_forgive_logged(rig, "send_pool_bytes"); /* of shares, and of evictions */
	rig_end(rig);
	assert_int_equal(rig->stats.closed[RL_REASON_EVICTED],
			 crawlers->stopped[RL_REASON_EVICTED]);
}

/* Writes all it can before it reads: it is paused meanwhile, and what had arrived is stored. */
static void
hoard_of_who_reads_later(const char *url, uint64_t seed)
{
	static uint8_t bytes[65536];
	struct client_stream stream = { .fd = client_dial(url), .seed = seed, .total = 4000000 };

	while (stream.sent < stream.total) {
		size_t len = stream.total - stream.sent < sizeof(bytes)
				     ? (size_t)(stream.total - stream.sent)
				     : sizeof(bytes);
		size_t sent;

		pattern_fill(stream.seed, stream.sent, bytes, len);
		sent = client_push(stream.fd, bytes, len);
		stream.sent += sent;
		if (sent == 0) {
			break;
		}
	}
	client_stream_run(&stream, 1);
	client_close(stream.fd);
}

/* Peers that write and never read fill the memory for input; who reads loses nothing. */
static void
hoards_of_those_who_never_read_end_nobody_who_reads(void **state)
{
	static const uint8_t bytes[65536];
	struct rig *rig = *state;
	struct probe *crawlers = &rig->probes[0];
	char url[RL_URL_MAX];
	int fds[CRAWLERS];
	size_t count = 0;

	/* 1 MiB, twice what one connection can have on its way: nobody is too much for it alone */
	rig_start(rig, RL_CONFIG(.shards = 1, .recv_buffers = 32, .recv_pool_bytes = 65536));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[1]);
	memcpy(url, rig->url, sizeof(url));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, crawlers);
	while (count < CRAWLERS && crawlers->stopped[RL_REASON_EVICTED] == 0) {
		fds[count] = client_dial_narrow(rig->url);
		while (client_push(fds[count], bytes, sizeof(bytes)) > 0) {
		}
		count++;
		hoard_of_who_reads_later(url, count);
	}
	rig_await(rig, rig->probes[1].stopped[RL_REASON_PEER_FIN], count);
	assert_true(crawlers->stopped[RL_REASON_EVICTED] > 0);
	for (size_t i = 0; i < count; i++) {
		client_reset(fds[i]);
	}
	rig_await(rig, crawlers->stops, count);
	rig_assert_logged_slowly(rig, "recv_pool_bytes");
	rig_end(rig);
	assert_int_equal(rig->stats.closed[RL_REASON_MEMORY], 0);
}

/* With eviction off nobody goes for others: who can't be paused for want of memory ends itself. */
static void
hoard_without_eviction_ends_itself(void **state)
{
	static const uint8_t bytes[65536];
	struct rig *rig = *state;
	struct probe *crawlers = &rig->probes[0];
	int fds[CRAWLERS];
	int healthy;
	size_t count = 0;

	rig_start(rig, RL_CONFIG(.shards = 1, .recv_buffers = 64, .recv_pool_bytes = 65536,
				 .evict_after_ns = -1));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, crawlers);
	healthy = client_dial(rig->url);
	while (count < CRAWLERS && crawlers->stops == 0) {
		fds[count] = client_dial_narrow(rig->url);
		while (send(fds[count], bytes, sizeof(bytes), MSG_NOSIGNAL) > 0) {
		}
		count++; /* it may have been cut meanwhile */
		(void)slow_ping(healthy, 1);
	}
	rig_await(rig, crawlers->stopped[RL_REASON_MEMORY], 1);
	assert_int_equal(crawlers->error, -ENOMEM);
	assert_int_equal(crawlers->stopped[RL_REASON_EVICTED], 0);
	rig_assert_logged_slowly(rig, "no memory for what it had received");
	for (size_t i = 0; i < count; i++) {
		client_reset(fds[i]);
	}
	(void)slow_ping(healthy, 1);
	client_close(healthy);
	rig_await(rig, crawlers->stops, count + 1);
	rig_forgive_logged(rig, "recv_pool_bytes");
	rig_end(rig);
	assert_int_equal(rig->stats.closed[RL_REASON_MEMORY], crawlers->stopped[RL_REASON_MEMORY]);
}

/* It takes bytes all the time, but what was queued first waits on. */
static void
output_that_waits_too_long_is_cut(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t since_ns;
	uint8_t byte[64];
	int fd;

	rig_start(rig, RL_CONFIG(.output_timeout_ns = RL_MS(PATIENCE_MS), .send_low_bytes = 1000));
	rig_listen(rig, "tcp://127.0.0.1:0", &pour, probe);
	since_ns = rig_now_ns();
	fd = client_dial_narrow(rig->url);
	while (probe->stops == 0) {
		ssize_t got = client_recv_some(fd, byte, sizeof(byte));

		if (got <= 0) {
			assert_int_equal(got, -ECONNRESET);
			break;
		}
		assert_true(rig_now_ns() - since_ns < RIG_PATIENCE_MS * 1000000ull);
		rig_let_pass(rig, 10);
	}
	rig_await(rig, probe->stops, 1);
	assert_int_equal(probe->stopped[RL_REASON_TIMEOUT_OUTPUT], 1);
	assert_true(rig_now_ns() - since_ns >= (uint64_t)RL_MS(PATIENCE_MS));
	client_close(fd);
	rig_assert_logged_slowly(rig, "output_timeout_ns");
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(evict_of_peers_that_never_read_spares_who_reads),
		rig_case(hoards_of_those_who_never_read_end_nobody_who_reads),
		rig_case(hoard_without_eviction_ends_itself),
		rig_case(output_that_waits_too_long_is_cut),
	};

	return rig_run("slow", tests);
}
