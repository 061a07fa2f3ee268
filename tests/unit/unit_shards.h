/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Two shards in one thread: actors, wheels and the mesh between them, a turn of each as the loop
 * makes it, and one receive function that remembers what came and does what the test says. Shards
 * that never sleep need no ring: nobody has to wake them.
 */
#ifndef RINGLINE_TESTS_UNIT_SHARDS_H
#define RINGLINE_TESTS_UNIT_SHARDS_H

#include "unit.h"
#include "unit_wheel.h"

#include <errno.h>

#include <ringline/monitor.h>
#include <ringline/request.h>
#include <ringline/shard.h>
#include <ringline/timer.h>

#include "actor/actor.h"
#include "actor/actor_mesh.h"
#include "actor/actor_run.h"
#include "actor/actor_timer.h"
#include "actor/hooks.h"
#include "actor/request.h"

#define BED_SHARDS 2
#define BED_SEEN   4096
#define BED_KIND   (RL_MSG_USER + 1)
#define BED_PAIR   ((MESH_BLOCKS - MESH_RESERVED) * MESH_BLOCK_ENVELOPES) /* one pair's room */

/* One message as it came. */
struct bed_seen {
	const struct rl_actor *actor; /* NULL: a shard's notification */
	uint32_t kind;
	uint32_t shard; /* the sender's; of ROOM: which has room */
	uint64_t from;
	uint64_t number; /* the first bytes of a payload */
	uint64_t id; /* of a request, a reply or a monitor; of DOWN also */
	uint64_t whom; /* of DOWN, UNDELIVERED */
	uint32_t reason;
	int error;
};

struct bed {
	struct rl_shard shards[BED_SHARDS];
	struct rl_shard *peers[BED_SHARDS];
	struct actors actors[BED_SHARDS];
	struct rl_config config;
	struct unit_log log;
	struct mesh *mesh;
	struct bed_seen seen[BED_SEEN];
	uint32_t count;
	int (*hook)(struct rl_actor *self, const struct rl_msg *msg); /* NULL: answers 0 */
};

static struct bed bed;

static inline void
bed_note_user(struct bed_seen *seen, const struct rl_msg *msg)
{
	seen->id = msg->user.request.private_bits;
	seen->shard = msg->user.shard;
	if (msg->len >= sizeof(seen->number)) {
		memcpy(&seen->number, msg->user.data, sizeof(seen->number));
	}
}

static inline void
bed_note(const struct rl_actor *actor, const struct rl_msg *msg)
{
	struct bed_seen *seen = &bed.seen[bed.count];

	assert_true(bed.count < BED_SEEN);
	bed.count++;
	*seen = (struct bed_seen){ .actor = actor,
				   .kind = msg->kind,
				   .from = msg->from.private_bits };
	if (msg->kind >= RL_MSG_USER) {
		bed_note_user(seen, msg);
	} else if (msg->kind == RL_MSG_STOP) {
		seen->reason = msg->stop.reason;
		seen->error = msg->stop.error;
	} else if (msg->kind == RL_MSG_ROOM) {
		seen->shard = msg->room.shard;
	} else if (msg->kind == RL_MSG_REPLY) {
		seen->id = msg->reply.id.private_bits;
		memcpy(&seen->number, msg->reply.data,
		       msg->len < sizeof(seen->number) ? msg->len : sizeof(seen->number));
	} else if (msg->kind == RL_MSG_REPLY_FAILED) {
		seen->id = msg->reply_failed.id.private_bits;
		seen->error = msg->reply_failed.error;
	} else if (msg->kind == RL_MSG_DOWN) {
		seen->id = msg->down.id.private_bits;
		seen->whom = msg->down.actor.private_bits;
		seen->reason = msg->down.reason;
		seen->error = msg->down.error;
	} else if (msg->kind == RL_MSG_UNDELIVERED) {
		seen->whom = msg->undelivered.to.private_bits;
		seen->id = msg->undelivered.kind;
		seen->error = msg->undelivered.error;
	}
}

static inline int
bed_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	bed_note(self, msg);
	return bed.hook == NULL ? 0 : bed.hook(self, msg);
}

static const struct rl_actor_def bed_def = { .name = "bed", .receive = bed_receive };
static const struct rl_actor_def bed_def_reports = { .name = "reports",
						     .receive = bed_receive,
						     .reports = true };

