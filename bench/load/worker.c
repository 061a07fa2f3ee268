/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One thread of the load generator. Per turn: one send per connection for all messages that became
 * due, one enter, one clock read. That one value stamps the turn's arrivals and its departures, so
 * a latency includes the generator's own queueing: it is never flattering by more than a turn.
 */
#include "common/program.h"
#include "load/dial.h"
#include "load/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
	WORKER_SQ_ENTRIES = 1024,
	WORKER_CQ_ENTRIES = 4096,
	WORKER_BUFS = 256,
	WORKER_BUF_BYTES = 16384,
	WORKER_GROUP = 1,
	WORKER_COMPLAINTS_MAX = 3,
	WORKER_TICK_NS = 20000000, /* looks at the clock even if nothing comes back */
	WORKER_TICK_RATED_NS = 1000000,
};
enum worker_op {
	WORKER_RECV = 1,
	WORKER_SEND,
	WORKER_TICK
};

static uint64_t
worker_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline struct io_uring_sqe *
worker_sqe(struct load_worker *worker, uint8_t opcode, uint32_t index, enum worker_op op)
{
	struct io_uring_sqe *sqe =
		bare_ring_sqe(&worker->ring, opcode, (int)index, (uint64_t)op << 32 | index);

	sqe->flags = IOSQE_FIXED_FILE;
	return sqe;
}

static inline void
worker_arm(struct load_worker *worker, uint32_t index)
{
	struct io_uring_sqe *sqe = worker_sqe(worker, IORING_OP_RECV, index, WORKER_RECV);

	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->buf_group = WORKER_GROUP;
}

static void
worker_arm_tick(struct load_worker *worker)
{
	struct io_uring_sqe *sqe =
		bare_ring_sqe(&worker->ring, IORING_OP_TIMEOUT, -1, (uint64_t)WORKER_TICK << 32);

	sqe->addr = (uintptr_t)&worker->tick;
	sqe->len = 1;
}

/* One send at a time: two of them on one socket would race. */
static inline void
worker_send(struct load_worker *worker, uint32_t index)
{
	struct load_conn *conn = &worker->conns[index];
	struct io_uring_sqe *sqe;
	uint32_t length;

	if (conn->in_flight_bytes != 0 || conn->to_send_bytes == 0 || conn->dead) {
		return;
	}
	length =
		conn->to_send_bytes < LOAD_SEND_MAX ? (uint32_t)conn->to_send_bytes : LOAD_SEND_MAX;
	sqe = worker_sqe(worker, IORING_OP_SEND, index, WORKER_SEND);
	sqe->addr = (uintptr_t)(worker->pattern +
				(conn->phase + conn->sent_offset) % LOAD_PATTERN_PERIOD);
	sqe->len = length;
	sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
	conn->in_flight_bytes = length;
}

static inline void
worker_mark_dirty(struct load_worker *worker, uint32_t index)
{
	if (!worker->conns[index].dirty) {
		worker->conns[index].dirty = true;
		worker->dirty[worker->dirty_count++] = index;
	}
}

static inline void
worker_enqueue(struct load_worker *worker, uint32_t index, uint32_t count, uint64_t now_ns)
{
	struct load_conn *conn = &worker->conns[index];
	uint32_t depth = worker->options->depth;
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint32_t at = conn->oldest + conn->outstanding++;

		conn->stamps[at < depth ? at : at - depth] = now_ns;
	}
	conn->to_send_bytes += (uint64_t)count * worker->options->size_bytes;
	worker_mark_dirty(worker, index);
}

