/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: whatever the order of sends, requests, answers, monitors, links, ends and turns of two
 *         shards, each request has at most one outcome and each monitor at most one end, both
 *         exactly one in the end for who lives on, none after it was taken back; nothing is left.
 * How: random actions in handlers and between turns, over a way that is mostly full, against
 *      records of what is open.
 * Not: two threads at once; reasons.
 */
#include "actor_mesh_groups.h"
#include "unit_shards.h"

#define TIES_MAX 65536
#define RECENT	 64
#define OWED_MAX 512
#define STEPS	 6000

struct tie_record {
	uint64_t id;
	uint64_t owner;
	uint64_t target;
	bool open;
};

static struct tie_record requests[TIES_MAX];
static struct tie_record monitors[TIES_MAX];
static uint32_t requests_count;
static uint32_t monitors_count;
static uint64_t recent[RECENT]; /* ids of actors, alive or not */
static struct {
	uint64_t actor;
	uint64_t id;
} owed[OWED_MAX];
static uint32_t owed_at;
static uint64_t seed;
static uint32_t waited; /* turns that obligations had to wait */
static bool calm; /* nobody does anything of its own any more */

static uint32_t
pick(uint32_t below)
{
	return (uint32_t)(unit_random(&seed) % below);
}

static struct tie_record *
record_open(struct tie_record *records, uint32_t count, uint64_t id, uint64_t owner)
{
	for (uint32_t i = count; i > 0; i--) {
		if (records[i - 1].id == id && records[i - 1].owner == owner) {
			return records[i - 1].open ? &records[i - 1] : NULL;
		}
	}
	return NULL;
}

static void
record_add(struct tie_record *records, uint32_t *count, uint64_t id, uint64_t owner,
	   uint64_t target)
{
	assert_true(*count < TIES_MAX);
	records[(*count)++] = (struct tie_record){ id, owner, target, true };
}

static void
record_over(struct tie_record *records, uint32_t count, uint64_t id, uint64_t owner)
{
	struct tie_record *record = record_open(records, count, id, owner);

	assert_non_null(record); /* none that is over or was taken back, and nobody else's */
	record->open = false;
}

static void
records_of_who_ended(uint64_t owner)
{
	for (uint32_t i = 0; i < requests_count; i++) {
		requests[i].open = requests[i].open && requests[i].owner != owner;
	}
	for (uint32_t i = 0; i < monitors_count; i++) {
		monitors[i].open = monitors[i].open && monitors[i].owner != owner;
	}
}

static void
act_request(struct rl_actor *self, rl_actor_id to)
{
	struct rl_request request = { .to = to, .kind = BED_KIND, .timeout_ns = -1 };
	rl_request_id id;
	int rc;

	if (pick(3) == 0) {
		request.timeout_ns = 1 + pick(3000000);
	}
	rc = rl_actor_request(self, &request, &id);
	assert_true(rc == 0 || rc == -ENOBUFS || rc == -ESHUTDOWN);
	if (rc == 0) {
		record_add(requests, &requests_count, id.private_bits, self->id, to.private_bits);
	}
}

static void
act_monitor(struct rl_actor *self, rl_actor_id to)
{
	rl_monitor_id id;
	int rc = rl_actor_monitor(self, to, &id);

	assert_true(rc == 0 || rc == -ENOBUFS || rc == -ESHUTDOWN);
	if (rc == 0) {
		record_add(monitors, &monitors_count, id.private_bits, self->id, to.private_bits);
	}
}

/* One of the last that were made by anybody; the answer is known. */
static void
act_take_back(struct rl_actor *self)
{
	struct tie_record *record;
	bool own;

	if (requests_count > 0 && pick(2) == 0) {
		record = &requests[requests_count - 1 - pick(requests_count) % RECENT];
		own = record->owner == self->id && record->open;
		assert_int_equal(rl_actor_request_cancel(self, (rl_request_id){ record->id }),
				 own ? 0 : -ENOENT);
	} else if (monitors_count > 0) {
		record = &monitors[monitors_count - 1 - pick(monitors_count) % RECENT];
		own = record->owner == self->id && record->open;
		assert_int_equal(rl_actor_demonitor(self, (rl_monitor_id){ record->id }),
				 own ? 0 : -ENOENT);
	} else {
		return;
	}
	record->open = record->open && !own;
}

static void
act_answer(struct rl_actor *self)
{
	uint32_t at = pick(OWED_MAX);

	if (owed[at].actor == self->id) {
		(void)rl_actor_reply(self, (rl_request_id){ owed[at].id }, NULL, 0);
		owed[at].actor = 0;
	}
}

static const struct rl_actor_def random_def;

