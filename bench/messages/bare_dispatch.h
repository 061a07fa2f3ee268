/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * bare_dispatch - what actors and messages on one core cost at least: intrusive mailboxes in an
 * intrusive run queue, messages from a free list, a call through a pointer. No ids, no bounds, no
 * counters, no turn: nothing that a runtime would add.
 */
#ifndef RINGLINE_BENCH_BARE_DISPATCH_H
#define RINGLINE_BENCH_BARE_DISPATCH_H

#include "messages/messages.h"

#include "common/program.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bare_actor;
struct bare_msg;

/* Anything but 0: the actor ends, and its memory is given back. */
typedef int (*bare_receive_fn)(struct bare_actor *self, const struct bare_msg *msg);

struct bare_msg {
	struct bare_msg *next;
	uint32_t kind;
	uint32_t len;
	uint8_t payload[16];
};

struct bare_actor {
	struct bare_actor *next; /* in the run queue */
	struct bare_msg *first;
	struct bare_msg *last;
	bare_receive_fn receive;
	void *state;
	bool ready; /* in the run queue, or running */
};

struct bare_core {
	struct bare_actor *first; /* the run queue */
	struct bare_actor *last;
	struct bare_msg *free;
	struct bare_msg *msgs; /* all of them */
};

/* Puts @p count messages into the free list: it is never empty. */
static inline void
bare_core_init(struct bare_core *core, size_t count)
{
	struct bare_msg *msgs = program_alloc(count, sizeof(*msgs));
	size_t i;

	*core = (struct bare_core){ .msgs = msgs };
	for (i = 0; i < count; i++) {
		msgs[i].next = core->free;
		core->free = &msgs[i];
	}
}

static inline void
bare_core_fini(struct bare_core *core)
{
	free(core->msgs);
}

static inline void
bare_core_ready(struct bare_core *core, struct bare_actor *actor)
{
	actor->next = NULL;
	if (core->first == NULL) {
		core->first = actor;
	} else {
		core->last->next = actor;
	}
	core->last = actor;
}

static inline void
bare_post(struct bare_core *core, struct bare_actor *to, uint32_t kind, const void *data,
	  uint32_t len)
{
	struct bare_msg *msg = core->free;

	core->free = msg->next;
	msg->next = NULL;
	msg->kind = kind;
	msg->len = len;
	memcpy(msg->payload, data, len);
	if (to->first == NULL) {
		to->first = msg;
	} else {
		to->last->next = msg;
	}
	to->last = msg;
	if (!to->ready) {
		to->ready = true;
		bare_core_ready(core, to);
	}
}

/* The first of the run queue gets up to a batch of its messages; false: there was nobody. */
static inline bool
bare_run_one(struct bare_core *core)
{
	struct bare_actor *actor = core->first;
	unsigned left = MESSAGES_BATCH;

	if (actor == NULL) {
		return false;
	}
	core->first = actor->next;
	while (left-- > 0 && actor->first != NULL) {
		struct bare_msg *msg = actor->first;
		int answer;

		actor->first = msg->next;
		answer = actor->receive(actor, msg);
		msg->next = core->free;
		core->free = msg;
		if (answer != 0) {
			free(actor);
			return true;
		}
	}
	if (actor->first != NULL) {
		bare_core_ready(core, actor);
	} else {
		actor->ready = false;
	}
	return true;
}

#endif
