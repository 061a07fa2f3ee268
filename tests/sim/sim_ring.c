/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The simulated twin of ring_uring.c: submission and completion queues of one shard.
 *
 * An enter that is told to wait can't block the one thread that there is. It notes that its shard
 * sleeps, and until when; the scheduler gives the shard no turn before something ends the sleep.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#include "sim_kernel.h"

#define FEATURES_ALL                                                                     \
	(RL_FEATURE_DEFER_TASKRUN | RL_FEATURE_NO_SQARRAY | RL_FEATURE_REGISTERED_RING | \
	 RL_FEATURE_MIN_WAIT | RL_FEATURE_FIXED_FILES | RL_FEATURE_MSG_RING |            \
	 RL_FEATURE_RESTRICTIONS | RL_FEATURE_ACCEPT_POLL)

/* ---- the completion queue */

uint32_t
sk_cq_count(const struct ring *ring)
{
	return ring->cq_tail - ring->cq_head;
}

bool
sk_cq_has_room(const struct ring *ring)
{
	return ring->overflow_len == 0 && sk_cq_count(ring) < ring->cq_entries;
}

static void
cq_push(struct ring *ring, const struct sk_cqe *cqe)
{
	ring->cq[ring->cq_tail++ % ring->cq_entries] = *cqe;
}

/* INV-8: whoever only gets refusals has to wait for better times, not to ask again at once. */
static void
cq_check_spin(struct ring *ring, const struct sk_op *op, int32_t res)
{
	if (res >= 0 || op->sqe.opcode == IORING_OP_ASYNC_CANCEL || op->cancelled) {
		ring->refusals = 0;
		return;
	}
	sim_check(
		++ring->refusals < SK_REFUSALS_MAX,
		"INV-8: %u refusals in a row without a sleep in between, the last %d of opcode %d",
		ring->refusals, res, op->sqe.opcode);
}

void
sk_cq_post(struct ring *ring, struct sk_op *op, int32_t res, uint32_t flags)
{
	struct sk_cqe cqe = { { op->user_data, res, flags }, op };

	sim_event("k cqe", (int64_t)op->sqe.opcode << 8 | (flags & 0xf), res);
	cq_check_spin(ring, op, res);
	if (sk_cq_has_room(ring)) {
		cq_push(ring, &cqe);
		return;
	}
	sim_fault_count(FAULT_CQ_OVERFLOW);
	if (ring->overflow_len == ring->overflow_cap) {
		ring->overflow_cap = ring->overflow_cap == 0 ? 64 : ring->overflow_cap * 2;
		ring->overflow =
			realloc(ring->overflow, ring->overflow_cap * sizeof(ring->overflow[0]));
	}
	ring->overflow[ring->overflow_len++] = cqe;
}

static void
cq_flush_overflow(struct ring *ring)
{
	uint32_t moved = 0;

	while (moved < ring->overflow_len && sk_cq_count(ring) < ring->cq_entries) {
		cq_push(ring, &ring->overflow[moved++]);
	}
	if (moved == 0) {
		return;
	}
	ring->overflow_len -= moved;
	memmove(ring->overflow, ring->overflow + moved,
		ring->overflow_len * sizeof(ring->overflow[0]));
}

/* ---- task work */

static struct sk_op *
work_pick(struct ring *ring)
{
	struct list_node *node = list_first(&ring->work);
	uint64_t steps = 0;

	if (node == NULL) {
		return NULL;
	}
	if (ring->work_len > 1 && sim_fault(FAULT_CQ_ORDER)) {
		steps = sim_below(ring->work_len < 16 ? ring->work_len : 16);
	}
	while (steps-- > 0) {
		node = node->next;
	}
	return list_entry(node, struct sk_op, place);
}

static void
work_run(struct ring *ring, uint32_t max, bool may_be_late)
{
	uint32_t left = ring->work_len < max ? ring->work_len : max;

	cq_flush_overflow(ring);
	for (; left > 0; left--) {
		struct sk_op *op = work_pick(ring);

		if (op == NULL) {
			return;
		}
		/* late, but not for ever: every other enter does something */
		if (may_be_late && !ring->was_late && sim_fault(FAULT_CQ_LATE)) {
			ring->was_late = true;
			return;
		}
		ring->was_late = false;
		ring->worked++;
		sk_op_run(op);
	}
}

