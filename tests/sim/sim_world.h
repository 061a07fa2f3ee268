/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The simulated world: one seed, one clock, one generator, one trace.
 *
 * Everything that happens in a run is decided by sim_random(), so a seed replays a run exactly.
 * Every event is mixed into a hash over kinds, lengths and plaintext, never addresses or
 * user_data: two runs of one seed must end with the same hash, or something depends on what a
 * seed doesn't rule.
 */
#ifndef RINGLINE_SIM_WORLD_H
#define RINGLINE_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Legal but hostile things that the kernel, the peers and the machine do. Names: sim_fault.c. */
enum sim_fault {
	FAULT_ENTER_PARTIAL,
	FAULT_ENTER_EINTR,
	FAULT_ENTER_EAGAIN,
	FAULT_ENTER_EBUSY,
	FAULT_ENTER_ETIME,
	FAULT_ENTER_SPURIOUS,
	FAULT_SQ_FULL,
	FAULT_TIME_JUMP,
	FAULT_FOREIGN,
	FAULT_CQ_SMALL,
	FAULT_CQ_OVERFLOW,
	FAULT_CQ_ORDER,
	FAULT_CQ_LATE,
	FAULT_CQ_ASYNC,
	FAULT_ACCEPT_EMFILE,
	FAULT_ACCEPT_ENFILE,
	FAULT_ACCEPT_ENOMEM,
	FAULT_ACCEPT_ENOBUFS,
	FAULT_ACCEPT_EACCES,
	FAULT_ACCEPT_ECONNABORTED,
	FAULT_ACCEPT_EPERM,
	FAULT_ACCEPT_NETWORK,
	FAULT_ACCEPT_EINTR,
	FAULT_ACCEPT_RESET,
	FAULT_POLL_SPURIOUS,
	FAULT_RECV_ONE_BYTE,
	FAULT_RECV_CHUNK,
	FAULT_RECV_NO_MORE,
	FAULT_RECV_ENOBUFS,
	FAULT_RECV_EMPTY_RING,
	FAULT_RECV_CQ_FULL,
	FAULT_RECV_ECONNRESET,
	FAULT_RECV_ETIMEDOUT,
	FAULT_RECV_EINTR,
	FAULT_RECV_ECANCELED,
	FAULT_RECV_AFTER_CANCEL,
	FAULT_SEND_SHORT,
	FAULT_SEND_CHUNK,
	FAULT_SEND_EAGAIN,
	FAULT_SEND_EPIPE,
	FAULT_SEND_ECONNRESET,
	FAULT_SEND_ENOBUFS,
	FAULT_SEND_ENOMEM,
	FAULT_SEND_ECANCELED,
	FAULT_SEND_CANCELLED_PART,
	FAULT_SEND_ERROR_LOST,
	FAULT_CANCEL_ENOENT,
	FAULT_CANCEL_EALREADY,
	FAULT_CANCEL_LATE,
	FAULT_CANCEL_MISSED,
	FAULT_CLOSE_EIO,
	FAULT_SHUTDOWN_ENOTCONN,
	FAULT_UNSPEC_EINTR,
	FAULT_CONNECT_REFUSED,
	FAULT_CONNECT_BLACK_HOLE,
	FAULT_CONNECT_ENETUNREACH,
	FAULT_CONNECT_RACE,
	FAULT_LOOKUP_FAILS,
	FAULT_LOOKUP_LATE,
	FAULT_LOOKUP_ENDLESS,
	FAULT_LINK_CUT,
	FAULT_WAKE_SPURIOUS,
	FAULT_WAKE_READ_FAILS,
	FAULT_WAKE_NEEDLESS,
	FAULT_MSG_RING_EOVERFLOW,
	FAULT_MSG_RING_ENOMEM,
	FAULT_MSG_RING_EBADFD,
	FAULT_MSG_RING_LATE,
	FAULT_MSG_RING_TWICE,
	FAULT_MSG_RING_SPURIOUS,
	FAULT_MESH_NO_ROOM,
	FAULT_MESH_HELD_BACK,
	FAULT_MESH_OBLIGED,
	FAULT_MESH_UNDELIVERED,
	FAULT_REQUEST_TIMEOUT,
	FAULT_REPLY_LATE,
	FAULT_SETUP_FAILS,
	FAULT_THREAD_FAILS,
	FAULT_SETUP_FALLBACK,
	FAULT_REGISTER_FAILS,
	FAULT_SOCKET_EMFILE,
	FAULT_MEMORY_ONCE,
	FAULT_MEMORY_GONE,
	FAULT_PEER_HALF_CLOSE,
	FAULT_PEER_RST,
	FAULT_PEER_ZERO_WINDOW,
	FAULT_PEER_SILENT,
	FAULT_PEER_ONE_BYTE,
	FAULT_PEER_STORM,
	FAULT_PEER_TALKS_ON,
	FAULT_SPIN_TURN,
	FAULT_LISTENER_BREAKS,
	FAULT_TLS_FLIP,
	FAULT_TLS_JUNK,
	FAULT_TLS_CUT,
	FAULT_TLS_NO_NOTIFY,
	FAULT_TLS_NEW_KEYS,
	FAULT_TLS_OLD,
	FAULT_TLS_NO_CERT,
	FAULT_TLS_BAD_CERT,
	FAULT_TLS_SHORT,
	FAULT_TLS_ASKS_SHORT,
	FAULT_TLS_LONG,
	FAULT_TLS_AGAIN,
	FAULT_TLS_RESUMED_IN,
	FAULT_TLS_RESUMED_OUT,
	SIM_FAULTS
};

