/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: who is restarted with whom and in which order, when and when not, by every strategy; the
 *         delay grows and begins anew; too many restarts end the supervisor, and its own counts
 *         that; the end of all kinds stops children last to first.
 * How: children that write down their starts and stops, on a shard with a clock by hand.
 * Not: connections as children; test_supervised.c in tests/integration has those.
 */
#include "supervisor_bed.h"

static struct rl_actor *watched;
static struct rl_msg watched_down;

static int
hook_watch(struct rl_actor *self, const struct rl_msg *msg)
{
	if (msg->kind == RL_MSG_START) {
		return rl_actor_monitor(self, rl_actor_self(watched), NULL);
	}
	if (msg->kind == RL_MSG_DOWN) {
		watched_down = *msg;
	}
	return 0;
}

/* Note how @actor ends. */
static void
watch(struct rl_actor *actor)
{
	watched = actor;
	watched_down = (struct rl_msg){ 0 };
	bed.hook = hook_watch;
	(void)bed_spawn(NULL);
	kids_settle();
}

/* The same for a supervisor that may not get far: the watcher runs first. */
static void
watch_from_the_start(struct rl_supervisor_def *def)
{
	watched_down = (struct rl_msg){ 0 };
	bed.hook = hook_watch;
	(void)bed_spawn(NULL);
	assert_int_equal(rli_actor_spawn(&bed.shard, &rl_supervisor, def, &watched), 0);
	kids_settle();
}

static void
assert_went(enum rl_reason reason, int error)
{
	assert_int_equal(watched_down.kind, RL_MSG_DOWN);
	assert_int_equal(watched_down.down.reason, reason);
	assert_int_equal(watched_down.down.error, error);
}

static const struct rl_child_def three[] = { KID(0), KID(1), KID(2) };

static void
supervisor_strategies_restart_whom_they_name(void **state)
{
	static const struct {
		enum rl_strategy strategy;
		const char *stopped;
		const char *started;
	} rows[] = {
		{ RL_ONE_FOR_ONE, "-b", "+b" },
		{ RL_ONE_FOR_ALL, "-b-c-a", "+a+b+c" },
		{ RL_REST_FOR_ONE, "-b-c", "+b+c" },
	};
	static struct rl_supervisor_def def = { .children = three, .children_count = 3 };

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(rows); i++) {
		struct rl_actor *sup;

		def.strategy = rows[i].strategy;
		sup = kids_supervise(&def);
		assert_string_equal(kid_look(), "+a+b+c");
		kid_end(1, RL_REASON_FAILURE, -EIO);
		assert_string_equal(kid_look(), rows[i].stopped);
		assert_delay(kids_wait(), (uint64_t)RL_MS(100));
		assert_string_equal(kid_look(), rows[i].started);
		rli_actor_end(sup, RL_REASON_LOCAL, 0);
		kids_settle();
		assert_string_equal(kid_look(), "-c-b-a");
		assert_int_equal(bed.actors.live, 0);
	}
}

static void
supervisor_of_the_last_child_stops_nobody_for_the_rest(void **state)
{
	static struct rl_supervisor_def def = {
		.strategy = RL_REST_FOR_ONE,
		.children = three,
		.children_count = 3,
	};

	(void)state;
	(void)kids_supervise(&def);
	(void)kid_look();
	kid_end(2, RL_REASON_FAILURE, -EIO);
	(void)kids_wait();
	assert_string_equal(kid_look(), "-c+c");
	kid_end(0, RL_REASON_FAILURE, -EIO);
	(void)kids_wait();
	assert_string_equal(kid_look(), "-a-c-b+a+b+c");
}

