/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Shards that send to each other until there is no room: what is held back leaves, who was refused
 * is told, what must arrive arrives, and memory and turns are bounded. Scripted; what talkers make
 * of it at random is sim_talk.c's.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "actor/actor.h"
#include "base/id.h"
#include "mailbox/mesh.h"

#include "sim_harness.h"

#define KIND_ORDER   (RL_MSG_USER + 1) /* what to do: struct order */
#define KIND_FLOOD   (RL_MSG_USER + 2) /* uint64_t: counts up */
#define KIND_ASK     (RL_MSG_USER + 3)
#define PAIR_ALL     (MESH_BLOCKS * MESH_BLOCK_ENVELOPES)
#define PAIR_PLAIN   ((MESH_BLOCKS - MESH_RESERVED) * MESH_BLOCK_ENVELOPES)
#define FLOODERS     4
#define MAILBOX_MAX  4000
#define MESSAGES_MAX 8192

enum what {
	SEND, /* count messages, or until there is no room */
	ASK, /* count requests */
	WATCH, /* count monitors */
	LINK,
	FAIL,
	KEEP_SENDING, /* again and again, as RL_MSG_ROOM comes */
	STOP,
};

struct order {
	rl_actor_id to;
	enum what what;
	uint32_t count;
};

/* What one of them did and was told. */
struct flooder {
	rl_actor_id id;
	uint64_t sent;
	uint64_t got;
	uint32_t refused;
	uint32_t rooms;
	uint32_t rooms_at; /* the number of rooms told in all when this one was told first */
	uint32_t asked; /* requests that came */
	uint32_t replies;
	uint32_t failures;
	uint32_t downs;
	bool in_order;
	struct order keep;
	bool fails;
	bool stopped;
	enum rl_reason reason;
};

static struct flooder flooders[FLOODERS];
static uint32_t rooms_told;

static int
flood(struct rl_actor *self, struct flooder *me, const struct order *order)
{
	int rc = 0;

	for (uint32_t i = 0; i < order->count && rc == 0; i++) {
		uint64_t number = me->sent + 1;

		rc = rl_actor_send(self, order->to, KIND_FLOOD, &number, sizeof(number));
		me->sent += rc == 0;
	}
	me->refused += rc == -EAGAIN;
	return rc;
}

static void
obey(struct rl_actor *self, struct flooder *me, const struct order *order)
{
	struct rl_request ask = { .to = order->to, .kind = KIND_ASK, .timeout_ns = -1 };

	switch (order->what) {
	case SEND:
		(void)flood(self, me, order);
		return;
	case KEEP_SENDING:
		me->keep = *order;
		(void)flood(self, me, order);
		return;
	case ASK:
		for (uint32_t i = 0; i < order->count; i++) {
			assert_int_equal(rl_actor_request(self, &ask, NULL), 0);
		}
		return;
	case WATCH:
		for (uint32_t i = 0; i < order->count; i++) {
			assert_int_equal(rl_actor_monitor(self, order->to, NULL), 0);
		}
		return;
	case LINK:
		assert_int_equal(rl_actor_link(self, order->to), 0);
		return;
	case FAIL:
		me->fails = true;
		return;
	case STOP:
		assert_int_equal(rl_actor_stop(self, order->to), 0);
		return;
	}
}

static void
told_room(struct rl_actor *self, struct flooder *me)
{
	if (me->rooms++ == 0) {
		me->rooms_at = rooms_told;
	}
	rooms_told++;
	if (me->keep.count > 0) {
		(void)flood(self, me, &me->keep);
	}
}

