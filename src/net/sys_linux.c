/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The real socket calls. They run when a listener or an outbound connection is set up, and on the
 * acceptor's thread.
 */
#include "net/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYS_POLL_REFUSED_MS 10

static int
sys_socket(const struct url *url, int flags)
{
	int fd = socket(url->sockaddr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	return fd < 0 ? -errno : fd;
}

static int
sys_set(int fd, int level, int option)
{
	int on = 1;

	return setsockopt(fd, level, option, &on, sizeof(on)) != 0 ? -errno : 0;
}

static int
sys_fail(int fd, int rc)
{
	close(fd);
	return rc;
}

/* SO_REUSEADDR or our own TIME_WAIT sockets would refuse a restart for a minute. */
static int
sys_listen_options(int fd, enum sys_listen how)
{
	int rc = sys_set(fd, SOL_SOCKET, SO_REUSEADDR);

	if (rc == 0 && how == SYS_LISTEN_SHARED) {
		rc = sys_set(fd, SOL_SOCKET, SO_REUSEPORT);
	}
	if (rc == 0) {
		rc = sys_set(fd, IPPROTO_TCP, TCP_NODELAY);
	}
	return rc;
}

/* The kernel doubles what it was asked for, or gives less without a word. */
static void
sys_buffer_got(int fd, struct tcp_setting *setting)
{
	socklen_t len = sizeof(setting->got);
	int got = 0;

	if (setting->level != SOL_SOCKET ||
	    (setting->option != SO_RCVBUF && setting->option != SO_SNDBUF)) {
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, setting->option, &got, &len) == 0 &&
	    got / 2 < setting->value) {
		setting->got = got / 2;
	}
}

/*
 * The socket's own mode narrows that of the file which bind makes: nobody gets in before the mode
 * is right. What the umask took away is given afterwards.
 */
static int
sys_bind(int fd, const struct url *url)
{
	if (url->mode != 0 && fchmod(fd, url->mode) != 0) {
		return -errno;
	}
	if (bind(fd, &url->sockaddr.sa, url->len) != 0) {
		return -errno;
	}
	if (url->mode != 0 && chmod(url->sockaddr.un.sun_path, url->mode) != 0) {
		int rc = -errno;

		(void)unlink(url->sockaddr.un.sun_path); /* nobody could know of it yet */
		return rc;
	}
	return 0;
}

int
rli_sys_tcp_set(int fd, struct tcp_settings *tcp)
{
	for (uint32_t i = 0; i < tcp->count; i++) {
		struct tcp_setting *setting = &tcp->list[i];

		if (setsockopt(fd, setting->level, setting->option, &setting->value,
			       sizeof(setting->value)) != 0) {
			tcp->failed = setting->name;
			return -errno;
		}
		sys_buffer_got(fd, setting);
	}
	if (tcp->congestion[0] != '\0' &&
	    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, tcp->congestion,
		       (socklen_t)strlen(tcp->congestion)) != 0) {
		tcp->failed = "tcp.congestion";
		return -errno;
	}
	return 0;
}

int
rli_sys_listen(const struct url *url, uint32_t backlog, enum sys_listen how,
	       struct tcp_settings *tcp)
{
	int fd = sys_socket(url, how == SYS_LISTEN_ALONE ? SOCK_NONBLOCK : 0);
	int rc;

	if (fd < 0) {
		return fd;
	}
	rc = url->is_unix ? 0 : sys_listen_options(fd, how);
	if (rc == 0 && !url->is_unix && tcp != NULL) {
		rc = rli_sys_tcp_set(fd, tcp);
	}
	if (rc == 0) {
		rc = sys_bind(fd, url);
	}
	if (rc == 0 && listen(fd, (int)backlog) != 0) {
		rc = -errno;
	}
	return rc == 0 ? fd : sys_fail(fd, rc);
}

int
rli_sys_accept(int fd, struct sockaddr *peer, socklen_t *len)
{
	int accepted = accept4(fd, peer, peer != NULL ? len : NULL, SOCK_CLOEXEC);

	return accepted < 0 ? -errno : accepted;
}