static inline int
bed_setup(void **state)
{
	(void)state;
	memset(&bed, 0, sizeof(bed));
	bed.config = RL_CONFIG(.actors_max = 128, .mailbox_max = 8, .messages_max = 64,
			       .timers_max = 16, .requests_max = 1024, .monitors_max = 1024,
			       .names_max = 16, .bufs_max = 16, .buf_pool_bytes = 1 << 20);
	unit_log_init(&bed.log);
	bed.mesh = rli_mesh_create(BED_SHARDS);
	assert_non_null(bed.mesh);
	for (uint32_t i = 0; i < BED_SHARDS; i++) {
		struct rl_shard *shard = &bed.shards[i];

		bed.peers[i] = shard;
		shard->id = i;
		shard->count = BED_SHARDS;
		shard->config = &bed.config;
		shard->log = &bed.log.log;
		shard->actors = &bed.actors[i];
		shard->port = rli_mesh_port(bed.mesh, i);
		shard->peers = bed.peers;
		shard->now_ns = 1000 * (uint64_t)RL_SEC(1);
		rli_wheel_init(&shard->wheel, shard->now_ns);
		assert_int_equal(rli_actors_init(shard), 0);
	}
	return 0;
}

static inline struct rl_stats
bed_stats(uint32_t shard)
{
	struct rl_stats sum = { 0 };

	rli_counters_sum(&bed.shards[shard].counters, &sum);
	return sum;
}

static inline struct rl_stats
bed_sum(void)
{
	struct rl_stats sum = { 0 };

	for (uint32_t i = 0; i < BED_SHARDS; i++) {
		rli_counters_sum(&bed.shards[i].counters, &sum);
	}
	return sum;
}

static inline void
bed_timers(struct rl_shard *shard)
{
	struct timer *timer;

	rli_wheel_expire(&shard->wheel, shard->now_ns);
	while ((timer = rli_wheel_due_pop(&shard->wheel)) != NULL) {
		if (timer->kind == TIMER_REQUEST) {
			rli_request_due(timer);
		} else {
			assert_int_equal(timer->kind, TIMER_ACTOR);
			rli_actor_timer_due(timer);
		}
	}
}

/* Whoever is ready, and who becomes so meanwhile. */
static inline bool
bed_actors(struct rl_shard *shard)
{
	struct rl_actor *actor;
	bool any = false;

	while ((actor = rli_actor_next(&shard->actors->ready)) != NULL) {
		(void)rli_actor_run(actor, 16);
		if (actor->life == ACTOR_ENDING) {
			rli_actor_stop(actor);
		} else if (rli_actor_has_work(actor)) {
			rli_actor_ready(actor);
		}
		any = true;
	}
	return any;
}

/* A turn, but for the flush. True: it did something. */
static inline bool
bed_turn_unflushed(uint32_t id)
{
	struct rl_shard *shard = &bed.shards[id];
	bool active;

	rli_shard_current = shard;
	active = rli_actors_drain_mesh(shard, 4096);
	bed_timers(shard);
	active = rli_actors_deliver_mesh(shard) || active;
	active = bed_actors(shard) || active;
	if (active) {
		rli_hooks_tick(shard);
	}
	return active;
}

static inline bool
bed_turn(uint32_t id)
{
	bool active = bed_turn_unflushed(id);

	rli_actors_flush_mesh(&bed.shards[id]);
	return active;
}

/* Turns of both until nothing happens any more. */
static inline void
bed_settle(void)
{
	uint32_t turns = 0;
	bool active = true;

	while (active) {
		active = bed_turn(0);
		active = bed_turn(1) || active;
		active = !rli_mesh_is_quiet(bed.shards[0].port) || active;
		active = !rli_mesh_is_quiet(bed.shards[1].port) || active;
		assert_true(turns++ < 10000);
	}
}

/* A new actor that has had its START, which is not remembered. */
static inline struct rl_actor *
bed_spawn_def(uint32_t shard, const struct rl_actor_def *def)
{
	struct rl_actor *actor;
	uint32_t count = bed.count;
	int (*hook)(struct rl_actor *self, const struct rl_msg *msg) = bed.hook;

	bed.hook = NULL;
	assert_int_equal(rli_actor_spawn(&bed.shards[shard], def, NULL, &actor), 0);
	(void)rli_actor_run(actor, 1);
	bed.hook = hook;
	bed.count = count;
	return actor;
}

static inline struct rl_actor *
bed_spawn(uint32_t shard)
{
	return bed_spawn_def(shard, &bed_def);
}

/* Between these two calls it is as if the handler of @actor were running. */
static inline struct rl_actor *
bed_enter(struct rl_actor *actor)
{
	rli_shard_current = actor->shard;
	assert_null(rli_actor_running);
	rli_actor_running = actor;
	actor->running = true;
	return actor;
}

static inline void
bed_leave(struct rl_actor *actor)
{
	actor->running = false;
	rli_actor_running = NULL;
}

static inline int
bed_send(struct rl_actor *from, uint64_t to, uint64_t number)
{
	int rc = rl_actor_send(bed_enter(from), (rl_actor_id){ to }, BED_KIND, &number,
			       sizeof(number));

	bed_leave(from);
	return rc;
}

