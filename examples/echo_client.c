/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * echo_client - what comes from stdin goes to the server, and its answers to stdout.
 *
 *	echo_server --listen tcp://127.0.0.1:7878         (in another terminal)
 *	echo_client --connect tcp://127.0.0.1:7878
 *	echo_client --connect tls://127.0.0.1:7443 --ca ca.pem
 *
 * What to learn: a connection that this end opens, the messages by which a thread of the
 * program's own talks to an actor, and backpressure by hand. Handlers never block, so the main
 * thread reads and writes (support/console.h). The actor keeps what the connection does not take,
 * and asks for no more before RL_MSG_WRITABLE; bytes that stdout has no room for it does not
 * consume, so that in the end the server is held back.
 *
 * With --resume a connection that says nothing comes first. Over TLS it leaves behind a session,
 * which the one that follows resumes: `"tls_resumed":1` in --stats.
 *
 * When stdin ends, so does our half of the connection; the program ends when the server's half
 * does. Exit code: 0 after that, or a SIGTERM, 1 if the connection failed (one line on stderr
 * says why), 2 wrong usage.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ringline/ringline.h>

#include "support/console.h"
#include "support/options.h"
#include "support/stats_json.h"
#include "support/tls_flags.h"

/* What the main thread and the actors share; the fields below the console are for after its end. */
struct run {
	struct console console;
	const char *url;
	const struct rl_conn_options *conn; /* NULL: not tls:// */
	enum rl_reason reason;
	int error;
	bool refused; /* the URL */
	bool resume;
	bool all_sent;
};

static void
run_end(struct run *run, enum rl_reason reason, int error)
{
	run->reason = reason;
	run->error = error;
	console_end(&run->console);
}

static void
run_open(struct run *run, struct rl_actor *self, const struct rl_actor_def *def)
{
	int rc = rl_conn_open(self, run->url, def, run, run->conn, NULL);

	if (rc != 0) {
		run->refused = rc == -EINVAL;
		run_end(run, RL_REASON_FAILURE, rc);
	}
}

struct client {
	struct run *run;
	bool full; /* until RL_MSG_WRITABLE */
	bool input_over;
	uint32_t held_inputs;
	size_t held_bytes;
	uint8_t held[CONSOLE_INPUT_BYTES_MAX]; /* no more than that is under way */
};

/* Send what is held, and half-close once there will be no more of it. */
static int
client_flush(struct rl_actor *self, struct client *client)
{
	int rc;

	if (client->full || client->run->all_sent) {
		return 0;
	}
	rc = rl_conn_send(self, client->held, client->held_bytes);
	client->full = rc == RL_CONN_SEND_HIGH || rc == -EAGAIN;
	if (rc == -EAGAIN) {
		return 0; /* nothing was taken */
	}
	if (rc < 0) {
		return rc;
	}
	console_inputs_done(&client->run->console, client->held_inputs);
	client->held_inputs = 0;
	client->held_bytes = 0;
	client->run->all_sent = client->input_over;
	return client->input_over ? rl_conn_shutdown_write(self) : 0;
}

