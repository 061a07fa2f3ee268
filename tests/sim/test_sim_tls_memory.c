/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: whatever allocation of OpenSSL's fails under the runtime, once or from then on, in a
 * handshake, an echo and an end, as server and as client, and while a context is made: nothing is
 * leaked, nothing crashes, the connection ends with a reason or goes on, and another one does not
 * notice.
 * How: OpenSSL's memory comes from here (CRYPTO_set_mem_functions, so this is a program of its
 * own). Each 7th of a connection's allocations fails in turn, all from each 63rd on, and each 56th
 * of a context's; seven times as many, and so each one of a connection's, if there is an argument.
 * Only what is asked for inside of a turn counts and fails: the peer has the same OpenSSL.
 * Not proved: what a program's own use of OpenSSL does then.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "base/log.h"
#include "net/net.h"
#include "system.h"
#include "tls/tls_context.h"

#include "sim_harness.h"
#include "sim_scene.h"
#include "sim_tls_hand.h"

#define PORT 9443

/* ---- the allocator */

static struct {
	bool counts; /* what is asked for now is the product's */
	bool from_then_on;
	uint64_t calls;
	uint64_t fail_at; /* UINT64_MAX: never */
	uint64_t failed;
	int64_t live;
} memory = { .fail_at = UINT64_MAX };

static bool
memory_gives(void)
{
	uint64_t call;

	if (!memory.counts && !sim_world.in_turn) {
		return true;
	}
	call = memory.calls++;
	if (call == memory.fail_at || (memory.from_then_on && call > memory.fail_at)) {
		memory.failed++;
		return false;
	}
	return true;
}

static void *
memory_malloc(size_t bytes, const char *file, int line)
{
	void *at = memory_gives() ? malloc(bytes) : NULL;

	(void)file;
	(void)line;
	memory.live += at != NULL;
	return at;
}

static void
memory_free(void *at, const char *file, int line)
{
	(void)file;
	(void)line;
	memory.live -= at != NULL;
	free(at);
}

static void *
memory_realloc(void *at, size_t bytes, const char *file, int line)
{
	void *moved;

	if (at == NULL) {
		return memory_malloc(bytes, file, line);
	}
	if (bytes == 0) {
		memory_free(at, file, line);
		return NULL;
	}
	moved = memory_gives() ? realloc(at, bytes) : NULL;
	return moved;
}

static void
memory_fail(uint64_t call, bool from_then_on)
{
	memory.calls = 0;
	memory.failed = 0;
	memory.fail_at = call;
	memory.from_then_on = from_then_on;
}

/* Blocks that are in use, but for what each thread keeps to tell its errors. */
static int64_t
memory_live(void)
{
	OPENSSL_thread_stop();
	return memory.live;
}

/* ---- the world: one connection that lives on, and one after the other that may not */

static struct scene scene; /* accepted */
static struct scene opener; /* opens */
static struct scene opened;
static struct hand survivor;
static struct hand hand;
static struct sk_sock *server; /* a remote one */

static void
world_begin(void)
{
	struct rl_conn_options options = { 0 };

	sim_new(1, 7);
	sim_tls_setup();
	memset(&scene, 0, sizeof(scene));
	memset(&opener, 0, sizeof(opener));
	memset(&opened, 0, sizeof(opened));
	options.tls = sim_tls_listener(true);
	options.idle_timeout_ns = -1;
	scene_listen(&scene, "tls://127.0.0.1:0", &options);
	server = scene_serve(PORT);
	hand_init(&survivor, scene_connect(&scene), SIM_TLS_CLIENT);
	hand_settle(&survivor);
	assert_true(survivor.tls.shaken);
}

static void
world_end(void)
{
	hand_end(&survivor);
	hand_fini(&survivor);
	sk_file_put(&server->file);
	scene_end();
}

static void
survivor_speaks(void)
{
	survivor.bytes = 0;
	hand_write(&survivor, "still here");
	hand_settle(&survivor);
	assert_string_equal(survivor.text, "still here");
}

static void
both_settle(void)
{
	for (int i = 0; i < 3; i++) {
		hand_settle(&hand);
		sim_advance_ns(RL_MS(20)); /* what waits for memory tries again */
	}
}

/* Hands are shaken, something is said, echoed, and ended, as far as it gets. */
static void
conversation(void)
{
	both_settle();
	if (hand.tls.shaken && !hand.tls.failed && !hand.reset && !hand.tls.fin) {
		hand_write(&hand, "hello");
		both_settle();
	}
	if (hand.tls.shaken && !hand.tls.failed && !hand.reset) {
		assert_true(strncmp("hello", hand.text, hand.bytes) == 0);
		hand_end(&hand);
	}
	hand_fini(&hand);
	sim_advance_ns(RL_SEC(12)); /* whoever hangs has its deadline */
}

static void
one_accepted(void)
{
	hand_init(&hand, scene_connect(&scene), SIM_TLS_CLIENT);
	conversation();
	assert_int_equal(scene.live, 1); /* the survivor */
}

