/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/host.h"

static struct rig rig_only; /* one test at a time; actors may outlive a failed test's stack */

uint64_t
rig_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void
rig_log_line(void *arg, enum rl_log_level level, int shard, const char *text)
{
	struct rig_log *log = arg;

	(void)pthread_mutex_lock(&log->lock);
	if (level < RL_LOG_INFO) { /* INFO is what a test asked for */
		log->lines++;
		(void)snprintf(log->text, sizeof(log->text), "%s", text);
	}
	log->seen += log->watched != NULL && strstr(text, log->watched) != NULL;
	(void)pthread_mutex_unlock(&log->lock);
	if (getenv("RL_TEST_LOG") != NULL) {
		(void)fprintf(stderr, "log %d [%d] %s\n", (int)level, shard, text);
	}
}

/* Up to @lines_max lines since the last call, and the last one contains @says. */
static void
rig_check_log(struct rig *rig, const char *says, uint64_t lines_max)
{
	struct rig_log *log = &rig->log;
	uint32_t lines;
	bool said;

	(void)pthread_mutex_lock(&log->lock);
	lines = log->lines;
	said = lines > 0 && strstr(log->text, says) != NULL;
	log->lines = 0;
	log->since_ns = rig_now_ns();
	(void)pthread_mutex_unlock(&log->lock);
	if (lines < 1 || lines > lines_max || !said) {
		print_message("%u lines, the last: \"%s\"; wanted \"%s\"\n", lines, log->text,
			      says);
	}
	assert_in_range(lines, 1, lines_max);
	assert_true(said);
}

void
rig_assert_logged(struct rig *rig, const char *says)
{
	rig_check_log(rig, says, 1);
}

void
rig_assert_logged_slowly(struct rig *rig, const char *says)
{
	uint64_t seconds = (rig_now_ns() - rig->log.since_ns) / 1000000000;

	rig_check_log(rig, says, rig->threads * (1 + seconds));
}

void
rig_watch_log(struct rig *rig, const char *says)
{
	(void)pthread_mutex_lock(&rig->log.lock);
	rig->log.watched = says;
	rig->log.seen = 0;
	(void)pthread_mutex_unlock(&rig->log.lock);
}

void
rig_assert_watched(struct rig *rig)
{
	uint64_t seconds = (rig_now_ns() - rig->log.since_ns) / 1000000000;
	uint64_t seen;

	(void)pthread_mutex_lock(&rig->log.lock);
	seen = rig->log.seen;
	(void)pthread_mutex_unlock(&rig->log.lock);
	assert_in_range(seen, 1, rig->threads * (1 + seconds));
}

void
rig_forgive_logged(struct rig *rig, const char *says)
{
	if (rig->log.lines > 0) {
		rig_check_log(rig, says, UINT32_MAX);
	}
}

int
rig_setup(void **state)
{
	struct rig *rig = &rig_only;

	memset(rig, 0, sizeof(*rig));
	rig->fds_before = rig_fds();
	rig->committed_before = rli_host_pages_committed();
	rig->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(rig->event >= 0);
	(void)pthread_mutex_init(&rig->log.lock, NULL);
	for (uint32_t i = 0; i < RIG_PROBES; i++) {
		rig->probes[i].rig = rig;
	}
	*state = rig;
	return 0;
}

static void
rig_print_closed(const struct rig *rig)
{
	struct rl_stats stats;

	(void)rl_system_stats(rig->sys, -1, &stats);
	for (uint32_t i = 0; i < RL_REASON_COUNT; i++) {
		if (stats.closed[i] != 0) {
			print_error("closed by %s: %llu\n", rl_reason_name((enum rl_reason)i),
				    (unsigned long long)stats.closed[i]);
		}
	}
}