static void
act(struct rl_actor *self)
{
	rl_actor_id to = { recent[pick(RECENT)] };
	rl_actor_id spawned;

	switch (pick(12)) {
	case 0:
	case 1:
		for (uint32_t i = pick(300); i > 0; i--) {
			(void)!rl_actor_send(self, to, BED_KIND, NULL, 0);
		}
		return;
	case 2:
	case 3:
	case 4:
		for (uint32_t i = pick(20); i > 0 && to.private_bits != 0; i--) {
			act_request(self, to);
		}
		return;
	case 5:
	case 6:
		for (uint32_t i = pick(20); i > 0 && to.private_bits != 0; i--) {
			act_monitor(self, to);
		}
		return;
	case 7:
		act_take_back(self);
		return;
	case 8:
	case 9:
		act_answer(self);
		return;
	case 10:
		if (pick(4) == 0) {
			(void)!rl_actor_link(self, to);
		} else if (pick(4) == 0) {
			(void)!rl_actor_stop(self, to);
		}
		return;
	default:
		if (rl_actor_spawn(self, &random_def, NULL, &spawned) == 0) {
			recent[pick(RECENT)] = spawned.private_bits;
		}
		return;
	}
}

static int
random_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	switch (msg->kind) {
	case RL_MSG_REPLY:
		record_over(requests, requests_count, msg->reply.id.private_bits, self->id);
		break;
	case RL_MSG_REPLY_FAILED:
		record_over(requests, requests_count, msg->reply_failed.id.private_bits, self->id);
		break;
	case RL_MSG_DOWN:
		record_over(monitors, monitors_count, msg->down.id.private_bits, self->id);
		break;
	case RL_MSG_STOP:
		records_of_who_ended(self->id);
		return 0;
	case BED_KIND:
		if (!rl_request_id_is_none(msg->user.request)) {
			if (pick(3) == 0) {
				return RL_ACTOR_UNHANDLED;
			}
			owed[owed_at % OWED_MAX].actor = self->id;
			owed[owed_at++ % OWED_MAX].id = msg->user.request.private_bits;
		}
		break;
	default:
		break;
	}
	if (!calm && pick(3) == 0) {
		act(self);
	}
	return !calm && pick(150) == 0 ? (pick(3) == 0 ? -EIO : RL_ACTOR_STOP) : 0;
}

static const struct rl_actor_def random_def = { .name = "random",
						.receive = random_receive,
						.reports = true };

static void
outside(uint32_t step)
{
	struct rl_shard *shard = &bed.shards[pick(BED_SHARDS)];
	struct rl_actor *actor;

	bed.shards[0].now_ns += pick(400000);
	bed.shards[1].now_ns = bed.shards[0].now_ns;
	if (pick(6) == 0 && rli_actor_spawn(shard, &random_def, NULL, &actor) == 0) {
		recent[pick(RECENT)] = actor->id;
	}
	actor = rli_actor_resolve(&bed.shards[shard->id], recent[pick(RECENT)]);
	if (actor != NULL && actor->life == ACTOR_RUNNING) {
		act(bed_enter(actor));
		bed_leave(actor);
	}
	/* one shard has many turns while the other has none */
	for (uint32_t turns = shard->id == step / 60 % 3 ? 0 : pick(3); turns > 0; turns--) {
		bed_turn(shard->id);
	}
	waited += !list_is_empty(&shard->port->out[1 - shard->id].obliged);
}

/* Who lives on has been told of all that is over; then all end. */
static void
run_lives(uint64_t with)
{
	assert_int_equal(bed_setup(NULL), 0);
	memset(recent, 0, sizeof(recent));
	memset(owed, 0, sizeof(owed));
	requests_count = 0;
	monitors_count = 0;
	seed = with;
	calm = false;
	waited = 0;
	for (uint32_t step = 0;
	     step < STEPS && requests_count < TIES_MAX - 4096 && monitors_count < TIES_MAX - 4096;
	     step++) {
		outside(step);
	}
	calm = true;
	bed_settle();
	rli_actors_cut(&bed.shards[1], RL_REASON_SHUTDOWN);
	bed_settle();
	/* all of shard 1 has ended: who lives on shard 0 has been told of it */
	for (uint32_t i = 0; i < requests_count; i++) {
		assert_true(!requests[i].open || (id_shard(requests[i].owner) == 0 &&
						  id_shard(requests[i].target) == 0));
	}
	for (uint32_t i = 0; i < monitors_count; i++) {
		assert_true(!monitors[i].open || (id_shard(monitors[i].owner) == 0 &&
						  id_shard(monitors[i].target) == 0));
	}
	assert_true(waited > 0);
	assert_true(requests_count > 1000);
	assert_true(monitors_count > 1000);
	assert_true(bed_sum().downs > 200);
	(void)bed_teardown(NULL);
	for (uint32_t i = 0; i < requests_count; i++) {
		assert_false(requests[i].open);
	}
	for (uint32_t i = 0; i < monitors_count; i++) {
		assert_false(monitors[i].open);
	}
}

static void
shards_random_lives_keep_their_ties(void **state)
{
	(void)state;
	unit_each_seed(run_lives, 20);
}

int
actor_mesh_random_run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shards_random_lives_keep_their_ties),
	};

	return unit_run(tests);
}
