/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: whatever the order of spawns, messages, timers, cancels, ends and drains, each actor
 *         sees a life as documented.
 * How: random actions, inside handlers and out, against a model of each life.
 * Not: streams, several shards.
 * Guards: pitfall 11, pitfall 69, pitfall 79, pitfall 108.
 */
#include "actor_groups.h"
#include "unit_actors.h"

#define LIVES	   4096
#define QUEUED_MAX 8 /* mailbox_max */
#define TIMERS_MAX 16 /* timers_max, of all actors */
#define LIVE_MAX   64 /* actors_max */

struct life_timer {
	bool active;
	rl_timer_id id;
	uint64_t tag;
	uint64_t deadline_ns;
	uint64_t period_ns;
};

struct life {
	uint64_t id;
	struct rl_actor *actor; /* NULL: it got its STOP */
	uint32_t starts;
	uint32_t stops;
	uint32_t shutdowns;
	bool ending;
	enum rl_reason reason;
	int error;
	uint64_t queued[QUEUED_MAX];
	uint32_t queued_count;
	struct life_timer timers[TIMERS_MAX];
};

static struct life lives[LIVES];
static uint32_t lives_count;
static uint32_t live;
static uint32_t timers_active;
static uint64_t seed;
static uint64_t numbers; /* tags of messages and of timers */
static bool draining;

static uint32_t
pick(uint32_t below)
{
	return (uint32_t)(unit_random(&seed) % below);
}

/* Mostly one that lives; now and then one that is long over. */
static struct life *
pick_life(void)
{
	uint32_t recent = lives_count < 80 ? lives_count : 80;

	return &lives[lives_count - 1 - pick(pick(20) == 0 ? lives_count : recent)];
}

static void
life_spawn(void)
{
	int expected = draining ? -ESHUTDOWN : live == LIVE_MAX ? -ENOBUFS : 0;
	struct rl_actor *actor;
	struct life *life;

	if (lives_count == LIVES) {
		return;
	}
	life = &lives[lives_count];
	assert_int_equal(rli_actor_spawn(&bed.shard, &bed_def, life, &actor), expected);
	if (expected == 0) {
		*life = (struct life){ .id = rli_actor_id_bits(actor), .actor = actor };
		lives_count++;
		live++;
	}
}

static void
life_end(struct life *life, enum rl_reason reason, int error)
{
	if (!life->ending) {
		life->ending = true;
		life->reason = reason;
		life->error = error;
	}
}

static void
life_post(struct life *life)
{
	struct rl_stats before = bed_stats();
	struct rl_stats after;
	bool gone = life->actor == NULL || life->ending;

	bed_post(life->id, ++numbers);
	after = bed_stats();
	assert_int_equal(after.msgs_sent, before.msgs_sent + 1);
	assert_int_equal(after.undelivered.gone, before.undelivered.gone + gone);
	if (!gone && after.undelivered.full == before.undelivered.full) {
		assert_true(life->queued_count < QUEUED_MAX);
		life->queued[life->queued_count++] = numbers;
	}
}

static void
life_timer_start(struct life *life)
{
	bool again = pick(2) == 0;
	uint64_t delay_ns = pick(4) == 0 ? 0 : pick(50000000);
	uint64_t period_ns = again ? 1000000 + delay_ns : 0;
	struct life_timer *timer = life->timers;
	rl_timer_id id;
	int rc = again ? rl_timer_start_every(life->actor, period_ns, ++numbers, &id)
		       : rl_timer_start(life->actor, delay_ns, ++numbers, &id);

	if (life->ending) {
		assert_int_equal(rc, -ESHUTDOWN);
		return;
	}
	assert_int_equal(rc, timers_active == TIMERS_MAX ? -ENOBUFS : 0);
	if (rc != 0) {
		return;
	}
	while (timer->active) {
		timer++;
	}
	*timer =
		(struct life_timer){ true, id, numbers,
				     bed.shard.now_ns + (again ? period_ns : delay_ns), period_ns };
	timers_active++;
}

