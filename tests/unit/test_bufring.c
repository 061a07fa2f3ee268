/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: each buffer is in exactly one place, the kernel sees what was published and nothing
 *         else, memory goes after unregistering.
 * How: a kernel played by the test, which takes entries from the ring and fills them.
 * Not: a real kernel; test_ring_uring registers with one.
 * Guards: pitfall 12, pitfall 24, pitfall 27, pitfall 35, pitfall 36.
 */
#include "unit.h"

#include <errno.h>

#include "fake_ring.h"
#include "shard/bufring.h"
#include "unit_memory.h"

static struct counters counters;
static struct ring *ring;

static int
bed_setup(void **state)
{
	(void)state;
	memset(&counters, 0, sizeof(counters));
	fake_ring_plan = (struct fake_ring_plan){ 0 };
	fake_ring_trace_clear();
	ring = fake_ring_create(8);
	return 0;
}

static int
bed_teardown(void **state)
{
	(void)state;
	rli_ring_close(ring);
	return 0;
}

static uint16_t
tail_seen(const struct bufring *bufring)
{
	return io_uring_smp_load_acquire(&bufring->ring->tail);
}

static void
bufring_close(struct bufring *bufring)
{
	rli_bufring_unregister(bufring, ring);
	ring->buffers_seen = NULL; /* the fake looks at it when it closes, which is later here */
	rli_bufring_fini(bufring);
}

static void
bufring_fresh_is_registered_with_all_buffers_home(void **state)
{
	struct bufring bufring;
	uint32_t id;

	(void)state;
	assert_int_equal(rli_bufring_init(&bufring, ring, 64, 4096, &counters), 0);
	assert_string_equal(fake_ring_trace(), "register");
	assert_ptr_equal(ring->buffers, bufring.ring);
	assert_int_equal((uintptr_t)bufring.ring % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
	assert_int_equal(ring->buffers_entries, 64);
	assert_int_equal(ring->buffers_group, BUFRING_GROUP);
	assert_int_equal(bufring.home, 64);
	assert_int_equal(tail_seen(&bufring), 64);
	for (id = 0; id < 64; id++) {
		const struct io_uring_buf *buf = &bufring.ring->bufs[id];

		assert_int_equal(buf->bid, id);
		assert_int_equal(buf->len, 4096);
		assert_true(buf->addr == (uintptr_t)rli_bufring_data(&bufring, (uint16_t)id));
		assert_false(bufring.slots[id].lent);
	}
	bufring_close(&bufring);
}

/* Every byte of every buffer is its own, and no buffer reaches into the ring or the slots. */
static void
bufring_buffers_do_not_overlap(void **state)
{
	struct bufring bufring;
	uint32_t id;
	uint32_t i;

	(void)state;
	assert_int_equal(rli_bufring_init(&bufring, ring, 16, 1024, &counters), 0);
	for (id = 0; id < 16; id++) {
		memset(rli_bufring_data(&bufring, (uint16_t)id), (int)id + 1, 1024);
	}
	for (id = 0; id < 16; id++) {
		const uint8_t *data = rli_bufring_data(&bufring, (uint16_t)id);

		for (i = 0; i < 1024; i++) {
			assert_int_equal(data[i], id + 1);
		}
		assert_int_equal(bufring.ring->bufs[id].bid, id);
		assert_false(bufring.slots[id].lent);
	}
	bufring_close(&bufring);
}

static void
bufring_lent_slot_describes_the_buffer(void **state)
{
	struct bufring bufring;
	struct bufring_slot *slot;
	struct rl_stats stats = { 0 };

	(void)state;
	assert_int_equal(rli_bufring_init(&bufring, ring, 8, 2048, &counters), 0);
	slot = rli_bufring_lend(&bufring, 5, 2048);
	assert_ptr_equal(slot, &bufring.slots[5]);
	assert_int_equal(slot->start, 0);
	assert_int_equal(slot->len, 2048);
	assert_int_equal(slot->next, BUFRING_NONE);
	assert_true(slot->lent);
	assert_int_equal(bufring.home, 7);
	slot->start = 100;
	slot->next = 3;
	rli_bufring_return(&bufring, 5);
	slot = rli_bufring_lend(&bufring, 5, 0); /* nothing of the last time is left */
	assert_int_equal(slot->start, 0);
	assert_int_equal(slot->next, BUFRING_NONE);
	rli_bufring_return(&bufring, 5);

	rli_counters_sum(&counters, &stats);
	assert_int_equal(stats.bufs_lent, 2);
	assert_int_equal(stats.bufs_home, 2);
	bufring_close(&bufring);
}

static void
bufring_returned_is_seen_by_the_kernel_at_the_publish(void **state)
{
	struct bufring bufring;

	(void)state;
	assert_int_equal(rli_bufring_init(&bufring, ring, 8, 2048, &counters), 0);
	(void)rli_bufring_lend(&bufring, 0, 1);
	(void)rli_bufring_lend(&bufring, 1, 1);
	rli_bufring_publish(&bufring);
	assert_int_equal(tail_seen(&bufring), 8); /* nothing came home yet */
	rli_bufring_return(&bufring, 1);
	rli_bufring_return(&bufring, 0);
	assert_int_equal(bufring.home, 8);
	assert_int_equal(tail_seen(&bufring), 8);
	rli_bufring_publish(&bufring);
	assert_int_equal(tail_seen(&bufring), 10);
	assert_int_equal(bufring.ring->bufs[8 % 8].bid, 1); /* in the order of the returns */
	assert_int_equal(bufring.ring->bufs[9 % 8].bid, 0);
	bufring_close(&bufring);
}

static void
bufring_refused_by_the_kernel_leaves_nothing(void **state)
{
	static const int answers[] = { -EINVAL, -ENOMEM, -EEXIST };
	size_t before = rli_host_pages_committed();
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(answers); i++) {
		struct bufring bufring;

		fake_ring_trace_clear();
		fake_ring_plan.buffers_rc = answers[i];
		assert_int_equal(rli_bufring_init(&bufring, ring, 8, 1024, &counters), answers[i]);
		assert_int_equal(rli_host_pages_committed(), before);
		rli_bufring_unregister(&bufring, ring); /* was never registered */
		assert_string_equal(fake_ring_trace(), "register");
		rli_bufring_fini(&bufring);
	}
}

