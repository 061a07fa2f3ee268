/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: certificates are exchanged while connections come and work, and nobody notices but by the
 * new serial; thousands of handshakes that nobody finishes are gone at their deadline, and the cap
 * and the budget of handshakes hold in a flood; who is connected goes on meanwhile.
 * How: OpenSSL and raw sockets; a thread that reloads all the time; a handler that holds its shard
 * up until everything has arrived, so that one turn finds all of it.
 * Not proved: how long anybody waits (bench/run tls).
 */
#include "tls_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#define OLD_CONNS    8
#define RELOADS	     60
#define HALF_OPEN    2000
#define FDS_SPARE    64
#define FLOOD_CAP    16
#define FLOOD_CONNS  48
#define FLOOD_WAVES  6
#define SHAKERS	     24
#define STEPS_MAX    2
#define LINE_BUFFERS 8
#define LINE_SHAKERS (8 * LINE_BUFFERS)

static void
peer_echoes(struct tls_peer *peer)
{
	tls_peer_send(peer, "still here", 10);
	tls_peer_recv_text(peer, "still here");
}

static long
file_serial(enum tls_certs_file file)
{
	FILE *in = fopen(certs.file[file], "re");
	X509 *cert;
	long serial;

	assert_non_null(in);
	cert = PEM_read_X509(in, NULL, NULL, NULL);
	assert_non_null(cert);
	serial = ASN1_INTEGER_get(X509_get0_serialNumber(cert));
	X509_free(cert);
	(void)fclose(in);
	return serial;
}

static long
peer_serial(const struct tls_peer *peer)
{
	return ASN1_INTEGER_get(X509_get0_serialNumber(SSL_get0_peer_certificate(peer->ssl)));
}

/* Of both certificates in turn, until it is told to stop. */
struct reloader {
	struct rl_system *sys;
	rl_listener_id id;
	const struct rl_tls_options *options[2];
	_Atomic uint64_t reloads;
	_Atomic uint64_t failures;
	_Atomic bool stops;
};

static void *
reloader_run(void *arg)
{
	struct reloader *reloader = arg;

	while (!atomic_load(&reloader->stops)) {
		uint64_t turn = atomic_load(&reloader->reloads);

		if (rl_listener_reload(reloader->sys, reloader->id, reloader->options[turn % 2]) !=
		    0) {
			atomic_fetch_add(&reloader->failures, 1);
		}
		atomic_fetch_add(&reloader->reloads, 1);
	}
	return NULL;
}

/* New connections one after the other, and the old ones in between; how many there were. */
static uint64_t
reload_dials(struct rig *rig, struct reloader *reloader, struct tls_peer *old,
	     const long serials[2])
{
	static const int versions[] = { TLS1_3_VERSION, TLS1_2_VERSION };
	uint64_t end_ns = rig_now_ns() + 2 * RIG_PATIENCE_MS * 1000000ull;
	bool seen[2] = { false, false };
	uint64_t dials = 0;

	while (dials < RELOADS || atomic_load(&reloader->reloads) < RELOADS || !seen[0] ||
	       !seen[1]) {
		struct tls_peer_setup setup = { .version = versions[dials % 2] };
		struct tls_peer peer;
		long serial;

		assert_true(rig_now_ns() < end_ns);
		tls_peer_dial(&peer, rig->url, &setup);
		serial = peer_serial(&peer);
		assert_true(serial == serials[0] || serial == serials[1]);
		seen[serial == serials[1]] = true;
		peer_echoes(&peer);
		peer_echoes(&old[dials % OLD_CONNS]);
		tls_peer_leave(&peer);
		dials++;
	}
	return dials;
}

