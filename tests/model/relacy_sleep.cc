/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Publish and sleep with the orders of C11: a shard and a foreign thread send, a shard sleeps. The
 * same as sleep.pml, which knows the order of x86-64 only. The ring is as large as what is sent:
 * how room is waited for is relacy_room.cc.
 */
#include "relacy.h"

enum broken {
	NONE,
	/* not broken, but cheaper: these must hold, too */
	RELAXED_SLEEPING, /* the fence after it orders the store */
	MESH_BY_SEQ_CST, /* no fence between mark and look, but seq_cst on all four accesses */
	/* broken */
	NO_MESH_FENCE,
	NO_FOREIGN_FENCE,
	NO_SLEEPER_FENCE,
	NO_SECOND_LOOK,
	NO_FALLBACK,
	NO_LOOK_AGAIN,
	RELAXED_MARK, /* the bit may be seen before the block */
	RELAXED_TAKE,
	RELAXED_PUSH,
};

static enum broken how;

static const char *const names[] = {
	"none",
	"relaxed_sleeping",
	"mesh_by_seq_cst",
	"no_mesh_fence",
	"no_foreign_fence",
	"no_sleeper_fence",
	"no_second_look",
	"no_fallback",
	"no_look_again",
	"relaxed_mark",
	"relaxed_take",
	"relaxed_push",
	NULL,
};

enum {
	MESSAGES = 2,
	PUSHES = 1,
	TURNS_MAX = 1 + 3 * MESSAGES + 2 * PUSHES
};

struct sleep_test : rl::test_suite<sleep_test, 3> {
	rl::var<unsigned> slots[MESSAGES];
	rl::atomic<unsigned> tail;
	rl::atomic<unsigned> inbound;
	rl::atomic<unsigned> sleeping;
	rl::var<unsigned> envelope;
	rl::atomic<unsigned> sequence; /* of the foreign inbox's slot */
	kernel_wait kernel;

	void before()
	{
		tail($) = 0;
		inbound($) = 0;
		sleeping($) = 0;
		sequence($) = 0;
		kernel.open();
	}

	void after()
	{
		kernel.close();
	}

	void thread(unsigned index)
	{
		switch (index) {
		case 0:
			sender();
			break;
		case 1:
			foreign();
			break;
		default:
			receiver();
			break;
		}
	}

	/* rli_sleep_claim() */
	bool claim(bool fenced)
	{
		if (fenced) {
			rl::atomic_thread_fence(mo_seq_cst, $);
		}
		return sleeping.load(how == MESH_BY_SEQ_CST ? mo_seq_cst : mo_relaxed, $) != 0 &&
		       sleeping.exchange(0, mo_seq_cst, $) != 0;
	}

	void sender()
	{
		for (unsigned i = 0; i < MESSAGES; i++) {
			slots[i]($) = i + 1;
			tail.store(i + 1, how == RELAXED_PUSH ? mo_relaxed : mo_release, $);
			inbound.fetch_or(1, how == RELAXED_MARK ? mo_relaxed : mo_seq_cst, $);
			if (claim(how != NO_MESH_FENCE && how != MESH_BY_SEQ_CST)) {
				/* rli_wake(): the kernel may refuse; then it is the eventfd */
				bool refused = rl::rand(2) == 1;

				if (!refused || how != NO_FALLBACK) {
					kernel.wake();
				}
			}
		}
	}

	void foreign()
	{
		envelope($) = 7;
		sequence.store(1, mo_release, $);
		if (claim(how != NO_FOREIGN_FENCE)) {
			kernel.wake();
		}
	}

	/* One block a turn. */
	void take_from_mesh(unsigned *taken)
	{
		if (inbound.load(mo_relaxed, $) == 0 ||
		    inbound.exchange(0, how == RELAXED_TAKE ? mo_relaxed : mo_acq_rel, $) == 0 ||
		    tail.load(mo_acquire, $) == *taken) {
			return;
		}
		RL_ASSERT(slots[*taken]($) == *taken + 1);
		++*taken;
		if (how != NO_LOOK_AGAIN && tail.load(mo_acquire, $) != *taken) {
			inbound.fetch_or(1, mo_relaxed, $);
		}
	}

	bool has_news(unsigned popped)
	{
		return inbound.load(how == MESH_BY_SEQ_CST ? mo_seq_cst : mo_relaxed, $) != 0 ||
		       sequence.load(mo_relaxed, $) != popped;
	}

	void receiver()
	{
		unsigned taken = 0;
		unsigned popped = 0;

		for (unsigned turns = 1;; turns++) {
			RL_ASSERT(turns <= TURNS_MAX);
			sleeping.store(0, mo_relaxed, $);
			if (sequence.load(mo_acquire, $) != popped) {
				RL_ASSERT(envelope($) == 7);
				popped++;
			}
			take_from_mesh(&taken);
			if (taken == MESSAGES && popped == PUSHES) {
				return;
			}
			sleeping.store(1, how == RELAXED_SLEEPING ? mo_relaxed : mo_seq_cst, $);
			if (how != NO_SLEEPER_FENCE) {
				rl::atomic_thread_fence(mo_seq_cst, $);
			}
			if (how == NO_SECOND_LOOK || !has_news(popped)) {
				kernel.wait();
			}
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
	return run_schedules<sleep_test>();
}