/* Not even the page that a reservation needs for itself; then that, but not the buffers. */
static void
bufring_without_memory_answers_enomem(void **state)
{
	size_t before = rli_host_pages_committed();
	size_t pages;

	(void)state;
	if (!unit_memory_can_fail()) {
		return;
	}
	for (pages = 0; pages < 2; pages++) {
		struct rlimit limit = unit_memory_begin(pages);
		struct bufring bufring;
		int rc = rli_bufring_init(&bufring, ring, 8, 1024, &counters);

		unit_memory_end(limit);
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(rli_host_pages_committed(), before);
		rli_bufring_unregister(&bufring, ring);
		rli_bufring_fini(&bufring);
		assert_string_equal(fake_ring_trace(), "");
	}
}

static void
bufring_ended_twice_is_harmless(void **state)
{
	struct bufring bufring;

	(void)state;
	assert_int_equal(rli_bufring_init(&bufring, ring, 8, 1024, &counters), 0);
	bufring_close(&bufring);
	bufring_close(&bufring);
	assert_string_equal(fake_ring_trace(), "register unregister");
}

static void
lend_twice(void *bufring)
{
	(void)rli_bufring_lend(bufring, 3, 1);
	(void)rli_bufring_lend(bufring, 3, 1);
}

static void
return_twice(void *bufring)
{
	(void)rli_bufring_lend(bufring, 3, 1);
	rli_bufring_return(bufring, 3);
	rli_bufring_return(bufring, 3);
}

