/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The fault menu. A row with chance 0 is something that happens by itself and is only counted.
 *
 * Swarm: a seed with everything switched on hits the same shallow bugs over and over, because no
 * run gets far; so each seed leaves about half of the rows out and draws the others' chances
 * anew.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sim_world.h"

struct fault_row {
	const char *name;
	uint32_t chance; /* in 65536, each time that it could happen */
};

static const struct fault_row fault_rows[SIM_FAULTS] = {
	[FAULT_ENTER_PARTIAL] = { "enter_partial", 16000 },
	[FAULT_ENTER_EINTR] = { "enter_eintr", 3000 },
	[FAULT_ENTER_EAGAIN] = { "enter_eagain", 2000 },
	[FAULT_ENTER_EBUSY] = { "enter_ebusy", 2000 },
	[FAULT_ENTER_ETIME] = { "enter_etime", 3000 },
	[FAULT_ENTER_SPURIOUS] = { "enter_spurious", 4000 },
	[FAULT_SQ_FULL] = { "sq_full", 6000 },
	[FAULT_TIME_JUMP] = { "time_jump", 60 },
	[FAULT_FOREIGN] = { "foreign_thread", 1500 },
	[FAULT_CQ_SMALL] = { "cq_small", 16000 },
	[FAULT_CQ_OVERFLOW] = { "cq_overflow", 0 },
	[FAULT_CQ_ORDER] = { "cq_order", 40000 },
	[FAULT_CQ_LATE] = { "cq_late", 20000 },
	[FAULT_CQ_ASYNC] = { "cq_async", 24000 },
	[FAULT_ACCEPT_EMFILE] = { "accept_emfile", 4000 },
	[FAULT_ACCEPT_ENFILE] = { "accept_enfile", 2000 },
	[FAULT_ACCEPT_ENOMEM] = { "accept_enomem", 2000 },
	[FAULT_ACCEPT_ENOBUFS] = { "accept_enobufs", 2000 },
	[FAULT_ACCEPT_EACCES] = { "accept_eacces", 1000 },
	[FAULT_ACCEPT_ECONNABORTED] = { "accept_econnaborted", 4000 },
	[FAULT_ACCEPT_EPERM] = { "accept_eperm", 2000 },
	[FAULT_ACCEPT_NETWORK] = { "accept_network", 3000 },
	[FAULT_ACCEPT_EINTR] = { "accept_eintr", 3000 },
	[FAULT_ACCEPT_RESET] = { "accept_reset", 3000 },
	[FAULT_POLL_SPURIOUS] = { "poll_spurious", 300 },
	[FAULT_RECV_ONE_BYTE] = { "recv_one_byte", 12000 },
	[FAULT_RECV_CHUNK] = { "recv_chunk", 16000 },
	[FAULT_RECV_NO_MORE] = { "recv_no_more", 6000 },
	[FAULT_RECV_ENOBUFS] = { "recv_enobufs", 2000 },
	[FAULT_RECV_EMPTY_RING] = { "recv_empty_ring", 0 },
	[FAULT_RECV_CQ_FULL] = { "recv_cq_full", 0 },
	[FAULT_RECV_ECONNRESET] = { "recv_econnreset", 0 },
	[FAULT_RECV_ETIMEDOUT] = { "recv_etimedout", 120 },
	[FAULT_RECV_EINTR] = { "recv_eintr", 400 },
	[FAULT_RECV_ECANCELED] = { "recv_ecanceled", 300 },
	[FAULT_RECV_AFTER_CANCEL] = { "recv_after_cancel", 30000 },
	[FAULT_SEND_SHORT] = { "send_short", 6000 },
	[FAULT_SEND_CHUNK] = { "send_chunk", 16000 },
	[FAULT_SEND_EAGAIN] = { "send_eagain", 1000 },
	[FAULT_SEND_EPIPE] = { "send_epipe", 120 },
	[FAULT_SEND_ECONNRESET] = { "send_econnreset", 120 },
	[FAULT_SEND_ENOBUFS] = { "send_enobufs", 500 },
	[FAULT_SEND_ENOMEM] = { "send_enomem", 500 },
	[FAULT_SEND_ECANCELED] = { "send_ecanceled", 200 },
	[FAULT_SEND_CANCELLED_PART] = { "send_cancelled_part", 0 },
	[FAULT_SEND_ERROR_LOST] = { "send_error_lost", 0 },
	[FAULT_CANCEL_ENOENT] = { "cancel_enoent", 0 },
	[FAULT_CANCEL_EALREADY] = { "cancel_ealready", 8000 },
	[FAULT_CANCEL_LATE] = { "cancel_late", 24000 },
	[FAULT_CANCEL_MISSED] = { "cancel_missed", 16000 },
	[FAULT_CLOSE_EIO] = { "close_eio", 3000 },
	[FAULT_SHUTDOWN_ENOTCONN] = { "shutdown_enotconn", 0 },
	[FAULT_UNSPEC_EINTR] = { "unspec_eintr", 3000 },
	[FAULT_CONNECT_REFUSED] = { "connect_refused", 0 },
	[FAULT_CONNECT_BLACK_HOLE] = { "connect_black_hole", 6000 },
	[FAULT_CONNECT_ENETUNREACH] = { "connect_enetunreach", 3000 },
	[FAULT_CONNECT_RACE] = { "connect_race", 0 },
	[FAULT_LOOKUP_FAILS] = { "lookup_fails", 6000 },
	[FAULT_LOOKUP_LATE] = { "lookup_late", 6000 },
	[FAULT_LOOKUP_ENDLESS] = { "lookup_endless", 3000 },
	[FAULT_LINK_CUT] = { "link_cut", 30000 },
	[FAULT_WAKE_SPURIOUS] = { "wake_spurious", 300 },
	[FAULT_WAKE_READ_FAILS] = { "wake_read_fails", 3000 },
	[FAULT_WAKE_NEEDLESS] = { "wake_needless", 3000 },
	[FAULT_MSG_RING_EOVERFLOW] = { "msg_ring_eoverflow", 4000 },
	[FAULT_MSG_RING_ENOMEM] = { "msg_ring_enomem", 4000 },
	[FAULT_MSG_RING_EBADFD] = { "msg_ring_ebadfd", 4000 },
	[FAULT_MSG_RING_LATE] = { "msg_ring_late", 16000 },
	[FAULT_MSG_RING_TWICE] = { "msg_ring_twice", 6000 },
	[FAULT_MSG_RING_SPURIOUS] = { "msg_ring_spurious", 300 },
	[FAULT_MESH_NO_ROOM] = { "mesh_no_room", 0 },
	[FAULT_MESH_HELD_BACK] = { "mesh_held_back", 0 },
	[FAULT_MESH_OBLIGED] = { "mesh_obliged", 0 },
	[FAULT_MESH_UNDELIVERED] = { "mesh_undelivered", 0 },
	[FAULT_REQUEST_TIMEOUT] = { "request_timeout", 0 },
	[FAULT_REPLY_LATE] = { "reply_late", 0 },
	[FAULT_SETUP_FAILS] = { "setup_fails", 600 },
	[FAULT_THREAD_FAILS] = { "thread_fails", 6000 },
	[FAULT_SETUP_FALLBACK] = { "setup_fallback", 12000 },
	[FAULT_REGISTER_FAILS] = { "register_fails", 400 },
	[FAULT_SOCKET_EMFILE] = { "socket_emfile", 3000 },
	[FAULT_MEMORY_ONCE] = { "memory_once", 1500 },
	[FAULT_MEMORY_GONE] = { "memory_gone", 3000 },
	[FAULT_PEER_HALF_CLOSE] = { "peer_half_close", 24000 },
	[FAULT_PEER_RST] = { "peer_rst", 8000 },
	[FAULT_PEER_ZERO_WINDOW] = { "peer_zero_window", 8000 },
	[FAULT_PEER_SILENT] = { "peer_silent", 6000 },
	[FAULT_PEER_ONE_BYTE] = { "peer_one_byte", 8000 },
	[FAULT_PEER_STORM] = { "peer_storm", 4000 },
	[FAULT_PEER_TALKS_ON] = { "peer_talks_on", 8000 },
	[FAULT_SPIN_TURN] = { "spin_turn", 16000 },
	[FAULT_LISTENER_BREAKS] = { "listener_breaks", 24000 },
	[FAULT_TLS_FLIP] = { "tls_flip", 6000 },
	[FAULT_TLS_JUNK] = { "tls_junk", 3000 },
	[FAULT_TLS_CUT] = { "tls_cut", 8000 },
	[FAULT_TLS_NO_NOTIFY] = { "tls_no_notify", 8000 },
	[FAULT_TLS_NEW_KEYS] = { "tls_new_keys", 24000 },
	[FAULT_TLS_OLD] = { "tls_old", 16000 },
	[FAULT_TLS_NO_CERT] = { "tls_no_cert", 3000 },
	[FAULT_TLS_BAD_CERT] = { "tls_bad_cert", 12000 },
	[FAULT_TLS_SHORT] = { "tls_short", 24000 },
	[FAULT_TLS_ASKS_SHORT] = { "tls_asks_short", 16000 },
	[FAULT_TLS_LONG] = { "tls_long", 24000 },
	[FAULT_TLS_AGAIN] = { "tls_again", 40000 },
	[FAULT_TLS_RESUMED_IN] = { "tls_resumed_in", 0 },
	[FAULT_TLS_RESUMED_OUT] = { "tls_resumed_out", 0 },
};

