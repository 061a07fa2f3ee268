/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: a lookup is answered or cancelled, once, whatever a worker is doing meanwhile; who waits
 * is answered when there is no thread; the pages outlive the system as long as a worker is out, and
 * no longer (pitfall 94).
 * How: each state by hand, then shards that ask and cancel against workers on threads of their own.
 * Not: what the system's resolver answers (integration.resolve); the threads (the same). */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "net/resolver.h"

#define KIND	7
#define WORKERS 3
#define STORM	1000

/* A shard with an inbox, and lookups of its own. */
struct bed {
	struct rl_shard shard;
	struct lookup lookups[8];
	uint32_t taken; /* controls that came */
};

static struct resolver *resolver;
static struct bed bed;

static void
bed_open(struct bed *to)
{
	memset(to, 0, sizeof(*to));
	to->shard.inbox = rli_inbox_create();
	assert_non_null(to->shard.inbox);
	assert_int_equal(rli_sleep_init(&to->shard.sleep), 0);
	for (size_t i = 0; i < UNIT_COUNT(to->lookups); i++) {
		lookup_init(&to->lookups[i], &to->shard, "a.test");
	}
}

static void
bed_close(struct bed *to)
{
	rli_sleep_fini(&to->shard.sleep);
	rli_inbox_destroy(to->shard.inbox);
}

static int
setup(void **state)
{
	(void)state;
	resolver = rli_resolver_create(WORKERS, KIND);
	assert_non_null(resolver);
	bed_open(&bed);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	bed_close(&bed);
	rli_resolver_release(resolver);
	return 0;
}

static struct lookup *
answer_taken(void)
{
	struct control *control = rli_inbox_control_take(bed.shard.inbox);

	if (control == NULL) {
		return NULL;
	}
	assert_null(control->next);
	assert_int_equal(control->kind, KIND);
	return list_entry(control, struct lookup, control);
}

/* A worker comes home with @count addresses. */
static void
come_home(uint32_t worker, int rc, uint32_t count)
{
	resolver->workers[worker].rc = rc;
	resolver->workers[worker].addrs.count = count;
	rli_resolver_answer(resolver, worker);
}

static void
lookup_asked_for_is_answered_by_a_worker(void **state)
{
	struct lookup *lookup = &bed.lookups[0];

	(void)state;
	assert_int_equal(rli_resolver_hire(resolver), -1);
	rli_resolver_ask(resolver, lookup);
	assert_int_equal(rli_resolver_hire(resolver), 0);
	assert_int_equal(rli_resolver_hire(resolver), -1); /* one for one */
	assert_true(rli_resolver_take(resolver, 0));
	assert_string_equal(resolver->workers[0].host, "a.test");
	assert_null(answer_taken());
	come_home(0, 0, 5);
	assert_ptr_equal(answer_taken(), lookup);
	assert_int_equal(lookup->rc, 0);
	assert_int_equal(lookup->addrs.count, 5);
	assert_false(rli_resolver_take(resolver, 0));
	assert_int_equal(rli_resolver_leave(resolver), 0);
}

static void
lookup_that_waits_is_cancelled_at_once(void **state)
{
	(void)state;
	rli_resolver_ask(resolver, &bed.lookups[0]);
	rli_resolver_ask(resolver, &bed.lookups[1]);
	assert_int_equal(rli_resolver_hire(resolver), 0);
	assert_true(rli_resolver_cancel(resolver, &bed.lookups[0]));
	assert_true(rli_resolver_take(resolver, 0));
	come_home(0, -ENOENT, 0);
	assert_ptr_equal(answer_taken(), &bed.lookups[1]);
	assert_int_equal(bed.lookups[1].rc, -ENOENT);
	assert_false(rli_resolver_take(resolver, 0));
}

/* Its memory may be another's before the worker is home. */
static void
lookup_that_runs_is_cancelled_at_once_and_not_answered(void **state)
{
	struct lookup *lookup = &bed.lookups[0];

	(void)state;
	rli_resolver_ask(resolver, lookup);
	assert_int_equal(rli_resolver_hire(resolver), 0);
	assert_true(rli_resolver_take(resolver, 0));
	assert_true(rli_resolver_cancel(resolver, lookup));
	memset(lookup, 0xa5, sizeof(*lookup));
	come_home(0, 0, 1);
	assert_null(answer_taken());
	for (size_t i = 0; i < sizeof(*lookup); i++) {
		assert_int_equal(((const uint8_t *)lookup)[i], 0xa5);
	}
	assert_false(rli_resolver_take(resolver, 0));
}

