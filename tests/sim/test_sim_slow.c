/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: any byte that is taken within the stall deadline is progress, with a closed window and
 * with one byte per deadline; output that waits for too long ends its connection, and not one that
 * moves; when send memory runs out, those go who take nothing, as many as it needs, and nobody who
 * reads (pitfalls 59, 63).
 * How: peers moved by hand, in virtual time.
 * Not proved: what real kernels call taken; tests/integration has that.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/net.h"

#include "sim_harness.h"
#include "sim_scene.h"

#define TCP   "tcp://127.0.0.1:0"
#define REPLY (512 * 1024)

static const uint8_t zeros[REPLY];

static void
slow_begin(int64_t stall_ns, int64_t output_ns, int64_t evict_ns)
{
	struct rl_config config =
		RL_CONFIG(.shards = 1, .sq_entries = 64, .cq_entries = 256, .conns_max = 256,
			  .recv_buffers = 8, .recv_buffer_bytes = 1024,
			  .send_pool_bytes = 4 * 1024 * 1024, .idle_timeout_ns = -1,
			  .stall_timeout_ns = stall_ns, .output_timeout_ns = output_ns,
			  .evict_after_ns = evict_ns);

	sim_new_with(&config, 37);
}

/* Any byte is answered with much. */
static int
on_reply(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	int rc;

	if (msg->kind != RL_MSG_RECV) {
		return msg->kind == RL_MSG_WRITABLE ? 0 : RL_ACTOR_UNHANDLED;
	}
	rc = rl_conn_send(self, zeros, sizeof(zeros));
	scene->number += rc < 0;
	scene->sent += rc >= 0 ? sizeof(zeros) : 0;
	return 0;
}

/* Sends as much as it may, again and again. */
static int
on_pour(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	int rc = 0;

	if (msg->kind != RL_MSG_RECV && msg->kind != RL_MSG_WRITABLE) {
		return RL_ACTOR_UNHANDLED;
	}
	while (rc == 0) {
		rc = rl_conn_send(self, zeros, 10000);
		scene->sent += rc >= 0 ? 10000 : 0;
	}
	return 0;
}

/* @bytes are read, @every_ns, for @count times; how many there were. */
static size_t
slow_read(struct sk_sock *peer, size_t bytes, uint64_t every_ns, uint32_t count)
{
	static char text[65536];
	size_t total = 0;

	while (count-- > 0) {
		sim_advance_ns(every_ns);
		total += scene_read(peer, text, bytes + 1);
	}
	return total;
}

static void
stall_one_byte_per_deadline_is_progress(void **state)
{
	struct scene scene = { .on = on_reply };
	struct sk_sock *peer;

	(void)state;
	slow_begin(RL_SEC(30), -1, -1);
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "?");
	assert_int_equal(slow_read(peer, 1, (uint64_t)RL_SEC(29), 40), 40);
	assert_int_equal(scene.live, 1);
	sim_advance_ns((uint64_t)RL_SEC(61)); /* a byte early in one deadline: none in the next */
	assert_int_equal(scene.live, 0);
	assert_int_equal(scene.stops[RL_REASON_TIMEOUT_STALL], 1);
	scene_close(peer);
	scene_end();
}

static void
output_that_waits_too_long_is_cut(void **state)
{
	struct scene scene = { .on = on_reply };
	struct sk_sock *peer;
	uint64_t since_ns;

	(void)state;
	slow_begin(RL_SEC(30), RL_SEC(100), -1);
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	since_ns = sim_world.now_ns;
	scene_write(peer, "?");
	(void)slow_read(peer, 1, (uint64_t)RL_SEC(10), 9);
	assert_int_equal(scene.live, 1);
	(void)slow_read(peer, 1, (uint64_t)RL_SEC(10), 2);
	assert_int_equal(scene.live, 0);
	assert_int_equal(scene.stops[RL_REASON_TIMEOUT_OUTPUT], 1);
	assert_in_range(scene.stop_ns - since_ns, (uint64_t)RL_SEC(100), (uint64_t)RL_SEC(101));
	scene_close(peer);
	scene_end();
}

/* The kernel says nothing before a whole request was taken: it is asked, and the peer lives. */
static void
output_that_moves_is_not_cut(void **state)
{
	struct scene scene = { .on = on_pour };
	struct sk_sock *peer;
	size_t got;

	(void)state;
	slow_begin(-1, RL_SEC(100), -1);
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	scene_write(peer, "?");
	got = slow_read(peer, 4096, (uint64_t)RL_SEC(1), 1000);
	assert_true(got > 3000000);
	assert_int_equal(scene.live, 1);
	got += slow_read(peer, 4096, (uint64_t)RL_MS(1), 100);
	(void)slow_read(peer, 1, (uint64_t)RL_SEC(1), 202);
	assert_int_equal(scene.live, 0);
	assert_int_equal(scene.stops[RL_REASON_TIMEOUT_OUTPUT], 1);
	scene_close(peer);
	scene_end();
}

