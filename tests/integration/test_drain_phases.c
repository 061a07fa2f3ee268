/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: each phase of a drain has its line in the log, which says what is left and who holds it
 * up, and its counter; a connection counts as ended or as cut, once.
 * How: one shard, connections that end, that stay and that don't read, and a sink that keeps every
 * line.
 * Not proved: how the lines of several shards are mixed; each shard writes its own.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>

#define LINES_MAX  16
#define LINE_BYTES 512

static struct {
	pthread_mutex_t lock;
	uint32_t count;
	enum rl_log_level levels[LINES_MAX];
	char lines[LINES_MAX][LINE_BYTES];
} kept = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void
keep_line(void *arg, enum rl_log_level level, int shard, const char *text)
{
	(void)arg;
	(void)shard;
	if (strncmp(text, "drain", 5) != 0 && strncmp(text, "stopped", 7) != 0) {
		return;
	}
	(void)pthread_mutex_lock(&kept.lock);
	if (kept.count < LINES_MAX) {
		kept.levels[kept.count] = level;
		(void)snprintf(kept.lines[kept.count], LINE_BYTES, "%s", text);
		kept.count++;
	}
	(void)pthread_mutex_unlock(&kept.lock);
}

/* @line has all of @parts (NULL ends them), in this order. */
static void
assert_line(uint32_t line, enum rl_log_level level, const char *const *parts)
{
	const char *at = kept.lines[line];

	assert_true(line < kept.count);
	for (; *parts != NULL; parts++) {
		const char *found = strstr(at, *parts);

		if (found == NULL) {
			print_error("\"%s\" is not in line %u: %s\n", *parts, line,
				    kept.lines[line]);
		}
		assert_non_null(found);
		at = found + strlen(*parts);
	}
	assert_int_equal(kept.levels[line], level);
}

#define ASSERT_LINE(line, level, ...) \
	assert_line(line, level, (const char *const[]){ __VA_ARGS__, NULL })

static int
stays_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)probe_note(self, msg);
	return msg->kind == RL_MSG_USER ? RL_ACTOR_STOP : 0;
}

static const struct rl_actor_def stays = {
	.name = "stays",
	.receive = stays_receive,
	.state_size = sizeof(struct probed),
};

