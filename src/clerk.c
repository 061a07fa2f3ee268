/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Listeners that actors have. An actor can't wait for the system calls of rl_listener_open(), nor
 * for the shards that it asks, so a thread does it for all of them, one after the other; it is
 * started when something is asked for, and ends when there is nothing left.
 *
 *	actor's shard                             clerk
 *	  START: a job, OPENS ----------------------> rl_listener_open()
 *	  OPEN, or the actor ends <--- CONTROL_OPENED
 *	  STOP: CLOSES -----------------------------> rl_listener_close(); the job is free
 *
 * A job belongs to whoever has it: the shard, or, from the push until the answer, the thread. An
 * actor that ends in between leaves word in `doomed`, and the answer is a close. From the drain on
 * nothing is closed this way, since every shard stops its listeners by itself, and what is to be
 * opened answers -ESHUTDOWN; so once all shards are silent the thread ends, and no other is
 * started.
 */
#include <errno.h>

#include <ringline/actor.h>
#include <ringline/listener.h>

#include "actor/actor.h"
#include "base/mutant.h"
#include "system.h"

static int listener_receive(struct rl_actor *self, const struct rl_msg *msg);

struct listener_state {
	struct clerk_job *job; /* NULL: none, or none any more */
};

const struct rl_actor_def rl_listener = {
	.name = "listener",
	.receive = listener_receive,
	.state_size = sizeof(struct listener_state),
};

static struct clerk_job *
job_take(struct clerk *clerk)
{
	struct clerk_job *found = NULL;

	pthread_mutex_lock(&clerk->lock);
	for (uint32_t i = 0; i < CLERK_JOBS && found == NULL; i++) {
		if (clerk->jobs[i].state == CLERK_FREE) {
			found = &clerk->jobs[i];
			*found = (struct clerk_job){ .state = CLERK_OPENS };
		}
	}
	pthread_mutex_unlock(&clerk->lock);
	return found;
}

/* Under the lock, because others look for a free one. */
static void
job_becomes(struct clerk *clerk, struct clerk_job *job, enum clerk_state state)
{
	pthread_mutex_lock(&clerk->lock);
	job->state = (uint8_t)state;
	pthread_mutex_unlock(&clerk->lock);
}

static void
job_free(struct clerk *clerk, struct clerk_job *job)
{
	job_becomes(clerk, job, CLERK_FREE);
}

/* The thread gets @job; true: there is none, or it has decided to end. */
static bool
job_push(struct clerk *clerk, struct clerk_job *job, enum clerk_state state)
{
	bool start;

	pthread_mutex_lock(&clerk->lock);
	job->state = (uint8_t)state;
	job->next = NULL;
	if (clerk->first == NULL) {
		clerk->first = job;
	} else {
		clerk->last->next = job;
	}
	clerk->last = job;
	start = !clerk->runs;
	clerk->runs = true;
	pthread_mutex_unlock(&clerk->lock);
	return start;
}

/* From the push on the job is the shard's. */
static void
job_answer(struct rl_system *system, struct clerk_job *job, int rc)
{
	struct rl_shard *shard = rli_system_shard(system, job->shard);

	job->rc = rc;
	job->control.kind = CONTROL_OPENED;
	rli_inbox_control_push(shard->inbox, &job->control);
	(void)rli_sleep_wake(&shard->sleep);
}

/*
 * There is no thread: whoever wants to open is told, and what is to be closed waits for the next
 * one. Others may have counted on it meanwhile.
 */
static void
jobs_fail(struct rl_system *system, int rc)
{
	struct clerk *clerk = &system->clerk;
	struct clerk_job *job;

	pthread_mutex_lock(&clerk->lock);
	job = clerk->first;
	clerk->first = NULL;
	clerk->runs = false;
	while (job != NULL) {
		struct clerk_job *next = job->next;

		if (job->state == CLERK_OPENS) {
			job_answer(system, job, rc);
		} else {
			job->next = NULL;
			*(clerk->first == NULL ? &clerk->first : &clerk->last->next) = job;
			clerk->last = job;
		}
		job = next;
	}
	pthread_mutex_unlock(&clerk->lock);
}

