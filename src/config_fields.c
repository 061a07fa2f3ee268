/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Every field's own range and default, as tables: one row per field. A value is taken or refused
 * with a line that names field, value and range; nothing is clamped.
 */
#include "config_parts.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/assert.h"

#define CONFIG_FEATURES                                                                  \
	(RL_FEATURE_DEFER_TASKRUN | RL_FEATURE_NO_SQARRAY | RL_FEATURE_REGISTERED_RING | \
	 RL_FEATURE_MIN_WAIT | RL_FEATURE_FIXED_FILES | RL_FEATURE_MSG_RING |            \
	 RL_FEATURE_RESTRICTIONS | RL_FEATURE_ACCEPT_POLL)

struct config_number {
	const char *name;
	size_t offset;
	size_t size; /* 4 or 8 */
	uint64_t min;
	uint64_t max;
	uint64_t preset; /* 0: it depends on other fields, see config_derive() */
	bool power_of_two;
};

struct config_deadline {
	const char *name;
	size_t offset;
	int64_t preset_ns;
};

struct config_choice {
	const char *name;
	size_t offset;
	uint32_t count;
};

#define CONFIG_AT(field)     #field, offsetof(struct rl_config, field)
#define CONFIG_NUMBER(field) CONFIG_AT(field), sizeof(((struct rl_config *)0)->field)

/* clang-format off */
static const struct config_number config_numbers[] = {
	/* because a shard is a pinned core: one per CPU that we may use */
	{ CONFIG_NUMBER(shards), 1, ID_SHARDS_MAX, 0, false },
	/* because a turn runs 1,024 actors, and most of them ask for one thing */
	{ CONFIG_NUMBER(sq_entries), 64, 16384, 1024, true },
	/* because an overflow ends multishots; the kernel has 65,536 at most */
	{ CONFIG_NUMBER(cq_entries), 256, 65536, 0, true },
	/* because a turn should stay below some milliseconds */
	{ CONFIG_NUMBER(turn_cqes_max), 32, 65536, 4096, false },
	{ CONFIG_NUMBER(turn_actors_max), 1, 65536, 1024, false },
	/* because one actor's flood must not starve the others, and a batch keeps its state warm */
	{ CONFIG_NUMBER(actor_batch_max), 1, 1024, 16, false },
	/* because every connection is an actor, and a program has some more */
	{ CONFIG_NUMBER(actors_max), 1, ID_SLOT_MAX, 0, false },
	/* because an actor that is 1,024 messages behind will not catch up */
	{ CONFIG_NUMBER(mailbox_max), 1, 65536, 1024, false },
	/* because 4 MiB hold a burst of one message to every connection */
	{ CONFIG_NUMBER(messages_max), 1, ID_SLOT_MAX + 1, 65536, false },
	/* because a million is ordinary, and memory is committed only as they are used */
	{ CONFIG_NUMBER(timers_max), 1, ID_SLOT_MAX, 1048576, false },
	/* because servers have a few in flight per connection; committed as they are used */
	{ CONFIG_NUMBER(requests_max), 1, ID_SLOT_MAX, 65536, false },
	/* because a supervisor or a registry watches each actor once */
	{ CONFIG_NUMBER(monitors_max), 1, ID_SLOT_MAX, 0, false },
	/* because names are for services, not for connections */
	{ CONFIG_NUMBER(names_max), 1, 1048576, 16384, false },
	/* because each is in flight for a few turns; committed as they are used */
	{ CONFIG_NUMBER(bufs_max), 1, ID_SLOT_MAX, 65536, false },
	/* because 1,024 buffers of the largest size fit; committed as it is used */
	{ CONFIG_NUMBER(buf_pool_bytes), CONFIG_MIB, 1024 * CONFIG_GIB, 64 * CONFIG_MIB, false },
	/* because to open more at once by name is a storm */
	{ CONFIG_NUMBER(lookups_max), 1, 65536, 256, false },
	/* because a name server that does not answer costs one of them 5 s and more */
	{ CONFIG_NUMBER(resolvers), 1, 16, 4, false },
	/* because 400 MB at worst are affordable, and a flood has to be larger than a rush */
	{ CONFIG_NUMBER(tls_handshakes_max), 1, ID_SLOT_MAX, 4096, false },
	/* because one that signs takes as long as a dozen messages, and everybody else waits */
	{ CONFIG_NUMBER(tls_handshake_steps_max), 1, 65536, 1, false },
	/* because programs talk to few others, and a session is 8 KB or so */
	{ CONFIG_NUMBER(tls_sites_max), 1, 1024, 64, false },
	/* because polling burns a core; past 1 ms there is nothing left to win */
	{ CONFIG_NUMBER(spin_us), 1, 1000, 0, false },
	/* because the rest of RLIMIT_NOFILE belongs to the program */
	{ CONFIG_NUMBER(conns_max), 1, 1044480, 0, false },
	/* because it is a burst's worth, and each has its own address to fill in */
	{ CONFIG_NUMBER(accepts_in_flight), 1, 256, 8, false },
	/* because that is what net.core.somaxconn is, and the kernel cuts it there */
	{ CONFIG_NUMBER(backlog), 1, 65535, 4096, false },
	/* because a turn's batch needs them, not every connection */
	{ CONFIG_NUMBER(recv_buffers), 8, 32768, 256, true },
	/* because smaller ones cost 20 % on 64 KiB messages */
	{ CONFIG_NUMBER(recv_buffer_bytes), CONFIG_KIB, 64 * CONFIG_KIB, 16 * CONFIG_KIB, false },
	/* because a request's head fits, and more than that is a program's to store */
	{ CONFIG_NUMBER(recv_pending_max_bytes), CONFIG_KIB, 16 * CONFIG_MIB, 64 * CONFIG_KIB,
	  false },
	/* because a whole ring of buffers can arrive after a pause, and another after the next */
	{ CONFIG_NUMBER(recv_pool_bytes), 64 * CONFIG_KIB, 1024 * CONFIG_GIB, 0, false },
	/* because 1,024 connections at the high mark fit; committed only as it is used */
	{ CONFIG_NUMBER(send_pool_bytes), 4 * CONFIG_MIB, 1024 * CONFIG_GIB, 0, false },
	/* because a quarter of the high mark leaves the peer enough to read while we make more */
	{ CONFIG_NUMBER(send_low_bytes), 1, CONFIG_GIB / 2, 0, false },
	/* because a send takes up to 256 KiB at once */
	{ CONFIG_NUMBER(send_high_bytes), 2, CONFIG_GIB / 2, 256 * CONFIG_KIB, false },
	/* because of the rule in config_check_marks(), and a round number above it */
	{ CONFIG_NUMBER(send_cap_bytes), 2, CONFIG_GIB, 0, false },
};

