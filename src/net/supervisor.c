/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Supervisors. What happens only changes the states of children; supervisor_step() then does what
 * the states ask for, in this order: stop who is doomed, last to first, one at a time; end, if that
 * was decided; start who is down and whose delay is over, first to last. Invariants: nobody is
 * started while somebody is to be stopped; every child that lives is monitored.
 */
#include <errno.h>
#include <string.h>

#include <ringline/monitor.h>
#include <ringline/shard.h>
#include <ringline/supervisor.h>

#include "actor/actor.h"
#include "actor/supervisor_restart.h"
#include "base/host.h"
#include "net/conn.h"
#include "net/url.h"

#define DEFAULT_RESTARTS_MAX 10
#define DEFAULT_WINDOW_NS    ((uint64_t)RL_SEC(10))
#define DEFAULT_BACKOFF_MIN  ((uint64_t)RL_MS(100))
#define DEFAULT_BACKOFF_MAX  ((uint64_t)RL_SEC(10))

#define NEVER UINT64_MAX

enum child_state {
	CHILD_DOWN, /* to be started, not before not_before_ns */
	CHILD_UP,
	CHILD_DOOMED, /* lives, and is to be stopped */
	CHILD_STOPPING, /* was asked to end */
	CHILD_OVER, /* and not to be started */
};

struct child {
	rl_actor_id id;
	rl_monitor_id monitor;
	uint64_t started_ns;
	uint64_t not_before_ns;
	uint8_t failures; /* in a row; more than 63 make no difference */
	uint8_t state; /* enum child_state */
};

struct supervisor {
	const struct rl_supervisor_def *def;
	uint32_t count; /* of children; 0 also when the definition is bad */
	bool ending; /* no start any more, and the end when all are down */
	bool timing; /* `timer` is armed */
	int error; /* to end with */
	rl_timer_id timer;
	uint64_t window_ns;
	uint64_t backoff_min_ns;
	uint64_t backoff_max_ns;
	struct log_limit limit;
	struct restart_window window;
	struct child children[RL_CHILDREN_MAX];
};

_Static_assert(sizeof(struct supervisor) <= 4096, "a supervisor's state is at most a page");

static int supervisor_receive(struct rl_actor *self, const struct rl_msg *msg);

const struct rl_actor_def rl_supervisor = {
	.name = "supervisor",
	.receive = supervisor_receive,
	.state_size = sizeof(struct supervisor),
};

static const char *
name_text(const char *name)
{
	return name != NULL ? name : "";
}

static uint64_t
supervisor_now_ns(struct rl_actor *self)
{
	return rl_shard_now_ns(rl_actor_shard(self));
}

/* 0, or -EINVAL after one line. */
static int
def_check_numbers(const struct rl_supervisor_def *def, const struct log *log)
{
	const struct {
		const char *field;
		int64_t value;
		int64_t min;
		int64_t max;
	} rows[] = {
		{ "strategy", def->strategy, RL_ONE_FOR_ONE, RL_REST_FOR_ONE },
		{ "restarts_max", def->restarts_max, -1, RL_RESTARTS_MAX },
		{ "window_ns", def->window_ns, 0, INT64_MAX },
		{ "backoff_min_ns", def->backoff_min_ns, -1, INT64_MAX },
		{ "backoff_max_ns", def->backoff_max_ns, 0, INT64_MAX },
		{ "children_count", (int64_t)def->children_count, 0, RL_CHILDREN_MAX },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].value < rows[i].min || rows[i].value > rows[i].max) {
			rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
				"supervisor \"%s\": %s = %lld: must be %lld to %lld",
				name_text(def->name), rows[i].field, (long long)rows[i].value,
				(long long)rows[i].min, (long long)rows[i].max);
			return -EINVAL;
		}
	}
	if (def->backoff_max_ns != 0 && def->backoff_max_ns < def->backoff_min_ns) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"supervisor \"%s\": backoff_max_ns = %lld: must be at least backoff_min_ns",
			name_text(def->name), (long long)def->backoff_max_ns);
		return -EINVAL;
	}
	return 0;
}

