/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: through the proxy every byte arrives, both ways; a client that does not read stops the
 * server, and a server that does not read the client, while the proxy's memory stays small; a
 * half-close and a reset pass through either way; SIGTERM loses nothing that is under way, however
 * busy its clients are (pitfalls 40, 73, 75).
 * How: the program itself as another process, both of its ends as sockets of this one.
 * Not proved: how fast it is.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK	     65536
#define STREAM_BYTES 48000000ull
#define PAIRS	     20
#define REPLY	     600000

/*
 * The receive buffers of a shard, as they are first used, as much again that had arrived when a
 * pause took effect, and output up to the high mark, both ways.
 */
#define GROWTH_KIB ((4096 + 4096 + 2048) * GROWTH_OF_TOOLS)

/* AddressSanitizer has a shadow of all that, and ThreadSanitizer a larger one. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GROWTH_OF_TOOLS 2
#elif __has_feature(thread_sanitizer)
#define GROWTH_OF_TOOLS 6
#endif
#endif
#ifndef GROWTH_OF_TOOLS
#define GROWTH_OF_TOOLS 1
#endif

extern char **environ;

static struct {
	pid_t pid;
	int out;
	int target; /* where it connects to */
	char url[RL_URL_MAX];
} proxy;

/* Both ends of one pair. */
struct pair {
	int client;
	int server;
};

static void
proxy_read_ready(void)
{
	struct pollfd fd = { .fd = proxy.out, .events = POLLIN };
	char line[256];
	size_t len = 0;

	do {
		assert_int_equal(poll(&fd, 1, RIG_PATIENCE_MS), 1);
		assert_int_equal(read(proxy.out, line + len, 1), 1);
	} while (line[len++] != '\n' && len < sizeof(line));
	assert_int_equal(strncmp(line, "ready ", 6), 0);
	(void)snprintf(proxy.url, sizeof(proxy.url), "%.*s", (int)strcspn(line + 6, " "), line + 6);
}

static void
proxy_begin(void)
{
	const char *dir = getenv("RL_EXAMPLES_DIR");
	char path[4096];
	char target[RL_URL_MAX];
	const char *argv[] = { path,	   "--listen", "tcp://127.0.0.1:0", "--shards", "1",
			       "--target", target,     "--idle-timeout",    "-1",	NULL };
	posix_spawn_file_actions_t actions;
	int out[2];

	proxy.target = client_listen(target, 64);
	(void)snprintf(path, sizeof(path), "%s/proxy", dir != NULL ? dir : "examples");
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO), 0);
	assert_int_equal(
		posix_spawn(&proxy.pid, path, &actions, NULL, (char *const *)argv, environ), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(out[1]);
	proxy.out = out[0];
	proxy_read_ready();
}

static void
proxy_await_end(void)
{
	struct pollfd fd = { .fd = proxy.out, .events = POLLIN };
	int status;

	assert_int_equal(poll(&fd, 1, RIG_PATIENCE_MS), 1); /* its stdout is closed */
	assert_int_equal(waitpid(proxy.pid, &status, 0), proxy.pid);
	proxy.pid = 0;
	(void)close(proxy.out);
	client_close(proxy.target);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
proxy_end(void)
{
	assert_int_equal(kill(proxy.pid, SIGTERM), 0);
	proxy_await_end();
}

/* After a test that failed. */
static int
proxy_teardown(void **state)
{
	(void)state;
	if (proxy.pid != 0) {
		(void)kill(proxy.pid, SIGKILL);
		(void)waitpid(proxy.pid, NULL, 0);
		(void)close(proxy.out);
		proxy.pid = 0;
	}
	return 0;
}

static struct pair
pair_open(void)
{
	struct pair pair = { .client = client_dial(proxy.url) };

	pair.server = client_accept(proxy.target);
	return pair;
}

/* Resident memory of the proxy. */
static uint64_t
proxy_kib(void)
{
	char path[64];
	char line[256];
	uint64_t kib = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)proxy.pid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "VmRSS:", 6) == 0) {
			kib = strtoull(line + 6, NULL, 10);
		}
	}
	(void)fclose(file);
	assert_true(kib > 0);
	return kib;
}

/* As much of a stream as goes out without waiting. */
static size_t
stream_push(int fd, uint64_t seed, uint64_t *sent, uint64_t total)
{
	static uint8_t block[BLOCK];
	size_t len = total - *sent < BLOCK ? (size_t)(total - *sent) : BLOCK;

	if (len == 0) {
		return 0;
	}
	pattern_fill(seed, *sent, block, len);
	len = client_push(fd, block, len);
	*sent += len;
	return len;
}

