/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_talk.h"

#include <errno.h>
#include <string.h>

#include "sim_harness.h"
#include "sim_ledger.h"
#include "sim_talk_common.h"

/* The head of a talker's state. */
struct talk_state {
	struct talker *me;
};

struct talk talk;

static int talk_receive(struct rl_actor *self, const struct rl_msg *msg);

static const struct rl_actor_def talk_defs[] = {
	{ .name = "talker", .receive = talk_receive, .state_size = sizeof(struct talk_state) },
	{ .name = "reporter",
	  .receive = talk_receive,
	  .state_size = sizeof(struct talk_state),
	  .reports = true },
};

uint32_t
talk_burst(void)
{
	if (sim_below(3) != 0 || talk.left < talk.burst_max) {
		return (uint32_t)sim_between(1, 6);
	}
	return (uint32_t)sim_between(1, talk.burst_max);
}

void
talk_spend(void)
{
	talk.messages++;
	talk.left -= talk.left > 0;
}

/* ---- messages */

static int
op_say_one(struct rl_actor *self, struct talker *me, const struct talker *to)
{
	struct talk_body body;
	uint32_t len;
	uint32_t number = sim_ledger_send(sim_ledger_number(me), sim_ledger_number(to), TALK_PLAIN,
					  &body, &len);
	int rc;

	if (number == TALK_NONE) {
		return -EAGAIN;
	}
	talk_spend();
	rc = rl_actor_send(self, to->id, TALK_KIND + number, &body, len);
	sim_ledger_sent(number, rc);
	sim_check(rc == 0 || rc == -ENOENT || rc == -EAGAIN || rc == -ENOBUFS || rc == -ESHUTDOWN,
		  "rl_actor_send() answered %d", rc);
	sim_check(rc != -ENOENT || to->shard == me->shard, "-ENOENT of an actor elsewhere");
	if (rc == -EAGAIN && to->shard != me->shard) {
		sim_ledger_no_room(me, to->shard);
	}
	return rc;
}

static void
op_notify(struct rl_actor *self, struct talker *me)
{
	uint32_t to = (uint32_t)sim_below(talk.shards);

	for (uint32_t left = talk_burst(); left > 0; left--) {
		int rc = talk_notify(rl_actor_shard(self), to);

		if (rc == -EAGAIN) {
			sim_ledger_no_room(me, to);
		}
		if (rc != 0 && sim_below(4) != 0) {
			return;
		}
	}
}

/* ---- requests */

static int64_t
some_timeout(void)
{
	static const uint64_t most[] = { 1000, 1000000, 50000000, 1000000000 };
	uint64_t which = sim_below(6);

	return which > 3 ? -1 : (int64_t)sim_between(1, most[which]);
}

static void
request_made(struct rl_actor *self, struct talk_request *record, int64_t timeout_ns)
{
	uint64_t now_ns = rl_shard_now_ns(rl_actor_shard(self));

	record->open = true;
	record->due_ns = timeout_ns < 0 ? UINT64_MAX : now_ns + (uint64_t)timeout_ns;
}

static void
op_ask(struct rl_actor *self, struct talker *me, const struct talker *to)
{
	struct talk_request *record = sim_ledger_request(me);
	enum talk_mode mode = (enum talk_mode)sim_between(TALK_NOW, TALK_UNHANDLED);
	struct rl_request request = { .to = to->id, .timeout_ns = some_timeout() };
	struct talk_body body;
	int rc;

	if (record == NULL) {
		return;
	}
	record->number = sim_ledger_send(sim_ledger_number(me), sim_ledger_number(to), mode, &body,
					 &request.len);
	if (record->number == TALK_NONE) {
		return;
	}
	record->target = sim_ledger_number(to);
	request.kind = TALK_KIND + record->number;
	request.data = &body;
	rc = rl_actor_request(self, &request, &record->id);
	sim_ledger_sent(record->number, rc);
	sim_check(rc == 0 || rc == -ENOBUFS || rc == -ESHUTDOWN, "rl_actor_request() answered %d",
		  rc);
	if (rc == 0) {
		request_made(self, record, request.timeout_ns);
	}
}

static void
op_request(struct rl_actor *self, struct talker *me)
{
	op_ask(self, me, sim_below(16) == 0 ? me : sim_ledger_any());
}

