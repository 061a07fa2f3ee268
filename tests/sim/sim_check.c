/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_check.h"

#include <stdio.h>
#include <string.h>

#include "actor/actor.h"
#include "base/host.h"
#include "mailbox/mesh.h"
#include "net/conn.h"
#include "net/handover.h"
#include "net/net.h"
#include "system.h"

#include "sim_kernel.h"
#include "sim_world.h"

/* Turns in a row that neither waited nor did anything: more than a handful is a busy loop. */
#define IDLE_TURNS_MAX 200
#define CHECK_SHARDS   256
#define EVICT_LEAST_NS 250000000

struct check_shard {
	uint64_t reaped;
	uint64_t worked;
	uint64_t submitted;
	uint64_t talked;
	uint64_t late;
	uint64_t delivered;
	uint64_t now_ns;
	uint64_t spins;
	uint64_t spins_hit;
	uint64_t sealed;
	uint32_t idle_turns;
	bool shakes; /* the turn is of handshakes */
};

static struct check_shard check_shards[CHECK_SHARDS];

void
sim_check_reset(void)
{
	memset(check_shards, 0, sizeof(check_shards));
	sim_check_limits_reset();
}

static uint64_t
check_counter(const struct rl_shard *shard, size_t offset)
{
	return atomic_load_explicit(&shard->counters.words[offset / sizeof(uint64_t)],
				    memory_order_relaxed);
}

#define COUNTER(shard, field) check_counter((shard), offsetof(struct rl_stats, field))

/* What handlers and hooks were told, and what was lost on the way. */
static uint64_t
check_talked(const struct rl_shard *shard)
{
	return COUNTER(shard, msgs_delivered) + COUNTER(shard, msgs_sent) +
	       COUNTER(shard, undelivered.full) + COUNTER(shard, undelivered.gone) +
	       COUNTER(shard, undelivered.stopping) + COUNTER(shard, actors_stopped);
}

/* What waits to be decrypted: one receive can be hundreds of records, and as many turns. */
static uint64_t
check_sealed(const struct rl_shard *shard)
{
	uint64_t sum = 0;

	for (uint32_t slot = 0; slot < shard->net->conns.slots_used; slot++) {
		const struct conn *conn = rli_slab_at(&shard->net->conns, slot);

		if (conn->state != CONN_FREE && conn->tls != NULL) {
			sum = sim_mix(sum ^ conn->arrived_bytes) + rli_conn_input_front(conn).len;
		}
	}
	return sum;
}

void
sim_check_turn_begin(const struct rl_shard *shard)
{
	struct check_shard *check = &check_shards[shard->id];

	check->reaped = shard->ring->reaped;
	check->worked = shard->ring->worked;
	check->submitted = shard->ring->submitted;
	check->talked = check_talked(shard);
	check->delivered = sim_world.events;
	check->now_ns = sim_world.now_ns;
	check->sealed = check_sealed(shard);
	check->spins = COUNTER(shard, spins);
	check->spins_hit = COUNTER(shard, spins_hit);
	check->shakes = shard->net->tls_turn;
}

bool
sim_check_is_polling(const struct rl_shard *shard)
{
	const struct check_shard *check = &check_shards[shard->id];

	return COUNTER(shard, spins) != check->spins &&
	       COUNTER(shard, spins_hit) == check->spins_hit;
}

/*
 * INV-8: a turn that did nothing is followed by a sleep, or by polling until the kernel has work,
 * which need not complete anything: the next part of a long send.
 */
static void
check_spin(const struct rl_shard *shard)
{
	struct check_shard *check = &check_shards[shard->id];
	const struct ring *ring = shard->ring;
	bool polled =
		COUNTER(shard, spins_hit) != check->spins_hit && ring->worked != check->worked;

	if (ring->asleep || polled || ring->reaped != check->reaped ||
	    ring->submitted != check->submitted || check_talked(shard) != check->talked ||
	    check_sealed(shard) != check->sealed) {
		check->idle_turns = 0;
		return;
	}
	check->idle_turns++;
	sim_check(check->idle_turns < IDLE_TURNS_MAX,
		  "INV-8: shard %u turned %u times without doing anything or going to sleep",
		  shard->id, check->idle_turns);
}

