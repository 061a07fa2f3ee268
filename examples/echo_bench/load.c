/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "echo_bench/load.h"

#include <errno.h>
#include <string.h>

enum {
	LOAD_WINDOW = RL_MSG_USER, /* carries a struct load_window */
	LOAD_CONNECTS_MAX = 64, /* at a time, per shard: a burst that any backlog takes */
	LOAD_PHASE_STEP = 4099, /* neighbours start far from each other; prime to the period */
};

_Static_assert(sizeof(struct load_window) <= RL_MSG_INLINE_MAX, "a window fits into a message");

struct conn {
	struct load_shard *shard;
	uint32_t number;
	uint32_t sent_at; /* where in the pattern, as is received_at */
	uint32_t received_at;
	uint32_t partial_bytes; /* of the message that is arriving */
	uint32_t outstanding;
	uint32_t oldest;
	uint64_t received_bytes;
	uint64_t to_send_bytes;
	bool full; /* until RL_MSG_WRITABLE */
	bool opened;
	bool faulty;
	uint64_t stamps[]; /* when the outstanding messages were due: a ring of depth entries */
};

_Static_assert(sizeof(struct conn) + LOAD_DEPTH_MAX * sizeof(uint64_t) <= RL_ACTOR_STATE_MAX,
	       "the deepest connection's state fits");

/* Written by one thread only: no read-modify-write is needed. */
static void
shard_add(_Atomic uint64_t *counter, uint64_t count)
{
	/* pairs with: load_echoes(), load_faults(); a figure to show, it orders nothing */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + count,
			      memory_order_relaxed);
}

static void
shard_count_conn(const struct load_shard *shard, _Atomic uint32_t *counter)
{
	uint32_t count = atomic_load_explicit(counter, memory_order_relaxed) + 1;

	/* pairs with: load_begun() and the like; the rest is read after the run */
	atomic_store_explicit(counter, count, memory_order_relaxed);
	if (count == shard->conns_wanted || count == 1) {
		wakeup_ring(&shard->load->wakeup);
	}
}

static void
shard_fault(struct load_shard *shard, const struct load_first_fault *fault)
{
	shard_add(&shard->faults[fault->fault], 1);
	if (shard->first.fault == LOAD_NO_FAULT) {
		shard->first = *fault;
	}
	if (!shard->connects_failed &&
	    (fault->fault == LOAD_CONNECT || fault->fault == LOAD_REFUSED)) {
		shard->connects_failed = true;
		wakeup_ring(&shard->load->wakeup);
	}
}

static void
conn_fault(struct conn *conn, enum load_fault fault, const struct rl_msg *stop)
{
	struct load_first_fault first = {
		.fault = fault,
		.conn = conn->number,
		.at_bytes = conn->received_bytes,
	};

	if (stop != NULL) {
		first.reason = stop->stop.reason;
		first.error = stop->stop.error;
	}
	if (!conn->faulty) {
		conn->faulty = true;
		shard_fault(conn->shard, &first);
	}
}

/* Open the shard's next connection if there is one; the first failure to connect ends it. */
static void
shard_open_next(struct rl_actor *self, struct load_shard *shard)
{
	const struct load *load = shard->load;
	struct load_first_fault fault = { .fault = LOAD_CONNECT, .reason = RL_REASON_FAILURE };

	uint32_t begun = atomic_load_explicit(&shard->conns_begun, memory_order_relaxed);

	if (begun == shard->conns_wanted || shard->connects_failed) {
		return;
	}
	fault.conn = shard->conns_first + begun;
	fault.error = rl_conn_open(self, load->options.url, &load->conn_def, shard,
				   load->options.conn, NULL);
	if (fault.error == 0) {
		shard_count_conn(shard, &shard->conns_begun);
		return;
	}
	if (fault.error == -EINVAL) {
		fault.fault = LOAD_REFUSED;
	}
	shard_fault(shard, &fault);
}

/* @count messages are due. */
static void
conn_enqueue(struct conn *conn, uint32_t count, uint64_t now_ns)
{
	const struct load_options *options = &conn->shard->load->options;
	uint32_t i;

	for (i = 0; i < count; i++) {
		uint32_t at = conn->oldest + conn->outstanding++;

		conn->stamps[at < options->depth ? at : at - options->depth] = now_ns;
	}
	conn->to_send_bytes += (uint64_t)count * options->size_bytes;
}

/* Send what is due, as far as the connection takes it. */
static int
conn_flush(struct rl_actor *self, struct conn *conn)
{
	const uint8_t *pattern = conn->shard->load->pattern;
	int rc;

	while (conn->to_send_bytes > 0 && !conn->full) {
		uint32_t piece = conn->to_send_bytes < LOAD_PIECE_MAX
					 ? (uint32_t)conn->to_send_bytes
					 : LOAD_PIECE_MAX;

		rc = rl_conn_send(self, pattern + conn->sent_at, piece);
		conn->full = rc == RL_CONN_SEND_HIGH || rc == -EAGAIN;
		if (rc == -EAGAIN) {
			return 0; /* nothing was taken */
		}
		if (rc < 0) {
			return rc;
		}
		conn->sent_at = (conn->sent_at + piece) % LOAD_PATTERN_PERIOD;
		conn->to_send_bytes -= piece;
	}
	return 0;
}

