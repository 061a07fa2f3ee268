/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: a context is made of good files only; each bad one is refused with one line that names
 *         the field and the file, and says why.
 * How: a table of options against real files.
 * Not: what a context then allows on the wire (test_tls_session.c).
 */
#include "unit.h"

#include <errno.h>
#include <sys/stat.h>

#include "tls/tls_context.h"
#include "tls_certs.h"

static struct tls_certs certs;

static int
certs_setup(void **state)
{
	(void)state;
	tls_certs_make(&certs);
	return 0;
}

static int
certs_teardown(void **state)
{
	(void)state;
	tls_certs_remove(&certs);
	return 0;
}

/* The files by number, so that the table can be static; -1: none. */
struct bad {
	int cert;
	int key;
	int ca;
	enum tls_role role;
	const char *server_name;
	const char *alpn;
	const char *says;
	const char *says_too;
};

static const char *
file_of(int number)
{
	return number < 0 ? NULL : certs.file[number];
}

static const struct bad bads[] = {
	{ -1, -1, -1, TLS_SERVER, NULL, NULL, "a listener needs cert_file and key_file", "" },
	{ CERTS_SERVER, -1, -1, TLS_SERVER, NULL, NULL, "tls: cert_file = \"", "has no key_file" },
	{ -1, CERTS_SERVER_KEY, -1, TLS_CLIENT, NULL, NULL, "tls: key_file = \"",
	  "has no cert_file" },
	{ CERTS_EMPTY, CERTS_SERVER_KEY, -1, TLS_SERVER, NULL, NULL,
	  "empty.pem\": ", "no start line" },
	{ CERTS_SERVER_KEY, CERTS_SERVER_KEY, -1, TLS_SERVER, NULL, NULL, "cert_file = \"",
	  "no start line" },
	{ CERTS_SERVER, CERTS_EMPTY, -1, TLS_SERVER, NULL, NULL, "key_file = \"", "empty.pem" },
	{ CERTS_SERVER, CERTS_OTHER_KEY, -1, TLS_SERVER, NULL, NULL,
	  "other.key\": ", "key values mismatch" },
	{ CERTS_EXPIRED, CERTS_SERVER_KEY, -1, TLS_SERVER, NULL, NULL,
	  "expired.pem\": ", "the certificate has expired" },
	{ CERTS_EARLY, CERTS_SERVER_KEY, -1, TLS_SERVER, NULL, NULL,
	  "early.pem\": ", "the certificate is not valid yet" },
	{ CERTS_SERVER, CERTS_SERVER_KEY, CERTS_EMPTY, TLS_SERVER, NULL, NULL, "tls: ca_file = \"",
	  "empty.pem" },
	{ -1, -1, CERTS_EMPTY, TLS_CLIENT, NULL, NULL, "tls: ca_file = \"", "empty.pem" },
	{ CERTS_SERVER, CERTS_SERVER_KEY, -1, TLS_SERVER, "a.test", NULL,
	  "tls: server_name = \"a.test\": ", "is for connections that are opened" },
	{ -1, -1, -1, TLS_CLIENT, "", NULL, "tls: server_name = \"\": ", "1 to 255" },
	{ -1, -1, -1, TLS_CLIENT, NULL, "h2,,http/1.1",
	  "tls: alpn = \"h2,,http/1.1\": ", "a protocol without a name" },
	{ -1, -1, -1, TLS_CLIENT, NULL, "", "tls: alpn = \"\": ", "a protocol without a name" },
	{ -1, -1, -1, TLS_CLIENT, NULL, "a,", "tls: alpn = \"a,\": ", "a protocol without a name" },
};

static void
context_of_bad_options_is_refused_by_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(bads); i++) {
		const struct rl_tls_options options =
			RL_TLS_OPTIONS(.cert_file = file_of(bads[i].cert),
				       .key_file = file_of(bads[i].key),
				       .ca_file = file_of(bads[i].ca),
				       .server_name = bads[i].server_name, .alpn = bads[i].alpn);
		static struct tls_context other;
		struct tls_context *context = &other;
		struct unit_log log;

		unit_log_init(&log);
		assert_int_equal(rli_tls_context_create(&context, bads[i].role, &options, &log.log),
				 -EINVAL);
		assert_null(context);
		assert_int_equal(log.lines, 1);
		assert_int_equal(log.level, RL_LOG_ERROR);
		if (strstr(log.text, bads[i].says) == NULL ||
		    strstr(log.text, bads[i].says_too) == NULL) {
			fail_msg("row %zu: %s", i, log.text);
		}
	}
}

