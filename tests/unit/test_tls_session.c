/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: two sessions carry bytes in order whatever the wire does to the pieces; what is tampered
 *         with, cut or no TLS yields no byte and the right errno; a record is made whole or not at
 *         all; certificates and names are verified; the end is told apart from silence.
 * How: both ends in memory, every version, random segments; OpenSSL at both ends.
 * Not: other implementations (tests/integration/tls_tools.sh), sockets (test_tls.c).
 * Guards: pitfall 45, pitfall 66, pitfall 67.
 */
#include "unit.h"

#include <errno.h>

#include <openssl/ssl.h>

#include "tls_pair.h"

/* Read what came of the handshake besides: tickets. */
static void
pair_settle(void)
{
	size_t got;

	assert_int_equal(pair_read(CLIENT, WIRE_MAX, &got), TLS_WANTS);
}

static void
session_handshakes_byte_by_byte_and_carries_bytes(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(versions); i++) {
		pair_init();
		(void)SSL_set_max_proto_version(pair.ends[CLIENT].ssl, versions[i]);
		assert_int_equal(pair_handshake(1), TLS_DONE);
		assert_int_equal(SSL_version(pair.ends[CLIENT].ssl), versions[i]);
		assert_true(pair.ends[SERVER].ready && pair.ends[CLIENT].ready);
		pair_settle();
		pair_say(CLIENT, "hello");
		pair_say(SERVER, "and hello to you");
		pair_fini();
	}
}

/* A stream of known bytes each way: position p holds pattern(p). */
static uint8_t
pattern(uint64_t position)
{
	return (uint8_t)(position * 2654435761u >> 13);
}

static void
random_write(int end, uint64_t *seed, uint64_t *sent)
{
	static uint8_t data[TLS_PLAIN_MAX];
	size_t len = unit_random(seed) % (unit_random(seed) % 4 == 0 ? TLS_PLAIN_MAX : 200) + 1;

	for (size_t i = 0; i < len; i++) {
		data[i] = pattern(*sent + i);
	}
	assert_int_equal(rli_tls_write(&pair.ends[end], data, len), TLS_DONE);
	*sent += len;
}

static void
random_read(int end, uint64_t *seed, uint64_t *received)
{
	size_t bytes = unit_random(seed) % (unit_random(seed) % 2 == 0 ? 40000 : 30);
	size_t room = unit_random(seed) % sizeof(plain[end]) + 1;
	size_t got;
	enum tls_status status;

	pair_feed(end, bytes);
	while ((status = rli_tls_read(&pair.ends[end], plain[end], room, &got)) == TLS_DONE) {
		assert_true(got > 0 && got <= room);
		for (size_t i = 0; i < got; i++) {
			assert_int_equal(plain[end][i], pattern(*received + i));
		}
		*received += got;
	}
	assert_int_equal(status, TLS_WANTS);
	assert_int_equal(pair.ends[end].in_len, 0); /* pitfall 45 */
	assert_false(pair.ends[end].readable);
	pair_fed(end);
}