static int
flooder_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct flooder **state = rl_actor_state(self);
	struct flooder *me;

	if (msg->kind == RL_MSG_START) {
		*state = msg->start.arg;
	}
	me = *state;
	switch (msg->kind) {
	case RL_MSG_STOP:
		me->stopped = true;
		me->reason = msg->stop.reason;
		return 0;
	case RL_MSG_ROOM:
		told_room(self, me);
		return 0;
	case RL_MSG_REPLY:
		me->replies++;
		return 0;
	case RL_MSG_REPLY_FAILED:
		me->failures++;
		return 0;
	case RL_MSG_DOWN:
		me->downs++;
		return 0;
	case KIND_ORDER:
		obey(self, me, RL_MSG_AS(msg, struct order));
		return me->fails ? -EIO : 0;
	case KIND_FLOOD:
		me->in_order = me->in_order && *RL_MSG_AS(msg, uint64_t) > me->got;
		me->got++;
		return 0;
	case KIND_ASK:
		me->asked++;
		return rl_actor_reply(self, msg->user.request, NULL, 0);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def flooder_def = {
	.name = "flooder",
	.receive = flooder_receive,
	.state_size = sizeof(struct flooder *),
};

static void
spawn(uint32_t i, uint32_t shard)
{
	flooders[i].in_order = true;
	assert_int_equal(
		rl_system_spawn(sim_system(), shard, &flooder_def, &flooders[i], &flooders[i].id),
		0);
}

static void
begin(uint32_t shards)
{
	struct rl_config config = RL_CONFIG(.shards = shards, .sq_entries = 64, .cq_entries = 256,
					    .conns_max = 64, .mailbox_max = MAILBOX_MAX,
					    .messages_max = MESSAGES_MAX, .requests_max = 1000);

	memset(flooders, 0, sizeof(flooders));
	rooms_told = 0;
	sim_new_with(&config, 91);
}

/* Two shards, an actor on each. */
static int
setup(void **state)
{
	(void)state;
	begin(2);
	spawn(0, 0);
	spawn(1, 1);
	sim_settle();
	return 0;
}

/* Given, not carried out: that takes a turn of its shard. */
static void
order(uint32_t who, uint32_t to, enum what what, uint32_t count)
{
	struct order text = { flooders[to].id, what, count };

	assert_int_equal(
		rl_system_send(sim_system(), flooders[who].id, KIND_ORDER, &text, sizeof(text)), 0);
}

static const struct mesh_out *
way(uint32_t from, uint32_t to)
{
	return &sim_on(from)->port->out[to];
}

static uint32_t
obliged(uint32_t from, uint32_t to)
{
	const struct list *list = &way(from, to)->obliged;
	uint32_t count = 0;

	for (const struct list_node *node = list->head.next; node != &list->head;
	     node = node->next) {
		count++;
	}
	return count;
}

static void
assert_all_arrived(uint32_t from, uint32_t to)
{
	assert_int_equal(flooders[to].got, flooders[from].sent);
	assert_true(flooders[to].in_order);
}

/* Neither can send, both have full ways to each other; nobody waits for the other's send. */
static void
pair_without_blocks_both_ways_recovers(void **state)
{
	(void)state;
	order(0, 1, SEND, 2 * PAIR_ALL);
	order(1, 0, SEND, 2 * PAIR_ALL);
	sim_turn(0);
	sim_turn(1);
	assert_int_equal(flooders[0].sent, PAIR_PLAIN);
	assert_int_equal(flooders[0].refused, 1);
	/* shard 1 took what came before its own actor ran */
	assert_int_equal(flooders[1].sent, PAIR_PLAIN);
	assert_int_equal(flooders[1].refused, 1);
	sim_settle();
	assert_int_equal(flooders[0].rooms, 1);
	assert_int_equal(flooders[1].rooms, 1);
	assert_all_arrived(0, 1);
	assert_all_arrived(1, 0);
	sim_end();
}

static uint32_t
staged_count(const struct mesh_out *out)
{
	return (uint32_t)(out->next - out->staged->envelopes);
}

/* Ten blocks leave whatever is in them; the next waits for one to come home, or to be full. */
static void
block_held_back_alone_does_not_sleep_for_ever(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < MESH_PARTIAL_MAX + 1; i++) {
		order(0, 1, SEND, 1);
		sim_turn(0);
	}
	assert_non_null(way(0, 1)->staged);
	assert_int_equal(staged_count(way(0, 1)), 1);
	order(0, 1, SEND, 1); /* goes along */
	sim_turn(0);
	assert_int_equal(staged_count(way(0, 1)), 2);
	sim_turn(0);
	assert_true(sim_is_asleep(0));
	sim_settle();
	assert_null(way(0, 1)->staged);
	assert_int_equal(flooders[1].got, MESH_PARTIAL_MAX + 2);
	assert_all_arrived(0, 1);
	sim_end();
}

/* Even when each turn sends one, a pair holds the 266 that the header promises. */
static void
pair_fed_one_by_one_holds_at_least_266(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < PAIR_ALL && flooders[0].refused == 0; i++) {
		order(0, 1, SEND, 1);
		sim_turn(0);
	}
	assert_true(flooders[0].sent >= MESH_PARTIAL_MAX + 4 * MESH_BLOCK_ENVELOPES);
	sim_settle();
	assert_int_equal(flooders[0].rooms, 1);
	assert_all_arrived(0, 1);
	sim_end();
}

