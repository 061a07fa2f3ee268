/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What other shards do while one of them is in the middle of its turn: there they run at the same
 * time, here at the places where that can make a difference.
 */
#ifndef RINGLINE_SIM_MEANWHILE_H
#define RINGLINE_SIM_MEANWHILE_H

#include <stdint.h>

void sim_meanwhile_reset(void);

/* As @shard begins its turn: it may own a wake-up, of a push that was taken already. */
void sim_meanwhile_wake(uint32_t shard);

#endif
