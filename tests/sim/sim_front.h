/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Listeners under a supervisor that has much to do: a sibling of theirs fails again and again, and
 * each time they close and open.
 */
#ifndef RINGLINE_SIM_FRONT_H
#define RINGLINE_SIM_FRONT_H

/* Some of them, on some shard, or none; supervisors that give up (sim_guard.h), too. */
void sim_front_spawn(void);

/* At times somebody shuts one of their sockets down. */
void sim_front_break(void);

/* When all is at rest: each of them that is there listens everywhere. */
void sim_front_check(void);

#endif
