/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The third door to the outside: plain socket calls, none of them made by a shard that moves bytes,
 * and the system's resolver. sys_linux.c is the real one; the simulator links its own in its place.
 */
#ifndef RINGLINE_NET_SYS_H
#define RINGLINE_NET_SYS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include <ringline/conn.h>

#include "net/tcp.h"
#include "net/url.h"

enum sys_listen {
	SYS_LISTEN_SHARED, /* one of several on the port: SO_REUSEPORT */
	SYS_LISTEN_ALONE, /* the only one, and rli_sys_accept() on it does not block */
};

/*
 * A listening socket on @url: TCP with SO_REUSEADDR and TCP_NODELAY (inherited by what is
 * accepted) and what @tcp says (NULL, or a Unix URL: nothing), close-on-exec. The descriptor, or a
 * negative errno.
 */
int rli_sys_listen(const struct url *url, uint32_t backlog, enum sys_listen how,
		   struct tcp_settings *tcp);

/*
 * The next connection of a socket that listens alone, without waiting for one: a blocking
 * descriptor, close-on-exec, or a negative errno. @peer (NULL: not wanted) has room for *len bytes.
 */
int rli_sys_accept(int fd, struct sockaddr *peer, socklen_t *len);

/*
 * Wait until one of @polls is ready or @timeout_ns is over (UINT64_MAX: never), and fill in their
 * revents. It may return early, and say of one that it is ready when it is not. In the simulator
 * the wait begins with this call, and is over when the caller goes on.
 */
void rli_sys_poll(struct pollfd *polls, uint32_t count, uint64_t timeout_ns);

/* Another descriptor for the same socket: a Unix listener is shared by all shards. */
int rli_sys_dup(int fd);

/*
 * Would a listener without SO_REUSEPORT be allowed on this TCP port? That answers -EADDRINUSE when
 * anybody listens there, who with SO_REUSEPORT would silently lose half of its connections to us.
 */
int rli_sys_probe(const struct url *url);

/*
 * Remove the socket file of a Unix URL if nobody listens on it. 0 also when there is none, and for
 * everything but Unix paths; -EADDRINUSE: somebody listens; -EEXIST: it is not a socket; else why
 * it can't be told, or removed.
 */
int rli_sys_unix_unlink_stale(const struct url *url);

/* Which file it is, while it exists; all 0: none. */
struct sys_file {
	uint64_t device;
	uint64_t inode;
};

/* The file that a listener has just made; none for everything but Unix paths. */
void rli_sys_unix_file(const struct url *url, struct sys_file *file);

/* Remove the file of a listener that has closed if it is @file still, and nobody's by now. */
void rli_sys_unix_remove(const struct url *url, const struct sys_file *file);

/* Who is at the other end of a Unix socket. 0 or a negative errno. */
int rli_sys_peer_cred(int fd, struct rl_peer_cred *cred);

/* The address that @fd is bound to. 0 or a negative errno. */
int rli_sys_bound(int fd, struct url *url);

/*
 * A socket to connect to @url with: TCP_NODELAY, close-on-exec. The descriptor or a negative errno.
 */
int rli_sys_socket(const struct url *url);

/*
 * Tell a TCP socket all that @tcp says, before it connects or listens (a window is scaled then). 0,
 * or a negative errno with tcp->failed. Where the kernel cut a buffer, that setting's got says it.
 */
int rli_sys_tcp_set(int fd, struct tcp_settings *tcp);

#define SYS_ADDRS_MAX 8

/* Where a host can be reached, best first. */
struct sys_addrs {
	uint32_t count;
	union url_inet list[SYS_ADDRS_MAX];
	const char *why; /* it is not known where: in words, static */
};

/*
 * Ask the system's resolver for the addresses of @host, a name; it may take as long as it likes, so
 * no shard calls this. The order is the resolver's (RFC 6724), but that the two families alternate,
 * so that one that leads nowhere does not come first, second and third. 0, or
 *   -ENOENT  there is no such host, or it has no address
 *   -EAGAIN  nobody answered; later somebody may
 *   -EIO     a server refuses to answer
 *   -ENOMEM, or another errno of the system's
 */
int rli_sys_resolve(const char *host, struct sys_addrs *addrs);

void rli_sys_close(int fd);

#endif
