/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Proved: every field's range, default and error text, as the public header promises them.
 * How: a table written down again from the header; both ends of each range and one beyond.
 * Not: rules between fields (test_config.c): each value is tried where those are content. */
#include "unit_config.h"

static struct config_machine machine;

static int
setup(void **state)
{
	/* Large enough that no range is cut short by it. */
	machine = unit_machine(256, UINT64_MAX);
	return unit_setup(state);
}

/* What has to go along with a value so that no other rule minds. */
enum along {
	ALONE,
	ALONG_CQ, /* a completion queue that fits */
	ALONG_SQ, /* a submission queue that fits */
	ALONG_ACTORS,
	ALONG_CONNS,
	ALONG_MARKS,
};

struct number {
	const char *name;
	size_t offset;
	size_t size;
	uint64_t min;
	uint64_t max;
	uint64_t preset;
	bool power_of_two;
	enum along along;
};

#define FIELD(field) \
	#field, offsetof(struct rl_config, field), sizeof(((struct rl_config *)0)->field)
#define MIB ((uint64_t)1048576)

static const struct number numbers[] = {
	{ FIELD(shards), 1, 256, 256, false, ALONE },
	{ FIELD(sq_entries), 64, 16384, 1024, true, ALONG_CQ },
	{ FIELD(cq_entries), 256, 65536, 16384, true, ALONG_SQ },
	{ FIELD(turn_cqes_max), 32, 65536, 4096, false, ALONE },
	{ FIELD(turn_actors_max), 1, 65536, 1024, false, ALONE },
	{ FIELD(actor_batch_max), 1, 1024, 16, false, ALONE },
	{ FIELD(actors_max), 1, 16777215, 65536 + 1024, false, ALONG_CONNS },
	{ FIELD(mailbox_max), 1, 65536, 1024, false, ALONE },
	{ FIELD(messages_max), 1, 16777216, 65536, false, ALONE },
	{ FIELD(timers_max), 1, 16777215, 1048576, false, ALONE },
	{ FIELD(requests_max), 1, 16777215, 65536, false, ALONE },
	{ FIELD(monitors_max), 1, 16777215, 65536 + 1024, false, ALONE },
	{ FIELD(names_max), 1, 1048576, 16384, false, ALONE },
	{ FIELD(spin_us), 1, 1000, 0, false, ALONE },
	{ FIELD(tls_handshakes_max), 1, 16777215, 4096, false, ALONE },
	{ FIELD(tls_handshake_steps_max), 1, 65536, 1, false, ALONE },
	{ FIELD(tls_sites_max), 1, 1024, 64, false, ALONE },
	{ FIELD(bufs_max), 1, 16777215, 65536, false, ALONE },
	{ FIELD(buf_pool_bytes), MIB, MIB *MIB, 64 * MIB, false, ALONE },
	{ FIELD(lookups_max), 1, 65536, 256, false, ALONE },
	{ FIELD(resolvers), 1, 16, 4, false, ALONE },
	{ FIELD(conns_max), 1, 1044480, 65536, false, ALONG_ACTORS },
	{ FIELD(accepts_in_flight), 1, 256, 8, false, ALONE },
	{ FIELD(backlog), 1, 65535, 4096, false, ALONE },
	{ FIELD(recv_buffers), 8, 32768, 256, true, ALONE },
	{ FIELD(recv_buffer_bytes), 1024, 65536, 16384, false, ALONE },
	{ FIELD(recv_pending_max_bytes), 1024, 16 * MIB, 65536, false, ALONE },
	{ FIELD(recv_pool_bytes), 65536, MIB *MIB, 1024 * MIB, false, ALONE },
	{ FIELD(send_pool_bytes), 4 * MIB, MIB *MIB, 256 * MIB, false, ALONE },
	{ FIELD(send_low_bytes), 1, 512 * MIB, 65536, false, ALONG_MARKS },
	{ FIELD(send_high_bytes), 2, 512 * MIB, 262144, false, ALONG_MARKS },
	{ FIELD(send_cap_bytes), 2, 1024 * MIB, 1048576, false, ALONG_MARKS },
};

static void
field_set(struct rl_config *user, const struct number *row, uint64_t value)
{
	uint32_t narrow = (uint32_t)value;

	if (row->size == sizeof(narrow)) {
		memcpy((uint8_t *)user + row->offset, &narrow, sizeof(narrow));
	} else {
		memcpy((uint8_t *)user + row->offset, &value, sizeof(value));
	}
}

static uint64_t
field_get(const struct rl_config *user, const struct number *row)
{
	uint32_t narrow;
	uint64_t wide;

	if (row->size == sizeof(narrow)) {
		memcpy(&narrow, (const uint8_t *)user + row->offset, sizeof(narrow));
		return narrow;
	}
	memcpy(&wide, (const uint8_t *)user + row->offset, sizeof(wide));
	return wide;
}

