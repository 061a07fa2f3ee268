/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Remote peers: clients that connect to the system's listeners, servers that its actors connect
 * to. Each behaves in a way of its own: writes and reads in pieces of any size, thinks in
 * between, keeps quiet, never reads, half-closes, resets at some byte, leaves without a word.
 */
#ifndef RINGLINE_SIM_PEER_H
#define RINGLINE_SIM_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "sim_kernel.h"
#include "sim_link.h"

void sim_peers_reset(void);

/* Connect to @addr, with TLS if the link has it; false: there are enough peers. */
bool sim_peer_connect(const union url_sockaddr *addr, socklen_t len, struct sim_link *link);

/* A remote server at @addr that takes any number of connections. */
void sim_peer_listen(const union url_sockaddr *addr, socklen_t len, bool tls);
void sim_peer_unlisten(void);

/* From now on all are in good faith: they read, write and end. */
void sim_peers_heal(void);

/* Everybody leaves at once. */
void sim_peers_leave(void);

uint32_t sim_peers_count(void);
uint32_t sim_peers_ready(void);
void sim_peers_step(uint32_t nth);
uint64_t sim_peers_next_ns(void);

#endif
