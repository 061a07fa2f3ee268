/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_resolver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/sys.h"
#include "system.h"

#include "sim_link.h"
#include "sim_world.h"

#define TAKES_BY_SEED (UINT64_MAX - 1)

struct sim_worker {
	struct resolver *resolver; /* NULL: there is no thread */
	bool out;
	bool left;
	uint64_t due_ns;
};

static struct sim_worker workers[RESOLVER_WORKERS_MAX];
static uint64_t takes_ns;

void
sim_resolver_reset(void)
{
	memset(workers, 0, sizeof(workers));
	takes_ns = TAKES_BY_SEED;
}

void
sim_resolver_takes(uint64_t ns)
{
	takes_ns = ns;
}

int
rli_thread_resolver_start(struct rl_system *system, uint32_t worker)
{
	sim_check(workers[worker].resolver == NULL, "a worker of the resolver has two threads");
	if (sim_fault(FAULT_THREAD_FAILS)) {
		return -EAGAIN;
	}
	workers[worker] = (struct sim_worker){ .resolver = system->resolver };
	return 0;
}

/* ---- what it comes home with */

static void
addr_inet(union url_inet *addr, uint8_t net)
{
	memset(addr, 0, sizeof(*addr));
	addr->in.sin_family = AF_INET;
	addr->in.sin_addr.s_addr = htonl(0x7f000001u | (uint32_t)net << 16);
}

static void
addr_inet6(union url_inet *addr, uint8_t net)
{
	memset(addr, 0, sizeof(*addr));
	addr->in6.sin6_family = AF_INET6;
	addr->in6.sin6_addr.s6_addr[14] = net;
	addr->in6.sin6_addr.s6_addr[15] = 1;
}

static uint8_t
addr_net(const union url_sockaddr *addr)
{
	switch (addr->sa.sa_family) {
	case AF_INET:
		return (uint8_t)(ntohl(addr->in.sin_addr.s_addr) >> 16);
	case AF_INET6:
		return addr->in6.sin6_addr.s6_addr[14];
	default:
		return 0;
	}
}

bool
sim_resolver_is_refused(const union url_sockaddr *addr)
{
	return addr_net(addr) == 1;
}

bool
sim_resolver_is_hole(const union url_sockaddr *addr)
{
	return addr_net(addr) == 2;
}

static void
addrs_of(struct sys_addrs *addrs, const char *nets)
{
	for (addrs->count = 0; nets[addrs->count] != '\0'; addrs->count++) {
		addr_inet(&addrs->list[addrs->count], (uint8_t)(nets[addrs->count] - '0'));
	}
}

static void
addrs_many(struct sys_addrs *addrs)
{
	addrs->count = (uint32_t)sim_between(1, SYS_ADDRS_MAX);
	for (uint32_t i = 0; i < addrs->count; i++) {
		uint8_t net = (uint8_t)sim_below(3);

		if (sim_coin()) {
			addr_inet(&addrs->list[i], net);
		} else {
			addr_inet6(&addrs->list[i], net);
		}
	}
}

static int
resolve(const char *host, struct sys_addrs *addrs)
{
	static const int errors[] = { -EAGAIN, -EIO, -ENOMEM, -ENOENT };

	*addrs = (struct sys_addrs){ .why = "the seed says so" };
	if (sim_fault(FAULT_LOOKUP_FAILS)) {
		return errors[sim_below(4)];
	}
	if (strncmp(host, "one", 3) == 0) {
		addrs_of(addrs, "0");
	} else if (strncmp(host, "many", 4) == 0) {
		addrs_many(addrs);
	} else if (strncmp(host, "holes", 5) == 0) {
		addrs_of(addrs, "220");
	} else if (strncmp(host, "refused", 7) == 0) {
		addrs_of(addrs, "1110");
	} else {
		return -ENOENT;
	}
	return 0;
}

uint32_t
sim_resolver_link(const char *host)
{
	const char *dash = strchr(host, '-');

	return dash == NULL ? 0 : (uint32_t)strtoul(dash + 1, NULL, 10);
}

int
rli_sys_resolve(const char *host, struct sys_addrs *addrs)
{
	struct sim_link *link = sim_link(sim_resolver_link(host));
	int rc = resolve(host, addrs);

	sim_event("resolve", rc, addrs->count);
	if (link != NULL) {
		link->lookup_error = rc;
		link->addrs = addrs->count;
	}
	return rc;
}

/* ---- the threads */

static uint64_t
lookup_takes_ns(void)
{
	if (takes_ns != TAKES_BY_SEED) {
		return takes_ns;
	}
	if (sim_fault(FAULT_LOOKUP_ENDLESS)) {
		return UINT64_MAX;
	}
	return sim_fault(FAULT_LOOKUP_LATE) ? sim_below((uint64_t)RL_SEC(20))
					    : sim_below((uint64_t)RL_MS(20));
}

static bool
worker_is_ready(const struct sim_worker *worker)
{
	return worker->resolver != NULL && (!worker->out || worker->due_ns <= sim_world.now_ns);
}

static void
worker_step(struct sim_worker *worker)
{
	uint32_t number = (uint32_t)(worker - workers);
	uint64_t ns;

	if (worker->out) {
		rli_resolver_look(worker->resolver, number);
		rli_resolver_answer(worker->resolver, number);
		worker->out = false;
		return;
	}
	if (!rli_resolver_take(worker->resolver, number)) {
		worker->resolver = NULL;
		return;
	}
	ns = lookup_takes_ns();
	worker->out = true;
	worker->due_ns = ns < UINT64_MAX - sim_world.now_ns ? sim_world.now_ns + ns : UINT64_MAX;
}

uint32_t
sim_resolver_ready(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < RESOLVER_WORKERS_MAX; i++) {
		count += worker_is_ready(&workers[i]);
	}
	return count;
}

void
sim_resolver_step(uint32_t nth)
{
	uint32_t i = 0;

	while (!worker_is_ready(&workers[i]) || nth-- > 0) {
		i++;
	}
	worker_step(&workers[i]);
}

uint64_t
sim_resolver_next_ns(void)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < RESOLVER_WORKERS_MAX; i++) {
		if (workers[i].resolver != NULL && workers[i].out && workers[i].due_ns < next) {
			next = workers[i].due_ns;
		}
	}
	return next;
}

void
sim_resolver_interleave(void)
{
	uint32_t count = sim_resolver_ready();

	if (count > 0) {
		sim_resolver_step((uint32_t)sim_below(count));
	}
}

void
sim_resolver_leave(struct resolver *resolver)
{
	uint32_t out = rli_resolver_leave(resolver);

	for (uint32_t i = 0; i < RESOLVER_WORKERS_MAX; i++) {
		struct sim_worker *worker = &workers[i];

		sim_check(worker->resolver == NULL || worker->out == ((out & 1u << i) != 0),
			  "the resolver takes a worker for out that is not, or the other way");
		if (worker->resolver != NULL && !worker->out) {
			sim_check(!rli_resolver_take(resolver, i), "a lookup is left at the end");
			worker->resolver = NULL;
		}
		worker->left = worker->resolver != NULL;
	}
}

void
sim_resolver_end(void)
{
	for (uint32_t i = 0; i < RESOLVER_WORKERS_MAX; i++) {
		if (workers[i].resolver == NULL) {
			continue;
		}
		sim_check(workers[i].left, "a thread that looks up names has outlived its system");
		worker_step(&workers[i]);
		worker_step(&workers[i]);
		sim_check(workers[i].resolver == NULL, "a worker that was left behind goes on");
	}
}
