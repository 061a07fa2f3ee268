/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * echo_bench - how fast an echo server is, and whether it is right.
 *
 *	echo_server --shards 1 --cpus 0                   (in another terminal)
 *	echo_bench --connections 64 --depth 16 --size 64 --seconds 5 --cpus 1 \
 *		--server-pid $(pidof echo_server)
 *
 * A closed loop: each connection keeps `depth` messages under way, and each one that comes back
 * makes room for the next. Every byte is compared. What to learn: how a main thread directs
 * actors on many shards (echo_bench/load.h), and how each shard keeps figures of its own that are
 * merged at the end.
 *
 * Prints the result to stdout, with --json as one line, and once a second how it goes to stderr.
 * A signal ends the measurement early, a second one cuts it off. Exit code: 0 all is well, 1
 * there was an error or nothing came back, 2 wrong usage.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <ringline/ringline.h>

#include "echo_bench/load.h"
#include "echo_bench/report.h"
#include "echo_bench/usage.h"
#include "support/options.h"
#include "support/stats_json.h"
#include "support/tls_flags.h"
#include "support/wakeup.h"

enum {
	BENCH_CONNS_MAX = 1 << 20,
	BENCH_SIZE_MAX = 1 << 24,
};

#define BENCH_PROGRESS_NS 1000000000u
#define BENCH_GRACE_NS	  5000000000u /* for what is under way when the time is over */
#define BENCH_NOTICE_NS	  10000000u /* until all shards know that it is over earlier */
#define BENCH_FOR_EVER_NS UINT64_MAX

struct bench_options {
	struct tls_flags tls; /* first: see support/tls_flags.h */
	struct load_options load;
	int64_t seconds_ns;
	int64_t warmup_ns;
	int server_pid;
	bool json;
};

struct bench {
	const struct bench_options *options;
	struct rl_system *sys;
	struct report report;
	uint64_t began_ns;
	uint64_t progress_at_ns;
	uint64_t echoes_shown;
	uint32_t signals;
	struct load load;
};

static void
bench_apply_connections(void *arg, const char *flag, const char *text)
{
	struct bench_options *options = arg;

	options->load.conns = (uint32_t)options_integer(flag, text, 1, BENCH_CONNS_MAX);
}

static void
bench_apply_depth(void *arg, const char *flag, const char *text)
{
	struct bench_options *options = arg;

	options->load.depth = (uint32_t)options_integer(flag, text, 1, LOAD_DEPTH_MAX);
}

static void
bench_apply_size(void *arg, const char *flag, const char *text)
{
	struct bench_options *options = arg;

	options->load.size_bytes = (uint32_t)options_integer(flag, text, 1, BENCH_SIZE_MAX);
}

static void
bench_apply_seconds(void *arg, const char *flag, const char *text)
{
	struct bench_options *options = arg;

	options->seconds_ns = options_seconds_ns(flag, text, 0.01, 86400, false);
}

static void
bench_apply_warmup(void *arg, const char *flag, const char *text)
{
	struct bench_options *options = arg;

	options->warmup_ns = options_seconds_ns(flag, text, 0, 86400, false);
}

static void
bench_apply_server_pid(void *arg, const char *flag, const char *text)
{
	struct bench_options *options = arg;

	options->server_pid = (int)options_integer(flag, text, 1, INT32_MAX);
}

static void
bench_apply_json(void *arg, const char *flag, const char *text)
{
	struct bench_options *options = arg;

	(void)flag;
	(void)text;
	options->json = true;
}

static const struct options_flag bench_flags[] = {
	{ "connections", "N", "how many in all, 1 to 1048576 (64)", bench_apply_connections },
	{ "depth", "N", "messages under way on each of them, 1 to 4096 (1)", bench_apply_depth },
	{ "size", "BYTES", "of a message, 1 to 16777216 (64)", bench_apply_size },
	{ "seconds", "S", "how long to measure, 0.01 to 86400 (5)", bench_apply_seconds },
	{ "warmup", "S", "how long to run before that, 0 to 86400 (1)", bench_apply_warmup },
	{ "server-pid", "PID", "report that process's CPU time per message as well",
	  bench_apply_server_pid },
	TLS_FLAGS_CLIENT,
	{ "json", NULL, "print the result as one line of JSON", bench_apply_json },
	{ NULL, NULL, NULL, NULL },
};

