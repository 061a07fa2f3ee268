/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The configuration: plain data, one struct, zero means the default.
 *
 *	struct rl_config config = RL_CONFIG(.shards = 2, .idle_timeout_ns = RL_SEC(300));
 *
 * RL_CONFIG fills struct_size, by which the library knows how much of the struct the program knows;
 * fields are only ever appended. A value outside its range is refused by rl_system_start() with one
 * log line that names field, value and range; nothing is clamped silently.
 */
#ifndef RINGLINE_CONFIG_H
#define RINGLINE_CONFIG_H

#include <ringline/timer.h>
#include <ringline/types.h>

RL_BEGIN_DECLS

enum rl_log_level {
	RL_LOG_DEFAULT,
	RL_LOG_ERROR,
	RL_LOG_WARN,
	RL_LOG_INFO,
	RL_LOG_DEBUG,
};

/**
 * A log sink. It may be called from any thread, also from several at once.
 *
 * @param arg    log_arg of the configuration.
 * @param level  How bad it is.
 * @param shard  The shard that speaks, -1 for none.
 * @param text   One line without its newline; borrowed. Bytes from a peer are escaped.
 */
typedef void (*rl_log_fn)(void *arg, enum rl_log_level level, int shard, const char *text);

/** What happens at conns_max. */
enum rl_conns_policy {
	/** Accept and close at once, counted: a balancer in front sees it immediately. */
	RL_CONNS_REFUSE,
	/** Accept no more: new connections wait in the kernel's backlog. */
	RL_CONNS_PAUSE,
};

/** Who accepts. */
enum rl_accept_mode {
	/** Every shard has its own listening socket on the same port (SO_REUSEPORT). */
	RL_ACCEPT_PER_SHARD,
	/**
	 * One more thread accepts from a single socket, and hands what comes to the shards in turn,
	 * past those that are full. Load is even; accepting costs a wake-up more, and connections
	 * are plain descriptors (as without RL_FEATURE_FIXED_FILES).
	 */
	RL_ACCEPT_ROUND_ROBIN,
	/**
	 * The same thread gives each to the shard with fewer connections, of two at random: loads
	 * that have become uneven, because some connections last longer than others, even out. The
	 * ones that a shard has opened itself count, too.
	 */
	RL_ACCEPT_LEAST_LOADED,
};

/** Kernel features above the floor that rl_config.without can forbid, to test each fallback. */
enum rl_feature {
	/** IORING_SETUP_DEFER_TASKRUN, Linux 6.1; without: COOP_TASKRUN. */
	RL_FEATURE_DEFER_TASKRUN = 1u << 0,
	/** IORING_SETUP_NO_SQARRAY, Linux 6.6; without: the indirection array. */
	RL_FEATURE_NO_SQARRAY = 1u << 1,
	/** A registered ring descriptor, Linux 5.18; without: the plain one. */
	RL_FEATURE_REGISTERED_RING = 1u << 2,
	/** Minimum wait in io_uring_enter, Linux 6.12; without: batched waits are not used. */
	RL_FEATURE_MIN_WAIT = 1u << 3,
	/** Fixed files for accepted sockets; without: plain descriptors. */
	RL_FEATURE_FIXED_FILES = 1u << 4,
	/** Shards wake each other by IORING_OP_MSG_RING, Linux 5.18; without: by eventfd. */
	RL_FEATURE_MSG_RING = 1u << 5,
	/** Rings refuse what ringline never asks of them, Linux 5.10; without: they don't. */
	RL_FEATURE_RESTRICTIONS = 1u << 6,
	/** IORING_ACCEPT_POLL_FIRST, Linux 6.10; without: each accept is tried before it waits. */
	RL_FEATURE_ACCEPT_POLL = 1u << 7,
};

struct rl_shard_def;

struct rl_config {
	/** sizeof(struct rl_config) as the program was compiled; RL_CONFIG fills it. */
	size_t struct_size;

	/** Shards, 1 to 256. Default: one per allowed logical CPU, since it is pinned. */
	uint32_t shards;
	/** CPUs to pin to, "0,2-3", at least as many as shards. Default: all allowed ones. */
	const char *cpus;

