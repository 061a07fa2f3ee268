/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a connection actor gets and sends over tls:// what it would over tcp://, in either role
 * and both versions, whatever the pieces; close_notify leaves before FIN (pitfalls 45, 46, 66, 67).
 * How: actors against OpenSSL on a plain socket, and against each other. RL_TEST_MEGABYTES says how
 * long the stream in pieces is, 8 if nothing does.
 * Not proved: what goes wrong (test_tls_bad.c), other implementations (tls_tools.sh,
 * tls_servers.sh).
 */
#include "tls_peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static void
tls_echoes_in_both_versions(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &rig_echo);
	for (size_t i = 0; i < RIG_COUNT(versions); i++) {
		struct tls_peer_setup setup = { .version = versions[i],
						.ca = certs.file[CERTS_CA] };
		struct tls_peer peer;

		tls_peer_dial(&peer, rig->url, &setup);
		assert_int_equal(SSL_version(peer.ssl), versions[i]);
		tls_peer_send(&peer, "hello", 5);
		tls_peer_recv_text(&peer, "hello");
		tls_peer_end(&peer);
		assert_int_equal(tls_peer_recv(&peer, &peer, 1), 0); /* close_notify */
		client_shut(peer.fd);
		client_expect_fin(peer.fd);
		tls_peer_close(&peer);
		rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], i + 1);
	}
	assert_int_equal(rig->probes[0].opens, 2);
	assert_int_equal(rig_stats(rig).tls_handshakes, 2);
	rig_end(rig);
}

static uint64_t
stream_bytes(void)
{
	const char *text = getenv("RL_TEST_MEGABYTES");
	long megabytes = text != NULL ? strtol(text, NULL, 10) : 8;

	assert_in_range(megabytes, 1, 100000);
	return (uint64_t)megabytes << 20;
}

/* There and back, in records and segments of any size, compared byte by byte. */
static void
stream_run(struct rig *rig, int version, uint64_t seed)
{
	static uint8_t block[16384];
	struct tls_peer_setup setup = { .version = version, .seed = seed };
	const uint64_t total = stream_bytes();
	uint64_t sent = 0;
	uint64_t received = 0;
	struct tls_peer peer;

	tls_peer_dial(&peer, rig->url, &setup);
	while (received < total) {
		size_t got;

		if (sent < total && tls_peer_waiting(&peer) < 100000) {
			size_t len = client_random(&seed) % sizeof(block) + 1;

			len = len < total - sent ? len : (size_t)(total - sent);
			pattern_fill(version, sent, block, len);
			assert_int_equal(SSL_write(peer.ssl, block, (int)len), (int)len);
			sent += len;
		}
		tls_peer_pump(&peer);
		while (SSL_read_ex(peer.ssl, block, sizeof(block), &got) == 1) {
			assert_true(pattern_matches(version, received, block, got));
			received += got;
		}
		assert_false(peer.fin && received < total);
		if (sent == total || tls_peer_waiting(&peer) >= 100000) {
			struct pollfd poller = {
				.fd = peer.fd,
				.events = (short)(tls_peer_waiting(&peer) > 0 ? POLLIN | POLLOUT
									      : POLLIN),
			};

			assert_true(received == total || poll(&poller, 1, RIG_PATIENCE_MS) == 1);
		}
	}
	assert_int_equal(sent, total);
	assert_int_equal(received, total);
	tls_peer_leave(&peer);
	print_message("%s: %llu bytes there and back\n", version == TLS1_3_VERSION ? "1.3" : "1.2",
		      (unsigned long long)received);
}

static void
tls_stream_in_any_pieces_is_echoed_whole(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &rig_echo);
	stream_run(rig, TLS1_3_VERSION, 11);
	stream_run(rig, TLS1_2_VERSION, 12);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 2);
	rig_end(rig);
}

