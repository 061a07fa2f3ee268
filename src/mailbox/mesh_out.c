/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The sender's side of a pair. Invariants: obligations wait only while no block has room for them,
 * and then nothing is staged behind them; want_room is set whenever the sender waits for a block.
 */
#include "base/assert.h"
#include "base/mutant.h"
#include "mailbox/mesh.h"
#include "mailbox/mesh_pair.h"

/*
 * Blocks that are used before the reverse ring is looked at: each look costs the lines of that
 * ring, and an idle pair touches no more memory than these few.
 */
#define MESH_CYCLE 3

/*
 * Say so to @to, in one of its sets. pairs with: mesh_exchange() for what was pushed before;
 * seq_cst, because the caller looks at sleeping next: rli_mesh_is_quiet() is the other half
 */
static void
mesh_mark(const struct mesh_port *port, _Atomic uint64_t *set)
{
	atomic_fetch_or_explicit(&set[port->id / 64], (uint64_t)1 << port->id % 64,
				 memory_order_seq_cst);
}

static uint32_t
mesh_out_number(const struct mesh_port *port, const struct mesh_out *out)
{
	return (uint32_t)(out - port->out);
}

static void
mesh_dirty(struct mesh_port *port, struct mesh_out *out)
{
	if (!list_is_linked(&out->dirty)) {
		list_push_back(&port->dirty, &out->dirty);
	}
}

/* Behind those whose reports wait already. */
static void
mesh_report(struct mesh_port *port, struct mesh_block *block)
{
	block->next = NULL;
	if (port->reported == NULL) {
		port->reported = block;
	} else {
		port->reported_last->next = block;
	}
	port->reported_last = block;
}

/* Blocks that came back. */
static void
mesh_collect(struct mesh_port *port, struct mesh_out *out)
{
	struct mesh_entry entry;

	while (mesh_ring_pop(&out->pair->reverse, &out->home_at, &entry)) {
		struct mesh_block *block = &out->pair->blocks[entry.block];

		if (entry.tag != 0) {
			mesh_report(port, block);
		} else {
			RL_ASSERT(out->free_count < MESH_BLOCKS);
			out->free[out->free_count++] = block;
		}
	}
}

/* Ask to be told when a block comes home; then look once more. */
static void
mesh_want(struct mesh_port *port, struct mesh_out *out)
{
	if (!out->wants) {
		out->wants = true;
		/* pairs with: mesh_announce(); the fence orders it before our look */
		atomic_store_explicit(&out->pair->want_room, !RL_MUTANT(ROOM_NOT_WANTED),
				      memory_order_relaxed);
		atomic_thread_fence(memory_order_seq_cst);
	}
	mesh_collect(port, out);
}

/* On the pair's first use, so that idle pairs touch no memory. */
static void
mesh_open(struct mesh_port *port, struct mesh_out *out)
{
	struct mesh_pair *pair = out->pair;

	for (uint32_t i = 0; i < MESH_BLOCKS; i++) {
		struct mesh_block *block = &pair->blocks[MESH_BLOCKS - 1 - i];

		block->to = mesh_out_number(port, out);
		out->free[i] = block; /* the first is on top */
	}
	out->free_count = MESH_BLOCKS;
	out->opened = true;
	if (port->stopping) {
		mesh_want(port, out);
	}
}

static struct envelope *
mesh_staged_end(const struct mesh_out *out)
{
	return out->staged->envelopes + MESH_BLOCK_ENVELOPES;
}

/* Some room is left in the block that is being filled, held back or not. */
static bool
mesh_staged_has_room(const struct mesh_out *out)
{
	return out->staged != NULL && out->next != mesh_staged_end(out);
}

/* The next one in a block that has room; it leaves with the next flush, or is held back again. */
static struct envelope *
mesh_staged_next(struct mesh_port *port, struct mesh_out *out)
{
	mesh_dirty(port, out);
	out->end = mesh_staged_end(out);
	return out->next++;
}

/* A full block leaves when the next is begun: a receiver that is awake can go on meanwhile. */
static void
mesh_push_staged(struct mesh_port *port, struct mesh_out *out)
{
	uint32_t tag = (uint32_t)(out->next - out->staged->envelopes);

	RL_DEBUG_ASSERT(tag > 0);
	port->published += tag - out->obligations;
	if (!out->mixed) {
		tag |= MESH_TAG_NOTIFIES;
	}
	mesh_ring_push(&out->pair->forward, &out->pushed_at,
		       (struct mesh_entry){ (uint32_t)(out->staged - out->pair->blocks), tag });
	out->staged = NULL;
	out->next = NULL;
	out->end = NULL;
	if (!RL_MUTANT(MARK_FORGOTTEN)) {
		mesh_mark(port, port->mesh->ports[mesh_out_number(port, out)].inbound);
	}
	out->pushed = true; /* and the flush wakes the receiver if it sleeps */
	mesh_dirty(port, out);
}

