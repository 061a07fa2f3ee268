/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * echo_tls_server - the echo server over TLS: the same actor, another URL.
 *
 *	echo_tls_server --listen tls://127.0.0.1:7443 --cert server.pem --key server.key
 *	echo_client --connect tls://127.0.0.1:7443 --ca ca.pem      (in another terminal)
 *
 * What to learn: TLS is a matter of the listener's options. The actor is echo_server's, to the
 * letter: it gets plaintext, sends plaintext, and its backpressure works as before.
 *
 * Several --cert, each with its --key, are chosen by the name that a client asks for; the first is
 * for all others.
 *
 * Without --cert it makes itself a certificate for localhost and 127.0.0.1, signed by itself and
 * good for a week, and says where, so that a client can be told to trust it. With --ca clients need
 * a certificate of their own.
 *
 * SIGHUP reads certificate and key anew (rl_listener_reload()): connections live on, new ones get
 * the new certificate; if it is no good, a line says why, and the old one stays. SIGUSR2 changes
 * the key of session tickets (rl_system_rotate_tickets()), which it does twice a day by itself:
 * tickets of the key before are still good, after a second signal those of before the first are
 * not.
 *
 * Prints `ready <url> shards=<N>`. SIGTERM and SIGINT drain, a second one cuts. Exit code: 0
 * drained, 1 failed (one line on stderr says why), 2 wrong usage.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include <ringline/ringline.h>

#include "support/options.h"
#include "support/self_signed.h"
#include "support/stats_json.h"
#include "support/tls_flags.h"

#define ECHO_URL "tls://127.0.0.1:7443"

static int
echo_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	switch (msg->kind) {
	case RL_MSG_RECV:
		return rl_conn_send(self, msg->recv.data, msg->recv.len);
	case RL_MSG_EOF: /* close_notify: the peer has no more to say; it still reads */
		return RL_ACTOR_STOP; /* what is queued leaves first, then our close_notify */
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def echo = { .name = "echo", .receive = echo_receive };

/* Blocked before the first thread starts, so that all of them inherit it. */
static void
server_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGHUP);
	(void)sigaddset(set, SIGUSR1);
	(void)sigaddset(set, SIGUSR2);
}

struct server {
	struct rl_system *sys;
	const struct options *options;
	struct tls_flags *flags;
	rl_listener_id ids[OPTIONS_URLS_MAX];
	pthread_t hearer;
};

static void
server_reload(struct server *server)
{
	for (uint32_t i = 0; i < server->options->urls_count; i++) {
		const char *url = server->options->urls[i];

		if (tls_flags_options(server->flags, url) != NULL &&
		    rl_listener_reload(server->sys, server->ids[i], &server->flags->tls) == 0) {
			options_complain("%s: reloaded", url); /* or logged why not */
		}
	}
}

/* Waits for signals that are blocked everywhere; SIGUSR1 ends it. */
static void *
server_hear(void *arg)
{
	struct server *server = arg;
	sigset_t set;
	int signal;

	server_signals(&set);
	while (sigwait(&set, &signal) == 0 && signal != SIGUSR1) {
		if (signal == SIGHUP) {
			server_reload(server);
		} else if (rl_system_rotate_tickets(server->sys) == 0) {
			options_complain("the key of tickets was changed");
		}
	}
	return NULL;
}

static int
server_listen(struct server *server)
{
	const struct options *options = server->options;
	struct rl_system *sys = server->sys;
	rl_listener_id *ids = server->ids;
	char url[RL_URL_MAX];
	uint32_t i;
	int rc;

	for (i = 0; i < options->urls_count; i++) {
		const struct rl_conn_options *conn =
			tls_flags_options(server->flags, options->urls[i]);
		struct rl_listener_options listener = { .arg = NULL };

		if (conn != NULL) {
			listener.conn = *conn;
		}
		rc = rl_listener_open(sys, options->urls[i], &echo, &listener, &ids[i]);
		if (rc != 0) {
			return rc; /* logged */
		}
	}
	for (i = 0; i < options->urls_count; i++) {
		(void)rl_listener_url(sys, ids[i], url); /* it is open */
		(void)printf("ready %s shards=%u\n", url, rl_system_shards(sys));
	}
	return options_flush();
}

static int
server_run(struct options *options, struct tls_flags *flags)
{
	struct server server = { .options = options, .flags = flags };
	bool hears = false;
	sigset_t set;
	int rc;

	server_signals(&set);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	rc = rl_system_start(&options->config, &server.sys);
	if (rc == 0) {
		rc = server_listen(&server);
	}
	if (rc == 0) {
		hears = pthread_create(&server.hearer, NULL, server_hear, &server) == 0;
		rc = rl_system_run(server.sys);
	}
	if (hears) {
		(void)pthread_kill(server.hearer, SIGUSR1);
		(void)pthread_join(server.hearer, NULL);
	}
	if (rc == 0 && options->stats) {
		stats_json_print(stdout, server.sys);
		rc = options_flush();
	}
	rl_system_stop(server.sys);
	return rc;
}

int
main(int argc, char **argv)
{
	static struct tls_flags flags = TLS_FLAGS_INIT;
	static const struct options_flag known[] = { TLS_FLAGS_SERVER, { NULL, NULL, NULL, NULL } };
	static const struct options_spec spec = {
		.summary = "Send back what comes in over TLS.",
		.role = OPTIONS_LISTENS,
		.url = ECHO_URL,
		.flags = known,
		.arg = &flags,
	};
	struct options options = { .config = RL_CONFIG(.shards = 0) }; /* one per allowed CPU */
	struct self_signed made = { .dir = "" };
	int rc;

	options_parse(&options, &spec, argc, argv);
	if (flags.tls.cert_file == NULL && flags.tls.key_file == NULL) {
		if (self_signed_make(&made) != 0) {
			return 1;
		}
		flags.tls.cert_file = made.cert_file;
		flags.tls.key_file = made.key_file;
		options_complain("no --cert: made a certificate, signed by itself; clients trust "
				 "it with --ca %s",
				 made.cert_file);
	}
	rc = server_run(&options, &flags);
	if (made.dir[0] != '\0') {
		self_signed_remove(&made);
	}
	return rc == 0 ? 0 : 1;
}
