/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Deadlines and their reasons: as configured, as a listener's option says, and as the actor set
 * them. Exact times, by the simulator's clock.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "sim_harness.h"
#include "sim_scene.h"
#include "sim_world.h"

#define TCP "tcp://127.0.0.1:0"

static int
setup(void **state)
{
	(void)state;
	sim_new(2, 21);
	return 0;
}

/* One of @reason, @ms after @since: to the tick of the wheel and the simulated kernel's delays. */
static void
assert_ended_after(const struct scene *scene, enum rl_reason reason, uint64_t since, uint64_t ms)
{
	assert_int_equal(scene->live, 0);
	assert_int_equal(scene->stops[reason], 1);
	assert_in_range(scene->stop_ns - since, RL_MS(ms - 10), RL_MS(ms + 10));
}

/* ---- an actor that is told which deadline to set */

/*
 * "i3000.": idle, 3 s. "f", "s", "l": first byte, stall, linger; "p": first byte, while paused;
 * "q." ends. Whatever else is echoed.
 */
static int
scripted_set(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	enum rl_conn_deadline which;
	char text[16] = { 0 };
	int64_t ms;

	memcpy(text, msg->recv.data, msg->recv.len < sizeof(text) ? msg->recv.len : 15);
	if (strchr("ipfslxq", text[0]) != NULL && text[0] != '\0' && strchr(text, '.') == NULL) {
		rl_conn_consumed(self, 0); /* the rest is on its way */
		return 0;
	}
	switch (text[0]) {
	case 'i':
		which = RL_CONN_DEADLINE_IDLE;
		break;
	case 'p':
		assert_int_equal(rl_conn_pause(self), 0);
		which = RL_CONN_DEADLINE_FIRST_BYTE;
		break;
	case 'f':
		which = RL_CONN_DEADLINE_FIRST_BYTE;
		break;
	case 's':
		which = RL_CONN_DEADLINE_STALL;
		break;
	case 'l':
		which = RL_CONN_DEADLINE_LINGER;
		break;
	case 'q':
		return RL_ACTOR_STOP;
	case 'x':
		which = (enum rl_conn_deadline)(RL_CONN_DEADLINE_LINGER + 1);
		break;
	default:
		return rl_conn_send(self, msg->recv.data, msg->recv.len) < 0 ? -EAGAIN : 0;
	}
	ms = strtol(text + 1, NULL, 10);
	scene->number = (uint64_t)rl_conn_set_deadline(self, which, ms > 0 ? RL_MS(ms) : ms);
	return 0;
}

static int
scripted(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	struct rl_addr peer;

	switch (msg->kind) {
	case RL_MSG_START:
		if (rl_conn_peer(self, &peer) == -ENOTCONN) {
			scene->number = (uint64_t)rl_conn_set_deadline(self, RL_CONN_DEADLINE_IDLE,
								       RL_SEC(1));
		}
		return 0;
	case RL_MSG_RECV:
		return scripted_set(scene, self, msg);
	case RL_MSG_EOF:
		scene->number = (uint64_t)rl_conn_set_deadline(self, RL_CONN_DEADLINE_FIRST_BYTE,
							       RL_SEC(1));
		return scene->flag ? 0 : RL_ACTOR_STOP;
	case RL_MSG_USER:
		return rl_conn_resume(self);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

/* ---- as configured, or as an option says */

static void
idle_connection_times_out(void **state)
{
	struct rl_conn_options options = { .idle_timeout_ns = RL_SEC(5) };
	struct scene scene = { 0 };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&scene, TCP, &options);
	peer = scene_connect(&scene);
	sim_advance_ns((uint64_t)RL_SEC(4));
	scene_write(peer, "x.");
	sim_settle();
	since = sim_world.now_ns;
	sim_advance_ns((uint64_t)RL_SEC(4));
	assert_int_equal(scene.live, 1);
	sim_advance_ns((uint64_t)RL_SEC(2));
	assert_ended_after(&scene, RL_REASON_TIMEOUT_IDLE, since, 5000);
	scene_close(peer);
	scene_end();
}

static void
silent_client_misses_its_first_byte(void **state)
{
	struct rl_conn_options options = { .first_byte_timeout_ns = RL_SEC(1) };
	struct scene scene = { 0 };
	struct sk_sock *peer;
	struct sk_sock *silent;

	(void)state;
	scene_listen(&scene, TCP, &options);
	peer = scene_connect(&scene);
	silent = scene_connect(&scene);
	scene_write(peer, "x.");
	sim_advance_ns((uint64_t)RL_SEC(2));
	assert_int_equal(scene.stops[RL_REASON_TIMEOUT_FIRST_BYTE], 1);
	assert_int_equal(scene.live, 1);
	scene_close(peer);
	scene_close(silent);
	scene_end();
}

static void
peer_that_takes_nothing_stalls(void **state)
{
	static uint8_t bytes[150000];
	struct scene scene = { 0 };
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write_bytes(peer, bytes, sizeof(bytes));
	sim_advance_ns((uint64_t)RL_SEC(29));
	/* a byte that is taken is progress */
	assert_true(scene_drain(peer) > 0);
	sim_advance_ns((uint64_t)RL_SEC(29));
	assert_int_equal(scene.live, 1);
	scene_write_bytes(peer, bytes, sizeof(bytes));
	sim_advance_ns((uint64_t)RL_SEC(100));
	assert_int_equal(scene.live, 0);
	assert_int_equal(scene.stops[RL_REASON_TIMEOUT_STALL], 1);
	scene_close(peer);
	scene_end();
}

static void
options_go_before_the_configuration(void **state)
{
	struct rl_conn_options options = { .stall_timeout_ns = RL_SEC(3),
					   .linger_timeout_ns = RL_MS(500) };
	static uint8_t bytes[150000];
	struct scene scene = { .on = scripted };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&scene, TCP, &options);
	peer = scene_connect(&scene);
	since = sim_world.now_ns;
	scene_write_bytes(peer, bytes, sizeof(bytes));
	sim_advance_ns((uint64_t)RL_SEC(10));
	assert_ended_after(&scene, RL_REASON_TIMEOUT_STALL, since, 3000);
	scene_close(peer);

	peer = scene_connect(&scene);
	since = sim_world.now_ns;
	scene_write(peer, "q.");
	sim_advance_ns((uint64_t)RL_SEC(10));
	assert_ended_after(&scene, RL_REASON_TIMEOUT_LINGER, since, 500);
	scene_close(peer);
	scene_end();
}