/* Whoever ends while it is to be stopped anyway is no second failure. */
static void
supervisor_counts_a_common_failure_once(void **state)
{
	static struct rl_supervisor_def def = {
		.strategy = RL_ONE_FOR_ALL,
		.restarts_max = 1,
		.children = three,
		.children_count = 3,
	};

	(void)state;
	(void)kids_supervise(&def);
	(void)kid_look();
	rli_actor_end(kids[0].actor, RL_REASON_FAILURE, -EIO);
	rli_actor_end(kids[1].actor, RL_REASON_FAILURE, -EIO);
	rli_actor_end(kids[2].actor, RL_REASON_FAILURE, -EIO);
	kids_settle();
	assert_string_equal(kid_look(), "-a-b-c");
	assert_delay(kids_wait(), (uint64_t)RL_MS(100));
	assert_string_equal(kid_look(), "+a+b+c");
}

static void
supervisor_restarts_by_reason_as_the_child_asks(void **state)
{
	static struct rl_child_def children[] = { KID(0), KID(1), KID(2) };
	static struct rl_supervisor_def def = { .children = children, .children_count = 3 };
	static const enum rl_reason normal[] = { RL_REASON_LOCAL, RL_REASON_PEER_FIN };

	(void)state;
	children[1].restart = RL_TRANSIENT;
	children[2].restart = RL_TEMPORARY;
	for (uint32_t i = 0; i < UNIT_COUNT(normal); i++) {
		struct rl_actor *sup = kids_supervise(&def);

		(void)kid_look();
		kid_end(0, normal[i], 0);
		(void)kids_wait();
		kid_end(1, RL_REASON_PEER_RST, 0);
		(void)kids_wait();
		assert_string_equal(kid_look(), "-a+a-b+b");
		kid_end(1, normal[i], 0);
		kid_end(2, RL_REASON_FAILURE, -EIO);
		assert_string_equal(kid_look(), "-b-c");
		kids_pass((uint64_t)RL_SEC(60));
		assert_string_equal(kid_look(), "");
		rli_actor_end(sup, RL_REASON_LOCAL, 0);
		kids_settle();
		assert_string_equal(kid_look(), "-a");
	}
}

static void
supervisor_starts_transient_ones_again_with_others(void **state)
{
	static struct rl_child_def children[] = { KID(0), KID(1), KID(2), KID(3) };
	static struct rl_supervisor_def def = {
		.strategy = RL_ONE_FOR_ALL,
		.children = children,
		.children_count = 4,
	};

	(void)state;
	children[1].restart = RL_TRANSIENT;
	children[2].restart = RL_TEMPORARY;
	children[3].restart = RL_TEMPORARY;
	(void)kids_supervise(&def);
	kid_end(1, RL_REASON_LOCAL, 0);
	kid_end(2, RL_REASON_LOCAL, 0);
	kids_pass((uint64_t)RL_SEC(60));
	assert_string_equal(kid_look(), "+a+b+c+d-b-c");
	kid_end(0, RL_REASON_LOCAL, 0);
	assert_string_equal(kid_look(), "-a-d");
	(void)kids_wait();
	assert_string_equal(kid_look(), "+a+b");
}

static void
supervisor_backoff_doubles_and_begins_anew(void **state)
{
	static const struct rl_child_def one[] = { KID(0) };
	static struct rl_supervisor_def def = {
		.restarts_max = -1,
		.backoff_min_ns = RL_MS(10),
		.backoff_max_ns = RL_MS(100),
		.children = one,
		.children_count = 1,
	};
	static const uint64_t delays_ms[] = { 10, 20, 40, 80, 100, 100, 100 };

	(void)state;
	(void)kids_supervise(&def);
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < UNIT_COUNT(delays_ms); i++) {
			kid_end(0, RL_REASON_FAILURE, -EIO);
			(void)kid_look();
			assert_delay(kids_wait(), (uint64_t)RL_MS(delays_ms[i]));
			kids_pass((uint64_t)RL_MS(100) - 1); /* not long enough */
		}
		kids_pass(1);
	}
}

