/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a watcher is told of an end exactly once, with its reason; links share what is not
 *         normal, in both directions; a lease is home again after each story.
 * How: two shards by hand in one thread, each story within a shard and across; with
 *      monitor_cross.c.
 * Not: two threads at once.
 */
#include "monitor_groups.h"
#include "unit_shards.h"

static void
assert_leases_home(void)
{
	assert_int_equal(bed.actors[0].leases.taken, 0);
	assert_int_equal(bed.actors[1].leases.taken, 0);
}

/* The watcher is on shard 0, whom it watches on the same and on the other. */
static void
on_each_shard(void (*run)(struct rl_actor *watcher, struct rl_actor *target))
{
	for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
		struct rl_actor *watcher = bed_spawn(0);
		struct rl_actor *target = bed_spawn(shard);

		bed_settle();
		bed_forget();
		run(watcher, target);
		bed_settle();
		assert_leases_home();
	}
}

static void
end(struct rl_actor *actor, enum rl_reason reason, int error)
{
	rli_actor_end(actor, reason, error);
	bed_settle();
}

static void
down_run(struct rl_actor *watcher, struct rl_actor *target)
{
	const struct bed_seen *down;
	uint64_t whom = target->id;
	rl_monitor_id id;

	assert_int_equal(bed_monitor(watcher, whom, &id), 0);
	bed_settle();
	assert_int_equal(bed_got(watcher, RL_MSG_DOWN, NULL), 0);
	end(target, RL_REASON_FAILURE, -EDOM);
	down = bed_only(watcher, RL_MSG_DOWN);
	assert_true(down->id == id.private_bits);
	assert_true(down->whom == whom);
	assert_int_equal(down->reason, RL_REASON_FAILURE);
	assert_int_equal(down->error, -EDOM);
	assert_int_equal(bed_demonitor(watcher, id), -ENOENT); /* it is over */
	assert_int_equal(watcher->life, ACTOR_RUNNING);
}

static void
monitor_of_who_ends_is_told_once_with_the_reason(void **state)
{
	(void)state;
	on_each_shard(down_run);
	assert_int_equal(bed_sum().monitors, 2);
	assert_int_equal(bed_sum().downs, 2);
}

static void
gone_run(struct rl_actor *watcher, struct rl_actor *target)
{
	uint64_t whom = target->id;
	uint64_t never = id_pack(1, id_shard(whom), 100);

	end(target, RL_REASON_LOCAL, 0);
	assert_int_equal(bed_monitor(watcher, whom, NULL), 0);
	bed_settle();
	assert_int_equal(bed_only(watcher, RL_MSG_DOWN)->reason, RL_REASON_GONE);
	assert_true(bed_only(watcher, RL_MSG_DOWN)->whom == whom);
	bed_forget();
	assert_int_equal(bed_monitor(watcher, never, NULL), 0);
	bed_settle();
	assert_int_equal(bed_only(watcher, RL_MSG_DOWN)->reason, RL_REASON_GONE);
}

static void
monitor_of_who_has_ended_is_told_gone(void **state)
{
	(void)state;
	on_each_shard(gone_run);
}

/* Decided but not over: the reason is still to be had. */
static void
ending_run(struct rl_actor *watcher, struct rl_actor *target)
{
	rli_actor_end(target, RL_REASON_LIMIT, -EMSGSIZE);
	assert_int_equal(bed_monitor(watcher, target->id, NULL), 0);
	if (target->shard == watcher->shard) {
		bed_settle();
		assert_int_equal(bed_only(watcher, RL_MSG_DOWN)->reason, RL_REASON_LIMIT);
		return;
	}
	rli_actors_flush_mesh(watcher->shard);
	rli_shard_current = target->shard;
	(void)rli_actors_drain_mesh(target->shard, 4096); /* before the actors' phase */
	bed_settle();
	assert_int_equal(bed_only(watcher, RL_MSG_DOWN)->reason, RL_REASON_LIMIT);
}

static void
monitor_of_who_is_ending_is_told_its_reason(void **state)
{
	(void)state;
	on_each_shard(ending_run);
}

