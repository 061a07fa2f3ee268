/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the integration tests share: a system on the real kernel, actors that report what happens to
 * them, and the checks that every test ends with. Include it first: cmocka wants its own headers in
 * this order.
 *
 * Actors run on other threads, where a failed assertion of cmocka's would be lost. So they only
 * count in a struct probe, and the test's own thread waits for the counts with rig_await().
 *
 * RL_TEST_WITHOUT (names of enum rl_feature in lower case, by commas) forces fallbacks,
 * RL_TEST_ACCEPT=round_robin or least_loaded has an acceptor, RL_TEST_SHARDS says how many shards,
 * RL_TEST_ONLY is a pattern for the names of cases to run.
 */
#ifndef RINGLINE_TESTS_INTEGRATION_SUPPORT_H
#define RINGLINE_TESTS_INTEGRATION_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <ringline/ringline.h>

#define RIG_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * How long a test waits for what must happen: many times what the slowest build needs, since the
 * machine may stand still for seconds, again and again. Deadlines that a configuration leaves to
 * their defaults are longer in a rig's system.
 */
#define RIG_PATIENCE_MS 60000

#define RIG_PROBES   4
#define RIG_MARKS    8
#define RIG_LOG_TEXT 512

struct rig;

/* What actors report. They get its address as the argument of their RL_MSG_START. */
struct probe {
	struct rig *rig;
	_Atomic uint64_t starts;
	_Atomic uint64_t opens;
	_Atomic uint64_t recvs;
	_Atomic uint64_t bytes; /* received */
	_Atomic uint64_t writables;
	_Atomic uint64_t eofs;
	_Atomic uint64_t leftover; /* bytes, the last RL_MSG_EOF's */
	_Atomic uint64_t timers;
	_Atomic uint64_t shutdowns;
	_Atomic uint64_t users;
	_Atomic uint64_t stops;
	_Atomic uint64_t stopped[RL_REASON_COUNT];
	_Atomic int error; /* the last RL_MSG_STOP's */
	_Atomic uint64_t id; /* of the last actor that started */
	_Atomic uint64_t wrong; /* things that an actor saw and must not happen */
	_Atomic uint64_t marks[RIG_MARKS]; /* a test's own counts */
};

/* The state of an actor that uses a probe begins with this. */
struct probed {
	struct probe *probe;
};

/* Lines that the library logged, from the warnings on. */
struct rig_log {
	pthread_mutex_t lock;
	uint32_t lines;
	uint64_t since_ns; /* lines were counted */
	char text[RIG_LOG_TEXT]; /* the last one */
	const char *watched; /* see rig_watch_log() */
	uint64_t seen;
};

struct rig {
	struct rl_system *sys;
	uint32_t shards;
	uint32_t threads; /* theirs, and the acceptor's */
	char url[RL_URL_MAX]; /* of the listener that was opened last */
	struct probe probes[RIG_PROBES];
	struct rig_log log;
	int event; /* eventfd: a probe has counted something */
	uint32_t fds_before;
	size_t committed_before;
	bool restless; /* something is meant to happen all the time: don't check for idleness */
	bool ended;
	struct rl_stats stats; /* at the end, set by rig_end() */
};

int rig_setup(void **state);
int rig_teardown(void **state);

#define rig_case(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

#define RIG_SKIPPED 77

/* Says why and returns RIG_SKIPPED when io_uring is denied here. */
int rig_main(const char *group, const struct CMUnitTest *tests, size_t count);

#define rig_run(group, tests) rig_main(group, tests, RIG_COUNT(tests))

/* RL_TEST_SHARDS, else 2, or 1 where only one CPU is allowed. */
uint32_t rig_shards(void);

/* enum rl_feature from RL_TEST_WITHOUT. */
uint32_t rig_without(void);

/* Fills in what the environment says and the log; asserts that it starts. */
void rig_start(struct rig *rig, struct rl_config config);

/* The same without the assertion: what rl_system_start() answered. */
int rig_try_start(struct rig *rig, struct rl_config config);