struct sim_world {
	uint64_t seed;
	uint64_t now_ns;
	uint64_t events;
	uint64_t hash;
	uint64_t rng;
	uint64_t host_rng; /* rli_host_random(): a stream of its own */
	uint64_t tls_rng; /* OpenSSL's, likewise */
	uint32_t fault_chance[SIM_FAULTS]; /* in 65536 */
	bool tracing;
	bool sealed; /* what goes over the wire is TLS: only its length is hashed */
	bool healed; /* no fault fires any more */
	uint64_t healed_ns; /* since then */
	bool in_turn; /* product code of a shard is on the stack */
	void (*foreign)(
		void); /* what other threads do while a shard is in the middle of its turn */
	void (*looked)(void); /* the same, when it looks for completions; NULL: nothing */
};

extern struct sim_world sim_world;

/* How often each fault fired, over all worlds of the process. */
extern uint64_t sim_fault_fired[SIM_FAULTS];

void sim_world_reset(uint64_t seed);

/* A draw for this seed: about half of the rows at zero, the others around their usual chance. */
void sim_faults_swarm(void);
void sim_faults_none(void);
void sim_fault_set(enum sim_fault fault, uint32_t chance);
/* -1: no fault has this name. */
int sim_fault_by_name(const char *name);
const char *sim_fault_name(enum sim_fault fault);
void sim_fault_table(void);

/* Does it happen now? Counts when it does. */
bool sim_fault(enum sim_fault fault);
/* It happened by itself. */
void sim_fault_count(enum sim_fault fault);

uint64_t sim_mix(uint64_t x);
uint64_t sim_random(void);
uint64_t sim_host_random(void);
uint64_t sim_tls_random(void);

/* 0 .. n - 1; n > 0. */
static inline uint64_t
sim_below(uint64_t n)
{
	return sim_random() % n;
}

/* low .. high. */
static inline uint64_t
sim_between(uint64_t low, uint64_t high)
{
	return low + sim_below(high - low + 1);
}

/* @n times out of 65536. */
static inline bool
sim_chance(uint32_t n)
{
	return (sim_random() & 0xffff) < n;
}

static inline bool
sim_coin(void)
{
	return (sim_random() & 1) != 0;
}

/* Something happened: hashed, and printed under --trace. */
void sim_event(const char *what, int64_t a, int64_t b);
void sim_event_bytes(const char *what, const void *data, size_t len);
/* The same on the wire: tickets know the real time, and nobody else does. */
void sim_event_wire(const char *what, const void *data, size_t len);

/* A step of the scheduler. */
static inline void
sim_event_count(void)
{
	sim_world.events++;
}

/* A foreign thread may run here; called by the seams whenever product code comes through them. */
void sim_interleave(void);

/* The run is red: print why and how to replay it, and end the process. */
_Noreturn __attribute__((format(printf, 1, 2))) void sim_fail(const char *format, ...);

/* sim_check(what must hold, "what it means if it doesn't", ...) */
#define sim_check(condition, ...)              \
	do {                                   \
		if (!(condition)) {            \
			sim_fail(__VA_ARGS__); \
		}                              \
	} while (0)

/* The options that replay a run exactly, for the line that a failure prints. */
void sim_replay_set(const char *line);
const char *sim_replay(void);

#endif
