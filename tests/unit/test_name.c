/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a name has one owner at a time, and every shard's copy comes to say who; the end of an
 *         actor, at whatever moment, frees its names; no record is left behind; no room in the mesh
 *         only delays it.
 * How: four shards with a real mesh in one thread, turn by turn; by hand, and with name_random.c.
 * Not: threads, the real turn.
 */
#include "name_bed.h"
#include "name_random.h"

static void
name_registered_is_found_here_with_the_reply_and_everywhere_soon(void **state)
{
	(void)state;
	for (uint32_t home = 0; home < SHARDS; home++) {
		struct rl_actor *actor = bed_spawn(1);

		bed.expected = name_at_home(home);
		assert_int_equal(verb_register(actor, bed.expected, NULL), 0);
		bed_settle();
		assert_int_equal(told(actor)->replies, 1);
		assert_int_equal(told(actor)->failures, 0);
		assert_found_everywhere(bed.expected, actor->id);
		verb_end(actor);
		bed_turn(1);
		assert_int_equal(found_on(1, bed.expected), 0); /* need not ask the home */
		bed_settle();
		assert_found_everywhere(bed.expected, 0);
		assert_int_equal(bed.actors[home].homes.names.taken, 0);
	}
}

static void
name_taken_is_refused_until_its_owner_ended(void **state)
{
	const char *name = name_at_home(2);
	struct rl_actor *owner = bed_spawn(0);
	struct rl_actor *other = bed_spawn(3);

	(void)state;
	assert_int_equal(verb_register(owner, name, NULL), 0);
	bed_settle();
	assert_int_equal(verb_register(owner, name, NULL), 0);
	assert_int_equal(verb_register(other, name, NULL), 0);
	bed_settle();
	assert_int_equal(told(owner)->error, -EEXIST);
	assert_int_equal(told(other)->error, -EEXIST);
	assert_int_equal(bed.actors[0].claims.taken, 1);
	assert_int_equal(bed.actors[3].claims.taken, 0);
	verb_end(owner);
	bed_settle();
	assert_int_equal(verb_register(other, name, NULL), 0);
	bed_settle();
	assert_int_equal(told(other)->replies, 1);
	assert_found_everywhere(name, other->id);
}

/* The same actor's next one, and on its shard whoever registers after its end, are in order. */
static void
name_of_one_that_ended_is_free_for_the_next_on_its_shard(void **state)
{
	const char *name = name_at_home(2);
	struct rl_actor *first = bed_spawn(0);
	struct rl_actor *second = bed_spawn(0);

	(void)state;
	assert_int_equal(verb_register(first, name, NULL), 0);
	bed_settle();
	verb_end(first);
	bed_turn(0);
	assert_int_equal(verb_register(second, name, NULL), 0);
	bed_settle();
	assert_int_equal(told(second)->replies, 1);
	assert_found_everywhere(name, second->id);
	assert_int_equal(verb_unregister(second, name), 0);
	assert_int_equal(verb_unregister(second, name), -ENOENT);
	assert_int_equal(found_on(0, name), 0);
	assert_int_equal(verb_register(second, name, NULL), 0);
	bed_settle();
	assert_int_equal(told(second)->replies, 2);
	assert_found_everywhere(name, second->id);
}

/* More ties than a turn gives up: requests that are delivered, and never answered. */
static void
bed_ask(struct rl_actor *actor, const struct rl_actor *other)
{
	struct rl_request request = {
		.to = rl_actor_self(other),
		.kind = RL_MSG_USER,
		.timeout_ns = -1,
	};

	for (uint32_t i = 0; i < 2 * ACTOR_UNTIE_MAX; i++) {
		verb_begin(actor);
		assert_int_equal(rl_actor_request(actor, &request, NULL), 0);
		actor->running = false;
		bed_turn(other->shard->id);
	}
}