/*
 * poll(2) refuses more descriptors than RLIMIT_NOFILE, which somebody may lower while we run: then
 * all are tried, a hundred times a second.
 */
static void
sys_poll_refused(struct pollfd *polls, uint32_t count)
{
	(void)poll(NULL, 0, SYS_POLL_REFUSED_MS);
	for (uint32_t i = 0; i < count; i++) {
		polls[i].revents = polls[i].events;
	}
}

void
rli_sys_poll(struct pollfd *polls, uint32_t count, uint64_t timeout_ns)
{
	struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / 1000000000),
		.tv_nsec = (long)(timeout_ns % 1000000000),
	};

	if (ppoll(polls, count, timeout_ns == UINT64_MAX ? NULL : &timeout, NULL) >= 0) {
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		polls[i].revents = 0;
	}
	if (errno != EINTR) {
		sys_poll_refused(polls, count);
	}
}

int
rli_sys_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? -errno : copy;
}

int
rli_sys_probe(const struct url *url)
{
	int fd = sys_socket(url, 0);
	int rc;

	if (fd < 0) {
		return fd;
	}
	rc = sys_set(fd, SOL_SOCKET, SO_REUSEADDR);
	if (rc == 0 && bind(fd, &url->sockaddr.sa, url->len) != 0) {
		rc = -errno;
	}
	return sys_fail(fd, rc);
}

static bool
sys_unix_has_file(const struct url *url)
{
	return url->is_unix && url->sockaddr.un.sun_path[0] != '\0';
}

/* The socket at a path, by itself, not what a link there points to. 0, -ENOENT, -EEXIST, ... */
static int
sys_unix_look(const struct url *url, struct sys_file *file)
{
	struct stat st;

	if (lstat(url->sockaddr.un.sun_path, &st) != 0) {
		return -errno;
	}
	*file = (struct sys_file){ st.st_dev, st.st_ino };
	return S_ISSOCK(st.st_mode) ? 0 : -EEXIST; /* somebody's file: not ours to remove */
}

/* Does anybody listen there? 0: no; -EADDRINUSE: yes, with a full backlog or as datagrams too. */
static int
sys_unix_ask(const struct url *url)
{
	int fd = sys_socket(url, SOCK_NONBLOCK);
	int rc;

	if (fd < 0) {
		return fd;
	}
	rc = connect(fd, &url->sockaddr.sa, url->len) == 0 ? 0 : -errno;
	close(fd);
	switch (rc) {
	case -ECONNREFUSED:
	case -ENOENT: /* it has gone meanwhile */
		return 0;
	case 0:
	case -EAGAIN:
	case -EPROTOTYPE:
		return -EADDRINUSE;
	default:
		return rc;
	}
}

int
rli_sys_unix_unlink_stale(const struct url *url)
{
	struct sys_file file = { 0 };
	struct sys_file now = { 0 };
	int rc;

	if (!sys_unix_has_file(url)) {
		return 0;
	}
	rc = sys_unix_look(url, &file);
	if (rc == 0) {
		rc = sys_unix_ask(url);
	}
	if (rc == 0) {
		rc = sys_unix_look(url, &now);
	}
	if (rc != 0) {
		return rc == -ENOENT ? 0 : rc;
	}
	if (now.device != file.device || now.inode != file.inode) {
		return -EADDRINUSE; /* somebody was quicker */
	}
	return unlink(url->sockaddr.un.sun_path) != 0 && errno != ENOENT ? -errno : 0;
}

void
rli_sys_unix_file(const struct url *url, struct sys_file *file)
{
	if (!sys_unix_has_file(url) || sys_unix_look(url, file) != 0) {
		*file = (struct sys_file){ 0 };
	}
}

void
rli_sys_unix_remove(const struct url *url, const struct sys_file *file)
{
	struct sys_file now = { 0 };

	/*
	 * its inode may be another's by now: a file that somebody listens on is not ours in any
	 * case, and one that nobody does is nobody's
	 */
	if (file->inode != 0 && sys_unix_look(url, &now) == 0 && now.device == file->device &&
	    now.inode == file->inode) {
		(void)rli_sys_unix_unlink_stale(url); /* what stays is replaced by the next start */
	}
}

