/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * liburing's header, and what the one of Debian 12 (liburing 2.3, Linux 6.1 headers) lacks, each
 * with the kernel that brought it. The only place for such constants.
 */
#ifndef RINGLINE_SHARD_URING_COMPAT_H
#define RINGLINE_SHARD_URING_COMPAT_H

#include <liburing.h>

#ifndef IORING_SETUP_NO_SQARRAY /* Linux 6.6 */
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

#ifndef IORING_ACCEPT_POLL_FIRST /* Linux 6.10 */
#define IORING_ACCEPT_POLL_FIRST (1U << 2)
#endif

#ifndef IORING_FEAT_RECVSEND_BUNDLE /* Linux 6.10 */
#define IORING_FEAT_RECVSEND_BUNDLE (1U << 14)
#endif

#ifndef IORING_FEAT_MIN_TIMEOUT /* Linux 6.12 */
#define IORING_FEAT_MIN_TIMEOUT (1U << 15)
#endif

/* struct io_uring_getevents_arg with min_wait_usec where 6.1 has padding: Linux 6.12. */
struct uring_getevents_arg {
	uint64_t sigmask;
	uint32_t sigmask_sz;
	uint32_t min_wait_usec;
	uint64_t ts;
};

_Static_assert(sizeof(struct uring_getevents_arg) == sizeof(struct io_uring_getevents_arg),
	       "min_wait_usec took the place of padding");

#endif