static void
lookup_that_was_answered_is_not_cancelled(void **state)
{
	struct lookup *lookup = &bed.lookups[0];

	(void)state;
	rli_resolver_ask(resolver, lookup);
	assert_int_equal(rli_resolver_hire(resolver), 0);
	assert_true(rli_resolver_take(resolver, 0));
	come_home(0, 0, 1);
	assert_false(rli_resolver_cancel(resolver, lookup));
	assert_ptr_equal(answer_taken(), lookup);
	assert_false(rli_resolver_take(resolver, 0));
}

static void
lookup_waits_for_a_worker_when_all_are_out(void **state)
{
	(void)state;
	for (uint32_t i = 0; i <= WORKERS; i++) {
		rli_resolver_ask(resolver, &bed.lookups[i]);
		assert_int_equal(rli_resolver_hire(resolver), i < WORKERS ? (int)i : -1);
		assert_int_equal(i < WORKERS ? rli_resolver_take(resolver, i) : 1, 1);
	}
	come_home(1, 0, 1);
	assert_ptr_equal(answer_taken(), &bed.lookups[1]);
	assert_true(rli_resolver_take(resolver, 1));
	come_home(1, 0, 1);
	assert_ptr_equal(answer_taken(), &bed.lookups[WORKERS]);
	come_home(0, 0, 1);
	come_home(2, 0, 1);
	for (uint32_t i = 0; i < WORKERS; i++) {
		assert_false(rli_resolver_take(resolver, i));
	}
	(void)rli_inbox_control_take(bed.shard.inbox);
}

static void
lookup_without_any_thread_is_answered_with_the_error(void **state)
{
	(void)state;
	rli_resolver_ask(resolver, &bed.lookups[0]);
	assert_int_equal(rli_resolver_hire(resolver), 0);
	rli_resolver_unhire(resolver, 0, -EAGAIN);
	assert_ptr_equal(answer_taken(), &bed.lookups[0]);
	assert_int_equal(bed.lookups[0].rc, -EAGAIN);
	assert_non_null(bed.lookups[0].addrs.why);
	assert_int_equal(bed.lookups[0].addrs.count, 0);
}

static void
lookup_without_a_second_thread_waits_for_the_first(void **state)
{
	(void)state;
	rli_resolver_ask(resolver, &bed.lookups[0]);
	assert_int_equal(rli_resolver_hire(resolver), 0);
	assert_true(rli_resolver_take(resolver, 0));
	rli_resolver_ask(resolver, &bed.lookups[1]);
	assert_int_equal(rli_resolver_hire(resolver), 1);
	rli_resolver_unhire(resolver, 1, -EAGAIN);
	assert_null(answer_taken());
	come_home(0, 0, 1);
	assert_ptr_equal(answer_taken(), &bed.lookups[0]);
	assert_true(rli_resolver_take(resolver, 0));
	come_home(0, 0, 1);
	assert_ptr_equal(answer_taken(), &bed.lookups[1]);
	assert_false(rli_resolver_take(resolver, 0));
}

/* The system is gone before the worker comes home; the teardown of the group counts the pages. */
static void
resolver_lives_as_long_as_a_worker_is_out(void **state)
{
	struct resolver *old = rli_resolver_create(WORKERS, KIND);
	size_t committed = rli_host_pages_committed();

	(void)state;
	assert_non_null(old);
	rli_resolver_ask(old, &bed.lookups[0]);
	rli_resolver_ask(old, &bed.lookups[1]);
	assert_int_equal(rli_resolver_hire(old), 0);
	assert_int_equal(rli_resolver_hire(old), 1);
	assert_true(rli_resolver_take(old, 0));
	assert_true(rli_resolver_take(old, 1));
	assert_true(rli_resolver_cancel(old, &bed.lookups[0]));
	assert_true(rli_resolver_cancel(old, &bed.lookups[1]));
	rli_resolver_answer(old, 1);
	assert_int_equal(rli_resolver_leave(old), 1u << 0);
	assert_false(rli_resolver_take(old, 1)); /* not out: it is waited for */
	rli_resolver_release(old);
	assert_int_equal(rli_host_pages_committed(), committed);
	rli_resolver_answer(old, 0);
	assert_false(rli_resolver_take(old, 0));
	assert_true(rli_host_pages_committed() < committed);
}

