/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The table of the bare side; without Concurrency Kit one row is not there. */
#include "messages/bare_rows.h"

#include <stddef.h>

const struct messages_row messages_rows[] = {
	{ "window", "64 actors of one core, 1000 messages on their way", METER_CPU, 4096,
	  bare_window },
	{ "pingpong", "two actors of one core, one message", METER_CPU, 4096, bare_pingpong },
	{ "broadcast", "a pointer to 1000 actors of one core", METER_CPU, 4096, bare_broadcast },
	{ "spawn", "malloc, one dispatch, free", METER_CPU, 4096, bare_spawn },
	{ "timer", "add and cancel in a hashed wheel", METER_CPU, 4096, bare_timer },
	{ "notify", "entries through a ring to another core", METER_WALL, 4096, bare_notify },
	{ "drowsy", "the same: there is nothing that sleeps here", METER_WALL, 4096, bare_notify },
	{ "send", "the same, and a dispatch to 64 actors there", METER_WALL, 4096, bare_send },
	{ "parked", "round trips of threads that sleep, by MSG_RING", METER_LAP, 16, bare_parked },
#ifdef BENCH_HAS_CK
	{ "spinning", "round trips of threads that spin, by ck_ring", METER_LAP, 1024,
	  bare_spinning },
#endif
	{ NULL, NULL, METER_CPU, 0, NULL },
};
