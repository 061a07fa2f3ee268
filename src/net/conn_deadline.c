/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A connection's deadlines over one timer, lazily: activity only stores a time, and the timer, when
 * it comes, looks whether a deadline has really passed and goes to sleep until the next one. So a
 * busy connection costs the wheel nothing per message, and one that sends starts a timer at most
 * once per stall_timeout_ns.
 */
#include <errno.h>

#include "net/conn.h"

struct deadline {
	uint64_t at_ns; /* UINT64_MAX: none */
	enum rl_reason reason;
};

/* What did not happen in time, and the setting that says what that is. */
static const struct {
	const char *what;
	const char *knob;
} deadline_texts[RL_REASON_COUNT] = {
	[RL_REASON_TIMEOUT_IDLE] = { "no byte moved", "idle_timeout_ns" },
	[RL_REASON_TIMEOUT_FIRST_BYTE] = { "no byte came", "first_byte_timeout_ns" },
	[RL_REASON_TIMEOUT_HANDSHAKE] = { "the handshake was not done",
					  "tls_handshake_timeout_ns" },
	[RL_REASON_TIMEOUT_CONNECT] = { "it was not made", "connect_timeout_ns" },
	[RL_REASON_TIMEOUT_STALL] = { "its peer took nothing", "stall_timeout_ns" },
	[RL_REASON_TIMEOUT_LINGER] = { "its peer did not close", "linger_timeout_ns" },
};

static void
deadline_log(const struct conn *conn, enum rl_reason reason)
{
	struct rl_shard *shard = conn->shard;

	RL_ASSERT(deadline_texts[reason].what != NULL);
	rli_log_limited(shard->log, &shard->net->limit_deadlines[reason], shard->now_ns,
			RL_LOG_INFO, (int)shard->id,
			"a connection was ended: %s within its deadline (%s)",
			deadline_texts[reason].what, deadline_texts[reason].knob);
}

void
rli_conn_deadline_passed(struct conn *conn, enum rl_reason reason)
{
	deadline_log(conn, reason);
	rli_conn_cut(conn, reason, -ETIMEDOUT);
}

/* As struct conn keeps it, rounded up; 49 days and more are as good as none. */
static uint32_t
deadline_ms(int64_t ns)
{
	uint64_t ms = ((uint64_t)ns + 999999) / 1000000;

	return ns < 0 || ms > DEADLINE_NONE ? DEADLINE_NONE : (uint32_t)ms;
}

uint32_t
rli_conn_deadline_ms(int64_t chosen_ns, int64_t configured_ns)
{
	return deadline_ms(chosen_ns != 0 ? chosen_ns : configured_ns);
}

void
rli_conn_deadline_init(struct conn *conn, const struct rl_conn_options *options)
{
	const struct rl_config *config = conn->shard->config;

	conn->idle_ms = rli_conn_deadline_ms(options->idle_timeout_ns, config->idle_timeout_ns);
	conn->stall_ms = rli_conn_deadline_ms(options->stall_timeout_ns, config->stall_timeout_ns);
	conn->linger_ms =
		rli_conn_deadline_ms(options->linger_timeout_ns, config->linger_timeout_ns);
}

void
rli_conn_deadline_by(struct conn *conn, uint64_t deadline_ns)
{
	if (deadline_ns == UINT64_MAX) {
		return;
	}
	if (!timer_is_armed(&conn->timer) || conn->timer.deadline_ns > deadline_ns) {
		rli_wheel_start(&conn->shard->wheel, &conn->timer, deadline_ns);
	}
}

static void
deadline_consider(struct deadline *earliest, uint64_t at_ns, enum rl_reason reason)
{
	if (at_ns < earliest->at_ns) {
		*earliest = (struct deadline){ at_ns, reason };
	}
}

