/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a push is never missed by a shard that goes to sleep, a burst writes the eventfd once,
 *         and wakes get through in time, not only at all.
 * How: by hand, then one and two senders against one sleeper for two seconds, with the real
 *         inbox and eventfd.
 * Not: all orders; tests/model does that.
 * Guards: pitfall 80.
 */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "mailbox/inbox.h"
#include "shard/sleep.h"

static bool
eventfd_is_readable(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	return poll(&pollfd, 1, 0) == 1;
}

static void
sleep_awake_shard_is_not_woken(void **state)
{
	struct sleep sleep;

	(void)state;
	assert_int_equal(rli_sleep_init(&sleep), 0);
	assert_false(rli_sleep_wake(&sleep));
	assert_false(eventfd_is_readable(sleep.eventfd));
	rli_sleep_begin(&sleep);
	rli_sleep_end(&sleep);
	assert_false(rli_sleep_wake(&sleep));
	assert_false(eventfd_is_readable(sleep.eventfd));
	rli_sleep_fini(&sleep);
	assert_int_equal(sleep.eventfd, -1);
	rli_sleep_fini(&sleep); /* again: nothing */
}

static void
sleep_burst_writes_the_eventfd_once(void **state)
{
	struct sleep sleep;
	uint64_t count;
	uint32_t i;

	(void)state;
	assert_int_equal(rli_sleep_init(&sleep), 0);
	rli_sleep_begin(&sleep);
	assert_true(rli_sleep_wake(&sleep));
	for (i = 0; i < 100; i++) {
		assert_false(rli_sleep_wake(&sleep));
	}
	assert_int_equal(read(sleep.eventfd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	rli_sleep_end(&sleep);

	rli_sleep_begin(&sleep); /* the next sleep is woken again */
	assert_true(rli_sleep_wake(&sleep));
	rli_sleep_end(&sleep);
	rli_sleep_fini(&sleep);
}

/* A claim wakes nobody: whoever has it is the only one who must. */
static void
sleep_claimed_is_woken_by_its_owner_alone(void **state)
{
	struct sleep sleep;

	(void)state;
	assert_int_equal(rli_sleep_init(&sleep), 0);
	assert_false(rli_sleep_claim(&sleep)); /* awake */
	rli_sleep_begin(&sleep);
	assert_true(rli_sleep_claim(&sleep));
	assert_false(rli_sleep_claim(&sleep));
	assert_false(rli_sleep_wake(&sleep));
	assert_false(eventfd_is_readable(sleep.eventfd));
	rli_sleep_interrupt(&sleep);
	assert_true(eventfd_is_readable(sleep.eventfd));
	rli_sleep_end(&sleep);
	assert_false(rli_sleep_claim(&sleep));
	rli_sleep_begin(&sleep);
	assert_true(rli_sleep_claim(&sleep)); /* the next sleep has its own */
	rli_sleep_end(&sleep);
	rli_sleep_fini(&sleep);
}

/* Who can't rely on the owner of a claim interrupts, claimed or not, asleep or not. */
static void
sleep_interrupted_is_woken_whoever_claimed_it(void **state)
{
	struct sleep sleep;

	(void)state;
	assert_int_equal(rli_sleep_init(&sleep), 0);
	rli_sleep_interrupt(&sleep);
	assert_true(eventfd_is_readable(sleep.eventfd));
	rli_host_eventfd_drain(sleep.eventfd);
	rli_sleep_begin(&sleep);
	assert_true(rli_sleep_claim(&sleep));
	rli_sleep_interrupt(&sleep);
	assert_true(eventfd_is_readable(sleep.eventfd));
	rli_sleep_end(&sleep);
	rli_sleep_fini(&sleep);
}

/* A wake-up that came while the shard decided to stay awake ends its next sleep at once. */
static void
sleep_wake_before_the_wait_is_kept(void **state)
{
	struct sleep sleep;

	(void)state;
	assert_int_equal(rli_sleep_init(&sleep), 0);
	rli_sleep_begin(&sleep);
	assert_true(rli_sleep_wake(&sleep));
	rli_sleep_end(&sleep);
	rli_sleep_begin(&sleep);
	assert_true(eventfd_is_readable(sleep.eventfd));
	rli_sleep_end(&sleep);
	rli_sleep_fini(&sleep);
}

static void
sleep_without_descriptors_answers_emfile(void **state)
{
	struct rlimit limit;
	struct rlimit none;
	struct sleep sleep;
	int rc;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	rc = rli_sleep_init(&sleep);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(rc, -EMFILE);
	rli_sleep_fini(&sleep);
}

#define SENDERS_MAX 2
#define STRESS_NS   1000000000 /* for each number of senders */
#define LOST_MS	    2000 /* a sleep as long as this was not woken */
#define SPIN_MAX    1000 /* about the length of the window that is to be hit */

struct sender {
	pthread_t thread;
	uint32_t number;
	uint64_t sent; /* read after the join */
	uint64_t wakes;
	_Alignas(128) _Atomic uint64_t seen; /* by the sleeper */
};

struct stress {
	struct sleep sleep;
	struct inbox *inbox;
	_Atomic bool over;
	_Atomic uint32_t running;
	pthread_barrier_t start;
	struct sender senders[SENDERS_MAX];
	uint64_t seed; /* the sleeper's */
	uint64_t slept;
};

static struct stress stress;

static void
stress_spin(uint32_t rounds)
{
	while (rounds-- > 0) {
		atomic_signal_fence(memory_order_seq_cst); /* so that the loop stays one */
	}
}

/* False at the end of the test, or after a lost wake-up, when nobody sees anything any more. */
static bool
sender_wait_seen(const struct sender *sender)
{
	while (atomic_load_explicit(&sender->seen, memory_order_acquire) != sender->sent) {
		if (atomic_load_explicit(&stress.over, memory_order_relaxed)) {
			return false;
		}
	}
	return true;
}

/* Mostly one at a time, so that the sleeper is about to sleep; sometimes one more behind it. */
static void *
sender_run(void *arg)
{
	struct sender *sender = arg;
	uint64_t seed = sender->number + 1;
	struct envelope envelope = { .kind = RL_MSG_USER, .from = sender->number };

	pthread_barrier_wait(&stress.start);
	while (!atomic_load_explicit(&stress.over, memory_order_relaxed)) {
		uint64_t choice = unit_random(&seed);

		if (choice % 8 != 0 && !sender_wait_seen(sender)) {
			break;
		}
		stress_spin((uint32_t)(choice >> 32) % SPIN_MAX);
		envelope.to = sender->sent + 1;
		if (rli_inbox_push(stress.inbox, &envelope) == 0) {
			sender->sent++;
			sender->wakes += rli_sleep_wake(&stress.sleep);
		}
	}
	/* the last one to go wakes the sleeper, so that it sees the end */
	atomic_fetch_sub_explicit(&stress.running, 1, memory_order_seq_cst);
	(void)rli_sleep_wake(&stress.sleep);
	return NULL;
}

static uint64_t
sleeper_drain(void)
{
	struct envelope envelope;
	uint64_t count = 0;

	while (rli_inbox_pop(stress.inbox, &envelope)) {
		struct sender *sender = &stress.senders[envelope.from];

		assert_int_equal(envelope.to,
				 atomic_load_explicit(&sender->seen, memory_order_relaxed) + 1);
		atomic_store_explicit(&sender->seen, envelope.to, memory_order_release);
		count++;
	}
	return count;
}

/* One turn of the loop, as far as this is concerned. */
static void
sleeper_turn(void)
{
	struct pollfd pollfd = { .fd = stress.sleep.eventfd, .events = POLLIN };
	int ready = 1;

	/* what a turn does after it looked at the inbox; without it the sender is always late */
	stress_spin((uint32_t)(unit_random(&stress.seed) % SPIN_MAX));
	rli_sleep_begin(&stress.sleep);
	if (rli_inbox_is_empty(stress.inbox) &&
	    atomic_load_explicit(&stress.running, memory_order_seq_cst) != 0) {
		do {
			ready = poll(&pollfd, 1, LOST_MS);
		} while (ready < 0 && errno == EINTR);
		stress.slept++;
	}
	rli_sleep_end(&stress.sleep);
	/* the senders push all the time, so whoever slept through it was not woken */
	if (ready == 0) {
		atomic_store(&stress.over, true);
		fail_msg("a wake-up was lost");
	}
	rli_host_eventfd_drain(stress.sleep.eventfd);
}

static void
stress_report(uint32_t senders)
{
	uint64_t sent = 0;
	uint64_t wakes = 0;
	uint32_t i;

	for (i = 0; i < senders; i++) {
		assert_int_equal(stress.senders[i].seen, stress.senders[i].sent);
		sent += stress.senders[i].sent;
		wakes += stress.senders[i].wakes;
	}
	print_message("%llu pushes, %llu sleeps, %llu wake-ups\n", (unsigned long long)sent,
		      (unsigned long long)stress.slept, (unsigned long long)wakes);
	assert_true(stress.slept > 0); /* or it proved nothing */
	assert_true(wakes > 0);
}

static void
stress_run(uint32_t senders)
{
	uint64_t end_ns = rli_host_now_ns() + STRESS_NS;
	uint32_t i;

	memset(&stress, 0, sizeof(stress));
	assert_int_equal(rli_sleep_init(&stress.sleep), 0);
	stress.inbox = rli_inbox_create();
	assert_non_null(stress.inbox);
	assert_int_equal(pthread_barrier_init(&stress.start, NULL, senders + 1), 0);
	atomic_store(&stress.running, senders);
	for (i = 0; i < senders; i++) {
		struct sender *sender = &stress.senders[i];

		sender->number = i;
		assert_int_equal(pthread_create(&sender->thread, NULL, sender_run, sender), 0);
	}
	pthread_barrier_wait(&stress.start);
	while (atomic_load(&stress.running) != 0) {
		(void)sleeper_drain();
		sleeper_turn();
		if (rli_host_now_ns() > end_ns) {
			atomic_store(&stress.over, true);
		}
	}
	for (i = 0; i < senders; i++) {
		assert_int_equal(pthread_join(stress.senders[i].thread, NULL), 0);
	}
	(void)sleeper_drain();
	stress_report(senders);
	assert_int_equal(pthread_barrier_destroy(&stress.start), 0);
	rli_inbox_destroy(stress.inbox);
	rli_sleep_fini(&stress.sleep);
}

/* One sender alone first: with two, the next push of one wakes a sleeper that the other missed. */
static void
sleep_stressed_misses_no_push(void **state)
{
	(void)state;
	stress_run(1);
	stress_run(2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sleep_awake_shard_is_not_woken),
		cmocka_unit_test(sleep_burst_writes_the_eventfd_once),
		cmocka_unit_test(sleep_claimed_is_woken_by_its_owner_alone),
		cmocka_unit_test(sleep_interrupted_is_woken_whoever_claimed_it),
		cmocka_unit_test(sleep_wake_before_the_wait_is_kept),
		cmocka_unit_test(sleep_without_descriptors_answers_emfile),
		cmocka_unit_test(sleep_stressed_misses_no_push),
	};

	return unit_run(tests);
}
