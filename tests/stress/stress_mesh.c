/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: on real cores the mesh loses nothing, doubles nothing and keeps each pair's order, over
 * ordinary messages and obligations alike; reports come home; who waits for room, for a message or
 * for its blocks is always woken.
 * How: one thread per port that does what a shard does in a turn, sleeps by the real handshake, and
 * parks at random; every element is numbered. A sleep that nobody ends is a lost wake-up.
 * Not proved: every interleaving; a fence that is left out shows in tests/model, and hardly here.
 * Nor the ring that carries wake-ups: that is stress_system.
 */
#include "stress.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mailbox/mesh.h"
#include "shard/sleep.h"

#define PORTS_MAX   3
#define OBLIGATIONS 40 /* per pair, so that they wait in line at times */
#define BURST_MAX   200

#define LINGER_SEND  100 /* looks at the port: a nanosecond or two each */
#define LINGER_SLEEP 10000

#define KIND_PLAIN  256
#define KIND_REPORT 257 /* is to be reported as not delivered */

struct flood;

/* What one port sends to another one. */
struct lane {
	uint64_t total;
	uint64_t sent;
	uint64_t received; /* at the other end's thread: what has come from that port */
	uint64_t expected;
	uint32_t obliged; /* obligations that have not left */
	struct obligation obligations[OBLIGATIONS];
	bool busy[OBLIGATIONS];
};

struct worker {
	_Alignas(64) struct flood *flood;
	struct mesh_port *port;
	struct sleep sleep;
	pthread_t thread;
	uint32_t id;
	uint64_t random;
	uint64_t reports_made; /* by this port, about others' messages */
	uint64_t reports_seen;
	uint64_t refused;
	uint64_t parks;
	uint64_t wakes;
	bool stopped;
	struct lane lanes[PORTS_MAX];
};

struct flood {
	const char *name;
	uint32_t ports;
	bool lazy; /* parks at random, else as fast as it goes */
	bool paced; /* one message at a time: each end sends when it has received */
	struct mesh *mesh;
	struct worker workers[PORTS_MAX];
};

static struct flood flood; /* zeroed before each run */

static void
worker_wake(struct worker *worker, uint32_t to)
{
	struct sleep *sleep = &worker->flood->workers[to].sleep;

	if (rli_sleep_claim(sleep)) { /* the flush had the fence for it */
		rli_sleep_interrupt(sleep);
		worker->wakes++;
	}
}

static void
worker_receive(struct worker *worker, uint32_t source, struct mesh_block *block, uint32_t count)
{
	struct lane *lane = &worker->lanes[source];
	bool reported = false;

	STRESS_CHECK(count > 0 && count <= MESH_BLOCK_ENVELOPES);
	for (uint32_t i = 0; i < count; i++) {
		const struct envelope *envelope = &block->envelopes[i];

		stress_element_check(envelope->payload, source, lane->received);
		STRESS_CHECK(envelope->to == lane->received);
		lane->received++;
		if (envelope->kind == KIND_REPORT) {
			block->reports |= (uint64_t)1 << i;
			reported = true;
			worker->reports_made++;
		}
	}
	rli_mesh_return(worker->port, source, block, reported);
}

static void
worker_take_reports(struct worker *worker)
{
	struct mesh_block *block = worker->port->reported;

	worker->port->reported = NULL;
	while (block != NULL) {
		struct mesh_block *next = block->next;

		for (uint64_t left = block->reports; left != 0; left &= left - 1) {
			const struct envelope *envelope = &block->envelopes[__builtin_ctzll(left)];

			STRESS_CHECK(envelope->kind == KIND_REPORT);
			stress_element_check(envelope->payload, worker->id, envelope->to);
			worker->reports_seen++;
		}
		rli_mesh_reports_done(worker->port, block);
		block = next;
	}
}

static void
worker_take_sent(struct worker *worker)
{
	struct list_node *node;

	while ((node = list_pop_front(&worker->port->sent)) != NULL) {
		struct obligation *obligation = list_entry(node, struct obligation, node);
		struct lane *lane = &worker->lanes[obligation->envelope.from];

		lane->busy[obligation - lane->obligations] = false;
		lane->obliged--;
	}
}

static void
worker_take(struct worker *worker, uint32_t source)
{
	uint64_t budget = 1 + stress_random(&worker->random) % (2 * MESH_BLOCKS);
	struct mesh_taken taken;

	while (budget > 0 && rli_mesh_take(worker->port, source, &taken)) {
		worker_receive(worker, source, taken.block, taken.count);
		budget--;
	}
	if (budget == 0) {
		rli_mesh_inbound_again(worker->port, source);
	}
}

static void
worker_drain(struct worker *worker)
{
	struct mesh_sources sources;
	uint32_t source;

	if (rli_mesh_inbound(worker->port, &sources)) {
		while (rli_mesh_sources_next(worker->port, &sources, &source)) {
			worker_take(worker, source);
		}
	}
	if (rli_mesh_homing(worker->port, &sources)) {
		while (rli_mesh_sources_next(worker->port, &sources, &source)) {
			rli_mesh_home(worker->port, source);
		}
	}
	worker_take_reports(worker);
	worker_take_sent(worker);
}

