/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * supervise - a connection that comes back by itself, and an actor that fails now and then.
 *
 *	echo_server                                       (in another terminal; end it, start it)
 *	supervise --connect tcp://127.0.0.1:7878
 *
 * What to learn: who is to live on is the child of a supervisor, and says nothing about that in its
 * own code: it ends when something is wrong, and is started anew after a delay that grows. The
 * strategy says who goes down with whom: here the worker needs the link and not the other way
 * round, so a link that breaks takes the worker along, and a worker that fails is alone.
 *
 * Prints a line for each start and each end, with --stats the counters. Ends with SIGTERM, SIGINT
 * or after --seconds. Exit code: 0 drained, 1 failed, 2 wrong usage.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ringline/ringline.h>
#include <ringline/supervisor.h>

#include "support/options.h"
#include "support/stats_json.h"

enum {
	WORKER_TICKS = 3, /* then it fails */
};

/* One line; a program that has more to say should not do so in a handler: see support/console.h. */
static void
say_ended(const char *who, const struct rl_msg *msg)
{
	(void)printf("%s: ended, %s%s%s\n", who, rl_reason_name(msg->stop.reason),
		     msg->stop.error != 0 ? ": " : "",
		     msg->stop.error != 0 ? strerror(-msg->stop.error) : "");
	(void)fflush(stdout);
}

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

static const struct rl_actor_def link_def = { .name = "link", .receive = link_receive };

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

static const struct rl_actor_def worker_def = {
	.name = "worker",
	.receive = worker_receive,
	.state_size = sizeof(uint32_t),
};

struct clock {
	int64_t seconds_ns; /* -1: for ever */
	struct rl_system *sys;
};

/* Drains the system when the time is over. */
static int
clock_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static struct clock *clock; /* there is one such actor */

	switch (msg->kind) {
	case RL_MSG_START:
		clock = msg->start.arg;
		return rl_timer_start(self, (uint64_t)clock->seconds_ns, 0, NULL);
	case RL_MSG_TIMER:
		rl_system_drain(clock->sys);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def clock_def = { .name = "clock", .receive = clock_receive };

static void
clock_apply_seconds(void *arg, const char *flag, const char *text)
{
	struct clock *clock = arg;

	clock->seconds_ns = options_seconds_ns(flag, text, 0.01, 86400, true);
}

static const struct options_flag clock_flags[] = {
	{ "seconds", "S", "how long, 0.01 to 86400, or -1: until a signal (-1)",
	  clock_apply_seconds },
	{ NULL, NULL, NULL, NULL },
};

static int
supervise_run(struct rl_supervisor_def *backend, struct clock *clock)
{
	int rc = rl_system_spawn(clock->sys, 0, &rl_supervisor, backend, NULL);

	if (rc == 0 && clock->seconds_ns >= 0) {
		rc = rl_system_spawn(clock->sys, 0, &clock_def, clock, NULL);
	}
	if (rc != 0) {
		options_complain("no actors: %s", strerror(-rc));
		return rc;
	}
	return rl_system_run(clock->sys);
}

int
main(int argc, char **argv)
{
	static struct clock clock = { .seconds_ns = -1 };
	static struct rl_child_def children[] = {
		{ .name = "link", .def = &link_def }, /* to --connect */
		{ .name = "worker", .def = &worker_def },
	};
	static struct rl_supervisor_def backend = {
		.name = "backend",
		.strategy = RL_REST_FOR_ONE,
		.restarts_max = -1,
		.children = children,
		.children_count = 2,
	};
	static const struct options_spec spec = {
		.summary = "Keep a connection and a worker alive.",
		.role = OPTIONS_CONNECTS,
		.flags = clock_flags,
		.arg = &clock,
	};
	struct options options = { .config = RL_CONFIG(.shards = 1) };
	int rc;

	options_parse(&options, &spec, argc, argv);
	children[0].url = options.urls[0];
	rc = rl_system_start(&options.config, &clock.sys);
	if (rc == 0) {
		rc = supervise_run(&backend, &clock);
	}
	if (rc == 0 && options.stats) {
		stats_json_print(stdout, clock.sys);
		rc = options_flush();
	}
	rl_system_stop(clock.sys);
	return rc == 0 ? 0 : 1;
}
