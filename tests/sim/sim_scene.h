/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * For scripted scenarios: an actor that writes down what it was told and does what the script says,
 * and a remote peer that is moved by hand.
 *
 *	struct scene scene = { .on = my_handler };
 *
 *	sim_new(1, 7);
 *	scene_listen(&scene, "tcp://127.0.0.1:0", NULL);
 *	peer = scene_connect(&scene);
 *	scene_write(peer, "hello");
 *	sim_settle();
 *	assert_string_equal(scene.text, "hello");
 */
#ifndef RINGLINE_SIM_SCENE_H
#define RINGLINE_SIM_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ringline/ringline.h>

#include "sim_kernel.h"

#define SCENE_KINDS 16
#define SCENE_BYTES 65536

struct scene;

/* What the actor answers; called after the scene wrote the message down. */
typedef int (*scene_fn)(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg);

struct scene {
	scene_fn on; /* NULL: echo, and the defaults */
	/* of all actors of the scene together */
	uint32_t count[SCENE_KINDS]; /* messages by kind, program's own as the last */
	uint32_t stops[RL_REASON_COUNT];
	uint32_t live;
	int stop_error;
	enum rl_reason stop_reason; /* the last */
	uint64_t stop_ns;
	size_t eof_leftover;
	rl_actor_id id; /* the last that started */
	struct rl_addr peer; /* of the last RL_MSG_OPEN */
	char text[SCENE_BYTES]; /* bytes delivered, as far as there is room */
	size_t bytes; /* all that were delivered */
	/* for scripts */
	uint64_t number;
	uint64_t sent;
	bool flag;
	char url[RL_URL_MAX];
	rl_listener_id listener;
	union url_sockaddr addr;
	socklen_t addr_len;
};

/* The actor; its argument is the scene. */
extern const struct rl_actor_def scene_def;

/* Must succeed. */
void scene_listen(struct scene *scene, const char *url, const struct rl_conn_options *options);

/* A remote client of the scene's listener, its handshake done. */
struct sk_sock *scene_connect(struct scene *scene);

/* A remote server on @port; scene_accept() gives what came. */
struct sk_sock *scene_serve(uint16_t port);

/* The whole text, or as much as is taken; returns how much. */
size_t scene_write(struct sk_sock *peer, const char *text);
size_t scene_write_bytes(struct sk_sock *peer, const void *data, size_t len);

/* What is there, NUL-terminated; returns its length. */
size_t scene_read(struct sk_sock *peer, char *text, size_t size);

/* Read and throw away until nothing comes any more; returns how much. */
size_t scene_drain(struct sk_sock *peer);

/* The peer has seen FIN after all bytes; it was reset. */
bool scene_is_eof(struct sk_sock *peer);
bool scene_is_reset(struct sk_sock *peer);

void scene_close(struct sk_sock *peer);

/* Run sim_end() after giving up what remote peers still hold. */
void scene_end(void);

#endif