/* Sends more than any kernel takes, and ends when it is told. */
static int
speaks_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static _Thread_local uint8_t speech[8000000];
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_OPEN) {
		PROBE_EXPECT(probe, rl_conn_send(self, speech, sizeof(speech)) >= 0);
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def speaks = {
	.name = "speaks",
	.receive = speaks_receive,
	.state_size = sizeof(struct probed),
};

static void
phases_start(struct rig *rig, int64_t drain_timeout_ns)
{
	kept.count = 0;
	rig_start(rig, RL_CONFIG(.shards = 1, .log = keep_line, .log_level = RL_LOG_INFO,
				 .send_cap_bytes = 16777216, .drain_timeout_ns = drain_timeout_ns));
}

/* One connection of @def, open. */
static int
phases_dial(struct rig *rig, const struct rl_actor_def *def)
{
	struct probe *probe = &rig->probes[0];
	uint64_t opens = probe->opens;
	int fd;

	rig_listen(rig, "tcp://127.0.0.1:0", def, probe);
	fd = client_dial_narrow(rig->url);
	rig_await(rig, probe->opens, opens + 1);
	return fd;
}

/* The milliseconds behind @before in @line. */
static uint64_t
line_ms(uint32_t line, const char *before)
{
	const char *at = strstr(kept.lines[line], before);

	assert_non_null(at);
	return strtoull(at + strlen(before), NULL, 10);
}

/* Three connections, of which one ends when it is told. */
static void
phases_dial_three(struct rig *rig, int fds[3])
{
	struct probe *probe = &rig->probes[0];
	uint64_t stops = probe->stops;

	fds[0] = phases_dial(rig, &stays);
	fds[1] = phases_dial(rig, &speaks);
	fds[2] = phases_dial(rig, &rig_echo);
	client_shut(fds[2]); /* this one ends by itself */
	assert_int_equal(rl_system_spawn(rig->sys, 0, &stays, probe, NULL), 0);
	client_expect_fin(fds[2]);
	client_close(fds[2]);
	rig_await(rig, probe->stops, stops + 1);
	fds[2] = phases_dial(rig, &rig_echo);
}

static void
phases_assert_cut(const struct rl_stats *stats, int64_t ms)
{
	char until[40];

	assert_int_equal(stats->drains_cut, 1);
	assert_int_equal(stats->drains_over, 1);
	assert_int_equal(stats->drain_ended, 1);
	assert_int_equal(stats->drain_cut, 2);
	assert_int_equal(stats->drain_cut_actors, 2); /* "speaks" had decided to end */
	assert_in_range(stats->drain_cut_bytes, 1, 8000000);
	(void)snprintf(until, sizeof(until), "bytes to send; cut in %lld ms", (long long)ms);
	ASSERT_LINE(0, RL_LOG_INFO, "drain: 4 listeners close, 4 actors are told, 3 connections",
		    until);
	ASSERT_LINE(1, RL_LOG_WARN, "drain: cut after ", " ms: 2 connections with ",
		    " bytes to send, 3 actors: 1 \"stays\" open", "1 \"speaks\" flushing",
		    "1 \"stays\"");
	assert_true(line_ms(1, "drain: cut after ") >= (uint64_t)ms);
	ASSERT_LINE(2, RL_LOG_INFO, "drain: silent after", "1 connections ended, 2 were cut");
	ASSERT_LINE(3, RL_LOG_INFO,
		    "drained: every shard is silent; 1 connections ended, 2 were cut");
}

/* False: the machine stood still for so long that even the third one was cut. */
static bool
phases_run_to_the_cut(struct rig *rig, int64_t ms)
{
	struct rl_stats stats;
	uint64_t since_ns;
	bool in_time;
	int fds[3];

	phases_start(rig, RL_MS(ms));
	phases_dial_three(rig, fds);
	since_ns = rig_now_ns();
	rl_system_drain(rig->sys);
	(void)client_read_end(fds[2], NULL);
	client_close(fds[2]);
	rig_await_stat(rig, drains, 1);
	assert_int_equal(rig_stats(rig).drain_conns, 3);
	assert_int_equal(rl_system_run(rig->sys), 0);
	assert_true(rig_now_ns() - since_ns >= (uint64_t)RL_MS(ms));
	stats = rig_stats(rig);
	in_time = stats.drain_cut != 3;
	client_close(fds[0]);
	client_close(fds[1]);
	rl_system_stop(rig->sys); /* before that the last shard's last line may still be to come */
	rig->sys = NULL;
	if (in_time) {
		phases_assert_cut(&stats, ms);
	}
	return in_time;
}

static void
drain_that_is_cut_says_who_held_it_up(void **state)
{
	struct rig *rig = *state;
	int64_t ms = 300;

	while (!phases_run_to_the_cut(rig, ms)) {
		ms *= 4;
		assert_true(ms < RIG_PATIENCE_MS);
	}
	ASSERT_LINE(4, RL_LOG_INFO, "stopped");
	assert_int_equal(kept.count, 5);
	rig_end(rig);
}

/* Whoever asked for the cut is not warned of it; many kinds of actors are too many for a line. */
static void
drain_that_is_cut_on_wish_is_no_warning(void **state)
{
	static const struct rl_actor_def kinds[] = {
		{ .name = "a", .receive = stays_receive, .state_size = sizeof(struct probed) },
		{ .name = "b", .receive = stays_receive, .state_size = sizeof(struct probed) },
		{ .name = "c", .receive = stays_receive, .state_size = sizeof(struct probed) },
		{ .name = "d", .receive = stays_receive, .state_size = sizeof(struct probed) },
		{ .name = "e", .receive = stays_receive, .state_size = sizeof(struct probed) },
		{ .name = "f", .receive = stays_receive, .state_size = sizeof(struct probed) },
	};
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	phases_start(rig, -1);
	for (size_t i = 0; i < RIG_COUNT(kinds); i++) {
		assert_int_equal(rl_system_spawn(rig->sys, 0, &kinds[i], probe, NULL), 0);
	}
	rl_system_drain(rig->sys);
	rig_await(rig, probe->shutdowns, RIG_COUNT(kinds));
	rl_system_drain(rig->sys);
	assert_int_equal(rl_system_run(rig->sys), 0);
	rl_system_drain(rig->sys); /* once more: there is nothing to cut */
	rig_assert_idle(rig);
	rig_end(rig);
	ASSERT_LINE(0, RL_LOG_INFO, "0 connections with 0 bytes to send; no deadline");
	ASSERT_LINE(1, RL_LOG_INFO, "drain: cut after",
		    "6 actors: 1 \"a\", 1 \"b\", 1 \"c\", 1 \"d\", 2 others");
	ASSERT_LINE(2, RL_LOG_INFO, "drain: silent after", "0 connections ended, 0 were cut");
	assert_int_equal(rig->stats.drains_cut, 1);
	assert_int_equal(rig->stats.drain_cut_actors, RIG_COUNT(kinds));
	assert_int_equal(kept.count, 5);
}

static void
drain_that_nobody_holds_up_is_three_lines(void **state)
{
	struct rig *rig = *state;
	int fd;

	phases_start(rig, 0);
	fd = phases_dial(rig, &rig_echo);
	rl_system_drain(rig->sys);
	client_expect_fin(fd);
	client_close(fd);
	assert_int_equal(rl_system_run(rig->sys), 0);
	rig_end(rig);
	ASSERT_LINE(0, RL_LOG_INFO, "drain: 1 listeners close, 1 actors are told, 1 connections");
	ASSERT_LINE(1, RL_LOG_INFO, "drain: silent after", "1 connections ended, 0 were cut");
	ASSERT_LINE(2, RL_LOG_INFO, "drained: every shard is silent");
	assert_int_equal(rig->stats.drain_ended, 1);
	assert_int_equal(rig->stats.drains_cut, 0);
	assert_int_equal(kept.count, 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(drain_that_is_cut_says_who_held_it_up),
		rig_case(drain_that_is_cut_on_wish_is_no_warning),
		rig_case(drain_that_nobody_holds_up_is_three_lines),
	};

	return rig_run("drain_phases", tests);
}
