/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: keys rotate when they are due and not before, the one before still opens, what is retired
 *         is wiped; without random numbers they stay, and it is tried again; a ticket is good at
 *         every context that shares the keys, and is replaced.
 * How: a clock of the test's own; two sessions in memory.
 * Not: the timer that looks (test_tls_resume.c).
 */
#include "unit.h"

#include <errno.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tls/tls_tickets.h"
#include "tls_pair.h"
#include "tls_random.h"

#define HOUR_NS (UINT64_C(3600) * 1000000000)

static void
tickets_rotate_when_they_are_due(void **state)
{
	struct tls_tickets tickets;
	struct ticket_key first;
	struct ticket_key key;

	(void)state;
	rli_tls_tickets_init(&tickets, (int64_t)(12 * HOUR_NS));
	assert_int_equal(rli_tls_tickets_look(&tickets, 99 * HOUR_NS), UINT64_MAX); /* unused */
	assert_int_equal(tickets.count, 0);
	assert_int_equal(rli_tls_tickets_ready(&tickets, HOUR_NS), 0);
	rli_tls_tickets_newest(&tickets, &first);
	assert_int_equal(rli_tls_tickets_ready(&tickets, 2 * HOUR_NS), 0); /* it was */
	rli_tls_tickets_newest(&tickets, &key);
	assert_memory_equal(&key, &first, sizeof(key));

	assert_true(rli_tls_tickets_look(&tickets, 13 * HOUR_NS - 1) == 13 * HOUR_NS);
	assert_int_equal(rli_tls_tickets_find(&tickets, first.name, &key), TICKET_NEWEST);
	assert_true(rli_tls_tickets_look(&tickets, 13 * HOUR_NS) == 25 * HOUR_NS);
	assert_int_equal(rli_tls_tickets_find(&tickets, first.name, &key), TICKET_OLDER);
	assert_memory_equal(&key, &first, sizeof(key));
	rli_tls_tickets_newest(&tickets, &key);
	assert_memory_not_equal(key.name, first.name, sizeof(key.name));
	assert_memory_not_equal(key.cipher, first.cipher, sizeof(key.cipher));
	assert_memory_not_equal(key.mac, first.mac, sizeof(key.mac));

	/* a rotation by hand puts off the next */
	assert_int_equal(rli_tls_tickets_rotate(&tickets, 14 * HOUR_NS), 0);
	assert_int_equal(rli_tls_tickets_find(&tickets, first.name, &key), TICKET_UNKNOWN);
	assert_true(rli_tls_tickets_look(&tickets, 25 * HOUR_NS) == 26 * HOUR_NS);
	rli_tls_tickets_fini(&tickets);
}

static int
random_is_back(void **state)
{
	(void)state;
	tls_random_is_out(false);
	return 0;
}

static void
tickets_without_random_numbers_stay(void **state)
{
	struct tls_tickets tickets;
	struct ticket_key first;
	struct ticket_key key;

	(void)state;
	rli_tls_tickets_init(&tickets, (int64_t)(8 * HOUR_NS));
	tls_random_is_out(true);
	assert_int_equal(rli_tls_tickets_ready(&tickets, 0), -EIO);
	assert_int_equal(tickets.count, 0);
	tls_random_is_out(false);
	assert_int_equal(rli_tls_tickets_ready(&tickets, 0), 0);
	rli_tls_tickets_newest(&tickets, &first);

	tls_random_is_out(true);
	assert_int_equal(rli_tls_tickets_rotate(&tickets, HOUR_NS), -EIO);
	assert_true(rli_tls_tickets_look(&tickets, 8 * HOUR_NS) == 9 * HOUR_NS); /* again */
	assert_int_equal(tickets.count, 1);
	rli_tls_tickets_newest(&tickets, &key);
	assert_memory_equal(&key, &first, sizeof(key));
	assert_int_equal(ERR_peek_error(), 0);
	tls_random_is_out(false);
	assert_true(rli_tls_tickets_look(&tickets, 9 * HOUR_NS) == 17 * HOUR_NS);
	assert_int_equal(rli_tls_tickets_find(&tickets, first.name, &key), TICKET_OLDER);
	rli_tls_tickets_fini(&tickets);
}

