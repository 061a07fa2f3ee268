/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Want room and return: a shard with too few blocks, the shard that sends them home, and both go to
 * sleep as in sleep.pml.
 *
 * Two actors of the owner send FIRST and SECOND blocks; who is told -EAGAIN waits for ROOM. The
 * owner stops at any time, which wants every block home. What is sent is finite and so, by the
 * assertions on turns, is every execution: then "nobody is ever stuck" means that every -EAGAIN was
 * followed by ROOM, that every block was taken and came home, and that the end comes.
 */
#ifndef FIRST
#define FIRST 2
#endif
#ifndef SECOND
#define SECOND 1
#endif
#ifndef BLOCKS
#define BLOCKS 1
#endif
#define ALL (FIRST + SECOND)

/* threads */
#define OWNER   0
#define PEER    1
#define THREADS 2

/* words of memory */
#define FORWARD  0 /* how many blocks were pushed to the forward ring, */
#define REVERSE  1 /* and to the reverse ring */
#define WANT     2
#define INBOUND  3 /* of the owner, of the peer */
#define SLEEPING 5
#define WORDS    7

#include "tso.pml"

#define BIT 1

/* Reasons for a turn, each good for one: wake-ups, marks, marks of one's own. */
#define OWNER_TURNS_MAX (1 + ALL + ALL + 1)
#define PEER_TURNS_MAX  (1 + ALL + ALL + ALL)

/* What is removed for a negative control. */
#ifdef NO_RETURN_FENCE
#define RETURN_FENCE skip
#else
#define RETURN_FENCE FENCE(PEER)
#endif
#ifdef NO_WANT_FENCE
#define WANT_FENCE skip
#else
#define WANT_FENCE FENCE(OWNER)
#endif

/* the kernel's side */
byte asked[THREADS];  /* requests to wake it, under way */
bool woken[THREADS];  /* one has arrived, or the eventfd was written */

/* mesh_mark() and rli_wake() */
inline mark_and_wake(me, other, owns)
{
	FETCH_OR(me, INBOUND + other, BIT);
	owns = LOAD(SLEEPING + other);
	if
	:: owns ->
		EXCHANGE(me, SLEEPING + other, 0, owns);
		if
		:: owns -> asked[other]++
		:: else
		fi
	:: else
	fi;
	owns = 0
}

/* The end of a turn: announce the sleep, look once more, wait. */
inline sleep_unless_marked(me)
{
	STORE(me, SLEEPING + me, 1);
	FENCE(me);
	if
	:: LOAD(INBOUND + me)
	:: else -> d_step { woken[me] -> woken[me] = false }
	fi
}

/* mesh_collect() */
inline collect()
{
	d_step { free = free + LOAD(REVERSE) - home; home = LOAD(REVERSE) }
}

/* mesh_want() */
inline want()
{
	if
	:: !wants ->
		wants = true;
		STORE(OWNER, WANT, 1);
		WANT_FENCE
	:: else
	fi;
#ifndef NO_WANT_LOOK
	collect()
#endif
}

/* rli_mesh_stage() and the flush at the turn's end, for an actor: 1 and 2 */
inline send(actor)
{
	collect();
	if
	:: free == 0 ->
		want();
#ifdef CLEAR_WHILE_OWED
		/* "if there is one, take it, and room is no longer wanted": somebody else's, too */
		if
		:: free > 0 -> wants = false; STORE(OWNER, WANT, 0)
		:: else
		fi
#endif
	:: else
	fi;
	if
	:: free == 0 -> waiters = waiters | actor; ready = ready & ~actor /* -EAGAIN */
	:: else ->
		free--;
		sent++;
		left[actor - 1]--;
		if
		:: left[actor - 1] == 0 -> ready = ready & ~actor
		:: else
		fi;
		STORE(OWNER, FORWARD, sent);
		mark_and_wake(OWNER, PEER, owns)
	fi
}

/*
 * rli_mesh_home(); whoever waits is told ROOM; and when nobody waits, room is wanted no more: at
 * once or when the next block comes home.
 */
inline bring_home()
{
#ifdef ROOM_ONLY_IF_CAME
	came = (LOAD(REVERSE) > home);
#endif
	collect();
	if
#ifdef ROOM_ONLY_IF_CAME
	:: free > 0 && came -> d_step { ready = ready | waiters; waiters = 0 }
#else
	:: free > 0 -> d_step { ready = ready | waiters; waiters = 0 }
#endif
	:: else
	fi;
	if
#ifdef CLEAR_WITHOUT_ROOM
	:: wants && !stopping -> wants = false; STORE(OWNER, WANT, 0)
#else
	:: wants && !stopping && waiters == 0 -> wants = false; STORE(OWNER, WANT, 0)
#endif
	:: true
	fi
}

proctype owner()
{
	byte turns;
	byte free = BLOCKS;
	byte home;    /* blocks that came back, ever */
	byte sent;
	byte ready = 3;
	byte waiters; /* bits of the actors that are owed ROOM */
	byte left[2];
	bool wants;
	bool stopping;
	bool marked;
	bool owns;
#ifdef ROOM_ONLY_IF_CAME
	bool came;
#endif

	left[0] = FIRST;
	left[1] = SECOND;
	do
	::
		turns++;
		assert(turns <= OWNER_TURNS_MAX);
		STORE(OWNER, SLEEPING + OWNER, 0);
		if
		:: LOAD(INBOUND + OWNER) ->
			EXCHANGE(OWNER, INBOUND + OWNER, 0, marked);
			marked = 0;
			bring_home()
		:: else
		fi;
		do
		:: ready & 1 -> send(1)
		:: ready & 2 -> send(2)
		:: ready == 0 -> break
		od;
		if
		:: !stopping -> stopping = true; want() /* rli_mesh_stop(), whenever */
		:: stopping || sent < ALL
		fi;
		if
		:: sent == ALL && free == BLOCKS -> break /* rli_mesh_is_home() */
		:: else
		fi;
		sleep_unless_marked(OWNER)
	od
}

proctype peer()
{
	byte turns;
	byte taken;
	bool marked;
	bool owns;

	do
	::
		turns++;
		assert(turns <= PEER_TURNS_MAX);
		STORE(PEER, SLEEPING + PEER, 0);
		if
		:: LOAD(INBOUND + PEER) ->
			EXCHANGE(PEER, INBOUND + PEER, 0, marked);
			marked = 0;
			if
			:: LOAD(FORWARD) > taken ->
				taken++;
				/* rli_mesh_return() */
				STORE(PEER, REVERSE, taken);
				RETURN_FENCE;
				if
				:: LOAD(WANT) -> mark_and_wake(PEER, OWNER, owns)
				:: else
				fi;
				if
				:: LOAD(FORWARD) > taken -> FETCH_OR(PEER, INBOUND + PEER, BIT)
				:: else
				fi
			:: else
			fi
		:: else
		fi;
		if
		:: taken == ALL -> break
		:: else
		fi;
		sleep_unless_marked(PEER)
	od
}

/* A request to wake takes its time; how one fails is sleep.pml. */
proctype kernel()
{
end:
	do
	:: d_step { asked[OWNER] > 0 -> asked[OWNER]--; woken[OWNER] = true }
	:: d_step { asked[PEER] > 0 -> asked[PEER]--; woken[PEER] = true }
	od
}

init
{
	atomic {
		run store_buffer(OWNER);
		run store_buffer(PEER);
		run kernel();
		run owner();
		run peer()
	}
}
