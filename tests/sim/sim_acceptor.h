/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The acceptor's thread in the simulated world: somebody else who takes steps, and sleeps in poll
 * in between.
 */
#ifndef RINGLINE_SIM_ACCEPTOR_H
#define RINGLINE_SIM_ACCEPTOR_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct rl_system;

/* There is none until sim_acceptor_start(). */
void sim_acceptor_reset(void);

/* @system is open; from now on its acceptor, if it has one, takes steps. */
void sim_acceptor_start(struct rl_system *system);

/* What shards do while the acceptor is in the middle of a step. */
void sim_acceptor_others(void (*interleave)(void));

/* It could go on now. */
bool sim_acceptor_is_ready(void);

/* When it could at the latest; UINT64_MAX: never. */
uint64_t sim_acceptor_next_ns(void);

void sim_acceptor_step(void);

/* Asleep with something to do. */
void sim_acceptor_check(void);

/* It has taken its last step, or there never was one. */
/* The system ends: so does the acceptor, in a few steps. */
void sim_acceptor_end(void);

/* For the seam: others run here; and the wait begins. */
void sim_acceptor_interleave(void);
void sim_acceptor_sleep(struct pollfd *polls, uint32_t count, uint64_t timeout_ns);

#endif
