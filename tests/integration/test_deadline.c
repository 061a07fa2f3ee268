/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: each deadline ends the connection that it is for, with its own reason, not before its
 * time and not those that behave; and none is forgotten when receiving was held back in between.
 * How: short deadlines, peers that don't read, don't write or don't close. Who behaves can't on a
 * machine that stands still for longer than the deadline: then that says nothing, and is tried
 * again with a longer one.
 * Not proved: exact times; a test machine is slow at will. The simulator's clock proves those.
 */
#include "client.h"

#include <errno.h>
#include <unistd.h>

/* Long enough that a busy machine does not miss the next step, short enough to wait for. */
#define DEADLINE_MS 250

/* How regularly the test itself got on with it. */
struct pace {
	uint64_t last_ns;
	uint64_t longest_ns; /* of its steps */
};

static void
pace_step(struct pace *pace)
{
	uint64_t now_ns = rig_now_ns();
	uint64_t step_ns = pace->last_ns == 0 ? 0 : now_ns - pace->last_ns;

	pace->longest_ns = step_ns > pace->longest_ns ? step_ns : pace->longest_ns;
	pace->last_ns = now_ns;
}

/* No two steps were as far apart as a deadline of @ms, wherever in them the server saw them. */
static bool
pace_is_kept(const struct pace *pace, uint64_t ms)
{
	return pace->longest_ns < ms * 1000000 / 3;
}

/* Tries with longer and longer deadlines until the machine kept up. */
static void
deadline_try(struct rig *rig, bool (*try)(struct rig *rig, uint64_t ms))
{
	uint64_t ms = DEADLINE_MS;

	while (!try(rig, ms)) {
		ms *= 2;
		assert_true(ms <= RIG_PATIENCE_MS);
	}
}

static void
deadline_assert_passed(uint64_t since_ns, uint64_t ms)
{
	assert_true(rig_now_ns() - since_ns >= ms * 1000000);
}

/* To the first byte, or with marks[0] before anything was received. */
static int
bye_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind != (probe->marks[0] != 0 ? RL_MSG_OPEN : RL_MSG_RECV)) {
		return RL_ACTOR_UNHANDLED;
	}
	return rl_conn_send(self, "bye", 3) == 0 ? RL_ACTOR_STOP : -EPROTO;
}

static const struct rl_actor_def bye = {
	.name = "bye",
	.receive = bye_receive,
	.state_size = sizeof(struct probed),
};

static void
linger_peer_that_never_closes_is_closed(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t since_ns;
	uint64_t bytes;
	int fd;

	rig_start(rig,
		  RL_CONFIG(.linger_timeout_ns = RL_MS(DEADLINE_MS), .log_level = RL_LOG_INFO));
	rig_watch_log(rig, "(linger_timeout_ns)");
	rig_listen(rig, "tcp://127.0.0.1:0", &bye, probe);
	fd = client_dial(rig->url);
	since_ns = rig_now_ns();
	client_send_text(fd, "x");
	if (client_read_end(fd, &bytes) == 0) {
		assert_int_equal(bytes, 3);
	} else { /* what was not read by then is lost */
		deadline_assert_passed(since_ns, DEADLINE_MS);
	}
	rig_await(rig, probe->stopped[RL_REASON_TIMEOUT_LINGER], 1);
	rig_assert_watched(rig);
	deadline_assert_passed(since_ns, DEADLINE_MS);
	client_close(fd);
	rig_end(rig);
	assert_int_equal(rig->stats.closed[RL_REASON_TIMEOUT_LINGER], 1);
}

/* A peer that writes for ever is cut all the same: the deadline counts from our FIN. */
static void
linger_peer_that_never_stops_writing_is_closed(void **state)
{
	static uint8_t noise[4096];
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t end_ns;
	int fd;

	rig_start(rig, RL_CONFIG(.linger_timeout_ns = RL_MS(DEADLINE_MS)));
	rig_listen(rig, "tcp://127.0.0.1:0", &bye, probe);
	fd = client_dial(rig->url);
	client_send_text(fd, "x");
	client_await_input(fd); /* "bye", or its end */
	end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	while (atomic_load(&probe->stops) == 0 && rig_now_ns() < end_ns) {
		(void)send(fd, noise, sizeof(noise), MSG_NOSIGNAL);
		rig_let_pass(rig, 1);
	}
	assert_int_equal(probe->stopped[RL_REASON_TIMEOUT_LINGER], 1);
	client_close(fd);
	rig_end(rig);
}

