/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Accepting on one shard. Invariants: connections never exceed conns_max, and under "pause" accepts
 * in flight are as many as there is room for, or one per listener, so that none starves another
 * (what it brings while there is no room is held); the file table has room for conns_max plus every
 * accept, so the kernel never finds it full; an accept that failed is tried again, at once or after
 * a back-off, and only a broken socket ends a listener.
 */
#include "net/listener.h"

#include <errno.h>
#include <string.h>

#include "base/mutant.h"
#include "net/addr.h"
#include "net/admit.h"
#include "net/conn.h"
#include "net/handover.h"
#include "net/net.h"
#include "net/sys.h"

#define BACKOFF_MIN_NS 10000000ull /* 10 ms */
#define BACKOFF_MAX_NS 1000000000ull /* 1 s */

static bool
listener_wants_addr(const struct listener *listener)
{
	return !listener->is_unix && !listener->options.peer_addr_off;
}

/* Accepted sockets go to the file table, unless somebody wants to ask the kernel about them. */
static bool
listener_is_fixed(const struct listener *listener)
{
	return rli_ring_features(listener->shard->ring) & RL_FEATURE_FIXED_FILES &&
	       !listener->options.peer_cred;
}

static void
accept_free_all(struct listener *listener)
{
	while (listener->accepts != NULL) {
		struct accept *accept = listener->accepts;

		listener->accepts = accept->next;
		rli_slab_give(&listener->shard->net->accepts, accept);
	}
}

int
rli_listener_start(struct rl_shard *shard, uint32_t number, const struct listener_setup *setup)
{
	struct net *net = shard->net;
	struct listener *listener = &net->listeners[number];

	RL_ASSERT(number < NET_LISTENERS_MAX);
	if (setup->reloads) {
		listener->tls = setup->tls; /* of no use any more if it closes */
		return 0;
	}
	RL_ASSERT(listener->state == LISTENER_FREE);
	if (net->draining) {
		return -ESHUTDOWN;
	}
	if (setup->options->conns_per_peer_max != 0 && rli_peers_enable(&net->peers) != 0) {
		return -ENOMEM;
	}
	memset(listener, 0, sizeof(*listener));
	listener->shard = shard;
	listener->def = setup->def;
	listener->options = *setup->options;
	listener->fd = setup->fd;
	listener->is_unix = setup->is_unix;
	listener->tls = setup->tls;
	rli_timer_init(&listener->backoff, TIMER_LISTENER);
	for (uint32_t i = 0; setup->fd >= 0 && i < shard->config->accepts_in_flight; i++) {
		struct accept *accept = rli_slab_take(&net->accepts);

		if (accept == NULL) {
			accept_free_all(listener);
			return -ENOMEM;
		}
		op_init(&accept->op);
		accept->listener = listener;
		accept->refused_fd = -1;
		accept->more = false;
		accept->held_fd = -1;
		accept->armed = false;
		accept->next = listener->accepts;
		listener->accepts = accept;
	}
	listener->state = LISTENER_OPEN;
	net->listeners_dirty = true;
	if (setup->tls != NULL && shard->id == 0) {
		rli_conn_tls_rotate(shard);
	}
	return 0;
}

void
rli_listener_stop(struct rl_shard *shard, uint32_t number, struct control *closed)
{
	struct listener *listener = &shard->net->listeners[number];

	RL_ASSERT(number < NET_LISTENERS_MAX);
	RL_ASSERT(closed == NULL || listener->closed == NULL);
	if (closed != NULL) {
		listener->closed = closed;
	}
	if (listener->state != LISTENER_OPEN) {
		return;
	}
	(void)rli_listener_adopt(shard); /* what was accepted before this was asked for */
	listener->state = LISTENER_CLOSING;
	(void)rli_listener_adopt(shard); /* what had no room */
	(void)rli_wheel_cancel(&shard->wheel,
			       &listener->backoff); /* false: it was not backing off */
	shard->net->listeners_dirty = true;
}

int
rli_listener_broken(struct rl_shard *shard, uint32_t *number)
{
	struct net *net = shard->net;

	for (uint32_t i = 0; net->listeners_broken && i < NET_LISTENERS_MAX; i++) {
		int error = net->listeners[i].error;

		if (error != 0) {
			net->listeners[i].error = 0;
			*number = i;
			return error;
		}
	}
	net->listeners_broken = false;
	return 0;
}