static void
return_never_lent(void *bufring)
{
	rli_bufring_return(bufring, 0);
}

static void
lend_unknown(void *bufring)
{
	(void)rli_bufring_lend(bufring, 8, 1);
}

static void
return_unknown(void *bufring)
{
	rli_bufring_return(bufring, BUFRING_NONE);
}

static void
lend_too_long(void *bufring)
{
	(void)rli_bufring_lend(bufring, 3, 1025);
}

/* A buffer that is in two places is how client A comes to read client B's data. */
static void
bufring_misused_asserts(void **state)
{
	struct bufring bufring;

	(void)state;
	assert_int_equal(rli_bufring_init(&bufring, ring, 8, 1024, &counters), 0);
	assert_true(unit_asserts(lend_twice, &bufring));
	assert_true(unit_asserts(return_twice, &bufring));
	assert_true(unit_asserts(return_never_lent, &bufring));
	assert_true(unit_asserts(lend_unknown, &bufring));
	assert_true(unit_asserts(return_unknown, &bufring));
	assert_true(unit_asserts(lend_too_long, &bufring));
	bufring_close(&bufring);
}

/* The model: where each buffer is, and what it was filled with. */
enum place {
	PLACE_RETURNED, /* home, but the kernel does not know yet */
	PLACE_KERNEL,
	PLACE_LENT,
};

#define MODEL_BUFFERS 64
#define MODEL_BYTES   1024

struct model {
	struct bufring bufring;
	enum place places[MODEL_BUFFERS];
	uint64_t marks[MODEL_BUFFERS];
	uint32_t lens[MODEL_BUFFERS];
	uint32_t lent;
	uint32_t head; /* the kernel's */
	uint64_t seed;
};

static void
mark_write(uint8_t *data, uint32_t len, uint64_t mark)
{
	uint32_t i;

	for (i = 0; i < len; i++) {
		data[i] = (uint8_t)(mark >> i % 8 * 8);
	}
}

static bool
mark_is(const uint8_t *data, uint32_t len, uint64_t mark)
{
	uint32_t i;

	for (i = 0; i < len && data[i] == (uint8_t)(mark >> i % 8 * 8); i++) {
	}
	return i == len;
}

/* The kernel takes the next entry, if it was published, and fills that buffer. */
static void
model_lend(struct model *model)
{
	struct bufring *bufring = &model->bufring;
	struct io_uring_buf buf;

	if ((uint16_t)model->head == tail_seen(bufring)) {
		return;
	}
	buf = bufring->ring->bufs[model->head++ % MODEL_BUFFERS];
	assert_in_range(buf.bid, 0, MODEL_BUFFERS - 1);
	assert_int_equal(model->places[buf.bid], PLACE_KERNEL);
	assert_int_equal(buf.len, MODEL_BYTES);
	assert_true(buf.addr == (uintptr_t)rli_bufring_data(bufring, buf.bid));
	model->places[buf.bid] = PLACE_LENT;
	model->lent++;
	model->lens[buf.bid] = (uint32_t)(unit_random(&model->seed) % (MODEL_BYTES + 1));
	model->marks[buf.bid] = unit_random(&model->seed);
	mark_write(rli_bufring_data(bufring, buf.bid), model->lens[buf.bid], model->marks[buf.bid]);
	assert_int_equal(rli_bufring_lend(bufring, buf.bid, model->lens[buf.bid])->len,
			 model->lens[buf.bid]);
}

static void
model_return(struct model *model)
{
	uint16_t id = (uint16_t)(unit_random(&model->seed) % MODEL_BUFFERS);

	if (model->places[id] != PLACE_LENT) {
		return;
	}
	assert_true(
		mark_is(rli_bufring_data(&model->bufring, id), model->lens[id], model->marks[id]));
	assert_int_equal(model->bufring.slots[id].len, model->lens[id]);
	rli_bufring_return(&model->bufring, id);
	model->places[id] = PLACE_RETURNED;
	model->lent--;
}

