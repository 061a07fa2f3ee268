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

/* It is not plain that @actor may use timers. 0, -EPERM, -ESHUTDOWN. */
__attribute__((noinline)) static int
actor_timer_check(const struct rl_actor *actor)
{
	if (actor->shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(actor->running);
	return actor->life == ACTOR_ENDING ? -ESHUTDOWN : 0;
}

/* The first use of a slot, or of its first generation again. */
__attribute__((noinline)) static void
actor_timer_name_first(const struct rl_shard *shard, struct actor_timer *timer)
{
	if (timer->id == 0) {
		rli_timer_init(&timer->timer, TIMER_ACTOR);
		list_node_init(&timer->tie.node);
		timer->tie.kind = TIE_TIMER;
	}
	timer->id = id_pack(1, shard->id, rli_slab_number(&shard->actors->timers, timer));
}

/* An id that this slot has not had yet, or not for 2^32 timers. */
static inline void
actor_timer_name(const struct rl_shard *shard, struct actor_timer *timer)
{
	uint64_t id = timer->id + id_pack(1, 0, 0);

	if (__builtin_expect(id_generation(id) <= 1, 0)) {
		actor_timer_name_first(shard, timer);
	} else {
		timer->id = id;
	}
}

static int
actor_timer_start(struct rl_actor *actor, uint64_t delay_ns, uint64_t period_ns, uint64_t tag,
		  rl_timer_id *id)
{
	struct rl_shard *shard = actor->shard;
	struct actor_timer *timer;
	uint64_t deadline_ns;

	if (actor != rli_actor_running || actor->life == ACTOR_ENDING) {
		int rc = actor_timer_check(actor);

		if (rc != 0) {
			return rc;
		}
	}
	timer = rli_slab_take(&shard->actors->timers);
	if (timer == NULL) {
		return -ENOBUFS;
	}
	if (__builtin_add_overflow(shard->now_ns, delay_ns, &deadline_ns)) {
		deadline_ns = UINT64_MAX; /* further off than the clock goes */
	}
	actor_timer_name(shard, timer);
	timer->actor = actor;
	timer->tag = tag;
	timer->period_ns = period_ns;
	list_push_back(&actor->held, &timer->tie.node);
	rli_wheel_add(&shard->wheel, &timer->timer, deadline_ns);
	if (id != NULL) {
		id->private_bits = timer->id;
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
	const struct slab *slab = &shard->actors->timers;
	struct actor_timer *timer;

	if (self != rli_actor_running && actor_timer_check(self) == -EPERM) {
		return -EPERM;
	}
	if (id_slot(id.private_bits) >= slab->slots_used) {
		return -ENOENT;
	}
	timer = rli_slab_slot(slab, id_slot(id.private_bits), sizeof(*timer));
	if (timer->id != id.private_bits || timer->actor != self) {
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
	msg.timer.id.private_bits = timer->id;
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