/* ---- threads */

static _Atomic uint32_t storm_over;

static void *
storm_worker(void *arg)
{
	uint32_t worker = (uint32_t)(uintptr_t)arg;

	while (rli_resolver_take(resolver, worker)) {
		come_home(worker, 0, worker + 1);
	}
	return NULL;
}

/* Threads as thread_resolver.c has them, but that one thread starts them all. */
static void *
storm_hirer(void *arg)
{
	pthread_t threads[WORKERS];
	bool started[WORKERS] = { false };

	(void)arg;
	while (atomic_load(&storm_over) < 2) {
		int worker = rli_resolver_hire(resolver);

		if (worker < 0) {
			continue;
		}
		if (started[worker]) {
			assert_int_equal(pthread_join(threads[worker], NULL), 0);
		}
		started[worker] = true;
		assert_int_equal(pthread_create(&threads[worker], NULL, storm_worker,
						(void *)(uintptr_t)worker),
				 0);
	}
	for (uint32_t i = 0; i < WORKERS; i++) {
		if (started[i]) {
			assert_int_equal(pthread_join(threads[i], NULL), 0);
		}
	}
	return NULL;
}

/* What came; each was asked for, and not cancelled. */
static void
storm_take(struct bed *mine, bool *asked, uint32_t *answered)
{
	struct control *control = rli_inbox_control_take(mine->shard.inbox);

	while (control != NULL) {
		struct lookup *lookup = list_entry(control, struct lookup, control);
		size_t i = (size_t)(lookup - mine->lookups);

		control = control->next;
		assert_true(i < UNIT_COUNT(mine->lookups) && asked[i]);
		assert_in_range(lookup->addrs.count, 1, WORKERS);
		lookup_init(lookup, &mine->shard, "b.test");
		asked[i] = false;
		(*answered)++;
	}
}

static void *
storm_shard(void *arg)
{
	struct bed *mine = arg;
	uint64_t seed = (uintptr_t)arg;
	bool asked[UNIT_COUNT(mine->lookups)] = { false };
	uint32_t answered = 0;
	uint32_t cancelled = 0;
	uint32_t begun = 0;

	while (answered < STORM || cancelled < STORM || begun != answered + cancelled) {
		size_t i = unit_random(&seed) % UNIT_COUNT(mine->lookups);

		if (!asked[i] && (answered < STORM || cancelled < STORM)) {
			rli_resolver_ask(resolver, &mine->lookups[i]);
			asked[i] = true;
			begun++;
		} else if (asked[i] && unit_random(&seed) % 4 == 0 &&
			   rli_resolver_cancel(resolver, &mine->lookups[i])) {
			asked[i] = false;
			cancelled++;
		}
		storm_take(mine, asked, &answered);
	}
	assert_null(rli_inbox_control_take(mine->shard.inbox));
	atomic_fetch_add(&storm_over, 1);
	return NULL;
}

static void
lookups_of_two_shards_in_a_storm_end_once_each(void **state)
{
	static struct bed beds[2];
	pthread_t shards[2];
	pthread_t hirer;

	(void)state;
	atomic_store(&storm_over, 0);
	assert_int_equal(pthread_create(&hirer, NULL, storm_hirer, NULL), 0);
	for (size_t i = 0; i < 2; i++) {
		bed_open(&beds[i]);
		assert_int_equal(pthread_create(&shards[i], NULL, storm_shard, &beds[i]), 0);
	}
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(shards[i], NULL), 0);
	}
	assert_int_equal(pthread_join(hirer, NULL), 0);
	for (size_t i = 0; i < 2; i++) {
		bed_close(&beds[i]);
	}
	assert_int_equal(resolver->waiting_count, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(lookup_asked_for_is_answered_by_a_worker),
		CASE(lookup_that_waits_is_cancelled_at_once),
		CASE(lookup_that_runs_is_cancelled_at_once_and_not_answered),
		CASE(lookup_that_was_answered_is_not_cancelled),
		CASE(lookup_waits_for_a_worker_when_all_are_out),
		CASE(lookup_without_any_thread_is_answered_with_the_error),
		CASE(lookup_without_a_second_thread_waits_for_the_first),
		CASE(resolver_lives_as_long_as_a_worker_is_out),
		CASE(lookups_of_two_shards_in_a_storm_end_once_each),
	};

	return unit_run(tests);
}
