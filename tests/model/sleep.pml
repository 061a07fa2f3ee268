/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Publish and sleep: a sending shard and a foreign thread against a shard that goes to sleep.
 *
 * The shard sends MESSAGES blocks through a ring of two; the foreign thread pushes an envelope and,
 * with DRAIN_TOO, asks for the end. The receiver takes at most one block a turn. What is sent
 * is finite and so, by the assertion on turns, is every execution: then "nobody is ever stuck" (no
 * invalid end state: above all, the receiver never waits in the kernel with something to do and no
 * wake-up under way) means that all that was sent is taken, in order, and the end comes.
 */
#ifndef MESSAGES
#define MESSAGES 2
#endif
#ifdef NO_FOREIGN
#define PUSHES 0
#else
#define PUSHES 1
#endif
#ifdef DRAIN_TOO
#define DRAINS 1
#else
#define DRAINS 0
#endif

/* threads */
#define SENDER   0
#define FOREIGN  1
#define RECEIVER 2
#define THREADS  3

/* words of memory */
#define SLOT0    0 /* the forward ring: two slots, */
#define SLOT1    1
#define TAIL     2 /* how many blocks went in, */
#define HEAD     3 /* and how many came out */
#define INBOUND  4
#define SLEEPING 5
#define INBOX    6 /* how many envelopes were published in the foreign inbox */
#define DRAIN    7
#define WORDS    8

#include "tso.pml"

#define BIT 1

/*
 * Each turn but the first has a reason, and no reason serves twice: a wake-up, a bit of the sender,
 * a bit that the receiver set again for itself, a push or the end.
 */
#define WAKEUPS_MAX (MESSAGES + PUSHES + DRAINS)
#define TURNS_MAX   (1 + WAKEUPS_MAX + 2 * MESSAGES + PUSHES + DRAINS)

/* What is removed for a negative control, or to prove that it is not needed. */
#ifdef NO_FOREIGN_FENCE
#define FOREIGN_FENCE skip
#else
#define FOREIGN_FENCE FENCE(FOREIGN)
#endif
#ifdef NO_MESH_FENCE
#define MESH_FENCE skip
#else
#define MESH_FENCE FENCE(SENDER)
#endif
#ifdef PLAIN_MARK
#define MARK STORE(SENDER, INBOUND, BIT)
#else
#define MARK FETCH_OR(SENDER, INBOUND, BIT)
#endif
#ifdef NO_SLEEPER_FENCE
#define SLEEPER_FENCE skip
#else
#define SLEEPER_FENCE FENCE(RECEIVER)
#endif
#ifdef NO_SECOND_LOOK
#define NEWS false
#else
#define NEWS (LOAD(INBOUND) != 0 || LOAD(INBOX) > popped || LOAD(DRAIN) > drain)
#endif

/* the kernel's side */
byte asked;    /* requests to wake the receiver (MSG_RING) under way */
bool cqe;      /* one has arrived */
bool eventfd;  /* written, and not read */

/* rli_sleep_claim() after its fence: whoever exchanges 1 for 0 owns the wake-up. */
inline claim(thread, owns)
{
	owns = LOAD(SLEEPING);
	if
	:: owns -> EXCHANGE(thread, SLEEPING, 0, owns)
	:: else
	fi
}

proctype sender()
{
	byte sent;
	bool owns;

	do
	:: sent < MESSAGES && LOAD(HEAD) + 2 > sent -> /* how blocks come home is room.pml */
		sent++;
		STORE(SENDER, SLOT0 + sent % 2, sent);
		STORE(SENDER, TAIL, sent);
		MARK;
		MESH_FENCE;
		claim(SENDER, owns);
		if
		:: owns -> asked++
		:: else
		fi
	:: sent == MESSAGES -> break
	od
}

#ifndef NO_FOREIGN
proctype foreign()
{
	byte pushed;
	bool owns;

	do
	:: pushed < PUSHES + DRAINS ->
		pushed++;
		if
		:: pushed <= PUSHES -> STORE(FOREIGN, INBOX, pushed); FOREIGN_FENCE
#ifdef DRAIN_TOO
		:: else -> FETCH_OR(FOREIGN, DRAIN, 1) /* rl_system_drain() */
#endif
		fi;
		claim(FOREIGN, owns);
		if
		:: owns -> eventfd = true
		:: else
		fi
	:: else -> break
	od
}
#endif

/*
 * A request to wake takes its time, and may fail: then its owner writes the eventfd, some time
 * later.
 */
proctype kernel()
{
end:
	do
	:: asked > 0 ->
		if
		:: d_step { cqe = true; asked-- }
#ifdef NO_FALLBACK
		:: asked--
#else
		:: d_step { eventfd = true; asked-- }
#endif
		fi
	od
}

proctype receiver()
{
	byte turns;
	byte taken;
	byte popped;
	bool drain;
	bool marked;

	do
	::
		turns++;
		assert(turns <= TURNS_MAX);
		STORE(RECEIVER, SLEEPING, 0); /* rli_sleep_end() */

		/* a turn: what foreign threads sent */
		popped = LOAD(INBOX);

		/* one block of what the other shard sent */
		if
		:: LOAD(INBOUND) ->
			EXCHANGE(RECEIVER, INBOUND, 0, marked);
			if
			:: marked && LOAD(TAIL) > taken ->
				taken++;
				assert(LOAD(SLOT0 + taken % 2) == taken);
				STORE(RECEIVER, HEAD, taken);
#ifndef NO_LOOK_AGAIN
				if
				:: LOAD(TAIL) > taken -> FETCH_OR(RECEIVER, INBOUND, BIT)
				:: else
				fi
#endif
			:: else
			fi;
			marked = 0
		:: else
		fi;

		/* the end */
		drain = LOAD(DRAIN);
		if
		:: drain == DRAINS && taken == MESSAGES && popped == PUSHES -> break
		:: else
		fi;

		/* rli_sleep_begin(), and the second look */
		STORE(RECEIVER, SLEEPING, 1);
		SLEEPER_FENCE;
		if
		:: NEWS
		:: else -> d_step { cqe || eventfd -> cqe = false; eventfd = false }
		fi
	od
}

init
{
	atomic {
		run store_buffer(SENDER);
		run store_buffer(FOREIGN);
		run store_buffer(RECEIVER);
		run kernel();
		run sender();
#ifndef NO_FOREIGN
		run foreign();
#endif
		run receiver()
	}
}