/* The closing checks; the last call of every case. */
void rig_end(struct rig *rig);

/* As rig_end() does it, for those who want to know in between. */
void rig_assert_idle(struct rig *rig);
void rig_assert_balanced(const struct rl_stats *stats);

/* Opens a listener with @arg for its actors (a struct probe), and leaves its URL in rig->url. */
rl_listener_id rig_listen(struct rig *rig, const char *url, const struct rl_actor_def *def,
			  void *arg);
rl_listener_id rig_listen_with(struct rig *rig, const char *url, const struct rl_actor_def *def,
			       const struct rl_listener_options *options);

/* An outbound connection from an actor of its own on @shard; what rl_conn_open() answered. */
int rig_open(struct rig *rig, uint32_t shard, const char *url, const struct rl_actor_def *def,
	     struct probe *probe, const struct rl_conn_options *options);

/* A message without payload to the actor that started last in @probe. */
void rig_tell(struct rig *rig, struct probe *probe, uint32_t kind);

struct rl_stats rig_stats(const struct rig *rig);

/* Wait until a counter of a probe has reached @want, or fail the test. */
#define rig_await(rig, counter, want) \
	rig_await_at(rig, &(counter), want, #counter, __FILE__, __LINE__)

/* Wait until a counter of the system's has reached @want, or fail the test. */
#define rig_await_stat(rig, field, want) \
	rig_await_stat_at(rig, offsetof(struct rl_stats, field), want, #field, __FILE__, __LINE__)

void rig_await_at(struct rig *rig, _Atomic uint64_t *counter, uint64_t want, const char *what,
		  const char *file, int line);
void rig_await_stat_at(struct rig *rig, size_t offset, uint64_t want, const char *what,
		       const char *file, int line);

/* What the probes have counted so far wakes nobody any more. */
void rig_clear_event(struct rig *rig);

/* Let @ms pass, or less if a probe counts something: for the tests of deadlines only. */
void rig_let_pass(struct rig *rig, int ms);

/* One line was logged since the last call, and it contains @says. */
void rig_assert_logged(struct rig *rig, const char *says);

/* Above INFO at least one was, at most one a second from each thread; the last contains it. */
void rig_assert_logged_slowly(struct rig *rig, const char *says);

/* Count the lines that contain @says from now on. */
void rig_watch_log(struct rig *rig, const char *says);

/* There was one such line, at most one a second from each thread, whatever else was logged. */
void rig_assert_watched(struct rig *rig);

/* Lines may have been logged; then the last contains it. */
void rig_forgive_logged(struct rig *rig, const char *says);

/* Counts @msg in the actor's probe and wakes the test; returns the probe. */
struct probe *probe_note(struct rl_actor *self, const struct rl_msg *msg);

/* The probe of an actor that has noted its RL_MSG_START. */
struct probe *probe_of(const struct rl_actor *self);

/* Adds to a counter of a probe and wakes the test. */
void probe_add(struct probe *probe, _Atomic uint64_t *counter, uint64_t count);

/* Something that must not be: counted, and the test fails in rig_end(). */
void probe_expect(struct probe *probe, bool truth, const char *what);

#define PROBE_EXPECT(probe, condition) probe_expect(probe, condition, #condition)

/* An actor that echoes what it receives; the peer's FIN ends it. */
extern const struct rl_actor_def rig_echo;

/* An actor that reads and forgets. */
extern const struct rl_actor_def rig_sink;

uint64_t rig_now_ns(void);

/* Entries of /proc/self/fd. */
uint32_t rig_fds(void);

/* May @clients have @need descriptors? The limit is as high as can be then; a line says why not. */
bool rig_fds_are_allowed(uint32_t clients, uint32_t need);

/* How long the threads of this process, together, have run or waited for a CPU. */
uint64_t rig_awake_ns(void);

/* No thread of ours is left, or only for a moment. */
bool rig_threads_are_gone(void);

#endif
