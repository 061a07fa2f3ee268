/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: a session that has a part of a message makes nothing before the rest came, and goes on
 *         then; a ClientHello that announces too much is refused with its first bytes.
 * How: both ends in memory.
 * Not: what a connection does meanwhile (test_sim_tls.c).
 */
#include "unit.h"

#include <errno.h>

#include <openssl/ssl.h>

#include "tls_pair.h"

/* A ClientHello of more than 16 KiB; OpenSSL would take the memory before a byte of it came. */
static void
session_of_an_endless_hello_fails_at_once(void **state)
{
	static const uint8_t hello[] = { 22, 3, 1, 0x40, 0, 1, 2, 1, 0x3c };
	static const uint8_t alert[] = { 21, 3, 3, 0, 2, 2, SSL_AD_DECODE_ERROR };

	(void)state;
	pair_init();
	rli_tls_feed(&pair.ends[SERVER], hello, sizeof(hello));
	assert_int_equal(rli_tls_handshake(&pair.ends[SERVER]), TLS_FAILED);
	assert_int_equal(pair.ends[SERVER].error, -EPROTO);
	assert_int_equal(pair_send(SERVER), sizeof(alert));
	assert_memory_equal(pair.wires[SERVER].data, alert, sizeof(alert));
	pair_fini();

	/* the one that follows a wish for another group, behind a change of ciphers that is none */
	for (int good = 0; good < 2; good++) {
		pair_init();
		assert_int_equal(SSL_set1_groups_list(pair.ends[CLIENT].ssl, "P-384:P-256"), 1);
		assert_int_equal(pair_step(CLIENT, 0), TLS_WANTS);
		assert_int_equal(pair_step(SERVER, WIRE_MAX), TLS_WANTS);
		assert_int_equal(pair_step(CLIENT, WIRE_MAX), TLS_WANTS);
		assert_int_equal(pair.wires[CLIENT].data[pair.wires[CLIENT].start + 6 + 5], 1);
		if (!good) {
			pair.wires[CLIENT].data[pair.wires[CLIENT].start + 6 + 5 + 1] = 2;
			assert_int_equal(pair_step(SERVER, 6 + 5 + 4), TLS_FAILED);
			assert_int_equal(pair.ends[SERVER].error, -EPROTO);
		} else {
			assert_int_equal(pair_handshake(1), TLS_DONE);
		}
		pair_fini();
	}
}

/* A ticket that takes several records. */
static int
ticket_fatten(SSL *ssl, void *arg)
{
	(void)arg;
	return SSL_SESSION_set1_ticket_appdata(SSL_get0_session(ssl), plain[SERVER], 2000);
}

/* The client has a part of its last ticket. */
static void
pair_init_halfway(void)
{
	size_t got;

	pair_init();
	SSL_CTX_set_session_ticket_cb(pair.contexts[SERVER]->ssl_ctx, ticket_fatten, NULL, NULL);
	assert_int_equal(SSL_set_max_send_fragment(pair.ends[SERVER].ssl, 512), 1);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	assert_int_equal(
		pair_read(CLIENT, pair.wires[SERVER].end - pair.wires[SERVER].start - 100, &got),
		TLS_WANTS);
}

static void
session_halfway_through_a_message_speaks_after_its_rest(void **state)
{
	static const uint8_t data[] = "late";
	size_t got;

	(void)state;
	for (int i = 0; i < 2; i++) {
		pair_init_halfway();
		assert_int_equal(rli_tls_write(&pair.ends[CLIENT], data, 4), TLS_WANTS);
		assert_int_equal(rli_tls_end(&pair.ends[CLIENT]), TLS_WANTS);
		assert_int_equal(pair_send(CLIENT), 0);
		if (i == 0) {
			pair_say(SERVER, "reading goes there"); /* and beyond */
		} else {
			assert_int_equal(rli_tls_write(&pair.ends[SERVER], data, 4), TLS_DONE);
			(void)pair_send(SERVER);
			assert_int_equal(pair_step(CLIENT, WIRE_MAX), TLS_DONE); /* no further */
			assert_true(pair.wires[SERVER].start < pair.wires[SERVER].end);
		}
		pair_say(CLIENT, "late");
		assert_int_equal(rli_tls_end(&pair.ends[CLIENT]), TLS_DONE);
		assert_true(pair_send(CLIENT) > 0);
		assert_int_equal(pair_read(SERVER, WIRE_MAX, &got), TLS_ENDED);
		pair_fini();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(session_of_an_endless_hello_fails_at_once),
		cmocka_unit_test(session_halfway_through_a_message_speaks_after_its_rest),
	};

	return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
