/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Bytes for a connection from other actors of its shard. They join its output behind all that is
 * queued. Invariants: whoever was told HIGH or -EAGAIN is on the connection's list until it was
 * told to go on, or one of the two has ended; nothing is queued for who can't be told; above the
 * high mark nothing is taken but from those who wait already.
 */
#include <errno.h>

#include "actor/forward.h"
#include "base/id.h"
#include "base/mutant.h"

#include "net/conn.h"

#define FORWARD_TOLD_MAX 16 /* per connection and turn: they share what the low mark left */

/* RL_MSG_WRITABLE that names @target is owed to @self. 0, -ENOBUFS. */
static int
forward_want(struct rl_actor *self, struct conn *target)
{
	if (target->outlet == NULL) {
		target->outlet = rli_slab_take(&target->shard->net->outlets);
		if (target->outlet == NULL) {
			return -ENOBUFS;
		}
		list_init(&target->outlet->waiters);
	}
	if (self->conn != NULL) {
		rli_conn_mark(self->conn); /* its input is held from now on */
	}
	return rli_forward_want(self, target->actor->id, &target->outlet->waiters);
}

static bool
forward_has_waiters(const struct conn *target)
{
	return target->outlet != NULL && !list_is_empty(&target->outlet->waiters);
}

/*
 * What is above the high mark is for those who were first: others wait behind them. Below it there
 * is room for whoever comes, or those who were just told would wait for those who are told next.
 */
static bool
forward_is_crowded(const struct conn *target)
{
	return forward_has_waiters(target) &&
	       target->out_bytes > target->shard->config->send_high_bytes;
}

/* The record first, the bytes then: so that nothing is half done. */
static int
forward_queue(struct rl_actor *self, struct conn *target, const void *data, size_t len)
{
	bool waits = rli_forward_waits(self, target->actor->id);
	int rc = 0;

	if (forward_is_crowded(target) && !waits) {
		rc = forward_want(self, target);
		return rc == 0 ? -EAGAIN : rc;
	}
	if (target->out_bytes + len > target->shard->config->send_high_bytes) {
		rc = forward_want(self, target);
		waits = true;
	}
	if (rc == 0) {
		rc = rli_conn_send_queue(target, data, len);
	}
	if (rc == -EAGAIN && !waits) {
		rc = forward_want(self, target);
		return rc == 0 ? -EAGAIN : rc;
	}
	return rc;
}

int
rl_conn_forward(struct rl_actor *self, rl_actor_id to, const void *data, size_t len)
{
	struct rl_shard *shard = self->shard;
	struct rl_actor *target;

	RL_ASSERT(self == rli_actor_running);
	if (rl_actor_id_is_none(to)) {
		return -ENOENT;
	}
	if (id_shard(to.private_bits) != shard->id) {
		return -EXDEV;
	}
	target = rli_actor_resolve(shard, to.private_bits);
	if (target == NULL) {
		return -ENOENT;
	}
	if (target == self) {
		return rl_conn_send(self, data, len);
	}
	if (target->life == ACTOR_ENDING) {
		return -ESHUTDOWN; /* its stream may be gone already */
	}
	if (target->conn == NULL) {
		return -ENOTCONN;
	}
	if (target->conn->shut_wanted) {
		return -ESHUTDOWN;
	}
	if (len > shard->config->send_cap_bytes) {
		return -EMSGSIZE;
	}
	return len == 0 ? 0 : forward_queue(self, target->conn, data, len);
}

/* Nothing is taken any more: whoever waits finds out by trying. */
static bool
forward_is_over(const struct conn *conn)
{
	return conn->actor->life == ACTOR_ENDING || conn->shut_wanted || conn->state > CONN_OPEN;
}

bool
rli_conn_forward_flush(struct conn *conn)
{
	bool low = rli_conn_send_is_low(conn) && !RL_MUTANT(FORWARD_FORGOTTEN);

	if (!forward_has_waiters(conn) || (!low && !forward_is_over(conn))) {
		return true;
	}
	for (uint32_t i = 0; i < FORWARD_TOLD_MAX && forward_has_waiters(conn); i++) {
		rli_forward_tell(
			list_entry(list_first(&conn->outlet->waiters), struct forward, waiter),
			conn->out_bytes);
	}
	if (!conn->writable_owed) {
		conn->refused_bytes = 0;
	}
	return !forward_has_waiters(conn);
}
