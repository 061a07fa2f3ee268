/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * proxy - pass each connection on to a server, both ways.
 *
 *	echo_server --listen tcp://127.0.0.1:7000
 *	proxy --listen tcp://127.0.0.1:7878 --target tcp://127.0.0.1:7000
 *
 * What to learn: two connections make a pair, each forwards what it receives into the other's
 * output, and backpressure goes from end to end without a line of code: where output can't leave,
 * input is held, so the proxy has a few hundred KiB of each pair, however much is under way. The
 * ends of a pair are linked, so that the failure of one resets the other; a half-close passes
 * through as a message, behind the bytes. A pair lives on one shard, and so do all its messages.
 *
 * On SIGTERM pairs go on until nothing has moved for a moment: a proxy can't know what its ends
 * still owe each other. Clients that ask anew with each reply are heard for half of the time that
 * there is; what they had asked by then is answered. Exit code: 0 drained, 1 failed, 2 wrong usage.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>

#include <ringline/ringline.h>

#include "support/options.h"
#include "support/stats_json.h"

enum proxy_kind {
	PROXY_PAIR = RL_MSG_USER, /* from the client's end: here I am */
	PROXY_FIN, /* the sender's peer has half-closed */
	PROXY_END, /* the system drains, and nothing moves */
};

#define PROXY_QUIET_NS	  RL_MS(200) /* from one look to the next */
#define PROXY_QUIET_LOOKS 2 /* in a row at which nothing had moved */

/*
 * Streams are long: larger receive buffers than the default's. And fewer, since they are used in
 * turn: 2 MiB of them stay in a cache that 4 don't.
 */
#define PROXY_BUFFER_BYTES 65536
#define PROXY_BUFFERS	   32

/* One connection of a pair. */
struct end {
	const char *target; /* where the client's end connects to; NULL: this is the other end */
	rl_actor_id other;
	bool waits; /* what it received last was held up: RL_MSG_WRITABLE will come */
	bool eof; /* its peer sends no more */
	bool shut; /* and neither do we */
	uint32_t quiet; /* looks */
	uint64_t hear_until_ns; /* while the system drains */
	uint64_t moved; /* bytes either way at the last look */
};

static int end_receive(struct rl_actor *self, const struct rl_msg *msg);

static const struct rl_actor_def end_def = {
	.name = "end",
	.receive = end_receive,
	.state_size = sizeof(struct end),
};

/* The client is here: connect, and tie the two together. */
static int
end_open(struct rl_actor *self, struct end *end)
{
	int rc = rl_conn_open(self, end->target, &end_def, NULL, NULL, &end->other);

	if (rc == 0) {
		rc = rl_actor_send(self, end->other, PROXY_PAIR, NULL, 0);
	}
	if (rc == 0) {
		rc = rl_actor_link(self, end->other);
	}
	return rc; /* an error ends this end, and so the client sees a reset */
}

static int
end_forward(struct rl_actor *self, struct end *end, const struct rl_msg *msg)
{
	int rc = rl_conn_forward(self, end->other, msg->recv.data, msg->recv.len);

	end->waits = rc == RL_CONN_SEND_HIGH || rc == -EAGAIN;
	return rc; /* what was refused comes again */
}

/* All that it received was forwarded before, so the FIN goes out behind it. */
static int
end_eof(struct rl_actor *self, struct end *end)
{
	int rc = rl_actor_send(self, end->other, PROXY_FIN, NULL, 0);

	end->eof = true;
	return rc != 0 || !end->shut ? rc : RL_ACTOR_STOP;
}

static int
end_shut(struct rl_actor *self, struct end *end)
{
	end->shut = true;
	return end->eof ? RL_ACTOR_STOP : rl_conn_shutdown_write(self);
}

static int
end_look_soon(struct rl_actor *self)
{
	rl_timer_id timer;

	return rl_timer_start(self, PROXY_QUIET_NS, 0, &timer);
}

