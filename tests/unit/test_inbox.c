/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: nothing is lost, doubled or reordered per producer; when full, controls get through.
 * How: by hand in one thread, then four producers against one consumer, all elements numbered.
 * Not: waking the consumer (shard/sleep.c); every interleaving there is (a model would). */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "mailbox/inbox.h"
#include "unit_memory.h"

#define PRODUCERS   4
#define MESSAGES    100000
#define CONTROLS    2000
#define DEADLINE_NS ((uint64_t)60 * 1000000000)

static struct envelope
make(uint32_t producer, uint64_t sequence)
{
	struct envelope envelope = { .to = sequence, .from = producer, .kind = 256, .len = 32 };

	/* All of the payload depends on both, so a torn copy shows. */
	memset(envelope.payload, (int)((sequence * PRODUCERS + producer) & 0xff),
	       sizeof(envelope.payload));
	return envelope;
}

static void
check(const struct envelope *envelope, uint32_t producer, uint64_t sequence)
{
	struct envelope expected = make(producer, sequence);

	assert_int_equal(envelope->from, producer);
	assert_int_equal(envelope->to, sequence);
	assert_int_equal(envelope->kind, expected.kind);
	assert_int_equal(envelope->len, expected.len);
	assert_memory_equal(envelope->payload, expected.payload, sizeof(expected.payload));
}

static void
inbox_created_is_empty(void **state)
{
	struct inbox *inbox = rli_inbox_create();
	struct envelope envelope;

	(void)state;
	assert_non_null(inbox);
	assert_true(rli_inbox_is_empty(inbox));
	assert_false(rli_inbox_pop(inbox, &envelope));
	assert_null(rli_inbox_control_take(inbox));
	rli_inbox_destroy(inbox);
	rli_inbox_destroy(NULL);
}

static void
inbox_without_memory_is_null(void **state)
{
	size_t pages;

	(void)state;
	/* None for the reservation, then none for what is in it. */
	for (pages = 0; unit_memory_can_fail() && pages < 2; pages++) {
		struct rlimit before = unit_memory_begin(pages);
		struct inbox *inbox = rli_inbox_create();

		unit_memory_end(before);
		assert_null(inbox);
	}
}

/* Around the ring several times, so that every slot is used again, and full at every position. */
static void
inbox_full_answers_eagain_and_keeps_order(void **state)
{
	struct inbox *inbox = rli_inbox_create();
	uint64_t pushed = 0;
	uint64_t popped = 0;
	struct envelope envelope;
	uint32_t round;

	(void)state;
	assert_non_null(inbox);
	for (round = 0; round < 1500; round++) {
		uint32_t drain = round % 100 == 99 ? INBOX_ENVELOPES : 3;

		while (pushed - popped < INBOX_ENVELOPES) {
			envelope = make(round % PRODUCERS, pushed);
			envelope.from = 0;
			assert_int_equal(rli_inbox_push(inbox, &envelope), 0);
			assert_false(rli_inbox_is_empty(inbox));
			pushed++;
		}
		assert_int_equal(rli_inbox_push(inbox, &envelope), -EAGAIN);
		for (; drain > 0; drain--) {
			assert_true(rli_inbox_pop(inbox, &envelope));
			assert_int_equal(envelope.to, popped);
			popped++;
		}
		assert_int_equal(rli_inbox_is_empty(inbox), pushed == popped);
	}
	rli_inbox_destroy(inbox);
}

static void
inbox_controls_come_in_order_beside_a_full_ring(void **state)
{
	struct inbox *inbox = rli_inbox_create();
	struct envelope envelope = make(0, 0);
	struct control controls[100];
	struct control *control;
	uint32_t i;

	(void)state;
	assert_non_null(inbox);
	while (rli_inbox_push(inbox, &envelope) == 0) {
	}
	for (i = 0; i < 100; i++) {
		controls[i].kind = i;
		rli_inbox_control_push(inbox, &controls[i]);
	}
	control = rli_inbox_control_take(inbox);
	for (i = 0; i < 100; i++) {
		assert_ptr_equal(control, &controls[i]);
		assert_int_equal(control->kind, i);
		control = control->next;
	}
	assert_null(control);
	assert_null(rli_inbox_control_take(inbox));

	while (rli_inbox_pop(inbox, &envelope)) {
	}
	assert_true(rli_inbox_is_empty(inbox));
	rli_inbox_control_push(inbox, &controls[0]);
	assert_false(rli_inbox_is_empty(inbox));
	assert_ptr_equal(rli_inbox_control_take(inbox), &controls[0]);
	assert_true(rli_inbox_is_empty(inbox));
	rli_inbox_destroy(inbox);
}

struct stress_control {
	struct control control; /* first: the list hands out its address */
	uint32_t producer;
	_Atomic bool answered;
};

struct stress {
	struct inbox *inbox;
	pthread_barrier_t barrier;
	struct stress_control controls[PRODUCERS][CONTROLS];
	int room; /* a semaphore: posted to when something was consumed and somebody waits */
	_Atomic uint32_t waiting;
	_Atomic uint64_t refused;
	_Atomic bool late;
};

struct stress_producer {
	struct stress *stress;
	uint32_t number;
};

