/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Counters. Each shard has its own set, written by that shard alone; a reader on another thread
 * gets each counter whole, but not all of them from one instant. After rl_system_run() returned
 * they balance: accepted + opened = sum of closed, bufs_lent = bufs_home, and shared_bufs_taken =
 * shared_bufs_freed unless the program kept some, drain_conns = drain_ended + drain_cut.
 */
#ifndef RINGLINE_STATS_H
#define RINGLINE_STATS_H

#include <ringline/reason.h>
#include <ringline/types.h>

RL_BEGIN_DECLS

/** Why a message did not arrive. */
struct rl_stats_undelivered {
	/** The mailbox, or the shard's messages_max, was full. */
	uint64_t full;
	/** The actor had ended. */
	uint64_t gone;
	/** The system was stopping. */
	uint64_t stopping;
};

struct rl_stats {
	/** Connections accepted and given an actor. */
	uint64_t accepted;
	/** Outbound connections begun by rl_conn_open(). */
	uint64_t opened;
	/**
	 * Accepted sockets closed at once because conns_max was reached (policy "refuse"), or a
	 * limit of their listener, or with TLS tls_handshakes_max, or because there was no memory.
	 * What an acceptor refuses itself, and its accept_errors, are in the sum over all shards
	 * only.
	 */
	uint64_t refused;
	/** Accept requests that failed, and were tried again. */
	uint64_t accept_errors;
	/** Connections that ended, by enum rl_reason. */
	uint64_t closed[RL_REASON_COUNT];
	/** Bytes received and taken by the kernel for sending: payload; with TLS, as encrypted. */
	uint64_t bytes_in;
	uint64_t bytes_out;
	/** Bytes received after the end was decided, and discarded. */
	uint64_t bytes_discarded;
	/** Receive buffers that the kernel lent us, and that went home. */
	uint64_t bufs_lent;
	uint64_t bufs_home;
	/** Receive completions with data; send requests; sends taken only in part. */
	uint64_t recvs;
	uint64_t sends;
	uint64_t sends_short;
	/** Sends refused with -EAGAIN, at the cap or for want of memory. */
	uint64_t sends_refused;
	/** Connections that waited for a receive buffer. */
	uint64_t enobufs_parks;
	/** Receives cancelled to pause, by the actor or automatically. */
	uint64_t pauses;
	/** Handlers that answered -EAGAIN with no notice owed: only rl_conn_resume() helps. */
	uint64_t again_unowed;
	/** io_uring_enter calls, completions, completion queue overflows, turns of the loop. */
	uint64_t enters;
	uint64_t cqes;
	uint64_t cq_overflows;
	uint64_t turns;
	/** Times that a request had to wait for room in the submission queue. */
	uint64_t sq_full;
	/** Actors started and stopped. */
	uint64_t actors_started;
	uint64_t actors_stopped;
	/**
	 * Messages sent to actors, delivered, not handled by their handler, and not delivered. What
	 * goes to another shard counts as sent when it is published, at the end of the turn or when
	 * a block is full.
	 */
	uint64_t msgs_sent;
	uint64_t msgs_delivered;
	uint64_t msgs_unhandled;
	struct rl_stats_undelivered undelivered;
	/** Timers that came. */
	uint64_t timers_fired;
	/** Times that a foreign thread or another shard had to wake the shard. */
	uint64_t wakeups;
	/** Completions with an identity that ringline does not know; always 0. */
	uint64_t cqes_unknown;
	/** Accepts that found the file table full; always 0: it has room by construction. */
	uint64_t accept_enfile;
	/** Sleeping shards that this one woke; of these, those that only the eventfd could wake. */
	uint64_t wakeups_sent;
	uint64_t wakeups_failed;
	/** Requests made; answered by this shard's actors; answers that came too late; timeouts. */
	uint64_t requests;
	uint64_t replies;
	uint64_t replies_late;
	uint64_t requests_timed_out;
	/** Monitors and links made; RL_MSG_DOWN delivered. */
	uint64_t monitors;
	uint64_t downs;
	/** Names that there was no memory for in this shard's copy: they are not found here. */
	uint64_t names_lost;
	/** Times that the shard polled before a sleep (rl_config.spin_us), and found something. */
	uint64_t spins;
	uint64_t spins_hit;
	/** Counted buffers taken (rl_buf_take()), and freed after their last release. */
	uint64_t shared_bufs_taken;
	uint64_t shared_bufs_freed;
	/** Of sends_refused: those for want of the shard's send memory, or of a share in it. */
	uint64_t sends_starved;
	/** Shards that began to drain, that cut what was left then, and that have nothing left. */
	uint64_t drains;
	uint64_t drains_cut;
	uint64_t drains_over;
	/**
	 * Connections that were there when the drain began; of these, those that ended, and those
	 * that were cut: by its deadline, or by a second call.
	 */
	uint64_t drain_conns;
	uint64_t drain_ended;
	uint64_t drain_cut;
	/** Bytes that were queued in those and not known to be taken by the kernel. */
	uint64_t drain_cut_bytes;
	/** Actors, with a connection or without, that had not decided to end before the cut. */
	uint64_t drain_cut_actors;
	/** Of those refused: by accept_rate_max, and by conns_per_peer_max, of their listener. */
	uint64_t refused_rate;
	uint64_t refused_peer;
	/** Host names that were looked up for rl_conn_open(); refused at lookups_max. */
	uint64_t lookups;
	uint64_t lookups_refused;
	/** TLS handshakes that were completed, either end. */
	uint64_t tls_handshakes;
	/** Of these, those that resumed the session of an earlier connection. */
	uint64_t tls_resumed;
};

RL_END_DECLS

#endif
