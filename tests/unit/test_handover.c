/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: what is pushed arrives once and in order, whatever is done with early or late; room is
 * what the shard published, the end always fits, and who may wait for room is named (pitfall 16).
 * How: small rings on one thread; then an acceptor and a shard on two threads, under a limit.
 * Not: the wake-ups that go with it (test_sleep.c, the simulator). */
#include "unit.h"

#include <pthread.h>

#include "net/handover.h"

#define SOCKETS	    4
#define SLOTS	    (SOCKETS + 1)
#define STORM	    200000
#define STORM_SLOTS 1024

struct bed {
	struct handover handover;
	struct handed slots[SLOTS];
};

static void
bed_init(struct bed *bed, uint32_t conns_max)
{
	assert_int_equal(handover_slots(SOCKETS), SLOTS);
	rli_handover_init(&bed->handover, bed->slots, SLOTS, conns_max);
}

static void
bed_push(struct bed *bed, int fd)
{
	struct handed handed = { .fd = fd, .listener = 7, .len = 0 };

	assert_int_equal(rli_handover_room(&bed->handover), HANDOVER_ROOM);
	rli_handover_push(&bed->handover, &handed);
}

/* The shard adopts the oldest. */
static int
bed_take(struct bed *bed)
{
	struct handed *handed = rli_handover_at(&bed->handover, 0);
	int fd = handed->fd;

	handed->fd = -1;
	rli_handover_drop(&bed->handover, rli_handover_count(&bed->handover));
	return fd;
}

static void
handover_keeps_order_round_after_round(void **state)
{
	struct bed bed;
	int next = 0;

	(void)state;
	bed_init(&bed, 1000000);
	for (int i = 0; i < 1000; i++) {
		bed_push(&bed, i);
		if (i % 3 == 2) {
			while (rli_handover_count(&bed.handover) > 0) {
				assert_int_equal(bed_take(&bed), next++);
			}
			assert_true(rli_handover_publish(&bed.handover, (uint32_t)next));
		}
	}
	assert_int_equal(next, 999);
}

static void
handover_room_is_what_was_published(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, 100);
	for (int i = 0; i < SOCKETS; i++) {
		bed_push(&bed, i);
	}
	assert_int_equal(rli_handover_room(&bed.handover), HANDOVER_BEHIND);
	assert_int_equal(bed_take(&bed), 0);
	assert_int_equal(rli_handover_room(&bed.handover), HANDOVER_BEHIND);
	assert_true(rli_handover_publish(&bed.handover, 1));
	assert_int_equal(rli_handover_room(&bed.handover), HANDOVER_ROOM);
	assert_false(rli_handover_publish(&bed.handover, 1)); /* no news */
	assert_false(rli_handover_publish(&bed.handover, 2)); /* one was opened: less room */
	assert_true(rli_handover_publish(&bed.handover, 1)); /* one has closed */
}

/* A socket is counted once, from the moment when it was pushed to the end of its connection. */
static void
handover_load_is_what_is_there_and_on_its_way(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, 100);
	assert_int_equal(rli_handover_load(&bed.handover), 0);
	bed_push(&bed, 10);
	bed_push(&bed, 11);
	assert_int_equal(rli_handover_load(&bed.handover), 2);
	(void)bed_take(&bed);
	assert_int_equal(rli_handover_load(&bed.handover), 2);
	(void)rli_handover_publish(&bed.handover, 1);
	assert_int_equal(rli_handover_load(&bed.handover), 2);
	(void)rli_handover_publish(&bed.handover, 40);
	assert_int_equal(rli_handover_load(&bed.handover), 41);
}

/* What is on its way counts as if it were a connection already. */
static void
handover_is_full_at_conns_max(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, 2);
	bed_push(&bed, 10);
	bed_push(&bed, 11);
	assert_int_equal(rli_handover_room(&bed.handover), HANDOVER_FULL);
	(void)bed_take(&bed);
	(void)rli_handover_publish(&bed.handover, 1);
	assert_int_equal(rli_handover_room(&bed.handover), HANDOVER_FULL);
	(void)bed_take(&bed);
	(void)rli_handover_publish(&bed.handover, 2);
	assert_int_equal(rli_handover_room(&bed.handover), HANDOVER_FULL);
	(void)rli_handover_publish(&bed.handover, 1);
	assert_int_equal(rli_handover_room(&bed.handover), HANDOVER_ROOM);
}

