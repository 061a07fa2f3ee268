/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: each TCP option has its range and is refused by name; zero asks a socket for nothing, and
 *         everything else becomes exactly one setting; a Unix socket has none of it.
 * How: tables of values at and beyond the ends.
 * Not: what the kernel makes of them; integration.options asks it. */
#include "unit.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "net/tcp.h"

static void
check_refused(const struct rl_tcp_options *options, const char *says)
{
	struct unit_log log;

	unit_log_init(&log);
	assert_int_equal(rli_tcp_options_check(options, &log.log), -EINVAL);
	assert_int_equal(log.lines, 1);
	assert_int_equal(log.level, RL_LOG_ERROR);
	assert_non_null(strstr(log.text, says));
}

static void
check_taken(const struct rl_tcp_options *options)
{
	struct unit_log log;

	unit_log_init(&log);
	assert_int_equal(rli_tcp_options_check(options, &log.log), 0);
	assert_int_equal(log.lines, 0);
}

struct number {
	const char *name;
	size_t offset;
	uint32_t min;
	uint32_t max;
};

#define NUMBER(field) #field, offsetof(struct rl_tcp_options, field)

static const struct number numbers[] = {
	{ NUMBER(keepalive_idle_s), 1, 32767 },
	{ NUMBER(keepalive_interval_s), 1, 32767 },
	{ NUMBER(keepalive_count), 1, 127 },
	{ NUMBER(user_timeout_ms), 1, 2147483647 },
	{ NUMBER(recv_buffer_bytes), 2048, 1073741824 },
	{ NUMBER(send_buffer_bytes), 2048, 1073741824 },
};

static struct rl_tcp_options
with(const struct number *number, uint32_t value)
{
	struct rl_tcp_options options = { .keepalive_idle_s = 60 };

	memcpy((char *)&options + number->offset, &value, sizeof(value));
	return options;
}

static void
tcp_numbers_are_taken_up_to_their_ends_and_refused_beyond(void **state)
{
	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(numbers); i++) {
		struct rl_tcp_options options = with(&numbers[i], numbers[i].min);
		char says[64];

		check_taken(&options);
		options = with(&numbers[i], numbers[i].max);
		check_taken(&options);
		options = with(&numbers[i], numbers[i].max + 1);
		(void)snprintf(says, sizeof(says), "tcp.%s = %u: must be 0 (default), or %u to %u",
			       numbers[i].name, numbers[i].max + 1, numbers[i].min, numbers[i].max);
		check_refused(&options, says);
		if (numbers[i].min > 1) {
			options = with(&numbers[i], numbers[i].min - 1);
			check_refused(&options, numbers[i].name);
		}
	}
}

static void
tcp_options_that_make_no_sense_are_refused(void **state)
{
	struct rl_tcp_options options = { .nodelay = (enum rl_conn_switch)3 };

	(void)state;
	check_refused(&options, "tcp.nodelay");
	options = (struct rl_tcp_options){ .keepalive_count = 3 };
	check_refused(&options, "tcp.keepalive_idle_s = 0");
	options = (struct rl_tcp_options){ .keepalive_interval_s = 3 };
	check_refused(&options, "tcp.keepalive_idle_s = 0");
	options = (struct rl_tcp_options){ .nodelay = RL_CONN_DEFAULT };
	memset(options.congestion, 'x', sizeof(options.congestion));
	check_refused(&options, "tcp.congestion");
	options.congestion[15] = '\0';
	check_taken(&options);
}

static int
value_of(const struct tcp_settings *settings, int level, int option)
{
	int value = -1;

	for (uint32_t i = 0; i < settings->count; i++) {
		if (settings->list[i].level == level && settings->list[i].option == option) {
			assert_int_equal(value, -1); /* once */
			value = settings->list[i].value;
		}
	}
	return value;
}

static void
tcp_options_of_zero_ask_for_nothing(void **state)
{
	struct rl_listener_options options = { .defer_accept_s = 0 };
	struct tcp_settings settings;

	(void)state;
	rli_tcp_settings_listener(&settings, &options);
	assert_int_equal(settings.count, 0);
	assert_string_equal(settings.congestion, "");
	options.conn.tcp.nodelay = RL_CONN_ON; /* as it is from the beginning */
	rli_tcp_settings_listener(&settings, &options);
	assert_int_equal(settings.count, 0);
}

