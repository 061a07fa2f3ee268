/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The resolver's place in a system. Shards only mark that they asked; here the threads are found
 * for it, once a turn, since starting one is nothing for a handler.
 */
#include <errno.h>

#include "net/net.h"
#include "net/resolver.h"
#include "system.h"

int
rli_system_resolver_create(struct rl_system *system)
{
	system->resolver = rli_resolver_create(system->config.user.resolvers, CONTROL_RESOLVED);
	return system->resolver == NULL ? -ENOMEM : 0;
}

void
rli_system_resolve(struct rl_shard *shard)
{
	struct rl_system *system = shard->system;
	int worker;

	if (!shard->net->lookups_asked) {
		return;
	}
	shard->net->lookups_asked = false;
	while ((worker = rli_resolver_hire(system->resolver)) >= 0) {
		int rc = rli_thread_resolver_start(system, (uint32_t)worker);

		if (rc != 0) {
			rli_resolver_unhire(system->resolver, (uint32_t)worker, rc);
			return; /* those that are there do it, or nobody could */
		}
	}
}