/* Any timer that ever was, of any actor: only its own active ones can be cancelled. */
static void
life_timer_cancel(struct life *life)
{
	struct life *owner = pick(3) == 0 ? pick_life() : life;
	struct life_timer *timer = &owner->timers[pick(TIMERS_MAX)];
	bool expected = owner == life && timer->active;

	assert_int_equal(rl_timer_cancel(life->actor, timer->id), expected ? 0 : -ENOENT);
	if (expected) {
		timer->active = false;
		timers_active--;
	}
}

static void
life_timer_came(struct life *life, const struct rl_msg *msg)
{
	struct life_timer *timer = life->timers;
	uint64_t now_ns = bed.shard.now_ns;

	while (timer < life->timers + TIMERS_MAX &&
	       !(timer->active && timer->tag == msg->timer.tag)) {
		timer++;
	}
	assert_true(timer < life->timers + TIMERS_MAX); /* none that was cancelled or over */
	assert_true(timer->id.private_bits == msg->timer.id.private_bits);
	assert_true(timer->deadline_ns <= now_ns);
	if (timer->period_ns == 0) {
		timer->active = false;
		timers_active--;
		return;
	}
	while (timer->deadline_ns <= now_ns) {
		timer->deadline_ns += timer->period_ns;
	}
}

static void
life_stopped(struct life *life, const struct rl_msg *msg)
{
	uint32_t i;

	assert_true(life->ending);
	assert_int_equal(life->starts, 1);
	assert_int_equal(msg->stop.reason, life->reason);
	assert_int_equal(msg->stop.error, life->error);
	life->stops++;
	life->actor = NULL;
	live--;
	for (i = 0; i < TIMERS_MAX; i++) {
		timers_active -= life->timers[i].active;
		life->timers[i].active = false;
	}
}

static void
life_got(struct life *life, const struct rl_msg *msg)
{
	assert_int_equal(life->stops, 0);
	switch (msg->kind) {
	case RL_MSG_START:
		assert_int_equal(life->starts++, 0);
		return;
	case RL_MSG_TIMER:
		life_timer_came(life, msg);
		break;
	case RL_MSG_SHUTDOWN:
		assert_true(draining);
		assert_int_equal(life->shutdowns++, 0);
		break;
	default:
		assert_int_equal(msg->kind, RL_MSG_USER + 1);
		assert_true(life->queued_count > 0);
		assert_true(life->queued[0] == bed_last(0)->tag);
		life->queued_count--;
		memmove(life->queued, life->queued + 1,
			life->queued_count * sizeof(life->queued[0]));
		break;
	}
	assert_int_equal(life->starts, 1);
	assert_false(life->ending); /* nothing but START and STOP after the end was decided */
}

static void
life_acts(struct life *life)
{
	switch (pick(8)) {
	case 0:
		life_spawn();
		return;
	case 1:
	case 2:
		life_post(pick(2) == 0 ? life : pick_life());
		return;
	case 3:
	case 4:
		life_timer_start(life);
		return;
	case 5:
		life_timer_cancel(life);
		return;
	default:
		return;
	}
}

static int
hook_live(struct rl_actor *self, const struct rl_msg *msg)
{
	struct life **own = rl_actor_state(self);
	struct life *life;
	int answer = 0;

	if (msg->kind == RL_MSG_START) {
		*own = msg->start.arg;
	}
	life = *own;
	assert_ptr_equal(life->actor, self);
	if (msg->kind == RL_MSG_STOP) {
		life_timer_start(life);
		life_stopped(life, msg);
		return -EIO;
	}
	life_got(life, msg);
	life_acts(life);
	if (pick(25) == 0) {
		answer = pick(2) == 0 ? RL_ACTOR_STOP : -1 - (int)pick(100);
		life_end(life,
			 answer < 0			? RL_REASON_FAILURE
			 : msg->kind == RL_MSG_SHUTDOWN ? RL_REASON_SHUTDOWN
							: RL_REASON_LOCAL,
			 answer < 0 ? answer : 0);
	} else if (pick(12) == 0) {
		answer = RL_ACTOR_UNHANDLED;
		if (msg->kind == RL_MSG_SHUTDOWN) {
			life_end(life, RL_REASON_SHUTDOWN, 0);
		}
	}
	return answer;
}

