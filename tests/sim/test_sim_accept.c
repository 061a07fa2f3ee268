/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: the acceptor's step: shards in turn and past those that are full, both policies, each
 * errno of accept, a broken socket, closing and draining with sockets on their way (pitfalls 85,
 * 86, 87).
 * How: scripted, with a kernel that behaves but for the errno in question.
 * Not: threads; the integration tests have them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/acceptor.h"

#include "sim_acceptor.h"
#include "sim_harness.h"
#include "sim_scene.h"

#define TCP "tcp://127.0.0.1:0"

static void
begin_mode(uint32_t shards, uint32_t conns_max, enum rl_conns_policy policy,
	   enum rl_accept_mode mode)
{
	struct rl_config config =
		RL_CONFIG(.shards = shards, .conns_max = conns_max, .conns_policy = policy,
			  .accepts_in_flight = 1, .accept_mode = mode);

	sim_new_with(&config, 31);
}

static void
begin(uint32_t shards, uint32_t conns_max, enum rl_conns_policy policy)
{
	begin_mode(shards, conns_max, policy, RL_ACCEPT_ROUND_ROBIN);
}

static uint64_t
accepted_by(uint32_t shard)
{
	struct rl_stats stats;

	assert_int_equal(rl_system_stats(sim_system(), (int)shard, &stats), 0);
	return stats.accepted;
}

/* A client that has sent its SYN, and nothing of the system has moved. */
static struct sk_sock *
dial(const struct scene *scene)
{
	struct sk_sock *peer = sk_socket(scene->addr.sa.sa_family == AF_UNIX);

	(void)sk_connect(peer, &scene->addr, scene->addr_len);
	while (peer->state == SK_SYN_SENT) {
		assert_true(sk_net_step());
	}
	return peer;
}

static void
shards_are_served_in_turn(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peers[7];
	char text[16];

	(void)state;
	begin(3, 64, RL_CONNS_REFUSE);
	scene_listen(&scene, TCP, NULL);
	for (uint32_t i = 0; i < 7; i++) {
		peers[i] = scene_connect(&scene);
		assert_int_equal(accepted_by(i % 3), i / 3 + 1);
		assert_int_equal(scene.peer.port, sk_addr_port(&peers[i]->local));
	}
	for (uint32_t i = 0; i < 7; i++) {
		scene_write(peers[i], "me");
		assert_int_equal(scene_read(peers[i], text, sizeof(text)), 2);
		scene_close(peers[i]);
	}
	scene_end();
	assert_int_equal(sim_stats().accepted, 7);
}

static uint32_t
conns_of(uint32_t shard)
{
	return sim_on(shard)->net->conns_count;
}

#define CROWD 240

/* Of eight shards two are compared: nearly even all the same, also after two have lost all. */
static void
least_loaded_of_two_at_random_is_nearly_even(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peers[CROWD];
	uint32_t count = 0;

	(void)state;
	begin_mode(8, 64, RL_CONNS_REFUSE, RL_ACCEPT_LEAST_LOADED);
	scene_listen(&scene, TCP, NULL);
	for (uint32_t i = 0; i < CROWD; i++) {
		uint32_t before[8];
		uint32_t shard = 0;

		for (uint32_t s = 0; s < 8; s++) {
			before[s] = conns_of(s);
		}
		peers[i] = scene_connect(&scene);
		while (conns_of(shard) == before[shard]) {
			shard++;
		}
		if (shard < 2 && i < CROWD / 2) {
			scene_close(peers[i]); /* these two forget the first half */
			peers[i] = NULL;
			count++;
		}
	}
	assert_in_range(count, 1, CROWD / 2 - 1);
	for (uint32_t s = 0; s < 8; s++) {
		assert_in_range(conns_of(s), (CROWD - count) / 8 - 4, (CROWD - count) / 8 + 4);
	}
	for (uint32_t i = 0; i < CROWD; i++) {
		if (peers[i] != NULL) {
			scene_close(peers[i]);
		}
	}
	scene_end();
}

/* When the two are full, the others are asked in turn; only when all are is one refused. */
static void
least_loaded_goes_past_shards_that_are_full(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peers[13];

	(void)state;
	begin_mode(4, 3, RL_CONNS_REFUSE, RL_ACCEPT_LEAST_LOADED);
	scene_listen(&scene, TCP, NULL);
	for (uint32_t i = 0; i < 13; i++) {
		peers[i] = scene_connect(&scene);
		assert_int_equal(scene.live, i < 12 ? i + 1 : 12);
	}
	assert_int_equal(sim_stats().refused, 1);
	assert_true(scene_is_eof(peers[12]));
	for (uint32_t i = 0; i < 13; i++) {
		scene_close(peers[i]);
	}
	scene_end();
}

