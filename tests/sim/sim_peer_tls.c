/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The part of a peer between its plaintext and its socket, where there is TLS.
 */
#include <errno.h>

#include "sim_peer_common.h"
#include "sim_world.h"

#define PEER_FAT 2000 /* bytes more in a ticket, which then takes several records */

/* Where something happens to its ciphertext: in the handshake, or later. */
static uint64_t
peer_somewhere(void)
{
	return sim_below(sim_coin() ? 2500 : 30000);
}

/* Who it is; @strange: nobody is to talk to it. */
static enum sim_tls_kind
peer_kind(bool server, bool strange)
{
	if (strange) {
		return server ? SIM_TLS_STRANGER : SIM_TLS_NOBODY;
	}
	if (sim_fault(FAULT_TLS_LONG)) {
		return server ? SIM_TLS_LONG_SERVER : SIM_TLS_LONG_CLIENT;
	}
	return server ? SIM_TLS_SERVER : SIM_TLS_CLIENT;
}

/* How long its records and messages are, and what it knows from the last time. */
static void
peer_new_manners(struct peer *peer)
{
	bool server = peer->side == LINK_SERVER;

	if (sim_fault(FAULT_TLS_SHORT)) {
		sim_tls_split(&peer->tls, server && sim_coin() ? PEER_FAT : 0);
	}
	if (!server && sim_fault(FAULT_TLS_ASKS_SHORT)) {
		sim_tls_ask_short(&peer->tls);
	}
	if (!server && sim_fault(FAULT_TLS_AGAIN)) {
		sim_tls_again(&peer->tls);
	}
}

/* A peer of TLS, good or bad. */
void
peer_new_tls(struct peer *peer)
{
	bool server = peer->side == LINK_SERVER;
	enum sim_fault stranger = server ? FAULT_TLS_BAD_CERT : FAULT_TLS_NO_CERT;
	bool strange = !peers_healed && sim_fault(stranger);

	sim_tls_init(&peer->tls, peer_kind(server, strange));
	peer->cut_at = UINT64_MAX;
	if (strange) {
		peer_break(peer, "a peer nobody knows");
	}
	if (sim_fault(FAULT_TLS_OLD)) {
		sim_tls_old(&peer->tls);
	}
	peer_new_manners(peer);
	peer->tls.updates = sim_fault(FAULT_TLS_NEW_KEYS);
	peer->no_notify = sim_fault(FAULT_TLS_NO_NOTIFY);
	if (sim_fault(FAULT_TLS_FLIP)) {
		peer->tls.flip_at = peer_somewhere();
	}
	if (sim_fault(FAULT_TLS_JUNK)) {
		peer->tls.junk_at = peer_somewhere();
	}
	if (sim_fault(FAULT_TLS_CUT)) {
		peer->cut_at = peer_somewhere();
	}
}

/* What is known of its link, before the header came as well. */
static struct sim_link *
peer_link(const struct peer *peer)
{
	return peer->link != NULL ? peer->link : sim_link(peer->sock->tag);
}

uint64_t
peer_moved(const struct peer *peer)
{
	return peer->tls.ssl != NULL ? peer->tls.moved : peer->sent + peer->got;
}

bool
peer_may_write(const struct peer *peer)
{
	return peer->tls.ssl != NULL ? sim_tls_may_write(&peer->tls) : sk_writable(peer->sock);
}

bool
peer_may_read(const struct peer *peer)
{
	const struct sim_tls *tls = &peer->tls;

	if (peer->eof || (peer->no_reading && (tls->ssl == NULL || tls->shaken))) {
		return false;
	}
	return tls->ssl == NULL ? sk_readable(peer->sock)
				: (!tls->fin && sk_readable(peer->sock)) || sim_tls_has_input(tls);
}

bool
peer_has_output(const struct peer *peer)
{
	return peer->tls.ssl != NULL && !peer->fin_sent && sim_tls_has_output(&peer->tls);
}

bool
peer_owes_fin(const struct peer *peer)
{
	return peer->fin && !peer->fin_sent && !peer_has_output(peer);
}

/* FIN came without close_notify. */
void
peer_truncated(struct peer *peer)
{
	struct sim_link *link = peer_link(peer);

	sim_event("peer truncated", peer->sock->tag, peer->tls.shaken);
	if (link != NULL && peer->tls.shaken) {
		sim_link_truncated(link, peer->side);
	}
	peer_break(peer, "a peer was truncated");
	peer_end(peer);
}

/* Its TLS has failed: the alert leaves if it can. */
static void
peer_tls_failed(struct peer *peer)
{
	struct sim_link *link = peer_link(peer);

	sim_event("peer tls failed", peer->sock->tag, 0);
	if (link != NULL) {
		sim_link_tls_failed(link, sim_tls_why());
	}
	peer_break(peer, "a peer's TLS failed");
	(void)sim_tls_out(&peer->tls, peer->sock, PIECE_BYTES);
	peer_end(peer);
}

/* Ciphertext moves, and hands are shaken. False: that was its end. */
bool
peer_step_tls(struct peer *peer)
{
	struct sim_tls *tls = &peer->tls;
	int64_t moved = 0;

	if (tls->written >= peer->cut_at && !peer->fin_sent) {
		peer_break(peer, "a peer's stream is cut");
		peer->fin = true;
		peer->fin_sent = true;
		(void)sk_shutdown(peer->sock, SHUT_WR);
	}
	if (peer_has_output(peer) && (peer->no_reading || sim_coin())) {
		moved = sim_tls_out(tls, peer->sock, peer->piece);
	}
	if (tls->spoilt) {
		peer_break(peer, "a peer spoils its records");
	}
	if ((moved >= 0 || moved == -EAGAIN) && !tls->fin && peer_may_read(peer) &&
	    !sim_tls_has_input(tls)) {
		moved = sim_tls_in(tls, peer->sock, peer->mouthful);
	}
	if (moved < 0 && moved != -EAGAIN) {
		peer_reset_came(peer);
		return false;
	}
	if (!tls->shaken && !tls->failed) {
		sim_tls_shake(tls);
	}
	if (tls->failed) {
		peer_tls_failed(peer);
		return false;
	}
	if (tls->fin && !tls->shaken) {
		peer_truncated(peer);
		return false;
	}
	return true;
}
