/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_peer.h"

#include <errno.h>
#include <string.h>

#include "sim_peer_common.h"
#include "sim_world.h"

#define PEERS_MAX 96

static struct peer peers[PEERS_MAX];
static struct peer_listener {
	struct sk_sock *sock;
	bool tls;
} peer_listeners[4];
static uint32_t peer_listeners_count;
bool peers_healed;

void
sim_peers_reset(void)
{
	memset(peers, 0, sizeof(peers));
	peer_listeners_count = 0;
	peers_healed = false;
}

uint32_t
sim_peers_count(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < PEERS_MAX; i++) {
		count += peers[i].sock != NULL;
	}
	return count;
}

static uint32_t
peer_piece(void)
{
	if (sim_fault(FAULT_PEER_ONE_BYTE)) {
		return 1;
	}
	return (uint32_t)sim_between(1, sim_coin() ? 300 : PIECE_BYTES);
}

/* The end is not waited for byte by byte. */
static void
peer_hurry(struct peer *peer)
{
	peer->piece = peer->piece < PIECE_HEALED ? PIECE_HEALED : peer->piece;
	peer->mouthful = peer->mouthful < PIECE_HEALED ? PIECE_HEALED : peer->mouthful;
}

static struct peer *
peer_new(struct sk_sock *sock, enum link_side side)
{
	struct peer *peer = NULL;

	for (uint32_t i = 0; i < PEERS_MAX && peer == NULL; i++) {
		if (peers[i].sock == NULL) {
			peer = &peers[i];
		}
	}
	if (peer == NULL) {
		return NULL;
	}
	memset(peer, 0, sizeof(*peer));
	peer->sock = sock;
	peer->side = side;
	peer->piece = peer_piece();
	peer->mouthful = peer_piece();
	peer->think_ns = sim_coin() ? 0 : sim_below(2000000);
	peer->reset_at = UINT64_MAX;
	peer->leave_at = UINT64_MAX;
	if (peers_healed) {
		peer_hurry(peer);
		return peer;
	}
	peer->silent = sim_fault(FAULT_PEER_SILENT);
	peer->no_reading = sim_fault(FAULT_PEER_ZERO_WINDOW);
	if (sim_fault(FAULT_PEER_RST)) {
		peer->reset_at = sim_below(sim_coin() ? 40 : 20000);
	}
	if (sim_fault(FAULT_PEER_TALKS_ON)) {
		peer->leave_at = sim_below(sim_coin() ? 40 : 20000);
	}
	return peer;
}

void
peer_end(struct peer *peer)
{
	if (peer->link != NULL) {
		if (peer->side == LINK_CLIENT) {
			peer->link->client_over = true;
		} else {
			peer->link->server_over = true;
		}
	}
	sim_tls_fini(&peer->tls);
	sk_file_put(&peer->sock->file);
	peer->sock = NULL;
}

void
peer_break(struct peer *peer, const char *why)
{
	if (peer->link != NULL) {
		sim_link_break(peer->link, why);
	}
	/* a server that never saw a header breaks a link that it can't name */
	sim_link_disturb(peer->sock->tag);
}

void
peer_reset_came(struct peer *peer)
{
	if (peer->link != NULL) {
		sim_link_reset(peer->link, peer->side);
	}
	peer_break(peer, "a peer was reset");
	peer_end(peer);
}

bool
sim_peer_connect(const union url_sockaddr *addr, socklen_t len, struct sim_link *link)
{
	struct sk_sock *sock;
	struct peer *peer;

	sk.tag = link->id;
	sock = sk_socket(addr->sa.sa_family == AF_UNIX);
	sk.tag = 0;
	peer = peer_new(sock, LINK_CLIENT);
	if (peer == NULL) {
		sk_file_put(&sock->file);
		return false;
	}
	peer->link = link;
	if (link->tls) {
		link->modelled[LINK_CLIENT] = true;
		peer_new_tls(peer);
	}
	link->half_close = link->half_close || sim_fault(FAULT_PEER_HALF_CLOSE);
	(void)sk_connect(sock, addr, len);
	link->client_port = sk_addr_port(&sock->local);
	return true;
}

void
sim_peer_listen(const union url_sockaddr *addr, socklen_t len, bool tls)
{
	struct sk_sock *sock = sk_socket(addr->sa.sa_family == AF_UNIX);

	(void)sk_bind(sock, addr, len);
	sk_listen(sock, (uint32_t)sim_between(1, 16));
	peer_listeners[peer_listeners_count++] = (struct peer_listener){ sock, tls };
}

void
sim_peer_unlisten(void)
{
	while (peer_listeners_count > 0) {
		sk_file_put(&peer_listeners[--peer_listeners_count].sock->file);
	}
}

/* ---- what a peer wants to write */

