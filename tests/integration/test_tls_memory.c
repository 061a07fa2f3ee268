/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: when the shard's send memory is full of what TLS connections queued, records are still
 * made of it, and everybody gets everything (pitfalls 59, 66, 67).
 * How: more connections than the least pool has room for, which all pour in one and the same turn,
 * when nothing is on its way yet, to peers that don't read, and then do.
 * Not proved: a host without memory; the counts of what was refused when.
 */
#include "tls_peer.h"

#include <errno.h>

#define POUR_CONNS 12
#define POUR_BYTES 3000000

struct pourer {
	struct probe *probe;
	uint64_t offset;
};

/* All that opened so far; one shard, so one thread. */
static rl_actor_id pourers[POUR_CONNS];
static uint32_t pourers_count;

/* The last one tells all of them to begin: they run in the next turn, one after the other. */
static void
pourer_opened(struct rl_actor *self, struct probe *probe)
{
	pourers[pourers_count++] = rl_actor_self(self);
	for (uint32_t i = 0; pourers_count == POUR_CONNS && i < POUR_CONNS; i++) {
		PROBE_EXPECT(probe, rl_actor_send(self, pourers[i], RL_MSG_USER, NULL, 0) == 0);
	}
}

/* As much as is taken, whenever there is room. */
static int
pourer_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static uint8_t block[20000];
	struct probe *probe = probe_note(self, msg);
	struct pourer *pourer = rl_actor_state(self);

	if (msg->kind == RL_MSG_OPEN) {
		pourer_opened(self, probe);
		return 0;
	}
	if (msg->kind != RL_MSG_USER && msg->kind != RL_MSG_WRITABLE) {
		return RL_ACTOR_UNHANDLED;
	}
	while (pourer->offset < POUR_BYTES) {
		int rc;

		pattern_fill(9, pourer->offset, block, sizeof(block));
		rc = rl_conn_send(self, block, sizeof(block));
		if (rc == -EAGAIN) {
			return 0; /* also above the high mark: it asks for the last byte */
		}
		PROBE_EXPECT(probe, rc == 0 || rc == RL_CONN_SEND_HIGH);
		pourer->offset += sizeof(block);
	}
	return RL_ACTOR_STOP;
}

static const struct rl_actor_def pourer = {
	.name = "pourer",
	.receive = pourer_receive,
	.state_size = sizeof(struct pourer),
};

static void
peer_drink(struct tls_peer *peer)
{
	static uint8_t block[16384];
	uint64_t received = 0;
	ssize_t got;

	while ((got = tls_peer_recv(peer, block, sizeof(block))) > 0) {
		assert_true(pattern_matches(9, received, block, (size_t)got));
		received += (uint64_t)got;
	}
	assert_int_equal(got, 0);
	assert_int_equal(received, POUR_BYTES);
	tls_peer_end(peer);
	client_shut(peer->fd);
	client_expect_fin(peer->fd);
	tls_peer_close(peer);
}

static void
tls_that_fills_the_send_memory_goes_on_when_peers_read(void **state)
{
	struct rig *rig = *state;
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer peers[POUR_CONNS];

	rig_start(rig, RL_CONFIG(.shards = 1, .send_pool_bytes = 4 << 20, .evict_after_ns = -1));
	tls_listen(rig, &pourer);
	for (size_t i = 0; i < POUR_CONNS; i++) {
		tls_peer_dial(&peers[i], rig->url, &setup);
	}
	rig_await(rig, rig->probes[0].opens, POUR_CONNS);
	rig_await_stat(rig, sends_refused, 1);
	assert_int_equal(rig->probes[0].stops, 0);
	for (size_t i = 0; i < POUR_CONNS; i++) {
		peer_drink(&peers[i]);
	}
	rig_await(rig, rig->probes[0].stopped[RL_REASON_LOCAL], POUR_CONNS);
	rig_forgive_logged(rig, "send memory is short");
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(tls_that_fills_the_send_memory_goes_on_when_peers_read),
	};

	return tls_rig_main("tls_memory", tests, RIG_COUNT(tests));
}