static void
supervisor_without_backoff_restarts_in_the_next_tick(void **state)
{
	static const struct rl_child_def one[] = { KID(0) };
	static struct rl_supervisor_def def = {
		.restarts_max = -1,
		.backoff_min_ns = -1,
		.children = one,
		.children_count = 1,
	};

	(void)state;
	(void)kids_supervise(&def);
	for (uint32_t i = 0; i < 200; i++) {
		kid_end(0, RL_REASON_FAILURE, -EIO);
		(void)kid_look();
		assert_in_range(kids_wait(), 1, 2 * BED_TICK_NS);
	}
}

/* One child that always fails is not enough for the defaults, as supervisor.h says. */
static void
supervisor_of_the_defaults_keeps_on_trying_with_one(void **state)
{
	static struct rl_supervisor_def def = { .children = three, .children_count = 1 };
	uint64_t end_ns = bed.shard.now_ns + 300 * (uint64_t)RL_SEC(1);
	uint32_t restarts = 0;

	(void)state;
	kids[0].start_answer = -EIO;
	watch(kids_supervise(&def));
	while (bed.shard.now_ns < end_ns) {
		(void)kid_look();
		(void)kids_wait();
		restarts++;
	}
	assert_in_range(restarts, 35, 80);
	assert_int_equal(watched_down.kind, 0);
}

static void
supervisor_gives_up_when_the_window_is_full(void **state)
{
	static struct rl_supervisor_def def = {
		.restarts_max = 2,
		.window_ns = RL_SEC(1),
		.backoff_min_ns = -1,
		.children = three,
		.children_count = 3,
	};
	static const uint64_t pauses_ms[] = { 0, 600, 500, 500, 400 }; /* 0, 600, 1100, ... */

	(void)state;
	watch(kids_supervise(&def));
	for (uint32_t i = 0; i < UNIT_COUNT(pauses_ms); i++) {
		kids_pass((uint64_t)RL_MS(pauses_ms[i]));
		(void)kid_look();
		kid_end(1, RL_REASON_FAILURE, -EIO);
		assert_int_equal(watched_down.kind, i < 4 ? 0 : RL_MSG_DOWN);
		if (i < 4) {
			kids_pass(BED_TICK_NS * 2);
			assert_string_equal(kid_look(), "-b+b");
		}
	}
	assert_string_equal(kid_look(), "-b-c-a");
	assert_went(RL_REASON_FAILURE, -ECANCELED);
	assert_int_equal(bed.log.level, RL_LOG_WARN);
	assert_non_null(strstr(bed.log.text, "gives up"));
}

/* a, {c, d}, b: the inner one gives up, the outer one starts it again, and gives up in its turn. */
static void
supervisor_failure_escalates_over_two_levels(void **state)
{
	static const struct rl_child_def inner_children[] = { KID(2), KID(3) };
	static struct rl_supervisor_def inner = {
		.restarts_max = 1,
		.backoff_min_ns = -1,
		.children = inner_children,
		.children_count = 2,
	};
	static const struct rl_child_def outer_children[] = {
		KID(0),
		{ .name = "inner", .def = &rl_supervisor, .arg = &inner },
		KID(1),
	};
	static struct rl_supervisor_def outer = {
		.strategy = RL_ONE_FOR_ALL,
		.restarts_max = 1,
		.children = outer_children,
		.children_count = 3,
	};

	(void)state;
	watch(kids_supervise(&outer));
	assert_string_equal(kid_look(), "+a+b+c+d");
	kid_end(2, RL_REASON_FAILURE, -EIO);
	(void)kids_wait();
	kids_pass(BED_TICK_NS * 2);
	assert_string_equal(kid_look(), "-c+c");
	kid_end(2, RL_REASON_FAILURE, -EIO);
	assert_string_equal(kid_look(), "-c-d-b-a");
	assert_delay(kids_wait(), (uint64_t)RL_MS(100));
	assert_string_equal(kid_look(), "+a+b+c+d");
	assert_int_equal(watched_down.kind, 0);

	/* the inner one as part of the whole: its children are stopped in their turn */
	kid_end(2, RL_REASON_FAILURE, -EIO);
	kids_pass(BED_TICK_NS * 2);
	assert_string_equal(kid_look(), "-c+c");
	kid_end(0, RL_REASON_FAILURE, -EIO);
	assert_string_equal(kid_look(), "-a-b-d-c");
	assert_went(RL_REASON_FAILURE, -ECANCELED);
	assert_int_equal(bed.actors.live, 1); /* the watcher */
}

