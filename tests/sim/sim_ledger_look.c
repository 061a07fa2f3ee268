/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ledger at rest: when nothing is in flight, whatever has not come to its end needs an excuse.
 */
#include <stdio.h>

#include "actor/actor.h"
#include "actor/actor_mesh.h"
#include "mailbox/inbox.h"
#include "mailbox/mesh.h"
#include "system.h"

#include "sim_check.h"
#include "sim_harness.h"
#include "sim_ledger_state.h"

static bool
out_is_quiet(const struct mesh_out *out)
{
	return !out->opened || (out->staged == NULL && list_is_empty(&out->obliged));
}

static bool
shard_is_quiet(const struct rl_shard *shard)
{
	const struct actors *actors = shard->actors;

	if (sim_check_is_marked(shard) || !rli_inbox_is_empty(shard->inbox) ||
	    !list_is_empty(&actors->ready) || rli_letters_taken(&actors->letters) > 0 ||
	    !rli_actors_mesh_is_idle(shard) || !list_is_empty(&shard->port->dirty)) {
		return false;
	}
	for (uint32_t to = 0; to < shard->port->shards; to++) {
		if (!out_is_quiet(&shard->port->out[to])) {
			return false;
		}
	}
	return true;
}

bool
sim_ledger_is_quiet(void)
{
	for (uint32_t i = 0; i < ledger.shards; i++) {
		if (!shard_is_quiet(sim_on(i))) {
			return false;
		}
	}
	return true;
}

/* A message that has neither arrived nor been refused or reported. */
static void
look_at_lost(uint32_t number)
{
	const struct message *message = &ledger_messages[number];
	const struct talker *from = NULL;
	const struct talker *to;

	if (message->to >= TALKERS_MAX) {
		sim_check(message->from == TALK_FOREIGN,
			  "INV-4: a notification from %u to %u was lost", message->from,
			  message->to);
		return;
	}
	if (message->from >= TALKERS_MAX || message->mode != TALK_PLAIN) {
		return;
	}
	from = &ledger.talkers[message->from];
	to = &ledger.talkers[message->to];
	if (from->shard == to->shard) {
		sim_check(to->stopped, "INV-4: message %u was taken for an actor here, and lost",
			  number);
		return;
	}
	sim_check(!from->reports || from->stopped || (to->stopped && !message->stale),
		  "INV-4: message %u to another shard was lost, and no report came", number);
}

static void
look_at_messages(void)
{
	for (uint32_t i = ledger.looked_messages; i < ledger.messages_count; i++) {
		sim_check(ledger_messages[i].state != MESSAGE_SENDING, "message %u is being sent",
			  i);
		if (ledger_messages[i].state == MESSAGE_SENT) {
			look_at_lost(i);
		}
	}
	ledger.looked_messages = ledger.messages_count;
}

static void
look_at_request(uint32_t who, const struct talk_request *request)
{
	const struct message *message;

	sim_check(request->number != TALK_NONE, "a spawn of talker %u was never answered", who);
	message = &ledger_messages[request->number];
	sim_check(!ledger.talkers[request->target].stopped,
		  "request %u of talker %u hangs: who was asked has ended", request->number, who);
	sim_check(message->state == MESSAGE_ARRIVED,
		  "request %u of talker %u hangs: it never arrived", request->number, who);
	sim_check(message->answer == ANSWER_NONE,
		  "request %u of talker %u hangs: the answer is lost", request->number, who);
	sim_check(message->mode == TALK_LATER || message->mode == TALK_NEVER,
		  "request %u of talker %u hangs, of mode %u", request->number, who, message->mode);
}

static void
look_at_talker(struct talker *talker)
{
	uint32_t number = sim_ledger_number(talker);

	sim_check(talker->stopped || !talker->called_gone,
		  "talker %u lives, and was said to have ended", number);
	if (talker->stopped || !talker->started) {
		return;
	}
	for (uint32_t i = 0; i < TALK_SHARDS; i++) {
		sim_check(!talker->room_owed[i],
			  "INV-7: talker %u waits for room to shard %u for ever", number, i);
	}
	for (uint32_t i = 0; i < TALK_TIES; i++) {
		if (talker->requests[i].open) {
			look_at_request(number, &talker->requests[i]);
		}
		sim_check(!talker->watches[i].open ||
				  !ledger.talkers[talker->watches[i].target].stopped,
			  "talker %u watches %u, which ended, and was not told", number,
			  talker->watches[i].target);
	}
}