/* Requests wait their turn behind the flood, are not refused, and go before what comes later. */
static void
obligations_wait_and_go_before_later_messages(void **state)
{
	(void)state;
	order(0, 1, SEND, PAIR_ALL);
	order(0, 1, ASK, 2 * MESH_BLOCK_ENVELOPES + 20);
	order(0, 1, SEND, 5);
	sim_turn(0);
	assert_int_equal(flooders[0].sent, PAIR_PLAIN);
	assert_int_equal(obliged(0, 1), 20);
	assert_int_equal(flooders[0].refused, 2); /* one RL_MSG_ROOM for both */
	sim_turn(1);
	sim_turn(0);
	assert_int_equal(obliged(0, 1), 0);
	sim_settle();
	assert_int_equal(flooders[0].rooms, 1);
	assert_int_equal(flooders[1].asked, 2 * MESH_BLOCK_ENVELOPES + 20);
	assert_int_equal(flooders[0].replies, 2 * MESH_BLOCK_ENVELOPES + 20);
	assert_all_arrived(0, 1);
	sim_end();
}

/* Those that wait for room to one shard are told in the order in which they were refused. */
static void
rooms_are_told_in_order_once_each(void **state)
{
	(void)state;
	spawn(2, 0);
	spawn(3, 0);
	sim_settle();
	order(3, 1, SEND, PAIR_ALL);
	order(2, 1, SEND, 1);
	order(0, 1, SEND, 1);
	order(2, 1, SEND, 1);
	sim_turn(0);
	assert_int_equal(flooders[3].refused + flooders[2].refused + flooders[0].refused, 4);
	sim_settle();
	for (uint32_t i = 0; i < FLOODERS; i++) {
		assert_int_equal(flooders[i].rooms, i == 1 ? 0 : 1);
	}
	assert_int_equal(flooders[3].rooms_at, 0);
	assert_int_equal(flooders[2].rooms_at, 1);
	assert_int_equal(flooders[0].rooms_at, 2);
	sim_end();
}

/* A wake-up that is late, repeated or refused carries all the same: the flood, the blocks home. */
static void
flood_with_bad_wake_ups_arrives(void **state)
{
	static const enum sim_fault faults[] = { FAULT_MSG_RING_EOVERFLOW, FAULT_MSG_RING_ENOMEM,
						 FAULT_MSG_RING_EBADFD,	   FAULT_MSG_RING_LATE,
						 FAULT_MSG_RING_TWICE,	   FAULT_SQ_FULL };

	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		uint32_t refused = flooders[0].refused;

		sim_fault_set(faults[i], 65536);
		order(0, 1, SEND, 2 * PAIR_ALL);
		order(1, 0, SEND, 2 * PAIR_ALL);
		sim_settle();
		sim_fault_set(faults[i], 0);
		assert_int_equal(flooders[0].refused, refused + 1);
		assert_int_equal(flooders[0].rooms, flooders[0].refused);
		assert_int_equal(flooders[1].rooms, flooders[1].refused);
		assert_all_arrived(0, 1);
		assert_all_arrived(1, 0);
	}
	sim_end();
}

/* The drain comes while shard 1 does not turn for a minute, with all ways to it full. */
static void
stop_in_a_flood_with_a_stuck_shard_ends(void **state)
{
	struct rl_stats stats;

	(void)state;
	order(0, 1, SEND, 2 * PAIR_ALL);
	order(0, 1, ASK, 4 * MESH_BLOCK_ENVELOPES);
	order(0, 1, WATCH, 10);
	sim_turn(0);
	assert_true(obliged(0, 1) > 0);
	rl_system_drain(sim_system());
	for (uint32_t i = 0; i < 100; i++) {
		sim_world.now_ns += (uint64_t)RL_MS(600);
		sim_turn(0);
	}
	assert_true(flooders[0].stopped);
	assert_false(flooders[1].stopped);
	sim_drain();
	sim_stop();
	stats = sim_stats();
	assert_true(flooders[1].stopped);
	assert_int_equal(stats.actors_started, stats.actors_stopped);
	sim_finish(false);
}

/*
 * One sender never stops: what it may take of the receiver's memory is bounded, its turns too, and
 * another sender and what must arrive get through.
 */
