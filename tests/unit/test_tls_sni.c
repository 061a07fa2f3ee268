/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: a client gets the certificate of the name that it asks for; a ticket is good for the
 *         name, the protocols and the trust that it was made with; a bad certificate of several is
 *         refused as the first is.
 * How: two sessions in memory, certificates with keys of two kinds.
 * Not: names themselves (test_tls_names.c).
 */
#include "unit.h"

#include <errno.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tls/tls_sni.h"
#include "tls_pair.h"

static struct rl_tls_cert others[2];

static int
sni_setup(void **state)
{
	(void)pair_setup(state);
	server_options.certs = others;
	server_options.certs_count = UNIT_COUNT(others);
	others[0] = (struct rl_tls_cert){ certs.file[CERTS_WILD], certs.file[CERTS_WILD_KEY] };
	others[1] = (struct rl_tls_cert){ certs.file[CERTS_OTHER], certs.file[CERTS_OTHER_KEY] };
	return 0;
}

/* The common name of the certificate that a client sees who asks for @name. */
static void
assert_shown(const char *name, int version, const char *expected)
{
	char shown[64] = "";
	SSL *ssl;

	pair_again(pair.contexts[SERVER], "server.test");
	ssl = pair.ends[CLIENT].ssl;
	SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL); /* it is looked at below */
	(void)SSL_set_max_proto_version(ssl, version);
	assert_int_equal(SSL_set_tlsext_host_name(ssl, name), 1);
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	(void)X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(ssl)),
					NID_commonName, shown, sizeof(shown));
	assert_string_equal(shown, expected);
	assert_string_equal(name == NULL ? "" : name,
			    name == NULL ? ""
					 : SSL_get_servername(pair.ends[SERVER].ssl,
							      TLSEXT_NAMETYPE_host_name));
}

static void
sni_shows_the_certificate_of_the_name(void **state)
{
	static const int versions[] = { TLS1_3_VERSION, TLS1_2_VERSION };

	(void)state;
	pair_init_with(&server_options, &client_options, "server.test");
	for (size_t i = 0; i < UNIT_COUNT(versions); i++) {
		assert_shown("server.test", versions[i], "server.test"); /* the first that has it */
		assert_shown("other.test", versions[i], "other.test");
		assert_shown("OTHER.Test", versions[i], "other.test");
		assert_shown("a.wild.test", versions[i], "wild.test");
		assert_shown("a.b.wild.test", versions[i], "server.test");
		assert_shown("wild.test", versions[i], "server.test"); /* a name is no DNS name */
		assert_shown("nobody.test", versions[i], "server.test");
		assert_shown(NULL, versions[i], "server.test");
	}
	pair_fini();
}

static void
sni_of_nobody_is_refused_on_wish(void **state)
{
	struct rl_tls_options strict = server_options;

	(void)state;
	strict.refuse_unknown_names = true;
	pair_init_with(&strict, &client_options, "server.test");
	assert_shown("localhost", TLS1_3_VERSION, "server.test"); /* the default's are known */
	assert_shown("x.wild.test", TLS1_2_VERSION, "wild.test");
	assert_shown(NULL, TLS1_3_VERSION, "server.test");
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		pair_again(pair.contexts[SERVER], "server.test");
		(void)SSL_set_max_proto_version(pair.ends[CLIENT].ssl, version);
		assert_int_equal(SSL_set_tlsext_host_name(pair.ends[CLIENT].ssl, "no.test"), 1);
		assert_int_equal(pair_step(CLIENT, 0), TLS_WANTS);
		assert_int_equal(pair_step(SERVER, WIRE_MAX), TLS_FAILED);
		assert_int_equal(pair.ends[SERVER].error, -EADDRNOTAVAIL);
		/* an alert, fatal, unrecognized_name */
		assert_int_equal(pair.wires[SERVER].end, 7);
		assert_memory_equal(pair.wires[SERVER].data + 5, "\2\160", 2);
		assert_int_equal(pair_step(CLIENT, WIRE_MAX), TLS_FAILED);
		assert_int_equal(pair.ends[CLIENT].error, -ECONNABORTED);
	}
	pair_fini();
}

/* The body of the client's extension; where it is shorter, one that nobody knows fills the room. */
static void
sni_replace(struct wire *wire, const char *body, uint8_t len)
{
	uint8_t *at = memmem(wire->data, wire->end, "server.test", 11);

	assert_non_null(at);
	at -= 5;
	memcpy(at, body, len);
	if (len < 16) {
		at[-1] = len;
		memcpy(at + len, "\xfa\xfa\0", 3);
		at[len + 3] = (uint8_t)(16 - len - 4);
	}
}

