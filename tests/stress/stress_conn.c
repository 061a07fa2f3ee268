/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: while connections come and go by the thousand over the same few slots, however they end
 * (after the last reply, by a reset or a close at any byte, by the server's stop or abort), neither
 * side ever sees a byte of another connection, none twice, none missing, and each reply of a
 * connection that was not cut arrives. Each connection is accepted and closed once in the counters.
 * How: a connection's number decides what it sends, how much, and how it ends; each byte of its
 * stream is a function of the number and the position. The server checks what comes and echoes it.
 * A quarter of the clients read through a small window, and only when they can't write.
 * Not proved: outbound connections of the library; a peer that never reads.
 */
#include "stress.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <ringline/ringline.h>

#define CLIENTS	      128
#define ELEMENT	      sizeof(struct stress_element)
#define CHUNK_MAX     4096
#define LISTENERS_MAX 4 /* addresses of loopback, so that ports suffice */

enum end {
	END_WHOLE, /* the client shuts its side down after the last byte, and reads to the end */
	END_RESET, /* the client resets */
	END_LEAVE, /* the client closes, whether it read or not */
	END_STOP, /* the server stops */
	END_ABORT, /* the server aborts */
	ENDS,
};

/* What a connection's number says. */
struct plan {
	enum end end;
	uint64_t bytes; /* of the whole stream */
	uint64_t until; /* where it ends early */
	bool is_lazy; /* the client reads only when it can't write, through a small window */
};

struct run {
	const char *name;
	enum rl_accept_mode mode;
	bool is_unix;
};

struct churn {
	const struct run *run;
	uint64_t seed;
	struct sockaddr_storage addresses[LISTENERS_MAX];
	socklen_t address_len;
	uint32_t listeners;
	uint32_t begun; /* connections */
	uint64_t checked; /* echoed elements */
	uint64_t connected;
	uint64_t ends[ENDS];
};

static struct churn churn;
static _Atomic uint64_t server_checked; /* bytes */

static struct plan
plan_of(uint32_t number)
{
	uint64_t random = churn.seed + number;
	struct plan plan;
	uint64_t most = stress_chance(&random, 16) ? 20000 : 80;

	plan.end = (enum end)(stress_random(&random) % ENDS);
	plan.bytes = ELEMENT + stress_random(&random) % (most * ELEMENT);
	plan.until = ELEMENT + stress_random(&random) % plan.bytes;
	plan.is_lazy = stress_chance(&random, 4);
	return plan;
}

/* The stream of connection @number, @len bytes from @offset. */
static void
stream_write(uint8_t *to, uint32_t number, uint64_t offset, size_t len)
{
	while (len > 0) {
		struct stress_element element = stress_element_make(number, offset / ELEMENT);
		size_t skip = offset % ELEMENT;
		size_t take = len < ELEMENT - skip ? len : ELEMENT - skip;

		memcpy(to, (const uint8_t *)&element + skip, take);
		to += take;
		offset += take;
		len -= take;
	}
}

static void
stream_check(const uint8_t *data, uint32_t number, uint64_t offset, size_t len, const char *who)
{
	uint8_t wanted[CHUNK_MAX];

	while (len > 0) {
		size_t take = len < sizeof(wanted) ? len : sizeof(wanted);

		stream_write(wanted, number, offset, take);
		if (memcmp(data, wanted, take) != 0) {
			stress_fail("%s: %s of connection %" PRIu32 " sees bytes that are not its "
				    "own, from %" PRIu64 " on",
				    churn.run->name, who, number, offset);
		}
		data += take;
		offset += take;
		len -= take;
	}
}

/* The server's end. */

struct echo {
	uint32_t number;
	bool is_known;
	uint64_t offset;
	struct plan plan;
};

/* Every other connection is told bytes as they come, the others in whole elements. */
static size_t
echo_takes(const struct echo *echo, size_t len)
{
	return echo->number % 2 == 0 ? len : len - len % ELEMENT;
}

static int
echo_recv(struct rl_actor *self, const uint8_t *data, size_t len)
{
	struct echo *echo = rl_actor_state(self);
	struct stress_element first;
	size_t takes;
	int rc;

	if (!echo->is_known) {
		if (len < ELEMENT) {
			rl_conn_consumed(self, 0);
			return 0;
		}
		memcpy(&first, data, sizeof(first));
		echo->number = first.source;
		echo->plan = plan_of(first.source);
		echo->is_known = true;
	}
	takes = echo_takes(echo, len);
	if (takes == 0) {
		rl_conn_consumed(self, 0);
		return 0;
	}
	rc = rl_conn_send(self, data, takes);
	if (rc == -EAGAIN) {
		return rc; /* it comes again */
	}
	STRESS_CHECK(rc == 0 || rc == RL_CONN_SEND_HIGH);
	stream_check(data, echo->number, echo->offset, takes, "the server");
	echo->offset += takes;
	rl_conn_consumed(self, takes);
	if (echo->plan.end == END_STOP && echo->offset >= echo->plan.until) {
		return RL_ACTOR_STOP;
	}
	if (echo->plan.end == END_ABORT && echo->offset >= echo->plan.until) {
		return rl_conn_abort(self);
	}
	return 0;
}

static int
echo_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	const struct echo *echo = rl_actor_state(self);

	switch (msg->kind) {
	case RL_MSG_RECV:
		return echo_recv(self, msg->recv.data, msg->recv.len);
	case RL_MSG_EOF:
		return RL_ACTOR_STOP;
	case RL_MSG_STOP:
		atomic_fetch_add_explicit(&server_checked, echo->offset, memory_order_relaxed);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def echo_def = {
	.name = "echo",
	.receive = echo_receive,
	.state_size = sizeof(struct echo),
};

/* The clients' end: one thread. */

struct client {
	int fd;
	uint32_t number;
	bool is_shut;
	bool is_blocked; /* no room for another write */
	uint32_t watched; /* events */
	struct plan plan;
	uint64_t sent;
	uint64_t received;
	uint64_t random;
};

static void
client_watch(struct client *client, int epoll)
{
	struct epoll_event event = { .data.ptr = client };

	event.events = client->is_shut ? 0 : EPOLLOUT;
	if (!client->plan.is_lazy || client->is_blocked || client->is_shut) {
		event.events |= EPOLLIN;
	}
	if (event.events != client->watched) {
		client->watched = event.events;
		STRESS_CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event) == 0);
	}
}