/* A configuration in which the field has @value and everything else agrees with it. */
static struct rl_config
with(const struct number *row, uint64_t value)
{
	struct rl_config user = RL_CONFIG(.send_pool_bytes = 4096 * MIB);

	switch (row->along) {
	case ALONG_CQ:
		user.cq_entries = 65536;
		break;
	case ALONG_SQ:
		user.sq_entries = 64;
		break;
	case ALONG_ACTORS:
		user.actors_max = 16777215;
		break;
	case ALONG_CONNS:
		user.conns_max = 1;
		break;
	case ALONG_MARKS:
		user.send_low_bytes = 1;
		user.send_high_bytes = 512 * MIB;
		user.recv_pending_max_bytes = 1024;
		user.recv_buffer_bytes = 1024;
		user.send_cap_bytes = 0;
		break;
	case ALONE:
		break;
	}
	field_set(&user, row, value);
	return user;
}

static void
refused_number(const struct number *row, uint64_t value)
{
	struct rl_config user = with(row, value);
	char text[256];

	(void)snprintf(text, sizeof(text), "config: %s = %llu: must be %s%llu to %llu", row->name,
		       (unsigned long long)value, row->power_of_two ? "a power of two, " : "",
		       (unsigned long long)row->min, (unsigned long long)row->max);
	unit_refused(&user, &machine, -EINVAL, text);
}

static void
field_left_out_has_its_default(void **state)
{
	struct config config = unit_resolved(NULL, &machine);
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(numbers); i++) {
		if (field_get(&config.user, &numbers[i]) != numbers[i].preset) {
			fail_msg("%s = %llu", numbers[i].name,
				 (unsigned long long)field_get(&config.user, &numbers[i]));
		}
	}
	assert_true(config.user.connect_timeout_ns == RL_SEC(10));
	assert_true(config.user.first_byte_timeout_ns == -1);
	assert_true(config.user.idle_timeout_ns == RL_SEC(60));
	assert_true(config.user.stall_timeout_ns == RL_SEC(30));
	assert_true(config.user.linger_timeout_ns == RL_SEC(2));
	assert_true(config.user.drain_timeout_ns == RL_SEC(10));
	assert_true(config.user.output_timeout_ns == RL_SEC(120));
	assert_true(config.user.evict_after_ns == RL_SEC(5));
	assert_true(config.user.tls_ticket_rotation_ns == RL_SEC(12 * 3600));
	assert_int_equal(config.user.conns_policy, RL_CONNS_REFUSE);
	assert_int_equal(config.user.accept_mode, RL_ACCEPT_PER_SHARD);
	assert_int_equal(config.user.log_level, RL_LOG_WARN);
	assert_null(config.user.log);
	assert_int_equal(config.user.without, 0);
}

/*
 * The marks bind each other: their ends are tried by hand in field_marks_at_their_ends_are_taken().
 */
static void
field_at_both_ends_is_taken(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(numbers); i++) {
		const struct number *row = &numbers[i];
		struct rl_config user = with(row, row->min);
		struct config config;

		if (row->along == ALONG_MARKS) {
			continue;
		}
		config = unit_resolved(&user, &machine);
		assert_true(field_get(&config.user, row) == row->min);
		user = with(row, row->max);
		config = unit_resolved(&user, &machine);
		assert_true(field_get(&config.user, row) == row->max);
	}
}

static void
field_marks_at_their_ends_are_taken(void **state)
{
	struct rl_config least =
		RL_CONFIG(.send_low_bytes = 1, .send_high_bytes = 2, .recv_pending_max_bytes = 1024,
			  .recv_buffer_bytes = 1024, .send_cap_bytes = 2050);
	struct rl_config most =
		RL_CONFIG(.send_low_bytes = 512 * MIB - 1, .send_high_bytes = 512 * MIB,
			  .send_cap_bytes = 1024 * MIB, .send_pool_bytes = 2048 * MIB);

	(void)state;
	(void)unit_resolved(&least, &machine);
	(void)unit_resolved(&most, &machine);
}

static void
field_beyond_its_ends_is_refused(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(numbers); i++) {
		const struct number *row = &numbers[i];

		if (row->min > 1) {
			refused_number(row, row->min - 1);
		}
		refused_number(row, row->max + 1);
		refused_number(row, row->size == 4 ? UINT32_MAX : UINT64_MAX);
	}
}

static void
field_no_power_of_two_is_refused(void **state)
{
	uint32_t i;
	uint32_t seen = 0;

	(void)state;
	for (i = 0; i < UNIT_COUNT(numbers); i++) {
		if (numbers[i].power_of_two) {
			refused_number(&numbers[i], numbers[i].min + 1);
			refused_number(&numbers[i], numbers[i].max - 1);
			seen++;
		}
	}
	assert_int_equal(seen, 3);
}

