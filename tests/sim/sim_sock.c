/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Byte-stream sockets and the network between them.
 *
 * Bytes go writer -> snd -> (a step of the network) -> peer's rcv -> reader; both buffers are
 * bounded. FIN follows the bytes, RST overtakes them: what was in snd is lost, what is in rcv can
 * still be read. Sockets are made in pairs when a SYN meets a listener, and a pair is freed when
 * neither end has a reference any more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim_kernel.h"
#include "sim_resolver.h"

static void sock_update(struct sk_sock *sock);

void
sk_bytes_free(struct sk_bytes *bytes)
{
	free(bytes->data);
	bytes->data = NULL;
}

static void
bytes_put(struct sk_bytes *to, const uint8_t *data, uint32_t len)
{
	uint32_t tail;
	uint32_t first;

	if (to->data == NULL) {
		to->data = malloc(to->cap);
	}
	tail = (to->head + to->len) % to->cap;
	first = len < to->cap - tail ? len : to->cap - tail;
	memcpy(to->data + tail, data, first);
	memcpy(to->data, data + first, len - first);
	to->len += len;
}

static void
bytes_take(struct sk_bytes *from, uint8_t *data, uint32_t len)
{
	uint32_t first = len < from->cap - from->head ? len : from->cap - from->head;

	memcpy(data, from->data + from->head, first);
	memcpy(data + first, from->data, len - first);
	from->head = (from->head + len) % from->cap;
	from->len -= len;
}

static void
bytes_move(struct sk_bytes *to, struct sk_bytes *from, uint32_t len)
{
	uint8_t piece[4096];

	while (len > 0) {
		uint32_t n = len < sizeof(piece) ? len : (uint32_t)sizeof(piece);

		bytes_take(from, piece, n);
		bytes_put(to, piece, n);
		len -= n;
	}
}

struct sk_sock *
sk_socket(bool is_unix)
{
	struct sk_sock *sock = calloc(1, sizeof(*sock));

	sk_file_init(&sock->file, SK_SOCK);
	list_node_init(&sock->node);
	list_push_back(&sk.socks, &sock->node);
	list_init(&sock->backlog);
	list_node_init(&sock->backlog_node);
	sock->is_unix = is_unix;
	sock->tag = sk.tag;
	sock->snd.cap = sk.snd_cap;
	sock->rcv.cap = sk.rcv_cap;
	sk.socks_count++;
	return sock;
}

/* ---- the active list: sockets that the network could do something for */

static void
active_set(struct sk_sock *sock, bool want)
{
	if (want == (sock->active != 0)) {
		return;
	}
	if (!want) {
		struct sk_sock *last = sk.active[--sk.active_len];

		sk.active[sock->active - 1] = last;
		last->active = sock->active;
		sock->active = 0;
		return;
	}
	if (sk.active_len == sk.active_cap) {
		sk.active_cap = sk.active_cap == 0 ? 64 : sk.active_cap * 2;
		sk.active = realloc(sk.active, sk.active_cap * sizeof(sk.active[0]));
	}
	sk.active[sk.active_len++] = sock;
	sock->active = sk.active_len;
}

static bool
sock_takes(const struct sk_sock *peer)
{
	/* a socket that nobody holds takes bytes only to answer with RST */
	return peer->file.refs == 0 || peer->state == SK_DEAD || peer->rcv.len < peer->rcv.cap;
}

static void
sock_update(struct sk_sock *sock)
{
	bool want = false;

	if (sock->state == SK_SYN_SENT) {
		want = !sock->black_hole && !sock->syn_waits;
	} else if (sock->peer == NULL) {
		want = false;
	} else if (sock->rst_queued) {
		want = true;
	} else if (sock->snd.len > 0) {
		want = sock_takes(sock->peer);
	} else if (sock->fin_queued && !sock->fin_sent) {
		want = true;
	}
	active_set(sock, want);
}

static void
sock_free(struct sk_sock *sock)
{
	active_set(sock, false);
	list_remove(&sock->node);
	sk_bytes_free(&sock->snd);
	sk_bytes_free(&sock->rcv);
	sk.socks_count--;
	free(sock);
}