/* Takes whole lines of ten bytes, echoes them, leaves the rest; starts paused, and resumes. */
static int
liner_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);
	size_t lines;

	switch (msg->kind) {
	case RL_MSG_START:
		PROBE_EXPECT(probe, rl_conn_pause(self) == 0); /* the handshake goes on */
		PROBE_EXPECT(probe, rl_conn_send(self, "early ", 6) == 0);
		return 0;
	case RL_MSG_OPEN:
		PROBE_EXPECT(probe, !msg->open.outbound);
		PROBE_EXPECT(probe, msg->open.tls->version[0] == 'T');
		PROBE_EXPECT(probe, msg->open.tls->peer_subject[0] == '\0');
		return 0;
	case RL_MSG_USER:
		return rl_conn_resume(self);
	case RL_MSG_RECV:
		lines = msg->recv.len / 10 * 10;
		rl_conn_consumed(self, lines);
		return rl_conn_send(self, msg->recv.data, lines);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def liner = {
	.name = "liner",
	.receive = liner_receive,
	.state_size = sizeof(struct probed),
};

static void
tls_actor_that_pauses_and_leaves_bytes_gets_them_again(void **state)
{
	struct rig *rig = *state;
	struct tls_peer_setup setup = { .seed = 5 };
	struct tls_peer peer;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &liner);
	tls_peer_dial(&peer, rig->url, &setup);
	rig_await(rig, rig->probes[0].opens, 1);
	tls_peer_recv_text(&peer, "early ");
	tls_peer_send(&peer, "0123456", 7);
	tls_peer_send(&peer, "789abcdefghij01", 15);
	rig_assert_idle(rig);
	assert_int_equal(rig->probes[0].recvs, 0);
	rig_tell(rig, &rig->probes[0], RL_MSG_USER);
	tls_peer_recv_text(&peer, "0123456789abcdefghij");
	tls_peer_send(&peer, "23456789z", 9);
	tls_peer_recv_text(&peer, "0123456789");
	tls_peer_end(&peer);
	assert_int_equal(tls_peer_recv(&peer, &peer, 1), 0);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 1);
	assert_int_equal(rig->probes[0].leftover, 1);
	tls_peer_close(&peer);
	rig_end(rig);
}

/* Half-closes at once, and still hears; then says goodbye. */
static int
halver_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	switch (msg->kind) {
	case RL_MSG_OPEN:
		PROBE_EXPECT(probe, rl_conn_send(self, "bye", 3) == 0);
		return rl_conn_shutdown_write(self);
	case RL_MSG_RECV:
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def halver = {
	.name = "halver",
	.receive = halver_receive,
	.state_size = sizeof(struct probed),
};

static void
tls_shutdown_write_says_close_notify_and_goes_on_reading(void **state)
{
	struct rig *rig = *state;
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer peer;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &halver);
	tls_peer_dial(&peer, rig->url, &setup);
	tls_peer_recv_text(&peer, "bye");
	assert_int_equal(tls_peer_recv(&peer, &peer, 1), 0);
	while (!peer.fin) {
		tls_peer_pump(&peer);
	}
	tls_peer_send(&peer, "still there", 11);
	rig_await(rig, rig->probes[0].bytes, 11);
	assert_int_equal(rig->probes[0].eofs, 0);
	tls_peer_end(&peer);
	rig_await(rig, rig->probes[0].eofs, 1);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 1);
	tls_peer_close(&peer);
	rig_end(rig);
}

static int
goodbye_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static uint8_t block[100000];

	(void)probe_note(self, msg);
	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	if (rl_conn_send(self, block, sizeof(block)) < 0) {
		return -EIO;
	}
	return RL_ACTOR_STOP;
}

static const struct rl_actor_def goodbye = {
	.name = "goodbye",
	.receive = goodbye_receive,
	.state_size = sizeof(struct probed),
};

static void
tls_close_sends_all_then_close_notify_then_fin(void **state)
{
	static uint8_t block[16384];
	struct rig *rig = *state;
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer peer;
	size_t all = 0;
	ssize_t got;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &goodbye);
	tls_peer_dial(&peer, rig->url, &setup);
	tls_peer_send(&peer, "go", 2);
	while ((got = tls_peer_recv(&peer, block, sizeof(block))) > 0) {
		all += (size_t)got;
	}
	assert_int_equal(got, 0);
	assert_int_equal(all, 100000);
	client_shut(peer.fd);
	client_expect_fin(peer.fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_LOCAL], 1);
	tls_peer_close(&peer);
	rig_end(rig);
}

