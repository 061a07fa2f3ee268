/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a counted buffer lives until its last reference on any shard was released, and no
 *         longer; the handles of other shards go home, also when there is no room at first; what
 *         can't be had is refused with nothing taken.
 * How: two shards, each turn by hand.
 * Not: two threads at once (stress_mesh, the simulator).
 */
#include "unit_bufs.h"

static struct rl_buf *kept[8];
static uint32_t kept_count;

static int
hook_keep(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)self;
	if (msg->kind == BED_KIND && rl_msg_buf(msg) != NULL) {
		assert_int_equal(msg->len, 0);
		kept[kept_count++] = rl_buf_ref(rl_msg_buf(msg));
	}
	return 0;
}

static void
keep_all(void)
{
	kept_count = 0;
	bed.hook = hook_keep;
}

static void
buf_refused_takes_nothing(void **state)
{
	struct rl_shard *shard = &bed.shards[0];
	struct rl_buf *bufs[16];
	struct rl_buf *buf = bufs[0] = NULL;
	void *data;

	(void)state;
	rli_shard_current = shard;
	assert_int_equal(rl_buf_take(shard, 0, &buf, &data), -EINVAL);
	assert_int_equal(rl_buf_take(shard, RL_BUF_MAX + 1, &buf, &data), -EMSGSIZE);
	assert_int_equal(rl_buf_take(&bed.shards[1], 1, &buf, &data), -EPERM);
	assert_null(buf);
	assert_null(data);
	for (uint32_t i = 0; i < UNIT_COUNT(bufs); i++) {
		assert_int_equal(rl_buf_take(shard, 1, &bufs[i], &data), 0);
	}
	assert_int_equal(rl_buf_take(shard, 1, &buf, &data), -ENOBUFS); /* bufs_max */
	assert_null(buf);
	for (uint32_t i = 0; i < UNIT_COUNT(bufs); i++) {
		rl_buf_release(bufs[i]);
	}
	rl_buf_release(NULL);
	bufs_assert_all_home();
}

/* The handle is given back when there is no memory to go with it. */
static void
buf_without_memory_answers_enobufs(void **state)
{
	struct rl_shard *shard = &bed.shards[0];
	struct rl_buf *bufs[32];
	uint32_t count = 0;
	void *data;
	int rc = 0;

	(void)state;
	rli_actors_fini(shard);
	memset(&bed.actors[0], 0, sizeof(bed.actors[0]));
	bed.config.bufs_max = UNIT_COUNT(bufs); /* more than its 1 MiB of memory is for */
	assert_int_equal(rli_actors_init(shard), 0);
	rli_shard_current = shard;
	while (rc == 0) {
		assert_true(count < UNIT_COUNT(bufs));
		rc = rl_buf_take(shard, RL_BUF_MAX, &bufs[count], &data);
		count += rc == 0;
	}
	assert_int_equal(rc, -ENOBUFS);
	assert_int_equal(count, 16);
	assert_int_equal(bed.actors[0].bufs.taken, count);
	while (count > 0) {
		rl_buf_release(bufs[--count]);
	}
	bufs_assert_all_home();
}

static void
buf_lives_until_its_last_release(void **state)
{
	struct rl_buf *buf = bufs_take(0, 7);

	(void)state;
	assert_ptr_equal(rl_buf_ref(buf), buf);
	rl_buf_release(buf);
	assert_int_equal(bed_stats(0).shared_bufs_freed, 0);
	assert_int_equal(bufs_number(buf), 7);
	rl_buf_release(buf);
	assert_int_equal(bed_stats(0).shared_bufs_freed, 1);
	bufs_assert_all_home();
}

static void
die_ref(void *arg)
{
	rli_shard_current = &bed.shards[1];
	(void)rl_buf_ref(arg);
}

static void
die_release(void *arg)
{
	rli_shard_current = &bed.shards[1];
	rl_buf_release(arg);
}

static void
die_release_twice(void *arg)
{
	rl_buf_release(arg);
	rl_buf_release(arg);
}

/* By an actor of a shard that the handle is not for. */
static void
die_send_of_another(void *arg)
{
	struct rl_actor *actor = bed_spawn(1);

	(void)bufs_send(actor, actor->id, arg);
}

static void
buf_misused_asserts(void **state)
{
	struct rl_buf *buf = bufs_take(0, 7);

	(void)state;
	assert_true(unit_dies(die_ref, buf, SIGABRT, "rli_shard_current"));
	assert_true(unit_dies(die_release, buf, SIGABRT, "rli_shard_current"));
	assert_true(unit_dies(die_release_twice, buf, SIGABRT, "refs >= count"));
	assert_true(unit_dies(die_send_of_another, buf, SIGABRT, "buf->shard == self->shard"));
	rl_buf_release(buf);
}

/* Borrowed by the handler, unless it says that it keeps it. */
static void
buf_of_a_message_is_borrowed(void **state)
{
	struct rl_actor *actor = bed_spawn(0);
	struct rl_buf *buf = bufs_take(0, 7);

	(void)state;
	assert_int_equal(bufs_send(actor, actor->id, buf), 0);
	assert_int_equal(bufs_refs(buf), 1);
	bed_settle();
	assert_int_equal(bed_got(actor, BED_KIND, NULL), 1);
	bufs_assert_all_home();

	keep_all();
	buf = bufs_take(0, 8);
	assert_int_equal(bufs_send(actor, actor->id, buf), 0);
	bed_settle();
	assert_int_equal(kept_count, 1);
	assert_ptr_equal(kept[0], buf);
	assert_int_equal(bufs_number(kept[0]), 8);
	bufs_release(kept[0]);
	bufs_assert_all_home();
}