static int
opens(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	struct rl_conn_options options = { .tls = sim_tls_client() };
	int rc;

	if (msg->kind == RL_MSG_USER) {
		rc = rl_conn_open(self, "tls://127.0.0.1:9443", &scene_def, &opened, &options,
				  NULL);
		on->number = (uint64_t)(int64_t)rc;
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static void
one_opened(void)
{
	struct sk_sock *sock;

	assert_int_equal(rl_system_send(sim_system(), opener.id, RL_MSG_USER, NULL, 0), 0);
	sim_settle();
	sock = sk_accept(server);
	if (sock != NULL) {
		hand_init(&hand, sock, SIM_TLS_SERVER);
		conversation();
	} else {
		assert_true((int64_t)opener.number < 0);
	}
	assert_int_equal(opened.live, 0);
}

/* Sessions that opened connections keep are no leak, however many a failure left. */
static void
forget_sessions(void)
{
	struct tls_store *store = &rli_system_shard(sim_system(), 0)->net->tls_store;

	rli_tls_store_fini(store);
	assert_int_equal(rli_tls_store_init(store, 4), 0);
}

static bool resumes; /* there is a session to be resumed when memory fails */

static void
each_fails(void (*one)(void), bool from_then_on, uint64_t step)
{
	bool over = false;
	uint64_t n;
	int64_t live;

	for (int i = 0; i < 3; i++) {
		one(); /* what is made once is made, and kept */
	}
	forget_sessions();
	live = memory_live();
	for (n = 0; !over; n += step) {
		if (resumes) {
			one();
		}
		memory_fail(n, from_then_on);
		one();
		over = memory.failed == 0;
		memory_fail(UINT64_MAX, false);
		forget_sessions();
		assert_int_equal(memory_live(), live);
		survivor_speaks();
	}
	print_message("%llu allocations, %s\n", (unsigned long long)n,
		      from_then_on ? "all from one on" : "one");
	assert_true(n > 50);
}

static uint64_t stride = 7; /* 1: each and every one of a connection's */

static void
tls_server_without_memory_leaks_nothing(void **state)
{
	(void)state;
	world_begin();
	each_fails(one_accepted, false, stride);
	each_fails(one_accepted, true, 9 * stride);
	world_end();
}

static void
opener_spawn(void)
{
	opener.on = opens;
	assert_int_equal(rl_system_spawn(sim_system(), 0, &scene_def, &opener, NULL), 0);
	sim_settle();
	assert_int_equal(opener.live, 1);
}

static void
tls_client_without_memory_leaks_nothing(void **state)
{
	(void)state;
	world_begin();
	opener_spawn();
	for (int i = 0; i < 2; i++) {
		resumes = i == 1;
		each_fails(one_opened, false, stride);
		each_fails(one_opened, true, 9 * stride);
	}
	resumes = false;
	world_end();
}

static void
quiet(void *arg, enum rl_log_level level, int shard, const char *text)
{
	(void)arg;
	(void)level;
	(void)shard;
	(void)text;
}

/* Files are read, chains are built: thousands, of which some fail. */
static void
tls_context_without_memory_leaks_nothing(void **state)
{
	const struct rl_tls_options *options[] = { sim_tls_listener(true), sim_tls_client() };
	struct log log;

	(void)state;
	rli_log_init(&log, quiet, NULL, RL_LOG_WARN);
	for (int role = TLS_SERVER; role <= TLS_CLIENT; role++) {
		struct tls_context *context;
		uint64_t n = 0;
		int64_t live;
		int rc;

		for (int i = 0; i < 2; i++) {
			assert_int_equal(rli_tls_context_create(&context, (enum tls_role)role,
								options[role], &log),
					 0);
			rli_tls_context_destroy(context);
		}
		live = memory_live();
		do {
			memory_fail(n, false);
			n += 8 * stride;
			memory.counts = true;
			rc = rli_tls_context_create(&context, (enum tls_role)role, options[role],
						    &log);
			rli_tls_context_destroy(context);
			memory.counts = false;
			assert_true(rc == 0 || rc == -ENOMEM || rc == -EINVAL);
			assert_int_equal(memory_live(), live);
		} while (memory.failed > 0);
		assert_int_equal(rc, 0);
		print_message("%llu allocations, one\n", (unsigned long long)n);
		memory_fail(UINT64_MAX, false);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tls_server_without_memory_leaks_nothing),
		cmocka_unit_test(tls_client_without_memory_leaks_nothing),
		cmocka_unit_test(tls_context_without_memory_leaks_nothing),
	};

	(void)argv;
	if (CRYPTO_set_mem_functions(memory_malloc, memory_realloc, memory_free) != 1) {
		return 1; /* OpenSSL has memory already, of others */
	}
	if (argc > 1) {
		stride = 1;
	}
	return cmocka_run_group_tests_name("sim_tls_memory", tests, NULL, NULL);
}
