/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Connections: an actor's byte stream.
 *
 *	conn.c           birth, the order of its messages, death
 *	conn_recv.c      receiving: arm, park, pause
 *	conn_input.c     slices and leftovers on their way to the actor
 *	conn_send.c      sending: output, one gathered send in flight
 *	conn_forward.c   bytes for it from other actors of its shard
 *	conn_evict.c     who takes too little, and must go
 *	conn_close.c     the end: flush, FIN, linger, cancel, reset, close
 *	conn_deadline.c  idle, first byte, stall, linger over one timer
 *	conn_open.c      outbound: checked, looked up
 *	conn_connect.c   outbound: connected, to one address after the other
 *	conn_tls.c       TLS between the stream and the actor, where there is TLS: handshake, input
 *	conn_tls_send.c  TLS under the output
 *	conn_line.c      handshakes, a few steps a turn
 *
 * Three ops are embedded: recv, send, and control for what happens one after the other (connect,
 * shutdown, reset, close). A slot is recycled only when all three are IDLE.
 */
#ifndef RINGLINE_NET_CONN_H
#define RINGLINE_NET_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/conn.h>

#include "actor/actor.h"
#include "net/conn_tls.h"
#include "net/net.h"
#include "shard/shard.h"

enum conn_state {
	CONN_FREE,
	CONN_CONNECTING, /* outbound, the connect is under way */
	CONN_OPEN,
	CONN_FLUSHING, /* the end was decided: output leaves, input is discarded */
	CONN_LINGERING, /* FIN was sent: input is discarded until the peer's FIN or the deadline */
	CONN_CANCELLING, /* nothing leaves any more; waits until its ops are IDLE */
	CONN_RESETTING, /* the connect to AF_UNSPEC, which sends RST, is under way */
	CONN_CLOSING, /* the close is under way */
	CONN_CLOSED,
};

/* What an actor left unconsumed: data[start..end) of a buffer that is twice the limit long. */
struct pending {
	uint32_t slab_link;
	uint32_t start;
	uint32_t end;
	uint32_t spare;
	uint8_t data[];
};

/* The oldest bytes that are not pending. */
struct slice {
	const uint8_t *data;
	uint32_t len;
};

struct connect;

/* Who forwards to a connection and was told to wait: struct forward, first come first served. */
struct outlet {
	struct list waiters;
};

struct conn {
	uint32_t slab_link;
	int fd; /* descriptor, or slot of the fixed-file table; -1: none yet, its host is a name */
	struct conn_tls *tls; /* NULL: plain */
	struct op recv;
	struct op send;
	struct op control;
	struct rl_actor *actor;
	struct rl_shard *shard;
	struct list_node dirty; /* on net->dirty */
	struct list_node
		parked; /* on net->parked, or with bytes that have arrived on net->hoards */
	struct list_node starved; /* on net->starved */

	/*
	 * input: first arrived (copied while paused), then lent (in place), after what is pending
	 */
	struct pending *pending;
	struct chunk *arrived_first;
	struct chunk *arrived_last;
	uint32_t arrived_bytes;
	uint16_t lent_first;
	uint16_t lent_last;

	/*
	 * output: out_bytes in all, the first inflight_bytes of them in the kernel's hands; with
	 * TLS also what is no record yet, which the list does not have
	 */
	struct chunk *out_first;
	struct chunk *out_last;
	uint32_t out_bytes;
	uint32_t inflight_bytes;
	uint32_t refused_bytes; /* the largest send refused: it fits at the next WRITABLE */
	uint32_t fed; /* net->feeds when it was last told of send memory */

	struct timer timer; /* the earliest deadline, lazily: see conn_deadline.c */
	uint64_t active_ns; /* last byte either way */
	uint64_t send_since_ns; /* last progress of the output */
	/*
	 * The deadline to connect, for a handshake, for the first byte (what is left of it while
	 * paused), or to linger, as the state says; 0: none.
	 */
	uint64_t until_ns;

