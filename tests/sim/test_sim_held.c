/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Connections that wait: input held back by output above the high mark, actors refused for want of
 * send memory, actors that resume. None keeps what others need, none is forgotten, none spins.
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

#define ALWAYS 65536 /* of 65536 */

static const uint8_t zeros[512 * 1024];

static int
setup(void **state)
{
	struct rl_config config =
		RL_CONFIG(.shards = 1, .sq_entries = 64, .cq_entries = 256, .conns_max = 256,
			  .recv_buffers = 8, .recv_buffer_bytes = 1024,
			  .send_pool_bytes = 4 * 1024 * 1024);

	(void)state;
	sim_new_with(&config, 31);
	return 0;
}

/* ---- held */

/* The first bytes are answered with more than the high mark; of the rest, nothing. */
static int
on_amplify(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	if (scene->flag) {
		return 0;
	}
	scene->flag = true;
	assert_int_equal(rl_conn_send(self, zeros, sizeof(zeros)), RL_CONN_SEND_HIGH);
	return 0;
}

/* All input came in one batch with its end: what is held back must not keep the shard's buffers. */
static void
held_input_that_is_over_keeps_no_buffer(void **state)
{
	struct scene amplifier = { .on = on_amplify };
	struct scene echo = { 0 };
	struct sk_sock *peer;
	struct sk_sock *other;

	(void)state;
	scene_listen(&amplifier, TCP, NULL);
	scene_listen(&echo, TCP, NULL);
	peer = scene_connect(&amplifier);
	other = scene_connect(&echo);
	sim_lazy(ALWAYS);
	assert_int_equal(sk_write(peer, zeros, 6000), 6000);
	(void)sk_shutdown(peer, SHUT_WR);
	sim_settle();
	assert_in_range(amplifier.bytes, 1, 1024); /* the rest is held */
	assert_int_equal(amplifier.count[RL_MSG_EOF], 0);
	assert_int_equal(sim_on(0)->bufring.home, sim_on(0)->bufring.count);

	assert_int_equal(scene_write_bytes(other, zeros, 6000), 6000);
	assert_int_equal(scene_drain(other), 6000);

	/* and nothing of it is lost */
	assert_int_equal(scene_drain(peer), sizeof(zeros));
	assert_int_equal(amplifier.bytes, 6000);
	assert_int_equal(amplifier.count[RL_MSG_EOF], 1);
	assert_true(scene_is_eof(peer));
	scene_close(other);
	scene_close(peer);
	scene_end();
}

