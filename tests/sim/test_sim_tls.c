/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what the connection under TLS does where a script has to say when: a change of keys
 * behind close_notify, the end with and without it, a host without memory for a record, a handshake
 * that stops, a message of the protocol's that has only begun, and too many of them. No page of the
 * product's keeps plaintext longer than it is needed.
 * How: the runtime in the simulator, and a peer with an OpenSSL of its own that is moved by hand.
 * Not proved: what any sequence of such things does, which is for the seeds (sim --tls); what
 * OpenSSL keeps in memory of its own.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "shard/shard.h"

#include "sim_harness.h"
#include "sim_host.h"
#include "sim_scene.h"
#include "sim_tls_hand.h"

static struct scene scene;

/* A listener of one shard, and a client that has shaken hands. */
static void
tls_begin(struct hand *hand, scene_fn on)
{
	sim_new(1, 7);
	hand_listen(&scene, on);
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

#define UPDATES 600 /* less than the bound on them */

static void
hand_flood(struct hand *hand, uint32_t updates)
{
	for (uint32_t i = 0; i < updates; i++) {
		sim_tls_update(&hand->tls, false);
		sim_tls_shake(&hand->tls);
	}
}

static int
listens(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)on;
	(void)self;
	return msg->kind == RL_MSG_EOF ? RL_ACTOR_STOP : 0;
}

/* A change of keys costs more than many a message, and has no plaintext. */
static void
tls_changes_of_keys_leave_turns_to_others(void **state)
{
	struct hand flood;
	struct hand other;
	uint64_t turns;

	(void)state;
	tls_begin(&flood, listens);
	hand_init(&other, scene_connect(&scene), SIM_TLS_CLIENT);
	hand_settle(&other);
	hand_flood(&flood, UPDATES / 2);
	hand_write(&flood, "flood");
	hand_write(&other, "other, ");
	turns = sim_turns();
	(void)hand_move(&flood);
	(void)hand_move(&other);
	assert_false(sim_tls_has_output(&flood.tls));
	sim_settle();
	assert_string_equal(scene.text, "other, flood");
	assert_true(sim_turns() - turns > UPDATES / 80);
	hand_end(&other);
	hand_end(&flood);
	assert_int_equal(scene.stops[RL_REASON_PEER_FIN], 2);
	hand_fini(&other);
	tls_finish(&flood);
}

static void
tls_changes_of_keys_without_end_are_too_many(void **state)
{
	struct hand hand;

	(void)state;
	tls_begin(&hand, listens);
	for (int i = 0; i < 3; i++) {
		hand_flood(&hand, UPDATES);
		hand_write(&hand, "a"); /* a byte forgives all */
		hand_settle(&hand);
	}
	assert_int_equal(scene.bytes, 3);
	assert_int_equal(scene.live, 1);
	for (int i = 0; i < 3; i++) {
		hand_flood(&hand, UPDATES);
		hand_settle(&hand);
	}
	assert_int_equal(scene.live, 0);
	assert_int_equal(scene.stop_reason, RL_REASON_LIMIT);
	assert_int_equal(sim_stats().closed[RL_REASON_LIMIT], 1);
	tls_finish(&hand);
}

/* The first of two deliveries stays pending; the second, which has both, goes back. */
static int
leaves_every_other(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind != RL_MSG_RECV) {
		return msg->kind == RL_MSG_EOF ? RL_ACTOR_STOP : 0;
	}
	if (on->number++ % 2 == 0) {
		rl_conn_consumed(self, 0);
		return 0;
	}
	return rl_conn_send(self, msg->recv.data, msg->recv.len);
}

/* Where it was decrypted, where the actor left it, where it waited to be sent. */
static void
tls_plaintext_is_wiped(void **state)
{
	static const char secret[] = "a secret of ours";
	struct hand hand;

	(void)state;
	tls_begin(&hand, leaves_every_other);
	hand_write(&hand, secret);
	hand_settle(&hand);
	assert_true(sim_host_remembers(secret, strlen(secret)));
	hand_write(&hand, ", told");
	hand_settle(&hand);
	assert_string_equal(hand.text, "a secret of ours, told");
	assert_false(sim_host_remembers(secret, strlen(secret)));

	hand_write(&hand, secret);
	hand_settle(&hand);
	assert_true(sim_host_remembers(secret, strlen(secret)));
	hand_fini(&hand);
	sim_settle();
	assert_int_equal(scene.live, 0);
	assert_false(sim_host_remembers(secret, strlen(secret)));
	scene_end();
}

#define PORT 9443

static struct scene opened;
static struct scene opener;
static struct sk_sock *server;

static int
opens(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	struct rl_conn_options options = { .tls = sim_tls_client() };

	(void)on;
	if (msg->kind == RL_MSG_USER) {
		assert_int_equal(rl_conn_open(self, "tls://127.0.0.1:9443", &scene_def, &opened,
					      &options, NULL),
				 0);
	}
	return 0;
}

/* A ticket that takes several records. */
static int
ticket_fatten(SSL *ssl, void *arg)
{
	static const uint8_t fat[2000];

	(void)arg;
	return SSL_SESSION_set1_ticket_appdata(SSL_get0_session(ssl), fat, sizeof(fat));
}

