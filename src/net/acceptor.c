/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Accepting for all shards. Invariants: a socket is accepted only when there is a shard to hand it
 * to, or when all are full and the policy is to refuse, so that none ever waits here; only EBADF
 * and EINVAL end a listener, everything else is tried again, at once or after a back-off; nothing
 * is polled that could not be acted on, so a step that did nothing is followed by a sleep.
 */
#include "net/acceptor.h"

#include <errno.h>

#include "base/assert.h"
#include "base/host.h"
#include "base/mutant.h"
#include "net/sys.h"

#define ACCEPT_BATCH   64 /* from one listener, before it is the next one's turn */
#define BACKOFF_MIN_NS 10000000ull /* 10 ms */
#define BACKOFF_MAX_NS 1000000000ull /* 1 s */
#define ACCEPTOR_PAGES 65536 /* a multiple of every page size that Linux has */
#define ACCEPTOR_ALONE UINT32_MAX /* no shard has room */

static size_t
acceptor_bytes(const struct rl_config *config, size_t *slots_at)
{
	size_t slots = handover_slots(config->accepts_in_flight * NET_LISTENERS_MAX);
	size_t bytes = sizeof(struct acceptor) + config->shards * sizeof(struct acceptor_shard);

	*slots_at = bytes;
	bytes += config->shards * slots * sizeof(struct handed);
	return (bytes + ACCEPTOR_PAGES - 1) / ACCEPTOR_PAGES * ACCEPTOR_PAGES;
}

static void
acceptor_init_shards(struct acceptor *acceptor, size_t slots_at)
{
	uint32_t slots = handover_slots(acceptor->config->accepts_in_flight * NET_LISTENERS_MAX);
	struct handed *first = (struct handed *)(void *)((char *)acceptor + slots_at);

	for (uint32_t i = 0; i < acceptor->shards_count; i++) {
		rli_handover_init(&acceptor->shards[i].handover, first + (size_t)i * slots, slots,
				  acceptor->config->conns_max);
	}
}

struct acceptor *
rli_acceptor_create(const struct rl_config *config, const struct log *log)
{
	size_t slots_at;
	size_t bytes = acceptor_bytes(config, &slots_at);
	struct acceptor *acceptor = rli_host_pages_reserve(bytes);

	if (acceptor == NULL) {
		return NULL;
	}
	if (rli_host_pages_commit(acceptor, bytes) != 0) {
		rli_host_pages_release(acceptor, bytes);
		return NULL;
	}
	acceptor->reserved_bytes = bytes;
	acceptor->config = config;
	acceptor->log = log;
	acceptor->shards_count = config->shards;
	for (uint32_t i = 0; i < NET_LISTENERS_MAX; i++) {
		acceptor->listeners[i].fd = -1;
	}
	acceptor->random = rli_host_random() | 1; /* anything but 0 */
	acceptor_init_shards(acceptor, slots_at);
	acceptor->inbox = rli_inbox_create();
	if (rli_sleep_init(&acceptor->sleep) != 0 || acceptor->inbox == NULL) {
		rli_acceptor_destroy(acceptor);
		return NULL;
	}
	return acceptor;
}

void
rli_acceptor_join(struct acceptor *acceptor, uint32_t i, struct rl_shard *shard)
{
	acceptor->shards[i].shard = shard;
	shard->net->handover = &acceptor->shards[i].handover;
	shard->net->acceptor = &acceptor->sleep;
}

void
rli_acceptor_destroy(struct acceptor *acceptor)
{
	if (acceptor == NULL) {
		return;
	}
	for (uint32_t i = 0; i < NET_LISTENERS_MAX; i++) {
		RL_ASSERT(acceptor->listeners[i].fd < 0);
	}
	rli_sleep_fini(&acceptor->sleep);
	if (acceptor->inbox != NULL) {
		rli_inbox_destroy(acceptor->inbox);
	}
	rli_host_pages_release(acceptor, acceptor->reserved_bytes);
}

