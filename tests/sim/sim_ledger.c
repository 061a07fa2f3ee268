/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_ledger.h"

#include <errno.h>
#include <string.h>

#include "base/id.h"

#include "sim_harness.h"
#include "sim_ledger_state.h"

#define STALE_SLOT 0xfffff0u /* no slab is as large */

struct ledger ledger;
struct message ledger_messages[MESSAGES_MAX];

void
sim_ledger_reset(uint32_t shards)
{
	memset(&ledger, 0, sizeof(ledger));
	ledger.shards = shards;
	for (uint32_t i = 0; i < shards; i++) {
		struct talker *nobody = sim_ledger_talker(i, false);

		nobody->id.private_bits = id_pack(1 + (uint32_t)sim_below(9), i, STALE_SLOT + i);
		nobody->known = true;
		nobody->started = true;
		nobody->stopped = true;
		nobody->reason = RL_REASON_GONE;
	}
}

struct talker *
sim_ledger_talker(uint32_t shard, bool reports)
{
	struct talker *talker;

	if (ledger.talkers_count == TALKERS_MAX) {
		return NULL;
	}
	talker = &ledger.talkers[ledger.talkers_count++];
	talker->shard = shard;
	talker->reports = reports;
	return talker;
}

void
sim_ledger_unspawned(struct talker *talker)
{
	sim_check(!talker->started, "a spawn that failed started an actor");
	talker->started = true;
	talker->stopped = true;
}

uint32_t
sim_ledger_number(const struct talker *talker)
{
	return (uint32_t)(talker - ledger.talkers);
}

struct talker *
sim_ledger_any(void)
{
	for (uint32_t tries = 0; tries < 8; tries++) {
		struct talker *talker = &ledger.talkers[sim_below(ledger.talkers_count)];

		if (talker->known && (!talker->stopped || sim_below(4) == 0)) {
			return talker;
		}
	}
	return &ledger.talkers[0];
}

struct talker *
sim_ledger_living(void)
{
	uint32_t first = (uint32_t)sim_below(ledger.talkers_count);

	for (uint32_t i = 0; i < ledger.talkers_count; i++) {
		struct talker *talker = &ledger.talkers[(first + i) % ledger.talkers_count];

		if (talker->known && !talker->stopped) {
			return talker;
		}
	}
	return NULL;
}

/* ---- messages */

static uint32_t
body_check(const struct talk_body *body, uint32_t len)
{
	const uint8_t *filler = body->filler;
	uint32_t sum = body->number * 2654435761u ^ (uint32_t)body->from << 16 ^ body->to ^ len;

	for (uint32_t i = 12; i < len; i++) {
		sum = sum * 31 + filler[i - 12];
	}
	return sum;
}

static bool
is_stopped(uint32_t receiver)
{
	return receiver < TALKERS_MAX && ledger.talkers[receiver].stopped;
}

uint32_t
sim_ledger_send(uint32_t from, uint32_t to, enum talk_mode mode, struct talk_body *body,
		uint32_t *len)
{
	uint32_t number = ledger.messages_count;

	if (number == MESSAGES_MAX) {
		return TALK_NONE;
	}
	ledger.messages_count++;
	ledger.changes++;
	ledger_messages[number] = (struct message){
		.from = (uint16_t)from,
		.to = (uint16_t)to,
		.mode = (uint8_t)mode,
		.stale = is_stopped(to),
	};
	*len = 12 + number % (RL_MSG_INLINE_MAX - 11);
	body->number = number;
	body->from = (uint16_t)from;
	body->to = (uint16_t)to;
	memset(body->filler, (int)number, sizeof(body->filler));
	body->check = body_check(body, *len);
	return number;
}

void
sim_ledger_sent(uint32_t number, int rc)
{
	struct message *message = &ledger_messages[number];

	if (rc != 0) {
		sim_check(message->state == MESSAGE_SENDING, "INV-4: a refused message arrived");
		message->state = MESSAGE_REFUSED;
	} else if (message->state == MESSAGE_SENDING) {
		message->state = MESSAGE_SENT;
	}
	if (rc == -ENOENT && message->to < TALKERS_MAX && message->mode == TALK_PLAIN) {
		ledger.talkers[message->to].called_gone = true;
	}
}

void
sim_ledger_seal(struct talk_body *body)
{
	body->check = body_check(body, sizeof(*body));
}

void
sim_ledger_group(uint32_t first, uint32_t count)
{
	ledger_messages[first].group = (uint8_t)count;
}

/* Of those that were sent as one, from @first on, the one to @to. */
static uint32_t
message_in_group(uint32_t first, rl_actor_id to)
{
	sim_check(first < ledger.messages_count, "message %u was never sent", first);
	for (uint32_t i = first + 1; i < first + ledger_messages[first].group; i++) {
		if (rl_actor_id_eq(ledger.talkers[ledger_messages[i].to].id, to)) {
			return i;
		}
	}
	return first;
}