/* The first lines of a block: rli_mesh_next() fetches the others. */
static void
mesh_fetch_block(const struct mesh_block *block)
{
	for (uint32_t i = 0; i < MESH_AHEAD; i++) {
		mesh_fetch(&block->envelopes[i]);
	}
}

/* The lines that publishing will write, while the block is being filled. */
static void
mesh_prefetch(const struct mesh_port *port, const struct mesh_out *out)
{
	const struct mesh_port *other = &port->mesh->ports[mesh_out_number(port, out)];

	__builtin_prefetch(&out->pair->forward.entries[out->pushed_at % MESH_RING_ENTRIES], 1);
	__builtin_prefetch(&other->inbound[port->id / 64], 1);
}

/* Under load, when block follows block: the next one's lines come while this one is filled. */
static void
mesh_fetch_ahead(const struct mesh_out *out)
{
	mesh_fetch_block(out->staged);
	if (out->free_count > 0) {
		mesh_fetch_block(out->free[out->free_count - 1]);
	}
}

static bool
mesh_next_block(struct mesh_port *port, struct mesh_out *out, uint32_t reserved)
{
	struct mesh_block *block;

	if (out->free_count <= reserved) {
		mesh_want(port, out);
		if (out->free_count <= reserved) {
			return false;
		}
	}
	block = out->free[--out->free_count];
	mesh_prefetch(port, out);
	block->reports = 0;
	out->staged = block;
	out->next = block->envelopes;
	out->mixed = false;
	out->obligations = 0;
	return true;
}

struct envelope *
rli_mesh_stage_block(struct mesh_port *port, uint32_t to, uint32_t reserved)
{
	struct mesh_out *out = &port->out[to];
	bool full = out->staged != NULL;

	RL_ASSERT(to != port->id);
	if (full) {
		if (mesh_staged_has_room(out)) {
			return mesh_staged_next(port, out);
		}
		mesh_push_staged(port, out);
	}
	if (reserved > 0 && !list_is_empty(&out->obliged)) {
		return NULL; /* they were first */
	}
	if (!out->opened) {
		mesh_open(port, out);
	} else if (out->free_count <= MESH_BLOCKS - MESH_CYCLE) {
		mesh_collect(port, out);
	}
	if (!mesh_next_block(port, out, reserved)) {
		return NULL;
	}
	if (full) {
		mesh_fetch_ahead(out);
	}
	return mesh_staged_next(port, out);
}

/* NULL: not even a reserved block has room. */
static struct envelope *
mesh_stage_obligation(struct mesh_port *port, struct mesh_out *out)
{
	struct envelope *envelope = rli_mesh_stage_block(port, mesh_out_number(port, out), 0);

	if (envelope != NULL) {
		out->mixed = true;
		out->obligations++;
	}
	return envelope;
}

bool
rli_mesh_oblige(struct mesh_port *port, uint32_t to, struct obligation *obligation)
{
	struct mesh_out *out = &port->out[to];
	struct envelope *envelope = NULL;

	RL_ASSERT(!rli_obligation_waits(obligation));
	if (list_is_empty(&out->obliged)) {
		envelope = mesh_stage_obligation(port, out);
	}
	if (envelope == NULL && RL_MUTANT(OBLIGATION_OVERTAKEN)) {
		list_push_front(&out->obliged, &obligation->node);
		return false;
	}
	if (envelope == NULL) {
		list_push_back(&out->obliged, &obligation->node);
		return false;
	}
	*envelope = obligation->envelope;
	return true;
}

/* What waited goes first, in order. */
static void
mesh_place_obliged(struct mesh_port *port, struct mesh_out *out)
{
	struct envelope *envelope;

	while (!list_is_empty(&out->obliged)) {
		struct obligation *obligation =
			list_entry(list_first(&out->obliged), struct obligation, node);

		envelope = mesh_stage_obligation(port, out);
		if (envelope == NULL) {
			return;
		}
		list_remove(&obligation->node);
		*envelope = obligation->envelope;
		if (obligation->last) {
			list_push_back(&port->sent, &obligation->node);
		}
	}
}

bool
rli_mesh_has_room(const struct mesh_port *port, uint32_t to)
{
	const struct mesh_out *out = &port->out[to];

	return mesh_staged_has_room(out) ||
	       (list_is_empty(&out->obliged) && (!out->opened || out->free_count > MESH_RESERVED));
}

/* The sender no longer waits for a block of this pair? */
static void
mesh_want_no_more(const struct mesh_port *port, struct mesh_out *out)
{
	if (out->wants && !port->stopping && list_is_empty(&out->obliged) &&
	    list_is_empty(&out->waiters) && out->staged == NULL) {
		out->wants = false;
		/* pairs with: mesh_announce(); who still sees 1 marks us needlessly */
		atomic_store_explicit(&out->pair->want_room, 0, memory_order_relaxed);
	}
}

