/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENT_CHUNK   65536
#define CLIENT_STREAMS 256
#define CLIENT_NARROW  4096

static struct client_addr
client_addr_unix(const char *path)
{
	struct client_addr addr = { .len = 0 };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t len = strlen(path);

	assert_true(len < sizeof(un.sun_path));
	memcpy(un.sun_path, path, len);
	if (path[0] == '@') {
		un.sun_path[0] = '\0';
	}
	memcpy(&addr.addr, &un, sizeof(un));
	addr.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] != '@'));
	return addr;
}

const char *
client_unix_name(void)
{
	static char url[RL_URL_MAX];
	static uint32_t number;

	(void)snprintf(url, sizeof(url), "unix:@ringline-test-%d-%u", getpid(), number++);
	return url;
}

struct client_addr
client_addr(const char *url)
{
	struct client_addr addr = { .len = 0 };
	const char *colon = strrchr(url, ':');
	in_port_t port;

	if (strncmp(url, "unix:", 5) == 0) {
		return client_addr_unix(url + 5);
	}
	assert_int_equal(strncmp(url, "tcp://", 6), 0);
	port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (url[6] == '[') {
		struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = port };

		in6.sin6_addr = in6addr_loopback;
		memcpy(&addr.addr, &in6, sizeof(in6));
		addr.len = sizeof(in6);
	} else {
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = port };

		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		memcpy(&addr.addr, &in, sizeof(in));
		addr.len = sizeof(in);
	}
	return addr;
}

/* Wait until @fd is ready for @events, under the deadline. */
static void
client_wait(int fd, short events)
{
	struct pollfd poller = { .fd = fd, .events = events };

	assert_int_equal(poll(&poller, 1, RIG_PATIENCE_MS), 1);
}

void
client_await_input(int fd)
{
	client_wait(fd, POLLIN);
}

void
client_await_room(int fd)
{
	client_wait(fd, POLLOUT);
}

static int
client_connect(int fd, const struct client_addr *addr)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (connect(fd, (const struct sockaddr *)&addr->addr, addr->len) == 0) {
		return 0;
	}
	if (errno != EINPROGRESS) {
		return -errno;
	}
	client_wait(fd, POLLOUT);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	return -error;
}

static int
client_dial_with(const char *url, int rcvbuf)
{
	struct client_addr addr = client_addr(url);
	int fd = socket(addr.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	assert_true(fd >= 0);
	if (rcvbuf != 0) {
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)), 0);
	}
	rc = client_connect(fd, &addr);
	if (rc != 0) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

int
client_try(const char *url)
{
	return client_dial_with(url, 0);
}

int
client_dial(const char *url)
{
	int fd = client_dial_with(url, 0);

	assert_true(fd >= 0);
	return fd;
}

int
client_dial_narrow(const char *url)
{
	int fd = client_dial_with(url, CLIENT_NARROW);

	assert_true(fd >= 0);
	return fd;
}

