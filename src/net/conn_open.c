/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Opening: what is asked for is checked, an actor is there at once, and its host is looked up, if
 * that is a name, by the resolver. Connecting is conn_connect.c's. Invariant: the deadline runs
 * from rl_conn_open() on, whoever it is that takes so long.
 */
#include "net/conn_open.h"

#include <errno.h>
#include <string.h>

#include "base/mutant.h"
#include "net/addr.h"
#include "net/conn.h"
#include "net/sys.h"
#include "net/tcp.h"

void
rli_conn_connect_ask(struct conn *conn)
{
	struct connect *connect = conn->connect;
	struct rl_shard *shard = conn->shard;

	counters_add(&shard->counters, lookups, 1);
	connect->stage = CONNECT_LOOKS_UP;
	rli_resolver_ask(shard->net->resolver, &connect->lookup);
	shard->net->lookups_asked = true;
}

void
rli_conn_resolved(struct control *answer)
{
	struct lookup *lookup = list_entry(answer, struct lookup, control);
	struct connect *connect = list_entry(lookup, struct connect, lookup);
	struct conn *conn = connect->conn;
	struct rl_shard *shard = conn->shard;

	shard->net->lookups--;
	connect->stage = CONNECT_TURNS;
	if (lookup->rc != 0 && conn->actor->life != ACTOR_ENDING) {
		rli_log_limited(shard->log, &shard->net->limit_lookup, shard->now_ns, RL_LOG_WARN,
				(int)shard->id, "can't look up \"%s\": %s", connect->url.host,
				lookup->addrs.why);
		rli_conn_cut(conn, RL_REASON_RESOLVE, lookup->rc);
	}
	rli_conn_mark(conn);
}

/* No request of the kernel's spans it all, so the wheel has the deadline. */
static void
connect_init_name(struct connect *connect, struct conn *conn)
{
	connect->stage = CONNECT_ASKS;
	conn->shard->net->lookups++;
	conn->until_ns = RL_MUTANT(LOOKUP_TIMELESS) ? 0 : connect->deadline_ns;
	if (conn->until_ns != 0) {
		rli_conn_deadline_by(conn, conn->until_ns);
	}
}

static void
connect_init(struct connect *connect, struct conn *conn, const struct url *url,
	     const struct rl_conn_options *options)
{
	int64_t timeout_ns = options->connect_timeout_ns != 0
				     ? options->connect_timeout_ns
				     : conn->shard->config->connect_timeout_ns;

	op_init(&connect->timeout);
	connect->conn = conn;
	connect->url = *url;
	connect->tcp = options->tcp;
	connect->first_byte_timeout_ns = options->first_byte_timeout_ns;
	connect->deadline_ns = timeout_ns > 0 ? conn->shard->now_ns + (uint64_t)timeout_ns : 0;
	connect->turn_ns = connect->deadline_ns;
	connect->retry_ns = 0;
	connect->next = 0;
	connect->stage = CONNECT_TRIES;
	connect->timed_out = false;
	connect->overdue = false;
	connect->done = false;
	connect->result = 0;
	lookup_init(&connect->lookup, conn->shard, connect->url.host);
	rli_addr_from_sockaddr(&conn->peer, &url->sockaddr, url->len);
	if (url_is_name(url)) {
		connect_init_name(connect, conn);
	}
}

/* What the options say of a socket that was just made: 0, or the kernel's answer, logged. */
static int
open_tell_socket(const struct rl_shard *shard, int fd, const struct rl_tcp_options *options)
{
	struct tcp_settings settings;
	int rc;

	rli_tcp_settings_conn(&settings, options);
	rc = rli_sys_tcp_set(fd, &settings);
	if (rc != 0) {
		rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
			"connection options: the kernel refused %s (%s)", settings.failed,
			rli_errno_text(rc));
	}
	return rc;
}

int
rli_conn_socket(const struct rl_shard *shard, const struct url *url,
		const struct rl_tcp_options *options)
{
	int fd = rli_sys_socket(url);
	int rc;

	if (fd < 0 || url->is_unix) {
		return fd;
	}
	rc = open_tell_socket(shard, fd, options);
	if (rc != 0) {
		rli_sys_close(fd);
		return rc;
	}
	return fd;
}

