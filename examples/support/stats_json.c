/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/stats_json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct stats_field {
	const char *name;
	size_t offset;
};

#define STATS_FIELD(member)  { #member, offsetof(struct rl_stats, member) }
#define STATS_COUNT(members) (sizeof(members) / sizeof((members)[0]))

/* The plain counters in the order of the struct; closed and undelivered stand where it has them. */
static const struct stats_field stats_before_closed[] = {
	STATS_FIELD(accepted),
	STATS_FIELD(opened),
	STATS_FIELD(refused),
	STATS_FIELD(accept_errors),
};

static const struct stats_field stats_before_undelivered[] = {
	STATS_FIELD(bytes_in),	     STATS_FIELD(bytes_out),   STATS_FIELD(bytes_discarded),
	STATS_FIELD(bufs_lent),	     STATS_FIELD(bufs_home),   STATS_FIELD(recvs),
	STATS_FIELD(sends),	     STATS_FIELD(sends_short), STATS_FIELD(sends_refused),
	STATS_FIELD(enobufs_parks),  STATS_FIELD(pauses),      STATS_FIELD(again_unowed),
	STATS_FIELD(enters),	     STATS_FIELD(cqes),	       STATS_FIELD(cq_overflows),
	STATS_FIELD(turns),	     STATS_FIELD(sq_full),     STATS_FIELD(actors_started),
	STATS_FIELD(actors_stopped), STATS_FIELD(msgs_sent),   STATS_FIELD(msgs_delivered),
	STATS_FIELD(msgs_unhandled),
};

static const struct stats_field stats_undelivered[] = {
	{ "full", offsetof(struct rl_stats, undelivered.full) },
	{ "gone", offsetof(struct rl_stats, undelivered.gone) },
	{ "stopping", offsetof(struct rl_stats, undelivered.stopping) },
};

static const struct stats_field stats_after_undelivered[] = {
	STATS_FIELD(timers_fired),
	STATS_FIELD(wakeups),
	STATS_FIELD(cqes_unknown),
	STATS_FIELD(accept_enfile),
	STATS_FIELD(wakeups_sent),
	STATS_FIELD(wakeups_failed),
	STATS_FIELD(requests),
	STATS_FIELD(replies),
	STATS_FIELD(replies_late),
	STATS_FIELD(requests_timed_out),
	STATS_FIELD(monitors),
	STATS_FIELD(downs),
	STATS_FIELD(names_lost),
	STATS_FIELD(spins),
	STATS_FIELD(spins_hit),
	STATS_FIELD(shared_bufs_taken),
	STATS_FIELD(shared_bufs_freed),
	STATS_FIELD(sends_starved),
	STATS_FIELD(drains),
	STATS_FIELD(drains_cut),
	STATS_FIELD(drains_over),
	STATS_FIELD(drain_conns),
	STATS_FIELD(drain_ended),
	STATS_FIELD(drain_cut),
	STATS_FIELD(drain_cut_bytes),
	STATS_FIELD(drain_cut_actors),
	STATS_FIELD(refused_rate),
	STATS_FIELD(refused_peer),
	STATS_FIELD(lookups),
	STATS_FIELD(lookups_refused),
	STATS_FIELD(tls_handshakes),
	STATS_FIELD(tls_resumed),
};

_Static_assert(sizeof(struct rl_stats) ==
		       sizeof(uint64_t) * (STATS_COUNT(stats_before_closed) + RL_REASON_COUNT +
					   STATS_COUNT(stats_before_undelivered) +
					   STATS_COUNT(stats_undelivered) +
					   STATS_COUNT(stats_after_undelivered)),
	       "every counter is printed");

/* Members that follow others begin with a comma. */
static void
stats_fields(FILE *out, const struct rl_stats *stats, const struct stats_field *fields,
	     size_t count, bool follow)
{
	uint64_t value;
	size_t i;

	for (i = 0; i < count; i++) {
		memcpy(&value, (const char *)stats + fields[i].offset, sizeof(value));
		(void)fprintf(out, "%s\"%s\":%" PRIu64, follow || i > 0 ? "," : "", fields[i].name,
			      value);
	}
}

static void
stats_members(FILE *out, const struct rl_stats *stats)
{
	int reason;

	stats_fields(out, stats, stats_before_closed, STATS_COUNT(stats_before_closed), false);
	(void)fputs(",\"closed\":{", out);
	for (reason = 0; reason < RL_REASON_COUNT; reason++) {
		(void)fprintf(out, "%s\"%s\":%" PRIu64, reason > 0 ? "," : "",
			      rl_reason_name((enum rl_reason)reason), stats->closed[reason]);
	}
	(void)fputc('}', out);
	stats_fields(out, stats, stats_before_undelivered, STATS_COUNT(stats_before_undelivered),
		     true);
	(void)fputs(",\"undelivered\":{", out);
	stats_fields(out, stats, stats_undelivered, STATS_COUNT(stats_undelivered), false);
	(void)fputc('}', out);
	stats_fields(out, stats, stats_after_undelivered, STATS_COUNT(stats_after_undelivered),
		     true);
}

void
stats_json_object(FILE *out, const struct rl_stats *stats)
{
	(void)fputc('{', out);
	stats_members(out, stats);
	(void)fputc('}', out);
}

void
stats_json_print(FILE *out, const struct rl_system *sys)
{
	struct rl_stats stats;
	uint32_t shard;

	(void)rl_system_stats(sys, -1,
			      &stats); /* the sum, and the shards below, are always there */
	(void)fputc('{', out);
	stats_members(out, &stats);
	(void)fputs(",\"shards\":[", out);
	for (shard = 0; shard < rl_system_shards(sys); shard++) {
		(void)rl_system_stats(sys, (int)shard, &stats);
		(void)fputs(shard > 0 ? "," : "", out);
		stats_json_object(out, &stats);
	}
	(void)fputs("]}\n", out);
}
