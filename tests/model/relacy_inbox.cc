/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The foreign inbox (src/mailbox/inbox.c) with the orders of C11: two producers and the shard on a
 * ring of two slots, and on the list of control requests. What was pushed is popped once, whole,
 * and in order for each producer. Nobody sleeps here: how the shard learns of a push is
 * relacy_sleep.cc.
 */
#include "relacy.h"

enum broken {
	NONE,
	RELAXED_PUBLISH, /* an envelope is read while it is written */
	RELAXED_FREE, /* or overwritten while it is read */
	RELAXED_POP,
	RELAXED_RESERVE,
	PLAIN_TAIL, /* a position is taken by a store: two producers may get it */
	RELAXED_CONTROL_PUSH,
	RELAXED_CONTROL_TAKE,
};

static const char *const names[] = {
	"none",
	"relaxed_publish",
	"relaxed_free",
	"relaxed_pop",
	"relaxed_reserve",
	"plain_tail",
	"relaxed_control_push",
	"relaxed_control_take",
	NULL,
};

static enum broken how;

enum {
	PRODUCERS = 2,
	SHARD = PRODUCERS,
	ENVELOPES = 2,
	PUSHES = 3,
	LOOKS = 4
};

struct control {
	rl::var<control *> next;
	unsigned producer;
};

struct inbox_test : rl::test_suite<inbox_test, PRODUCERS + 1> {
	struct {
		rl::atomic<unsigned> sequence;
		rl::var<unsigned> envelope;
	} slots[ENVELOPES];
	rl::atomic<unsigned> tail;
	rl::atomic<control *> controls;
	control requests[PRODUCERS];
	/* each touched by one thread */
	unsigned head;
	unsigned pushed[PRODUCERS];
	unsigned popped[PRODUCERS];
	unsigned taken;

	void before()
	{
		for (unsigned i = 0; i < ENVELOPES; i++) {
			slots[i].sequence($) = i;
		}
		tail($) = 0;
		controls($) = NULL;
		for (unsigned i = 0; i < PRODUCERS; i++) {
			requests[i].producer = i;
			pushed[i] = 0;
			popped[i] = 0;
		}
		head = 0;
		taken = 0;
	}

	void after()
	{
		look();
		look();
		for (unsigned i = 0; i < PRODUCERS; i++) {
			RL_ASSERT(popped[i] == pushed[i]);
		}
		RL_ASSERT(pushed[0] + pushed[1] >= ENVELOPES);
		RL_ASSERT(taken == 3);
	}

	void thread(unsigned index)
	{
		if (index == SHARD) {
			for (unsigned i = 0; i < LOOKS; i++) {
				look();
			}
			return;
		}
		for (unsigned i = 0; i < PUSHES; i++) {
			/* what an envelope says: whose it is, and the how manieth */
			if (push(index * 16 + pushed[index] + 1)) {
				pushed[index]++;
			}
		}
		control_push(&requests[index]);
	}

	/* inbox_reserve() */
	bool reserve(unsigned *position)
	{
		unsigned at = tail.load(mo_relaxed, $);

		for (;;) {
			unsigned sequence = slots[at % ENVELOPES].sequence.load(
				how == RELAXED_RESERVE ? mo_relaxed : mo_acquire, $);

			if (sequence == at) {
				*position = at;
				if (how == PLAIN_TAIL) {
					tail.store(at + 1, mo_relaxed, $);
					return true;
				}
				if (tail.compare_exchange_weak(at, at + 1, mo_relaxed, $,
							       mo_relaxed, $)) {
					return true;
				}
			} else if (sequence < at) {
				return false;
			} else {
				at = tail.load(mo_relaxed, $);
			}
		}
	}

	/* rli_inbox_push() */
	bool push(unsigned envelope)
	{
		unsigned position = 0;

		if (!reserve(&position)) {
			return false;
		}
		slots[position % ENVELOPES].envelope($) = envelope;
		slots[position % ENVELOPES].sequence.store(
			position + 1, how == RELAXED_PUBLISH ? mo_relaxed : mo_release, $);
		return true;
	}

	/* rli_inbox_pop() */
	bool pop(unsigned *envelope)
	{
		if (slots[head % ENVELOPES].sequence.load(
			    how == RELAXED_POP ? mo_relaxed : mo_acquire, $) != head + 1) {
			return false;
		}
		*envelope = slots[head % ENVELOPES].envelope($);
		slots[head % ENVELOPES].sequence.store(
			head + ENVELOPES, how == RELAXED_FREE ? mo_relaxed : mo_release, $);
		head++;
		return true;
	}

	/* rli_inbox_control_push() */
	void control_push(control *request)
	{
		control *newest = controls.load(mo_relaxed, $);

		do {
			request->next($) = newest;
		} while (!controls.compare_exchange_weak(
			newest, request, how == RELAXED_CONTROL_PUSH ? mo_relaxed : mo_release, $,
			mo_relaxed, $));
	}

	/* rli_inbox_control_take() */
	void control_take()
	{
		control *request;

		if (controls.load(mo_relaxed, $) == NULL) {
			return;
		}
		request = controls.exchange(
			NULL, how == RELAXED_CONTROL_TAKE ? mo_relaxed : mo_acquire, $);
		while (request != NULL) {
			taken += request->producer + 1;
			request = request->next($);
		}
	}

	/* Phase 2 of a turn. */
	void look()
	{
		unsigned envelope = 0;

		control_take();
		while (pop(&envelope)) {
			unsigned producer = envelope / 16;

			RL_ASSERT(envelope % 16 == popped[producer] + 1);
			popped[producer]++;
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
	return run_schedules<inbox_test>();
}