static void
linger_off_waits_for_the_peer(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, RL_CONFIG(.linger_timeout_ns = -1, .idle_timeout_ns = RL_MS(DEADLINE_MS)));
	atomic_store(&probe->marks[0], 1); /* no idle deadline is nearer */
	rig_listen(rig, "tcp://127.0.0.1:0", &bye, probe);
	fd = client_dial(rig->url);
	client_recv_text(fd, "bye");
	client_expect_fin(fd);
	rig_clear_event(rig);
	rig_let_pass(rig, 2 * DEADLINE_MS);
	assert_int_equal(probe->stops, 0);
	client_close(fd);
	rig_await(rig, probe->stopped[RL_REASON_LOCAL], 1);
	rig_end(rig);
}

/* Sends as long as it is taken, and again when there is room. */
static int
flood_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static const uint8_t block[65536];
	struct probe *probe = probe_note(self, msg);
	int rc = 0;

	if (msg->kind != RL_MSG_OPEN && msg->kind != RL_MSG_WRITABLE) {
		return RL_ACTOR_UNHANDLED;
	}
	while (rc == 0) {
		rc = rl_conn_send(self, block, sizeof(block));
	}
	PROBE_EXPECT(probe, rc == RL_CONN_SEND_HIGH);
	return 0;
}

static const struct rl_actor_def flood = {
	.name = "flood",
	.receive = flood_receive,
	.state_size = sizeof(struct probed),
};

static void
stall_peer_that_never_reads_is_cut(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t since_ns = rig_now_ns();
	int fd;

	rig_start(rig, RL_CONFIG(.stall_timeout_ns = RL_MS(DEADLINE_MS), .log_level = RL_LOG_INFO));
	rig_watch_log(rig, "(stall_timeout_ns)");
	rig_listen(rig, "tcp://127.0.0.1:0", &flood, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->stopped[RL_REASON_TIMEOUT_STALL], 1);
	rig_assert_watched(rig);
	assert_int_equal(probe->error, -ETIMEDOUT);
	deadline_assert_passed(since_ns, DEADLINE_MS);
	client_close(fd);
	rig_end(rig);
}

/* Floods once and ends: the flush has more to do than the kernel takes. */
static int
flood_stop_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	return flood_receive(self, msg) == 0 && msg->kind == RL_MSG_OPEN ? RL_ACTOR_STOP : 0;
}

static const struct rl_actor_def flood_stop = {
	.name = "flood_stop",
	.receive = flood_stop_receive,
	.state_size = sizeof(struct probed),
};

static void
stall_while_flushing_is_cut(void **state)
{
	struct rig *rig = *state;
	int fd;

	rig_start(rig, RL_CONFIG(.stall_timeout_ns = RL_MS(DEADLINE_MS),
				 .send_high_bytes = 16777216, .send_cap_bytes = 33554432));
	rig_listen(rig, "tcp://127.0.0.1:0", &flood_stop, &rig->probes[0]);
	fd = client_dial(rig->url);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TIMEOUT_STALL], 1);
	client_close(fd);
	rig_end(rig);
}

/* A slow reader makes progress: it lives through many deadlines. */
static bool
try_slow_reader(struct rig *rig, uint64_t ms)
{
	static uint8_t buffer[262144];
	struct probe *probe = &rig->probes[0];
	const struct rl_listener_options options = {
		.arg = probe,
		.conn.stall_timeout_ns = (int64_t)ms * RL_MS(1),
	};
	struct pace pace = { 0 };
	uint64_t stops = probe->stops;
	uint64_t end_ns = rig_now_ns() + 5 * ms * 500000; /* two and a half of them */
	bool kept;
	int fd;

	rig_listen_with(rig, "tcp://127.0.0.1:0", &flood, &options);
	fd = client_dial(rig->url);
	do {
		size_t left = sizeof(buffer);
		ssize_t got = 1;

		while (left > 0 && got > 0) {
			got = client_recv_some(fd, buffer, left);
			left -= got > 0 ? (size_t)got : 0;
		}
		pace_step(&pace);
		kept = pace_is_kept(&pace, ms);
		assert_true(got > 0 || !kept);
		rig_let_pass(rig, 20);
	} while (kept && rig_now_ns() < end_ns);
	assert_true(!kept || probe->stops == stops);
	client_reset(fd);
	rig_await(rig, probe->stops, stops + 1);
	return kept;
}