static const struct config_deadline config_deadlines[] = {
	/* because a SYN that is lost twice still gets through: 1 s + 2 s + 4 s */
	{ CONFIG_AT(connect_timeout_ns), RL_SEC(10) },
	/* because in many protocols the server speaks first */
	{ CONFIG_AT(first_byte_timeout_ns), -1 },
	/* because most keep-alives are shorter */
	{ CONFIG_AT(idle_timeout_ns), RL_SEC(60) },
	/* because a peer that takes no byte for so long is gone, or means harm */
	{ CONFIG_AT(stall_timeout_ns), RL_SEC(30) },
	/* because our reply has left by then, and only courtesy is waited for */
	{ CONFIG_AT(linger_timeout_ns), RL_SEC(2) },
	/* because those who stop us (systemd, Kubernetes) wait 30 s and more before they kill */
	{ CONFIG_AT(drain_timeout_ns), RL_SEC(10) },
	/* because two round trips and a slow client's arithmetic fit several times */
	{ CONFIG_AT(tls_handshake_timeout_ns), RL_SEC(10) },
	/* because who takes the default cap in that time reads 9 KB/s, as a telephone did */
	{ CONFIG_AT(output_timeout_ns), RL_SEC(120) },
	/* because a peer that lives and lost some packets is back by then */
	{ CONFIG_AT(evict_after_ns), RL_SEC(5) },
	/* because a key is in memory for two of these: a day */
	{ CONFIG_AT(tls_ticket_rotation_ns), RL_SEC(43200) },
};
/* clang-format on */

