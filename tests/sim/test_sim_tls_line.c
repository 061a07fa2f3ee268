/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: handshakes that wait for each other are served as they came, keep no reply waiting, and
 * are evicted when what they sent takes all memory; deadlines don't pass over what has come.
 * How: the runtime in the simulator, and peers with an OpenSSL of their own that are moved by hand.
 * Not proved: what it does to latency (bench/run tls).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "net/net.h"
#include "shard/shard.h"

#include "sim_harness.h"
#include "sim_scene.h"
#include "sim_tls_hand.h"
#include "sim_world.h"

#define LINE_HANDS 6
#define STEP_HANDS 4
#define LINE_PEERS 192
#define LINE_BYTES 16384
#define LINE_ROOM  60 /* of them have room in the pool */

static struct scene scene;

/* The first to open is told "1", the next "2". */
static int
numbers_who_opens(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	char text = (char)('1' + on->number);

	if (msg->kind == RL_MSG_OPEN) {
		on->number++;
		return rl_conn_send(self, &text, 1);
	}
	return msg->kind == RL_MSG_EOF ? RL_ACTOR_STOP : 0;
}

/* What they send arrives in their order. */
static void
hands_settle(struct hand *hands, size_t count)
{
	bool moved;

	do {
		moved = false;
		sim_settle();
		for (size_t i = 0; i < count; i++) {
			moved = hand_move(&hands[i]) || moved;
			while (sk_net_step()) {
			}
		}
	} while (moved);
}

/* A turn has room for two actors and one step, so some are called and don't run. */
static void
tls_handshakes_are_served_as_they_came(void **state)
{
	struct rl_config config = RL_CONFIG(.shards = 1, .conns_max = 64, .recv_buffers = 8,
					    .recv_buffer_bytes = 2048, .turn_actors_max = 2,
					    .tls_handshake_steps_max = 1);
	struct hand hands[LINE_HANDS];

	(void)state;
	sim_new_with(&config, 7);
	hand_listen(&scene, numbers_who_opens);
	for (size_t i = 0; i < LINE_HANDS; i++) {
		hand_init(&hands[i], scene_connect(&scene), SIM_TLS_CLIENT);
	}
	hands_settle(hands, LINE_HANDS);
	for (size_t i = 0; i < LINE_HANDS; i++) {
		const char want[] = { (char)('1' + i), '\0' };

		assert_string_equal(hands[i].text, want);
		hand_end(&hands[i]);
		hand_fini(&hands[i]);
	}
	scene_end();
}

/* The next one whose answer came: the first's was read, and it has asked again. */
static size_t
hands_next(struct hand *hands, bool *answered)
{
	for (;;) {
		if (sk_readable(hands[0].sock)) {
			(void)hand_move(&hands[0]);
			hand_write(&hands[0], "again");
			(void)hand_move(&hands[0]);
			return 0;
		}
		for (size_t i = 1; i < STEP_HANDS; i++) {
			if (!answered[i] && sk_readable(hands[i].sock)) {
				answered[i] = true;
				return i;
			}
		}
		assert_true(sim_step());
	}
}

/*
 * One that is open asks again and again, and others shake hands: all arrives before a turn, no turn
 * answers both, and they alternate.
 */
static void
tls_replies_wait_for_no_step(void **state)
{
	struct rl_config config = RL_CONFIG(.shards = 1, .conns_max = 64);
	bool answered[STEP_HANDS] = { false };
	struct hand hands[STEP_HANDS];
	uint64_t turns;

	(void)state;
	sim_new_with(&config, 7);
	hand_listen(&scene, NULL);
	for (size_t i = 0; i < STEP_HANDS; i++) {
		hand_init(&hands[i], scene_connect(&scene), SIM_TLS_CLIENT);
		if (i == 0) {
			hand_settle(&hands[i]);
		}
	}
	sim_settle(); /* accepted, and nothing was said */
	sim_lazy(65536);
	hand_write(&hands[0], "hello");
	for (size_t i = 0; i < STEP_HANDS; i++) {
		assert_true(hand_move(&hands[i]));
	}
	turns = sim_turns();
	for (size_t i = 1; i < STEP_HANDS; i++) {
		assert_int_equal(hands_next(hands, answered), 0);
		assert_true(sim_turns() > turns);
		turns = sim_turns();
		assert_int_not_equal(hands_next(hands, answered), 0); /* in any order */
		assert_true(sim_turns() > turns);
		turns = sim_turns();
	}
	hands_settle(hands, STEP_HANDS);
	for (size_t i = 0; i < STEP_HANDS; i++) {
		hand_end(&hands[i]);
		hand_fini(&hands[i]);
	}
	scene_end();
}

