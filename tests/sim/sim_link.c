/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_link.h"

#include <stdio.h>
#include <string.h>

#include "sim_harness.h"
#include "sim_world.h"
#include "system.h"

#define LINK_MAGIC  0xa7
#define PROGRESS_NS 20000000000ull /* after the healing */

static struct sim_link links[LINKS_MAX];
static uint32_t links_count;
static bool links_memory_may_fail;
static bool links_large;

void
sim_links_reset(void)
{
	links_count = 0;
	links_memory_may_fail = false;
	links_large = false;
}

void
sim_links_large(bool large)
{
	links_large = large;
}

void
sim_links_memory_may_fail(bool may)
{
	links_memory_may_fail = may;
}

uint32_t
sim_links_count(void)
{
	return links_count;
}

static uint32_t
link_size(void)
{
	switch (sim_below(8)) {
	case 0:
		return 0;
	case 1:
	case 2:
		return (uint32_t)sim_below(16);
	case 3:
	case 4:
		return (uint32_t)sim_below(1000);
	case 5:
	case 6:
		return (uint32_t)sim_below(20000);
	default:
		return (uint32_t)sim_below(150000);
	}
}

struct sim_link *
sim_link_new(bool is_unix)
{
	struct sim_link *link;

	if (links_count == LINKS_MAX) {
		return NULL;
	}
	link = &links[links_count++];
	memset(link, 0, sizeof(*link));
	link->id = links_count;
	link->is_unix = is_unix;
	link->mode = (uint8_t)(sim_coin() ? LINK_ECHO : sim_below(LINK_MODES));
	link->client_total = LINK_HEADER_BYTES + link_size();
	link->server_total = link->mode == LINK_SOURCE ? link_size() : 0;
	if (links_large && sim_below(4) == 0) {
		link->mode = LINK_SOURCE;
		link->server_total = (uint32_t)sim_between(100000, 200000);
	}
	link->wild = sim_below(4) == 0;
	link->appetite = (uint8_t)(sim_coin() ? APPETITE_ALL : sim_below(APPETITES));
	/* who leaves bytes over waits for more: its client must not wait for an answer */
	link->half_close = link->mode != LINK_ECHO || link->appetite != APPETITE_ALL || sim_coin();
	return link;
}

struct sim_link *
sim_link(uint32_t id)
{
	return id == 0 || id > links_count ? NULL : &links[id - 1];
}

void
sim_link_break(struct sim_link *link, const char *why)
{
	if (!link->broken) {
		link->broken = true;
		link->why = why;
		sim_event("link broken", link->id, 0);
	}
}

void
sim_link_disturb(uint32_t tag)
{
	struct sim_link *link = sim_link(tag);

	if (link != NULL) {
		sim_link_break(link, "a fault was injected");
	}
}

/* ---- the bytes */

/* An echo is the client's stream; what the server makes itself differs from it everywhere. */
static uint64_t
link_key(const struct sim_link *link, enum link_side side)
{
	bool own = side == LINK_SERVER && link->mode != LINK_ECHO;

	return (uint64_t)link->id << 33 | (uint64_t)own << 32;
}

static uint8_t
link_byte(const struct sim_link *link, uint64_t key, uint64_t offset)
{
	const uint8_t header[LINK_HEADER_BYTES] = { LINK_MAGIC,
						    link->mode,
						    (uint8_t)link->id,
						    (uint8_t)(link->id >> 8),
						    (uint8_t)link->server_total,
						    (uint8_t)(link->server_total >> 8),
						    (uint8_t)(link->server_total >> 16),
						    (uint8_t)~link->id };

	if (offset < LINK_HEADER_BYTES && !(key >> 32 & 1)) {
		return header[offset];
	}
	return (uint8_t)(sim_mix(key | offset >> 3) >> 8 * (offset & 7));
}

void
sim_link_fill(const struct sim_link *link, enum link_side side, uint64_t offset, uint8_t *data,
	      size_t len)
{
	uint64_t key = link_key(link, side);
	size_t i = 0;

	while (i < len) {
		uint64_t word;

		if ((offset + i) % 8 != 0 || len - i < 8 || offset + i < LINK_HEADER_BYTES) {
			data[i] = link_byte(link, key, offset + i);
			i++;
			continue;
		}
		word = sim_mix(key | (offset + i) >> 3);
		memcpy(data + i, &word, sizeof(word));
		i += sizeof(word);
	}
}

