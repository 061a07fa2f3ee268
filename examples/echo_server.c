/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * echo_server - send back what comes in: the smallest whole program.
 *
 *	echo_server --listen tcp://127.0.0.1:7878 --shards 2
 *	printf 'hello\n' | echo_client                    (in another terminal)
 *
 * What to learn: an actor is one function over messages, every connection gets its own, and
 * nothing in it knows of threads or cores. Backpressure needs no code here: while a client does
 * not read, its output stays above the high mark, and ringline delivers no more of its input. A
 * client that has sent everything half-closes; what it has not read yet still reaches it, then
 * comes our FIN.
 *
 * Prints `ready <url> shards=<N>` for each listener once all of them listen; PORT 0 is a port
 * that the kernel chooses. SIGTERM and SIGINT drain, a second one cuts. Exit code: 0 drained, 1
 * failed (one line on stderr says why), 2 wrong usage.
 */
#include <stdio.h>

#include <ringline/ringline.h>

#include "support/options.h"
#include "support/stats_json.h"

static int
echo_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	switch (msg->kind) {
	case RL_MSG_RECV:
		return rl_conn_send(self, msg->recv.data, msg->recv.len);
	case RL_MSG_EOF: /* the peer has no more to say; it still reads */
		return RL_ACTOR_STOP; /* what is queued leaves first */
	default:
		return RL_ACTOR_UNHANDLED; /* each kind has a safe default; counted */
	}
}

static const struct rl_actor_def echo = { .name = "echo", .receive = echo_receive };

/* All listeners or none: nobody is told of one while another may still fail. */
static int
server_listen(struct rl_system *sys, const struct options *options)
{
	rl_listener_id ids[OPTIONS_URLS_MAX];
	char url[RL_URL_MAX];
	uint32_t i;
	int rc;

	for (i = 0; i < options->urls_count; i++) {
		rc = rl_listener_open(sys, options->urls[i], &echo, NULL, &ids[i]);
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

int
main(int argc, char **argv)
{
	static const struct options_spec spec = {
		.summary = "Send back what comes in.",
		.role = OPTIONS_LISTENS,
	};
	struct options options = { .config = RL_CONFIG(.shards = 0) }; /* one per allowed CPU */
	struct rl_system *sys;
	int rc;

	options_parse(&options, &spec, argc, argv);
	rc = rl_system_start(&options.config, &sys); /* writes sys always; NULL when it fails */
	if (rc == 0) {
		rc = server_listen(sys, &options);
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
