/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: an end without close_notify, what is no TLS, and what was tampered with end a connection
 * with their own reasons, and the other end hears the alert; deadline and cap of handshakes hold;
 * options that can't be meant are refused with a line (pitfall 47).
 * How: OpenSSL, and worse, on a plain socket.
 * Not proved: which errno OpenSSL's reasons become (test_tls_session.c).
 */
#include "tls_peer.h"

#include <errno.h>

/* Pitfall 47. */
static void
tls_fin_without_close_notify_is_truncation(void **state)
{
	struct rig *rig = *state;
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer peer;
	int fd;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &rig_sink);
	tls_peer_dial(&peer, rig->url, &setup);
	tls_peer_send(&peer, "all but the end", 15);
	client_shut(peer.fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS_TRUNCATED], 1);
	assert_int_equal(rig->probes[0].bytes, 15);
	assert_int_equal(rig->probes[0].eofs, 0);
	tls_peer_close(&peer);

	fd = raw_dial(rig); /* in the handshake */
	client_shut(fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS_TRUNCATED], 2);
	client_close(fd);
	rig_end(rig);
}

static void
tls_of_something_else_is_an_alert_and_a_reason(void **state)
{
	struct rig *rig = *state;
	struct tls_peer_setup old = { .version = TLS1_1_VERSION };
	struct tls_peer peer;
	uint8_t alert[7];
	int fd;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &rig_echo);
	fd = raw_dial(rig);
	client_send_text(fd, "\x16\x03\x01\x03\xe8" /* then a ClientHello that is none */);
	client_send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	for (int i = 0; i < 40; i++) {
		client_send_text(fd, "and so on, and so on, all 1000 bytes");
	}
	client_recv(fd, alert, sizeof(alert));
	assert_int_equal(alert[0], 0x15);
	assert_int_equal(alert[5], 2); /* fatal */
	client_shut(fd);
	client_expect_fin(fd); /* and no reset before it */
	client_close(fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS], 1);
	assert_int_equal(rig->probes[0].error, -EPROTO);

	fd = raw_dial(rig);
	tls_peer_init(&peer, fd, &old);
	assert_int_equal(SSL_set_cipher_list(peer.ssl, "ALL:@SECLEVEL=0"), 1);
	assert_int_equal(tls_peer_handshake(&peer), -EPROTO);
	client_shut(fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS], 2);
	assert_int_equal(rig->probes[0].error, -EPROTONOSUPPORT);
	tls_peer_close(&peer);
	assert_int_equal(rig->probes[0].opens, 0);
	rig_end(rig);
}

/* No alert for HTTP, which would not understand it; the end is clean. */
static void
tls_of_plain_http_or_an_endless_hello_is_an_end_and_a_reason(void **state)
{
	struct rig *rig = *state;
	uint8_t alert[7];
	int fd;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &rig_echo);
	fd = raw_dial(rig);
	client_send_text(fd, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
	client_expect_fin(fd);
	client_close(fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS], 1);
	assert_int_equal(rig->probes[0].error, -EPROTO);

	fd = raw_dial(rig);
	client_send_text(fd, "\x16\x03\x01\x40"); /* then nine bytes that want 128 KiB */
	assert_int_equal(send(fd, "\0\1\2\1\x3c", 5, MSG_NOSIGNAL), 5);
	client_recv(fd, alert, sizeof(alert));
	assert_int_equal(alert[6], SSL_AD_DECODE_ERROR);
	client_expect_fin(fd);
	client_close(fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS], 2);
	assert_int_equal(rig->probes[0].opens, 0);
	rig_end(rig);
}

static void
tls_record_that_was_tampered_with_ends_the_connection(void **state)
{
	struct rig *rig = *state;
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer peer;
	char *data;
	char byte;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &rig_echo);
	tls_peer_dial(&peer, rig->url, &setup);
	tls_peer_send(&peer, "good", 4);
	tls_peer_recv_text(&peer, "good");
	assert_int_equal(SSL_write(peer.ssl, "evil", 4), 4);
	(void)BIO_get_mem_data(SSL_get_wbio(peer.ssl), &data);
	data[9] ^= 1;
	assert_int_equal(tls_peer_recv(&peer, &byte, 1), -EPROTO); /* bad_record_mac */
	client_shut(peer.fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS], 1);
	assert_int_equal(rig->probes[0].bytes, 4);
	assert_int_equal(rig->probes[0].error, -EPROTO);
	tls_peer_close(&peer);
	rig_end(rig);
}