static void
random_stream(uint64_t seed)
{
	uint64_t sent[2] = { 0, 0 };
	uint64_t received[2] = { 0, 0 };

	pair_init();
	if (seed % 2 == 0) {
		(void)SSL_set_max_proto_version(pair.ends[CLIENT].ssl, TLS1_2_VERSION);
	}
	assert_int_equal(pair_handshake(unit_random(&seed) % 300 + 1), TLS_DONE);
	for (int i = 0; i < 400; i++) {
		int end = (int)(unit_random(&seed) % 2);

		if (pair.wires[end].end < WIRE_MAX / 2 && unit_random(&seed) % 2 == 0) {
			random_write(end, &seed, &sent[end]);
			(void)pair_send(end);
		} else if (i % 50 == 0 && SSL_version(pair.ends[end].ssl) == TLS1_3_VERSION) {
			assert_int_equal(
				SSL_key_update(pair.ends[end].ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		} else {
			random_read(!end, &seed, &received[!end]);
			(void)pair_send(!end); /* what the protocol itself had to say */
		}
	}
	for (int end = 0; end < 2; end++) {
		while (pair.wires[!end].start < pair.wires[!end].end) {
			random_read(end, &seed, &received[end]);
		}
		assert_int_equal(received[end], sent[!end]);
	}
	pair_fini();
}

static void
session_carries_a_stream_in_any_segments(void **state)
{
	(void)state;
	unit_each_seed(random_stream, 20);
}

static void
session_of_a_full_record_makes_one(void **state)
{
	size_t got;

	(void)state;
	pair_init();
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	pair_settle();
	memset(plain[SERVER], 7, TLS_PLAIN_MAX);
	assert_int_equal(rli_tls_write(&pair.ends[SERVER], plain[SERVER], TLS_PLAIN_MAX), TLS_DONE);
	assert_int_equal(pair.ends[SERVER].out_first->capacity, 16384);
	assert_int_equal(pair.ends[SERVER].out_last->capacity, 256); /* not 64 KiB for it */
	assert_int_equal(pair_send(SERVER), TLS_PLAIN_MAX + 22);
	assert_int_equal(pair_read(CLIENT, TLS_PLAIN_MAX + 21, &got), TLS_WANTS);
	assert_int_equal(pair_read(CLIENT, 1, &got), TLS_DONE);
	assert_int_equal(got, TLS_PLAIN_MAX);
	pair_fini();
}

static void
session_reads_a_record_in_parts(void **state)
{
	size_t got;
	uint8_t few[3];

	(void)state;
	pair_init();
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	assert_int_equal(rli_tls_write(&pair.ends[CLIENT], (const uint8_t *)"abcd", 4), TLS_DONE);
	(void)pair_send(CLIENT);
	pair_feed(SERVER, WIRE_MAX);
	assert_int_equal(rli_tls_read(&pair.ends[SERVER], few, 3, &got), TLS_DONE);
	assert_int_equal(got, 3);
	assert_true(pair.ends[SERVER].readable);
	assert_int_equal(rli_tls_read(&pair.ends[SERVER], few, 3, &got), TLS_DONE);
	assert_int_equal(got, 1);
	assert_false(pair.ends[SERVER].readable);
	pair_fed(SERVER);
	pair_fini();
}

/* Every byte of a record matters, and the other end is told. */
static void
session_fed_a_tampered_record_fails_and_says_so(void **state)
{
	size_t got;

	(void)state;
	for (size_t at = 0; at < 27; at++) {
		pair_init();
		assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
		assert_int_equal(rli_tls_write(&pair.ends[CLIENT], (const uint8_t *)"hello", 5),
				 TLS_DONE);
		assert_int_equal(pair_send(CLIENT), 27);
		pair.wires[CLIENT].data[pair.wires[CLIENT].start + at] ^= at == 4 ? 0x01 : 0x80;
		if (at == 4) {
			/* a length of one less: the record is cut, not waited for */
			pair.wires[CLIENT].data[pair.wires[CLIENT].start + 4] = 21;
		}
		assert_int_equal(pair_read(SERVER, WIRE_MAX, &got), TLS_FAILED);
		assert_int_equal(got, 0);
		assert_int_equal(pair.ends[SERVER].error, -EPROTO);
		assert_true(pair_send(SERVER) > 0);
		assert_int_equal(pair_read(CLIENT, WIRE_MAX, &got), TLS_FAILED);
		assert_int_equal(pair.ends[CLIENT].error, -ECONNABORTED);
		assert_int_equal(rli_tls_end(&pair.ends[CLIENT]), TLS_DONE);
		assert_int_equal(pair.ends[CLIENT].out_bytes, 0); /* after an alert nothing more */
		pair_fini();
	}
}

static void
session_fed_something_else_fails_and_tells_whom_it_may(void **state)
{
#define TEXT(text) text, sizeof(text) - 1
	static const struct {
		const char *text;
		size_t len;
		int alert; /* 0: none, for who would not understand it */
	} rows[] = {
		{ TEXT("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 0 },
		{ TEXT("SSH-2.0-OpenSSH_9.2\r\n"), 0 },
		{ TEXT("\x16\x03\x01\xff\xff and longer than any record"), SSL_AD_RECORD_OVERFLOW },
		/* not a ClientHello */
		{ TEXT("\x16\x03\x01\x00\x07\x02\x00\x00\x03 no"), SSL_AD_UNEXPECTED_MESSAGE },
		{ TEXT("\x17\x03\x03\x00\x05 data"), SSL_AD_UNEXPECTED_MESSAGE },
	};
#undef TEXT
	uint32_t bytes;

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
		pair_init();
		rli_tls_feed(&pair.ends[SERVER], (const uint8_t *)rows[i].text, rows[i].len);
		assert_int_equal(rli_tls_handshake(&pair.ends[SERVER]), TLS_FAILED);
		assert_int_equal(pair.ends[SERVER].error, -EPROTO);
		assert_true(pair.ends[SERVER].said); /* nothing follows */
		bytes = pair_send(SERVER);
		assert_int_equal(bytes > 0 ? pair.wires[SERVER].data[bytes - 1] : 0, rows[i].alert);
		pair_fini();
	}
}

static void
session_end_is_told_apart_from_silence(void **state)
{
	size_t got;

	(void)state;
	pair_init();
	assert_int_equal(rli_tls_end(&pair.ends[CLIENT]), TLS_DONE);
	assert_int_equal(pair.ends[CLIENT].out_bytes, 0); /* there is nothing to end yet */
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	pair_settle();
	assert_int_equal(pair_read(SERVER, WIRE_MAX, &got), TLS_WANTS);
	assert_int_equal(rli_tls_end(&pair.ends[CLIENT]), TLS_DONE);
	assert_true(pair_send(CLIENT) > 0);
	assert_int_equal(rli_tls_end(&pair.ends[CLIENT]), TLS_DONE);
	assert_int_equal(pair_send(CLIENT), 0); /* once */
	assert_int_equal(pair_read(SERVER, WIRE_MAX, &got), TLS_ENDED);
	assert_true(pair.ends[SERVER].ended);
	pair_say(SERVER, "the other half goes on");
	assert_int_equal(rli_tls_end(&pair.ends[SERVER]), TLS_DONE);
	(void)pair_send(SERVER);
	assert_int_equal(pair_read(CLIENT, WIRE_MAX, &got), TLS_ENDED);
	pair_fini();
}

/* Pitfall 67: what has no room is not made, and comes later as if nothing had been. */
static void
session_without_room_makes_nothing_and_goes_on_later(void **state)
{
	struct chunk *all = NULL;
	struct chunk *chunk;
	size_t got;

	(void)state;
	pair_init();
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	pair_settle();
	while ((chunk = rli_chunk_take(&pair.pool, 256)) != NULL) {
		chunk->next = all;
		all = chunk;
	}
	assert_int_equal(rli_tls_write(&pair.ends[CLIENT], (const uint8_t *)"a", 1), TLS_NO_ROOM);
	assert_int_equal(rli_tls_end(&pair.ends[CLIENT]), TLS_NO_ROOM);
	assert_int_equal(pair_send(CLIENT), 0);
	while (all != NULL) {
		chunk = all;
		all = chunk->next;
		rli_chunk_give(&pair.pool, chunk);
	}
	pair_say(CLIENT, "b");
	assert_int_equal(rli_tls_end(&pair.ends[CLIENT]), TLS_DONE);
	assert_true(pair_send(CLIENT) > 0);
	assert_int_equal(pair_read(SERVER, WIRE_MAX, &got), TLS_ENDED);
	pair_fini();
}

static void
session_that_may_say_no_more_fails(void **state)
{
	(void)state;
	pair_init();
	pair.ends[SERVER].out_max = 100; /* a server's first flight is longer */
	assert_int_equal(pair_step(CLIENT, 0), TLS_WANTS);
	assert_int_equal(pair_step(SERVER, WIRE_MAX), TLS_FAILED);
	assert_int_equal(pair.ends[SERVER].error, -ENOBUFS);
	pair_fini();
}

static void
session_without_memory_for_its_handshake_fails(void **state)
{
	struct chunk *all = NULL;
	struct chunk *chunk;

	(void)state;
	pair_init();
	while ((chunk = rli_chunk_take(&pair.pool, 256)) != NULL) {
		chunk->next = all;
		all = chunk;
	}
	assert_int_equal(pair_step(CLIENT, 0), TLS_FAILED);
	assert_int_equal(pair.ends[CLIENT].error, -ENOMEM);
	while (all != NULL) {
		chunk = all;
		all = chunk->next;
		rli_chunk_give(&pair.pool, chunk);
	}
	pair_fini();
}

/* What the client says of a server, and the server then hears. */
static void
client_refuses(const struct rl_tls_options *server, const struct rl_tls_options *client,
	       const char *name, int error)
{
	size_t got;

	pair_init_with(server, client, name);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_FAILED);
	assert_int_equal(pair.ends[CLIENT].error, error);
	assert_false(pair.ends[CLIENT].ready);
	if (pair.ends[SERVER].ready) {
		assert_int_equal(pair_read(SERVER, WIRE_MAX, &got), TLS_FAILED);
	}
	assert_int_equal(pair.ends[SERVER].error, -ECONNABORTED);
	pair_fini();
}

static void
session_of_a_client_verifies_certificate_and_name(void **state)
{
	static const char *const good[] = { TLS_CERTS_NAME, "localhost", "127.0.0.1", "::1" };
	static const char *const bad[] = { "other.test", "test", "127.0.0.2", "::2",
					   "a.server.test" };
	struct rl_tls_options stranger = RL_TLS_OPTIONS(.ca_file = certs.file[CERTS_STRANGER]);
	struct rl_tls_options system = RL_TLS_OPTIONS(.ca_file = NULL);
	struct rl_tls_options common_name =
		RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_CLIENT],
			       .key_file = certs.file[CERTS_CLIENT_KEY]);

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(good); i++) {
		pair_init_with(&server_options, &client_options, good[i]);
		assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
		pair_fini();
	}
	for (size_t i = 0; i < UNIT_COUNT(bad); i++) {
		client_refuses(&server_options, &client_options, bad[i], -EKEYREJECTED);
	}
	client_refuses(&common_name, &client_options, "client 7", -EKEYREJECTED);
	client_refuses(&server_options, &stranger, TLS_CERTS_NAME, -EKEYREJECTED);
	client_refuses(&server_options, &system, TLS_CERTS_NAME, -EKEYREJECTED);
}