static void
client_open(struct client *client, int epoll)
{
	static const int small = 4096;
	struct epoll_event event = { .data.ptr = client };
	int domain = churn.run->is_unix ? AF_UNIX : AF_INET;
	const struct sockaddr_storage *address;

	memset(client, 0, sizeof(*client));
	client->number = churn.begun++;
	client->plan = plan_of(client->number);
	client->random = ~churn.seed + client->number;
	if (client->number % 2 == 1) {
		client->plan.bytes -= client->plan.bytes % ELEMENT;
	}
	address = &churn.addresses[client->number % churn.listeners];
	client->fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
	STRESS_CHECK(client->fd >= 0);
	if (client->plan.is_lazy) {
		STRESS_CHECK(setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) ==
			     0);
	}
	if (connect(client->fd, (const struct sockaddr *)address, churn.address_len) != 0) {
		stress_fail("%s: connect: %s", churn.run->name, strerror(errno));
	}
	churn.connected++;
	STRESS_CHECK(fcntl(client->fd, F_SETFL, O_NONBLOCK) == 0);
	STRESS_CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) == 0);
	client_watch(client, epoll);
}

static void
client_close(struct client *client)
{
	churn.ends[client->plan.end]++;
	churn.checked += client->received / ELEMENT;
	(void)close(client->fd);
	client->fd = -1;
}

/* The server has ended it: was it right to, and did all come that had to? */
static void
client_ended(struct client *client, int error)
{
	const struct plan *plan = &client->plan;
	uint64_t wanted = 0;

	if (plan->end == END_WHOLE) {
		wanted = plan->bytes;
	} else if (plan->end == END_STOP && error == 0) {
		wanted = plan->until < plan->bytes ? plan->until : plan->bytes;
	}
	if (error != 0 && plan->end != END_ABORT) {
		stress_fail("%s: connection %" PRIu32 " (end %d) failed after %" PRIu64
			    " of %" PRIu64 ": %s",
			    churn.run->name, client->number, plan->end, client->received,
			    plan->bytes, strerror(error));
	}
	if (client->received < wanted) {
		stress_fail("%s: connection %" PRIu32 " (end %d) got %" PRIu64 " of %" PRIu64
			    " bytes",
			    churn.run->name, client->number, plan->end, client->received, wanted);
	}
	client_close(client);
}

