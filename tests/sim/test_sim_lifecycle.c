/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Turns, listeners with both policies at conns_max, graceful end and abort. Scripted, with a kernel
 * that behaves.
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
	sim_new(2, 21);
	return 0;
}

/* ---- the turn */

static void
turn_message_waits_for_its_turn(void **state)
{
	struct scene scene = { 0 };
	rl_actor_id id;

	(void)state;
	assert_int_equal(rl_system_spawn(sim_system(), 1, &scene_def, &scene, &id), 0);
	sim_settle();
	assert_true(sim_is_asleep(1));
	assert_int_equal(rl_system_send(sim_system(), id, RL_MSG_USER + 1, NULL, 0), 0);
	sim_turn(0);
	assert_int_equal(scene.count[SCENE_KINDS - 1], 0); /* it lives on the other shard */
	sim_turn(1);
	assert_int_equal(scene.count[SCENE_KINDS - 1], 1);
	scene_end();
}

static void
turn_idle_shards_do_nothing(void **state)
{
	struct scene scene = { 0 };
	uint64_t turns;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	sim_settle();
	turns = sim_turns();
	sim_advance_ns((uint64_t)RL_SEC(3600));
	assert_int_equal(sim_turns(), turns);
	scene_end();
}

#define TIES 300

/* A target that ends when it is told to; who watches it often; and a neighbour. */
static struct {
	rl_actor_id target;
	rl_actor_id neighbour;
	uint32_t downs;
	bool stopped;
	bool served;
} tied;

static int
target_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	tied.stopped = tied.stopped || msg->kind == RL_MSG_STOP;
	return msg->kind == RL_MSG_USER ? RL_ACTOR_STOP : RL_ACTOR_UNHANDLED;
}

static int
watcher_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	for (uint32_t i = 0; msg->kind == RL_MSG_START && i < TIES; i++) {
		assert_int_equal(rl_actor_monitor(self, tied.target, NULL), 0);
	}
	tied.downs += msg->kind == RL_MSG_DOWN;
	return 0;
}

static int
neighbour_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	tied.served = tied.served || msg->kind == RL_MSG_USER;
	return 0;
}

static const struct rl_actor_def target_def = { .name = "target", .receive = target_receive };
static const struct rl_actor_def watcher_def = { .name = "watcher", .receive = watcher_receive };
static const struct rl_actor_def neighbour_def = { .name = "neighbour",
						   .receive = neighbour_receive };

/* What an ended actor has to settle takes some turns, in which others have theirs. */
static void
turn_in_which_a_watched_actor_ends_is_bounded(void **state)
{
	uint32_t turns = 0;

	(void)state;
	memset(&tied, 0, sizeof(tied));
	assert_int_equal(rl_system_spawn(sim_system(), 0, &target_def, NULL, &tied.target), 0);
	assert_int_equal(rl_system_spawn(sim_system(), 0, &neighbour_def, NULL, &tied.neighbour),
			 0);
	assert_int_equal(rl_system_spawn(sim_system(), 0, &watcher_def, NULL, NULL), 0);
	sim_settle();
	assert_int_equal(rl_system_send(sim_system(), tied.target, RL_MSG_USER, NULL, 0), 0);
	assert_int_equal(rl_system_send(sim_system(), tied.neighbour, RL_MSG_USER, NULL, 0), 0);
	while (tied.downs < TIES) {
		uint32_t downs = tied.downs;

		sim_turn(0);
		assert_true(tied.stopped && tied.served); /* in the first turn */
		assert_in_range(tied.downs - downs, 1, 64);
		turns++;
	}
	assert_in_range(turns, TIES / 64, TIES / 64 + 1);
	sim_settle();
	assert_int_equal(tied.downs, TIES);
	sim_end();
}

/* ---- listeners */

static void
listener_open_twice_is_in_use(void **state)
{
	struct scene scene = { 0 };

	(void)state;
	scene_listen(&scene, TCP, NULL);
	assert_int_equal(rl_listener_open(sim_system(), scene.url, &scene_def, NULL, NULL),
			 -EADDRINUSE);
	scene_end();
}

