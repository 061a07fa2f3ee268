/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a host that is a name is looked up without holding a shard, a deadline, an end, a drain
 * or a stop up; what the system's resolver says has its errno and reason; every address is tried,
 * in order and under one deadline; all limits hold (pitfalls 94, 98).
 * How: getaddrinfo(3) of this program is ours: it answers from a table, blocks while the test wants
 * it to, and needs no network. The listeners are real, on several addresses of 127.0.0.0/8.
 * Not proved: the real resolver (test_connect.c asks it for localhost), every order (sim.seeds).
 */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/host.h"

#define TABLE_ADDRS_MAX 12

/* ---- the twin of the system's resolver */

struct table_row {
	const char *name;
	const char *addrs[TABLE_ADDRS_MAX];
	int code;
};

static const struct table_row table[] = {
	{ .name = "two.test", .addrs = { "127.0.0.2", "127.0.0.3" } },
	{ .name = "three.test", .addrs = { "127.0.0.4", "127.0.0.4", "::1", "127.0.0.3" } },
	{ .name = "hosts.test",
	  .addrs = { "127.0.0.4", "127.0.0.4", "127.0.0.4", "::1", "::1", "127.0.0.4", "127.0.0.4",
		     "127.0.0.4", "127.0.0.4", "::1", "127.0.0.3" } },
	{ .name = "sixes.test",
	  .addrs = { "::1", "::2", "::3", "::4", "::5", "::6", "::7", "::8", "127.0.0.3" } },
	{ .name = "blocked.test", .addrs = { "127.0.0.3" } },
	{ .name = "noname.test", .code = EAI_NONAME },
	{ .name = "again.test", .code = EAI_AGAIN },
	{ .name = "fail.test", .code = EAI_FAIL },
	{ .name = "memory.test", .code = EAI_MEMORY },
	{ .name = "system.test", .code = EAI_SYSTEM },
	{ .name = "empty.test" },
};

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t table_changed = PTHREAD_COND_INITIALIZER;
static bool table_blocks; /* whoever asks for blocked.test */
static uint32_t table_blocked; /* so many are there */

static struct addrinfo *
table_info(const char *text)
{
	struct addrinfo *info = calloc(1, sizeof(*info));
	struct sockaddr_in6 *in6 = calloc(1, sizeof(*in6)); /* has room for either */
	struct sockaddr_in in = { .sin_family = AF_INET };

	assert_non_null(info);
	assert_non_null(in6);
	info->ai_addr = (struct sockaddr *)in6;
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
		memcpy(in6, &in, sizeof(in));
		info->ai_addrlen = sizeof(in);
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
		in6->sin6_family = AF_INET6;
		info->ai_addrlen = sizeof(*in6);
	}
	info->ai_family = info->ai_addr->sa_family;
	return info;
}

static const struct table_row *
table_row(const char *name)
{
	for (size_t i = 0; i < RIG_COUNT(table); i++) {
		if (strcmp(table[i].name, name) == 0) {
			return &table[i];
		}
	}
	abort();
}

static void
table_wait(void)
{
	(void)pthread_mutex_lock(&table_lock);
	table_blocked++;
	(void)pthread_cond_broadcast(&table_changed);
	while (table_blocks) {
		(void)pthread_cond_wait(&table_changed, &table_lock);
	}
	table_blocked--;
	(void)pthread_mutex_unlock(&table_lock);
}

static void
table_block(bool blocks)
{
	(void)pthread_mutex_lock(&table_lock);
	table_blocks = blocks;
	(void)pthread_cond_broadcast(&table_changed);
	(void)pthread_mutex_unlock(&table_lock);
}

static void
table_await_blocked(uint32_t count)
{
	(void)pthread_mutex_lock(&table_lock);
	while (table_blocked < count) {
		(void)pthread_cond_wait(&table_changed, &table_lock);
	}
	(void)pthread_mutex_unlock(&table_lock);
}

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
	    struct addrinfo **found)
{
	const struct table_row *row = table_row(name);
	struct addrinfo **last = found;

