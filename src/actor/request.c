/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Requests and replies. Invariants: a request that was taken is told exactly one outcome, unless
 * its actor ends first; a promise is answered exactly once, and its record lives until the answer
 * left.
 */
#include "actor/request.h"

#include <errno.h>
#include <string.h>

#include <ringline/request.h>
#include <ringline/shard.h>

#include "actor/actor_run.h"
#include "actor/actor_send.h"
#include "actor/name.h"
#include "base/mutant.h"

/* What rl_actor_spawn_on() sends. */
struct spawn_order {
	const struct rl_actor_def *def;
	void *arg;
};

_Static_assert(sizeof(struct spawn_order) <= RL_MSG_INLINE_MAX, "it travels inside a message");

static uint64_t
request_id(const struct rl_shard *shard, const struct request *request)
{
	return id_pack(request->generation, shard->id,
		       rli_slab_number(&shard->actors->requests, request));
}

static struct request *
request_resolve(struct rl_shard *shard, uint64_t id)
{
	struct request *request = rli_slab_at(&shard->actors->requests, id_slot(id));

	if (request == NULL || id_shard(id) != shard->id || request->actor == NULL ||
	    (request->generation != id_generation(id) && !RL_MUTANT(LATE_REPLY_TAKEN))) {
		return NULL;
	}
	return request;
}

/* It waits for room no more: a message that never left is lost, and was counted as sent. */
static void
request_recall(struct rl_shard *shard, struct request *request)
{
	if (rli_obligation_waits(&request->ask) &&
	    envelope_class(&request->ask.envelope) == ENVELOPE_REQUEST) {
		(void)rli_actor_undelivered(shard, shard->actors->cut ? -ESHUTDOWN : -EAGAIN);
	}
	list_remove(&request->ask.node);
}

static void
request_free(struct request *request)
{
	struct rl_shard *shard = request->actor->shard;

	(void)rli_wheel_cancel(&shard->wheel, &request->timer); /* false: it had none, or is due */
	list_remove(&request->tie.node);
	request_recall(shard, request);
	request->actor = NULL;
	rli_slab_give(&shard->actors->requests, request);
}

/* The outcome is known; its payload is in ask.envelope. */
static void
request_settle(struct request *request, int error)
{
	struct rl_shard *shard = request->actor->shard;

	(void)rli_wheel_cancel(&shard->wheel, &request->timer); /* as in request_free() */
	request_recall(shard, request);
	if (envelope_class(&request->ask.envelope) == ENVELOPE_REGISTER) {
		error = rli_name_settled(shard, request->ask.envelope.to, error);
	}
	request->settled = true;
	request->error = error;
	rli_tie_notice(request->actor, &request->tie);
}

static struct request *
request_take(struct rl_actor *self, int64_t timeout_ns)
{
	struct rl_shard *shard = self->shard;
	struct request *request = rli_slab_take(&shard->actors->requests);

	if (request == NULL) {
		return NULL;
	}
	request->generation = id_generation_next(request->generation);
	request->actor = self;
	request->settled = false;
	list_node_init(&request->ask.node);
	request->ask.last = false;
	rli_timer_init(&request->timer, TIMER_REQUEST);
	if (timeout_ns > 0) {
		uint64_t deadline_ns = shard->now_ns + (uint64_t)timeout_ns;

		if (deadline_ns < shard->now_ns) {
			deadline_ns = UINT64_MAX; /* further off than the clock goes */
		}
		rli_wheel_start(&shard->wheel, &request->timer, deadline_ns);
	}
	rli_tie_init(&request->tie, TIE_REQUEST, &self->held);
	counters_add(&shard->counters, requests, 1);
	return request;
}

