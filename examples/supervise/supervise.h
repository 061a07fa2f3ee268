/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * supervise - what the supervisors of supervise.c have for children, and the clock that ends it.
 */
#ifndef RINGLINE_EXAMPLES_SUPERVISE_H
#define RINGLINE_EXAMPLES_SUPERVISE_H

#include <stdint.h>

#include <ringline/ringline.h>

#define FRONT_NAME "front" /* by which the listener is found */

/* children.c: a connection, who talks to the listener's clients, who tells where, who fails. */
extern const struct rl_actor_def link_def;
extern const struct rl_actor_def greeter_def;
extern const struct rl_actor_def herald_def;
extern const struct rl_actor_def worker_def;

/* clock.c: drains the system after some seconds. */
struct clock {
	int64_t seconds_ns; /* -1: never */
	struct rl_system *sys;
};

extern const struct rl_actor_def clock_def;

void clock_apply_seconds(void *arg, const char *flag, const char *text);

#endif
