/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Putting one core's parts together and taking them apart. Invariant of the tear-down (pitfall 27):
 * buffer ring and file table are unregistered on the ring's thread, then the ring is closed, and
 * only then the memory goes that the kernel could have written to.
 */
#include "shard/shard.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/host.h"
#include "base/mutant.h"

#define REAP_BATCH 64

_Thread_local struct rl_shard *rli_shard_current;

static int
arena_init(struct arena *arena)
{
	size_t iovecs = ARENA_IOVECS * sizeof(struct iovec);
	size_t msghdrs = ARENA_MSGHDRS * sizeof(struct msghdr);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *memory;

	arena->reserved_bytes = (iovecs + msghdrs + page - 1) / page * page;
	memory = rli_host_pages_reserve(arena->reserved_bytes);
	if (memory == NULL) {
		return -ENOMEM;
	}
	if (rli_host_pages_commit(memory, arena->reserved_bytes) != 0) {
		rli_host_pages_release(memory, arena->reserved_bytes);
		return -ENOMEM;
	}
	arena->iovecs = (struct iovec *)(void *)memory;
	arena->msghdrs = (struct msghdr *)(void *)(memory + iovecs);
	return 0;
}

static void
arena_fini(struct arena *arena)
{
	if (arena->iovecs != NULL) {
		rli_host_pages_release(arena->iovecs, arena->reserved_bytes);
		arena->iovecs = NULL;
	}
}

int
rli_shard_init(struct rl_shard *shard, uint32_t id, uint32_t count, const struct rl_config *config,
	       const struct log *log)
{
	int rc;

	memset(shard, 0, sizeof(*shard));
	shard->id = id;
	shard->count = count;
	shard->config = config;
	shard->log = log;
	shard->sleep.eventfd = -1;
	shard->inbox = rli_inbox_create();
	if (shard->inbox == NULL) {
		return -ENOMEM;
	}
	rc = rli_sleep_init(&shard->sleep);
	if (rc != 0) {
		rli_inbox_destroy(shard->inbox);
		shard->inbox = NULL;
	}
	return rc;
}

static int
shard_open_pools(struct rl_shard *shard)
{
	const struct rl_config *config = shard->config;
	int rc = arena_init(&shard->arena);

	if (rc == 0) {
		rc = rli_chunk_pool_init(&shard->send_pool, config->send_pool_bytes);
	}
	if (rc == 0) {
		rc = rli_chunk_pool_init(&shard->recv_pool, config->recv_pool_bytes);
	}
	return rc;
}

int
rli_shard_open(struct rl_shard *shard, uint32_t files_max)
{
	const struct rl_config *config = shard->config;
	struct ring_options options = {
		.sq_entries = config->sq_entries,
		.cq_entries = config->cq_entries,
		.files_max = files_max,
		.without = config->without,
		.shard = (int)shard->id,
	};
	int rc;

	shard->now_ns = rli_host_now_ns();
	rli_wheel_init(&shard->wheel, shard->now_ns);
	op_init(&shard->wake_op);
	rc = rli_ring_open(&shard->ring, &options, shard->log);
	if (rc != 0) {
		return rc;
	}
	rc = shard_open_pools(shard);
	if (rc == 0) {
		rc = rli_bufring_init(&shard->bufring, shard->ring, config->recv_buffers,
				      config->recv_buffer_bytes, &shard->counters);
	}
	if (rc != 0) {
		rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
			"no memory for the shard's buffers (%u receive buffers of %u bytes): %s; "
			"lower recv_buffers, or raise the memory or RLIMIT_MEMLOCK limit",
			config->recv_buffers, config->recv_buffer_bytes, rli_errno_text(rc));
		rli_shard_detach(shard);
		return rc;
	}
	rc = rli_ring_enable(shard->ring, (int)shard->id, shard->log);
	if (rc != 0) {
		rli_shard_detach(shard);
	}
	return rc;
}