uint64_t sim_fault_fired[SIM_FAULTS];

void
sim_faults_none(void)
{
	memset(sim_world.fault_chance, 0, sizeof(sim_world.fault_chance));
}

void
sim_faults_swarm(void)
{
	for (int i = 0; i < SIM_FAULTS; i++) {
		uint64_t draw = sim_random();
		uint32_t chance = fault_rows[i].chance;

		/* a quarter, the usual, or four times as often */
		switch (draw >> 8 & 3) {
		case 0:
			chance = (chance + 3) / 4;
			break;
		case 3:
			chance = chance > 10000 ? 40000 : chance * 4;
			break;
		default:
			break;
		}
		sim_world.fault_chance[i] = draw & 1 ? chance : 0;
	}
}

void
sim_fault_set(enum sim_fault fault, uint32_t chance)
{
	sim_world.fault_chance[fault] = chance;
}

int
sim_fault_by_name(const char *name)
{
	for (int i = 0; i < SIM_FAULTS; i++) {
		if (strcmp(fault_rows[i].name, name) == 0) {
			return i;
		}
	}
	return -1;
}

const char *
sim_fault_name(enum sim_fault fault)
{
	return fault_rows[fault].name;
}

void
sim_fault_count(enum sim_fault fault)
{
	sim_fault_fired[fault]++;
	sim_event(fault_rows[fault].name, 0, 0);
}

bool
sim_fault(enum sim_fault fault)
{
	if (sim_world.healed || sim_world.fault_chance[fault] == 0 ||
	    !sim_chance(sim_world.fault_chance[fault])) {
		return false;
	}
	sim_fault_count(fault);
	return true;
}

void
sim_fault_table(void)
{
	printf("%-24s %12s\n", "fault", "fired");
	for (int i = 0; i < SIM_FAULTS; i++) {
		printf("%-24s %12" PRIu64 "\n", fault_rows[i].name, sim_fault_fired[i]);
	}
}
