/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * supervise - what comes back by itself: a connection, a listener, an actor that fails.
 *
 *	echo_server                                       (in another terminal; end it, start it)
 *	supervise --connect tcp://127.0.0.1:7878
 *
 *	backend       rest for one
 *	  link        a connection to --connect
 *	  front       a listener, which goes down with the link
 *	  herald      says on which port front listens
 *	  jobs        one for one, gives up after 3 restarts within 3 s: then backend restarts it
 *	    worker    fails three times a second
 *
 * What to learn: who is to live on is the child of a supervisor, and says nothing about that in its
 * own code (supervise/children.c): it ends when something is wrong, and is started anew after a
 * delay that grows. The strategy says who goes down with whom: a link that breaks takes down all
 * that come after it, a worker that fails is alone. A supervisor that can't help gives up, and is
 * a failed child itself: the log says so.
 *
 * Prints a line for each start and each end, with --stats the counters. Ends with SIGTERM, SIGINT
 * or after --seconds. Exit code: 0 drained, 1 failed, 2 wrong usage.
 */
#include <stdio.h>
#include <string.h>

#include <ringline/ringline.h>

#include "supervise/supervise.h"
#include "support/options.h"
#include "support/stats_json.h"

static const struct rl_child_def jobs_children[] = {
	{ .name = "worker", .def = &worker_def },
};

static const struct rl_supervisor_def jobs = {
	.name = "jobs",
	.strategy = RL_ONE_FOR_ONE,
	.restarts_max = 3,
	.window_ns = RL_SEC(3),
	.children = jobs_children,
	.children_count = 1,
};

static const struct rl_listener_def front = {
	.url = "tcp://127.0.0.1:0", /* the kernel chooses the port */
	.def = &greeter_def,
	.name = FRONT_NAME,
};

static struct rl_child_def backend_children[] = {
	{ .name = "link", .def = &link_def }, /* to --connect */
	{ .name = "front", .def = &rl_listener, .arg = (void *)&front },
	{ .name = "herald", .def = &herald_def },
	{ .name = "jobs", .def = &rl_supervisor, .arg = (void *)&jobs },
};

static struct rl_supervisor_def backend = {
	.name = "backend",
	.strategy = RL_REST_FOR_ONE,
	.restarts_max = -1, /* the last one does not give up */
	.children = backend_children,
	.children_count = 4,
};

static struct clock supervise_clock = { .seconds_ns = -1 };

static const struct options_flag supervise_flags[] = {
	{ "seconds", "S", "how long, 0.01 to 86400, or -1: until a signal (-1)",
	  clock_apply_seconds },
	{ NULL, NULL, NULL, NULL },
};

static int
supervise_run(struct rl_system *sys)
{
	int rc = rl_system_spawn(sys, 0, &rl_supervisor, &backend, NULL);

	supervise_clock.sys = sys;
	if (rc == 0 && supervise_clock.seconds_ns >= 0) {
		rc = rl_system_spawn(sys, 0, &clock_def, &supervise_clock, NULL);
	}
	if (rc != 0) {
		options_complain("no actors: %s", strerror(-rc));
		return rc;
	}
	return rl_system_run(sys);
}

int
main(int argc, char **argv)
{
	static const struct options_spec spec = {
		.summary = "Keep a connection, a listener and a worker alive.",
		.role = OPTIONS_CONNECTS,
		.flags = supervise_flags,
		.arg = &supervise_clock,
	};
	struct options options = { .config = RL_CONFIG(.shards = 1) };
	struct rl_system *sys;
	int rc;

	options_parse(&options, &spec, argc, argv);
	backend_children[0].url = options.urls[0];
	rc = rl_system_start(&options.config, &sys);
	if (rc == 0) {
		rc = supervise_run(sys);
	}
	if (rc == 0 && options.stats) {
		stats_json_print(stdout, sys);
		rc = options_flush();
	}
	rl_system_stop(sys);
	return rc == 0 ? 0 : 1;
}
