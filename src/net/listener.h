/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One shard's part of a listener: its own listening socket and a handful of one-shot accepts on it,
 * each with an address of its own (a multishot accept shares one, and a fixed file has no
 * getpeername). Where the acceptor accepts there is neither, and the shard adopts what it was
 * handed.
 */
#ifndef RINGLINE_NET_LISTENER_INTERNAL_H
#define RINGLINE_NET_LISTENER_INTERNAL_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include <ringline/listener.h>

#include "net/rate.h"
#include "net/url.h"
#include "shard/shard.h"

struct listener;
struct tls_context;

/* One accept request; or, while refused_fd is set, the close of a socket that was turned away. */
struct accept {
	uint32_t slab_link;
	socklen_t len;
	struct op op;
	struct listener *listener;
	struct accept *next;
	int refused_fd;
	int held_fd; /* accepted while all connections were taken; -1: none */
	bool armed; /* counted in net->accepts_armed */
	bool more; /* there were more in the backlog when it was done */
	union {
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} peer;
};

enum listener_state {
	LISTENER_FREE,
	LISTENER_OPEN,
	LISTENER_CLOSING, /* its accepts are being cancelled */
};

struct listener {
	struct rl_shard *shard;
	const struct rl_actor_def *def;
	struct rl_listener_options options;
	struct accept *accepts; /* all of its accepts, linked by next */
	struct timer backoff; /* until then nothing is accepted */
	struct rate rate; /* of options.accept_rate_max */
	uint64_t backoff_ns; /* the last one, until an accept succeeds */
	uint32_t errors; /* in a row */
	uint32_t armed; /* accepts in flight */
	struct control *closed; /* whom rli_listener_closed() tells; NULL: nobody */
	int fd; /* -1: the acceptor's */
	int error; /* why the kernel ended it, for rli_listener_broken(); 0: it did not */
	uint8_t state; /* enum listener_state */
	bool is_unix;
	const struct tls_context *tls; /* NULL: plain */
};

#define ACCEPT_ERRORS 16 /* in a row: more are no single connection's trouble */

/* What a log line about @error of an accept should say to whoever can do something about it. */
static inline const char *
accept_remedy(int error)
{
	switch (error) {
	case -EMFILE:
		return "; raise RLIMIT_NOFILE (ulimit -n)";
	case -ENFILE:
		return "; raise fs.file-max";
	default:
		return "";
	}
}

struct listener_setup {
	const struct rl_actor_def *def;
	const struct rl_listener_options *options;
	int fd; /* -1: none, the acceptor has it */
	bool is_unix;
	const struct tls_context *tls; /* NULL: plain; until it has closed, or has another */
	bool reloads; /* it is open already, and only tls is new */
};

/*
 * Listener @number of the shard starts to accept, or to adopt, or just gets another tls; takes
 * setup->fd on success. 0, -ENOMEM, -ESHUTDOWN.
 */
int rli_listener_start(struct rl_shard *shard, uint32_t number, const struct listener_setup *setup);

/*
 * Stop accepting: cancel, wait until the kernel holds nothing, close. @closed (may be NULL) is
 * handed out by rli_listener_closed() when that is done, at once if the listener isn't open.
 */
void rli_listener_stop(struct rl_shard *shard, uint32_t number, struct control *closed);

/*
 * Phase 2: what the acceptor handed over becomes connections, or waits for room ("pause"). False:
 * there is nothing.
 */
bool rli_listener_adopt(struct rl_shard *shard);

/* Something that came from the acceptor can be dealt with now. */
bool rli_listener_may_adopt(const struct rl_shard *shard);

/* Why the kernel ended listener @number since the last call, or 0: it ended none. */
int rli_listener_broken(struct rl_shard *shard, uint32_t *number);

/* A request whose listener has closed since the last call, or NULL. */
struct control *rli_listener_closed(struct rl_shard *shard);

/* The back-off is over (TIMER_LISTENER). */
void rli_listener_backoff_due(struct timer *timer);

/* Flush: arm what may be armed, cancel what must go. False: the submission queue was full. */
bool rli_listener_flush(struct listener *listener);

#endif