/* An opened connection that does @on has got all but the end of its last ticket. */
static void
halfway_begin(struct hand *hand, scene_fn on)
{
	sim_new(1, 7);
	sim_tls_setup();
	memset(&opened, 0, sizeof(opened));
	memset(&opener, 0, sizeof(opener));
	opened.on = on;
	opener.on = opens;
	server = scene_serve(PORT);
	assert_int_equal(rl_system_spawn(sim_system(), 0, &scene_def, &opener, NULL), 0);
	sim_settle();
	assert_int_equal(rl_system_send(sim_system(), opener.id, RL_MSG_USER, NULL, 0), 0);
	sim_settle();
	hand_init(hand, sk_accept(server), SIM_TLS_SERVER);
	SSL_CTX_set_session_ticket_cb(SSL_get_SSL_CTX(hand->tls.ssl), ticket_fatten, NULL, NULL);
	assert_int_equal(SSL_set_max_send_fragment(hand->tls.ssl, 512), 1);
	while (!hand->tls.shaken) {
		(void)sim_tls_in(&hand->tls, hand->sock, UINT32_MAX);
		sim_tls_shake(&hand->tls);
		if (!hand->tls.shaken) {
			(void)sim_tls_out(&hand->tls, hand->sock, UINT32_MAX);
		}
		sim_settle();
	}
	(void)sim_tls_out(&hand->tls, hand->sock, (uint32_t)BIO_ctrl_pending(hand->tls.out) - 100);
	sim_settle();
	assert_int_equal(opened.count[RL_MSG_OPEN], 1);
	assert_int_equal(rl_system_send(sim_system(), opened.id, RL_MSG_USER, NULL, 0), 0);
	sim_settle();
}

static void
halfway_finish(struct hand *hand)
{
	SSL_CTX_set_session_ticket_cb(SSL_get_SSL_CTX(hand->tls.ssl), NULL, NULL, NULL);
	hand_fini(hand);
	scene_close(server);
	scene_end();
}

static int
sends_late(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)on;
	switch (msg->kind) {
	case RL_MSG_USER:
		assert_int_equal(rl_conn_send(self, "late", 4), 0);
		return 0;
	case RL_MSG_EOF:
		return RL_ACTOR_STOP;
	default:
		return 0;
	}
}

static int
pauses_and_sends_late(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_USER) {
		assert_int_equal(rl_conn_pause(self), 0);
	}
	if (msg->kind == RL_MSG_USER + 1) {
		return rl_conn_resume(self);
	}
	return sends_late(on, self, msg);
}

static int
sends_late_and_stops(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	int rc = sends_late(on, self, msg);

	return msg->kind == RL_MSG_USER ? RL_ACTOR_STOP : rc;
}

/* OpenSSL makes no record in between. */
static void
tls_output_waits_for_the_rest_of_a_message(void **state)
{
	struct hand hand;

	(void)state;
	halfway_begin(&hand, sends_late);
	assert_int_equal(opened.live, 1);
	hand_settle(&hand);
	assert_string_equal(hand.text, "late");
	hand_end(&hand);
	assert_int_equal(opened.stop_reason, RL_REASON_PEER_FIN);
	halfway_finish(&hand);
}

/* What it paused is its own input. */
static void
tls_output_of_who_pauses_waits_for_the_message_alone(void **state)
{
	struct hand hand;

	(void)state;
	halfway_begin(&hand, pauses_and_sends_late);
	hand_write(&hand, "hello");
	hand_settle(&hand);
	assert_string_equal(hand.text, "late");
	assert_int_equal(opened.bytes, 0);
	assert_int_equal(rl_system_send(sim_system(), opened.id, RL_MSG_USER + 1, NULL, 0), 0);
	hand_settle(&hand);
	assert_string_equal(opened.text, "hello");
	hand_end(&hand);
	assert_int_equal(opened.stop_reason, RL_REASON_PEER_FIN);
	halfway_finish(&hand);
}

static void
tls_close_waits_for_the_rest_of_a_message(void **state)
{
	struct hand hand;

	(void)state;
	halfway_begin(&hand, sends_late_and_stops);
	assert_int_equal(opened.live, 1);
	hand_write(&hand, "in vain");
	hand_settle(&hand);
	assert_string_equal(hand.text, "late");
	assert_true(hand.tls.ended);
	hand_end(&hand);
	assert_false(hand.reset);
	assert_int_equal(opened.stop_reason, RL_REASON_LOCAL);
	assert_int_equal(opened.bytes, 0);
	halfway_finish(&hand);

	halfway_begin(&hand, sends_late_and_stops);
	(void)sk_shutdown(hand.sock, SHUT_WR);
	sim_settle();
	assert_int_equal(opened.stop_reason, RL_REASON_TLS_TRUNCATED);
	halfway_finish(&hand);
}

static void
tls_message_whose_rest_never_comes_is_a_stall(void **state)
{
	static const scene_fn rows[] = { sends_late, pauses_and_sends_late, sends_late_and_stops };
	struct hand hand;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		halfway_begin(&hand, rows[i]);
		sim_advance_ns((uint64_t)sim_config()->stall_timeout_ns - RL_MS(100));
		assert_int_equal(opened.live, 1);
		sim_advance_ns(RL_MS(200));
		assert_int_equal(opened.live, 0);
		assert_int_equal(opened.stop_reason, RL_REASON_TIMEOUT_STALL);
		halfway_finish(&hand);
	}
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
		cmocka_unit_test(tls_changes_of_keys_leave_turns_to_others),
		cmocka_unit_test(tls_changes_of_keys_without_end_are_too_many),
		cmocka_unit_test(tls_plaintext_is_wiped),
		cmocka_unit_test(tls_output_waits_for_the_rest_of_a_message),
		cmocka_unit_test(tls_output_of_who_pauses_waits_for_the_message_alone),
		cmocka_unit_test(tls_close_waits_for_the_rest_of_a_message),
		cmocka_unit_test(tls_message_whose_rest_never_comes_is_a_stall),
	};

	return cmocka_run_group_tests_name("sim_tls", tests, NULL, NULL);
}