void
rli_acceptor_wake(struct acceptor *acceptor)
{
	/* whoever waits for it has a poll of its own on the eventfd, so no handshake is needed */
	(void)rli_host_eventfd_write(acceptor->sleep.eventfd);
}

int
rli_acceptor_listen(struct acceptor *acceptor, uint32_t number, int fd, bool wants_addr)
{
	struct acceptor_listener *listener = &acceptor->listeners[number];

	RL_ASSERT(number < NET_LISTENERS_MAX && listener->fd < 0);
	if (acceptor->over) {
		return -ESHUTDOWN;
	}
	*listener = (struct acceptor_listener){ .fd = fd, .wants_addr = wants_addr };
	return 0;
}

void
rli_acceptor_unlisten(struct acceptor *acceptor, uint32_t number)
{
	struct acceptor_listener *listener = &acceptor->listeners[number];

	if (listener->fd >= 0) {
		rli_sys_close(listener->fd);
	}
	listener->fd = -1;
	listener->ready = false;
	listener->error = 0;
}

int
rli_acceptor_broken(struct acceptor *acceptor, uint32_t *number)
{
	for (uint32_t i = 0; i < NET_LISTENERS_MAX; i++) {
		int error = acceptor->listeners[i].error;

		if (error != 0) {
			acceptor->listeners[i].error = 0;
			*number = i;
			return error;
		}
	}
	return 0;
}

void
rli_acceptor_drain(struct acceptor *acceptor)
{
	if (acceptor->over) {
		return;
	}
	acceptor->over = true;
	for (uint32_t i = 0; i < NET_LISTENERS_MAX; i++) {
		rli_acceptor_unlisten(acceptor, i);
	}
	for (uint32_t i = 0; i < acceptor->shards_count; i++) {
		rli_handover_end(&acceptor->shards[i].handover);
		(void)rli_sleep_wake(&acceptor->shards[i].shard->sleep);
	}
}

/* ---- who gets the next one */

/* The first from the one whose turn it is that has room; or ALONE. */
static uint32_t
acceptor_choose_in_turn(const struct acceptor *acceptor, enum handover_room *room)
{
	*room = HANDOVER_FULL;
	for (uint32_t i = 0; i < acceptor->shards_count; i++) {
		uint32_t shard = (acceptor->next + i) % acceptor->shards_count;
		enum handover_room has = rli_handover_room(&acceptor->shards[shard].handover);

		if (has < *room) {
			*room = has;
		}
		if (has == HANDOVER_ROOM) {
			return shard;
		}
	}
	return ACCEPTOR_ALONE;
}

/* xorshift64: who knows the order gains nothing, since nobody can choose among the shards. */
static uint64_t
acceptor_random(struct acceptor *acceptor)
{
	acceptor->random ^= acceptor->random << 13;
	acceptor->random ^= acceptor->random >> 7;
	acceptor->random ^= acceptor->random << 17;
	return acceptor->random;
}

/*
 * Of two shards at random the one with fewer connections: nearly as even as comparing all of them,
 * for two looks. ALONE: it has no room.
 */
static uint32_t
acceptor_choose_of_two(struct acceptor *acceptor)
{
	uint64_t random = acceptor_random(acceptor);
	uint32_t count = acceptor->shards_count;
	uint32_t a = (uint32_t)(random >> 32) % count;
	uint32_t b = a;

	if (count > 1) {
		b = (a + 1 + (uint32_t)random % (count - 1)) % count; /* another one */
	}
	if (rli_handover_load(&acceptor->shards[b].handover) <
	    rli_handover_load(&acceptor->shards[a].handover)) {
		a = b;
	}
	return rli_handover_room(&acceptor->shards[a].handover) == HANDOVER_ROOM ? a
										 : ACCEPTOR_ALONE;
}

