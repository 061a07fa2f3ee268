/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The acceptor's place in a system (any mode but RL_ACCEPT_PER_SHARD): what loop.c is to a shard.
 * Invariant: it answers requests until rli_system_end(), also when it has closed everything, so
 * nobody waits for ever.
 */
#include <errno.h>

#include "net/acceptor.h"
#include "system.h"

int
rli_system_acceptor_create(struct rl_system *system)
{
	const struct rl_config *config = &system->config.user;

	if (!config_has_acceptor(config)) {
		return 0;
	}
	system->acceptor = rli_acceptor_create(config, &system->log);
	if (system->acceptor == NULL) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < config->shards; i++) {
		rli_acceptor_join(system->acceptor, i, rli_system_shard(system, i));
	}
	return 0;
}

void
rli_system_acceptor_ask(struct rl_system *system, struct control_request *request)
{
	request->system = system;
	rli_inbox_control_push(system->acceptor->inbox, &request->control);
	rli_acceptor_wake(system->acceptor);
}

static void
acceptor_listen(struct acceptor *acceptor, struct control_request *request)
{
	const struct system_listener *listener = &request->system->listeners[request->listener];
	bool wants_addr = !listener->bound.is_unix && !listener->options.peer_addr_off;

	request->rc = rli_acceptor_listen(acceptor, request->listener, request->fd, wants_addr);
}

static void
acceptor_answer_all(struct acceptor *acceptor)
{
	struct control *control = rli_inbox_control_take(acceptor->inbox);

	while (control != NULL) {
		struct control_request *request =
			list_entry(control, struct control_request, control);

		control = control->next; /* an answered request is gone */
		if (request->control.kind == CONTROL_LISTEN) {
			acceptor_listen(acceptor, request);
		} else {
			rli_acceptor_unlisten(acceptor, request->listener);
		}
		rli_system_answer(request);
	}
}

bool
rli_system_acceptor_step(struct rl_system *system)
{
	struct acceptor *acceptor = system->acceptor;
	uint32_t drain;
	uint32_t number;
	int error;

	rli_acceptor_awake(acceptor);
	acceptor_answer_all(acceptor);
	drain = rli_system_drain_level(system);
	if (drain == SYSTEM_ENDS) {
		return false;
	}
	if (drain != SYSTEM_RUNS) {
		rli_acceptor_drain(acceptor);
	}
	rli_acceptor_accept(acceptor);
	while ((error = rli_acceptor_broken(acceptor, &number)) != 0) {
		rli_clerk_broken(system, number, error);
	}
	rli_acceptor_sleep(acceptor);
	return true;
}