static void
stall_slow_reader_is_not_cut(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	deadline_try(rig, try_slow_reader);
	rig_end(rig);
}

static void
idle_silent_connection_is_cut(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t since_ns = rig_now_ns();
	int fd;

	rig_start(rig, RL_CONFIG(.idle_timeout_ns = RL_MS(DEADLINE_MS), .log_level = RL_LOG_INFO));
	rig_watch_log(rig, "(idle_timeout_ns)");
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->stopped[RL_REASON_TIMEOUT_IDLE], 1);
	rig_assert_watched(rig);
	deadline_assert_passed(since_ns, DEADLINE_MS);
	client_close(fd);
	rig_end(rig);
	assert_int_equal(rig->stats.closed[RL_REASON_TIMEOUT_IDLE], 1);
}

static bool
try_traffic(struct rig *rig, uint64_t ms)
{
	struct probe *probe = &rig->probes[0];
	const struct rl_listener_options options = {
		.arg = probe,
		.conn.idle_timeout_ns = (int64_t)ms * RL_MS(1),
	};
	struct pace pace = { 0 };
	uint64_t stops = probe->stops;
	uint64_t idle = probe->stopped[RL_REASON_TIMEOUT_IDLE];
	uint64_t end_ns = rig_now_ns() + 2 * ms * 1000000;
	char text[4];
	bool kept;
	int fd;

	rig_listen_with(rig, "tcp://127.0.0.1:0", &rig_echo, &options);
	pace_step(&pace);
	fd = client_dial(rig->url);
	do {
		rig_let_pass(rig, 20);
		(void)send(fd, "ping", 4, MSG_NOSIGNAL);
		(void)client_recv_some(fd, text, sizeof(text));
		pace_step(&pace);
		kept = pace_is_kept(&pace, ms);
	} while (kept && rig_now_ns() < end_ns);
	if (kept) {
		assert_int_equal(probe->stops, stops);
		rig_await(rig, probe->stopped[RL_REASON_TIMEOUT_IDLE], idle + 1);
		/* the last one came at the earliest when the one before it had been answered */
		deadline_assert_passed(pace.last_ns - pace.longest_ns, ms);
	}
	client_close(fd);
	rig_await(rig, probe->stops, stops + 1);
	return kept;
}

static void
idle_traffic_keeps_a_connection_alive(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	deadline_try(rig, try_traffic);
	rig_end(rig);
}

/* The listener's own value goes before the configuration's. */
static void
idle_option_overrides_the_configuration(void **state)
{
	struct rig *rig = *state;
	struct rl_listener_options options = { .arg = &rig->probes[0], .conn.idle_timeout_ns = -1 };
	int fd;

	rig_start(rig, RL_CONFIG(.idle_timeout_ns = RL_MS(DEADLINE_MS)));
	rig_listen_with(rig, "tcp://127.0.0.1:0", &rig_echo, &options);
	fd = client_dial(rig->url);
	rig_await(rig, rig->probes[0].opens, 1);
	rig_clear_event(rig);
	rig_let_pass(rig, 2 * DEADLINE_MS);
	client_send_text(fd, "still there");
	client_recv_text(fd, "still there");
	client_close(fd);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 1);
	rig_end(rig);
}

