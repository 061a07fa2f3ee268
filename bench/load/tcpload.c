/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tcpload - closed-loop echo load generator for TCP and Unix stream sockets.
 *
 *	tcpload --host 127.0.0.1 --port 9000 -c 64 -d 16 -s 64 -t 5 -w 1
 *	tcpload --unix echo.sock -c 64 --json --pid $(pidof server)
 *
 *	--host H --port P    numeric IPv4 peer (default 127.0.0.1:9000)
 *	--unix PATH          Unix stream socket instead
 *	-c, --conns N        connections in all (default 64)
 *	-d, --depth N        outstanding messages per connection (default 1)
 *	-s, --size N         message size in bytes (default 64)
 *	-t, --time S         measured seconds (default 3)
 *	-w, --warmup S       seconds before that (default 0.5)
 *	-T, --threads N      generator threads (default 1); --cpu N pins thread i to N+i
 *	--rate N             at most N messages per second in all
 *	--pid PID            report that process's CPU time per message as well (schedstat)
 *	--no-verify          do not compare the echoed bytes
 *	--spin               never sleep in the kernel: lowest latency, a whole core
 *	--json               one JSON line instead of the text
 *
 * Every completed echo is replaced by a new message; messages that became due in one turn are sent
 * with one send. Exit status: 0 clean, 1 errors or stalls were seen or nothing was echoed, 2 wrong
 * usage.
 */
#include "common/program.h"
#include "load/load.h"

#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
	TCPLOAD_THREADS_MAX = 256,
	TCPLOAD_CONNS_MAX = 1000000,
	TCPLOAD_DEPTH_MAX = 65536
};

/* The generator's last turn ends after the window: the server's CPU is read this much earlier. */
#define TCPLOAD_USAGE_EARLY_NS 2000000u

enum tcpload_flag {
	FLAG_HOST = 256,
	FLAG_UNIX,
	FLAG_CPU,
	FLAG_RATE,
	FLAG_PID,
	FLAG_NO_VERIFY,
	FLAG_SPIN,
	FLAG_JSON,
	FLAG_HELP,
};

static const struct option tcpload_flags[] = {
	{ "host", required_argument, NULL, FLAG_HOST },
	{ "port", required_argument, NULL, 'p' },
	{ "unix", required_argument, NULL, FLAG_UNIX },
	{ "conns", required_argument, NULL, 'c' },
	{ "depth", required_argument, NULL, 'd' },
	{ "size", required_argument, NULL, 's' },
	{ "time", required_argument, NULL, 't' },
	{ "warmup", required_argument, NULL, 'w' },
	{ "threads", required_argument, NULL, 'T' },
	{ "cpu", required_argument, NULL, FLAG_CPU },
	{ "rate", required_argument, NULL, FLAG_RATE },
	{ "pid", required_argument, NULL, FLAG_PID },
	{ "no-verify", no_argument, NULL, FLAG_NO_VERIFY },
	{ "spin", no_argument, NULL, FLAG_SPIN },
	{ "json", no_argument, NULL, FLAG_JSON },
	{ "help", no_argument, NULL, FLAG_HELP },
	{ NULL, 0, NULL, 0 },
};

static const char tcpload_usage[] =
	"usage: tcpload [--host H --port P | --unix PATH] [-c N] [-d N] [-s N] [-t S] [-w S]\n"
	"               [-T N] [--cpu N] [--rate N] [--pid PID] [--no-verify] [--spin] [--json]\n"
	"               [--help]\n";

/* Both threads' sides of the start: workers count themselves ready, then wait to be let go. */
struct tcpload_start {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned ready;
	bool go;
};

struct tcpload_thread {
	struct load_worker worker;
	struct tcpload_start *start;
	pthread_t id;
};

