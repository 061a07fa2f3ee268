/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The first of three doors to the outside (the others are shard/ring.h and net/sys.h): clock,
 * random numbers, memory and eventfds. host_linux.c is the real one; the simulator links its own in
 * its place, with a virtual clock and a seeded generator. Nothing else in src/ reads a clock, takes
 * random numbers or asks the system for memory.
 */
#ifndef RINGLINE_BASE_HOST_H
#define RINGLINE_BASE_HOST_H

#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC. */
uint64_t rli_host_now_ns(void);

/* Random numbers that a peer can't guess (getrandom(2)); not for the data path. */
uint64_t rli_host_random(void);

/*
 * Reserve address space of @bytes (a multiple of the page size) without memory behind it; NULL when
 * there is none. rli_host_pages_commit() makes a part of it usable, zeroed.
 */
void *rli_host_pages_reserve(size_t bytes);

/*
 * 0 or -ENOMEM. @at and @bytes are multiples of the page size, inside one reservation, and no page
 * is committed twice.
 */
int rli_host_pages_commit(void *at, size_t bytes);

/* Give a whole reservation back, with the size that was asked for. NULL does nothing. */
void rli_host_pages_release(void *at, size_t bytes);

/* Bytes committed at the moment, over all reservations: for tests and for the start line. */
size_t rli_host_pages_committed(void);

/* A non-blocking, close-on-exec eventfd at zero, or a negative errno. */
int rli_host_eventfd_open(void);

/*
 * Add 1. Async-signal-safe; 0 or a negative errno (never -EAGAIN: a full counter wakes all the
 * same).
 */
int rli_host_eventfd_write(int fd);

/* Read and reset, without blocking; for descriptors that no ring reads. */
void rli_host_eventfd_drain(int fd);

void rli_host_eventfd_close(int fd);

#endif