static void
tls_reload_under_load_fails_nobody(void **state)
{
	static struct rl_tls_options other = RL_TLS_OPTIONS(.alpn = NULL);
	struct rig *rig = *state;
	struct rl_listener_options options = {
		.arg = &rig->probes[0],
		.conn = { .tls = &server_tls },
	};
	const long serials[2] = { file_serial(CERTS_SERVER), file_serial(CERTS_OTHER) };
	struct reloader reloader = { .options = { &other, &server_tls } };
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer old[OLD_CONNS];
	struct tls_peer last;
	pthread_t thread;
	uint64_t dials;

	assert_int_not_equal(serials[0], serials[1]);
	other.cert_file = certs.file[CERTS_OTHER];
	other.key_file = certs.file[CERTS_OTHER_KEY];
	rig_start(rig, RL_CONFIG());
	reloader.id = rig_listen_with(rig, "tls://127.0.0.1:0", &rig_echo, &options);
	reloader.sys = rig->sys;
	for (size_t i = 0; i < OLD_CONNS; i++) {
		tls_peer_dial(&old[i], rig->url, &setup);
		assert_int_equal(peer_serial(&old[i]), serials[0]);
	}
	assert_int_equal(pthread_create(&thread, NULL, reloader_run, &reloader), 0);
	dials = reload_dials(rig, &reloader, old, serials);
	atomic_store(&reloader.stops, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(reloader.failures, 0);
	for (size_t i = 0; i < 2; i++) { /* what was reloaded is what the next one sees */
		assert_int_equal(rl_listener_reload(rig->sys, reloader.id, reloader.options[1 - i]),
				 0);
		tls_peer_dial(&last, rig->url, &setup);
		assert_int_equal(peer_serial(&last), serials[i]);
		tls_peer_leave(&last);
	}
	for (size_t i = 0; i < OLD_CONNS; i++) {
		peer_echoes(&old[i]);
		tls_peer_leave(&old[i]);
	}
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], OLD_CONNS + dials + 2);
	rig_end(rig);
	assert_int_equal(rig->stats.tls_handshakes, OLD_CONNS + dials + 2);
	assert_int_equal(rig->stats.accepted, OLD_CONNS + dials + 2);
	assert_int_equal(rig->stats.refused, 0);
}

/* As a client says it. */
struct hello {
	size_t len;
	uint8_t bytes[2048];
};

static void
hello_make(struct hello *hello)
{
	struct tls_peer_setup setup = { .version = TLS1_3_VERSION };
	struct tls_peer peer;
	int len;

	tls_peer_init(&peer, open("/dev/null", O_RDWR | O_CLOEXEC), &setup);
	(void)SSL_do_handshake(peer.ssl);
	len = BIO_read(SSL_get_wbio(peer.ssl), hello->bytes, sizeof(hello->bytes));
	assert_in_range(len, 100, sizeof(hello->bytes) - 1);
	hello->len = (size_t)len;
	tls_peer_close(&peer);
}

/* The handshake's deadline may pass where the CPU is somebody else's: then again. */
static uint64_t
dial_at_last(struct rig *rig, struct tls_peer *peer)
{
	struct tls_peer_setup setup = { .version = 0 };

	for (uint64_t failures = 0;; failures++) {
		tls_peer_init(peer, raw_dial(rig), &setup);
		if (tls_peer_handshake(peer) == 0) {
			return failures;
		}
		tls_peer_close(peer);
	}
}

/* Echoes on all the time. */
static void
await_timeouts(struct rig *rig, struct tls_peer *healthy, uint64_t want)
{
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;

	while (atomic_load(&rig->probes[0].stopped[RL_REASON_TIMEOUT_HANDSHAKE]) < want) {
		assert_true(rig_now_ns() < end_ns);
		peer_echoes(healthy);
		rig_let_pass(rig, 20);
	}
}

static uint32_t
half_open_count(void)
{
	const char *text = getenv("RL_TEST_CLIENTS");

	return text != NULL ? (uint32_t)strtoul(text, NULL, 10) : HALF_OPEN;
}

/* Silent, in the middle of a ClientHello, and after the server's part: a third of each. */
static void
tls_half_open_handshakes_are_gone_at_the_deadline(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint32_t count = half_open_count();
	struct tls_peer healthy;
	struct hello hello;
	uint64_t late;
	int *fds;

	assert_true(rig_fds_are_allowed(count, 2 * count + FDS_SPARE)); /* at both ends */
	hello_make(&hello);
	fds = test_calloc(count, sizeof(*fds));
	rig_start(rig, RL_CONFIG(.tls_handshake_timeout_ns = RL_SEC(2)));
	tls_listen(rig, &rig_echo);
	late = dial_at_last(rig, &healthy);
	peer_echoes(&healthy);
	for (uint32_t i = 0; i < count; i++) {
		fds[i] = raw_dial(rig);
		if (i % 3 != 0) {
			client_send(fds[i], hello.bytes, i % 3 == 1 ? hello.len / 2 : hello.len);
		}
	}
	await_timeouts(rig, &healthy, count + late);
	for (uint32_t i = 0; i < count; i++) {
		client_expect_reset(fds[i]);
		client_close(fds[i]);
	}
	test_free(fds);
	assert_int_equal(probe->opens, 1);
	assert_int_equal(probe->stops, count + late);
	peer_echoes(&healthy);
	tls_peer_leave(&healthy);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	rig_end(rig);
	assert_int_equal(rig->stats.closed[RL_REASON_TIMEOUT_HANDSHAKE], count + late);
	assert_int_equal(rig->stats.tls_handshakes, 1);
	assert_int_equal(rig->stats.refused, 0);
}

