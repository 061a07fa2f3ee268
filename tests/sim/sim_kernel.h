/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The simulated kernel, behind the three seams: byte-stream sockets, descriptors, fixed-file
 * tables, provided buffer rings, pending requests and timeouts.
 *
 * It imitates what Linux 6.x was measured to do, the awkward parts above all: a request holds its
 * file, so closing a descriptor under an armed receive sends no FIN; poll-driven completions
 * appear only at an enter with GETEVENTS, at most 20 (or as many as were waited for) at a time; a
 * multishot that meets a full completion queue or an empty buffer ring ends; a cancel's
 * completion and its target's come in either order, and the target may succeed all the same; a
 * blocked send that is cancelled reports what it had sent; RST overtakes what was not yet
 * delivered.
 *
 * Memory discipline: what an SQE points to is read when it is submitted, what a send points to is
 * read as late as the kernel may read it, a receive buffer holds a pattern (and is poisoned for
 * AddressSanitizer) as long as it is the kernel's. An op of the product that is freed or reused too
 * early thus changes the byte stream, and the run is red.
 *
 *	sim_sock.c     sockets, the network between them, what remote peers do
 *	sim_file.c     files, descriptors, eventfds, addresses
 *	sim_op.c       the life of a request: issue, wait, trigger, complete, cancel, linked timeout
 *	sim_op_net.c   what each request does
 *	sim_accept.c   accepting, by request and by call
 *	sim_buffers.c  provided buffer rings
 *	sim_message.c  messages from ring to ring
 *	sim_ring.c     the queues: shard/ring.h
 */
#ifndef RINGLINE_SIM_KERNEL_H
#define RINGLINE_SIM_KERNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"
#include "net/url.h"
#include "shard/ring.h"

#include "sim_world.h"

#define SK_FD_FIRST	100 /* plain descriptors start here: a slot is never taken for one */
#define SK_FDS_MAX	1024
#define SK_BUFFERS	32768
#define SK_OP_BUCKETS	256
#define SK_REFUSALS_MAX 300
#define SK_MESSAGES_MAX 64 /* on their way from ring to ring */
#define SK_TASK_WORK	20 /* pieces of task work per enter under DEFER_TASKRUN */

enum sk_kind {
	SK_SOCK,
	SK_EVENTFD,
	SK_RING,
};

/* What a descriptor or a fixed-file slot refers to. */
struct sk_file {
	struct list waiters; /* struct sk_op, WAITING */
	uint32_t refs; /* descriptors, slots, requests in flight, remote peers, backlogs */
	uint8_t kind;
	uint64_t counter; /* of an eventfd */
	struct ring *ring; /* NULL: it was closed */
};

struct sk_bytes {
	uint8_t *data;
	uint32_t cap;
	uint32_t head;
	uint32_t len;
};

enum sk_state {
	SK_NEW,
	SK_LISTEN,
	SK_SYN_SENT,
	SK_OPEN,
	SK_DEAD, /* reset, refused, timed out, disconnected */
};

/* Who every Unix peer is. */
#define SIM_PEER_PID 4711
#define SIM_PEER_UID 1000
#define SIM_PEER_GID 100

struct sk_sock {
	struct sk_file file; /* first: a sock is a file */
	struct list_node node; /* all of the world's */
	struct sk_sock *peer; /* the other end; lives as long as this one */
	struct sk_bytes snd; /* taken from the writer, not yet at the peer */
	struct sk_bytes rcv;
	union url_sockaddr local;
	union url_sockaddr remote;
	socklen_t local_len;
	socklen_t remote_len;
	uint8_t state;
	bool is_unix;
	bool fin_queued; /* the write side was shut: FIN after what is in snd */
	bool fin_sent; /* the peer has it */
	bool fin_seen; /* the peer's has come, after all its bytes */
	bool rcv_shut;
	bool rst_queued;
	bool black_hole; /* nobody answers its SYN */
	bool syn_waits; /* its SYN found the backlog full */
	bool was_reset; /* RST came, or an error ended it */
	bool disturbed; /* a fault was injected: it may end badly through nobody's mistake */
	bool reset_by_us; /* RST was sent from this end */
	int error; /* told once, to whoever asks first */
	uint32_t active; /* place in the active list + 1; 0: the network has nothing to do for it */
	uint32_t tag; /* the harness's: which link it belongs to */
	struct list backlog; /* of a listener: struct sk_sock by backlog_node */
	struct list_node backlog_node;
	uint32_t backlog_len;
	uint32_t backlog_max;
	uint64_t taken_bytes; /* from the writer */
	uint64_t read_bytes; /* by the reader */
};