static int
def_check_child(const struct rl_supervisor_def *def, const struct rl_child_def *child,
		const struct log *log)
{
	struct url url;
	int rc = rli_actor_def_check(child->def, log);

	if (rc == 0 && child->url != NULL) {
		rc = rli_url_parse(&url, child->url, URL_CONNECT, log);
	}
	if (rc == 0 && child->options != NULL) {
		rc = rli_conn_options_check(child->options, log);
	}
	if (rc == 0 && (uint32_t)child->restart > RL_TEMPORARY) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD, "restart = %d: must be an enum rl_restart",
			(int)child->restart);
		rc = -EINVAL;
	}
	if (rc != 0) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD, "supervisor \"%s\": child \"%s\" is bad",
			name_text(def->name), name_text(child->name));
	}
	return rc;
}

static int
def_check(const struct rl_supervisor_def *def, const struct log *log)
{
	int rc;

	if (def == NULL || (def->children == NULL && def->children_count > 0)) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"a supervisor needs a struct rl_supervisor_def, and that its children");
		return -EINVAL;
	}
	rc = def_check_numbers(def, log);
	for (size_t i = 0; rc == 0 && i < def->children_count; i++) {
		rc = def_check_child(def, &def->children[i], log);
	}
	return rc;
}

/* Zero means the default. */
static void
supervisor_init(struct supervisor *sup, const struct rl_supervisor_def *def)
{
	sup->def = def;
	sup->count = (uint32_t)def->children_count;
	sup->window_ns = def->window_ns != 0 ? (uint64_t)def->window_ns : DEFAULT_WINDOW_NS;
	sup->backoff_min_ns = DEFAULT_BACKOFF_MIN;
	if (def->backoff_min_ns != 0) {
		sup->backoff_min_ns = def->backoff_min_ns < 0 ? 0 : (uint64_t)def->backoff_min_ns;
	}
	sup->backoff_max_ns = DEFAULT_BACKOFF_MAX;
	if (def->backoff_max_ns != 0) {
		sup->backoff_max_ns = (uint64_t)def->backoff_max_ns;
	}
	if (sup->backoff_max_ns < sup->backoff_min_ns) {
		sup->backoff_max_ns = sup->backoff_min_ns; /* of the two defaults: checked */
	}
}

static bool
supervisor_counts(const struct supervisor *sup)
{
	return sup->def->restarts_max >= 0;
}

static uint32_t
supervisor_restarts_max(const struct supervisor *sup)
{
	return sup->def->restarts_max == 0 ? DEFAULT_RESTARTS_MAX
					   : (uint32_t)sup->def->restarts_max;
}

static void
child_ask_to_end(struct rl_actor *self, const struct child *child)
{
	int rc = rl_actor_stop(self, child->id);

	RL_ASSERT(rc == 0); /* it is on this shard */
}

static void
child_stop(struct rl_actor *self, const struct rl_child_def *def, struct child *child)
{
	struct rl_actor *actor = rli_actor_resolve(rl_actor_shard(self), child->id.private_bits);

	child->state = CHILD_STOPPING;
	if (actor == NULL || actor->life == ACTOR_ENDING) {
		return; /* its RL_MSG_DOWN is on its way */
	}
	if (def->def->receive == supervisor_receive) {
		/* as the drain tells it, so that it stops its children and waits for them */
		actor->shutdown_due = true;
		rli_actor_urge(actor);
	} else if (actor->shutdown_due) {
		actor->ends_after_shutdown = true; /* in a drain it is told of it before it ends */
	} else {
		child_ask_to_end(self, child);
	}
}

/* 0, or why there is none. */
static int
child_start(struct rl_actor *self, const struct rl_child_def *def, struct child *child)
{
	int rc;

	if (def->url != NULL) {
		rc = rl_conn_open(self, def->url, def->def, def->arg, def->options, &child->id);
	} else {
		rc = rl_actor_spawn(self, def->def, def->arg, &child->id);
	}
	if (rc != 0) {
		return rc;
	}
	rc = rl_actor_monitor(self, child->id, &child->monitor);
	if (rc != 0) {
		child_ask_to_end(self, child);
		return rc;
	}
	child->started_ns = supervisor_now_ns(self);
	child->state = CHILD_UP;
	return 0;
}

static void
supervisor_end(struct supervisor *sup, int error)
{
	if (!sup->ending) {
		sup->ending = true;
		sup->error = error;
	}
}