static void
tcp_options_all_set_become_one_setting_each(void **state)
{
	const struct rl_listener_options options = {
		.conn.tcp = { .nodelay = RL_CONN_OFF,
			      .keepalive_idle_s = 30,
			      .keepalive_interval_s = 5,
			      .keepalive_count = 4,
			      .user_timeout_ms = 20000,
			      .recv_buffer_bytes = 65536,
			      .send_buffer_bytes = 32768,
			      .congestion = "reno" },
		.defer_accept_s = 7,
		.fastopen_queue = 16,
	};
	struct tcp_settings settings;

	(void)state;
	rli_tcp_settings_listener(&settings, &options);
	assert_int_equal(settings.count, TCP_SETTINGS_MAX);
	assert_int_equal(value_of(&settings, IPPROTO_TCP, TCP_NODELAY), 0);
	assert_int_equal(value_of(&settings, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(value_of(&settings, IPPROTO_TCP, TCP_KEEPIDLE), 30);
	assert_int_equal(value_of(&settings, IPPROTO_TCP, TCP_KEEPINTVL), 5);
	assert_int_equal(value_of(&settings, IPPROTO_TCP, TCP_KEEPCNT), 4);
	assert_int_equal(value_of(&settings, IPPROTO_TCP, TCP_USER_TIMEOUT), 20000);
	assert_int_equal(value_of(&settings, SOL_SOCKET, SO_RCVBUF), 65536);
	assert_int_equal(value_of(&settings, SOL_SOCKET, SO_SNDBUF), 32768);
	assert_int_equal(value_of(&settings, IPPROTO_TCP, TCP_DEFER_ACCEPT), 7);
	assert_int_equal(value_of(&settings, IPPROTO_TCP, TCP_FASTOPEN), 16);
	assert_string_equal(settings.congestion, "reno");
}

static void
tcp_buffer_that_was_cut_is_logged_by_name(void **state)
{
	struct tcp_settings settings;
	struct unit_log log;

	(void)state;
	unit_log_init(&log);
	rli_tcp_settings_conn(&settings, &(struct rl_tcp_options){ .recv_buffer_bytes = 1000000,
								   .send_buffer_bytes = 4096 });
	rli_tcp_settings_log(&settings, &log.log);
	assert_int_equal(log.lines, 0);
	settings.list[0].got = 4096;
	rli_tcp_settings_log(&settings, &log.log);
	assert_int_equal(log.lines, 1);
	assert_int_equal(log.level, RL_LOG_WARN);
	assert_string_equal(log.text, "options: tcp.recv_buffer_bytes = 1000000: the kernel gives "
				      "4096; raise net.core.rmem_max");
}

static void
tcp_options_on_a_unix_socket_are_refused(void **state)
{
	struct rl_tcp_options options = { .nodelay = RL_CONN_ON };
	struct unit_log log;

	(void)state;
	unit_log_init(&log);
	assert_int_equal(rli_tcp_options_check_unix(&options, &log.log), 0);
	assert_int_equal(log.lines, 0);
	for (size_t i = 0; i < UNIT_COUNT(numbers); i++) {
		options = with(&numbers[i], numbers[i].max);
		assert_int_equal(rli_tcp_options_check_unix(&options, &log.log), -EINVAL);
	}
	options = (struct rl_tcp_options){ .congestion = "bbr" };
	assert_int_equal(rli_tcp_options_check_unix(&options, &log.log), -EINVAL);
	assert_string_equal(log.text, "options: tcp.congestion: a Unix socket has no TCP options");
	assert_int_equal(log.lines, UNIT_COUNT(numbers) + 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_numbers_are_taken_up_to_their_ends_and_refused_beyond),
		cmocka_unit_test(tcp_options_that_make_no_sense_are_refused),
		cmocka_unit_test(tcp_options_of_zero_ask_for_nothing),
		cmocka_unit_test(tcp_options_all_set_become_one_setting_each),
		cmocka_unit_test(tcp_buffer_that_was_cut_is_logged_by_name),
		cmocka_unit_test(tcp_options_on_a_unix_socket_are_refused),
	};

	return unit_run(tests);
}
