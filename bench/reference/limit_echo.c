/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * limit_echo - the barest echo server that this kernel allows, as the denominator of measurements.
 *
 *	limit_echo --port 9000     the limit: multishot receive, sends from the receive buffers
 *	    --copy                 the payload is copied into a send pool first
 *	    --mode epoll           no io_uring
 *	    --mode single --bufsz 65536     one-shot receive, into the connection's own buffer
 *	    --wait 64 --min-wait 200        batched waits (Linux 6.12)
 *
 * Prints `ready <url> shards=1` when it listens, and with --stats one line of JSON when SIGTERM or
 * SIGINT ended it.
 */
#include "common/program.h"
#include "reference/reference.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef void (*serve_fn)(const struct reference_options *options, int listen_fd,
			 struct reference_counters *counters);

struct arguments {
	struct reference_options serve;
	serve_fn mode;
	const char *unix_path;
	int port;
	int cpu;
	bool stats;
};

enum limit_flag {
	FLAG_UNIX = 256,
	FLAG_CPU,
	FLAG_MODE,
	FLAG_COPY,
	FLAG_BUFSZ,
	FLAG_NBUF,
	FLAG_WAIT,
	FLAG_MIN_WAIT,
	FLAG_STATS,
	FLAG_HELP,
};

static const struct option limit_flags[] = {
	{ "port", required_argument, NULL, 'p' },
	{ "unix", required_argument, NULL, FLAG_UNIX },
	{ "cpu", required_argument, NULL, FLAG_CPU },
	{ "mode", required_argument, NULL, FLAG_MODE },
	{ "copy", no_argument, NULL, FLAG_COPY },
	{ "bufsz", required_argument, NULL, FLAG_BUFSZ },
	{ "nbuf", required_argument, NULL, FLAG_NBUF },
	{ "wait", required_argument, NULL, FLAG_WAIT },
	{ "min-wait", required_argument, NULL, FLAG_MIN_WAIT },
	{ "stats", no_argument, NULL, FLAG_STATS },
	{ "help", no_argument, NULL, FLAG_HELP },
	{ NULL, 0, NULL, 0 },
};

static const char limit_usage[] =
	"usage: limit_echo [--port N | --unix PATH] [--cpu N] [--mode multi|single|epoll] "
	"[--copy]\n"
	"                  [--bufsz BYTES] [--nbuf N] [--wait N] [--min-wait US] [--stats] "
	"[--help]\n"
	"--port 0 (the default) lets the kernel choose; the ready line names the port.\n";

static volatile sig_atomic_t limit_stop;
static int limit_listen_fd;

bool
reference_stopping(void)
{
	return limit_stop != 0;
}

/* Shutting the listener down completes the accept, and so ends a wait that began after the test. */
static void
limit_on_signal(int number)
{
	(void)number;
	limit_stop = 1;
	(void)shutdown(limit_listen_fd, SHUT_RDWR); /* fails on a second signal, which is fine */
}

static serve_fn
limit_mode(const char *name)
{
	if (strcmp(name, "multi") == 0) {
		return serve_multi;
	}
	if (strcmp(name, "single") == 0) {
		return serve_single;
	}
	if (strcmp(name, "epoll") == 0) {
		return serve_epoll;
	}
	program_misuse("--mode: '%s' is not multi, single or epoll", name);
}