/* INV-2: the kernel's view of the buffers against the product's. */
static void
check_buffers(struct rl_shard *shard)
{
	const struct bufring *bufring = &shard->bufring;
	struct sk_group *group = &shard->ring->group;
	uint64_t lent = COUNTER(shard, bufs_lent) - COUNTER(shard, bufs_home);
	uint32_t in_cqes;

	if (!group->registered) {
		return;
	}
	sk_group_scan(group);
	sim_check(bufring->home + lent == bufring->count,
		  "INV-2: %u buffers are home and %llu lent, of %u", bufring->home,
		  (unsigned long long)lent, bufring->count);
	sim_check(group->home <= bufring->home,
		  "INV-2: the kernel has more buffers than it was given");
	in_cqes = bufring->home - group->home;
	if (shard->ring->asleep) {
		sim_check(!bufring->unpublished,
			  "a shard went to sleep with buffers that it did not publish");
		sim_check(in_cqes <= sk_cq_count(shard->ring) + shard->ring->overflow_len,
			  "INV-2: %u buffers are nowhere", in_cqes);
	}
}

/* What happens to the mesh by itself, so that it is known whether it does. */
static void
check_mesh(struct rl_shard *shard)
{
	struct check_shard *check = &check_shards[shard->id];
	const struct mesh_port *port = shard->port;
	uint64_t late = COUNTER(shard, replies_late);

	for (uint32_t to = 0; to < port->shards; to++) {
		if (!port->out[to].opened) {
			continue;
		}
		sim_check(port->out[to].wants || (port->out[to].staged == NULL &&
						  list_is_empty(&port->out[to].obliged) &&
						  list_is_empty(&port->out[to].waiters)),
			  "INV-7: shard %u waits for blocks from %u and did not say so", shard->id,
			  to);
		if (port->out[to].staged != NULL) {
			sim_fault_count(FAULT_MESH_HELD_BACK);
		}
		if (!list_is_empty(&port->out[to].obliged)) {
			sim_fault_count(FAULT_MESH_OBLIGED);
		}
	}
	if (late != check->late) {
		sim_fault_count(FAULT_REPLY_LATE);
		check->late = late;
	}
}

static void
check_chunks(const struct chunk *chunk, uint32_t *bytes, uint32_t *held)
{
	for (; chunk != NULL; chunk = chunk->next) {
		*bytes += chunk->end - chunk->start;
		*held += chunk->capacity;
	}
}

/* INV-2: a handshake in line keeps no buffer, but what has come and was not looked at yet. */
static void
check_line(const struct conn *conn)
{
	sim_check(!conn_is_in_line(conn) || conn->lent_first == BUFRING_NONE ||
			  list_is_linked(&conn->dirty) || list_is_linked(&conn->actor->ready),
		  "INV-2: a handshake waits in line, and in receive buffers");
	sim_check(!conn->tls->called || list_is_linked(&conn->actor->ready),
		  "INV-7: a step was promised to who does not run");
}

/* INV-7: every other turn is everybody's, the ones between are of handshakes while any wait. */
static void
check_line_turns(const struct rl_shard *shard)
{
	const struct check_shard *check = &check_shards[shard->id];

	sim_check(!check->shakes || shard->ring->reaped == check->reaped,
		  "INV-7: shard %u takes requests in ahead of a handshake's step", shard->id);
	sim_check(!check->shakes || !shard->net->tls_turn,
		  "INV-7: shard %u has two turns of handshakes in a row", shard->id);
	sim_check(!shard->ring->asleep || list_is_empty(&shard->net->tls_waiting),
		  "INV-7: shard %u sleeps with handshakes in line", shard->id);
}

/* INV-11: what a session made is the connection's; INV-7: no handshake goes on for ever. */
static void
check_tls(const struct conn *conn)
{
	uint32_t timeout_ms = conn->tls->handshake_ms;

	sim_check(conn->tls->session.out_first == NULL, "INV-11: records were left in a session");
	if (!conn_is_shaking(conn) || conn->state != CONN_OPEN ||
	    conn->actor->life == ACTOR_ENDING || conn->eof_seen || timeout_ms == DEADLINE_NONE) {
		return;
	}
	sim_check(conn->until_ns != 0 && (timer_is_armed(&conn->timer) || conn->stalled),
		  "INV-7: a handshake may take for ever");
	sim_check(conn->until_ns <= conn_deadline_after(sim_world.now_ns, timeout_ms),
		  "INV-7: a handshake may take another %llu ns",
		  (unsigned long long)(conn->until_ns - sim_world.now_ns));
}