/* The last words: less than the low mark, and then the end. */
static int
on_farewell(struct scene *scene, struct rl_actor *self, const struct rl_msg *msg)
{
	(void)scene;
	if (msg->kind != RL_MSG_RECV) {
		return RL_ACTOR_UNHANDLED;
	}
	return rl_conn_send(self, zeros, 60000) == 0 ? RL_ACTOR_STOP : -EIO;
}

/* Its actor has no say any more, so a byte now and then must not keep it for days. */
static void
output_of_an_end_that_takes_too_long_is_cut(void **state)
{
	struct scene scene = { .on = on_farewell };
	struct sk_sock *peer;
	uint64_t since_ns;

	(void)state;
	slow_begin(RL_SEC(30), RL_SEC(120), -1);
	scene_listen(&scene, TCP, NULL);
	peer = scene_connect(&scene);
	since_ns = sim_world.now_ns;
	scene_write(peer, "?");
	assert_int_equal(slow_read(peer, 1, (uint64_t)RL_SEC(20), 5), 5);
	assert_int_equal(scene.live, 1);
	(void)slow_read(peer, 1, (uint64_t)RL_SEC(20), 2);
	assert_int_equal(scene.live, 0);
	assert_int_equal(scene.stops[RL_REASON_TIMEOUT_OUTPUT], 1);
	assert_in_range(scene.stop_ns - since_ns, (uint64_t)RL_SEC(120), (uint64_t)RL_SEC(121));
	scene_close(peer);
	scene_end();
}

/* Bytes that go out are no idling, though the kernel says so only when all of them are taken. */
static void
idle_asks_what_a_send_in_flight_has_moved(void **state)
{
	struct rl_config config = RL_CONFIG(.shards = 1, .idle_timeout_ns = RL_SEC(10),
					    .stall_timeout_ns = -1, .output_timeout_ns = -1);
	struct scene scene = { .on = on_pour };
	struct sk_sock *peer;
	uint64_t since_ns;

	(void)state;
	sim_new_with(&config, 43);
	scene_listen(&scene, TCP, &(struct rl_conn_options){ .auto_pause = RL_CONN_OFF });
	peer = scene_connect(&scene);
	scene_write(peer, "?");
	assert_int_equal(slow_read(peer, 100, (uint64_t)RL_SEC(1), 100), 10000);
	assert_int_equal(scene.live, 1);
	since_ns = sim_world.now_ns;
	sim_advance_ns((uint64_t)RL_SEC(21));
	assert_int_equal(scene.stops[RL_REASON_TIMEOUT_IDLE], 1);
	assert_in_range(scene.stop_ns - since_ns, (uint64_t)RL_SEC(9), (uint64_t)RL_SEC(21));
	scene_close(peer);
	scene_end();
}

static uint32_t
slow_free_spans(void)
{
	return rli_chunk_spans_free(&sim_on(0)->send_pool);
}

/* Peers of which each holds half a mebibyte, until little is left. */
static uint32_t
slow_fill(struct scene *scene, struct sk_sock *peers[], uint32_t count)
{
	uint32_t n = 0;

	while (n < count && slow_free_spans() >= 4) {
		peers[n] = scene_connect(scene);
		scene_write(peers[n], "?");
		n++;
	}
	assert_true(slow_free_spans() < 4);
	return n;
}

/* Somebody who reads now and then holds as much; the others have to go, and not all of them. */
static void
evict_takes_those_who_take_nothing(void **state)
{
	struct scene reader = { .on = on_reply };
	struct scene crawler = { .on = on_reply };
	struct sk_sock *peers[32];
	struct sk_sock *peer;
	uint32_t count;

	(void)state;
	slow_begin(-1, -1, RL_SEC(5));
	scene_listen(&reader, TCP, NULL);
	scene_listen(&crawler, TCP, NULL);
	peer = scene_connect(&reader);
	scene_write(peer, "?");
	sim_advance_ns((uint64_t)RL_SEC(3)); /* nobody is in need of memory yet */
	count = slow_fill(&crawler, peers, 32);
	assert_true(slow_read(peer, 20000, (uint64_t)RL_MS(400), 20) > 0);
	assert_int_equal(reader.live, 1);
	assert_in_range(crawler.stops[RL_REASON_EVICTED], 1, count - 1);
	assert_int_equal(crawler.stop_error, -ENOBUFS);
	assert_int_equal(crawler.live, count - crawler.stops[RL_REASON_EVICTED]);
	assert_true(slow_free_spans() >= 4);
	assert_int_equal(sim_stats().closed[RL_REASON_EVICTED], crawler.stops[RL_REASON_EVICTED]);
	for (uint32_t i = 0; i < count; i++) {
		scene_close(peers[i]);
	}
	scene_close(peer);
	scene_end();
}

