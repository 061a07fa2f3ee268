/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The configuration is resolved in an order that matters: what the program wrote is checked field
 * by field, then what it left out is filled in (some defaults depend on other fields), and only
 * then the fields are checked against each other and against the machine. Nothing is clamped: a
 * value is taken or refused.
 */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <ringline/shard.h>

#include "config_parts.h"

#define CONFIG_STRUCT_MAX   65536 /* no version of the struct ever comes near it */
#define CONFIG_ACTORS_EXTRA 1024 /* actors that are no connections */

/* Copy what the program's version of the struct has; what it lacks stays zero, the default. */
static int
config_copy(const struct config_resolver *resolver, const struct rl_config *user)
{
	struct rl_config *copy = &resolver->config->user;
	size_t size = user->struct_size;
	const uint8_t *bytes = (const uint8_t *)user;
	size_t i;

	if (size < sizeof(size) || size % sizeof(size) != 0 || size > CONFIG_STRUCT_MAX) {
		rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"config: struct_size = %zu: the struct was made without RL_CONFIG(), which "
			"sets it to %zu",
			size, sizeof(*user));
		return -EINVAL;
	}
	for (i = sizeof(*user); i < size; i++) {
		if (bytes[i] != 0) {
			rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
				"config: struct_size = %zu with byte %zu set: the program uses a "
				"field that this library (struct_size = %zu) does not have",
				size, i, sizeof(*user));
			return -EINVAL;
		}
	}
	memcpy(copy, user, size < sizeof(*user) ? size : sizeof(*user));
	copy->struct_size = sizeof(*copy);
	return 0;
}

/* The least cap with which an actor that sends what it receives never sees a refusal. */
static uint64_t
config_cap_min(const struct rl_config *user)
{
	uint64_t bytes = user->send_high_bytes; /* up to here RL_MSG_RECV is delivered */

	bytes += user->recv_pending_max_bytes; /* + what the actor left over before */
	bytes += user->recv_buffer_bytes; /* + what arrives with it */
	return bytes;
}

/* The defaults that depend on other fields, so that setting one alone makes no contradiction. */
static void
config_derive(struct rl_config *user)
{
	if (user->cq_entries == 0) {
		user->cq_entries = (uint32_t)config_max(16384, 4 * (uint64_t)user->sq_entries);
	}
	if (user->send_low_bytes == 0) {
		uint64_t quarter = config_max(user->send_high_bytes / 4, 1);

		user->send_low_bytes = (uint32_t)config_min(64 * CONFIG_KIB, quarter);
	}
	if (user->send_cap_bytes == 0) {
		user->send_cap_bytes = (uint32_t)config_max(CONFIG_MIB, config_cap_min(user));
	}
	if (user->send_pool_bytes == 0) {
		user->send_pool_bytes =
			config_max(256 * CONFIG_MIB, 2 * (uint64_t)user->send_cap_bytes);
	}
}

static int
config_check_rings(const struct config_resolver *resolver)
{
	const struct rl_config *user = &resolver->config->user;

	if (user->cq_entries < 4 * (uint64_t)user->sq_entries) {
		rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"config: cq_entries = %u: must be at least 4 x sq_entries = %llu",
			user->cq_entries, 4 * (unsigned long long)user->sq_entries);
		return -EINVAL;
	}
	return 0;
}

static int
config_check_marks(const struct config_resolver *resolver)
{
	const struct rl_config *user = &resolver->config->user;

	if (user->send_low_bytes >= user->send_high_bytes) {
		rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"config: send_low_bytes = %u: must be below send_high_bytes = %u",
			user->send_low_bytes, user->send_high_bytes);
		return -EINVAL;
	}
	if (user->send_cap_bytes < config_cap_min(user)) {
		rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"config: send_cap_bytes = %u: must be at least send_high_bytes + "
			"recv_pending_max_bytes + recv_buffer_bytes = %llu",
			user->send_cap_bytes, (unsigned long long)config_cap_min(user));
		return -EINVAL;
	}
	/* half, because spans hold less payload than they are long, and classes cut them */
	if (user->send_cap_bytes > user->send_pool_bytes / 2) {
		rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"config: send_cap_bytes = %u: must be at most half of send_pool_bytes = "
			"%zu",
			user->send_cap_bytes, user->send_pool_bytes);
		return -EINVAL;
	}
	return 0;
}

/* Every paused connection may hold what two turns brought, unless that is more than 1 GiB. */
static void
config_derive_recv_pool(struct rl_config *user)
{
	uint64_t ring = 2 * (uint64_t)user->recv_buffers * user->recv_buffer_bytes;
	uint64_t conns = 2 * (uint64_t)user->conns_max * user->recv_buffer_bytes;

	if (user->recv_pool_bytes == 0) {
		user->recv_pool_bytes = config_max(config_max(ring, 64 * CONFIG_KIB),
						   config_min(conns, CONFIG_GIB));
	}
}

static int
config_resolve_actors(const struct config_resolver *resolver)
{
	struct rl_config *user = &resolver->config->user;

	if (user->actors_max == 0) {
		user->actors_max = user->conns_max + CONFIG_ACTORS_EXTRA;
	}
	if (user->monitors_max == 0) {
		user->monitors_max = user->actors_max;
	}
	if (user->actors_max < user->conns_max) {
		rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"config: actors_max = %u: must be at least conns_max = %u, since every "
			"connection is an actor",
			user->actors_max, user->conns_max);
		return -EINVAL;
	}
	return 0;
}

static int
config_check_shard(const struct config_resolver *resolver)
{
	const struct rl_shard_def *def = resolver->config->user.shard;

	if (def != NULL && def->state_size > RL_SHARD_STATE_MAX) {
		rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"config: shard->state_size = %zu: must be at most %zu", def->state_size,
			RL_SHARD_STATE_MAX);
		return -EINVAL;
	}
	return 0;
}

int
rli_config_resolve(struct config *config, const struct rl_config *user,
		   const struct config_machine *machine, const struct log *log)
{
	const struct config_resolver resolver = { config, machine, log };
	int rc = 0;

	*config = (struct config){ .user.struct_size = sizeof(*user) };
	if (user != NULL) {
		rc = config_copy(&resolver, user);
	}
	if (rc == 0) {
		rc = rli_config_fields_resolve(&resolver);
	}
	if (rc == 0) {
		rc = config_check_shard(&resolver);
	}
	if (rc == 0) {
		rc = rli_config_cpus_resolve(&resolver);
	}
	if (rc == 0) {
		config_derive(&config->user);
		rc = config_check_rings(&resolver);
	}
	if (rc == 0) {
		rc = config_check_marks(&resolver);
	}
	if (rc == 0) {
		rc = rli_config_files_resolve(&resolver);
	}
	if (rc == 0) {
		config_derive_recv_pool(&config->user);
	}
	return rc == 0 ? config_resolve_actors(&resolver) : rc;
}