/* How long its stream can be by now. */
static uint64_t
peer_total(const struct peer *peer)
{
	const struct sim_link *link = peer->link;

	if (peer->side == LINK_CLIENT) {
		return link->client_total;
	}
	if (link == NULL) {
		return 0;
	}
	switch (link->mode) {
	case LINK_ECHO:
		return peer->got;
	case LINK_SINK:
		return peer->eof ? LINK_REPLY_BYTES : 0;
	default:
		return link->server_total;
	}
}

static bool
peer_has_more(const struct peer *peer)
{
	return !peer->fin && peer->sent < peer_total(peer);
}

static bool
peer_wants_fin(const struct peer *peer)
{
	if (peer->fin || peer_has_more(peer)) {
		return false;
	}
	if (peer->side == LINK_SERVER) {
		return peer->eof || (peer->link != NULL && peer->link->mode == LINK_SOURCE);
	}
	return peer->link->half_close || peer->eof ||
	       peer->got >= sim_link_server_total(peer->link);
}

static bool
peer_is_busy(const struct peer *peer)
{
	const struct sk_sock *sock = peer->sock;

	if (sock->state == SK_SYN_SENT) {
		return false;
	}
	if (peer->eof && peer->fin_sent) {
		return true; /* to go */
	}
	if (sock->state != SK_OPEN || peer_moved(peer) >= peer->reset_at) {
		return true;
	}
	if (peer_moved(peer) >= peer->leave_at || peer_wants_fin(peer) || peer_owes_fin(peer)) {
		return true;
	}
	if (peer->tls.ssl != NULL &&
	    (peer->tls.failed || (peer->tls.fin && !peer->eof && !peer->no_reading) ||
	     (peer_has_output(peer) && sk_writable(sock)) ||
	     (peer->side == LINK_CLIENT && peer->tls.moved == 0 && !peer_has_output(peer)))) {
		return true; /* a client's hello comes from nothing */
	}
	return (peer_has_more(peer) && peer_may_write(peer)) || peer_may_read(peer);
}

static bool
peer_is_ready(const struct peer *peer)
{
	return peer->sock != NULL && !peer->silent && peer->next_ns <= sim_world.now_ns &&
	       peer_is_busy(peer);
}

uint32_t
sim_peers_ready(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < peer_listeners_count; i++) {
		count += peer_listeners[i].sock->backlog_len > 0;
	}
	for (uint32_t i = 0; i < PEERS_MAX; i++) {
		count += peer_is_ready(&peers[i]);
	}
	return count;
}

uint64_t
sim_peers_next_ns(void)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < PEERS_MAX; i++) {
		const struct peer *peer = &peers[i];

		if (peer->sock != NULL && !peer->silent && peer->next_ns < next &&
		    peer_is_busy(peer)) {
			next = peer->next_ns;
		}
	}
	return next;
}

/* ---- steps */

static bool
peer_write(struct peer *peer)
{
	uint8_t data[PIECE_BYTES];
	uint64_t left = peer_total(peer) - peer->sent;
	uint32_t n = left < peer->piece ? (uint32_t)left : peer->piece;
	int64_t took;

	sim_link_fill(peer->link, peer->side, peer->sent, data, n);
	took = peer->tls.ssl != NULL ? sim_tls_write(&peer->tls, data, n)
				     : sk_write(peer->sock, data, n);
	if (took == -EAGAIN || took == -EPROTO) {
		return true; /* the next step minds */
	}
	if (took < 0) {
		peer_reset_came(peer);
		return false;
	}
	peer->sent += (uint64_t)took;
	if (peer->side == LINK_CLIENT) {
		peer->link->client_sent = peer->sent;
	} else {
		peer->link->server_sent = peer->sent;
	}
	sim_event("peer write", peer->link->id, took);
	return true;
}

/* A server learns from the header who is calling. */
static uint32_t
peer_take_header(struct peer *peer, const uint8_t *data, uint32_t len)
{
	uint32_t n = (uint32_t)(LINK_HEADER_BYTES - peer->got);

	n = n < len ? n : len;
	memcpy(peer->header + peer->got, data, n);
	peer->got += n;
	if (peer->got == LINK_HEADER_BYTES) {
		peer->link = sim_link_of_header(peer->header);
		sim_check(peer->link != NULL, "INV-1: a header that is none arrived at a peer");
		peer->link->served = true;
		peer->link->modelled[LINK_SERVER] = peer->tls.ssl != NULL;
		peer->link->server_got = peer->got;
	}
	return n;
}

static void
peer_take(struct peer *peer, const uint8_t *data, uint32_t len)
{
	if (peer->side == LINK_SERVER && peer->got < LINK_HEADER_BYTES) {
		uint32_t n = peer_take_header(peer, data, len);

		data += n;
		len -= n;
	}
	if (len == 0) {
		return;
	}
	sim_link_check(peer->link, peer->side == LINK_CLIENT ? LINK_SERVER : LINK_CLIENT, peer->got,
		       data, len);
	peer->got += len;
	if (peer->side == LINK_CLIENT) {
		peer->link->client_got = peer->got;
	} else {
		peer->link->server_got = peer->got;
	}
}

