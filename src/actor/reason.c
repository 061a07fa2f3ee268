/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The names of reasons, as RL_MSG_STOP's users, the counters and the logs spell them.
 */
#include <ringline/reason.h>

#include <stddef.h>

static const char *const reason_names[] = {
	[RL_REASON_PEER_FIN] = "peer_fin",
	[RL_REASON_PEER_RST] = "peer_rst",
	[RL_REASON_LOCAL] = "local",
	[RL_REASON_FAILURE] = "failure",
	[RL_REASON_LIMIT] = "limit",
	[RL_REASON_MEMORY] = "memory",
	[RL_REASON_TLS] = "tls",
	[RL_REASON_TLS_TRUNCATED] = "tls_truncated",
	[RL_REASON_SHUTDOWN] = "shutdown",
	[RL_REASON_TIMEOUT_IDLE] = "timeout_idle",
	[RL_REASON_TIMEOUT_FIRST_BYTE] = "timeout_first_byte",
	[RL_REASON_TIMEOUT_HANDSHAKE] = "timeout_handshake",
	[RL_REASON_TIMEOUT_CONNECT] = "timeout_connect",
	[RL_REASON_TIMEOUT_STALL] = "timeout_stall",
	[RL_REASON_TIMEOUT_LINGER] = "timeout_linger",
	[RL_REASON_TIMEOUT_DRAIN] = "timeout_drain",
	[RL_REASON_GONE] = "gone",
	[RL_REASON_LINKED] = "linked",
	[RL_REASON_RESOLVE] = "resolve",
	[RL_REASON_TIMEOUT_OUTPUT] = "timeout_output",
	[RL_REASON_EVICTED] = "evicted",
};

_Static_assert(sizeof(reason_names) / sizeof(reason_names[0]) == RL_REASON_COUNT,
	       "every reason has a name");

const char *
rl_reason_name(enum rl_reason reason)
{
	/* Through an unsigned: a caller may have any int in there. */
	if ((unsigned int)reason >= RL_REASON_COUNT) {
		return "unknown";
	}
	return reason_names[reason];
}