static uint32_t
work_max(const struct ring *ring, uint32_t nr)
{
	if (!(ring->features & RL_FEATURE_DEFER_TASKRUN)) {
		return UINT32_MAX;
	}
	return nr > SK_TASK_WORK ? nr : SK_TASK_WORK;
}

bool
sk_ring_is_wakeable(const struct ring *ring)
{
	uint32_t ready = sk_cq_count(ring) + ring->work_len + ring->overflow_len;

	if (!ring->asleep) {
		return false;
	}
	if (ready >= ring->wait.nr || sim_world.now_ns >= ring->wake_ns) {
		return true;
	}
	return ready > 0 && sim_world.now_ns >= ring->min_ns;
}

void
sk_ring_wake(struct ring *ring)
{
	ring->asleep = false;
	work_run(ring, work_max(ring, ring->wait.nr), false);
}

static void
ring_sleep(struct ring *ring, const struct ring_wait *wait)
{
	ring->wait = *wait;
	ring->wake_ns = wait->timeout_ns == RING_NO_TIMEOUT ? UINT64_MAX
							    : sim_world.now_ns + wait->timeout_ns;
	ring->min_ns = wait->nr > 1 && wait->min_us != 0
			       ? sim_world.now_ns + (uint64_t)wait->min_us * 1000
			       : UINT64_MAX;
	ring->asleep = true;
	ring->refusals = 0;
	sim_event("k sleep", (int64_t)wait->nr,
		  ring->wake_ns == UINT64_MAX ? -1 : (int64_t)wait->timeout_ns);
}

/* ---- submitting */

/* The linked timeout behind the SQE at @head; NULL: none, or the submission ends in between. */
static const struct io_uring_sqe *
sq_linked(const struct ring *ring, uint32_t head, uint32_t last)
{
	const struct io_uring_sqe *sqe = &ring->sqes[head % ring->sq_entries];
	const struct io_uring_sqe *next = &ring->sqes[(head + 1) % ring->sq_entries];

	if (!(sqe->flags & IOSQE_IO_LINK) || head + 1 == last) {
		return NULL;
	}
	sim_check(next->opcode == IORING_OP_LINK_TIMEOUT,
		  "a linked request without its timeout right behind it");
	return next;
}

static void
sq_submit(struct ring *ring, uint32_t count)
{
	uint32_t last = ring->sq_head + count;

	while (ring->sq_head != last) {
		struct io_uring_sqe sqe = ring->sqes[ring->sq_head % ring->sq_entries];
		const struct io_uring_sqe *next = sq_linked(ring, ring->sq_head, last);

		ring->sq_head++;
		ring->submitted++;
		if (next != NULL) {
			ring->sq_head++;
			ring->submitted++;
		}
		sk_op_issue(ring, &sqe, next);
	}
}

/* How many of @queued the kernel takes now; seldom it cuts a linked pair in two. */
static uint32_t
sq_part(const struct ring *ring, uint32_t queued)
{
	uint32_t count = (uint32_t)sim_between(1, queued - 1);
	const struct io_uring_sqe *at;

	at = &ring->sqes[(ring->sq_head + count - 1) % ring->sq_entries];
	if (!(at->flags & IOSQE_IO_LINK) || sim_fault(FAULT_LINK_CUT)) {
		return count;
	}
	return count - 1;
}

static int
enter_fault(const struct ring *ring)
{
	if (sim_fault(FAULT_ENTER_EINTR)) {
		return -EINTR;
	}
	if (sim_fault(FAULT_ENTER_EAGAIN)) {
		return -EAGAIN;
	}
	return ring->overflow_len > 0 && sim_fault(FAULT_ENTER_EBUSY) ? -EBUSY : 0;
}

static int
enter_wait(struct ring *ring, const struct ring_wait *wait)
{
	if (wait->nr == 0 || sk_cq_count(ring) + ring->overflow_len >= wait->nr) {
		return 0;
	}
	if (sim_fault(FAULT_ENTER_SPURIOUS)) {
		return sim_coin() ? 0 : -EINTR;
	}
	if (wait->timeout_ns != RING_NO_TIMEOUT && sim_fault(FAULT_ENTER_ETIME)) {
		return -ETIME;
	}
	ring_sleep(ring, wait);
	return 0;
}

