/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: an actor's listener that can't be opened ends its actor with the errno, also for want of
 * a thread or of a place among 32; 16 can wait until it is open; one whose actor ends while it
 * opens closes; what is closed is closed before what is opened after it, also when there was no
 * thread for a while.
 * How: scripted, with the clerk's thread as the scenario wants it.
 * Not: real sockets (integration.listener_actor); every order (sim.seeds).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <ringline/listener.h>
#include <ringline/monitor.h>
#include <ringline/request.h>

#include "net/net.h"

#include "sim_harness.h"
#include "sim_scene.h"
#include "sim_world.h"
#include "system.h"

enum {
	KIND_SPAWN = RL_MSG_USER, /* uint32_t: how many */
	KIND_STOP, /* the last one */
	KIND_BRIEF, /* spawn one, and stop it at once */
	KIND_AWAIT, /* spawn one, and ask it too often whether it listens */
};

#define AWAIT_MAX 16 /* docs/limits.md */

static const struct rl_listener_def front = { .url = "tcp://127.0.0.1:9300", .def = &scene_def };

/* What the owner was told of its listeners. */
static uint32_t downs[4096]; /* by errno */
static uint32_t refusals[4096]; /* by errno */
static uint32_t replies;
static rl_actor_id owner;

static int
owner_spawn(struct rl_actor *self, rl_actor_id *last)
{
	int rc = rl_actor_spawn(self, &rl_listener, (void *)(uintptr_t)&front, last);

	return rc != 0 ? rc : rl_actor_monitor(self, *last, NULL);
}

static int
owner_await(struct rl_actor *self, rl_actor_id listener)
{
	struct rl_request request = { .to = listener, .kind = RL_LISTENER_AWAIT, .timeout_ns = -1 };
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i <= AWAIT_MAX; i++) {
		rc = rl_actor_request(self, &request, NULL);
	}
	return rc;
}

static int
owner_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	rl_actor_id *last = rl_actor_state(self);
	int rc = 0;

	switch (msg->kind) {
	case RL_MSG_DOWN:
		downs[-msg->down.error]++;
		return 0;
	case RL_MSG_REPLY:
		replies++;
		return 0;
	case RL_MSG_REPLY_FAILED:
		refusals[-msg->reply_failed.error]++;
		return 0;
	case KIND_AWAIT:
		rc = owner_spawn(self, last);
		return rc != 0 ? rc : owner_await(self, *last);
	case KIND_SPAWN:
		for (uint32_t left = *RL_MSG_AS(msg, uint32_t); rc == 0 && left > 0; left--) {
			rc = owner_spawn(self, last);
		}
		return rc;
	case KIND_STOP:
		return rl_actor_stop(self, *last);
	case KIND_BRIEF:
		rc = owner_spawn(self, last);
		return rc != 0 ? rc : rl_actor_send(self, rl_actor_self(self), KIND_STOP, NULL, 0);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def owner_def = {
	.name = "owner",
	.receive = owner_receive,
	.state_size = sizeof(rl_actor_id),
};

static int
setup(void **state)
{
	(void)state;
	memset(downs, 0, sizeof(downs));
	memset(refusals, 0, sizeof(refusals));
	replies = 0;
	sim_new(2, 23);
	assert_int_equal(rl_system_spawn(sim_system(), 1, &owner_def, NULL, &owner), 0);
	return 0;
}

static void
tell(uint32_t kind, uint32_t count)
{
	size_t len = kind == KIND_SPAWN ? sizeof(count) : 0;

	assert_int_equal(rl_system_send(sim_system(), owner, kind, &count, len), 0);
	sim_settle();
}

static uint32_t
open_listeners(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < CONFIG_LISTENERS_MAX; i++) {
		count += sim_system()->listeners[i].open;
	}
	return count;
}

static void
listener_actor_beyond_the_32nd_ends_with_enobufs(void **state)
{
	(void)state;
	tell(KIND_SPAWN, CLERK_JOBS + 1);
	assert_int_equal(downs[ENOBUFS], 1);
	assert_int_equal(downs[EADDRINUSE], CLERK_JOBS - 1);
	assert_int_equal(open_listeners(), 1);
	tell(KIND_SPAWN, CLERK_JOBS - 1); /* those that failed have left their places */
	assert_int_equal(downs[ENOBUFS], 1);
	assert_int_equal(downs[EADDRINUSE], 2 * (CLERK_JOBS - 1));
	scene_end();
}

static void
listener_actor_that_opens_lets_sixteen_wait(void **state)
{
	(void)state;
	tell(KIND_AWAIT, 0);
	assert_int_equal(refusals[ENOBUFS], 1);
	assert_int_equal(replies, AWAIT_MAX);
	assert_int_equal(open_listeners(), 1);
	scene_end();
}

static void
listener_actor_without_a_thread_ends_with_eagain(void **state)
{
	(void)state;
	sim_fault_set(FAULT_THREAD_FAILS, 65536);
	tell(KIND_SPAWN, 2);
	assert_int_equal(downs[EAGAIN], 2);
	assert_int_equal(open_listeners(), 0);
	sim_fault_set(FAULT_THREAD_FAILS, 0);
	tell(KIND_SPAWN, 1);
	assert_int_equal(open_listeners(), 1);
	scene_end();
}