/* INV-10: what a connection counts as its own is what it has of the pool. */
static void
check_output(const struct rl_shard *shard)
{
	for (uint32_t slot = 0; slot < shard->net->conns.slots_used; slot++) {
		const struct conn *conn = rli_slab_at(&shard->net->conns, slot);
		uint32_t bytes = 0;
		uint32_t held = 0;

		if (conn->state != CONN_FREE) {
			check_chunks(conn->out_first, &bytes, &held);
		}
		if (conn->state != CONN_FREE && conn->tls != NULL) {
			check_chunks(conn->tls->plain_first, &bytes, &held);
			check_tls(conn);
			check_line(conn);
		}
		sim_check(conn->state == CONN_FREE || conn->actor->reason != RL_REASON_EVICTED ||
				  conn->actor->life != ACTOR_ENDING ||
				  sim_world.now_ns >= conn->send_since_ns + EVICT_LEAST_NS,
			  "INV-10: evicted after %llu ns",
			  (unsigned long long)(sim_world.now_ns - conn->send_since_ns));
		sim_check(conn->state == CONN_FREE ||
				  (bytes == conn->out_bytes && held == conn->held_bytes),
			  "INV-10: %u bytes in chunks of %u, counted as %u and %u", bytes, held,
			  conn->out_bytes, conn->held_bytes);
	}
}

/* INV-7: who has no room for records waits for chunks that are on their way, or for time. */
static void
check_records_wait(const struct rl_shard *shard)
{
	const struct net *net = shard->net;
	bool comes = timer_is_armed(&net->starved_timer) || !list_is_empty(&net->dirty) ||
		     list_is_empty(&net->tls_starved);

	for (uint32_t slot = 0; !comes && slot < net->conns.slots_used; slot++) {
		const struct conn *conn = rli_slab_at(&net->conns, slot);

		comes = conn->state != CONN_FREE && !op_is_idle(&conn->send);
	}
	sim_check(comes, "INV-7: shard %u has no room for records, and nothing will change that",
		  shard->id);
}

void
sim_check_turn_end(struct rl_shard *shard)
{
	check_records_wait(shard);
	check_line_turns(shard);
	check_mesh(shard);
	check_output(shard);
	check_buffers(shard);
	check_spin(shard);
	sim_check_limits_turn_end(shard);
	sim_check(COUNTER(shard, cqes_unknown) == 0, "a completion was nobody's");
	sim_check(rli_host_pages_committed() < (size_t)1 << 30,
		  "INV-10: a gigabyte of memory for this little world");
}

static bool
pending_inbox(const struct rl_shard *shard)
{
	return !rli_inbox_is_empty(shard->inbox);
}

static bool
pending_drain(const struct rl_shard *shard)
{
	return rli_system_drain_level(shard->system) > (uint32_t)shard->drain;
}

/* Not rli_mesh_is_quiet(), which is what is tested. */
bool
sim_check_is_marked(const struct rl_shard *shard)
{
	uint64_t any = 0;

	for (uint32_t w = 0; w < MESH_WORDS; w++) {
		any |= atomic_load_explicit(&shard->port->inbound[w], memory_order_relaxed);
		any |= atomic_load_explicit(&shard->port->homing[w], memory_order_relaxed);
	}
	return any != 0;
}

static bool
pending_mesh(const struct rl_shard *shard)
{
	return sim_check_is_marked(shard);
}

static bool
pending_handover(const struct rl_shard *shard)
{
	return rli_listener_may_adopt(shard);
}

/*
 * What others leave for a shard. One that sleeps with any of it, when no wake-up is on its way,
 * sleeps for ever. Whatever is pushed by a new way gets a row here.
 */
static const struct {
	bool (*pending)(const struct rl_shard *shard);
	const char *what;
} check_pending[] = {
	{ pending_inbox, "its inbox is not empty" },
	{ pending_mesh, "another shard's bit is set" },
	{ pending_handover, "it was handed a socket" },
	{ pending_drain, "the system drains or ends" },
};

void
sim_check_poll(const struct rl_shard *shard)
{
	for (size_t i = 0; i < sizeof(check_pending) / sizeof(check_pending[0]); i++) {
		sim_check(!check_pending[i].pending(shard), "INV-7: shard %u polls on although %s",
			  shard->id, check_pending[i].what);
	}
}