int
rli_ring_enter(struct ring *ring, const struct ring_wait *wait)
{
	uint32_t queued = ring->sq_tail - ring->sq_head;
	uint32_t part = queued;
	int rc;

	sim_interleave();
	RL_ASSERT(wait->nr == 0 || wait->timeout_ns != 0);
	RL_ASSERT(wait->nr <= 1 || wait->min_us == 0 || ring->features & RL_FEATURE_MIN_WAIT);
	sim_check(!ring->detached, "an enter after the ring was detached");
	sim_check(!ring->disabled, "an enter before the ring was enabled");
	ring->enters++;
	if (sk.dropped) {
		return -EBADR;
	}
	sk_message_from_nowhere(ring);
	ring->sq_limit = sim_fault(FAULT_SQ_FULL) ? (uint32_t)sim_below(6) : ring->sq_entries;
	sk_group_scan(&ring->group);
	rc = enter_fault(ring);
	if (rc != 0) {
		if (rc == -EBUSY) {
			cq_flush_overflow(ring);
		}
		return rc;
	}
	if (queued > 1 && sim_fault(FAULT_ENTER_PARTIAL)) {
		part = sq_part(ring, queued);
	}
	sq_submit(ring, part);
	if (part < queued) {
		return 0; /* neither a wait nor GETEVENTS */
	}
	work_run(ring, work_max(ring, wait->nr), true);
	return enter_wait(ring, wait);
}