static void
job_submit(struct rl_system *system, struct clerk_job *job, enum clerk_state state)
{
	int rc = 0;

	if (job_push(&system->clerk, job, state)) {
		rc = rli_thread_clerk_start(system);
	}
	if (rc != 0) {
		jobs_fail(system, rc);
	}
}

/* The next one; NULL: none, and the thread ends. */
static struct clerk_job *
job_next(struct clerk *clerk)
{
	struct clerk_job *job;

	pthread_mutex_lock(&clerk->lock);
	job = clerk->first;
	if (job != NULL) {
		clerk->first = job->next;
	} else {
		clerk->runs = false;
	}
	pthread_mutex_unlock(&clerk->lock);
	return job;
}

bool
rli_clerk_step(struct rl_system *system)
{
	struct clerk_job *job = job_next(&system->clerk);
	int rc;

	if (job == NULL) {
		return false;
	}
	if (job->state == CLERK_CLOSES) {
		(void)rl_listener_close(system, job->id); /* -ENOENT: somebody else has */
		job_free(&system->clerk, job);
		return true;
	}
	if (rli_system_drain_level(system) != SYSTEM_RUNS) {
		rc = -ESHUTDOWN; /* no line: nobody did anything wrong */
	} else {
		rc = rl_listener_open(system, job->def->url, job->def->def, &job->def->options,
				      &job->id);
	}
	job_answer(system, job, rc);
	return true;
}

/* The actor is gone, or going; on its shard. */
static void
listener_close(struct rl_system *system, struct clerk_job *job)
{
	if (rli_system_drain_level(system) == SYSTEM_RUNS) {
		job_submit(system, job, CLERK_CLOSES);
	} else {
		job_free(&system->clerk, job); /* all of them close by themselves */
	}
}

void
rli_clerk_opened(struct rl_shard *shard, struct clerk_job *job)
{
	struct rl_actor *actor = rli_actor_resolve(shard, job->actor);
	struct listener_state *state;

	if (job->rc != 0) {
		if (!job->doomed) {
			state = actor->state;
			state->job = NULL;
			rli_actor_end(actor, RL_REASON_FAILURE, job->rc);
		}
		job_free(&shard->system->clerk, job);
	} else if (job->doomed) {
		listener_close(shard->system, job);
	} else {
		job_becomes(&shard->system->clerk, job, CLERK_OPEN);
	}
}

static int
listener_begin(struct rl_actor *self, struct listener_state *state,
	       const struct rl_listener_def *def)
{
	struct rl_shard *shard = self->shard;
	struct clerk_job *job;

	if (def == NULL || def->url == NULL) {
		rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
			"a listener needs a struct rl_listener_def, and that a url");
		return -EINVAL;
	}
	job = job_take(&shard->system->clerk);
	if (job == NULL) {
		return -ENOBUFS;
	}
	job->def = def;
	job->actor = self->id;
	job->shard = shard->id;
	state->job = job;
	job_submit(shard->system, job, CLERK_OPENS);
	return 0;
}

static void
listener_end(struct rl_actor *self, const struct listener_state *state)
{
	struct clerk_job *job = state->job;

	if (job == NULL) {
		return;
	}
	if (job->state == CLERK_OPEN) {
		listener_close(self->shard->system, job);
	} else {
		job->doomed = !RL_MUTANT(LISTENER_OUTLIVES_ACTOR);
	}
}

static int
listener_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct listener_state *state = rl_actor_state(self);

	switch (msg->kind) {
	case RL_MSG_START:
		return listener_begin(self, state, msg->start.arg);
	case RL_MSG_STOP:
		listener_end(self, state);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}