/* What several flags mean by themselves; false for a flag that is not one of them. */
static bool
tcpload_apply_number(struct load_options *options, int flag)
{
	switch (flag) {
	case 'p':
		options->port = (int)program_integer("--port", optarg, 1, 65535);
		return true;
	case 'c':
		options->conns = (uint32_t)program_integer("--conns", optarg, 1, TCPLOAD_CONNS_MAX);
		return true;
	case 'd':
		options->depth = (uint32_t)program_integer("--depth", optarg, 1, TCPLOAD_DEPTH_MAX);
		return true;
	case 's':
		options->size_bytes = (uint32_t)program_integer("--size", optarg, 1, 1 << 30);
		return true;
	case 'T':
		options->threads =
			(unsigned)program_integer("--threads", optarg, 1, TCPLOAD_THREADS_MAX);
		return true;
	case FLAG_CPU:
		options->cpu = (int)program_integer("--cpu", optarg, 0, 1023);
		return true;
	case FLAG_PID:
		options->pid = (int)program_integer("--pid", optarg, 1, INT32_MAX);
		return true;
	case 't':
		options->seconds = program_number("--time", optarg, 0.01);
		return true;
	case 'w':
		options->warmup_seconds = program_number("--warmup", optarg, 0);
		return true;
	case FLAG_RATE:
		options->rate = program_number("--rate", optarg, 0.001);
		return true;
	default:
		return false;
	}
}

static void
tcpload_apply(struct load_options *options, int flag)
{
	if (tcpload_apply_number(options, flag)) {
		return;
	}
	switch (flag) {
	case FLAG_HOST:
		options->host = optarg;
		break;
	case FLAG_UNIX:
		options->unix_path = optarg;
		break;
	case FLAG_NO_VERIFY:
		options->verify = false;
		break;
	case FLAG_SPIN:
		options->spin = true;
		break;
	case FLAG_JSON:
		options->json = true;
		break;
	case FLAG_HELP:
		fputs(tcpload_usage, stdout);
		exit(0);
	default:
		exit(2); /* getopt has said which flag it does not know */
	}
}

static void
tcpload_parse(struct load_options *options, int argc, char **argv)
{
	int flag;

	while ((flag = getopt_long(argc, argv, "p:c:d:s:t:w:T:", tcpload_flags, NULL)) != -1) {
		tcpload_apply(options, flag);
	}
	if (optind < argc) {
		program_misuse("unexpected argument '%s'", argv[optind]);
	}
	if (options->threads > options->conns) {
		program_misuse("--threads: %u threads for %u connections", options->threads,
			       options->conns);
	}
}

static const uint8_t *
tcpload_make_pattern(void)
{
	uint8_t *pattern = mmap(NULL, LOAD_PATTERN_PERIOD + LOAD_SEND_MAX, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t random = 0x9E3779B97F4A7C15u; /* xorshift from a fixed seed */
	uint32_t i;

	if (pattern == MAP_FAILED) {
		program_die("mapping the pattern");
	}
	for (i = 0; i < LOAD_PATTERN_PERIOD; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		pattern[i] = (uint8_t)(random >> 24);
	}
	for (; i < LOAD_PATTERN_PERIOD + LOAD_SEND_MAX; i++) {
		pattern[i] = pattern[i - LOAD_PATTERN_PERIOD];
	}
	return pattern;
}

static void *
tcpload_thread_main(void *arg)
{
	struct tcpload_thread *thread = arg;
	struct tcpload_start *start = thread->start;

	load_worker_prepare(&thread->worker);
	pthread_mutex_lock(&start->mutex);
	start->ready++;
	pthread_cond_broadcast(&start->changed);
	while (!start->go) {
		pthread_cond_wait(&start->changed, &start->mutex);
	}
	pthread_mutex_unlock(&start->mutex);
	load_worker_run(&thread->worker);
	return NULL;
}

static void
tcpload_start_threads(struct tcpload_thread *threads, struct tcpload_start *start,
		      const struct load_options *options)
{
	const uint8_t *pattern = tcpload_make_pattern();
	uint32_t first = 0;
	unsigned i;

	for (i = 0; i < options->threads; i++) {
		struct load_worker *worker = &threads[i].worker;

		worker->id = i;
		worker->options = options;
		worker->pattern = pattern;
		worker->conns_first = first;
		worker->conns_count = options->conns / options->threads +
				      (i < options->conns % options->threads ? 1 : 0);
		first += worker->conns_count;
		threads[i].start = start;
		errno = pthread_create(&threads[i].id, NULL, tcpload_thread_main, &threads[i]);
		if (errno != 0) {
			program_die("pthread_create");
		}
	}
}

/* Waits until all are connected, then lets all of them go at once. */
static struct load_window
tcpload_let_go(struct tcpload_thread *threads, struct tcpload_start *start,
	       const struct load_options *options)
{
	struct load_window window;
	unsigned i;

	pthread_mutex_lock(&start->mutex);
	while (start->ready < options->threads) {
		pthread_cond_wait(&start->changed, &start->mutex);
	}
	window.begin_ns = program_now_ns() + (uint64_t)(options->warmup_seconds * 1e9);
	window.end_ns = window.begin_ns + (uint64_t)(options->seconds * 1e9);
	for (i = 0; i < options->threads; i++) {
		threads[i].worker.window = window;
	}
	start->go = true;
	pthread_cond_broadcast(&start->changed);
	pthread_mutex_unlock(&start->mutex);
	return window;
}

static void
tcpload_sleep_until(uint64_t time_ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(time_ns / 1000000000u),
		.tv_nsec = (long)(time_ns % 1000000000u),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
	}
}

