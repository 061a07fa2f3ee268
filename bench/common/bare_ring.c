/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "common/bare_ring.h"

#include "common/program.h"

#include <sys/mman.h>

/* Newer than the kernel headers of Debian 12. */
#define SETUP_NO_SQARRAY (1u << 16)

/* Buffers start this far behind a multiple of their size. */
#define BUFFER_STAGGER_BYTES 192u

/* Tries the newest set of flags first; EINVAL means that this kernel does not know one of them. */
static void
ring_setup(struct bare_ring *ring, const struct bare_ring_config *config,
	   struct io_uring_params *params)
{
	unsigned common = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SINGLE_ISSUER;
	unsigned tries[] = {
		common | IORING_SETUP_DEFER_TASKRUN | (config->no_sq_array ? SETUP_NO_SQARRAY : 0),
		common | IORING_SETUP_DEFER_TASKRUN,
		common | IORING_SETUP_COOP_TASKRUN, /* Linux 6.0 */
	};
	unsigned i;

	for (i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		memset(params, 0, sizeof(*params));
		params->flags = tries[i];
		params->cq_entries = config->cq_entries;
		ring->fd = (int)syscall(__NR_io_uring_setup, config->sq_entries, params);
		if (ring->fd >= 0) {
			return;
		}
		if (errno != EINVAL) {
			break;
		}
	}
	program_die("io_uring_setup");
}

/* The indirection array of kernels before 6.6: entry i is always SQE i. */
static void
ring_fill_sq_array(unsigned *array, unsigned entries)
{
	unsigned i;

	for (i = 0; i < entries; i++) {
		array[i] = i;
	}
}

static void
ring_map(struct bare_ring *ring, const struct io_uring_params *params)
{
	bool array = (params->flags & SETUP_NO_SQARRAY) == 0;
	size_t length = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	size_t sq_length = params->sq_off.array + params->sq_entries * sizeof(unsigned);
	char *map;

	if (array && sq_length > length) {
		length = sq_length;
	}
	map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd,
		   IORING_OFF_SQ_RING);
	ring->sqes =
		mmap(NULL, params->sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	if (map == MAP_FAILED || ring->sqes == MAP_FAILED) {
		program_die("mapping the ring");
	}
	if (array) {
		ring_fill_sq_array((void *)(map + params->sq_off.array), params->sq_entries);
	}
	ring->sq_head = (void *)(map + params->sq_off.head);
	ring->sq_tail = (void *)(map + params->sq_off.tail);
	ring->sq_flags = (void *)(map + params->sq_off.flags);
	ring->cq_head = (void *)(map + params->cq_off.head);
	ring->cq_tail = (void *)(map + params->cq_off.tail);
	ring->cqes = (void *)(map + params->cq_off.cqes);
	ring->sq_entries = params->sq_entries;
	ring->sq_mask = params->sq_entries - 1;
	ring->cq_mask = params->cq_entries - 1;
}

void
bare_ring_open(struct bare_ring *ring, const struct bare_ring_config *config)
{
	struct io_uring_rsrc_update self = { .offset = UINT32_MAX };
	struct io_uring_params params;

	memset(ring, 0, sizeof(*ring));
	ring_setup(ring, config, &params);
	ring_map(ring, &params);
	ring->enter_fd = ring->fd;
	self.data = (uint64_t)ring->fd;
	if (syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_RING_FDS, &self, 1) == 1) {
		ring->enter_fd = (int)self.offset;
		ring->enter_flags = IORING_ENTER_REGISTERED_RING;
	}
	if (config->min_wait_us != 0) {
		ring->wait_limit.tv_sec = 1; /* a batch that never fills up ends here */
		ring->wait.min_wait_us = config->min_wait_us;
		ring->wait.timespec = (uintptr_t)&ring->wait_limit;
	}
}

void
bare_ring_register_table(struct bare_ring *ring, unsigned files_max)
{
	unsigned limit = program_raise_file_limit(); /* a longer table is refused with EMFILE */
	struct io_uring_rsrc_register table = {
		.nr = limit < files_max ? limit : files_max,
		.flags = IORING_RSRC_REGISTER_SPARSE,
	};

	if (syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_FILES2, &table,
		    sizeof(table)) != 0) {
		program_die("registering the file table");
	}
}

void
bare_ring_register_files(struct bare_ring *ring, const int *fds, unsigned count)
{
	if (syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_FILES, fds, count) != 0) {
		program_die("registering the sockets");
	}
}

void
bare_ring_enter_failed(void)
{
	if (errno != EINTR && errno != EBUSY && errno != EAGAIN && errno != ETIME) {
		program_die("io_uring_enter");
	}
}

static void *
buffers_map(size_t length, int flags)
{
	void *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags,
			 -1, 0);

	if (map == MAP_FAILED) {
		program_die("mapping receive buffers");
	}
	return map;
}

void
bare_buffers_open(struct bare_buffers *buffers, struct bare_ring *ring, unsigned count,
		  uint32_t size_bytes, unsigned group)
{
	struct io_uring_buf_ring *shared = buffers_map(count * sizeof(struct io_uring_buf), 0);
	struct io_uring_buf_reg reg = {
		.ring_addr = (uintptr_t)shared,
		.ring_entries = count,
		.bgid = (uint16_t)group,
	};
	unsigned id;

	buffers->entries = (void *)shared;
	buffers->tail_shared = (_Atomic uint16_t *)&shared->tail;
	buffers->size_bytes = size_bytes;
	buffers->stride_bytes = size_bytes + BUFFER_STAGGER_BYTES;
	buffers->memory = buffers_map(count * buffers->stride_bytes, MAP_POPULATE);
	buffers->mask = (uint16_t)(count - 1);
	buffers->tail = 0;
	if (syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_PBUF_RING, &reg, 1) != 0) {
		program_die("registering receive buffers");
	}
	for (id = 0; id < count; id++) {
		bare_buffers_give(buffers, (uint16_t)id);
	}
	bare_buffers_publish(buffers);
}
