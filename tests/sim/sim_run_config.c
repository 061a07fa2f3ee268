/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The configuration of a seed.
 */
#include "sim_link.h"
#include "sim_run.h"
#include "sim_talk.h"

static uint32_t
config_power_of_two(uint32_t low_shift, uint32_t high_shift)
{
	return 1u << sim_between(low_shift, high_shift);
}

static void
config_tls(struct rl_config *config)
{
	config->tls_handshakes_max = sim_coin() ? 0 : (uint32_t)sim_between(1, 8);
	config->tls_handshake_steps_max = sim_coin() ? 0 : (uint32_t)sim_between(1, 4);
	if (sim_below(4) == 0) {
		config->tls_handshake_timeout_ns =
			(int64_t)sim_between((uint64_t)RL_MS(50), (uint64_t)RL_SEC(2));
	}
}

/*
 * So little send memory, and such long replies, that connections wait for it and are held to their
 * shares. How many spans; 0: more than they need.
 */
static uint32_t
config_memory(struct rl_config *config, bool tls)
{
	uint32_t spans;

	if (sim_below(tls ? 3 : 8) != 0) {
		return 0;
	}
	spans = (uint32_t)sim_between(8, sim_coin() ? 12 : 36);
	config->send_high_bytes = (uint32_t)sim_between(70000, 150000);
	config->evict_after_ns = sim_coin() ? -1 : (int64_t)sim_between(1, 2000000000);
	sim_links_large(true);
	return spans;
}

uint32_t
sim_run_config(struct rl_config *config, bool tls)
{
	uint32_t pool_spans;

	*config = RL_CONFIG(.shards = (uint32_t)sim_between(2, 4));
	if (sim_below(64) == 0) {
		config->shards = RUN_STORM_SHARDS; /* more than one shard takes in a turn */
	}

	config->sq_entries = config_power_of_two(6, 7);
	config->cq_entries = 4 * config->sq_entries;
	config->turn_cqes_max = (uint32_t)sim_between(32, 64);
	config->turn_actors_max = (uint32_t)sim_between(1, 32);
	config->actor_batch_max = (uint32_t)sim_between(1, 8);
	config->conns_max = (uint32_t)sim_between(1, 40);
	config->conns_policy = sim_coin() ? RL_CONNS_PAUSE : RL_CONNS_REFUSE;
	config->accept_mode =
		sim_coin() ? RL_ACCEPT_PER_SHARD
			   : (sim_coin() ? RL_ACCEPT_ROUND_ROBIN : RL_ACCEPT_LEAST_LOADED);
	config->accepts_in_flight = (uint32_t)sim_between(1, 8);
	config->backlog = (uint32_t)sim_between(1, 32);
	config->mailbox_max = (uint32_t)sim_between(1, sim_coin() ? 16 : 1000);
	config->messages_max = (uint32_t)sim_between(8, sim_coin() ? 64 : 4000);
	config->requests_max = (uint32_t)sim_between(2, sim_coin() ? 8 : 256);
	config->monitors_max = (uint32_t)sim_between(2, sim_coin() ? 8 : 256);
	config->bufs_max = (uint32_t)sim_between(1, sim_coin() ? 8 : 400);
	config->buf_pool_bytes = 1024 * 1024;
	config->lookups_max = (uint32_t)sim_between(1, 16);
	config->resolvers = (uint32_t)sim_between(1, 4);
	config->timers_max = (uint32_t)sim_between(4, 256);
	config->recv_buffers = config_power_of_two(3, 5);
	config->recv_buffer_bytes = (uint32_t)sim_between(1024, 4096);
	config->recv_pending_max_bytes = (uint32_t)sim_between(1024, 8192);
	config->send_pool_bytes = 16 * 1024 * 1024;
	config->send_high_bytes = (uint32_t)sim_between(2, (uint64_t)2 << sim_below(15));
	pool_spans = config_memory(config, tls);
	config->send_low_bytes = (uint32_t)sim_between(1, config->send_high_bytes / 2);
	config->send_cap_bytes = config->send_high_bytes + config->recv_pending_max_bytes +
				 config->recv_buffer_bytes + (uint32_t)sim_below(65536) + 4096;
	if (sim_below(4) == 0) {
		config->without = (uint32_t)sim_random() & 0x3f;
	}
	if (sim_below(4) == 0) {
		config->first_byte_timeout_ns = (int64_t)sim_between(1, (uint64_t)RL_SEC(2));
	}
	if (sim_below(3) == 0) {
		config->spin_us = (uint32_t)sim_between(1, 200);
	}
	if (sim_below(4) == 0) {
		config->output_timeout_ns =
			(int64_t)sim_between((uint64_t)RL_SEC(5), (uint64_t)RL_SEC(60));
	}
	if (tls) {
		config_tls(config);
	}
	config->shard = &sim_talk_shard;
	config->shard_arg = sim_talk_arg();
	return pool_spans;
}