static void
deadline_off_or_positive_is_taken(void **state)
{
	static const int64_t values[] = { -1, 1, INT64_MAX };
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(values); i++) {
		struct rl_config user =
			RL_CONFIG(.connect_timeout_ns = values[i],
				  .first_byte_timeout_ns = values[i], .idle_timeout_ns = values[i],
				  .stall_timeout_ns = values[i], .linger_timeout_ns = values[i],
				  .drain_timeout_ns = values[i], .output_timeout_ns = values[i],
				  .evict_after_ns = values[i], .tls_ticket_rotation_ns = values[i]);
		struct config config = unit_resolved(&user, &machine);

		assert_true(config.user.connect_timeout_ns == values[i]);
		assert_true(config.user.first_byte_timeout_ns == values[i]);
		assert_true(config.user.idle_timeout_ns == values[i]);
		assert_true(config.user.stall_timeout_ns == values[i]);
		assert_true(config.user.linger_timeout_ns == values[i]);
		assert_true(config.user.drain_timeout_ns == values[i]);
		assert_true(config.user.output_timeout_ns == values[i]);
		assert_true(config.user.evict_after_ns == values[i]);
		assert_true(config.user.tls_ticket_rotation_ns == values[i]);
	}
}

static void
deadline_negative_is_refused(void **state)
{
	static const struct {
		const char *name;
		size_t offset;
	} deadlines[] = {
		{ "connect_timeout_ns", offsetof(struct rl_config, connect_timeout_ns) },
		{ "first_byte_timeout_ns", offsetof(struct rl_config, first_byte_timeout_ns) },
		{ "idle_timeout_ns", offsetof(struct rl_config, idle_timeout_ns) },
		{ "stall_timeout_ns", offsetof(struct rl_config, stall_timeout_ns) },
		{ "linger_timeout_ns", offsetof(struct rl_config, linger_timeout_ns) },
		{ "drain_timeout_ns", offsetof(struct rl_config, drain_timeout_ns) },
		{ "output_timeout_ns", offsetof(struct rl_config, output_timeout_ns) },
		{ "evict_after_ns", offsetof(struct rl_config, evict_after_ns) },
		{ "tls_ticket_rotation_ns", offsetof(struct rl_config, tls_ticket_rotation_ns) },
	};
	uint32_t i;

	(void)state;
	for (i = 0; i < UNIT_COUNT(deadlines); i++) {
		static const int64_t values[] = { -2, INT64_MIN };
		uint32_t j;

		for (j = 0; j < UNIT_COUNT(values); j++) {
			struct rl_config user = RL_CONFIG(.shards = 1);
			char text[256];

			memcpy((uint8_t *)&user + deadlines[i].offset, &values[j],
			       sizeof(values[j]));
			(void)snprintf(text, sizeof(text),
				       "config: %s = %lld: must be 1 to 9223372036854775807, or -1 "
				       "for none",
				       deadlines[i].name, (long long)values[j]);
			unit_refused(&user, &machine, -EINVAL, text);
		}
	}
}

static void
choice_unknown_is_refused(void **state)
{
	volatile uint32_t unknown = 7;
	struct rl_config policy = RL_CONFIG(.conns_policy = (enum rl_conns_policy)unknown);
	struct rl_config mode = RL_CONFIG(.accept_mode = (enum rl_accept_mode)unknown);
	struct rl_config level = RL_CONFIG(.log_level = (enum rl_log_level)unknown);

	(void)state;
	unit_refused(&policy, &machine, -EINVAL, "config: conns_policy = 7: must be 0 to 1");
	unit_refused(&mode, &machine, -EINVAL, "config: accept_mode = 7: must be 0 to 2");
	unit_refused(&level, &machine, -EINVAL, "config: log_level = 7: must be 0 to 4");
}

/* What the acceptor hands over are plain descriptors. */
static void
choice_of_an_acceptor_goes_without_fixed_files(void **state)
{
	static const enum rl_accept_mode modes[] = { RL_ACCEPT_ROUND_ROBIN,
						     RL_ACCEPT_LEAST_LOADED };

	(void)state;
	for (size_t i = 0; i < UNIT_COUNT(modes); i++) {
		struct rl_config user =
			RL_CONFIG(.accept_mode = modes[i], .without = RL_FEATURE_MIN_WAIT);
		struct config config = unit_resolved(&user, &machine);

		assert_int_equal(config.user.accept_mode, modes[i]);
		assert_int_equal(config.user.without, RL_FEATURE_MIN_WAIT | RL_FEATURE_FIXED_FILES);
	}
}

static void
without_takes_known_features_only(void **state)
{
	struct rl_config all = RL_CONFIG(.without = 0xff);
	struct rl_config more = RL_CONFIG(.without = 0x1c1);
	struct config config = unit_resolved(&all, &machine);

	(void)state;
	assert_int_equal(config.user.without, 0xff);
	unit_refused(&more, &machine, -EINVAL,
		     "config: without = 0x1c1: has unknown features 0x100, known are 0xff");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(field_left_out_has_its_default),
		cmocka_unit_test(field_at_both_ends_is_taken),
		cmocka_unit_test(field_marks_at_their_ends_are_taken),
		cmocka_unit_test(field_beyond_its_ends_is_refused),
		cmocka_unit_test(field_no_power_of_two_is_refused),
		cmocka_unit_test(deadline_off_or_positive_is_taken),
		cmocka_unit_test(deadline_negative_is_refused),
		cmocka_unit_test(choice_unknown_is_refused),
		cmocka_unit_test(choice_of_an_acceptor_goes_without_fixed_files),
		cmocka_unit_test(without_takes_known_features_only),
	};

	return cmocka_run_group_tests(tests, setup, unit_teardown);
}