static void
session_of_a_server_that_wants_certificates_verifies_them(void **state)
{
	struct rl_tls_options server = server_options;
	struct rl_tls_options good = client_options;
	struct rl_tls_options stranger = client_options;
	struct rl_tls_options none = client_options;
	const struct rl_tls_options *bad[] = { &stranger, &none };
	size_t got;

	(void)state;
	server.ca_file = certs.file[CERTS_CA];
	good.cert_file = certs.file[CERTS_CLIENT];
	good.key_file = certs.file[CERTS_CLIENT_KEY];
	stranger.cert_file = certs.file[CERTS_STRANGER];
	stranger.key_file = certs.file[CERTS_STRANGER_KEY];
	pair_init_with(&server, &good, TLS_CERTS_NAME);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	pair_fini();
	for (size_t i = 0; i < UNIT_COUNT(bad); i++) {
		pair_init_with(&server, bad[i], TLS_CERTS_NAME);
		assert_int_equal(pair_handshake(WIRE_MAX), TLS_FAILED);
		assert_int_equal(pair.ends[SERVER].error, -EKEYREJECTED);
		assert_int_equal(pair_read(CLIENT, WIRE_MAX, &got), TLS_FAILED);
		assert_int_equal(pair.ends[CLIENT].error, -ECONNABORTED);
		pair_fini();
	}
}