/*
 * A turn of handshakes takes nothing in, so no deadline passes in it over what came in time: here a
 * message, right before the connection would have idled for too long, and a long turn.
 */
static void
tls_deadlines_see_what_came_before_a_step(void **state)
{
	struct rl_config config =
		RL_CONFIG(.shards = 1, .conns_max = 64, .idle_timeout_ns = RL_SEC(5));
	const struct net *net;
	struct hand talker;
	struct hand shaker;

	(void)state;
	sim_new_with(&config, 7);
	hand_listen(&scene, NULL);
	hand_init(&talker, scene_connect(&scene), SIM_TLS_CLIENT);
	hand_settle(&talker);
	net = sim_on(0)->net;
	sim_advance_ns(RL_MS(4990));
	hand_init(&shaker, scene_connect(&scene), SIM_TLS_CLIENT);
	sim_settle(); /* accepted */
	sim_lazy(65536); /* what was written is there before the next turn */
	assert_true(hand_move(&shaker));
	while (!net->tls_turn) {
		assert_true(sim_step());
	}
	hand_write(&talker, "hello");
	assert_true(hand_move(&talker));
	while (sk_net_step()) {
	}
	sim_world.now_ns += (uint64_t)RL_MS(100);
	sim_on(0)->now_ns = sim_world.now_ns; /* as the enter's end reads it */
	sim_turn(0);
	hand_settle(&talker);
	hand_settle(&shaker);
	assert_string_equal(talker.text, "hello");
	hand_end(&talker);
	hand_fini(&talker);
	hand_end(&shaker);
	hand_fini(&shaker);
	scene_end();
}

/* All that they send is more than there is memory for. */
static void
tls_handshakes_in_line_are_evicted_for_others(void **state)
{
	struct rl_config config = RL_CONFIG(.shards = 1, .conns_max = 256, .recv_buffers = 64,
					    .recv_buffer_bytes = 1024, .recv_pool_bytes = 65536,
					    .tls_handshake_steps_max = 1);
	static const char junk[LINE_BYTES];
	struct sk_sock *peers[LINE_PEERS];
	struct hand hand;

	(void)state;
	sim_new_with(&config, 7);
	hand_listen(&scene, NULL);
	hand_init(&hand, scene_connect(&scene), SIM_TLS_CLIENT);
	hand_settle(&hand);
	for (size_t i = 0; i < LINE_PEERS; i++) {
		peers[i] = scene_connect(&scene);
	}
	sim_lazy(65536); /* what was written comes at once */
	for (size_t i = 0; i < LINE_PEERS; i++) {
		assert_int_equal(sk_write(peers[i], junk, LINE_BYTES), LINE_BYTES);
	}
	hand_write(&hand, "still here");
	hand_settle(&hand);
	assert_string_equal(hand.text, "still here");
	for (size_t i = 0; i < LINE_PEERS; i++) {
		scene_close(peers[i]);
	}
	sim_settle();
	assert_int_equal(scene.live, 1);
	assert_in_range(scene.stops[RL_REASON_EVICTED], 1, LINE_PEERS - LINE_ROOM);
	assert_int_equal(scene.stops[RL_REASON_EVICTED] + scene.stops[RL_REASON_TLS], LINE_PEERS);
	hand_end(&hand);
	hand_fini(&hand);
	scene_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tls_handshakes_are_served_as_they_came),
		cmocka_unit_test(tls_replies_wait_for_no_step),
		cmocka_unit_test(tls_deadlines_see_what_came_before_a_step),
		cmocka_unit_test(tls_handshakes_in_line_are_evicted_for_others),
	};

	return cmocka_run_group_tests_name("sim_tls_line", tests, NULL, NULL);
}