static void
worker_kill(struct load_worker *worker, uint32_t index, const char *why, int error)
{
	struct load_conn *conn = &worker->conns[index];

	if (conn->dead) {
		return;
	}
	conn->dead = true;
	worker->errors++;
	if (worker->errors <= WORKER_COMPLAINTS_MAX) {
		fprintf(stderr, "tcpload: connection %u: %s%s%s\n", worker->conns_first + index,
			why, error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
	}
	(void)shutdown(conn->fd, SHUT_RDWR); /* it may be gone already */
}

static inline void
worker_count_echo(struct load_worker *worker, struct load_conn *conn, uint64_t now_ns)
{
	uint64_t elapsed_ns = now_ns - conn->stamps[conn->oldest];

	if (++conn->oldest == worker->options->depth) {
		conn->oldest = 0;
	}
	if (worker->measuring) {
		histogram_add(&worker->latency, elapsed_ns);
	}
}

static inline void
worker_received(struct load_worker *worker, uint32_t index, const uint8_t *data, uint32_t length,
		uint64_t now_ns)
{
	const struct load_options *options = worker->options;
	struct load_conn *conn = &worker->conns[index];
	uint32_t arrived = conn->partial_bytes + length;
	uint32_t count = arrived / options->size_bytes;
	uint32_t i;

	if (options->verify &&
	    memcmp(data,
		   worker->pattern + (conn->phase + conn->received_offset) % LOAD_PATTERN_PERIOD,
		   length) != 0) {
		worker->mismatches++;
		worker_kill(worker, index, "echo differs", 0);
	}
	conn->received_offset = (conn->received_offset + length) % LOAD_PATTERN_PERIOD;
	conn->partial_bytes = arrived - count * options->size_bytes;
	if (count > conn->outstanding) {
		worker_kill(worker, index, "more bytes than were sent", 0);
		count = conn->outstanding;
	}
	for (i = 0; i < count; i++) {
		worker_count_echo(worker, conn, now_ns);
	}
	conn->outstanding -= count;
	if (worker->measuring) {
		worker->bytes += length;
		worker->messages += count;
	}
	if (count != 0 && options->rate <= 0) {
		worker_enqueue(worker, index, count, now_ns);
	}
}

static inline void
worker_recv_done(struct load_worker *worker, uint32_t index, const struct io_uring_cqe *cqe,
		 uint64_t now_ns)
{
	const struct load_conn *conn = &worker->conns[index];

	if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
		uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);

		if (cqe->res > 0 && !conn->dead) {
			worker_received(worker, index, bare_buffers_data(&worker->bufs, id),
					(uint32_t)cqe->res, now_ns);
		}
		bare_buffers_give(&worker->bufs, id);
		bare_buffers_publish(&worker->bufs);
	}
	if (cqe->res == 0) {
		worker_kill(worker, index, "closed by the server", 0);
	} else if (cqe->res < 0 && cqe->res != -ENOBUFS) {
		worker_kill(worker, index, "recv", -cqe->res);
	}
	if ((cqe->flags & IORING_CQE_F_MORE) == 0 && !conn->dead) {
		worker_arm(worker, index);
	}
}

static inline void
worker_send_done(struct load_worker *worker, uint32_t index, int32_t result)
{
	struct load_conn *conn = &worker->conns[index];

	conn->in_flight_bytes = 0;
	if (result < 0) {
		worker_kill(worker, index, "send", -result);
		return;
	}
	conn->sent_offset = (conn->sent_offset + (uint32_t)result) % LOAD_PATTERN_PERIOD;
	conn->to_send_bytes -= (uint32_t)result;
	if (conn->to_send_bytes != 0) {
		worker_mark_dirty(worker, index);
	}
}

static inline void
worker_reap(struct load_worker *worker, uint64_t now_ns)
{
	unsigned head = bare_ring_first(&worker->ring);
	unsigned end = bare_ring_end(&worker->ring);

	for (; head != end; head++) {
		const struct io_uring_cqe *cqe = &worker->ring.cqes[head & worker->ring.cq_mask];
		uint32_t index = (uint32_t)cqe->user_data;

		switch ((enum worker_op)(cqe->user_data >> 32)) {
		case WORKER_RECV:
			worker_recv_done(worker, index, cqe, now_ns);
			break;
		case WORKER_SEND:
			worker_send_done(worker, index, cqe->res);
			break;
		case WORKER_TICK:
			worker_arm_tick(worker);
			break;
		}
	}
	bare_ring_consumed(&worker->ring, head);
}

static inline void
worker_send_dirty(struct load_worker *worker)
{
	uint32_t i;

	for (i = 0; i < worker->dirty_count; i++) {
		uint32_t index = worker->dirty[i];

		worker->conns[index].dirty = false;
		worker_send(worker, index);
	}
	worker->dirty_count = 0;
}

/* Spends the tokens on connections with room, in turn; ends when a whole round found none. */
static void
worker_throttle(struct load_worker *worker, uint64_t now_ns)
{
	const struct load_options *options = worker->options;
	double room = (double)worker->conns_count * options->depth;
	uint32_t refused = 0;

	worker->tokens +=
		(double)(now_ns - worker->tokens_at_ns) * 1e-9 * options->rate / options->threads;
	worker->tokens_at_ns = now_ns;
	if (worker->tokens > room) {
		worker->tokens = room;
	}
	while (worker->tokens >= 1 && refused < worker->conns_count) {
		const struct load_conn *conn = &worker->conns[worker->cursor];

		if (!conn->dead && conn->outstanding < options->depth) {
			worker_enqueue(worker, worker->cursor, 1, now_ns);
			worker->tokens--;
			refused = 0;
		} else {
			refused++;
		}
		if (++worker->cursor == worker->conns_count) {
			worker->cursor = 0;
		}
	}
}