/* A producer waits until the consumer got on. False: too late, give up. */
static bool
stress_wait(struct stress *stress, uint64_t deadline_ns)
{
	struct pollfd room = { .fd = stress->room, .events = POLLIN };
	uint64_t one;

	atomic_fetch_add(&stress->waiting, 1);
	if (poll(&room, 1, 100) == 1) {
		(void)!read(stress->room, &one,
			    sizeof(one)); /* another one may have been quicker */
	}
	atomic_fetch_sub(&stress->waiting, 1);
	if (rli_host_now_ns() > deadline_ns) {
		atomic_store(&stress->late, true);
	}
	return !atomic_load(&stress->late);
}

static void *
stress_produce(void *arg)
{
	struct stress_producer *producer = arg;
	struct stress *stress = producer->stress;
	uint64_t deadline_ns = rli_host_now_ns() + DEADLINE_NS;
	uint64_t sequence;

	(void)pthread_barrier_wait(&stress->barrier);
	for (sequence = 0; sequence < MESSAGES; sequence++) {
		struct envelope envelope = make(producer->number, sequence);

		while (rli_inbox_push(stress->inbox, &envelope) != 0) {
			atomic_fetch_add(&stress->refused, 1);
			if (!stress_wait(stress, deadline_ns)) {
				return NULL;
			}
		}
		if (sequence % (MESSAGES / CONTROLS) == 0) {
			uint64_t i = sequence / (MESSAGES / CONTROLS);
			struct stress_control *control = &stress->controls[producer->number][i];

			control->producer = producer->number;
			control->control.kind = (uint32_t)i;
			rli_inbox_control_push(stress->inbox, &control->control);
			/* Now and then as the system does: wait for the answer, then reuse. */
			while (i % 64 == 0 && !atomic_load(&control->answered) &&
			       stress_wait(stress, deadline_ns)) {
			}
		}
	}
	return NULL;
}

/* What the consumer has seen of each producer. */
struct stress_seen {
	uint64_t messages[PRODUCERS];
	uint64_t controls[PRODUCERS];
	uint64_t total;
	uint64_t posted; /* the total when waiting producers were told last */
};

static void
stress_consume(struct stress *stress, struct stress_seen *seen)
{
	struct control *control = rli_inbox_control_take(stress->inbox);
	struct envelope envelope;
	uint32_t batch;

	while (control != NULL) {
		struct stress_control *mine = (struct stress_control *)control;

		control = control->next; /* once answered, the memory is the producer's */
		assert_in_range(mine->producer, 0, PRODUCERS - 1);
		assert_int_equal(mine->control.kind, seen->controls[mine->producer]);
		seen->controls[mine->producer]++;
		seen->total++;
		atomic_store(&mine->answered, true);
	}
	for (batch = 0; batch < 300 && rli_inbox_pop(stress->inbox, &envelope); batch++) {
		uint64_t producer = envelope.from;

		assert_in_range(producer, 0, PRODUCERS - 1);
		check(&envelope, (uint32_t)producer, seen->messages[producer]);
		seen->messages[producer]++;
		seen->total++;
	}
}

static void
inbox_four_producers_lose_double_and_reorder_nothing(void **state)
{
	static struct stress stress;
	struct stress_producer producers[PRODUCERS];
	struct stress_seen seen = { 0 };
	uint64_t deadline_ns = rli_host_now_ns() + DEADLINE_NS;
	pthread_t threads[PRODUCERS];
	uint32_t i;

	(void)state;
	stress.room = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(stress.room >= 0);
	stress.inbox = rli_inbox_create();
	assert_non_null(stress.inbox);
	assert_int_equal(pthread_barrier_init(&stress.barrier, NULL, PRODUCERS + 1), 0);
	for (i = 0; i < PRODUCERS; i++) {
		producers[i] = (struct stress_producer){ &stress, i };
		assert_int_equal(pthread_create(&threads[i], NULL, stress_produce, &producers[i]),
				 0);
	}
	(void)pthread_barrier_wait(&stress.barrier);
	while (seen.total < (uint64_t)PRODUCERS * (MESSAGES + CONTROLS)) {
		stress_consume(&stress, &seen);
		if (seen.total != seen.posted && atomic_load(&stress.waiting) > 0) {
			uint64_t all = PRODUCERS;

			seen.posted = seen.total;
			assert_int_equal(write(stress.room, &all, sizeof(all)), sizeof(all));
		}
		assert_true(rli_host_now_ns() < deadline_ns);
	}
	for (i = 0; i < PRODUCERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(seen.messages[i], MESSAGES);
		assert_int_equal(seen.controls[i], CONTROLS);
	}
	assert_true(rli_inbox_is_empty(stress.inbox));
	print_message("refused because it was full: %llu times\n",
		      (unsigned long long)atomic_load(&stress.refused));
	assert_int_equal(pthread_barrier_destroy(&stress.barrier), 0);
	rli_inbox_destroy(stress.inbox);
	(void)close(stress.room);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inbox_created_is_empty),
		cmocka_unit_test(inbox_without_memory_is_null),
		cmocka_unit_test(inbox_full_answers_eagain_and_keeps_order),
		cmocka_unit_test(inbox_controls_come_in_order_beside_a_full_ring),
		cmocka_unit_test(inbox_four_producers_lose_double_and_reorder_nothing),
	};

	return unit_run(tests);
}