/* Counts in marks[0] those that have begun and have neither opened nor ended. */
struct shaker {
	struct probe *probe;
	bool opened;
};

static int
shaker_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	struct shaker *shaker = rl_actor_state(self);

	switch (msg->kind) {
	case RL_MSG_START:
		atomic_fetch_add(&probe->marks[0], 1);
		PROBE_EXPECT(probe, atomic_load(&probe->marks[0]) <= FLOOD_CAP);
		return 0;
	case RL_MSG_OPEN:
		shaker->opened = true;
		atomic_fetch_sub(&probe->marks[0], 1);
		return 0;
	case RL_MSG_RECV:
		return rl_conn_send(self, msg->recv.data, msg->recv.len);
	case RL_MSG_STOP:
		atomic_fetch_sub(&probe->marks[0], !shaker->opened);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def shaker = {
	.name = "shaker",
	.receive = shaker_receive,
	.state_size = sizeof(struct shaker),
};

static void
await_admitted_or_refused(struct rig *rig, uint64_t want)
{
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	struct rl_stats stats = rig_stats(rig);

	while (stats.accepted + stats.refused < want) {
		assert_true(rig_now_ns() < end_ns);
		rig_let_pass(rig, 10);
		stats = rig_stats(rig);
	}
}

/* Each wave is more than the cap, and goes only when all of it was seen. */
static void
tls_cap_of_handshakes_holds_in_a_flood(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer healthy;
	struct tls_peer guest;
	struct hello hello;
	int fds[FLOOD_CONNS];

	hello_make(&hello);
	rig_start(rig, RL_CONFIG(.shards = 1, .tls_handshakes_max = FLOOD_CAP,
				 .tls_handshake_timeout_ns = RL_SEC(600)));
	tls_listen(rig, &shaker);
	tls_peer_dial(&healthy, rig->url, &setup);
	peer_echoes(&healthy);
	for (uint64_t wave = 0; wave < FLOOD_WAVES; wave++) {
		for (size_t i = 0; i < FLOOD_CONNS; i++) {
			fds[i] = raw_dial(rig);
			/* who was refused by now gets an error */
			(void)send(fds[i], hello.bytes, hello.len, MSG_NOSIGNAL);
		}
		await_admitted_or_refused(rig, 1 + wave + (wave + 1) * FLOOD_CONNS);
		assert_int_equal(rig_stats(rig).refused, (wave + 1) * (FLOOD_CONNS - FLOOD_CAP));
		rig_await(rig, probe->starts, 1 + wave + (wave + 1) * FLOOD_CAP);
		peer_echoes(&healthy);
		for (size_t i = 0; i < FLOOD_CONNS; i++) {
			client_reset(fds[i]);
		}
		rig_await(rig, probe->stops, wave + (wave + 1) * FLOOD_CAP);
		tls_peer_dial(&guest, rig->url, &setup); /* there is room again */
		tls_peer_leave(&guest);
		rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], wave + 1);
	}
	peer_echoes(&healthy);
	tls_peer_leave(&healthy);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], FLOOD_WAVES + 1);
	rig_forgive_logged(rig, "tls_handshakes_max = 16 is reached");
	rig_end(rig);
	assert_int_equal(rig->stats.tls_handshakes, FLOOD_WAVES + 1);
	assert_int_equal(rig->stats.accepted, 1 + FLOOD_WAVES * (1 + FLOOD_CAP));
}

/*
 * "hold" holds the shard up until a byte can be read from held[0]. marks[0]: it does; marks[1]: the
 * turn of the last RL_MSG_OPEN; marks[2]: how many there were in it; marks[3]: how many in all when
 * somebody who is connected was heard.
 */
static int held[2];