/* The largest deadlines are as good as none, and nobody wakes up for them. */
static void
idle_of_three_centuries_does_not_spin(void **state)
{
	struct rig *rig = *state;
	int fd;

	rig_start(rig, RL_CONFIG(.idle_timeout_ns = INT64_MAX, .stall_timeout_ns = INT64_MAX,
				 .first_byte_timeout_ns = INT64_MAX));
	rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, &rig->probes[0]);
	fd = client_dial(rig->url);
	client_send_text(fd, "x");
	client_recv_text(fd, "x");
	rig_assert_idle(rig);
	client_close(fd);
	rig_await(rig, rig->probes[0].stops, 1);
	rig_end(rig);
}

static bool
try_first_byte(struct rig *rig, uint64_t ms)
{
	struct probe *probe = &rig->probes[0];
	const struct rl_listener_options options = {
		.arg = probe,
		.conn.first_byte_timeout_ns = (int64_t)ms * RL_MS(1),
	};
	struct pace pace = { 0 };
	uint64_t stops = probe->stops;
	int silent;
	int talker;

	rig_listen_with(rig, "tcp://127.0.0.1:0", &rig_echo, &options);
	pace_step(&pace);
	talker = client_dial(rig->url);
	(void)send(talker, "x", 1, MSG_NOSIGNAL);
	pace_step(&pace);
	silent = client_dial(rig->url);
	if (pace_is_kept(&pace, ms)) {
		client_recv_text(talker, "x");
		rig_await(rig, probe->stops, stops + 1);
		deadline_assert_passed(pace.last_ns, ms);
		client_send_text(talker, "y");
		client_recv_text(talker, "y");
	}
	client_close(silent);
	client_close(talker);
	rig_await(rig, probe->stops, stops + 2);
	return pace_is_kept(&pace, ms);
}

static void
first_byte_silent_client_is_cut_and_others_live(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG(.log_level = RL_LOG_INFO));
	rig_watch_log(rig, "(first_byte_timeout_ns)");
	deadline_try(rig, try_first_byte);
	rig_assert_watched(rig);
	rig_end(rig);
	assert_true(rig->stats.closed[RL_REASON_TIMEOUT_FIRST_BYTE] > 0);
	assert_true(rig->stats.closed[RL_REASON_PEER_FIN] > 0);
}

