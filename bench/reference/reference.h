/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * reference - the echo server that a runtime is measured against: what this kernel allows with no
 * runtime at all. One thread, three ways to serve, no bounds and no deadlines: it trusts its
 * clients and is no example of a server.
 *
 * serve_multi is the limit: multishot receive into shared buffers, one gathered send per connection
 * and turn. serve_single parks a buffer per connection; serve_epoll is what io_uring replaces.
 * Each returns when reference_stopping() is true; the signal handler ends the wait by shutting
 * the listener down.
 */
#ifndef RINGLINE_BENCH_REFERENCE_H
#define RINGLINE_BENCH_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	REFERENCE_CONNS_MAX = 65536
};

struct reference_options {
	bool copy; /* multi: copy out and give the receive buffer back at once, as a runtime must */
	unsigned wait_nr;
	unsigned min_wait_us;
	uint32_t buf_size_bytes;
	unsigned buf_count;
};

struct reference_counters {
	uint64_t accepted;
	uint64_t bytes_in;
	uint64_t recvs;
	uint64_t sends;
	uint64_t sends_gathered; /* of more than one piece */
	uint64_t sends_short;
	uint64_t enobufs_parks;
	uint64_t rearms; /* a multishot receive that ended for no reason of ours */
	uint64_t cqes;
	uint64_t cq_overflows;
	uint64_t turns;
	uint64_t enters; /* io_uring_enter or epoll_wait */
	uint64_t syscalls; /* all of those that serving needs */
};

bool reference_stopping(void);

void serve_multi(const struct reference_options *options, int listen_fd,
		 struct reference_counters *counters);
void serve_single(const struct reference_options *options, int listen_fd,
		  struct reference_counters *counters);
void serve_epoll(const struct reference_options *options, int listen_fd,
		 struct reference_counters *counters);

#endif
