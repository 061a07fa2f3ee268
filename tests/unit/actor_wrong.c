/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: every verb of an actor aborts outside its handler, what only reads does not; verbs that
 *         can't refuse another thread abort there, also while the handler runs.
 * How: by hand; deaths in a child.
 * Not: the verbs that answer -EPERM on another thread; integration/test_mesh.c does that.
 */
#include "actor_groups.h"
#include "unit_actors.h"

#include <pthread.h>

#include <ringline/buf.h>
#include <ringline/monitor.h>
#include <ringline/name.h>
#include <ringline/request.h>

#include "net/net.h"

enum verb {
	VERB_SEND,
	VERB_SEND_BUF,
	VERB_BROADCAST,
	VERB_REQUEST,
	VERB_REQUEST_CANCEL,
	VERB_REPLY,
	VERB_REPLY_FAILED,
	VERB_SPAWN,
	VERB_SPAWN_ON,
	VERB_STOP,
	VERB_MONITOR,
	VERB_DEMONITOR,
	VERB_LINK,
	VERB_REGISTER,
	VERB_UNREGISTER,
	VERB_FIND,
	VERB_TIMER_START,
	VERB_TIMER_START_EVERY,
	VERB_TIMER_CANCEL,
	VERB_ASSERTS, /* on another thread, too: this one and those below */
	VERB_BECOME = VERB_ASSERTS,
	VERB_CONN_OPEN,
	VERB_CONN_SEND,
	VERB_CONN_FORWARD,
	VERB_CONN_CONSUMED,
	VERB_CONN_PAUSE,
	VERB_CONN_RESUME,
	VERB_CONN_SET_DEADLINE,
	VERB_CONN_SHUTDOWN_WRITE,
	VERB_CONN_CLOSE,
	VERB_CONN_ABORT,
	VERB_CONN_PEER_CRED,
	VERBS,
};

struct call {
	struct rl_actor *self;
	enum verb verb;
};

static int
call_conn_verb(struct rl_actor *self, enum verb verb)
{
	struct rl_peer_cred cred;

	switch ((int)verb) {
	case VERB_CONN_OPEN:
		return rl_conn_open(self, "tcp://127.0.0.1:9", &bed_def, NULL, NULL, NULL);
	case VERB_CONN_SEND:
		return rl_conn_send(self, "x", 1);
	case VERB_CONN_FORWARD:
		return rl_conn_forward(self, rl_actor_self(self), "x", 1);
	case VERB_CONN_CONSUMED:
		rl_conn_consumed(self, 0);
		return 0;
	case VERB_CONN_PAUSE:
		return rl_conn_pause(self);
	case VERB_CONN_RESUME:
		return rl_conn_resume(self);
	case VERB_CONN_SET_DEADLINE:
		return rl_conn_set_deadline(self, RL_CONN_DEADLINE_IDLE, 0);
	case VERB_CONN_SHUTDOWN_WRITE:
		return rl_conn_shutdown_write(self);
	case VERB_CONN_CLOSE:
		return rl_conn_close(self);
	case VERB_CONN_ABORT:
		return rl_conn_abort(self);
	case VERB_CONN_PEER_CRED:
		return rl_conn_peer_cred(self, &cred);
	default:
		fail();
		return 0;
	}
}

