/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: a session is found at its name, port and context and nowhere else, that of TLS 1.3 once;
 *         not when it is too old, or its certificate has expired; the store keeps its bounds.
 * How: sessions of two ends in memory, a clock of the test's own.
 * Not: when a connection asks for one (test_tls_resume.c).
 */
#include "unit.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tls/tls_store.h"
#include "tls_pair.h"

#define SECOND_NS UINT64_C(1000000000)

_Static_assert(TLS_PROOF_MAX_NS == 86400 * SECOND_NS, "a proof counts for a day");
_Static_assert(TLS_SITE_SESSIONS == 4, "a site has so many sessions");

static const struct tls_context *const one = (const void *)&certs.dir[0];
static const struct tls_context *const two = (const void *)&certs.dir[1];

/* A session that a client got. */
static SSL_SESSION *
session_of(int version)
{
	SSL_SESSION *session;
	size_t got;

	pair_init();
	(void)SSL_set_max_proto_version(pair.ends[CLIENT].ssl, version);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	assert_int_equal(pair_read(CLIENT, WIRE_MAX, &got), TLS_WANTS);
	session = SSL_get1_session(pair.ends[CLIENT].ssl);
	assert_int_equal(rli_tls_end(&pair.ends[CLIENT]), TLS_DONE);
	pair_fini();
	return session;
}

static void
keep(struct tls_place place, SSL_SESSION *session, uint64_t now_ns)
{
	(void)SSL_SESSION_up_ref(session);
	assert_int_equal(rli_tls_store_keep(place, session, now_ns, now_ns), 1);
}

static bool
takes(struct tls_place place, const SSL_SESSION *expected, uint64_t now_ns)
{
	uint64_t proved_ns;
	SSL_SESSION *session = rli_tls_store_take(place, now_ns, &proved_ns);

	SSL_SESSION_free(session);
	return session == expected;
}

static void
store_finds_a_session_at_its_place_only(void **state)
{
	struct tls_store store;
	struct tls_place place;
	SSL_SESSION *session = session_of(TLS1_3_VERSION);
	char name[300];

	(void)state;
	assert_int_equal(rli_tls_store_init(&store, 16), 0);
	place = rli_tls_store_place(&store, one, "a.test", 443);
	keep(place, session, 0);
	assert_true(takes(rli_tls_store_place(&store, two, "a.test", 443), NULL, 0));
	assert_true(takes(rli_tls_store_place(&store, one, "b.test", 443), NULL, 0));
	assert_true(takes(rli_tls_store_place(&store, one, "a.test", 444), NULL, 0));
	assert_true(takes(rli_tls_store_place(&store, one, "a.tes", 443), NULL, 0));
	assert_true(takes(rli_tls_store_place(&store, one, "a.test", 443), session, 0));
	assert_true(takes(place, NULL, 0)); /* each once */
	assert_int_equal(store.sites.taken, 5);

	memset(name, 'a', sizeof(name));
	name[256] = '\0';
	place = rli_tls_store_place(&store, one, name, 443);
	assert_null(place.site);
	assert_int_equal(rli_tls_store_keep(place, session, 0, 0), 0);
	assert_true(takes(place, NULL, 0));
	name[255] = '\0';
	place = rli_tls_store_place(&store, one, name, 443);
	keep(place, session, 0);
	assert_true(takes(place, session, 0));
	SSL_SESSION_free(session);
	rli_tls_store_fini(&store);
}

static void
store_gives_1_2_again_and_1_3_once(void **state)
{
	struct tls_store store;
	struct tls_place place;
	SSL_SESSION *sessions[2] = { session_of(TLS1_2_VERSION), session_of(TLS1_3_VERSION) };

	(void)state;
	assert_int_equal(rli_tls_store_init(&store, 16), 0);
	place = rli_tls_store_place(&store, one, "a.test", 443);
	keep(place, sessions[0], 0);
	keep(place, sessions[1], 0);
	assert_true(takes(place, sessions[1], 0)); /* the newest first */
	assert_true(takes(place, sessions[0], 0));
	assert_true(takes(place, sessions[0], 0));
	SSL_SESSION_free(sessions[0]);
	SSL_SESSION_free(sessions[1]);
	rli_tls_store_fini(&store);
}

static void
store_forgets_what_is_too_old(void **state)
{
	struct tls_store store;
	struct tls_place place;
	SSL_SESSION *session = session_of(TLS1_2_VERSION);
	uint64_t life_ns = SSL_SESSION_get_ticket_lifetime_hint(session) * SECOND_NS;
	SSL_SESSION *bare = SSL_SESSION_new();

	(void)state;
	assert_true(life_ns == TLS_KEPT_MAX_NS);
	assert_int_equal(rli_tls_store_init(&store, 16), 0);
	place = rli_tls_store_place(&store, one, "a.test", 443);
	keep(place, session, 5);
	assert_true(takes(place, session, 5 + TLS_KEPT_MAX_NS - 1));
	assert_true(takes(place, NULL, 5 + TLS_KEPT_MAX_NS));
	assert_int_equal(place.site->count, 0);

	/* a fresh ticket on an old proof */
	(void)SSL_SESSION_up_ref(session);
	assert_int_equal(rli_tls_store_keep(place, session, 7, TLS_PROOF_MAX_NS - 1), 1);
	assert_true(takes(place, session, TLS_PROOF_MAX_NS + 6));
	assert_true(takes(place, NULL, TLS_PROOF_MAX_NS + 7));

	/* nor one without a ticket, which OpenSSL does not let go either */
	assert_int_equal(rli_tls_store_keep(place, bare, 0, 0), 0);
	SSL_SESSION_free(bare);
	SSL_SESSION_free(session);
	rli_tls_store_fini(&store);
}

