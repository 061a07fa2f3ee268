/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What talkers do with counted buffers. The content is the body of each message that one is sent
 * with, so that whoever gets or keeps it can tell whether its bytes are still its own.
 */
#include <errno.h>
#include <string.h>

#include "sim_harness.h"
#include "sim_talk_common.h"

#define RECEIVERS_MAX 12

/* Some that differ, which is what the ledger tells the messages of one buffer apart by. */
static uint32_t
some_receivers(struct talker **to)
{
	uint32_t wanted = (uint32_t)sim_between(1, RECEIVERS_MAX);
	uint32_t count = 0;

	for (uint32_t tries = 0; tries < 2 * wanted && count < wanted; tries++) {
		struct talker *one = sim_ledger_any();
		uint32_t i = 0;

		while (i < count && to[i] != one) {
			i++;
		}
		if (i == count) {
			to[count++] = one;
		}
	}
	return count;
}

/* A message to each, numbered in a row; returns how many the ledger had room for. */
static uint32_t
write_down(struct talker *me, struct talker *const *to, uint32_t count, struct talk_body *bodies,
	   uint32_t *first)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t len;
		uint32_t number = sim_ledger_send(sim_ledger_number(me), sim_ledger_number(to[i]),
						  TALK_PLAIN, &bodies[i], &len);

		if (number == TALK_NONE) {
			count = i;
			break;
		}
		*first = i == 0 ? number : *first;
		sim_ledger_seal(&bodies[i]);
		talk_spend();
	}
	if (count > 0) {
		sim_ledger_group(*first, count);
	}
	return count;
}

static void
answered_one(struct talker *me, const struct talker *to, uint32_t number, int rc)
{
	sim_ledger_sent(number, rc);
	sim_check(rc == 0 || rc == -ENOENT || rc == -EAGAIN || rc == -ENOBUFS || rc == -ESHUTDOWN,
		  "a buffer was sent, answer %d", rc);
	sim_check(rc != -ENOENT || to->shard == me->shard, "-ENOENT of an actor elsewhere");
	if (rc == -EAGAIN && to->shard != me->shard) {
		sim_ledger_no_room(me, to->shard);
	}
}

/* Leaves out whoever did not take it. */
static void
broadcast_all(struct rl_actor *self, struct talker *me, struct talker *const *to, uint32_t count,
	      uint32_t first, struct rl_buf *buf)
{
	rl_actor_id ids[RECEIVERS_MAX];
	uint32_t done = 0;

	for (uint32_t i = 0; i < count; i++) {
		ids[i] = to[i]->id;
	}
	while (done < count) {
		size_t taken;
		int rc = rl_actor_broadcast(self, ids + done, count - done, TALK_KIND + first, buf,
					    &taken);

		sim_check(taken <= count - done && (rc == 0) == (taken == count - done),
			  "a broadcast to %u was taken by %zu, answer %d", count - done, taken, rc);
		for (; taken > 0; taken--, done++) {
			answered_one(me, to[done], first + done, 0);
		}
		if (rc != 0) {
			answered_one(me, to[done], first + done, rc);
			done++;
		}
	}
}

void
talk_broadcast(struct rl_actor *self, struct talker *me)
{
	struct talk_body bodies[RECEIVERS_MAX];
	struct talker *to[RECEIVERS_MAX];
	uint32_t first = 0;
	uint32_t count = write_down(me, to, some_receivers(to), bodies, &first);
	size_t len = count * sizeof(bodies[0]);
	struct rl_buf *buf;
	void *data;
	int rc;

	if (count == 0) {
		return;
	}
	rc = rl_buf_take(rl_actor_shard(self),
			 sim_below(4) == 0 ? (size_t)sim_between(len, RL_BUF_MAX) : len, &buf,
			 &data);
	sim_check(rc == 0 || rc == -ENOBUFS, "rl_buf_take() answered %d", rc);
	if (rc != 0) {
		for (uint32_t i = 0; i < count; i++) {
			sim_ledger_sent(first + i, rc);
		}
		return;
	}
	memcpy(data, bodies, len);
	broadcast_all(self, me, to, count, first, buf);
	rl_buf_release(buf);
}

/* One that it keeps, or NULL. */
static struct rl_buf **
some_kept(struct talker *me)
{
	struct rl_buf **slot = &me->bufs[sim_below(TALK_BUFS)];

	return *slot == NULL ? NULL : slot;
}

/* The message is a new one; the buffer has the bodies of others. */
void
talk_pass_on(struct rl_actor *self, struct talker *me)
{
	const struct talker *to = sim_ledger_any();
	struct rl_buf **slot = some_kept(me);
	struct talk_body body;
	uint32_t number;
	uint32_t len;
	int rc;

	if (slot == NULL) {
		return;
	}
	number = sim_ledger_send(sim_ledger_number(me), sim_ledger_number(to), TALK_PLAIN, &body,
				 &len);
	if (number == TALK_NONE) {
		return;
	}
	talk_spend();
	rc = rl_actor_send_buf(self, to->id, TALK_KIND + number, *slot);
	if (rc == 0) {
		*slot = NULL; /* its reference went with the message */
	}
	answered_one(me, to, number, rc);
}

void
talk_let_go(struct rl_actor *self, struct talker *me)
{
	struct rl_buf **slot = some_kept(me);

	(void)self;
	if (slot != NULL) {
		sim_ledger_check_buf(*slot);
		rl_buf_release(*slot);
		*slot = NULL;
	}
}

void
talk_keep_buf(struct talker *me, const struct rl_msg *msg)
{
	struct rl_buf *buf = rl_msg_buf(msg);
	struct rl_buf **slot = &me->bufs[sim_below(TALK_BUFS)];

	if (buf != NULL && *slot == NULL && sim_coin()) {
		*slot = rl_buf_ref(buf);
	}
}

void
talk_let_go_of_all(struct talker *me)
{
	for (uint32_t i = 0; i < TALK_BUFS; i++) {
		rl_buf_release(me->bufs[i]);
		me->bufs[i] = NULL;
	}
}
