/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_raw.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim_host.h"

#define RAW_MEMORY_BYTES 65536

static void
raw_log(void *arg, enum rl_log_level level, int shard, const char *text)
{
	(void)arg;
	(void)level;
	(void)shard;
	(void)text;
}

int
raw_setup(void **state)
{
	struct raw *raw = calloc(1, sizeof(*raw));
	struct ring_options options = { .sq_entries = 64,
					.cq_entries = 256,
					.files_max = 32,
					.without = RL_FEATURE_RESTRICTIONS };
	union url_sockaddr addr;
	socklen_t len;
	struct sk_sock *listener;
	int rc;

	sim_world_reset(1);
	sk_kernel_init();
	sim_host_init();
	raw->log = (struct log){ .sink = raw_log, .level = RL_LOG_ERROR };
	rc = rli_ring_open(&raw->ring, &options, &raw->log);
	sim_check(rc == 0, "raw: no ring");
	raw->memory = mmap(NULL, RAW_MEMORY_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	rc = rli_ring_buffers_register(raw->ring, 0, raw->memory, RAW_BUFFERS);
	sim_check(rc == 0, "raw: no buffer ring");
	for (uint16_t id = 0; id < RAW_BUFFERS; id++) {
		raw_publish(raw, id);
	}
	listener = sk_socket(false);
	sk_addr_tcp(&addr, &len, RAW_PORT);
	(void)sk_bind(listener, &addr, len);
	sk_listen(listener, 16);
	raw->listen_fd = sk_fd_install(&listener->file);
	*state = raw;
	return 0;
}

int
raw_teardown(void **state)
{
	struct raw *raw = *state;

	rli_ring_buffers_unregister(raw->ring, 0);
	rli_ring_detach(raw->ring);
	rli_ring_close(raw->ring);
	munmap(raw->memory, RAW_MEMORY_BYTES);
	sk_kernel_fini(true);
	sim_host_fini(false);
	free(raw);
	return 0;
}

struct io_uring_sqe *
raw_sqe(struct raw *raw, uint64_t user_data)
{
	struct io_uring_sqe *sqe = rli_ring_sqe(raw->ring);

	sim_check(sqe != NULL, "raw: the submission queue is full");
	/* prep_*() zeroes most of it but not user_data */
	sqe->user_data = user_data;
	return sqe;
}

static uint32_t
raw_reap(struct raw *raw)
{
	raw->count += rli_ring_reap(raw->ring, raw->cqes + raw->count, 256 - raw->count);
	return raw->count;
}

void
raw_submit(struct raw *raw)
{
	struct ring_wait wait = { .timeout_ns = RING_NO_TIMEOUT };

	sim_fault_set(FAULT_CQ_LATE, 65536);
	(void)rli_ring_enter(raw->ring, &wait);
	sim_fault_set(FAULT_CQ_LATE, 0);
	raw->count = 0;
	(void)raw_reap(raw);
}

uint32_t
raw_enter(struct raw *raw)
{
	struct ring_wait wait = { .timeout_ns = RING_NO_TIMEOUT };

	(void)rli_ring_enter(raw->ring, &wait);
	raw->count = 0;
	return raw_reap(raw);
}

uint32_t
raw_settle(struct raw *raw)
{
	struct ring_wait wait = { .timeout_ns = RING_NO_TIMEOUT };

	raw->count = 0;
	do {
		(void)rli_ring_enter(raw->ring, &wait);
		(void)raw_reap(raw);
		raw_net();
	} while (sk_ring_is_busy(raw->ring) || sk_net_ready() > 0);
	return raw->count;
}

uint32_t
raw_cqes_of(const struct raw *raw, uint64_t user_data)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < raw->count; i++) {
		count += raw->cqes[i].user_data == user_data;
	}
	return count;
}

const struct ring_cqe *
raw_cqe(const struct raw *raw, uint64_t user_data, uint32_t nth)
{
	for (uint32_t i = 0; i < raw->count; i++) {
		if (raw->cqes[i].user_data == user_data && nth-- == 0) {
			return &raw->cqes[i];
		}
	}
	sim_fail("raw: completion missing of %llu", (unsigned long long)user_data);
}

void
raw_net(void)
{
	while (sk_net_step()) {
	}
}

struct sk_sock *
raw_connect(struct raw *raw, int *slot)
{
	struct sk_sock *peer = sk_socket(false);
	union url_sockaddr addr;
	struct io_uring_sqe *sqe;
	socklen_t len;

	sk_addr_tcp(&addr, &len, RAW_PORT);
	(void)sk_connect(peer, &addr, len);
	raw_net();
	sqe = raw_sqe(raw, 9000);
	io_uring_prep_accept(sqe, raw->listen_fd, NULL, NULL, 0);
	sqe->file_index = IORING_FILE_INDEX_ALLOC;
	sqe->user_data = 9000;
	(void)raw_settle(raw);
	*slot = raw_cqe(raw, 9000, 0)->res;
	return peer;
}

uint8_t *
raw_buffer(struct raw *raw, uint16_t id)
{
	return raw->memory + 4096 + (size_t)id * RAW_BUFFER_BYTES;
}

void
raw_publish(struct raw *raw, uint16_t id)
{
	struct io_uring_buf_ring *ring = (struct io_uring_buf_ring *)(void *)raw->memory;
	struct io_uring_buf *buf = &ring->bufs[raw->tail & (RAW_BUFFERS - 1)];

	buf->addr = (uintptr_t)raw_buffer(raw, id);
	buf->len = RAW_BUFFER_BYTES;
	buf->bid = id;
	raw->tail = (uint16_t)(raw->tail + 1);
	io_uring_smp_store_release(&ring->tail, raw->tail);
}

void
raw_recv_multishot(struct raw *raw, int slot, uint64_t user_data)
{
	struct io_uring_sqe *sqe = raw_sqe(raw, user_data);

	io_uring_prep_recv_multishot(sqe, slot, NULL, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	sqe->user_data = user_data;
}