static void
op_cancel(struct rl_actor *self, struct talker *me)
{
	struct talk_request *record = &me->requests[sim_below(TALK_TIES)];
	int rc;

	if (rl_request_id_is_none(record->id)) {
		return;
	}
	rc = rl_actor_request_cancel(self, record->id);
	sim_check(rc == (record->open ? 0 : -ENOENT), "a cancel answered %d, open %d", rc,
		  record->open);
	record->open = false;
}

static void
promise_keep(struct rl_actor *self, struct talk_promise *promise)
{
	bool well = sim_below(4) != 0;
	int rc;

	promise->open = false;
	sim_ledger_answered(promise->number, well ? 0 : -EBADMSG);
	rc = well ? rl_actor_reply(self, promise->id, &promise->number, sizeof(promise->number))
		  : rl_actor_reply_failed(self, promise->id, -EBADMSG);
	sim_check(rc == 0, "a reply that is owed answered %d", rc);
}

static void
op_keep_promises(struct rl_actor *self, struct talker *me, uint32_t count)
{
	for (uint32_t i = 0; i < TALK_TIES && count > 0; i++) {
		if (me->promises[i].open) {
			promise_keep(self, &me->promises[i]);
			count--;
		}
	}
}

/* A request arrived; what the handler answers. */
static int
talk_asked(struct rl_actor *self, struct talker *me, const struct rl_msg *msg, enum talk_mode mode)
{
	uint32_t number = msg->kind - TALK_KIND;
	rl_request_id id = msg->user.request;
	struct talk_promise *promise = sim_ledger_promise(me);
	int rc = 0;

	if (mode == TALK_UNHANDLED) {
		return RL_ACTOR_UNHANDLED;
	}
	if ((mode == TALK_LATER || mode == TALK_NEVER) && promise != NULL) {
		*promise = (struct talk_promise){ id, number, true };
		return 0;
	}
	sim_ledger_answered(number, mode == TALK_FAIL ? -EBADMSG : 0);
	rc = mode == TALK_FAIL ? rl_actor_reply_failed(self, id, -EBADMSG)
			       : rl_actor_reply(self, id, &number, sizeof(number));
	sim_check(rc == 0, "a reply answered %d", rc);
	if (mode == TALK_TWICE) {
		sim_check(rl_actor_reply(self, id, NULL, 0) == -ENOENT &&
				  rl_actor_reply_failed(self, id, -EIO) == -ENOENT,
			  "a second reply was taken");
	}
	return 0;
}

/* ---- monitors and links */

static void
op_watch_one(struct rl_actor *self, struct talker *me, const struct talker *to)
{
	struct talk_watch *record = sim_ledger_watch(me);
	int rc;

	if (record == NULL) {
		return;
	}
	rc = rl_actor_monitor(self, to->id, &record->id);
	sim_check(rc == 0 || rc == -ENOBUFS || rc == -ESHUTDOWN, "rl_actor_monitor() answered %d",
		  rc);
	record->open = rc == 0;
	record->target = sim_ledger_number(to);
}

static void
op_watch(struct rl_actor *self, struct talker *me)
{
	op_watch_one(self, me, sim_ledger_any());
}

static void
op_unwatch(struct rl_actor *self, struct talker *me)
{
	struct talk_watch *record = &me->watches[sim_below(TALK_TIES)];
	int rc;

	if (rl_monitor_id_eq(record->id, (rl_monitor_id){ 0 })) {
		return;
	}
	rc = rl_actor_demonitor(self, record->id);
	sim_check(rc == (record->open ? 0 : -ENOENT), "rl_actor_demonitor() answered %d, open %d",
		  rc, record->open);
	record->open = false;
}

static void
op_link(struct rl_actor *self, struct talker *me)
{
	struct talker *to = sim_ledger_any();
	int rc = rl_actor_link(self, to->id);

	if (to == me) {
		sim_check(rc == -EINVAL, "a link to itself answered %d", rc);
		return;
	}
	sim_check(rc == 0 || rc == -ENOBUFS || rc == -ESHUTDOWN, "rl_actor_link() answered %d", rc);
	if (rc != 0) {
		return;
	}
	sim_ledger_link(me, to);
	if (to->stopped && to->shard == me->shard) {
		sim_ledger_wants_end(me, RL_REASON_LINKED, 0); /* at once */
	}
}

