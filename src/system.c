/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The system without its threads: what all shards share, and what the outside may ask of them.
 * Invariant: a request to a shard is answered as long as its thread turns, and the threads turn
 * until rli_system_end(), so nobody waits for ever.
 */
#include "system.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <ringline/ringline.h>

#include "actor/actor.h"
#include "base/host.h"
#include "mailbox/mesh.h"
#include "net/acceptor.h"
#include "net/net.h"
#include "net/resolver.h"

_Static_assert(NET_LISTENERS_MAX == CONFIG_LISTENERS_MAX, "the shards know every listener");

/* What a shard carries of the modules to its right, side by side in memory. */
struct shard_parts {
	struct rl_shard shard;
	struct actors actors;
	struct net net;
};

const char *
rl_version(void)
{
	return RL_VERSION_STRING;
}

static size_t
system_bytes(uint32_t shards)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = sizeof(struct rl_system) + shards * sizeof(struct shard_parts) + 64;

	return (bytes + page - 1) / page * page;
}

static struct shard_parts *
system_parts(const struct rl_system *system, uint32_t i)
{
	uintptr_t first = ((uintptr_t)(system + 1) + 63) & ~(uintptr_t)63;

	return (struct shard_parts *)first + i;
}

struct rl_shard *
rli_system_shard(const struct rl_system *system, uint32_t i)
{
	return &system_parts(system, i)->shard;
}

static struct rl_system *
system_alloc(uint32_t shards)
{
	size_t bytes = system_bytes(shards);
	struct rl_system *system = rli_host_pages_reserve(bytes);

	if (system == NULL) {
		return NULL;
	}
	if (rli_host_pages_commit(system, bytes) != 0) {
		rli_host_pages_release(system, bytes);
		return NULL;
	}
	system->reserved_bytes = bytes;
	return system;
}

static int
system_init_shards(struct rl_system *system)
{
	uint32_t count = system->config.user.shards;

	system->mesh = rli_mesh_create(count);
	if (system->mesh == NULL) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct shard_parts *parts = system_parts(system, i);
		int rc =
			rli_shard_init(&parts->shard, i, count, &system->config.user, &system->log);

		if (rc != 0) {
			return rc;
		}
		parts->shard.system = system;
		parts->shard.actors = &parts->actors;
		parts->shard.net = &parts->net;
		parts->net.resolver = system->resolver;
		parts->net.tls_tickets = &system->tickets;
		parts->shard.port = rli_mesh_port(system->mesh, i);
		parts->shard.peers = system->shards;
		system->shards[i] = &parts->shard;
	}
	return 0;
}

int
rli_system_create(struct rl_system **out, const struct config *config, const struct log *log)
{
	struct rl_system *system = system_alloc(config->user.shards);
	int rc;

	*out = NULL;
	if (system == NULL) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD, "no memory for the system");
		return -ENOMEM;
	}
	system->config = *config;
	system->log = *log;
	system->eventfd = rli_host_eventfd_open();
	rc = system->eventfd < 0 ? system->eventfd
				 : -pthread_mutex_init(&system->listeners_lock, NULL);
	(void)pthread_mutex_init(&system->clerk.lock, NULL); /* never fails on Linux */
	rli_tls_tickets_init(&system->tickets, config->user.tls_ticket_rotation_ns);
	if (rc == 0) {
		rc = rli_system_resolver_create(system);
	}
	if (rc == 0) {
		rc = system_init_shards(system);
	}
	if (rc == 0) {
		rc = rli_system_acceptor_create(system);
	}
	if (rc != 0) {
		rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD,
			"can't create %u shards: %s; see RLIMIT_NOFILE (ulimit -n)",
			config->user.shards, rli_errno_text(rc));
		rli_system_destroy(system);
		return rc;
	}
	*out = system;
	return 0;
}

/*
 * Safe on a half-made system: committed memory begins as zeros, and each part knows if it is there.
 */
