/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tlsload - TLS handshakes, one after the other on each of some connections.
 *
 *	tlsload --port 7443 --pid 4711 -c 8 -t 0.3 --mode full
 *
 *	full     connect, handshake, close_notify and FIN, wait for the server's end, and again
 *	resume   the same with an earlier connection's session; one that is not resumed is an error
 *	hello    connect, a ClientHello made beforehand, wait for the server's first bytes, reset:
 *	         what a flood does, which costs the server a key exchange and a signature, and the
 *	         client nothing
 *
 * TLS 1.3 with X25519 only; certificates are not verified. It takes its sources in turn from
 * 127.0.0.1 to 127.0.0.64, since one of them has not ports enough. What counts is the server's CPU
 * time for each, of all of its threads (schedstat). Prints one line of JSON; with --ticks, before
 * that, every 20 ms `tick NS DONE ERRORS`, on the monotonic clock and counted from the start.
 */
#include "common/program_tls.h"
#include "load/dial.h"
#include "load/load.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum {
	TLS_SOURCES = 64,
	TLS_EVENTS = 256,
	TLS_WAIT_MS = 20,
	TLS_TICK_NS = 20000000,
	TLS_PATIENCE_S = 5,
	TLS_HELLO_MAX = 4096,
	TLS_STALL_NS = 1000000000,
};

enum tls_mode {
	MODE_FULL,
	MODE_RESUME,
	MODE_HELLO
};

struct tls_options {
	int port;
	int pid;
	int cpu;
	uint32_t conns;
	enum tls_mode mode;
	bool ticks;
	double seconds;
	double warmup_seconds;
};

struct tls_slot {
	int fd;
	SSL *ssl; /* NULL once the handshake is done, and with hello */
	uint64_t begun_ns;
};

struct tls_load {
	const struct tls_options *options;
	struct sockaddr_in address;
	struct tls_slot *slots;
	SSL_CTX *ctx;
	SSL_SESSION *session;
	uint8_t hello[TLS_HELLO_MAX];
	int hello_bytes;
	uint64_t begun;
	uint64_t done; /* in the window that is measured */
	uint64_t done_before;
	uint64_t tick_at_ns;
	uint64_t errors; /* refused, reset, or no handshake */
	uint64_t mismatches; /* resumed, or not, other than was asked */
	uint64_t stalled;
	int epoll_fd;
};

enum tls_flag {
	FLAG_PID = 256,
	FLAG_CPU,
	FLAG_MODE,
	FLAG_TICKS,
	FLAG_HELP,
};

static const struct option tls_flags[] = {
	{ "port", required_argument, NULL, 'p' },
	{ "pid", required_argument, NULL, FLAG_PID },
	{ "cpu", required_argument, NULL, FLAG_CPU },
	{ "conns", required_argument, NULL, 'c' },
	{ "seconds", required_argument, NULL, 't' },
	{ "mode", required_argument, NULL, FLAG_MODE },
	{ "ticks", no_argument, NULL, FLAG_TICKS },
	{ "help", no_argument, NULL, FLAG_HELP },
	{ NULL, 0, NULL, 0 },
};

static const char tls_usage[] =
	"usage: tlsload --port N [--pid N] [--cpu N] [-c CONNECTIONS] [-t SECONDS] [-w SECONDS]\n"
	"               [--mode full|resume|hello] [--ticks] [--help]\n";

static enum tls_mode
tls_mode(const char *text)
{
	static const char *const names[] = { "full", "resume", "hello" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			return (enum tls_mode)i;
		}
	}
	program_misuse("--mode: '%s' is not full, resume or hello", text);
}

static void
tls_apply(struct tls_options *options, int flag)
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
	case FLAG_MODE:
		options->mode = tls_mode(optarg);
		break;
	case FLAG_TICKS:
		options->ticks = true;
		break;
	case 't':
		options->seconds = program_number("--seconds", optarg, 0.01);
		break;
	case 'w':
		options->warmup_seconds = program_number("--warmup", optarg, 0);
		break;
	case FLAG_HELP:
		fputs(tls_usage, stdout);
		exit(0);
	default:
		exit(2); /* getopt has said which flag it does not know */
	}
}

static void
tls_parse(struct tls_options *options, int argc, char **argv)
{
	int flag;

	while ((flag = getopt_long(argc, argv, "p:c:t:w:", tls_flags, NULL)) != -1) {
		tls_apply(options, flag);
	}
	if (optind < argc) {
		program_misuse("unexpected argument '%s'", argv[optind]);
	}
	if (options->port == 0) {
		program_misuse("--port is missing");
	}
}

/* The one that a new connection is to resume; OpenSSL gives us a reference. */
static int
tls_keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_load *load = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (load->session != NULL) {
		return 0;
	}
	load->session = session;
	return 1;
}

