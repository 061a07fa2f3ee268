/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: whatever the order of registrations, cancels, ends and turns, every copy comes to say
 *         what the home of the name says, of somebody who lives; no record is left.
 * How: random steps on four shards, between which there is at times no room.
 * Not: threads.
 */
#include "name_random.h"

#include "name_bed.h"

#define RANDOM_ACTORS 12
#define RANDOM_NAMES  6
#define RANDOM_STEPS  2000

static struct rl_actor *random_actors[RANDOM_ACTORS];
static uint32_t random_given_back; /* names by unregister, over all seeds */

static uint64_t
home_says(const struct name_key *key)
{
	uint32_t home = (uint32_t)key->hash % SHARDS;
	const struct name *entry = rli_name_table_find(&bed.actors[home].homes, key);

	assert_true(entry == NULL || entry->id != 0); /* else its removal would still be told */
	return entry == NULL ? 0 : entry->id;
}

/* What an actor was granted is its own. */
static void
assert_owns_its_names(const struct rl_actor *actor)
{
	for (const struct list_node *node = actor->held.head.next; node != &actor->held.head;
	     node = node->next) {
		const struct tie *tie = (const struct tie *)node;
		const struct name_claim *claim =
			(const void *)((const uint8_t *)tie - offsetof(struct name_claim, tie));
		const struct envelope *undo = &claim->undo.envelope;

		if (tie->kind == TIE_NAME && claim->granted) {
			struct name_key key = rli_name_key(undo->payload, undo->len);

			assert_true(home_says(&key) == actor->id);
		}
	}
}

/* All copies say what the home says, and that is somebody who lives. */
static void
assert_converged(void)
{
	for (uint32_t n = 0; n < RANDOM_NAMES; n++) {
		char name[] = { (char)('a' + n), '\0' };
		struct name_key key = rli_name_key(name, 1);
		uint64_t id = home_says(&key);

		assert_found_everywhere(name, id);
		if (id != 0) {
			assert_non_null(rli_actor_resolve(&bed.shards[id_shard(id)], id));
		}
	}
	for (uint32_t i = 0; i < RANDOM_ACTORS; i++) {
		if (random_actors[i] != NULL) {
			assert_owns_its_names(random_actors[i]);
		}
	}
}

static void
random_step(uint64_t *random)
{
	uint64_t dice = unit_random(random);
	uint32_t which = (uint32_t)(dice >> 8) % RANDOM_ACTORS;
	char name[] = { (char)('a' + (dice >> 16) % RANDOM_NAMES), '\0' };
	rl_request_id request;

	if (random_actors[which] == NULL) {
		random_actors[which] = bed_spawn((uint32_t)(dice >> 24) % SHARDS);
	}
	switch (dice % 16) {
	case 0:
		verb_end(random_actors[which]);
		bed_turn(random_actors[which]->shard->id);
		random_actors[which] = NULL;
		return;
	case 1:
		mesh_fill((uint32_t)(dice >> 24) % SHARDS,
			  ((uint32_t)(dice >> 24) + 1 + (uint32_t)(dice >> 32) % (SHARDS - 1)) %
				  SHARDS);
		return;
	case 2:
	case 3:
	case 4:
	case 5:
		if (verb_register(random_actors[which], name, &request) == 0 &&
		    (dice >> 40) % 8 == 0) {
			(void)verb_cancel(random_actors[which], request);
		}
		return;
	case 6:
	case 7:
		random_given_back += verb_unregister(random_actors[which], name) == 0;
		return;
	default:
		bed_turn((uint32_t)(dice >> 24) % SHARDS);
	}
}

static void
random_run(uint64_t seed)
{
	memset(random_actors, 0, sizeof(random_actors));
	for (uint32_t step = 0; step < RANDOM_STEPS; step++) {
		random_step(&seed);
		if (step % 200 == 199) {
			bed_settle();
			assert_converged();
		}
	}
	for (uint32_t i = 0; i < RANDOM_ACTORS; i++) {
		if (random_actors[i] != NULL) {
			verb_end(random_actors[i]);
			random_actors[i] = NULL;
		}
	}
	bed_settle();
	assert_converged();
	for (uint32_t i = 0; i < SHARDS; i++) {
		assert_int_equal(bed.actors[i].claims.taken, 0);
		assert_int_equal(bed.actors[i].homes.names.taken, 0);
		assert_int_equal(bed.actors[i].names.names.taken, 0);
	}
}

static void
names_of_random_lives_converge(void **state)
{
	(void)state;
	unit_each_seed(random_run, 20);
	assert_true(random_given_back > 20);
}

int
name_random_run(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(names_of_random_lives_converge),
	};

	return unit_run(tests);
}
