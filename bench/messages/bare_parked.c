/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bare side's round trips between threads that sleep in io_uring_enter, each on its own ring,
 * and wake each other by IORING_OP_MSG_RING: one enter sends and waits.
 */
#include "messages/bare_pair.h"
#include "messages/bare_rows.h"

#include "common/bare_ring.h"
#include "common/program.h"

#include <errno.h>

enum {
	WORD_BALL = 1,
	WORD_END,
	WORD_SENT /* our own request's completion, when it failed */
};

struct parked {
	struct bare_pair pair;
	struct bare_ring rings[2];
};

static void
parked_open(struct parked *parked, unsigned index)
{
	const struct bare_ring_config config = { .sq_entries = 64, .cq_entries = 256 };

	bare_ring_open(&parked->rings[index], &config);
	bare_pair_meet(&parked->pair);
}

/* Leaves with the next enter. */
static void
parked_post(struct parked *parked, unsigned to, uint64_t word)
{
	struct io_uring_sqe *sqe = bare_ring_sqe(&parked->rings[1 - to], IORING_OP_MSG_RING,
						 parked->rings[to].fd, WORD_SENT);

	sqe->off = word;
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

/* Sends what is posted and sleeps until the other end's word is there. */
static uint64_t
parked_wait(struct bare_ring *ring)
{
	unsigned head = bare_ring_first(ring);
	const struct io_uring_cqe *cqe;
	uint64_t word;

	do {
		bare_ring_enter(ring, 1, IORING_ENTER_GETEVENTS);
	} while (bare_ring_end(ring) == head);
	cqe = &ring->cqes[head & ring->cq_mask];
	word = cqe->user_data;
	if (word == WORD_SENT) {
		errno = -cqe->res;
		program_die("IORING_OP_MSG_RING");
	}
	bare_ring_consumed(ring, head + 1);
	return word;
}

static void
parked_other(void *row)
{
	struct parked *parked = row;

	parked_open(parked, 1);
	while (parked_wait(&parked->rings[1]) != WORD_END) {
		parked_post(parked, 0, WORD_BALL);
	}
}

static void
parked_first(void *row)
{
	struct parked *parked = row;
	struct meter *meter = parked->pair.meter;

	parked_open(parked, 0);
	do {
		meter_lap(meter, 1);
		parked_post(parked, 1, WORD_BALL);
		(void)parked_wait(&parked->rings[0]);
	} while (meter_add(meter, 1));
	parked_post(parked, 1, WORD_END);
	bare_ring_enter(&parked->rings[0], 0, 0);
}

void
bare_parked(const struct messages_options *options, struct meter *meter)
{
	static struct parked parked;

	parked.pair.options = options;
	parked.pair.meter = meter;
	bare_pair_run(&parked.pair, parked_first, parked_other, &parked);
}