static void
listener_actor_that_ends_while_it_opens_closes(void **state)
{
	(void)state;
	tell(KIND_BRIEF, 0);
	assert_int_equal(downs[0], 1);
	assert_int_equal(open_listeners(), 0);
	scene_end();
}

/* The port would be in use otherwise. */
static void
listener_actor_is_closed_before_the_next_one_opens(void **state)
{
	(void)state;
	tell(KIND_SPAWN, 1);
	sim_fault_set(FAULT_THREAD_FAILS, 65536);
	tell(KIND_STOP, 0);
	assert_int_equal(downs[0], 1);
	assert_int_equal(open_listeners(), 1); /* nobody could close it */
	sim_fault_set(FAULT_THREAD_FAILS, 0);
	tell(KIND_SPAWN, 1);
	assert_int_equal(downs[EADDRINUSE], 0);
	assert_int_equal(open_listeners(), 1);
	scene_end();
}

/* All sockets that listen. */
static void
sockets_break(void)
{
	struct list_node *node;
	uint32_t broken = 0;

	for (node = sk.socks.head.next; node != &sk.socks.head; node = node->next) {
		struct sk_sock *sock = list_entry(node, struct sk_sock, node);

		if (sock->state == SK_LISTEN) {
			sk_listener_break(sock);
			broken++;
		}
	}
	assert_true(broken > 0);
}

static uint32_t
jobs_taken(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < CLERK_JOBS; i++) {
		count += sim_system()->clerk.jobs[i].state != CLERK_FREE;
	}
	return count;
}

static void
listener_actor_of_a_broken_socket_ends_with_the_errno(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 2 * CLERK_JOBS; i++) { /* each leaves its place */
		tell(KIND_SPAWN, 1);
		assert_int_equal(open_listeners(), 1);
		sockets_break();
		sim_settle();
		assert_int_equal(downs[EINVAL], i + 1);
		assert_int_equal(open_listeners(), 0);
		assert_int_equal(jobs_taken(), 0);
	}
	scene_end();
}

/* Somebody is quick: as soon as one shard listens, and the other does not yet. */
static bool broken;

static bool
breaker_sees(uint32_t shard)
{
	return sim_on(shard)->net->listeners[0].state == LISTENER_OPEN;
}

static uint32_t
breaker_ready(void)
{
	return !broken && breaker_sees(0) != breaker_sees(1) ? 1000 : 0; /* before all others */
}

static void
breaker_step(uint32_t nth)
{
	(void)nth;
	broken = true;
	sockets_break();
	sim_turn(breaker_sees(0) ? 0 : 1);
}

/* Before the clerk knows that it is open. */
static void
listener_actor_broken_while_it_opens_ends(void **state)
{
	static const struct sim_others breaker = { breaker_ready, breaker_step, NULL };
	static const struct sim_others nobody;
	uint32_t one = 1;

	(void)state;
	broken = false;
	sim_others_set(&breaker);
	assert_int_equal(rl_system_send(sim_system(), owner, KIND_SPAWN, &one, sizeof(one)), 0);
	while (!broken) {
		assert_true(sim_step());
	}
	sim_others_set(&nobody);
	sim_settle();
	assert_int_equal(downs[EINVAL], 1);
	assert_int_equal(open_listeners(), 0);
	assert_int_equal(jobs_taken(), 0);
	scene_end();
}

/*
 * It has ended, and the program had closed its listener, before it hears of the broken socket: the
 * place is kept as long as word of that is on its way.
 */
static void
listener_actor_that_ends_as_it_breaks_frees_its_place_last(void **state)
{
	struct clerk_job *job = &sim_system()->clerk.jobs[0];
	rl_listener_id id;

	(void)state;
	tell(KIND_SPAWN, 1);
	assert_int_equal(job->state, CLERK_OPEN);
	assert_int_equal(rl_system_send(sim_system(), owner, KIND_STOP, NULL, 0), 0);
	sim_turn(1); /* asks the clerk to close */
	assert_int_equal(job->state, CLERK_CLOSES);
	sockets_break();
	sim_turn(0); /* leaves word for shard 1 */
	assert_true(job->breaks);
	id = job->id;
	job->id = (rl_listener_id){ 0 }; /* nothing to close, so nobody waits for shard 1 */
	assert_true(rli_clerk_step(sim_system()));
	assert_int_equal(job->state, CLERK_CLOSED);
	sim_turn(1);
	assert_int_equal(job->state, CLERK_FREE);
	assert_int_equal(rl_listener_close(sim_system(), id), 0);
	sim_settle();
	assert_int_equal(downs[0], 1);
	assert_int_equal(downs[EINVAL], 0);
	scene_end();
}

#define CASE(name) cmocka_unit_test_setup(name, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(listener_actor_beyond_the_32nd_ends_with_enobufs),
		CASE(listener_actor_that_opens_lets_sixteen_wait),
		CASE(listener_actor_without_a_thread_ends_with_eagain),
		CASE(listener_actor_that_ends_while_it_opens_closes),
		CASE(listener_actor_is_closed_before_the_next_one_opens),
		CASE(listener_actor_of_a_broken_socket_ends_with_the_errno),
		CASE(listener_actor_broken_while_it_opens_ends),
		CASE(listener_actor_that_ends_as_it_breaks_frees_its_place_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