static void
context_of_an_absent_file_is_refused_with_the_systems_reason(void **state)
{
	const struct rl_tls_options options =
		RL_TLS_OPTIONS(.cert_file = "/nonexistent/c.pem", .key_file = "/nonexistent/k.pem");
	struct tls_context *context;
	struct unit_log log;

	(void)state;
	unit_log_init(&log);
	assert_int_equal(rli_tls_context_create(&context, TLS_SERVER, &options, &log.log), -EINVAL);
	assert_string_equal(log.text,
			    "tls: cert_file = \"/nonexistent/c.pem\": No such file or directory");
}

static void
context_of_another_struct_size_is_refused(void **state)
{
	struct rl_tls_options options = RL_TLS_OPTIONS(.alpn = NULL);
	struct tls_context *context;
	struct unit_log log;

	(void)state;
	unit_log_init(&log);
	options.struct_size--;
	assert_int_equal(rli_tls_context_create(&context, TLS_CLIENT, &options, &log.log), -EINVAL);
	assert_non_null(strstr(log.text, "struct_size"));
}

static void
context_refuses_too_many_protocols(void **state)
{
	static char text[258];
	struct rl_tls_options options = RL_TLS_OPTIONS(.alpn = text);
	struct tls_context *context;
	struct unit_log log;

	(void)state;
	memset(text, 'a', 255);
	unit_log_init(&log);
	assert_int_equal(rli_tls_context_create(&context, TLS_CLIENT, &options, &log.log), -EINVAL);
	assert_non_null(strstr(log.text, "longer than 255 bytes"));
	text[254] = '\0';
	assert_int_equal(rli_tls_context_create(&context, TLS_CLIENT, &options, &log.log), 0);
	assert_int_equal(context->alpn_len, 255);
	rli_tls_context_destroy(context);
}

static void
context_of_good_files_is_made(void **state)
{
	const struct rl_tls_options server =
		RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_SERVER],
			       .key_file = certs.file[CERTS_SERVER_KEY],
			       .ca_file = certs.file[CERTS_CA], .alpn = "h2,http/1.1");
	struct tls_context *context;
	struct unit_log log;

	(void)state;
	unit_log_init(&log);
	assert_int_equal(rli_tls_context_create(&context, TLS_SERVER, &server, &log.log), 0);
	assert_int_equal(log.lines, 0);
	assert_memory_equal(context->alpn, "\2h2\10http/1.1", 12);
	assert_int_equal(context->alpn_len, 12);
	rli_tls_context_destroy(context);
	assert_int_equal(rli_tls_context_create(&context, TLS_CLIENT, NULL, &log.log), 0);
	rli_tls_context_destroy(context);
	rli_tls_context_destroy(NULL);
}

static void
context_with_a_key_that_others_read_warns(void **state)
{
	const struct rl_tls_options server =
		RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_SERVER],
			       .key_file = certs.file[CERTS_SERVER_KEY]);
	struct tls_context *context;
	struct unit_log log;

	(void)state;
	unit_log_init(&log);
	assert_int_equal(chmod(certs.file[CERTS_SERVER_KEY], 0644), 0);
	assert_int_equal(rli_tls_context_create(&context, TLS_SERVER, &server, &log.log), 0);
	assert_int_equal(log.level, RL_LOG_WARN);
	assert_non_null(strstr(log.text, "everybody may read"));
	rli_tls_context_destroy(context);
	assert_int_equal(chmod(certs.file[CERTS_SERVER_KEY], 0600), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(context_of_bad_options_is_refused_by_name),
		cmocka_unit_test(context_of_an_absent_file_is_refused_with_the_systems_reason),
		cmocka_unit_test(context_of_another_struct_size_is_refused),
		cmocka_unit_test(context_refuses_too_many_protocols),
		cmocka_unit_test(context_of_good_files_is_made),
		cmocka_unit_test(context_with_a_key_that_others_read_warns),
	};

	return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
