/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The simulated twin of sys_linux.c: plain socket calls.
 */
#include "net/sys.h"

#include <errno.h>
#include <string.h>

#include "sim_acceptor.h"
#include "sim_kernel.h"
#include "sim_link.h"
#include "sim_resolver.h"

int
rli_sys_listen(const struct url *url, uint32_t backlog, enum sys_listen how,
	       struct tcp_settings *tcp)
{
	struct sk_sock *sock;
	int fd;

	(void)tcp; /* nothing of the simulated network depends on it */
	if (sim_fault(FAULT_SOCKET_EMFILE)) {
		return -EMFILE;
	}
	if ((url->is_unix || (how == SYS_LISTEN_ALONE && sk_addr_port(&url->sockaddr) != 0)) &&
	    sk_is_listened(&url->sockaddr)) {
		return -EADDRINUSE;
	}
	sock = sk_socket(url->is_unix);
	(void)sk_bind(sock, &url->sockaddr, url->len);
	sk_listen(sock, backlog);
	fd = sk_fd_install(&sock->file);
	if (fd < 0) {
		sk_file_put(&sock->file);
	}
	return fd;
}

int
rli_sys_accept(int fd, struct sockaddr *peer, socklen_t *len)
{
	struct sk_file *file = sk_fd_file(fd);

	sim_acceptor_interleave();
	return file == NULL ? -EBADF : sk_accept_plain(sk_file_sock(file), peer, len);
}

void
rli_sys_poll(struct pollfd *polls, uint32_t count, uint64_t timeout_ns)
{
	sim_acceptor_interleave();
	sim_acceptor_sleep(polls, count, timeout_ns);
}

int
rli_sys_dup(int fd)
{
	struct sk_file *file = sk_fd_file(fd);
	int copy;

	sim_check(file != NULL, "a descriptor was duplicated that is not open");
	if (sim_fault(FAULT_SOCKET_EMFILE)) {
		return -EMFILE;
	}
	sk_file_get(file);
	copy = sk_fd_install(file);
	if (copy < 0) {
		sk_file_put(file);
	}
	return copy;
}

int
rli_sys_probe(const struct url *url)
{
	return sk_addr_port(&url->sockaddr) != 0 && sk_is_listened(&url->sockaddr) ? -EADDRINUSE
										   : 0;
}

int
rli_sys_unix_unlink_stale(const struct url *url)
{
	(void)url;
	return 0;
}

void
rli_sys_unix_file(const struct url *url, struct sys_file *file)
{
	(void)url;
	*file = (struct sys_file){ 0 };
}

void
rli_sys_unix_remove(const struct url *url, const struct sys_file *file)
{
	(void)url;
	(void)file;
}

int
rli_sys_peer_cred(int fd, struct rl_peer_cred *cred)
{
	struct sk_file *file = sk_fd_file(fd);
	const struct sk_sock *sock;

	if (file == NULL || file->kind != SK_SOCK) {
		return -EBADF;
	}
	sock = sk_file_sock(file);
	sim_check(sock->is_unix, "credentials of who is no Unix peer");
	*cred = (struct rl_peer_cred){ SIM_PEER_PID, SIM_PEER_UID, SIM_PEER_GID };
	return 0;
}

int
rli_sys_bound(int fd, struct url *url)
{
	struct sk_file *file = sk_fd_file(fd);
	const struct sk_sock *sock;

	if (file == NULL || file->kind != SK_SOCK) {
		return -EBADF;
	}
	sock = sk_file_sock(file);
	url->sockaddr = sock->local;
	url->len = sock->local_len;
	url->is_unix = sock->is_unix;
	return 0;
}

int
rli_sys_socket(const struct url *url)
{
	struct sim_link *link = sim_link(sim_resolver_link(url->host));
	uint32_t tag = sk.tag;
	struct sk_sock *sock;
	int fd;

	if (link != NULL) {
		link->addrs_tried++;
		tag = link->id;
	}
	if (sim_fault(FAULT_SOCKET_EMFILE)) {
		return -EMFILE;
	}
	sock = sk_socket(url->is_unix);
	sock->tag = tag;
	fd = sk_fd_install(&sock->file);
	if (fd < 0) {
		sk_file_put(&sock->file);
	}
	return fd;
}

void
rli_sys_close(int fd)
{
	sim_check(sk_fd_close(fd) == 0, "a descriptor was closed that is not open");
}

int
rli_sys_tcp_set(int fd, struct tcp_settings *tcp)
{
	(void)tcp;
	sim_check(sk_fd_file(fd) != NULL, "a descriptor is told an option that is not open");
	return 0;
}
