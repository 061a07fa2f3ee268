/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Actors: identity and the ready list; actor_run.h is where user code is called.
 *
 * An actor is a type-stable header in the shard's slab and, beside it, user state from size
 * classes. What waits for it (its start, due timers, messages, the drain) are states of the actor;
 * what waits on its stream is the net module's, which runs connection actors with the functions
 * below.
 *
 * Life: STARTING (RL_MSG_START is to come) -> RUNNING -> ENDING (the end was decided; a stream may
 * still be torn down) -> FREE. Nothing but RL_MSG_STOP is delivered in ENDING. With it the actor
 * has ended, and its id names nothing; what ties it to others may take some turns more.
 */
#ifndef RINGLINE_ACTOR_ACTOR_H
#define RINGLINE_ACTOR_ACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ringline/actor.h>

#include "actor/name_table.h"
#include "base/id.h"
#include "base/list.h"
#include "base/mutant.h"
#include "base/slab.h"
#include "mailbox/mailbox.h"
#include "mailbox/mesh.h"
#include "shard/chunk.h"
#include "shard/shard.h"

struct conn;

enum actor_state {
	ACTOR_FREE,
	ACTOR_STARTING,
	ACTOR_RUNNING,
	ACTOR_ENDING,
};

/*
 * What ties an actor to others: a record of one of these kinds is on one of its lists.
 *
 *	held     what it asked for: taken back when it ends
 *	owed     what others have asked of it: settled when it ends
 *	notices  what has come of what it asked for, and is to be delivered
 */
enum tie_kind {
	TIE_TIMER, /* held while it runs, a notice when it is due: struct actor_timer */
	TIE_REQUEST, /* held, then a notice: struct request */
	TIE_PROMISE, /* owed: struct promise */
	TIE_LEASE, /* held, then a notice: struct lease, the watcher's half */
	TIE_WATCHED, /* owed: struct lease, the watched one's half */
	TIE_ROOM, /* held, then a notice: struct room */
	TIE_NAME, /* held: struct name_claim */
	TIE_FORWARD, /* held, then a notice: struct forward */
};

struct tie {
	struct list_node node;
	uint8_t kind; /* enum tie_kind */
};

/*
 * In pieces of 32 bytes, each of which lies in one cache line: sending to an actor touches the
 * second, making it ready and running it the third as well.
 */
struct rl_actor {
	union {
		uint32_t slab_link; /* the slab's, while the slot is free */
		int error; /* goes with the reason */
	};
	uint16_t rooms_owed; /* RL_MSG_ROOM that will come */
	uint16_t forwards_owed; /* RL_MSG_WRITABLE of others that will come */
	struct rl_shard *shard;
	void *state;
	struct conn *conn; /* its stream; NULL: none */

	uint64_t id; /* what others know it by; ACTOR_ID_FREE() while the slot is free */
	struct mailbox mailbox;

	union {
		struct {
			uint8_t life; /* enum actor_state */
			bool running; /* its handler is on the stack */
			bool urgent; /* something but a message may wait */
			bool started; /* RL_MSG_START was delivered */
		};
		uint32_t gait; /* all four at once, see ACTOR_GAIT_* */
	};
	uint8_t shutdown_due : 1; /* RL_MSG_SHUTDOWN is to be delivered */
	uint8_t ends_after_shutdown : 1; /* it was asked to end, and hears of the drain first */
	uint8_t room_told : 1; /* RL_MSG_ROOM was delivered since its stream last looked */
	uint8_t noticed : 5; /* notices in a row while messages waited, up to NOTICES_IN_A_ROW */
	uint8_t reason; /* enum rl_reason, from ENDING on */
	uint8_t state_class;
	bool stopped; /* RL_MSG_STOP was delivered */
	rl_actor_receive_fn receive; /* def's, or what it became */
	struct list_node ready; /* on the shard's ready list */

	const struct rl_actor_def *def;
	void *arg; /* for RL_MSG_START */
	struct list held; /* struct tie, all three */
	struct list owed;
	struct list notices;
};