/* Whatever else it is tied by, and however long that takes: who is told of its end may have it. */
static void
name_of_one_that_ended_is_free_for_who_is_told(void **state)
{
	(void)state;
	for (uint32_t home = 0; home < SHARDS; home++) {
		const char *name = name_at_home(home);
		struct rl_actor *owner = bed_spawn(1);
		struct rl_actor *heir = bed_spawn(1);
		char other[RL_ACTOR_NAME_MAX + 1];

		((struct told *)rl_actor_state(heir))->heir = name;
		verb_begin(heir);
		assert_int_equal(rl_actor_monitor(heir, rl_actor_self(owner), NULL), 0);
		heir->running = false;
		bed_ask(owner, heir);
		for (uint32_t i = 0; i + 1 < NAMES_MAX; i++) {
			(void)snprintf(other, sizeof(other), "beside %u", i);
			assert_int_equal(verb_register(owner, other, NULL), 0);
		}
		assert_int_equal(verb_register(owner, name, NULL), 0); /* the last tie of all */
		bed_settle();
		assert_found_everywhere(name, owner->id);
		verb_end(owner);
		bed_settle();
		assert_int_equal(told(heir)->downs, 1);
		assert_int_equal(told(heir)->failures, 0);
		assert_found_everywhere(name, heir->id);
		verb_end(heir);
		bed_settle();
	}
}

/* Also for who begins to watch it when its id names nothing any more, and its ties are left. */
static void
name_of_one_that_ended_is_free_for_who_watches_it_late(void **state)
{
	(void)state;
	for (uint32_t home = 0; home < SHARDS; home++) {
		const char *name = name_at_home(home);
		struct rl_actor *owner = bed_spawn(1);
		struct rl_actor *heir = bed_spawn(1);
		rl_actor_id whom = rl_actor_self(owner);

		((struct told *)rl_actor_state(heir))->heir = name;
		bed_ask(owner, heir);
		assert_int_equal(verb_register(owner, name, NULL), 0);
		bed_settle();
		verb_end(owner);
		rli_actor_stop(owner);
		verb_begin(heir);
		assert_int_equal(rl_actor_monitor(heir, whom, NULL), 0);
		heir->running = false;
		assert_int_equal(owner->life, ACTOR_ENDING);
		bed_settle();
		assert_int_equal(owner->life, ACTOR_FREE);
		assert_int_equal(told(heir)->downs, 1);
		assert_int_equal(told(heir)->failures, 0);
		assert_found_everywhere(name, heir->id);
		verb_end(heir);
		bed_settle();
	}
}

/* Its id names nothing any more, and is what the name is found with all the same, as elsewhere. */
static void
name_granted_after_the_end_is_of_who_asked_until_given_back(void **state)
{
	const char *name = name_at_home(2);
	struct rl_actor *owner = bed_spawn(1);
	uint64_t id = owner->id;

	(void)state;
	bed_ask(owner, bed_spawn(1));
	assert_int_equal(verb_register(owner, name, NULL), 0);
	verb_end(owner);
	rli_actor_stop(owner); /* gives up some of its ties, and not yet this one */
	assert_int_equal(owner->life, ACTOR_ENDING);
	mesh_fill(2, 3); /* which would be told first, so the owner's shard has the answer alone */
	bed_turn_until_granted(2, owner);
	assert_true(found_on(1, name) == id);
	assert_true(found_on(2, name) == id);
	bed_settle();
	assert_found_everywhere(name, 0);
}

static void
name_register_under_way_is_undone_by_an_end(void **state)
{
	(void)state;
	for (uint32_t home = 0; home < SHARDS; home++) {
		for (uint32_t turns = 0; turns < 4; turns++) {
			const char *name = name_at_home(home);
			struct rl_actor *actor = bed_spawn(1);

			assert_int_equal(verb_register(actor, name, NULL), 0);
			for (uint32_t i = 0; i < turns; i++) {
				bed_turn(i % 2 == 0 ? 1 : home);
			}
			verb_end(actor);
			bed_settle();
			assert_found_everywhere(name, 0);
			assert_int_equal(bed.actors[1].claims.taken, 0);
			assert_int_equal(bed.actors[home].homes.names.taken, 0);
		}
	}
}

