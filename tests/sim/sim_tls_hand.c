/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_tls_hand.h"

#include <errno.h>
#include <string.h>

#include "sim_harness.h"

#define HAND_ROUNDS_MAX 10000

void
hand_listen(struct scene *scene, scene_fn on)
{
	struct rl_conn_options options = { 0 };

	sim_tls_setup();
	options.tls = sim_tls_listener(false);
	memset(scene, 0, sizeof(*scene));
	scene->on = on;
	scene_listen(scene, "tls://127.0.0.1:0", &options);
}

void
hand_init(struct hand *hand, struct sk_sock *sock, enum sim_tls_kind kind)
{
	memset(hand, 0, sizeof(*hand));
	hand->sock = sock;
	sim_tls_init(&hand->tls, kind);
}

void
hand_fini(struct hand *hand)
{
	if (hand->sock != NULL) {
		sim_tls_fini(&hand->tls);
		sk_file_put(&hand->sock->file);
		hand->sock = NULL;
	}
}

static bool
hand_read(struct hand *hand)
{
	char piece[4096];
	int64_t got = sim_tls_read(&hand->tls, piece, sizeof(piece));
	size_t at = hand->bytes < HAND_BYTES - 1 ? hand->bytes : HAND_BYTES - 1;
	size_t room = HAND_BYTES - 1 - at;

	if (got == -ECONNABORTED) {
		hand->truncated = true;
	}
	if (got <= 0) {
		return false;
	}
	room = (size_t)got < room ? (size_t)got : room;
	memcpy(hand->text + at, piece, room);
	hand->bytes += (size_t)got;
	return true;
}

/* Bytes from the socket, FIN or RST. */
static bool
hand_take(struct hand *hand)
{
	int64_t got;

	if (hand->deaf || hand->tls.fin || hand->reset || !sk_readable(hand->sock)) {
		return false;
	}
	got = sim_tls_in(&hand->tls, hand->sock, UINT32_MAX);
	hand->reset = got < 0 && got != -EAGAIN;
	return got != -EAGAIN;
}

static bool
hand_give(struct hand *hand)
{
	int64_t took;

	if (!sim_tls_has_output(&hand->tls) || hand->reset || !sk_writable(hand->sock)) {
		return false;
	}
	took = sim_tls_out(&hand->tls, hand->sock, UINT32_MAX);
	hand->reset = took < 0 && took != -EAGAIN;
	return took > 0;
}

bool
hand_move(struct hand *hand)
{
	bool moved;

	if (hand->sock == NULL) {
		return false;
	}
	moved = hand_take(hand);
	if (!hand->tls.shaken && !hand->tls.failed) {
		sim_tls_shake(&hand->tls);
		hand->truncated = hand->tls.fin && !hand->tls.shaken;
	}
	while (hand->tls.shaken && !hand->tls.failed && !hand->tls.ended && hand_read(hand)) {
		moved = true;
	}
	return hand_give(hand) || moved;
}

void
hand_settle(struct hand *hand)
{
	uint32_t rounds = 0;

	do {
		sim_settle();
		sim_check(++rounds < HAND_ROUNDS_MAX, "a peer does not come to rest");
	} while (hand_move(hand));
}

void
hand_write(struct hand *hand, const char *text)
{
	sim_check(sim_tls_write(&hand->tls, text, (uint32_t)strlen(text)) == (int64_t)strlen(text),
		  "a peer can't write");
}

void
hand_end(struct hand *hand)
{
	sim_tls_end(&hand->tls);
	hand_settle(hand);
	(void)sk_shutdown(hand->sock, SHUT_WR);
	hand_settle(hand);
}