/* True: it reset or left. */
static bool
client_leaves(struct client *client)
{
	static const struct linger hard = { .l_onoff = 1 };
	enum end end = client->plan.end;

	if ((end != END_RESET && end != END_LEAVE) || client->sent < client->plan.until) {
		return false;
	}
	if (end == END_RESET) {
		STRESS_CHECK(setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)) ==
			     0);
	}
	client_close(client);
	return true;
}

/* Without a write that fails: one that fits may fill it up. */
static bool
client_has_room(const struct client *client)
{
	struct pollfd poll_fd = { .fd = client->fd, .events = POLLOUT };

	return poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & POLLOUT;
}

/* What a peer may find that wrote to somebody who was ending. */
static bool
error_is_of_the_end(int error)
{
	return error == EPIPE || error == ECONNRESET;
}

static void
client_write(struct client *client)
{
	const struct plan *plan = &client->plan;
	uint64_t until =
		plan->end == END_RESET || plan->end == END_LEAVE ? plan->until : plan->bytes;
	uint8_t chunk[CHUNK_MAX];
	size_t len = 1 + stress_random(&client->random) % sizeof(chunk);
	ssize_t written;

	if (client->sent < until) {
		len = len < until - client->sent ? len : until - client->sent;
		stream_write(chunk, client->number, client->sent, len);
		written = send(client->fd, chunk, len, MSG_NOSIGNAL);
		if (written >= 0) {
			client->sent += (uint64_t)written;
		} else if (error_is_of_the_end(errno)) {
			STRESS_CHECK(plan->end == END_STOP || plan->end == END_ABORT);
		} else {
			STRESS_CHECK(errno == EAGAIN);
		}
		client->is_blocked = plan->is_lazy && !client_has_room(client);
	} else if (!client->is_shut) {
		client->is_shut = true;
		STRESS_CHECK(shutdown(client->fd, SHUT_WR) == 0 || errno == ENOTCONN);
	}
}

static void
client_read(struct client *client)
{
	uint8_t chunk[CHUNK_MAX];
	size_t len = 1 + stress_random(&client->random) % sizeof(chunk);
	ssize_t got = recv(client->fd, chunk, len, 0);

	if (got > 0) {
		stream_check(chunk, client->number, client->received, (size_t)got, "the client");
		client->received += (uint64_t)got;
		STRESS_CHECK(client->received <= client->sent);
	} else if (got == 0) {
		client_ended(client, 0);
	} else if (errno != EAGAIN) {
		client_ended(client, errno);
	}
}

static void
client_step(struct client *client, uint32_t events, int epoll)
{
	if (!client->is_shut && (events & EPOLLOUT || client->is_blocked)) {
		client_write(client);
		if (client_leaves(client)) {
			return;
		}
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		client_read(client);
	}
	if (client->fd >= 0) {
		client_watch(client, epoll);
	}
}

static void
churn_clients(uint64_t messages)
{
	static struct client clients[CLIENTS];
	struct epoll_event events[CLIENTS];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	uint32_t open = CLIENTS;

	STRESS_CHECK(epoll >= 0);
	for (size_t i = 0; i < CLIENTS; i++) {
		client_open(&clients[i], epoll);
	}
	while (open > 0) {
		int ready = epoll_wait(epoll, events, CLIENTS, STRESS_PATIENCE_MS);

		if (ready <= 0) {
			stress_fail("%s: %" PRIu32 " connections stand still", churn.run->name,
				    open);
		}
		for (int i = 0; i < ready; i++) {
			struct client *client = events[i].data.ptr;

			client_step(client, events[i].events, epoll);
			if (client->fd < 0 && churn.checked < messages) {
				client_open(client, epoll);
			} else if (client->fd < 0) {
				open--;
			}
		}
	}
	(void)close(epoll);
}

/* Both. */