/* Says something when it opens, and ends when that came back. */
static int
caller_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	switch (msg->kind) {
	case RL_MSG_START:
		return rl_conn_send(self, "hello ", 6);
	case RL_MSG_OPEN:
		PROBE_EXPECT(probe, msg->open.outbound);
		PROBE_EXPECT(probe, strcmp(msg->open.tls->peer_subject, "CN=" TLS_CERTS_NAME) == 0);
		return rl_conn_send(self, "world", 5);
	case RL_MSG_RECV:
		if (probe->bytes % 11 == 0) {
			return RL_ACTOR_STOP;
		}
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def caller = {
	.name = "caller",
	.receive = caller_receive,
	.state_size = sizeof(struct probed),
};

static void
tls_opened_connection_speaks_and_verifies(void **state)
{
	static struct rl_tls_options wrong = RL_TLS_OPTIONS(.server_name = "other.test");
	static struct rl_tls_options named = RL_TLS_OPTIONS(.server_name = TLS_CERTS_NAME);
	struct rl_conn_options good = { .tls = &client_tls };
	struct rl_conn_options bad = { .tls = &wrong };
	struct rl_conn_options right = { .tls = &named };
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[1];
	char url[RL_URL_MAX];

	wrong.ca_file = certs.file[CERTS_CA];
	named.ca_file = certs.file[CERTS_CA];
	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &rig_echo);
	assert_int_equal(rig_open(rig, 0, rig->url, &caller, probe, &good), 0);
	rig_await(rig, probe->stopped[RL_REASON_LOCAL], 1);
	assert_int_equal(probe->bytes, 11);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 1);

	assert_int_equal(rig_open(rig, 0, rig->url, &caller, probe, &right), 0);
	rig_await(rig, probe->stopped[RL_REASON_LOCAL], 2);

	/* the name in the URL is whom to expect, not the address that it has */
	(void)snprintf(url, sizeof(url), "tls://localhost%s", strrchr(rig->url, ':'));
	assert_int_equal(rig_open(rig, 0, url, &caller, probe, &good), 0);
	rig_await(rig, probe->stopped[RL_REASON_LOCAL], 3);

	assert_int_equal(rig_open(rig, 0, rig->url, &caller, probe, &bad), 0);
	rig_await(rig, probe->stopped[RL_REASON_TLS], 1);
	assert_int_equal(probe->error, -EKEYREJECTED);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS], 1);
	assert_int_equal(rig->probes[0].error, -ECONNABORTED);

	assert_int_equal(rig_open(rig, 0, rig->url, &caller, probe, NULL), 0); /* the system's */
	rig_await(rig, probe->stopped[RL_REASON_TLS], 2);
	assert_int_equal(probe->error, -EKEYREJECTED);
	assert_int_equal(probe->opens, 3);
	rig_end(rig);
}

/* Much more than all buffers hold, to a peer that does not read for a while. */
static int
flooder_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static uint8_t block[50000];
	struct probe *probe = probe_note(self, msg);
	int rc = 0;

	switch (msg->kind) {
	case RL_MSG_OPEN:
	case RL_MSG_WRITABLE:
		while (probe->marks[0] < 10000000 && rc == 0) {
			pattern_fill(3, probe->marks[0], block, sizeof(block));
			rc = rl_conn_send(self, block, sizeof(block));
			if (rc >= 0) {
				probe_add(probe, &probe->marks[0], sizeof(block));
			}
		}
		PROBE_EXPECT(probe, rc >= 0);
		return probe->marks[0] == 10000000 ? RL_ACTOR_STOP : 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def flooder = {
	.name = "flooder",
	.receive = flooder_receive,
	.state_size = sizeof(struct probed),
};

static void
tls_to_a_slow_reader_keeps_to_the_marks(void **state)
{
	static uint8_t block[16384];
	struct rig *rig = *state;
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer peer;
	uint64_t received = 0;
	ssize_t got;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &flooder);
	tls_peer_dial(&peer, rig->url, &setup);
	rig_await(rig, rig->probes[0].marks[0], 50000);
	rig_assert_idle(rig); /* it waits */
	assert_true(rig->probes[0].marks[0] < 10000000);
	while ((got = tls_peer_recv(&peer, block, sizeof(block))) > 0) {
		assert_true(pattern_matches(3, received, block, (size_t)got));
		received += (uint64_t)got;
	}
	assert_int_equal(got, 0);
	assert_int_equal(received, 10000000);
	tls_peer_end(&peer);
	client_shut(peer.fd);
	client_expect_fin(peer.fd);
	tls_peer_close(&peer);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_LOCAL], 1);
	rig_end(rig);
}