static void
listener_closed_accepts_no_more_and_its_connections_live_on(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peer;
	struct sk_sock *late;
	char url[RL_URL_MAX];
	char text[16];

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	assert_int_equal(rl_listener_close(sim_system(), scene.listener), 0);
	assert_int_equal(rl_listener_close(sim_system(), scene.listener), -ENOENT);
	assert_int_equal(rl_listener_url(sim_system(), scene.listener, url), -ENOENT);
	late = scene_connect(&scene);
	assert_int_equal(late->state, SK_DEAD);
	scene_write(peer, "on");
	sim_settle();
	assert_int_equal(scene_read(peer, text, sizeof(text)), 2);
	scene_close(late);
	scene_close(peer);
	scene_end();
}

static void
listener_unix_is_shared_by_all_shards(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peer;
	char text[16];

	(void)state;
	scene_listen(&scene, "unix:@scene", NULL);
	peer = scene_connect(&scene);
	assert_int_equal(scene.peer.family, RL_ADDR_UNIX);
	scene_write(peer, "ux");
	sim_settle();
	assert_int_equal(scene_read(peer, text, sizeof(text)), 2);
	scene_close(peer);
	scene_end();
}

static void
conns_max(enum rl_conns_policy policy, struct scene *scene, struct sk_sock **peers)
{
	struct rl_config config = RL_CONFIG(.shards = 1, .conns_max = 2, .accepts_in_flight = 1,
					    .conns_policy = policy);

	scene_end();
	sim_new_with(&config, 22);
	scene_listen(scene, TCP, NULL);
	for (int i = 0; i < 4; i++) {
		peers[i] = scene_connect(scene);
	}
	assert_int_equal(scene->live, 2);
}

static void
listener_full_refuses_at_once(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peers[4];

	(void)state;
	conns_max(RL_CONNS_REFUSE, &scene, peers);
	assert_int_equal(sim_stats().refused, 2);
	assert_true(scene_is_eof(peers[2]) && scene_is_eof(peers[3]));
	for (int i = 0; i < 4; i++) {
		scene_close(peers[i]);
	}
	scene_end();
}

static void
listener_full_pauses_until_there_is_room(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peers[4];

	(void)state;
	conns_max(RL_CONNS_PAUSE, &scene, peers);
	assert_int_equal(sim_stats().refused, 0);
	for (int i = 0; i < 4; i++) {
		scene_close(peers[i]);
	}
	assert_int_equal(sim_stats().accepted, 4);
	assert_int_equal(scene.stops[RL_REASON_PEER_FIN], 4);
	scene_end();
}

/* One place, two listeners: neither's waiting accept keeps the other's clients out for ever. */
static void
listener_paused_does_not_starve_another(void **state)
{
	struct rl_config config = RL_CONFIG(.shards = 1, .conns_max = 1, .accepts_in_flight = 4,
					    .conns_policy = RL_CONNS_PAUSE);
	struct scene first = { 0 };
	struct scene second = { 0 };
	struct sk_sock *peers[3];

	(void)state;
	scene_end();
	sim_new_with(&config, 23);
	scene_listen(&first, TCP, NULL);
	scene_listen(&second, TCP, NULL);
	peers[0] = scene_connect(&second);
	assert_int_equal(second.live, 1);
	peers[1] = scene_connect(&first);
	peers[2] = scene_connect(&second);
	assert_int_equal(first.live + second.live, 1);
	scene_close(peers[0]);
	assert_int_equal(first.live + second.live, 1);
	scene_close(peers[1]);
	scene_close(peers[2]);
	assert_int_equal(first.stops[RL_REASON_PEER_FIN], 1);
	assert_int_equal(second.stops[RL_REASON_PEER_FIN], 2);
	scene_end();
}

