/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What actors report, and the two actors that many tests use as they are.
 */
#include "support.h"

#include <stdio.h>
#include <unistd.h>

static void
rig_signal_event(struct rig *rig)
{
	uint64_t one = 1;

	(void)!write(rig->event, &one, sizeof(one)); /* fails only when it is full: then it tells */
}

void
probe_add(struct probe *probe, _Atomic uint64_t *counter, uint64_t count)
{
	atomic_fetch_add(counter, count);
	rig_signal_event(probe->rig);
}

void
probe_expect(struct probe *probe, bool truth, const char *what)
{
	if (!truth) {
		(void)fprintf(stderr, "an actor found wrong: %s\n", what);
		probe_add(probe, &probe->wrong, 1);
	}
}

struct probe *
probe_of(const struct rl_actor *self)
{
	const struct probed *state = rl_actor_state(self);

	return state->probe;
}

static void
probe_note_stop(struct probe *probe, const struct rl_msg *msg)
{
	atomic_store(&probe->error, msg->stop.error);
	atomic_fetch_add(&probe->stopped[msg->stop.reason], 1);
	probe_add(probe, &probe->stops, 1);
}

struct probe *
probe_note(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probed *state = rl_actor_state(self);
	struct probe *probe = msg->kind == RL_MSG_START ? msg->start.arg : state->probe;

	switch (msg->kind) {
	case RL_MSG_START:
		state->probe = probe;
		atomic_store(&probe->id, rl_actor_self(self).private_bits);
		probe_add(probe, &probe->starts, 1);
		break;
	case RL_MSG_OPEN:
		probe_add(probe, &probe->opens, 1);
		break;
	case RL_MSG_RECV:
		PROBE_EXPECT(probe, msg->recv.len > 0);
		atomic_fetch_add(&probe->recvs, 1);
		probe_add(probe, &probe->bytes, msg->recv.len);
		break;
	case RL_MSG_WRITABLE:
		probe_add(probe, &probe->writables, 1);
		break;
	case RL_MSG_EOF:
		atomic_store(&probe->leftover, msg->eof.leftover_bytes);
		probe_add(probe, &probe->eofs, 1);
		break;
	case RL_MSG_TIMER:
		probe_add(probe, &probe->timers, 1);
		break;
	case RL_MSG_SHUTDOWN:
		probe_add(probe, &probe->shutdowns, 1);
		break;
	case RL_MSG_STOP:
		probe_note_stop(probe, msg);
		break;
	default:
		PROBE_EXPECT(probe, msg->kind >= RL_MSG_USER);
		probe_add(probe, &probe->users, 1);
		break;
	}
	return probe;
}

static int
echo_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)probe_note(self, msg);
	return msg->kind == RL_MSG_RECV ? rl_conn_send(self, msg->recv.data, msg->recv.len)
					: RL_ACTOR_UNHANDLED;
}

const struct rl_actor_def rig_echo = {
	.name = "echo",
	.receive = echo_receive,
	.state_size = sizeof(struct probed),
};

static int
sink_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)probe_note(self, msg);
	return RL_ACTOR_UNHANDLED;
}

const struct rl_actor_def rig_sink = {
	.name = "sink",
	.receive = sink_receive,
	.state_size = sizeof(struct probed),
};