	/** Submission queue entries, power of two, 64 to 16384. Default 1024: a turn's requests. */
	uint32_t sq_entries;
	/**
	 * Completion queue entries, power of two, 256 to 65536, at least 4 x sq_entries. Default
	 * 16384 or that: an overflow ends multishots.
	 */
	uint32_t cq_entries;
	/** Completions taken per turn, 32 to 65536. Default 4096: some milliseconds. */
	uint32_t turn_cqes_max;
	/** Actors run per turn, 1 to 65536. Default 1024, for the same reason. */
	uint32_t turn_actors_max;
	/**
	 * Messages per actor and turn, 1 to 1024, and as many again from its stream. Default 16:
	 * fairness against cache warmth.
	 */
	uint32_t actor_batch_max;

	/** Actors per shard, conns_max to 2^24 - 1. Default: conns_max + 1024. */
	uint32_t actors_max;
	/** Messages in one actor's mailbox, 1 to 65536. Default 1024. */
	uint32_t mailbox_max;
	/** Messages in all mailboxes of a shard, 1 to 2^24. Default 65536. */
	uint32_t messages_max;
	/** Timers of actors per shard, 1 to 2^24 - 1. Default 1,048,576. */
	uint32_t timers_max;

	/**
	 * Connections per shard, 1 to 1,044,480. Default: 90 % of RLIMIT_NOFILE over shards, at
	 * most 65536, and no more than leave room for ringline's own descriptors.
	 */
	uint32_t conns_max;
	/** What happens at conns_max. Default: RL_CONNS_REFUSE. */
	enum rl_conns_policy conns_policy;
	/** Who accepts. Default: RL_ACCEPT_PER_SHARD, the cheapest. */
	enum rl_accept_mode accept_mode;
	/**
	 * Accepts in flight per listener and shard, 1 to 256. Default 8: a burst's worth. With
	 * an acceptor a shard can be handed 16 times as many before it takes them.
	 */
	uint32_t accepts_in_flight;
	/** listen(2) backlog, 1 to 65535. Default 4096, cut at net.core.somaxconn. */
	uint32_t backlog;

	/**
	 * Receive buffers per shard, power of two, 8 to 32768. Default 256: a batch, not one per
	 * connection.
	 */
	uint32_t recv_buffers;
	/** Bytes of each, 1024 to 65536. Default 16384: 4096 costs 20 % at 64 KiB. */
	uint32_t recv_buffer_bytes;
	/**
	 * Bytes that an actor may leave unconsumed, 1024 to 16 MiB. Default 64 KiB; more ends it
	 * ("limit").
	 */
	uint32_t recv_pending_max_bytes;
	/**
	 * Bytes per shard for what arrived before a pause took effect, 64 KiB to 1 TiB. Default:
	 * two receive buffers per connection, up to 1 GiB; not all at once. Beyond it the one that
	 * has held the most for the longest ends ("evicted"), or, when nobody else holds any or
	 * evict_after_ns is -1, the one that is being paused ("memory").
	 */
	size_t recv_pool_bytes;

	/**
	 * Bytes per shard for queued output, 4 MiB to 1 TiB, at least twice send_cap_bytes. Default
	 * 256 MiB, not all at once.
	 */
	size_t send_pool_bytes;
	/** RL_MSG_WRITABLE comes below this, 1 to 512 MiB. Default 64 KiB, or a quarter of high. */
	uint32_t send_low_bytes;
	/** Sends answer HIGH above this, more than low, to 512 MiB. Default 256 KiB. */
	uint32_t send_high_bytes;
	/**
	 * No connection queues more: at least send_high_bytes + recv_pending_max_bytes +
	 * recv_buffer_bytes, to 1 GiB, at most half of send_pool_bytes. Default 1 MiB, or the
	 * least that this allows.
	 */
	uint32_t send_cap_bytes;

	/** Deadlines in nanoseconds; -1: none. Each closes with its own reason. */
	int64_t connect_timeout_ns; /* default 10 s */
	int64_t first_byte_timeout_ns; /* default none; 10 s where the client speaks first */
	int64_t idle_timeout_ns; /* default 60 s */
	int64_t stall_timeout_ns; /* default 30 s */
	int64_t linger_timeout_ns; /* default 2 s */
	int64_t drain_timeout_ns; /* default 10 s */

