/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Names. Invariants: an entry of the home table is somebody's, or is told to others as nobody's; a
 * claim is on its actor's list until it was released, and its slot is free when UNREGISTER left.
 */
#include "actor/name.h"

#include <errno.h>
#include <string.h>

#include <ringline/name.h>

#include "actor/request.h"

/*
 * A home grants by what it knows, so homes that grant at the same moment can go beyond names_max
 * together. But none of them has more than names_max entries, and a copy holds what a home has, or
 * had at one moment: so copies have room for that of all homes, and lose nothing. It is address
 * space; memory comes with the names.
 */
int
rli_names_init(struct rl_shard *shard)
{
	uint32_t names_max = shard->config->names_max;
	struct actors *actors = shard->actors;
	int rc =
		rli_name_table_init(&actors->homes, sizeof(struct name_home), names_max, names_max);

	if (rc == 0) {
		rc = rli_name_table_init(&actors->names, sizeof(struct name), names_max,
					 names_max * shard->count);
	}
	if (rc == 0) {
		rc = rli_slab_init(&actors->claims, sizeof(struct name_claim), names_max);
	}
	return rc;
}

void
rli_names_fini(struct rl_shard *shard)
{
	struct actors *actors = shard->actors;

	rli_name_table_fini(&actors->homes);
	rli_name_table_fini(&actors->names);
	rli_slab_fini(&actors->claims);
}

/* This shard's copy: @key is the name of @id, or of nobody. */
static bool
copy_set(struct rl_shard *shard, const struct name_key *key, uint64_t id)
{
	struct name_table *names = &shard->actors->names;
	struct name *name = rli_name_table_find(names, key);

	if (id == 0) {
		if (name != NULL) {
			rli_name_table_remove(names, name);
		}
		return true;
	}
	if (name == NULL) {
		name = rli_name_table_insert(names, key);
	}
	if (name == NULL) {
		counters_add(&shard->counters, names_lost, 1);
		return false;
	}
	name->id = id;
	return true;
}

/* Tell those who are left, as far as there is room. */
static void
home_tell(struct rl_shard *shard, struct name_home *home)
{
	while (!home->waits && home->left > 0) {
		uint32_t to = home->to;

		home->to = (to + 1) % shard->count;
		if (to == shard->id) {
			continue;
		}
		home->left--;
		home->news.envelope = (struct envelope){
			.from = home->name.id,
			.len = home->name.len,
			.class = ENVELOPE_NAME,
			.shard = (int16_t)shard->id,
		};
		memcpy(home->news.envelope.payload, home->name.text, home->name.len);
		home->waits = !rli_mesh_oblige(shard->port, to, &home->news);
	}
	if (!home->waits && home->name.id == 0) {
		rli_name_table_remove(&shard->actors->homes, &home->name);
	}
}

/* From now on the entry is that of @id; all others are to know, in a round that begins here. */
static void
home_set(struct rl_shard *shard, struct name_home *home, uint64_t id)
{
	home->name.id = id;
	home->left = shard->silent ? 0 : shard->count - 1; /* at the end nobody looks any more */
	home_tell(shard, home);
}

/* May it be had? Then there is an entry for it in both tables, its copy complete. */
static int
home_grant(struct rl_shard *shard, const struct name_key *key, uint64_t id, struct name_home **out)
{
	struct actors *actors = shard->actors;
	struct name *name = rli_name_table_find(&actors->homes, key);
	struct name *copy;

	*out = (struct name_home *)name;
	if (name != NULL && name->id != 0) {
		return -EEXIST;
	}
	copy = rli_name_table_find(&actors->names, key);
	if (copy == NULL && actors->names.names.taken < shard->config->names_max) {
		copy = rli_name_table_insert(&actors->names, key);
	}
	if (copy == NULL) {
		return -ENOBUFS;
	}
	if (name == NULL) {
		*out = (struct name_home *)rli_name_table_insert(&actors->homes, key);
		if (*out == NULL) {
			rli_name_table_remove(&actors->names, copy);
			return -ENOBUFS;
		}
		list_node_init(&(*out)->news.node);
		(*out)->news.last = true;
		(*out)->to = shard->id;
		(*out)->left = 0;
		(*out)->waits = false;
	}
	copy->id = id;
	return 0;
}

