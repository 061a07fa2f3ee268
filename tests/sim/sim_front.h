/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Listeners under a supervisor that has much to do: a sibling of theirs fails again and again, and
 * each time they close and open.
 */
#ifndef RINGLINE_SIM_FRONT_H
#define RINGLINE_SIM_FRONT_H

#include <stdint.h>

struct rl_actor;
struct rl_msg;

/* Some of them, on some shard, or none; supervisors that give up (sim_guard.h), too. */
void sim_front_spawn(void);

/*
 * For the receive function of a child that lives for a while, mostly short and at most @most_ns, as
 * long as there are faults.
 */
int sim_mortal_receive(struct rl_actor *self, const struct rl_msg *msg, int64_t most_ns);

/* At times somebody shuts one of their sockets down. */
void sim_front_break(void);

/* When all is at rest: each of them that is there listens everywhere. */
void sim_front_check(void);

#endif