/* Nobody waits for a first byte that can't come any more. */
static void
end_of_input_meets_the_first_byte(void **state)
{
	struct rl_conn_options options = { .first_byte_timeout_ns = RL_SEC(1) };
	struct scene scene = { .on = scripted, .flag = true };
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, &options);
	peer = scene_connect(&scene);
	assert_int_equal(sk_shutdown(peer, SHUT_WR), 0);
	sim_advance_ns((uint64_t)RL_SEC(5));
	assert_int_equal(scene.live, 1);
	scene_close(peer);
	scene_end();
}

/* ---- as the actor sets them */

static void
idle_is_set_shorter_and_off(void **state)
{
	struct scene scene = { .on = scripted };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "i-1.");
	sim_advance_ns((uint64_t)RL_SEC(1000));
	assert_int_equal(scene.live, 1);
	scene_write(peer, "i3000.");
	since = sim_world.now_ns;
	sim_advance_ns((uint64_t)RL_SEC(10));
	assert_ended_after(&scene, RL_REASON_TIMEOUT_IDLE, since, 3000);
	scene_close(peer);
	scene_end();
}

static void
idle_is_set_back_to_what_is_configured(void **state)
{
	struct scene scene = { .on = scripted };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "i-1.");
	sim_settle();
	scene_write(peer, "i0.");
	since = sim_world.now_ns;
	sim_advance_ns((uint64_t)RL_SEC(100));
	assert_ended_after(&scene, RL_REASON_TIMEOUT_IDLE, since, 60000);
	scene_close(peer);
	scene_end();
}

/* Who was not paused does not begin to idle anew. */
static void
idle_goes_on_when_nothing_is_resumed(void **state)
{
	struct scene scene = { .on = scripted };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "i5000.");
	sim_settle();
	since = sim_world.now_ns;
	for (uint32_t i = 0; i < 4; i++) {
		sim_advance_ns((uint64_t)RL_SEC(1));
		assert_int_equal(rl_system_send(sim_system(), scene.id, RL_MSG_USER, NULL, 0), 0);
	}
	sim_advance_ns((uint64_t)RL_SEC(4));
	assert_ended_after(&scene, RL_REASON_TIMEOUT_IDLE, since, 5000);
	scene_close(peer);
	scene_end();
}

/* For the next request of a connection that stays: the byte that comes meets it, and only once. */
static void
first_byte_is_waited_for_again(void **state)
{
	struct scene scene = { .on = scripted };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "f2000.");
	sim_advance_ns((uint64_t)RL_MS(1500));
	scene_write(peer, "?");
	sim_advance_ns((uint64_t)RL_SEC(20));
	assert_int_equal(scene.live, 1);
	scene_write(peer, "f2000.");
	since = sim_world.now_ns;
	sim_advance_ns((uint64_t)RL_SEC(20));
	assert_ended_after(&scene, RL_REASON_TIMEOUT_FIRST_BYTE, since, 2000);
	scene_close(peer);
	scene_end();
}