static struct load_usage
tcpload_usage_since(struct load_usage before, int pid)
{
	struct load_usage usage = load_usage_of(pid);

	usage.ran_ns -= before.ran_ns;
	usage.waited_ns -= before.waited_ns;
	return usage;
}

/*
 * What the server and we ourselves used of the window. On a busy machine we wake up late, so the
 * time between the two looks is measured and not assumed.
 */
static void
tcpload_watch(struct load_result *result, const struct load_window *window, int pid)
{
	struct load_usage server;
	struct load_usage client;
	uint64_t begin_ns;

	tcpload_sleep_until(window->begin_ns);
	begin_ns = program_now_ns();
	server = load_usage_of(pid);
	client = load_usage_of(getpid());
	tcpload_sleep_until(window->end_ns - TCPLOAD_USAGE_EARLY_NS);
	result->usage_window_ns = program_now_ns() - begin_ns;
	result->server = tcpload_usage_since(server, pid);
	result->client = tcpload_usage_since(client, getpid());
}

static void
tcpload_join(struct tcpload_thread *threads, unsigned count, struct load_result *result)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		const struct load_worker *worker = &threads[i].worker;

		pthread_join(threads[i].id, NULL);
		histogram_merge(&result->latency, &worker->latency);
		result->bytes += worker->bytes;
		result->messages += worker->messages;
		result->turns += worker->turns;
		result->errors += worker->errors;
		result->mismatches += worker->mismatches;
		result->stalled += worker->stalled;
		result->cpu_ns += worker->cpu_end_ns - worker->cpu_begin_ns;
	}
}

int
main(int argc, char **argv)
{
	static struct tcpload_start start = {
		.mutex = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	static struct load_result result;
	static struct tcpload_thread
		*threads; /* never freed, and no leak: still in reach at exit */
	struct load_window window;
	struct load_options options = {
		.host = "127.0.0.1",
		.port = 9000,
		.conns = 64,
		.depth = 1,
		.size_bytes = 64,
		.threads = 1,
		.cpu = -1,
		.verify = true,
		.seconds = 3,
		.warmup_seconds = 0.5,
	};

	tcpload_parse(&options, argc, argv);
	(void)program_raise_file_limit();
	threads = program_alloc(options.threads, sizeof(*threads));
	tcpload_start_threads(threads, &start, &options);
	window = tcpload_let_go(threads, &start, &options);
	if (options.pid != 0) {
		tcpload_watch(&result, &window, options.pid);
	}
	tcpload_join(threads, options.threads, &result);
	load_report(&options, &result);
	return result.errors != 0 || result.stalled != 0 || result.messages == 0;
}
