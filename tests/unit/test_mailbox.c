/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: a mailbox is first in, first out, bounded by count and pool, and loses no envelope.
 * How: by hand, and two mailboxes against plain counters with random seeds.
 * Not: envelopes from other threads (test_inbox.c). */
#include "unit.h"

#include <errno.h>

#include "mailbox/mailbox.h"

static struct envelope
make(uint64_t number)
{
	struct envelope envelope = {
		.to = number, .from = number * 2, .kind = (uint32_t)number, .len = 32
	};

	memset(envelope.payload, (int)(number & 0xff), sizeof(envelope.payload));
	return envelope;
}

static void
check(const struct envelope *envelope, uint64_t number)
{
	struct envelope expected = make(number);

	assert_non_null(envelope);
	assert_true(envelope->to == expected.to);
	assert_true(envelope->from == expected.from);
	assert_int_equal(envelope->kind, expected.kind);
	assert_int_equal(envelope->len, expected.len);
	assert_memory_equal(envelope->payload, expected.payload, sizeof(expected.payload));
}

/* Take all out and give it back. How many there were. */
static uint32_t
drain(struct mailbox *mailbox, struct envelope_pool *pool)
{
	uint32_t count = 0;

	while (mailbox->first != NULL) {
		rli_mailbox_release(pool, rli_mailbox_pop(mailbox));
		count++;
	}
	assert_int_equal(mailbox->count, 0);
	return count;
}

static void
mailbox_zeroed_is_empty(void **state)
{
	struct mailbox mailbox = { 0 };
	struct envelope_pool pool;

	(void)state;
	assert_int_equal(rli_envelope_pool_init(&pool, 1), 0);
	assert_null(mailbox.first);
	assert_int_equal(drain(&mailbox, &pool), 0);
	rli_envelope_pool_fini(&pool);
}

static void
mailbox_pushed_comes_out_in_order_as_a_copy(void **state)
{
	struct mailbox mailbox = { 0 };
	struct envelope_pool pool;
	struct envelope envelope;
	uint64_t i;

	(void)state;
	assert_int_equal(rli_envelope_pool_init(&pool, 100), 0);
	for (i = 1; i <= 100; i++) {
		envelope = make(i);
		envelope.next = &envelope; /* whatever it was linked to is not taken over */
		assert_int_equal(rli_mailbox_push(&mailbox, &pool, 1000, &envelope), 0);
		memset(&envelope, 0xff, sizeof(envelope));
		assert_int_equal(mailbox.count, i);
	}
	for (i = 1; i <= 100; i++) {
		struct envelope *popped = rli_mailbox_pop(&mailbox);

		check(popped, i);
		rli_mailbox_release(&pool, popped);
	}
	assert_null(mailbox.first);
	assert_int_equal(pool.taken, 0);
	rli_envelope_pool_fini(&pool);
}

static void
mailbox_full_answers_eagain_and_takes_nothing(void **state)
{
	struct mailbox mailbox = { 0 };
	struct envelope_pool pool;
	struct envelope envelope = make(7);

	(void)state;
	assert_int_equal(rli_envelope_pool_init(&pool, 10), 0);
	assert_int_equal(rli_mailbox_push(&mailbox, &pool, 2, &envelope), 0);
	assert_int_equal(rli_mailbox_push(&mailbox, &pool, 2, &envelope), 0);
	assert_int_equal(rli_mailbox_push(&mailbox, &pool, 2, &envelope), -EAGAIN);
	assert_int_equal(mailbox.count, 2);
	assert_int_equal(pool.taken, 2);

	/* One out, one in. */
	rli_mailbox_release(&pool, rli_mailbox_pop(&mailbox));
	assert_int_equal(rli_mailbox_push(&mailbox, &pool, 2, &envelope), 0);
	assert_int_equal(drain(&mailbox, &pool), 2);
	rli_envelope_pool_fini(&pool);
}