/* A handle of its own, the same memory; it goes home with the last release there. */
static void
buf_crosses_and_comes_home(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(1);
	struct rl_buf *buf = bufs_take(0, 9);

	(void)state;
	keep_all();
	for (uint32_t i = 0; i < 3; i++) {
		rli_shard_current = &bed.shards[0];
		assert_int_equal(bufs_send(from, to->id, rl_buf_ref(buf)), 0);
	}
	bed_settle();
	assert_int_equal(kept_count, 3);
	assert_ptr_not_equal(kept[0], buf);
	assert_ptr_equal(kept[1], kept[0]);
	assert_ptr_equal(kept[0]->data, buf->data);
	assert_int_equal(bufs_number(kept[0]), 9);
	assert_int_equal(bufs_refs(buf), 4);
	bufs_release(kept[0]);
	bufs_release(kept[1]);
	bed_settle();
	assert_int_equal(bufs_refs(buf), 4); /* all at once, with the last */
	bufs_release(kept[2]);
	bed_settle();
	assert_int_equal(bufs_refs(buf), 1);

	/* and again with the same handle */
	assert_int_equal(bufs_send(from, to->id, buf), 0);
	bed_settle();
	assert_int_equal(kept_count, 4);
	assert_ptr_equal(kept[3], kept[0]);
	assert_int_equal(bed_stats(0).shared_bufs_freed, 0);
	bufs_release(kept[3]);
	bed_settle();
	bufs_assert_all_home();
}

/* Give the one that was kept up, and get another. */
static void
swap_kept(struct rl_actor *from, const struct rl_actor *to, struct rl_buf *buf)
{
	bufs_release(kept[kept_count - 1]);
	rli_shard_current = from->shard;
	assert_int_equal(bufs_send(from, to->id, rl_buf_ref(buf)), 0);
	rli_actors_flush_mesh(from->shard);
	kept_count = 0;
	(void)bed_turn_unflushed(to->shard->id);
}

/* References that are given up while the return waits for room go with it. */
static void
buf_return_waits_for_room(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(1);
	struct rl_buf *buf = bufs_take(0, 9);
	const struct buf *loan;

	(void)state;
	keep_all();
	assert_int_equal(bufs_send(from, to->id, rl_buf_ref(buf)), 0);
	bed_settle();
	loan = rli_buf_of(kept[0]);
	(void)bed_fill(to, from->id);
	for (uint32_t i = 0; !rli_obligation_waits(&loan->home); i++) {
		assert_true(i < 1000); /* the reserved blocks first */
		swap_kept(from, to, buf);
	}
	for (uint32_t i = 0; i < 3; i++) { /* it waits: these join it */
		swap_kept(from, to, buf);
	}
	bufs_release(kept[kept_count - 1]);
	bufs_release(buf);
	bed.hook = NULL;
	bed_forget();
	bed_settle();
	bufs_assert_all_home();
}

/* A borrower lends on: here back to the shard that it has it from. */
static void
buf_lent_on_comes_home_by_the_same_way(void **state)
{
	struct rl_actor *from = bed_spawn(0);
	struct rl_actor *to = bed_spawn(1);
	struct rl_buf *buf = bufs_take(0, 9);

	(void)state;
	keep_all();
	assert_int_equal(bufs_send(from, to->id, buf), 0);
	bed_settle();
	assert_int_equal(bufs_send(to, from->id, kept[0]), 0);
	bed_settle();
	assert_int_equal(kept_count, 2);
	assert_ptr_not_equal(kept[1], buf);
	assert_ptr_equal(rli_buf_of(kept[1])->shard, &bed.shards[0]);
	assert_int_equal(bufs_number(kept[1]), 9);
	assert_int_equal(bed_stats(0).shared_bufs_freed, 0);
	bufs_release(kept[1]);
	bed_settle();
	bufs_assert_all_home();
}

static void
buf_that_the_program_kept_is_told(void **state)
{
	(void)state;
	(void)bufs_take(0, 1);
	(void)bufs_take(0, 2);
	rli_bufs_fini(&bed.shards[0]);
	assert_int_equal(bed.log.lines, 1);
	assert_non_null(strstr(bed.log.text, "2 counted buffers"));
	bed.log.lines = 0;
	assert_int_equal(rli_bufs_init(&bed.shards[0]), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_bed(buf_refused_takes_nothing),
		on_bed(buf_without_memory_answers_enobufs),
		on_bed(buf_lives_until_its_last_release),
		on_bed(buf_misused_asserts),
		on_bed(buf_of_a_message_is_borrowed),
		on_bed(buf_crosses_and_comes_home),
		on_bed(buf_return_waits_for_room),
		on_bed(buf_lent_on_comes_home_by_the_same_way),
		on_bed(buf_that_the_program_kept_is_told),
	};

	return unit_run(tests);
}