static void
twice_run(struct rl_actor *watcher, struct rl_actor *target)
{
	rl_monitor_id first;
	rl_monitor_id second;

	assert_int_equal(bed_monitor(watcher, target->id, &first), 0);
	assert_int_equal(bed_monitor(watcher, target->id, &second), 0);
	assert_false(rl_monitor_id_eq(first, second));
	end(target, RL_REASON_LOCAL, 0);
	assert_int_equal(bed_got(watcher, RL_MSG_DOWN, NULL), 2);
}

static void
monitors_of_one_actor_are_each_told(void **state)
{
	(void)state;
	on_each_shard(twice_run);
}

static void
demonitor_run(struct rl_actor *watcher, struct rl_actor *target)
{
	struct rl_actor *other = bed_spawn(0);
	rl_monitor_id id;

	assert_int_equal(bed_monitor(watcher, target->id, &id), 0);
	bed_settle();
	assert_int_equal(bed_demonitor(other, id), -ENOENT); /* not its own */
	assert_int_equal(bed_demonitor(watcher, id), 0);
	assert_int_equal(bed_demonitor(watcher, id), -ENOENT);
	bed_settle();
	assert_leases_home();
	assert_true(list_is_empty(&target->owed));
	end(target, RL_REASON_FAILURE, -EIO);
	assert_int_equal(bed_got(watcher, RL_MSG_DOWN, NULL), 0);
}

static void
monitor_taken_back_is_told_nothing(void **state)
{
	(void)state;
	on_each_shard(demonitor_run);
}

/* The end is known, and its message waits for the watcher to run. */
static void
pending_run(struct rl_actor *watcher, struct rl_actor *target)
{
	rl_monitor_id id;

	assert_int_equal(bed_monitor(watcher, target->id, &id), 0);
	bed_settle();
	rli_actor_end(target, RL_REASON_LOCAL, 0);
	rli_shard_current = target->shard;
	assert_ptr_equal(rli_actor_next(&target->shard->actors->ready), target);
	rli_actor_stop(target);
	rli_actors_flush_mesh(target->shard);
	rli_shard_current = watcher->shard;
	(void)rli_actors_drain_mesh(watcher->shard, 4096);
	assert_false(list_is_empty(&watcher->notices));
	assert_int_equal(bed_demonitor(watcher, id), 0);
	bed_settle();
	assert_int_equal(bed_got(watcher, RL_MSG_DOWN, NULL), 0);
}

static void
monitor_taken_back_while_its_message_waits_is_told_nothing(void **state)
{
	(void)state;
	on_each_shard(pending_run);
}

static void
watcher_run(struct rl_actor *watcher, struct rl_actor *target)
{
	assert_int_equal(bed_monitor(watcher, target->id, NULL), 0);
	bed_settle();
	end(watcher, RL_REASON_FAILURE, -EIO);
	assert_leases_home();
	assert_true(list_is_empty(&target->owed));
	assert_int_equal(target->life, ACTOR_RUNNING); /* a monitor is no link */
	end(target, RL_REASON_LOCAL, 0);
	assert_int_equal(bed_got(NULL, RL_MSG_DOWN, NULL), 0);
}

static void
monitor_ends_with_its_watcher(void **state)
{
	(void)state;
	on_each_shard(watcher_run);
}

static void
both_run(struct rl_actor *watcher, struct rl_actor *target)
{
	assert_int_equal(bed_monitor(watcher, target->id, NULL), 0);
	assert_int_equal(bed_link(target, watcher->id), 0);
	bed_settle();
	rli_actor_end(target, RL_REASON_FAILURE, -EIO);
	rli_actor_end(watcher, RL_REASON_FAILURE, -EIO);
	bed_settle();
	assert_int_equal(bed_got(NULL, RL_MSG_STOP, NULL), 2);
	assert_int_equal(bed_got(NULL, RL_MSG_DOWN, NULL), 0);
}

static void
both_reversed_run(struct rl_actor *watcher, struct rl_actor *target)
{
	both_run(target, watcher);
}

static void
monitor_whose_ends_both_end_in_one_turn_is_over(void **state)
{
	(void)state;
	on_each_shard(both_run);
	on_each_shard(both_reversed_run);
}