/* A persistent lack of descriptors: retried ever more seldom, never in a loop (pitfall 85). */
static void
listener_without_descriptors_backs_off(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peer;
	uint64_t turns;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	sim_fault_set(FAULT_ACCEPT_EMFILE, 65536);
	turns = sim_turns();
	peer = scene_connect(&scene);
	sim_advance_ns((uint64_t)RL_SEC(60));
	assert_true(sim_turns() - turns < 1000);
	assert_int_equal(scene.live, 0);
	sim_fault_set(FAULT_ACCEPT_EMFILE, 0);
	sk.accept_gone_until_ns = 0;
	sim_advance_ns((uint64_t)RL_SEC(2));
	assert_int_equal(scene.live, 1);
	scene_close(peer);
	scene_end();
}

/* ---- the end of a stream */

static int
on_close(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	static const uint8_t bytes[60000];

	(void)scene;
	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	assert_int_equal(rl_conn_send(self, bytes, sizeof(bytes)), 0);
	assert_int_equal(rl_conn_close(self), 0);
	return 0;
}

/*
 * A client that writes all before it reads still gets the whole reply: what it sends after the end
 * was decided is read and discarded, since leaving it would reset the connection.
 */
static void
close_flushes_and_discards_what_still_comes(void **state)
{
	static uint8_t bytes[200000];
	struct scene scene = { .on = on_close };
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	assert_int_equal(scene_write_bytes(peer, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(scene_drain(peer), 60000);
	assert_true(scene_is_eof(peer));
	(void)sk_shutdown(peer, SHUT_WR);
	sim_settle();
	assert_int_equal(scene.stops[RL_REASON_LOCAL], 1);
	assert_true(sim_stats().bytes_discarded > 0);
	scene_close(peer);
	scene_end();
}

static void
close_lingers_no_longer_than_told(void **state)
{
	struct scene scene = { .on = on_close };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "x");
	assert_int_equal(scene_drain(peer), 60000);
	since = sim_world.now_ns;
	sim_advance_ns((uint64_t)RL_SEC(3));
	assert_int_equal(scene.stops[RL_REASON_TIMEOUT_LINGER], 1);
	assert_in_range(scene.stop_ns - since, RL_MS(1900), RL_MS(2100));
	scene_close(peer);
	scene_end();
}

static int
on_abort(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	assert_int_equal(rl_conn_send(self, "never", 5), 0);
	return rl_conn_abort(self);
}

static void
abort_resets_and_discards(void **state)
{
	struct scene scene = { .on = on_abort };
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "x");
	sim_settle();
	assert_true(scene_is_reset(peer));
	assert_int_equal(scene.stops[RL_REASON_LOCAL], 1);
	scene_close(peer);
	scene_end();
}

static int
on_fail(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	(void)self;
	return msg->kind == RL_MSG_RECV ? -EPROTO : RL_ACTOR_UNHANDLED;
}

static void
failing_handler_resets_and_says_why(void **state)
{
	struct scene scene = { .on = on_fail };
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "x");
	sim_settle();
	assert_true(scene_is_reset(peer));
	assert_int_equal(scene.stops[RL_REASON_FAILURE], 1);
	assert_int_equal(scene.stop_error, -EPROTO);
	scene_close(peer);
	scene_end();
}

static void
reset_by_the_peer_is_told(void **state)
{
	struct scene scene = { 0 };
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "x");
	sk_reset(peer);
	scene_close(peer);
	assert_int_equal(scene.stops[RL_REASON_PEER_RST], 1);
	scene_end();
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		CASE(turn_message_waits_for_its_turn),
		CASE(turn_idle_shards_do_nothing),
		CASE(turn_in_which_a_watched_actor_ends_is_bounded),
		CASE(listener_open_twice_is_in_use),
		CASE(listener_closed_accepts_no_more_and_its_connections_live_on),
		CASE(listener_unix_is_shared_by_all_shards),
		CASE(listener_full_refuses_at_once),
		CASE(listener_full_pauses_until_there_is_room),
		CASE(listener_paused_does_not_starve_another),
		CASE(listener_without_descriptors_backs_off),
		CASE(close_flushes_and_discards_what_still_comes),
		CASE(close_lingers_no_longer_than_told),
		CASE(abort_resets_and_discards),
		CASE(failing_handler_resets_and_says_why),
		CASE(reset_by_the_peer_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
