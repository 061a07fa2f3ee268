/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Each option's range, as a table, and what does not go together. Nothing is clamped.
 */
#include "net/listener_options.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "net/conn.h"
#include "net/rate.h"
#include "net/tcp.h"

#define OPTION_AT(field) #field, offsetof(struct rl_listener_options, field)

static const struct option_range listener_ranges[] = {
	{ OPTION_AT(defer_accept_s), 1, 255 }, /* more than any client's patience */
	{ OPTION_AT(fastopen_queue), 1, 65535 }, /* as of a backlog */
	{ OPTION_AT(accept_rate_max), 1, RATE_MAX },   { OPTION_AT(accept_burst), 1, RATE_MAX },
	{ OPTION_AT(conns_per_peer_max), 1, 1044480 }, /* as conns_max */
};

static int
options_refuse(const struct log *log, const char *what)
{
	rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD, "options: %s", what);
	return -EINVAL;
}

int
rli_listener_options_check(const struct rl_listener_options *options, const struct log *log)
{
	int rc = rli_conn_options_check(&options->conn, log);

	if (rc == 0) {
		rc = rli_option_ranges_check(listener_ranges,
					     sizeof(listener_ranges) / sizeof(listener_ranges[0]),
					     options, log);
	}
	if (rc == 0 && options->accept_burst != 0 && options->accept_rate_max == 0) {
		return options_refuse(log, "accept_burst: there is no accept_rate_max");
	}
	if (rc == 0 && options->conns_per_peer_max != 0 && options->peer_addr_off) {
		return options_refuse(log, "conns_per_peer_max: with peer_addr_off there is no "
					   "address to count by");
	}
	return rc;
}

static int
options_check_unix(const struct rl_listener_options *options, const struct log *log)
{
	if (options->defer_accept_s != 0) {
		return options_refuse(log, "defer_accept_s: a Unix listener has no such option");
	}
	if (options->fastopen_queue != 0) {
		return options_refuse(log, "fastopen_queue: a Unix listener has no such option");
	}
	if (options->conns_per_peer_max != 0) {
		return options_refuse(log, "conns_per_peer_max: peers of a Unix listener have no "
					   "address");
	}
	return rli_tcp_options_check_unix(&options->conn.tcp, log);
}

int
rli_listener_options_check_url(const struct rl_listener_options *options, const struct url *url,
			       const struct log *log)
{
	bool has_file = url->is_unix && url->sockaddr.un.sun_path[0] != '\0';

	if (options->unix_mode > 0777 || (options->unix_mode != 0 && !has_file)) {
		/* modes are read and written in octal */
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"options: unix_mode = %#o: must be 0 (by the umask), or 01 to 0777 for the "
			"file of a unix:/path",
			options->unix_mode);
		return -EINVAL;
	}
	if (url->is_unix) {
		return options_check_unix(options, log);
	}
	if (options->peer_cred) {
		return options_refuse(log, "peer_cred: only Unix sockets have peers that the "
					   "kernel knows");
	}
	return 0;
}