void
sim_link_check(const struct sim_link *link, enum link_side side, uint64_t offset,
	       const uint8_t *data, size_t len)
{
	uint8_t want[1024];

	for (size_t done = 0; done < len;) {
		size_t n = len - done < sizeof(want) ? len - done : sizeof(want);
		size_t at = 0;

		sim_link_fill(link, side, offset + done, want, n);
		if (memcmp(want, data + done, n) != 0) {
			while (want[at] == data[done + at]) {
				at++;
			}
			sim_fail("INV-1: link %u, from the %s: byte %llu is wrong (of %zu at %llu)",
				 link->id, side == LINK_CLIENT ? "client" : "server",
				 (unsigned long long)(offset + done + at), len,
				 (unsigned long long)offset);
		}
		done += n;
	}
}

uint64_t
sim_link_server_total(const struct sim_link *link)
{
	switch (link->mode) {
	case LINK_ECHO:
		return link->client_total;
	case LINK_SINK:
		return LINK_REPLY_BYTES;
	default:
		return link->server_total;
	}
}

struct sim_link *
sim_link_of_header(const uint8_t *data)
{
	struct sim_link *link = sim_link((uint32_t)(data[2] | data[3] << 8));

	if (link == NULL || data[0] != LINK_MAGIC || data[7] != (uint8_t)~link->id) {
		return NULL;
	}
	return link;
}

/* ---- the ends */

void
sim_link_eof(struct sim_link *link, enum link_side reader, uint64_t got)
{
	/*
	 * A Unix socket can't be reset: there the end may look clean, and the last check decides;
	 * likewise when a relay was cut and has not said so yet.
	 */
	bool clean = !link->broken && !link->is_unix && !link->relayed;
	enum link_side writer = reader == LINK_CLIENT ? LINK_SERVER : LINK_CLIENT;

	sim_check(!link->tls || link->relayed || !link->modelled[writer] || link->said[writer],
		  "INV-11: link %u has come to its end, and nobody said close_notify", link->id);

	if (reader == LINK_CLIENT) {
		link->client_eof = true;
		if (clean && link->served) {
			sim_check(got == link->server_sent,
				  "INV-1: link %u: the client got %llu bytes and a clean end, the "
				  "server had sent %llu",
				  link->id, (unsigned long long)got,
				  (unsigned long long)link->server_sent);
		}
		return;
	}
	link->server_eof = true;
	if (clean) {
		sim_check(
			got == link->client_sent,
			"INV-1: link %u: the server got %llu bytes and a clean end, the client had "
			"sent %llu",
			link->id, (unsigned long long)got, (unsigned long long)link->client_sent);
	}
}

void
sim_link_reset(struct sim_link *link, enum link_side side)
{
	if (side == LINK_CLIENT && link->served && !link->broken && !link->relayed) {
		sim_check(!link->server_clean,
			  "link %u: the client was reset and the server ended gracefully",
			  link->id);
		link->unexplained = !link->server_over;
	}
	sim_link_break(link, "a peer was reset");
}

void
sim_link_tls_failed(struct sim_link *link, const char *why)
{
	sim_check(link->broken || links_memory_may_fail || !link->served,
		  "INV-11: link %u: a peer's TLS failed through nobody's fault: %s", link->id, why);
	sim_link_break(link, "a peer's TLS failed");
}

void
sim_link_truncated(struct sim_link *link, enum link_side reader)
{
	/* an end that came before its handshake was done says nothing */
	sim_check(link->broken || !(reader == LINK_CLIENT ? link->served : link->opened),
		  "INV-11: link %u was cut, and the other end meant to end it", link->id);
	sim_link_break(link, "a peer was truncated");
}

static bool
reason_is_clean(enum rl_reason reason)
{
	return reason == RL_REASON_PEER_FIN || reason == RL_REASON_LOCAL ||
	       reason == RL_REASON_SHUTDOWN || reason == RL_REASON_TIMEOUT_LINGER;
}

static void
link_print(const struct sim_link *link)
{
	fprintf(stderr,
		"  link %u mode %u%s: client %llu of %u sent, server got %llu; server %llu of "
		"%llu sent, client got %llu; over %d %d, eof %d %d, early %d, fin %d, appetite %u, "
		"wild %d, %s\n",
		link->id, link->mode, link->is_unix ? " unix" : "",
		(unsigned long long)link->client_sent, link->client_total,
		(unsigned long long)link->server_got, (unsigned long long)link->server_sent,
		(unsigned long long)sim_link_server_total(link),
		(unsigned long long)link->client_got, link->client_over, link->server_over,
		link->client_eof, link->server_eof, link->server_early, link->client_fin,
		link->appetite, link->wild, link->broken ? link->why : "not broken");
}

/* INV-11: records are right, and their end is told, unless somebody spoilt them. */
static void
link_check_tls(const struct sim_link *link, enum link_side side, enum rl_reason reason, int error)
{
	if (reason == RL_REASON_TLS || reason == RL_REASON_TLS_TRUNCATED) {
		sim_check(link->broken || link->relayed || !link->served || links_memory_may_fail,
			  "INV-11: link %u, %s: ended with %s (%d) through nobody's fault",
			  link->id, side == LINK_SERVER ? "server" : "client",
			  rl_reason_name(reason), error);
	}
}

