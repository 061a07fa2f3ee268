/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * console - stdin and stdout for an actor, which must not block on either.
 *
 * The main thread does the reading and writing, in console_run(). What comes from stdin is sent
 * to the actor in pieces, as messages; what the actor has for stdout goes through a buffer of
 * fixed size. Both ways are bounded, and each end holds the other one back:
 *
 *	in    at most CONSOLE_INPUTS_MAX pieces are on their way that the actor has not reported as
 *	      done; only then stdin is read again. A mailbox holds more than that, so that no piece
 *	      is lost to a full one, of which a foreign thread would not hear.
 *	out   console_write() takes what fits. If that is not all, CONSOLE_ROOM comes when half of
 *	      the buffer is free.
 *
 * One lock guards the counters and what is put into the buffer; it is held for a copy and never
 * over a system call, so that a handler waits for it no longer than that.
 */
#ifndef RINGLINE_EXAMPLES_CONSOLE_H
#define RINGLINE_EXAMPLES_CONSOLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ringline/ringline.h>

#include "support/wakeup.h"

enum {
	CONSOLE_INPUTS_MAX = 512,
	CONSOLE_INPUT_BYTES_MAX = CONSOLE_INPUTS_MAX * RL_MSG_INLINE_MAX,
	CONSOLE_OUTPUT_BYTES_MAX = 256 * 1024,
};

/* What the actor gets, besides ringline's own kinds. */
enum console_kind {
	CONSOLE_INPUT = RL_MSG_USER, /* up to RL_MSG_INLINE_MAX bytes of stdin, in order */
	CONSOLE_INPUT_END, /* stdin has ended; after all of it, once */
	CONSOLE_ROOM, /* after a console_write() that did not take all */
	CONSOLE_KINDS_END,
};

struct console {
	struct wakeup wakeup;
	struct rl_system *sys;

	/* The main thread's own. */
	uint8_t input[CONSOLE_INPUT_BYTES_MAX]; /* read, and not sent yet */
	size_t input_start;
	size_t input_end;
	bool input_over; /* stdin has ended */
	bool input_end_sent;
	bool interrupted; /* a signal came */
	bool drained; /* it was console_run() that made the actor end */
	bool output_dead; /* stdout failed */
	bool output_line_open; /* its last byte was not a newline */
	uint32_t inputs_sent;
	uint64_t backoff_ns; /* 0: the actor's shard takes messages */
	uint64_t retry_at_ns;
	int rc; /* of stdin or stdout */

	/* Both threads', under the lock. */
	pthread_mutex_t lock;
	rl_actor_id actor; /* none before console_attach() */
	bool ended;
	bool ring_wanted; /* the main thread sleeps, or is about to */
	bool room_owed;
	uint32_t inputs_done;
	size_t output_start;
	size_t output_bytes;
	uint8_t output[CONSOLE_OUTPUT_BYTES_MAX]; /* a ring */
};

/* After rl_system_start(). 0 or a negative errno; then there is nothing to undo. */
int console_init(struct console *console, struct rl_system *sys);

/* After rl_system_run() returned: no actor may use the console any more. */
void console_fini(struct console *console);

/*
 * Serve stdin and stdout until the actor has ended and all its output is written. A signal drains
 * the system, as in rl_system_run(); so does an error of stdout. After a signal, output that
 * nobody takes is not waited for. Errors are reported by a line on stderr.
 *
 * Context: the main thread. Returns 0, or the negative errno of stdin or stdout.
 */
int console_run(struct console *console);

/* From the actor's handlers: */

/* This actor gets the messages from now on. */
void console_attach(struct console *console, rl_actor_id actor);

/* How many of @p len bytes were taken, from the front. */
size_t console_write(struct console *console, const void *data, size_t len);

/* @p count CONSOLE_INPUT have been dealt with. */
void console_inputs_done(struct console *console, uint32_t count);

/* There will be no more of the above. */
void console_end(struct console *console);

#endif
