/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: what is forwarded arrives in order behind what was queued; each answer of
 * rl_conn_forward(); who can't forward gets no input and is told once, also when the target ends;
 * those who wait are served in order, and nobody goes before them (pitfalls 40, 72, 73, 74, 75).
 * How: peers moved by hand, in virtual time.
 * Not proved: whole proxies; tests/integration has one, the seeds have many.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/conn.h"

#include "sim_harness.h"
#include "sim_scene.h"

#define TCP	"tcp://127.0.0.1:0"
#define HIGH	20000u
#define FEEDERS 40

/* To whom all feeders forward, and what became of it. */
static struct {
	rl_actor_id to;
	size_t taken;
	uint32_t high;
	uint32_t refused;
	uint32_t told;
	uint32_t received; /* RL_MSG_RECV while it waited */
	int last; /* what the last forward answered */
} feed;

static void
forward_begin(uint32_t shards)
{
	struct rl_config config =
		RL_CONFIG(.shards = shards, .sq_entries = 64, .cq_entries = 256, .conns_max = 256,
			  .recv_buffers = 8, .recv_buffer_bytes = 1024,
			  .recv_pending_max_bytes = 1024, .send_low_bytes = 4000,
			  .send_high_bytes = HIGH, .idle_timeout_ns = -1);

	memset(&feed, 0, sizeof(feed));
	sim_new_with(&config, 41);
}

/* Forwards what it gets; what is refused comes again. */
static int
on_feed(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	int rc;

	if (msg->kind == RL_MSG_WRITABLE) {
		assert_true(rl_actor_id_eq(msg->writable.target, feed.to));
		assert_true(scene->number > 0);
		scene->number--;
		feed.told++;
		return 0;
	}
	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	feed.received += self->forwards_owed > 0;
	rc = rl_conn_forward(self, feed.to, msg->recv.data, msg->recv.len);
	feed.last = rc;
	feed.taken += rc >= 0 ? msg->recv.len : 0;
	feed.high += rc == RL_CONN_SEND_HIGH;
	feed.refused += rc == -EAGAIN;
	scene->number += rc == RL_CONN_SEND_HIGH || rc == -EAGAIN;
	return rc;
}

static int
on_sink(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	(void)self;
	assert_true(msg->kind != RL_MSG_WRITABLE); /* it has sent nothing itself */
	return msg->kind == RL_MSG_RECV ? 0 : RL_ACTOR_UNHANDLED;
}

static void
forward_arrives_behind_what_is_queued(void **state)
{
	struct scene from = { .on = on_feed };
	struct scene to = { 0 }; /* echoes */
	struct sk_sock *here;
	struct sk_sock *there;
	char text[100];

	(void)state;
	forward_begin(1);
	scene_listen(&from, TCP, NULL);
	scene_listen(&to, TCP, NULL);
	there = scene_connect(&to);
	feed.to = to.id;
	here = scene_connect(&from);
	scene_write(there, "own ");
	scene_write(here, "another's ");
	scene_write(there, "own again");
	assert_int_equal(scene_read(there, text, sizeof(text)), 23);
	assert_string_equal(text, "own another's own again");
	assert_int_equal(feed.high + feed.refused, 0);
	scene_close(here);
	scene_close(there);
	scene_end();
}

/* Who was held back for others has been silent for nobody's fault: it has all its time again. */
static void
forward_that_waited_is_not_idle(void **state)
{
	static uint8_t bytes[1000];
	struct rl_conn_options options = { .idle_timeout_ns = RL_SEC(5) };
	struct scene from = { .on = on_feed };
	struct scene to = { .on = on_sink };
	struct sk_sock *here;
	struct sk_sock *there;

	(void)state;
	forward_begin(1);
	scene_listen(&from, TCP, &options);
	scene_listen(&to, TCP, NULL);
	there = scene_connect(&to);
	feed.to = to.id;
	here = scene_connect(&from);
	for (uint32_t i = 0; i < 400 && feed.high == 0; i++) {
		scene_write_bytes(here, bytes, sizeof(bytes));
	}
	assert_int_equal(feed.high, 1);
	sim_advance_ns((uint64_t)RL_SEC(20));
	assert_int_equal(from.live, 1);
	scene_drain(there);
	assert_int_equal(feed.told, 1);
	sim_advance_ns((uint64_t)RL_SEC(4));
	assert_int_equal(from.live, 1);
	sim_advance_ns((uint64_t)RL_SEC(2));
	assert_int_equal(from.stops[RL_REASON_TIMEOUT_IDLE], 1);
	scene_close(here);
	scene_close(there);
	scene_end();
}

