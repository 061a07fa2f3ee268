/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Peers that take too little: none of it (stall), not enough in a long time (output), or none of it
 * while others need the memory (eviction). Invariant: nobody is cut for what it did not take before
 * the kernel was asked. A send in flight can have been taken in part without a word, so it is
 * cancelled, and its result says how much.
 *
 * And peers whose input waits in the memory that others need for theirs: a hoard. There is no time
 * to ask, because what a connection that is being paused has received must go somewhere at once.
 */
#include <errno.h>

#include "net/conn.h"

/*
 * Eviction begins when less than a sixteenth of the pool is free. The offence of a connection is
 * what it holds, times how long its peer has taken nothing; what is put up with is a 32nd of what
 * is free, times evict_after_ns. So the worst go first, and patience shrinks with the memory.
 */
#define EVICT_BEGINS   16
#define EVICT_ENDS     8 /* no more go than it takes to have an eighth free */
#define EVICT_PART     32
#define EVICT_LEAST_NS 250000000 /* a lost packet is sent again sooner */
#define EVICT_PAUSE_NS 50000000 /* from one round to the next */
#define EVICT_SLOTS    512 /* are looked at in one turn */
#define EVICT_MS_MAX   ((uint64_t)1 << 31) /* so that the product of bytes and time fits */

/* Who has taken less than this part of what it holds has taken nothing. */
#define EVICT_TAKEN 64

void
rli_conn_look(struct conn *conn)
{
	conn->stalled = true;
	rli_conn_mark(conn);
}

uint64_t
rli_conn_overdue_ns(const struct conn *conn)
{
	const struct rl_config *config = conn->shard->config;

	if (config->output_timeout_ns < 0 || !conn_output_is_much(conn) ||
	    conn->out_first == NULL /* with TLS: no record of it was made yet */) {
		return UINT64_MAX;
	}
	return conn->out_first->filled_ns + (uint64_t)config->output_timeout_ns;
}

static void
evict_log(struct rl_shard *shard, const char *what, const char *knob, int64_t value_ns)
{
	rli_log_limited(shard->log, &shard->net->limit_evicted, shard->now_ns, RL_LOG_WARN,
			(int)shard->id,
			"a connection whose peer %s was ended: %u of %u KiB of send memory free "
			"(%s = %lld, send_pool_bytes = %zu)",
			what, rli_chunk_spans_free(&shard->send_pool) * (CHUNK_BYTES_MAX / 1024),
			shard->send_pool.spans_max * (CHUNK_BYTES_MAX / 1024), knob,
			(long long)value_ns, shard->config->send_pool_bytes);
}

/* It took nothing, and somebody's deadline wanted to know. */
static void
evict_judge_silent(struct conn *conn)
{
	if (conn_deadline_after(conn->send_since_ns, conn->stall_ms) <= conn->shard->now_ns) {
		rli_conn_deadline_passed(conn, RL_REASON_TIMEOUT_STALL);
	} else if (rli_conn_is_idle(conn)) {
		rli_conn_deadline_passed(conn, RL_REASON_TIMEOUT_IDLE);
	}
}

/* It took @taken bytes of what it was asked to take: is that enough to go on? */
static void
evict_judge(struct conn *conn, uint32_t taken, bool suspect, bool overdue)
{
	struct rl_shard *shard = conn->shard;
	const struct rl_config *config = shard->config;

	if (suspect && taken < conn->held_bytes / EVICT_TAKEN) {
		evict_log(shard, "takes nothing", "evict_after_ns", config->evict_after_ns);
		rli_conn_cut(conn, RL_REASON_EVICTED, -ENOBUFS);
	} else if (overdue && rli_conn_overdue_ns(conn) <= shard->now_ns) {
		evict_log(shard, "takes too little", "output_timeout_ns",
			  config->output_timeout_ns);
		rli_conn_cut(conn, RL_REASON_TIMEOUT_OUTPUT, -ETIMEDOUT);
	} else if (!suspect && !overdue && taken == 0) {
		evict_judge_silent(conn);
	}
}

void
rli_conn_looked(struct conn *conn, int32_t res)
{
	bool suspect = conn->suspect;
	bool overdue = conn->overdue;

	conn->stalled = false;
	conn->suspect = false;
	conn->overdue = false;
	if (res >= 0 || res == -ECANCELED) {
		evict_judge(conn, res > 0 ? (uint32_t)res : 0, suspect, overdue);
	}
	rli_conn_deadline_update(conn); /* the timer has come, and was not set again */
}

static bool
evict_is_wanted(const struct rl_shard *shard)
{
	return shard->config->evict_after_ns >= 0 &&
	       rli_chunk_spans_free(&shard->send_pool) < shard->send_pool.spans_max / EVICT_BEGINS;
}

static uint64_t
evict_ms(uint64_t ns)
{
	return ns / 1000000 < EVICT_MS_MAX ? ns / 1000000 : EVICT_MS_MAX;
}

/* What is put up with, in bytes and milliseconds. */
static uint64_t
evict_limit(const struct rl_shard *shard)
{
	uint64_t free_bytes = (uint64_t)rli_chunk_spans_free(&shard->send_pool) * CHUNK_BYTES_MAX;

	return free_bytes / EVICT_PART * evict_ms((uint64_t)shard->config->evict_after_ns);
}

