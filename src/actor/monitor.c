/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Leases. Invariants: a lease gives at most one RL_MSG_DOWN, and exactly one unless it was
 * released; its slot is free only when its far half is home.
 */
#include "actor/monitor.h"

#include <errno.h>
#include <string.h>

#include <ringline/monitor.h>

#include "actor/actor_run.h"
#include "base/mutant.h"

static struct envelope
lease_envelope(const struct rl_shard *shard, struct lease *lease, enum envelope_class class)
{
	return (struct envelope){
		.ref = (uintptr_t)lease,
		.to = lease->target,
		.class = (uint8_t)class,
		.shard = (int16_t)shard->id,
	};
}

/* Ends that no linked actor shares. */
static bool
lease_is_normal(enum rl_reason reason)
{
	return reason == RL_REASON_LOCAL || reason == RL_REASON_PEER_FIN ||
	       reason == RL_REASON_SHUTDOWN;
}

/* Both halves are home. */
static void
lease_free(struct rl_shard *shard, struct lease *lease)
{
	RL_ASSERT(lease->home == shard->id);
	list_remove(&lease->tie.node);
	lease->watcher = NULL;
	lease->released = false;
	rli_slab_give(&shard->actors->leases, lease);
}

/* The watcher's half: the watched one has ended. */
static void
lease_down(struct rl_shard *shard, struct lease *lease, enum rl_reason reason, int error)
{
	struct rl_actor *watcher = lease->watcher;

	if (lease->released && !RL_MUTANT(DOWN_AFTER_DEMONITOR)) {
		return; /* LEASE_HOME is on its way */
	}
	if (!lease->link) {
		lease->over = true;
		lease->reason = (uint8_t)reason;
		lease->error = error;
		rli_tie_notice(watcher, &lease->tie);
		return;
	}
	lease_free(shard, lease);
	if (!lease_is_normal(reason)) {
		rli_actor_end(watcher, RL_REASON_LINKED, error);
	}
}

/* The watched one's half: say that it has ended. */
static void
lease_tell_down(struct rl_shard *shard, struct lease *lease, enum rl_reason reason, int error)
{
	if (lease->home == shard->id) {
		lease_down(shard, lease, reason, error);
		return;
	}
	lease->far.envelope = lease_envelope(shard, lease, ENVELOPE_DOWN);
	lease->far.envelope.kind = (uint32_t)reason;
	memcpy(lease->far.envelope.payload, &error, sizeof(error));
	(void)rli_mesh_oblige(shard->port, lease->home, &lease->far); /* sent, or it waits */
}

/*
 * Who had this id, as long as it holds what it asked for, which may be a name: whoever is told of
 * its end before could not have that yet. NULL: nobody.
 */
static struct rl_actor *
lease_ended_before(const struct rl_shard *shard, uint64_t id)
{
	struct rl_actor *actor = rli_slab_at(&shard->actors->slab, id_slot(id));

	if (actor == NULL || actor->life != ACTOR_ENDING || actor->id != ACTOR_ID_FREE(id) ||
	    list_is_empty(&actor->held)) {
		return NULL;
	}
	return actor;
}

/* The watched one's half: begin. */
static void
lease_watch(struct rl_shard *shard, struct lease *lease)
{
	struct rl_actor *actor = rli_actor_resolve(shard, lease->target);

	lease->late = actor == NULL;
	if (actor == NULL && !lease->link) {
		actor = lease_ended_before(shard, lease->target);
	}
	if (actor == NULL) {
		lease_tell_down(shard, lease, RL_REASON_GONE, 0);
		return;
	}
	rli_tie_init(&lease->watched, TIE_WATCHED, &actor->owed);
}

/* The watched one's half: end it. The caller gives the lease home. */
static void
lease_unwatch(struct rl_shard *shard, struct lease *lease, enum envelope_class class,
	      enum rl_reason reason, int error)
{
	struct rl_actor *actor = rli_actor_resolve(shard, lease->target);

	list_remove(&lease->watched.node); /* it may have ended, or the EXIT came without a WATCH */
	if (class == ENVELOPE_EXIT && !lease_is_normal(reason) && actor != NULL) {
		rli_actor_end(actor, RL_REASON_LINKED, error);
	}
}

static void
lease_unwatch_from_afar(struct rl_shard *shard, struct lease *lease,
			const struct envelope *envelope)
{
	int error;

	memcpy(&error, envelope->payload, sizeof(error));
	lease_unwatch(shard, lease, envelope_class(envelope), (enum rl_reason)envelope->kind,
		      error);
	if (rli_obligation_waits(&lease->far)) {
		lease->far.envelope.class = ENVELOPE_LEASE_HOME; /* a DOWN that nobody wants now */
		return;
	}
	lease->far.envelope = lease_envelope(shard, lease, ENVELOPE_LEASE_HOME);
	(void)rli_mesh_oblige(shard->port, lease->home, &lease->far); /* sent, or it waits */
}

void
rli_lease_arrived(struct rl_shard *shard, const struct envelope *envelope)
{
	struct lease *lease = (struct lease *)(uintptr_t)envelope->ref;
	int error;

	switch ((int)envelope_class(envelope)) {
	case ENVELOPE_WATCH:
		lease_watch(shard, lease);
		return;
	case ENVELOPE_UNWATCH:
	case ENVELOPE_EXIT:
		lease_unwatch_from_afar(shard, lease, envelope);
		return;
	case ENVELOPE_DOWN:
		memcpy(&error, envelope->payload, sizeof(error));
		lease_down(shard, lease, (enum rl_reason)envelope->kind, error);
		return;
	case ENVELOPE_LEASE_HOME:
		lease_free(shard, lease);
		return;
	default:
		RL_UNREACHABLE();
	}
}