static void
limit_apply(struct arguments *args, int flag)
{
	switch (flag) {
	case 'p':
		args->port = (int)program_integer("--port", optarg, 0, 65535);
		break;
	case FLAG_UNIX:
		args->unix_path = optarg;
		break;
	case FLAG_CPU:
		args->cpu = (int)program_integer("--cpu", optarg, 0, 1023);
		break;
	case FLAG_MODE:
		args->mode = limit_mode(optarg);
		break;
	case FLAG_COPY:
		args->serve.copy = true;
		break;
	case FLAG_BUFSZ:
		args->serve.buf_size_bytes =
			(uint32_t)program_integer("--bufsz", optarg, 64, 16777216);
		break;
	case FLAG_NBUF:
		args->serve.buf_count = (unsigned)program_integer("--nbuf", optarg, 1, 32768);
		break;
	case FLAG_WAIT:
		args->serve.wait_nr = (unsigned)program_integer("--wait", optarg, 1, 4096);
		break;
	case FLAG_MIN_WAIT:
		args->serve.min_wait_us =
			(unsigned)program_integer("--min-wait", optarg, 0, 1000000);
		break;
	case FLAG_STATS:
		args->stats = true;
		break;
	case FLAG_HELP:
		fputs(limit_usage, stdout);
		exit(0);
	default:
		exit(2); /* getopt has said which flag it does not know */
	}
}

static void
limit_parse(struct arguments *args, int argc, char **argv)
{
	int flag;

	while ((flag = getopt_long(argc, argv, "p:", limit_flags, NULL)) != -1) {
		limit_apply(args, flag);
	}
	if (optind < argc) {
		program_misuse("unexpected argument '%s'", argv[optind]);
	}
	if ((args->serve.buf_count & (args->serve.buf_count - 1)) != 0) {
		program_misuse("--nbuf: %u is not a power of two", args->serve.buf_count);
	}
	if (args->serve.copy && args->mode != serve_multi) {
		program_misuse("--copy belongs to --mode multi");
	}
}

static int
limit_listen_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path)) {
		program_misuse("--unix: the path is too long");
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(fd, 4096) != 0) {
		program_die("listening on --unix");
	}
	printf("ready unix:%s shards=1\n", path);
	return fd;
}

static int
limit_listen_tcp(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	/* Accepted sockets inherit NODELAY, and a direct descriptor has no setsockopt. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(fd, 4096) != 0 || getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
		program_die("listening on --port");
	}
	printf("ready tcp://127.0.0.1:%u shards=1\n", (unsigned)ntohs(address.sin_port));
	return fd;
}

static void
limit_handle_signals(void)
{
	struct sigaction action = { .sa_handler = limit_on_signal };

	if (sigaction(SIGINT, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0) {
		program_die("sigaction");
	}
}

static void
limit_print_stats(const struct reference_counters *c)
{
	printf("{\"accepted\":%" PRIu64 ",\"bytes_in\":%" PRIu64 ",\"recvs\":%" PRIu64
	       ",\"sends\":%" PRIu64 ",\"sends_gathered\":%" PRIu64 ",\"sends_short\":%" PRIu64
	       ",\"enobufs_parks\":%" PRIu64 ",\"rearms\":%" PRIu64 ",\"cqes\":%" PRIu64
	       ",\"cq_overflows\":%" PRIu64 ",\"turns\":%" PRIu64 ",\"enters\":%" PRIu64
	       ",\"syscalls\":%" PRIu64 "}\n",
	       c->accepted, c->bytes_in, c->recvs, c->sends, c->sends_gathered, c->sends_short,
	       c->enobufs_parks, c->rearms, c->cqes, c->cq_overflows, c->turns, c->enters,
	       c->syscalls);
}

int
main(int argc, char **argv)
{
	struct reference_counters counters = { .accepted = 0 };
	struct arguments args = {
		.serve = { .wait_nr = 1, .buf_size_bytes = 16384, .buf_count = 256 },
		.mode = serve_multi,
		.cpu = -1,
	};

	limit_parse(&args, argc, argv);
	program_pin(args.cpu);
	(void)program_raise_file_limit();
	limit_listen_fd = args.unix_path != NULL ? limit_listen_unix(args.unix_path)
						 : limit_listen_tcp(args.port);
	limit_handle_signals();
	fflush(stdout); /* the ready line, once a signal ends us properly */
	args.mode(&args.serve, limit_listen_fd, &counters);
	if (args.unix_path != NULL) {
		(void)unlink(args.unix_path); /* somebody else may have removed it */
	}
	if (args.stats) {
		limit_print_stats(&counters);
	}
	return 0;
}