/* The first body says how many there are, by its group. */
void
sim_ledger_check_buf(const struct rl_buf *buf)
{
	struct talk_body body;
	uint32_t first = 0;

	for (uint32_t i = 0; i == 0 || i < ledger_messages[first].group; i++) {
		sim_check(buf->len >= (i + 1) * sizeof(body), "a buffer of %zu bytes", buf->len);
		memcpy(&body, buf->data + i * sizeof(body), sizeof(body));
		first = i == 0 ? body.number : first;
		sim_check(body.number == first + i && body.number < ledger.messages_count &&
				  body.check == body_check(&body, sizeof(body)),
			  "the buffer of message %u has other bytes", first);
	}
}

/* The number of a message by what came with it. */
static uint32_t
arrived_number(uint32_t to, const struct rl_msg *msg)
{
	struct talk_body body = { 0 };

	if (rl_msg_buf(msg) != NULL) {
		sim_check(msg->len == 0, "INV-4: %u bytes beside a buffer", msg->len);
		sim_ledger_check_buf(rl_msg_buf(msg));
		return message_in_group(msg->kind - TALK_KIND, ledger.talkers[to].id);
	}
	sim_check(msg->len >= 12 && msg->len <= sizeof(body), "INV-4: %u bytes arrived", msg->len);
	memcpy(&body, msg->user.data, msg->len);
	sim_check(body.check == body_check(&body, msg->len) && body.number < ledger.messages_count,
		  "INV-4: message %u from %u to %u arrived with other bytes", body.number,
		  body.from, body.to);
	sim_check(msg->kind == TALK_KIND + body.number, "INV-4: message %u with kind %u",
		  body.number, msg->kind);
	sim_check(body.to == to && body.from == ledger_messages[body.number].from,
		  "INV-6: message %u from %u to %u was delivered to %u", body.number, body.from,
		  body.to, to);
	return body.number;
}

/* It names its sender. */
static void
arrived_from(uint32_t number, const struct rl_msg *msg)
{
	uint32_t from = ledger_messages[number].from;

	if (from < TALKERS_MAX) {
		sim_check(rl_actor_id_eq(msg->from, ledger.talkers[from].id) &&
				  msg->user.shard == ledger.talkers[from].shard,
			  "message %u names another sender", number);
	} else {
		sim_check(rl_actor_id_is_none(msg->from) &&
				  msg->user.shard == (from == TALK_FOREIGN ? RL_SHARD_NONE
									   : from - TALKERS_MAX),
			  "message %u names another shard", number);
	}
}

enum talk_mode
sim_ledger_arrived(uint32_t to, const struct rl_msg *msg)
{
	uint32_t number = arrived_number(to, msg);
	struct message *message = &ledger_messages[number];
	uint32_t *last = &ledger.last[to][message->from];

	sim_check(message->to == to, "INV-6: message %u to %u was delivered to %u", number,
		  message->to, to);
	sim_check(message->state == MESSAGE_SENT || message->state == MESSAGE_SENDING,
		  "INV-4: message %u arrived and was %s", number,
		  message->state == MESSAGE_ARRIVED    ? "there already"
		  : message->state == MESSAGE_REPORTED ? "reported lost"
						       : "refused");
	sim_check(*last <= number, "INV-4: message %u from %u to %u was overtaken by %u", number,
		  message->from, to, *last - 1);
	sim_check(rl_request_id_is_none(msg->user.request) == (message->mode == TALK_PLAIN),
		  "message %u of mode %u with another sort of promise", number, message->mode);
	arrived_from(number, msg);
	*last = number + 1;
	ledger.changes++;
	message->state = MESSAGE_ARRIVED;
	return (enum talk_mode)message->mode;
}

void
sim_ledger_answered(uint32_t number, int error)
{
	sim_check(ledger_messages[number].answer == ANSWER_NONE, "request %u was answered twice",
		  number);
	ledger_messages[number].answer = error == 0 ? ANSWER_REPLY : ANSWER_FAILED;
}

void
sim_ledger_no_room(struct talker *me, uint32_t shard)
{
	sim_fault_count(FAULT_MESH_NO_ROOM);
	me->room_owed[shard] = true;
}

static bool
is_draining(void)
{
	return rli_system_drain_level(sim_system()) != SYSTEM_RUNS;
}

/* An answer says that an actor has ended: it has, or its end was decided. */
static void
talker_is_gone(uint32_t number)
{
	if (number < TALKERS_MAX) {
		ledger.talkers[number].called_gone = true;
	}
}

