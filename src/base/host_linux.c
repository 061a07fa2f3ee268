/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The real host: Linux system calls, nothing else.
 *
 * A reservation carries one page of its own in front of what the caller sees: where it is and how
 * much of it is committed. The reservations form a list under a lock, the only one that shards
 * share; it is taken when memory is reserved, committed and released, all of which take the
 * kernel's lock on the address space anyway, and never when memory is used.
 */
#include "base/host.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"

struct host_reservation {
	struct list_node node;
	uint8_t *base; /* what the caller sees */
	size_t bytes;
	size_t committed_bytes;
};

static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list host_reservations = {
	.head = { .next = &host_reservations.head, .prev = &host_reservations.head },
};

/* A plain sum: it orders nothing, so its accesses are relaxed and have no partner. */
static _Atomic size_t host_committed_bytes;

static size_t
host_page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Under the lock. The newest are at the front, and they are the ones that still grow. */
static struct host_reservation *
host_reservation_find(const uint8_t *at, size_t bytes)
{
	struct list_node *node;

	for (node = host_reservations.head.next; node != &host_reservations.head;
	     node = node->next) {
		struct host_reservation *found = list_entry(node, struct host_reservation, node);

		if (at >= found->base && at + bytes <= found->base + found->bytes) {
			return found;
		}
	}
	return NULL;
}

uint64_t
rli_host_now_ns(void)
{
	struct timespec now;
	int rc = clock_gettime(CLOCK_MONOTONIC, &now);

	RL_ASSERT(rc == 0);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t
rli_host_random(void)
{
	uint64_t number;
	ssize_t got;

	do {
		got = getrandom(&number, sizeof(number), 0);
	} while (got < 0 && errno == EINTR);

	/*
	 * Only a filter that forbids the call gets here: better no process than a guessable number.
	 */
	if (got != (ssize_t)sizeof(number)) {
		rli_assert_failed("getrandom(2) is allowed", __FILE__, __LINE__);
	}
	return number;
}

void *
rli_host_pages_reserve(size_t bytes)
{
	size_t page = host_page_bytes();
	struct host_reservation *reservation;
	uint8_t *at;

	RL_ASSERT(bytes > 0);
	RL_ASSERT(bytes % page == 0);

	at = mmap(NULL, page + bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		  0);
	if (at == MAP_FAILED) {
		return NULL;
	}
	if (mprotect(at, page, PROT_READ | PROT_WRITE) != 0) {
		(void)munmap(at, page + bytes); /* a mapping as a whole: it can't fail */
		return NULL;
	}
	reservation = (struct host_reservation *)(void *)at;
	reservation->base = at + page;
	reservation->bytes = bytes;
	list_node_init(&reservation->node);

	(void)pthread_mutex_lock(&host_lock);
	list_push_front(&host_reservations, &reservation->node);
	(void)pthread_mutex_unlock(&host_lock);
	return reservation->base;
}

int
rli_host_pages_commit(void *at, size_t bytes)
{
	struct host_reservation *reservation;

	RL_ASSERT((uintptr_t)at % host_page_bytes() == 0);
	RL_ASSERT(bytes % host_page_bytes() == 0);

	if (mprotect(at, bytes, PROT_READ | PROT_WRITE) != 0) {
		return -ENOMEM;
	}
	(void)pthread_mutex_lock(&host_lock);
	reservation = host_reservation_find(at, bytes);
	RL_ASSERT(reservation != NULL);
	reservation->committed_bytes += bytes;
	RL_ASSERT(reservation->committed_bytes <= reservation->bytes);
	(void)pthread_mutex_unlock(&host_lock);

	atomic_fetch_add_explicit(&host_committed_bytes, bytes, memory_order_relaxed);
	return 0;
}

void
rli_host_pages_release(void *at, size_t bytes)
{
	struct host_reservation *reservation;
	size_t page = host_page_bytes();

	if (at == NULL) {
		return;
	}
	reservation = (struct host_reservation *)(void *)((uint8_t *)at - page);
	RL_ASSERT(reservation->base == at);
	RL_ASSERT(reservation->bytes == bytes);

	(void)pthread_mutex_lock(&host_lock);
	list_remove(&reservation->node);
	(void)pthread_mutex_unlock(&host_lock);

	atomic_fetch_sub_explicit(&host_committed_bytes, reservation->committed_bytes,
				  memory_order_relaxed);
	(void)munmap(reservation, page + bytes); /* a mapping as a whole: it can't fail */
}

size_t
rli_host_pages_committed(void)
{
	return atomic_load_explicit(&host_committed_bytes, memory_order_relaxed);
}

int
rli_host_eventfd_open(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	return fd >= 0 ? fd : -errno;
}

int
rli_host_eventfd_write(int fd)
{
	uint64_t one = 1;
	int errno_before =
		errno; /* a signal handler may call this between an error and its reader */
	ssize_t put;
	int rc;

	do {
		put = write(fd, &one, sizeof(one));
	} while (put < 0 && errno == EINTR);

	/* EAGAIN: the counter is full, so whoever waits for it is awake or about to be. */
	rc = put < 0 && errno != EAGAIN ? -errno : 0;
	errno = errno_before;
	return rc;
}

void
rli_host_eventfd_drain(int fd)
{
	uint64_t count;
	ssize_t got;

	/* One read takes the whole counter; nothing to read is as good as having read it. */
	do {
		got = read(fd, &count, sizeof(count));
	} while (got < 0 && errno == EINTR);
}

void
rli_host_eventfd_close(int fd)
{
	(void)close(fd); /* Linux gives the descriptor back whatever it answers */
}
