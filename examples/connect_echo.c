/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * connect_echo - a client that stays connected: a line each second, and what comes back.
 *
 *	echo_server                                       (in another terminal; end it, start it)
 *	connect_echo --connect tcp://localhost:7878
 *
 * What to learn: a client that reconnects is an outbound connection that is a supervisor's child.
 * Whatever ends it (the host is not found, nobody listens, the peer closes, resets or does not
 * answer), it is opened anew after a delay that doubles from 0.1 s to 10 s, less something by
 * chance, and is short again once a connection has lived. Its own code knows nothing of that: it
 * begins with RL_MSG_START each time, and ends when something is wrong. The name is looked up
 * again each time, and all addresses that it has are tried.
 *
 * Prints a line for each connection, each reply and each end. Ends with SIGTERM or SIGINT. Exit
 * code: 0 drained, 1 failed, 2 wrong usage.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ringline/monitor.h>
#include <ringline/ringline.h>
#include <ringline/supervisor.h>

#include "support/options.h"
#include "support/stats_json.h"

enum {
	UNANSWERED_MAX = 5, /* lines: then the server is as good as gone */
};

/* Of one connection: the next one begins with zeros. */
struct client {
	uint32_t sent;
	uint32_t answered;
};

static int
client_opened(struct rl_actor *self, const struct rl_msg *msg)
{
	char text[RL_ADDR_TEXT_MAX];

	(void)printf("connected to %s\n", rl_addr_format(msg->open.peer, text));
	(void)fflush(stdout);
	return rl_timer_start_every(self, RL_SEC(1), 0, NULL);
}

static int
client_send(struct rl_actor *self, struct client *client)
{
	char line[32];
	int len;

	if (client->sent - client->answered == UNANSWERED_MAX) {
		return -ETIMEDOUT;
	}
	len = snprintf(line, sizeof(line), "line %u\n", ++client->sent);
	return rl_conn_send(self, line, (size_t)len);
}

/* Whole lines are printed; what is left of one comes again with more. */
static void
client_receive_lines(struct rl_actor *self, struct client *client, const struct rl_msg *msg)
{
	const char *text = (const char *)msg->recv.data;
	const char *newline;
	size_t taken = 0;

	while ((newline = memchr(text + taken, '\n', msg->recv.len - taken)) != NULL) {
		(void)printf("%.*s\n", (int)(newline - text - (ptrdiff_t)taken), text + taken);
		taken = (size_t)(newline - text) + 1;
		client->answered++;
	}
	(void)fflush(stdout);
	rl_conn_consumed(self, taken);
}

static int
client_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct client *client = rl_actor_state(self);

	switch (msg->kind) {
	case RL_MSG_OPEN:
		return client_opened(self, msg);
	case RL_MSG_TIMER:
		return client_send(self, client);
	case RL_MSG_RECV:
		client_receive_lines(self, client, msg);
		return 0;
	case RL_MSG_STOP:
		(void)printf("not connected: %s%s%s\n", rl_reason_name(msg->stop.reason),
			     msg->stop.error != 0 ? ": " : "",
			     msg->stop.error != 0 ? strerror(-msg->stop.error) : "");
		(void)fflush(stdout);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED; /* the peer's FIN ends it, and so does a drain */
	}
}

static const struct rl_actor_def client_def = {
	.name = "client",
	.receive = client_receive,
	.state_size = sizeof(struct client),
};

/* What is to live as long as the program, and the actor that notices when it does not. */
struct root {
	struct rl_system *sys;
	struct rl_supervisor_def supervisor;
	struct rl_child_def child;
	int error;
};

static int
root_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	static struct root *root; /* there is one such actor */
	rl_actor_id id;
	int rc;

	switch (msg->kind) {
	case RL_MSG_START:
		root = msg->start.arg;
		rc = rl_actor_spawn(self, &rl_supervisor, &root->supervisor, &id);
		return rc != 0 ? rc : rl_actor_monitor(self, id, NULL);
	case RL_MSG_DOWN: /* its definition is bad, the URL for instance: ringline has said why */
		root->error = msg->down.error;
		rl_system_drain(root->sys);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def root_def = { .name = "root", .receive = root_receive };

static int
root_run(struct root *root, const char *url)
{
	int rc;

	root->child = (struct rl_child_def){ .name = "client", .def = &client_def, .url = url };
	root->supervisor = (struct rl_supervisor_def){
		.name = "connect_echo",
		.children = &root->child,
		.children_count = 1,
		.restarts_max = -1, /* it never gives up */
	};
	rc = rl_system_spawn(root->sys, 0, &root_def, root, NULL);
	if (rc != 0) {
		options_complain("can't begin: %s", strerror(-rc));
		return rc;
	}
	rc = rl_system_run(root->sys);
	return rc != 0 ? rc : root->error;
}

int
main(int argc, char **argv)
{
	static const struct options_spec spec = {
		.summary = "Stay connected to an echo server, and send it a line each second.",
		.role = OPTIONS_CONNECTS,
	};
	struct options options = { .config = RL_CONFIG(.shards = 1) };
	static struct root root;
	int rc;

	options_parse(&options, &spec, argc, argv);
	rc = rl_system_start(&options.config, &root.sys);
	if (rc == 0) {
		rc = root_run(&root, options.urls[0]);
	}
	if (rc == 0 && options.stats) {
		stats_json_print(stdout, root.sys);
		rc = options_flush();
	}
	rl_system_stop(root.sys);
	return rc == 0 ? 0 : 1;
}