static bool
bench_connects_failed(const struct bench *bench)
{
	return load_faults(&bench->load, LOAD_CONNECT) + load_faults(&bench->load, LOAD_REFUSED) >
	       0;
}

static bool
bench_has_begun(const struct bench *bench)
{
	return load_begun(&bench->load) > 0 || bench_connects_failed(bench);
}

static bool
bench_all_opened(const struct bench *bench)
{
	return load_opened(&bench->load) == bench->load.options.conns ||
	       bench_connects_failed(bench);
}

static bool
bench_all_ended(const struct bench *bench)
{
	return load_ended(&bench->load) == bench->load.options.conns;
}

static void
bench_show_progress(struct bench *bench, uint64_t now_ns)
{
	uint64_t echoes = load_echoes(&bench->load);
	double seconds = (double)(now_ns - bench->progress_at_ns + BENCH_PROGRESS_NS) / 1e9;
	double rate = (double)(echoes - bench->echoes_shown) / seconds;
	const char *phase = "waiting for the last ones";

	if (bench->report.window.begin_ns == 0) {
		phase = "connecting";
	} else if (now_ns < bench->report.window.begin_ns) {
		phase = "warming up";
	} else if (now_ns < bench->report.window.end_ns) {
		phase = "measuring";
	}
	options_complain("%3.0f s, %s: %u connections, %.0f msgs/s, %.1f MB/s",
			 (double)(now_ns - bench->began_ns) / 1e9, phase,
			 load_opened(&bench->load) - load_ended(&bench->load), rate,
			 rate * bench->load.options.size_bytes / 1e6);
	bench->echoes_shown = echoes;
	bench->progress_at_ns = now_ns + BENCH_PROGRESS_NS;
}

/* Until @deadline_ns, or it is @over before, or a signal comes: then true. */
static bool
bench_wait(struct bench *bench, uint64_t deadline_ns, bool (*over)(const struct bench *bench))
{
	uint64_t now_ns = wakeup_now_ns();

	while (now_ns < deadline_ns && !over(bench)) {
		uint64_t until_ns =
			deadline_ns < bench->progress_at_ns ? deadline_ns : bench->progress_at_ns;

		if (wakeup_wait(&bench->load.wakeup, until_ns) == WAKEUP_SIGNAL) {
			bench->signals++;
			return true;
		}
		now_ns = wakeup_now_ns();
		if (now_ns >= bench->progress_at_ns) {
			bench_show_progress(bench, now_ns);
		}
	}
	return false;
}

static int
bench_set_window(struct bench *bench, uint64_t begin_ns, uint64_t end_ns)
{
	bench->report.window = (struct load_window){ begin_ns, end_ns };
	return load_set_window(&bench->load, bench->sys, &bench->report.window);
}

/* Once the window is over the connections run dry; the drain tells those that don't to stop. */
static int
bench_measure(struct bench *bench)
{
	struct load_window *window = &bench->report.window;
	uint64_t now_ns = wakeup_now_ns();
	uint64_t begin_ns = now_ns + (uint64_t)bench->options->warmup_ns;
	int rc = bench_set_window(bench, begin_ns, begin_ns + (uint64_t)bench->options->seconds_ns);
	bool signalled;

	if (rc != 0) {
		return rc;
	}
	signalled = bench_wait(bench, window->begin_ns, bench_all_ended);
	usage_read(&bench->report.begin, bench->options->server_pid);
	if (!signalled) {
		signalled = bench_wait(bench, window->end_ns, bench_all_ended);
	}
	usage_read(&bench->report.end, bench->options->server_pid);
	if (signalled || bench_all_ended(bench)) {
		now_ns = bench->report.end.at_ns + BENCH_NOTICE_NS;
		rc = bench_set_window(bench, window->begin_ns < now_ns ? window->begin_ns : now_ns,
				      now_ns);
	}
	(void)bench_wait(bench, window->end_ns + BENCH_GRACE_NS, bench_all_ended);
	return rc;
}