/* Not even a part of it is left. */
static bool
holds(const struct tls_tickets *tickets, const uint8_t *secret, size_t len)
{
	const uint8_t *bytes = (const uint8_t *)tickets;

	for (size_t i = 0; i + len <= sizeof(*tickets); i++) {
		if (memcmp(bytes + i, secret, len) == 0) {
			return true;
		}
	}
	return false;
}

static void
tickets_retired_are_wiped(void **state)
{
	struct tls_tickets tickets;
	struct ticket_key keys[3];

	(void)state;
	rli_tls_tickets_init(&tickets, -1);
	for (size_t i = 0; i < UNIT_COUNT(keys); i++) {
		assert_int_equal(rli_tls_tickets_rotate(&tickets, i), 0);
		rli_tls_tickets_newest(&tickets, &keys[i]);
	}
	assert_int_equal(rli_tls_tickets_look(&tickets, UINT64_MAX - 1), UINT64_MAX); /* never */
	assert_false(holds(&tickets, keys[0].cipher, 8));
	assert_false(holds(&tickets, keys[0].mac, 8));
	assert_true(holds(&tickets, keys[1].cipher, sizeof(keys[1].cipher)));
	assert_true(holds(&tickets, keys[2].mac, sizeof(keys[2].mac)));
	rli_tls_tickets_fini(&tickets);
	for (size_t i = 0; i < UNIT_COUNT(keys); i++) {
		assert_false(holds(&tickets, keys[i].cipher, 8));
		assert_false(holds(&tickets, keys[i].mac, 8));
	}
}

/* What the client got last, as it would be kept. */
static SSL_SESSION *
got_session(void)
{
	size_t got;

	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	assert_int_equal(pair_read(CLIENT, WIRE_MAX, &got), TLS_WANTS); /* tickets */
	return SSL_get1_session(pair.ends[CLIENT].ssl);
}

static size_t
ticket_of(const SSL_SESSION *session, const uint8_t **ticket)
{
	size_t len;

	SSL_SESSION_get0_ticket(session, ticket, &len);
	return len;
}

/* Whether @session is resumed by a server of @context; leaves there what came of it. */
static bool
resumes(SSL_SESSION **session, const struct tls_context *context)
{
	bool resumed;

	pair_again(context, TLS_CERTS_NAME);
	assert_int_equal(SSL_set_session(pair.ends[CLIENT].ssl, *session), 1);
	SSL_SESSION_free(*session);
	*session = got_session();
	resumed = rli_tls_session_resumed(&pair.ends[CLIENT]);
	assert_int_equal(rli_tls_session_resumed(&pair.ends[SERVER]), resumed);
	return resumed;
}