/* @from of an envelope says whose lane it is in here, and is no part of what is checked. */
static void
lane_fill(struct worker *worker, uint32_t to, struct envelope *envelope)
{
	struct lane *lane = &worker->lanes[to];
	struct stress_element element = stress_element_make(worker->id, lane->sent);

	envelope->ref = 0;
	envelope->to = lane->sent;
	envelope->from = to;
	envelope->kind = stress_chance(&worker->random, 64) ? KIND_REPORT : KIND_PLAIN;
	envelope->head = 0;
	envelope->len = sizeof(element);
	memcpy(envelope->payload, &element, sizeof(element));
	lane->sent++;
}

/* False: as many wait as there may be. */
static bool
lane_oblige(struct worker *worker, uint32_t to)
{
	struct lane *lane = &worker->lanes[to];
	uint32_t i = 0;

	while (i < OBLIGATIONS && lane->busy[i]) {
		i++;
	}
	if (i == OBLIGATIONS) {
		return false;
	}
	list_node_init(&lane->obligations[i].node);
	lane->obligations[i].last = true; /* to be told when it went */
	lane_fill(worker, to, &lane->obligations[i].envelope);
	if (!rli_mesh_oblige(worker->port, to, &lane->obligations[i])) {
		lane->busy[i] = true;
		lane->obliged++;
	}
	return true;
}

/* False: there is no room, and its coming will be told. */
static bool
lane_send(struct worker *worker, uint32_t to)
{
	struct envelope *envelope;

	if (stress_chance(&worker->random, 16)) {
		return lane_oblige(worker, to);
	}
	envelope = rli_mesh_stage(worker->port, to);
	if (envelope == NULL) {
		worker->refused++;
		return false;
	}
	lane_fill(worker, to, envelope);
	return true;
}

static uint64_t
worker_burst(struct worker *worker, const struct lane *lane)
{
	if (worker->flood->paced) {
		return lane->received + (worker->id == 0) - lane->sent;
	}
	return 1 + stress_random(&worker->random) % BURST_MAX;
}

/* Bursts to the others in an order of chance. True: it could go on at once. */
static bool
worker_send(struct worker *worker)
{
	uint32_t first = (uint32_t)(stress_random(&worker->random) % worker->flood->ports);
	bool more = false;

	for (uint32_t i = 0; i < worker->flood->ports; i++) {
		uint32_t to = (first + i) % worker->flood->ports;
		struct lane *lane = &worker->lanes[to];
		uint64_t burst = worker_burst(worker, lane);
		bool room = true;

		while (burst > 0 && room && lane->sent < lane->total) {
			room = lane_send(worker, to);
			burst--;
		}
		more = more || (room && lane->sent < lane->total && !worker->flood->paced);
	}
	return more;
}

static bool
worker_has_all(const struct worker *worker)
{
	for (uint32_t i = 0; i < worker->flood->ports; i++) {
		if (worker->lanes[i].sent < worker->lanes[i].total ||
		    worker->lanes[i].received < worker->lanes[i].expected) {
			return false;
		}
	}
	return true;
}

static void
worker_clear_event(const struct worker *worker)
{
	struct pollfd fd = { .fd = worker->sleep.eventfd, .events = POLLIN };
	uint64_t count;

	if (poll(&fd, 1, 0) == 1) {
		STRESS_CHECK(read(fd.fd, &count, sizeof(count)) == (ssize_t)sizeof(count));
	}
}

/*
 * So that a message comes at any moment of the other end's handshake: it is sent a little later, or
 * looked for a little longer; mostly it comes before the sleep, at times right in it.
 */
static void
worker_linger(struct worker *worker, uint32_t longest)
{
	uint64_t left = stress_random(&worker->random) % longest;

	while (left > 0 && rli_mesh_is_quiet(worker->port)) {
		left--;
	}
}

/* As long as nobody wakes it; a park that has an end of its own is for chance. */
static void
worker_park(struct worker *worker, bool for_ever)
{
	struct pollfd fd = { .fd = worker->sleep.eventfd, .events = POLLIN };
	struct timespec moment = { .tv_nsec = (long)(stress_random(&worker->random) % 100000) };
	struct timespec patience = { .tv_sec = STRESS_PATIENCE_MS / 1000 };
	int rc;

	rli_sleep_begin(&worker->sleep);
	if (rli_mesh_is_quiet(worker->port)) {
		worker->parks++;
		rc = ppoll(&fd, 1, for_ever ? &patience : &moment, NULL);
		if (rc == 0 && for_ever) {
			stress_fail("%s: lost wake-up of port %u (inbound %" PRIx64 ")",
				    worker->flood->name, worker->id,
				    atomic_load(&worker->port->inbound[0]));
		}
	}
	rli_sleep_end(&worker->sleep);
	worker_clear_event(worker);
}