void
sim_check_sleeper(const struct rl_shard *shard)
{
	const struct ring *ring = shard->ring;

	if (!ring->asleep || sk_ring_is_wakeable(ring)) {
		return;
	}
	/* a bounded wait in a backlog is no sleep: it ends by itself */
	if (ring->min_ns != UINT64_MAX &&
	    ring->work_len + ring->overflow_len + sk_cq_count(ring) > 0) {
		return;
	}
	for (size_t i = 0; i < sizeof(check_pending) / sizeof(check_pending[0]); i++) {
		sim_check(!check_pending[i].pending(shard) || sk_wake_is_on_its_way(ring),
			  "INV-7: lost wake-up: shard %u sleeps and %s", shard->id,
			  check_pending[i].what);
	}
	sim_check(list_is_empty(&shard->actors->ready), "shard %u sleeps with ready actors",
		  shard->id);
	sim_check(sk_op_find(shard->ring, (uintptr_t)&shard->wake_op) != NULL,
		  "shard %u sleeps and does not read its eventfd", shard->id);
}

static void
check_mesh_silent(const struct rl_shard *shard)
{
	const struct actors *actors = shard->actors;

	/* a silent shard may have answered one that was not, and its block come home since */
	for (uint32_t to = 0; to < shard->port->shards; to++) {
		rli_mesh_home(shard->port, to);
	}
	sim_check(actors->bufs_away == 0, "shard %u: counted buffers are away", shard->id);
	sim_check(rli_mesh_is_home(shard->port), "shard %u: a block is not home", shard->id);
	sim_check(actors->requests.taken == 0, "shard %u: %u requests were left", shard->id,
		  actors->requests.taken);
	sim_check(actors->promises.taken == 0, "shard %u: %u promises were left", shard->id,
		  actors->promises.taken);
	sim_check(actors->leases.taken == 0, "shard %u: %u leases were left", shard->id,
		  actors->leases.taken);
	sim_check(actors->forwards.taken == 0 && shard->net->outlets.taken == 0,
		  "shard %u: somebody still waits to forward", shard->id);
	sim_check(actors->rooms.taken == 0, "shard %u: %u rooms were left", shard->id,
		  actors->rooms.taken);
}

void
sim_check_silent(const struct rl_shard *shard)
{
	const struct ring *ring = shard->ring;
	struct list_node *node;

	sim_check(shard->net->conns_count == 0, "a connection was left");
	sim_check(shard->actors->live == 0, "an actor was left");
	sim_check(shard->bufring.home == shard->bufring.count, "INV-2: a buffer did not come home");
	sim_check(shard->send_pool.chunks_taken == 0, "%u send chunks were left",
		  shard->send_pool.chunks_taken);
	sim_check(shard->recv_pool.chunks_taken == 0, "%u receive chunks were left",
		  shard->recv_pool.chunks_taken);
	sim_check(shard->net->conns.taken == 0 && shard->net->pendings.taken == 0 &&
			  shard->net->connects.taken == 0 && shard->net->accepts.taken == 0,
		  "a slot of the network's was left");
	sim_check(shard->net->peers.slab.taken == 0, "%u peers are counted, and none is left",
		  shard->net->peers.slab.taken);
	sim_check(shard->net->tlses.taken == 0 && shard->net->tls_shaking == 0 &&
			  shard->net->tls_called == 0 && list_is_empty(&shard->net->tls_starved),
		  "a TLS session was left");
	sim_check(shard->net->lookups == 0, "%u lookups were left", shard->net->lookups);
	sim_check(shard->net->handover == NULL || rli_handover_count(shard->net->handover) == 0,
		  "a socket that was handed over was left");
	sim_check(shard->actors->timers.taken == 0 &&
			  rli_letters_taken(&shard->actors->letters) == 0,
		  "a timer or an envelope was left");
	check_mesh_silent(shard);
	for (node = ring->ops.head.next; node != &ring->ops.head; node = node->next) {
		const struct sk_op *op = list_entry(node, struct sk_op, node);

		sim_check(op->user_data == (uintptr_t)&shard->wake_op ||
				  op->user_data == OP_USER_DATA_WOKEN ||
				  op->sqe.opcode == IORING_OP_MSG_RING,
			  "INV-5: the kernel still holds a request (opcode %d)", op->sqe.opcode);
	}
}

void
sim_check_clerk(const struct rl_system *system)
{
	for (uint32_t i = 0; i < CLERK_JOBS; i++) {
		sim_check(system->clerk.jobs[i].state != CLERK_OPEN,
			  "a listener has outlived its actor");
	}
}

