/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Mutants: one-line bugs that tests must find, or the tests are worth nothing.
 *
 *	if (op_is_idle(op) && !RL_MUTANT(RECV_NOT_REARMED)) {
 *
 * In every build but one RL_MUTANT() is the constant false and costs nothing. With RL_MUTANTS,
 * which only the simulator's own copy of the library is compiled with, rli_mutant says which bug
 * is in.
 */
#ifndef RINGLINE_BASE_MUTANT_H
#define RINGLINE_BASE_MUTANT_H

#include <stdbool.h>

/* X(name, what the bug is) */
#define MUTANT_LIST(X)                                                        \
	X(RECV_NOT_REARMED, "an error ends receiving for good")               \
	X(UNIX_MULTISHOT, "a Unix stream's end is left to a multishot")       \
	X(BUFFER_RETURNED_TWICE, "a receive buffer goes home twice")          \
	X(BUFFER_LEAKED, "a receive buffer of a closing connection is kept")  \
	X(BUFFER_FLAG_UNCHECKED, "a buffer id counts without F_BUFFER")       \
	X(ENOBUFS_CLOSES, "an empty buffer ring fails the connection")        \
	X(UNPARK_FORGOTTEN, "who waits for a buffer waits for ever")          \
	X(EOF_OVERTAKES, "the end is told before the last bytes")             \
	X(PAUSE_IGNORED, "bytes are delivered while paused")                  \
	X(LEFTOVER_LOST, "what was left unconsumed does not come again")      \
	X(SHORT_SEND_IS_FULL, "a short send counts as a full one")            \
	X(TWO_SENDS, "a second send while one is in flight")                  \
	X(ARENA_RESET_EARLY, "iovecs are reused before the kernel read them") \
	X(FIN_OVERTAKES, "FIN leaves before the output")                      \
	X(WRITABLE_FORGOTTEN, "who was told HIGH is never told WRITABLE")     \
	X(CAP_IGNORED, "output grows beyond the cap")                         \
	X(SHARE_IGNORED, "one connection holds all of the send memory")       \
	X(FORWARD_NOT_HELD, "who can't forward is given more to forward")     \
	X(FORWARD_FORGOTTEN, "who waits to forward waits for ever")           \
	X(SHARE_NOT_GIVEN_BACK, "what left still counts as held")             \
	X(AUTO_PAUSE_IGNORED, "input is delivered above the high mark")       \
	X(LINGER_SKIPPED, "closes with unread input, which resets")           \
	X(CLOSE_UNDER_RECV, "closes under an armed receive")                  \
	X(CLOSE_TWICE, "a descriptor is closed twice")                        \
	X(CANCEL_ENDS_OP, "a cancel's completion ends the request")           \
	X(CONNECT_FREED_EARLY, "a connect is freed before its timeout ended") \
	X(ACCEPT_NOT_REARMED, "a failed accept is not tried again")           \
	X(ACCEPT_NO_BACKOFF, "a failed accept is tried again at once")        \
	X(HANDOVER_SILENT, "a shard is not woken for what it is handed")      \
	X(ROOM_NOT_TOLD, "an acceptor that waits for room is not told")       \
	X(ADDRESS_SHARED, "accepts share one address")                        \
	X(GENERATION_UNCHECKED, "a stale id names the next occupant")         \
	X(TIMER_SURVIVES_ACTOR, "an ended actor's timers live on")            \
	X(TIMER_SURVIVES_CONN, "a closed connection's deadline lives on")     \
	X(TIMER_EARLY, "a deadline is rounded down to its tick")              \
	X(MAILBOX_FULL_SILENT, "a message for a full mailbox is not counted") \
	X(NO_SECOND_LOOK, "sleeps without looking at the inbox again")        \
	X(WAKE_NOT_REARMED, "the eventfd is read only once")                  \
	X(SQ_FULL_LOST, "a request is lost when the queue is full")           \
	X(ROOM_NOT_WANTED, "who waits for a block does not say so")           \
	X(REPORT_FORGOTTEN, "an undelivered message does not ride home")      \
	X(LATE_REPLY_TAKEN, "a late reply answers the next request")          \
	X(INBOUND_NOT_LOOKED_AT, "sleeps without looking at others' marks")   \
	X(ALONE_FORGOTTEN, "who is ready alone is forgotten with the phase")  \
	X(MIXED_FORGOTTEN, "a message travels as a notification")             \
	X(BUF_HOME_FORGOTTEN, "references that join a waiting return vanish") \
	X(BUF_OF_UNDELIVERED_KEPT, "a message for nobody keeps its buffer")   \
	X(LISTENER_OUTLIVES_ACTOR, "who ends while it opens stays open")      \
	X(BUF_OF_LOST_KEPT, "a mailbox that is emptied keeps its buffers")    \
	X(SHARED_LETTER_KEPT, "whoever gets a copy of a letter keeps it too") \
	X(MARK_FORGOTTEN, "what is published is not marked")                  \
	X(WANT_NOT_LOOKED_AT, "a block that is waited for returns silently")  \
	X(HELD_BACK_FORGOTTEN, "a block that was held back stays for ever")   \
	X(REST_FORGOTTEN, "what is over the budget is not looked at again")   \
	X(OBLIGATION_OVERTAKEN, "the last that waits for room goes first")    \
	X(ROOM_TOLD_TO_ONE, "the others who wait for room are not told")      \
	X(WAKE_FAILURE_IGNORED, "a wake-up that failed is not made good")     \
	X(WAKE_WITHOUT_SQE, "a wake-up is lost when the queue is full")       \
	X(DOWN_TWICE, "the end of an actor is told twice")                    \
	X(DOWN_FORGOTTEN, "the end of an actor is not told")                  \
	X(DOWN_AFTER_DEMONITOR, "a DOWN that crosses a demonitor counts")     \
	X(PROMISE_NOT_BROKEN, "who ends owing a reply just does not answer")  \
	X(ACCEPT_DENIED_SPINS, "an accept that is always denied never waits") \
	X(SPIN_BLIND, "polling does not look at what others sent")            \
	X(SPIN_IS_ENOUGH, "who has polled sleeps without the second look")    \
	X(UNTIE_REST_FORGOTTEN, "an ended actor is untied in one part only")  \
	X(REPORTS_REST_FORGOTTEN, "reports are told in one turn or never")    \
	X(CUT_SPARES_THE_ENDING, "the drain's cut leaves who flushes alone")  \
	X(RATE_SAVED_UP, "what an accept rate left unused is saved up")       \
	X(PEER_NOT_GIVEN_BACK, "who has closed counts for its address still") \
	X(PEER_LEAKED, "who is refused counts for its address all the same")  \
	X(LOOKUP_NOT_TAKEN_BACK, "who ends is answered by the resolver")      \
	X(LOOKUP_FREED_EARLY, "who ends does not wait for a late answer")     \
	X(LOOKUP_TIMELESS, "the deadline does not run while it looks up")     \
	X(ADDRESSES_IGNORED, "only the first address of a host is tried")     \
	X(FENCE_IGNORED, "a request has a flag that the ring refuses")        \
	X(BROKEN_NOT_TOLD, "a listener's actor outlives its socket")          \
	X(RESTARTS_KEPT, "restarts of long ago count for ever")               \
	X(TLS_CUT_IS_EOF, "FIN alone is the end of a TLS stream")             \
	X(TLS_REST_FORGOTTEN, "the rest of a record is never delivered")      \
	X(TLS_BEHIND_LOST, "what comes behind the handshake's end is lost")   \
	X(TLS_TIMELESS, "a handshake has no deadline")                        \
	X(TLS_NO_NOTIFY, "a graceful end does not say close_notify")          \
	X(TLS_SPEAKS_ON, "records are made behind close_notify")              \
	X(TLS_STEPS_FORGOTTEN, "who gets no step of a turn waits for ever")   \
	X(TLS_LINE_KEEPS_BUFFERS, "handshakes wait in the receive buffers")   \
	X(TLS_LINE_SLEPT_OVER, "a shard sleeps with handshakes in line")      \
	X(TLS_TURN_TAKES_ALL, "requests come in before a handshake's step")   \
	X(TLS_TOLD_IN_VAIN, "who is told of memory is refused it again")

#define MUTANT_ENUM(name, what) MUTANT_##name,

enum mutant {
	MUTANT_NONE,
	MUTANT_LIST(MUTANT_ENUM) MUTANTS,
};

#ifdef RL_MUTANTS
extern unsigned rli_mutant;
#define RL_MUTANT(name) (rli_mutant == MUTANT_##name)
#else
#define RL_MUTANT(name) false
#endif

#endif
