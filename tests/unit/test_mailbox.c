/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: a mailbox is first in, first out, bounded by its limit and the pool, and loses no letter;
 * a letter says what its envelope said; payloads of every length are copied whole.
 * How: by hand, and two mailboxes against plain counters with random seeds.
 * Not: envelopes from other threads (test_inbox.c). */
#include "unit.h"

#include "mailbox/mailbox.h"

static struct envelope
make(uint64_t number)
{
	struct envelope envelope = {
		.from = number * 2, .kind = (uint32_t)number, .len = 32, .shard = (int16_t)number
	};

	memset(envelope.payload, (int)(number & 0xff), sizeof(envelope.payload));
	return envelope;
}

static void
check(const struct letter *letter, uint64_t number)
{
	struct envelope expected = make(number);

	assert_non_null(letter);
	assert_true(letter->msg.from.private_bits == expected.from);
	assert_int_equal(letter->msg.kind, expected.kind);
	assert_int_equal(letter->msg.len, expected.len);
	assert_int_equal(letter->msg.user.shard, (uint32_t)expected.shard);
	assert_true(rl_request_id_is_none(letter->msg.user.request));
	assert_int_equal((uintptr_t)letter->msg.user.data % 16, 0);
	assert_memory_equal(letter->msg.user.data, expected.payload, sizeof(expected.payload));
}

static bool
push(struct mailbox *mailbox, struct letter_pool *pool, const struct envelope *envelope)
{
	struct letter *letter = rli_mailbox_append(mailbox, pool);

	if (letter != NULL) {
		letter_fill(letter, envelope, 0, 0);
	}
	return letter != NULL;
}

/* Take all out and give it back. How many there were. */
static uint32_t
drain(struct mailbox *mailbox, struct letter_pool *pool)
{
	uint32_t count = 0;

	while (mailbox->count > 0) {
		rli_letter_give(pool, rli_mailbox_pop(mailbox));
		count++;
	}
	return count;
}

static void
mailbox_zeroed_is_empty_and_takes_nothing(void **state)
{
	struct mailbox mailbox = { 0 };
	struct letter_pool pool;

	(void)state;
	assert_int_equal(rli_letter_pool_init(&pool, 1), 0);
	assert_int_equal(drain(&mailbox, &pool), 0);
	assert_null(rli_mailbox_append(&mailbox, &pool));
	assert_int_equal(rli_letters_taken(&pool), 0);
	rli_letter_pool_fini(&pool);
}

static void
mailbox_appended_comes_out_in_order(void **state)
{
	struct mailbox mailbox = { .limit = 1000 };
	struct letter_pool pool;
	struct envelope envelope;
	uint64_t i;

	(void)state;
	assert_int_equal(rli_letter_pool_init(&pool, 100), 0);
	for (i = 1; i <= 100; i++) {
		envelope = make(i);
		assert_true(push(&mailbox, &pool, &envelope));
		memset(&envelope, 0xff, sizeof(envelope));
		assert_int_equal(mailbox.count, i);
	}
	for (i = 1; i <= 100; i++) {
		struct letter *popped = rli_mailbox_pop(&mailbox);

		check(popped, i);
		rli_letter_give(&pool, popped);
	}
	assert_int_equal(mailbox.count, 0);
	assert_int_equal(rli_letters_taken(&pool), 0);
	rli_letter_pool_fini(&pool);
}

static void
mailbox_full_takes_nothing(void **state)
{
	struct mailbox mailbox = { .limit = 2 };
	struct letter_pool pool;
	struct envelope envelope = make(7);

	(void)state;
	assert_int_equal(rli_letter_pool_init(&pool, 10), 0);
	assert_true(push(&mailbox, &pool, &envelope));
	assert_true(push(&mailbox, &pool, &envelope));
	assert_false(push(&mailbox, &pool, &envelope));
	assert_int_equal(mailbox.count, 2);
	assert_int_equal(rli_letters_taken(&pool), 2);

	/* One out, one in. */
	rli_letter_give(&pool, rli_mailbox_pop(&mailbox));
	assert_true(push(&mailbox, &pool, &envelope));

	/* Closed with something in it: nothing more comes in, what is there comes out. */
	mailbox.limit = 0;
	assert_false(push(&mailbox, &pool, &envelope));
	assert_int_equal(drain(&mailbox, &pool), 2);
	rli_letter_pool_fini(&pool);
}

static void
mailbox_empty_pool_gives_nothing(void **state)
{
	struct mailbox mailbox = { .limit = 10 };
	struct mailbox other = { .limit = 10 };
	struct letter_pool pool;
	struct envelope envelope = make(7);
	struct letter *popped;

	(void)state;
	assert_int_equal(rli_letter_pool_init(&pool, 3), 0);
	assert_true(push(&mailbox, &pool, &envelope));
	assert_true(push(&mailbox, &pool, &envelope));
	assert_true(push(&mailbox, &pool, &envelope));
	assert_false(push(&other, &pool, &envelope));
	assert_int_equal(other.count, 0);

	/* What was popped counts until it is given back. */
	popped = rli_mailbox_pop(&mailbox);
	assert_false(push(&other, &pool, &envelope));
	rli_letter_give(&pool, popped);
	assert_true(push(&other, &pool, &envelope));

	assert_int_equal(drain(&mailbox, &pool), 2);
	assert_int_equal(drain(&other, &pool), 1);
	assert_int_equal(rli_letters_taken(&pool), 0);
	rli_letter_pool_fini(&pool);
}

