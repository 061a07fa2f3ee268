/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "system.h"

#include "sim_actor.h"
#include "sim_check.h"
#include "sim_front.h"
#include "sim_harness.h"
#include "sim_ledger.h"
#include "sim_link.h"
#include "sim_peer.h"
#include "sim_relay.h"
#include "sim_resolver.h"
#include "sim_talk.h"
#include "sim_tls.h"

#define RUN_ADDRS_MAX	6
#define RUN_TLS		6 /* one seed in so many has TLS, which costs it a handshake per link */
#define RUN_SPAWN	2500 /* a new peer, in 65536 per step */
#define RUN_STORM	12 /* peers at once */
#define RUN_CONVERGE_NS ((uint64_t)RL_SEC(400))

struct run_addr {
	union url_sockaddr addr;
	socklen_t len;
	bool tls;
};

struct run {
	struct run_addr addrs[RUN_ADDRS_MAX];
	uint32_t addrs_count;
	char targets[RUN_ADDRS_MAX + 4][RL_URL_MAX];
	uint32_t targets_count;
	rl_listener_id listeners[RUN_ADDRS_MAX];
	uint32_t listeners_count;
	rl_actor_id openers[4];
	uint32_t openers_count;
	uint64_t number; /* of the foreign thread's last message */
	uint32_t links_max;
	uint32_t pool_spans; /* of the send memory; 0: more than they need */
	uint32_t poke; /* how often a foreign thread makes talkers talk, in 65536 */
	bool tls; /* some listeners have it */
	bool over; /* no new links */
};

static struct run run;

/* ---- the world of a seed */

static void
run_add_target(const char *url)
{
	(void)snprintf(run.targets[run.targets_count++], RL_URL_MAX, "%s", url);
}

static void
run_listen(const char *url, const struct rl_actor_def *def,
	   const struct rl_listener_options *options)
{
	struct rl_listener_options chosen = *options;
	rl_listener_id id;
	char bound[RL_URL_MAX];
	struct url parsed;
	int rc;

	if (run.tls && url[0] == 't' && sim_below(4) != 0) {
		(void)snprintf(bound, sizeof(bound), "tls%s", url + 3);
		chosen.conn.tls = sim_tls_listener(sim_below(4) == 0);
		url = bound;
	}
	rc = rl_listener_open(sim_system(), url, def, &chosen, &id);
	sim_event("listen", rc, 0);
	if (rc != 0) {
		sim_check(rc == -EMFILE || rc == -ENOMEM, "rl_listener_open() answered %d", rc);
		return;
	}
	run.listeners[run.listeners_count++] = id;
	sim_check(rl_listener_url(sim_system(), id, bound) == 0, "a listener has no URL");
	rc = rli_url_parse(&parsed, bound, URL_CONNECT, &sim_system()->log);
	sim_check(rc == 0, "a listener's URL can't be connected to: %s", bound);
	run.addrs[run.addrs_count].addr = parsed.sockaddr;
	run.addrs[run.addrs_count].len = parsed.len;
	run.addrs[run.addrs_count].tls = parsed.is_tls;
	run.addrs_count++;
	run_add_target(bound);
}

/* Seldom tight: most of what can go wrong needs connections. */
static void
run_limit(struct rl_listener_options *options)
{
	if (sim_below(4) == 0) {
		options->accept_rate_max = (uint32_t)sim_between(1, sim_coin() ? 10 : 1000);
		options->accept_burst = sim_coin() ? 0 : (uint32_t)sim_between(1, 8);
	}
	if (sim_below(3) == 0) {
		options->conns_per_peer_max = (uint32_t)sim_between(1, 4);
	}
}

static void
run_check_limits(const struct rl_listener_options *options, uint32_t per_peer)
{
	struct sim_check_limits limits = {
		.listeners = run.listeners_count,
		.rate = options->accept_rate_max,
		.burst = options->accept_burst != 0 ? options->accept_burst
						    : options->accept_rate_max,
		.per_peer = per_peer,
	};

	sim_check_limits_set(&limits);
}