static void
look_at_link(const struct ledger_link *link)
{
	const struct talker *maker = link->maker;
	const struct talker *other = link->other;

	if (maker->stopped && !other->stopped) {
		sim_check(ledger_is_normal(maker->reason),
			  "talker %u lives on, and %u, which linked to it, ended with %s",
			  sim_ledger_number(other), sim_ledger_number(maker),
			  rl_reason_name(maker->reason));
	} else if (other->stopped && !maker->stopped) {
		sim_check(ledger_is_normal(other->reason) && !link->was_gone,
			  "talker %u lives on, and %u, which it linked to, ended with %s",
			  sim_ledger_number(maker), sim_ledger_number(other),
			  rl_reason_name(other->reason));
	}
}

static void
look_at_counters(void)
{
	struct rl_stats stats = sim_stats();
	uint64_t lost =
		stats.undelivered.full + stats.undelivered.gone + stats.undelivered.stopping;

	sim_check(stats.msgs_sent == stats.msgs_delivered + lost,
		  "INV-12: %llu messages sent, %llu delivered, %llu full, %llu gone, %llu stopping",
		  (unsigned long long)stats.msgs_sent, (unsigned long long)stats.msgs_delivered,
		  (unsigned long long)stats.undelivered.full,
		  (unsigned long long)stats.undelivered.gone,
		  (unsigned long long)stats.undelivered.stopping);
}

/* The first of all that keep this memory? */
static bool
buf_is_first(uint32_t talker, uint32_t slot)
{
	const uint8_t *data = ledger.talkers[talker].bufs[slot]->data;

	for (uint32_t i = 0; i <= talker; i++) {
		for (uint32_t k = 0; k < (i < talker ? TALK_BUFS : slot); k++) {
			const struct rl_buf *buf = ledger.talkers[i].bufs[k];

			if (buf != NULL && buf->data == data) {
				return false;
			}
		}
	}
	return true;
}

/* Those that somebody keeps are there, and no others. */
static void
look_at_bufs(void)
{
	struct rl_stats stats = sim_stats();
	uint64_t left = stats.shared_bufs_taken - stats.shared_bufs_freed;
	uint64_t kept = 0;

	for (uint32_t i = 0; i < ledger.talkers_count; i++) {
		for (uint32_t k = 0; k < TALK_BUFS; k++) {
			const struct rl_buf *buf = ledger.talkers[i].bufs[k];

			if (buf != NULL) {
				sim_ledger_check_buf(buf);
				kept += buf_is_first(i, k);
			}
		}
	}
	sim_check(kept == left, "INV-12: %llu counted buffers are kept, %llu were not freed",
		  (unsigned long long)kept, (unsigned long long)left);
}

void
sim_ledger_look(void)
{
	if (ledger.looked == ledger.changes || !sim_ledger_is_quiet()) {
		return;
	}
	ledger.looked = ledger.changes;
	look_at_messages();
	for (uint32_t i = 0; i < ledger.talkers_count; i++) {
		look_at_talker(&ledger.talkers[i]);
	}
	for (uint32_t i = 0; i < ledger.links_count; i++) {
		look_at_link(&ledger.links[i]);
	}
	look_at_counters();
	look_at_bufs();
}

bool
sim_ledger_is_settled(void)
{
	if (!sim_ledger_is_quiet()) {
		return false;
	}
	for (uint32_t i = 0; i < ledger.talkers_count; i++) {
		for (uint32_t k = 0; k < TALK_TIES; k++) {
			const struct talk_request *request = &ledger.talkers[i].requests[k];

			if (request->open && request->due_ns != UINT64_MAX) {
				return false;
			}
		}
	}
	return true;
}

static uint32_t
obliged_count(const struct mesh_out *out)
{
	const struct list_node *node;
	uint32_t count = 0;

	for (node = out->obliged.head.next; node != &out->obliged.head; node = node->next) {
		count++;
	}
	return count;
}

static uint32_t
staged_count(const struct mesh_out *out)
{
	return out->staged == NULL ? 0 : (uint32_t)(out->next - out->staged->envelopes);
}

void
sim_ledger_explain(void)
{
	for (uint32_t i = 0; i < ledger.shards; i++) {
		const struct mesh_port *port = sim_on(i)->port;

		for (uint32_t to = 0; to < ledger.shards; to++) {
			const struct mesh_out *out = &port->out[to];

			if (out->opened) {
				fprintf(stderr,
					"  to shard %u: %u blocks free, staged %u, wants %d, "
					"%u obligations wait, waiters %d, %s\n",
					to, out->free_count, staged_count(out), out->wants,
					obliged_count(out), !list_is_empty(&out->waiters),
					shard_is_quiet(sim_on(i)) ? "quiet" : "not quiet");
			}
		}
	}
}

void
sim_ledger_end(void)
{
	for (uint32_t i = 0; i < ledger.talkers_count; i++) {
		const struct talker *talker = &ledger.talkers[i];

		sim_check(talker->stopped || !talker->started,
			  "INV-3: talker %u got no RL_MSG_STOP", i);
	}
}