static void
evict_off_takes_nobody(void **state)
{
	struct scene crawler = { .on = on_reply };
	struct sk_sock *peers[32];
	uint32_t count;

	(void)state;
	slow_begin(-1, -1, -1);
	scene_listen(&crawler, TCP, NULL);
	count = slow_fill(&crawler, peers, 32);
	sim_advance_ns((uint64_t)RL_SEC(1000));
	assert_int_equal(crawler.live, count);
	for (uint32_t i = 0; i < count; i++) {
		scene_close(peers[i]);
	}
	scene_end();
}

/* A byte now and then is not reading: a 64th of what is held is the least. */
static void
evict_takes_those_who_take_a_byte(void **state)
{
	struct scene crawler = { .on = on_reply };
	struct sk_sock *peers[32];
	char byte[2];
	uint32_t count;

	(void)state;
	slow_begin(-1, -1, RL_SEC(5));
	scene_listen(&crawler, TCP, NULL);
	count = slow_fill(&crawler, peers, 32);
	for (uint32_t round = 0; round < 40; round++) {
		sim_advance_ns((uint64_t)RL_MS(200));
		for (uint32_t i = 0; i < count; i++) {
			(void)scene_read(peers[i], byte, sizeof(byte));
		}
	}
	assert_in_range(crawler.stops[RL_REASON_EVICTED], 1, count - 1);
	for (uint32_t i = 0; i < count; i++) {
		scene_close(peers[i]);
	}
	scene_end();
}

/* ---- those who read, meanwhile */

/* A request and its whole reply, whatever else goes on; how long it took. */
static uint64_t
slow_exchange(struct sk_sock *peer, uint32_t bytes)
{
	static char text[65536];
	uint64_t since_ns = sim_world.now_ns;
	size_t got = 0;

	assert_int_equal(sk_write(peer, zeros, bytes), bytes);
	while (got < bytes && sim_world.now_ns - since_ns < (uint64_t)RL_SEC(60)) {
		sim_advance_ns((uint64_t)RL_MS(1));
		got += scene_read(peer, text, sizeof(text));
	}
	assert_int_equal(got, bytes);
	return sim_world.now_ns - since_ns;
}

/* From the first crawler to long after the last, through shortage and eviction. */
static void
healthy_requests_never_take_a_second(void **state)
{
	struct scene echo = { 0 };
	struct scene crawler = { .on = on_pour };
	struct sk_sock *peers[64];
	struct sk_sock *small;
	struct sk_sock *large;
	uint64_t longest_ns = 0;

	(void)state;
	slow_begin(RL_SEC(30), -1, RL_SEC(5));
	scene_listen(&echo, TCP, NULL);
	scene_listen(&crawler, TCP, NULL);
	small = scene_connect(&echo);
	large = scene_connect(&echo);
	for (uint32_t i = 0; i < 640; i++) {
		uint64_t took_ns = slow_exchange(small, 512);

		longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
		took_ns = slow_exchange(large, 8192);
		longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
		if (i < 64) {
			peers[i] = scene_connect(&crawler);
			scene_write(peers[i], "?");
		}
		sim_advance_ns((uint64_t)RL_MS(20));
	}
	assert_in_range(longest_ns, 1, (uint64_t)RL_SEC(1) - 1);
	assert_int_equal(echo.live, 2);
	assert_in_range(crawler.stops[RL_REASON_EVICTED], 1, 64);
	assert_true(sim_stats().sends_starved > 0);
	for (uint32_t i = 0; i < 64; i++) {
		scene_close(peers[i]);
	}
	scene_close(small);
	scene_close(large);
	scene_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stall_one_byte_per_deadline_is_progress),
		cmocka_unit_test(output_that_waits_too_long_is_cut),
		cmocka_unit_test(output_that_moves_is_not_cut),
		cmocka_unit_test(output_of_an_end_that_takes_too_long_is_cut),
		cmocka_unit_test(idle_asks_what_a_send_in_flight_has_moved),
		cmocka_unit_test(evict_takes_those_who_take_nothing),
		cmocka_unit_test(evict_takes_those_who_take_a_byte),
		cmocka_unit_test(evict_off_takes_nobody),
		cmocka_unit_test(healthy_requests_never_take_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
