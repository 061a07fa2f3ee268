/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The third door to the outside: plain socket calls, all of them off the data path. sys_linux.c is
 * the real one; the simulator links its own in its place.
 */
#ifndef RINGLINE_NET_SYS_H
#define RINGLINE_NET_SYS_H

#include <stdbool.h>
#include <stdint.h>

#include "net/url.h"

/*
 * A listening socket on @url: TCP with SO_REUSEADDR, SO_REUSEPORT and TCP_NODELAY (inherited by
 * what is accepted), close-on-exec. The descriptor, or a negative errno.
 */
int rli_sys_listen(const struct url *url, uint32_t backlog);

/* Another descriptor for the same socket: a Unix listener is shared by all shards. */
int rli_sys_dup(int fd);

/*
 * Would a listener without SO_REUSEPORT be allowed on this TCP port? That answers -EADDRINUSE when
 * anybody listens there, who with SO_REUSEPORT would silently lose half of its connections to us.
 */
int rli_sys_probe(const struct url *url);

/*
 * Remove the socket file of a Unix URL if nobody listens on it. 0 also when there is none, and for
 * everything but Unix paths; -EADDRINUSE: somebody listens; -EEXIST: it is not a socket.
 */
int rli_sys_unix_unlink_stale(const struct url *url);

/* The address that @fd is bound to. 0 or a negative errno. */
int rli_sys_bound(int fd, struct url *url);

/*
 * A socket to connect to @url with: TCP_NODELAY, close-on-exec. The descriptor or a negative errno.
 */
int rli_sys_socket(const struct url *url);

/* TCP_NODELAY and the like on an accepted plain descriptor are inherited; this only closes. */
void rli_sys_close(int fd);

#endif