static bool
deadline_input_is_ours_to_wait_for(const struct conn *conn)
{
	/* who said "not now" and is owed no notice has nobody but itself to wait for */
	bool again = conn->again && (conn->writable_owed || conn->actor->rooms_owed > 0 ||
				     conn->actor->forwards_owed > 0);

	return conn->state == CONN_OPEN && !conn->paused && !again && !conn->held;
}

/* The earliest deadline that runs now, and what it means when it passes. */
static struct deadline
deadline_earliest(const struct conn *conn)
{
	struct deadline earliest = { .at_ns = UINT64_MAX };

	if (conn->send.state == OP_ARMED) {
		deadline_consider(&earliest,
				  conn_deadline_after(conn->send_since_ns, conn->stall_ms),
				  RL_REASON_TIMEOUT_STALL);
		deadline_consider(&earliest, rli_conn_overdue_ns(conn), RL_REASON_TIMEOUT_OUTPUT);
	} else if (conn_is_held_up(conn) && conn->state <= CONN_FLUSHING) {
		deadline_consider(&earliest,
				  conn_deadline_after(conn->send_since_ns, conn->stall_ms),
				  RL_REASON_TIMEOUT_STALL);
	}
	if (conn_is_shaking(conn) && conn->state == CONN_OPEN) {
		if (conn->until_ns != 0) {
			deadline_consider(&earliest, conn->until_ns, RL_REASON_TIMEOUT_HANDSHAKE);
		}
	} else if (deadline_input_is_ours_to_wait_for(conn)) {
		deadline_consider(&earliest, conn_deadline_after(conn->active_ns, conn->idle_ms),
				  RL_REASON_TIMEOUT_IDLE);
		if (conn->until_ns != 0) {
			deadline_consider(&earliest, conn->until_ns, RL_REASON_TIMEOUT_FIRST_BYTE);
		}
	}
	if (conn->state == CONN_LINGERING) {
		deadline_consider(&earliest, conn->until_ns, RL_REASON_TIMEOUT_LINGER);
	}
	return earliest;
}

/* The first byte is waited for when the handshake is done; idling does not count before. */
static void
deadline_start_handshake(struct conn *conn, int64_t first_byte_timeout_ns)
{
	uint64_t until_ns = conn_deadline_after(conn->shard->now_ns, conn->tls->handshake_ms);

	conn->tls->first_byte_timeout_ns = first_byte_timeout_ns;
	conn->until_ns = until_ns == UINT64_MAX || RL_MUTANT(TLS_TIMELESS) ? 0 : until_ns;
	rli_conn_deadline_update(conn);
}

/* From now on, or while it stands still, what is left of it. */
static void
deadline_first_byte_in(struct conn *conn, uint64_t timeout_ns)
{
	conn->until_ns = conn->still ? timeout_ns : conn->shard->now_ns + timeout_ns;
}

void
rli_conn_deadline_start(struct conn *conn, int64_t first_byte_timeout_ns)
{
	if (conn_is_shaking(conn)) {
		deadline_start_handshake(conn, first_byte_timeout_ns);
		return;
	}
	if (first_byte_timeout_ns == 0) {
		first_byte_timeout_ns = conn->shard->config->first_byte_timeout_ns;
	}
	if (first_byte_timeout_ns > 0) {
		deadline_first_byte_in(conn, (uint64_t)first_byte_timeout_ns);
	}
	rli_conn_deadline_update(conn);
}

void
rli_conn_deadline_update(struct conn *conn)
{
	rli_conn_deadline_by(conn, deadline_earliest(conn).at_ns);
}

void
rli_conn_deadline_sync(struct conn *conn)
{
	bool still = conn->paused || conn->held || conn->put_off;
	uint64_t now_ns = conn->shard->now_ns;

	if (still == conn->still) {
		return;
	}
	conn->still = still;
	if (conn->state != CONN_OPEN || conn->until_ns == 0 || conn_is_shaking(conn)) {
		return;
	}
	if (!still) {
		conn->until_ns += now_ns;
	} else {
		conn->until_ns = conn->until_ns > now_ns ? conn->until_ns - now_ns : 1;
	}
}