/* Two servers' contexts, as a reload or a second listener makes them. */
static void
life_of_a_ticket(int version)
{
	struct tls_context *second;
	struct tls_tickets tickets;
	const uint8_t *ticket;
	uint8_t name[TICKET_NAME_BYTES];
	struct unit_log log;
	SSL_SESSION *session;

	unit_log_init(&log);
	rli_tls_tickets_init(&tickets, -1);
	assert_int_equal(rli_tls_tickets_ready(&tickets, 0), 0);
	pair_init();
	assert_int_equal(rli_tls_context_create(&second, TLS_SERVER, &server_options, &log.log), 0);
	rli_tls_context_resume(pair.contexts[SERVER], &tickets);
	rli_tls_context_resume(second, &tickets);
	(void)SSL_CTX_set_max_proto_version(pair.contexts[CLIENT]->ssl_ctx, version);
	pair_again(pair.contexts[SERVER], TLS_CERTS_NAME);
	session = got_session();
	assert_true(ticket_of(session, &ticket) > sizeof(name));
	assert_memory_equal(ticket, tickets.keys[0].name, sizeof(name));
	assert_true(SSL_SESSION_get_ticket_lifetime_hint(session) == TICKET_LIFE_MAX_S);

	assert_true(resumes(&session, second));
	(void)ticket_of(session, &ticket);
	memcpy(name, ticket, sizeof(name));
	assert_int_equal(rli_tls_tickets_rotate(&tickets, 0), 0);
	assert_memory_equal(name, tickets.keys[1].name, sizeof(name));
	assert_true(resumes(&session, second)); /* and gets a fresh one */
	(void)ticket_of(session, &ticket);
	assert_memory_equal(ticket, tickets.keys[0].name, sizeof(name));
	assert_int_equal(rli_tls_tickets_rotate(&tickets, 0), 0);
	assert_true(resumes(&session, pair.contexts[SERVER])); /* that one is still good */
	for (int i = 0; i < TICKET_KEYS; i++) {
		assert_int_equal(rli_tls_tickets_rotate(&tickets, 0), 0);
	}
	assert_false(resumes(&session, second));
	assert_true(resumes(&session, second)); /* with what came of that */
	SSL_SESSION_free(session);
	rli_tls_session_fini(&pair.ends[SERVER]);
	rli_tls_context_destroy(second);
	pair_fini();
	rli_tls_tickets_fini(&tickets);
}

static void
ticket_is_good_at_all_contexts_while_its_key_lives(void **state)
{
	(void)state;
	life_of_a_ticket(TLS1_3_VERSION);
	life_of_a_ticket(TLS1_2_VERSION);
}

/* What a certificate proved counts for a while, however often it is resumed. */
static void
proof_of_a_session_is_as_old_as_its_first_handshake(void **state)
{
	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct tls_tickets tickets;
		SSL_SESSION *session;
		uint64_t proved_ns;

		rli_tls_tickets_init(&tickets, -1);
		assert_true(tickets.proof_max_ns == 24 * HOUR_NS);
		assert_int_equal(rli_tls_tickets_ready(&tickets, 0), 0);
		pair_init();
		rli_tls_context_resume(pair.contexts[SERVER], &tickets);
		(void)SSL_CTX_set_max_proto_version(pair.contexts[CLIENT]->ssl_ctx, version);
		pair_again(pair.contexts[SERVER], TLS_CERTS_NAME);
		session = got_session();
		proved_ns = rli_host_now_ns(); /* or a little earlier */
		assert_int_equal(rli_tls_tickets_rotate(&tickets, 0), 0); /* 1.2 gets a new one */
		assert_true(resumes(&session, pair.contexts[SERVER]));
		assert_true(resumes(&session, pair.contexts[SERVER]));
		tickets.proof_max_ns = rli_host_now_ns() - proved_ns;
		assert_false(resumes(&session, pair.contexts[SERVER]));
		tickets.proof_max_ns = TLS_PROOF_MAX_NS;
		assert_true(resumes(&session, pair.contexts[SERVER]));
		SSL_SESSION_free(session);
		pair_fini();
		rli_tls_tickets_fini(&tickets);
	}
}

static int
trust_anybody(X509_STORE_CTX *store, void *arg)
{
	(void)store;
	(void)arg;
	return 1;
}