enum sk_op_state {
	SK_OP_WAITING, /* on its file's waiters, or for time to pass */
	SK_OP_TRIGGERED, /* on its ring's work list */
	SK_OP_FINISHED, /* its last completion was posted */
};

/* One request. It lives until its last completion was reaped: user_data is in use so long. */
struct sk_op {
	struct list_node node; /* ring->ops */
	struct list_node place; /* file->waiters or ring->work, by state */
	struct sk_op *hash_next;
	struct ring *ring;
	struct sk_file *file;
	struct sk_op *link; /* a connect's timeout, a timeout's connect */
	struct io_uring_sqe sqe;
	struct iovec *iovs; /* SENDMSG: copied at submit */
	uint32_t iovs_count;
	uint64_t user_data;
	const void *owner_mark; /* what the owner's memory said when it was armed */
	uint64_t deadline_ns;
	uint64_t done_bytes;
	uint64_t len_bytes;
	union url_sockaddr addr;
	uint8_t state;
	bool cancelled;
	bool res_known; /* executed; the completion is late */
	bool started;
	int32_t res;
	uint32_t unreaped;
};

struct sk_cqe {
	struct ring_cqe cqe;
	struct sk_op *op;
};

enum sk_buffer_place {
	SK_BUFFER_NOWHERE, /* not yet published */
	SK_BUFFER_HOME,
	SK_BUFFER_LENT,
};

/* The shadow of one provided buffer. */
struct sk_buffer {
	uint64_t addr;
	uint32_t len;
	uint32_t generation;
	uint8_t place;
};

struct sk_group {
	struct io_uring_buf_ring *ring;
	struct sk_buffer *buffers;
	uint32_t entries;
	uint32_t ids; /* buffer ids are below this */
	uint16_t head; /* the kernel's */
	uint16_t seen; /* entries before this were looked at */
	uint32_t home;
	bool registered;
};

struct ring {
	uint32_t index;
	int fd;
	uint32_t features;
	struct io_uring_sqe *sqes;
	uint32_t sq_entries;
	uint32_t sq_head;
	uint32_t sq_tail;
	uint32_t sq_limit; /* less than sq_entries: somebody else used the rest */
	struct sk_cqe *cq;
	uint32_t cq_entries;
	uint32_t cq_head;
	uint32_t cq_tail;
	struct sk_cqe *overflow;
	uint32_t overflow_len;
	uint32_t overflow_cap;
	struct sk_file **files;
	uint32_t files_max;
	struct list ops;
	struct list work;
	uint32_t work_len;
	struct sk_op *buckets[SK_OP_BUCKETS];
	struct sk_group group;
	struct ring_wait wait;
	uint64_t wake_ns; /* asleep: no longer than this */
	uint64_t min_ns;
	bool asleep;
	bool was_late; /* the last enter held work back */
	bool disabled; /* nothing may be submitted yet */
	bool detached;
	bool over; /* its thread has ended */
	uint32_t files_left; /* slots that were still taken when the ring was detached */
	uint32_t
		refusals; /* completions with an error, one after the other, since the last sleep */
	uint64_t enters;
	uint64_t submitted;
	uint64_t worked; /* pieces of task work that ran */
	uint64_t reaped;
};

/* On its way to a ring. */
struct sk_message {
	struct ring *to;
	uint64_t user_data;
	int32_t res;
};

#define SK_RINGS_MAX 16