/* Pauses when it opens; a message resumes it. */
static int
pauser_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	if (msg->kind == RL_MSG_OPEN) {
		PROBE_EXPECT(probe, rl_conn_pause(self) == 0);
		return 0;
	}
	if (msg->kind == RL_MSG_USER) {
		PROBE_EXPECT(probe, rl_conn_resume(self) == 0);
		return 0;
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def pauser = {
	.name = "pauser",
	.receive = pauser_receive,
	.state_size = sizeof(struct probed),
};

/* Resumes after @config's deadline has passed; then it must run, and end the connection. */
static void
deadline_runs_after_resume(struct rig *rig, struct rl_config config, enum rl_reason reason)
{
	struct probe *probe = &rig->probes[0];
	int fd;

	rig_start(rig, config);
	rig_listen(rig, "tcp://127.0.0.1:0", &pauser, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 1);
	rig_clear_event(rig);
	rig_let_pass(rig, 2 * DEADLINE_MS);
	assert_int_equal(probe->stops, 0);
	rig_tell(rig, probe, RL_MSG_USER);
	rig_await(rig, probe->stops, 1);
	assert_int_equal(probe->stopped[reason], 1);
	client_close(fd);
	rig_end(rig);
}

static void
idle_does_not_run_while_paused(void **state)
{
	deadline_runs_after_resume(*state, RL_CONFIG(.idle_timeout_ns = RL_MS(DEADLINE_MS)),
				   RL_REASON_TIMEOUT_IDLE);
}

static void
first_byte_does_not_run_while_paused(void **state)
{
	deadline_runs_after_resume(
		*state,
		RL_CONFIG(.first_byte_timeout_ns = RL_MS(DEADLINE_MS), .idle_timeout_ns = -1),
		RL_REASON_TIMEOUT_FIRST_BYTE);
}

/*
 * The reader stops until the idle deadline has passed, while automatic pause holds receiving back;
 * then it takes everything and falls silent. Without a stall deadline nothing else wakes the timer.
 */
static bool
try_automatic_pause(struct rig *rig, uint64_t ms)
{
	static uint8_t block[262144];
	struct probe *probe = &rig->probes[0];
	const struct rl_listener_options options = {
		.arg = probe,
		.conn.idle_timeout_ns = (int64_t)ms * RL_MS(1),
		.conn.stall_timeout_ns = -1,
	};
	struct pace pace = { 0 };
	uint64_t stops = probe->stops;
	uint64_t idle = probe->stopped[RL_REASON_TIMEOUT_IDLE];
	uint64_t end_ns = rig_now_ns() + 3 * ms * 1000000;
	uint64_t sent = 0;
	ssize_t some = 1;
	int fd;

	rig_listen_with(rig, "tcp://127.0.0.1:0", &rig_echo, &options);
	pace_step(&pace);
	fd = client_dial(rig->url);
	while (pace_is_kept(&pace, ms) && rig_now_ns() < end_ns) {
		some = send(fd, block, sizeof(block), MSG_NOSIGNAL);
		sent += some > 0 ? (uint64_t)some : 0;
		rig_let_pass(rig, 10);
		pace_step(&pace);
	}
	assert_true(!pace_is_kept(&pace, ms) || probe->stops == stops);
	while (pace_is_kept(&pace, ms) && sent > 0) {
		some = client_recv_some(fd, block, sizeof(block));
		pace_step(&pace);
		assert_true(some > 0 || !pace_is_kept(&pace, ms));
		sent -= some > 0 ? (uint64_t)some : 0;
	}
	if (pace_is_kept(&pace, ms)) {
		rig_await(rig, probe->stopped[RL_REASON_TIMEOUT_IDLE], idle + 1);
	}
	client_close(fd);
	rig_await(rig, probe->stops, stops + 1);
	return pace_is_kept(&pace, ms);
}

static void
idle_runs_again_after_automatic_pause(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	deadline_try(rig, try_automatic_pause);
	rig_end(rig);
}

/* "Not now", although nothing was refused: no notice is owed that would bring the bytes back. */
static int
reluctant_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	(void)probe_note(self, msg);
	return msg->kind == RL_MSG_RECV ? -EAGAIN : RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def reluctant = {
	.name = "reluctant",
	.receive = reluctant_receive,
	.state_size = sizeof(struct probed),
};

/* It waits for nobody but itself, so it is not spared. */
static void
idle_runs_after_eagain_with_nothing_owed(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	uint64_t since_ns;
	int fd;

	rig_start(rig, RL_CONFIG(.idle_timeout_ns = RL_MS(DEADLINE_MS)));
	rig_listen(rig, "tcp://127.0.0.1:0", &reluctant, probe);
	for (uint64_t i = 1; probe->recvs == 0; i++) { /* or the deadline came before the byte */
		fd = client_dial(rig->url);
		since_ns = rig_now_ns();
		(void)send(fd, "x", 1, MSG_NOSIGNAL);
		rig_await(rig, probe->stopped[RL_REASON_TIMEOUT_IDLE], i);
		deadline_assert_passed(since_ns, probe->recvs * DEADLINE_MS);
		client_close(fd);
	}
	assert_int_equal(probe->recvs, 1);
	rig_end(rig);
	assert_int_equal(rig->stats.again_unowed, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(linger_peer_that_never_closes_is_closed),
		rig_case(linger_peer_that_never_stops_writing_is_closed),
		rig_case(linger_off_waits_for_the_peer),
		rig_case(stall_peer_that_never_reads_is_cut),
		rig_case(stall_while_flushing_is_cut),
		rig_case(stall_slow_reader_is_not_cut),
		rig_case(idle_silent_connection_is_cut),
		rig_case(idle_traffic_keeps_a_connection_alive),
		rig_case(idle_option_overrides_the_configuration),
		rig_case(idle_of_three_centuries_does_not_spin),
		rig_case(first_byte_silent_client_is_cut_and_others_live),
		rig_case(idle_does_not_run_while_paused),
		rig_case(first_byte_does_not_run_while_paused),
		rig_case(idle_runs_again_after_automatic_pause),
		rig_case(idle_runs_after_eagain_with_nothing_owed),
	};

	return rig_run("deadline", tests);
}