/* A failed test leaves its system behind: cut it, so that the next test starts clean. */
int
rig_teardown(void **state)
{
	struct rig *rig = *state;

	if (rig->ended) {
		return 0;
	}
	if (rig->sys != NULL) {
		rig_print_closed(rig);
		rl_system_drain(rig->sys);
		rl_system_drain(rig->sys);
		rl_system_stop(rig->sys);
		rig->sys = NULL;
	}
	if (rig->event >= 0) {
		(void)close(rig->event);
	}
	print_error("the closing checks did not come to their end\n");
	return -1;
}

uint32_t
rig_shards(void)
{
	const char *text = getenv("RL_TEST_SHARDS");
	cpu_set_t set;

	if (text != NULL) {
		return (uint32_t)strtoul(text, NULL, 10);
	}
	CPU_ZERO(&set);
	(void)sched_getaffinity(0, sizeof(set), &set);
	return CPU_COUNT(&set) > 1 ? 2 : 1;
}

uint32_t
rig_without(void)
{
	static const struct {
		const char *name;
		uint32_t feature;
	} features[] = {
		{ "defer_taskrun", RL_FEATURE_DEFER_TASKRUN },
		{ "no_sqarray", RL_FEATURE_NO_SQARRAY },
		{ "registered_ring", RL_FEATURE_REGISTERED_RING },
		{ "min_wait", RL_FEATURE_MIN_WAIT },
		{ "fixed_files", RL_FEATURE_FIXED_FILES },
		{ "msg_ring", RL_FEATURE_MSG_RING },
		{ "restrictions", RL_FEATURE_RESTRICTIONS },
		{ "accept_poll", RL_FEATURE_ACCEPT_POLL },
	};
	const char *text = getenv("RL_TEST_WITHOUT");
	uint32_t without = 0;

	while (text != NULL && *text != '\0') {
		size_t len = strcspn(text, ",");
		bool known = false;

		for (size_t i = 0; i < RIG_COUNT(features); i++) {
			if (strlen(features[i].name) == len &&
			    strncmp(features[i].name, text, len) == 0) {
				without |= features[i].feature;
				known = true;
			}
		}
		if (!known) {
			print_error("RL_TEST_WITHOUT: what is \"%s\"?\n", text);
			exit(1);
		}
		text += len + (text[len] == ',');
	}
	return without;
}

static enum rl_accept_mode
rig_accept_mode(void)
{
	static const char *const names[] = {
		[RL_ACCEPT_PER_SHARD] = "per_shard",
		[RL_ACCEPT_ROUND_ROBIN] = "round_robin",
		[RL_ACCEPT_LEAST_LOADED] = "least_loaded",
	};
	const char *text = getenv("RL_TEST_ACCEPT");

	for (size_t i = 0; i < RIG_COUNT(names); i++) {
		if (strcmp(text != NULL ? text : names[0], names[i]) == 0) {
			return (enum rl_accept_mode)i;
		}
	}
	print_error("RL_TEST_ACCEPT: what is \"%s\"?\n", text);
	exit(1);
}

/* No default cuts short what a test waits for: the machine may stand still for seconds. */
static void
rig_be_patient(struct rl_config *config)
{
	int64_t *const deadlines_ns[] = {
		&config->connect_timeout_ns, &config->tls_handshake_timeout_ns,
		&config->stall_timeout_ns,   &config->linger_timeout_ns,
		&config->drain_timeout_ns,
	};

	for (size_t i = 0; i < RIG_COUNT(deadlines_ns); i++) {
		if (*deadlines_ns[i] == 0) {
			*deadlines_ns[i] = RL_MS(2 * RIG_PATIENCE_MS);
		}
	}
}

