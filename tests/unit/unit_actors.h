/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A shard with actors, a wheel and its end of a mesh and nothing else, a turn for actors without a
 * stream, and one receive function that remembers what came and does what the test says.
 */
#ifndef RINGLINE_TESTS_UNIT_ACTORS_H
#define RINGLINE_TESTS_UNIT_ACTORS_H

#include "unit.h"
#include "unit_wheel.h"

#include <errno.h>

#include <ringline/conn.h>
#include <ringline/timer.h>

#include "actor/actor.h"
#include "actor/actor_run.h"
#include "actor/actor_send.h"
#include "actor/actor_timer.h"
#include "actor/request.h"
#include "base/id.h"
#include "mailbox/mesh.h"

#define BED_SHARD   5
#define BED_BUDGET  16 /* messages per actor and turn */
#define BED_SEEN    1024
#define BED_TICK_NS ((uint64_t)1 << WHEEL_TICK_SHIFT)

/* One message as it came. */
struct bed_seen {
	const struct rl_actor *actor;
	uint32_t kind;
	uint64_t tag; /* a timer's, or the first bytes of a payload */
	enum rl_reason reason; /* of a STOP */
	int error;
	void *arg; /* of a START */
};

struct bed {
	struct rl_shard shard;
	struct unit_log log;
	struct actors actors;
	struct rl_config config;
	struct mesh *mesh;
	struct rl_shard *peers[BED_SHARD + 1]; /* only its own is there */
	struct bed_seen seen[BED_SEEN];
	uint32_t count;
	int (*hook)(struct rl_actor *self, const struct rl_msg *msg); /* NULL: answers 0 */
};

static struct bed bed;

static inline int
bed_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct bed_seen *seen = &bed.seen[bed.count++ % BED_SEEN];

	*seen = (struct bed_seen){ .actor = self, .kind = msg->kind };
	if (msg->kind == RL_MSG_TIMER) {
		seen->tag = msg->timer.tag;
	} else if (msg->kind == RL_MSG_START) {
		seen->arg = msg->start.arg;
	} else if (msg->kind == RL_MSG_STOP) {
		seen->reason = msg->stop.reason;
		seen->error = msg->stop.error;
	} else if (msg->kind >= RL_MSG_USER && msg->len >= sizeof(seen->tag)) {
		memcpy(&seen->tag, msg->user.data, sizeof(seen->tag));
	}
	return bed.hook == NULL ? 0 : bed.hook(self, msg);
}

static const struct rl_actor_def bed_def = {
	.name = "bed",
	.receive = bed_receive,
	.state_size = 48,
};

static inline int
bed_setup(void **state)
{
	(void)state;
	memset(&bed, 0, sizeof(bed));
	bed.config = RL_CONFIG(.actors_max = 64, .mailbox_max = 8, .messages_max = 32,
			       .timers_max = 16, .requests_max = 16, .monitors_max = 16,
			       .names_max = 16, .bufs_max = 16, .buf_pool_bytes = 1 << 20);
	bed.shard.id = BED_SHARD;
	bed.shard.count = BED_SHARD + 1;
	bed.shard.config = &bed.config;
	unit_log_init(&bed.log);
	bed.shard.log = &bed.log.log;
	bed.shard.actors = &bed.actors;
	bed.shard.now_ns = 1000 * (uint64_t)RL_SEC(1);
	rli_wheel_init(&bed.shard.wheel, bed.shard.now_ns);
	bed.mesh = rli_mesh_create(bed.shard.count);
	assert_non_null(bed.mesh);
	bed.shard.port = rli_mesh_port(bed.mesh, BED_SHARD);
	bed.peers[BED_SHARD] = &bed.shard;
	bed.shard.peers = bed.peers;
	rli_shard_current = &bed.shard;
	assert_int_equal(rli_actors_init(&bed.shard), 0);
	return 0;
}

static inline struct rl_stats
bed_stats(void)
{
	struct rl_stats sum = { 0 };

	rli_counters_sum(&bed.shard.counters, &sum);
	return sum;
}

static inline struct rl_actor *
bed_spawn(void *arg)
{
	struct rl_actor *actor;

	assert_int_equal(rli_actor_spawn(&bed.shard, &bed_def, arg, &actor), 0);
	assert_non_null(actor);
	return actor;
}

/* What the loop does with an actor that has no stream. */
static inline void
bed_run(struct rl_actor *actor)
{
	(void)rli_actor_run(actor, BED_BUDGET);
	if (actor->life == ACTOR_ENDING) {
		rli_actor_stop(actor);
	} else if (rli_actor_has_work(actor)) {
		rli_actor_ready(actor);
	}
}

