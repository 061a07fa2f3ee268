/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Four shards with actors and a real mesh between them, in one thread, turn by turn; and the verbs
 * for names, as if the handler of their actor were running.
 */
#ifndef RINGLINE_TESTS_NAME_BED_H
#define RINGLINE_TESTS_NAME_BED_H

#include "unit.h"

#include <errno.h>

#include <ringline/monitor.h>
#include <ringline/name.h>
#include <ringline/request.h>

#include "actor/actor.h"
#include "actor/actor_mesh.h"
#include "actor/actor_run.h"
#include "actor/name.h"
#include "actor/request.h"

#define SHARDS	   4
#define NAMES_MAX  16
#define TURNS_MAX  200 /* more than anything here needs */
#define ACTORS_MAX 64

/* What an actor was told last. */
struct told {
	uint32_t replies;
	uint32_t failures;
	int error;
	uint32_t downs;
	const char *heir; /* with the first of those it registers this name */
};

static struct bed {
	struct rl_config config;
	struct unit_log log;
	struct mesh *mesh;
	struct rl_shard shards[SHARDS];
	struct actors actors[SHARDS];
	struct rl_shard *peers[SHARDS];
	const char *expected; /* with the reply, this name is found here */
} bed;

static inline int
bed_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct told *told = rl_actor_state(self);
	rl_actor_id id;

	if (msg->kind == RL_MSG_REPLY) {
		told->replies++;
		if (bed.expected != NULL) {
			assert_int_equal(rl_actor_find(self, bed.expected, &id), 0);
			assert_true(rl_actor_id_eq(id, rl_actor_self(self)));
		}
	} else if (msg->kind == RL_MSG_REPLY_FAILED) {
		told->failures++;
		told->error = msg->reply_failed.error;
	} else if (msg->kind == RL_MSG_DOWN && told->downs++ == 0 && told->heir != NULL) {
		assert_int_equal(rl_actor_register(self, told->heir, NULL), 0);
	}
	return 0;
}

static const struct rl_actor_def bed_def = {
	.name = "bed",
	.receive = bed_receive,
	.state_size = sizeof(struct told),
};

static inline int
bed_setup(void **state)
{
	(void)state;
	memset(&bed, 0, sizeof(bed));
	bed.config = RL_CONFIG(.actors_max = ACTORS_MAX, .mailbox_max = 8, .messages_max = 8,
			       .timers_max = 8, .requests_max = 256, .monitors_max = 8,
			       .names_max = NAMES_MAX, .bufs_max = 1, .buf_pool_bytes = 1 << 20);
	unit_log_init(&bed.log);
	bed.mesh = rli_mesh_create(SHARDS);
	assert_non_null(bed.mesh);
	for (uint32_t i = 0; i < SHARDS; i++) {
		struct rl_shard *shard = &bed.shards[i];

		shard->id = i;
		shard->count = SHARDS;
		shard->config = &bed.config;
		shard->log = &bed.log.log;
		shard->actors = &bed.actors[i];
		shard->port = rli_mesh_port(bed.mesh, i);
		shard->peers = bed.peers;
		bed.peers[i] = shard;
		rli_wheel_init(&shard->wheel, 0);
		rli_shard_current = shard;
		assert_int_equal(rli_actors_init(shard), 0);
	}
	return 0;
}

/* What the loop does, without the kernel. */
static inline void
bed_turn(uint32_t number)
{
	struct rl_shard *shard = &bed.shards[number];
	struct list_node *node;

	rli_shard_current = shard;
	(void)rli_actors_drain_mesh(shard, 4096);
	(void)rli_actors_deliver_mesh(shard);
	while ((node = list_pop_front(&shard->actors->ready)) != NULL) {
		struct rl_actor *actor = list_entry(node, struct rl_actor, ready);

		(void)rli_actor_run(actor, 16);
		if (actor->life == ACTOR_ENDING) {
			rli_actor_stop(actor);
		} else if (rli_actor_has_work(actor)) {
			rli_actor_ready(actor);
		}
	}
	rli_actors_flush_mesh(shard);
}

/* Until everything has arrived everywhere. */
static inline void
bed_settle(void)
{
	for (uint32_t i = 0; i < TURNS_MAX * SHARDS; i++) {
		bed_turn(i % SHARDS);
	}
}