static inline int
bed_request(struct rl_actor *from, uint64_t to, uint64_t number, int64_t timeout_ns,
	    rl_request_id *id)
{
	struct rl_request request = { .to = { to },
				      .kind = BED_KIND,
				      .len = sizeof(number),
				      .data = &number,
				      .timeout_ns = timeout_ns };
	int rc = rl_actor_request(bed_enter(from), &request, id);

	bed_leave(from);
	return rc;
}

static inline int
bed_reply(struct rl_actor *from, uint64_t id, uint64_t number)
{
	int rc = rl_actor_reply(bed_enter(from), (rl_request_id){ id }, &number, sizeof(number));

	bed_leave(from);
	return rc;
}

static inline int
bed_monitor(struct rl_actor *from, uint64_t to, rl_monitor_id *id)
{
	int rc = rl_actor_monitor(bed_enter(from), (rl_actor_id){ to }, id);

	bed_leave(from);
	return rc;
}

static inline int
bed_demonitor(struct rl_actor *from, rl_monitor_id id)
{
	int rc = rl_actor_demonitor(bed_enter(from), id);

	bed_leave(from);
	return rc;
}

static inline int
bed_link(struct rl_actor *from, uint64_t to)
{
	int rc = rl_actor_link(bed_enter(from), (rl_actor_id){ to });

	bed_leave(from);
	return rc;
}

/* Fill the pair from the shard of @from: then there is no room, and nobody waits. */
static inline uint32_t
bed_fill(struct rl_actor *from, uint64_t to)
{
	uint32_t count = 0;
	int rc = 0;

	rli_shard_current = from->shard;
	while (rc == 0) {
		rc = rl_shard_send(from->shard, (rl_actor_id){ to }, BED_KIND, &count,
				   sizeof(count));
		count += rc == 0;
	}
	assert_int_equal(rc, -EAGAIN);
	return count;
}

/* How many of these @actor got (NULL: anybody), and the last of them. */
static inline uint32_t
bed_got(const struct rl_actor *actor, uint32_t kind, const struct bed_seen **last)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < bed.count; i++) {
		if (bed.seen[i].kind == kind && (actor == NULL || bed.seen[i].actor == actor)) {
			count++;
			if (last != NULL) {
				*last = &bed.seen[i];
			}
		}
	}
	return count;
}

/* The one that @actor got; there is exactly one. */
static inline const struct bed_seen *
bed_only(const struct rl_actor *actor, uint32_t kind)
{
	const struct bed_seen *last = NULL;

	assert_int_equal(bed_got(actor, kind, &last), 1);
	return last;
}

static inline void
bed_forget(void)
{
	bed.count = 0;
}

/* Every message was delivered or counted. */
static inline void
bed_assert_balanced(void)
{
	struct rl_stats stats = bed_sum();

	assert_int_equal(stats.actors_started, stats.actors_stopped);
	assert_int_equal(stats.msgs_sent, stats.msgs_delivered + stats.undelivered.full +
						  stats.undelivered.gone +
						  stats.undelivered.stopping);
}

/* End all that is left; then nothing is, on any list or in any pool. */
static inline int
bed_teardown(void **state)
{
	(void)state;
	bed.hook = NULL;
	bed_forget();
	bed_settle();
	for (uint32_t i = 0; i < BED_SHARDS; i++) {
		rli_mesh_stop(bed.shards[i].port);
		rli_actors_cut(&bed.shards[i], RL_REASON_SHUTDOWN);
	}
	bed_forget();
	bed_settle();
	bed_assert_balanced();
	for (uint32_t i = 0; i < BED_SHARDS; i++) {
		struct actors *actors = &bed.actors[i];

		assert_int_equal(actors->live, 0);
		assert_int_equal(actors->slab.taken, 0);
		assert_int_equal(rli_letters_taken(&actors->letters), 0);
		assert_int_equal(actors->timers.taken, 0);
		assert_int_equal(actors->requests.taken, 0);
		assert_int_equal(actors->promises.taken, 0);
		assert_int_equal(actors->leases.taken, 0);
		assert_int_equal(actors->rooms.taken, 0);
		assert_int_equal(actors->bufs.taken, 0);
		assert_int_equal(actors->bufs_away, 0);
		assert_int_equal(actors->buf_memory.chunks_taken, 0);
		assert_int_equal(unit_wheel_armed(&bed.shards[i].wheel), 0);
		assert_true(rli_mesh_is_home(bed.shards[i].port));
		rli_actors_fini(&bed.shards[i]);
	}
	assert_int_equal(bed.log.lines, 0);
	rli_mesh_destroy(bed.mesh);
	rli_shard_current = NULL;
	return 0;
}

#define on_bed(test) cmocka_unit_test_setup_teardown(test, bed_setup, bed_teardown)

#endif