static void
run_open_listeners(void)
{
	struct rl_listener_options options = { .arg = &run }; /* not NULL: automatic pause is on */
	uint32_t per_peer;

	run_limit(&options);
	per_peer = options.conns_per_peer_max;
	run_listen("tcp://127.0.0.1:0", &sim_server_def, &options);
	options.conns_per_peer_max = 0; /* the others know no address */
	if (sim_coin()) {
		options.peer_cred = sim_coin();
		run_listen("unix:@sim", &sim_server_def, &options);
		options.peer_cred = false;
	}
	if (sim_coin()) {
		options.peer_addr_off = true;
		options.conn.auto_pause = RL_CONN_OFF;
		options.arg = NULL;
		run_listen("tcp://[::1]:0", &sim_server_def, &options);
	}
	if (run.targets_count > 0 && run.targets[0][0] == 't' && sim_coin() &&
	    run.pool_spans == 0) {
		/*
		 * Over TCP, where an end that is cut does not look like a clean one. Not where
		 * memory is short: what it opens is a server of the same shard, so that both could
		 * wait for memory that the other has, until an eviction or a deadline.
		 */
		options.peer_addr_off = true;
		options.conn.auto_pause = RL_CONN_DEFAULT;
		options.arg = run.targets[0];
		run_listen("tcp://127.0.0.1:0", &sim_relay_def, &options);
	}
	run_check_limits(&options, per_peer);
}

static void
run_open_remotes(void)
{
	union url_sockaddr addr;
	socklen_t len;

	sk_addr_tcp(&addr, &len, 9001);
	sim_peer_listen(&addr, len, false);
	run_add_target("tcp://127.0.0.1:9001");
	if (run.tls) {
		sk_addr_tcp(&addr, &len, 9443);
		sim_peer_listen(&addr, len, true);
		run_add_target("tls://127.0.0.1:9443");
		run_add_target("tls://127.0.0.1:9443");
	}
	memset(&addr, 0, sizeof(addr));
	addr.un.sun_family = AF_UNIX;
	(void)snprintf(addr.un.sun_path, sizeof(addr.un.sun_path), "/sim/remote");
	sim_peer_listen(&addr, sizeof(addr.un), false);
	run_add_target("unix:/sim/remote");
	run_add_target("tcp://127.0.0.1:9999"); /* nobody is there */
	sim_actors_targets(run.targets, run.targets_count);
}

static void
run_spawn_openers(void)
{
	uint32_t want = (uint32_t)sim_below(4);

	for (uint32_t i = 0; i < want; i++) {
		uint32_t shard = (uint32_t)sim_below(sim_config()->shards);
		int rc = rl_system_spawn(sim_system(), shard, &sim_opener_def, NULL,
					 &run.openers[run.openers_count]);

		sim_check(rc == 0 || rc == -ENOMEM || rc == -ENOBUFS,
			  "rl_system_spawn() answered %d", rc);
		run.openers_count += rc == 0;
	}
}

/* ---- what happens in it */

static void
run_new_peer(void)
{
	const struct run_addr *addr;
	struct sim_link *link;

	if (run.addrs_count == 0 || sim_links_count() >= run.links_max) {
		return;
	}
	addr = &run.addrs[sim_below(run.addrs_count)];
	link = sim_link_new(addr->addr.sa.sa_family == AF_UNIX);
	if (link != NULL) {
		link->tls = addr->tls;
	}
	if (link != NULL && !sim_peer_connect(&addr->addr, addr->len, link)) {
		link->client_over = true;
		sim_link_break(link, "no peer for it");
	}
}

/* An actor is asked to open a connection, if there is one that does such things. */
static bool
run_open(void)
{
	uint32_t which;
	rl_actor_id id;
	int rc;

	if (run.openers_count == 0 || run.over || sim_links_count() >= run.links_max) {
		return false;
	}
	which = (uint32_t)sim_below(16);
	id = run.openers[sim_below(run.openers_count)];
	rc = rl_system_send(sim_system(), id, SIM_KIND_OPEN, &which, sizeof(which));
	sim_event("foreign open", rc, which);
	return true;
}

/* A foreign thread does one thing. */
static void
run_foreign(void)
{
	struct sim_number number = { .number = ++run.number };
	struct sim_actor *to;
	int rc;

	sim_resolver_interleave();
	if (sim_coin()) {
		sim_talk_poke();
		return;
	}
	if (sim_below(3) == 0 && run_open()) {
		return;
	}
	if (sim_actors_count() == 0) {
		return;
	}
	/* also to those who have ended: a stale id is inert (INV-6) */
	number.target = (uint32_t)sim_below(sim_actors_count());
	to = sim_actor(number.target);
	for (uint64_t burst = sim_below(8) == 0 ? sim_below(30) : 1; burst > 0; burst--) {
		rc = rl_system_send(sim_system(), to->id, SIM_KIND_NUMBER, &number, sizeof(number));
		sim_event("foreign send", rc, number.target);
		sim_check(rc == 0 || rc == -EAGAIN || rc == -ESHUTDOWN,
			  "rl_system_send() answered %d", rc);
		number.number = ++run.number;
	}
}