struct sk_kernel {
	struct list socks;
	struct sk_sock **active;
	uint32_t active_len;
	uint32_t active_cap;
	uint32_t socks_count;
	struct sk_file *fds[SK_FDS_MAX];
	uint32_t fds_open;
	uint32_t fds_limit;
	uint32_t port_next;
	struct ring *rings[SK_RINGS_MAX];
	uint32_t rings_open;
	struct sk_message messages[SK_MESSAGES_MAX];
	uint32_t messages_len;
	uint32_t rcv_cap; /* of sockets made from now on */
	uint32_t snd_cap;
	struct list timeouts; /* linked timeouts that run: struct sk_op by place */
	bool checks_owners; /* user_data is the address of a struct op */
	bool dropped; /* a completion was dropped: every enter says -EBADR */
	bool canary; /* the network changes a byte now and then: the run must fail */
	uint32_t tag; /* of sockets made from now on */
	uint64_t accept_gone_until_ns; /* no accept succeeds before, */
	int32_t accept_gone_res; /* but says this */
	/* the harness's: a fault was injected into the connection with this tag */
	void (*on_disturb)(uint32_t tag);
};

extern struct sk_kernel sk;

void sk_kernel_init(void);
/* Everything must be closed by now: fails the run otherwise, unless @forgive. */
void sk_kernel_fini(bool forgive);

/* ---- sim_file.c */
void sk_file_init(struct sk_file *file, enum sk_kind kind);
/* One that is no socket. */
struct sk_file *sk_file_new(enum sk_kind kind);
void sk_file_get(struct sk_file *file);
void sk_file_put(struct sk_file *file);
/* Move the waiting requests that could go on now to their rings. */
void sk_file_wake(struct sk_file *file);
/* A plain descriptor for @file, whose reference it takes; -EMFILE (and no reference taken). */
int sk_fd_install(struct sk_file *file);
/* NULL: not open. */
struct sk_file *sk_fd_file(int fd);
int sk_fd_close(int fd);
bool sk_addr_equal(const union url_sockaddr *a, const union url_sockaddr *b);
/* 0 for Unix. */
uint16_t sk_addr_port(const union url_sockaddr *addr);
void sk_addr_tcp(union url_sockaddr *addr, socklen_t *len, uint16_t port);
int sk_eventfd_open(void);
int sk_eventfd_write(int fd);
void sk_eventfd_drain(int fd);

/* ---- sim_sock.c: the calls that remote peers make, and that the rest is built on */
struct sk_sock *sk_socket(bool is_unix);
int sk_bind(struct sk_sock *sock, const union url_sockaddr *addr, socklen_t len);
void sk_listen(struct sk_sock *sock, uint32_t backlog);
bool sk_is_listened(const union url_sockaddr *addr);
/* Begin to connect; 0 or a negative errno at once. Ends in SK_OPEN or SK_DEAD. */
int sk_connect(struct sk_sock *sock, const union url_sockaddr *addr, socklen_t len);
/* The next of the backlog with one reference, or NULL. */
struct sk_sock *sk_accept(struct sk_sock *listener);
/* Bytes, 0 at the end of the stream (read), -EAGAIN, or the socket's error. */
int64_t sk_write(struct sk_sock *sock, const void *data, uint32_t len);
int64_t sk_read(struct sk_sock *sock, void *data, uint32_t len);
int sk_shutdown(struct sk_sock *sock, int how);
/* RST to the peer, and the end of this side. */
void sk_reset(struct sk_sock *sock);
/* An error of the network: this side is dead, the peer learns it when it writes. */
void sk_break(struct sk_sock *sock, int error);
/* A listener is shut down by somebody: from here on an accept is -EINVAL. */
void sk_listener_break(struct sk_sock *listener);
/* The last reference went: FIN or RST. Called by sk_file_put(). */
void sk_sock_release(struct sk_sock *sock);
bool sk_readable(const struct sk_sock *sock);
bool sk_writable(const struct sk_sock *sock);
uint32_t sk_room(const struct sk_sock *sock);
/* Both directions' endpoints: was a fault injected into this connection? */
bool sk_is_disturbed(const struct sk_sock *sock);
void sk_disturb(struct sk_sock *sock);
/* How many things the network and messages between rings could do now. */
uint32_t sk_net_ready(void);
/* One of them, chosen at random; false: there is nothing to do. */
bool sk_net_step(void);
void sk_bytes_free(struct sk_bytes *bytes);

