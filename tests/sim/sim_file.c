/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Files and the plain descriptors that name them, eventfds, and addresses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include "sim_kernel.h"

struct sk_kernel sk;

void
sk_file_init(struct sk_file *file, enum sk_kind kind)
{
	memset(file, 0, sizeof(*file));
	list_init(&file->waiters);
	file->kind = (uint8_t)kind;
	file->refs = 1;
}

struct sk_file *
sk_file_new(enum sk_kind kind)
{
	struct sk_file *file = malloc(sizeof(*file));

	sk_file_init(file, kind);
	return file;
}

void
sk_file_get(struct sk_file *file)
{
	file->refs++;
}

void
sk_file_put(struct sk_file *file)
{
	sim_check(file->refs > 0, "kernel: a file was put more often than it was got");
	if (--file->refs > 0) {
		return;
	}
	if (file->kind == SK_SOCK) {
		sk_sock_release(sk_file_sock(file));
	} else {
		free(file);
	}
}

void
sk_file_wake(struct sk_file *file)
{
	struct list_node *node = file->waiters.head.next;

	while (node != &file->waiters.head) {
		struct sk_op *op = list_entry(node, struct sk_op, place);

		node = node->next;
		if (sk_op_is_ready(op)) {
			sk_op_trigger(op);
		}
	}
}

int
sk_fd_install(struct sk_file *file)
{
	if (sk.fds_open >= sk.fds_limit) {
		return -EMFILE;
	}
	/* the lowest free one, as Linux does it: reuse is immediate */
	for (int i = 0; i < SK_FDS_MAX; i++) {
		if (sk.fds[i] == NULL) {
			sk.fds[i] = file;
			sk.fds_open++;
			return SK_FD_FIRST + i;
		}
	}
	return -EMFILE;
}

struct sk_file *
sk_fd_file(int fd)
{
	if (fd < SK_FD_FIRST || fd >= SK_FD_FIRST + SK_FDS_MAX) {
		return NULL;
	}
	return sk.fds[fd - SK_FD_FIRST];
}

int
sk_fd_close(int fd)
{
	struct sk_file *file = sk_fd_file(fd);

	if (file == NULL) {
		return -EBADF;
	}
	sk.fds[fd - SK_FD_FIRST] = NULL;
	sk.fds_open--;
	sk_file_put(file);
	return 0;
}

uint16_t
sk_addr_port(const union url_sockaddr *addr)
{
	switch (addr->sa.sa_family) {
	case AF_INET:
		return ntohs(addr->in.sin_port);
	case AF_INET6:
		return ntohs(addr->in6.sin6_port);
	default:
		return 0;
	}
}

/* One machine, one port space: hosts are not told apart. */
bool
sk_addr_equal(const union url_sockaddr *a, const union url_sockaddr *b)
{
	if ((a->sa.sa_family == AF_UNIX) != (b->sa.sa_family == AF_UNIX)) {
		return false;
	}
	if (a->sa.sa_family == AF_UNIX) {
		return memcmp(a->un.sun_path, b->un.sun_path, sizeof(a->un.sun_path)) == 0;
	}
	return sk_addr_port(a) == sk_addr_port(b);
}

void
sk_addr_tcp(union url_sockaddr *addr, socklen_t *len, uint16_t port)
{
	memset(addr, 0, sizeof(*addr));
	addr->in.sin_family = AF_INET;
	addr->in.sin_port = htons(port);
	addr->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*len = sizeof(addr->in);
}

int
sk_eventfd_open(void)
{
	struct sk_file *file = sk_file_new(SK_EVENTFD);
	int fd = sk_fd_install(file);

	if (fd < 0) {
		free(file);
	}
	return fd;
}

int
sk_eventfd_write(int fd)
{
	struct sk_file *file = sk_fd_file(fd);

	sim_check(file != NULL && file->kind == SK_EVENTFD,
		  "an eventfd was written to that is not open");
	file->counter++;
	sk_file_wake(file);
	return 0;
}

void
sk_eventfd_drain(int fd)
{
	struct sk_file *file = sk_fd_file(fd);

	sim_check(file != NULL && file->kind == SK_EVENTFD,
		  "an eventfd was drained that is not open");
	file->counter = 0;
}

void
sk_kernel_init(void)
{
	memset(&sk, 0, sizeof(sk));
	list_init(&sk.socks);
	list_init(&sk.timeouts);
	sk.fds_limit = SK_FDS_MAX;
	sk.port_next = 40000;
	sk.rcv_cap = 16384;
	sk.snd_cap = 16384;
}

static void
kernel_free_eventfds(void)
{
	for (int i = 0; i < SK_FDS_MAX; i++) {
		if (sk.fds[i] != NULL && sk.fds[i]->kind == SK_EVENTFD) {
			free(sk.fds[i]);
		}
	}
}

static void
kernel_free_socks(void)
{
	struct list_node *node;

	while ((node = list_pop_front(&sk.socks)) != NULL) {
		struct sk_sock *sock = list_entry(node, struct sk_sock, node);

		sk_bytes_free(&sock->snd);
		sk_bytes_free(&sock->rcv);
		free(sock);
	}
}

void
sk_kernel_fini(bool forgive)
{
	if (!forgive) {
		sim_check(sk.rings_open == 0, "%u rings were left open", sk.rings_open);
		sim_check(sk.fds_open == 0, "%u descriptors were left open", sk.fds_open);
		sim_check(sk.socks_count == 0, "%u sockets were left open", sk.socks_count);
	}
	kernel_free_eventfds();
	kernel_free_socks();
	free(sk.active);
	memset(&sk, 0, sizeof(sk));
	list_init(&sk.socks);
	list_init(&sk.timeouts);
}