void
rli_system_destroy(struct rl_system *system)
{
	for (uint32_t i = 0; i < system->config.user.shards; i++) {
		struct shard_parts *parts = system_parts(system, i);

		if (parts->shard.inbox == NULL) {
			break;
		}
		rli_shard_fini(&parts->shard);
		rli_actors_fini(&parts->shard);
		rli_net_fini(&parts->shard);
	}
	if (system->mesh != NULL) {
		rli_mesh_destroy(system->mesh);
	}
	rli_acceptor_destroy(system->acceptor);
	rli_resolver_release(system->resolver);
	if (system->eventfd >= 0) {
		rli_host_eventfd_close(system->eventfd);
	}
	(void)pthread_mutex_destroy(&system->listeners_lock); /* nobody is inside any more */
	(void)pthread_mutex_destroy(&system->clerk.lock);
	rli_tls_tickets_fini(&system->tickets);
	rli_host_pages_release(system, system->reserved_bytes);
}

static void
system_wake_acceptor(struct rl_system *system)
{
	if (system->acceptor != NULL) {
		rli_acceptor_wake(system->acceptor);
	}
}

static void
system_wake_all(struct rl_system *system)
{
	for (uint32_t i = 0; i < system->config.user.shards; i++) {
		(void)rli_sleep_wake(&rli_system_shard(system, i)->sleep);
	}
	system_wake_acceptor(system);
}

void
rl_system_drain(struct rl_system *sys)
{
	uint32_t level = atomic_load_explicit(&sys->drain, memory_order_relaxed);

	/*
	 * pairs with: rli_system_drain_level(); one step per call, whoever calls at the same time
	 */
	while (level < SYSTEM_CUTS &&
	       !atomic_compare_exchange_weak_explicit(&sys->drain, &level, level + 1,
						      memory_order_seq_cst, memory_order_relaxed)) {
	}
	system_wake_all(sys);
	(void)rli_host_eventfd_write(
		sys->eventfd); /* can only fail when it is full: then it tells */
}

void
rli_system_end(struct rl_system *system)
{
	RL_ASSERT(rli_system_is_silent(system));
	/* pairs with: rli_system_drain_level() */
	atomic_store_explicit(&system->drain, SYSTEM_ENDS, memory_order_seq_cst);
	/*
	 * not rli_sleep_wake(): a wake-up that another shard has claimed may wait for an enter that
	 * this shard won't make any more
	 */
	for (uint32_t i = 0; i < system->config.user.shards; i++) {
		rli_sleep_interrupt(&rli_system_shard(system, i)->sleep);
	}
	system_wake_acceptor(system);
}

void
rli_system_went_silent(struct rl_system *system)
{
	/*
	 * pairs with: rli_system_is_silent(); what the shard counted is visible to who sees the
	 * count
	 */
	uint32_t before = atomic_fetch_add_explicit(&system->silent, 1, memory_order_acq_rel);

	if (before + 1 == system->config.user.shards) {
		struct rl_stats stats;

		(void)rl_system_stats(system, -1, &stats); /* the sum is always there */
		rli_log(&system->log, RL_LOG_INFO, LOG_NO_SHARD,
			"drained: every shard is silent; %llu connections ended, %llu were cut",
			(unsigned long long)stats.drain_ended, (unsigned long long)stats.drain_cut);
		(void)rli_host_eventfd_write(system->eventfd); /* as in rl_system_drain() */
	}
}

bool
rli_system_is_silent(const struct rl_system *system)
{
	/* pairs with: rli_system_went_silent() */
	return atomic_load_explicit(&system->silent, memory_order_acquire) ==
	       system->config.user.shards;
}

void
rli_system_answer(struct control_request *request)
{
	struct rl_system *system = request->system; /* the request is gone once it was answered */

	/* pairs with: the load in rli_thread_wait(): the answer is visible to the asker */
	if (atomic_fetch_sub_explicit(request->unanswered, 1, memory_order_acq_rel) == 1) {
		rli_thread_answered(system);
	}
}

