/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Raw requests in, completions out: the simulated kernel without the product, for its own tests.
 */
#ifndef RINGLINE_SIM_RAW_H
#define RINGLINE_SIM_RAW_H

#include <stdint.h>

#include "sim_kernel.h"

#define RAW_BUFFERS	 8
#define RAW_BUFFER_BYTES 256
#define RAW_PORT	 7000

/* A world with one ring, a listener on RAW_PORT and no faults. */
struct raw {
	struct ring *ring;
	struct log log;
	uint8_t *memory; /* buffer ring, then the buffers */
	uint16_t tail;
	int listen_fd;
	struct ring_cqe cqes[256];
	uint32_t count;
};

int raw_setup(void **state);
int raw_teardown(void **state);

/* The next SQE with @user_data. */
struct io_uring_sqe *raw_sqe(struct raw *raw, uint64_t user_data);

/* Submit only what is queued: an enter that runs no task work. */
void raw_submit(struct raw *raw);

/* One enter, polling, then reap all into cqes[]; returns how many came. */
uint32_t raw_enter(struct raw *raw);

/* Enter until nothing more comes, the network at rest. */
uint32_t raw_settle(struct raw *raw);

/* The @nth (from 0) completion of the last reap with @user_data; fails when there is none. */
const struct ring_cqe *raw_cqe(const struct raw *raw, uint64_t user_data, uint32_t nth);
uint32_t raw_cqes_of(const struct raw *raw, uint64_t user_data);

/* A connected pair: a remote peer and a slot of the ring's file table. */
struct sk_sock *raw_connect(struct raw *raw, int *slot);

/* The world's network, until it rests. */
void raw_net(void);

/* Publish buffer @id. */
void raw_publish(struct raw *raw, uint16_t id);
uint8_t *raw_buffer(struct raw *raw, uint16_t id);

void raw_recv_multishot(struct raw *raw, int slot, uint64_t user_data);

#endif
