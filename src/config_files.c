/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How many connections fit into RLIMIT_NOFILE. Two limits are kept: a fixed file counts against
 * nothing, but a ring's table may not be longer than RLIMIT_NOFILE; and all plain descriptors of
 * the process together may not be more. Listeners, rings and eventfds are plain, connections that
 * are opened are plain, and without fixed files, or with an acceptor, all are.
 */
#include "config_parts.h"

#include <errno.h>

#define CONFIG_CONNS_DEFAULT_MAX 65536
#define CONFIG_FILES_SPARE	 16 /* stdin, stdout, stderr, and what else the program opens */

/*
 * Accepted sockets of a shard beyond conns_max that can exist for a moment, before they are refused
 * (or, with an acceptor, are adopted).
 */
static uint64_t
config_accepts(const struct rl_config *user)
{
	return (uint64_t)user->accepts_in_flight * CONFIG_LISTENERS_MAX;
}

/*
 * Plain descriptors of the whole process that are no connections; RLIMIT_NOFILE bounds their sum.
 */
static uint64_t
config_files_own(const struct rl_config *user)
{
	uint64_t per_shard = 0;
	uint64_t files = CONFIG_FILES_SPARE;

	per_shard += 1; /* its ring */
	per_shard += 1; /* its eventfd */
	if (config_has_acceptor(user)) {
		files += CONFIG_LISTENERS_MAX; /* one socket of each listener, for all shards */
		files += 1; /* the acceptor's eventfd */
		files += 1; /* what it has accepted and refuses */
	} else {
		per_shard += CONFIG_LISTENERS_MAX; /* its socket of each listener */
	}
	if ((user->without & RL_FEATURE_FIXED_FILES) != 0) {
		per_shard += config_accepts(user);
	}
	files += per_shard * user->shards;
	files += 2; /* rl_system_run(): its signalfd and its eventfd */
	files += 1; /* the socket that asks whether a port is in use */
	return files;
}

/*
 * A fixed file counts against nothing, but a ring's table may not be longer than RLIMIT_NOFILE.
 * Connections that are opened are plain descriptors, and the default leaves room for the case that
 * all are; a conns_max that the program chose may count on accepted ones.
 */
static uint64_t
config_conns_default(const struct rl_config *user, uint64_t nofile)
{
	uint64_t own = config_files_own(user);
	uint64_t accepts = config_accepts(user);
	uint64_t plain = nofile > own ? (nofile - own) / user->shards : 0;
	uint64_t table = nofile > accepts ? nofile - accepts : 0;
	uint64_t conns = config_min(CONFIG_CONNS_DEFAULT_MAX, nofile / 10 * 9 / user->shards);

	return config_min(conns, config_min(plain, table));
}

/* The most that conns_max can be on this machine. */
static uint64_t
config_conns_most(const struct rl_config *user, uint64_t nofile)
{
	uint64_t own = config_files_own(user);
	uint64_t accepts = config_accepts(user);

	if (nofile <= own) {
		return 0;
	}
	if ((user->without & RL_FEATURE_FIXED_FILES) != 0) {
		return (nofile - own) / user->shards;
	}
	return nofile > accepts ? nofile - accepts : 0;
}

int
rli_config_files_resolve(const struct config_resolver *resolver)
{
	struct rl_config *user = &resolver->config->user;
	uint64_t nofile = resolver->machine->nofile;
	uint64_t conns = user->conns_max;
	uint64_t most;

	if (config_has_acceptor(user)) {
		user->without |= RL_FEATURE_FIXED_FILES; /* the acceptor's sockets are plain */
	}
	most = config_conns_most(user, nofile);
	if (conns == 0) {
		conns = config_conns_default(user, nofile);
		if (user->actors_max != 0) {
			conns = config_min(conns, user->actors_max);
		}
	}
	if (conns == 0 || conns > most) {
		rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"config: conns_max = %llu: RLIMIT_NOFILE = %llu allows %llu per shard "
			"beside %llu descriptors of our own and %llu accepts in flight; raise it "
			"(ulimit -n, LimitNOFILE=), or take fewer connections or shards",
			(unsigned long long)conns, (unsigned long long)nofile,
			(unsigned long long)most, (unsigned long long)config_files_own(user),
			(unsigned long long)config_accepts(user));
		return -EMFILE;
	}
	user->conns_max = (uint32_t)conns;
	resolver->config->files_max = (uint32_t)(conns + config_accepts(user));
	resolver->config->listeners_max = CONFIG_LISTENERS_MAX;
	return 0;
}
