/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The simulated twin of host_linux.c: virtual time, seeded random numbers, memory that runs out
 * when the seed says so.
 *
 * Reservations are real address space without access, so that touching what was not committed ends
 * the run; what they cost is counted against what the product declared.
 */
#include "base/host.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/list.h"

#include "sim_host.h"
#include "sim_kernel.h"
#include "sim_poison.h"
#include "sim_world.h"

#define HOST_PAGE 4096

struct reservation {
	struct list_node node;
	uint8_t *base;
	size_t bytes;
	size_t committed_bytes;
};

static struct list host_reservations = {
	.head = { .next = &host_reservations.head, .prev = &host_reservations.head },
};
static size_t host_committed_bytes;
static uint64_t host_calls;
static uint64_t host_fail_call = UINT64_MAX;
static bool host_fail_on;
static uint64_t host_gone_until_ns;

uint64_t
rli_host_now_ns(void)
{
	sim_interleave();
	return sim_world.now_ns;
}

uint64_t
rli_host_random(void)
{
	return sim_host_random();
}

/* Is there memory this time? */
static bool
host_gives(void)
{
	uint64_t call = host_calls++;

	if (call == host_fail_call || (host_fail_on && call > host_fail_call)) {
		return false;
	}
	if (sim_world.healed) {
		return true;
	}
	if (sim_world.now_ns < host_gone_until_ns) {
		return false;
	}
	if (sim_fault(FAULT_MEMORY_GONE)) {
		host_gone_until_ns = sim_world.now_ns + sim_between(1, 50) * 100000;
		return false;
	}
	return !sim_fault(FAULT_MEMORY_ONCE);
}

void *
rli_host_pages_reserve(size_t bytes)
{
	struct reservation *reservation;
	void *at;

	sim_check(bytes > 0 && bytes % HOST_PAGE == 0, "a reservation of %zu bytes", bytes);
	if (!host_gives()) {
		return NULL;
	}
	at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	sim_check(at != MAP_FAILED, "the machine that simulates has no address space");
	reservation = calloc(1, sizeof(*reservation));
	reservation->base = at;
	reservation->bytes = bytes;
	list_node_init(&reservation->node);
	list_push_front(&host_reservations, &reservation->node);
	return at;
}

static struct reservation *
reservation_of(const uint8_t *at, size_t bytes)
{
	struct list_node *node;

	for (node = host_reservations.head.next; node != &host_reservations.head;
	     node = node->next) {
		struct reservation *found = list_entry(node, struct reservation, node);

		if (at >= found->base && at + bytes <= found->base + found->bytes) {
			return found;
		}
	}
	sim_fail("memory was committed or released that was not reserved");
}

int
rli_host_pages_commit(void *at, size_t bytes)
{
	struct reservation *reservation = reservation_of(at, bytes);

	sim_check((uintptr_t)at % HOST_PAGE == 0 && bytes % HOST_PAGE == 0,
		  "a commit that is not of whole pages");
	if (!host_gives()) {
		return -ENOMEM;
	}
	sim_check(mprotect(at, bytes, PROT_READ | PROT_WRITE) == 0,
		  "the machine that simulates has no memory");
	reservation->committed_bytes += bytes;
	host_committed_bytes += bytes;
	sim_check(reservation->committed_bytes <= reservation->bytes,
		  "INV-10: more memory was committed than reserved");
	return 0;
}

void
rli_host_pages_release(void *at, size_t bytes)
{
	struct reservation *reservation;

	if (at == NULL) {
		return;
	}
	reservation = reservation_of(at, bytes);
	sim_check(reservation->base == at && reservation->bytes == bytes,
		  "a part of a reservation was released");
	host_committed_bytes -= reservation->committed_bytes;
	sim_unpoison(at, bytes);
	(void)munmap(at, bytes);
	list_remove(&reservation->node);
	free(reservation);
}

size_t
rli_host_pages_committed(void)
{
	return host_committed_bytes;
}

int
rli_host_eventfd_open(void)
{
	return sim_fault(FAULT_SOCKET_EMFILE) ? -EMFILE : sk_eventfd_open();
}

int
rli_host_eventfd_write(int fd)
{
	sim_event("host wake", 0, 0);
	return sk_eventfd_write(fd);
}

void
rli_host_eventfd_drain(int fd)
{
	sk_eventfd_drain(fd);
}

void
rli_host_eventfd_close(int fd)
{
	sim_check(sk_fd_close(fd) == 0, "an eventfd was closed that is not open");
}

/* Bytes that the kernel may still write are looked at, too: hence no AddressSanitizer. */
__attribute__((no_sanitize("address"))) static bool
pages_hold(const volatile uint8_t *at, size_t size, const char *bytes, size_t len)
{
	size_t same = 0;

	/* good enough for a text whose first byte comes once */
	for (size_t i = 0; i < size && same < len; i++) {
		same = at[i] == (uint8_t)bytes[same] ? same + 1 : at[i] == (uint8_t)bytes[0];
	}
	return same == len;
}

bool
sim_host_remembers(const char *bytes, size_t len)
{
	struct list_node *node;
	bool found = false;

	for (node = host_reservations.head.next; node != &host_reservations.head;
	     node = node->next) {
		const struct reservation *one = list_entry(node, struct reservation, node);

		/* what was committed is the front part */
		found = found || pages_hold(one->base, one->committed_bytes, bytes, len);
	}
	return found;
}

uint64_t
sim_host_calls(void)
{
	return host_calls;
}

void
sim_host_fail_at(uint64_t call, bool from_then_on)
{
	host_fail_call = call;
	host_fail_on = from_then_on;
}

void
sim_host_init(void)
{
	host_calls = 0;
	host_gone_until_ns = 0;
	sim_host_fail_at(UINT64_MAX, false);
}

void
sim_host_fini(bool forgive)
{
	struct list_node *node;

	sim_check(forgive || list_is_empty(&host_reservations),
		  "%zu bytes of memory were not given back", host_committed_bytes);
	while ((node = list_first(&host_reservations)) != NULL) {
		struct reservation *left = list_entry(node, struct reservation, node);

		rli_host_pages_release(left->base, left->bytes);
	}
}