static void
name_register_cancelled_gives_the_name_back(void **state)
{
	(void)state;
	for (uint32_t home = 0; home < SHARDS; home++) {
		const char *name = name_at_home(home);
		struct rl_actor *actor = bed_spawn(1);
		rl_request_id request;

		assert_int_equal(verb_register(actor, name, &request), 0);
		assert_int_equal(verb_unregister(actor, name), -ENOENT); /* it has nothing yet */
		assert_int_equal(verb_cancel(actor, request), 0);
		bed_settle();
		assert_int_equal(told(actor)->replies + told(actor)->failures, 0);
		assert_found_everywhere(name, 0);
		assert_int_equal(bed.actors[1].claims.taken, 0);
	}
}

static void
name_bad_is_refused_at_once(void **state)
{
	struct rl_actor *actor = bed_spawn(0);
	char name[RL_ACTOR_NAME_MAX + 2];
	rl_actor_id id = { 1 };
	rl_request_id request = { 1 };

	(void)state;
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(verb_register(actor, name, &request), -EINVAL);
	assert_true(rl_request_id_is_none(request));
	assert_int_equal(verb_register(actor, "", NULL), -EINVAL);
	verb_begin(actor);
	assert_int_equal(rl_actor_find(actor, name, &id), -ENOENT);
	assert_true(rl_actor_id_is_none(id));
	assert_int_equal(rl_actor_find(actor, "", &id), -ENOENT);
	rli_shard_current = &bed.shards[1];
	assert_int_equal(rl_actor_find(actor, "a", &id), -EPERM);
	assert_int_equal(rl_actor_register(actor, "a", &request), -EPERM);
	assert_int_equal(rl_actor_unregister(actor, "a"), -EPERM);
	actor->running = false;
	name[RL_ACTOR_NAME_MAX] = '\0';
	assert_int_equal(verb_register(actor, name, NULL), 0);
	bed_settle();
	assert_found_everywhere(name, actor->id);
}

static void
names_max_reached_is_told(void **state)
{
	struct rl_actor *first = bed_spawn(0);
	struct rl_actor *second = bed_spawn(1);
	char name[RL_ACTOR_NAME_MAX + 1];

	(void)state;
	for (uint32_t i = 0; i < NAMES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "all %u", i);
		assert_int_equal(verb_register(first, name, NULL), 0);
	}
	assert_int_equal(verb_register(first, "more", NULL), -ENOBUFS); /* no claim */
	bed_settle();
	assert_int_equal(told(first)->replies, NAMES_MAX);
	assert_int_equal(verb_register(second, "more", NULL), 0);
	bed_settle();
	assert_int_equal(told(second)->error, -ENOBUFS);
	assert_int_equal(bed.actors[1].claims.taken, 0);
	assert_int_equal(verb_unregister(first, name), 0);
	bed_settle();
	assert_int_equal(verb_register(second, "more", NULL), 0);
	bed_settle();
	assert_int_equal(told(second)->replies, 1);
}

/* Each home knows of one name less than names_max, and grants one more at the same moment. */
static void
names_max_reached_on_all_homes_at_once_loses_none(void **state)
{
	struct rl_actor *actors[SHARDS];
	char names[SHARDS][RL_ACTOR_NAME_MAX + 1];
	char name[RL_ACTOR_NAME_MAX + 1];

	(void)state;
	for (uint32_t i = 0; i < SHARDS; i++) {
		actors[i] = bed_spawn(i);
		(void)snprintf(names[i], sizeof(names[i]), "%s", name_at_home(i));
	}
	for (uint32_t i = 0; i < NAMES_MAX - 1; i++) {
		(void)snprintf(name, sizeof(name), "all %u", i);
		assert_int_equal(verb_register(actors[i % SHARDS], name, NULL), 0);
	}
	bed_settle();
	for (uint32_t i = 0; i < SHARDS; i++) {
		assert_int_equal(verb_register(actors[i], names[i], NULL), 0);
	}
	bed_settle();
	for (uint32_t i = 0; i < SHARDS; i++) {
		assert_int_equal(told(actors[i])->failures, 0);
		assert_found_everywhere(names[i], actors[i]->id);
		assert_int_equal(names_lost(i), 0);
	}
	assert_int_equal(verb_register(actors[1], "more", NULL), 0);
	bed_settle();
	assert_int_equal(told(actors[1])->error, -ENOBUFS);
	assert_int_equal(verb_unregister(actors[0], names[0]), 0);
	assert_int_equal(verb_unregister(actors[1], names[1]), 0);
	assert_int_equal(verb_unregister(actors[2], names[2]), 0);
	assert_int_equal(verb_unregister(actors[3], names[3]), 0);
	bed_settle();
	assert_int_equal(verb_register(actors[1], "more", NULL), 0);
	bed_settle();
	assert_found_everywhere("more", actors[1]->id);
}

