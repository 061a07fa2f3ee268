/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The plain way: epoll_wait, level-triggered, then recv and send for each readable connection.
 * A client that does not read blocks the server for everybody; the load generator always reads.
 */
#include "common/program.h"
#include "reference/reference.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EPOLL_EVENTS_MAX = 512
};

struct epoll_server {
	int epoll_fd;
	int listen_fd;
	uint32_t buf_size_bytes;
	uint8_t *buf;
	struct reference_counters *counters;
};

static void
epoll_watch(const struct epoll_server *server, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
		program_die("epoll_ctl");
	}
}

static void
epoll_accept(struct epoll_server *server)
{
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	server->counters->syscalls += 2;
	if (fd >= 0) {
		server->counters->accepted++;
		epoll_watch(server, fd);
	}
}

/* Everything or nothing: a peer that is gone shows at the next recv. */
static void
epoll_send(struct epoll_server *server, int fd, size_t length)
{
	size_t sent = 0;

	while (sent < length) {
		ssize_t rc = send(fd, server->buf + sent, length - sent, MSG_NOSIGNAL);
		struct pollfd writable = { .fd = fd, .events = POLLOUT };

		if (rc > 0) {
			sent += (size_t)rc;
			server->counters->sends++;
			continue;
		}
		if (rc == 0 || errno != EAGAIN || reference_stopping()) {
			return;
		}
		server->counters->sends_short++;
		(void)poll(&writable, 1, 1000); /* whatever it says, send is the test */
	}
}

static void
epoll_echo(struct epoll_server *server, int fd)
{
	ssize_t length = recv(fd, server->buf, server->buf_size_bytes, 0);

	server->counters->recvs++;
	if (length > 0) {
		server->counters->bytes_in += (uint64_t)length;
		epoll_send(server, fd, (size_t)length);
	} else if (length == 0 || errno != EAGAIN) {
		close(fd);
	}
}

static void
epoll_turn(struct epoll_server *server, const struct epoll_event *events, int count)
{
	int i;

	server->counters->turns++;
	for (i = 0; i < count; i++) {
		if (events[i].data.fd == server->listen_fd) {
			epoll_accept(server);
		} else {
			epoll_echo(server, events[i].data.fd);
		}
	}
}

void
serve_epoll(const struct reference_options *options, int listen_fd,
	    struct reference_counters *counters)
{
	static struct epoll_server server;
	struct epoll_event events[EPOLL_EVENTS_MAX];

	server.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	server.listen_fd = listen_fd;
	server.buf_size_bytes = options->buf_size_bytes;
	server.buf = program_alloc(1, options->buf_size_bytes);
	server.counters = counters;
	if (server.epoll_fd < 0) {
		program_die("epoll_create1");
	}
	epoll_watch(&server, listen_fd);
	while (!reference_stopping()) {
		int count = epoll_wait(server.epoll_fd, events, EPOLL_EVENTS_MAX, -1);

		epoll_turn(&server, events, count);
	}
	counters->enters = counters->turns;
	counters->syscalls +=
		counters->turns + counters->recvs + counters->sends + 2 * counters->sends_short;
}