/* Child @failed is down; those that share its failure are stopped, and none starts before. */
static void
supervisor_doom(struct supervisor *sup, uint32_t failed, uint64_t until_ns)
{
	uint32_t first = sup->def->strategy == RL_ONE_FOR_ALL ? 0 : failed;
	uint32_t end = sup->def->strategy == RL_ONE_FOR_ONE ? failed + 1 : sup->count;

	for (uint32_t i = first; i < end; i++) {
		struct child *child = &sup->children[i];

		if (child->state == CHILD_UP) {
			child->state = CHILD_DOOMED;
		} else if (child->state == CHILD_OVER &&
			   sup->def->children[i].restart != RL_TEMPORARY) {
			child->state = CHILD_DOWN;
		}
		if (child->not_before_ns < until_ns) {
			child->not_before_ns = until_ns;
		}
	}
}

/* Child number @failed ended after @lived_ns, and should not have. */
static void
supervisor_failed(struct rl_actor *self, struct supervisor *sup, uint32_t failed, uint64_t lived_ns,
		  const char *why, int error)
{
	struct child *child = &sup->children[failed];
	struct rl_shard *shard = rl_actor_shard(self);
	uint64_t now_ns = supervisor_now_ns(self);
	const char *name = name_text(sup->def->children[failed].name);
	uint64_t delay_ns;

	child->state = CHILD_DOWN;
	if (supervisor_counts(sup) && !rli_restart_allowed(&sup->window, now_ns, sup->window_ns,
							   supervisor_restarts_max(sup))) {
		rli_log(shard->log, RL_LOG_WARN, (int)shard->id,
			"supervisor \"%s\" gives up: child \"%s\" failed: %s, %s",
			name_text(sup->def->name), name, why, rli_errno_text(error));
		supervisor_end(sup, -ECANCELED);
		return;
	}
	if (lived_ns >= sup->backoff_max_ns) {
		child->failures = 0;
	}
	delay_ns = rli_restart_delay(sup->backoff_min_ns, sup->backoff_max_ns, child->failures);
	delay_ns = rli_restart_jitter(delay_ns, rli_host_random());
	child->failures = (uint8_t)(child->failures < 64 ? child->failures + 1 : 64);
	rli_log_limited(shard->log, &sup->limit, now_ns, RL_LOG_INFO, (int)shard->id,
			"supervisor \"%s\": child \"%s\" failed: %s, %s; again in %llu ms",
			name_text(sup->def->name), name, why, rli_errno_text(error),
			(unsigned long long)(delay_ns / 1000000));
	/* not in this turn, so that who fails at once does not fail for ever in one handler */
	supervisor_doom(sup, failed, now_ns + (delay_ns > 0 ? delay_ns : 1));
}

/* True: somebody is being stopped, the rest has to wait. */
static bool
supervisor_stop_next(struct rl_actor *self, struct supervisor *sup)
{
	struct child *child;

	for (uint32_t i = 0; i < sup->count; i++) {
		if (sup->children[i].state == CHILD_STOPPING) {
			return true;
		}
	}
	for (uint32_t i = sup->count; i > 0; i--) {
		child = &sup->children[i - 1];
		if (child->state == CHILD_DOOMED || (sup->ending && child->state == CHILD_UP)) {
			child_stop(self, &sup->def->children[i - 1], child);
			return true;
		}
	}
	return false;
}

/* Wake up when the next delay is over. */
static void
supervisor_wait(struct rl_actor *self, struct supervisor *sup, uint64_t due_ns)
{
	int rc;

	if (sup->timing) {
		(void)rl_timer_cancel(self, sup->timer); /* it has not come */
		sup->timing = false;
	}
	if (due_ns == NEVER) {
		return;
	}
	rc = rl_timer_start(self, due_ns - supervisor_now_ns(self), 0, &sup->timer);
	if (rc != 0) {
		supervisor_end(sup, rc);
		return;
	}
	sup->timing = true;
}