/* As much as a copy can hold; what no home does, but want of memory looks the same. */
static void
copy_fill(uint32_t shard, uint64_t id, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct envelope envelope = { .class = ENVELOPE_NAME, .from = id, .len = 1 };

		envelope.payload[0] = (uint8_t)(' ' + i);
		rli_name_arrived(&bed.shards[shard], &envelope); /* nobody's may not be there */
	}
}

static void
name_copy_without_room_is_counted(void **state)
{
	(void)state;
	copy_fill(0, 77, NAMES_MAX * SHARDS + 3);
	assert_int_equal(names_lost(0), 3);
	copy_fill(0, 0, NAMES_MAX * SHARDS + 3);
	assert_int_equal(names_lost(0), 3);
}

/* The home says yes, but the actor's own shard could not find the name: it is given back. */
static void
name_granted_without_room_in_the_own_copy_is_given_back(void **state)
{
	const char *name = name_at_home(2);
	struct rl_actor *actor = bed_spawn(0);

	(void)state;
	copy_fill(0, 77, NAMES_MAX * SHARDS);
	assert_int_equal(verb_register(actor, name, NULL), 0);
	bed_settle();
	assert_int_equal(told(actor)->replies, 0);
	assert_int_equal(told(actor)->failures, 1);
	assert_int_equal(told(actor)->error, -ENOBUFS);
	assert_true(names_lost(0) > 0);
	assert_found_everywhere(name, 0);
	assert_int_equal(bed.actors[0].claims.taken, 0);
	assert_int_equal(bed.actors[2].homes.names.taken, 0);
	copy_fill(0, 0, NAMES_MAX * SHARDS);
	assert_int_equal(verb_register(actor, name, NULL), 0);
	bed_settle();
	assert_int_equal(told(actor)->replies, 1);
	assert_found_everywhere(name, actor->id);
}

/* The home has said yes, and the actor was not told: until then only a cancel takes it back. */
static void
name_unregistered_before_its_reply_stays(void **state)
{
	(void)state;
	for (uint32_t home = 0; home < SHARDS; home++) {
		const char *name = name_at_home(home);
		struct rl_actor *actor = bed_spawn(1);

		assert_int_equal(verb_register(actor, name, NULL), 0);
		bed_turn_until_granted(home, actor);
		assert_true(found_on(1, name) == actor->id);
		assert_int_equal(verb_unregister(actor, name), -ENOENT);
		bed_settle();
		assert_int_equal(told(actor)->replies, 1);
		assert_found_everywhere(name, actor->id);
		assert_int_equal(verb_unregister(actor, name), 0);
		bed_settle();
		assert_found_everywhere(name, 0);
	}
}

/* The home can't be answered for: the mesh says why. */
static void
name_home_without_a_promise_refuses(void **state)
{
	const char *name = name_at_home(2);
	struct rl_actor *here = bed_spawn(2);
	struct rl_actor *there = bed_spawn(0);
	struct promise *promises[256];

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(promises); i++) {
		promises[i] = rli_promise_take(&bed.shards[2], 0);
		assert_non_null(promises[i]);
	}
	assert_int_equal(verb_register(here, name, NULL), 0);
	assert_int_equal(verb_register(there, name, NULL), 0);
	bed_settle();
	assert_int_equal(told(here)->error, -EAGAIN);
	assert_int_equal(told(there)->error, -EAGAIN);
	assert_int_equal(bed.actors[2].claims.taken + bed.actors[0].claims.taken, 0);
	for (uint32_t i = 0; i < UNIT_COUNT(promises); i++) {
		rli_slab_give(&bed.actors[2].promises, promises[i]);
	}
}