static const struct config_choice config_choices[] = {
	{ CONFIG_AT(conns_policy), RL_CONNS_PAUSE + 1 },
	{ CONFIG_AT(accept_mode), RL_ACCEPT_LEAST_LOADED + 1 },
	{ CONFIG_AT(log_level), RL_LOG_DEBUG + 1 },
};

#define CONFIG_COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* The fields are of several types; memcpy reads and writes them all without aliasing. */
static uint64_t
config_get(const struct rl_config *user, size_t offset, size_t size)
{
	const uint8_t *at = (const uint8_t *)user + offset;
	uint32_t narrow;
	uint64_t wide;

	if (size == sizeof(narrow)) {
		memcpy(&narrow, at, sizeof(narrow));
		return narrow;
	}
	RL_ASSERT(size == sizeof(wide));
	memcpy(&wide, at, sizeof(wide));
	return wide;
}

static void
config_set(struct rl_config *user, size_t offset, size_t size, uint64_t value)
{
	uint8_t *at = (uint8_t *)user + offset;
	uint32_t narrow = (uint32_t)value;

	if (size == sizeof(narrow)) {
		memcpy(at, &narrow, sizeof(narrow));
	} else {
		memcpy(at, &value, sizeof(value));
	}
}

static int
config_refuse_number(const struct config_resolver *resolver, const struct config_number *row,
		     uint64_t value)
{
	rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
		"config: %s = %llu: must be %s%llu to %llu", row->name, (unsigned long long)value,
		row->power_of_two ? "a power of two, " : "", (unsigned long long)row->min,
		(unsigned long long)row->max);
	return -EINVAL;
}

static int
config_check_numbers(const struct config_resolver *resolver)
{
	struct rl_config *user = &resolver->config->user;
	size_t i;

	for (i = 0; i < CONFIG_COUNT(config_numbers); i++) {
		const struct config_number *row = &config_numbers[i];
		uint64_t value = config_get(user, row->offset, row->size);
		bool uneven = row->power_of_two && (value & (value - 1)) != 0;

		if (value == 0) {
			config_set(user, row->offset, row->size, row->preset);
		} else if (value < row->min || value > row->max || uneven) {
			return config_refuse_number(resolver, row, value);
		}
	}
	return 0;
}

static int
config_check_deadlines(const struct config_resolver *resolver)
{
	struct rl_config *user = &resolver->config->user;
	size_t i;

	for (i = 0; i < CONFIG_COUNT(config_deadlines); i++) {
		const struct config_deadline *row = &config_deadlines[i];
		int64_t value = (int64_t)config_get(user, row->offset, sizeof(value));

		if (value == 0) {
			config_set(user, row->offset, sizeof(value), (uint64_t)row->preset_ns);
		} else if (value < -1) {
			rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
				"config: %s = %lld: must be 1 to %lld, or -1 for none", row->name,
				(long long)value, (long long)INT64_MAX);
			return -EINVAL;
		}
	}
	return 0;
}

static int
config_check_choices(const struct config_resolver *resolver)
{
	struct rl_config *user = &resolver->config->user;
	uint32_t unknown = user->without & ~(uint32_t)CONFIG_FEATURES;
	size_t i;

	for (i = 0; i < CONFIG_COUNT(config_choices); i++) {
		const struct config_choice *row = &config_choices[i];
		uint32_t value = (uint32_t)config_get(user, row->offset, sizeof(value));

		if (value >= row->count) {
			rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
				"config: %s = %u: must be 0 to %u", row->name, value,
				row->count - 1);
			return -EINVAL;
		}
	}
	if (unknown != 0) {
		rli_log(resolver->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"config: without = 0x%x: has unknown features 0x%x, known are 0x%x",
			user->without, unknown, (unsigned int)CONFIG_FEATURES);
		return -EINVAL;
	}
	if (user->log_level == RL_LOG_DEFAULT) {
		user->log_level = RL_LOG_WARN;
	}
	return 0;
}

int
rli_config_fields_resolve(const struct config_resolver *resolver)
{
	int rc = config_check_choices(resolver);

	if (rc == 0) {
		rc = config_check_numbers(resolver);
	}
	return rc == 0 ? config_check_deadlines(resolver) : rc;
}