/* Stalled: the oldest message is out for a second, or for half of a shorter window. */
static void
worker_count_stalled(struct load_worker *worker, uint64_t now_ns)
{
	double seconds = worker->options->seconds;
	uint64_t age_ns = seconds < 2 ? (uint64_t)(seconds * 5e8) : 1000000000u;
	uint32_t i;

	for (i = 0; i < worker->conns_count; i++) {
		const struct load_conn *conn = &worker->conns[i];

		if (!conn->dead && conn->outstanding != 0 &&
		    now_ns - conn->stamps[conn->oldest] > age_ns) {
			worker->stalled++;
		}
	}
}

/* False when the window is over. */
static inline bool
worker_in_window(struct load_worker *worker, uint64_t now_ns)
{
	worker->turns++;
	if (!worker->measuring && now_ns >= worker->window.begin_ns) {
		worker->measuring = true;
		worker->cpu_begin_ns = worker_cpu_ns();
		worker->turns = 0;
	}
	if (now_ns < worker->window.end_ns) {
		return true;
	}
	worker->cpu_end_ns = worker_cpu_ns();
	worker_count_stalled(worker, now_ns);
	return false;
}

static int
worker_dial(const struct load_options *options)
{
	struct sockaddr_in address;

	if (options->unix_path != NULL) {
		return dial_unix(options->unix_path);
	}
	address = dial_address(options->host, options->port);
	return dial_tcp(&address, 0);
}

static void
worker_connect(struct load_worker *worker)
{
	int *fds = program_alloc(worker->conns_count, sizeof(*fds));
	uint32_t i;

	for (i = 0; i < worker->conns_count; i++) {
		struct load_conn *conn = &worker->conns[i];

		conn->stamps = program_alloc(worker->options->depth, sizeof(*conn->stamps));
		conn->phase = (uint32_t)((worker->conns_first + i) * 911ull % LOAD_PATTERN_PERIOD);
		conn->fd = worker_dial(worker->options);
		fds[i] = conn->fd;
	}
	bare_ring_register_files(&worker->ring, fds, worker->conns_count);
	free(fds);
}

void
load_worker_prepare(struct load_worker *worker)
{
	struct bare_ring_config config = {
		.sq_entries = WORKER_SQ_ENTRIES,
		.cq_entries = WORKER_CQ_ENTRIES + 2 * worker->conns_count,
	};
	uint32_t i;

	if (worker->options->cpu >= 0) {
		program_pin(worker->options->cpu + (int)worker->id);
	}
	bare_ring_open(&worker->ring, &config);
	worker->conns = program_alloc(worker->conns_count, sizeof(*worker->conns));
	worker->dirty = program_alloc(worker->conns_count, sizeof(*worker->dirty));
	worker_connect(worker);
	bare_buffers_open(&worker->bufs, &worker->ring, WORKER_BUFS, WORKER_BUF_BYTES,
			  WORKER_GROUP);
	for (i = 0; i < worker->conns_count; i++) {
		worker_arm(worker, i);
	}
	bare_ring_enter(&worker->ring, 0, IORING_ENTER_GETEVENTS);
}

void
load_worker_run(struct load_worker *worker)
{
	const struct load_options *options = worker->options;
	uint64_t now_ns = program_now_ns();
	uint32_t i;

	worker->tokens_at_ns = now_ns;
	worker->tick.tv_nsec = options->rate > 0 ? WORKER_TICK_RATED_NS : WORKER_TICK_NS;
	worker_arm_tick(worker);
	for (i = 0; i < worker->conns_count && options->rate <= 0; i++) {
		worker_enqueue(worker, i, options->depth, now_ns);
	}
	for (;;) {
		worker_send_dirty(worker);
		bare_ring_enter(&worker->ring, options->spin ? 0 : 1, IORING_ENTER_GETEVENTS);
		now_ns = program_now_ns();
		if (!worker_in_window(worker, now_ns)) {
			return;
		}
		worker_reap(worker, now_ns);
		if (options->rate > 0) {
			worker_throttle(worker, now_ns);
		}
	}
}