static void
sock_maybe_free(struct sk_sock *sock)
{
	struct sk_sock *peer = sock->peer;

	if (sock->file.refs > 0 || (peer != NULL && peer->file.refs > 0)) {
		return;
	}
	if (peer != NULL) {
		sock_free(peer);
	}
	sock_free(sock);
}

bool
sk_readable(const struct sk_sock *sock)
{
	if (sock->state == SK_LISTEN) {
		return sock->backlog_len > 0;
	}
	return sock->rcv.len > 0 || sock->fin_seen || sock->rcv_shut || sock->error != 0 ||
	       sock->state == SK_DEAD || sock->state == SK_NEW;
}

uint32_t
sk_room(const struct sk_sock *sock)
{
	return sock->snd.cap - sock->snd.len;
}

bool
sk_writable(const struct sk_sock *sock)
{
	if (sock->state == SK_SYN_SENT) {
		return false;
	}
	return sock->state != SK_OPEN || sock->error != 0 || sock->fin_queued || sk_room(sock) > 0;
}

/* ---- binding, listening, connecting */

static struct sk_sock *
listener_find(const union url_sockaddr *addr)
{
	struct sk_sock *found = NULL;
	uint32_t count = 0;
	struct list_node *node;

	/* SO_REUSEPORT: any of the group, which is what a hash over addresses amounts to */
	for (node = sk.socks.head.next; node != &sk.socks.head; node = node->next) {
		struct sk_sock *sock = list_entry(node, struct sk_sock, node);

		if (sock->state == SK_LISTEN && sk_addr_equal(&sock->local, addr) &&
		    sim_below(++count) == 0) {
			found = sock;
		}
	}
	return found;
}

bool
sk_is_listened(const union url_sockaddr *addr)
{
	return listener_find(addr) != NULL;
}

int
sk_bind(struct sk_sock *sock, const union url_sockaddr *addr, socklen_t len)
{
	sock->local = *addr;
	sock->local_len = len;
	if (!sock->is_unix && sk_addr_port(addr) == 0) {
		sk_addr_tcp(&sock->local, &sock->local_len, (uint16_t)sk.port_next);
		/* from one of three machines */
		sock->local.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + sk.port_next++ % 3);
	}
	return 0;
}

void
sk_listen(struct sk_sock *sock, uint32_t backlog)
{
	sock->state = SK_LISTEN;
	sock->backlog_max = backlog;
}

int
sk_connect(struct sk_sock *sock, const union url_sockaddr *addr, socklen_t len)
{
	if (sock->state != SK_NEW) {
		return sock->state == SK_OPEN ? -EISCONN : -EALREADY;
	}
	sock->remote = *addr;
	sock->remote_len = len;
	if (!sock->is_unix) {
		sk_addr_tcp(&sock->local, &sock->local_len, (uint16_t)sk.port_next++);
	} else {
		sock->local.sa.sa_family = AF_UNIX;
		sock->local_len = sizeof(sock->local.sa.sa_family);
	}
	sock->state = SK_SYN_SENT;
	sock->black_hole = sock->black_hole || sim_resolver_is_hole(addr);
	sock_update(sock);
	return 0;
}

static void
sock_die(struct sk_sock *sock, int error)
{
	sock->state = SK_DEAD;
	sock->error = error;
	sock->snd.len = 0;
	sock->was_reset = true;
	sock->rst_queued = false;
	sock->fin_queued = false;
	sock_update(sock);
	sk_file_wake(&sock->file);
}

static void
sock_open_pair(struct sk_sock *sock, struct sk_sock *listener)
{
	struct sk_sock *other = sk_socket(sock->is_unix);

	other->state = SK_OPEN;
	other->tag = sock->tag;
	other->local = listener->local;
	other->local_len = listener->local_len;
	other->remote = sock->local;
	other->remote_len = sock->local_len;
	other->peer = sock;
	sock->peer = other;
	sock->state = SK_OPEN;
	list_push_back(&listener->backlog, &other->backlog_node);
	listener->backlog_len++;
	sock_update(sock);
	sk_file_wake(&sock->file);
	sk_file_wake(&listener->file);
}

