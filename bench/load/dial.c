/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "load/dial.h"

#include "common/program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	DIAL_UNIX_TRIES = 1000,
	DIAL_UNIX_PAUSE_US = 1000
};

struct sockaddr_in
dial_address(const char *host, int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
		program_misuse("--host: '%s' is not a numeric IPv4 address", host);
	}
	return address;
}

int
dial_tcp(const struct sockaddr_in *address, uint32_t source)
{
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(source) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0) {
		program_die("socket");
	}
	/* Without the option the port would be chosen before the peer is known, and be used up. */
	if (source != 0 &&
	    (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) != 0 ||
	     bind(fd, (const struct sockaddr *)&local, sizeof(local)) != 0)) {
		program_die("binding a source address");
	}
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
		program_die("connect");
	}
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) {
		program_die("TCP_NODELAY");
	}
	return fd;
}

/* A full backlog makes connect on a Unix socket fail at once, where TCP would wait. */
int
dial_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int tries = 0;

	if (strlen(path) >= sizeof(address.sun_path)) {
		program_misuse("--unix: the path is too long");
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (fd < 0) {
		program_die("socket");
	}
	while (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		if (errno != EAGAIN || ++tries == DIAL_UNIX_TRIES) {
			program_die("connect");
		}
		usleep(DIAL_UNIX_PAUSE_US);
	}
	return fd;
}