int
rli_sys_peer_cred(int fd, struct rl_peer_cred *cred)
{
	struct ucred kernel;
	socklen_t len = sizeof(kernel);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &kernel, &len) != 0) {
		return -errno;
	}
	*cred = (struct rl_peer_cred){ kernel.pid, kernel.uid, kernel.gid };
	return 0;
}

int
rli_sys_bound(int fd, struct url *url)
{
	url->len = sizeof(url->sockaddr);
	return getsockname(fd, &url->sockaddr.sa, &url->len) != 0 ? -errno : 0;
}

int
rli_sys_socket(const struct url *url)
{
	int fd = sys_socket(url, 0);

	if (fd >= 0 && !url->is_unix) {
		(void)sys_set(fd, IPPROTO_TCP, TCP_NODELAY); /* without it only latency suffers */
	}
	return fd;
}

void
rli_sys_close(int fd)
{
	(void)close(fd);
}

static int
sys_resolve_error(int code)
{
	int error = errno;

	switch (code) {
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return -ENOENT;
	case EAI_AGAIN:
		return -EAGAIN;
	case EAI_FAIL:
		return -EIO;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return error != 0 ? -error : -EIO;
	default:
		return -EINVAL; /* of a name that passed as one */
	}
}

/* The next of @family at or after @info. */
static const struct addrinfo *
sys_next_of(const struct addrinfo *info, int family)
{
	while (info != NULL && info->ai_family != family) {
		info = info->ai_next;
	}
	return info;
}

/* Neither has a port. */
static bool
sys_addr_equal(const union url_inet *a, const union url_inet *b)
{
	if (a->in.sin_family != b->in.sin_family) {
		return false;
	}
	if (a->in.sin_family == AF_INET) {
		return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	}
	return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0 &&
	       a->in6.sin6_scope_id == b->in6.sin6_scope_id;
}

/* False: it is there already, as from two lines of a hosts file. */
static bool
sys_addrs_add(struct sys_addrs *addrs, const struct addrinfo *info)
{
	union url_inet *to = &addrs->list[addrs->count];

	memset(to, 0, sizeof(*to));
	memcpy(to, info->ai_addr, info->ai_family == AF_INET ? sizeof(to->in) : sizeof(to->in6));
	for (uint32_t i = 0; i < addrs->count; i++) {
		if (sys_addr_equal(&addrs->list[i], to)) {
			return false;
		}
	}
	addrs->count++;
	return true;
}

static void
sys_addrs_alternate(struct sys_addrs *addrs, const struct addrinfo *first)
{
	const struct addrinfo *next[2] = { sys_next_of(first, AF_INET6),
					   sys_next_of(first, AF_INET) };
	uint32_t turn = first == next[0] ? 0 : 1;

	while (addrs->count < SYS_ADDRS_MAX && (next[0] != NULL || next[1] != NULL)) {
		const struct addrinfo *info = next[turn];
		bool added = false;

		if (info != NULL) {
			next[turn] = sys_next_of(info->ai_next, info->ai_family);
			added = sys_addrs_add(addrs, info);
		}
		if (added || info == NULL) {
			turn ^= 1;
		}
	}
}

int
rli_sys_resolve(const char *host, struct sys_addrs *addrs)
{
	/* without AI_ADDRCONFIG, which takes a machine that has only loopback for one without */
	static const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_protocol = IPPROTO_TCP,
	};
	struct addrinfo *found = NULL;
	int code;
	int rc;

	addrs->count = 0;
	addrs->why = NULL;
	errno = 0;
	code = getaddrinfo(host, NULL, &hints, &found);
	if (code != 0) {
		rc = sys_resolve_error(code);
		addrs->why = code == EAI_SYSTEM ? rli_errno_text(rc) : gai_strerror(code);
		return rc;
	}
	sys_addrs_alternate(addrs, found);
	freeaddrinfo(found);
	if (addrs->count == 0) {
		addrs->why = "It has no address of IPv4 or IPv6";
		return -ENOENT;
	}
	return 0;
}