	assert_null(service);
	assert_int_equal(hints->ai_socktype, SOCK_STREAM);
	if (strcmp(name, "blocked.test") == 0) {
		table_wait();
	}
	*found = NULL;
	for (size_t i = 0; row->code == 0 && row->addrs[i] != NULL; i++) {
		*last = table_info(row->addrs[i]);
		last = &(*last)->ai_next;
	}
	errno = row->code == EAI_SYSTEM ? EMFILE : 0;
	return row->code;
}

void
freeaddrinfo(struct addrinfo *info)
{
	while (info != NULL) {
		struct addrinfo *next = info->ai_next;

		free(info->ai_addr);
		free(info);
		info = next;
	}
}

/* ---- what is opened */

static int
caller_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_OPEN) {
		/* before the test is told that it is open */
		atomic_store(&probe_of(self)->marks[0], msg->open.peer->bytes[3]);
	}
	(void)probe_note(self, msg);
	switch (msg->kind) {
	case RL_MSG_START:
		return rl_conn_send(self, "hello", 5) == 0 ? 0 : -EPROTO;
	case RL_MSG_OPEN:
		return 0;
	case RL_MSG_USER:
		return RL_ACTOR_STOP;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def caller = {
	.name = "caller",
	.receive = caller_receive,
	.state_size = sizeof(struct probed),
};

static struct client_addr
addr_at(const char *host, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct client_addr addr = { .len = sizeof(in) };

	assert_int_equal(inet_pton(AF_INET, host, &in.sin_addr), 1);
	memcpy(&addr.addr, &in, sizeof(in));
	return addr;
}

/* A listener on @host, with @port or one that is free, which @port then is. */
static int
listen_at(const char *host, uint16_t *port, int backlog)
{
	struct client_addr addr = addr_at(host, *port);
	int fd = client_listen_on(&addr, backlog);
	struct sockaddr_in in;

	addr.len = sizeof(in);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr.addr, &addr.len), 0);
	memcpy(&in, &addr.addr, sizeof(in));
	*port = ntohs(in.sin_port);
	return fd;
}

static const char *
url_of(const char *name, uint16_t port)
{
	static char url[RL_URL_MAX];

	(void)snprintf(url, sizeof(url), "tcp://%s:%u", name, port);
	return url;
}

static void
resolve_second_address_is_taken_when_the_first_refuses(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.3", &port, 16);

	rig_start(rig, RL_CONFIG());
	for (uint32_t i = 0; i < 3 * rig->shards; i++) {
		static const char *const names[] = { "two.test", "three.test", "hosts.test" };
		const char *url = url_of(names[i % 3], port);
		int fd;

		assert_int_equal(rig_open(rig, i % rig->shards, url, &caller, probe, NULL), 0);
		fd = client_accept(listener);
		client_recv_text(fd, "hello");
		rig_await(rig, probe->opens, i + 1);
		assert_int_equal(probe->marks[0], 3);
		client_close(fd);
		rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], i + 1);
	}
	client_close(listener);
	rig_end(rig);
	assert_int_equal(rig->stats.lookups, 3 * rig->shards);
}

/* Of eight addresses that are kept one is of the other family, and it is the second. */
static void
resolve_families_alternate(void **state)
{
	struct rl_conn_options options = { .connect_timeout_ns = -1 };
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.3", &port, 16);
	int fd;

	rig_start(rig, RL_CONFIG());
	assert_int_equal(rig_open(rig, 0, url_of("sixes.test", port), &caller, probe, &options), 0);
	fd = client_accept(listener);
	client_recv_text(fd, "hello");
	rig_await(rig, probe->opens, 1);
	assert_int_equal(probe->marks[0], 3);
	client_close(fd);
	rig_await(rig, probe->stops, 1);
	client_close(listener);
	rig_end(rig);
}

static void
resolve_refused_everywhere_is_the_last_error(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint16_t port = 0;

	client_close(listen_at("127.0.0.9", &port, 1)); /* nobody is there any more */
	rig_start(rig, RL_CONFIG());
	for (uint64_t i = 1; i <= 10; i++) {
		assert_int_equal(rig_open(rig, 0, url_of("three.test", port), &caller, probe, NULL),
				 0);
		rig_await(rig, probe->stopped[RL_REASON_FAILURE], i);
		assert_int_equal(probe->error, -ECONNREFUSED);
	}
	assert_int_equal(probe->opens, 0);
	rig_end(rig);
}

