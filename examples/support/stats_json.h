/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * stats_json - the counters as JSON, named like the members of struct rl_stats, zeros printed.
 *
 *	{"accepted":2,...,"closed":{"peer_fin":2,...},...,"shards":[{"accepted":1,...},...]}
 *
 * The counters balance once rl_system_run() has returned; before that they are a glimpse.
 */
#ifndef RINGLINE_EXAMPLES_STATS_JSON_H
#define RINGLINE_EXAMPLES_STATS_JSON_H

#include <stdio.h>

#include <ringline/ringline.h>

/* Writes one object, without a newline. */
void stats_json_object(FILE *out, const struct rl_stats *stats);

/* Writes one line: the totals, with an array of the same objects, one for each shard. */
void stats_json_print(FILE *out, const struct rl_system *sys);

#endif