/* Output that nobody reads stops the input, within the high mark and what one delivery brings. */
static void
forward_that_can_not_go_on_holds_the_input(void **state)
{
	static uint8_t bytes[400000];
	struct scene from = { .on = on_feed };
	struct scene to = { .on = on_sink };
	struct sk_sock *here;
	struct sk_sock *there;
	const struct conn *conn;
	size_t written;
	size_t got;

	(void)state;
	forward_begin(1);
	scene_listen(&from, TCP, NULL);
	scene_listen(&to, TCP, NULL);
	there = scene_connect(&to);
	feed.to = to.id;
	here = scene_connect(&from);
	written = scene_write_bytes(here, bytes, sizeof(bytes));
	assert_true(written < sizeof(bytes)); /* the way is full, from end to end */
	assert_int_equal(feed.high, 1);
	assert_int_equal(feed.told, 0);
	conn = rli_actor_resolve(sim_on(0), to.id.private_bits)->conn;
	assert_in_range(conn->out_bytes, HIGH, HIGH + 2048);
	got = scene_drain(there);
	while (written < sizeof(bytes)) {
		written += scene_write_bytes(here, bytes + written, sizeof(bytes) - written);
		got += scene_drain(there);
	}
	assert_int_equal(got, sizeof(bytes));
	assert_int_equal(feed.taken, sizeof(bytes));
	assert_int_equal(feed.told, feed.high);
	assert_true(feed.told > 1);
	assert_int_equal(feed.refused, 0);
	assert_int_equal(feed.received, 0);
	scene_close(here);
	scene_close(there);
	scene_end();
}

/* Many into one: each of them waits its turn, and every byte arrives. */
static void
forward_of_many_is_served_in_order(void **state)
{
	static uint8_t bytes[60000];
	struct scene from = { .on = on_feed };
	struct scene to = { .on = on_sink };
	struct sk_sock *here[FEEDERS];
	struct sk_sock *there;
	size_t written[FEEDERS] = { 0 };
	size_t total = 0;
	size_t got = 0;

	(void)state;
	forward_begin(1);
	scene_listen(&from, TCP, NULL);
	scene_listen(&to, TCP, NULL);
	there = scene_connect(&to);
	feed.to = to.id;
	for (uint32_t i = 0; i < FEEDERS; i++) {
		here[i] = scene_connect(&from);
	}
	while (got < FEEDERS * sizeof(bytes)) {
		size_t before = got + total;

		for (uint32_t i = 0; i < FEEDERS; i++) {
			size_t n = scene_write_bytes(here[i], bytes + written[i],
						     sizeof(bytes) - written[i]);

			written[i] += n;
			total += n;
		}
		got += scene_drain(there);
		assert_true(got + total > before); /* somebody was forgotten */
	}
	assert_int_equal(got, FEEDERS * sizeof(bytes));
	assert_true(feed.refused > FEEDERS); /* those who came later */
	assert_int_equal(feed.told, feed.high + feed.refused);
	assert_int_equal(feed.received, 0);
	for (uint32_t i = 0; i < FEEDERS; i++) {
		scene_close(here[i]);
	}
	scene_close(there);
	scene_end();
}

static void
forward_to_one_that_ends_is_told(void **state)
{
	static uint8_t bytes[100000];
	struct scene from = { .on = on_feed };
	struct scene to = { .on = on_sink };
	struct sk_sock *here[FEEDERS];
	struct sk_sock *there;

	(void)state;
	forward_begin(1);
	scene_listen(&from, TCP, NULL);
	scene_listen(&to, TCP, NULL);
	there = scene_connect(&to);
	feed.to = to.id;
	for (uint32_t i = 0; i < FEEDERS; i++) {
		here[i] = scene_connect(&from);
		scene_write_bytes(here[i], bytes, sizeof(bytes));
	}
	assert_int_equal(feed.told, 0);
	assert_true(feed.high + feed.refused >= FEEDERS);
	sk_reset(there);
	scene_close(there);
	assert_int_equal(to.live, 0);
	assert_true(feed.told >= FEEDERS); /* all of them, and so they tried again */
	assert_true(feed.last == -ESHUTDOWN || feed.last == -ENOENT);
	assert_int_equal(from.live, 0); /* an actor that answers so has failed */
	for (uint32_t i = 0; i < FEEDERS; i++) {
		scene_close(here[i]);
	}
	scene_end();
}