/*
 * Of two addresses the first is silent: it gets half of the time, but no more than two seconds.
 * False: the machine was so slow that the other half was not enough for the second.
 */
static bool
silent_address_costs_its_share(struct rig *rig, const char *url, int listener, int64_t timeout_ns)
{
	struct rl_conn_options options = { .connect_timeout_ns = timeout_ns };
	struct probe *probe = &rig->probes[0];
	uint64_t share_ns = (uint64_t)(timeout_ns / 2 < RL_SEC(2) ? timeout_ns / 2 : RL_SEC(2));
	uint64_t stops = probe->stops;
	uint64_t since_ns = rig_now_ns();
	char text[5];
	ssize_t got;

	assert_int_equal(rig_open(rig, 0, url, &caller, probe, &options), 0);
	while (probe->opens == 0 && probe->stops == stops) {
		assert_true(rig_now_ns() - since_ns < RIG_PATIENCE_MS * 1000000ull);
		rig_let_pass(rig, 100);
	}
	assert_true(rig_now_ns() - since_ns >= share_ns - share_ns / 20);
	if (probe->opens == 0) {
		assert_int_equal(probe->stopped[RL_REASON_TIMEOUT_CONNECT], probe->stops);
		assert_true(rig_now_ns() - since_ns >= (uint64_t)timeout_ns);
		return false;
	}
	assert_int_equal(probe->marks[0], 3);
	do { /* those whose time was over say nothing */
		int fd = client_accept(listener);

		got = client_recv_some(fd, text, sizeof(text));
		client_reset(fd); /* no TIME_WAIT, since somebody listens here again */
	} while (got <= 0);
	rig_await(rig, probe->stops, stops + 1);
	return true;
}

static void
resolve_silent_address_costs_its_share_of_the_deadline(void **state)
{
	struct rl_conn_options options = { .connect_timeout_ns = RL_SEC(2) };
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint16_t port = 0;
	int hole = listen_at("127.0.0.2", &port, 0);
	int listener = listen_at("127.0.0.3", &port, 16);
	struct client_addr addr = addr_at("127.0.0.2", port);
	int64_t timeout_ns = RL_SEC(2);
	uint64_t since_ns;
	uint64_t timeouts;
	int fds[16];
	size_t count = client_fill_backlog(hole, &addr, fds, RIG_COUNT(fds));

	rig_start(rig, RL_CONFIG());
	while (!silent_address_costs_its_share(rig, url_of("two.test", port), listener,
					       timeout_ns)) {
		timeout_ns *= 2;
		assert_true(timeout_ns <= RL_MS(RIG_PATIENCE_MS));
	}

	/* and with both silent it is all of it */
	client_close(listener);
	listener = listen_at("127.0.0.3", &port, 0);
	addr = addr_at("127.0.0.3", port);
	count += client_fill_backlog(listener, &addr, fds + count, RIG_COUNT(fds) - count);
	timeouts = probe->stopped[RL_REASON_TIMEOUT_CONNECT];
	since_ns = rig_now_ns();
	assert_int_equal(rig_open(rig, 0, url_of("two.test", port), &caller, probe, &options), 0);
	rig_await(rig, probe->stopped[RL_REASON_TIMEOUT_CONNECT], timeouts + 1);
	assert_true(rig_now_ns() - since_ns >= 2000000000);
	assert_int_equal(probe->error, -ETIMEDOUT);
	while (count > 0) {
		client_close(fds[--count]);
	}
	client_close(hole);
	client_close(listener);
	rig_end(rig);
}