static void
mailbox_empty_pool_answers_enobufs(void **state)
{
	struct mailbox mailbox = { 0 };
	struct mailbox other = { 0 };
	struct envelope_pool pool;
	struct envelope envelope = make(7);
	struct envelope *popped;

	(void)state;
	assert_int_equal(rli_envelope_pool_init(&pool, 3), 0);
	assert_int_equal(rli_mailbox_push(&mailbox, &pool, 10, &envelope), 0);
	assert_int_equal(rli_mailbox_push(&mailbox, &pool, 10, &envelope), 0);
	assert_int_equal(rli_mailbox_push(&mailbox, &pool, 10, &envelope), 0);
	assert_int_equal(rli_mailbox_push(&other, &pool, 10, &envelope), -ENOBUFS);
	assert_int_equal(other.count, 0);
	assert_null(other.first);

	/* What was popped counts until it is released. */
	popped = rli_mailbox_pop(&mailbox);
	assert_int_equal(rli_mailbox_push(&other, &pool, 10, &envelope), -ENOBUFS);
	rli_mailbox_release(&pool, popped);
	assert_int_equal(rli_mailbox_push(&other, &pool, 10, &envelope), 0);

	assert_int_equal(drain(&mailbox, &pool), 2);
	assert_int_equal(drain(&other, &pool), 1);
	assert_int_equal(pool.taken, 0);
	rli_envelope_pool_fini(&pool);
}

static void
pool_without_address_space_answers_enomem(void **state)
{
	struct envelope_pool pool;

	(void)state;
	assert_int_equal(rli_envelope_pool_init(&pool, 1), 0);
	rli_envelope_pool_fini(&pool);
	rli_envelope_pool_fini(&pool);
}

#define MODEL_POOL	50
#define MODEL_COUNT_MAX 30

/* Two mailboxes over one pool; each must hand out first .. last - 1 in order. */
struct model {
	struct mailbox mailbox;
	uint64_t first;
	uint64_t last;
};

static void
model_push(struct model *model, struct envelope_pool *pool)
{
	struct envelope envelope = make(model->last);
	int expected = model->last - model->first == MODEL_COUNT_MAX ? -EAGAIN
		       : pool->taken == MODEL_POOL		     ? -ENOBUFS
								     : 0;

	assert_int_equal(rli_mailbox_push(&model->mailbox, pool, MODEL_COUNT_MAX, &envelope),
			 expected);
	model->last += expected == 0;
}

static void
model_pop(struct model *model, struct envelope_pool *pool)
{
	struct envelope *envelope;

	if (model->first == model->last) {
		assert_null(model->mailbox.first);
		return;
	}
	envelope = rli_mailbox_pop(&model->mailbox);
	check(envelope, model->first);
	model->first++;
	rli_mailbox_release(pool, envelope);
}

static void
run_model(uint64_t seed)
{
	struct model models[2] = { 0 };
	struct envelope_pool pool;
	uint32_t step;

	assert_int_equal(rli_envelope_pool_init(&pool, MODEL_POOL), 0);
	for (step = 0; step < 20000; step++) {
		struct model *model = &models[unit_random(&seed) % 2];
		uint64_t dice = unit_random(&seed) % 1000;

		if (dice == 0) {
			assert_int_equal(drain(&model->mailbox, &pool), model->last - model->first);
			model->first = model->last;
		} else if (dice < (step / 1000 % 2 == 0 ? 600 : 400)) {
			model_push(model, &pool);
		} else {
			model_pop(model, &pool);
		}
		assert_int_equal(model->mailbox.count, model->last - model->first);
		assert_int_equal(pool.taken, models[0].mailbox.count + models[1].mailbox.count);
	}
	rli_envelope_pool_fini(&pool);
}

static void
mailbox_random_use_matches_the_model(void **state)
{
	(void)state;
	unit_each_seed(run_model, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mailbox_zeroed_is_empty),
		cmocka_unit_test(mailbox_pushed_comes_out_in_order_as_a_copy),
		cmocka_unit_test(mailbox_full_answers_eagain_and_takes_nothing),
		cmocka_unit_test(mailbox_empty_pool_answers_enobufs),
		cmocka_unit_test(pool_without_address_space_answers_enomem),
		cmocka_unit_test(mailbox_random_use_matches_the_model),
	};

	return unit_run(tests);
}