/* A session rests on the client's certificate, and ends with it. */
static void
session_of_a_certificate_that_has_expired_is_not_resumed(void **state)
{
	struct rl_tls_options trusting = server_options;

	(void)state;
	trusting.ca_file = certs.file[CERTS_CA];
	for (int expired = 0; expired < 2; expired++) {
		struct tls_tickets tickets;
		SSL_CTX *client;
		SSL_SESSION *session;

		rli_tls_tickets_init(&tickets, -1);
		assert_int_equal(rli_tls_tickets_ready(&tickets, 0), 0);
		pair_init_with(&trusting, &client_options, TLS_CERTS_NAME);
		rli_tls_context_resume(pair.contexts[SERVER], &tickets);
		SSL_CTX_set_cert_verify_callback(pair.contexts[SERVER]->ssl_ctx, trust_anybody,
						 NULL); /* or there would be no session */
		client = pair.contexts[CLIENT]->ssl_ctx;
		assert_int_equal(SSL_CTX_use_certificate_file(
					 client, certs.file[expired ? CERTS_EXPIRED : CERTS_SERVER],
					 SSL_FILETYPE_PEM),
				 1);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(client, certs.file[CERTS_SERVER_KEY],
							     SSL_FILETYPE_PEM),
				 1);
		pair_again(pair.contexts[SERVER], TLS_CERTS_NAME);
		session = got_session();
		assert_int_equal(resumes(&session, pair.contexts[SERVER]), !expired);
		SSL_SESSION_free(session);
		pair_fini();
		rli_tls_tickets_fini(&tickets);
	}
}

/* There is no cache that a ticketless client could fill, nor one to be resumed from. */
static void
session_without_ticket_is_kept_by_nobody(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_tickets tickets;
	SSL_SESSION *session;

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(versions); i++) {
		SSL_CTX *ssl_ctx;

		rli_tls_tickets_init(&tickets, -1);
		assert_int_equal(rli_tls_tickets_ready(&tickets, 0), 0);
		pair_init();
		ssl_ctx = pair.contexts[SERVER]->ssl_ctx;
		rli_tls_context_resume(pair.contexts[SERVER], &tickets);
		(void)SSL_CTX_set_max_proto_version(pair.contexts[CLIENT]->ssl_ctx, versions[i]);
		(void)SSL_CTX_set_options(pair.contexts[CLIENT]->ssl_ctx, SSL_OP_NO_TICKET);
		pair_again(pair.contexts[SERVER], TLS_CERTS_NAME);
		session = got_session();
		assert_int_equal(SSL_CTX_sess_number(ssl_ctx), 0);
		if (versions[i] == TLS1_2_VERSION) {
			assert_false(resumes(&session, pair.contexts[SERVER]));
		}
		assert_int_equal(SSL_CTX_sess_number(ssl_ctx), 0);
		SSL_SESSION_free(session);
		pair_fini();
		rli_tls_tickets_fini(&tickets);
	}
}

/* A ticket promises nothing that its key can't hold. */
static void
ticket_lives_no_longer_than_a_rotation(void **state)
{
	static const struct {
		int64_t rotation_ns;
		unsigned long life_s;
	} rows[] = {
		{ -1, 7200 }, { 1, 1 }, { (int64_t)HOUR_NS, 3600 }, { (int64_t)(3 * HOUR_NS), 7200 }
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
		struct tls_tickets tickets;
		SSL_SESSION *session;

		rli_tls_tickets_init(&tickets, rows[i].rotation_ns);
		assert_int_equal(rli_tls_tickets_ready(&tickets, 0), 0);
		pair_init();
		rli_tls_context_resume(pair.contexts[SERVER], &tickets);
		pair_again(pair.contexts[SERVER], TLS_CERTS_NAME);
		session = got_session();
		assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(session), rows[i].life_s);
		assert_int_equal(SSL_SESSION_get_max_early_data(session), 0);
		SSL_SESSION_free(session);
		pair_fini();
		rli_tls_tickets_fini(&tickets);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tickets_rotate_when_they_are_due),
		cmocka_unit_test_teardown(tickets_without_random_numbers_stay, random_is_back),
		cmocka_unit_test(tickets_retired_are_wiped),
		cmocka_unit_test(ticket_is_good_at_all_contexts_while_its_key_lives),
		cmocka_unit_test(proof_of_a_session_is_as_old_as_its_first_handshake),
		cmocka_unit_test(session_of_a_certificate_that_has_expired_is_not_resumed),
		cmocka_unit_test(session_without_ticket_is_kept_by_nobody),
		cmocka_unit_test(ticket_lives_no_longer_than_a_rotation),
	};

	return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