static inline struct sk_sock *
sk_file_sock(struct sk_file *file)
{
	return file->kind == SK_SOCK ? (struct sk_sock *)(void *)file : NULL;
}

/* ---- sim_op.c */
/* The kernel takes @sqe; @next is the SQE behind it, when that is a linked timeout. */
void sk_op_issue(struct ring *ring, const struct io_uring_sqe *sqe,
		 const struct io_uring_sqe *next);
void sk_op_trigger(struct sk_op *op);
/* Do a piece of task work. */
void sk_op_run(struct sk_op *op);
/* Could it go on if it were tried now? */
bool sk_op_is_ready(const struct sk_op *op);
/* The last completion. */
void sk_op_finish(struct sk_op *op, int32_t res, uint32_t flags);
/* One that is not the last. */
void sk_op_post_more(struct sk_op *op, int32_t res, uint32_t flags);
/* Its last completion was reaped. */
void sk_op_free(struct sk_op *op);
/* A completion in @ring that no request of its own asked for. */
void sk_op_post_alien(struct ring *ring, uint64_t user_data, int32_t res);
/* Drop a request without a completion: its ring goes. */
void sk_op_drop(struct sk_op *op);
struct sk_op *sk_op_find(struct ring *ring, uint64_t user_data);
/* Linked timeouts that are due. */
void sk_timeouts_run(void);
uint64_t sk_timeouts_next_ns(void);

/* ---- sim_op_net.c: try to go on; false: it has to wait (or is already on the work list) */
bool sk_try(struct sk_op *op);
/* @op was cancelled and nothing stands in the way of ending it. */
void sk_end_cancelled(struct sk_op *op);
/* Copy from the product's memory what an SQE points to. */
void sk_capture(struct sk_op *op);

/* ---- sim_message.c */
/* A file that names @ring, with one reference. */
struct sk_file *sk_ring_file(struct ring *ring);
void sk_ring_file_close(struct ring *ring);
/* As sk_try(). */
bool sk_try_msg_ring(struct sk_op *op);
/* The @nth message that is on its way arrives; false: there are not so many. */
bool sk_message_step(uint32_t nth);
/* If the seed says so, @ring is woken by nobody. */
void sk_message_from_nowhere(struct ring *ring);
/* A message to @to is on its way, or its sender will learn that it failed. */
bool sk_wake_is_on_its_way(const struct ring *to);

/* ---- sim_accept.c */
bool sk_try_accept(struct sk_op *op);
/* accept4(2) on a socket that does not block. */
int sk_accept_plain(struct sk_sock *listener, struct sockaddr *peer, socklen_t *len);

/* ---- sim_buffers.c */
int sk_group_register(struct sk_group *group, void *memory, uint32_t entries);
void sk_group_unregister(struct sk_group *group);
/* Look at what was published since the last look. */
void sk_group_scan(struct sk_group *group);
bool sk_group_is_empty(struct sk_group *group);
/* Take the next buffer; there must be one. */
struct sk_buffer *sk_group_take(struct sk_group *group, uint16_t *id);

/* ---- sim_ring.c */
bool sk_cq_has_room(const struct ring *ring);
void sk_cq_post(struct ring *ring, struct sk_op *op, int32_t res, uint32_t flags);
uint32_t sk_cq_count(const struct ring *ring);
/* Completions are there, or would be after another enter. */
bool sk_ring_is_busy(const struct ring *ring);
/* Asleep in the kernel: when that ends if nothing happens; UINT64_MAX: never, or it is awake. */
uint64_t sk_ring_next_ns(const struct ring *ring);
/* Asleep in the kernel, and something would end that now. */
bool sk_ring_is_wakeable(const struct ring *ring);
/* End the sleep: what a waiting thread does on its way out. */
void sk_ring_wake(struct ring *ring);

#endif