bool
rli_conn_is_idle(const struct conn *conn)
{
	return deadline_input_is_ours_to_wait_for(conn) &&
	       conn_deadline_after(conn->active_ns, conn->idle_ms) <= conn->shard->now_ns;
}

void
rli_conn_deadline_due(struct timer *timer)
{
	struct conn *conn = list_entry(timer, struct conn, timer);
	struct deadline earliest = deadline_earliest(conn);

	if (conn->state == CONN_CONNECTING) {
		rli_conn_connect_due(conn);
		return;
	}
	if (conn->stalled) {
		return; /* rli_conn_looked() looks at the deadlines, too */
	}
	if (earliest.at_ns > conn->shard->now_ns) {
		rli_conn_deadline_by(conn, earliest.at_ns);
		return;
	}
	if (conn->send.state == OP_ARMED && (earliest.reason == RL_REASON_TIMEOUT_STALL ||
					     earliest.reason == RL_REASON_TIMEOUT_OUTPUT ||
					     earliest.reason == RL_REASON_TIMEOUT_IDLE)) {
		/*
		 * Bytes that were taken are progress, but of a send in flight only the kernel knows
		 * how many: the flush cancels it, and its result decides (rli_conn_looked()).
		 */
		conn->overdue = earliest.reason == RL_REASON_TIMEOUT_OUTPUT;
		rli_conn_look(conn);
	} else if (earliest.reason == RL_REASON_TIMEOUT_LINGER) {
		deadline_log(conn, earliest.reason);
		if (conn->actor->reason != RL_REASON_TLS) { /* the alert has left: that is why */
			conn->actor->reason = RL_REASON_TIMEOUT_LINGER;
		}
		conn->state = CONN_CANCELLING; /* FIN has left already: nothing to reset */
		rli_conn_mark(conn);
	} else {
		rli_conn_deadline_passed(conn, earliest.reason);
	}
}

/* The next byte, from now on; what is left of it, while input is paused. */
static int
deadline_set_first_byte(struct conn *conn, int64_t timeout_ns)
{
	if (conn->state != CONN_OPEN || conn_is_shaking(conn)) {
		return -ENOTCONN; /* the handshake's deadline stays as it is */
	}
	if (conn->eof_seen || conn->input_error != 0) {
		return -ESHUTDOWN;
	}
	conn->until_ns = 0;
	if (timeout_ns >= 0) {
		deadline_first_byte_in(conn, (uint64_t)timeout_ns);
	}
	return 0;
}

int
rl_conn_set_deadline(struct rl_actor *self, enum rl_conn_deadline which, int64_t timeout_ns)
{
	const struct rl_config *config = self->shard->config;
	struct conn *conn = self->conn;
	int rc = 0;

	RL_ASSERT(self == rli_actor_running);
	if (conn == NULL) {
		return -ENOTCONN;
	}
	if (timeout_ns < -1) {
		return -EINVAL;
	}
	switch (which) {
	case RL_CONN_DEADLINE_FIRST_BYTE:
		rc = deadline_set_first_byte(conn, timeout_ns != 0 ? timeout_ns
								   : config->first_byte_timeout_ns);
		break;
	case RL_CONN_DEADLINE_IDLE:
		conn->idle_ms = rli_conn_deadline_ms(timeout_ns, config->idle_timeout_ns);
		break;
	case RL_CONN_DEADLINE_STALL:
		conn->stall_ms = rli_conn_deadline_ms(timeout_ns, config->stall_timeout_ns);
		break;
	case RL_CONN_DEADLINE_LINGER:
		conn->linger_ms = rli_conn_deadline_ms(timeout_ns, config->linger_timeout_ns);
		break;
	default:
		return -EINVAL;
	}
	rli_conn_deadline_update(conn);
	return rc;
}
