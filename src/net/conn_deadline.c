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

void
rli_conn_deadline_by(struct conn *conn, uint64_t deadline_ns)
{
	if (deadline_ns == UINT64_MAX) {
		return;
	}
	if (!conn->timer.armed || conn->timer.deadline_ns > deadline_ns) {
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
	int64_t stall_ns = conn->shard->config->stall_timeout_ns;

	if (conn->send.state == OP_ARMED && stall_ns >= 0) {
		deadline_consider(&earliest, conn->send_since_ns + (uint64_t)stall_ns,
				  RL_REASON_TIMEOUT_STALL);
	}
	if (conn->send.state == OP_ARMED) {
		deadline_consider(&earliest, rli_conn_overdue_ns(conn), RL_REASON_TIMEOUT_OUTPUT);
	}
	if (deadline_input_is_ours_to_wait_for(conn)) {
		if (conn->idle_timeout_ns >= 0) {
			deadline_consider(&earliest,
					  conn->active_ns + (uint64_t)conn->idle_timeout_ns,
					  RL_REASON_TIMEOUT_IDLE);
		}
		if (conn->until_ns != 0) {
			deadline_consider(&earliest, conn->until_ns, RL_REASON_TIMEOUT_FIRST_BYTE);
		}
	}
	if (conn->state == CONN_LINGERING && conn->until_ns != 0) {
		deadline_consider(&earliest, conn->until_ns, RL_REASON_TIMEOUT_LINGER);
	}
	return earliest;
}

void
rli_conn_deadline_start(struct conn *conn, int64_t first_byte_timeout_ns)
{
	if (first_byte_timeout_ns == 0) {
		first_byte_timeout_ns = conn->shard->config->first_byte_timeout_ns;
	}
	if (first_byte_timeout_ns > 0) {
		conn->until_ns = (uint64_t)first_byte_timeout_ns; /* what is left, while paused */
		if (!conn->paused) {
			rli_conn_deadline_resume(conn);
		}
	}
	rli_conn_deadline_update(conn);
}

void
rli_conn_deadline_update(struct conn *conn)
{
	rli_conn_deadline_by(conn, deadline_earliest(conn).at_ns);
}

void
rli_conn_deadline_pause(struct conn *conn)
{
	uint64_t now_ns = conn->shard->now_ns;

	if (conn->state == CONN_OPEN && conn->until_ns != 0) {
		conn->until_ns = conn->until_ns > now_ns ? conn->until_ns - now_ns : 1;
	}
}

void
rli_conn_deadline_resume(struct conn *conn)
{
	if (conn->state == CONN_OPEN && conn->until_ns != 0) {
		conn->until_ns += conn->shard->now_ns;
	}
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
	if (earliest.at_ns > conn->shard->now_ns) {
		rli_conn_deadline_by(conn, earliest.at_ns);
		return;
	}
	if (earliest.reason == RL_REASON_TIMEOUT_STALL ||
	    earliest.reason == RL_REASON_TIMEOUT_OUTPUT) {
		/*
		 * Bytes that were taken are progress, but of a send in flight only the kernel knows
		 * how many: the flush cancels it, and its result decides (rli_conn_looked()).
		 */
		conn->overdue = earliest.reason == RL_REASON_TIMEOUT_OUTPUT;
		rli_conn_look(conn);
	} else if (earliest.reason == RL_REASON_TIMEOUT_LINGER) {
		conn->actor->reason = RL_REASON_TIMEOUT_LINGER;
		conn->state = CONN_CANCELLING; /* FIN has left already: nothing to reset */
		rli_conn_mark(conn);
	} else {
		rli_conn_cut(conn, earliest.reason, -ETIMEDOUT);
	}
}