/* As much of it as has come in. */
static size_t
stream_pull(int fd, uint64_t seed, uint64_t *got)
{
	static uint8_t block[BLOCK];
	ssize_t len = recv(fd, block, sizeof(block), 0);

	if (len < 0) {
		assert_int_equal(errno, EAGAIN);
		return 0;
	}
	assert_true(pattern_matches(seed, *got, block, (size_t)len));
	*got += (size_t)len;
	return (size_t)len;
}

static void
stream_wait(int from, int to)
{
	struct pollfd fds[] = { { .fd = from, .events = POLLOUT }, { .fd = to, .events = POLLIN } };

	(void)poll(fds, 2, 20);
}

/* From @from to @to, who does not read at first: it comes to a stand, then all of it arrives. */
static void
stream_stands_and_goes_on(int from, int to, uint64_t seed)
{
	uint64_t kib = proxy_kib();
	uint64_t sent = 0;
	uint64_t got = 0;
	uint32_t standing = 0;

	while (standing < 25) {
		if (stream_push(from, seed, &sent, STREAM_BYTES) > 0) {
			standing = 0;
		} else {
			standing++;
			(void)poll(NULL, 0, 4);
		}
	}
	assert_true(sent < STREAM_BYTES); /* the rest is the kernel's, on both sides */
	assert_in_range(proxy_kib(), 0, kib + GROWTH_KIB);
	while (got < STREAM_BYTES) {
		if (stream_push(from, seed, &sent, STREAM_BYTES) + stream_pull(to, seed, &got) ==
		    0) {
			stream_wait(from, to);
		}
	}
	assert_in_range(proxy_kib(), 0, kib + GROWTH_KIB);
}

static void
proxy_of_who_does_not_read_stops_who_writes(void **state)
{
	struct pair pair;

	(void)state;
	proxy_begin();
	pair = pair_open();
	client_send_text(pair.client, "warm");
	client_recv_text(pair.server, "warm");
	stream_stands_and_goes_on(pair.server, pair.client, 1);
	stream_stands_and_goes_on(pair.client, pair.server, 2);
	client_shut(pair.client);
	client_expect_fin(pair.server);
	client_shut(pair.server);
	client_expect_fin(pair.client);
	client_close(pair.client);
	client_close(pair.server);
	proxy_end();
}

static void
proxy_of_half_closes_keeps_the_other_half(void **state)
{
	struct pair pair;
	int swap;

	(void)state;
	proxy_begin();
	for (uint32_t round = 0; round < 2; round++) {
		pair = pair_open();
		if (round == 1) {
			swap = pair.client;
			pair.client = pair.server;
			pair.server = swap;
		}
		client_send_text(pair.client, "question");
		client_shut(pair.client);
		client_recv_text(pair.server, "question");
		client_expect_fin(pair.server);
		client_send_text(pair.server, "answer");
		client_recv_text(pair.client, "answer");
		client_send_text(pair.server, "and more");
		client_shut(pair.server);
		client_recv_text(pair.client, "and more");
		client_expect_fin(pair.client);
		client_close(pair.client);
		client_close(pair.server);
	}
	proxy_end();
}

static void
proxy_of_resets_resets_the_other_end(void **state)
{
	struct pair pair;

	(void)state;
	proxy_begin();
	pair = pair_open();
	client_send_text(pair.client, "x");
	client_recv_text(pair.server, "x");
	client_reset(pair.client);
	client_expect_reset(pair.server);
	client_close(pair.server);
	pair = pair_open();
	client_reset(pair.server);
	client_expect_reset(pair.client);
	client_close(pair.client);
	proxy_end();
}

/* Nobody listens there any more. */
static void
proxy_without_target_resets_the_client(void **state)
{
	int fd;

	(void)state;
	proxy_begin();
	assert_int_equal(shutdown(proxy.target, SHUT_RD), 0);
	fd = client_try(proxy.url);
	if (fd >= 0) {
		client_expect_reset(fd);
		client_close(fd);
	} else {
		assert_int_equal(fd, -ECONNRESET); /* it came before we could look */
	}
	proxy_end();
}

