/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_acceptor.h"

#include "net/acceptor.h"
#include "system.h"

#include "sim_kernel.h"
#include "sim_world.h"

/* Steps in a row that found nothing to take: more than a handful is a busy loop. */
#define IDLE_STEPS_MAX 200
#define END_STEPS_MAX  1000

struct sim_acceptor {
	struct rl_system *system; /* NULL: it takes no steps */
	void (*interleave)(void);
	struct pollfd *polls;
	uint32_t polls_count;
	uint64_t until_ns;
	uint32_t idle_steps;
	bool asleep;
	bool inside; /* a step is on the stack */
};

static struct sim_acceptor acceptor;

void
sim_acceptor_reset(void)
{
	acceptor = (struct sim_acceptor){ 0 };
}

void
sim_acceptor_start(struct rl_system *system)
{
	acceptor.system = system->acceptor != NULL ? system : NULL;
}

void
sim_acceptor_others(void (*interleave)(void))
{
	acceptor.interleave = interleave;
}

static bool
poll_is_ready(const struct pollfd *poll)
{
	struct sk_file *file = sk_fd_file(poll->fd);

	sim_check(file != NULL, "a descriptor is polled that is not open");
	if (file->kind == SK_SOCK) {
		return sk_readable(sk_file_sock(file));
	}
	return file->counter > 0;
}

static bool
acceptor_is_wakeable(void)
{
	for (uint32_t i = 0; i < acceptor.polls_count; i++) {
		if (poll_is_ready(&acceptor.polls[i])) {
			return true;
		}
	}
	return sim_world.now_ns >= acceptor.until_ns;
}

bool
sim_acceptor_is_ready(void)
{
	if (acceptor.system == NULL || acceptor.inside) {
		return false;
	}
	return !acceptor.asleep || acceptor_is_wakeable() || sim_fault(FAULT_POLL_SPURIOUS);
}

uint64_t
sim_acceptor_next_ns(void)
{
	return acceptor.system != NULL && acceptor.asleep ? acceptor.until_ns : UINT64_MAX;
}

/* What poll answers on its way out; false: it was woken for nothing. */
static bool
acceptor_wake(void)
{
	bool wakeable = acceptor_is_wakeable();

	for (uint32_t i = 0; i < acceptor.polls_count; i++) {
		bool ready = poll_is_ready(&acceptor.polls[i]);

		/* woken for nothing, it is told a lie: the connection has gone meanwhile */
		acceptor.polls[i].revents = ready || !wakeable ? POLLIN : 0;
	}
	acceptor.asleep = false;
	return wakeable;
}

/* INV-8: what it was woken for it takes, or it waits before it tries again. */
static void
acceptor_check_spin(uint32_t taken)
{
	acceptor.idle_steps = taken > 0 ? 0 : acceptor.idle_steps + 1;
	sim_check(acceptor.idle_steps < IDLE_STEPS_MAX,
		  "INV-8: the acceptor took %u steps without anything to take",
		  acceptor.idle_steps);
}

static uint32_t
acceptor_waiting(void)
{
	uint32_t waiting = 0;

	for (uint32_t i = 0; acceptor.asleep && i < acceptor.polls_count; i++) {
		struct sk_file *file = sk_fd_file(acceptor.polls[i].fd);

		if (file == NULL) {
			continue;
		}
		waiting +=
			file->kind == SK_SOCK ? sk_file_sock(file)->backlog_len : file->counter > 0;
	}
	return waiting;
}

void
sim_acceptor_step(void)
{
	uint32_t before = acceptor_waiting();
	bool called = !acceptor.asleep || acceptor_wake();
	uint32_t after;

	sim_event("acceptor", before, 0);
	acceptor.inside = true;
	if (!rli_system_acceptor_step(acceptor.system)) {
		acceptor.system = NULL;
	}
	acceptor.inside = false;
	if (acceptor.system != NULL && called) {
		after = acceptor_waiting();
		acceptor_check_spin(before > after ? before - after : 0);
	}
}

void
sim_acceptor_end(void)
{
	for (uint32_t steps = 0; acceptor.system != NULL; steps++) {
		sim_check(steps < END_STEPS_MAX && sim_acceptor_is_ready(),
			  "the acceptor does not end");
		sim_acceptor_step();
	}
}

void
sim_acceptor_interleave(void)
{
	if (acceptor.interleave != NULL && sim_fault(FAULT_FOREIGN)) {
		acceptor.interleave();
	}
}

void
sim_acceptor_sleep(struct pollfd *polls, uint32_t count, uint64_t timeout_ns)
{
	acceptor.polls = polls;
	acceptor.polls_count = count;
	acceptor.until_ns = timeout_ns == UINT64_MAX ? UINT64_MAX : sim_world.now_ns + timeout_ns;
	acceptor.asleep = true;
}

void
sim_acceptor_check(void)
{
	const struct acceptor *self;

	if (acceptor.system == NULL || !acceptor.asleep || acceptor_is_wakeable()) {
		return;
	}
	self = acceptor.system->acceptor;
	sim_check(rli_inbox_is_empty(self->inbox),
		  "INV-7: lost wake-up: the acceptor sleeps and its inbox is not empty");
	sim_check(rli_system_drain_level(acceptor.system) == SYSTEM_RUNS || self->over,
		  "INV-7: lost wake-up: the acceptor sleeps and the system drains");
	if (acceptor.polls_count > 1 || acceptor.until_ns != UINT64_MAX) {
		return;
	}
	for (uint32_t i = 0; i < NET_LISTENERS_MAX; i++) {
		for (uint32_t shard = 0; shard < self->shards_count; shard++) {
			sim_check(self->listeners[i].fd < 0 ||
					  rli_handover_room(&self->shards[shard].handover) !=
						  HANDOVER_ROOM,
				  "INV-7: lost wake-up: the acceptor waits for room, and shard %u "
				  "has some",
				  shard);
		}
	}
}