int
rli_request_make(struct rl_actor *self, uint32_t to, const struct envelope *envelope,
		 int64_t timeout_ns, rl_request_id *id)
{
	struct rl_shard *shard = self->shard;
	struct request *request;
	int rc = 0;

	if (id != NULL) {
		*id = (rl_request_id){ 0 };
	}
	if (self->life == ACTOR_ENDING || shard->actors->cut) {
		return -ESHUTDOWN;
	}
	request = request_take(self, timeout_ns);
	if (request == NULL) {
		return -ENOBUFS;
	}
	request->ask.envelope = *envelope;
	request->ask.envelope.ref = request_id(shard, request);
	request->ask.envelope.from = self->id;
	request->ask.envelope.class |= ENVELOPE_F_REPORT;
	request->ask.envelope.shard = (int16_t)shard->id;
	if (id != NULL) {
		id->private_bits = request->ask.envelope.ref;
	}
	if (to != shard->id) {
		(void)rli_mesh_oblige(shard->port, to,
				      &request->ask); /* sent or waiting: both do */
		return 0;
	}
	if (envelope->class == ENVELOPE_REQUEST) {
		rc = rli_request_arrived(shard, &request->ask.envelope);
	} else if (envelope->class == ENVELOPE_REGISTER) {
		rc = rli_name_register_arrived(shard, &request->ask.envelope);
	} else {
		rc = rli_request_spawn(shard, &request->ask.envelope);
	}
	if (rc != 0) {
		request_settle(request, rc);
	}
	return 0;
}