static void
forward_of_one_that_ends_leaves_nothing(void **state)
{
	static uint8_t bytes[100000];
	struct scene from = { .on = on_feed };
	struct scene to = { .on = on_sink };
	struct sk_sock *here[2];
	struct sk_sock *there;

	(void)state;
	forward_begin(1);
	scene_listen(&from, TCP, NULL);
	scene_listen(&to, TCP, NULL);
	there = scene_connect(&to);
	feed.to = to.id;
	for (uint32_t i = 0; i < 2; i++) {
		here[i] = scene_connect(&from);
		scene_write_bytes(here[i], bytes, sizeof(bytes));
	}
	assert_int_equal(sim_on(0)->actors->forwards.taken, 2);
	rl_system_drain(sim_system()); /* it ends them all, those who wait too */
	sim_advance_ns((uint64_t)RL_SEC(20));
	assert_int_equal(sim_on(0)->actors->forwards.taken, 0);
	assert_int_equal(from.live, 0);
	scene_close(here[0]);
	scene_close(here[1]);
	scene_close(there);
	scene_end();
}

/* Each answer that is no backpressure. */
static int
on_answers(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	static uint8_t giant[2 << 20];
	rl_actor_id nobody = { 0 };
	rl_actor_id stale = feed.to;
	rl_actor_id other = feed.to;

	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	stale.private_bits ^= (uint64_t)1 << 40;
	other.private_bits ^= (uint64_t)1 << 24;
	assert_int_equal(rl_conn_forward(self, nobody, "x", 1), -ENOENT);
	assert_int_equal(rl_conn_forward(self, stale, "x", 1), -ENOENT);
	assert_int_equal(rl_conn_forward(self, other, "x", 1), -EXDEV);
	if (scene->count[RL_MSG_RECV] == 1) {
		assert_int_equal(rl_conn_forward(self, feed.to, giant, sizeof(giant)), -EMSGSIZE);
		assert_int_equal(rl_conn_forward(self, feed.to, giant, 0), 0);
	}
	assert_int_equal(rl_conn_forward(self, rl_actor_self(self), "self", 4), 0);
	feed.last = rl_conn_forward(self, feed.to, "x", 1);
	return 0;
}

static int
idler_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_START) {
		feed.to = rl_actor_self(self);
	}
	return msg->kind == RL_MSG_START ? 0 : RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def idler = { .name = "idler", .receive = idler_receive };

static int
on_shut(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	if (msg->kind == RL_MSG_RECV) {
		assert_int_equal(rl_conn_shutdown_write(self), 0);
	}
	return msg->kind == RL_MSG_RECV ? 0 : RL_ACTOR_UNHANDLED;
}

static void
forward_answers_by_the_book(void **state)
{
	struct scene from = { .on = on_answers };
	struct scene to = { .on = on_shut };
	struct sk_sock *here;
	struct sk_sock *there;
	char text[100];

	(void)state;
	forward_begin(1);
	scene_listen(&from, TCP, NULL);
	scene_listen(&to, TCP, NULL);
	there = scene_connect(&to);
	feed.to = to.id;
	here = scene_connect(&from);
	scene_write(here, "?");
	assert_int_equal(feed.last, 0);
	assert_int_equal(scene_read(here, text, sizeof(text)), 4);
	assert_string_equal(text, "self");
	scene_write(there, "shut");
	scene_write(here, "?");
	assert_int_equal(feed.last, -ESHUTDOWN);
	assert_int_equal(rl_system_spawn(sim_system(), 0, &idler, NULL, NULL), 0);
	sim_settle();
	scene_write(here, "?");
	assert_int_equal(feed.last, -ENOTCONN);
	scene_close(here);
	scene_close(there);
	scene_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forward_arrives_behind_what_is_queued),
		cmocka_unit_test(forward_that_waited_is_not_idle),
		cmocka_unit_test(forward_that_can_not_go_on_holds_the_input),
		cmocka_unit_test(forward_of_many_is_served_in_order),
		cmocka_unit_test(forward_to_one_that_ends_is_told),
		cmocka_unit_test(forward_of_one_that_ends_leaves_nothing),
		cmocka_unit_test(forward_answers_by_the_book),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