static void
sni_that_is_malformed_is_refused(void **state)
{
	static const struct {
		const char *body;
		uint8_t len;
	} rows[] = {
		{ "", 0 },
		{ "\0\1\0", 3 },
		{ "\0\2\0\0", 4 },
		{ "\0\17\0\0\13server.test", 16 },
		{ "\0\15\0\0\13server.test", 16 },
		{ "\0\16\0\0\12server.test", 16 },
		{ "\0\16\0\377\377server.test", 16 },
		{ "\0\16\1\0\13server.test", 16 }, /* a name of another type */
		{ "\0\16\0\0\13serv\0r.test", 16 },
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
		pair_init_with(&server_options, &client_options, "server.test");
		assert_int_equal(pair_step(CLIENT, 0), TLS_WANTS);
		sni_replace(&pair.wires[CLIENT], rows[i].body, rows[i].len);
		if (pair_step(SERVER, WIRE_MAX) != TLS_FAILED ||
		    pair.ends[SERVER].error != -EPROTO) {
			fail_msg("row %zu", i);
		}
		pair_fini();
	}
}

/* A session of a first handshake, and then whether it is resumed by @second under @name. */
static bool
resumed_by(const struct rl_tls_options *first, const struct rl_tls_options *second,
	   const char *name, int version)
{
	struct tls_context *other;
	struct tls_tickets tickets;
	struct unit_log log;
	SSL_SESSION *session;
	bool resumed;
	size_t got;

	unit_log_init(&log);
	rli_tls_tickets_init(&tickets, -1);
	assert_int_equal(rli_tls_tickets_ready(&tickets, 0), 0);
	pair_init_with(first, &client_options, "server.test");
	assert_int_equal(rli_tls_context_create(&other, TLS_SERVER, second, &log.log), 0);
	rli_tls_context_resume(pair.contexts[SERVER], &tickets);
	rli_tls_context_resume(other, &tickets);
	(void)SSL_CTX_set_max_proto_version(pair.contexts[CLIENT]->ssl_ctx, version);
	pair_again(pair.contexts[SERVER], "server.test");
	assert_int_equal(pair_handshake(WIRE_MAX), TLS_DONE);
	assert_int_equal(pair_read(CLIENT, WIRE_MAX, &got), TLS_WANTS);
	session = SSL_get1_session(pair.ends[CLIENT].ssl);
	pair_again(other, "server.test");
	assert_int_equal(SSL_set_session(pair.ends[CLIENT].ssl, session), 1);
	assert_int_equal(SSL_set_tlsext_host_name(pair.ends[CLIENT].ssl, name), 1);
	SSL_SESSION_free(session);
	(void)pair_handshake(WIRE_MAX);
	resumed = rli_tls_session_resumed(&pair.ends[SERVER]);
	if (resumed) {
		assert_string_equal(
			SSL_get_servername(pair.ends[SERVER].ssl, TLSEXT_NAMETYPE_host_name), name);
	}
	pair_fini();
	rli_tls_context_destroy(other);
	rli_tls_tickets_fini(&tickets);
	return resumed;
}

static void
session_is_resumed_under_what_it_was_made_with_only(void **state)
{
	struct rl_tls_options bare = server_options;
	struct rl_tls_options trusting = server_options;
	struct rl_tls_options stranger = server_options;
	struct rl_tls_options speaking = server_options;
	struct rl_tls_options renewed = server_options;

	(void)state;
	bare.certs_count = 0;
	trusting.ca_file = certs.file[CERTS_CA];
	stranger.ca_file = certs.file[CERTS_STRANGER];
	speaking.alpn = "echo";
	renewed.cert_file = certs.file[CERTS_WILD];
	renewed.key_file = certs.file[CERTS_WILD_KEY];
	client_options.cert_file = certs.file[CERTS_CLIENT];
	client_options.key_file = certs.file[CERTS_CLIENT_KEY];
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		assert_true(resumed_by(&bare, &bare, "server.test", version));
		assert_true(resumed_by(&bare, &renewed, "server.test", version));
		assert_true(resumed_by(&trusting, &trusting, "server.test", version));
		assert_false(resumed_by(&bare, &bare, "other.test", version));
		assert_false(resumed_by(&bare, &bare, NULL, version));
		assert_false(resumed_by(&bare, &trusting, "server.test", version));
		assert_false(resumed_by(&trusting, &bare, "server.test", version));
		assert_false(resumed_by(&trusting, &stranger, "server.test", version));
		assert_false(resumed_by(&bare, &speaking, "server.test", version));
	}
	client_options.cert_file = NULL;
	client_options.key_file = NULL;
}