	uint64_t bytes_in;
	uint64_t bytes_out;
	struct connect *connect; /* while CONNECTING */
	struct rl_addr peer;

	uint32_t idle_ms; /* these three: DEADLINE_NONE is none */
	uint32_t stall_ms;
	uint32_t linger_ms;

	uint8_t state; /* enum conn_state */
	uint8_t sqe_flags; /* IOSQE_FIXED_FILE or 0 */
	bool is_unix : 1;
	bool outbound : 1;
	bool opened : 1; /* RL_MSG_OPEN was delivered */
	bool auto_pause : 1;
	bool paused : 1; /* by rl_conn_pause() */
	bool again : 1; /* RL_MSG_RECV was answered -EAGAIN */
	bool same : 1; /* it was the last time: what is pending comes again as it is */
	bool held : 1; /* output was above the high mark at the last flush */
	bool redeliver : 1; /* what is pending comes again without new bytes */
	bool starving : 1; /* waited for a buffer: goes to the end of the parked */
	bool eof_seen : 1;
	bool final_delivered : 1; /* what was pending came once more after the last byte */
	bool eof_delivered : 1;
	bool writable_owed : 1;
	bool shut_wanted : 1; /* rl_conn_shutdown_write() */
	bool shut_sent : 1;
	bool poll_first : 1; /* the last send answered -EAGAIN: wait for room first */
	bool stalled : 1; /* the send was cancelled, to see what the peer has taken of it */
	bool abort : 1; /* rl_conn_abort() */
	bool reset : 1; /* close with RST */
	bool cut : 1; /* by the drain */
	bool peer_counted : 1; /* in net->peers */
	bool suspect : 1; /* the send was cancelled because memory is short */
	bool overdue : 1; /* the send was cancelled because output waits for too long */
	bool records_wait : 1; /* starved is on net->tls_starved */
	bool put_off : 1; /* RL_MSG_RECV was answered -EAGAIN, and a notice was owed */
	bool still : 1; /* the first-byte deadline stands still: until_ns is what is left of it */
	int16_t input_error; /* why input ended, 0: it did not, or by FIN */
	uint32_t held_bytes; /* capacity of the output's chunks: what it takes from the pool */
	struct outlet *outlet; /* those who wait to forward to it; NULL: nobody ever did */
};

_Static_assert(sizeof(struct conn) <= 336, "an idle connection and its actor stay below 512 bytes");

/* conn.c */

/*
 * A connection and its actor, on a socket that is open. Takes @fd on success. 0, or what
 * rli_actor_spawn() said, or -ENOBUFS.
 */
struct conn_setup {
	const struct rl_actor_def *def;
	void *arg;
	const struct rl_conn_options *options;
	int fd;
	uint8_t sqe_flags;
	bool is_unix;
	bool outbound;
	const struct tls_context *tls; /* NULL: plain */
	const char *server_name; /* outbound TLS: whom to expect */
	uint16_t port; /* outbound TLS: where, in network order */
};

int rli_conn_create(struct rl_shard *shard, const struct conn_setup *setup, struct conn **out);

/* 0, or -EINVAL after one ERROR line that names the option, its value and its range. */
int rli_conn_options_check(const struct rl_conn_options *options, const struct log *log);

/*
 * Deliver what waits for a connection's actor, up to @budget messages, and begin its end if
 * decided.
 */
void rli_conn_run(struct rl_actor *actor, uint32_t budget);

/* The stream is usable from now on. */
void rli_conn_opened(struct conn *conn);

/* The kernel failed the stream with @error: end without flushing. */
void rli_conn_failed(struct conn *conn, int error);

/* End without flushing for @reason, also when a graceful end is under way. */
void rli_conn_cut(struct conn *conn, enum rl_reason reason, int error);

void rli_conn_mark(struct conn *conn);

/* How far it is, for a log line: " open", " lingering"; "" of NULL, an actor without a stream. */
const char *rli_conn_state_name(const struct conn *conn);

/* conn_recv.c */