static void
tls_make_context(struct tls_load *load)
{
	load->ctx = SSL_CTX_new(TLS_client_method());
	program_tls_must(load->ctx != NULL &&
				 SSL_CTX_set_min_proto_version(load->ctx, TLS1_3_VERSION) == 1 &&
				 SSL_CTX_set1_groups_list(load->ctx, "X25519") == 1 &&
				 SSL_CTX_set_app_data(load->ctx, load) == 1,
			 "make a context");
	SSL_CTX_set_verify(load->ctx, SSL_VERIFY_NONE, NULL);
	(void)SSL_CTX_set_session_cache_mode(load->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_sess_set_new_cb(load->ctx, tls_keep_session);
	(void)SSL_CTX_clear_mode(load->ctx, SSL_MODE_AUTO_RETRY); /* a ticket is an answer */
}

/* A ClientHello as a client of ours says it. */
static void
tls_make_hello(struct tls_load *load)
{
	SSL *ssl = SSL_new(load->ctx);
	BIO *in = BIO_new(BIO_s_mem());
	BIO *out = BIO_new(BIO_s_mem());

	program_tls_must(ssl != NULL && in != NULL && out != NULL, "SSL_new");
	SSL_set_bio(ssl, in, out);
	(void)SSL_connect(ssl);
	load->hello_bytes = BIO_read(out, load->hello, TLS_HELLO_MAX);
	program_tls_must(load->hello_bytes > 0, "make a ClientHello");
	SSL_free(ssl);
	ERR_clear_error();
}

/* One connection, blocking, until its first ticket has come. */
static void
tls_make_session(struct tls_load *load)
{
	struct timeval patience = { .tv_sec = TLS_PATIENCE_S };
	SSL *ssl = SSL_new(load->ctx);
	int fd = dial_tcp(&load->address, 0);
	bool waits = true;
	char byte;

	(void)SSL_CTX_set_session_cache_mode(load->ctx, SSL_SESS_CACHE_CLIENT);
	program_tls_must(
		ssl != NULL && SSL_set_fd(ssl, fd) == 1 &&
			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
			SSL_connect(ssl) == 1,
		"the first handshake");
	while (waits && load->session == NULL) {
		errno = 0;
		waits = SSL_get_error(ssl, SSL_read(ssl, &byte, 1)) == SSL_ERROR_WANT_READ &&
			errno != EAGAIN;
	}
	program_tls_must(load->session != NULL, "no ticket came");
	/* or else the first use of the session would be its last */
	(void)SSL_CTX_set_session_cache_mode(load->ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_shutdown(ssl);
	SSL_free(ssl);
	(void)close(fd);
}

static void
tls_begin(struct tls_load *load, struct tls_slot *slot)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = slot };
	uint32_t source = INADDR_LOOPBACK + (uint32_t)(load->begun++ % TLS_SOURCES);

	slot->begun_ns = program_now_ns();
	slot->fd = dial_tcp(&load->address, source);
	if (fcntl(slot->fd, F_SETFL, O_NONBLOCK) != 0 ||
	    epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, slot->fd, &event) != 0) {
		program_die("epoll_ctl");
	}
	if (load->options->mode == MODE_HELLO) {
		/* who was refused hears of it below */
		(void)send(slot->fd, load->hello, (size_t)load->hello_bytes, MSG_NOSIGNAL);
		return;
	}
	slot->ssl = SSL_new(load->ctx);
	program_tls_must(
		slot->ssl != NULL && SSL_set_fd(slot->ssl, slot->fd) == 1 &&
			(load->session == NULL || SSL_set_session(slot->ssl, load->session) == 1),
		"SSL_new");
	SSL_set_connect_state(slot->ssl);
	(void)SSL_do_handshake(slot->ssl); /* says hello, and wants an answer */
	ERR_clear_error();
}

