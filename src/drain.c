/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The drain. Invariant: a connection that was there when it began is counted once, as one that
 * ended or as one that was cut.
 */
#include "drain.h"

#include <stdio.h>
#include <string.h>

#include "actor/actor_mesh.h"
#include "base/host.h"
#include "mailbox/mesh.h"
#include "net/conn.h"
#include "net/net.h"
#include "system.h"

#define DRAIN_BUFS_NS	 RL_SEC(1) /* after the cut, for counted buffers to come home */
#define DRAIN_GROUPS_MAX 4 /* kinds of actors that a line names; the rest is a number */

/* What a shard has that is not at its end yet. */
struct drain_left {
	uint32_t listeners;
	uint32_t conns;
	uint64_t bytes; /* queued for sending */
	uint32_t actors;
};

static struct drain_left
drain_left(const struct rl_shard *shard)
{
	struct drain_left left = {
		.listeners = rli_net_listeners(shard),
		.conns = shard->net->conns_count,
		.bytes = rli_net_queued_bytes(shard),
		.actors = shard->actors->live,
	};

	return left;
}

static unsigned
drain_ms(const struct rl_shard *shard)
{
	return (unsigned)((shard->now_ns - shard->drain_since_ns) / 1000000);
}

/* Actors of one kind whose streams are in one state. */
struct drain_group {
	const struct rl_actor_def *def;
	const char *state;
	uint32_t count;
};

static void
drain_group_add(struct drain_group groups[DRAIN_GROUPS_MAX + 1], const struct rl_actor *actor)
{
	const char *state = rli_conn_state_name(actor->conn);
	uint32_t i = 0;

	while (i < DRAIN_GROUPS_MAX && groups[i].count > 0 &&
	       (groups[i].def != actor->def || groups[i].state != state)) {
		i++;
	}
	groups[i].def = actor->def;
	groups[i].state = state;
	groups[i].count++;
}

/* Who holds the drain up: ': 12 "session" lingering, 1 "worker"'; "" when it is nobody. */
static void
drain_describe(const struct rl_shard *shard, char *out, size_t size)
{
	struct drain_group groups[DRAIN_GROUPS_MAX + 1] = { { 0 } };
	const struct slab *slab = &shard->actors->slab;
	size_t used = 0;

	out[0] = '\0';
	for (uint32_t i = 0; i < slab->slots_used; i++) {
		const struct rl_actor *actor = rli_slab_at(slab, i);

		if (actor->life != ACTOR_FREE) {
			drain_group_add(groups, actor);
		}
	}
	for (uint32_t i = 0; i <= DRAIN_GROUPS_MAX && groups[i].count > 0 && used < size; i++) {
		const char *name = groups[i].def->name;
		const char *comma = i == 0 ? ": " : ", ";

		if (i == DRAIN_GROUPS_MAX) {
			used += (size_t)snprintf(out + used, size - used, "%s%u others", comma,
						 groups[i].count);
		} else {
			used += (size_t)snprintf(out + used, size - used, "%s%u \"%.32s\"%s", comma,
						 groups[i].count, name != NULL ? name : "",
						 groups[i].state);
		}
	}
}

static void
drain_begin(struct rl_shard *shard)
{
	int64_t drain_ns = shard->config->drain_timeout_ns;
	uint64_t deadline_ns = drain_ns < 0 ? UINT64_MAX : shard->now_ns + (uint64_t)drain_ns;
	struct drain_left left;
	char until[32] = "no deadline";

	shard->drain = SYSTEM_DRAINS;
	shard->drain_since_ns = shard->now_ns;
	rli_mesh_stop(shard->port);
	rli_net_drain(shard);
	left = drain_left(shard);
	rli_actors_drain(shard, deadline_ns);
	rli_timer_init(&shard->drain_timer, TIMER_SYSTEM);
	if (deadline_ns != UINT64_MAX) {
		rli_wheel_start(&shard->wheel, &shard->drain_timer, deadline_ns);
		(void)snprintf(until, sizeof(until), "cut in %lld ms",
			       (long long)(drain_ns / 1000000));
	}
	counters_add(&shard->counters, drains, 1);
	counters_add(&shard->counters, drain_conns, left.conns);
	rli_log(shard->log, RL_LOG_INFO, (int)shard->id,
		"drain: %u listeners close, %u actors are told, %u connections with %llu bytes "
		"to send; %s",
		left.listeners, left.actors, left.conns, (unsigned long long)left.bytes, until);
}