static void
run_maybe_new(void)
{
	if (run.over || !sim_chance(RUN_SPAWN)) {
		return;
	}
	if (sim_below(8) == 0) {
		sim_talk_newcomer();
	}
	sim_front_break();
	if (sim_fault(FAULT_PEER_STORM)) {
		for (uint32_t i = 0; i < RUN_STORM; i++) {
			run_new_peer();
		}
		return;
	}
	if (run.tls && sim_below(3) == 0 && run_open()) {
		return; /* what only a client of TLS goes through is not to be rare */
	}
	if (sim_below(4) == 0) {
		run_foreign();
	} else {
		run_new_peer();
	}
}

static void
run_chaos(uint64_t events)
{
	uint64_t until = sim_world.events + events;

	while (sim_world.events < until) {
		run_maybe_new();
		if (sim_chance(run.poke)) {
			sim_talk_poke();
		}
		sim_ledger_look();
		if (!sim_step() && !sim_wait_until(UINT64_MAX)) {
			run_new_peer();
			run_foreign();
			sim_event_count(); /* nothing at all goes on: a seed ends all the same */
		}
	}
}

static bool
run_is_converged(void *arg)
{
	(void)arg;
	return sim_links_are_over() && sim_peers_count() == 0 && sim_talk_is_done();
}

/* INV-7: the faults are over, so everything goes on and comes to its end. */
static void
run_converge(void)
{
	sim_front_break(); /* nothing but its own supervisor brings it back from here on */
	sim_event("heal", 0, 0);
	run.over = true;
	sim_slow(0, 0);
	sim_step_ns(200); /* the limit is for those who wait, not for those who have much to do */
	sim_world.healed = true;
	sim_world.healed_ns = sim_world.now_ns;
	sim_peers_heal();
	sim_actors_heal();
	sim_talk_heal();
	if (!sim_run_until(run_is_converged, NULL, RUN_CONVERGE_NS)) {
		sim_links_print_open();
		sim_check_explain(sim_system(), sim_config()->shards);
		sim_ledger_look();
		sim_ledger_explain();
		sim_fail("INV-7: %u peers and %u actors hang although all is healed",
			 sim_peers_count(), sim_actors_live());
	}
	sim_links_check_complete();
	sim_ledger_look();
	sim_settle();
	sim_front_check();
}

/* All shards fill their ways to one of them, which has not turned meanwhile. */
static void
run_message_storm(void)
{
	uint32_t to = (uint32_t)sim_below(RUN_STORM_SHARDS);

	for (uint32_t from = 0; from < RUN_STORM_SHARDS; from++) {
		if (from != to) {
			sim_talk_storm(from, to);
		}
	}
	for (uint32_t from = 0; from < RUN_STORM_SHARDS; from++) {
		if (from != to) {
			sim_turn(from);
		}
	}
	sim_turn(to);
}

/* The drain comes upon shards in the middle of a talk; now and then with the cut right behind. */
static void
run_flood(void)
{
	for (uint64_t left = sim_below(3) == 0 ? sim_below(20) : 0; left > 0; left--) {
		sim_talk_poke();
		for (uint64_t steps = sim_below(6); steps > 0; steps--) {
			(void)sim_step();
		}
	}
	if (sim_below(8) == 0) {
		for (uint32_t id = 1; id <= sim_links_count(); id++) {
			sim_link_break(sim_link(id), "the system is cut");
		}
		rl_system_drain(sim_system());
		rl_system_drain(sim_system());
	}
}

/* Mostly of some use, seldom of a few bytes, which takes a step of the network for each. */
static uint32_t
run_socket_buffer(void)
{
	uint32_t least = sim_below(8) == 0 ? 4 : 300;

	return (uint32_t)sim_between(least, sim_coin() ? 2000 : 30000);
}

