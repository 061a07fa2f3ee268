/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: each of a listener's own options has its range and is refused by name, and so is one that
 *         its kind of socket does not have.
 * How: a table of values at and beyond the ends.
 * Not: the options of its connections (integration.start, unit.tcp). */
#include "unit.h"

#include <errno.h>

#include "net/listener_options.h"

struct number {
	const char *name;
	size_t offset;
	uint32_t min;
	uint32_t max;
	bool on_unix; /* a Unix listener has it, too */
};

#define NUMBER(field) #field, offsetof(struct rl_listener_options, field)

static const struct number numbers[] = {
	{ NUMBER(defer_accept_s), 1, 255, false },
	{ NUMBER(fastopen_queue), 1, 65535, false },
	{ NUMBER(accept_rate_max), 1, 1000000, true },
	{ NUMBER(accept_burst), 1, 1000000, true },
	{ NUMBER(conns_per_peer_max), 1, 1044480, false },
};

static struct rl_listener_options
with(const struct number *number, uint32_t value)
{
	struct rl_listener_options options = { .accept_rate_max = 1 };

	memcpy((char *)&options + number->offset, &value, sizeof(value));
	return options;
}

static void
check(const struct rl_listener_options *options, const char *refused)
{
	struct unit_log log;

	unit_log_init(&log);
	assert_int_equal(rli_listener_options_check(options, &log.log),
			 refused != NULL ? -EINVAL : 0);
	assert_int_equal(log.lines, refused != NULL);
	if (refused != NULL) {
		assert_int_equal(log.level, RL_LOG_ERROR);
		assert_non_null(strstr(log.text, refused));
	}
}

static void
options_are_taken_up_to_their_ends_and_refused_beyond(void **state)
{
	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(numbers); i++) {
		struct rl_listener_options options = with(&numbers[i], 0);
		char says[80];

		check(&options, NULL);
		options = with(&numbers[i], numbers[i].min);
		check(&options, NULL);
		options = with(&numbers[i], numbers[i].max);
		check(&options, NULL);
		options = with(&numbers[i], numbers[i].max + 1);
		(void)snprintf(says, sizeof(says), "%s = %u: must be 0 (default), or %u to %u",
			       numbers[i].name, numbers[i].max + 1, numbers[i].min, numbers[i].max);
		check(&options, says);
	}
}

static void
options_of_the_connections_are_checked_too(void **state)
{
	struct rl_listener_options options = { .conn.idle_timeout_ns = -2 };

	(void)state;
	check(&options, "idle_timeout_ns");
	options = (struct rl_listener_options){ .conn.tls_handshake_timeout_ns = -2 };
	check(&options, "tls_handshake_timeout_ns");
	options = (struct rl_listener_options){ .conn.tcp.keepalive_count = 200 };
	check(&options, "tcp.keepalive_count = 200");
}

static void
options_that_contradict_each_other_are_refused(void **state)
{
	struct rl_listener_options options = { .accept_burst = 5 };

	(void)state;
	check(&options, "accept_burst: there is no accept_rate_max");
	options.accept_rate_max = 1;
	check(&options, NULL);
	options = (struct rl_listener_options){ .conns_per_peer_max = 5, .peer_addr_off = true };
	check(&options, "conns_per_peer_max: with peer_addr_off");
}

static void
options_that_a_unix_listener_has_not_are_refused_there(void **state)
{
	struct unit_log log;
	struct url unix_url;
	struct url tcp;
	uint32_t refused = 0;

	(void)state;
	unit_log_init(&log);
	assert_int_equal(rli_url_parse(&tcp, "tcp://127.0.0.1:0", URL_LISTEN, &log.log), 0);
	assert_int_equal(rli_url_parse(&unix_url, "unix:@s", URL_LISTEN, &log.log), 0);
	for (size_t i = 0; i < UNIT_COUNT(numbers); i++) {
		struct rl_listener_options options = with(&numbers[i], numbers[i].max);

		assert_int_equal(rli_listener_options_check_url(&options, &tcp, &log.log), 0);
		assert_int_equal(rli_listener_options_check_url(&options, &unix_url, &log.log),
				 numbers[i].on_unix ? 0 : -EINVAL);
		refused += !numbers[i].on_unix;
		assert_int_equal(log.lines, refused);
		assert_true(numbers[i].on_unix || strstr(log.text, numbers[i].name) != NULL);
	}
}

static void
options_that_only_some_unix_listeners_have_are_refused_elsewhere(void **state)
{
	static const struct {
		const char *url;
		struct rl_listener_options options;
		const char *refused;
	} cases[] = {
		{ "unix:/tmp/s", { .unix_mode = 01, .peer_cred = true }, NULL },
		{ "unix:/tmp/s", { .unix_mode = 0777 }, NULL },
		{ "unix:/tmp/s", { .unix_mode = 01000 }, "unix_mode = 01000: must be 0" },
		{ "unix:@s", { .peer_cred = true }, NULL },
		{ "unix:@s", { .unix_mode = 0600 }, "unix_mode = 0600: must be 0" },
		{ "tcp://127.0.0.1:0", { .unix_mode = 0600 }, "unix_mode = 0600: must be 0" },
		{ "tcp://127.0.0.1:0", { .peer_cred = true }, "peer_cred: only Unix sockets" },
		{ "tcp://127.0.0.1:0", { .peer_cred = false }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
		struct unit_log log;
		struct url url;

		unit_log_init(&log);
		assert_int_equal(rli_url_parse(&url, cases[i].url, URL_LISTEN, &log.log), 0);
		assert_int_equal(rli_listener_options_check_url(&cases[i].options, &url, &log.log),
				 cases[i].refused != NULL ? -EINVAL : 0);
		assert_int_equal(log.lines, cases[i].refused != NULL);
		assert_true(cases[i].refused == NULL || strstr(log.text, cases[i].refused) != NULL);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_taken_up_to_their_ends_and_refused_beyond),
		cmocka_unit_test(options_of_the_connections_are_checked_too),
		cmocka_unit_test(options_that_contradict_each_other_are_refused),
		cmocka_unit_test(options_that_a_unix_listener_has_not_are_refused_there),
		cmocka_unit_test(options_that_only_some_unix_listeners_have_are_refused_elsewhere),
	};

	return unit_run(tests);
}