/* False: a byte is wrong. */
static bool
conn_verify(struct conn *conn, const uint8_t *data, size_t len)
{
	const uint8_t *pattern = conn->shard->load->pattern;

	while (len > 0) {
		uint32_t piece = len < LOAD_PIECE_MAX ? (uint32_t)len : LOAD_PIECE_MAX;

		if (memcmp(data, pattern + conn->received_at, piece) != 0) {
			return false;
		}
		conn->received_at = (conn->received_at + piece) % LOAD_PATTERN_PERIOD;
		conn->received_bytes += piece;
		data += piece;
		len -= piece;
	}
	return true;
}

/* @count messages have come back whole. */
static void
conn_count(struct conn *conn, uint32_t count, uint64_t now_ns, bool measured)
{
	struct load_shard *shard = conn->shard;
	uint32_t depth = shard->load->options.depth;
	uint32_t i;

	for (i = 0; i < count; i++) {
		if (measured) {
			histogram_add(&shard->latency, now_ns - conn->stamps[conn->oldest]);
		}
		conn->oldest = conn->oldest + 1 == depth ? 0 : conn->oldest + 1;
	}
	conn->outstanding -= count;
	shard->messages += measured ? count : 0;
	shard_add(&shard->echoes, count);
}

static int
conn_receive(struct rl_actor *self, struct conn *conn, const struct rl_msg *msg)
{
	struct load_shard *shard = conn->shard;
	uint32_t size_bytes = shard->load->options.size_bytes;
	uint64_t now_ns = rl_shard_now_ns(rl_actor_shard(self));
	bool measured = now_ns >= shard->window.begin_ns && now_ns < shard->window.end_ns;
	uint64_t owed_bytes = (uint64_t)conn->outstanding * size_bytes - conn->partial_bytes -
			      conn->to_send_bytes;
	uint64_t arrived = conn->partial_bytes + msg->recv.len;
	uint64_t count = arrived / size_bytes;

	if (msg->recv.len > owed_bytes) {
		conn_fault(conn, LOAD_SURPLUS, NULL);
		return -EBADMSG;
	}
	if (!conn_verify(conn, msg->recv.data, msg->recv.len)) {
		conn_fault(conn, LOAD_MISMATCH, NULL);
		return -EBADMSG;
	}
	conn->partial_bytes = (uint32_t)(arrived % size_bytes);
	shard->bytes += measured ? msg->recv.len : 0;
	conn_count(conn, (uint32_t)count, now_ns, measured);
	if (now_ns < shard->window.end_ns) {
		conn_enqueue(conn, (uint32_t)count, now_ns);
	} else if (conn->outstanding == 0) {
		return RL_ACTOR_STOP;
	}
	return conn_flush(self, conn);
}

static int
conn_start(struct rl_actor *self, struct load_shard *shard)
{
	struct conn *conn = rl_actor_state(self);

	conn->shard = shard;
	conn->number = shard->conns_first + shard->conns_numbered++;
	conn->sent_at = (uint32_t)((uint64_t)conn->number * LOAD_PHASE_STEP % LOAD_PATTERN_PERIOD);
	conn->received_at = conn->sent_at;
	return 0;
}

static int
conn_open(struct rl_actor *self, struct conn *conn)
{
	struct load_shard *shard = conn->shard;

	conn->opened = true;
	shard_count_conn(shard, &shard->conns_opened);
	shard_open_next(self, shard);
	conn_enqueue(conn, shard->load->options.depth, rl_shard_now_ns(rl_actor_shard(self)));
	return conn_flush(self, conn);
}

static void
conn_stop(struct conn *conn, const struct rl_msg *msg)
{
	if (!conn->opened && msg->stop.reason != RL_REASON_SHUTDOWN) {
		conn_fault(conn, LOAD_CONNECT, msg);
	} else if (msg->stop.reason != RL_REASON_LOCAL && msg->stop.reason != RL_REASON_SHUTDOWN) {
		conn_fault(conn, LOAD_BROKEN, msg);
	}
	shard_count_conn(conn->shard, &conn->shard->conns_ended);
}