static void
outside_acts(void)
{
	struct life *life = pick_life();
	uint32_t posts;

	switch (pick(8)) {
	case 0:
		life_spawn();
		return;
	case 1:
		if (life->actor != NULL && pick(4) == 0) {
			rli_actor_end(life->actor, RL_REASON_LIMIT, -EMSGSIZE);
			life_end(life, RL_REASON_LIMIT, -EMSGSIZE);
		}
		return;
	case 2:
		assert_ptr_equal(rli_actor_resolve(&bed.shard, life->id), life->actor);
		return;
	case 3:
	case 4:
		bed_turn_at(bed.shard.now_ns + (pick(50) == 0 ? 1000000000 : pick(3000000)));
		assert_int_equal(bed.actors.live, live);
		assert_int_equal(bed.actors.timers.taken, timers_active);
		return;
	case 5:
		for (posts = pick(2 * QUEUED_MAX); posts > 0; posts--) {
			life_post(life);
		}
		return;
	default:
		life_post(life);
		return;
	}
}

/* An actor that lives on has nothing waiting: no message, and no timer that is due. */
static void
lives_check_quiet(void)
{
	uint32_t i;
	uint32_t k;

	for (i = 0; i < lives_count; i++) {
		struct life *life = &lives[i];

		assert_int_equal(life->stops, life->actor == NULL);
		if (life->actor == NULL) {
			assert_int_equal(life->starts, 1);
			continue;
		}
		assert_int_equal(life->queued_count, 0);
		assert_false(life->ending);
		for (k = 0; k < TIMERS_MAX; k++) {
			assert_true(!life->timers[k].active ||
				    life->timers[k].deadline_ns + BED_TICK_NS > bed.shard.now_ns);
		}
	}
}

static void
lives_settle(void)
{
	uint32_t turns = 0;

	while (!list_is_empty(&bed.actors.ready)) {
		bed_turn();
		assert_true(turns++ < 100000);
	}
	lives_check_quiet();
}

static void
run_lives(uint64_t with)
{
	uint32_t step;

	assert_int_equal(bed_setup(NULL), 0);
	seed = with;
	lives_count = 0;
	live = 0;
	timers_active = 0;
	draining = false;
	bed.hook = hook_live;
	life_spawn();
	for (step = 0; step < 20000; step++) {
		outside_acts();
		if (step % 1000 == 999) {
			lives_settle();
		}
	}
	draining = true;
	rli_actors_drain(&bed.shard, 1);
	lives_settle();
	for (step = 0; step < lives_count; step++) {
		life_end(&lives[step], RL_REASON_TIMEOUT_DRAIN, 0);
	}
	rli_actors_cut(&bed.shard, RL_REASON_TIMEOUT_DRAIN);
	lives_settle();
	assert_int_equal(live, 0);
	assert_true(lives_count > 200);
	assert_true(bed_stats().timers_fired > 2000);
	assert_true(bed_stats().msgs_delivered > 2000);
	assert_true(bed_stats().undelivered.full > 100);
	assert_true(bed_stats().undelivered.gone > 100);
	(void)bed_teardown(NULL);
}

static void
actors_random_lives_match_the_model(void **state)
{
	(void)state;
	unit_each_seed(run_lives, 20);
}

int
actor_random_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(actors_random_lives_match_the_model),
	};

	return unit_run(tests);
}