void
rli_lease_deliver(struct rl_actor *actor, struct lease *lease)
{
	struct rl_shard *shard = actor->shard;
	struct rl_msg msg = { .kind = RL_MSG_DOWN };

	msg.down.id.private_bits = id_pack(lease->generation, shard->id,
					   rli_slab_number(&shard->actors->leases, lease));
	msg.down.actor.private_bits = lease->target;
	msg.down.reason = (enum rl_reason)lease->reason;
	msg.down.error = lease->error;
	lease_free(shard, lease);
	counters_add(&shard->counters, downs, 1);
	if (RL_MUTANT(DOWN_TWICE)) {
		(void)rli_actor_deliver(actor, &msg);
	}
	rli_actor_answered(actor, msg.kind, rli_actor_deliver(actor, &msg));
}

/* The watcher wants no more of it, or has ended with @reason. */
static void
lease_release(struct rl_shard *shard, struct lease *lease, enum envelope_class class,
	      enum rl_reason reason, int error)
{
	uint32_t to = id_shard(lease->target);
	bool waits;

	list_remove(&lease->tie.node);
	lease->watcher = NULL;
	if (lease->over) {
		lease_free(shard, lease); /* all of it is home already */
		return;
	}
	if (to == shard->id) {
		lease_unwatch(shard, lease, class, reason, error);
		lease_free(shard, lease);
		return;
	}
	waits = rli_obligation_waits(&lease->near);
	if (waits && (class == ENVELOPE_UNWATCH || lease_is_normal(reason))) {
		list_remove(&lease->near.node); /* the WATCH never left */
		lease_free(shard, lease);
		return;
	}
	lease->released = true;
	lease->near.envelope = lease_envelope(shard, lease, class);
	lease->near.envelope.kind = (uint32_t)reason;
	memcpy(lease->near.envelope.payload, &error, sizeof(error));
	if (!waits) { /* else the EXIT goes where the WATCH would have gone */
		(void)rli_mesh_oblige(shard->port, to, &lease->near); /* sent, or it waits */
	}
}

void
rli_lease_drop(struct rl_actor *actor, struct lease *lease)
{
	lease_release(actor->shard, lease, lease->link ? ENVELOPE_EXIT : ENVELOPE_UNWATCH,
		      (enum rl_reason)actor->reason, actor->error);
}

void
rli_lease_ended(struct rl_actor *actor, struct lease *lease)
{
	if (RL_MUTANT(DOWN_FORGOTTEN)) {
		return;
	}
	if (lease->late) {
		lease_tell_down(actor->shard, lease, RL_REASON_GONE, 0);
		return;
	}
	lease_tell_down(actor->shard, lease, (enum rl_reason)actor->reason, actor->error);
}

static int
lease_make(struct rl_actor *self, rl_actor_id target, bool link, struct lease **out)
{
	struct rl_shard *shard = self->shard;
	uint32_t to = id_shard(target.private_bits);
	struct lease *lease;

	if (shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	if (id_generation(target.private_bits) == 0 || to >= shard->count) {
		return -ENOENT;
	}
	if (self->life == ACTOR_ENDING) {
		return -ESHUTDOWN;
	}
	lease = rli_slab_take(&shard->actors->leases);
	if (lease == NULL) {
		return -ENOBUFS;
	}
	lease->generation = id_generation_next(lease->generation);
	lease->target = target.private_bits;
	lease->home = (uint8_t)shard->id;
	lease->link = link;
	lease->released = false;
	lease->over = false;
	lease->watcher = self;
	list_node_init(&lease->near.node);
	list_node_init(&lease->far.node);
	lease->near.last = false;
	lease->far.last = false;
	list_node_init(&lease->watched.node);
	rli_tie_init(&lease->tie, TIE_LEASE, &self->held);
	counters_add(&shard->counters, monitors, 1);
	*out = lease;
	if (to == shard->id) {
		lease_watch(shard, lease);
	} else {
		lease->near.envelope = lease_envelope(shard, lease, ENVELOPE_WATCH);
		(void)rli_mesh_oblige(shard->port, to, &lease->near); /* sent, or it waits */
	}
	return 0;
}

int
rl_actor_monitor(struct rl_actor *self, rl_actor_id target, rl_monitor_id *id)
{
	struct lease *lease = NULL;
	int rc = lease_make(self, target, false, &lease);

	if (id != NULL) {
		id->private_bits =
			rc != 0 ? 0
				: id_pack(lease->generation, self->shard->id,
					  rli_slab_number(&self->shard->actors->leases, lease));
	}
	return rc;
}

int
rl_actor_link(struct rl_actor *self, rl_actor_id target)
{
	struct lease *lease;

	if (target.private_bits == self->id) {
		return -EINVAL;
	}
	return lease_make(self, target, true, &lease);
}

int
rl_actor_demonitor(struct rl_actor *self, rl_monitor_id id)
{
	struct rl_shard *shard = self->shard;
	struct lease *lease;

	if (shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	lease = rli_slab_at(&shard->actors->leases, id_slot(id.private_bits));
	if (lease == NULL || id_shard(id.private_bits) != shard->id || lease->watcher != self ||
	    lease->link || lease->generation != id_generation(id.private_bits)) {
		return -ENOENT;
	}
	lease_release(shard, lease, ENVELOPE_UNWATCH, RL_REASON_LOCAL, 0);
	return 0;
}
