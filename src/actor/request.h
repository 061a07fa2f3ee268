/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Requests. Two records: the request, on the shard of the actor that asked, with the deadline and
 * the memory of the way out; and the promise, on the shard of the actor that was asked, with the
 * memory of the way back. Each is named by an id of its own, so what is late or repeated names
 * nothing. Whatever happens, a promise ends in one answer: the actor's, or the shard's in its
 * place.
 */
#ifndef RINGLINE_ACTOR_REQUEST_H
#define RINGLINE_ACTOR_REQUEST_H

#include "actor/actor.h"
#include "mailbox/mesh.h"

struct request {
	uint32_t slab_link; /* the slab's, while the slot is free */
	uint32_t generation;
	struct tie tie; /* held, then a notice */
	struct rl_actor *actor; /* who asked; NULL: free */
	struct timer timer;
	struct obligation ask; /* on its way out; then the answer's payload */
	bool settled; /* the outcome is known, and is to be delivered */
	int error; /* of the outcome; 0: a reply */
};

struct promise {
	uint32_t slab_link; /* the slab's, while the slot is free */
	uint32_t generation;
	struct tie tie; /* owed */
	struct rl_actor *actor; /* who owes it; NULL: answered, or free */
	uint64_t request;
	struct obligation answer; /* on its way back */
};

/*
 * A request to shard @to or an actor there: its class, receiver and payload are in @envelope, the
 * rest is filled in. 0, -ENOBUFS, -ESHUTDOWN.
 */
int rli_request_make(struct rl_actor *self, uint32_t to, const struct envelope *envelope,
		     int64_t timeout_ns, rl_request_id *id);

/* What the program knows promise number @number by. */
uint64_t rli_promise_id(const struct rl_shard *shard, uint32_t number);

/* A promise that no actor owes yet; NULL: requests_max. Give it back by answering it. */
struct promise *rli_promise_take(struct rl_shard *shard, uint64_t request);

/* The way back, for an answer of any sort. */
void rli_promise_answer(struct rl_shard *shard, struct promise *promise, int error,
			const void *data, size_t len);

/* A request came for an actor of this shard: 0, or why it was not delivered. */
int rli_request_arrived(struct rl_shard *shard, const struct envelope *envelope);

/* Another shard wants an actor spawned here. 0, or why that can't even be answered. */
int rli_request_spawn(struct rl_shard *shard, const struct envelope *envelope);

/* The answer to a request of this shard. */
void rli_request_answered(struct rl_shard *shard, const struct envelope *envelope);

/* A request of this shard could not be delivered. */
void rli_request_failed(struct rl_shard *shard, uint64_t id, int error);

/* Its deadline passed. */
void rli_request_due(struct timer *timer);

/* Tell the actor what has come of it. */
void rli_request_deliver(struct rl_actor *actor, struct request *request);

/* The actor that asked has ended. */
void rli_request_drop(struct request *request);

/* The actor that was asked has ended. */
void rli_promise_break(struct promise *promise);

/* Answer in its place what @actor owes under this id, if it does. */
void rli_promise_keep(struct rl_actor *actor, uint64_t id, const void *data, size_t len);

/* The handler does not know this sort of request: answer in its place, unless it has. */
void rli_promise_unhandled(struct rl_actor *actor, uint64_t id);

/* An obligation that had to wait has left; its record may have lived only for that. */
void rli_obligation_sent(struct rl_shard *shard, struct obligation *obligation);

/* Another actor wants this one to end; an id that has ended is fine. */
void rli_actor_asked_to_stop(struct rl_shard *shard, uint64_t id);

#endif
