/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A peer of TLS that scripts move by hand.
 *
 *	hand_init(&hand, scene_connect(&scene), SIM_TLS_CLIENT);
 *	hand_settle(&hand);
 *	hand_write(&hand, "hello");
 *	hand_settle(&hand);
 *	assert_string_equal(hand.text, "hello");
 *	hand_fini(&hand);
 */
#ifndef RINGLINE_SIM_TLS_HAND_H
#define RINGLINE_SIM_TLS_HAND_H

#include "sim_kernel.h"
#include "sim_scene.h"
#include "sim_tls.h"

#define HAND_BYTES 4096

struct hand {
	struct sk_sock *sock;
	struct sim_tls tls;
	char text[HAND_BYTES]; /* what came, as far as there is room, NUL-terminated */
	size_t bytes; /* all that came */
	bool deaf; /* reads nothing from its socket */
	bool truncated; /* FIN without close_notify */
	bool reset;
};

/* On tls://, after sim_new(): @scene from its beginning, with @on. */
void hand_listen(struct scene *scene, scene_fn on);

/* Takes @sock. */
void hand_init(struct hand *hand, struct sk_sock *sock, enum sim_tls_kind kind);

/* Closes its socket; once more does nothing. */
void hand_fini(struct hand *hand);

/* Whatever can move does, at its end; true: something did. */
bool hand_move(struct hand *hand);

/* Until nothing moves any more, at either end. */
void hand_settle(struct hand *hand);

void hand_write(struct hand *hand, const char *text);

/* close_notify leaves; and FIN behind it. */
void hand_end(struct hand *hand);

#endif