	/** Log sink and its argument. Default: stderr. */
	rl_log_fn log;
	void *log_arg;
	/** Least severe level that is logged. Default: RL_LOG_WARN. */
	enum rl_log_level log_level;

	/** Kernel features to do without, enum rl_feature or-ed; for tests. */
	uint32_t without;

	/** State and hooks that every shard has, see shard.h. Default: none. */
	const struct rl_shard_def *shard;
	/** Comes in the on_start of each. */
	void *shard_arg;
	/**
	 * Microseconds that a shard with nothing to do polls before it sleeps, 1 to 1,000. Default
	 * 0, none, since it burns a core: a hop to a sleeping shard costs some 15 us, to a polling
	 * one less than 1. A shard whose last polls found nothing does not poll the next time.
	 */
	uint32_t spin_us;
	/** Requests per shard, made and owed each, 1 to 2^24 - 1. Default 65536. */
	uint32_t requests_max;
	/** Monitors and links made on a shard, 1 to 2^24 - 1. Default: actors_max. */
	uint32_t monitors_max;
	/**
	 * Names in the system, 1 to 2^20. Default 16384: each shard has a copy. Shards that grant
	 * names at the same moment may go beyond it together; none of those is lost.
	 */
	uint32_t names_max;
	/**
	 * Handles of counted buffers per shard, 1 to 2^24 - 1; a buffer takes one, and one more for
	 * each other shard that it was sent to. Default 65536.
	 */
	uint32_t bufs_max;
	/** Memory for counted buffers per shard, 1 MiB to 1 TiB. Default 64 MiB. */
	uint64_t buf_pool_bytes;
	/** Host names that a shard looks up at the same time, 1 to 65536. Default 256. */
	uint32_t lookups_max;
	/**
	 * Threads that look host names up for all shards, 1 to 16, while there is something to look
	 * up. Default 4: so many hosts whose name servers don't answer hold up no other.
	 */
	uint32_t resolvers;
	/** Deadline of a TLS handshake; -1: none. Default 10 s. */
	int64_t tls_handshake_timeout_ns;
	/**
	 * TLS handshakes under way per shard, 1 to 2^24 - 1. Default 4096, which may take 400 MB:
	 * 57 KB of OpenSSL's each once begun, 95 KB with a ClientHello of the 16 KiB that are
	 * allowed. One more: accepting, refused; opening, -ENOBUFS.
	 */
	uint32_t tls_handshakes_max;
	/**
	 * Steps of TLS handshakes in a row, 1 to 65536; then all else has a turn, and the others
	 * wait, first come first served. Default 1: one that signs takes 0.1 to 1 ms.
	 */
	uint32_t tls_handshake_steps_max;
	/**
	 * How long a byte of output may wait while more than send_low_bytes do, or any after a
	 * graceful end was decided, in nanoseconds, -1: for ever. Default 120 s: who takes 1 MiB in
	 * that time reads 9 KB/s.
	 */
	int64_t output_timeout_ns;
	/**
	 * Patience when the send memory runs out, in nanoseconds, -1: no eviction. A peer that
	 * takes nothing for so long is cut when a sixteenth of the memory is free and its
	 * connection holds a 32nd of that; sooner the more it holds and the less is free. Default 5
	 * s: retransmissions of a peer that lives take less. With -1 nobody is evicted for
	 * recv_pool_bytes either.
	 */
	int64_t evict_after_ns;
	/**
	 * How long a key of TLS session tickets is used, in nanoseconds, -1: until the system ends.
	 * For as long again it is accepted; then it is wiped. Default 12 h: what was recorded a day
	 * ago can't be read with what is in memory. Tickets are good for two hours, or for this, if
	 * it is less.
	 */
	int64_t tls_ticket_rotation_ns;
	/**
	 * Other ends (a name, a port and options) per shard whose TLS sessions are kept to be
	 * resumed by opened connections, up to 4 of each; 1 to 1024. Default 64: what a program
	 * talks to, and 2 MB or so at most. One more makes the least recently opened one go.
	 */
	uint32_t tls_sites_max;
};

/** A configuration with the given fields, everything else at its default. */
#ifndef __cplusplus
#define RL_CONFIG(...) ((struct rl_config){ .struct_size = sizeof(struct rl_config), __VA_ARGS__ })
#endif

RL_END_DECLS

#endif