/* Three changes while the way to one shard is shut: it learns the last one only, all are right. */
static void
name_changed_while_there_is_no_room_arrives_at_last(void **state)
{
	const char *name = name_at_home(0);
	struct rl_actor *first = bed_spawn(0);
	struct rl_actor *second = bed_spawn(2);

	(void)state;
	mesh_fill(0, 1);
	assert_int_equal(verb_register(first, name, NULL), 0);
	verb_end(first);
	bed_turn(0);
	assert_int_equal(bed.actors[0].homes.names.taken, 1); /* its removal is not told yet */
	assert_int_equal(verb_register(second, name, NULL), 0);
	for (uint32_t i = 0; i < 8; i++) {
		bed_turn(2);
		bed_turn(0);
	}
	assert_int_equal(told(second)->replies, 1);
	assert_true(found_on(0, name) == second->id);
	assert_true(found_on(2, name) == second->id);
	assert_int_equal(found_on(1, name), 0);
	bed_settle();
	assert_found_everywhere(name, second->id);
	mesh_fill(0, 3);
	mesh_fill(2, 0);
	verb_end(second);
	bed_turn(2);
	assert_int_equal(bed.actors[2].claims.taken, 1); /* UNREGISTER waits */
	bed_settle();
	assert_found_everywhere(name, 0);
	assert_int_equal(bed.actors[2].claims.taken, 0);
	assert_int_equal(bed.actors[0].homes.names.taken, 0);
}

/* A silent shard is asked about a name: nobody is told, nothing is left. */
static void
name_on_a_silent_home_is_let_go(void **state)
{
	const char *name = name_at_home(0);
	struct rl_actor *actor = bed_spawn(1);

	(void)state;
	assert_int_equal(verb_register(actor, name, NULL), 0);
	bed_settle();
	bed.shards[0].silent = true;
	verb_end(actor);
	bed_turn(1);
	bed_turn(0);
	assert_int_equal(bed.actors[0].homes.names.taken, 0);
	assert_true(found_on(2, name) == found_on(3, name));
	for (uint32_t i = 0; i < SHARDS; i++) {
		struct name_key key = rli_name_key(name, strlen(name));
		struct name *copy = rli_name_table_find(&bed.actors[i].names, &key);

		if (copy != NULL) {
			rli_name_table_remove(&bed.actors[i].names, copy);
		}
	}
	bed.shards[0].silent = false;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(name_registered_is_found_here_with_the_reply_and_everywhere_soon),
		on_bed(name_taken_is_refused_until_its_owner_ended),
		on_bed(name_of_one_that_ended_is_free_for_the_next_on_its_shard),
		on_bed(name_of_one_that_ended_is_free_for_who_is_told),
		on_bed(name_of_one_that_ended_is_free_for_who_watches_it_late),
		on_bed(name_granted_after_the_end_is_of_who_asked_until_given_back),
		on_bed(name_register_under_way_is_undone_by_an_end),
		on_bed(name_register_cancelled_gives_the_name_back),
		on_bed(name_bad_is_refused_at_once),
		on_bed(names_max_reached_is_told),
		on_bed(names_max_reached_on_all_homes_at_once_loses_none),
		on_bed(name_copy_without_room_is_counted),
		on_bed(name_granted_without_room_in_the_own_copy_is_given_back),
		on_bed(name_unregistered_before_its_reply_stays),
		on_bed(name_home_without_a_promise_refuses),
		on_bed(name_changed_while_there_is_no_room_arrives_at_last),
		on_bed(name_on_a_silent_home_is_let_go),
	};

	return unit_run(tests) + name_random_run();
}