void
rli_shard_detach(struct rl_shard *shard)
{
	if (shard->ring != NULL) {
		rli_bufring_unregister(&shard->bufring, shard->ring);
		rli_ring_detach(shard->ring);
	}
}

void
rli_shard_fini(struct rl_shard *shard)
{
	rli_ring_close(shard->ring);
	shard->ring = NULL;
	rli_bufring_fini(&shard->bufring);
	rli_chunk_pool_fini(&shard->send_pool);
	rli_chunk_pool_fini(&shard->recv_pool);
	arena_fini(&shard->arena);
	rli_sleep_fini(&shard->sleep);
	if (shard->inbox != NULL) {
		rli_inbox_destroy(shard->inbox);
		shard->inbox = NULL;
	}
}

static void
wake_done(struct rl_shard *shard, struct op *op, int32_t res, uint32_t flags)
{
	(void)op;
	(void)flags;
	if (res < 0 && res != -EINTR && res != -EAGAIN && res != -ECANCELED) {
		/* read again all the same: a shard that can't be woken is worse than a busy one */
		rli_log_limited(shard->log, &shard->limit_wake, shard->now_ns, RL_LOG_ERROR,
				(int)shard->id, "can't read the eventfd that wakes the shard: %s",
				rli_errno_text(res));
		return;
	}
	/* the turn drains the inbox whatever the counter said, and arms the read again */
	counters_add(&shard->counters, wakeups, 1);
}

bool
rli_shard_arm_wake(struct rl_shard *shard)
{
	struct io_uring_sqe *sqe;

	if (!op_is_idle(&shard->wake_op) ||
	    (RL_MUTANT(WAKE_NOT_REARMED) && shard->wake_op.done != NULL)) {
		return true;
	}
	sqe = rli_ring_sqe(shard->ring);
	if (sqe == NULL) {
		counters_add(&shard->counters, sq_full, 1);
		return false;
	}
	io_uring_prep_read(sqe, shard->sleep.eventfd, &shard->wake_value, sizeof(shard->wake_value),
			   0);
	op_arm(&shard->wake_op, sqe, wake_done);
	return true;
}

struct msghdr *
rli_shard_msghdr(struct rl_shard *shard, uint32_t iovecs)
{
	struct arena *arena = &shard->arena;
	struct msghdr *msg;

	if (arena->iovecs_used + iovecs > ARENA_IOVECS || arena->msghdrs_used == ARENA_MSGHDRS) {
		return NULL;
	}
	msg = &arena->msghdrs[arena->msghdrs_used++];
	*msg = (struct msghdr){
		.msg_iov = &arena->iovecs[arena->iovecs_used],
		.msg_iovlen = iovecs,
	};
	arena->iovecs_used += iovecs;
	return msg;
}

void
rli_shard_arena_reset(struct rl_shard *shard)
{
	shard->arena.iovecs_used = 0;
	shard->arena.msghdrs_used = 0;
}

/*
 * Completions are copied out first, so that nothing that an op's owner does meets a moving queue.
 */
uint32_t
rli_shard_reap(struct rl_shard *shard, uint32_t max)
{
	struct ring_cqe cqes[REAP_BATCH];
	uint32_t total = 0;

	while (total < max) {
		uint32_t want = max - total < REAP_BATCH ? max - total : REAP_BATCH;
		uint32_t count = rli_ring_reap(shard->ring, cqes, want);

		for (uint32_t i = 0; i < count; i++) {
			rli_op_complete(shard, cqes[i].user_data, cqes[i].res, cqes[i].flags);
		}
		total += count;
		if (count < want) {
			break;
		}
	}
	counters_add(&shard->counters, cqes, total);
	return total;
}

void *
rl_shard_state(const struct rl_shard *shard)
{
	return shard->state;
}

uint32_t
rl_shard_id(const struct rl_shard *shard)
{
	return shard->id;
}

uint32_t
rl_shard_count(const struct rl_shard *shard)
{
	return shard->count;
}

uint64_t
rl_shard_now_ns(const struct rl_shard *shard)
{
	return shard->now_ns;
}