static void
resolve_failure_has_its_reason_and_errno(void **state)
{
	static const struct {
		const char *name;
		int error;
		const char *says;
	} rows[] = {
		{ "noname.test", -ENOENT,
		  "can't look up \"noname.test\": Name or service not known" },
		{ "again.test", -EAGAIN, "Temporary failure in name resolution" },
		{ "fail.test", -EIO, "Non-recoverable failure in name resolution" },
		{ "memory.test", -ENOMEM, "Memory allocation failure" },
		{ "system.test", -EMFILE, "Too many open files" },
		{ "empty.test", -ENOENT, "It has no address" },
	};
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	for (size_t i = 0; i < RIG_COUNT(rows); i++) {
		/* a system each: a shard speaks of it once a second */
		rig_start(rig, RL_CONFIG(.shards = 1));
		assert_int_equal(rig_open(rig, 0, url_of(rows[i].name, 80), &caller, probe, NULL),
				 0);
		rig_await(rig, probe->stopped[RL_REASON_RESOLVE], i + 1);
		assert_int_equal(probe->error, rows[i].error);
		rig_assert_logged(rig, rows[i].says);
		rl_system_stop(rig->sys);
		rig->sys = NULL;
	}
	assert_int_equal(probe->opens, 0);
	rig_end(rig);
}

/* The deadline, and the actor's own end, don't wait for the resolver; nor do other names. */
static void
resolve_that_blocks_holds_nobody_up(void **state)
{
	struct rl_conn_options soon = { .connect_timeout_ns = RL_MS(100) };
	struct rl_conn_options never = { .connect_timeout_ns = -1 };
	struct rig *rig = *state;
	struct probe *blocked = &rig->probes[0];
	struct probe *other = &rig->probes[1];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.3", &port, 16);
	char url[RL_URL_MAX];
	int fd;

	table_block(true);
	rig_start(rig, RL_CONFIG(.resolvers = 3));
	(void)snprintf(url, sizeof(url), "%s", url_of("blocked.test", port));
	assert_int_equal(rig_open(rig, 0, url, &caller, blocked, &never), 0);
	assert_int_equal(rig_open(rig, 0, url, &caller, blocked, &soon), 0);
	table_await_blocked(1); /* the other's deadline may come before its thread does */
	rig_await(rig, blocked->stopped[RL_REASON_TIMEOUT_CONNECT], 1);
	assert_int_equal(blocked->error, -ETIMEDOUT);

	assert_int_equal(rig_open(rig, 0, url_of("two.test", port), &caller, other, NULL), 0);
	fd = client_accept(listener);
	client_recv_text(fd, "hello");
	client_close(fd);
	rig_await(rig, other->stopped[RL_REASON_PEER_FIN], 1);

	assert_int_equal(blocked->stops, 1);
	assert_int_equal(rig_open(rig, 0, url, &caller, blocked, &never), 0);
	rig_await(rig, blocked->starts, 3);
	rig_tell(rig, blocked, RL_MSG_USER); /* the last one that started */
	rig_await(rig, blocked->stopped[RL_REASON_LOCAL], 1);

	table_block(false);
	fd = client_accept(listener); /* the first, and no other */
	client_recv_text(fd, "hello");
	client_close(fd);
	rig_await(rig, blocked->stopped[RL_REASON_PEER_FIN], 1);
	client_close(listener);
	rig_end(rig);
	assert_int_equal(blocked->opens, 1);
}

/* With all threads out, who waits for one ends at its deadline. */
static void
resolve_without_a_free_thread_waits_for_one(void **state)
{
	struct rl_conn_options soon = { .connect_timeout_ns = RL_MS(50) };
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	struct probe *other = &rig->probes[1];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.3", &port, 16);
	int fd;

	table_block(true);
	rig_start(rig, RL_CONFIG(.resolvers = 1));
	assert_int_equal(rig_open(rig, 0, url_of("blocked.test", port), &caller, probe, NULL), 0);
	table_await_blocked(1);
	assert_int_equal(rig_open(rig, 0, url_of("two.test", port), &caller, other, &soon), 0);
	rig_await(rig, other->stopped[RL_REASON_TIMEOUT_CONNECT], 1);
	assert_int_equal(rig_open(rig, 0, url_of("two.test", port), &caller, other, NULL), 0);
	table_block(false);
	for (int i = 0; i < 2; i++) {
		fd = client_accept(listener);
		client_recv_text(fd, "hello");
		client_close(fd);
	}
	rig_await(rig, other->stopped[RL_REASON_PEER_FIN], 1);
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], 1);
	client_close(listener);
	rig_end(rig);
}

