/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What every other header needs: linkage, result checking, and the ids.
 *
 * Ids are structs with one member so that the compiler tells an actor's id from a timer's. The
 * member is private to ringline: pass ids on, compare them with rl_actor_id_eq(), never take them
 * apart. They carry a generation: an id whose object has ended stays an error for ever and is never
 * taken for the next occupant of the same slot. All-zero is "no id".
 */
#ifndef RINGLINE_TYPES_H
#define RINGLINE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define RL_BEGIN_DECLS extern "C" {
#define RL_END_DECLS   }
#else
#define RL_BEGIN_DECLS
#define RL_END_DECLS
#endif

#define RL_EXPORT     __attribute__((visibility("default")))
#define RL_MUST_CHECK __attribute__((warn_unused_result))
#define RL_ALIGNED(n) __attribute__((aligned(n)))

RL_BEGIN_DECLS

struct rl_actor;
struct rl_config;
struct rl_msg;
struct rl_shard;
struct rl_system;

/** Names an actor (and so a connection), on whichever shard it lives. */
typedef struct rl_actor_id {
	uint64_t private_bits;
} rl_actor_id;

/** Names a timer of one actor. */
typedef struct rl_timer_id {
	uint64_t private_bits;
} rl_timer_id;

/** Names a request that was made, and at the other end the reply that is owed. */
typedef struct rl_request_id {
	uint64_t private_bits;
} rl_request_id;

/** Names a monitor of one actor. */
typedef struct rl_monitor_id {
	uint64_t private_bits;
} rl_monitor_id;

/** Names a listener. */
typedef struct rl_listener_id {
	uint64_t private_bits;
} rl_listener_id;

/** Tell whether @p a and @p b name the same actor. */
static inline bool
rl_actor_id_eq(rl_actor_id a, rl_actor_id b)
{
	return a.private_bits == b.private_bits;
}

/** Tell whether @p id is "no id", what a zeroed struct holds. */
static inline bool
rl_actor_id_is_none(rl_actor_id id)
{
	return id.private_bits == 0;
}

/** Tell whether @p a and @p b name the same request. */
static inline bool
rl_request_id_eq(rl_request_id a, rl_request_id b)
{
	return a.private_bits == b.private_bits;
}

/** Tell whether @p id is "no request": a message that asks for no reply carries that. */
static inline bool
rl_request_id_is_none(rl_request_id id)
{
	return id.private_bits == 0;
}

/** Tell whether @p a and @p b name the same monitor. */
static inline bool
rl_monitor_id_eq(rl_monitor_id a, rl_monitor_id b)
{
	return a.private_bits == b.private_bits;
}

RL_END_DECLS

#endif
