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
 *	                                          any shard, or the acceptor
 *	  the actor ends <------------ CONTROL_BROKEN the kernel has ended a socket of it
 *
 * A job belongs to whoever has it: the shard, or, from the push until the answer, the thread. An
 * actor that ends in between leaves word in `doomed`, and the answer is a close. From the drain on
 * nothing is closed this way, since every shard stops its listeners by itself, and what is to be
 * opened answers -ESHUTDOWN; so once all shards are silent the thread ends, and no other is
 * started. Word of a broken socket comes once at most for each opening; as long as it is on its way
 * the job is not free.
 */
#include <errno.h>

#include <ringline/actor.h>
#include <ringline/listener.h>
#include <ringline/name.h>
#include <ringline/request.h>

#include "actor/actor.h"
#include "actor/request.h"
#include "base/mutant.h"
#include "system.h"

static int listener_receive(struct rl_actor *self, const struct rl_msg *msg);

#define LISTENER_AWAIT_MAX 16

struct listener_state {
	struct clerk_job *job; /* NULL: none, or none any more */
	uint32_t waiting_count;
	rl_request_id waiting[LISTENER_AWAIT_MAX]; /* RL_LISTENER_AWAIT */
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

/* The listener of @job, once it is open. */
static struct system_listener *
job_listener(struct rl_system *system, const struct clerk_job *job)
{
	return &system->listeners[id_slot(job->id.private_bits)];
}

/* What becomes of the listener from here on is nothing to the job. */
static void
job_lets_go(struct rl_system *system, struct clerk_job *job)
{
	struct system_listener *listener = job_listener(system, job);

	pthread_mutex_lock(&system->clerk.lock);
	if (listener->job == job) {
		listener->job = NULL;
	}
	pthread_mutex_unlock(&system->clerk.lock);
}

static void
job_free(struct rl_system *system, struct clerk_job *job)
{
	job_lets_go(system, job);
	pthread_mutex_lock(&system->clerk.lock);
	job->state = job->breaks ? CLERK_CLOSED : CLERK_FREE;
	pthread_mutex_unlock(&system->clerk.lock);
}

/* Under the lock. */
static void
job_breaks(struct rl_system *system, struct clerk_job *job, int error)
{
	struct rl_shard *shard = rli_system_shard(system, job->shard);

	job->error = error;
	job->breaks = true;
	job->broken.kind = CONTROL_BROKEN;
	rli_inbox_control_push(shard->inbox, &job->broken);
	(void)rli_sleep_wake(&shard->sleep);
}

void
rli_clerk_broken(struct rl_system *system, uint32_t number, int error)
{
	struct system_listener *listener = &system->listeners[number];

	pthread_mutex_lock(&system->clerk.lock);
	if (listener->broken == 0) {
		listener->broken = error;
		if (listener->job != NULL) {
			job_breaks(system, listener->job, error);
		}
	}
	pthread_mutex_unlock(&system->clerk.lock);
}

void
rli_clerk_forget(struct rl_system *system, uint32_t number)
{
	pthread_mutex_lock(&system->clerk.lock);
	system->listeners[number].job = NULL;
	system->listeners[number].broken = 0;
	pthread_mutex_unlock(&system->clerk.lock);
}

/* It is open, and may have been broken since. */
static void
job_opened(struct rl_system *system, struct clerk_job *job)
{
	struct system_listener *listener = job_listener(system, job);
	const struct url *bound = &listener->bound;

	if (!bound->is_unix) {
		job->port = ntohs(bound->sockaddr.sa.sa_family == AF_INET6
					  ? bound->sockaddr.in6.sin6_port
					  : bound->sockaddr.in.sin_port);
	}
	pthread_mutex_lock(&system->clerk.lock);
	listener->job = job;
	if (listener->broken != 0) {
		job_breaks(system, job, listener->broken);
	}
	pthread_mutex_unlock(&system->clerk.lock);
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
		job_lets_go(system, job);
		(void)rl_listener_close(system, job->id); /* -ENOENT: somebody else has */
		job_free(system, job);
		return true;
	}
	if (rli_system_drain_level(system) != SYSTEM_RUNS) {
		rc = -ESHUTDOWN; /* no line: nobody did anything wrong */
	} else {
		rc = rl_listener_open(system, job->def->url, job->def->def, &job->def->options,
				      &job->id);
	}
	if (rc == 0) {
		job_opened(system, job);
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
		job_free(system, job); /* all of them close by themselves */
	}
}

