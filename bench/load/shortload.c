/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * shortload - short connections: connect, send one message, read the echo, close, and again.
 *
 *	shortload --port 9000 --pid 4711 -c 64 -s 64 -t 0.3
 *
 * Every slot is always in the middle of a connection; one that is done begins the next at once. The
 * client closes first, so the ports wait with it; it takes its sources in turn from 127.0.0.1 to
 * 127.0.0.64, since one of them has not ports enough. What counts is the server's CPU time for each
 * connection, of all of its threads (schedstat). Prints one line of JSON.
 */
#include "common/program.h"
#include "load/dial.h"
#include "load/load.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	SHORT_SOURCES = 64,
	SHORT_SIZE_MAX = 65536,
	SHORT_EVENTS = 256,
	SHORT_WAIT_MS = 20,
	SHORT_STALL_NS = 1000000000,
};

struct short_options {
	int port;
	int pid;
	int cpu;
	uint32_t conns;
	uint32_t size_bytes;
	double seconds;
	double warmup_seconds;
};

struct short_slot {
	int fd;
	uint32_t received;
	uint64_t number; /* of the connection: its message is nobody else's */
	uint64_t begun_ns;
};

struct short_load {
	const struct short_options *options;
	struct sockaddr_in address;
	struct short_slot *slots;
	uint8_t *expected;
	uint8_t *bytes;
	uint64_t begun; /* connections */
	uint64_t done;
	uint64_t errors; /* closed before the echo was whole */
	uint64_t mismatches;
	uint64_t stalled; /* no answer for a second */
	int epoll_fd;
};

enum short_flag {
	FLAG_PID = 256,
	FLAG_CPU,
	FLAG_HELP,
};

static const struct option short_flags[] = {
	{ "port", required_argument, NULL, 'p' },     { "pid", required_argument, NULL, FLAG_PID },
	{ "cpu", required_argument, NULL, FLAG_CPU }, { "conns", required_argument, NULL, 'c' },
	{ "size", required_argument, NULL, 's' },     { "seconds", required_argument, NULL, 't' },
	{ "help", no_argument, NULL, FLAG_HELP },     { NULL, 0, NULL, 0 },
};

static const char short_usage[] =
	"usage: shortload --port N [--pid N] [--cpu N] [-c CONNECTIONS] [-s BYTES] [-t SECONDS]\n"
	"                 [-w SECONDS] [--help]\n";

static void
short_apply(struct short_options *options, int flag)
{
	switch (flag) {
	case 'p':
		options->port = (int)program_integer("--port", optarg, 1, 65535);
		break;
	case FLAG_PID:
		options->pid = (int)program_integer("--pid", optarg, 1, 1 << 30);
		break;
	case FLAG_CPU:
		options->cpu = (int)program_integer("--cpu", optarg, 0, 1023);
		break;
	case 'c':
		options->conns = (uint32_t)program_integer("--conns", optarg, 1, 4096);
		break;
	case 's':
		options->size_bytes =
			(uint32_t)program_integer("--size", optarg, 8, SHORT_SIZE_MAX);
		break;
	case 't':
		options->seconds = program_number("--seconds", optarg, 0.01);
		break;
	case 'w':
		options->warmup_seconds = program_number("--warmup", optarg, 0);
		break;
	case FLAG_HELP:
		fputs(short_usage, stdout);
		exit(0);
	default:
		exit(2); /* getopt has said which flag it does not know */
	}
}

static void
short_parse(struct short_options *options, int argc, char **argv)
{
	int flag;

	while ((flag = getopt_long(argc, argv, "p:c:s:t:w:", short_flags, NULL)) != -1) {
		short_apply(options, flag);
	}
	if (optind < argc) {
		program_misuse("unexpected argument '%s'", argv[optind]);
	}
	if (options->port == 0) {
		program_misuse("--port is missing");
	}
}

/* The connection's number, over and over. */
static void
short_message(const struct short_load *load, uint64_t number)
{
	for (uint32_t i = 0; i < load->options->size_bytes; i++) {
		load->expected[i] = (uint8_t)(number >> (8 * (i % 8)));
	}
}

static void
short_begin(struct short_load *load, struct short_slot *slot, uint64_t now_ns)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = slot };
	uint32_t source = INADDR_LOOPBACK + (uint32_t)(load->begun % SHORT_SOURCES);

	slot->fd = dial_tcp(&load->address, source);
	slot->received = 0;
	slot->number = load->begun++;
	slot->begun_ns = now_ns;
	short_message(load, slot->number);
	if (send(slot->fd, load->expected, load->options->size_bytes, MSG_NOSIGNAL) !=
	    (ssize_t)load->options->size_bytes) {
		program_die("send"); /* a fresh socket has room */
	}
	if (epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, slot->fd, &event) != 0) {
		program_die("epoll_ctl");
	}
}