static void
sni_of_bad_certificates_is_refused_by_name(void **state)
{
	static const struct {
		int cert;
		int key;
		const char *says;
		const char *says_too;
	} rows[] = {
		{ CERTS_WILD, CERTS_OTHER_KEY, "tls: key_file = \"",
		  "other.key\": different key types" },
		{ CERTS_EMPTY, CERTS_OTHER_KEY, "tls: cert_file = \"", "empty.pem\": no start" },
		{ CERTS_EXPIRED, CERTS_SERVER_KEY, "expired.pem\": ", "has expired" },
		{ CERTS_CLIENT, CERTS_CLIENT_KEY, "client.pem\": ", "it has no DNS name" },
		{ -1, CERTS_OTHER_KEY, "certs[1]: ", "needs cert_file and key_file" },
		{ CERTS_OTHER, -1, "certs[1]: ", "needs cert_file and key_file" },
	};
	struct rl_tls_cert pairs[2] = { others[1] };
	struct rl_tls_options options = server_options;
	struct tls_context *context;
	struct unit_log log;

	(void)state;
	options.certs = pairs;
	for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
		pairs[1].cert_file = rows[i].cert < 0 ? NULL : certs.file[rows[i].cert];
		pairs[1].key_file = rows[i].key < 0 ? NULL : certs.file[rows[i].key];
		unit_log_init(&log);
		assert_int_equal(rli_tls_context_create(&context, TLS_SERVER, &options, &log.log),
				 -EINVAL);
		assert_null(context);
		assert_int_equal(log.lines, 1);
		if (strstr(log.text, rows[i].says) == NULL ||
		    strstr(log.text, rows[i].says_too) == NULL) {
			fail_msg("row %zu: %s", i, log.text);
		}
	}
	options.certs_count = RL_TLS_CERTS_MAX + 1;
	assert_int_equal(rli_tls_context_create(&context, TLS_SERVER, &options, &log.log), -EINVAL);
	assert_non_null(strstr(log.text, "certs_count = 65: must be"));
	options.certs_count = 1;
	options.certs = NULL;
	assert_int_equal(rli_tls_context_create(&context, TLS_SERVER, &options, &log.log), -EINVAL);
	assert_non_null(strstr(log.text, "certs_count = 1: must be"));
	options = client_options;
	options.refuse_unknown_names = true;
	assert_int_equal(rli_tls_context_create(&context, TLS_CLIENT, &options, &log.log), -EINVAL);
	assert_non_null(strstr(log.text, "are for listeners"));
}

static int
garble(X509 *cert, ASN1_OCTET_STRING *names)
{
	X509_EXTENSION *extension =
		X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, names);
	int rc = X509_add_ext(cert, extension, -1);

	X509_EXTENSION_free(extension);
	return rc == 1 && i2d_re_X509_tbs(cert, NULL) > 0; /* or it is written as it was read */
}

/* Names that are none in ASN.1: nobody guesses what they were. */
static void
sni_of_names_that_cannot_be_read_is_refused(void **state)
{
	struct rl_tls_options options = server_options;
	ASN1_OCTET_STRING *garbage = ASN1_OCTET_STRING_new();
	FILE *file = fopen(certs.file[CERTS_OTHER], "r");
	X509 *cert = PEM_read_X509(file, NULL, NULL, NULL);
	int at = X509_get_ext_by_NID(cert, NID_subject_alt_name, -1);
	struct tls_context *context;
	struct unit_log log;
	char path[128];

	(void)state;
	(void)fclose(file);
	X509_EXTENSION_free(X509_delete_ext(cert, at));
	assert_int_equal(ASN1_OCTET_STRING_set(garbage, (const uint8_t *)"\x30\x7f", 2), 1);
	assert_int_equal(garble(cert, garbage), 1);
	(void)snprintf(path, sizeof(path), "%s/garbled.pem", certs.dir);
	file = fopen(path, "w");
	assert_int_equal(PEM_write_X509(file, cert), 1);
	(void)fclose(file);
	X509_free(cert);
	ASN1_OCTET_STRING_free(garbage);
	for (int i = 0; i < 2; i++) {
		struct rl_tls_cert bad = { path, certs.file[CERTS_OTHER_KEY] };

		options.certs = &bad;
		options.certs_count = 1;
		if (i == 1) { /* the first, too */
			options.certs_count = 0;
			options.cert_file = path;
			options.key_file = bad.key_file;
		}
		unit_log_init(&log);
		assert_int_equal(rli_tls_context_create(&context, TLS_SERVER, &options, &log.log),
				 -EINVAL);
		assert_int_equal(log.lines, 1);
		assert_non_null(strstr(log.text, "garbled.pem\": "));
		assert_null(strstr(log.text, "unknown reason"));
	}
	(void)unlink(path);
}

static void
sni_of_as_many_as_allowed_is_taken(void **state)
{
	static struct rl_tls_cert many[RL_TLS_CERTS_MAX];
	struct rl_tls_options options = server_options;

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(many); i++) {
		many[i] = others[i == UNIT_COUNT(many) - 1 ? 0 : 1];
	}
	options.certs = many;
	options.certs_count = RL_TLS_CERTS_MAX;
	pair_init_with(&options, &client_options, "server.test");
	assert_shown("other.test", TLS1_3_VERSION, "other.test");
	assert_shown("a.wild.test", TLS1_3_VERSION, "wild.test");
	pair_fini();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sni_shows_the_certificate_of_the_name),
		cmocka_unit_test(sni_of_nobody_is_refused_on_wish),
		cmocka_unit_test(sni_that_is_malformed_is_refused),
		cmocka_unit_test(session_is_resumed_under_what_it_was_made_with_only),
		cmocka_unit_test(sni_of_bad_certificates_is_refused_by_name),
		cmocka_unit_test(sni_of_names_that_cannot_be_read_is_refused),
		cmocka_unit_test(sni_of_as_many_as_allowed_is_taken),
	};

	return cmocka_run_group_tests(tests, sni_setup, pair_teardown);
}