static void
told_undelivered(const struct talker *me, const struct rl_msg *msg)
{
	uint32_t number = msg->undelivered.kind - TALK_KIND;
	struct message *message;

	sim_check(me->reports, "a report for who did not ask for it");
	number = message_in_group(number, msg->undelivered.to);
	message = &ledger_messages[number];
	sim_check(message->from == sim_ledger_number(me) && message->to < TALKERS_MAX &&
			  rl_actor_id_eq(msg->undelivered.to, ledger.talkers[message->to].id),
		  "message %u was reported with another sender or receiver", number);
	sim_check(message->state == MESSAGE_SENT, "message %u was reported lost in state %u",
		  number, message->state);
	message->state = MESSAGE_REPORTED;
	sim_fault_count(FAULT_MESH_UNDELIVERED);
	if (msg->undelivered.error == -ENOENT) {
		talker_is_gone(message->to);
		return;
	}
	sim_check(msg->undelivered.error == -EAGAIN ||
			  (msg->undelivered.error == -ESHUTDOWN && is_draining()),
		  "message %u was reported with %d", number, msg->undelivered.error);
	sim_check(!message->stale || msg->undelivered.error != -EAGAIN,
		  "message %u to who had ended was reported with %d", number,
		  msg->undelivered.error);
}

/* ---- ties */

struct talk_request *
sim_ledger_request(struct talker *me)
{
	for (uint32_t i = 0; i < TALK_TIES; i++) {
		if (!me->requests[i].open) {
			return &me->requests[i];
		}
	}
	return NULL;
}

struct talk_watch *
sim_ledger_watch(struct talker *me)
{
	for (uint32_t i = 0; i < TALK_TIES; i++) {
		if (!me->watches[i].open) {
			return &me->watches[i];
		}
	}
	return NULL;
}

struct talk_promise *
sim_ledger_promise(struct talker *me)
{
	for (uint32_t i = 0; i < TALK_TIES; i++) {
		if (!me->promises[i].open) {
			return &me->promises[i];
		}
	}
	return NULL;
}

void
sim_ledger_link(struct talker *me, struct talker *other)
{
	struct ledger_link *link = &ledger.links[ledger.links_count];

	sim_check(ledger.links_count < LINKS_MAX, "more links than the simulation remembers");
	ledger.links_count++;
	*link = (struct ledger_link){ .maker = me, .other = other, .was_gone = other->stopped };
}

static struct talk_request *
request_of(struct talker *me, rl_request_id id)
{
	for (uint32_t i = 0; i < TALK_TIES; i++) {
		if (me->requests[i].open && rl_request_id_eq(me->requests[i].id, id)) {
			return &me->requests[i];
		}
	}
	sim_fail("an answer came to a request that is over, was cancelled, or never was");
}

static void
told_reply(struct talker *me, const struct rl_msg *msg)
{
	struct talk_request *request = request_of(me, msg->reply.id);

	request->open = false;
	if (request->number == TALK_NONE) {
		struct talker *spawned = &ledger.talkers[request->target];
		rl_actor_id id;

		sim_check(msg->len == sizeof(id), "a spawn was answered with %u bytes", msg->len);
		memcpy(&id, msg->reply.data, sizeof(id));
		sim_check(!spawned->started || rl_actor_id_eq(id, spawned->id),
			  "a spawn was answered with another id");
		spawned->id = id;
		spawned->known = true;
		return;
	}
	sim_check(msg->len == sizeof(uint32_t) &&
			  memcmp(msg->reply.data, &request->number, sizeof(uint32_t)) == 0,
		  "request %u got the reply to another one", request->number);
	sim_check(ledger_messages[request->number].answer == ANSWER_REPLY,
		  "request %u got a reply that nobody gave", request->number);
}

static void
told_reply_failed(struct talker *me, const struct rl_msg *msg, uint64_t now_ns)
{
	struct talk_request *request = request_of(me, msg->reply_failed.id);
	const struct message *message;
	int error = msg->reply_failed.error;
	bool truthful = false;

	request->open = false;
	if (request->number == TALK_NONE) {
		sim_ledger_unspawned(&ledger.talkers[request->target]);
		sim_check(error == -ENOBUFS || error == -ENOMEM || error == -EAGAIN ||
				  (error == -ESHUTDOWN && is_draining()),
			  "a spawn elsewhere failed with %d", error);
		return;
	}
	message = &ledger_messages[request->number];
	switch (error) {
	case -ETIMEDOUT:
		sim_fault_count(FAULT_REQUEST_TIMEOUT);
		truthful = now_ns >= request->due_ns;
		break;
	case -ENOENT:
		talker_is_gone(request->target);
		truthful = true;
		break;
	case -EAGAIN:
		truthful = message->state == MESSAGE_SENT;
		break;
	case -ENOSYS:
		truthful = message->state == MESSAGE_ARRIVED && message->mode == TALK_UNHANDLED;
		break;
	case -ESHUTDOWN:
		truthful = is_draining();
		break;
	case -EBADMSG:
		truthful = message->answer == ANSWER_FAILED;
		break;
	default:
		break;
	}
	sim_check(truthful, "request %u (mode %u, state %u) failed with %d, which is not true%s",
		  request->number, message->mode, message->state, error,
		  error == -ETIMEDOUT ? ": INV-9, too early" : "");
}