/* Nothing but messages is to be delivered: started, not urgent, not ending. */
#define ACTOR_GAIT_STEADY  (ACTOR_RUNNING | 1u << 24)
#define ACTOR_GAIT_HANDLES (ACTOR_GAIT_STEADY | 1u << 8) /* and its handler is on the stack */

#define NOTICES_IN_A_ROW 16 /* then a message goes first */
#define ACTOR_UNTIE_MAX	 64 /* messages and ties that an ended actor gives up in a turn */

/* No slot has this number, so it names nothing; the generation counts on from it. */
#define ACTOR_ID_FREE(id) id_pack(id_generation(id), ID_SHARDS_MAX - 1, ID_SLOT_MAX)

_Static_assert(sizeof(struct rl_actor) <= 160,
	       "an idle connection and its actor stay below 512 bytes");
_Static_assert(offsetof(struct rl_actor, id) == 32 && offsetof(struct rl_actor, gait) == 64,
	       "the pieces lie in cache lines");

#define ACTOR_STATE_CLASSES 12 /* 32 << 0 .. 32 << 11 = RL_ACTOR_STATE_MAX */

/* A block from another shard that is kept until phase 4. */
struct notified {
	struct mesh_taken taken;
	uint32_t source;
	bool reported; /* something in it was not delivered */
};

/*
 * Whose handler is on this thread's stack; NULL: nobody's. A thread's and not a shard's, so that
 * one look tells both that the actor may be sent for and that this is where it runs.
 */
extern _Thread_local struct rl_actor *rli_actor_running __attribute__((tls_model("initial-exec")));

#define NOTIFIED_MAX 256 /* per turn; the rest waits in its ring */

struct actors {
	struct slab slab;
	struct letter_pool letters;
	struct list ready;
	struct list later; /* connections that became ready in this phase of actors */
	/*
	 * While actors run: the one that became ready when nobody else was. Two that talk to each
	 * other need no list.
	 */
	struct rl_actor *alone;
	/*
	 * How many the running actor was given, the one that it has now among them, of the messages
	 * that its mailbox counts still: it gives them up when its run is over. 0: of none.
	 */
	uint32_t handled;
	bool runs; /* ready_conns says as much, at one load more for each message */
	struct list *ready_conns; /* where a connection goes: ready, or later while actors run */
	uint32_t mailbox_max; /* the configuration's, at hand */
	struct letter_source here; /* of a message from here that wants no reply */
	uint32_t message_head; /* of a message from here */
	uint32_t notify_head; /* of a notification */
	uint32_t buf_head; /* of a message with a counted buffer */
	uint32_t live; /* not FREE */
	bool draining; /* no spawn any more */
	bool cut; /* no message any more */
	uint64_t drain_deadline_ns;
	struct mailbox notifies; /* for the shard, from itself and from foreign threads */
	uint32_t notified_count;
	struct notified notified[NOTIFIED_MAX]; /* blocks with notifications to deliver */
	struct slab states[ACTOR_STATE_CLASSES];
	struct slab timers;
	struct slab requests;
	struct slab promises;
	struct slab leases;
	struct slab rooms;
	struct slab forwards;
	struct name_table homes; /* names that this shard decides about: struct name_home */
	struct name_table names; /* this shard's copy of all */
	struct slab claims;
	struct slab bufs; /* handles of counted buffers */
	struct chunk_pool buf_memory;
	uint64_t bufs_away; /* references that were sent to other shards, and are not home */
};

/* 0, -ENOMEM. Uses shard->actors, which the composition root has set. */
int rli_actors_init(struct rl_shard *shard);
void rli_actors_fini(struct rl_shard *shard);

/* Can @def be spawned? 0, or -EINVAL after one ERROR line. */
int rli_actor_def_check(const struct rl_actor_def *def, const struct log *log);

/*
 * A new actor, STARTING and ready. 0, -ENOBUFS (actors_max), -ENOMEM (its state), -EINVAL
 * (state_size),
 * -ESHUTDOWN (draining).
 */
int rli_actor_spawn(struct rl_shard *shard, const struct rl_actor_def *def, void *arg,
		    struct rl_actor **out);