static int
holder_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	struct pollfd ready = { .fd = held[0], .events = POLLIN };
	uint64_t now_ns = rl_shard_now_ns(rl_actor_shard(self));

	switch (msg->kind) {
	case RL_MSG_OPEN:
		if (atomic_exchange(&probe->marks[1], now_ns) != now_ns) {
			atomic_store(&probe->marks[2], 0);
		}
		PROBE_EXPECT(probe, atomic_fetch_add(&probe->marks[2], 1) < STEPS_MAX);
		return 0;
	case RL_MSG_RECV:
		if (msg->recv.data[0] == 'h') {
			probe_add(probe, &probe->marks[0], 1);
			PROBE_EXPECT(probe, poll(&ready, 1, RIG_PATIENCE_MS) == 1);
		} else {
			atomic_store(&probe->marks[3], atomic_load(&probe->opens));
		}
		return rl_conn_send(self, msg->recv.data, msg->recv.len);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def holder = {
	.name = "holder",
	.receive = holder_receive,
	.state_size = sizeof(struct probed),
};

/* Up to a Finished that is made and not sent. */
static void
peer_shakes_all_but_the_end(struct rig *rig, struct tls_peer *peer)
{
	struct tls_peer_setup setup = { .version = TLS1_3_VERSION };

	tls_peer_init(peer, raw_dial(rig), &setup);
	while (SSL_do_handshake(peer->ssl) != 1) {
		struct pollfd poller = { .fd = peer->fd, .events = POLLIN };

		tls_peer_pump(peer);
		assert_false(peer->fin);
		if (BIO_pending(SSL_get_rbio(peer->ssl)) == 0) {
			assert_int_equal(poll(&poller, 1, RIG_PATIENCE_MS), 1);
		}
	}
	assert_true(tls_peer_waiting(peer) > 0);
}

/*
 * @count handshakes have their last step to do, all at once, and behind them comes a message of
 * somebody who is connected. How many were done when it was heard.
 */
static uint64_t
shaken_before_a_message(struct rig *rig, const struct rl_config *config, size_t count)
{
	struct probe *probe = &rig->probes[0];
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer *shakers = test_calloc(count, sizeof(*shakers));
	struct tls_peer healthy;
	struct tls_peer other;
	uint64_t opens;

	assert_int_equal(pipe2(held, O_CLOEXEC), 0);
	rig_start(rig, *config);
	tls_listen(rig, &holder);
	tls_peer_dial(&healthy, rig->url, &setup);
	tls_peer_dial(&other, rig->url, &setup);
	for (size_t i = 0; i < count; i++) {
		peer_shakes_all_but_the_end(rig, &shakers[i]);
	}
	tls_peer_send(&healthy, "hold", 4);
	rig_await(rig, probe->marks[0], 1);
	for (size_t i = 0; i < count; i++) {
		tls_peer_pump(&shakers[i]);
		assert_int_equal(tls_peer_waiting(&shakers[i]), 0);
	}
	tls_peer_send(&other, "me too", 6); /* the last of all */
	assert_int_equal(write(held[1], "x", 1), 1);
	tls_peer_recv_text(&healthy, "hold");
	tls_peer_recv_text(&other, "me too");
	opens = probe->marks[3];
	rig_await(rig, probe->opens, 2 + count);
	for (size_t i = 0; i < count; i++) {
		peer_echoes(&shakers[i]);
		tls_peer_leave(&shakers[i]);
	}
	test_free(shakers);
	tls_peer_leave(&healthy);
	tls_peer_leave(&other);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 2 + count);
	client_close(held[0]);
	client_close(held[1]);
	rig_end(rig);
	assert_int_equal(rig->stats.tls_handshakes, 2 + count);
	return opens - 2;
}

static void
tls_budget_of_handshakes_leaves_turns_to_others(void **state)
{
	const struct rl_config config =
		RL_CONFIG(.shards = 1, .tls_handshake_steps_max = STEPS_MAX);

	assert_in_range(shaken_before_a_message(*state, &config, SHAKERS), 0, SHAKERS / 2);
}

/* As many buffers are filled in a turn as there are, not as many as there are steps. */
static void
tls_handshakes_in_line_keep_no_receive_buffers(void **state)
{
	const struct rl_config config = RL_CONFIG(.shards = 1, .tls_handshake_steps_max = STEPS_MAX,
						  .recv_buffers = LINE_BUFFERS);
	struct rig *rig = *state;

	assert_in_range(shaken_before_a_message(rig, &config, LINE_SHAKERS), 0, LINE_SHAKERS / 2);
	assert_true(rig->stats.enobufs_parks > 0);
	assert_int_equal(rig->stats.pauses, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(tls_reload_under_load_fails_nobody),
		rig_case(tls_half_open_handshakes_are_gone_at_the_deadline),
		rig_case(tls_cap_of_handshakes_holds_in_a_flood),
		rig_case(tls_budget_of_handshakes_leaves_turns_to_others),
		rig_case(tls_handshakes_in_line_keep_no_receive_buffers),
	};

	return tls_rig_main("tls_load", tests, RIG_COUNT(tests));
}