static int
conn_message(struct rl_actor *self, const struct rl_msg *msg)
{
	struct conn *conn = rl_actor_state(self);

	switch (msg->kind) {
	case RL_MSG_START:
		return conn_start(self, msg->start.arg);
	case RL_MSG_OPEN:
		return conn_open(self, conn);
	case RL_MSG_RECV:
		return conn_receive(self, conn, msg);
	case RL_MSG_WRITABLE:
		conn->full = false;
		return conn_flush(self, conn);
	case RL_MSG_EOF:
		conn_fault(conn, LOAD_CLOSED, NULL);
		return RL_ACTOR_STOP;
	case RL_MSG_SHUTDOWN: /* the main thread has given up on us, or was told to stop */
		if (conn->outstanding > 0) {
			conn_fault(conn, LOAD_STALLED, NULL);
		}
		return RL_ACTOR_STOP;
	case RL_MSG_STOP:
		conn_stop(conn, msg);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

struct driver {
	struct load_shard *shard;
};

static int
driver_message(struct rl_actor *self, const struct rl_msg *msg)
{
	struct driver *driver = rl_actor_state(self);
	uint32_t i;

	switch (msg->kind) {
	case RL_MSG_START:
		driver->shard = msg->start.arg;
		for (i = 0; i < LOAD_CONNECTS_MAX; i++) {
			shard_open_next(self, driver->shard);
		}
		return 0;
	case LOAD_WINDOW:
		memcpy(&driver->shard->window, msg->user.data, sizeof(struct load_window));
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def driver_def = {
	.name = "driver",
	.receive = driver_message,
	.state_size = sizeof(struct driver),
};

static void
load_make_pattern(uint8_t *pattern)
{
	uint64_t random = 0x9E3779B97F4A7C15u; /* xorshift from a fixed seed */
	uint32_t i;

	for (i = 0; i < LOAD_PATTERN_PERIOD; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		pattern[i] = (uint8_t)(random >> 24);
	}
	for (; i < LOAD_PATTERN_PERIOD + LOAD_PIECE_MAX; i++) {
		pattern[i] = pattern[i - LOAD_PATTERN_PERIOD];
	}
}

void
load_init(struct load *load, uint32_t shards_count)
{
	uint32_t first = 0;
	uint32_t i;

	load_make_pattern(load->pattern);
	load->conn_def = (struct rl_actor_def){
		.name = "conn",
		.receive = conn_message,
		.state_size = sizeof(struct conn) + load->options.depth * sizeof(uint64_t),
	};
	load->shards_count = shards_count;
	for (i = 0; i < shards_count; i++) {
		struct load_shard *shard = &load->shards[i];

		shard->load = load;
		shard->conns_first = first;
		shard->conns_wanted = load->options.conns / shards_count +
				      (i < load->options.conns % shards_count ? 1 : 0);
		shard->window = (struct load_window){ UINT64_MAX, UINT64_MAX }; /* not yet */
		first += shard->conns_wanted;
	}
}

int
load_start(struct load *load, struct rl_system *sys, uint32_t shard)
{
	return rl_system_spawn(sys, shard, &driver_def, &load->shards[shard],
			       &load->shards[shard].driver);
}

int
load_set_window(const struct load *load, struct rl_system *sys, const struct load_window *window)
{
	uint32_t i;
	int rc = 0;

	/* Nobody else sends to these shards from outside: their inboxes have room. */
	for (i = 0; i < load->shards_count && rc == 0; i++) {
		rc = rl_system_send(sys, load->shards[i].driver, LOAD_WINDOW, window,
				    sizeof(*window));
	}
	return rc;
}

uint32_t
load_begun(const struct load *load)
{
	uint32_t sum = 0;
	uint32_t i;

	for (i = 0; i < load->shards_count; i++) {
		/* pairs with: shard_count_conn() */
		sum += atomic_load_explicit(&load->shards[i].conns_begun, memory_order_relaxed);
	}
	return sum;
}

uint32_t
load_opened(const struct load *load)
{
	uint32_t sum = 0;
	uint32_t i;

	for (i = 0; i < load->shards_count; i++) {
		/* pairs with: shard_count_conn() */
		sum += atomic_load_explicit(&load->shards[i].conns_opened, memory_order_relaxed);
	}
	return sum;
}

uint32_t
load_ended(const struct load *load)
{
	uint32_t sum = 0;
	uint32_t i;

	for (i = 0; i < load->shards_count; i++) {
		/* pairs with: shard_count_conn() */
		sum += atomic_load_explicit(&load->shards[i].conns_ended, memory_order_relaxed);
	}
	return sum;
}

uint64_t
load_echoes(const struct load *load)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < load->shards_count; i++) {
		/* pairs with: shard_add() */
		sum += atomic_load_explicit(&load->shards[i].echoes, memory_order_relaxed);
	}
	return sum;
}

uint64_t
load_faults(const struct load *load, enum load_fault fault)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < load->shards_count; i++) {
		/* pairs with: shard_add() */
		sum += atomic_load_explicit(&load->shards[i].faults[fault], memory_order_relaxed);
	}
	return sum;
}

uint64_t
load_faults_all(const struct load *load)
{
	uint64_t sum = 0;
	int fault;

	for (fault = LOAD_NO_FAULT + 1; fault < LOAD_FAULTS; fault++) {
		sum += load_faults(load, (enum load_fault)fault);
	}
	return sum;
}