/* Whoever of the two ends, and however: the other follows or does not. */
static void
link_ends(bool target_ends, enum rl_reason reason, bool shared)
{
	for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
		struct rl_actor *watcher = bed_spawn(0);
		struct rl_actor *target = bed_spawn(shard);
		struct rl_actor *first = target_ends ? target : watcher;
		struct rl_actor *second = target_ends ? watcher : target;

		bed_settle();
		bed_forget();
		assert_int_equal(bed_link(watcher, target->id), 0);
		bed_settle();
		end(first, reason, -EXDEV);
		assert_int_equal(bed_got(second, RL_MSG_STOP, NULL), shared);
		if (shared) {
			assert_int_equal(bed_only(second, RL_MSG_STOP)->reason, RL_REASON_LINKED);
			assert_int_equal(bed_only(second, RL_MSG_STOP)->error, -EXDEV);
		} else {
			assert_int_equal(second->life, ACTOR_RUNNING);
		}
		assert_leases_home();
		assert_int_equal(bed_got(NULL, RL_MSG_DOWN, NULL), 0);
		if (!shared) {
			end(second, RL_REASON_LOCAL, 0);
		}
	}
}

static void
link_shares_ends_that_are_not_normal(void **state)
{
	(void)state;
	for (uint32_t reason = 0; reason < RL_REASON_COUNT; reason++) {
		bool normal = reason == RL_REASON_LOCAL || reason == RL_REASON_PEER_FIN ||
			      reason == RL_REASON_SHUTDOWN;

		link_ends(true, (enum rl_reason)reason, !normal);
		link_ends(false, (enum rl_reason)reason, !normal);
	}
}

static void
link_gone_run(struct rl_actor *watcher, struct rl_actor *target)
{
	uint64_t whom = target->id;

	end(target, RL_REASON_LOCAL, 0); /* normal; but it is no more */
	bed_forget();
	assert_int_equal(bed_link(watcher, whom), 0);
	bed_settle();
	assert_int_equal(bed_only(watcher, RL_MSG_STOP)->reason, RL_REASON_LINKED);
}

static void
link_to_who_has_ended_ends_the_caller(void **state)
{
	(void)state;
	on_each_shard(link_gone_run);
}

/* A chain over both shards falls as a whole, from either end. */
static void
links_in_a_chain_fall_together(void **state)
{
	(void)state;
	for (uint32_t first = 0; first < 2; first++) {
		struct rl_actor *chain[10];

		for (uint32_t i = 0; i < UNIT_COUNT(chain); i++) {
			chain[i] = bed_spawn(i % BED_SHARDS);
		}
		for (uint32_t i = 1; i < UNIT_COUNT(chain); i++) {
			assert_int_equal(bed_link(chain[i - 1], chain[i]->id), 0);
		}
		bed_settle();
		bed_forget();
		end(chain[first * (UNIT_COUNT(chain) - 1)], RL_REASON_MEMORY, 0);
		assert_int_equal(bed_got(NULL, RL_MSG_STOP, NULL), UNIT_COUNT(chain));
		assert_leases_home();
	}
}

static void
monitor_of_itself_ends_with_it(void **state)
{
	struct rl_actor *actor = bed_spawn(0);
	rl_monitor_id id;

	(void)state;
	assert_int_equal(bed_link(actor, actor->id), -EINVAL);
	assert_int_equal(bed_monitor(actor, actor->id, &id), 0);
	assert_int_equal(bed_demonitor(actor, id), 0);
	assert_int_equal(bed_monitor(actor, actor->id, NULL), 0);
	end(actor, RL_REASON_FAILURE, -EIO);
	assert_int_equal(bed_got(actor, RL_MSG_DOWN, NULL), 0);
	assert_leases_home();
}

static int
hook_monitor_in_stop(struct rl_actor *self, const struct rl_msg *msg)
{
	rl_monitor_id id = { 1 };

	if (msg->kind == RL_MSG_STOP) {
		assert_int_equal(rl_actor_monitor(self, rl_actor_self(self), &id), -ESHUTDOWN);
		assert_int_equal((int)id.private_bits, 0);
		assert_int_equal(rl_actor_link(self, (rl_actor_id){ id_pack(1, 1, 1) }),
				 -ESHUTDOWN);
	}
	return 0;
}