static inline int
bed_teardown(void **state)
{
	(void)state;
	bed.expected = NULL;
	for (uint32_t i = 0; i < SHARDS; i++) {
		rli_shard_current = &bed.shards[i];
		rli_actors_cut(&bed.shards[i], RL_REASON_SHUTDOWN);
		rli_mesh_stop(bed.shards[i].port);
	}
	bed_settle();
	assert_int_equal(bed.log.lines, 0);
	for (uint32_t i = 0; i < SHARDS; i++) {
		struct actors *actors = &bed.actors[i];

		assert_int_equal(actors->live, 0);
		assert_int_equal(actors->requests.taken, 0);
		assert_int_equal(actors->promises.taken, 0);
		assert_int_equal(actors->claims.taken, 0);
		assert_int_equal(actors->homes.names.taken, 0);
		assert_int_equal(actors->names.names.taken, 0);
		assert_true(rli_mesh_is_home(bed.shards[i].port));
		rli_actors_fini(&bed.shards[i]);
	}
	rli_mesh_destroy(bed.mesh);
	rli_shard_current = NULL;
	return 0;
}

static struct rl_actor *
bed_spawn(uint32_t shard)
{
	struct rl_actor *actor;

	assert_int_equal(rli_actor_spawn(&bed.shards[shard], &bed_def, NULL, &actor), 0);
	bed_turn(shard);
	return actor;
}

/* The verbs, as if the actor's handler were running. */
static inline void
verb_begin(struct rl_actor *actor)
{
	rli_shard_current = actor->shard;
	actor->running = true;
}

static inline int
verb_register(struct rl_actor *actor, const char *name, rl_request_id *request)
{
	int rc;

	verb_begin(actor);
	rc = rl_actor_register(actor, name, request);
	actor->running = false;
	return rc;
}

static inline int
verb_unregister(struct rl_actor *actor, const char *name)
{
	int rc;

	verb_begin(actor);
	rc = rl_actor_unregister(actor, name);
	actor->running = false;
	return rc;
}

static inline int
verb_cancel(struct rl_actor *actor, rl_request_id request)
{
	int rc;

	verb_begin(actor);
	rc = rl_actor_request_cancel(actor, request);
	actor->running = false;
	return rc;
}

static inline void
verb_end(struct rl_actor *actor)
{
	rli_shard_current = actor->shard;
	rli_actor_end(actor, RL_REASON_LOCAL, 0);
}

/* Who has @name, as far as @shard knows; 0: nobody. */
static inline uint64_t
found_on(uint32_t shard, const char *name)
{
	struct name_key key = rli_name_key(name, strlen(name));
	const struct name *found = rli_name_table_find(&bed.actors[shard].names, &key);

	return found == NULL ? 0 : found->id;
}

static inline void
assert_found_everywhere(const char *name, uint64_t id)
{
	for (uint32_t i = 0; i < SHARDS; i++) {
		assert_true(found_on(i, name) == id);
	}
}

/* A name whose home is @shard. */
static inline const char *
name_at_home(uint32_t shard)
{
	static char name[RL_ACTOR_NAME_MAX + 1];

	for (uint32_t i = 0;; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		if ((uint32_t)rli_name_key(name, strlen(name)).hash % SHARDS == shard) {
			return name;
		}
	}
}

/* Nothing more leaves @from to @to until @to takes something. */
static inline void
mesh_fill(uint32_t from, uint32_t to)
{
	struct mesh_port *port = bed.shards[from].port;
	struct envelope *envelope;

	while ((envelope = rli_mesh_stage_block(port, to, 0)) != NULL) {
		*envelope = (struct envelope){ .to = id_pack(UINT32_MAX, to, 0) }; /* nobody's */
	}
}

/* The home's answer has come to the shard of @actor; its handler has not run since. */
static inline void
bed_turn_until_granted(uint32_t home, const struct rl_actor *actor)
{
	if (home != actor->shard->id) { /* else it was granted at once */
		rli_actors_flush_mesh(actor->shard);
		bed_turn(home);
		rli_shard_current = actor->shard;
		(void)rli_actors_drain_mesh(actor->shard, 4096);
	}
}

static inline uint64_t
names_lost(uint32_t shard)
{
	struct rl_stats stats = { 0 };

	rli_counters_sum(&bed.shards[shard].counters, &stats);
	return stats.names_lost;
}

static inline const struct told *
told(const struct rl_actor *actor)
{
	return rl_actor_state(actor);
}

#define on_bed(test) cmocka_unit_test_setup_teardown(test, bed_setup, bed_teardown)

#endif