/* True: this connection has come to its end. */
static bool
short_receive(struct short_load *load, struct short_slot *slot)
{
	uint32_t size = load->options->size_bytes;
	ssize_t n = recv(slot->fd, load->bytes, size + 1 - slot->received, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN) {
		return false;
	}
	if (n <= 0) {
		load->errors++;
		return true;
	}
	short_message(load, slot->number);
	if (slot->received + (uint32_t)n > size ||
	    memcmp(load->bytes, load->expected + slot->received, (size_t)n) != 0) {
		load->mismatches++;
		return true;
	}
	slot->received += (uint32_t)n;
	return slot->received == size;
}

static void
short_turn(struct short_load *load)
{
	struct epoll_event events[SHORT_EVENTS];
	int count = epoll_wait(load->epoll_fd, events, SHORT_EVENTS, SHORT_WAIT_MS);
	uint64_t now_ns = program_now_ns();

	for (int i = 0; i < count; i++) {
		struct short_slot *slot = events[i].data.ptr;

		if (short_receive(load, slot)) {
			close(slot->fd);
			load->done++;
			short_begin(load, slot, now_ns);
		}
	}
}

static void
short_run(struct short_load *load, double seconds)
{
	uint64_t end_ns = program_now_ns() + (uint64_t)(seconds * 1e9);

	while (program_now_ns() < end_ns) {
		short_turn(load);
	}
}

static uint64_t
short_stalled(const struct short_load *load)
{
	uint64_t now_ns = program_now_ns();
	uint64_t stalled = 0;

	for (uint32_t i = 0; i < load->options->conns; i++) {
		stalled += now_ns - load->slots[i].begun_ns > SHORT_STALL_NS;
	}
	return stalled;
}

static void
short_report(const struct short_load *load, const struct load_usage *before, uint64_t window_ns,
	     uint64_t client_ns)
{
	const struct short_options *options = load->options;
	struct load_usage after = load_usage_of(options->pid);
	double window = (double)window_ns;
	double ran = options->pid != 0 ? (double)(after.ran_ns - before->ran_ns) : 0;
	double waited = options->pid != 0 ? (double)(after.waited_ns - before->waited_ns) : 0;
	double per_conn = load->done > 0 ? ran / (double)load->done : 0;

	printf("{\"conns\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"mismatches\":%" PRIu64
	       ",\"stalled\":%" PRIu64 ",\"conns_per_s\":%.0f,\"server_ns_per_conn\":%.1f"
	       ",\"server_cpu\":%.3f,\"server_wait\":%.3f,\"client_cpu\":%.3f}\n",
	       load->done, load->errors, load->mismatches, load->stalled,
	       (double)load->done / window * 1e9, per_conn, ran / window, waited / window,
	       (double)client_ns / window);
}

int
main(int argc, char **argv)
{
	struct short_options options = { .cpu = -1, .conns = 64, .size_bytes = 64, .seconds = 1 };
	struct short_load load = { .options = &options };
	struct load_usage before;
	uint64_t began_ns;
	uint64_t own_ns;

	short_parse(&options, argc, argv);
	program_pin(options.cpu);
	load.address = dial_address("127.0.0.1", options.port);
	load.slots = program_alloc(options.conns, sizeof(*load.slots));
	load.expected = program_alloc(1, options.size_bytes);
	load.bytes = program_alloc(1, options.size_bytes + 1);
	load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (load.epoll_fd < 0) {
		program_die("epoll_create1");
	}
	for (uint32_t i = 0; i < options.conns; i++) {
		short_begin(&load, &load.slots[i], program_now_ns());
	}
	short_run(&load, options.warmup_seconds);
	load.done = 0;
	before = load_usage_of(options.pid);
	own_ns = program_cpu_ns();
	began_ns = program_now_ns();
	short_run(&load, options.seconds);
	began_ns = program_now_ns() - began_ns;
	load.stalled = short_stalled(&load);
	short_report(&load, &before, began_ns, program_cpu_ns() - own_ns);
	free(load.slots);
	free(load.expected);
	free(load.bytes);
	return load.errors + load.mismatches + load.stalled > 0;
}