static void
monitor_refused_takes_nothing(void **state)
{
	struct rl_actor *actor = bed_spawn(0);
	struct rl_actor *target = bed_spawn(1);
	rl_monitor_id id = { 1 };

	(void)state;
	assert_int_equal(bed_monitor(actor, 0, &id), -ENOENT);
	assert_int_equal((int)id.private_bits, 0);
	assert_int_equal(bed_monitor(actor, id_pack(1, BED_SHARDS, 0), &id), -ENOENT);
	assert_int_equal(bed_link(actor, 0), -ENOENT);
	assert_int_equal(bed_demonitor(actor, (rl_monitor_id){ 0 }), -ENOENT);
	assert_int_equal(bed_demonitor(actor, (rl_monitor_id){ UINT64_MAX }), -ENOENT);
	(void)bed_enter(actor);
	rli_shard_current = &bed.shards[1];
	assert_int_equal(rl_actor_monitor(actor, rl_actor_self(target), &id), -EPERM);
	assert_int_equal(rl_actor_link(actor, rl_actor_self(target)), -EPERM);
	assert_int_equal(rl_actor_demonitor(actor, id), -EPERM);
	bed_leave(actor);
	bed.hook = hook_monitor_in_stop;
	end(actor, RL_REASON_LOCAL, 0);
	assert_int_equal(bed_sum().monitors, 0);
	assert_leases_home();
}

static void
monitors_beyond_the_maximum_are_refused(void **state)
{
	struct rl_actor *actor = bed_spawn(0);
	struct rl_actor *target = bed_spawn(1);
	rl_monitor_id id;
	rl_monitor_id none = { 1 };

	(void)state;
	for (uint32_t i = 0; i < bed.config.monitors_max; i++) {
		assert_int_equal(bed_monitor(actor, target->id, &id), 0);
	}
	assert_int_equal(bed_monitor(actor, target->id, &none), -ENOBUFS);
	assert_int_equal((int)none.private_bits, 0);
	assert_int_equal(bed_link(actor, target->id), -ENOBUFS);
	assert_int_equal(bed_monitor(target, actor->id, NULL), 0); /* that shard has its own */
	assert_int_equal(bed_demonitor(actor, id), 0);
	bed_settle();
	assert_int_equal(bed_monitor(actor, target->id, NULL), 0);
	end(target, RL_REASON_LOCAL, 0);
	assert_int_equal(bed_got(actor, RL_MSG_DOWN, NULL), bed.config.monitors_max);
	assert_leases_home();
}

/*
 * Watched by many, it ends in parts: who became ready behind it is served after the first of them,
 * and its name is nobody's from the beginning. Each is told all the same, once.
 */
static void
parts_run(struct rl_actor *watcher, struct rl_actor *target)
{
	struct rl_actor *other = bed_spawn(target->shard->id);
	uint64_t whom = target->id;
	uint32_t parts = 0;

	for (uint32_t i = 0; i < 5 * ACTOR_UNTIE_MAX; i++) {
		assert_int_equal(bed_monitor(watcher, whom, NULL), 0);
	}
	bed_settle();
	bed_forget();
	rli_shard_current = target->shard;
	rli_actor_end(target, RL_REASON_LIMIT, -EMSGSIZE);
	assert_int_equal(bed_send(other, other->id, 7), 0);
	assert_ptr_equal(rli_actor_next(&target->shard->actors->ready), target);
	rli_actor_stop(target);
	assert_int_equal(bed_only(target, RL_MSG_STOP)->reason, RL_REASON_LIMIT);
	assert_null(rli_actor_resolve(target->shard, whom));
	assert_int_equal(bed_stats(target->shard->id).actors_stopped, 0);
	assert_ptr_equal(rli_actor_next(&target->shard->actors->ready), other);
	(void)rli_actor_run(other, 1);
	assert_int_equal(bed_only(other, BED_KIND)->number, 7);
	while (bed_stats(target->shard->id).actors_stopped == 0) {
		bed_turn(target->shard->id);
		assert_true(++parts < 10);
	}
	bed_settle();
	(void)bed_only(target, RL_MSG_STOP);
	assert_int_equal(bed_got(watcher, RL_MSG_DOWN, NULL), 5 * ACTOR_UNTIE_MAX);
	for (uint32_t i = 0; i < bed.count; i++) {
		if (bed.seen[i].kind == RL_MSG_DOWN) {
			assert_true(bed.seen[i].whom == whom);
			assert_int_equal(bed.seen[i].reason, RL_REASON_LIMIT);
			assert_int_equal(bed.seen[i].error, -EMSGSIZE);
		}
	}
}

