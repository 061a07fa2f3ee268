/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Timers of actors. Invariant: a timer is on exactly one list of its actor, held while the wheel
 * has it and notices from then until its message was delivered, so cancelling reaches it in
 * both.
 */
#include "actor/actor_timer.h"

#include <errno.h>

#include <ringline/timer.h>

#include "actor/actor_run.h"
#include "base/id.h"

static int
actor_timer_start(struct rl_actor *actor, uint64_t delay_ns, uint64_t period_ns, uint64_t tag,
		  rl_timer_id *id)
{
	struct rl_shard *shard = actor->shard;
	struct actor_timer *timer;
	uint64_t deadline_ns = shard->now_ns + delay_ns;

	if (shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(actor->running);
	if (actor->life == ACTOR_ENDING) {
		return -ESHUTDOWN;
	}
	timer = rli_slab_take(&shard->actors->timers);
	if (timer == NULL) {
		return -ENOBUFS;
	}
	if (deadline_ns < shard->now_ns) {
		deadline_ns = UINT64_MAX; /* further off than the clock goes */
	}
	if (timer->generation == 0) {
		timer->number = rli_slab_number(&shard->actors->timers, timer);
	}
	timer->generation = id_generation_next(timer->generation);
	timer->actor = actor;
	timer->tag = tag;
	timer->period_ns = period_ns;
	rli_tie_init(&timer->tie, TIE_TIMER, &actor->held);
	rli_timer_init(&timer->timer, TIMER_ACTOR);
	rli_wheel_add(&shard->wheel, &timer->timer, deadline_ns);
	if (id != NULL) {
		id->private_bits = id_pack(timer->generation, shard->id, timer->number);
	}
	return 0;
}

static void
actor_timer_free(struct rl_shard *shard, struct actor_timer *timer)
{
	(void)rli_wheel_cancel(&shard->wheel, &timer->timer); /* false: it is due already */
	list_drop(&timer->tie.node);
	timer->actor = NULL;
	rli_slab_give(&shard->actors->timers, timer);
}

int
rl_timer_start(struct rl_actor *self, uint64_t delay_ns, uint64_t tag, rl_timer_id *id)
{
	return actor_timer_start(self, delay_ns, 0, tag, id);
}

int
rl_timer_start_every(struct rl_actor *self, uint64_t period_ns, uint64_t tag, rl_timer_id *id)
{
	if (period_ns < (uint64_t)RL_MS(1)) {
		return -EINVAL;
	}
	return actor_timer_start(self, period_ns, period_ns, tag, id);
}

int
rl_timer_cancel(struct rl_actor *self, rl_timer_id id)
{
	struct rl_shard *shard = self->shard;
	struct actor_timer *timer;

	if (shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	timer = rli_slab_at(&shard->actors->timers, id_slot(id.private_bits));
	if (timer == NULL || id_shard(id.private_bits) != shard->id || timer->actor != self ||
	    timer->generation != id_generation(id.private_bits)) {
		return -ENOENT;
	}
	actor_timer_free(shard, timer);
	return 0;
}

void
rli_actor_timer_due(struct timer *timer)
{
	struct actor_timer *due = list_entry(timer, struct actor_timer, timer);

	rli_tie_notice(due->actor, &due->tie);
}

/* The next multiple of the period that lies ahead: what was missed is skipped. */
static void
actor_timer_again(struct actor_timer *timer)
{
	struct rl_shard *shard = timer->actor->shard;
	uint64_t deadline_ns = timer->timer.deadline_ns + timer->period_ns;

	if (deadline_ns <= shard->now_ns) {
		uint64_t missed = (shard->now_ns - deadline_ns) / timer->period_ns + 1;

		deadline_ns += missed * timer->period_ns;
	}
	list_push_back(&timer->actor->held, &timer->tie.node);
	rli_wheel_start(&shard->wheel, &timer->timer, deadline_ns);
}

/* Armed again, or freed, before the handler runs: so the handler may cancel it or start another. */
void
rli_actor_timer_deliver(struct rl_actor *actor, struct actor_timer *timer)
{
	struct rl_shard *shard = actor->shard;
	struct rl_msg msg = { .kind = RL_MSG_TIMER };

	msg.timer.tag = timer->tag;
	msg.timer.id.private_bits = id_pack(timer->generation, shard->id, timer->number);
	if (timer->period_ns != 0) {
		actor_timer_again(timer);
	} else {
		actor_timer_free(shard, timer);
	}
	counters_add(&shard->counters, timers_fired, 1);
	rli_actor_answered(actor, msg.kind, rli_actor_deliver(actor, &msg));
}

void
rli_actor_timer_drop(struct actor_timer *timer)
{
	actor_timer_free(timer->actor->shard, timer);
}