/* The living actor with this id on @shard, or NULL: the one place where ids are resolved. */
static inline struct rl_actor *
rli_actor_resolve(const struct rl_shard *shard, uint64_t id)
{
	const struct slab *slab = &shard->actors->slab;
	struct rl_actor *actor;

	if (id_slot(id) >= slab->slots_used) {
		return NULL;
	}
	actor = rli_slab_slot(slab, id_slot(id), sizeof(*actor));
	/* a free slot's id is nobody's */
	if (RL_MUTANT(GENERATION_UNCHECKED)) {
		return actor->life == ACTOR_FREE || id_shard(id) != shard->id ? NULL : actor;
	}
	return actor->id == id ? actor : NULL;
}

/* How many messages wait for @actor. Its mailbox counts those too that it is being given. */
static inline uint32_t
rli_actor_waiting(const struct rl_actor *actor)
{
	uint32_t count = rli_mailbox_count(&actor->mailbox);

	return actor == rli_actor_running ? count - actor->shard->actors->handled : count;
}

/* The longer half of rli_actor_ready(): it is not linked. */
void rli_actor_enlist(struct actors *actors, struct rl_actor *actor);

/*
 * Put it on the ready list; the one place where that happens. Also while its handler runs.
 * PATH-4 make ready: whoever has something for an actor says so here, and only here.
 */
static inline void
rli_actor_ready_on(struct actors *actors, struct rl_actor *actor)
{
	if (list_is_linked(&actor->ready)) {
		return;
	}
	if (actors->runs && actors->alone == NULL && actor->conn == NULL &&
	    list_is_empty(&actors->ready)) {
		actors->alone = actor;
		actor->ready.next = NULL; /* on no list, and linked all the same */
	} else {
		rli_actor_enlist(actors, actor);
	}
}

/* The same where it is one of many, and so not alone. */
static inline void
rli_actor_ready_with_others(struct actors *actors, struct rl_actor *actor)
{
	if (list_is_linked(&actor->ready)) {
		return;
	}
	if (actor->conn == NULL) {
		list_push_back(&actors->ready, &actor->ready);
	} else {
		rli_actor_enlist(actors, actor);
	}
}

static inline void
rli_actor_ready(struct rl_actor *actor)
{
	rli_actor_ready_on(actor->shard->actors, actor);
}

/* It is not alone any more: about to run, or to be on the list, or gone. */
static inline void
rli_actor_accompany(struct actors *actors)
{
	actors->alone->ready.next = &actors->alone->ready; /* prev has stayed so */
	actors->alone = NULL;
}

/* The same for what is no message: it goes before them. */
static inline void
rli_actor_urge(struct rl_actor *actor)
{
	actor->urgent = true;
	rli_actor_ready(actor);
}

/* Decide the end; the first reason counts. Makes it ready. */
void rli_actor_end(struct rl_actor *actor, enum rl_reason reason, int error);

/*
 * Deliver RL_MSG_STOP and free everything, or a part of it; then it is ready again, and the rest
 * follows in the same way. ENDING, and its stream is gone.
 */
void rli_actor_stop(struct rl_actor *actor);

/* On the list of @actor that says what it asked for, or owes, or is told. */
static inline void
rli_tie_init(struct tie *tie, enum tie_kind kind, struct list *list)
{
	tie->kind = (uint8_t)kind;
	list_node_init(&tie->node);
	list_push_back(list, &tie->node);
}

/* What was held is to be delivered now. */
static inline void
rli_tie_notice(struct rl_actor *actor, struct tie *tie)
{
	list_remove(&tie->node);
	list_push_back(&actor->notices, &tie->node);
	rli_actor_urge(actor);
}

/* Begin to drain: RL_MSG_SHUTDOWN for every actor, no spawn any more. */
void rli_actors_drain(struct rl_shard *shard, uint64_t deadline_ns);

/*
 * No turn will come, because the system does not start: whoever was spawned meanwhile sees both
 * ends of its life.
 */
void rli_actors_abandon(struct rl_shard *shard);

/* End whoever is left, with @reason. */
void rli_actors_cut(struct rl_shard *shard, enum rl_reason reason);

static inline uint64_t
rli_actor_id_bits(const struct rl_actor *actor)
{
	return actor->id;
}

#endif