int
rig_try_start(struct rig *rig, struct rl_config config)
{
	int rc;

	if (config.shards == 0) {
		config.shards = rig_shards();
	}
	config.without |= rig_without();
	rig_be_patient(&config);
	if (config.accept_mode == RL_ACCEPT_PER_SHARD) {
		config.accept_mode = rig_accept_mode();
	}
	if (config.log == NULL) {
		config.log = rig_log_line;
		config.log_arg = &rig->log;
	}
	rig->log.since_ns = rig_now_ns();
	rc = rl_system_start(&config, &rig->sys);
	if (rc == 0) {
		rig->shards = rl_system_shards(rig->sys);
		rig->threads = rig->shards + (config.accept_mode != RL_ACCEPT_PER_SHARD);
	} else {
		assert_null(rig->sys);
	}
	return rc;
}

void
rig_start(struct rig *rig, struct rl_config config)
{
	assert_int_equal(rig_try_start(rig, config), 0);
}

struct rl_stats
rig_stats(const struct rig *rig)
{
	struct rl_stats stats;

	assert_int_equal(rl_system_stats(rig->sys, -1, &stats), 0);
	return stats;
}

void
rig_clear_event(struct rig *rig)
{
	uint64_t count;

	(void)!read(rig->event, &count, sizeof(count)); /* nothing there is as good */
}

/* At most @ms, or until a probe has counted something. */
static void
rig_wait(struct rig *rig, int ms)
{
	struct pollfd fd = { .fd = rig->event, .events = POLLIN };

	if (poll(&fd, 1, ms) > 0) {
		rig_clear_event(rig);
	}
}

void
rig_let_pass(struct rig *rig, int ms)
{
	rig_wait(rig, ms);
}

void
rig_await_at(struct rig *rig, _Atomic uint64_t *counter, uint64_t want, const char *what,
	     const char *file, int line)
{
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;

	while (atomic_load(counter) < want) {
		if (rig_now_ns() > end_ns) {
			print_error("%s is %llu, waited for %llu\n", what,
				    (unsigned long long)atomic_load(counter),
				    (unsigned long long)want);
			_fail(file, line);
		}
		rig_wait(rig, 100);
	}
}

void
rig_await_stat_at(struct rig *rig, size_t offset, uint64_t want, const char *what, const char *file,
		  int line)
{
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	struct rl_stats stats = rig_stats(rig);
	uint64_t is;

	memcpy(&is, (const char *)&stats + offset, sizeof(is));
	while (is < want) {
		if (rig_now_ns() > end_ns) {
			print_error("%s is %llu, waited for %llu\n", what, (unsigned long long)is,
				    (unsigned long long)want);
			_fail(file, line);
		}
		rig_wait(rig, 1); /* nobody tells when a counter moves */
		stats = rig_stats(rig);
		memcpy(&is, (const char *)&stats + offset, sizeof(is));
	}
}

void
rig_assert_balanced(const struct rl_stats *stats)
{
	const struct rl_stats_undelivered *undelivered = &stats->undelivered;
	uint64_t closed = 0;

	for (uint32_t i = 0; i < RL_REASON_COUNT; i++) {
		closed += stats->closed[i];
	}
	assert_int_equal(stats->accepted + stats->opened, closed);
	assert_int_equal(stats->drain_conns, stats->drain_ended + stats->drain_cut);
	assert_int_equal(stats->drains_over, stats->drains);
	assert_int_equal(stats->bufs_lent, stats->bufs_home);
	assert_int_equal(stats->actors_started, stats->actors_stopped);
	assert_int_equal(stats->msgs_sent, stats->msgs_delivered + undelivered->full +
						   undelivered->gone + undelivered->stopping);
	assert_int_equal(stats->cqes_unknown, 0);
	assert_int_equal(stats->accept_enfile, 0);
}

static void
rig_end_system(struct rig *rig)
{
	if (!rig->restless) {
		rig_assert_idle(rig);
	}
	rl_system_drain(rig->sys);
	assert_int_equal(rl_system_run(rig->sys), 0);
	rig->stats = rig_stats(rig);
	rig_assert_balanced(&rig->stats);
	rl_system_stop(rig->sys);
	rig->sys = NULL;
}