static void
listen_tcp(struct rl_system *sys, uint32_t index)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&churn.addresses[index];
	rl_listener_id id;
	char url[RL_URL_MAX];
	char *port;

	(void)snprintf(url, sizeof(url), "tcp://127.0.0.%u:0", index + 1);
	STRESS_CHECK(rl_listener_open(sys, url, &echo_def, NULL, &id) == 0);
	STRESS_CHECK(rl_listener_url(sys, id, url) == 0);
	port = strrchr(url, ':');
	STRESS_CHECK(port != NULL);
	in->sin_family = AF_INET;
	in->sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10));
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK + index);
	churn.address_len = sizeof(*in);
}

static void
listen_unix(struct rl_system *sys)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&churn.addresses[0];
	char url[RL_URL_MAX];
	int len = snprintf(url, sizeof(url), "unix:@stress_conn.%d", (int)getpid());
	size_t name = (size_t)len - strlen("unix:@");

	STRESS_CHECK(rl_listener_open(sys, url, &echo_def, NULL, NULL) == 0);
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path + 1, url + strlen("unix:@"), name);
	churn.address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + name);
}

static void
churn_report(struct rl_system *sys, double seconds)
{
	struct rl_stats stats;
	uint64_t closed = 0;

	STRESS_CHECK(rl_system_stats(sys, -1, &stats) == 0);
	for (size_t i = 0; i < RL_REASON_COUNT; i++) {
		closed += stats.closed[i];
	}
	/* a connection that was reset in the backlog is accepted by nobody */
	STRESS_CHECK(closed == stats.accepted && stats.accepted <= churn.connected);
	STRESS_CHECK(stats.refused == 0 && stats.bufs_lent == stats.bufs_home);
	STRESS_CHECK(atomic_load(&server_checked) >= churn.checked * ELEMENT);
	(void)printf("%-20s %" PRIu64 " messages of %" PRIu64
		     " connections in %.1f s; ends: %" PRIu64 " whole, %" PRIu64 " reset, %" PRIu64
		     " left, %" PRIu64 " stopped, %" PRIu64 " aborted\n",
		     churn.run->name, churn.checked, churn.connected, seconds,
		     churn.ends[END_WHOLE], churn.ends[END_RESET], churn.ends[END_LEAVE],
		     churn.ends[END_STOP], churn.ends[END_ABORT]);
	(void)fflush(stdout);
}

static void
churn_run(const struct run *run, const struct stress_options *options, uint64_t messages)
{
	struct rl_config config =
		RL_CONFIG(.shards = 1, .conns_max = 4 * CLIENTS, .accept_mode = run->mode,
			  /* a client that gets no CPU for seconds is no reason to cut a reply */
			  .linger_timeout_ns = RL_MS(3 * STRESS_PATIENCE_MS),
			  .drain_timeout_ns = RL_MS(3 * STRESS_PATIENCE_MS));
	uint64_t began_ns = stress_now_ns();
	struct rl_system *sys;
	int rc;

	memset(&churn, 0, sizeof(churn));
	churn.run = run;
	churn.seed = options->seed;
	atomic_store(&server_checked, 0);
	rc = rl_system_start(&config, &sys);
	if (rc == -ENOSYS || rc == -EPERM) {
		exit(STRESS_SKIPPED); /* logged */
	}
	STRESS_CHECK(rc == 0);
	churn.listeners = run->is_unix ? 1 : LISTENERS_MAX;
	for (uint32_t i = 0; !run->is_unix && i < churn.listeners; i++) {
		listen_tcp(sys, i);
	}
	if (run->is_unix) {
		listen_unix(sys);
	}
	churn_clients(messages);
	rl_system_drain(sys);
	STRESS_CHECK(rl_system_run(sys) == 0);
	churn_report(sys, (double)(stress_now_ns() - began_ns) / 1e9);
	rl_system_stop(sys);
}

int
main(int argc, char **argv)
{
	static const struct run runs[] = {
		{ .name = "tcp, per shard", .mode = RL_ACCEPT_PER_SHARD },
		{ .name = "tcp, round robin", .mode = RL_ACCEPT_ROUND_ROBIN },
		{ .name = "unix", .mode = RL_ACCEPT_PER_SHARD, .is_unix = true },
	};
	struct stress_options options;
	size_t count = sizeof(runs) / sizeof(runs[0]);

	stress_parse(&options, argc, argv);
	for (size_t i = 0; i < count; i++) {
		churn_run(&runs[i], &options, options.messages / count);
	}
	return 0;
}
