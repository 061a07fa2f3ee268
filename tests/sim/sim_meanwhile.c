/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_meanwhile.h"

#include "shard/wake.h"

#include "sim_check.h"
#include "sim_harness.h"

struct meanwhile {
	bool inside; /* in a turn inside another shard's turn */
};

static struct meanwhile meanwhile;

/*
 * As if @shard had just pushed something to another that takes it before it sleeps: the wake-up is
 * owned by @shard now, and foreign threads that push meanwhile rely on it.
 */
void
sim_meanwhile_wake(uint32_t shard)
{
	uint32_t count = sim_config()->shards;
	uint32_t other;

	if (count < 2 || rli_system_drain_level(sim_system()) == SYSTEM_ENDS ||
	    !sim_fault(FAULT_WAKE_NEEDLESS)) {
		return;
	}
	other = (shard + 1 + (uint32_t)sim_below(count - 1)) % count;
	if (sim_is_running(other)) {
		rli_wake(sim_on(shard), sim_on(other));
	}
}

/* A whole turn of another shard, which may send to the one that polls, and may not poll itself. */
static void
meanwhile_turn(struct rl_shard *polls)
{
	uint32_t count = sim_config()->shards;
	uint32_t other = (polls->id + 1 + (uint32_t)sim_below(count - 1)) % count;

	if (!sim_is_runnable(other)) {
		return;
	}
	meanwhile.inside = true;
	sim_turn(other);
	meanwhile.inside = false;
	sim_world.in_turn = true;
	rli_shard_current = polls;
}

/* A shard that is in its turn looks for completions. */
static void
meanwhile_looked(void)
{
	struct rl_shard *shard = rli_shard_current;

	if (!sim_check_is_polling(shard)) {
		return; /* it looks once, and goes on */
	}
	sim_check_poll(shard);
	if (!meanwhile.inside && sim_config()->shards > 1 && sim_fault(FAULT_SPIN_TURN)) {
		meanwhile_turn(shard);
	}
}

void
sim_meanwhile_reset(void)
{
	meanwhile = (struct meanwhile){ .inside = false };
	sim_world.looked = meanwhile_looked;
}