static void
session_without_anything_in_common_says_so(void **state)
{
	struct rl_tls_options server = server_options;
	struct rl_tls_options client = client_options;

	(void)state;
	server.alpn = "h2";
	client.alpn = "http/1.1,spdy";
	pair_init_with(&server, &client, TLS_CERTS_NAME);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_FAILED);
	assert_int_equal(pair.ends[SERVER].error, -EPROTONOSUPPORT);
	pair_fini();

	client.alpn = "http/1.1,h2";
	pair_init_with(&server, &client, TLS_CERTS_NAME);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	pair_fini();

	/* TLS 1.1 */
	pair_init();
	assert_int_equal(SSL_set_cipher_list(pair.ends[CLIENT].ssl, "ALL:@SECLEVEL=0"), 1);
	(void)SSL_set_min_proto_version(pair.ends[CLIENT].ssl, TLS1_1_VERSION);
	(void)SSL_set_max_proto_version(pair.ends[CLIENT].ssl, TLS1_1_VERSION);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_FAILED);
	assert_int_equal(pair.ends[SERVER].error, -EPROTONOSUPPORT);
	pair_fini();

	/* a group that is none of ours */
	pair_init();
	assert_int_equal(SSL_set1_groups_list(pair.ends[CLIENT].ssl, "P-384"), 1);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_FAILED);
	assert_int_equal(pair.ends[SERVER].error, -EPROTONOSUPPORT);
	pair_fini();

	/* a cipher that does not forget */
	pair_init();
	(void)SSL_set_max_proto_version(pair.ends[CLIENT].ssl, TLS1_2_VERSION);
	assert_int_equal(SSL_set_cipher_list(pair.ends[CLIENT].ssl, "AES128-SHA"), 1);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_FAILED);
	assert_int_equal(pair.ends[SERVER].error, -EPROTONOSUPPORT);
	pair_fini();
}

