/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The sleep handshake; its proof is at the head of sleep.h. Invariant: between rli_sleep_begin()
 * and rli_sleep_end() a push by anybody else is followed by a wake-up.
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
	 * pairs with: rli_sleep_claim(); the fences of both sides order this before our last look
	 * at what was pushed
	 */
	atomic_store_explicit(&sleep->sleeping, 1, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
}

void
rli_sleep_end(struct sleep *sleep)
{
	/*
	 * pairs with: rli_sleep_claim(); a sender that still sees 1 wakes needlessly, which costs
	 * one spurious turn and nothing else. A shard that did not sleep leaves the line alone:
	 * senders read it.
	 */
	if (atomic_load_explicit(&sleep->sleeping, memory_order_relaxed) != 0) {
		atomic_store_explicit(&sleep->sleeping, 0, memory_order_relaxed);
	}
}

bool
rli_sleep_claim(struct sleep *sleep)
{
	/*
	 * pairs with: rli_sleep_begin(); the exchange also sees all that the shard wrote before its
	 * sleep, the ring that a wake-up is aimed at among it
	 */
	return atomic_load_explicit(&sleep->sleeping, memory_order_relaxed) != 0 &&
	       atomic_exchange_explicit(&sleep->sleeping, 0, memory_order_seq_cst) != 0;
}

void
rli_sleep_interrupt(struct sleep *sleep)
{
	/*
	 * the counter can't overflow: the shard reads it to zero, and only who owns a wake-up, or
	 * the system's end, writes
	 */
	(void)rli_host_eventfd_write(sleep->eventfd);
}

bool
rli_sleep_wake(struct sleep *sleep)
{
	/* pairs with: rli_sleep_begin(); orders the caller's push before our look at sleeping */
	atomic_thread_fence(memory_order_seq_cst);
	if (!rli_sleep_claim(sleep)) {
		return false;
	}
	rli_sleep_interrupt(sleep);
	return true;
}