/* a, {b, {c, d}}: each level waits for the one inside it. */
static void
supervisor_stopped_by_its_own_ends_after_its_children(void **state)
{
	static const struct rl_child_def inner_children[] = { KID(2), KID(3) };
	static struct rl_supervisor_def inner = { .children = inner_children, .children_count = 2 };
	static const struct rl_child_def middle_children[] = {
		KID(1),
		{ .name = "inner", .def = &rl_supervisor, .arg = &inner },
	};
	static struct rl_supervisor_def middle = {
		.children = middle_children,
		.children_count = 2,
	};
	static const struct rl_child_def outer_children[] = {
		KID(0),
		{ .name = "middle", .def = &rl_supervisor, .arg = &middle },
	};
	static struct rl_supervisor_def outer = {
		.strategy = RL_ONE_FOR_ALL,
		.children = outer_children,
		.children_count = 2,
	};

	(void)state;
	(void)kids_supervise(&outer);
	assert_string_equal(kid_look(), "+a+b+c+d");
	kid_end(0, RL_REASON_FAILURE, -EIO);
	assert_string_equal(kid_look(), "-a-d-c-b");
	assert_int_equal(bed.actors.live, 1);
	(void)kids_wait();
	assert_string_equal(kid_look(), "+a+b+c+d");
}

static void
supervisor_drained_stops_its_children_last_to_first(void **state)
{
	static const struct rl_child_def inner_children[] = { KID(1), KID(2) };
	static struct rl_supervisor_def inner = { .children = inner_children, .children_count = 2 };
	static const struct rl_child_def outer_children[] = {
		KID(0),
		{ .name = "inner", .def = &rl_supervisor, .arg = &inner },
		KID(3),
	};
	static struct rl_supervisor_def outer = { .children = outer_children, .children_count = 3 };

	(void)state;
	(void)kids_supervise(&outer); /* whose kids wait for it when they hear of the drain */
	assert_string_equal(kid_look(), "+a+d+b+c");
	rli_actors_drain(&bed.shard, 12345);
	kids_settle();
	assert_int_equal(bed.actors.live, 0);
	/* the inner one was told by the drain, too, and is not held up by d */
	assert_null(strstr(kid_trace, "-a-"));
	assert_true(strstr(kid_trace, "-c") < strstr(kid_trace, "-b"));
	assert_int_equal(strlen(kid_look()), 8);
	kids_heard(4); /* also who was to be stopped at once */
}

static void
supervisor_drained_with_children_that_end_themselves_restarts_none(void **state)
{
	static struct rl_supervisor_def def = { .children = three, .children_count = 3 };

	(void)state;
	for (uint32_t i = 0; i < KIDS; i++) {
		kids[i].shutdown_answer = i == 0 ? RL_ACTOR_UNHANDLED : -EIO;
	}
	(void)kids_supervise(&def);
	(void)kid_look();
	rli_actors_drain(&bed.shard, 12345);
	kids_settle();
	assert_int_equal(bed.actors.live, 0);
	assert_int_equal(strlen(kid_look()), 6);
	kids_heard(3);
}

static void
supervisor_spawned_into_a_drain_starts_nobody(void **state)
{
	static struct rl_supervisor_def def = { .children = three, .children_count = 3 };
	struct rl_actor *actor;

	(void)state;
	assert_int_equal(rli_actor_spawn(&bed.shard, &rl_supervisor, &def, &actor), 0);
	rli_actors_drain(&bed.shard, 12345);
	kids_settle();
	assert_string_equal(kid_look(), "");
	assert_int_equal(bed.log.lines, 0); /* that is no failure */
	assert_int_equal(bed.actors.live, 0);
}