static void
unix_clients_come_the_same_way(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peer;

	(void)state;
	begin(2, 64, RL_CONNS_REFUSE);
	scene_listen(&scene, "unix:@accept", NULL);
	peer = scene_connect(&scene);
	assert_int_equal(scene.peer.family, RL_ADDR_UNIX);
	assert_int_equal(scene.count[RL_MSG_OPEN], 1);
	scene_close(peer);
	scene_end();
}

static void
full_shards_refuse(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peers[6];

	(void)state;
	begin(2, 2, RL_CONNS_REFUSE);
	scene_listen(&scene, TCP, NULL);
	for (uint32_t i = 0; i < 6; i++) {
		peers[i] = scene_connect(&scene);
	}
	assert_int_equal(scene.live, 4);
	assert_int_equal(sim_stats().refused, 2);
	assert_true(scene_is_eof(peers[4]) && scene_is_eof(peers[5]));
	for (uint32_t i = 0; i < 6; i++) {
		scene_close(peers[i]);
	}
	scene_end();
}

static void
full_shards_pause_until_one_has_room(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peers[6];

	(void)state;
	begin(2, 2, RL_CONNS_PAUSE);
	scene_listen(&scene, TCP, NULL);
	for (uint32_t i = 0; i < 6; i++) {
		peers[i] = scene_connect(&scene);
	}
	assert_int_equal(scene.live, 4);
	scene_close(peers[1]); /* of shard 1: the next goes there, whoever's turn it is */
	assert_int_equal(scene.live, 4);
	assert_int_equal(accepted_by(1), 3);
	scene_close(peers[0]);
	for (uint32_t i = 2; i < 6; i++) {
		scene_close(peers[i]);
	}
	assert_int_equal(sim_stats().accepted, 6);
	assert_int_equal(sim_stats().refused, 0);
	scene_end();
}

/* Each errno is one connection's trouble, or a back-off; the next client is served. */
static void
errors_are_survived(void **state)
{
	static const enum sim_fault faults[] = {
		FAULT_ACCEPT_EMFILE,	   FAULT_ACCEPT_ENFILE, FAULT_ACCEPT_ENOMEM,
		FAULT_ACCEPT_ENOBUFS,	   FAULT_ACCEPT_EPERM,	FAULT_ACCEPT_NETWORK,
		FAULT_ACCEPT_ECONNABORTED, FAULT_ACCEPT_EINTR,
	};
	struct scene scene = { 0 };

	(void)state;
	begin(2, 64, RL_CONNS_REFUSE);
	scene_listen(&scene, TCP, NULL);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		uint64_t errors = sim_stats().accept_errors;
		struct sk_sock *lost;
		struct sk_sock *peer;

		sim_fault_set(faults[i], 65536);
		lost = dial(&scene);
		sim_advance_ns((uint64_t)RL_SEC(20));
		errors = sim_stats().accept_errors - errors;
		assert_in_range(errors, 1, 500); /* 16 in a row, at most once a second */
		sim_fault_set(faults[i], 0);
		sk.accept_gone_until_ns = 0;
		sim_advance_ns((uint64_t)RL_SEC(2));
		peer = scene_connect(&scene);
		assert_in_range(scene.live, 1, 2);
		scene_close(lost);
		scene_close(peer);
		assert_int_equal(scene.live, 0);
	}
	scene_end();
}

/* What accept says of a socket that listens no more: it ends, the others go on. */
static void
broken_socket_ends_its_listener_only(void **state)
{
	struct scene scene = { 0 };
	struct scene other = { 0 };
	struct acceptor *acceptor;
	struct sk_sock *peer;

	(void)state;
	begin(2, 64, RL_CONNS_REFUSE);
	scene_listen(&scene, TCP, NULL);
	scene_listen(&other, "unix:@other", NULL);
	acceptor = sim_system()->acceptor;
	sk_file_sock(sk_fd_file(acceptor->listeners[0].fd))->state = SK_DEAD;
	sim_settle();
	assert_int_equal(acceptor->listeners[0].fd, -1);
	assert_int_equal(sim_stats().accept_errors, 1);
	peer = scene_connect(&other);
	assert_int_equal(other.live, 1);
	assert_int_equal(rl_listener_close(sim_system(), scene.listener), 0);
	scene_close(peer);
	scene_end();
}