/* INV-7: nobody holds anything back any more, so a deadline that passes is a hang with a name. */
static void
link_check_progress(const struct sim_link *link, enum rl_reason reason)
{
	if (!sim_world.healed || link->broken ||
	    sim_world.now_ns < sim_world.healed_ns + PROGRESS_NS) {
		return;
	}
	if (!link->served && sim_system()->config.user.conns_policy == RL_CONNS_PAUSE) {
		return; /* it waits for room that connections which we opened ourselves may take */
	}
	link_print(link);
	sim_fail("INV-7: link %u made no progress: %s", link->id, rl_reason_name(reason));
}

void
sim_link_stopped(struct sim_link *link, enum link_side side, enum rl_reason reason, int error,
		 bool aborted)
{
	if (side == LINK_SERVER) {
		link->server_over = true;
	} else {
		link->client_over = true;
	}
	link_check_tls(link, side, reason, error);
	if (reason_is_clean(reason)) {
		if (aborted) {
			sim_link_break(link, "an end was aborted");
		}
		link->server_clean =
			side == LINK_SERVER && reason != RL_REASON_TIMEOUT_LINGER && !aborted;
		link->unexplained = link->unexplained && !aborted && link->server_clean;
		return;
	}
	if (reason == RL_REASON_FAILURE || reason == RL_REASON_PEER_RST ||
	    (reason == RL_REASON_MEMORY && !links_memory_may_fail) ||
	    (reason == RL_REASON_LIMIT && link->appetite == APPETITE_ALL)) {
		/* a client that still writes when its server has closed is told so by RST */
		bool explained = link->broken || link->relayed ||
				 (side == LINK_CLIENT && link->server_early);

		sim_check(explained || reason == RL_REASON_PEER_RST,
			  "link %u, %s: ended with %s (%d) through nobody's fault", link->id,
			  side == LINK_SERVER ? "server" : "client", rl_reason_name(reason), error);
		link->unexplained = !explained && link->served;
	}
	if (reason != RL_REASON_PEER_RST) {
		link->unexplained = false;
	}
	if (reason == RL_REASON_TIMEOUT_IDLE || reason == RL_REASON_TIMEOUT_STALL ||
	    reason == RL_REASON_TIMEOUT_HANDSHAKE || reason == RL_REASON_TIMEOUT_OUTPUT ||
	    reason == RL_REASON_EVICTED) {
		link_check_progress(link, reason);
	}
	sim_link_break(link, rl_reason_name(reason));
}

bool
sim_links_are_over(void)
{
	for (uint32_t i = 0; i < links_count; i++) {
		const struct sim_link *link = &links[i];

		if (!link->client_over || (link->served && !link->server_over)) {
			return false;
		}
	}
	return true;
}

static void
link_check_complete(const struct sim_link *link)
{
	sim_check(!link->unexplained, "link %u: a reset that nobody sent", link->id);
	if (link->broken || !link->served || link->wild) {
		return;
	}
	sim_check(link->client_eof && link->client_got == link->server_sent,
		  "INV-1: link %u: server sent %llu, client got %llu", link->id,
		  (unsigned long long)link->server_sent, (unsigned long long)link->client_got);
	if (!link->server_early) {
		sim_check(link->server_got == link->client_sent,
			  "INV-1: link %u: the client sent %llu, the server got %llu", link->id,
			  (unsigned long long)link->client_sent,
			  (unsigned long long)link->server_got);
		sim_check(link->client_sent == link->client_total || link->mode == LINK_SOURCE,
			  "link %u: the client sent %llu of %u", link->id,
			  (unsigned long long)link->client_sent, link->client_total);
		sim_check(link->server_sent == sim_link_server_total(link),
			  "INV-1: link %u: the server sent %llu of %llu", link->id,
			  (unsigned long long)link->server_sent,
			  (unsigned long long)sim_link_server_total(link));
	}
}

void
sim_links_check_complete(void)
{
	for (uint32_t i = 0; i < links_count; i++) {
		link_check_complete(&links[i]);
	}
}

uint32_t
sim_links_whole(void)
{
	uint32_t whole = 0;

	for (uint32_t i = 0; i < links_count; i++) {
		const struct sim_link *link = &links[i];

		whole += !link->broken && link->served && link->client_eof;
	}
	return whole;
}

void
sim_links_print_open(void)
{
	for (uint32_t i = 0; i < links_count; i++) {
		const struct sim_link *link = &links[i];

		if (!link->client_over || (link->served && !link->server_over)) {
			link_print(link);
		}
	}
}