/* b can't be had: a is stopped again, each time later, until there is room for both. */
static void
supervisor_child_not_started_is_a_failed_one(void **state)
{
	static struct rl_supervisor_def def = {
		.strategy = RL_ONE_FOR_ALL,
		.children = three,
		.children_count = 2,
	};
	struct rl_actor *fillers[64];
	uint32_t count = 0;

	(void)state;
	while (count < 62) {
		fillers[count++] = bed_spawn(NULL);
	}
	kids_settle();
	(void)kids_supervise(&def);
	assert_string_equal(kid_look(), "+a-a");
	assert_delay(kids_wait(), (uint64_t)RL_MS(100));
	kids_settle();
	assert_string_equal(kid_look(), "+a-a");
	rli_actor_end(fillers[0], RL_REASON_LOCAL, 0);
	kids_settle();
	assert_delay(kids_wait(), (uint64_t)RL_MS(200));
	assert_string_equal(kid_look(), "+a+b");
}

static void
supervisor_child_not_monitored_is_a_failed_one(void **state)
{
	static struct rl_supervisor_def def = { .children = three, .children_count = 1 };
	struct lease *leases[16];

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(leases); i++) {
		leases[i] = rli_slab_take(&bed.actors.leases);
		assert_non_null(leases[i]);
	}
	(void)kids_supervise(&def);
	assert_string_equal(kid_look(), "+a-a"); /* it was spawned, and asked to end */
	for (uint32_t i = 0; i < UNIT_COUNT(leases); i++) {
		rli_slab_give(&bed.actors.leases, leases[i]);
	}
	assert_delay(kids_wait(), (uint64_t)RL_MS(100));
	assert_string_equal(kid_look(), "+a");
}

static void
supervisor_without_a_timer_ends(void **state)
{
	static struct rl_supervisor_def def = { .children = three, .children_count = 3 };
	struct rl_actor *filler;

	(void)state;
	watch(kids_supervise(&def));
	filler = bed_spawn(NULL);
	for (uint32_t i = 0; i < bed.config.timers_max; i++) {
		assert_int_equal(bed_timer_start(filler, (uint64_t)RL_SEC(100), 0, NULL), 0);
	}
	(void)kid_look();
	kid_end(0, RL_REASON_FAILURE, -EIO);
	assert_string_equal(kid_look(), "-a-c-b");
	assert_went(RL_REASON_FAILURE, -ENOBUFS);
}

/* The second failure does not put off the first one's restart. */
static void
supervisor_children_wait_each_for_themselves(void **state)
{
	static struct rl_supervisor_def def = { .children = three, .children_count = 3 };

	(void)state;
	(void)kids_supervise(&def);
	kid_end(0, RL_REASON_FAILURE, -EIO);
	kids_pass((uint64_t)RL_MS(40));
	kid_end(2, RL_REASON_FAILURE, -EIO);
	assert_string_equal(kid_look(), "+a+b+c-a-c");
	assert_int_equal(bed.actors.timers.taken, 1);
	kids_pass((uint64_t)RL_MS(61));
	assert_non_null(strstr(kid_look(), "+a"));
	kids_pass((uint64_t)RL_MS(40));
	assert_non_null(kids[2].actor);
	assert_int_equal(bed.actors.live, 4);
}