/* Connections of before live on, new ones see the new certificate, a bad one changes nothing. */
static void
tls_listener_reloads_its_certificate(void **state)
{
	static struct rl_tls_options other = RL_TLS_OPTIONS(.alpn = NULL);
	static struct rl_tls_options bad = RL_TLS_OPTIONS(.alpn = NULL);
	const struct rl_listener_options options = {
		.arg = &((struct rig *)*state)->probes[0],
		.conn = { .tls = &server_tls },
	};
	static const char *const subjects[] = { ("CN = " TLS_CERTS_NAME), "CN = other.test",
						"CN = other.test" };
	struct tls_peer_setup setup = { .version = 0 };
	struct rig *rig = *state;
	struct tls_peer peers[3];
	rl_listener_id id;
	rl_listener_id plain;

	other.cert_file = certs.file[CERTS_OTHER];
	other.key_file = certs.file[CERTS_OTHER_KEY];
	bad.cert_file = certs.file[CERTS_SERVER];
	bad.key_file = certs.file[CERTS_OTHER_KEY];
	rig_start(rig, RL_CONFIG());
	plain = rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	id = rig_listen_with(rig, "tls://127.0.0.1:0", &rig_echo, &options);
	for (size_t i = 0; i < RIG_COUNT(peers); i++) {
		char subject[100] = "";

		tls_peer_dial(&peers[i], rig->url, &setup);
		(void)X509_NAME_oneline(
			X509_get_subject_name(SSL_get0_peer_certificate(peers[i].ssl)), subject,
			sizeof(subject));
		assert_string_equal(subject + 4, subjects[i] + 5);
		if (i == 0) {
			assert_int_equal(rl_listener_reload(rig->sys, id, &other), 0);
		} else {
			assert_int_equal(rl_listener_reload(rig->sys, id, &bad), -EINVAL);
			rig_assert_logged(rig, "key values mismatch");
		}
	}
	for (size_t i = 0; i < RIG_COUNT(peers); i++) {
		tls_peer_send(&peers[i], "still", 5);
		tls_peer_recv_text(&peers[i], "still");
		tls_peer_end(&peers[i]);
		rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], i + 1);
		tls_peer_close(&peers[i]);
	}
	assert_int_equal(rl_listener_reload(rig->sys, plain, &other), -EINVAL);
	rig_assert_logged(rig, "is not tls://");
	assert_int_equal(rl_listener_reload(rig->sys, id, NULL), -EINVAL);
	rig_assert_logged(rig, "there are no tls options");
	assert_int_equal(rl_listener_close(rig->sys, id), 0);
	assert_int_equal(rl_listener_reload(rig->sys, id, &other), -ENOENT);
	rig_end(rig);
}

static void
tls_connections_outlive_their_listener_and_drain(void **state)
{
	struct rig *rig = *state;
	struct rl_listener_options options = {
		.arg = &rig->probes[0],
		.conn = { .tls = &server_tls },
	};
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer peer;
	rl_listener_id id;
	char byte;

	rig_start(rig, RL_CONFIG());
	id = rig_listen_with(rig, "tls://127.0.0.1:0", &rig_echo, &options);
	tls_peer_dial(&peer, rig->url, &setup);
	assert_int_equal(rl_listener_close(rig->sys, id), 0);
	tls_peer_send(&peer, "on", 2);
	tls_peer_recv_text(&peer, "on");
	rl_system_drain(rig->sys);
	assert_int_equal(tls_peer_recv(&peer, &byte, 1), 0); /* close_notify */
	tls_peer_end(&peer);
	client_shut(peer.fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_SHUTDOWN], 1);
	tls_peer_close(&peer);
	rig->restless = true;
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(tls_echoes_in_both_versions),
		rig_case(tls_stream_in_any_pieces_is_echoed_whole),
		rig_case(tls_actor_that_pauses_and_leaves_bytes_gets_them_again),
		rig_case(tls_shutdown_write_says_close_notify_and_goes_on_reading),
		rig_case(tls_close_sends_all_then_close_notify_then_fin),
		rig_case(tls_opened_connection_speaks_and_verifies),
		rig_case(tls_to_a_slow_reader_keeps_to_the_marks),
		rig_case(tls_listener_reloads_its_certificate),
		rig_case(tls_connections_outlive_their_listener_and_drain),
	};

	return tls_rig_main("tls", tests, RIG_COUNT(tests));
}