static uint32_t
acceptor_choose(struct acceptor *acceptor, enum handover_room *room)
{
	if (acceptor->config->accept_mode == RL_ACCEPT_LEAST_LOADED) {
		uint32_t shard = acceptor_choose_of_two(acceptor);

		if (shard != ACCEPTOR_ALONE) {
			*room = HANDOVER_ROOM;
			return shard;
		}
	}
	return acceptor_choose_in_turn(acceptor, room);
}

/* Is there anything to do with a socket? A shard that is behind will have room in a moment. */
static bool
acceptor_wants(const struct acceptor *acceptor, enum handover_room room)
{
	return room == HANDOVER_ROOM ||
	       (room == HANDOVER_FULL && acceptor->config->conns_policy == RL_CONNS_REFUSE);
}

static bool
acceptor_may_accept(const struct acceptor *acceptor, enum handover_room *room)
{
	(void)acceptor_choose_in_turn(acceptor, room);
	return acceptor_wants(acceptor, *room);
}

/* All shards are full. */
static void
acceptor_log_full(struct acceptor *acceptor, const char *what)
{
	rli_log_limited(acceptor->log, &acceptor->limit_full, acceptor->now_ns, RL_LOG_WARN,
			LOG_NO_SHARD, "conns_max = %u is reached on every shard: %s",
			acceptor->config->conns_max, what);
}

static void
acceptor_give(struct acceptor *acceptor, uint32_t shard, const struct handed *handed)
{
	if (shard == ACCEPTOR_ALONE) {
		counters_add(&acceptor->counters, refused, 1);
		acceptor_log_full(acceptor, "new connections are refused");
		rli_sys_close(handed->fd);
		return;
	}
	rli_handover_push(&acceptor->shards[shard].handover, handed);
	if (!RL_MUTANT(HANDOVER_SILENT)) {
		(void)rli_sleep_wake(&acceptor->shards[shard].shard->sleep);
	}
	acceptor->next = (shard + 1) % acceptor->shards_count;
}

/* ---- accepting */

/* Wait, longer each time, instead of spinning. */
static void
listener_back_off(struct acceptor *acceptor, struct acceptor_listener *listener, int error)
{
	listener->backoff_ns *= 2;
	if (listener->backoff_ns < BACKOFF_MIN_NS) {
		listener->backoff_ns = BACKOFF_MIN_NS;
	} else if (listener->backoff_ns > BACKOFF_MAX_NS) {
		listener->backoff_ns = BACKOFF_MAX_NS;
	}
	listener->until_ns = acceptor->now_ns + listener->backoff_ns;
	rli_log_limited(acceptor->log, &acceptor->limit_failed, acceptor->now_ns, RL_LOG_WARN,
			LOG_NO_SHARD, "can't accept (%s%s); trying again in %u ms",
			rli_errno_text(error), accept_remedy(error),
			(unsigned)(listener->backoff_ns / 1000000));
}

static void
listener_broken(struct acceptor *acceptor, struct acceptor_listener *listener, int error)
{
	rli_log(acceptor->log, RL_LOG_ERROR, LOG_NO_SHARD,
		"a listening socket is broken (%s): it accepts no more", rli_errno_text(error));
	if (error != -EBADF) {
		rli_sys_close(listener->fd); /* with EBADF the number may be somebody else's */
	}
	listener->fd = -1;
	listener->error = RL_MUTANT(BROKEN_NOT_TOLD) ? 0 : error;
}

/* True: try the next one at once. */
static bool
listener_failed(struct acceptor *acceptor, struct acceptor_listener *listener, int error)
{
	if (error == -EAGAIN) {
		return false;
	}
	counters_add(&acceptor->counters, accept_errors, 1);
	listener->errors++;
	switch (error) {
	case -EMFILE:
	case -ENFILE:
	case -ENOBUFS:
	case -ENOMEM:
		break;
	case -EBADF:
	case -EINVAL:
		listener_broken(acceptor, listener, error);
		return false;
	default:
		if (listener->errors % ACCEPT_ERRORS != 0) {
			return true; /* one connection's trouble: accept the next */
		}
	}
	listener_back_off(acceptor, listener, error);
	return false;
}