/* A socket for an address; a name gets one when it has one. Negative: there is none. */
static int
open_socket(struct rl_shard *shard, const struct url *url, const struct rl_tcp_options *options,
	    int *fd)
{
	*fd = -1;
	if (!url_is_name(url)) {
		*fd = rli_conn_socket(shard, url, options);
		return *fd < 0 ? *fd : 0;
	}
	if (shard->net->lookups == shard->config->lookups_max) {
		counters_add(&shard->counters, lookups_refused, 1);
		rli_log_limited(shard->log, &shard->net->limit_lookups, shard->now_ns, RL_LOG_WARN,
				(int)shard->id,
				"lookups_max = %u is reached: no connection to a host by name is "
				"opened",
				shard->config->lookups_max);
		return -ENOBUFS;
	}
	return 0;
}

static int
conn_open_on(struct rl_shard *shard, const struct url *url, const struct conn_setup *setup,
	     rl_actor_id *id)
{
	struct connect *connect = rli_slab_take(&shard->net->connects);
	struct conn *conn;
	int rc;

	if (connect == NULL) {
		return -ENOBUFS;
	}
	rc = rli_conn_create(shard, setup, &conn);
	if (rc != 0) {
		rli_slab_give(&shard->net->connects, connect);
		return rc;
	}
	connect_init(connect, conn, url, setup->options);
	conn->connect = connect;
	counters_add(&shard->counters, opened, 1);
	rli_conn_mark(conn);
	if (id != NULL) {
		id->private_bits = rli_actor_id_bits(conn->actor);
	}
	return 0;
}

static uint16_t
open_port(const struct url *url)
{
	if (url_is_name(url)) {
		return url->port;
	}
	return url->sockaddr.sa.sa_family == AF_INET6 ? url->sockaddr.in6.sin6_port
						      : url->sockaddr.in.sin_port;
}

/* Whom to trust, and whom to expect. */
static int
open_tls(struct rl_shard *shard, const char *text, struct conn_setup *setup,
	 char host[URL_HOST_MAX + 1])
{
	const struct rl_tls_options *tls = setup->options->tls;

	setup->server_name = tls != NULL ? tls->server_name : NULL;
	if (setup->server_name == NULL) {
		rli_url_host(text, host);
		setup->server_name = host;
	}
	return rli_conn_tls_client(shard, tls, &setup->tls);
}

/* Whoever says how to encrypt wants to: an URL without it is a mistake, and a dangerous one. */
static int
open_refuse_plain(struct rl_shard *shard, const char *text)
{
	char shown[2 * RL_URL_MAX];

	rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
		"connection options: tls is given, but the url \"%s\" is not tls://",
		rli_log_escape(shown, sizeof(shown), text, strlen(text)));
	return -EINVAL;
}

int
rl_conn_open(struct rl_actor *self, const char *text, const struct rl_actor_def *def, void *arg,
	     const struct rl_conn_options *options, rl_actor_id *id)
{
	static const struct rl_conn_options as_configured;
	struct rl_shard *shard = self->shard;
	struct conn_setup setup = {
		.def = def,
		.arg = arg,
		.options = options != NULL ? options : &as_configured,
		.outbound = true,
	};
	char host[URL_HOST_MAX + 1];
	struct url url;
	int rc;

	RL_ASSERT(self == rli_actor_running);
	if (id != NULL) {
		*id = (rl_actor_id){ 0 };
	}
	rc = rli_conn_options_check(setup.options, shard->log);
	if (rc == 0) {
		rc = rli_actor_def_check(def, shard->log);
	}
	if (rc == 0) {
		rc = rli_url_parse(&url, text, URL_CONNECT, shard->log);
	}
	if (rc == 0 && url.is_unix) {
		rc = rli_tcp_options_check_unix(&setup.options->tcp, shard->log);
	}
	if (rc != 0) {
		return rc;
	}
	if (shard->net->draining) {
		return -ESHUTDOWN;
	}
	if (url.is_tls) {
		setup.port = open_port(&url);
		rc = open_tls(shard, text, &setup, host);
	} else if (setup.options->tls != NULL) {
		rc = open_refuse_plain(shard, text);
	}
	if (rc != 0) {
		return rc;
	}
	setup.is_unix = url.is_unix;
	rc = open_socket(shard, &url, &setup.options->tcp, &setup.fd);
	if (rc != 0) {
		return rc;
	}
	rc = conn_open_on(shard, &url, &setup, id);
	if (rc != 0 && setup.fd >= 0) {
		rli_sys_close(setup.fd);
	}
	return rc;
}