void
rli_mesh_home(struct mesh_port *port, uint32_t to)
{
	struct mesh_out *out = &port->out[to];

	if (out->opened) {
		mesh_collect(port, out); /* others may have collected what we were told of */
		mesh_place_obliged(port, out);
		if (out->staged != NULL && !RL_MUTANT(HELD_BACK_FORGOTTEN)) {
			mesh_dirty(port, out); /* a block that was held back may go now */
		}
	}
	mesh_want_no_more(port, out);
}

struct mesh_block *
rli_mesh_reported(struct mesh_port *port)
{
	struct mesh_block *block = port->reported;

	if (block != NULL) {
		port->reported = RL_MUTANT(REPORTS_REST_FORGOTTEN) ? NULL : block->next;
	}
	return block;
}

void
rli_mesh_reports_done(struct mesh_port *port, struct mesh_block *block)
{
	struct mesh_out *out = &port->out[block->to];

	block->reports = 0;
	RL_ASSERT(out->free_count < MESH_BLOCKS);
	out->free[out->free_count++] = block;
	mesh_place_obliged(port, out);
	if (out->staged != NULL) {
		mesh_dirty(port, out);
	}
	if (!list_is_empty(&out->waiters)) {
		rli_mesh_homing_again(port, block->to);
	}
}

/* A block that is not full may leave as long as enough others are at home. */
static bool
mesh_staged_may_leave(const struct mesh_out *out)
{
	return !mesh_staged_has_room(out) || MESH_BLOCKS - out->free_count <= MESH_PARTIAL_MAX;
}

/* True: something was pushed. */
static bool
mesh_flush_out(struct mesh_port *port, struct mesh_out *out)
{
	if (out->staged != NULL && !mesh_staged_may_leave(out)) {
		mesh_want(port, out); /* held back until a block comes home */
		mesh_place_obliged(port, out);
	}
	if (out->staged != NULL && mesh_staged_may_leave(out)) {
		mesh_push_staged(port, out);
	}
	out->end = out->next; /* from now on whoever stages says so: see mesh_staged_next() */
	list_remove(&out->dirty);
	if (!out->pushed) {
		return false;
	}
	out->pushed = false;
	return true;
}

static bool
mesh_publish(struct mesh_port *port, uint64_t *wake)
{
	bool any = false;

	while (!list_is_empty(&port->dirty)) {
		struct mesh_out *out = list_entry(list_first(&port->dirty), struct mesh_out, dirty);

		if (mesh_flush_out(port, out)) {
			uint32_t to = mesh_out_number(port, out);

			mesh_set_add(wake, to);
			any = true;
		}
	}
	return any;
}

/* Owners of returned blocks that must hear of it; the caller has fenced after the returns. */
static bool
mesh_announce(struct mesh_port *port, uint64_t *wake)
{
	bool any = false;

	for (uint32_t w = 0; w * 64 < port->shards; w++) {
		for (uint64_t left = port->returned[w]; left != 0; left &= left - 1) {
			uint32_t owner = w * 64 + (uint32_t)__builtin_ctzll(left);
			struct mesh_pair *pair = mesh_inbound_pair(port, owner);

			/* pairs with: mesh_want(), the other half of the handshake */
			if (port->told[w] >> owner % 64 & 1 ||
			    (atomic_load_explicit(&pair->want_room, memory_order_relaxed) != 0 &&
			     !RL_MUTANT(WANT_NOT_LOOKED_AT))) {
				mesh_mark(port, port->mesh->ports[owner].homing);
				mesh_set_add(wake, owner);
				any = true;
			}
		}
		port->returned[w] = 0;
		port->told[w] = 0;
	}
	port->any_returned = false;
	return any;
}

bool
rli_mesh_flush(struct mesh_port *port, uint64_t *wake)
{
	bool any = mesh_publish(port, wake);

	if (!any && !port->any_returned) {
		return false;
	}
	/*
	 * One fence for both handshakes: it stands between what was pushed and marked, and our
	 * looks at want_room and, by the caller, at sleeping. pairs with: mesh_want(),
	 * rli_sleep_begin()
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (port->any_returned && mesh_announce(port, wake)) {
		atomic_thread_fence(memory_order_seq_cst); /* the same, for these marks */
		any = true;
	}
	return any;
}

void
rli_mesh_stop(struct mesh_port *port)
{
	port->stopping = true;
	for (uint32_t to = 0; to < port->shards; to++) {
		if (port->out[to].opened) {
			mesh_want(port, &port->out[to]);
		}
	}
}

bool
rli_mesh_is_home(const struct mesh_port *port)
{
	for (uint32_t to = 0; to < port->shards; to++) {
		const struct mesh_out *out = &port->out[to];

		if (out->opened &&
		    (out->free_count != MESH_BLOCKS || !list_is_empty(&out->obliged))) {
			return false;
		}
	}
	return true;
}