static void
supervisor_bad_definition_is_refused_by_name(void **state)
{
	static const struct rl_child_def bad_def[] = { { .name = "x", .def = NULL } };
	static const struct rl_child_def bad_url[] = {
		{ .name = "x", .def = &kid_def, .url = "http://a" },
	};
	static const struct rl_child_def bad_restart[] = {
		{ .name = "x", .def = &kid_def, .restart = (enum rl_restart)3 },
	};
	static const struct rl_conn_options options = { .idle_timeout_ns = -2 };
	static const struct rl_child_def bad_options[] = {
		{ .name = "x", .def = &kid_def, .url = "tcp://127.0.0.1:1", .options = &options },
	};
	struct rl_supervisor_def rows[] = {
		{ .strategy = (enum rl_strategy)3 },
		{ .restarts_max = -2 },
		{ .restarts_max = RL_RESTARTS_MAX + 1 },
		{ .window_ns = -1 },
		{ .backoff_min_ns = -2 },
		{ .backoff_max_ns = -1 },
		{ .backoff_min_ns = 11, .backoff_max_ns = 10 },
		{ .children = three, .children_count = RL_CHILDREN_MAX + 1 },
		{ .children = NULL, .children_count = 1 },
		{ .children = bad_def, .children_count = 1 },
		{ .children = bad_url, .children_count = 1 },
		{ .children = bad_restart, .children_count = 1 },
		{ .children = bad_options, .children_count = 1 },
	};
	static const char *const says[] = {
		"strategy = 3",	       "restarts_max = -2",   "restarts_max = 65",
		"window_ns = -1",      "backoff_min_ns = -2", "backoff_max_ns = -1",
		"backoff_max_ns = 10", "children_count = 65", "needs",
		"child \"x\"",	       "child \"x\"",	      "child \"x\"",
		"child \"x\"",
	};

	(void)state;
	for (uint32_t i = 0; i < UNIT_COUNT(rows); i++) {
		bed.log.lines = 0;
		watch_from_the_start(&rows[i]);
		assert_true(bed.log.lines > 0);
		assert_non_null(strstr(bed.log.text, says[i]));
		assert_went(RL_REASON_FAILURE, -EINVAL);
	}
	watch_from_the_start(NULL);
	assert_went(RL_REASON_FAILURE, -EINVAL);
	assert_string_equal(kid_look(), "");
}

static void
supervisor_has_no_messages_of_its_own(void **state)
{
	static struct rl_supervisor_def def = { .children = three, .children_count = 3 };
	struct rl_actor *sup = kids_supervise(&def);

	(void)state;
	bed_post(rli_actor_id_bits(sup), 1);
	kids_settle();
	assert_int_equal(bed_stats().msgs_unhandled, 1);
	assert_string_equal(kid_look(), "+a+b+c");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		on_kids(supervisor_strategies_restart_whom_they_name),
		on_kids(supervisor_of_the_last_child_stops_nobody_for_the_rest),
		on_kids(supervisor_counts_a_common_failure_once),
		on_kids(supervisor_restarts_by_reason_as_the_child_asks),
		on_kids(supervisor_starts_transient_ones_again_with_others),
		on_kids(supervisor_backoff_doubles_and_begins_anew),
		on_kids(supervisor_without_backoff_restarts_in_the_next_tick),
		on_kids(supervisor_of_the_defaults_keeps_on_trying_with_one),
		on_kids(supervisor_gives_up_when_the_window_is_full),
		on_kids(supervisor_failure_escalates_over_two_levels),
		on_kids(supervisor_stopped_by_its_own_ends_after_its_children),
		on_kids(supervisor_drained_stops_its_children_last_to_first),
		on_kids(supervisor_drained_with_children_that_end_themselves_restarts_none),
		on_kids(supervisor_spawned_into_a_drain_starts_nobody),
		on_kids(supervisor_child_not_started_is_a_failed_one),
		on_kids(supervisor_child_not_monitored_is_a_failed_one),
		on_kids(supervisor_without_a_timer_ends),
		on_kids(supervisor_children_wait_each_for_themselves),
		on_kids(supervisor_bad_definition_is_refused_by_name),
		on_kids(supervisor_has_no_messages_of_its_own),
	};

	return unit_run(tests);
}