/* While the system drains, the client's end looks whether anything moves in the pair. */
static int
end_look(struct rl_actor *self, struct end *end)
{
	struct rl_conn_stats stats;
	uint64_t moved;
	int rc = rl_conn_stats(self, &stats);

	if (rc == 0 && rl_shard_now_ns(rl_actor_shard(self)) >= end->hear_until_ns) {
		rc = rl_conn_pause(self); /* or the cut would take replies with it */
	}
	if (rc != 0) {
		return rc;
	}
	moved = stats.bytes_in + stats.bytes_out;
	end->quiet =
		moved != end->moved || stats.queued_bytes > 0 || end->waits ? 0 : end->quiet + 1;
	end->moved = moved;
	if (end->quiet < PROXY_QUIET_LOOKS) {
		return end_look_soon(self);
	}
	rc = rl_actor_send(self, end->other, PROXY_END, NULL, 0);
	return rc != 0 ? rc : RL_ACTOR_STOP;
}

static int
end_shutdown(struct rl_actor *self, struct end *end, uint64_t deadline_ns)
{
	uint64_t now_ns = rl_shard_now_ns(rl_actor_shard(self));

	if (rl_actor_id_is_none(end->other)) {
		return RL_ACTOR_UNHANDLED; /* no pair yet: it ends */
	}
	end->hear_until_ns = now_ns + (deadline_ns - now_ns) / 2;
	return end->target != NULL ? end_look_soon(self) : 0;
}

static int
end_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct end *end = rl_actor_state(self);

	switch (msg->kind) {
	case RL_MSG_START:
		end->target = msg->start.arg;
		return 0;
	case RL_MSG_OPEN:
		return end->target != NULL ? end_open(self, end) : 0;
	case PROXY_PAIR:
		end->other = msg->from;
		return 0;
	case RL_MSG_RECV:
		return end_forward(self, end, msg);
	case RL_MSG_WRITABLE: /* input goes on by itself */
		end->waits = false;
		return 0;
	case RL_MSG_EOF:
		return end_eof(self, end);
	case PROXY_FIN:
		return end_shut(self, end);
	case RL_MSG_SHUTDOWN:
		return end_shutdown(self, end, msg->shutdown.deadline_ns);
	case RL_MSG_TIMER:
		return end_look(self, end);
	case PROXY_END:
		return RL_ACTOR_STOP;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static int
proxy_listen(struct rl_system *sys, const struct options *options, const char *target)
{
	struct rl_listener_options listen = { .arg = (void *)(uintptr_t)target };
	rl_listener_id ids[OPTIONS_URLS_MAX];
	char url[RL_URL_MAX];
	uint32_t i;
	int rc;

	for (i = 0; i < options->urls_count; i++) {
		rc = rl_listener_open(sys, options->urls[i], &end_def, &listen, &ids[i]);
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

static void
proxy_set_target(void *arg, const char *flag, const char *text)
{
	(void)flag;
	*(const char **)arg = text;
}

int
main(int argc, char **argv)
{
	const char *target = "tcp://127.0.0.1:7000";
	const struct options_flag flags[] = {
		{ "target", "URL", "where connections go; default tcp://127.0.0.1:7000",
		  proxy_set_target },
		{ 0 },
	};
	const struct options_spec spec = {
		.summary = "Pass each connection on to a server.",
		.role = OPTIONS_LISTENS,
		.flags = flags,
		.arg = &target,
	};
	struct options options = {
		.config = RL_CONFIG(.shards = 0, /* one per allowed CPU */
				    .recv_buffers = PROXY_BUFFERS,
				    .recv_buffer_bytes = PROXY_BUFFER_BYTES),
	};
	struct rl_system *sys;
	int rc;

	options_parse(&options, &spec, argc, argv);
	rc = rl_system_start(&options.config, &sys); /* writes sys always; NULL when it fails */
	if (rc == 0) {
		rc = proxy_listen(sys, &options, target);
	}
	if (rc == 0) {
		rc = rl_system_run(sys); /* until SIGINT or SIGTERM; then drains */
	}
	if (rc == 0 && options.stats) {
		stats_json_print(stdout, sys);
		rc = options_flush();
	}
	rl_system_stop(sys); /* accepts NULL */
	return rc == 0 ? 0 : 1;
}