static void
store_forgets_whose_certificate_has_expired(void **state)
{
	struct tls_store store;
	struct tls_place place;
	SSL_SESSION *session = session_of(TLS1_2_VERSION);
	X509 *cert = SSL_SESSION_get0_peer(session);

	(void)state;
	assert_int_equal(rli_tls_store_init(&store, 16), 0);
	place = rli_tls_store_place(&store, one, "a.test", 443);
	keep(place, session, 0);
	assert_true(takes(place, session, 0));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), -1));
	assert_true(takes(place, NULL, 0));
	SSL_SESSION_free(session);
	rli_tls_store_fini(&store);
}

static void
store_keeps_its_bounds(void **state)
{
	struct tls_store store;
	struct tls_place places[3];
	SSL_SESSION *sessions[TLS_SITE_SESSIONS + 1];

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(sessions); i++) {
		sessions[i] = session_of(TLS1_3_VERSION);
	}
	assert_int_equal(rli_tls_store_init(&store, 2), 0);
	places[0] = rli_tls_store_place(&store, one, "a.test", 443);
	for (size_t i = 0; i < UNIT_COUNT(sessions); i++) {
		keep(places[0], sessions[i], 0);
	}
	places[1] = rli_tls_store_place(&store, one, "b.test", 443);
	keep(places[1], sessions[0], 0);
	(void)rli_tls_store_place(&store, one, "a.test", 443); /* so b is the oldest */
	places[2] = rli_tls_store_place(&store, one, "c.test", 443);
	assert_int_equal(store.sites.taken, 2);
	assert_ptr_equal(places[2].site, places[1].site);

	/* what was b's is c's now, and b's connections have no business there */
	assert_true(takes(places[2], NULL, 0));
	assert_int_equal(rli_tls_store_keep(places[1], sessions[0], 0, 0), 0);
	keep(places[2], sessions[0], 0);
	assert_true(takes(places[1], NULL, 0));
	assert_true(takes(places[2], sessions[0], 0));

	for (size_t i = TLS_SITE_SESSIONS; i > 0; i--) {
		assert_true(takes(places[0], sessions[i], 0));
	}
	assert_true(takes(places[0], NULL, 0)); /* the first made room */
	keep(places[0], sessions[0], 0);
	for (size_t i = 0; i < UNIT_COUNT(sessions); i++) {
		SSL_SESSION_free(sessions[i]);
	}
	rli_tls_store_fini(&store);
}

/* Through a session: what one connection gets the next one resumes. */
static void
session_keeps_and_resumes_by_itself(void **state)
{
	uint64_t proved_ns = 0;
	struct tls_store store;
	struct tls_place place;
	size_t got;

	(void)state;
	assert_int_equal(rli_tls_store_init(&store, 2), 0);
	pair_init();
	place = rli_tls_store_place(&store, pair.contexts[CLIENT], TLS_CERTS_NAME, 443);
	for (int i = 0; i < 5; i++) {
		pair_again(pair.contexts[SERVER], TLS_CERTS_NAME);
		pair.ends[CLIENT].place = place;
		rli_tls_session_resume(&pair.ends[CLIENT]);
		assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
		assert_int_equal(rli_tls_session_resumed(&pair.ends[CLIENT]), i > 0);
		assert_int_equal(SSL_get_verify_result(pair.ends[CLIENT].ssl), X509_V_OK);
		assert_int_equal(pair_read(CLIENT, WIRE_MAX, &got), TLS_WANTS);
		assert_int_equal(place.site->count, 2);
		if (i == 0) {
			proved_ns = place.site->kept[1].proved_ns;
		}
		assert_true(place.site->kept[1].proved_ns == proved_ns); /* the first handshake */
	}
	/* one that verified nothing leaves nothing behind */
	pair_again(pair.contexts[SERVER], TLS_CERTS_NAME);
	SSL_set_verify(pair.ends[CLIENT].ssl, SSL_VERIFY_NONE, NULL);
	assert_int_equal(SSL_set1_host(pair.ends[CLIENT].ssl, "other.test"), 1);
	pair.ends[CLIENT].place = rli_tls_store_place(&store, pair.contexts[CLIENT], "x.test", 443);
	rli_tls_session_resume(&pair.ends[CLIENT]);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	assert_int_equal(pair_read(CLIENT, WIRE_MAX, &got), TLS_WANTS);
	assert_int_not_equal(SSL_get_verify_result(pair.ends[CLIENT].ssl), X509_V_OK);
	assert_int_equal(pair.ends[CLIENT].place.site->count, 0);
	rli_tls_store_fini(&store);
	pair_fini();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_finds_a_session_at_its_place_only),
		cmocka_unit_test(store_gives_1_2_again_and_1_3_once),
		cmocka_unit_test(store_forgets_what_is_too_old),
		cmocka_unit_test(store_forgets_whose_certificate_has_expired),
		cmocka_unit_test(store_keeps_its_bounds),
		cmocka_unit_test(session_keeps_and_resumes_by_itself),
	};

	return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