/* All is written: say so. */
static void
peer_finish(struct peer *peer)
{
	peer->fin = true;
	if (peer->tls.ssl == NULL) {
		return;
	}
	if (peer->no_notify) {
		peer_break(peer, "a peer ends without close_notify");
		return;
	}
	sim_tls_end(&peer->tls);
	if (peer->link != NULL) { /* else the end came before its header did */
		peer->link->said[peer->side] = true;
	}
}

static void
peer_send_fin(struct peer *peer)
{
	peer->fin_sent = true;
	if (sk_shutdown(peer->sock, SHUT_WR) == 0 && peer->side == LINK_CLIENT) {
		peer->link->client_fin = true;
	}
}

static void
peer_read(struct peer *peer)
{
	uint8_t data[PIECE_BYTES];
	int64_t got = peer->tls.ssl != NULL ? sim_tls_read(&peer->tls, data, peer->mouthful)
					    : sk_read(peer->sock, data, peer->mouthful);

	if (got == -EAGAIN || got == -EPROTO) {
		return; /* the next step minds */
	}
	if (got == -ECONNABORTED && peer->tls.ssl != NULL) {
		peer_truncated(peer);
		return;
	}
	if (got < 0) {
		sim_event("peer reset", peer->link == NULL ? 0 : peer->link->id, got);
		peer_reset_came(peer);
		return;
	}
	if (got > 0) {
		peer_take(peer, data, (uint32_t)got);
		sim_event("peer read", peer->link == NULL ? 0 : peer->link->id, got);
		return;
	}
	peer->eof = true;
	sim_event("peer eof", peer->link == NULL ? 0 : peer->link->id, 0);
	if (peer->link != NULL) {
		sim_link_eof(peer->link, peer->side, peer->got);
	}
}

static void
peer_step(struct peer *peer)
{
	peer->next_ns = sim_world.now_ns + (peer->think_ns == 0 ? 0 : sim_below(peer->think_ns));
	if (peer->sock->state == SK_DEAD && (peer->sock->peer == NULL || peer->no_reading)) {
		peer_break(peer, "refused, or reset while it did not read");
		peer_end(peer);
		return;
	}
	if (peer_moved(peer) >= peer->reset_at) {
		peer_break(peer, "a peer resets");
		sk_reset(peer->sock);
		peer_end(peer);
		return;
	}
	if (peer->eof && peer->fin_sent) {
		peer_end(peer);
		return;
	}
	if (peer_moved(peer) >= peer->leave_at) {
		peer_break(peer, "a peer leaves");
		peer_end(peer);
		return;
	}
	if (peer->tls.ssl != NULL && !peer_step_tls(peer)) {
		return;
	}
	if (peer_has_more(peer) && (peer->no_reading || sim_coin()) && !peer_write(peer)) {
		return;
	}
	if (peer_wants_fin(peer)) {
		peer_finish(peer);
	}
	if (peer_owes_fin(peer)) {
		peer_send_fin(peer);
	}
	if (!peer->no_reading && !peer->eof && (peer->tls.ssl == NULL || peer->tls.shaken)) {
		peer_read(peer);
	}
}

static void
peer_accept(const struct peer_listener *listener)
{
	struct sk_sock *sock = sk_accept(listener->sock);
	struct peer *peer = peer_new(sock, LINK_SERVER);

	if (peer == NULL) {
		sk_disturb(sock);
		sk_reset(sock);
		sk_file_put(&sock->file);
	} else if (listener->tls) {
		peer_new_tls(peer);
	}
}

void
sim_peers_step(uint32_t nth)
{
	for (uint32_t i = 0; i < peer_listeners_count; i++) {
		if (peer_listeners[i].sock->backlog_len > 0 && nth-- == 0) {
			peer_accept(&peer_listeners[i]);
			return;
		}
	}
	for (uint32_t i = 0; i < PEERS_MAX; i++) {
		if (peer_is_ready(&peers[i]) && nth-- == 0) {
			peer_step(&peers[i]);
			return;
		}
	}
}

void
sim_peers_heal(void)
{
	peers_healed = true;
	for (uint32_t i = 0; i < PEERS_MAX; i++) {
		struct peer *peer = &peers[i];

		peer->silent = false;
		peer->no_reading = false;
		peer->reset_at = UINT64_MAX;
		peer->leave_at = UINT64_MAX;
		peer->cut_at = UINT64_MAX;
		peer->no_notify = false;
		peer->tls.flip_at = UINT64_MAX;
		peer->tls.junk_at = UINT64_MAX;
		peer_hurry(peer);
	}
}

void
sim_peers_leave(void)
{
	for (uint32_t i = 0; i < PEERS_MAX; i++) {
		if (peers[i].sock != NULL) {
			peer_break(&peers[i], "everybody leaves");
			peer_end(&peers[i]);
		}
	}
}