static void
told_down(struct talker *me, const struct rl_msg *msg)
{
	struct talk_watch *watch = NULL;
	const struct talker *target;

	for (uint32_t i = 0; i < TALK_TIES; i++) {
		if (me->watches[i].open && rl_monitor_id_eq(me->watches[i].id, msg->down.id)) {
			watch = &me->watches[i];
		}
	}
	sim_check(watch != NULL, "RL_MSG_DOWN of a monitor that is over or was given up");
	watch->open = false;
	target = &ledger.talkers[watch->target];
	sim_check(rl_actor_id_eq(target->id, msg->down.actor), "RL_MSG_DOWN names another actor");
	sim_check(target->stopped, "RL_MSG_DOWN of an actor that lives");
	sim_check(msg->down.reason == RL_REASON_GONE ||
			  (msg->down.reason == target->reason && msg->down.error == target->error),
		  "RL_MSG_DOWN says %s %d, RL_MSG_STOP said %s %d",
		  rl_reason_name(msg->down.reason), msg->down.error, rl_reason_name(target->reason),
		  target->error);
}

static void
told_stop(struct talker *me, const struct rl_msg *msg)
{
	bool linked = false;

	sim_check(!me->decided || me->young ||
			  (me->reason == msg->stop.reason && me->error == msg->stop.error),
		  "RL_MSG_STOP says %s %d, the actor wanted %s %d",
		  rl_reason_name(msg->stop.reason), msg->stop.error, rl_reason_name(me->reason),
		  me->error);
	me->stopped = true;
	me->reason = msg->stop.reason;
	me->error = msg->stop.error;
	for (uint32_t i = 0; i < ledger.links_count; i++) {
		struct ledger_link *link = &ledger.links[i];

		if (link->maker != me && link->other != me) {
			continue;
		}
		linked = linked || (link->maker == me ? link->other : link->maker)->stopped;
	}
	sim_check(linked || msg->stop.reason != RL_REASON_LINKED,
		  "an actor ended as linked, and nobody that it is linked to has");
	memset(me->room_owed, 0, sizeof(me->room_owed));
	for (uint32_t i = 0; i < TALK_TIES; i++) {
		me->requests[i].open = false;
		me->watches[i].open = false;
		/* promises are broken after this; until then they can be kept */
	}
}

void
sim_ledger_wants_end(struct talker *me, enum rl_reason reason, int error)
{
	if (me->decided) {
		return; /* the first reason counts */
	}
	me->decided = true;
	me->reason = reason;
	me->error = error;
}

static void
told_start(struct talker *me, const struct rl_actor *self)
{
	sim_check(!me->started, "INV-3: RL_MSG_START again");
	sim_check(!me->known || rl_actor_id_eq(me->id, rl_actor_self(self)),
		  "a spawn answered another id than the actor's own");
	sim_check(rl_shard_id(rl_actor_shard(self)) == me->shard, "an actor on another shard");
	me->id = rl_actor_self(self);
	me->started = true;
	me->known = true;
	me->young = true;
}

static void
told_room(struct talker *me, uint32_t shard)
{
	sim_check(shard < TALK_SHARDS && me->room_owed[shard],
		  "RL_MSG_ROOM of shard %u was not owed", shard);
	me->room_owed[shard] = false;
}

void
sim_ledger_message(struct talker *me, const struct rl_actor *self, const struct rl_msg *msg)
{
	ledger.changes++;
	sim_event("talk", msg->kind, sim_ledger_number(me));
	if (msg->kind == RL_MSG_START) {
		told_start(me, self);
		return;
	}
	sim_check(me->started && !me->stopped, "INV-3: message %u before START or after STOP",
		  msg->kind);
	sim_check(!me->decided || msg->kind == RL_MSG_STOP,
		  "INV-3: message %u after the end was decided", msg->kind);
	if (msg->kind == RL_MSG_STOP) {
		told_stop(me, msg);
		return;
	}
	me->young = false;
	switch (msg->kind) {
	case RL_MSG_ROOM:
		told_room(me, msg->room.shard);
		break;
	case RL_MSG_REPLY:
		told_reply(me, msg);
		break;
	case RL_MSG_REPLY_FAILED:
		told_reply_failed(me, msg, rl_shard_now_ns(rl_actor_shard(self)));
		break;
	case RL_MSG_DOWN:
		told_down(me, msg);
		break;
	case RL_MSG_UNDELIVERED:
		told_undelivered(me, msg);
		break;
	default:
		break;
	}
}
