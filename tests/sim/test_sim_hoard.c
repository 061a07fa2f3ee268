/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: input that waits, because its connection is paused or its handler put it off, takes no
 * more than the memory for it; when that runs out, those go who have held the most for the longest,
 * and nobody who reads or of whose bytes some move; what is put off becomes no more.
 * How: peers moved by hand, in virtual time.
 * Not proved: what real kernels deliver at once; tests/integration has that.
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
#include "sim_tls_hand.h"

#define TCP	 "tcp://127.0.0.1:0"
#define REPLY	 (512 * 1024)
#define HOARDERS 90
#define BURST	 (16 * 1024)

static const uint8_t zeros[REPLY];

/* Any byte is answered with much. */
static int
on_reply(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	int rc;

	(void)scene;
	if (msg->kind != RL_MSG_RECV) {
		return msg->kind == RL_MSG_WRITABLE ? 0 : RL_ACTOR_UNHANDLED;
	}
	rc = rl_conn_send(self, zeros, sizeof(zeros));
	(void)rc; /* refused or not, the bytes are taken */
	return 0;
}

/* Its first bytes are answered with more than the high mark: what came behind them has to wait. */
static struct sk_sock *
slow_burst(struct scene *scene)
{
	struct sk_sock *peer = scene_connect(scene);

	assert_int_equal(sk_write(peer, zeros, BURST), BURST);
	sim_settle();
	return peer;
}

/* Their input fills the memory for it; who reads has to wait at times, too, and loses nothing. */
static void
hoards_of_those_who_never_read_end_nobody_who_reads(void **state)
{
	struct rl_config config =
		RL_CONFIG(.shards = 1, .sq_entries = 64, .cq_entries = 256, .conns_max = 256,
			  .recv_buffers = 64, .recv_buffer_bytes = 1024, .recv_pool_bytes = 65536);
	struct scene reader = { .on = on_reply };
	struct scene crawler = { .on = on_reply };
	struct sk_sock *peers[HOARDERS];

	(void)state;
	sim_new_with(&config, 41);
	scene_listen(&reader, TCP, NULL);
	scene_listen(&crawler, TCP, NULL);
	sim_lazy(65536); /* what was written comes at once */
	for (uint32_t i = 0; i < HOARDERS; i++) {
		struct sk_sock *peer;

		peers[i] = slow_burst(&crawler);
		sim_advance_ns((uint64_t)RL_MS(1));
		reader.bytes = 0;
		peer = slow_burst(&reader);
		assert_in_range(reader.bytes, 1, BURST - 1);
		assert_true(scene_drain(peer) > 0);
		assert_int_equal(reader.live, 1);
		assert_int_equal(reader.bytes, BURST);
		scene_close(peer);
		assert_int_equal(reader.live, 0);
	}
	assert_int_equal(reader.stops[RL_REASON_PEER_FIN], HOARDERS);
	assert_in_range(crawler.stops[RL_REASON_EVICTED], 1, HOARDERS - 1);
	assert_int_equal(crawler.stop_error, -ENOBUFS);
	assert_int_equal(crawler.live, HOARDERS - crawler.stops[RL_REASON_EVICTED]);
	for (uint32_t i = 0; i < HOARDERS; i++) {
		scene_close(peers[i]);
	}
	scene_end();
}

static int
on_put_off(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	(void)self;
	return msg->kind == RL_MSG_RECV ? -EAGAIN : RL_ACTOR_UNHANDLED;
}

/* What a handler has put off is held as what was never delivered is, in the same memory. */
static void
what_is_put_off_is_held_in_recv_pool_bytes(void **state)
{
	struct rl_config config =
		RL_CONFIG(.shards = 1, .sq_entries = 64, .cq_entries = 256, .conns_max = 256,
			  .recv_buffers = 64, .recv_buffer_bytes = BURST, .recv_pool_bytes = 65536);
	struct scene scene = { .on = on_put_off };
	struct sk_sock *peers[HOARDERS];

	(void)state;
	sim_new_with(&config, 43);
	scene_listen(&scene, TCP, NULL);
	sim_lazy(65536); /* one delivery for each */
	for (uint32_t i = 0; i < HOARDERS; i++) {
		peers[i] = slow_burst(&scene);
		sim_advance_ns((uint64_t)RL_MS(1));
	}
	assert_int_equal(scene.bytes, HOARDERS * BURST);
	assert_in_range(scene.stops[RL_REASON_EVICTED], 1, HOARDERS - 1);
	assert_int_equal(scene.live, HOARDERS - scene.stops[RL_REASON_EVICTED]);
	for (uint32_t i = 0; i < HOARDERS; i++) {
		scene_close(peers[i]);
	}
	scene_end();
}