static void
worker_flush(struct worker *worker)
{
	uint64_t wake[MESH_WORDS] = { 0 };

	if (rli_mesh_flush(worker->port, wake)) {
		for (; wake[0] != 0; wake[0] &= wake[0] - 1) {
			worker_wake(worker, (uint32_t)__builtin_ctzll(wake[0]));
		}
	}
	worker_take_sent(worker);
}

static void *
worker_main(void *arg)
{
	struct worker *worker = arg;

	for (;;) {
		bool more;

		worker_drain(worker);
		more = worker_send(worker);
		if (worker_has_all(worker) && !worker->stopped) {
			worker->stopped = true;
			rli_mesh_stop(worker->port);
		}
		if (worker->flood->paced) {
			worker_linger(worker, LINGER_SEND);
		}
		worker_flush(worker);
		if (worker->port->reported != NULL) {
			continue;
		}
		if (worker->stopped && rli_mesh_is_home(worker->port)) {
			return NULL;
		}
		if (worker->flood->paced) {
			worker_linger(worker, LINGER_SLEEP);
		}
		if (!more) {
			worker_park(worker, true);
		} else if (worker->flood->lazy && stress_chance(&worker->random, 16)) {
			worker_park(worker, false);
		}
	}
}

static void
flood_begin(const char *name, uint32_t ports, bool lazy, uint64_t seed)
{
	memset(&flood, 0, sizeof(flood));
	flood.name = name;
	flood.ports = ports;
	flood.lazy = lazy;
	flood.mesh = rli_mesh_create(ports);
	STRESS_CHECK(flood.mesh != NULL);
	for (uint32_t i = 0; i < ports; i++) {
		struct worker *worker = &flood.workers[i];

		worker->flood = &flood;
		worker->port = rli_mesh_port(flood.mesh, i);
		worker->id = i;
		worker->random = seed + i;
		STRESS_CHECK(rli_sleep_init(&worker->sleep) == 0);
	}
}

static void
flood_lane(uint32_t from, uint32_t to, uint64_t count)
{
	flood.workers[from].lanes[to].total = count;
	flood.workers[to].lanes[from].expected = count;
}

static void
flood_run(void)
{
	uint64_t began_ns = stress_now_ns();
	uint64_t messages = 0;
	uint64_t sums[5] = { 0 };
	double seconds;

	for (uint32_t i = 0; i < flood.ports; i++) {
		struct worker *worker = &flood.workers[i];

		STRESS_CHECK(pthread_create(&worker->thread, NULL, worker_main, worker) == 0);
	}
	for (uint32_t i = 0; i < flood.ports; i++) {
		STRESS_CHECK(pthread_join(flood.workers[i].thread, NULL) == 0);
	}
	seconds = (double)(stress_now_ns() - began_ns) / 1e9;
	for (uint32_t i = 0; i < flood.ports; i++) {
		struct worker *worker = &flood.workers[i];

		for (uint32_t j = 0; j < flood.ports; j++) {
			STRESS_CHECK(worker->lanes[j].received == worker->lanes[j].expected);
			messages += worker->lanes[j].received;
		}
		sums[0] += worker->reports_made;
		sums[1] += worker->reports_seen;
		sums[2] += worker->refused;
		sums[3] += worker->parks;
		sums[4] += worker->wakes;
		rli_sleep_fini(&worker->sleep);
	}
	STRESS_CHECK(sums[0] == sums[1]);
	rli_mesh_destroy(flood.mesh);
	(void)printf("%-24s %" PRIu64 " messages, %.1f M/s, %" PRIu64 " reports, %" PRIu64
		     " times no room, %" PRIu64 " parks, %" PRIu64 " wake-ups\n",
		     flood.name, messages, (double)messages / seconds / 1e6, sums[1], sums[2],
		     sums[3], sums[4]);
}

/* All pairs of @ports ports. */
static void
flood_all(const char *name, uint32_t ports, bool lazy, const struct stress_options *options)
{
	uint64_t count = options->messages / (ports * (ports - 1));

	flood_begin(name, ports, lazy, options->seed);
	for (uint32_t from = 0; from < ports; from++) {
		for (uint32_t to = 0; to < ports; to++) {
			if (from != to) {
				flood_lane(from, to, count);
			}
		}
	}
	flood_run();
}

int
main(int argc, char **argv)
{
	struct stress_options options;

	stress_parse(&options, argc, argv);
	flood_begin("one way", 2, false, options.seed);
	flood_lane(0, 1, options.messages);
	flood_run();
	flood_begin("one way, parking", 2, true, options.seed);
	flood_lane(0, 1, options.messages);
	flood_run();
	flood_begin("one at a time", 2, false, options.seed);
	flood.paced = true;
	flood_lane(0, 1, options.messages / 64);
	flood_lane(1, 0, options.messages / 64);
	flood_run();
	flood_all("both ways", 2, false, &options);
	flood_all("both ways, parking", 2, true, &options);
	flood_all("three ports", 3, false, &options);
	flood_all("three ports, parking", 3, true, &options);
	return 0;
}
