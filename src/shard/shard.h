/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One core: the ring, its buffers, the wheel, the pools and the counters. What lives on it (actors,
 * connections) belongs to the modules to the right; the shard only carries a pointer to each, which
 * it never follows.
 */
#ifndef RINGLINE_SHARD_SHARD_H
#define RINGLINE_SHARD_SHARD_H

#include <stdint.h>
#include <sys/uio.h>

#include <sys/socket.h>

#include <ringline/config.h>
#include <ringline/shard.h>

#include "base/log.h"
#include "mailbox/inbox.h"
#include "shard/bufring.h"
#include "shard/chunk.h"
#include "shard/counters.h"
#include "shard/op.h"
#include "shard/ring.h"
#include "shard/sleep.h"
#include "shard/timer.h"

struct actors;
struct mesh_port;
struct net;
struct rl_system;

/*
 * Memory that SQEs of this turn point to: the kernel has copied it when it has taken the SQE
 * (IORING_FEAT_SUBMIT_STABLE), so it is reset whenever the submission queue is empty.
 */
#define ARENA_IOVECS  4096
#define ARENA_MSGHDRS 1024

struct arena {
	struct iovec *iovecs;
	struct msghdr *msghdrs;
	uint32_t iovecs_used;
	uint32_t msghdrs_used;
	size_t reserved_bytes;
};

struct rl_shard {
	/* what others read: on a line of its own, which is written only around a sleep */
	_Alignas(64) struct sleep sleep;
	struct inbox *inbox;
	uint8_t line_end[64 - sizeof(struct sleep) - sizeof(struct inbox *)];

	uint64_t now_ns; /* read once per turn */
	struct ring *ring;
	struct actors *actors;
	struct net *net;
	const struct rl_config *config; /* every field resolved */
	const struct log *log;
	struct rl_system *system;
	uint32_t id;
	uint32_t count; /* shards of the system */
	struct mesh_port *port; /* this shard's end of the mesh */
	struct rl_shard *const *peers; /* all shards of the system, by id */

	struct counters counters;
	struct bufring bufring;
	struct chunk_pool send_pool;
	struct chunk_pool recv_pool;
	struct wheel wheel;
	struct arena arena;

	struct op wake_op; /* the read that is always armed on the eventfd */
	uint64_t wake_value; /* where it reads to */
	struct log_limit limit_wake;
	void *state; /* the program's, see rl_shard_def */
	size_t state_bytes; /* reserved for it */
	struct timer drain_timer;

	uint64_t drain_since_ns; /* when it began here */
	uint32_t backlog_turns; /* in a row that took a full batch and left more */
	uint32_t drain; /* how far the end has come here: enum system_drain */
	uint32_t spin_skip; /* so many sleeps are not polled for */
	uint32_t spin_misses; /* polls in a row that found nothing */
	uint32_t enters_skipped; /* turns in a row that did without */
	bool behind; /* the last enter may have left work behind in the kernel */
	bool ended; /* no actor and no connection is left */
	bool silent; /* nothing is left here, and the system was told */
	bool hooked; /* on_start was called and did not fail */
	bool cut; /* what the drain left was cut */
	bool bufs_given_up; /* counted buffers that other shards have are not waited for any more */
};

/* The shard that this thread runs; NULL on any other. Who calls a verb on another's is told so. */
extern _Thread_local struct rl_shard *rli_shard_current __attribute__((tls_model("initial-exec")));

/*
 * Two halves, because a ring belongs to the thread that made it while others need the inbox before:
 * rli_shard_init() on any thread, rli_shard_open() on its own.
 */
int rli_shard_init(struct rl_shard *shard, uint32_t id, uint32_t count,
		   const struct rl_config *config, const struct log *log);
int rli_shard_open(struct rl_shard *shard, uint32_t files_max);

/* On its own thread: everything that the kernel ties to it. */
void rli_shard_detach(struct rl_shard *shard);

/* Any thread, after its own has ended, in the order that pitfall 27 asks for. */
void rli_shard_fini(struct rl_shard *shard);

/* Keep the read on the eventfd armed; false: the queue was full and the shard must not sleep. */
bool rli_shard_arm_wake(struct rl_shard *shard);

/* Room for one gathered send of @iovecs, or NULL until the next enter. */
struct msghdr *rli_shard_msghdr(struct rl_shard *shard, uint32_t iovecs);

/* Called when the submission queue is empty. */
void rli_shard_arena_reset(struct rl_shard *shard);

/* Take up to a batch of completions to their ops; returns how many. */
uint32_t rli_shard_reap(struct rl_shard *shard, uint32_t max);

#endif