/* False: one could not be started, and that may have changed what is to be done. */
static bool
supervisor_start_all(struct rl_actor *self, struct supervisor *sup)
{
	uint64_t now_ns = supervisor_now_ns(self);
	uint64_t due_ns = NEVER;
	int rc;

	for (uint32_t i = 0; i < sup->count; i++) {
		struct child *child = &sup->children[i];
		const struct rl_child_def *def = &sup->def->children[i];

		if (child->state != CHILD_DOWN) {
			continue;
		}
		if (child->not_before_ns > now_ns) {
			due_ns = child->not_before_ns < due_ns ? child->not_before_ns : due_ns;
			continue; /* who shares its failure waits at least as long */
		}
		rc = child_start(self, def, child);
		if (rc == -ESHUTDOWN) {
			return true; /* RL_MSG_SHUTDOWN or RL_MSG_STOP is on its way */
		}
		if (rc != 0 && def->restart == RL_TEMPORARY) {
			child->state = CHILD_OVER;
		} else if (rc != 0) {
			supervisor_failed(self, sup, i, 0, "not started", rc);
			return false;
		}
	}
	supervisor_wait(self, sup, due_ns);
	return !sup->ending;
}

/* Do what the states ask for. An answer of the handler. */
static int
supervisor_step(struct rl_actor *self, struct supervisor *sup)
{
	for (;;) {
		if (supervisor_stop_next(self, sup)) {
			return 0;
		}
		if (sup->ending) {
			return sup->error != 0 ? sup->error : RL_ACTOR_STOP;
		}
		if (supervisor_start_all(self, sup)) {
			return 0;
		}
	}
}

static int
supervisor_begin(struct rl_actor *self, struct supervisor *sup, const struct rl_supervisor_def *def)
{
	int rc = def_check(def, rl_actor_shard(self)->log);

	if (rc != 0) {
		return rc;
	}
	supervisor_init(sup, def);
	return supervisor_step(self, sup);
}

static bool
reason_is_normal(enum rl_reason reason)
{
	return reason == RL_REASON_LOCAL || reason == RL_REASON_PEER_FIN ||
	       reason == RL_REASON_SHUTDOWN;
}

/*
 * How long the child lived, to end a row of failures: an outbound connection that was never open
 * has not lived at all, however long it tried.
 */
static uint64_t
child_lived_ns(const struct child *child, enum rl_reason reason, uint64_t now_ns)
{
	if (reason == RL_REASON_TIMEOUT_CONNECT || reason == RL_REASON_TIMEOUT_HANDSHAKE ||
	    reason == RL_REASON_RESOLVE) {
		return 0;
	}
	return now_ns - child->started_ns;
}

static int
supervisor_down(struct rl_actor *self, struct supervisor *sup, const struct rl_msg *msg)
{
	const struct rl_child_def *def;
	struct child *child;
	uint32_t i = 0;
	bool wanted; /* it was not to end anyway */

	while (i < sup->count && !rl_monitor_id_eq(sup->children[i].monitor, msg->down.id)) {
		i++;
	}
	RL_ASSERT(i < sup->count); /* it has no other monitors */
	child = &sup->children[i];
	def = &sup->def->children[i];
	child->id = (rl_actor_id){ 0 };
	child->monitor = (rl_monitor_id){ 0 };
	wanted = !sup->ending && child->state == CHILD_UP;
	if (def->restart == RL_TEMPORARY ||
	    (wanted && def->restart == RL_TRANSIENT && reason_is_normal(msg->down.reason))) {
		child->state = CHILD_OVER;
	} else if (!wanted) {
		child->state = CHILD_DOWN;
	} else {
		supervisor_failed(self, sup, i,
				  child_lived_ns(child, msg->down.reason, supervisor_now_ns(self)),
				  rl_reason_name(msg->down.reason), msg->down.error);
	}
	return supervisor_step(self, sup);
}

/* The last message: ask all who live, last to first, and wait for nobody. */
static void
supervisor_stop(struct rl_actor *self, struct supervisor *sup)
{
	for (uint32_t i = sup->count; i > 0; i--) {
		struct child *child = &sup->children[i - 1];

		if (child->state != CHILD_DOWN && child->state != CHILD_OVER) {
			child_ask_to_end(self, child);
		}
	}
}

static int
supervisor_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct supervisor *sup = rl_actor_state(self);

	switch (msg->kind) {
	case RL_MSG_START:
		return supervisor_begin(self, sup, msg->start.arg);
	case RL_MSG_DOWN:
		return supervisor_down(self, sup, msg);
	case RL_MSG_TIMER:
		sup->timing = false;
		return supervisor_step(self, sup);
	case RL_MSG_SHUTDOWN:
		supervisor_end(sup, 0);
		return supervisor_step(self, sup);
	case RL_MSG_STOP:
		supervisor_stop(self, sup);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}