/* A handler that sends to itself does so while its last letter is out of the mailbox. */
static void
mailbox_appended_to_after_its_last_was_popped(void **state)
{
	struct mailbox mailbox = { .limit = 10 };
	struct letter_pool pool;
	struct envelope envelope = make(1);
	struct letter *popped;

	(void)state;
	assert_int_equal(rli_letter_pool_init(&pool, 3), 0);
	assert_true(push(&mailbox, &pool, &envelope));
	popped = rli_mailbox_pop(&mailbox);
	envelope = make(2);
	assert_true(push(&mailbox, &pool, &envelope));
	check(popped, 1);
	rli_letter_give(&pool, popped);
	popped = rli_mailbox_pop(&mailbox);
	check(popped, 2);
	assert_int_equal(mailbox.count, 0);
	rli_letter_give(&pool, popped);
	rli_letter_pool_fini(&pool);
}

static void
pool_without_address_space_answers_enomem(void **state)
{
	struct letter_pool pool;

	(void)state;
	assert_int_equal(rli_letter_pool_init(&pool, 1), 0);
	rli_letter_pool_fini(&pool);
	rli_letter_pool_fini(&pool);
}

typedef void (*copy_fn)(uint8_t *to, const void *data, size_t len);

static void
envelope_copy(uint8_t *to, const void *data, size_t len)
{
	envelope_copy_payload(to, data, len);
}

static void
letter_copy(uint8_t *to, const void *data, size_t len)
{
	letter_copy_payload(to, data, len);
}

/* Whole, from any address, and nothing beside it. */
static void
payload_of_each_length_is_copied_whole(void **state)
{
	static const copy_fn copies[] = { envelope_copy, letter_copy };
	uint8_t from[RL_MSG_INLINE_MAX + 8];
	uint8_t to[RL_MSG_INLINE_MAX + 16];

	(void)state;
	for (size_t i = 0; i < sizeof(from); i++) {
		from[i] = (uint8_t)(i + 1);
	}
	for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]); i++) {
		for (size_t len = 0; len <= RL_MSG_INLINE_MAX; len++) {
			for (size_t at = 0; at < 8; at++) {
				memset(to, 0, sizeof(to));
				copies[i](to, from + at, len);
				assert_memory_equal(to, from + at, len);
				for (size_t rest = len; rest < sizeof(to); rest++) {
					assert_int_equal(to[rest], 0);
				}
			}
		}
	}
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
model_push(struct model *model, struct letter_pool *pool)
{
	struct envelope envelope = make(model->last);
	bool expected = model->last - model->first != MODEL_COUNT_MAX &&
			rli_letters_taken(pool) != MODEL_POOL;

	assert_int_equal(push(&model->mailbox, pool, &envelope), expected);
	model->last += expected ? 1 : 0;
}

static void
model_pop(struct model *model, struct letter_pool *pool)
{
	struct letter *letter;

	if (model->first == model->last) {
		assert_int_equal(model->mailbox.count, 0);
		return;
	}
	letter = rli_mailbox_pop(&model->mailbox);
	check(letter, model->first);
	model->first++;
	rli_letter_give(pool, letter);
}

static void
run_model(uint64_t seed)
{
	struct model models[2] = { { .mailbox.limit = MODEL_COUNT_MAX },
				   { .mailbox.limit = MODEL_COUNT_MAX } };
	struct letter_pool pool;
	uint32_t step;

	assert_int_equal(rli_letter_pool_init(&pool, MODEL_POOL), 0);
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
		assert_int_equal(rli_letters_taken(&pool),
				 models[0].mailbox.count + models[1].mailbox.count);
	}
	rli_letter_pool_fini(&pool);
}

static void
mailbox_random_use_matches_the_model(void **state)
{
	(void)state;
	unit_each_seed(run_model, 5);
}

/* More than the stack of free ones has memory for at first; the last one given is taken next. */
static void
pool_of_many_gives_each_once(void **state)
{
	enum {
		MANY = 20000
	};
	static struct letter *taken[MANY];
	struct letter_pool pool;

	(void)state;
	assert_int_equal(rli_letter_pool_init(&pool, MANY), 0);
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < MANY; i++) {
			taken[i] = rli_letter_take(&pool);
			assert_non_null(taken[i]);
			memcpy(taken[i]->msg.user.data, &i, sizeof(i));
		}
		assert_null(rli_letter_take(&pool));
		assert_int_equal(rli_letters_taken(&pool), MANY);
		for (uint32_t i = 0; i < MANY; i++) {
			assert_memory_equal(taken[i]->msg.user.data, &i, sizeof(i));
			rli_letter_give(&pool, taken[i]);
		}
		assert_int_equal(rli_letters_taken(&pool), 0);
	}
	assert_ptr_equal(rli_letter_take(&pool), taken[MANY - 1]);
	rli_letter_pool_fini(&pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mailbox_zeroed_is_empty_and_takes_nothing),
		cmocka_unit_test(mailbox_appended_comes_out_in_order),
		cmocka_unit_test(mailbox_full_takes_nothing),
		cmocka_unit_test(mailbox_empty_pool_gives_nothing),
		cmocka_unit_test(mailbox_appended_to_after_its_last_was_popped),
		cmocka_unit_test(pool_without_address_space_answers_enomem),
		cmocka_unit_test(pool_of_many_gives_each_once),
		cmocka_unit_test(payload_of_each_length_is_copied_whole),
		cmocka_unit_test(mailbox_random_use_matches_the_model),
	};

	return unit_run(tests);
}