void
rig_end(struct rig *rig)
{
	if (rig->sys != NULL) {
		rig_end_system(rig);
	}
	for (uint32_t i = 0; i < RIG_PROBES; i++) {
		assert_int_equal(rig->probes[i].wrong, 0);
		assert_int_equal(rig->probes[i].starts, rig->probes[i].stops);
	}
	if (rig->log.lines != 0) {
		print_error("%u lines logged, the last: %s\n", rig->log.lines, rig->log.text);
	}
	assert_int_equal(rig->log.lines, 0);
	(void)close(rig->event);
	rig->event = -1;
	assert_int_equal(rig_fds(), rig->fds_before);
	assert_true(rig_threads_are_gone());
	assert_int_equal(rli_host_pages_committed(), rig->committed_before);
	rig->ended = true;
}

rl_listener_id
rig_listen_with(struct rig *rig, const char *url, const struct rl_actor_def *def,
		const struct rl_listener_options *options)
{
	rl_listener_id id;

	assert_int_equal(rl_listener_open(rig->sys, url, def, options, &id), 0);
	assert_int_equal(rl_listener_url(rig->sys, id, rig->url), 0);
	return id;
}

rl_listener_id
rig_listen(struct rig *rig, const char *url, const struct rl_actor_def *def, void *arg)
{
	struct rl_listener_options options = { .arg = arg };

	return rig_listen_with(rig, url, def, &options);
}

struct rig_opening {
	const char *url;
	const struct rl_actor_def *def;
	struct probe *probe;
	const struct rl_conn_options *options;
	_Atomic uint64_t done;
	int rc;
};

static int
opener_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct rig_opening *opening = msg->start.arg;
	rl_actor_id id;

	if (msg->kind != RL_MSG_START) {
		return 0;
	}
	opening->rc = rl_conn_open(self, opening->url, opening->def, opening->probe,
				   opening->options, &id);
	PROBE_EXPECT(opening->probe, rl_actor_id_is_none(id) == (opening->rc != 0));
	probe_add(opening->probe, &opening->done, 1);
	return RL_ACTOR_STOP;
}

static const struct rl_actor_def opener = { .name = "opener", .receive = opener_receive };

int
rig_open(struct rig *rig, uint32_t shard, const char *url, const struct rl_actor_def *def,
	 struct probe *probe, const struct rl_conn_options *options)
{
	static struct rig_opening opening; /* outlives a failed test */

	opening = (struct rig_opening){ url, def, probe, options, 0, 0 };
	assert_int_equal(rl_system_spawn(rig->sys, shard, &opener, &opening, NULL), 0);
	rig_await(rig, opening.done, 1);
	return opening.rc;
}

void
rig_tell(struct rig *rig, struct probe *probe, uint32_t kind)
{
	rl_actor_id id = { atomic_load(&probe->id) };

	assert_int_equal(rl_system_send(rig->sys, id, kind, NULL, 0), 0);
}

/* The reason why this machine denies io_uring, or NULL. */
static const char *
rig_denied(void)
{
	struct io_uring_params params;
	long fd;

	memset(&params, 0, sizeof(params));
	fd = syscall(__NR_io_uring_setup, 4, &params);
	if (fd >= 0) {
		(void)close((int)fd);
		return NULL;
	}
	return errno == EPERM || errno == EACCES || errno == ENOSYS ? strerror(errno) : NULL;
}

int
rig_main(const char *group, const struct CMUnitTest *tests, size_t count)
{
	const char *denied = rig_denied();
	const char *only = getenv("RL_TEST_ONLY");

	if (denied != NULL) {
		(void)fprintf(stderr, "%s: skipped, io_uring_setup is denied here: %s\n", group,
			      denied);
		return RIG_SKIPPED;
	}
	if (only != NULL) {
		cmocka_set_test_filter(only);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	return _cmocka_run_group_tests(group, tests, count, NULL, NULL);
}