struct control *
rli_listener_closed(struct rl_shard *shard)
{
	for (uint32_t i = 0; i < NET_LISTENERS_MAX; i++) {
		struct listener *listener = &shard->net->listeners[i];
		struct control *closed = listener->closed;

		if (listener->state == LISTENER_FREE && closed != NULL) {
			listener->closed = NULL;
			return closed;
		}
	}
	return NULL;
}

void
rli_listener_backoff_due(struct timer *timer)
{
	list_entry(timer, struct listener, backoff)->shard->net->listeners_dirty = true;
}

/* The kernel is out of something: wait, longer each time, instead of spinning. */
static void
listener_back_off(struct listener *listener, int error)
{
	struct rl_shard *shard = listener->shard;

	if (listener->state != LISTENER_OPEN || timer_is_armed(&listener->backoff)) {
		return; /* the others that were in flight say the same */
	}
	listener->backoff_ns *= 2;
	if (listener->backoff_ns < BACKOFF_MIN_NS) {
		listener->backoff_ns = BACKOFF_MIN_NS;
	} else if (listener->backoff_ns > BACKOFF_MAX_NS) {
		listener->backoff_ns = BACKOFF_MAX_NS;
	}
	rli_wheel_start(&shard->wheel, &listener->backoff, shard->now_ns + listener->backoff_ns);
	rli_log_limited(shard->log, &shard->net->limit_accept, shard->now_ns, RL_LOG_WARN,
			(int)shard->id, "can't accept (%s%s); trying again in %u ms",
			rli_errno_text(error), accept_remedy(error),
			(unsigned)(listener->backoff_ns / 1000000));
}

static void
accept_failed(struct accept *accept, int error)
{
	struct listener *listener = accept->listener;
	struct rl_shard *shard = listener->shard;

	if (error == -ECANCELED) {
		return;
	}
	counters_add(&shard->counters, accept_errors, 1);
	listener->errors++;
	switch (error) {
	case -ENFILE:
		counters_add(&shard->counters, accept_enfile, 1);
		listener_back_off(listener, error);
		break;
	case -EMFILE:
	case -ENOBUFS:
	case -ENOMEM:
		listener_back_off(listener, error);
		break;
	case -EBADF:
	case -EINVAL:
	case -ENOTSOCK:
	case -EOPNOTSUPP:
		rli_log(shard->log, RL_LOG_ERROR, (int)shard->id,
			"a listening socket is broken (%s): it accepts no more",
			rli_errno_text(error));
		if (listener->state == LISTENER_OPEN) { /* else it was asked to close already */
			listener->state = LISTENER_CLOSING;
			listener->error = error;
			shard->net->listeners_broken = !RL_MUTANT(BROKEN_NOT_TOLD);
		}
		break;
	default:
		if (listener->errors % ACCEPT_ERRORS == 0 && !RL_MUTANT(ACCEPT_DENIED_SPINS)) {
			listener_back_off(listener, error);
		}
		break; /* one connection's trouble: accept the next */
	}
}

/* As "pause" has it, but each listener may have one: none is starved by the accepts of another. */
static bool
listener_is_full(const struct listener *listener)
{
	const struct rl_shard *shard = listener->shard;

	return shard->config->conns_policy == RL_CONNS_PAUSE &&
	       shard->net->conns_count == shard->config->conns_max;
}

static void
accept_turn_away(struct accept *accept, int fd)
{
	counters_add(&accept->listener->shard->counters, refused, 1);
	accept->refused_fd = fd; /* the flush closes it */
}

static struct rl_addr
listener_peer(const struct listener *listener, const void *peer, socklen_t len)
{
	struct rl_addr addr = { .family = listener->is_unix ? RL_ADDR_UNIX : RL_ADDR_NONE };

	if (listener_wants_addr(listener)) {
		rli_addr_from_sockaddr(&addr, peer, len);
	}
	return addr;
}