void
rli_system_ask(struct rl_system *system, uint32_t shard, struct control_request *request)
{
	struct rl_shard *to = rli_system_shard(system, shard);

	request->system = system;
	rli_inbox_control_push(to->inbox, &request->control);
	(void)rli_sleep_wake(&to->sleep);
}

int
rl_system_spawn(struct rl_system *sys, uint32_t shard, const struct rl_actor_def *def, void *arg,
		rl_actor_id *id)
{
	_Atomic uint32_t unanswered = 1;
	struct control_request request = {
		.control = { .kind = CONTROL_SPAWN },
		.unanswered = &unanswered,
		.def = def,
		.arg = arg,
	};

	if (id != NULL) {
		*id = (rl_actor_id){ 0 };
	}
	if (shard >= sys->config.user.shards) {
		return -EINVAL;
	}
	rli_system_ask(sys, shard, &request);
	rli_thread_wait(sys, &unanswered);
	if (request.rc == 0 && id != NULL) {
		*id = request.id;
	}
	return request.rc;
}

static int
system_push(struct rl_system *system, uint32_t shard, struct envelope *envelope, const void *data,
	    size_t len)
{
	struct rl_shard *target;
	int rc;

	if (len > RL_MSG_INLINE_MAX) {
		return -EMSGSIZE;
	}
	if (rli_system_drain_level(system) >= SYSTEM_CUTS) {
		return -ESHUTDOWN;
	}
	envelope->len = (uint8_t)len;
	envelope->shard = ENVELOPE_FOREIGN;
	envelope_copy_payload(envelope->payload, data, len);
	target = rli_system_shard(system, shard);
	rc = rli_inbox_push(target->inbox, envelope);
	if (rc == 0) {
		(void)rli_sleep_wake(&target->sleep);
	}
	return rc;
}

int
rl_system_send(struct rl_system *sys, rl_actor_id to, uint32_t kind, const void *data, size_t len)
{
	uint32_t shard = id_shard(to.private_bits);
	struct envelope envelope = {
		.to = to.private_bits,
		.kind = kind,
		.class = ENVELOPE_MESSAGE,
	};

	if (kind < RL_MSG_USER) {
		return -EINVAL;
	}
	if (len <= RL_MSG_INLINE_MAX &&
	    (id_generation(to.private_bits) == 0 || shard >= sys->config.user.shards)) {
		return -ENOENT;
	}
	return system_push(sys, shard, &envelope, data, len);
}

int
rl_system_notify(struct rl_system *sys, uint32_t shard, uint32_t kind, const void *data, size_t len)
{
	struct envelope envelope = { .kind = kind, .class = ENVELOPE_NOTIFY };

	if (kind < RL_MSG_USER || shard >= sys->config.user.shards) {
		return -EINVAL;
	}
	return system_push(sys, shard, &envelope, data, len);
}

int
rl_system_rotate_tickets(struct rl_system *sys)
{
	return rli_tls_tickets_rotate(&sys->tickets, rli_host_now_ns());
}

uint32_t
rl_system_shards(const struct rl_system *sys)
{
	return sys->config.user.shards;
}

int
rl_system_stats(const struct rl_system *sys, int shard, struct rl_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	if (shard < -1 || (shard >= 0 && (uint32_t)shard >= sys->config.user.shards)) {
		return -EINVAL;
	}
	for (uint32_t i = 0; i < sys->config.user.shards; i++) {
		if (shard < 0 || (uint32_t)shard == i) {
			rli_counters_sum(&rli_system_shard(sys, i)->counters, stats);
		}
	}
	if (shard < 0 && sys->acceptor != NULL) {
		rli_counters_sum(&sys->acceptor->counters, stats);
	}
	return 0;
}