/* One connection off the backlog, if there is one; true: there may be more. */
static bool
listener_accept_one(struct acceptor *acceptor, struct acceptor_listener *listener)
{
	enum handover_room room;
	uint32_t shard = acceptor_choose(acceptor, &room);
	struct handed handed = {
		.listener = (uint32_t)(listener - acceptor->listeners),
		.len = listener->wants_addr ? sizeof(handed.peer) : 0,
	};

	if (!acceptor_wants(acceptor, room)) {
		return false; /* it waits in the backlog */
	}
	handed.fd = rli_sys_accept(listener->fd, listener->wants_addr ? &handed.peer.sa : NULL,
				   &handed.len);
	if (handed.fd < 0) {
		return listener_failed(acceptor, listener, handed.fd);
	}
	listener->errors = 0;
	listener->backoff_ns = 0;
	acceptor_give(acceptor, shard, &handed);
	return true;
}

void
rli_acceptor_accept(struct acceptor *acceptor)
{
	for (uint32_t i = 0; i < NET_LISTENERS_MAX; i++) {
		struct acceptor_listener *listener = &acceptor->listeners[i];
		uint32_t left = listener->ready ? ACCEPT_BATCH : 0;

		listener->ready = false; /* poll says so again, if there are more */
		while (left > 0 && listener_accept_one(acceptor, listener)) {
			left--;
		}
	}
}

/* ---- waiting */

void
rli_acceptor_awake(struct acceptor *acceptor)
{
	rli_sleep_end(&acceptor->sleep);
	acceptor->now_ns = rli_host_now_ns();
	if (acceptor->polls_count > 0 && acceptor->polls[0].revents != 0) {
		rli_host_eventfd_drain(acceptor->sleep.eventfd);
	}
	for (uint32_t i = 1; i < acceptor->polls_count; i++) {
		acceptor->listeners[acceptor->polled[i]].ready = acceptor->polls[i].revents != 0;
	}
	acceptor->polls_count = 0;
}

static void
sleep_add(struct acceptor *acceptor, uint32_t number, int fd)
{
	acceptor->polled[acceptor->polls_count] = number;
	acceptor->polls[acceptor->polls_count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

/* The sockets that something can be done with; when to look again all the same. */
static uint64_t
sleep_prepare(struct acceptor *acceptor, bool may_accept)
{
	uint64_t until_ns = UINT64_MAX;

	acceptor->polls_count = 0;
	sleep_add(acceptor, 0, acceptor->sleep.eventfd);
	for (uint32_t i = 0; i < NET_LISTENERS_MAX && may_accept; i++) {
		struct acceptor_listener *listener = &acceptor->listeners[i];

		if (listener->fd < 0) {
			continue;
		}
		if (listener->until_ns <= acceptor->now_ns || RL_MUTANT(ACCEPT_NO_BACKOFF)) {
			sleep_add(acceptor, i, listener->fd);
		} else if (listener->until_ns < until_ns) {
			until_ns = listener->until_ns;
		}
	}
	return until_ns;
}

void
rli_acceptor_sleep(struct acceptor *acceptor)
{
	enum handover_room room;
	bool may_accept = acceptor_may_accept(acceptor, &room);
	uint64_t until_ns;

	if (!may_accept) {
		/* say that room is waited for, then look once more: see shard/sleep.h */
		rli_sleep_begin(&acceptor->sleep);
		may_accept = acceptor_may_accept(acceptor, &room);
	}
	if (may_accept) {
		rli_sleep_end(&acceptor->sleep);
	} else if (room == HANDOVER_FULL && !acceptor->over) {
		acceptor_log_full(acceptor, "new connections wait in the backlog");
	}
	until_ns = sleep_prepare(acceptor, may_accept);
	rli_sys_poll(acceptor->polls, acceptor->polls_count,
		     until_ns == UINT64_MAX ? UINT64_MAX : until_ns - acceptor->now_ns);
}