int
rli_name_register_arrived(struct rl_shard *shard, const struct envelope *envelope)
{
	struct name_key key = rli_name_key(envelope->payload, envelope->len);
	struct promise *promise = rli_promise_take(shard, envelope->ref);
	uint64_t from = envelope->from;
	uint64_t claim = envelope->to;
	struct name_home *home;
	int rc;

	if (promise == NULL) {
		return -EAGAIN;
	}
	rc = home_grant(shard, &key, from, &home);
	rli_promise_answer(shard, promise, rc, NULL, 0);
	if (rc == 0) {
		home->claim = claim;
		home_set(shard, home, from);
	}
	return 0;
}

static void
unregister_arrived(struct rl_shard *shard, const struct envelope *envelope)
{
	struct name_key key = rli_name_key(envelope->payload, envelope->len);
	struct name_home *home =
		(struct name_home *)rli_name_table_find(&shard->actors->homes, &key);

	if (home == NULL || home->claim != envelope->to) {
		return; /* it was refused */
	}
	(void)copy_set(shard, &key, 0); /* removing needs no room */
	home_set(shard, home, 0);
}

void
rli_name_arrived(struct rl_shard *shard, const struct envelope *envelope)
{
	struct name_key key;

	if (envelope_class(envelope) == ENVELOPE_UNREGISTER) {
		unregister_arrived(shard, envelope);
		return;
	}
	RL_ASSERT(envelope_class(envelope) == ENVELOPE_NAME);
	key = rli_name_key(envelope->payload, envelope->len);
	(void)copy_set(shard, &key, envelope->from); /* counted if it is lost */
}

static struct name_key
claim_key(const struct name_claim *claim)
{
	return rli_name_key(claim->undo.envelope.payload, claim->undo.envelope.len);
}

static struct name_claim *
claim_take(struct rl_actor *self, const struct name_key *key)
{
	struct rl_shard *shard = self->shard;
	struct name_claim *claim = rli_slab_take(&shard->actors->claims);

	if (claim == NULL) {
		return NULL;
	}
	claim->generation = id_generation_next(claim->generation);
	claim->actor = self;
	claim->granted = false;
	claim->told = false;
	list_node_init(&claim->undo.node);
	claim->undo.last = true;
	claim->undo.envelope = (struct envelope){
		.to = id_pack(claim->generation, shard->id,
			      rli_slab_number(&shard->actors->claims, claim)),
		.from = self->id,
		.len = (uint8_t)key->len,
		.class = ENVELOPE_UNREGISTER,
		.shard = (int16_t)shard->id,
	};
	memcpy(claim->undo.envelope.payload, key->text, key->len);
	rli_tie_init(&claim->tie, TIE_NAME, &self->held);
	return claim;
}

static struct name_claim *
claim_resolve(struct rl_shard *shard, uint64_t id)
{
	struct name_claim *claim = rli_slab_at(&shard->actors->claims, id_slot(id));

	if (claim == NULL || claim->actor == NULL || claim->generation != id_generation(id)) {
		return NULL;
	}
	return claim;
}

/* It came to nothing. */
static void
claim_free(struct rl_shard *shard, struct name_claim *claim)
{
	list_remove(&claim->tie.node);
	claim->actor = NULL;
	rli_slab_give(&shard->actors->claims, claim);
}

/* Give the name back; if it was granted, this shard need not wait for the home to say so. */
static void
claim_release(struct name_claim *claim)
{
	struct rl_shard *shard = claim->actor->shard;
	struct name_key key = claim_key(claim);
	struct name *copy = rli_name_table_find(&shard->actors->names, &key);
	uint32_t to = (uint32_t)key.hash % shard->count;

	list_remove(&claim->tie.node);
	claim->actor = NULL;
	if (claim->granted && copy != NULL) { /* then it is its own; it may have had no room */
		rli_name_table_remove(&shard->actors->names, copy);
	}
	if (to == shard->id) {
		unregister_arrived(shard, &claim->undo.envelope);
	} else if (!rli_mesh_oblige(shard->port, to, &claim->undo)) {
		return; /* freed by rli_name_sent() */
	}
	rli_slab_give(&shard->actors->claims, claim);
}