/* Leaves what it gets, and pauses until it is told to go on. */
static int
keeper_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)probe_note(self, msg);
	switch (msg->kind) {
	case RL_MSG_RECV:
		rl_conn_consumed(self, 0);
		return rl_conn_pause(self);
	case RL_MSG_USER:
		return rl_conn_resume(self);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def keeper = {
	.name = "keeper",
	.receive = keeper_receive,
	.state_size = sizeof(struct probed),
};

static void
tls_leftover_does_not_come_again_after_the_stream_failed(void **state)
{
	struct rig *rig = *state;
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer peer;
	char *data;
	char byte;
	long good;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &keeper);
	tls_peer_dial(&peer, rig->url, &setup);
	rig_await(rig, rig->probes[0].opens, 1);
	assert_int_equal(SSL_write(peer.ssl, "good", 4), 4);
	good = BIO_get_mem_data(SSL_get_wbio(peer.ssl), &data);
	assert_int_equal(SSL_write(peer.ssl, "evil", 4), 4);
	(void)BIO_get_mem_data(SSL_get_wbio(peer.ssl), &data);
	data[good + 9] ^= 1;
	tls_peer_pump(&peer);
	rig_await(rig, rig->probes[0].recvs, 1);
	rig_tell(rig, &rig->probes[0], RL_MSG_USER);
	assert_int_equal(tls_peer_recv(&peer, &byte, 1), -EPROTO); /* bad_record_mac */
	client_shut(peer.fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS], 1);
	assert_int_equal(rig->probes[0].recvs, 1);
	tls_peer_close(&peer);
	rig_end(rig);
}

static void
tls_handshake_that_takes_too_long_is_cut(void **state)
{
	struct rig *rig = *state;
	int silent;
	int half;

	rig_start(rig, RL_CONFIG(.tls_handshake_timeout_ns = RL_MS(100), .log_level = RL_LOG_INFO));
	rig_watch_log(rig, "(tls_handshake_timeout_ns)");
	tls_listen(rig, &rig_echo);
	silent = raw_dial(rig);
	half = raw_dial(rig);
	client_send_text(half, "\x16\x03\x01");
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TIMEOUT_HANDSHAKE], 2);
	rig_assert_watched(rig);
	assert_int_equal(rig->probes[0].error, -ETIMEDOUT);
	client_expect_reset(silent);
	client_expect_reset(half);
	client_close(silent);
	client_close(half);
	rig_end(rig);
}

/* A listener has its own, which goes before the configuration's; so has an opened connection. */
static void
tls_handshake_deadline_can_be_the_listeners_own(void **state)
{
	struct rig *rig = *state;
	const struct rl_listener_options listener = {
		.arg = &rig->probes[1],
		.conn = { .tls = &server_tls, .tls_handshake_timeout_ns = RL_MS(100) },
	};
	const struct rl_conn_options options = {
		.tls = &client_tls,
		.tls_handshake_timeout_ns = RL_MS(100),
	};
	char url[RL_URL_MAX];
	int silent;
	int other;
	int server;
	int fd;

	rig_start(rig, RL_CONFIG(.tls_handshake_timeout_ns = -1));
	tls_listen(rig, &rig_echo);
	other = raw_dial(rig);
	(void)rig_listen_with(rig, "tls://127.0.0.1:0", &rig_echo, &listener);
	silent = raw_dial(rig);
	rig_await(rig, rig->probes[1].stopped[RL_REASON_TIMEOUT_HANDSHAKE], 1);
	client_expect_reset(silent);
	server = client_listen(url, 1);
	memcpy(url, "tls", 3);
	assert_int_equal(rig_open(rig, 0, url, &rig_echo, &rig->probes[2], &options), 0);
	fd = client_accept(server);
	rig_await(rig, rig->probes[2].stopped[RL_REASON_TIMEOUT_HANDSHAKE], 1);
	assert_int_equal(rig->probes[0].stops, 0);
	client_close(fd);
	client_close(server);
	client_close(silent);
	client_close(other);
	rig_await(rig, rig->probes[0].stops, 1);
	rig_end(rig);
}

/* Pauses before there is anything to read. */
static int
early_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_START) {
		PROBE_EXPECT(probe, rl_conn_pause(self) == 0);
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def early = {
	.name = "early",
	.receive = early_receive,
	.state_size = sizeof(struct probed),
};

/* A pause is the actor's; the handshake is not, and its deadline runs on as it was. */
static void
tls_handshake_of_who_pauses_has_its_deadline(void **state)
{
	struct rig *rig = *state;
	uint64_t began_ns;
	int silent;

	rig_start(rig, RL_CONFIG(.tls_handshake_timeout_ns = RL_MS(100)));
	tls_listen(rig, &early);
	began_ns = rig_now_ns();
	silent = raw_dial(rig);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TIMEOUT_HANDSHAKE], 1);
	assert_true(rig_now_ns() - began_ns >= 100000000);
	client_expect_reset(silent);
	client_close(silent);
	rig_end(rig);
}