static int
on_speak_first(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	switch (msg->kind) {
	case RL_MSG_OPEN:
		assert_int_equal(rl_conn_send(self, zeros, sizeof(zeros)), RL_CONN_SEND_HIGH);
		return 0;
	case RL_MSG_RECV:
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

/* Time in which nothing would be received is not the peer's: what was left of it is, after that. */
static void
held_first_byte_deadline_stands_still(void **state)
{
	struct rl_conn_options options = { .first_byte_timeout_ns = RL_SEC(1) };
	struct scene scene = { .on = on_speak_first };
	struct sk_sock *peer;
	uint64_t since;

	(void)state;
	scene_listen(&scene, TCP, &options);
	peer = scene_connect(&scene);
	sim_advance_ns((uint64_t)RL_SEC(5));
	assert_int_equal(scene.live, 1);
	assert_int_equal(scene_drain(peer), sizeof(zeros));
	since = sim_world.now_ns;
	sim_advance_ns((uint64_t)RL_MS(500));
	assert_int_equal(scene.live, 1);
	sim_advance_ns((uint64_t)RL_SEC(1));
	assert_int_equal(scene.stops[RL_REASON_TIMEOUT_FIRST_BYTE], 1);
	assert_in_range(scene.stop_ns - since, RL_MS(900), RL_MS(1100));
	scene_close(peer);
	scene_end();
}

/* ---- starved */

#define HOGS	8
#define WAITERS 100 /* more than the pool has chunks of 64 KiB */

static int
on_hog(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	switch (msg->kind) {
	case RL_MSG_OPEN:
	case RL_MSG_WRITABLE:
		while (rl_conn_send(self, zeros, 128 * 1024) != -EAGAIN) {
		}
		return 0;
	case RL_MSG_USER:
		return rl_conn_abort(self);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

struct waiting {
	struct scene scene; /* first: a struct waiting is a scene */
	uint32_t refused;
	uint32_t told_count;
	rl_actor_id told[2 * WAITERS];
};

/* Wants to send once; when it could, it has nothing to say any more. */
static int
on_waiter(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	struct waiting *waiting = (struct waiting *)scene;

	switch (msg->kind) {
	case RL_MSG_RECV:
		assert_int_equal(rl_conn_send(self, zeros, sizeof(zeros)), -EAGAIN);
		waiting->refused++;
		return 0;
	case RL_MSG_WRITABLE:
		assert_in_range(waiting->told_count, 0, 2 * WAITERS - 1);
		waiting->told[waiting->told_count] = rl_actor_self(self);
		waiting->told_count++;
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static void
waiting_check_told_once(const struct waiting *waiting)
{
	assert_int_equal(waiting->told_count, WAITERS);
	for (uint32_t i = 0; i < waiting->told_count; i++) {
		for (uint32_t j = 0; j < i; j++) {
			assert_false(rl_actor_id_eq(waiting->told[i], waiting->told[j]));
		}
	}
}

/* Memory comes back in fewer chunks than there are who wait, and who is told takes none. */
static void
starved_waiters_are_all_told_once(void **state)
{
	static struct waiting waiting;
	struct scene hogs = { .on = on_hog };
	struct sk_sock *hog_peers[HOGS];
	struct sk_sock *peers[WAITERS];
	rl_actor_id hog_ids[HOGS];

	(void)state;
	waiting = (struct waiting){ .scene = { .on = on_waiter } };
	scene_listen(&hogs, TCP, NULL);
	scene_listen(&waiting.scene, TCP, NULL);
	for (int i = 0; i < WAITERS; i++) {
		peers[i] = scene_connect(&waiting.scene);
	}
	for (int i = 0; i < HOGS; i++) {
		hog_peers[i] = scene_connect(&hogs);
		hog_ids[i] = hogs.id;
	}
	for (int i = 0; i < WAITERS; i++) {
		assert_int_equal(sk_write(peers[i], "x", 1), 1);
	}
	sim_lazy(ALWAYS); /* all in few turns: nobody is told before all wait */
	sim_settle();
	assert_int_equal(waiting.refused, WAITERS);
	for (int i = 0; i < HOGS; i++) {
		assert_int_equal(rl_system_send(sim_system(), hog_ids[i], RL_MSG_USER, NULL, 0), 0);
	}
	sim_advance_ns((uint64_t)RL_SEC(1));
	assert_int_equal(hogs.live, 0);
	waiting_check_told_once(&waiting);
	for (int i = 0; i < HOGS; i++) {
		scene_close(hog_peers[i]);
	}
	for (int i = 0; i < WAITERS; i++) {
		scene_close(peers[i]);
	}
	scene_end();
}

/* ---- resumed */

#define SPIN 50 /* deliveries: an actor that spins is stopped by then, and the count tells */

static int
on_resume_untouched(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	rl_conn_consumed(self, 0);
	scene->number = msg->recv.len;
	return scene->count[RL_MSG_RECV] < SPIN ? rl_conn_resume(self) : 0;
}

/* Who takes nothing and resumes waits for more bytes as if it had not. */
static void
resume_by_who_took_nothing_does_not_spin(void **state)
{
	struct scene scene = { .on = on_resume_untouched };
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	for (uint32_t i = 1; i <= 3; i++) {
		scene_write(peer, "x"); /* one byte can't come in pieces */
		sim_settle();
		assert_int_equal(scene.count[RL_MSG_RECV], i);
		assert_int_equal(scene.number, i);
	}
	scene_close(peer);
	scene_end();
}

static int
on_resume_bytewise(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	rl_conn_consumed(self, 1);
	scene->number = msg->recv.len;
	return rl_conn_resume(self);
}

/* Who takes something and resumes gets the rest without another byte. */
static void
resume_by_who_took_a_byte_brings_the_rest(void **state)
{
	struct scene scene = { .on = on_resume_bytewise };
	struct sk_sock *peer;

	(void)state;
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "abcdef");
	sim_settle();
	assert_int_equal(scene.count[RL_MSG_RECV], 6);
	assert_int_equal(scene.number, 1);
	scene_close(peer);
	assert_int_equal(scene.eof_leftover, 0);
	assert_int_equal(scene.stops[RL_REASON_PEER_FIN], 1);
	scene_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(held_input_that_is_over_keeps_no_buffer, setup),
		cmocka_unit_test_setup(held_first_byte_deadline_stands_still, setup),
		cmocka_unit_test_setup(starved_waiters_are_all_told_once, setup),
		cmocka_unit_test_setup(resume_by_who_took_nothing_does_not_spin, setup),
		cmocka_unit_test_setup(resume_by_who_took_a_byte_brings_the_rest, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