/* PATH-1 accept: a socket becomes a connection and its actor. 0, or it is still the caller's. */
static int
listener_connect(struct listener *listener, int fd, uint8_t sqe_flags, const void *peer,
		 socklen_t len)
{
	struct rl_shard *shard = listener->shard;
	struct rl_addr addr = listener_peer(listener, peer, len);
	struct conn_setup setup = {
		.def = listener->def,
		.arg = listener->options.arg,
		.options = &listener->options.conn,
		.fd = fd,
		.sqe_flags = sqe_flags,
		.is_unix = listener->is_unix,
		.tls = listener->tls,
	};
	struct conn *conn;
	int rc = rli_admit(listener, &addr);

	if (rc != 0) {
		return rc;
	}
	rc = rli_conn_create(shard, &setup, &conn);
	if (rc != 0) {
		rli_admit_undo(listener, &addr, rc);
		return rc;
	}
	conn->peer = addr;
	conn->peer_counted = rli_admit_counts(listener, &addr);
	counters_add(&shard->counters, accepted, 1);
	rli_conn_opened(conn);
	rli_conn_deadline_start(conn, listener->options.conn.first_byte_timeout_ns);
	return 0;
}

static void
accept_opened(struct accept *accept, int fd)
{
	struct listener *listener = accept->listener;
	bool fixed = listener_is_fixed(listener);

	listener->backoff_ns = 0;
	listener->errors = 0;
	if (listener->state == LISTENER_OPEN && listener_is_full(listener)) {
		accept->held_fd = fd; /* waits here as it would in the backlog */
		return;
	}
	if (listener->state != LISTENER_OPEN ||
	    listener_connect(listener, fd, fixed ? IOSQE_FIXED_FILE : 0, &accept->peer,
			     accept->len) != 0) {
		accept_turn_away(accept, fd);
	}
}

