/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The sleep handshake; its proof is at the head of sleep.h. Invariant: between rli_sleep_begin()
 * and rli_sleep_end() a push by anybody else is followed by a write to the eventfd.
 */
#include "shard/sleep.h"

#include "base/host.h"

int
rli_sleep_init(struct sleep *sleep)
{
	int fd = rli_host_eventfd_open();

	atomic_init(&sleep->sleeping, 0);
	sleep->eventfd = fd;
	return fd < 0 ? fd : 0;
}

void
rli_sleep_fini(struct sleep *sleep)
{
	if (sleep->eventfd >= 0) {
		rli_host_eventfd_close(sleep->eventfd);
		sleep->eventfd = -1;
	}
}

void
rli_sleep_begin(struct sleep *sleep)
{
	/*
	 * pairs with: rli_sleep_wake(); seq_cst on both sides orders this before our look at the
	 * inbox
	 */
	atomic_store_explicit(&sleep->sleeping, 1, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
}

void
rli_sleep_end(struct sleep *sleep)
{
	/*
	 * pairs with: rli_sleep_wake(); a sender that still sees 1 writes the eventfd needlessly,
	 * which costs one spurious turn and nothing else.
	 */
	atomic_store_explicit(&sleep->sleeping, 0, memory_order_relaxed);
}

bool
rli_sleep_wake(struct sleep *sleep)
{
	/* pairs with: rli_sleep_begin(); orders the caller's push before our look at sleeping */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&sleep->sleeping, memory_order_relaxed) == 0 ||
	    atomic_exchange_explicit(&sleep->sleeping, 0, memory_order_seq_cst) == 0) {
		return false;
	}
	/*
	 * the counter can't overflow: the shard reads it to zero, and only one writer owns a
	 * wake-up
	 */
	(void)rli_host_eventfd_write(sleep->eventfd);
	return true;
}
