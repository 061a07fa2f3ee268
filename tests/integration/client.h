/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The other end: plain sockets in the test's own thread. Every call that waits does so under the
 * deadline RIG_PATIENCE_MS and fails the test when it passes.
 */
#ifndef RINGLINE_TESTS_INTEGRATION_CLIENT_H
#define RINGLINE_TESTS_INTEGRATION_CLIENT_H

#include "support.h"

#include <sys/socket.h>
#include <sys/types.h>

/* A socket address from tcp://HOST:PORT, unix:/path or unix:@name. */
struct client_addr {
	struct sockaddr_storage addr;
	socklen_t len;
};

struct client_addr client_addr(const char *url);

/* unix:@name with a name that no other process uses; static, the last one asked for. */
const char *client_unix_name(void);

/* A connected socket, non-blocking; client_try() answers a negative errno instead of failing. */
int client_dial(const char *url);
int client_try(const char *url);

/* The same with a small SO_RCVBUF, so that little fits between the two ends. */
int client_dial_narrow(const char *url);

/* A plain listener on 127.0.0.1, port chosen by the kernel; its URL goes to @url. */
int client_listen(char url[RL_URL_MAX], int backlog);
int client_listen_on(const struct client_addr *addr, int backlog);
int client_accept(int listener);

/* A port of 127.0.0.1 where nobody listens, and nobody else can, until this is closed. */
int client_reserve(char url[RL_URL_MAX]);

/* Connects to @listener until the next one would get no answer: how many are in @fds then. */
size_t client_fill_backlog(int listener, const struct client_addr *addr, int *fds, size_t max);

void client_send(int fd, const void *data, size_t len);
void client_recv(int fd, void *data, size_t len);
void client_send_text(int fd, const char *text);
void client_recv_text(int fd, const char *text);

/* Until there is something to read, or room for something to write. */
void client_await_input(int fd);
void client_await_room(int fd);

/* As many bytes as go without waiting. */
size_t client_push(int fd, const void *data, size_t len);

/* Waits for some bytes: how many, 0 for FIN, or a negative errno. */
ssize_t client_recv_some(int fd, void *data, size_t len);

/* Reads and forgets until the end: 0 for FIN, or a negative errno. */
int client_read_end(int fd, uint64_t *bytes);

/* Reads until the end and asserts that it is FIN, or a reset. */
void client_expect_fin(int fd);
void client_expect_reset(int fd);

void client_shut(int fd);
void client_close(int fd);

/* Close with RST. */
void client_reset(int fd);

/* Bytes that depend on a seed and on where they stand in the stream, and on nothing else. */
void pattern_fill(uint64_t seed, uint64_t offset, uint8_t *out, size_t len);
bool pattern_matches(uint64_t seed, uint64_t offset, const uint8_t *data, size_t len);

/* A stream of such bytes that goes out and comes back through one socket. */
struct client_stream {
	int fd;
	uint64_t seed;
	uint64_t total;
	uint64_t sent;
	uint64_t received;
	bool shut; /* FIN was sent behind the last byte */
	bool over; /* FIN came behind the last byte */
};

/* One step as far as it goes without waiting; asserts that each byte is the right one. */
void client_stream_step(struct client_stream *stream);

/* What poll(2) is to wait for. */
short client_stream_events(const struct client_stream *stream);

/* All steps until the end. */
void client_stream_run(struct client_stream *streams, size_t count);

/* splitmix64: any seed is a good one. */
uint64_t client_random(uint64_t *state);

#endif
