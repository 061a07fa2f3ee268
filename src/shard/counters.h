/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A shard's counters: struct rl_stats with atomic words, written by the shard alone (a relaxed load
 * and a relaxed store, so a plain add), read by anybody.
 */
#ifndef RINGLINE_SHARD_COUNTERS_H
#define RINGLINE_SHARD_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include <ringline/stats.h>

#define COUNTERS_WORDS (sizeof(struct rl_stats) / sizeof(uint64_t))

struct counters {
	_Atomic uint64_t words[COUNTERS_WORDS];
};

#ifdef __x86_64__
/* What gcc does not make of the other: one instruction instead of three, for every message. */
static inline void
counters_add_word(struct counters *counters, size_t word, uint64_t n)
{
	/* pairs with: rli_counters_sum(); a word in memory is written whole */
	__asm__("addq %1, %0" : "+m"(counters->words[word]) : "er"(n) : "cc");
}
#else
static inline void
counters_add_word(struct counters *counters, size_t word, uint64_t n)
{
	/* pairs with: rli_counters_sum(), which needs each word whole and nothing more */
	atomic_store_explicit(&counters->words[word],
			      atomic_load_explicit(&counters->words[word], memory_order_relaxed) +
				      n,
			      memory_order_relaxed);
}
#endif

/* counters_add(&shard->counters, undelivered.full, 1) */
#define counters_add(counters, field, n) \
	counters_add_word((counters), offsetof(struct rl_stats, field) / sizeof(uint64_t), (n))

#define counters_add_closed(counters, reason)                                                      \
	counters_add_word((counters),                                                              \
			  offsetof(struct rl_stats, closed) / sizeof(uint64_t) + (size_t)(reason), \
			  1)

/* Add every counter to @stats. */
static inline void
rli_counters_sum(const struct counters *counters, struct rl_stats *stats)
{
	uint64_t *words = (uint64_t *)stats;

	for (size_t i = 0; i < COUNTERS_WORDS; i++) {
		/* pairs with: counters_add_word() */
		words[i] += atomic_load_explicit(&counters->words[i], memory_order_relaxed);
	}
}

#endif