/* Receiving is armed, parked or cancelled as the state wants it. False: come again. */
bool rli_conn_recv_flush(struct conn *conn);

/* Too much output waits, its own or where it forwards to: it gets no more input. */
bool rli_conn_recv_is_held(const struct conn *conn);

/* Take the oldest lent buffer off the list; there is one. */
uint16_t rli_conn_lent_pop(struct conn *conn);

/* conn_input.c */

/* What was received and not taken yet, ciphertext with TLS; empty: nothing. And take some of it. */
struct slice rli_conn_input_front(const struct conn *conn);
void rli_conn_input_take(struct conn *conn, uint32_t bytes);

/* Something can be delivered; and deliver it. */
bool rli_conn_recv_is_due(const struct conn *conn);
void rli_conn_recv_deliver(struct conn *conn);

/* All input was delivered, and no more comes. */
bool rli_conn_recv_is_over(const struct conn *conn);
void rli_conn_recv_deliver_end(struct conn *conn);

/* WRITABLE is being delivered: what was answered -EAGAIN comes again right after it. */
void rli_conn_recv_again(struct conn *conn);

/* Forget all input that was not delivered. */
void rli_conn_recv_discard(struct conn *conn);

/* Arm connections that waited for a buffer, as far as there are any. False: the queue was full. */
bool rli_conn_recv_unpark(struct rl_shard *shard);

/* conn_send.c */

/* Submit what is queued unless a send is in flight. False: come again. */
bool rli_conn_send_flush(struct conn *conn);

/*
 * Queue @len bytes, not more than the cap: 0, RL_CONN_SEND_HIGH or -EAGAIN, as from rl_conn_send().
 */
int rli_conn_send_queue(struct conn *conn, const void *data, size_t len);

/*
 * Below the low mark, and with room for what was refused: who tries again then isn't refused again.
 */
bool rli_conn_send_is_low(const struct conn *conn);

bool rli_conn_send_is_writable(const struct conn *conn);
void rli_conn_send_deliver_writable(struct conn *conn);

/* @more bytes of send memory are within the connection's share of it. */
bool rli_conn_send_fits_share(const struct conn *conn, size_t more);

/* Forget all output; the send is IDLE. */
void rli_conn_send_discard(struct conn *conn);

/* Tell those who wait for send memory that some came home. False: come again. */
bool rli_conn_send_feed(struct rl_shard *shard);

/* It waits for send memory no more. */
void rli_conn_send_forget(struct conn *conn);

/* Tell all of them: the host may have memory again (TIMER_STARVED). */
void rli_conn_send_retry(struct rl_shard *shard);

/* conn_forward.c */

/* Those who wait to forward go on, if they may; some in each turn. False: come again. */
bool rli_conn_forward_flush(struct conn *conn);

/* conn_evict.c */

/* Its send is cancelled, so that what the peer has taken of it shows: see rli_conn_looked(). */
void rli_conn_look(struct conn *conn);

/* The result of a send that was cancelled to know what the peer takes. */
void rli_conn_looked(struct conn *conn, int32_t res);

/* Enough to be looked after; at the end any is, since its actor can't do that any more. */
static inline bool
conn_output_is_much(const struct conn *conn)
{
	return conn->out_bytes > conn->shard->config->send_low_bytes ||
	       conn->state == CONN_FLUSHING;
}

/* When its first byte will have waited for too long; UINT64_MAX: it does not wait. */
uint64_t rli_conn_overdue_ns(const struct conn *conn);

/* It holds bytes that have arrived, more than before or not for so long: behind all others. */
void rli_conn_hoard(struct conn *conn);

/* A byte moved, or may again: idling begins anew, and what it holds is no old hoard. */
static inline void
conn_moved(struct conn *conn)
{
	conn->active_ns = conn->shard->now_ns;
	if (conn->arrived_first != NULL) {
		rli_conn_hoard(conn);
	}
}

/*
 * There is no memory for what @conn has received: the worst of those who hold such bytes goes,
 * unless that is @conn. False: there is nobody else, or nobody is to be evicted; logged.
 */
