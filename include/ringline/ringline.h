/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * ringline: actors and messages over one io_uring loop per CPU core.
 *
 * This header brings in the whole public API. A program describes what each connection does when
 * something happens to it, in one function; ringline gives every core a pinned thread, a ring and a
 * scheduler, and calls that function on the one core that owns the connection:
 *
 *	static int
 *	echo_receive(struct rl_actor *self, const struct rl_msg *msg)
 *	{
 *		return msg->kind == RL_MSG_RECV
 *			? rl_conn_send(self, msg->recv.data, msg->recv.len)
 *			: RL_ACTOR_UNHANDLED;
 *	}
 *
 * Results: functions that return int answer 0 or a documented positive value when they did what was
 * asked, and a negative errno when they did nothing. errno itself is never set.
 */
#ifndef RINGLINE_RINGLINE_H
#define RINGLINE_RINGLINE_H

#define RL_VERSION_MAJOR  0
#define RL_VERSION_MINOR  1
#define RL_VERSION_PATCH  0
#define RL_VERSION_STRING "0.1.0"

#include <ringline/actor.h>
#include <ringline/addr.h>
#include <ringline/buf.h>
#include <ringline/config.h>
#include <ringline/conn.h>
#include <ringline/listener.h>
#include <ringline/monitor.h>
#include <ringline/msg.h>
#include <ringline/name.h>
#include <ringline/reason.h>
#include <ringline/request.h>
#include <ringline/shard.h>
#include <ringline/stats.h>
#include <ringline/supervisor.h>
#include <ringline/system.h>
#include <ringline/timer.h>
#include <ringline/tls.h>
#include <ringline/types.h>

#endif
