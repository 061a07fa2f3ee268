/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: hosts by name, at the times of the book: the deadline over lookup and addresses, each
 * address's turn, an answer that comes in the very turn in which it is given up, a drain with a
 * lookup that never ends; and a supervised connection that comes back, with backoff that grows over
 * refusals, failed lookups and deadlines, and begins anew after a life (pitfalls 94, 98).
 * How: scripted, in virtual time, with a resolver that takes as long as the scenario wants.
 * Not: real sockets and threads (integration.resolve); every order (sim.seeds).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <ringline/supervisor.h>

#include "net/net.h"

#include "sim_harness.h"
#include "sim_resolver.h"
#include "sim_scene.h"
#include "sim_tls.h"

#define STARTS_MAX 64

static int
setup(void **state)
{
	(void)state;
	sim_new(2, 27);
	sim_resolver_takes((uint64_t)RL_MS(1));
	return 0;
}

/* ---- one connection */

static int
on_opener(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	struct rl_conn_options options = { .connect_timeout_ns = RL_SEC(3) };

	if (msg->kind == RL_MSG_USER) {
		return rl_conn_open(self, scene->url, &scene_def, scene + 1, &options, NULL);
	}
	if (msg->kind == RL_MSG_USER + 1) {
		sim_resolver_interleave(); /* a thread does not wait for this handler */
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

/* scenes[0] opens, scenes[1] is what is opened. */
static rl_actor_id
open_to(struct scene *scenes, const char *url)
{
	rl_actor_id id;

	scenes[0].on = on_opener;
	memcpy(scenes[0].url, url, strlen(url) + 1);
	assert_int_equal(rl_system_spawn(sim_system(), 0, &scene_def, &scenes[0], &id), 0);
	assert_int_equal(rl_system_send(sim_system(), id, RL_MSG_USER, NULL, 0), 0);
	sim_settle();
	return id;
}

static void
resolve_name_opens_at_its_address(void **state)
{
	struct scene scenes[2] = { 0 };
	struct sk_sock *server = scene_serve(9100);
	struct sk_sock *peer;

	(void)state;
	open_to(scenes, "tcp://one.sim:9100");
	assert_int_equal(scenes[1].count[RL_MSG_START], 1);
	assert_int_equal(scenes[1].count[RL_MSG_OPEN], 0);
	sim_advance_ns((uint64_t)RL_MS(2));
	assert_int_equal(scenes[1].count[RL_MSG_OPEN], 1);
	assert_int_equal(scenes[1].peer.port, 9100);
	peer = sk_accept(server);
	assert_non_null(peer);
	scene_close(peer);
	assert_int_equal(scenes[1].stops[RL_REASON_PEER_FIN], 1);
	sk_file_put(&server->file);
	scene_end();
}

static void
resolve_no_such_host_has_its_reason(void **state)
{
	struct scene scenes[2] = { 0 };

	(void)state;
	open_to(scenes, "tcp://none.sim:9100");
	sim_advance_ns((uint64_t)RL_MS(2));
	assert_int_equal(scenes[1].stops[RL_REASON_RESOLVE], 1);
	assert_int_equal(scenes[1].stop_error, -ENOENT);
	scene_end();
}

/* Three refuse, the fourth is there; the listener's end makes it four. */
static void
resolve_addresses_are_tried_in_order(void **state)
{
	struct scene scenes[2] = { 0 };
	struct sk_sock *server = scene_serve(9100);

	(void)state;
	open_to(scenes, "tcp://refused.sim:9100");
	sim_advance_ns((uint64_t)RL_MS(2));
	assert_int_equal(scenes[1].count[RL_MSG_OPEN], 1);
	assert_int_equal(scenes[1].peer.bytes[1], 0);
	scene_close(sk_accept(server));
	sk_file_put(&server->file);
	memset(scenes, 0, sizeof(scenes));
	open_to(scenes, "tcp://refused.sim:9100");
	sim_advance_ns((uint64_t)RL_MS(2));
	assert_int_equal(scenes[1].stops[RL_REASON_FAILURE], 1);
	assert_int_equal(scenes[1].stop_error, -ECONNREFUSED);
	scene_end();
}

/* Two addresses swallow what they are sent: of three seconds each costs one. */
static void
resolve_black_holes_cost_their_turns(void **state)
{
	struct scene scenes[2] = { 0 };
	struct sk_sock *server = scene_serve(9100);

	(void)state;
	open_to(scenes, "tcp://holes.sim:9100");
	sim_advance_ns((uint64_t)RL_MS(1950));
	assert_int_equal(scenes[1].count[RL_MSG_OPEN], 0);
	sim_advance_ns((uint64_t)RL_MS(100));
	assert_int_equal(scenes[1].count[RL_MSG_OPEN], 1);
	scene_close(sk_accept(server));
	sk_file_put(&server->file);
	scene_end();
}

/* A partial submit cuts connect and timeout apart: then the wheel ends the turn. */
static void
resolve_turn_ends_without_its_linked_timeout(void **state)
{
	struct scene scenes[2] = { 0 };
	struct sk_sock *server = scene_serve(9100);

	(void)state;
	sim_fault_set(FAULT_ENTER_PARTIAL, 50000);
	sim_fault_set(FAULT_LINK_CUT, 65536);
	for (uint32_t i = 0; i < 30; i++) {
		memset(scenes, 0, sizeof(scenes));
		open_to(scenes, "tcp://holes.sim:9100");
		sim_advance_ns((uint64_t)RL_MS(2200));
		assert_int_equal(scenes[1].count[RL_MSG_OPEN], 1);
		scene_close(sk_accept(server));
	}
	sim_fault_set(FAULT_ENTER_PARTIAL, 0);
	sk_file_put(&server->file);
	scene_end();
}

static void
resolve_deadline_runs_over_the_lookup(void **state)
{
	struct scene scenes[2] = { 0 };

	(void)state;
	sim_resolver_takes(UINT64_MAX);
	open_to(scenes, "tcp://one.sim:9100");
	sim_advance_ns((uint64_t)RL_MS(2950));
	assert_int_equal(scenes[1].live, 1);
	sim_advance_ns((uint64_t)RL_MS(100));
	assert_int_equal(scenes[1].stops[RL_REASON_TIMEOUT_CONNECT], 1);
	assert_int_equal(scenes[1].stop_error, -ETIMEDOUT);
	scene_end(); /* with the worker still out */
}

/* The worker comes home after the deadline was seen, and before the connection let go. */
static void
resolve_answer_in_the_turn_of_the_end_is_waited_for(void **state)
{
	struct scene scenes[2] = { 0 };
	rl_actor_id opener;

	(void)state;
	sim_resolver_takes((uint64_t)RL_SEC(3));
	opener = open_to(scenes, "tcp://one.sim:9100");
	sim_advance_ns((uint64_t)RL_MS(2900));
	assert_int_equal(scenes[1].live, 1);
	assert_int_equal(rl_system_send(sim_system(), opener, RL_MSG_USER + 1, NULL, 0), 0);
	sim_world.now_ns += (uint64_t)RL_MS(101);
	sim_turn(0); /* the clock is read at its end */
	assert_int_equal(rl_system_send(sim_system(), opener, RL_MSG_USER + 1, NULL, 0), 0);
	sim_turn(0);
	sim_settle();
	assert_int_equal(scenes[1].live, 0);
	assert_int_equal(scenes[1].count[RL_MSG_STOP], 1);
	assert_int_equal(sim_on(0)->net->lookups, 0);
	assert_int_equal(sim_on(0)->net->connects.taken, 0);
	scene_end();
}

static void
resolve_that_never_ends_does_not_hold_up_a_drain(void **state)
{
	struct scene scenes[2] = { 0 };
	uint64_t since_ns;

	(void)state;
	sim_resolver_takes(UINT64_MAX);
	open_to(scenes, "tcp://one.sim:9100");
	since_ns = sim_world.now_ns;
	sim_drain();
	assert_true(sim_world.now_ns - since_ns < (uint64_t)RL_MS(10));
	assert_int_equal(scenes[1].stops[RL_REASON_SHUTDOWN], 1);
	sim_stop();
	sim_finish(false);
}

static void
resolve_without_a_thread_fails_and_later_does_not(void **state)
{
	struct scene scenes[2] = { 0 };
	struct sk_sock *server = scene_serve(9100);

	(void)state;
	sim_fault_set(FAULT_THREAD_FAILS, 65536);
	open_to(scenes, "tcp://one.sim:9100");
	assert_int_equal(scenes[1].stops[RL_REASON_RESOLVE], 1);
	assert_int_equal(scenes[1].stop_error, -EAGAIN);
	sim_fault_set(FAULT_THREAD_FAILS, 0);
	open_to(scenes, "tcp://one.sim:9100");
	sim_advance_ns((uint64_t)RL_MS(2));
	assert_int_equal(scenes[1].count[RL_MSG_OPEN], 1);
	scene_close(sk_accept(server));
	sk_file_put(&server->file);
	scene_end();
}

/* ---- one that comes back */

static uint64_t starts[STARTS_MAX];
static uint32_t starts_count;

static int
on_client(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	(void)self;
	if (msg->kind == RL_MSG_START && starts_count < STARTS_MAX) {
		starts[starts_count++] = sim_world.now_ns;
	}
	return RL_ACTOR_UNHANDLED;
}

static struct rl_child_def child;

static struct rl_supervisor_def supervisor = {
	.name = "clients",
	.restarts_max = -1,
	.backoff_min_ns = RL_MS(100),
	.backoff_max_ns = RL_SEC(2),
	.children = &child,
	.children_count = 1,
};

static void
supervise(struct scene *client, const char *url, const struct rl_conn_options *options)
{
	client->on = on_client;
	child = (struct rl_child_def){
		.name = "client", .def = &scene_def, .arg = client, .url = url, .options = options
	};
	starts_count = 0;
	assert_int_equal(rl_system_spawn(sim_system(), 1, &rl_supervisor, &supervisor, NULL), 0);
	sim_settle();
	assert_int_equal(starts_count, 1);
}

/* From start number @first on, its delays are those of failures number 0, 1, ... in a row. */
static void
assert_backoff(uint32_t first, uint32_t count, uint32_t failures, uint64_t lasts_ns)
{
	for (uint32_t i = 0; i < count; i++, failures++) {
		uint64_t delay_ns = (uint64_t)RL_MS(100) << (failures < 20 ? failures : 20);
		uint64_t gap_ns = starts[first + i + 1] - starts[first + i];

		delay_ns = delay_ns < (uint64_t)supervisor.backoff_max_ns
				   ? delay_ns
				   : (uint64_t)supervisor.backoff_max_ns;
		assert_true(first + i + 1 < starts_count);
		assert_in_range(gap_ns, lasts_ns + delay_ns / 2,
				lasts_ns + delay_ns + (uint64_t)RL_MS(15));
	}
}

static void
reconnect_backs_off_until_there_is_a_server_and_anew_after_it_went(void **state)
{
	struct scene client = { 0 };
	struct sk_sock *server;
	struct sk_sock *peer;
	uint64_t lost_ns;
	uint32_t before;

	(void)state;
	supervise(&client, "tcp://one.sim:9200", NULL);
	sim_advance_ns((uint64_t)RL_SEC(12));
	assert_true(starts_count > 8);
	assert_int_equal(client.stops[RL_REASON_FAILURE], starts_count - client.live);
	assert_backoff(0, starts_count - 2, 0, 0);

	server = scene_serve(9200);
	sim_advance_ns((uint64_t)RL_SEC(3));
	assert_int_equal(client.count[RL_MSG_OPEN], 1);
	peer = sk_accept(server);
	sk_file_put(&server->file);
	before = starts_count;
	sim_advance_ns((uint64_t)RL_SEC(3)); /* it lives for longer than backoff_max_ns */
	assert_int_equal(starts_count, before);
	scene_close(peer);
	assert_int_equal(client.stops[RL_REASON_PEER_FIN], 1);
	lost_ns = client.stop_ns;
	sim_advance_ns((uint64_t)RL_SEC(5));
	assert_true(starts_count > before + 4);
	assert_in_range(starts[before] - lost_ns, RL_MS(50), RL_MS(115));
	assert_backoff(before, 4, 1, 0);
	scene_end();
}

static void
reconnect_backs_off_while_the_host_is_not_found(void **state)
{
	struct scene client = { 0 };
	struct sk_sock *server = scene_serve(9200);

	(void)state;
	sim_fault_set(FAULT_LOOKUP_FAILS, 65536);
	supervise(&client, "tcp://one.sim:9200", NULL);
	sim_advance_ns((uint64_t)RL_SEC(12));
	assert_true(starts_count > 8);
	assert_int_equal(client.stops[RL_REASON_RESOLVE], starts_count);
	assert_backoff(0, starts_count - 1, 0, 0);
	sim_fault_set(FAULT_LOOKUP_FAILS, 0);
	sim_advance_ns((uint64_t)RL_SEC(3));
	assert_int_equal(client.count[RL_MSG_OPEN], 1);
	scene_close(sk_accept(server));
	sk_file_put(&server->file);
	scene_end();
}

/* It tried for longer than backoff_max_ns each time, and yet the row of failures goes on. */
static void
reconnect_backs_off_while_nobody_answers(void **state)
{
	struct rl_conn_options options = { .connect_timeout_ns = RL_SEC(3) };
	struct scene client = { 0 };

	(void)state;
	sim_fault_set(FAULT_CONNECT_BLACK_HOLE, 65536);
	supervise(&client, "tcp://127.0.0.1:9200", &options);
	sim_advance_ns((uint64_t)RL_SEC(40));
	assert_true(starts_count > 7);
	assert_backoff(0, starts_count - 2, 0, (uint64_t)RL_SEC(3));
	sim_resolver_takes(UINT64_MAX);
	child.url = "tcp://one.sim:9200";
	sim_advance_ns((uint64_t)RL_SEC(20));
	assert_int_equal(client.stops[RL_REASON_TIMEOUT_CONNECT], starts_count - client.live);
	assert_backoff(0, starts_count - 2, 0, (uint64_t)RL_SEC(3));
	scene_end();
}

/* The same of a server that takes connections and says nothing over them. */
static void
reconnect_backs_off_while_nobody_shakes_hands(void **state)
{
	struct rl_conn_options options = { .tls_handshake_timeout_ns = RL_SEC(3) };
	struct scene client = { 0 };
	struct sk_sock *server;
	struct sk_sock *peers[STARTS_MAX] = { NULL };
	uint32_t count = 0;

	(void)state;
	sim_tls_setup();
	options.tls = sim_tls_client();
	server = scene_serve(9200);
	supervise(&client, "tls://127.0.0.1:9200", &options);
	for (uint32_t i = 0; i < 80; i++) {
		sim_advance_ns((uint64_t)RL_MS(500));
		peers[count] = sk_accept(server);
		count += peers[count] != NULL;
	}
	assert_true(starts_count > 7);
	assert_int_equal(client.stops[RL_REASON_TIMEOUT_HANDSHAKE], starts_count - client.live);
	assert_backoff(0, starts_count - 2, 0, (uint64_t)RL_SEC(3));
	while (count > 0) {
		scene_close(peers[--count]);
	}
	sk_file_put(&server->file);
	scene_end();
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		CASE(resolve_name_opens_at_its_address),
		CASE(resolve_no_such_host_has_its_reason),
		CASE(resolve_addresses_are_tried_in_order),
		CASE(resolve_black_holes_cost_their_turns),
		CASE(resolve_turn_ends_without_its_linked_timeout),
		CASE(resolve_deadline_runs_over_the_lookup),
		CASE(resolve_answer_in_the_turn_of_the_end_is_waited_for),
		CASE(resolve_that_never_ends_does_not_hold_up_a_drain),
		CASE(resolve_without_a_thread_fails_and_later_does_not),
		CASE(reconnect_backs_off_until_there_is_a_server_and_anew_after_it_went),
		CASE(reconnect_backs_off_while_the_host_is_not_found),
		CASE(reconnect_backs_off_while_nobody_answers),
		CASE(reconnect_backs_off_while_nobody_shakes_hands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
