/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Invariant: an actor to which RL_MSG_WRITABLE of another's output is owed has one record for it,
 * which is on the other's list until it is told, and then one of the actor's notices.
 */
#include "actor/forward.h"

#include <errno.h>

#include "actor/actor_run.h"

/* They are in front of the list, with struct room, and there are few. */
static struct forward *
forward_on(const struct list *list, uint64_t target)
{
	for (struct list_node *node = list->head.next; node != &list->head; node = node->next) {
		struct forward *forward = list_entry(node, struct forward, tie.node);

		if (forward->tie.kind != TIE_FORWARD && forward->tie.kind != TIE_ROOM) {
			return NULL;
		}
		if (forward->tie.kind == TIE_FORWARD && forward->target == target) {
			return forward;
		}
	}
	return NULL;
}

bool
rli_forward_waits(const struct rl_actor *actor, uint64_t target)
{
	return forward_on(&actor->held, target) != NULL;
}

int
rli_forward_want(struct rl_actor *actor, uint64_t target, struct list *waiters)
{
	struct forward *forward;

	if (forward_on(&actor->held, target) != NULL) {
		return 0;
	}
	forward = forward_on(&actor->notices, target);
	if (forward != NULL) {
		list_remove(&forward->tie.node); /* it was told too early */
	} else {
		forward = actor->forwards_owed == UINT16_MAX
				  ? NULL
				  : rli_slab_take(&actor->shard->actors->forwards);
		if (forward == NULL) {
			return -ENOBUFS;
		}
		forward->actor = actor;
		forward->target = target;
		forward->tie.kind = TIE_FORWARD;
		list_node_init(&forward->tie.node);
		list_node_init(&forward->waiter);
		actor->forwards_owed++;
	}
	list_push_front(&actor->held, &forward->tie.node);
	list_push_back(waiters, &forward->waiter);
	return 0;
}

void
rli_forward_tell(struct forward *forward, uint32_t queued_bytes)
{
	list_remove(&forward->waiter);
	list_remove(&forward->tie.node);
	forward->queued_bytes = queued_bytes;
	list_push_front(&forward->actor->notices, &forward->tie.node);
	rli_actor_urge(forward->actor);
}

void
rli_forward_drop(struct forward *forward)
{
	struct rl_actor *actor = forward->actor;

	list_remove(&forward->waiter);
	RL_ASSERT(actor->forwards_owed > 0);
	actor->forwards_owed--;
	rli_slab_give(&actor->shard->actors->forwards, forward);
}

void
rli_forward_deliver(struct rl_actor *actor, struct forward *forward)
{
	struct rl_msg msg = { .kind = RL_MSG_WRITABLE };

	msg.writable.queued_bytes = forward->queued_bytes;
	msg.writable.target.private_bits = forward->target;
	rli_forward_drop(forward);
	actor->room_told = true; /* its stream goes on where it was held back */
	rli_actor_answered(actor, msg.kind, rli_actor_deliver(actor, &msg));
}