static int
client_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct client *client = rl_actor_state(self);
	size_t taken;

	switch (msg->kind) {
	case RL_MSG_START:
		client->run = msg->start.arg;
		console_attach(&client->run->console, rl_actor_self(self));
		return 0;
	case CONSOLE_INPUT:
		memcpy(client->held + client->held_bytes, msg->user.data, msg->len);
		client->held_bytes += msg->len;
		client->held_inputs++;
		return client_flush(self, client);
	case CONSOLE_INPUT_END:
		client->input_over = true;
		return client_flush(self, client);
	case RL_MSG_WRITABLE:
		client->full = false;
		return client_flush(self, client);
	case RL_MSG_RECV:
		taken = console_write(&client->run->console, msg->recv.data, msg->recv.len);
		rl_conn_consumed(self, taken);
		return taken == msg->recv.len ? 0 : -EAGAIN; /* the rest comes after the resume */
	case CONSOLE_ROOM:
		return rl_conn_resume(self);
	case RL_MSG_EOF:
		return RL_ACTOR_STOP;
	case RL_MSG_STOP:
		run_end(client->run, msg->stop.reason, msg->stop.error);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def client_def = {
	.name = "client",
	.receive = client_receive,
	.state_size = sizeof(struct client),
};

struct scout {
	struct run *run;
};

/* Opens, ends, and has the client follow. */
static int
scout_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct scout *scout = rl_actor_state(self);

	switch (msg->kind) {
	case RL_MSG_START:
		scout->run = msg->start.arg;
		return 0;
	case RL_MSG_OPEN:
		return rl_conn_shutdown_write(self);
	case RL_MSG_EOF:
		return RL_ACTOR_STOP;
	case RL_MSG_STOP:
		if (msg->stop.reason == RL_REASON_PEER_FIN) {
			run_open(scout->run, self, &client_def);
		} else {
			run_end(scout->run, msg->stop.reason, msg->stop.error);
		}
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def scout_def = {
	.name = "scout",
	.receive = scout_receive,
	.state_size = sizeof(struct scout),
};

/* Connections are opened by actors; this one has nothing else to do. */
static int
opener_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct run *run;

	if (msg->kind != RL_MSG_START) {
		return RL_ACTOR_UNHANDLED;
	}
	run = msg->start.arg;
	run_open(run, self, run->resume ? &scout_def : &client_def);
	return RL_ACTOR_STOP;
}

static const struct rl_actor_def opener_def = { .name = "opener", .receive = opener_receive };

/* 0, or 1 after one line that says what went wrong; of a URL or a name ringline has said it. */
static int
run_verdict(const struct run *run)
{
	if (run->refused || run->reason == RL_REASON_RESOLVE) {
		return 1;
	}
	if (run->console.drained || (run->reason == RL_REASON_PEER_FIN && run->all_sent)) {
		return 0;
	}
	if (run->reason == RL_REASON_PEER_FIN) {
		options_complain("%s: the server ended the connection first", run->url);
		return 1;
	}
	options_complain("%s: %s: %s", run->url, rl_reason_name(run->reason),
			 run->error != 0 ? strerror(-run->error) : "cut");
	return 1;
}

static int
run_client(struct run *run, const struct options *options)
{
	struct rl_system *sys;
	int failed;
	int rc = rl_system_start(&options->config, &sys);

	if (rc != 0) {
		return 1; /* logged */
	}
	rc = console_init(&run->console, sys);
	if (rc == 0) {
		rc = rl_system_spawn(sys, 0, &opener_def, run, NULL);
	}
	if (rc != 0) {
		options_complain("can't begin: %s", strerror(-rc));
		rl_system_stop(sys);
		return 1;
	}
	failed = console_run(&run->console) != 0;
	rl_system_drain(sys);
	(void)rl_system_run(sys); /* now the counters balance */
	if (options->stats) {
		(void)fputs(run->console.output_line_open ? "\n" : "", stdout);
		stats_json_print(stdout, sys);
		failed |= options_flush() != 0;
	}
	rl_system_stop(sys);
	console_fini(&run->console);
	return run_verdict(run) | failed;
}

struct flags {
	struct tls_flags tls; /* the first */
	bool resume;
};

static void
flags_apply_resume(void *arg, const char *flag, const char *text)
{
	(void)flag;
	(void)text;
	((struct flags *)arg)->resume = true;
}

int
main(int argc, char **argv)
{
	static struct flags flags = { .tls = TLS_FLAGS_INIT };
	static const struct options_flag known[] = {
		TLS_FLAGS_CLIENT,
		{ "resume", NULL,
		  "tls: a connection that says nothing comes first, its session is used",
		  flags_apply_resume },
		{ NULL, NULL, NULL, NULL },
	};
	static const struct options_spec spec = {
		.summary = "Send stdin to a server, and print what it answers.",
		.role = OPTIONS_CONNECTS,
		.flags = known,
		.arg = &flags,
	};
	/* One connection needs one shard, and who types may take a while. */
	struct options options = { .config = RL_CONFIG(.shards = 1, .idle_timeout_ns = -1) };
	static struct run run;

	options_parse(&options, &spec, argc, argv);
	run.url = options.urls[0];
	run.conn = tls_flags_options(&flags.tls, run.url);
	run.resume = flags.resume;
	return run_client(&run, &options);
}
