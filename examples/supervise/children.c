/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The children. None of them says what is to become of it when it ends: that is its supervisor's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "supervise/supervise.h"

#define WORKER_TICKS 3 /* then it fails */

/* One line; a program that has more to say should not do so in a handler: see support/console.h. */
static void
say_ended(const char *who, const struct rl_msg *msg)
{
	(void)printf("%s: ended, %s%s%s\n", who, rl_reason_name(msg->stop.reason),
		     msg->stop.error != 0 ? ": " : "",
		     msg->stop.error != 0 ? strerror(-msg->stop.error) : "");
	(void)fflush(stdout);
}

/* A connection that it opened; it is there until the peer or the network ends it. */
static int
link_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	switch (msg->kind) {
	case RL_MSG_OPEN:
		(void)printf("link: connected\n");
		(void)fflush(stdout);
		return rl_timer_start_every(self, RL_SEC(1), 0, NULL);
	case RL_MSG_TIMER: /* so that it is not idle, and a dead peer is noticed */
		return rl_conn_send(self, "ping\n", 5);
	case RL_MSG_RECV:
		return 0;
	case RL_MSG_STOP:
		say_ended("link", msg);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED; /* the peer's FIN ends it */
	}
}

const struct rl_actor_def link_def = { .name = "link", .receive = link_receive };

/* Each client of the listener. */
static int
greeter_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static const char text[] = "the backend is up\n";
	int rc;

	if (msg->kind != RL_MSG_OPEN) {
		return RL_ACTOR_UNHANDLED;
	}
	rc = rl_conn_send(self, text, sizeof(text) - 1);
	return rc == 0 ? RL_ACTOR_STOP : rc;
}

const struct rl_actor_def greeter_def = { .name = "greeter", .receive = greeter_receive };

/* Asks the listener, which answers when it listens. */
static int
herald_ask(struct rl_actor *self)
{
	struct rl_request request = { .kind = RL_LISTENER_AWAIT, .timeout_ns = RL_SEC(10) };

	if (rl_actor_find(self, FRONT_NAME, &request.to) != 0) {
		return rl_timer_start(self, RL_MS(10), 0, NULL); /* it is about to have its name */
	}
	return rl_actor_request(self, &request, NULL);
}

static int
herald_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	const struct rl_listening *listening = msg->reply.data;

	switch (msg->kind) {
	case RL_MSG_START:
	case RL_MSG_TIMER:
		return herald_ask(self);
	case RL_MSG_REPLY:
		(void)printf("front: listens, try: nc 127.0.0.1 %u\n", listening->port);
		(void)fflush(stdout);
		return 0;
	case RL_MSG_REPLY_FAILED:
		return msg->reply_failed.error; /* and the supervisor tries again */
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

const struct rl_actor_def herald_def = { .name = "herald", .receive = herald_receive };

/* Fails now and then. */
static int
worker_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	uint32_t *ticks = rl_actor_state(self);

	switch (msg->kind) {
	case RL_MSG_START:
		(void)printf("worker: started\n");
		(void)fflush(stdout);
		return rl_timer_start_every(self, RL_MS(100), 0, NULL);
	case RL_MSG_TIMER:
		return ++*ticks < WORKER_TICKS ? 0 : -EIO; /* what went wrong is its reason */
	case RL_MSG_STOP:
		say_ended("worker", msg);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

const struct rl_actor_def worker_def = {
	.name = "worker",
	.receive = worker_receive,
	.state_size = sizeof(uint32_t),
};
