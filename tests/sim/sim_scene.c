/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_scene.h"

#include <errno.h>
#include <string.h>

#include "sim_harness.h"

static void
scene_bytes(struct scene *scene, const struct rl_msg *msg)
{
	size_t room = scene->bytes < SCENE_BYTES ? SCENE_BYTES - scene->bytes : 0;
	size_t n = msg->recv.len < room ? msg->recv.len : room;

	if (n > 0) {
		memcpy(scene->text + scene->bytes, msg->recv.data, n);
	}
	scene->bytes += msg->recv.len;
}

static void
scene_note(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	scene->count[msg->kind < SCENE_KINDS ? msg->kind : SCENE_KINDS - 1]++;
	switch (msg->kind) {
	case RL_MSG_START:
		scene->live++;
		scene->id = rl_actor_self(self);
		break;
	case RL_MSG_OPEN:
		scene->peer = *msg->open.peer;
		break;
	case RL_MSG_RECV:
		scene_bytes(scene, msg);
		break;
	case RL_MSG_EOF:
		scene->eof_leftover = msg->eof.leftover_bytes;
		break;
	case RL_MSG_STOP:
		scene->live--;
		scene->stops[msg->stop.reason]++;
		scene->stop_reason = msg->stop.reason;
		scene->stop_error = msg->stop.error;
		scene->stop_ns = sim_world.now_ns;
		break;
	default:
		break;
	}
}

static int
scene_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct scene **state = rl_actor_state(self);

	if (msg->kind == RL_MSG_START) {
		*state = msg->start.arg;
	}
	scene_note(*state, self, msg);
	if ((*state)->on != NULL) {
		return (*state)->on(*state, self, msg);
	}
	return msg->kind == RL_MSG_RECV ? rl_conn_send(self, msg->recv.data, msg->recv.len)
					: RL_ACTOR_UNHANDLED;
}

const struct rl_actor_def scene_def = {
	.name = "scene",
	.receive = scene_receive,
	.state_size = sizeof(struct scene *),
};

void
scene_listen(struct scene *scene, const char *url, const struct rl_conn_options *options)
{
	struct rl_listener_options listen = { .arg = scene };
	struct url parsed;
	int rc;

	if (options != NULL) {
		listen.conn = *options;
	}
	rc = rl_listener_open(sim_system(), url, &scene_def, &listen, &scene->listener);
	sim_check(rc == 0, "scene: %s can't be listened on: %d", url, rc);
	rc = rl_listener_url(sim_system(), scene->listener, scene->url);
	sim_check(rc == 0, "scene: a listener without URL");
	rc = rli_url_parse(&parsed, scene->url, URL_CONNECT, &sim_system()->log);
	sim_check(rc == 0, "scene: %s is no URL", scene->url);
	scene->addr = parsed.sockaddr;
	scene->addr_len = parsed.len;
	sim_settle();
}

struct sk_sock *
scene_connect(struct scene *scene)
{
	struct sk_sock *peer = sk_socket(scene->addr.sa.sa_family == AF_UNIX);

	(void)sk_connect(peer, &scene->addr, scene->addr_len);
	sim_settle();
	return peer;
}

struct sk_sock *
scene_serve(uint16_t port)
{
	struct sk_sock *listener = sk_socket(false);
	union url_sockaddr addr;
	socklen_t len;

	sk_addr_tcp(&addr, &len, port);
	(void)sk_bind(listener, &addr, len);
	sk_listen(listener, 16);
	return listener;
}

size_t
scene_write_bytes(struct sk_sock *peer, const void *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		int64_t n = sk_write(peer, (const uint8_t *)data + done, (uint32_t)(len - done));

		if (n <= 0) {
			break;
		}
		done += (size_t)n;
		sim_settle();
	}
	return done;
}

size_t
scene_write(struct sk_sock *peer, const char *text)
{
	return scene_write_bytes(peer, text, strlen(text));
}

size_t
scene_read(struct sk_sock *peer, char *text, size_t size)
{
	size_t done = 0;

	while (done + 1 < size) {
		int64_t n = sk_read(peer, text + done, (uint32_t)(size - 1 - done));

		if (n <= 0) {
			break;
		}
		done += (size_t)n;
		sim_settle();
	}
	text[done] = '\0';
	return done;
}

size_t
scene_drain(struct sk_sock *peer)
{
	char piece[4096];
	size_t total = 0;
	size_t n;

	while ((n = scene_read(peer, piece, sizeof(piece))) > 0) {
		total += n;
	}
	return total;
}

bool
scene_is_eof(struct sk_sock *peer)
{
	return peer->rcv.len == 0 && peer->fin_seen;
}

bool
scene_is_reset(struct sk_sock *peer)
{
	return peer->state == SK_DEAD && peer->was_reset && !peer->fin_seen;
}

void
scene_close(struct sk_sock *peer)
{
	sk_file_put(&peer->file);
	sim_settle();
}

void
scene_end(void)
{
	sim_drain();
	sim_stop();
	while (sk_net_step()) {
	}
	sim_finish(false);
}
