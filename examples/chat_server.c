/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * chat_server - rooms for people with nc(1): each client and each room is an actor, on any core.
 *
 *	chat_server --listen tcp://127.0.0.1:7878
 *	nc 127.0.0.1 7878                                 (in other terminals)
 *	/nick ann
 *	/join tea
 *	hello
 *
 * What to learn: actors that talk across cores (chat_server/chat.h): requests for what needs an
 * answer, messages for what flows, one counted buffer for what many are sent, windows so that
 * nothing overflows, RL_MSG_ROOM where a way is full, monitors to learn that a client is gone.
 * What is said in a room reaches all its members in one order. Who does not read is cut off, and
 * nobody waits for him (chat_server/client.c).
 *
 * Limits, each with an answer that begins with "!": 200 bytes in a line, 15 in a nick, 23 in a
 * room's name, 200 members in a room, 256 rooms at home on a core. A client is in one room at a
 * time; nicks differ within a room.
 *
 * Prints `ready <url> shards=<N>` for each listener. SIGTERM and SIGINT drain, a second one cuts.
 * Exit code: 0 drained, 1 failed (one line on stderr says why), 2 wrong usage.
 */
#include <stdio.h>

#include <ringline/ringline.h>

#include "chat_server/chat.h"
#include "support/options.h"
#include "support/stats_json.h"

static int
chat_on_start(struct rl_shard *shard, void *arg)
{
	(void)arg;
	return rl_shard_spawn(shard, &chat_hall, NULL, &chat_halls[rl_shard_id(shard)]);
}

static const struct rl_shard_def chat_shard = { .on_start = chat_on_start };

static void
chat_apply_slow_seconds(void *arg, const char *flag, const char *text)
{
	(void)arg;
	chat_slow_ns = (uint64_t)options_seconds_ns(flag, text, 0.001, 86400, false);
}

static void
chat_apply_slow_bytes(void *arg, const char *flag, const char *text)
{
	struct options *options = arg;

	options->config.send_high_bytes = (uint32_t)options_integer(flag, text, 1024, 1 << 28);
}

static const struct options_flag chat_flags[] = {
	{ "slow-seconds", "S", "cut off who is above that for so long, 0.001 to 86400 (5)",
	  chat_apply_slow_seconds },
	{ "slow-bytes", "N", "of output that a client has not taken, 1024 to 2^28 (262144)",
	  chat_apply_slow_bytes },
	{ NULL, NULL, NULL, NULL },
};

/* All listeners or none: nobody is told of one while another may still fail. */
static int
chat_listen(struct rl_system *sys, const struct options *options)
{
	rl_listener_id ids[OPTIONS_URLS_MAX];
	char url[RL_URL_MAX];
	uint32_t i;
	int rc;

	for (i = 0; i < options->urls_count; i++) {
		rc = rl_listener_open(sys, options->urls[i], &chat_client, NULL, &ids[i]);
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
	struct options options = {
		.config = RL_CONFIG(.shard = &chat_shard, .mailbox_max = CHAT_MAILBOX_MAX,
				    .messages_max = 1 << 20, .idle_timeout_ns = -1),
	};
	const struct options_spec spec = {
		.summary = "Let people talk in rooms.",
		.role = OPTIONS_LISTENS,
		.flags = chat_flags,
		.arg = &options,
	};
	struct rl_system *sys;
	int rc;

	chat_slow_ns = (uint64_t)RL_SEC(5);
	options_parse(&options, &spec, argc, argv);
	rc = rl_system_start(&options.config, &sys); /* writes sys always; NULL when it fails */
	if (rc == 0) {
		rc = chat_listen(sys, &options);
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