static void
tls_handshakes_under_way_are_capped(void **state)
{
	struct rig *rig = *state;
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer peer;
	int first;
	int second;

	rig_start(rig, RL_CONFIG(.shards = 1, .tls_handshakes_max = 1));
	tls_listen(rig, &rig_echo);
	first = raw_dial(rig);
	rig_await(rig, rig->probes[0].starts, 1);
	second = raw_dial(rig);
	rig_await_stat(rig, refused, 1);
	rig_assert_logged(rig, "tls_handshakes_max = 1 is reached");
	client_close(first);
	client_close(second);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS_TRUNCATED], 1);
	tls_peer_dial(&peer, rig->url, &setup); /* one that is done does not count */
	rig_await_stat(rig, tls_handshakes, 1);
	first = raw_dial(rig);
	rig_await(rig, rig->probes[0].starts, 3);
	client_close(first);
	tls_peer_end(&peer);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 1);
	tls_peer_close(&peer);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS_TRUNCATED], 2);
	rig_end(rig);
}

/* Nobody reads what is behind the end, so nothing else takes it out of the way. */
static void
tls_bytes_behind_close_notify_are_discarded(void **state)
{
	struct rig *rig = *state;
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer peer;
	char byte;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &rig_echo);
	tls_peer_dial(&peer, rig->url, &setup);
	tls_peer_send(&peer, "good", 4);
	tls_peer_recv_text(&peer, "good");
	(void)SSL_shutdown(peer.ssl);
	assert_int_equal(BIO_write(SSL_get_wbio(peer.ssl), "and so on", 9), 9);
	tls_peer_pump(&peer);
	assert_int_equal(tls_peer_recv(&peer, &byte, 1), 0);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 1);
	assert_int_equal(rig->probes[0].bytes, 4);
	assert_int_equal(rig->probes[0].eofs, 1);
	tls_peer_close(&peer);
	rig_end(rig);
}

/* In the handshake there is no first byte to wait for yet; its own deadline stays as it is. */
static int
hasty_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_START) {
		PROBE_EXPECT(probe, rl_conn_set_deadline(self, RL_CONN_DEADLINE_FIRST_BYTE,
							 RL_SEC(60)) == -ENOTCONN);
		return 0;
	}
	if (msg->kind == RL_MSG_OPEN) {
		PROBE_EXPECT(probe, rl_conn_set_deadline(self, RL_CONN_DEADLINE_FIRST_BYTE,
							 RL_SEC(60)) == 0);
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def hasty = {
	.name = "hasty",
	.receive = hasty_receive,
	.state_size = sizeof(struct probed),
};

static void
tls_first_byte_is_not_the_handshakes(void **state)
{
	struct rig *rig = *state;
	struct tls_peer_setup setup = { .version = 0 };
	struct tls_peer peer;

	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &hasty);
	tls_peer_dial(&peer, rig->url, &setup);
	rig_await(rig, rig->probes[0].opens, 1);
	tls_peer_end(&peer);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 1);
	tls_peer_close(&peer);
	rig_end(rig);
}

static void
tls_options_that_are_wrong_are_refused(void **state)
{
	static struct rl_tls_options mismatch = RL_TLS_OPTIONS(.alpn = NULL);
	struct rl_listener_options options = { .conn = { .tls = &mismatch } };
	const struct rl_conn_options opened = { .tls = &client_tls };
	struct rig *rig = *state;

	mismatch.cert_file = certs.file[CERTS_SERVER];
	mismatch.key_file = certs.file[CERTS_OTHER_KEY];
	rig_start(rig, RL_CONFIG());
	assert_int_equal(rl_listener_open(rig->sys, "tls://127.0.0.1:0", &rig_echo, &options, NULL),
			 -EINVAL);
	rig_assert_logged(rig, "key values mismatch");
	assert_int_equal(rl_listener_open(rig->sys, "tcp://127.0.0.1:0", &rig_echo, &options, NULL),
			 -EINVAL);
	rig_assert_logged(rig, "the url is not tls://");
	assert_int_equal(rl_listener_open(rig->sys, "tls://127.0.0.1:0", &rig_echo, NULL, NULL),
			 -EINVAL);
	rig_assert_logged(rig, "tls:// needs options.conn.tls");
	assert_int_equal(rig_open(rig, 0, "tcp://127.0.0.1:1", &rig_echo, &rig->probes[1], &opened),
			 -EINVAL);
	rig_assert_logged(rig, "is not tls://");
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(tls_fin_without_close_notify_is_truncation),
		rig_case(tls_of_something_else_is_an_alert_and_a_reason),
		rig_case(tls_of_plain_http_or_an_endless_hello_is_an_end_and_a_reason),
		rig_case(tls_record_that_was_tampered_with_ends_the_connection),
		rig_case(tls_leftover_does_not_come_again_after_the_stream_failed),
		rig_case(tls_handshake_that_takes_too_long_is_cut),
		rig_case(tls_handshake_deadline_can_be_the_listeners_own),
		rig_case(tls_handshake_of_who_pauses_has_its_deadline),
		rig_case(tls_handshakes_under_way_are_capped),
		rig_case(tls_bytes_behind_close_notify_are_discarded),
		rig_case(tls_first_byte_is_not_the_handshakes),
		rig_case(tls_options_that_are_wrong_are_refused),
	};

	return tls_rig_main("tls_bad", tests, RIG_COUNT(tests));
}