/* The first shard goes ahead, so that a URL that is none is refused once. */
static int
bench_connect(struct bench *bench)
{
	uint32_t shard;
	int rc = load_start(&bench->load, bench->sys, 0);

	if (rc != 0 || bench_wait(bench, BENCH_FOR_EVER_NS, bench_has_begun)) {
		return rc;
	}
	for (shard = 1; shard < bench->load.shards_count && !bench_connects_failed(bench);
	     shard++) {
		rc = load_start(&bench->load, bench->sys, shard);
		if (rc != 0) {
			return rc;
		}
	}
	(void)bench_wait(bench, BENCH_FOR_EVER_NS, bench_all_opened); /* signals are counted */
	return 0;
}

static int
bench_run(struct bench *bench)
{
	int rc;

	bench->began_ns = wakeup_now_ns();
	bench->progress_at_ns = bench->began_ns + BENCH_PROGRESS_NS;
	rc = bench_connect(bench);
	if (rc == 0 && bench->signals == 0 && !bench_connects_failed(bench)) {
		rc = bench_measure(bench);
	}
	if (rc != 0) {
		options_complain("can't direct the shards: %s", strerror(-rc));
	}
	rl_system_drain(bench->sys);
	if (bench->signals > 1) {
		rl_system_drain(bench->sys); /* cuts */
	}
	(void)rl_system_run(bench->sys); /* returns 0 only */
	return rc;
}

static bool
bench_has_failed(const struct bench *bench)
{
	uint64_t messages = 0;
	uint32_t i;

	for (i = 0; i < bench->load.shards_count; i++) {
		messages += bench->load.shards[i].messages;
	}
	if (messages == 0 && bench->signals == 0 && load_faults_all(&bench->load) == 0) {
		options_complain("nothing came back");
	}
	return load_faults_all(&bench->load) != 0 || (messages == 0 && bench->signals == 0);
}

/* The results are the actors' until the run is over. */
static int
bench_conclude(struct bench *bench, bool stats)
{
	bench->report.load = &bench->load;
	report_faults(&bench->load);
	if (bench->report.window.begin_ns < bench->report.window.end_ns) {
		report_print(&bench->report, bench->options->json);
	}
	if (stats) {
		stats_json_print(stdout, bench->sys);
	}
	return options_flush();
}

static int
bench_main(struct bench *bench, const struct options *options)
{
	struct usage usage;
	bool failed = false;
	int rc;

	usage_read(&usage, bench->options->server_pid);
	if (bench->options->server_pid != 0 && !usage.server_known) {
		options_complain("--server-pid: there is no schedstat of a process %d",
				 bench->options->server_pid);
		return 1;
	}
	rc = rl_system_start(&options->config, &bench->sys);
	if (rc != 0) {
		return 1; /* logged */
	}
	rc = wakeup_init(&bench->load.wakeup);
	if (rc != 0) {
		options_complain("no eventfd or signalfd: %s", strerror(-rc));
	} else {
		load_init(&bench->load, rl_system_shards(bench->sys));
		rc = bench_run(bench);
		failed = bench_conclude(bench, options->stats) != 0 || bench_has_failed(bench);
		wakeup_fini(&bench->load.wakeup);
	}
	rl_system_stop(bench->sys);
	return rc != 0 || failed ? 1 : 0;
}

int
main(int argc, char **argv)
{
	static struct bench bench; /* some megabytes of histograms */
	static struct bench_options own = {
		.tls = TLS_FLAGS_INIT,
		.load = { .conns = 64, .depth = 1, .size_bytes = 64 },
		.seconds_ns = RL_SEC(5),
		.warmup_ns = RL_SEC(1),
	};
	static const struct options_spec spec = {
		.summary = "Measure an echo server, and compare every byte that comes back.",
		.role = OPTIONS_CONNECTS,
		.flags = bench_flags,
		.arg = &own,
	};
	struct options options = { .config =
					   RL_CONFIG(.shards = 1, .drain_timeout_ns = RL_SEC(3)) };

	options_parse(&options, &spec, argc, argv);
	own.load.url = options.urls[0];
	own.load.conn = tls_flags_options(&own.tls, own.load.url);
	options.config.conns_max =
		(own.load.conns + options.config.shards - 1) / options.config.shards;
	bench.options = &own;
	bench.load.options = own.load;
	return bench_main(&bench, &options);
}