struct io_uring_sqe *
rli_ring_sqe(struct ring *ring)
{
	struct io_uring_sqe *sqe;

	sim_interleave();
	if (rli_ring_room(ring) == 0) {
		return NULL;
	}
	sqe = &ring->sqes[ring->sq_tail++ % ring->sq_entries];
	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

uint32_t
rli_ring_room(const struct ring *ring)
{
	uint32_t queued = ring->sq_tail - ring->sq_head;

	return queued < ring->sq_limit ? ring->sq_limit - queued : 0;
}

uint32_t
rli_ring_queued(const struct ring *ring)
{
	return ring->sq_tail - ring->sq_head;
}

/* ---- completing */

uint32_t
rli_ring_reap(struct ring *ring, struct ring_cqe *cqes, uint32_t max)
{
	uint32_t count = 0;

	sim_interleave();
	while (count < max && ring->cq_head != ring->cq_tail) {
		struct sk_cqe *cqe = &ring->cq[ring->cq_head++ % ring->cq_entries];

		cqes[count++] = cqe->cqe;
		ring->reaped++;
		if (--cqe->op->unreaped == 0 && cqe->op->state == SK_OP_FINISHED) {
			sk_op_free(cqe->op);
		}
	}
	return count;
}

bool
sk_ring_is_busy(const struct ring *ring)
{
	return sk_cq_count(ring) > 0 || ring->overflow_len > 0 || ring->work_len > 0;
}

uint64_t
sk_ring_next_ns(const struct ring *ring)
{
	uint64_t next = UINT64_MAX;

	if (ring->asleep) {
		next = ring->wake_ns;
		if (sk_ring_is_busy(ring) && ring->min_ns < next) {
			next = ring->min_ns;
		}
	}
	return next;
}

bool
rli_ring_is_behind(const struct ring *ring)
{
	return ring->work_len > 0;
}

/* Whoever spins in a turn has to see time pass, and the world go on meanwhile. */
static void
spin_step(void)
{
	if (sim_world.looked != NULL) {
		sim_world.looked();
	}
	sim_interleave();
	sim_world.now_ns += sim_between(100, 10000);
	sk_timeouts_run();
	if (sim_coin()) {
		(void)sk_net_step();
	}
}

bool
rli_ring_has_news(const struct ring *ring)
{
	if (sim_world.in_turn) {
		spin_step();
	}
	return sk_ring_is_busy(ring);
}

bool
rli_ring_overflowed(struct ring *ring)
{
	return ring->overflow_len > 0;
}

/* ---- set-up */

int
rli_ring_fd(const struct ring *ring)
{
	return ring->fd;
}

uint32_t
rli_ring_features(const struct ring *ring)
{
	return ring->features;
}

static int
ring_place(void)
{
	for (int i = 0; i < SK_RINGS_MAX; i++) {
		if (sk.rings[i] == NULL) {
			return i;
		}
	}
	sim_fail("more rings than the simulated kernel has room for");
}

static int
ring_install(struct ring *ring)
{
	struct sk_file *file = sk_ring_file(ring);
	int fd = sk_fd_install(file);

	if (fd < 0) {
		sk_file_put(file);
	}
	return fd;
}

int
rli_ring_open(struct ring **out, const struct ring_options *options, const struct log *log)
{
	static const int reasons[] = { -ENOSYS, -EPERM, -ENOMEM, -EMFILE };
	struct ring *ring;

	*out = NULL;
	if (sim_fault(FAULT_SETUP_FAILS)) {
		int rc = reasons[sim_below(4)];

		rli_log(log, RL_LOG_ERROR, options->shard, "can't create a ring: simulated");
		return rc;
	}
	ring = calloc(1, sizeof(*ring));
	ring->fd = ring_install(ring);
	if (ring->fd < 0) {
		int rc = ring->fd;

		rli_log(log, RL_LOG_ERROR, options->shard, "can't create a ring: no descriptor");
		free(ring);
		return rc;
	}
	ring->index = (uint32_t)ring_place();
	ring->features = FEATURES_ALL & ~options->without;
	if (sim_fault(FAULT_SETUP_FALLBACK)) {
		/* an older kernel; fixed files are in all of them */
		ring->features &= (uint32_t)sim_random() | RL_FEATURE_FIXED_FILES;
	}
	ring->disabled = !(options->without & RL_FEATURE_RESTRICTIONS);
	ring->sq_entries = options->sq_entries;
	ring->sq_limit = options->sq_entries;
	ring->sqes = calloc(ring->sq_entries, sizeof(ring->sqes[0]));
	ring->cq_entries = options->cq_entries;
	if (sim_fault(FAULT_CQ_SMALL)) {
		ring->cq_entries = (uint32_t)sim_between(2, 16);
	}
	ring->cq = calloc(ring->cq_entries, sizeof(ring->cq[0]));
	ring->files_max = options->files_max;
	ring->files = calloc(ring->files_max + 1, sizeof(ring->files[0]));
	list_init(&ring->ops);
	list_init(&ring->work);
	sk.rings[ring->index] = ring;
	sk.rings_open++;
	*out = ring;
	return 0;
}

/* From here on sk_op_issue() lets in what shard/ring_fence.h has. */
int
rli_ring_enable(struct ring *ring, int shard, const struct log *log)
{
	(void)shard;
	(void)log;
	ring->disabled = false;
	return 0;
}

void
rli_ring_detach(struct ring *ring)
{
	for (uint32_t i = 0; i < ring->files_max; i++) {
		if (ring->files[i] != NULL) {
			sk_file_put(ring->files[i]);
			ring->files[i] = NULL;
			ring->files_left++;
		}
	}
	ring->detached = true;
}

void
rli_ring_close(struct ring *ring)
{
	struct list_node *node;

	if (ring == NULL) {
		return;
	}
	while ((node = list_first(&ring->ops)) != NULL) {
		sk_op_drop(list_entry(node, struct sk_op, node));
	}
	sk_group_unregister(&ring->group);
	sk_ring_file_close(ring);
	sk.rings[ring->index] = NULL;
	sk.rings_open--;
	free(ring->sqes);
	free(ring->cq);
	free(ring->overflow);
	free(ring->files);
	free(ring);
}

int
rli_ring_buffers_register(struct ring *ring, uint16_t group, void *memory, uint32_t entries)
{
	sim_check(group == 0, "the simulated kernel has one buffer group");
	if (sim_fault(FAULT_REGISTER_FAILS)) {
		return -ENOMEM;
	}
	return sk_group_register(&ring->group, memory, entries);
}

void
rli_ring_buffers_unregister(struct ring *ring, uint16_t group)
{
	(void)group;
	sk_group_unregister(&ring->group);
}