static void
tls_end(struct tls_load *load, struct tls_slot *slot)
{
	struct linger reset = { .l_onoff = load->options->mode == MODE_HELLO };

	(void)setsockopt(slot->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	(void)close(slot->fd);
	SSL_free(slot->ssl);
	slot->ssl = NULL;
}

/* True: it has failed. After a handshake all that is left is to say so, and to hear the same. */
static bool
slot_shakes(struct tls_load *load, struct tls_slot *slot)
{
	int answer = SSL_do_handshake(slot->ssl);

	if (answer != 1) {
		bool failed = SSL_get_error(slot->ssl, answer) != SSL_ERROR_WANT_READ;

		ERR_clear_error();
		return failed;
	}
	load->mismatches += (SSL_session_reused(slot->ssl) == 1) != (load->session != NULL);
	(void)SSL_shutdown(slot->ssl);
	(void)shutdown(slot->fd, SHUT_WR);
	SSL_free(slot->ssl);
	slot->ssl = NULL;
	return false;
}

/* True: this connection is over. */
static bool
tls_step(struct tls_load *load, struct tls_slot *slot)
{
	char block[16384];
	ssize_t got;

	if (slot->ssl != NULL) {
		if (slot_shakes(load, slot)) {
			load->errors++;
			return true;
		}
		if (slot->ssl != NULL) {
			return false;
		}
	}
	got = recv(slot->fd, block, sizeof(block), 0);
	if (got < 0 && errno == EAGAIN) {
		return false;
	}
	if (load->options->mode == MODE_HELLO ? got <= 0 : got < 0) {
		load->errors++;
		return true;
	}
	if (got > 0 && load->options->mode != MODE_HELLO) {
		return false; /* tickets, close_notify; epoll says it when there is more */
	}
	load->done++;
	return true;
}

static void
tls_tick(struct tls_load *load, uint64_t now_ns)
{
	if (load->options->ticks && now_ns >= load->tick_at_ns) {
		load->tick_at_ns = now_ns + TLS_TICK_NS;
		printf("tick %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", now_ns,
		       load->done_before + load->done, load->errors);
		fflush(stdout);
	}
}

static void
tls_run(struct tls_load *load, double seconds)
{
	uint64_t end_ns = program_now_ns() + (uint64_t)(seconds * 1e9);
	struct epoll_event events[TLS_EVENTS];
	uint64_t now_ns;

	while ((now_ns = program_now_ns()) < end_ns) {
		int count = epoll_wait(load->epoll_fd, events, TLS_EVENTS, TLS_WAIT_MS);

		tls_tick(load, now_ns);
		for (int i = 0; i < count; i++) {
			struct tls_slot *slot = events[i].data.ptr;

			if (tls_step(load, slot)) {
				tls_end(load, slot);
				tls_begin(load, slot);
			}
		}
	}
}

static uint64_t
tls_stalled(const struct tls_load *load)
{
	uint64_t now_ns = program_now_ns();
	uint64_t stalled = 0;

	for (uint32_t i = 0; i < load->options->conns; i++) {
		stalled += now_ns - load->slots[i].begun_ns > TLS_STALL_NS;
	}
	return stalled;
}

static void
tls_measure(struct tls_load *load)
{
	int pid = load->options->pid;
	struct load_usage before = load_usage_of(pid);
	uint64_t own_ns = program_cpu_ns();
	uint64_t began_ns = program_now_ns();
	struct load_usage after;
	double window;
	double ran;

	load->done_before = load->done;
	load->done = 0;
	tls_run(load, load->options->seconds);
	window = (double)(program_now_ns() - began_ns);
	after = load_usage_of(pid);
	ran = pid != 0 ? (double)(after.ran_ns - before.ran_ns) : 0;
	load->stalled = tls_stalled(load);
	printf("{\"handshakes\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"mismatches\":%" PRIu64
	       ",\"stalled\":%" PRIu64 ",\"per_s\":%.1f,\"server_ns_per_handshake\":%.1f"
	       ",\"server_cpu\":%.3f,\"server_wait\":%.3f,\"client_cpu\":%.3f}\n",
	       load->done, load->errors, load->mismatches, load->stalled,
	       (double)load->done / window * 1e9, load->done > 0 ? ran / (double)load->done : 0,
	       ran / window, pid != 0 ? (double)(after.waited_ns - before.waited_ns) / window : 0,
	       (double)(program_cpu_ns() - own_ns) / window);
}

int
main(int argc, char **argv)
{
	struct tls_options options = { .cpu = -1, .conns = 8, .seconds = 1 };
	struct tls_load load = { .options = &options };

	tls_parse(&options, argc, argv);
	program_pin(options.cpu);
	(void)program_raise_file_limit();
	(void)signal(SIGPIPE, SIG_IGN);
	load.address = dial_address("127.0.0.1", options.port);
	load.slots = program_alloc(options.conns, sizeof(*load.slots));
	load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (load.epoll_fd < 0) {
		program_die("epoll_create1");
	}
	tls_make_context(&load);
	if (options.mode == MODE_HELLO) {
		tls_make_hello(&load);
	} else if (options.mode == MODE_RESUME) {
		tls_make_session(&load);
	}
	for (uint32_t i = 0; i < options.conns; i++) {
		tls_begin(&load, &load.slots[i]);
	}
	tls_run(&load, options.warmup_seconds);
	tls_measure(&load);
	for (uint32_t i = 0; i < options.conns; i++) {
		tls_end(&load, &load.slots[i]);
	}
	SSL_SESSION_free(load.session);
	SSL_CTX_free(load.ctx);
	free(load.slots);
	return load.errors + load.mismatches + load.stalled > 0 || load.done == 0;
}