static void
accept_done(struct rl_shard *shard, struct op *op, int32_t res, uint32_t flags)
{
	struct accept *accept = list_entry(op, struct accept, op);

	if (accept->armed) {
		accept->armed = false;
		accept->listener->armed--;
		shard->net->accepts_armed--;
	}
	accept->more = (flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
	if (!(flags & OP_F_SETTLED)) {
		if (res >= 0) {
			accept_opened(accept, res);
		} else {
			accept_failed(accept, res);
			if (RL_MUTANT(ACCEPT_NOT_REARMED)) {
				return;
			}
		}
	}
	shard->net->listeners_dirty = true;
}

static void
refuse_done(struct rl_shard *shard, struct op *op, int32_t res, uint32_t flags)
{
	struct accept *accept = list_entry(op, struct accept, op);

	(void)res; /* a close can't be taken back */
	(void)flags;
	accept->refused_fd = -1;
	shard->net->listeners_dirty = true;
}

static void
accept_prepare_close(struct accept *accept, struct io_uring_sqe *sqe, bool fixed)
{
	if (fixed) {
		io_uring_prep_close_direct(sqe, (unsigned)accept->refused_fd);
	} else {
		io_uring_prep_close(sqe, accept->refused_fd);
	}
	op_arm(&accept->op, sqe, refuse_done);
}

static void
accept_prepare(struct accept *accept, struct io_uring_sqe *sqe, bool fixed)
{
	struct listener *listener = accept->listener;
	bool addr = listener_wants_addr(listener);

	accept->len = sizeof(accept->peer);
	io_uring_prep_accept(
		sqe, listener->fd,
		addr ? (struct sockaddr *)&(RL_MUTANT(ADDRESS_SHARED) ? listener->accepts : accept)
				->peer
		     : NULL,
		addr ? &accept->len : NULL, fixed ? 0 : SOCK_CLOEXEC);
	if (fixed) {
		/*
		 * not by io_uring_prep_accept_direct(): liburing 2.3's wraps ALLOC to a plain one
		 */
		sqe->file_index = IORING_FILE_INDEX_ALLOC;
	}
	if (!accept->more && rli_ring_features(listener->shard->ring) & RL_FEATURE_ACCEPT_POLL) {
		/* a try that finds nobody makes a socket and a file for it all the same */
		sqe->ioprio |= IORING_ACCEPT_POLL_FIRST;
	}
	op_arm(&accept->op, sqe, accept_done);
	accept->armed = true;
	listener->armed++;
	listener->shard->net->accepts_armed++;
}

static bool
listener_may_accept(const struct listener *listener)
{
	const struct rl_shard *shard = listener->shard;
	const struct net *net = shard->net;

	if (listener->state != LISTENER_OPEN ||
	    (timer_is_armed(&listener->backoff) && !RL_MUTANT(ACCEPT_NO_BACKOFF))) {
		return false;
	}
	if (listener->backoff_ns != 0 && listener->armed > 0) {
		return false; /* one finds out whether it goes on, for all of them */
	}
	if (shard->config->conns_policy == RL_CONNS_REFUSE) {
		return true;
	}
	return net->conns_count + net->accepts_armed < shard->config->conns_max ||
	       (listener->armed == 0 && !listener_is_full(listener));
}

/* False: the submission queue is full. */
static bool
accept_flush(struct accept *accept)
{
	struct listener *listener = accept->listener;
	struct rl_shard *shard = listener->shard;
	bool fixed = listener_is_fixed(listener);
	struct io_uring_sqe *sqe;

	if (!op_is_idle(&accept->op)) {
		return listener->state == LISTENER_OPEN || accept->refused_fd >= 0 ||
		       rli_op_cancel(shard, &accept->op);
	}
	if (accept->held_fd >= 0 && listener->state == LISTENER_OPEN &&
	    listener_is_full(listener)) {
		return true;
	}
	if (accept->held_fd >= 0) {
		int fd = accept->held_fd;

		accept->held_fd = -1;
		accept_opened(accept, fd); /* or turned away, when the listener closes */
	}
	if (accept->refused_fd < 0 && !listener_may_accept(listener)) {
		return true;
	}
	sqe = rli_ring_sqe(shard->ring);
	if (sqe == NULL) {
		counters_add(&shard->counters, sq_full, 1);
		return false;
	}
	if (accept->refused_fd >= 0) {
		accept_prepare_close(accept, sqe, fixed);
	} else {
		accept_prepare(accept, sqe, fixed);
	}
	return true;
}

/* Every accept is IDLE and nothing waits to be closed: the socket can go. */
static void
listener_close(struct listener *listener)
{
	for (const struct accept *accept = listener->accepts; accept != NULL;
	     accept = accept->next) {
		if (!op_is_idle(&accept->op) || accept->refused_fd >= 0) {
			return;
		}
	}
	if (listener->fd >= 0) {
		rli_sys_close(listener->fd);
	}
	accept_free_all(listener);
	(void)rli_wheel_cancel(&listener->shard->wheel, &listener->backoff);
	listener->state = LISTENER_FREE;
}

bool
rli_listener_flush(struct listener *listener)
{
	for (struct accept *accept = listener->accepts; accept != NULL; accept = accept->next) {
		if (!accept_flush(accept)) {
			return false;
		}
	}
	if (listener->state == LISTENER_CLOSING) {
		listener_close(listener);
	} else if (listener->fd >= 0 && listener_is_full(listener)) {
		rli_admit_log_paused(listener); /* else the acceptor says so */
	}
	return true;
}

static void
adopt_one(struct rl_shard *shard, struct handed *handed)
{
	struct listener *listener = &shard->net->listeners[handed->listener];
	int fd = handed->fd;

	if (listener->state == LISTENER_OPEN && listener_is_full(listener)) {
		return; /* waits here as it would in the backlog */
	}
	handed->fd = -1;
	if (listener->state != LISTENER_OPEN ||
	    listener_connect(listener, fd, 0, &handed->peer, handed->len) != 0) {
		counters_add(&shard->counters, refused, 1);
		rli_sys_close(fd);
	}
}

bool
rli_listener_adopt(struct rl_shard *shard)
{
	struct handover *handover = shard->net->handover;
	uint32_t count = handover != NULL ? rli_handover_count(handover) : 0;

	for (uint32_t i = 0; i < count; i++) {
		struct handed *handed = rli_handover_at(handover, i);

		if (handed->fd >= 0) {
			adopt_one(shard, handed);
		} else if (handed->listener == HANDOVER_END) {
			shard->net->handover_over = true;
		}
	}
	if (count > 0) {
		rli_handover_drop(handover, count);
	}
	return count > 0;
}

bool
rli_listener_may_adopt(const struct rl_shard *shard)
{
	const struct net *net = shard->net;

	if (net->handover == NULL || rli_handover_count(net->handover) == 0) {
		return false;
	}
	return net->draining || shard->config->conns_policy == RL_CONNS_REFUSE ||
	       net->conns_count < shard->config->conns_max;
}