static void
run_setup(uint64_t seed, const struct sim_run_options *options)
{
	static const struct sim_others others = { sim_peers_ready, sim_peers_step,
						  sim_peers_next_ns };
	static const uint64_t paces[] = { 40, 500, 20000, 300000 };

	static const uint32_t laziness[] = { 0, 0, 50000, 63000 };

	sim_begin(seed);
	memset(&run, 0, sizeof(run));
	sim_links_reset();
	sim_peers_reset();
	sim_tls_forget();
	sim_actors_reset();
	sim_faults_swarm();
	for (uint32_t i = 0; i < options->overrides_count; i++) {
		sim_fault_set((enum sim_fault)options->overrides[i].fault,
			      options->overrides[i].chance);
	}
	sk.on_disturb = sim_link_disturb;
	sk.canary = options->canary;
	sk.rcv_cap = run_socket_buffer();
	sk.snd_cap = run_socket_buffer();
	sim_step_ns(paces[sim_below(4)]);
	sim_lazy(laziness[sim_below(4)]);
	sim_others_set(&others);
	run.links_max = (uint32_t)sim_between(4, 120);
	run.poke = (uint32_t)sim_between(500, 12000);
	run.tls = sim_below(RUN_TLS) == 0 || options->tls;
	if (run.tls) {
		sim_tls_setup();
		sim_world.sealed = true;
		sk.rcv_cap = sk.rcv_cap < 64 ? 64 : sk.rcv_cap; /* records are long */
		sk.snd_cap = sk.snd_cap < 64 ? 64 : sk.snd_cap;
	}
}

static bool
run_memory_may_fail(void)
{
	return sim_world.fault_chance[FAULT_MEMORY_ONCE] +
		       sim_world.fault_chance[FAULT_MEMORY_GONE] >
	       0;
}

/*
 * So little send memory, and such long replies, that connections wait for it and are held to their
 * shares. The pool's own rules allow for no pool so small.
 */
static void
run_shrink_pools(const struct rl_config *config)
{
	for (uint32_t i = 0; run.pool_spans > 0 && i < config->shards; i++) {
		rli_system_shard(sim_system(), i)->send_pool.spans_max = run.pool_spans;
	}
	sim_actors_memory_may_fail(run_memory_may_fail() || run.pool_spans > 0);
}

static struct sim_run_result
run_result(void)
{
	struct sim_run_result result = {
		.hash = sim_world.hash,
		.events = sim_world.events,
		.turns = sim_turns(),
		.messages = sim_talk_messages(),
		.links = sim_links_count(),
		.links_whole = sim_links_whole(),
	};

	return result;
}

/* A start makes a hundred calls, each of which may fail: most seeds are spared, to get further. */
static int
run_start(const struct rl_config *config)
{
	static const enum sim_fault spared[] = { FAULT_MEMORY_ONCE, FAULT_MEMORY_GONE,
						 FAULT_SOCKET_EMFILE };
	uint32_t chances[sizeof(spared) / sizeof(spared[0])];
	bool spare = sim_below(8) != 0;
	int rc;

	for (size_t i = 0; spare && i < sizeof(spared) / sizeof(spared[0]); i++) {
		chances[i] = sim_world.fault_chance[spared[i]];
		sim_fault_set(spared[i], 0);
	}
	rc = sim_start(config);
	for (size_t i = 0; spare && i < sizeof(spared) / sizeof(spared[0]); i++) {
		sim_fault_set(spared[i], chances[i]);
	}
	return rc;
}

struct sim_run_result
sim_run(uint64_t seed, const struct sim_run_options *options)
{
	struct rl_config config;
	bool converges;

	run_setup(seed, options);
	run.pool_spans = sim_run_config(&config, run.tls);
	sim_talk_reset(config.shards);
	sim_slow((uint32_t)sim_below(config.shards), sim_coin() ? 64000 : 0);
	/* a handshake that finds no send memory ends */
	sim_links_memory_may_fail(run_memory_may_fail() || (run.tls && run.pool_spans > 0));
	if (run_start(&config) != 0) {
		sim_finish(false); /* refused by a fault: nothing may be left */
		return run_result();
	}
	run_shrink_pools(&config);
	sim_world.foreign = run_foreign;
	run_open_listeners();
	run_open_remotes();
	run_spawn_openers();
	sim_front_spawn();
	sim_talk_populate();
	run_chaos(options->events / 2);
	if (config.shards == RUN_STORM_SHARDS) {
		run_message_storm();
	}
	run_chaos(options->events - options->events / 2);
	converges = sim_below(4) != 0;
	if (converges) {
		run_converge();
	}
	run.over = true;
	run_flood();
	sim_slow(0, 0); /* the drain has a deadline */
	sim_drain();
	sim_world.foreign = NULL;
	sim_stop();
	sim_peers_leave();
	sim_peer_unlisten();
	while (sk_net_step()) {
	}
	sim_actors_check_stopped();
	sim_talk_end();
	sim_finish(false);
	return run_result();
}