/* A SYN arrives. */
static void
sock_handshake(struct sk_sock *sock)
{
	struct sk_sock *listener = listener_find(&sock->remote);

	if (listener == NULL || sim_resolver_is_refused(&sock->remote)) {
		sim_fault_count(FAULT_CONNECT_REFUSED);
		sock_die(sock, ECONNREFUSED);
		return;
	}
	if (listener->backlog_len >= listener->backlog_max) {
		sock->syn_waits = true; /* dropped; sent again when there is room */
		sock_update(sock);
		return;
	}
	sim_event("net handshake", listener->is_unix, sock->tag);
	sock_open_pair(sock, listener);
}

/* A listener has room again, or is gone: SYNs that were dropped come again. */
static void
syns_again(void)
{
	struct list_node *node;

	for (node = sk.socks.head.next; node != &sk.socks.head; node = node->next) {
		struct sk_sock *sock = list_entry(node, struct sk_sock, node);

		if (sock->syn_waits) {
			sock->syn_waits = false;
			sock_update(sock);
		}
	}
}

struct sk_sock *
sk_accept(struct sk_sock *listener)
{
	struct list_node *node = list_pop_front(&listener->backlog);

	if (node == NULL) {
		return NULL;
	}
	if (listener->backlog_len-- == listener->backlog_max) {
		syns_again();
	}
	return list_entry(node, struct sk_sock, backlog_node);
}

/* ---- reading and writing */

static int
sock_take_error(struct sk_sock *sock)
{
	int error = sock->error;

	sock->error = 0;
	return -error;
}

int64_t
sk_write(struct sk_sock *sock, const void *data, uint32_t len)
{
	if (sock->error != 0) {
		return sock_take_error(sock);
	}
	if (sock->state == SK_SYN_SENT) {
		return -EAGAIN;
	}
	if (sock->state == SK_NEW || sock->state == SK_LISTEN) {
		return -ENOTCONN;
	}
	if (sock->state == SK_DEAD || sock->fin_queued) {
		return -EPIPE;
	}
	if (sock->is_unix && sock->peer->file.refs == 0) {
		return -EPIPE;
	}
	if (len > sk_room(sock)) {
		len = sk_room(sock);
	}
	if (len == 0) {
		return -EAGAIN;
	}
	bytes_put(&sock->snd, data, len);
	sock->taken_bytes += len;
	sock_update(sock);
	return len;
}

int64_t
sk_read(struct sk_sock *sock, void *data, uint32_t len)
{
	if (sock->rcv.len == 0) {
		if (sock->fin_seen || sock->rcv_shut) {
			return 0;
		}
		if (sock->error != 0) {
			return sock_take_error(sock);
		}
		if (sock->state == SK_NEW || sock->state == SK_LISTEN) {
			return -ENOTCONN;
		}
		return sock->state == SK_DEAD ? 0 : -EAGAIN;
	}
	if (len > sock->rcv.len) {
		len = sock->rcv.len;
	}
	bytes_take(&sock->rcv, data, len);
	sock->read_bytes += len;
	if (sock->peer != NULL) {
		sock_update(sock->peer);
	}
	return len;
}

int
sk_shutdown(struct sk_sock *sock, int how)
{
	if (sock->state != SK_OPEN) {
		return -ENOTCONN;
	}
	if (how == SHUT_RD || how == SHUT_RDWR) {
		sock->rcv_shut = true;
	}
	if (how == SHUT_WR || how == SHUT_RDWR) {
		sock->fin_queued = true;
	}
	sock_update(sock);
	sk_file_wake(&sock->file);
	return 0;
}

void
sk_reset(struct sk_sock *sock)
{
	bool connected = sock->state == SK_OPEN;

	if (sock->state == SK_LISTEN) {
		return;
	}
	sock_die(sock, 0);
	if (connected && sock->peer != NULL) {
		sock->reset_by_us = true;
		sock->rst_queued = true;
		sock_update(sock);
	}
}