static void
model_publish(struct model *model)
{
	uint32_t id;

	rli_bufring_publish(&model->bufring);
	for (id = 0; id < MODEL_BUFFERS; id++) {
		if (model->places[id] == PLACE_RETURNED) {
			model->places[id] = PLACE_KERNEL;
		}
	}
}

static void
model_check(const struct model *model)
{
	uint32_t in_kernel = 0;
	uint32_t id;

	for (id = 0; id < MODEL_BUFFERS; id++) {
		in_kernel += model->places[id] == PLACE_KERNEL;
		assert_int_equal(model->bufring.slots[id].lent, model->places[id] == PLACE_LENT);
	}
	assert_int_equal((uint16_t)(tail_seen(&model->bufring) - model->head), in_kernel);
	assert_int_equal(model->bufring.home, MODEL_BUFFERS - model->lent);
}

/* Long enough for the 16-bit tail to wrap more than once. */
static void
run_model(uint64_t seed)
{
	struct model model = { .seed = seed };
	struct rl_stats stats = { 0 };
	uint32_t step;

	memset(&counters, 0, sizeof(counters));
	assert_int_equal(
		rli_bufring_init(&model.bufring, ring, MODEL_BUFFERS, MODEL_BYTES, &counters), 0);
	model_publish(&model);
	for (step = 0; step < 300000; step++) {
		uint32_t choice = unit_random(&model.seed) % 16;

		if (choice < 6) {
			model_lend(&model);
		} else if (choice < 15) {
			model_return(&model);
		} else {
			model_publish(&model);
			model_check(&model);
		}
	}
	while (model.lent > 0) {
		model_return(&model);
	}
	model_publish(&model);
	model_check(&model);
	assert_int_equal(model.bufring.home, MODEL_BUFFERS);
	rli_counters_sum(&counters, &stats);
	assert_true(stats.bufs_lent > 65536);
	assert_int_equal(stats.bufs_lent, stats.bufs_home);
	bufring_close(&model.bufring);
}

static void
bufring_random_use_keeps_each_buffer_in_one_place(void **state)
{
	(void)state;
	unit_each_seed(run_model, 3);
}

/* The largest ring there is: half of what a 16-bit tail counts, with ids up to 32767. */
static void
bufring_largest_goes_round_twice(void **state)
{
	struct bufring bufring;
	uint32_t i;

	(void)state;
	assert_int_equal(rli_bufring_init(&bufring, ring, 32768, 16, &counters), 0);
	assert_int_equal(tail_seen(&bufring), 32768);
	for (i = 0; i < 2 * 65536; i++) {
		uint16_t id = bufring.ring->bufs[i % 32768].bid;

		assert_int_equal(id, i % 32768);
		(void)rli_bufring_lend(&bufring, id, 16);
		rli_bufring_return(&bufring, id);
		rli_bufring_publish(&bufring);
		assert_int_equal(tail_seen(&bufring), (uint16_t)(32768 + i + 1));
	}
	bufring_close(&bufring);
}

#define on_bed(test) cmocka_unit_test_setup_teardown(test, bed_setup, bed_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(bufring_fresh_is_registered_with_all_buffers_home),
		on_bed(bufring_buffers_do_not_overlap),
		on_bed(bufring_lent_slot_describes_the_buffer),
		on_bed(bufring_returned_is_seen_by_the_kernel_at_the_publish),
		on_bed(bufring_refused_by_the_kernel_leaves_nothing),
		on_bed(bufring_without_memory_answers_enomem),
		on_bed(bufring_ended_twice_is_harmless),
		on_bed(bufring_misused_asserts),
		on_bed(bufring_random_use_keeps_each_buffer_in_one_place),
		on_bed(bufring_largest_goes_round_twice),
	};

	return unit_run(tests);
}
