/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: what a handshake came to is told: version, cipher, protocol, names, the peer's verified
 *         certificate, resumption.
 * How: two sessions in memory.
 * Not: how it gets to an actor (test_tls.c).
 */
#include "unit.h"

#include <errno.h>

#include <openssl/ssl.h>

#include "tls/tls_info.h"
#include "tls_pair.h"

static void
info_names_both_ends_and_what_they_agreed_on(void **state)
{
	struct rl_tls_options server =
		RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_SERVER],
			       .key_file = certs.file[CERTS_SERVER_KEY],
			       .ca_file = certs.file[CERTS_CA], .alpn = "h2,echo");
	struct rl_tls_options client =
		RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_CLIENT],
			       .key_file = certs.file[CERTS_CLIENT_KEY],
			       .ca_file = certs.file[CERTS_CA], .alpn = "echo,other");
	static const uint8_t zeros[32];
	struct rl_tls_info info;

	(void)state;
	pair_init_with(&server, &client, TLS_CERTS_NAME);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	assert_true(rli_tls_info(&pair.ends[SERVER], &info));
	assert_string_equal(info.version, "TLSv1.3");
	assert_non_null(strstr(info.cipher, "TLS_"));
	assert_string_equal(info.alpn, "echo");
	assert_string_equal(info.server_name, TLS_CERTS_NAME);
	assert_string_equal(info.peer_subject, "CN=client 7");
	assert_memory_not_equal(info.peer_sha256, zeros, 32);
	assert_false(info.resumed);
	assert_true(rli_tls_info(&pair.ends[CLIENT], &info));
	assert_string_equal(info.peer_subject, "CN=" TLS_CERTS_NAME);
	pair_fini();
}

static void
info_without_names_is_empty(void **state)
{
	struct rl_tls_options server = RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_SERVER],
						      .key_file = certs.file[CERTS_SERVER_KEY]);
	struct rl_tls_options client = RL_TLS_OPTIONS(.ca_file = certs.file[CERTS_CA]);
	struct rl_tls_info info;

	(void)state;
	pair_init_with(&server, &client, "127.0.0.1");
	(void)SSL_set_max_proto_version(pair.ends[CLIENT].ssl, TLS1_2_VERSION);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	assert_true(rli_tls_info(&pair.ends[SERVER], &info));
	assert_string_equal(info.version, "TLSv1.2");
	assert_string_equal(info.alpn, "");
	assert_string_equal(info.server_name, "");
	assert_string_equal(info.peer_subject, "");
	pair_fini();
}

/* Nobody is known by the beginning of a name, and none hides in another's. */
static void
info_of_a_name_that_is_too_long_is_refused(void **state)
{
	struct rl_tls_options server = RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_SERVER],
						      .key_file = certs.file[CERTS_SERVER_KEY],
						      .ca_file = certs.file[CERTS_CA]);
	struct rl_tls_options client = RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_LONG],
						      .key_file = certs.file[CERTS_LONG_KEY],
						      .ca_file = certs.file[CERTS_CA]);
	struct rl_tls_info info;

	(void)state;
	pair_init_with(&server, &client, TLS_CERTS_NAME);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	assert_false(rli_tls_info(&pair.ends[SERVER], &info));
	assert_int_equal(pair.ends[SERVER].error, -EKEYREJECTED);
	pair_fini();
}

static void
info_of_a_resumed_session_has_the_same_peer(void **state)
{
	struct rl_tls_options server = RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_SERVER],
						      .key_file = certs.file[CERTS_SERVER_KEY],
						      .ca_file = certs.file[CERTS_CA]);
	struct rl_tls_options client = RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_CLIENT],
						      .key_file = certs.file[CERTS_CLIENT_KEY],
						      .ca_file = certs.file[CERTS_CA]);
	struct rl_tls_info info;
	SSL_SESSION *session;
	size_t got;

	(void)state;
	pair_init_with(&server, &client, TLS_CERTS_NAME);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	assert_int_equal(pair_read(CLIENT, WIRE_MAX, &got), TLS_WANTS); /* tickets */
	session = SSL_get1_session(pair.ends[CLIENT].ssl);
	for (int end = 0; end < 2; end++) {
		assert_int_equal(rli_tls_end(&pair.ends[end]),
				 TLS_DONE); /* or it is not resumable */
		rli_tls_session_fini(&pair.ends[end]);
		assert_int_equal(rli_tls_session_init(&pair.ends[end], pair.contexts[end],
						      &pair.pool, TLS_CERTS_NAME),
				 0);
	}
	memset(pair.wires, 0, sizeof(pair.wires));
	assert_int_equal(SSL_set_session(pair.ends[CLIENT].ssl, session), 1);
	SSL_SESSION_free(session);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	assert_true(rli_tls_info(&pair.ends[SERVER], &info));
	assert_true(info.resumed);
	assert_string_equal(info.peer_subject, "CN=client 7");
	pair_fini();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(info_names_both_ends_and_what_they_agreed_on),
		cmocka_unit_test(info_without_names_is_empty),
		cmocka_unit_test(info_of_a_name_that_is_too_long_is_refused),
		cmocka_unit_test(info_of_a_resumed_session_has_the_same_peer),
	};

	return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