/* Whoever waits for it is answered. */
static void
listener_opened(struct rl_actor *actor, const struct clerk_job *job)
{
	struct listener_state *state = actor->state;
	struct rl_listening listening = { .id = job->id, .port = job->port };

	for (uint32_t i = 0; i < state->waiting_count; i++) {
		rli_promise_keep(actor, state->waiting[i].private_bits, &listening,
				 sizeof(listening));
	}
	state->waiting_count = 0;
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
		job_free(shard->system, job);
	} else if (job->doomed) {
		listener_close(shard->system, job);
	} else {
		job_becomes(&shard->system->clerk, job, CLERK_OPEN);
		listener_opened(actor, job);
	}
}

void
rli_clerk_broke(struct rl_shard *shard, struct clerk_job *job)
{
	struct clerk *clerk = &shard->system->clerk;
	struct rl_actor *actor = rli_actor_resolve(shard, job->actor);
	int error = job->error;

	pthread_mutex_lock(&clerk->lock);
	job->breaks = false;
	if (job->state == CLERK_CLOSED) {
		job->state = CLERK_FREE;
	}
	pthread_mutex_unlock(&clerk->lock);
	if (actor != NULL) {
		rli_actor_end(actor, RL_REASON_FAILURE, error); /* its end closes the others */
	}
}

static int
listener_unnamed(const struct rl_actor *self, int rc)
{
	rli_log(self->shard->log, RL_LOG_ERROR, (int)self->shard->id,
		"a listener can't have its name: %s", rli_errno_text(rc));
	return rc;
}

static int
listener_begin(struct rl_actor *self, struct listener_state *state,
	       const struct rl_listener_def *def)
{
	struct rl_shard *shard = self->shard;
	struct clerk_job *job;

	if (self->life == ACTOR_ENDING) {
		return -ESHUTDOWN; /* before it ran; perhaps no shard will ever answer */
	}
	if (def == NULL || def->url == NULL) {
		rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
			"a listener needs a struct rl_listener_def, and that a url");
		return -EINVAL;
	}
	if (def->name != NULL) {
		int rc = rl_actor_register(self, def->name, NULL);

		if (rc != 0) {
			return listener_unnamed(self, rc);
		}
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

/* RL_LISTENER_AWAIT. */
static int
listener_await(struct rl_actor *self, struct listener_state *state, rl_request_id request)
{
	const struct clerk_job *job = state->job;

	if (rl_request_id_is_none(request)) {
		return RL_ACTOR_UNHANDLED;
	}
	if (job->state == CLERK_OPEN) {
		struct rl_listening listening = { .id = job->id, .port = job->port };

		return rl_actor_reply(self, request, &listening, sizeof(listening));
	}
	if (state->waiting_count == LISTENER_AWAIT_MAX) {
		return rl_actor_reply_failed(self, request, -ENOBUFS);
	}
	state->waiting[state->waiting_count++] = request;
	return 0;
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
	case RL_LISTENER_AWAIT:
		return listener_await(self, state, msg->user.request);
	case RL_MSG_REPLY:
		return 0; /* it has its name */
	case RL_MSG_REPLY_FAILED:
		return listener_unnamed(self, msg->reply_failed.error);
	default:
		return RL_ACTOR_UNHANDLED;
	}
}