void
sim_check_balance(const struct rl_stats *stats)
{
	uint64_t closed = 0;

	for (int i = 0; i < RL_REASON_COUNT; i++) {
		closed += stats->closed[i];
	}
	sim_check(stats->accepted + stats->opened == closed,
		  "INV-12: accepted %llu + opened %llu != closed %llu",
		  (unsigned long long)stats->accepted, (unsigned long long)stats->opened,
		  (unsigned long long)closed);
	sim_check(stats->msgs_sent == stats->msgs_delivered + stats->undelivered.full +
					      stats->undelivered.gone + stats->undelivered.stopping,
		  "INV-12: %llu messages sent, %llu delivered, %llu full, %llu gone, %llu stopping",
		  (unsigned long long)stats->msgs_sent, (unsigned long long)stats->msgs_delivered,
		  (unsigned long long)stats->undelivered.full,
		  (unsigned long long)stats->undelivered.gone,
		  (unsigned long long)stats->undelivered.stopping);
	sim_check(stats->drain_conns == stats->drain_ended + stats->drain_cut,
		  "INV-12: %llu connections when the drain began, %llu ended, %llu cut",
		  (unsigned long long)stats->drain_conns, (unsigned long long)stats->drain_ended,
		  (unsigned long long)stats->drain_cut);
	sim_check(stats->drains_over == stats->drains && stats->drains_cut <= stats->drains,
		  "INV-12: %llu shards drained, %llu cut, %llu silent",
		  (unsigned long long)stats->drains, (unsigned long long)stats->drains_cut,
		  (unsigned long long)stats->drains_over);
	sim_check(stats->closed[RL_REASON_TIMEOUT_DRAIN] <= stats->drain_cut,
		  "INV-12: more connections ended by the drain's deadline than were cut");
	sim_check(stats->refused_rate + stats->refused_peer <= stats->refused,
		  "INV-12: refused by the rate or for the peer, and not counted as refused");
	sim_check(stats->bufs_lent == stats->bufs_home, "INV-12: buffers lent and home differ");
	sim_check(stats->shared_bufs_taken == stats->shared_bufs_freed,
		  "INV-12: counted buffers taken and freed differ");
	sim_check(stats->actors_started == stats->actors_stopped,
		  "INV-12: actors started %llu, stopped %llu",
		  (unsigned long long)stats->actors_started,
		  (unsigned long long)stats->actors_stopped);
	sim_check(stats->msgs_sent == stats->msgs_delivered + stats->undelivered.full +
					      stats->undelivered.gone + stats->undelivered.stopping,
		  "INV-12: messages sent %llu, delivered %llu",
		  (unsigned long long)stats->msgs_sent, (unsigned long long)stats->msgs_delivered);
}

static void
explain_conn(const struct conn *conn)
{
	fprintf(stderr,
		"  conn state %u life %u reason %u: recv %u send %u control %u, out %u, eof %d "
		"input_error %d paused %d again %d held %d parked %d abort %d\n",
		conn->state, conn->actor->life, conn->actor->reason, conn->recv.state,
		conn->send.state, conn->control.state, conn->out_bytes, conn->eof_seen,
		conn->input_error, conn->paused, conn->again, conn->held,
		list_is_linked(&conn->parked), conn->abort);
	if (conn->tls != NULL) {
		fprintf(stderr,
			"    tls ready %d error %d ended %d said %d readable %d, records wait %d, "
			"input %u, plain %d\n",
			conn->tls->session.ready, conn->tls->session.error,
			conn->tls->session.ended, conn->tls->session.said,
			conn->tls->session.readable, conn->records_wait,
			rli_conn_input_front(conn).len, conn->tls->plain_first != NULL);
	}
}

void
sim_check_explain(const struct rl_system *system, uint32_t shards)
{
	for (uint32_t i = 0; i < shards; i++) {
		struct rl_shard *shard = rli_system_shard(system, i);

		fprintf(stderr, "shard %u: asleep %d, %u conns, %u actors, buffers home %u of %u\n",
			i, shard->ring->asleep, shard->net->conns_count, shard->actors->live,
			shard->bufring.home, shard->bufring.count);
		for (uint32_t slot = 0; slot < shard->net->conns.slots_used; slot++) {
			const struct conn *conn = rli_slab_at(&shard->net->conns, slot);

			if (conn->state != CONN_FREE) {
				explain_conn(conn);
			}
		}
	}
}
