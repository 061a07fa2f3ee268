/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Outbound connections, two ends of ours that talk to each other, and the drain. Scripted, with a
 * kernel that behaves.
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

/* ---- outbound */

static int
on_opener(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	struct rl_conn_options options = { .connect_timeout_ns = RL_SEC(3) };

	if (msg->kind == RL_MSG_USER) {
		return rl_conn_open(self, scene->url, &scene_def, scene + 1, &options, NULL);
	}
	return RL_ACTOR_UNHANDLED;
}

/* scenes[0] opens, scenes[1] is what is opened. */
static void
open_to(struct scene *scenes, const char *url)
{
	rl_actor_id id;

	scenes[0].on = on_opener;
	memcpy(scenes[0].url, url, strlen(url) + 1);
	assert_int_equal(rl_system_spawn(sim_system(), 0, &scene_def, &scenes[0], &id), 0);
	assert_int_equal(rl_system_send(sim_system(), id, RL_MSG_USER, NULL, 0), 0);
	sim_settle();
}

static void
open_connects_and_talks(void **state)
{
	struct scene scenes[2] = { 0 };
	struct sk_sock *server = scene_serve(9100);
	struct sk_sock *peer;
	char text[16];

	(void)state;
	open_to(scenes, "tcp://127.0.0.1:9100");
	assert_int_equal(scenes[1].count[RL_MSG_OPEN], 1);
	peer = sk_accept(server);
	assert_non_null(peer);
	scene_write(peer, "hi");
	sim_settle();
	assert_int_equal(scene_read(peer, text, sizeof(text)), 2);
	scene_close(peer);
	assert_int_equal(scenes[1].stops[RL_REASON_PEER_FIN], 1);
	sk_file_put(&server->file);
	scene_end();
}

static void
open_refused_fails_with_its_errno(void **state)
{
	struct scene scenes[2] = { 0 };

	(void)state;
	open_to(scenes, "tcp://127.0.0.1:9101");
	assert_int_equal(scenes[1].count[RL_MSG_OPEN], 0);
	assert_int_equal(scenes[1].stops[RL_REASON_FAILURE], 1);
	assert_int_equal(scenes[1].stop_error, -ECONNREFUSED);
	scene_end();
}

static void
open_into_a_black_hole_times_out(void **state)
{
	struct scene scenes[2] = { 0 };

	(void)state;
	sim_fault_set(FAULT_CONNECT_BLACK_HOLE, 65536);
	open_to(scenes, "tcp://127.0.0.1:9102");
	sim_advance_ns((uint64_t)RL_MS(2900));
	assert_int_equal(scenes[1].live, 1);
	sim_advance_ns((uint64_t)RL_MS(200));
	assert_int_equal(scenes[1].stops[RL_REASON_TIMEOUT_CONNECT], 1);
	scene_end();
}

/* ---- two ends of ours */

struct flood {
	struct scene scene;
	uint64_t total;
};

static int
on_flood(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	static const uint8_t bytes[8192];
	struct flood *flood = (struct flood *)scene;
	int rc = 0;

	switch (msg->kind) {
	case RL_MSG_OPEN:
	case RL_MSG_WRITABLE:
		while (scene->sent < flood->total && rc == 0) {
			rc = rl_conn_send(self, bytes, sizeof(bytes));
			scene->sent += rc == -EAGAIN ? 0 : sizeof(bytes);
		}
		if (scene->sent >= flood->total && !scene->flag) {
			scene->flag = true;
			return rl_conn_shutdown_write(self);
		}
		return 0;
	case RL_MSG_RECV:
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static int
on_flood_opener(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	struct flood *flood = (struct flood *)scene;

	if (msg->kind == RL_MSG_USER) {
		return rl_conn_open(self, scene->url, &scene_def, &flood[1].scene, NULL, NULL);
	}
	return RL_ACTOR_UNHANDLED;
}

/* Both write ten times the high mark before they are done reading, and both come to their end. */
static void
two_ends_that_both_write_much_finish(void **state)
{
	static struct flood floods[3]; /* the opener, what it opens, what is accepted */
	rl_actor_id id;

	(void)state;
	memset(floods, 0, sizeof(floods));
	floods[0].scene.on = on_flood_opener;
	floods[1].scene.on = on_flood;
	floods[2].scene.on = on_flood;
	floods[1].total = floods[2].total = 10ull * sim_config()->send_high_bytes;
	scene_listen(&floods[2].scene, TCP, NULL);
	memcpy(floods[0].scene.url, floods[2].scene.url, RL_URL_MAX);
	assert_int_equal(rl_system_spawn(sim_system(), 1, &scene_def, &floods[0].scene, &id), 0);
	assert_int_equal(rl_system_send(sim_system(), id, RL_MSG_USER, NULL, 0), 0);
	sim_advance_ns((uint64_t)RL_SEC(20));
	assert_int_equal(floods[1].scene.bytes, floods[2].scene.sent);
	assert_int_equal(floods[2].scene.bytes, floods[1].scene.sent);
	assert_int_equal(floods[1].scene.live + floods[2].scene.live, 0);
	scene_end();
}

/* ---- the drain */

static int
on_stubborn(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	(void)self;
	return msg->kind == RL_MSG_SHUTDOWN ? 0 : RL_ACTOR_UNHANDLED;
}

static void
drain_ends_everybody_and_cuts_the_stubborn(void **state)
{
	struct scene willing = { 0 };
	struct scene stubborn = { .on = on_stubborn };
	struct sk_sock *peers[2];
	uint64_t since;

	(void)state;
	scene_listen(&willing, TCP, NULL);
	scene_listen(&stubborn, TCP, NULL);
	peers[0] = scene_connect(&willing);
	peers[1] = scene_connect(&stubborn);
	since = sim_world.now_ns;
	sim_drain();
	assert_int_equal(willing.count[RL_MSG_SHUTDOWN], 1);
	assert_int_equal(willing.live + stubborn.live, 0);
	assert_int_equal(stubborn.stops[RL_REASON_TIMEOUT_DRAIN], 1);
	assert_in_range(stubborn.stop_ns - since, RL_MS(9900), RL_MS(10200));
	assert_true(willing.stop_ns - since < (uint64_t)RL_SEC(3));
	assert_int_equal(rl_listener_open(sim_system(), TCP, &scene_def, NULL, NULL), -ESHUTDOWN);
	sim_stop();
	scene_close(peers[0]);
	scene_close(peers[1]);
	sim_finish(false);
}

static void
drain_again_cuts_at_once(void **state)
{
	struct scene stubborn = { .on = on_stubborn };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&stubborn, TCP, NULL);
	peer = scene_connect(&stubborn);
	since = sim_world.now_ns;
	rl_system_drain(sim_system());
	sim_settle();
	assert_int_equal(stubborn.live, 1);
	rl_system_drain(sim_system());
	sim_settle();
	assert_int_equal(stubborn.stops[RL_REASON_SHUTDOWN], 1);
	assert_true(sim_world.now_ns - since < (uint64_t)RL_SEC(1));
	scene_close(peer);
	scene_end();
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		CASE(open_connects_and_talks),
		CASE(open_refused_fails_with_its_errno),
		CASE(open_into_a_black_hole_times_out),
		CASE(two_ends_that_both_write_much_finish),
		CASE(drain_ends_everybody_and_cuts_the_stubborn),
		CASE(drain_again_cuts_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
