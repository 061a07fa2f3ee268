/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Supervisors that give up: children that fail at random, under supervisors with small windows,
 * under one that starts those again. A model of their arithmetic knows each answer beforehand.
 */
#ifndef RINGLINE_SIM_GUARD_H
#define RINGLINE_SIM_GUARD_H

/* In one seed of four, on some shard; others draw nothing for it. */
void sim_guard_spawn(void);

/* When all is at rest: whoever gave up, its own supervisor knows. */
void sim_guard_check(void);

#endif