/* Replies are under way, and nobody reads them yet; one pair has nothing to say. */
static void
proxy_on_sigterm_loses_nothing(void **state)
{
	struct pair pairs[PAIRS];
	struct pair quiet;

	(void)state;
	proxy_begin();
	quiet = pair_open();
	for (uint32_t i = 0; i < PAIRS; i++) {
		pairs[i] = pair_open();
		client_send_text(pairs[i].client, "question");
		client_recv_text(pairs[i].server, "question");
	}
	for (uint32_t i = 0; i < PAIRS; i++) {
		uint64_t sent = 0;

		while (sent < REPLY) { /* what the kernels and the proxy take, if it runs */
			if (stream_push(pairs[i].server, i, &sent, REPLY) == 0) {
				client_await_room(pairs[i].server);
			}
		}
	}
	assert_int_equal(kill(proxy.pid, SIGTERM), 0);
	for (uint32_t i = 0; i < PAIRS; i++) {
		uint64_t got = 0;

		while (got < REPLY) {
			if (stream_pull(pairs[i].client, i, &got) == 0) {
				stream_wait(pairs[i].client, pairs[i].client);
			}
		}
	}
	client_expect_fin(quiet.client);
	client_expect_fin(quiet.server);
	for (uint32_t i = 0; i < PAIRS; i++) {
		client_expect_fin(pairs[i].client);
		client_close(pairs[i].client);
		client_close(pairs[i].server);
	}
	client_close(quiet.client);
	client_close(quiet.server);
	proxy_await_end();
}

/* One that asks anew with each reply, and is answered at once, until it is sent away. */
struct asker {
	struct pair pair;
	uint64_t asked; /* bytes */
	uint64_t answered; /* by the server */
	uint64_t got;
	bool ended; /* it has got FIN */
	bool left; /* and so has the server */
};

static void
asker_ask(struct asker *asker)
{
	static const uint8_t question[64];

	if (!asker->ended && asker->got == asker->asked) {
		asker->asked += client_push(asker->pair.client, question, sizeof(question));
	}
}

static void
asker_answer(struct asker *asker)
{
	uint8_t bytes[256];
	ssize_t len = asker->left ? -1 : recv(asker->pair.server, bytes, sizeof(bytes), 0);

	if (len > 0) {
		client_send(asker->pair.server, bytes, (size_t)len);
		asker->answered += (size_t)len;
	} else if (len == 0) {
		asker->left = true;
		client_shut(asker->pair.server);
	}
}

static void
asker_read(struct asker *asker)
{
	uint8_t bytes[256];
	ssize_t len = asker->ended ? -1 : recv(asker->pair.client, bytes, sizeof(bytes), 0);

	if (len > 0) {
		asker->got += (size_t)len;
	} else if (len == 0) {
		asker->ended = true;
		client_shut(asker->pair.client);
	} else {
		assert_true(asker->ended || errno == EAGAIN); /* no reset */
	}
}

/* Until each has got @want bytes (at most), or FIN; how long the longest step took. */
static uint64_t
askers_run(struct asker askers[PAIRS], uint64_t want)
{
	uint64_t began_ns = rig_now_ns();
	uint64_t last_ns = began_ns;
	uint64_t longest_ns = 0;
	uint32_t waiting = 1;

	while (waiting > 0) {
		uint64_t now_ns = rig_now_ns();

		longest_ns = now_ns - last_ns > longest_ns ? now_ns - last_ns : longest_ns;
		last_ns = now_ns;
		assert_true(now_ns - began_ns < RIG_PATIENCE_MS * 1000000ull);
		waiting = 0;
		for (uint32_t i = 0; i < PAIRS; i++) {
			asker_ask(&askers[i]);
			asker_answer(&askers[i]);
			asker_read(&askers[i]);
			waiting += !askers[i].ended && askers[i].got < want;
		}
		(void)poll(NULL, 0, 1);
	}
	return longest_ns;
}

/* They would go on for ever, and must be sent away before they are cut. */
static void
proxy_on_sigterm_sends_away_who_asks_on(void **state)
{
	struct asker askers[PAIRS] = { 0 };
	uint64_t longest_ns;

	(void)state;
	proxy_begin();
	for (uint32_t i = 0; i < PAIRS; i++) {
		askers[i].pair = pair_open();
	}
	(void)askers_run(askers, 1000);
	assert_int_equal(kill(proxy.pid, SIGTERM), 0);
	longest_ns = askers_run(askers, UINT64_MAX);
	for (uint32_t i = 0; i < PAIRS; i++) {
		/* a server that is silent for 0.4 s has nothing to say, as the proxy sees it */
		assert_true(askers[i].got == askers[i].answered || longest_ns > 100000000);
		client_close(askers[i].pair.client);
		client_close(askers[i].pair.server);
	}
	proxy_await_end();
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_teardown(name, proxy_teardown)
	const struct CMUnitTest tests[] = {
		CASE(proxy_of_who_does_not_read_stops_who_writes),
		CASE(proxy_of_half_closes_keeps_the_other_half),
		CASE(proxy_of_resets_resets_the_other_end),
		CASE(proxy_without_target_resets_the_client),
		CASE(proxy_on_sigterm_loses_nothing),
		CASE(proxy_on_sigterm_sends_away_who_asks_on),
	};

	return rig_run("proxy", tests);
}