static void
resolve_above_lookups_max_is_enobufs(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.3", &port, 16);

	table_block(true);
	rig_start(rig, RL_CONFIG(.shards = 1, .lookups_max = 2, .resolvers = 1));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			rig_open(rig, 0, url_of("blocked.test", port), &caller, probe, NULL), 0);
	}
	assert_int_equal(rig_open(rig, 0, url_of("two.test", port), &caller, probe, NULL),
			 -ENOBUFS);
	assert_int_equal(rig_stats(rig).lookups_refused, 1);
	rig_assert_logged(rig, "lookups_max = 2 is reached");

	/* an address needs none */
	assert_int_equal(rig_open(rig, 0, url_of("127.0.0.3", port), &caller, probe, NULL), 0);
	rig_await(rig, probe->opens, 1);
	table_block(false);
	rig_await(rig, probe->opens, 3);
	assert_int_equal(rig_open(rig, 0, url_of("two.test", port), &caller, probe, NULL), 0);
	rig_await(rig, probe->opens, 4);
	for (int i = 0; i < 4; i++) {
		client_close(client_accept(listener));
	}
	rig_await(rig, probe->stops, 4);
	client_close(listener);
	rig_end(rig);
	assert_int_equal(rig->stats.lookups_refused, 1);
	assert_int_equal(rig->stats.lookups, 3);
}

/* Lookups from all shards at once: what comes is what was asked for. */
static void
resolve_many_at_once_open_all(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.3", &port, 300);
	uint32_t count = 200;
	int fds[200];

	rig_start(rig, RL_CONFIG());
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(rig_open(rig, i % rig->shards,
					  url_of(i % 3 == 0 ? "three.test" : "two.test", port),
					  &caller, probe, NULL),
				 0);
	}
	rig_await(rig, probe->opens, count);
	for (uint32_t i = 0; i < count; i++) {
		fds[i] = client_accept(listener);
		client_recv_text(fds[i], "hello");
	}
	for (uint32_t i = 0; i < count; i++) {
		client_close(fds[i]);
	}
	rig_await(rig, probe->stopped[RL_REASON_PEER_FIN], count);
	client_close(listener);
	rig_end(rig);
	assert_int_equal(rig->stats.lookups, count);
}

/* When the system has left them behind, and not before, the lookups may end. */
static void
log_until_left_behind(void *arg, enum rl_log_level level, int shard, const char *text)
{
	bool *left = arg;

	(void)level;
	(void)shard;
	if (strstr(text, "2 lookups of host names are left behind") != NULL) {
		*left = true;
		table_block(false);
	}
}

/* The closing checks of rig_end() count threads and memory when the two have come home. */
static void
resolve_that_blocks_is_left_behind_by_the_stop(void **state)
{
	struct rl_conn_options never = { .connect_timeout_ns = -1 };
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	bool left = false;

	table_block(true);
	rig_start(rig, RL_CONFIG(.log = log_until_left_behind, .log_arg = &left,
				 .log_level = RL_LOG_INFO, .drain_timeout_ns = RL_SEC(1000)));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			rig_open(rig, 0, url_of("blocked.test", 80), &caller, probe, &never), 0);
	}
	table_await_blocked(2);
	rig->restless = true;
	rig_end(rig); /* the drain's deadline would not come in this test's time */
	assert_true(left);
	assert_int_equal(probe->stopped[RL_REASON_SHUTDOWN], 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(resolve_second_address_is_taken_when_the_first_refuses),
		rig_case(resolve_families_alternate),
		rig_case(resolve_refused_everywhere_is_the_last_error),
		rig_case(resolve_silent_address_costs_its_share_of_the_deadline),
		rig_case(resolve_failure_has_its_reason_and_errno),
		rig_case(resolve_that_blocks_holds_nobody_up),
		rig_case(resolve_without_a_free_thread_waits_for_one),
		rig_case(resolve_above_lookups_max_is_enobufs),
		rig_case(resolve_many_at_once_open_all),
		rig_case(resolve_that_blocks_is_left_behind_by_the_stop),
	};

	return rig_run("resolve", tests);
}
