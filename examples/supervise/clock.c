/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The end after --seconds.
 */
#include "supervise/supervise.h"

#include "support/options.h"

void
clock_apply_seconds(void *arg, const char *flag, const char *text)
{
	struct clock *clock = arg;

	clock->seconds_ns = options_seconds_ns(flag, text, 0.01, 86400, true);
}

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

const struct rl_actor_def clock_def = { .name = "clock", .receive = clock_receive };