/* What is left ends now, with @reason. Who it was is a warning where nobody asked for the cut. */
static void
drain_cut(struct rl_shard *shard, enum rl_reason reason)
{
	enum rl_log_level level = reason == RL_REASON_SHUTDOWN ? RL_LOG_INFO : RL_LOG_WARN;
	struct drain_left left = drain_left(shard);
	char who[320];

	counters_add(&shard->counters, drains_cut, shard->cut ? 0 : 1);
	shard->cut = true;
	if (left.actors > 0 && level <= shard->log->level) {
		drain_describe(shard, who, sizeof(who));
		rli_log(shard->log, level, (int)shard->id,
			"drain: cut after %u ms: %u connections with %llu bytes to send, %u "
			"actors%s",
			drain_ms(shard), left.conns, (unsigned long long)left.bytes, left.actors,
			who);
	}
	rli_actors_cut(shard, reason);
	rli_net_cut(shard, reason);
	rli_wheel_start(&shard->wheel, &shard->drain_timer, shard->now_ns + DRAIN_BUFS_NS);
}

void
rli_drain_due(struct rl_shard *shard)
{
	if (shard->cut) {
		shard->bufs_given_up = true;
	} else {
		drain_cut(shard, RL_REASON_TIMEOUT_DRAIN);
	}
}

static bool
drain_all_ended(const struct rl_shard *shard)
{
	return shard->actors->live == 0 && rli_net_is_silent(shard);
}

/*
 * Buffers that other shards have are waited for, but not for ever: a hook there may keep one.
 */
static bool
drain_all_home(struct rl_shard *shard)
{
	if (shard->actors->bufs_away > 0 && !shard->bufs_given_up) {
		return false;
	}
	return rli_actors_mesh_is_idle(shard) && rli_mesh_is_home(shard->port);
}

/*
 * Hooks may run on but send no more, or two of them that answer each other would never let the
 * system end.
 */
static void
drain_ended(struct rl_shard *shard)
{
	shard->actors->cut = true;
	if (shard->ended || drain_all_home(shard)) {
		return;
	}
	shard->ended = true;
	rli_log(shard->log, RL_LOG_INFO, (int)shard->id,
		"drain: all have ended after %u ms; waits for %llu counted buffers, and for blocks "
		"of the mesh",
		drain_ms(shard), (unsigned long long)shard->actors->bufs_away);
}

static void
drain_silent(struct rl_shard *shard)
{
	struct rl_stats stats = { 0 };

	shard->silent = true;
	(void)rli_wheel_cancel(&shard->wheel, &shard->drain_timer);
	counters_add(&shard->counters, drains_over, 1);
	rli_counters_sum(&shard->counters, &stats);
	rli_log(shard->log, RL_LOG_INFO, (int)shard->id,
		"drain: silent after %u ms; %llu connections ended, %llu were cut", drain_ms(shard),
		(unsigned long long)stats.drain_ended, (unsigned long long)stats.drain_cut);
	rli_system_went_silent(shard->system);
}

void
rli_drain_step(struct rl_shard *shard)
{
	uint32_t drain = rli_system_drain_level(shard->system);

	if (drain >= SYSTEM_DRAINS && shard->drain == SYSTEM_RUNS) {
		/* the turn's clock may be older than the wish, and the deadline counts from that */
		shard->now_ns = rli_host_now_ns();
		drain_begin(shard);
	}
	if (drain >= SYSTEM_CUTS && shard->drain == SYSTEM_DRAINS) {
		shard->drain = SYSTEM_CUTS;
		if (!shard->silent) {
			(void)rli_wheel_cancel(&shard->wheel, &shard->drain_timer);
			drain_cut(shard, RL_REASON_SHUTDOWN);
		}
	}
	if (shard->drain == SYSTEM_RUNS || shard->silent || !drain_all_ended(shard)) {
		return;
	}
	drain_ended(shard);
	if (drain_all_home(shard)) {
		drain_silent(shard);
	}
}