static void
monitored_by_many_ends_in_parts(void **state)
{
	(void)state;
	parts_run(bed_spawn(0), bed_spawn(0));
	assert_leases_home();
}

static void
monitored_by_many_from_afar_ends_in_parts(void **state)
{
	(void)state;
	parts_run(bed_spawn(0), bed_spawn(1));
	assert_leases_home();
}

/* Who watches it between two parts is told that it is gone, once; who links to it ends at once. */
static void
late_run(struct rl_actor *watcher, struct rl_actor *linked, struct rl_actor *target)
{
	struct rl_actor *other = bed_spawn(0);
	uint64_t whom = target->id;

	for (uint32_t i = 0; i <= ACTOR_UNTIE_MAX; i++) {
		assert_int_equal(bed_monitor(target, other->id, NULL), 0);
	}
	bed_settle();
	bed_forget();
	rli_shard_current = target->shard;
	rli_actor_end(target, RL_REASON_LOCAL, 0);
	assert_ptr_equal(rli_actor_next(&target->shard->actors->ready), target);
	rli_actor_stop(target);
	assert_int_equal(target->life, ACTOR_ENDING);
	assert_int_equal(bed_monitor(watcher, whom, NULL), 0);
	assert_int_equal(bed_link(linked, whom), 0);
	assert_true(linked->life == ACTOR_ENDING || linked->shard != target->shard);
	bed_settle();
	assert_int_equal(target->life, ACTOR_FREE);
	assert_int_equal(bed_only(watcher, RL_MSG_DOWN)->reason, RL_REASON_GONE);
	assert_true(bed_only(watcher, RL_MSG_DOWN)->whom == whom);
	assert_int_equal(bed_only(linked, RL_MSG_STOP)->reason, RL_REASON_LINKED);
	assert_leases_home();
}

static void
monitored_between_its_parts_is_gone(void **state)
{
	(void)state;
	late_run(bed_spawn(0), bed_spawn(0), bed_spawn(0));
	late_run(bed_spawn(1), bed_spawn(1), bed_spawn(0));
}

/* Links of one that fails, to both shards: the others end, also while it is untied. */
static void
linked_to_many_ends_all_in_parts(void **state)
{
	struct rl_actor *hub = bed_spawn(0);
	uint32_t linked = 0;

	(void)state;
	for (uint32_t i = 0; i < 50; i++) {
		for (uint32_t shard = 0; shard < BED_SHARDS; shard++) {
			struct rl_actor *to = bed_spawn(shard);

			assert_int_equal(i % 2 == 0 ? bed_link(hub, to->id) : bed_link(to, hub->id),
					 0);
		}
	}
	bed_settle();
	bed_forget();
	rli_actor_end(hub, RL_REASON_FAILURE, -EIO);
	bed_settle();
	for (uint32_t i = 0; i < bed.count; i++) {
		if (bed.seen[i].kind == RL_MSG_STOP && bed.seen[i].reason == RL_REASON_LINKED) {
			assert_int_equal(bed.seen[i].error, -EIO);
			linked++;
		}
	}
	assert_int_equal(linked, 100);
	assert_leases_home();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(monitor_of_who_ends_is_told_once_with_the_reason),
		on_bed(monitor_of_who_has_ended_is_told_gone),
		on_bed(monitor_of_who_is_ending_is_told_its_reason),
		on_bed(monitors_of_one_actor_are_each_told),
		on_bed(monitor_taken_back_is_told_nothing),
		on_bed(monitor_taken_back_while_its_message_waits_is_told_nothing),
		on_bed(monitor_ends_with_its_watcher),
		on_bed(monitor_whose_ends_both_end_in_one_turn_is_over),
		on_bed(link_shares_ends_that_are_not_normal),
		on_bed(link_to_who_has_ended_ends_the_caller),
		on_bed(links_in_a_chain_fall_together),
		on_bed(monitor_of_itself_ends_with_it),
		on_bed(monitor_refused_takes_nothing),
		on_bed(monitors_beyond_the_maximum_are_refused),
		on_bed(monitored_by_many_ends_in_parts),
		on_bed(monitored_by_many_from_afar_ends_in_parts),
		on_bed(monitored_between_its_parts_is_gone),
		on_bed(linked_to_many_ends_all_in_parts),
	};

	return unit_run(tests) + monitor_cross_run();
}
