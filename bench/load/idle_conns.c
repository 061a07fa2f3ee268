/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * idle_conns - opens many connections, echoes on each when told, and holds them: the client of the
 * measurements of memory and of idleness.
 *
 *	idle_conns --port 9000 --conns 9000
 *	idle_conns --port 7443 --conns 5000 --tls
 *
 * Prints `ready N` when all are connected, with --tls when the last handshake is done; certificates
 * are not verified. Each line `echo` on stdin sends --size bytes on every connection in turn,
 * compares what comes back and is answered with `echoed N`. The end of stdin closes all. Exit
 * status: 0 clean, 1 a connection failed or echoed something else, 2 wrong usage.
 */
#include "common/program_tls.h"
#include "load/dial.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

enum {
	IDLE_CONNS_MAX = 1000000,
	IDLE_SIZE_MAX = 65536, /* small enough for a blocking send to end without a reader */
	IDLE_PER_SOURCE = 20000, /* below the usual number of ephemeral ports */
	IDLE_ANSWER_SECONDS = 10,
};

enum {
	FLAG_HOST = 256,
	FLAG_TLS,
	FLAG_HELP
};

struct idle_options {
	const char *host;
	int port;
	uint32_t conns;
	uint32_t size_bytes;
	bool tls;
};

struct idle_conn {
	int fd;
	SSL *ssl; /* NULL: plain */
};

static const struct option idle_flags[] = {
	{ "host", required_argument, NULL, FLAG_HOST },
	{ "port", required_argument, NULL, 'p' },
	{ "conns", required_argument, NULL, 'c' },
	{ "size", required_argument, NULL, 's' },
	{ "tls", no_argument, NULL, FLAG_TLS },
	{ "help", no_argument, NULL, FLAG_HELP },
	{ NULL, 0, NULL, 0 },
};

static const char idle_usage[] =
	"usage: idle_conns --port P [--host H] [-c N] [-s BYTES] [--tls] [--help]\n";

static void
idle_apply(struct idle_options *options, int flag)
{
	switch (flag) {
	case FLAG_HOST:
		options->host = optarg;
		break;
	case 'p':
		options->port = (int)program_integer("--port", optarg, 1, 65535);
		break;
	case 'c':
		options->conns = (uint32_t)program_integer("--conns", optarg, 1, IDLE_CONNS_MAX);
		break;
	case 's':
		options->size_bytes = (uint32_t)program_integer("--size", optarg, 1, IDLE_SIZE_MAX);
		break;
	case FLAG_TLS:
		options->tls = true;
		break;
	case FLAG_HELP:
		fputs(idle_usage, stdout);
		exit(0);
	default:
		exit(2); /* getopt has said which flag it does not know */
	}
}

static void
idle_parse(struct idle_options *options, int argc, char **argv)
{
	int flag;

	while ((flag = getopt_long(argc, argv, "p:c:s:", idle_flags, NULL)) != -1) {
		idle_apply(options, flag);
	}
	if (optind < argc) {
		program_misuse("unexpected argument '%s'", argv[optind]);
	}
	if (options->port == 0) {
		program_misuse("--port is missing");
	}
}

static SSL *
idle_shake(SSL_CTX *ctx, int fd)
{
	SSL *ssl = SSL_new(ctx);

	program_tls_must(ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1,
			 "the handshake");
	return ssl;
}

static SSL_CTX *
idle_context(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	program_tls_must(ctx != NULL, "SSL_CTX_new");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	return ctx;
}

static struct idle_conn *
idle_connect(const struct idle_options *options)
{
	struct timeval patience = { .tv_sec = IDLE_ANSWER_SECONDS };
	struct sockaddr_in address = dial_address(options->host, options->port);
	bool loopback = ntohl(address.sin_addr.s_addr) >> 24 == 127;
	struct idle_conn *conns = program_alloc(options->conns, sizeof(*conns));
	SSL_CTX *ctx = options->tls ? idle_context() : NULL;
	uint32_t i;

	for (i = 0; i < options->conns; i++) {
		uint32_t source = INADDR_LOOPBACK + i / IDLE_PER_SOURCE;
		int fd = dial_tcp(&address, loopback ? source : 0);

		if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
		    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0) {
			program_die("setting a timeout");
		}
		conns[i] = (struct idle_conn){ fd, options->tls ? idle_shake(ctx, fd) : NULL };
	}
	SSL_CTX_free(ctx); /* the sessions keep it */
	return conns;
}

static ssize_t
idle_send(const struct idle_conn *conn, const uint8_t *message, uint32_t size_bytes)
{
	return conn->ssl != NULL ? SSL_write(conn->ssl, message, (int)size_bytes)
				 : send(conn->fd, message, size_bytes, MSG_NOSIGNAL);
}

/* All of them, or what came before the end. */
static ssize_t
idle_recv(const struct idle_conn *conn, uint8_t *answer, uint32_t size_bytes)
{
	int have = 0;
	int got = 1;

	if (conn->ssl == NULL) {
		return recv(conn->fd, answer, size_bytes, MSG_WAITALL);
	}
	while (got > 0 && have < (int)size_bytes) {
		got = SSL_read(conn->ssl, answer + have, (int)size_bytes - have);
		have += got > 0 ? got : 0;
	}
	return have;
}

static void
idle_echo_one(const struct idle_conn *conn, const uint8_t *message, uint8_t *answer,
	      uint32_t size_bytes)
{
	ssize_t rc = idle_send(conn, message, size_bytes);

	if (rc != (ssize_t)size_bytes) {
		program_die("send");
	}
	rc = idle_recv(conn, answer, size_bytes);
	if (rc < 0) {
		program_die("recv");
	}
	if (rc != (ssize_t)size_bytes || memcmp(message, answer, size_bytes) != 0) {
		errno = EPROTO;
		program_die(rc != (ssize_t)size_bytes ? "echo cut short" : "echo differs");
	}
}

/* Each message is its connection's and its turn's own: what is mixed up or comes late shows. */
static void
idle_echo_all(const struct idle_conn *conns, const struct idle_options *options, uint32_t turn)
{
	uint8_t *message = program_alloc(1, options->size_bytes);
	uint8_t *answer = program_alloc(1, options->size_bytes);
	uint32_t i;
	uint32_t at;

	for (i = 0; i < options->conns; i++) {
		for (at = 0; at < options->size_bytes; at++) {
			message[at] = (uint8_t)((i + turn * 2654435761u) >> (8 * (at % 4)));
		}
		idle_echo_one(&conns[i], message, answer, options->size_bytes);
	}
	free(message);
	free(answer);
}

int
main(int argc, char **argv)
{
	struct idle_options options = { .host = "127.0.0.1", .conns = 1000, .size_bytes = 64 };
	uint32_t turn = 0;
	char line[64];
	struct idle_conn *conns;

	idle_parse(&options, argc, argv);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)program_raise_file_limit();
	conns = idle_connect(&options);
	printf("ready %u\n", options.conns);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (strcmp(line, "echo\n") != 0) {
			program_misuse("stdin: the only command is 'echo'");
		}
		idle_echo_all(conns, &options, turn++);
		printf("echoed %u\n", options.conns);
		fflush(stdout);
	}
	free(conns); /* exit closes what is connected */
	return 0;
}