static int
call_actor_verb(struct rl_actor *self, enum verb verb)
{
	const rl_actor_id id = rl_actor_self(self);
	const struct rl_request request = { .to = id, .kind = RL_MSG_USER, .timeout_ns = -1 };
	const rl_request_id asked = { 7 };
	struct rl_buf buf = { 0 };
	rl_actor_id found;
	size_t taken;

	switch ((int)verb) {
	case VERB_SEND:
		return rl_actor_send(self, id, RL_MSG_USER, NULL, 0);
	case VERB_SEND_BUF:
		return rl_actor_send_buf(self, id, RL_MSG_USER, &buf);
	case VERB_BROADCAST:
		return rl_actor_broadcast(self, &id, 1, RL_MSG_USER, &buf, &taken);
	case VERB_REQUEST:
		return rl_actor_request(self, &request, NULL);
	case VERB_REQUEST_CANCEL:
		return rl_actor_request_cancel(self, asked);
	case VERB_REPLY:
		return rl_actor_reply(self, asked, NULL, 0);
	case VERB_REPLY_FAILED:
		return rl_actor_reply_failed(self, asked, -EIO);
	case VERB_SPAWN:
		return rl_actor_spawn(self, &bed_def, NULL, NULL);
	case VERB_SPAWN_ON:
		return rl_actor_spawn_on(self, 0, &bed_def, NULL, NULL);
	case VERB_STOP:
		return rl_actor_stop(self, id);
	case VERB_MONITOR:
		return rl_actor_monitor(self, id, NULL);
	case VERB_DEMONITOR:
		return rl_actor_demonitor(self, (rl_monitor_id){ 7 });
	case VERB_LINK:
		return rl_actor_link(self, (rl_actor_id){ 7 });
	case VERB_REGISTER:
		return rl_actor_register(self, "name", NULL);
	case VERB_UNREGISTER:
		return rl_actor_unregister(self, "name");
	case VERB_FIND:
		return rl_actor_find(self, "name", &found);
	case VERB_TIMER_START:
		return rl_timer_start(self, 0, 0, NULL);
	case VERB_TIMER_START_EVERY:
		return rl_timer_start_every(self, (uint64_t)RL_SEC(1), 0, NULL);
	case VERB_TIMER_CANCEL:
		return rl_timer_cancel(self, (rl_timer_id){ 7 });
	case VERB_BECOME:
		rl_actor_become(self, bed_def.receive);
		return 0;
	default:
		return call_conn_verb(self, verb);
	}
}

static void
call_outside(void *arg)
{
	const struct call *call = arg;

	(void)call_actor_verb(call->self, call->verb);
}

/* For an actor without a connection most of them would answer -ENOTCONN: they don't come so far. */
static void
actor_verbs_outside_its_handler_assert(void **state)
{
	static struct net net;
	struct call call = { .self = bed_spawn(NULL) };

	(void)state;
	bed_turn();
	bed.shard.net = &net; /* a shard of streams, without any */
	for (call.verb = 0; call.verb < VERBS; call.verb++) {
		print_message("verb %d\n", (int)call.verb);
		assert_true(unit_dies(call_outside, &call, SIGABRT, "running ("));
	}
}

static void
actor_reads_outside_its_handler_are_answered(void **state)
{
	struct rl_actor *actor = bed_spawn(NULL);
	struct rl_conn_stats stats;
	struct rl_addr peer;

	(void)state;
	bed_turn();
	assert_null(rli_actor_running);
	assert_true(rl_actor_self(actor).private_bits == rli_actor_id_bits(actor));
	assert_ptr_equal(rl_actor_shard(actor), &bed.shard);
	assert_non_null(rl_actor_state(actor));
	assert_int_equal(rl_conn_peer(actor, &peer), -ENOTCONN);
	assert_int_equal(rl_conn_stats(actor, &stats), -ENOTCONN);
}

static enum verb wrong_verb; /* what wrong_thread() calls */

static void *
wrong_thread(void *arg)
{
	(void)call_actor_verb(arg, wrong_verb);
	return NULL;
}

static int
hook_call_on_another_thread(struct rl_actor *self, const struct rl_msg *msg)
{
	pthread_t thread;

	(void)msg;
	assert_int_equal(pthread_create(&thread, NULL, wrong_thread, self), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return 0;
}

static void
run_with_another_thread(void *arg)
{
	const struct call *call = arg;

	wrong_verb = call->verb;
	bed.hook = hook_call_on_another_thread;
	bed_post(rli_actor_id_bits(call->self), 1);
	bed_turn();
}

/* While the handler runs: it has the memory to itself. */
static void
actor_verbs_on_another_thread_assert(void **state)
{
	static struct net net;
	struct call call = { .self = bed_spawn(NULL) };

	(void)state;
	bed_turn();
	bed.shard.net = &net;
	for (call.verb = VERB_ASSERTS; call.verb < VERBS; call.verb++) {
		print_message("verb %d\n", (int)call.verb);
		assert_true(unit_dies(run_with_another_thread, &call, SIGABRT,
				      "self == rli_actor_running ("));
	}
}

int
actor_wrong_run(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(actor_verbs_outside_its_handler_assert),
		on_bed(actor_reads_outside_its_handler_are_answered),
		on_bed(actor_verbs_on_another_thread_assert),
	};

	return unit_run(tests);
}