int
rl_actor_request(struct rl_actor *self, const struct rl_request *request, rl_request_id *id)
{
	struct envelope envelope = { .to = request->to.private_bits, .kind = request->kind };
	struct rl_shard *shard = self->shard;
	int rc;

	if (shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	if (request->kind < RL_MSG_USER || request->timeout_ns == 0 || request->timeout_ns < -1) {
		return -EINVAL;
	}
	if (request->len > RL_MSG_INLINE_MAX) {
		return -EMSGSIZE;
	}
	if (id_generation(envelope.to) == 0 || id_shard(envelope.to) >= shard->count) {
		return -ENOENT;
	}
	envelope.class = ENVELOPE_REQUEST;
	envelope.len = (uint8_t)request->len;
	envelope_copy_payload(envelope.payload, request->data, request->len);
	rc = rli_request_make(self, id_shard(envelope.to), &envelope, request->timeout_ns, id);
	if (rc == 0) {
		counters_add(&shard->counters, msgs_sent, 1);
	}
	return rc;
}

int
rl_actor_spawn_on(struct rl_actor *self, uint32_t shard, const struct rl_actor_def *def, void *arg,
		  rl_request_id *request)
{
	struct spawn_order order = { def, arg };
	struct envelope envelope = { .class = ENVELOPE_SPAWN, .len = sizeof(order) };

	if (self->shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	if (shard >= self->shard->count) {
		return -EINVAL;
	}
	if (self->shard->actors->draining) {
		return -ESHUTDOWN;
	}
	memcpy(envelope.payload, &order, sizeof(order));
	return rli_request_make(self, shard, &envelope, -1, request);
}

struct promise *
rli_promise_take(struct rl_shard *shard, uint64_t request)
{
	struct promise *promise = rli_slab_take(&shard->actors->promises);

	if (promise == NULL) {
		return NULL;
	}
	promise->generation = id_generation_next(promise->generation);
	promise->actor = NULL;
	promise->request = request;
	list_node_init(&promise->tie.node);
	list_node_init(&promise->answer.node);
	promise->answer.last = true;
	return promise;
}

void
rli_promise_answer(struct rl_shard *shard, struct promise *promise, int error, const void *data,
		   size_t len)
{
	struct envelope *envelope = &promise->answer.envelope;
	uint32_t to = id_shard(promise->request);

	list_remove(&promise->tie.node);
	promise->actor = NULL; /* from here on its id names nothing */
	*envelope = (struct envelope){
		.to = promise->request,
		.kind = (uint32_t)-error,
		.len = (uint8_t)len,
		.class = ENVELOPE_REPLY,
		.shard = (int16_t)shard->id,
	};
	envelope_copy_payload(envelope->payload, data, len);
	counters_add(&shard->counters, replies, 1);
	if (to == shard->id) {
		rli_request_answered(shard, envelope);
	} else if (!rli_mesh_oblige(shard->port, to, &promise->answer)) {
		return; /* freed by rli_obligation_sent() */
	}
	rli_slab_give(&shard->actors->promises, promise);
}

uint64_t
rli_promise_id(const struct rl_shard *shard, uint32_t number)
{
	const struct promise *promise = rli_slab_at(&shard->actors->promises, number);

	RL_ASSERT(promise != NULL);
	return id_pack(promise->generation, shard->id, number);
}

int
rli_request_arrived(struct rl_shard *shard, const struct envelope *envelope)
{
	struct envelope message = *envelope;
	struct promise *promise = rli_promise_take(shard, envelope->ref);
	int rc;

	if (promise == NULL) {
		return rli_actor_undelivered(shard, -EAGAIN);
	}
	message.ref = rli_promise_id(shard, rli_slab_number(&shard->actors->promises, promise));
	rc = rli_actor_post(shard, &message);
	if (rc != 0) {
		rli_slab_give(&shard->actors->promises, promise);
		return rc;
	}
	promise->actor = rli_actor_resolve(shard, envelope->to);
	rli_tie_init(&promise->tie, TIE_PROMISE, &promise->actor->owed);
	return 0;
}

int
rli_request_spawn(struct rl_shard *shard, const struct envelope *envelope)
{
	struct promise *promise = rli_promise_take(shard, envelope->ref);
	struct spawn_order order;
	rl_actor_id id;
	int rc;

	if (promise == NULL) {
		return -EAGAIN;
	}
	memcpy(&order, envelope->payload, sizeof(order));
	rc = rl_shard_spawn(shard, order.def, order.arg, &id);
	rli_promise_answer(shard, promise, rc, &id, rc == 0 ? sizeof(id) : 0);
	return 0;
}

void
rli_request_answered(struct rl_shard *shard, const struct envelope *envelope)
{
	struct request *request = request_resolve(shard, envelope->to);

	if (request == NULL || request->settled) {
		counters_add(&shard->counters, replies_late, 1);
		return;
	}
	request->ask.envelope.len = envelope->len;
	memcpy(request->ask.envelope.payload, envelope->payload, sizeof(envelope->payload));
	request_settle(request, -(int)envelope->kind);
}

void
rli_request_failed(struct rl_shard *shard, uint64_t id, int error)
{
	struct request *request = request_resolve(shard, id);

	if (request != NULL && !request->settled) {
		request_settle(request, error);
	}
}

void
rli_request_due(struct timer *timer)
{
	struct request *request = list_entry(timer, struct request, timer);

	counters_add(&request->actor->shard->counters, requests_timed_out, 1);
	request_settle(request, -ETIMEDOUT);
}

void
rli_request_deliver(struct rl_actor *actor, struct request *request)
{
	struct envelope answer = request->ask.envelope;
	struct rl_msg msg = { .kind = RL_MSG_REPLY };

	msg.from.private_bits = 0;
	if (request->error != 0) {
		msg.kind = RL_MSG_REPLY_FAILED;
		msg.reply_failed.error = request->error;
		msg.reply_failed.id.private_bits = request_id(actor->shard, request);
	} else {
		msg.len = answer.len;
		msg.reply.data = answer.payload;
		msg.reply.id.private_bits = request_id(actor->shard, request);
	}
	if (envelope_class(&answer) == ENVELOPE_REGISTER && request->error == 0) {
		rli_name_told(actor->shard, answer.to);
	}
	request_free(request);
	rli_actor_answered(actor, msg.kind, rli_actor_deliver(actor, &msg));
}

void
rli_request_drop(struct request *request)
{
	request_free(request);
}

int
rl_actor_request_cancel(struct rl_actor *self, rl_request_id id)
{
	struct request *request;
	uint64_t claim = 0;

	if (self->shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	request = request_resolve(self->shard, id.private_bits);
	if (request == NULL || request->actor != self) {
		return -ENOENT;
	}
	if (envelope_class(&request->ask.envelope) == ENVELOPE_REGISTER) {
		claim = request->ask.envelope.to;
	}
	request_free(request);
	if (claim != 0) {
		rli_name_cancelled(self->shard, claim);
	}
	return 0;
}

void
rli_promise_break(struct promise *promise)
{
	struct rl_shard *shard = promise->actor->shard;

	if (RL_MUTANT(PROMISE_NOT_BROKEN)) {
		return;
	}
	rli_promise_answer(shard, promise, shard->actors->cut ? -ESHUTDOWN : -ENOENT, NULL, 0);
}

/* The promise that @self owes under this id. */
static struct promise *
promise_resolve(struct rl_actor *self, rl_request_id id)
{
	struct rl_shard *shard = self->shard;
	struct promise *promise = rli_slab_at(&shard->actors->promises, id_slot(id.private_bits));

	if (promise == NULL || id_shard(id.private_bits) != shard->id || promise->actor != self ||
	    promise->generation != id_generation(id.private_bits)) {
		return NULL;
	}
	return promise;
}

int
rl_actor_reply(struct rl_actor *self, rl_request_id id, const void *data, size_t len)
{
	struct promise *promise;

	if (self->shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	if (len > RL_MSG_INLINE_MAX) {
		return -EMSGSIZE;
	}
	promise = promise_resolve(self, id);
	if (promise == NULL) {
		return -ENOENT;
	}
	rli_promise_answer(self->shard, promise, 0, data, len);
	return 0;
}

int
rl_actor_reply_failed(struct rl_actor *self, rl_request_id id, int error)
{
	struct promise *promise;

	if (self->shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	if (error >= 0) {
		return -EINVAL;
	}
	promise = promise_resolve(self, id);
	if (promise == NULL) {
		return -ENOENT;
	}
	rli_promise_answer(self->shard, promise, error, NULL, 0);
	return 0;
}

void
rli_promise_keep(struct rl_actor *actor, uint64_t id, const void *data, size_t len)
{
	struct promise *promise = promise_resolve(actor, (rl_request_id){ id });

	if (promise != NULL) {
		rli_promise_answer(actor->shard, promise, 0, data, len);
	}
}

void
rli_promise_unhandled(struct rl_actor *actor, uint64_t id)
{
	struct promise *promise = promise_resolve(actor, (rl_request_id){ id });

	if (promise != NULL) {
		rli_promise_answer(actor->shard, promise, -ENOSYS, NULL, 0);
	}
}

void
rli_actor_asked_to_stop(struct rl_shard *shard, uint64_t id)
{
	struct rl_actor *actor = rli_actor_resolve(shard, id);

	if (actor != NULL) {
		rli_actor_end(actor, RL_REASON_LOCAL, 0);
	}
}

int
rl_actor_stop(struct rl_actor *self, rl_actor_id to)
{
	struct rl_shard *shard = self->shard;
	struct promise *order;

	if (shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	if (id_generation(to.private_bits) == 0 || id_shard(to.private_bits) >= shard->count) {
		return -ENOENT;
	}
	if (id_shard(to.private_bits) == shard->id) {
		rli_actor_asked_to_stop(shard, to.private_bits);
		return 0;
	}
	order = rli_promise_take(shard,
				 0); /* the record of a message that must arrive, and no more */
	if (order == NULL) {
		return -ENOBUFS;
	}
	order->answer.envelope = (struct envelope){
		.to = to.private_bits,
		.class = ENVELOPE_STOP,
		.shard = (int16_t)shard->id,
	};
	if (rli_mesh_oblige(shard->port, id_shard(to.private_bits), &order->answer)) {
		rli_slab_give(&shard->actors->promises, order);
	}
	return 0;
}

void
rli_obligation_sent(struct rl_shard *shard, struct obligation *obligation)
{
	switch ((int)envelope_class(&obligation->envelope)) {
	case ENVELOPE_REPLY:
	case ENVELOPE_STOP:
		rli_slab_give(&shard->actors->promises,
			      list_entry(obligation, struct promise, answer));
		return;
	case ENVELOPE_UNREGISTER:
	case ENVELOPE_NAME:
		rli_name_sent(shard, obligation);
		return;
	default:
		return; /* its record lives on */
	}
}