void
sk_break(struct sk_sock *sock, int error)
{
	sk_disturb(sock);
	sock_die(sock, error);
}

void
sk_disturb(struct sk_sock *sock)
{
	sock->disturbed = true;
	if (sk.on_disturb != NULL && sock->tag != 0) {
		sk.on_disturb(sock->tag);
	}
}

bool
sk_is_disturbed(const struct sk_sock *sock)
{
	return sock->disturbed || (sock->peer != NULL && sock->peer->disturbed);
}

static void
listener_release(struct sk_sock *listener)
{
	struct sk_sock *sock;

	while ((sock = sk_accept(listener)) != NULL) {
		sk_disturb(sock);
		sk_reset(sock);
		sk_file_put(&sock->file);
	}
	listener->state = SK_DEAD;
	syns_again();
}

void
sk_listener_break(struct sk_sock *listener)
{
	listener_release(listener);
	sk_file_wake(&listener->file);
}

/* close(2) of the last descriptor: FIN, or RST if bytes were left unread. */
void
sk_sock_release(struct sk_sock *sock)
{
	if (sock->state == SK_LISTEN) {
		listener_release(sock);
	} else if (sock->state == SK_SYN_SENT) {
		sock->state = SK_DEAD;
	} else if (sock->state == SK_OPEN && sock->rcv.len > 0) {
		sk_reset(sock);
	} else if (sock->state == SK_OPEN) {
		sock->fin_queued = true;
	} else if (sock->state == SK_DEAD && sock->peer != NULL && !sock->reset_by_us) {
		sock->rst_queued =
			true; /* the answer to the next probe of a peer that knows nothing */
	}
	sock_update(sock);
	if (sock->peer != NULL) {
		sock_update(sock->peer);
	}
	sock_maybe_free(sock);
}

/* ---- the network */

/* RST arrives at @sock. */
static void
sock_reset_arrives(struct sk_sock *sock)
{
	if (sock->state != SK_OPEN) {
		return;
	}
	/* after FIN the reader is told the end, and only the writer an error, as Linux does it */
	sock_die(sock, sock->fin_seen ? EPIPE : ECONNRESET);
	sim_event("net rst", 0, sock->tag);
}

static void
sock_deliver(struct sk_sock *sock)
{
	struct sk_sock *peer = sock->peer;
	uint32_t room = peer->rcv.cap - peer->rcv.len;
	uint32_t n = sock->snd.len < room ? sock->snd.len : room;

	if (peer->file.refs == 0 || peer->state == SK_DEAD) {
		sock_reset_arrives(sock); /* nobody is there: its kernel answers with RST */
		return;
	}
	if (sim_coin()) {
		n = (uint32_t)sim_between(1, n);
	}
	if (sk.canary && sim_below(64) == 0) {
		sock->snd.data[sock->snd.head] ^= 1;
	}
	bytes_move(&peer->rcv, &sock->snd, n);
	sim_event("net bytes", n, sock->tag);
	sock_update(sock);
	sk_file_wake(&peer->file);
	sk_file_wake(&sock->file);
}

static void
sock_step(struct sk_sock *sock)
{
	if (sock->state == SK_SYN_SENT) {
		sock_handshake(sock);
	} else if (sock->rst_queued) {
		sock->rst_queued = false;
		sock_update(sock);
		sock_reset_arrives(sock->peer);
	} else if (sock->snd.len > 0) {
		sock_deliver(sock);
	} else {
		sock->fin_sent = true;
		sock->peer->fin_seen = true;
		sim_event("net fin", 0, sock->tag);
		sock_update(sock);
		sk_file_wake(&sock->peer->file);
	}
}

uint32_t
sk_net_ready(void)
{
	return sk.active_len + sk.messages_len;
}

bool
sk_net_step(void)
{
	uint32_t pick;

	if (sk_net_ready() == 0) {
		return false;
	}
	pick = (uint32_t)sim_below(sk_net_ready());
	if (pick >= sk.active_len) {
		return sk_message_step(pick - sk.active_len);
	}
	sock_step(sk.active[pick]);
	return true;
}
