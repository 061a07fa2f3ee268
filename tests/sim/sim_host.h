/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What tests see of the simulated host: its memory, and how it runs out.
 */
#ifndef RINGLINE_SIM_HOST_H
#define RINGLINE_SIM_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Calls of reserve and commit so far in this world. */
uint64_t sim_host_calls(void);

/* The call with this number (from 0) fails, or all from it on; UINT64_MAX: none. */
void sim_host_fail_at(uint64_t call, bool from_then_on);

/* Some page that the product has holds these bytes. */
bool sim_host_remembers(const char *bytes, size_t len);

void sim_host_init(void);

/* Everything must have been given back: fails the run otherwise. */
void sim_host_fini(bool forgive);

#endif