/* In one go, to one actor or to many; with what must arrive in between. */
static void
op_say(struct rl_actor *self, struct talker *me)
{
	const struct talker *to = sim_below(16) == 0 ? me : sim_ledger_any();
	bool spread = sim_below(3) == 0;
	bool mixed = sim_coin();

	for (uint32_t left = talk_burst(); left > 0; left--) {
		int rc = op_say_one(self, me, to);

		if (mixed && sim_below(rc == 0 ? 32 : 2) == 0) {
			op_ask(self, me, to);
			op_watch_one(self, me, to);
		}
		if (rc != 0 && sim_below(mixed ? 64 : 4) == 0) {
			return;
		}
		to = spread ? sim_ledger_any() : to;
	}
}

/* ---- births and deaths */

static void
op_spawn(struct rl_actor *self, struct talker *me)
{
	struct talker *born = sim_ledger_talker(me->shard, sim_coin());
	rl_actor_id id;
	int rc;

	if (born == NULL) {
		return;
	}
	rc = rl_actor_spawn(self, &talk_defs[born->reports], born, &id);
	sim_check(rc == 0 || rc == -ENOBUFS || rc == -ENOMEM || rc == -ESHUTDOWN,
		  "rl_actor_spawn() answered %d", rc);
	if (rc != 0) {
		sim_ledger_unspawned(born);
		return;
	}
	born->id = id;
	born->known = true;
}

static void
op_spawn_on(struct rl_actor *self, struct talker *me)
{
	struct talk_request *record = sim_ledger_request(me);
	struct talker *born;
	int rc;

	if (record == NULL) {
		return;
	}
	born = sim_ledger_talker((uint32_t)sim_below(talk.shards), sim_coin());
	if (born == NULL) {
		return;
	}
	record->number = TALK_NONE;
	record->target = sim_ledger_number(born);
	rc = rl_actor_spawn_on(self, born->shard, &talk_defs[born->reports], born, &record->id);
	sim_check(rc == 0 || rc == -ENOBUFS || rc == -ESHUTDOWN, "rl_actor_spawn_on() answered %d",
		  rc);
	if (rc != 0) {
		sim_ledger_unspawned(born);
		return;
	}
	request_made(self, record, -1);
}

static void
op_stop(struct rl_actor *self, struct talker *me)
{
	struct talker *to = sim_ledger_any();
	int rc = rl_actor_stop(self, to->id);

	sim_check(rc == 0 || rc == -ENOBUFS, "rl_actor_stop() answered %d", rc);
	if (rc == 0) {
		to->called_gone = true;
	}
	if (to == me) {
		sim_ledger_wants_end(me, RL_REASON_LOCAL, 0);
	}
}

/* Something; rarely what ends others. */
static void
talk_act(struct rl_actor *self, struct talker *me)
{
	static void (*const ops[])(struct rl_actor *self, struct talker *me) = {
		op_say,		op_say,		op_say,	      op_say,	   op_say,   op_say,
		op_request,	op_request,	op_request,   op_watch,	   op_watch, op_unwatch,
		op_notify,	op_notify,	op_cancel,    op_spawn,	   op_link,  op_spawn_on,
		talk_broadcast, talk_broadcast, talk_pass_on, talk_let_go,
	};

	if (sim_below(24) == 0) {
		op_stop(self, me);
	}
	ops[sim_below(sizeof(ops) / sizeof(ops[0]))](self, me);
}

static void
talk_poked(struct rl_actor *self, struct talker *me)
{
	for (uint64_t left = sim_between(1, 8); left > 0; left--) {
		talk_act(self, me);
	}
}

/* What the handler answers: mostly that it lives on. */
static int
talk_answer(struct talker *me)
{
	int error = -(int)sim_between(1, 100);

	if (talk.healed || sim_below(talk.life) != 0) {
		return 0;
	}
	if (sim_coin()) {
		sim_ledger_wants_end(me, RL_REASON_LOCAL, 0);
		return RL_ACTOR_STOP;
	}
	sim_ledger_wants_end(me, RL_REASON_FAILURE, error);
	return error;
}

static int
talk_shut_down(struct talker *me)
{
	switch (sim_below(4)) {
	case 0:
		return 0; /* until the deadline */
	case 1:
		sim_ledger_wants_end(me, RL_REASON_SHUTDOWN, 0);
		return RL_ACTOR_STOP;
	default:
		sim_ledger_wants_end(me, RL_REASON_SHUTDOWN, 0);
		return RL_ACTOR_UNHANDLED;
	}
}

static void
talk_stopped(struct rl_actor *self, struct talker *me)
{
	if (sim_coin()) {
		op_keep_promises(self, me, TALK_TIES);
	}
	if (!talk.healed && sim_below(8) == 0) {
		op_say(self, me); /* its last words */
	}
	talk_let_go_of_all(me);
}

