/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * bare_forward - the forwarder that the proxy is measured against: for each connection one to the
 * target, and a thread for each direction that receives and sends, and blocks in both. Two system
 * calls for each buffer, no bounds, no deadlines: it trusts its ends and is no example of a proxy.
 *
 *	bare_forward --port 7878 --target-port 7000 [--buf-size 65536]
 */
#include "common/program.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct way {
	int from;
	int to;
	size_t size;
};

static struct sockaddr_in
forward_addr(long port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return addr;
}

static int
forward_send(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t rc = send(fd, data, len, MSG_NOSIGNAL);

		if (rc < 0) {
			return -1;
		}
		data += rc;
		len -= (size_t)rc;
	}
	return 0;
}

/* One direction, up to its end. */
static void *
forward_way(void *arg)
{
	struct way *way = arg;
	uint8_t *buf = program_alloc(way->size, 1);
	ssize_t got;

	while ((got = recv(way->from, buf, way->size, 0)) > 0) {
		if (forward_send(way->to, buf, (size_t)got) != 0) {
			break;
		}
	}
	(void)shutdown(way->to, SHUT_WR);
	for (;;) {
		(void)pause(); /* a thread that is gone would take its CPU time with it */
	}
	return NULL;
}

static void
forward_start(int from, int to, size_t size)
{
	struct way *way = program_alloc(1, sizeof(*way));
	pthread_t thread;

	*way = (struct way){ from, to, size };
	if (pthread_create(&thread, NULL, forward_way, way) != 0) {
		program_die("pthread_create");
	}
	(void)pthread_detach(thread);
}

static void
forward_pair(int client, long target_port, size_t size)
{
	struct sockaddr_in addr = forward_addr(target_port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
		program_die("connect");
	}
	forward_start(client, fd, size);
	forward_start(fd, client, size);
}

static int
forward_listen(long port)
{
	struct sockaddr_in addr = forward_addr(port);
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 64) != 0) {
		program_die("listen");
	}
	return fd;
}

int
main(int argc, char **argv)
{
	long port = 0;
	long target = 0;
	long size = 65536;
	int listener;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--port") == 0) {
			port = program_integer(argv[i], argv[i + 1], 1, 65535);
		} else if (strcmp(argv[i], "--target-port") == 0) {
			target = program_integer(argv[i], argv[i + 1], 1, 65535);
		} else if (strcmp(argv[i], "--buf-size") == 0) {
			size = program_integer(argv[i], argv[i + 1], 1, 1 << 24);
		} else {
			program_misuse("no option '%s'", argv[i]);
		}
	}
	if (port == 0 || target == 0 || argc % 2 == 0) {
		program_misuse("usage: bare_forward --port P --target-port P [--buf-size N]");
	}
	listener = forward_listen(port);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0) {
			forward_pair(fd, target, (size_t)size);
		}
	}
}