static void
stall_and_linger_are_set(void **state)
{
	static uint8_t bytes[150000];
	struct scene scene = { .on = scripted };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "s4000.");
	sim_settle();
	since = sim_world.now_ns;
	scene_write_bytes(peer, bytes, sizeof(bytes));
	sim_advance_ns((uint64_t)RL_SEC(20));
	assert_ended_after(&scene, RL_REASON_TIMEOUT_STALL, since, 4000);
	scene_close(peer);

	peer = scene_connect(&scene);
	scene_write(peer, "l700.");
	sim_settle();
	since = sim_world.now_ns;
	scene_write(peer, "q.");
	sim_advance_ns((uint64_t)RL_SEC(20));
	assert_ended_after(&scene, RL_REASON_TIMEOUT_LINGER, since, 700);
	scene_close(peer);
	scene_end();
}

/* Paused, it stands still; what is set then begins when the pause ends. */
static void
first_byte_set_while_paused_waits(void **state)
{
	struct scene scene = { .on = scripted };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "p2000.");
	sim_advance_ns((uint64_t)RL_SEC(20));
	assert_int_equal(scene.live, 1);
	since = sim_world.now_ns;
	assert_int_equal(rl_system_send(sim_system(), scene.id, RL_MSG_USER, NULL, 0), 0);
	sim_advance_ns((uint64_t)RL_SEC(20));
	assert_ended_after(&scene, RL_REASON_TIMEOUT_FIRST_BYTE, since, 2000);
	scene_close(peer);
	scene_end();
}

/* Sets it for the next byte, and can't go on with this one before its output has left. */
static int
not_now(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	static const uint8_t much[700 * 1024];

	if (msg->kind != RL_MSG_RECV) {
		return msg->kind == RL_MSG_WRITABLE ? 0 : RL_ACTOR_UNHANDLED;
	}
	if (scene->flag) {
		return 0;
	}
	scene->flag = true;
	assert_int_equal(rl_conn_set_deadline(self, RL_CONN_DEADLINE_FIRST_BYTE, RL_SEC(2)), 0);
	assert_int_equal(rl_conn_send(self, much, sizeof(much)), RL_CONN_SEND_HIGH);
	return rl_conn_send(self, much, sizeof(much));
}

/* A notice is owed, so the peer is not to blame: what was left of it begins with the notice. */
static void
first_byte_set_with_not_now_waits(void **state)
{
	struct rl_conn_options options = { .auto_pause = RL_CONN_OFF };
	struct scene scene = { .on = not_now };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&scene, TCP, &options);
	peer = scene_connect(&scene);
	scene_write(peer, "x");
	sim_advance_ns((uint64_t)RL_SEC(20));
	assert_int_equal(scene.live, 1);
	assert_int_equal(scene_drain(peer), 700 * 1024);
	since = sim_world.now_ns;
	assert_int_equal(scene.live, 1);
	assert_int_equal(scene.count[RL_MSG_RECV], 2);
	sim_advance_ns((uint64_t)RL_MS(1900));
	assert_int_equal(scene.live, 1);
	sim_advance_ns((uint64_t)RL_SEC(1));
	assert_ended_after(&scene, RL_REASON_TIMEOUT_FIRST_BYTE, since, 2000);
	scene_close(peer);
	scene_end();
}

static void
wrong_ones_are_refused(void **state)
{
	struct scene scene = { .on = scripted };
	rl_actor_id plain;
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "i-2.");
	sim_settle();
	assert_int_equal((int)scene.number, -EINVAL);
	scene_write(peer, "x1000.");
	sim_settle();
	assert_int_equal((int)scene.number, -EINVAL);
	scene.flag = true;
	assert_int_equal(sk_shutdown(peer, SHUT_WR), 0);
	sim_settle();
	assert_int_equal((int)scene.number, -ESHUTDOWN);
	assert_int_equal(rl_system_spawn(sim_system(), 0, &scene_def, &scene, &plain), 0);
	sim_settle();
	assert_int_equal((int)scene.number, -ENOTCONN);
	scene_close(peer);
	scene_end();
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		CASE(idle_connection_times_out),
		CASE(silent_client_misses_its_first_byte),
		CASE(peer_that_takes_nothing_stalls),
		CASE(options_go_before_the_configuration),
		CASE(end_of_input_meets_the_first_byte),
		CASE(idle_is_set_shorter_and_off),
		CASE(idle_is_set_back_to_what_is_configured),
		CASE(idle_goes_on_when_nothing_is_resumed),
		CASE(first_byte_is_waited_for_again),
		CASE(stall_and_linger_are_set),
		CASE(first_byte_set_while_paused_waits),
		CASE(first_byte_set_with_not_now_waits),
		CASE(wrong_ones_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