static void
flood_without_end_starves_nobody(void **state)
{
	uint64_t turns;

	(void)state;
	sim_end();
	begin(3);
	spawn(0, 0);
	spawn(1, 1);
	spawn(2, 2);
	sim_settle();
	order(0, 1, KEEP_SENDING, 2 * PAIR_ALL);
	turns = sim_turns();
	for (uint32_t i = 0; i < 2000; i++) {
		(void)sim_step();
	}
	assert_true(flooders[0].rooms > 10);
	assert_in_range(sim_turns() - turns, 1, 2000);
	order(2, 1, SEND, 100);
	order(2, 1, ASK, 10);
	order(2, 1, WATCH, 1);
	order(0, 1, ASK, 10);
	for (uint32_t i = 0; i < 400; i++) {
		(void)sim_step();
	}
	assert_int_equal(flooders[2].sent, 100);
	assert_int_equal(flooders[2].replies, 10);
	assert_int_equal(flooders[0].replies, 10);
	order(2, 1, STOP, 1); /* overtakes what waits in the mailbox */
	for (uint32_t i = 0; i < 200; i++) {
		(void)sim_step();
	}
	assert_true(flooders[1].stopped);
	assert_int_equal(flooders[2].downs, 1);
	assert_true(sim_on(1)->actors->letters.slab.slots_used <= MAILBOX_MAX + 128);
	assert_true(sim_on(0)->actors->rooms.slots_used <= 1);
	flooders[0].keep.count = 0;
	sim_end();
}

/* What never left is taken back when its maker ends: nothing of it goes out later. */
static void
watch_given_up_while_it_waits_leaves_nothing(void **state)
{
	(void)state;
	order(0, 1, SEND, 2 * PAIR_ALL);
	order(0, 1, ASK, 2 * MESH_BLOCK_ENVELOPES);
	order(0, 1, WATCH, 10);
	order(0, 0, STOP, 1);
	sim_turn(0);
	sim_turn(0);
	assert_true(flooders[0].stopped);
	sim_turn(0); /* it has more ties than a turn gives up */
	sim_turn(0);
	assert_int_equal(sim_on(0)->actors->leases.taken, 0);
	assert_int_equal(sim_on(0)->actors->requests.taken, 0);
	sim_settle();
	assert_false(flooders[1].stopped);
	sim_end();
}

/* A link is taken even when its WATCH waits for room: the maker's failure ends the other. */
static void
link_whose_maker_fails_while_it_waits_is_shared(void **state)
{
	(void)state;
	order(0, 1, SEND, 2 * PAIR_ALL);
	order(0, 1, ASK, 2 * MESH_BLOCK_ENVELOPES);
	order(0, 1, LINK, 1);
	order(0, 1, FAIL, 1);
	sim_turn(0);
	assert_true(flooders[0].stopped);
	assert_int_equal(obliged(0, 1), 1);
	sim_settle();
	assert_true(flooders[1].stopped);
	assert_int_equal(flooders[1].reason, RL_REASON_LINKED);
	assert_int_equal(sim_on(0)->actors->leases.taken, 0);
	sim_end();
}

/* DOWN waits for room on the way back, and the watcher ends meanwhile: the lease comes home. */
static void
down_that_waits_and_is_wanted_no_more_frees_the_lease(void **state)
{
	(void)state;
	order(0, 1, WATCH, 5);
	sim_settle();
	order(1, 0, SEND, 2 * PAIR_ALL);
	order(1, 0, ASK, 2 * MESH_BLOCK_ENVELOPES);
	order(1, 1, STOP, 1);
	sim_turn(1);
	assert_true(flooders[1].stopped);
	sim_turn(1); /* its requests go first, and a turn gives up so many ties only */
	sim_turn(1);
	assert_int_equal(obliged(1, 0), 5);
	rli_actor_end(rli_actor_resolve(sim_on(0), flooders[0].id.private_bits), RL_REASON_LOCAL,
		      0);
	sim_turn(0); /* takes all, gives the blocks back, and wants no DOWN any more */
	assert_true(flooders[0].stopped);
	assert_int_equal(sim_on(0)->actors->leases.taken, 5);
	sim_settle();
	assert_int_equal(sim_on(0)->actors->leases.taken, 0);
	assert_int_equal(flooders[0].downs, 0);
	sim_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(pair_without_blocks_both_ways_recovers, setup),
		cmocka_unit_test_setup(block_held_back_alone_does_not_sleep_for_ever, setup),
		cmocka_unit_test_setup(pair_fed_one_by_one_holds_at_least_266, setup),
		cmocka_unit_test_setup(obligations_wait_and_go_before_later_messages, setup),
		cmocka_unit_test_setup(rooms_are_told_in_order_once_each, setup),
		cmocka_unit_test_setup(flood_with_bad_wake_ups_arrives, setup),
		cmocka_unit_test_setup(stop_in_a_flood_with_a_stuck_shard_ends, setup),
		cmocka_unit_test_setup(flood_without_end_starves_nobody, setup),
		cmocka_unit_test_setup(watch_given_up_while_it_waits_leaves_nothing, setup),
		cmocka_unit_test_setup(link_whose_maker_fails_while_it_waits_is_shared, setup),
		cmocka_unit_test_setup(down_that_waits_and_is_wanted_no_more_frees_the_lease,
				       setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