static int
talk_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct talk_state *state = rl_actor_state(self);
	struct talker *me;
	int answer = 0;

	if (msg->kind == RL_MSG_START) {
		state->me = msg->start.arg;
	}
	me = state->me;
	sim_ledger_message(me, self, msg);
	if (msg->kind == RL_MSG_STOP) {
		talk_stopped(self, me);
		return 0;
	}
	if (msg->kind == RL_MSG_SHUTDOWN) {
		return talk_shut_down(me);
	}
	if (msg->kind == TALK_POKE && !talk.healed) {
		talk_poked(self, me);
		return talk_answer(me);
	}
	if (msg->kind >= TALK_KIND) {
		enum talk_mode mode = sim_ledger_arrived(sim_ledger_number(me), msg);

		if (mode != TALK_PLAIN) {
			answer = talk_asked(self, me, msg, mode);
		} else {
			talk_keep_buf(me, msg);
		}
	}
	if (talk.healed || !sim_chance(talk.echo)) {
		return answer;
	}
	op_keep_promises(self, me, (uint32_t)sim_below(3));
	talk_act(self, me);
	return answer == 0 ? talk_answer(me) : answer;
}

/* ---- from outside */

void
sim_talk_reset(uint32_t shards)
{
	static const uint32_t bursts[] = { 8, 100, 900, 2500 };

	memset(&talk, 0, sizeof(talk));
	sim_ledger_reset(shards);
	talk.shards = shards;
	talk.burst_max = bursts[sim_below(4)];
	talk.echo = (uint32_t)sim_between(500, 6000);
	talk.life = (uint32_t)sim_between(4, 60);
	talk.left = TALK_BUDGET;
}

void *
sim_talk_arg(void)
{
	return &talk;
}

void
sim_talk_newcomer(void)
{
	uint32_t shard = (uint32_t)sim_below(talk.shards);
	struct talker *born = sim_ledger_talker(shard, sim_coin());
	rl_actor_id id;
	int rc;

	if (born == NULL) {
		return;
	}
	rc = rl_system_spawn(sim_system(), shard, &talk_defs[born->reports], born, &id);
	sim_check(rc == 0 || rc == -ENOBUFS || rc == -ENOMEM || rc == -ESHUTDOWN,
		  "rl_system_spawn() answered %d", rc);
	if (rc != 0) {
		sim_ledger_unspawned(born);
		return;
	}
	sim_check(!born->started || rl_actor_id_eq(born->id, id), "a spawn answered another id");
	born->id = id;
	born->known = true;
}

void
sim_talk_populate(void)
{
	for (uint64_t left = sim_between(2, 4ull * talk.shards); left > 0; left--) {
		sim_talk_newcomer();
	}
}

void
sim_talk_poke(void)
{
	const struct talker *to = sim_ledger_living();
	struct talk_body body;
	uint32_t number;
	uint32_t len;
	int rc;

	if (talk.healed) {
		return;
	}
	if (sim_below(6) == 0) {
		(void)talk_foreign_notify((uint32_t)sim_below(talk.shards));
		return;
	}
	if (to != NULL && sim_below(4) != 0) {
		rc = rl_system_send(sim_system(), to->id, TALK_POKE, NULL, 0);
		sim_check(rc == 0 || rc == -EAGAIN || rc == -ESHUTDOWN, "a poke answered %d", rc);
		return;
	}
	to = sim_ledger_any();
	number = sim_ledger_send(TALK_FOREIGN, sim_ledger_number(to), TALK_PLAIN, &body, &len);
	if (number == TALK_NONE) {
		return;
	}
	rc = rl_system_send(sim_system(), to->id, TALK_KIND + number, &body, len);
	sim_ledger_sent(number, rc);
	sim_check(rc == 0 || rc == -EAGAIN || rc == -ESHUTDOWN, "rl_system_send() answered %d", rc);
}

void
sim_talk_heal(void)
{
	talk.healed = true;
}

bool
sim_talk_is_done(void)
{
	return sim_ledger_is_settled();
}

void
sim_talk_end(void)
{
	sim_ledger_end();
	for (uint32_t i = 0; i < talk.shards; i++) {
		sim_check(talk.hooks[i] == TALK_HOOKS_STOPPED, "shard %u: on_stop was not called",
			  i);
	}
}

uint32_t
sim_talk_messages(void)
{
	return talk.messages;
}
