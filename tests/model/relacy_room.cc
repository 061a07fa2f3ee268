/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Want room and return with the orders of C11: one shard sends more blocks than it has, the other
 * sends them home, both sleep. The same as room.pml, which knows the order of x86-64 only, with one
 * actor.
 */
#include "relacy.h"

enum broken {
	NONE,
	/* not broken, but cheaper: this must hold, too */
	RELAXED_WANT, /* the fence after it orders the store */
	/* broken */
	NO_RETURN_FENCE,
	NO_WANT_FENCE,
	NO_WANT_LOOK,
	CLEAR_WITHOUT_ROOM,
	RELAXED_RETURN, /* the block is filled again while it is read */
};

static const char *const names[] = {
	"none",		"relaxed_want",	      "no_return_fence", "no_want_fence",
	"no_want_look", "clear_without_room", "relaxed_return",	 NULL,
};

static enum broken how;

enum {
	OWNER,
	PEER,
	BLOCKS = 1,
	MESSAGES = 3,
	TURNS_MAX = 4 * MESSAGES + 2
};

struct room_test : rl::test_suite<room_test, 2> {
	rl::var<unsigned> blocks[BLOCKS];
	rl::atomic<unsigned> forward; /* how many blocks were pushed */
	rl::atomic<unsigned> reverse; /* how many were returned */
	rl::atomic<unsigned> want_room;
	rl::atomic<unsigned> inbound[2];
	rl::atomic<unsigned> sleeping[2];
	kernel_wait kernel[2];
	/* the owner's own */
	unsigned home;
	unsigned sent;
	bool wants;
	bool waits; /* the actor was told -EAGAIN */

	void before()
	{
		forward($) = 0;
		reverse($) = 0;
		want_room($) = 0;
		for (unsigned i = 0; i < 2; i++) {
			inbound[i]($) = 0;
			sleeping[i]($) = 0;
			kernel[i].open();
		}
		home = 0;
		sent = 0;
		wants = false;
		waits = false;
	}

	void after()
	{
		kernel[OWNER].close();
		kernel[PEER].close();
	}

	void thread(unsigned index)
	{
		if (index == OWNER) {
			owner();
		} else {
			peer();
		}
	}

	/* mesh_mark() and rli_wake() */
	void mark_and_wake(unsigned other)
	{
		inbound[other].fetch_or(1, mo_seq_cst, $);
		rl::atomic_thread_fence(mo_seq_cst, $);
		if (sleeping[other].load(mo_relaxed, $) != 0 &&
		    sleeping[other].exchange(0, mo_seq_cst, $) != 0) {
			kernel[other].wake();
		}
	}

	void sleep_unless_marked(unsigned self)
	{
		sleeping[self].store(1, mo_seq_cst, $);
		rl::atomic_thread_fence(mo_seq_cst, $);
		if (inbound[self].load(mo_relaxed, $) == 0) {
			kernel[self].wait();
		}
	}

	bool was_marked(unsigned self)
	{
		return inbound[self].load(mo_relaxed, $) != 0 &&
		       inbound[self].exchange(0, mo_acq_rel, $) != 0;
	}

	bool has_free()
	{
		return sent - home < BLOCKS;
	}

	/* mesh_collect() */
	void collect()
	{
		home = reverse.load(mo_acquire, $);
	}

	/* mesh_want() */
	void want()
	{
		if (!wants) {
			wants = true;
			want_room.store(1, how == RELAXED_WANT ? mo_relaxed : mo_seq_cst, $);
			if (how != NO_WANT_FENCE) {
				rl::atomic_thread_fence(mo_seq_cst, $);
			}
		}
		if (how != NO_WANT_LOOK) {
			collect();
		}
	}

	void bring_home()
	{
		collect();
		if (wants && (!waits || how == CLEAR_WITHOUT_ROOM)) {
			wants = false;
			want_room.store(0, mo_relaxed, $);
		}
		if (has_free()) {
			waits = false; /* ROOM */
		}
	}

	void send()
	{
		collect();
		if (!has_free()) {
			want();
		}
		if (!has_free()) {
			waits = true;
			return;
		}
		blocks[sent % BLOCKS]($) = sent + 1;
		sent++;
		forward.store(sent, mo_release, $);
		mark_and_wake(PEER);
	}

	void owner()
	{
		for (unsigned turns = 1;; turns++) {
			RL_ASSERT(turns <= TURNS_MAX);
			sleeping[OWNER].store(0, mo_relaxed, $);
			if (was_marked(OWNER)) {
				bring_home();
			}
			while (sent < MESSAGES && !waits) {
				send();
			}
			if (sent == MESSAGES) {
				return;
			}
			sleep_unless_marked(OWNER);
		}
	}

	void peer()
	{
		unsigned taken = 0;

		for (unsigned turns = 1;; turns++) {
			RL_ASSERT(turns <= TURNS_MAX);
			sleeping[PEER].store(0, mo_relaxed, $);
			if (was_marked(PEER)) {
				while (forward.load(mo_acquire, $) != taken) {
					RL_ASSERT(blocks[taken % BLOCKS]($) == taken + 1);
					taken++;
					give_back(taken);
				}
			}
			if (taken == MESSAGES) {
				return;
			}
			sleep_unless_marked(PEER);
		}
	}

	/* rli_mesh_return() */
	void give_back(unsigned taken)
	{
		reverse.store(taken, how == RELAXED_RETURN ? mo_relaxed : mo_release, $);
		if (how != NO_RETURN_FENCE) {
			rl::atomic_thread_fence(mo_seq_cst, $);
		}
		if (want_room.load(mo_relaxed, $) != 0) {
			mark_and_wake(OWNER);
		}
	}
};

int
main(int argc, char **argv)
{
	int number = variant_number(names, argc, argv);

	if (number < 0) {
		return 2;
	}
	how = (enum broken)number;
	return run_schedules<room_test>();
}