/* Who is done with the second while the first waits drops neither. */
static void
handover_done_with_out_of_turn_is_dropped_in_turn(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, 100);
	bed_push(&bed, 20);
	bed_push(&bed, 21);
	bed_push(&bed, 22);
	rli_handover_at(&bed.handover, 1)->fd = -1;
	rli_handover_drop(&bed.handover, 3);
	assert_int_equal(rli_handover_count(&bed.handover), 3);
	assert_false(rli_handover_publish(&bed.handover, 0));
	assert_int_equal(bed_take(&bed), 20); /* and the next with it */
	assert_int_equal(rli_handover_count(&bed.handover), 1);
	assert_int_equal(rli_handover_at(&bed.handover, 0)->fd, 22);
	assert_int_equal(rli_handover_at(&bed.handover, 0)->listener, 7);
}

static void
handover_end_fits_behind_a_full_ring(void **state)
{
	struct bed bed;

	(void)state;
	bed_init(&bed, 100);
	for (int i = 0; i < SOCKETS; i++) {
		bed_push(&bed, i);
	}
	rli_handover_end(&bed.handover);
	assert_int_equal(rli_handover_count(&bed.handover), SLOTS);
	for (int i = 0; i < SOCKETS; i++) {
		assert_int_equal(bed_take(&bed), i);
	}
	/* it is nobody's socket, so it went with the last one */
	assert_int_equal(rli_handover_count(&bed.handover), 0);
	assert_int_equal(rli_handover_at(&bed.handover, SLOTS - 1)->listener, HANDOVER_END);
}

/* The end may come between the look and the drop: what was not seen must not be dropped. */
static void
handover_end_is_not_dropped_unseen(void **state)
{
	struct bed bed;
	uint32_t count;

	(void)state;
	bed_init(&bed, 100);
	bed_push(&bed, 30);
	count = rli_handover_count(&bed.handover);
	rli_handover_at(&bed.handover, 0)->fd = -1;
	rli_handover_end(&bed.handover);
	rli_handover_drop(&bed.handover, count);
	assert_int_equal(rli_handover_count(&bed.handover), 1);
	assert_int_equal(rli_handover_at(&bed.handover, 0)->listener, HANDOVER_END);
}

static void *
storm_acceptor(void *arg)
{
	struct handover *handover = arg;

	for (int i = 0; i < STORM;) {
		struct handed handed = { .fd = i, .listener = (uint32_t)i * 3 };

		if (rli_handover_room(handover) == HANDOVER_ROOM) {
			rli_handover_push(handover, &handed);
			i++;
		}
	}
	rli_handover_end(handover);
	return NULL;
}

/* Half as many connections as slots: who looks only at what is published never brings one more. */
static void
handover_stressed_loses_doubles_and_overfills_nothing(void **state)
{
	static struct handed slots[STORM_SLOTS];
	static struct handover handover;
	pthread_t thread;
	uint32_t conns = 0;
	int next = 0;

	(void)state;
	rli_handover_init(&handover, slots, STORM_SLOTS, STORM_SLOTS / 2);
	assert_int_equal(pthread_create(&thread, NULL, storm_acceptor, &handover), 0);
	while (next < STORM) {
		uint32_t count = rli_handover_count(&handover);
		uint32_t i;

		for (i = 0; i < count && next < STORM; i++, next++) {
			struct handed *handed = rli_handover_at(&handover, i);

			assert_int_equal(handed->fd, next);
			assert_int_equal(handed->listener, (uint32_t)next * 3);
			handed->fd = -1;
		}
		conns += i;
		assert_true(conns <= STORM_SLOTS / 2);
		rli_handover_drop(&handover, i);
		(void)rli_handover_publish(&handover, conns);
		conns = conns < STORM_SLOTS / 4 ? conns : 0; /* many close */
		(void)rli_handover_publish(&handover, conns);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handover_keeps_order_round_after_round),
		cmocka_unit_test(handover_room_is_what_was_published),
		cmocka_unit_test(handover_load_is_what_is_there_and_on_its_way),
		cmocka_unit_test(handover_is_full_at_conns_max),
		cmocka_unit_test(handover_done_with_out_of_turn_is_dropped_in_turn),
		cmocka_unit_test(handover_end_fits_behind_a_full_ring),
		cmocka_unit_test(handover_end_is_not_dropped_unseen),
		cmocka_unit_test(handover_stressed_loses_doubles_and_overfills_nothing),
	};

	return unit_run(tests);
}
