/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Receiving and sending as an actor sees it: order, leftovers, pauses, back-pressure, half-close.
 * Scripted, with a kernel that behaves; what a hostile one adds is what the seeds are for.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim_harness.h"
#include "sim_scene.h"

#define TCP "tcp://127.0.0.1:0"

static int
setup(void **state)
{
	(void)state;
	sim_new(1, 11);
	return 0;
}

static void
stream_echo_comes_back(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peer;
	char text[64];

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	assert_int_equal(scene.count[RL_MSG_START], 1);
	assert_int_equal(scene.count[RL_MSG_OPEN], 1);
	assert_int_equal(scene.peer.family, RL_ADDR_INET);
	assert_int_equal(scene.peer.port, sk_addr_port(&peer->local));
	scene_write(peer, "hello");
	sim_settle();
	assert_int_equal(scene_read(peer, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	scene_close(peer);
	assert_int_equal(scene.stops[RL_REASON_PEER_FIN], 1);
	scene_end();
}

/* A client that half-closes still gets its whole reply. */
static void
stream_half_closed_peer_gets_its_reply(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peer;
	char text[64];

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	(void)sk_write(peer, "request", 7);
	(void)sk_shutdown(peer, SHUT_WR);
	sim_settle();
	assert_int_equal(scene.count[RL_MSG_EOF], 1);
	assert_int_equal(scene_read(peer, text, sizeof(text)), 7);
	assert_true(scene_is_eof(peer));
	scene_close(peer);
	scene_end();
}

static int
on_half_close(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	switch (msg->kind) {
	case RL_MSG_OPEN:
		assert_int_equal(rl_conn_send(self, "bye", 3), 0);
		assert_int_equal(rl_conn_shutdown_write(self), 0);
		assert_int_equal(rl_conn_shutdown_write(self), -ESHUTDOWN);
		assert_int_equal(rl_conn_send(self, "x", 1), -ESHUTDOWN);
		return 0;
	case RL_MSG_RECV:
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

/* We half-close: FIN comes after the output, and bytes still arrive. */
static void
stream_half_closed_by_us_still_receives(void **state)
{
	struct scene scene = { .on = on_half_close };
	struct sk_sock *peer;
	char text[64];

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	assert_int_equal(scene_read(peer, text, sizeof(text)), 3);
	assert_true(scene_is_eof(peer));
	assert_int_equal(scene_write(peer, "still"), 5);
	sim_settle();
	assert_int_equal(scene.bytes, 5);
	assert_int_equal(scene.live, 1);
	scene_close(peer);
	assert_int_equal(scene.stops[RL_REASON_PEER_FIN], 1);
	scene_end();
}

/* Consumes whole words of four. */
static int
on_words(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	scene->number = msg->recv.len;
	rl_conn_consumed(self, msg->recv.len / 4 * 4);
	return 0;
}

static void
stream_leftover_comes_again_in_front(void **state)
{
	struct scene scene = { .on = on_words };
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "abcdef");
	sim_settle();
	scene.bytes = 0;
	scene_write(peer, "gh");
	sim_settle();
	assert_int_equal(scene.number, 4);
	assert_memory_equal(scene.text, "efgh", 4);

	/* and once more before the end, which says what was left */
	scene_write(peer, "xyz");
	sim_settle();
	scene.bytes = 0;
	scene_close(peer);
	assert_memory_equal(scene.text, "xyz", 3);
	assert_int_equal(scene.count[RL_MSG_EOF], 1);
	assert_int_equal(scene.eof_leftover, 3);
	scene_end();
}

static int
on_nothing(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	rl_conn_consumed(self, 0);
	return 0;
}

static void
stream_leftover_beyond_the_limit_ends_it(void **state)
{
	static uint8_t bytes[200000];
	struct scene scene = { .on = on_nothing };
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write_bytes(peer, bytes, sizeof(bytes));
	sim_settle();
	assert_int_equal(scene.stops[RL_REASON_LIMIT], 1);
	assert_true(scene_is_reset(peer));
	scene_close(peer);
	scene_end();
}

static int
on_pause(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	switch (msg->kind) {
	case RL_MSG_OPEN:
		assert_int_equal(rl_conn_pause(self), 0);
		return 0;
	case RL_MSG_RECV:
		assert_true(scene->flag);
		return 0;
	case RL_MSG_USER:
		scene->flag = true;
		return rl_conn_resume(self);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

/* Paused: nothing is delivered, the window closes, no buffer is held; then all of it comes. */
static void
stream_pause_holds_the_peer_back_and_loses_nothing(void **state)
{
	static uint8_t bytes[300000];
	struct scene scene = { .on = on_pause };
	struct sk_sock *peer;
	size_t taken;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	taken = scene_write_bytes(peer, bytes, sizeof(bytes));
	sim_settle();
	assert_in_range(taken, 1, 2 * (sk.rcv_cap + sk.snd_cap));
	assert_int_equal(scene.bytes, 0);
	assert_int_equal(sim_on(0)->bufring.home, sim_on(0)->bufring.count);
	assert_int_equal(rl_system_send(sim_system(), scene.id, RL_MSG_USER, NULL, 0), 0);
	sim_settle();
	assert_int_equal(scene.bytes, taken);
	taken += scene_write_bytes(peer, bytes, sizeof(bytes) - taken);
	sim_settle();
	assert_int_equal(taken, sizeof(bytes));
	assert_int_equal(scene.bytes, sizeof(bytes));
	scene_close(peer);
	scene_end();
}

static int
on_flood(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	static const uint8_t bytes[10000];
	int rc = 0;

	if (msg->kind != RL_MSG_OPEN && msg->kind != RL_MSG_WRITABLE) {
		return RL_ACTOR_UNHANDLED;
	}
	if (msg->kind == RL_MSG_WRITABLE) {
		assert_true(msg->writable.queued_bytes < sim_config()->send_low_bytes);
		scene->number++;
		return RL_ACTOR_STOP;
	}
	while (rc != -EAGAIN) {
		struct rl_conn_stats stats;

		rc = rl_conn_send(self, bytes, sizeof(bytes));
		scene->sent += rc == -EAGAIN ? 0 : sizeof(bytes);
		assert_int_equal(rl_conn_stats(self, &stats), 0);
		assert_int_equal(rc == RL_CONN_SEND_HIGH,
				 rc != -EAGAIN &&
					 stats.queued_bytes > sim_config()->send_high_bytes);
		assert_true(stats.queued_bytes <= sim_config()->send_cap_bytes);
	}
	assert_int_equal(rl_conn_send(self, bytes, sim_config()->send_cap_bytes + 1), -EMSGSIZE);
	return 0;
}

/* 0, then HIGH, then -EAGAIN; one WRITABLE when it has left; nothing is lost. */
static void
stream_flood_is_told_high_again_and_writable_once(void **state)
{
	struct scene scene = { .on = on_flood };
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	assert_int_equal(scene.number, 0);
	assert_int_equal(scene_drain(peer), scene.sent);
	assert_int_equal(scene.number, 1);
	assert_true(scene_is_eof(peer));
	scene_close(peer);
	assert_int_equal(scene.stops[RL_REASON_LOCAL], 1);
	scene_end();
}

/* A slow reader's echo: automatic pause bounds what is queued, and all comes back. */
static void
stream_auto_pause_bounds_the_echo(void **state)
{
	static uint8_t bytes[1500000];
	struct scene scene = { 0 };
	struct sk_sock *peer;
	size_t sent;
	size_t got = 0;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	sent = scene_write_bytes(peer, bytes, sizeof(bytes));
	sim_settle();
	assert_in_range(sent, sim_config()->send_high_bytes, sim_config()->send_cap_bytes);
	while (got < sizeof(bytes)) {
		size_t n = scene_drain(peer);

		got += n;
		sent += scene_write_bytes(peer, bytes, sizeof(bytes) - sent);
		sim_settle();
		assert_true(n > 0);
	}
	assert_int_equal(sim_stats().sends_refused, 0);
	assert_true(sim_stats().pauses > 0);
	scene_close(peer);
	scene_end();
}

/* Forty connections, eight buffers: whoever finds none waits its turn, and all are served. */
static void
stream_short_of_buffers_parks_and_goes_on(void **state)
{
	struct rl_config config = RL_CONFIG(.shards = 1, .conns_max = 64, .recv_buffers = 8,
					    .recv_buffer_bytes = 1024);
	static uint8_t bytes[9000];
	struct scene scene = { 0 };
	struct sk_sock *peers[40];

	(void)state;
	scene_end();
	sim_new_with(&config, 12);
	scene_listen(&scene, TCP, NULL);
	for (int i = 0; i < 40; i++) {
		peers[i] = scene_connect(&scene);
	}
	for (int i = 0; i < 40; i++) {
		assert_int_equal(sk_write(peers[i], bytes, sizeof(bytes)), sizeof(bytes));
	}
	sim_settle();
	assert_true(sim_stats().enobufs_parks > 0);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(scene_drain(peers[i]), sizeof(bytes));
		scene_close(peers[i]);
	}
	assert_int_equal(scene.stops[RL_REASON_PEER_FIN], 40);
	scene_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(stream_echo_comes_back, setup),
		cmocka_unit_test_setup(stream_half_closed_peer_gets_its_reply, setup),
		cmocka_unit_test_setup(stream_half_closed_by_us_still_receives, setup),
		cmocka_unit_test_setup(stream_leftover_comes_again_in_front, setup),
		cmocka_unit_test_setup(stream_leftover_beyond_the_limit_ends_it, setup),
		cmocka_unit_test_setup(stream_pause_holds_the_peer_back_and_loses_nothing, setup),
		cmocka_unit_test_setup(stream_flood_is_told_high_again_and_writable_once, setup),
		cmocka_unit_test_setup(stream_auto_pause_bounds_the_echo, setup),
		cmocka_unit_test_setup(stream_short_of_buffers_parks_and_goes_on, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
