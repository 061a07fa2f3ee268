/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Shard hooks. Invariant: on_stop is called if and only if on_start was, and did not fail.
 */
#include "actor/hooks.h"

#include <errno.h>
#include <unistd.h>

#include "actor/actor.h"
#include "base/host.h"

static int
hooks_state_take(struct rl_shard *shard, size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (bytes == 0) {
		return 0;
	}
	shard->state_bytes = (bytes + page - 1) / page * page;
	shard->state = rli_host_pages_reserve(shard->state_bytes);
	if (shard->state == NULL) {
		return -ENOMEM;
	}
	return rli_host_pages_commit(shard->state, shard->state_bytes);
}

static void
hooks_state_give(struct rl_shard *shard)
{
	if (shard->state != NULL) {
		rli_host_pages_release(shard->state, shard->state_bytes);
		shard->state = NULL;
	}
}

int
rli_hooks_start(struct rl_shard *shard)
{
	const struct rl_shard_def *def = shard->config->shard;
	int rc;

	if (def == NULL) {
		return 0;
	}
	rc = hooks_state_take(shard, def->state_size);
	if (rc != 0) {
		rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
			"no memory for the shard's state of %zu bytes: %s", def->state_size,
			rli_errno_text(rc));
	} else if (def->on_start != NULL) {
		rc = def->on_start(shard, shard->config->shard_arg);
		if (rc > 0) {
			rc = -EINVAL; /* an answer that means nothing is a failure too */
		}
		if (rc != 0) {
			rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
				"on_start of the shard failed: %s", rli_errno_text(rc));
		}
	}
	if (rc != 0) {
		rli_actors_abandon(shard); /* what on_start spawned */
		hooks_state_give(shard);
	}
	shard->hooked = rc == 0;
	return rc;
}

void
rli_hooks_tick(struct rl_shard *shard)
{
	const struct rl_shard_def *def = shard->config->shard;

	if (def != NULL && def->on_tick != NULL) {
		def->on_tick(shard);
	}
}

void
rli_hooks_stop(struct rl_shard *shard)
{
	const struct rl_shard_def *def = shard->config->shard;

	if (shard->hooked && def->on_stop != NULL) {
		def->on_stop(shard);
	}
	shard->hooked = false;
	hooks_state_give(shard);
}
