/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what the connection under TLS does where a script has to say when: a change of keys
 * behind close_notify, the end with and without it, a host without memory for a record, a handshake
 * that stops, and many that have to wait for each other.
 * How: the runtime in the simulator, and a peer with an OpenSSL of its own that is moved by hand.
 * Not proved: what any sequence of such things does, which is for the seeds (sim --tls).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "shard/shard.h"

#include "sim_harness.h"
#include "sim_host.h"
#include "sim_scene.h"
#include "sim_tls_hand.h"

#define LINE_HANDS 6

static struct scene scene;

static void
tls_listen(scene_fn on)
{
	struct rl_conn_options options = { 0 };

	sim_tls_setup();
	options.tls = sim_tls_listener(false);
	memset(&scene, 0, sizeof(scene));
	scene.on = on;
	scene_listen(&scene, "tls://127.0.0.1:0", &options);
}

/* A listener of one shard, and a client that has shaken hands. */
static void
tls_begin(struct hand *hand, scene_fn on)
{
	sim_new(1, 7);
	tls_listen(on);
	hand_init(hand, scene_connect(&scene), SIM_TLS_CLIENT);
	hand_settle(hand);
	assert_true(hand->tls.shaken);
	assert_int_equal(scene.count[RL_MSG_OPEN], 1);
}

static void
tls_finish(struct hand *hand)
{
	hand_fini(hand);
	scene_end();
}

static int
shuts_at_once(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)on;
	if (msg->kind == RL_MSG_OPEN) {
		return rl_conn_shutdown_write(self);
	}
	return msg->kind == RL_MSG_EOF ? RL_ACTOR_STOP : 0;
}

static void
tls_key_update_behind_our_close_notify_is_harmless(void **state)
{
	struct hand hand;

	(void)state;
	tls_begin(&hand, shuts_at_once);
	assert_true(hand.tls.ended);
	sim_tls_update(&hand.tls, true);
	hand_write(&hand, "with new keys");
	hand_settle(&hand);
	hand_write(&hand, ", twice");
	hand_settle(&hand);
	assert_string_equal(scene.text, "with new keys, twice");
	hand_end(&hand);
	assert_int_equal(scene.count[RL_MSG_EOF], 1);
	assert_int_equal(scene.stop_reason, RL_REASON_PEER_FIN);
	assert_false(hand.reset);
	tls_finish(&hand);
}

static void
tls_end_without_close_notify_is_no_eof(void **state)
{
	struct hand hand;

	(void)state;
	tls_begin(&hand, NULL);
	hand_write(&hand, "hello");
	hand_settle(&hand);
	assert_string_equal(hand.text, "hello");
	(void)sk_shutdown(hand.sock, SHUT_WR);
	hand_settle(&hand);
	assert_int_equal(scene.count[RL_MSG_EOF], 0);
	assert_int_equal(scene.stop_reason, RL_REASON_TLS_TRUNCATED);
	tls_finish(&hand);

	tls_begin(&hand, NULL);
	hand_end(&hand);
	assert_int_equal(scene.count[RL_MSG_EOF], 1);
	assert_int_equal(scene.stop_reason, RL_REASON_PEER_FIN);
	assert_true(hand.tls.ended && !hand.truncated);
	tls_finish(&hand);
}

/* It opens, and then it must not: FIN leaves all the same. */
static void
tls_client_whose_name_is_endless_is_sent_away(void **state)
{
	struct rl_conn_options options = { 0 };
	struct hand hand;

	(void)state;
	sim_new(1, 7);
	sim_tls_setup();
	options.tls = sim_tls_listener(true);
	memset(&scene, 0, sizeof(scene));
	scene_listen(&scene, "tls://127.0.0.1:0", &options);
	hand_init(&hand, scene_connect(&scene), SIM_TLS_ENDLESS);
	hand_settle(&hand);
	assert_true(hand.truncated);
	assert_int_equal(scene.count[RL_MSG_OPEN], 0);
	hand_fini(&hand);
	sim_settle();
	assert_int_equal(scene.live, 0);
	assert_int_equal(scene.stop_reason, RL_REASON_TLS);
	assert_int_equal(scene.stop_error, -EKEYREJECTED);
	scene_end();
}

static struct chunk *hogged;

/* All that the host has given, but for what the connections hold. */
static void
hog(void)
{
	struct chunk *chunk;

	while ((chunk = rli_chunk_take(&sim_on(0)->send_pool, CHUNK_BYTES_MAX)) != NULL) {
		chunk->next = hogged;
		hogged = chunk;
	}
}

/* It fills a chunk, so that its record takes a larger one, for which there is nothing left. */
static int
sends_the_last_that_there_is(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	static const uint8_t data[4096];

	(void)on;
	if (msg->kind != RL_MSG_RECV) {
		return msg->kind == RL_MSG_EOF ? RL_ACTOR_STOP : 0;
	}
	assert_int_equal(rl_conn_send(self, data, sizeof(data)), 0);
	sim_host_fail_at(sim_host_calls(), true);
	hog();
	return 0;
}

/* Nothing is out, so no chunk can come home: only time helps. */
static void
tls_record_that_finds_no_memory_is_made_later(void **state)
{
	struct hand hand;

	(void)state;
	tls_begin(&hand, sends_the_last_that_there_is);
	hand_write(&hand, "go");
	hand_settle(&hand);
	assert_int_equal(hand.bytes, 0);
	assert_int_equal(scene.live, 1);
	sim_host_fail_at(UINT64_MAX, false);
	rli_chunk_give_list(&sim_on(0)->send_pool, hogged); /* nobody is told */
	hogged = NULL;
	sim_advance_ns(RL_MS(100));
	hand_settle(&hand);
	assert_int_equal(hand.bytes, 4096);
	hand_end(&hand);
	tls_finish(&hand);
}

static void
tls_handshake_that_stops_is_ended_in_time(void **state)
{
	struct sk_sock *peer;
	struct hand hand;

	(void)state;
	tls_begin(&hand, NULL);
	peer = scene_connect(&scene);
	assert_int_equal(scene_write_bytes(peer, "\x16\x03\x01", 3), 3);
	sim_advance_ns(RL_SEC(9));
	assert_int_equal(scene.live, 2);
	sim_advance_ns(RL_SEC(2));
	assert_int_equal(scene.live, 1);
	assert_int_equal(scene.stop_reason, RL_REASON_TIMEOUT_HANDSHAKE);
	assert_true(scene_is_reset(peer));
	scene_close(peer);
	hand_end(&hand);
	tls_finish(&hand);
}

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
	tls_listen(numbers_who_opens);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tls_key_update_behind_our_close_notify_is_harmless),
		cmocka_unit_test(tls_end_without_close_notify_is_no_eof),
		cmocka_unit_test(tls_client_whose_name_is_endless_is_sent_away),
		cmocka_unit_test(tls_record_that_finds_no_memory_is_made_later),
		cmocka_unit_test(tls_handshake_that_stops_is_ended_in_time),
		cmocka_unit_test(tls_handshakes_are_served_as_they_came),
	};

	return cmocka_run_group_tests_name("sim_tls", tests, NULL, NULL);
}
