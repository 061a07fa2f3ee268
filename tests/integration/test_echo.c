/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what goes in comes out, every byte, in order, to the right client, over each kind of
 * socket, also when the client has nothing more to say (pitfall 38).
 * How: an echo actor and plain clients that know what each byte must be.
 * Not proved: what happens when one end is slow or unkind; see backpressure, close and abort.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void
echo_single_bytes_come_back_in_order(void **state)
{
	struct rig *rig = *state;
	uint8_t byte;
	uint8_t back;
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	fd = client_dial(rig->url);
	for (uint64_t i = 0; i < 2000; i++) {
		pattern_fill(1, i, &byte, 1);
		client_send(fd, &byte, 1);
		client_recv(fd, &back, 1);
		assert_int_equal(byte, back);
	}
	client_shut(fd);
	client_expect_fin(fd);
	client_close(fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 1);
	assert_int_equal(rig->probes[0].bytes, 2000);
	rig_end(rig);
	assert_int_equal(rig->stats.bytes_in, 2000);
	assert_int_equal(rig->stats.bytes_out, 2000);
}

static void
echo_half_close_after_50_mb_returns_every_byte(void **state)
{
	struct rig *rig = *state;
	struct client_stream stream = { .seed = 2, .total = 50000000 };

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	stream.fd = client_dial(rig->url);
	client_stream_run(&stream, 1);
	client_close(stream.fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 1);
	rig_end(rig);
	assert_int_equal(rig->stats.bytes_in, stream.total);
	assert_int_equal(rig->stats.bytes_out, stream.total);
}

/* The whole request and the FIN are there before the server reads the first byte. */
static void
echo_half_close_right_after_request_gets_whole_reply(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	for (uint64_t i = 0; i < 200; i++) {
		static uint8_t out[60000];
		static uint8_t in[60000];
		size_t len = 1 + (size_t)(i * 311) % sizeof(out);
		int fd = client_dial(rig->url);

		pattern_fill(i, 0, out, len);
		client_send(fd, out, len);
		client_shut(fd);
		client_recv(fd, in, len);
		assert_memory_equal(in, out, len);
		client_expect_fin(fd);
		client_close(fd);
	}
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 200);
	rig_end(rig);
}

static void
echo_run_clients(struct rig *rig, uint64_t clients, uint64_t bytes)
{
	struct client_stream streams[256];

	assert_true(clients <= RIG_COUNT(streams));
	for (uint64_t i = 0; i < clients; i++) {
		streams[i] = (struct client_stream){
			.fd = client_dial(rig->url),
			.seed = 1000 + i,
			.total = bytes + i,
		};
	}
	client_stream_run(streams, clients);
	for (uint64_t i = 0; i < clients; i++) {
		client_close(streams[i].fd);
	}
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], clients);
}

static void
echo_many_clients_get_their_own_bytes(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	echo_run_clients(rig, 200, 100000);
	rig_end(rig);
}

/* Pitfalls 31 and 35: with eight small buffers most receives find the ring empty. */
static void
echo_with_few_buffers_parks_and_goes_on(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG(.recv_buffers = 8, .recv_buffer_bytes = 1024));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	echo_run_clients(rig, 64, 60000);
	rig_end(rig);
	assert_true(rig->stats.enobufs_parks > 0);
}

/* Pitfalls 16 and 17: the submission queue is far too short for a turn. */
static void
echo_with_short_queues_loses_nothing(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG(.shards = 1, .sq_entries = 64, .cq_entries = 256,
				 .turn_cqes_max = 32, .turn_actors_max = 3));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	echo_run_clients(rig, 250, 20000);
	rig_end(rig);
}

static int
family_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_OPEN) {
		struct rl_addr peer;

		PROBE_EXPECT(probe, !msg->open.outbound);
		PROBE_EXPECT(probe, rl_conn_peer(self, &peer) == 0);
		PROBE_EXPECT(probe, memcmp(&peer, msg->open.peer, sizeof(peer)) == 0);
		atomic_store(&probe->marks[0], peer.family);
		atomic_store(&probe->marks[1], peer.port);
		return 0;
	}
	return msg->kind == RL_MSG_RECV ? rl_conn_send(self, msg->recv.data, msg->recv.len)
					: RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def family = {
	.name = "family",
	.receive = family_receive,
	.state_size = sizeof(struct probed),
};

static void
echo_run_family(struct rig *rig, const char *url, enum rl_addr_family want)
{
	struct client_stream stream = { .seed = 3, .total = 300000 };

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, url, &family, &rig->probes[0]);
	stream.fd = client_dial(rig->url);
	client_stream_run(&stream, 1);
	client_close(stream.fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 1);
	assert_int_equal(rig->probes[0].marks[0], want);
	assert_int_equal(rig->probes[0].marks[1] != 0, want != RL_ADDR_UNIX);
	rig_end(rig);
}

static void
echo_over_ipv4_knows_its_peer(void **state)
{
	echo_run_family(*state, "tcp://127.0.0.1:0", RL_ADDR_INET);
}

static void
echo_over_ipv6_knows_its_peer(void **state)
{
	echo_run_family(*state, "tcp://[::1]:0", RL_ADDR_INET6);
}

static void
echo_over_abstract_name_has_a_unix_peer(void **state)
{
	echo_run_family(*state, client_unix_name(), RL_ADDR_UNIX);
}

static void
echo_over_unix_path_removes_its_file(void **state)
{
	char folder[] = "/tmp/ringline-test-XXXXXX";
	char url[RL_URL_MAX];

	assert_non_null(mkdtemp(folder));
	(void)snprintf(url, sizeof(url), "unix:%s/socket", folder);
	echo_run_family(*state, url, RL_ADDR_UNIX);
	assert_int_not_equal(access(url + 5, F_OK), 0);
	assert_int_equal(rmdir(folder), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(echo_single_bytes_come_back_in_order),
		rig_case(echo_half_close_after_50_mb_returns_every_byte),
		rig_case(echo_half_close_right_after_request_gets_whole_reply),
		rig_case(echo_many_clients_get_their_own_bytes),
		rig_case(echo_with_few_buffers_parks_and_goes_on),
		rig_case(echo_with_short_queues_loses_nothing),
		rig_case(echo_over_ipv4_knows_its_peer),
		rig_case(echo_over_ipv6_knows_its_peer),
		rig_case(echo_over_abstract_name_has_a_unix_peer),
		rig_case(echo_over_unix_path_removes_its_file),
	};

	return rig_run("echo", tests);
}