static void
session_refuses_to_renegotiate_and_goes_on(void **state)
{
	size_t got;

	(void)state;
	pair_init();
	(void)SSL_set_max_proto_version(pair.ends[CLIENT].ssl, TLS1_2_VERSION);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	(void)SSL_clear_options(pair.ends[CLIENT].ssl, SSL_OP_NO_RENEGOTIATION);
	assert_int_equal(SSL_renegotiate(pair.ends[CLIENT].ssl), 1);
	(void)pair_step(CLIENT, 0);
	assert_int_equal(pair_read(SERVER, WIRE_MAX, &got), TLS_WANTS);
	assert_true(pair_send(SERVER) > 0); /* no_renegotiation */
	assert_int_equal(rli_tls_write(&pair.ends[SERVER], (const uint8_t *)"on", 2), TLS_DONE);
	pair_fini();
}

static void
session_outlives_the_owner_of_its_context(void **state)
{
	(void)state;
	pair_init();
	rli_tls_context_destroy(pair.contexts[SERVER]);
	pair.contexts[SERVER] = NULL;
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	pair_settle();
	pair_say(SERVER, "still here");
	pair_fini();
}

static void
session_name_that_can_be_none_is_refused(void **state)
{
	struct tls_session session;
	struct unit_log log;

	(void)state;
	pair_init();
	unit_log_init(&log);
	rli_tls_session_fini(&pair.ends[CLIENT]);
	rli_tls_context_destroy(pair.contexts[CLIENT]);
	assert_int_equal(rli_tls_context_create(&pair.contexts[CLIENT], TLS_CLIENT, &client_options,
						&log.log),
			 0);
	memset(plain[0], 'a', 300);
	plain[0][300] = '\0';
	assert_int_equal(rli_tls_session_init(&session, pair.contexts[CLIENT], &pair.pool,
					      (const char *)plain[0]),
			 -EINVAL);
	assert_int_equal(rli_tls_session_init(&session, pair.contexts[CLIENT], &pair.pool, ".test"),
			 -EINVAL);
	assert_null(session.ssl);
	pair_fini();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(session_handshakes_byte_by_byte_and_carries_bytes),
		cmocka_unit_test(session_carries_a_stream_in_any_segments),
		cmocka_unit_test(session_of_a_full_record_makes_one),
		cmocka_unit_test(session_reads_a_record_in_parts),
		cmocka_unit_test(session_fed_a_tampered_record_fails_and_says_so),
		cmocka_unit_test(session_fed_something_else_fails_and_tells_whom_it_may),
		cmocka_unit_test(session_end_is_told_apart_from_silence),
		cmocka_unit_test(session_without_room_makes_nothing_and_goes_on_later),
		cmocka_unit_test(session_that_may_say_no_more_fails),
		cmocka_unit_test(session_without_memory_for_its_handshake_fails),
		cmocka_unit_test(session_of_a_client_verifies_certificate_and_name),
		cmocka_unit_test(session_of_a_server_that_wants_certificates_verifies_them),
		cmocka_unit_test(session_without_anything_in_common_says_so),
		cmocka_unit_test(session_refuses_to_renegotiate_and_goes_on),
		cmocka_unit_test(session_outlives_the_owner_of_its_context),
		cmocka_unit_test(session_name_that_can_be_none_is_refused),
	};

	return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