bool rli_conn_evict_hoard(const struct conn *conn);

/* Is memory so short that somebody has to go? Phase 5; and the timer that comes of it. */
void rli_conn_evict_flush(struct rl_shard *shard);
void rli_conn_evict_due(struct rl_shard *shard);

/* conn_close.c */

/* The actor's end was decided: begin the stream's. */
void rli_conn_close_begin(struct conn *conn);

/* Take the end a step further. False: the submission queue was full. */
bool rli_conn_close_flush(struct conn *conn);

/* OPEN: the FIN that rl_conn_shutdown_write() asked for. False: the submission queue was full. */
bool rli_conn_shutdown_flush(struct conn *conn);

/* conn_deadline.c */

#define DEADLINE_NONE UINT32_MAX

/* What was chosen, or else is configured (0: not chosen), in ms rounded up, or DEADLINE_NONE. */
uint32_t rli_conn_deadline_ms(int64_t chosen_ns, int64_t configured_ns);

/* Each deadline that the connection keeps: the option's, or else the configuration's. */
void rli_conn_deadline_init(struct conn *conn, const struct rl_conn_options *options);

/* @ms after @since_ns; UINT64_MAX: never. */
static inline uint64_t
conn_deadline_after(uint64_t since_ns, uint32_t ms)
{
	return ms == DEADLINE_NONE ? UINT64_MAX : since_ns + ms * UINT64_C(1000000);
}

/* Look at the deadlines no later than at @deadline_ns. */
void rli_conn_deadline_by(struct conn *conn, uint64_t deadline_ns);

/* The first ones of an open connection. */
void rli_conn_deadline_start(struct conn *conn, int64_t first_byte_timeout_ns);

/* Something that kept a deadline from running has changed. */
void rli_conn_deadline_update(struct conn *conn);

/* Input is paused, held or put off, or no more: the first-byte deadline stands still, or not. */
void rli_conn_deadline_sync(struct conn *conn);

/* No byte is known to have gone either way for idle_ms, and that is to be judged. */
bool rli_conn_is_idle(const struct conn *conn);

/* The deadline that @reason names has passed: a line says so, and the connection is cut. */
void rli_conn_deadline_passed(struct conn *conn, enum rl_reason reason);

/* The timer came (TIMER_CONN). */
void rli_conn_deadline_due(struct timer *timer);

/* TLS, and its handshake is not done. */
static inline bool
conn_is_shaking(const struct conn *conn)
{
	return conn->tls != NULL && !conn->tls->session.ready;
}

/* Its handshake has a step to do, in one of the turns after the next. */
static inline bool
conn_is_in_line(const struct conn *conn)
{
	return conn->tls != NULL && list_is_linked(&conn->tls->waiting);
}

/* TLS, and output waits for the rest of a message that has begun to come. */
static inline bool
conn_is_held_up(const struct conn *conn)
{
	return conn->tls != NULL && conn->tls->held_up;
}

/* conn_open.c */

/* A socket that was told all that @options say. The descriptor, or a negative errno. */
int rli_conn_socket(const struct rl_shard *shard, const struct url *url,
		    const struct rl_tcp_options *options);

/* CONNECTING: ask the resolver where the host is; and its answer is there. */
void rli_conn_connect_ask(struct conn *conn);
void rli_conn_resolved(struct control *answer);

/* conn_connect.c */

/*
 * CONNECTING: whatever is next, above all the connect, linked to its deadline. False: the
 * submission queue was full.
 */
bool rli_conn_connect_flush(struct conn *conn);

/* CONNECTING: its timer came; it is too late, or time to try again. */
void rli_conn_connect_due(struct conn *conn);

/* Give back what the connect needed; false while somebody else still holds some of it. */
bool rli_conn_connect_release(struct conn *conn);

/* CONNECTING: make the connect end soon. False: the submission queue was full. */
bool rli_conn_connect_cancel(struct conn *conn);

#endif