int
client_listen_on(const struct client_addr *addr, int backlog)
{
	int fd = socket(addr->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr->addr, addr->len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

int
client_reserve(char url[RL_URL_MAX])
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(in);

	assert_true(fd >= 0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (const struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	(void)snprintf(url, RL_URL_MAX, "tcp://127.0.0.1:%u", ntohs(in.sin_port));
	return fd;
}

int
client_listen(char url[RL_URL_MAX], int backlog)
{
	int fd = client_reserve(url);

	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

/* @count connections wait at @listener: is there no room for one more? */
static bool
client_backlog_is_full(int listener, uint32_t count)
{
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	struct tcp_info info;
	socklen_t len = sizeof(info);

	do {
		assert_true(rig_now_ns() < end_ns);
		assert_int_equal(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	} while (info.tcpi_unacked < count); /* of a listener: how many wait */
	return info.tcpi_unacked > info.tcpi_sacked; /* and how many may */
}

size_t
client_fill_backlog(int listener, const struct client_addr *addr, int *fds, size_t max)
{
	for (size_t count = 0; count < max;) {
		int fd =
			socket(addr->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		int rc;

		assert_true(fd >= 0);
		fds[count++] = fd;
		rc = client_connect(fd, addr);
		if (rc == -EAGAIN) { /* a Unix socket's */
			return count;
		}
		assert_int_equal(rc, 0);
		if (addr->addr.ss_family != AF_UNIX &&
		    client_backlog_is_full(listener, (uint32_t)count)) {
			return count;
		}
	}
	fail();
	return 0;
}

int
client_accept(int listener)
{
	int fd;

	client_wait(listener, POLLIN);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

size_t
client_push(int fd, const void *data, size_t len)
{
	ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);

	if (sent < 0) {
		assert_int_equal(errno, EAGAIN);
		return 0;
	}
	return (size_t)sent;
}

void
client_send(int fd, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	while (len > 0) {
		size_t sent = client_push(fd, bytes, len);

		bytes += sent;
		len -= sent;
		if (sent == 0) {
			client_wait(fd, POLLOUT);
		}
	}
}

ssize_t
client_recv_some(int fd, void *data, size_t len)
{
	ssize_t got;

	client_wait(fd, POLLIN);
	got = recv(fd, data, len, 0);
	return got < 0 ? -errno : got;
}

void
client_recv(int fd, void *data, size_t len)
{
	uint8_t *bytes = data;

	while (len > 0) {
		ssize_t got = client_recv_some(fd, bytes, len);

		assert_true(got > 0);
		bytes += got;
		len -= (size_t)got;
	}
}

void
client_send_text(int fd, const char *text)
{
	client_send(fd, text, strlen(text));
}

void
client_recv_text(int fd, const char *text)
{
	char got[256];
	size_t len = strlen(text);

	assert_true(len < sizeof(got));
	client_recv(fd, got, len);
	got[len] = '\0';
	assert_string_equal(got, text);
}

int
client_read_end(int fd, uint64_t *bytes)
{
	static uint8_t buffer[CLIENT_CHUNK];
	uint64_t total = 0;
	ssize_t got;

	while ((got = client_recv_some(fd, buffer, sizeof(buffer))) > 0) {
		total += (uint64_t)got;
	}
	if (bytes != NULL) {
		*bytes = total;
	}
	return (int)got;
}

void
client_expect_fin(int fd)
{
	assert_int_equal(client_read_end(fd, NULL), 0);
}

void
client_expect_reset(int fd)
{
	assert_int_equal(client_read_end(fd, NULL), -ECONNRESET);
}

void
client_shut(int fd)
{
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
}

void
client_close(int fd)
{
	assert_int_equal(close(fd), 0);
}

void
client_reset(int fd)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	client_close(fd);
}

uint64_t
client_random(uint64_t *state)
{
	uint64_t number = *state += 0x9e3779b97f4a7c15;

	number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
	number = (number ^ number >> 27) * 0x94d049bb133111eb;
	return number ^ number >> 31;
}

static uint8_t
pattern_byte(uint64_t seed, uint64_t offset, uint64_t *word)
{
	if (offset % 8 == 0 || *word == 0) {
		uint64_t state = seed * 0x9e3779b97f4a7c15 + offset / 8;

		*word = client_random(&state) | 1;
	}
	return (uint8_t)(*word >> offset % 8 * 8);
}

void
pattern_fill(uint64_t seed, uint64_t offset, uint8_t *out, size_t len)
{
	uint64_t word = 0;

	for (size_t i = 0; i < len; i++) {
		out[i] = pattern_byte(seed, offset + i, &word);
	}
}

bool
pattern_matches(uint64_t seed, uint64_t offset, const uint8_t *data, size_t len)
{
	uint64_t word = 0;

	for (size_t i = 0; i < len; i++) {
		if (data[i] != pattern_byte(seed, offset + i, &word)) {
			print_error("byte %llu of stream %llu is wrong\n",
				    (unsigned long long)(offset + i), (unsigned long long)seed);
			return false;
		}
	}
	return true;
}

static void
stream_send(struct client_stream *stream)
{
	static uint8_t buffer[CLIENT_CHUNK];
	uint64_t left = stream->total - stream->sent;
	size_t len = left < sizeof(buffer) ? (size_t)left : sizeof(buffer);

	pattern_fill(stream->seed, stream->sent, buffer, len);
	stream->sent += client_push(stream->fd, buffer, len);
	if (stream->sent == stream->total) {
		client_shut(stream->fd);
		stream->shut = true;
	}
}

static void
stream_recv(struct client_stream *stream)
{
	static uint8_t buffer[CLIENT_CHUNK];
	ssize_t got = recv(stream->fd, buffer, sizeof(buffer), 0);

	if (got < 0) {
		assert_int_equal(errno, EAGAIN);
		return;
	}
	if (got == 0) {
		assert_int_equal(stream->received, stream->total);
		stream->over = true;
		return;
	}
	assert_true(stream->received + (uint64_t)got <= stream->sent);
	assert_true(pattern_matches(stream->seed, stream->received, buffer, (size_t)got));
	stream->received += (uint64_t)got;
}

void
client_stream_step(struct client_stream *stream)
{
	if (!stream->shut) {
		stream_send(stream);
	}
	if (!stream->over) {
		stream_recv(stream);
	}
}

short
client_stream_events(const struct client_stream *stream)
{
	return (short)((stream->shut ? 0 : POLLOUT) | (stream->over ? 0 : POLLIN));
}

void
client_stream_run(struct client_stream *streams, size_t count)
{
	struct pollfd fds[CLIENT_STREAMS];
	size_t open = count;

	assert_true(count <= CLIENT_STREAMS);
	while (open > 0) {
		for (size_t i = 0; i < count; i++) {
			fds[i].fd = streams[i].over ? -1 : streams[i].fd;
			fds[i].events = client_stream_events(&streams[i]);
			fds[i].revents = 0;
		}
		assert_true(poll(fds, count, RIG_PATIENCE_MS) > 0);
		open = 0;
		for (size_t i = 0; i < count; i++) {
			if (fds[i].revents != 0) {
				client_stream_step(&streams[i]);
			}
			open += !streams[i].over;
		}
	}
}
