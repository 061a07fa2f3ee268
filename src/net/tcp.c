/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * TCP options: ranges as a table, then a list in the order in which a socket is told. Invariant:
 * options that are all zero make an empty list, so who sets none pays no system call.
 */
#include "net/tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/assert.h"

#define TCP_AT(field) "tcp." #field, offsetof(struct rl_tcp_options, field)

static const struct option_range tcp_ranges[] = {
	{ TCP_AT(keepalive_idle_s), 1, 32767 }, /* the kernel's own bounds, here and below */
	{ TCP_AT(keepalive_interval_s), 1, 32767 },
	{ TCP_AT(keepalive_count), 1, 127 },
	{ TCP_AT(user_timeout_ms), 1, INT32_MAX },
	{ TCP_AT(recv_buffer_bytes), 2048, 1u << 30 }, /* the kernel doubles it, into an int */
	{ TCP_AT(send_buffer_bytes), 2048, 1u << 30 },
};

int
rli_option_ranges_check(const struct option_range *ranges, size_t count, const void *options,
			const struct log *log)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t value;

		memcpy(&value, (const char *)options + ranges[i].offset, sizeof(value));
		if (value != 0 && (value < ranges[i].min || value > ranges[i].max)) {
			rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
				"options: %s = %u: must be 0 (default), or %u to %u",
				ranges[i].name, value, ranges[i].min, ranges[i].max);
			return -EINVAL;
		}
	}
	return 0;
}

static int
tcp_refuse(const struct log *log, const char *what)
{
	rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD, "options: %s", what);
	return -EINVAL;
}

int
rli_tcp_options_check(const struct rl_tcp_options *options, const struct log *log)
{
	bool probes = options->keepalive_interval_s != 0 || options->keepalive_count != 0;
	int rc = rli_option_ranges_check(tcp_ranges, sizeof(tcp_ranges) / sizeof(tcp_ranges[0]),
					 options, log);

	if (rc != 0) {
		return rc;
	}
	if (options->nodelay > RL_CONN_OFF) {
		return tcp_refuse(log, "tcp.nodelay: must be RL_CONN_DEFAULT, _ON or _OFF");
	}
	if (probes && options->keepalive_idle_s == 0) {
		return tcp_refuse(log, "tcp.keepalive_idle_s = 0: without it there are no probes, "
				       "so keepalive_interval_s and _count must be 0 too");
	}
	if (memchr(options->congestion, '\0', sizeof(options->congestion)) == NULL) {
		return tcp_refuse(log, "tcp.congestion: has no end; a name has 15 bytes at most");
	}
	return 0;
}

int
rli_tcp_options_check_unix(const struct rl_tcp_options *options, const struct log *log)
{
	struct tcp_settings settings;

	rli_tcp_settings_conn(&settings, options);
	if (settings.count == 0 && settings.congestion[0] == '\0') {
		return 0;
	}
	rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD, "options: %s: a Unix socket has no TCP options",
		settings.count > 0 ? settings.list[0].name : "tcp.congestion");
	return -EINVAL;
}

static void
settings_add(struct tcp_settings *settings, const struct tcp_setting *setting)
{
	RL_ASSERT(settings->count < TCP_SETTINGS_MAX);
	settings->list[settings->count++] = *setting;
}

/* @value 0: not asked for. */
static void
settings_add_number(struct tcp_settings *settings, const char *name, int level, int option,
		    uint32_t value)
{
	if (value != 0) {
		settings_add(settings, &(struct tcp_setting){
					       .name = name,
					       .level = level,
					       .option = option,
					       .value = (int)value,
				       });
	}
}

void
rli_tcp_settings_conn(struct tcp_settings *settings, const struct rl_tcp_options *options)
{
	*settings = (struct tcp_settings){ .count = 0 };
	if (options->nodelay == RL_CONN_OFF) {
		/* every socket has it on from its birth: see sys.h */
		settings_add(settings, &(struct tcp_setting){ .name = "tcp.nodelay",
							      .level = SOL_TCP,
							      .option = TCP_NODELAY });
	}
	settings_add_number(settings, "tcp.keepalive_idle_s", SOL_TCP, TCP_KEEPIDLE,
			    options->keepalive_idle_s);
	settings_add_number(settings, "tcp.keepalive_interval_s", SOL_TCP, TCP_KEEPINTVL,
			    options->keepalive_interval_s);
	settings_add_number(settings, "tcp.keepalive_count", SOL_TCP, TCP_KEEPCNT,
			    options->keepalive_count);
	settings_add_number(settings, "tcp.keepalive_idle_s", SOL_SOCKET, SO_KEEPALIVE,
			    options->keepalive_idle_s != 0);
	settings_add_number(settings, "tcp.user_timeout_ms", SOL_TCP, TCP_USER_TIMEOUT,
			    options->user_timeout_ms);
	settings_add_number(settings, "tcp.recv_buffer_bytes", SOL_SOCKET, SO_RCVBUF,
			    options->recv_buffer_bytes);
	settings_add_number(settings, "tcp.send_buffer_bytes", SOL_SOCKET, SO_SNDBUF,
			    options->send_buffer_bytes);
	memcpy(settings->congestion, options->congestion, sizeof(settings->congestion));
}

void
rli_tcp_settings_listener(struct tcp_settings *settings, const struct rl_listener_options *options)
{
	rli_tcp_settings_conn(settings, &options->conn.tcp);
	settings_add_number(settings, "defer_accept_s", SOL_TCP, TCP_DEFER_ACCEPT,
			    options->defer_accept_s);
	settings_add_number(settings, "fastopen_queue", SOL_TCP, TCP_FASTOPEN,
			    options->fastopen_queue);
}

void
rli_tcp_settings_log(const struct tcp_settings *settings, const struct log *log)
{
	for (uint32_t i = 0; i < settings->count; i++) {
		const struct tcp_setting *setting = &settings->list[i];

		if (setting->got != 0) {
			rli_log(log, RL_LOG_WARN, LOG_NO_SHARD,
				"options: %s = %d: the kernel gives %d; raise net.core.%s_max",
				setting->name, setting->value, setting->got,
				setting->option == SO_RCVBUF ? "rmem" : "wmem");
		}
	}
}