/* Timers, then whoever was ready when the turn began. */
static inline void
bed_turn(void)
{
	struct rl_actor *actor;
	struct timer *timer;
	struct list batch;

	rli_wheel_expire(&bed.shard.wheel, bed.shard.now_ns);
	while ((timer = rli_wheel_due_pop(&bed.shard.wheel)) != NULL) {
		if (timer->kind == TIMER_REQUEST) {
			rli_request_due(timer);
		} else {
			assert_int_equal(timer->kind, TIMER_ACTOR);
			rli_actor_timer_due(timer);
		}
	}
	list_init(&batch);
	list_splice_back(&batch, &bed.actors.ready);
	while ((actor = rli_actor_next(&batch)) != NULL) {
		bed_run(actor);
	}
}

static inline void
bed_turn_at(uint64_t now_ns)
{
	bed.shard.now_ns = now_ns;
	bed_turn();
}

/* A message with a number in it. */
static inline void
bed_post(uint64_t to, uint64_t number)
{
	struct envelope envelope = {
		.to = to,
		.from = 77,
		.kind = RL_MSG_USER + 1,
		.len = sizeof(number),
	};

	memcpy(envelope.payload, &number, sizeof(number));
	counters_add(&bed.shard.counters, msgs_sent, 1);
	(void)rli_actor_post(&bed.shard, &envelope); /* counted if it is lost */
}

/* The message that came @back before the last one. */
static inline const struct bed_seen *
bed_last(uint32_t back)
{
	assert_true(back < bed.count);
	assert_true(back < BED_SEEN);
	return &bed.seen[(bed.count - 1 - back) % BED_SEEN];
}

/*
 * The public verbs belong into the handler of their actor. This is for a test that calls them
 * between two turns: as if its handler were running.
 */
static inline void
bed_handler_begin(struct rl_actor *actor)
{
	assert_false(actor->running);
	assert_null(rli_actor_running);
	actor->running = true;
	rli_actor_running = actor;
}

static inline void
bed_handler_end(struct rl_actor *actor)
{
	actor->running = false;
	rli_actor_running = NULL;
}

static inline int
bed_timer_start(struct rl_actor *actor, uint64_t delay_ns, uint64_t tag, rl_timer_id *id)
{
	int rc;

	bed_handler_begin(actor);
	rc = rl_timer_start(actor, delay_ns, tag, id);
	bed_handler_end(actor);
	return rc;
}

static inline int
bed_timer_start_every(struct rl_actor *actor, uint64_t period_ns, uint64_t tag, rl_timer_id *id)
{
	int rc;

	bed_handler_begin(actor);
	rc = rl_timer_start_every(actor, period_ns, tag, id);
	bed_handler_end(actor);
	return rc;
}

static inline int
bed_timer_cancel(struct rl_actor *actor, rl_timer_id id)
{
	int rc;

	bed_handler_begin(actor);
	rc = rl_timer_cancel(actor, id);
	bed_handler_end(actor);
	return rc;
}

/* Forget what came. */
static inline void
bed_forget(void)
{
	bed.count = 0;
}

/* End all that is left; then nothing is, the counters balance, and nobody complained. */
static inline int
bed_teardown(void **state)
{
	struct rl_stats stats;

	(void)state;
	bed.hook = NULL;
	rli_actors_cut(&bed.shard, RL_REASON_SHUTDOWN);
	bed_turn();
	stats = bed_stats();
	assert_int_equal(bed.log.lines, 0);
	assert_int_equal(bed.actors.live, 0);
	assert_int_equal(bed.actors.slab.taken, 0);
	assert_int_equal(bed.actors.timers.taken, 0);
	assert_int_equal(bed.actors.requests.taken, 0);
	assert_int_equal(bed.actors.promises.taken, 0);
	assert_int_equal(bed.actors.leases.taken, 0);
	assert_int_equal(bed.actors.rooms.taken, 0);
	assert_int_equal(rli_letters_taken(&bed.actors.letters), 0);
	assert_int_equal(unit_wheel_armed(&bed.shard.wheel), 0);
	assert_true(list_is_empty(&bed.actors.ready));
	for (uint32_t i = 0; i < ACTOR_STATE_CLASSES; i++) {
		assert_int_equal(bed.actors.states[i].taken, 0);
	}
	assert_int_equal(stats.actors_started, stats.actors_stopped);
	assert_int_equal(stats.msgs_sent, stats.msgs_delivered + stats.undelivered.full +
						  stats.undelivered.gone +
						  stats.undelivered.stopping);
	rli_actors_fini(&bed.shard);
	rli_mesh_destroy(bed.mesh);
	rli_shard_current = NULL;
	return 0;
}

#define on_bed(test) cmocka_unit_test_setup_teardown(test, bed_setup, bed_teardown)

#endif