/* Takes a byte of what is there, and with @flag one more every now and then. */
static int
on_sip(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	switch (msg->kind) {
	case RL_MSG_OPEN:
		return scene->flag ? rl_timer_start_every(self, (uint64_t)RL_MS(1), 0, NULL) : 0;
	case RL_MSG_TIMER:
		return rl_conn_resume(self);
	case RL_MSG_RECV:
		scene->sent++;
		rl_conn_consumed(self, 1);
		return -EAGAIN;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

/* The first hoard of all is not the worst, since its bytes move. */
static void
hoard_that_moves_goes_last(void **state)
{
	struct rl_config config =
		RL_CONFIG(.shards = 1, .sq_entries = 64, .cq_entries = 256, .conns_max = 256,
			  .recv_buffers = 64, .recv_buffer_bytes = 2 * BURST,
			  .recv_pool_bytes = 65536);
	struct scene sipper = { .on = on_sip, .flag = true };
	struct scene crawler = { .on = on_sip };
	struct sk_sock *peers[HOARDERS];
	struct sk_sock *peer;

	(void)state;
	sim_new_with(&config, 47);
	scene_listen(&sipper, TCP, NULL);
	scene_listen(&crawler, TCP, NULL);
	sim_lazy(65536);
	peer = slow_burst(&sipper);
	for (uint32_t i = 0; i < HOARDERS; i++) {
		peers[i] = slow_burst(&crawler);
		sim_advance_ns((uint64_t)RL_MS(2));
	}
	assert_in_range(sipper.sent, HOARDERS, BURST / 4);
	assert_in_range(crawler.stops[RL_REASON_EVICTED], 1, HOARDERS - 1);
	assert_int_equal(sipper.live, 1);
	for (uint32_t i = 0; i < HOARDERS; i++) {
		scene_close(peers[i]);
	}
	scene_close(peer);
	scene_end();
}

/* Two sizes of hoards, so that those who go are no neighbours: a little of somebody else fits. */
static void
hoards_of_large_pieces_make_room_for_a_small_one(void **state)
{
	struct rl_config config =
		RL_CONFIG(.shards = 1, .sq_entries = 64, .cq_entries = 256, .conns_max = 256,
			  .recv_buffers = 64, .recv_buffer_bytes = BURST, .recv_pool_bytes = 65536);
	struct scene reader = { .on = on_put_off };
	struct scene crawler = { .on = on_put_off };
	struct sk_sock *peers[HOARDERS];
	struct sk_sock *peer;

	(void)state;
	sim_new_with(&config, 59);
	scene_listen(&reader, TCP, NULL);
	scene_listen(&crawler, TCP, NULL);
	sim_lazy(65536);
	for (uint32_t i = 0; i < HOARDERS; i++) {
		peers[i] = scene_connect(&crawler);
		scene_write_bytes(peers[i], zeros, i % 2 == 0 ? BURST : BURST * 9 / 16);
		sim_settle();
		sim_advance_ns((uint64_t)RL_MS(1));
	}
	assert_in_range(crawler.stops[RL_REASON_EVICTED], 1, HOARDERS - 1);
	crawler.number = crawler.live;
	peer = scene_connect(&reader);
	scene_write(peer, "a request");
	sim_settle();
	assert_int_equal(reader.live, 1);
	assert_in_range(crawler.live, crawler.number - 1, crawler.number);
	for (uint32_t i = 0; i < HOARDERS; i++) {
		scene_close(peers[i]);
	}
	scene_close(peer);
	scene_end();
}

/* Puts off nine times, and takes it then; @number: deliveries, @sent: bytes of the first. */
static int
on_put_off_for_long(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_TIMER) {
		return rl_conn_resume(self);
	}
	if (msg->kind != RL_MSG_RECV) {
		return msg->kind == RL_MSG_EOF ? RL_ACTOR_STOP : 0;
	}
	scene->sent = scene->number == 0 ? msg->recv.len : scene->sent;
	if (scene->number == 9) {
		return 0;
	}
	scene->number++;
	assert_int_equal(msg->recv.len, scene->sent);
	assert_int_equal(rl_timer_start(self, (uint64_t)RL_MS(1), 0, NULL), 0);
	return -EAGAIN;
}

/* It is held in memory that no pool counts, so there must be no more of it each time. */
static void
what_is_put_off_under_tls_does_not_grow(void **state)
{
	static char text[10001];
	struct scene scene;
	struct hand hand;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	sim_new(1, 53);
	hand_listen(&scene, on_put_off_for_long);
	hand_init(&hand, scene_connect(&scene), SIM_TLS_CLIENT);
	hand_settle(&hand);
	for (int i = 0; i < 4; i++) {
		hand_write(&hand, text);
		(void)hand_move(&hand);
	}
	hand_settle(&hand);
	sim_advance_ns((uint64_t)RL_MS(20));
	hand_settle(&hand);
	assert_int_equal(scene.number, 9);
	assert_in_range(scene.sent, 1, BURST);
	assert_int_equal(scene.bytes, 9 * scene.sent + 4 * (sizeof(text) - 1));
	hand_end(&hand);
	assert_int_equal(scene.stop_reason, RL_REASON_PEER_FIN);
	hand_fini(&hand);
	scene_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hoards_of_those_who_never_read_end_nobody_who_reads),
		cmocka_unit_test(what_is_put_off_is_held_in_recv_pool_bytes),
		cmocka_unit_test(hoard_that_moves_goes_last),
		cmocka_unit_test(hoards_of_large_pieces_make_room_for_a_small_one),
		cmocka_unit_test(what_is_put_off_under_tls_does_not_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