static void
evict_consider(struct conn *conn, uint64_t limit)
{
	struct net *net = conn->shard->net;
	uint64_t quiet_ns = conn->shard->now_ns - conn->send_since_ns;

	bool quiet = quiet_ns >= EVICT_LEAST_NS && conn->held_bytes * evict_ms(quiet_ns) > limit;

	if ((conn->state != CONN_OPEN && conn->state != CONN_FLUSHING) || conn->stalled ||
	    conn->send.state != OP_ARMED || !quiet) {
		return;
	}
	conn->suspect = true;
	rli_conn_look(conn);
	net->evict_bytes -=
		net->evict_bytes < conn->held_bytes ? net->evict_bytes : conn->held_bytes;
}

/* A round ends when as many are suspected as it takes. */
static void
evict_round(struct rl_shard *shard)
{
	struct chunk_pool *pool = &shard->send_pool;

	shard->net->evict_left = shard->net->conns.slots_used;
	shard->net->evict_bytes =
		(size_t)(pool->spans_max / EVICT_ENDS - rli_chunk_spans_free(pool)) *
		CHUNK_BYTES_MAX;
}

void
rli_conn_evict_flush(struct rl_shard *shard)
{
	struct net *net = shard->net;

	if (!timer_is_armed(&net->evict_timer) && evict_is_wanted(shard)) {
		rli_wheel_start(&shard->wheel, &net->evict_timer, shard->now_ns + EVICT_PAUSE_NS);
	}
}

/* A clock's hand goes over all connections, some in each turn, and round after round. */
void
rli_conn_evict_due(struct rl_shard *shard)
{
	struct net *net = shard->net;
	uint64_t limit = evict_limit(shard);

	if (!evict_is_wanted(shard)) {
		net->evict_left = 0;
		return;
	}
	if (net->evict_left == 0) {
		evict_round(shard);
	}
	for (uint32_t n = 0; n < EVICT_SLOTS && net->evict_left > 0; n++) {
		net->evict_hand = (net->evict_hand + 1) % net->conns.slots_used;
		net->evict_left--;
		evict_consider(rli_slab_at(&net->conns, net->evict_hand), limit);
		if (net->evict_bytes == 0) {
			net->evict_left = 0;
		}
	}
	if (net->evict_left > 0) {
		rli_wheel_start(&shard->wheel, &net->evict_timer, shard->now_ns);
	}
}

/* ---- input that waits */

/* Where a hoard of @bytes is: up to 1 KiB on the first list, four times as much on each next. */
static uint32_t
hoard_number(uint32_t bytes)
{
	uint32_t number = 0;

	while (number < NET_HOARDS - 1 && bytes >> (10 + 2 * number) != 0) {
		number++;
	}
	return number;
}

void
rli_conn_hoard(struct conn *conn)
{
	list_remove(&conn->parked);
	list_push_back(&conn->shard->net->hoards[hoard_number(conn->arrived_bytes)], &conn->parked);
}

/* What is held, times how long nothing of it has moved; a millisecond more, so that it is not 0. */
static uint64_t
hoard_offence(const struct conn *conn)
{
	return conn->arrived_bytes * (evict_ms(conn->shard->now_ns - conn->active_ns) + 1);
}

/* Of those who have held each size for the longest the worst, but not @but; NULL: nobody else. */
static struct conn *
hoard_worst(struct net *net, const struct conn *but)
{
	struct conn *worst = NULL;

	for (uint32_t i = 0; i < NET_HOARDS; i++) {
		struct list_node *node = net->hoards[i].head.next;
		struct conn *conn;

		node = node == &but->parked ? node->next : node;
		if (node == &net->hoards[i].head) {
			continue;
		}
		conn = list_entry(node, struct conn, parked);
		if (worst == NULL || hoard_offence(conn) > hoard_offence(worst)) {
			worst = conn;
		}
	}
	return worst;
}

bool
rli_conn_evict_hoard(const struct conn *conn)
{
	struct rl_shard *shard = conn->shard;
	struct conn *worst =
		shard->config->evict_after_ns < 0 ? NULL : hoard_worst(shard->net, conn);

	if (worst == NULL) {
		rli_log_limited(shard->log, &shard->net->limit_hoard, shard->now_ns, RL_LOG_WARN,
				(int)shard->id,
				"a connection was ended: no memory for what it had received when "
				"it was paused (recv_pool_bytes = %zu)",
				shard->config->recv_pool_bytes);
		return false;
	}
	rli_log_limited(shard->log, &shard->net->limit_hoard, shard->now_ns, RL_LOG_WARN,
			(int)shard->id,
			"receive memory is short: a connection was ended whose input of %u KiB "
			"waited in it for %llu ms (recv_pool_bytes = %zu)",
			(worst->arrived_bytes + 1023) / 1024,
			(unsigned long long)evict_ms(shard->now_ns - worst->active_ns),
			shard->config->recv_pool_bytes);
	rli_conn_cut(worst, RL_REASON_EVICTED, -ENOBUFS);
	rli_conn_recv_discard(worst); /* nothing of it would be delivered any more */
	return true;
}