/* Handed over when the listener closes: adopted, since it was accepted before. */
static void
close_lets_what_was_handed_over_in(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peers[3];
	struct sk_sock *late;

	(void)state;
	begin(2, 64, RL_CONNS_REFUSE);
	scene_listen(&scene, TCP, NULL);
	for (uint32_t i = 0; i < 3; i++) {
		peers[i] = dial(&scene);
	}
	sim_acceptor_step();
	assert_int_equal(scene.live, 0);
	assert_int_equal(rl_listener_close(sim_system(), scene.listener), 0);
	sim_settle();
	assert_int_equal(scene.live, 3);
	late = scene_connect(&scene);
	assert_int_equal(late->state, SK_DEAD);
	scene_close(late);
	for (uint32_t i = 0; i < 3; i++) {
		scene_close(peers[i]);
	}
	scene_end();
	assert_int_equal(sim_stats().accepted, 3);
}

static void
turn_of_shard_0(void)
{
	sim_turn(0);
}

static int
on_opener(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	return msg->kind == RL_MSG_USER
		       ? rl_conn_open(self, scene->url, &scene_def, scene + 1, NULL, NULL)
		       : RL_ACTOR_UNHANDLED;
}

/*
 * The acceptor saw the only place free, and before it handed the client over the shard took it for
 * a connection that it opened: under "pause" the client waits with the shard, and is not refused.
 */
static void
place_that_was_taken_meanwhile_is_waited_for(void **state)
{
	struct scene opened[2] = { { .on = on_opener }, { 0 } };
	struct scene scene = { 0 };
	struct sk_sock *server;
	struct sk_sock *mine;
	struct sk_sock *peer;
	rl_actor_id id;

	(void)state;
	begin(1, 1, RL_CONNS_PAUSE);
	scene_listen(&scene, TCP, NULL);
	server = scene_serve(9100);
	memcpy(opened[0].url, "tcp://127.0.0.1:9100", 21);
	assert_int_equal(rl_system_spawn(sim_system(), 0, &scene_def, &opened[0], &id), 0);
	peer = dial(&scene);
	assert_int_equal(rl_system_send(sim_system(), id, RL_MSG_USER, NULL, 0), 0);
	sim_acceptor_others(turn_of_shard_0);
	sim_fault_set(FAULT_FOREIGN, 65536); /* it turns while the acceptor accepts */
	sim_acceptor_step();
	sim_fault_set(FAULT_FOREIGN, 0);
	sim_settle();
	assert_int_equal(opened[1].live, 1);
	assert_int_equal(scene.live, 0);
	assert_int_equal(rli_handover_count(sim_on(0)->net->handover), 1);
	mine = sk_accept(server);
	scene_close(mine);
	assert_int_equal(opened[1].live, 0);
	assert_int_equal(scene.live, 1);
	scene_close(peer);
	scene_close(server);
	scene_end();
	assert_int_equal(sim_stats().refused, 0);
}

/* Drained before the shards have looked: nothing that the acceptor took is left open. */
static void
drain_with_sockets_on_their_way_leaves_nothing(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peers[6];

	(void)state;
	begin(2, 2, RL_CONNS_PAUSE);
	scene_listen(&scene, TCP, NULL);
	for (uint32_t i = 0; i < 6; i++) {
		peers[i] = dial(&scene);
	}
	sim_acceptor_step();
	rl_system_drain(sim_system());
	assert_int_equal(scene.live, 0);
	sim_drain();
	sim_stop();
	for (uint32_t i = 0; i < 6; i++) {
		sk_file_put(&peers[i]->file);
	}
	while (sk_net_step()) {
	}
	sim_finish(false);
	assert_int_equal(sim_stats().accepted + sim_stats().refused, 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shards_are_served_in_turn),
		cmocka_unit_test(least_loaded_of_two_at_random_is_nearly_even),
		cmocka_unit_test(least_loaded_goes_past_shards_that_are_full),
		cmocka_unit_test(unix_clients_come_the_same_way),
		cmocka_unit_test(full_shards_refuse),
		cmocka_unit_test(full_shards_pause_until_one_has_room),
		cmocka_unit_test(errors_are_survived),
		cmocka_unit_test(broken_socket_ends_its_listener_only),
		cmocka_unit_test(close_lets_what_was_handed_over_in),
		cmocka_unit_test(place_that_was_taken_meanwhile_is_waited_for),
		cmocka_unit_test(drain_with_sockets_on_their_way_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