int
rli_name_settled(struct rl_shard *shard, uint64_t id, int error)
{
	struct name_claim *claim = claim_resolve(shard, id);
	struct name_key key;

	if (claim == NULL) {
		return error;
	}
	if (error != 0) {
		claim_free(shard, claim);
		return error;
	}
	claim->granted = true;
	key = claim_key(claim);
	if (!copy_set(shard, &key, claim->undo.envelope.from)) { /* actor->id may be stale */
		claim_release(claim); /* a name that is not found here is no name */
		return -ENOBUFS;
	}
	return 0;
}

void
rli_name_told(struct rl_shard *shard, uint64_t id)
{
	struct name_claim *claim = claim_resolve(shard, id);

	if (claim != NULL) {
		claim->told = true;
	}
}

void
rli_name_cancelled(struct rl_shard *shard, uint64_t id)
{
	struct name_claim *claim = claim_resolve(shard, id);

	if (claim != NULL) {
		claim_release(claim);
	}
}

void
rli_name_drop(struct name_claim *claim)
{
	claim_release(claim);
}

void
rli_name_sent(struct rl_shard *shard, struct obligation *obligation)
{
	struct name_home *home;

	if (envelope_class(&obligation->envelope) == ENVELOPE_UNREGISTER) {
		rli_slab_give(&shard->actors->claims,
			      list_entry(obligation, struct name_claim, undo));
		return;
	}
	home = list_entry(obligation, struct name_home, news);
	home->waits = false;
	home_tell(shard, home);
}

/* False: it is none. */
static bool
name_is_valid(const char *name, struct name_key *key)
{
	size_t len = 0;

	while (len <= RL_ACTOR_NAME_MAX && name[len] != '\0') {
		len++;
	}
	*key = rli_name_key(name, len);
	return len > 0 && len <= RL_ACTOR_NAME_MAX;
}

int
rl_actor_register(struct rl_actor *self, const char *name, rl_request_id *request)
{
	struct envelope envelope = { .class = ENVELOPE_REGISTER };
	struct rl_shard *shard = self->shard;
	struct name_claim *claim;
	struct name_key key;
	int rc;

	if (request != NULL) {
		*request = (rl_request_id){ 0 };
	}
	if (shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	if (!name_is_valid(name, &key)) {
		return -EINVAL;
	}
	claim = claim_take(self, &key);
	if (claim == NULL) {
		return -ENOBUFS;
	}
	envelope.to = claim->undo.envelope.to;
	envelope.len = (uint8_t)key.len;
	memcpy(envelope.payload, key.text, key.len);
	rc = rli_request_make(self, (uint32_t)key.hash % shard->count, &envelope, -1, request);
	if (rc != 0) {
		claim_free(shard, claim);
	}
	return rc;
}

int
rl_actor_unregister(struct rl_actor *self, const char *name)
{
	struct name_key key;

	if (self->shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	if (!name_is_valid(name, &key)) {
		return -ENOENT;
	}
	for (struct list_node *node = self->held.head.next; node != &self->held.head;
	     node = node->next) {
		struct tie *tie = list_entry(node, struct tie, node);
		struct name_claim *claim = list_entry(tie, struct name_claim, tie);

		if (tie->kind == TIE_NAME && claim->told && claim->undo.envelope.len == key.len &&
		    memcmp(claim->undo.envelope.payload, key.text, key.len) == 0) {
			claim_release(claim);
			return 0;
		}
	}
	return -ENOENT;
}

int
rl_actor_find(struct rl_actor *self, const char *name, rl_actor_id *id)
{
	struct name_key key;
	const struct name *found;

	*id = (rl_actor_id){ 0 };
	if (self->shard != rli_shard_current) {
		return -EPERM;
	}
	RL_ASSERT(self->running);
	if (!name_is_valid(name, &key)) {
		return -ENOENT;
	}
	found = rli_name_table_find(&self->shard->actors->names, &key);
	if (found == NULL) {
		return -ENOENT;
	}
	id->private_bits = found->id;
	return 0;
}
