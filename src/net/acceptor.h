/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The acceptor: one thread that polls all listening sockets and hands what it accepts to the
 * shards, in turn (RL_ACCEPT_ROUND_ROBIN) or to the less loaded of two (RL_ACCEPT_LEAST_LOADED),
 * past those that have no room. Nothing here starts the thread; somebody takes step after step,
 * each of them
 *
 *	rli_acceptor_awake()     what has been asked of it since, in between
 *	rli_acceptor_accept()    from the sockets that were ready
 *	rli_acceptor_sleep()     at the very end, as rli_loop_turn() does it
 */
#ifndef RINGLINE_NET_ACCEPTOR_H
#define RINGLINE_NET_ACCEPTOR_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "mailbox/inbox.h"
#include "net/handover.h"
#include "net/net.h"
#include "shard/counters.h"
#include "shard/sleep.h"

struct acceptor_listener {
	int fd; /* -1: none */
	bool wants_addr;
	bool ready; /* as poll said */
	uint32_t errors; /* in a row */
	int error; /* why the kernel ended it, for rli_acceptor_broken(); 0: it did not */
	uint64_t backoff_ns;
	uint64_t until_ns; /* nothing is accepted before that */
};

struct acceptor_shard {
	struct rl_shard *shard;
	struct handover handover;
};

struct acceptor {
	const struct rl_config *config;
	const struct log *log;
	struct inbox *inbox; /* for its control list */
	struct sleep sleep; /* announced only when it waits for room; its eventfd tells all else */
	struct counters counters; /* of what no shard had a part in */
	struct log_limit limit_failed;
	struct log_limit limit_full;
	struct acceptor_listener listeners[NET_LISTENERS_MAX];
	struct pollfd polls[1 + NET_LISTENERS_MAX]; /* the first is the eventfd */
	uint32_t polled[1 + NET_LISTENERS_MAX]; /* which listener's each is */
	uint32_t polls_count;
	uint32_t next; /* the shard whose turn it is */
	uint64_t random; /* state of a generator: which two are compared */
	uint32_t shards_count;
	uint64_t now_ns;
	bool over; /* every shard was told that nothing comes any more */
	size_t reserved_bytes;
	struct acceptor_shard shards[];
};

/* NULL: no memory, or no eventfd. @shards are told with rli_acceptor_join(). */
struct acceptor *rli_acceptor_create(const struct rl_config *config, const struct log *log);

/* Before any thread runs: number @i is @shard. */
void rli_acceptor_join(struct acceptor *acceptor, uint32_t i, struct rl_shard *shard);

/* After its last step, and the shards' last turns. */
void rli_acceptor_destroy(struct acceptor *acceptor);

/* Any thread; async-signal-safe. It looks at its inbox, and at whatever else has changed. */
void rli_acceptor_wake(struct acceptor *acceptor);

/* Polls @fd from now on, and closes it in the end. -ESHUTDOWN: it was drained. */
int rli_acceptor_listen(struct acceptor *acceptor, uint32_t number, int fd, bool wants_addr);

/* Closes the socket; what was accepted from it is with the shards when this returns. */
void rli_acceptor_unlisten(struct acceptor *acceptor, uint32_t number);

/* Closes all of them, and tells each shard that nothing comes any more. */
void rli_acceptor_drain(struct acceptor *acceptor);

/* Why the kernel ended listener @number since the last call, or 0: it ended none. */
int rli_acceptor_broken(struct acceptor *acceptor, uint32_t *number);

void rli_acceptor_awake(struct acceptor *acceptor);
void rli_acceptor_accept(struct acceptor *acceptor);
void rli_acceptor_sleep(struct acceptor *acceptor);

#endif
