/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/console.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "support/options.h"

/* A pipe that poll(2) calls writable has a page of room: a write of that much does not block. */
#define CONSOLE_WRITE_MAX 4096

/* The actor's shard takes no messages: try again after a while, and then after twice as long. */
#define CONSOLE_BACKOFF_MIN_NS 1000000u
#define CONSOLE_BACKOFF_MAX_NS 64000000u

enum {
	CONSOLE_FD_SIGNAL,
	CONSOLE_FD_EVENT,
	CONSOLE_FD_STDIN,
	CONSOLE_FD_STDOUT,
	CONSOLE_FDS,
};

/* What console_run() decides by, of one moment. */
struct console_view {
	rl_actor_id actor;
	bool ended;
	bool room_due;
	uint32_t inputs; /* on their way to the actor; fewer by now is no harm */
	size_t output_start;
	size_t output_bytes;
};

int
console_init(struct console *console, struct rl_system *sys)
{
	int rc;

	memset(console, 0, sizeof(*console));
	console->sys = sys;
	rc = -pthread_mutex_init(&console->lock, NULL);
	if (rc == 0) {
		rc = wakeup_init(&console->wakeup);
	}
	return rc;
}

void
console_fini(struct console *console)
{
	wakeup_fini(&console->wakeup);
	(void)pthread_mutex_destroy(&console->lock);
}

/* Unlock, and ring if the main thread may be asleep. */
static void
console_unlock_ringing(struct console *console)
{
	bool ring = console->ring_wanted;

	console->ring_wanted = false;
	(void)pthread_mutex_unlock(&console->lock);
	if (ring) {
		wakeup_ring(&console->wakeup);
	}
}

void
console_attach(struct console *console, rl_actor_id actor)
{
	(void)pthread_mutex_lock(&console->lock);
	console->actor = actor;
	console_unlock_ringing(console);
}

size_t
console_write(struct console *console, const void *data, size_t len)
{
	size_t at;
	size_t room;
	size_t taken;
	size_t first;

	(void)pthread_mutex_lock(&console->lock);
	room = sizeof(console->output) - console->output_bytes;
	taken = len < room ? len : room;
	at = (console->output_start + console->output_bytes) % sizeof(console->output);
	first = taken < sizeof(console->output) - at ? taken : sizeof(console->output) - at;
	memcpy(console->output + at, data, first);
	memcpy(console->output, (const uint8_t *)data + first, taken - first);
	console->output_bytes += taken;
	console->room_owed = console->room_owed || taken < len;
	console_unlock_ringing(console);
	return taken;
}

void
console_inputs_done(struct console *console, uint32_t count)
{
	(void)pthread_mutex_lock(&console->lock);
	console->inputs_done += count;
	console_unlock_ringing(console);
}

void
console_end(struct console *console)
{
	(void)pthread_mutex_lock(&console->lock);
	console->ended = true;
	console_unlock_ringing(console);
}

static struct console_view
console_look(struct console *console)
{
	struct console_view view;

	(void)pthread_mutex_lock(&console->lock);
	view = (struct console_view){
		.actor = console->actor,
		.ended = console->ended,
		.room_due =
			console->room_owed && console->output_bytes <= sizeof(console->output) / 2,
		.inputs = console->inputs_sent - console->inputs_done,
		.output_start = console->output_start,
		.output_bytes = console->output_bytes,
	};
	console->ring_wanted = true;
	(void)pthread_mutex_unlock(&console->lock);
	return view;
}

static void
console_failed(struct console *console, const char *what, int error)
{
	options_complain("%s: %s", what, strerror(error));
	if (console->rc == 0) {
		console->rc = -error;
	}
}

/* False: not now. An actor that has ended, or is about to, is as good as one that took it. */
static bool
console_send(struct console *console, rl_actor_id actor, uint32_t kind, const void *data,
	     size_t len)
{
	int rc = rl_system_send(console->sys, actor, kind, data, len);

	if (rc != -EAGAIN) {
		console->backoff_ns = 0;
		return true;
	}
	console->backoff_ns =
		console->backoff_ns == 0 ? CONSOLE_BACKOFF_MIN_NS : 2 * console->backoff_ns;
	if (console->backoff_ns > CONSOLE_BACKOFF_MAX_NS) {
		console->backoff_ns = CONSOLE_BACKOFF_MAX_NS;
	}
	console->retry_at_ns = wakeup_now_ns() + console->backoff_ns;
	return false;
}

static bool
console_send_input(struct console *console, rl_actor_id actor)
{
	size_t left = console->input_end - console->input_start;
	size_t len = left < RL_MSG_INLINE_MAX ? left : RL_MSG_INLINE_MAX;

	if (!console_send(console, actor, CONSOLE_INPUT, console->input + console->input_start,
			  len)) {
		return false;
	}
	console->input_start += len;
	console->inputs_sent++;
	return true;
}

static void
console_set_room_owed(struct console *console, bool owed)
{
	(void)pthread_mutex_lock(&console->lock);
	console->room_owed = owed;
	(void)pthread_mutex_unlock(&console->lock);
}

/* No longer owed before it is sent: the actor may be owed the next one before the send returns. */
static bool
console_send_room(struct console *console, rl_actor_id actor)
{
	console_set_room_owed(console, false);
	if (console_send(console, actor, CONSOLE_ROOM, NULL, 0)) {
		return true;
	}
	console_set_room_owed(console, true);
	return false;
}

/* Send what there is for the actor, until its shard takes no more. */
static void
console_feed(struct console *console, struct console_view *view)
{
	if (view->ended || rl_actor_id_is_none(view->actor) ||
	    (console->backoff_ns != 0 && wakeup_now_ns() < console->retry_at_ns)) {
		return;
	}
	if (view->room_due && !console_send_room(console, view->actor)) {
		return;
	}
	while (console->input_start < console->input_end) {
		if (!console_send_input(console, view->actor)) {
			return;
		}
		view->inputs++;
	}
	if (console->input_over && !console->input_end_sent) {
		console->input_end_sent =
			console_send(console, view->actor, CONSOLE_INPUT_END, NULL, 0);
	}
}

/* Read as much as may be on its way to the actor, and is not yet. */
static void
console_read(struct console *console, uint32_t inputs)
{
	size_t room = (size_t)(CONSOLE_INPUTS_MAX - inputs) * RL_MSG_INLINE_MAX;
	ssize_t got = read(STDIN_FILENO, console->input, room);

	if (got > 0) {
		console->input_start = 0;
		console->input_end = (size_t)got;
	} else if (got == 0) {
		console->input_over = true;
	} else if (errno != EAGAIN && errno != EINTR) {
		console->input_over = true;
		console_failed(console, "stdin", errno);
	}
}

/* Only this thread takes from the ring: what it has seen in there stays until it says so. */
static void
console_print(struct console *console, const struct console_view *view)
{
	size_t to_end = sizeof(console->output) - view->output_start;
	size_t len = view->output_bytes < to_end ? view->output_bytes : to_end;
	ssize_t written;

	if (console->output_dead) {
		written = (ssize_t)len; /* nobody wants it, and the actor must not wait */
	} else {
		len = len < CONSOLE_WRITE_MAX ? len : CONSOLE_WRITE_MAX;
		written = write(STDOUT_FILENO, console->output + view->output_start, len);
	}
	if (written < 0) {
		if (errno != EAGAIN && errno != EINTR) {
			console_failed(console, "stdout", errno);
			console->output_dead = true;
			console->drained = true;
			rl_system_drain(console->sys);
		}
		return;
	}
	if (written > 0) {
		console->output_line_open =
			console->output[view->output_start + (size_t)written - 1] != '\n';
	}
	(void)pthread_mutex_lock(&console->lock);
	console->output_start = (console->output_start + (size_t)written) % sizeof(console->output);
	console->output_bytes -= (size_t)written;
	(void)pthread_mutex_unlock(&console->lock);
}

static bool
console_wants_input(const struct console *console, const struct console_view *view)
{
	return !console->input_over && !view->ended && !rl_actor_id_is_none(view->actor) &&
	       console->input_start == console->input_end && view->inputs < CONSOLE_INPUTS_MAX;
}

static void
console_sleep(const struct console *console, const struct console_view *view, struct pollfd *fds)
{
	struct timespec timeout = { .tv_nsec = (long)console->backoff_ns };
	bool read_wanted = console_wants_input(console, view);
	bool write_wanted = view->output_bytes > 0;
	bool now = write_wanted && console->output_dead;

	fds[CONSOLE_FD_SIGNAL] = (struct pollfd){ console->wakeup.signal_fd, POLLIN, 0 };
	fds[CONSOLE_FD_EVENT] = (struct pollfd){ console->wakeup.event_fd, POLLIN, 0 };
	fds[CONSOLE_FD_STDIN] = (struct pollfd){ read_wanted ? STDIN_FILENO : -1, POLLIN, 0 };
	fds[CONSOLE_FD_STDOUT] =
		(struct pollfd){ write_wanted && !now ? STDOUT_FILENO : -1, POLLOUT, 0 };
	if (now) {
		timeout.tv_nsec = 0;
	}
	if (ppoll(fds, CONSOLE_FDS, now || console->backoff_ns != 0 ? &timeout : NULL, NULL) < 0) {
		fds[CONSOLE_FD_SIGNAL].revents = 0; /* EINTR: look again */
		fds[CONSOLE_FD_EVENT].revents = 0;
		fds[CONSOLE_FD_STDIN].revents = 0;
		fds[CONSOLE_FD_STDOUT].revents = 0;
	}
}

/* One look and one sleep. What the actor does after the look rings, so that no sleep misses it. */
static bool
console_turn(struct console *console)
{
	struct console_view view = console_look(console);
	struct pollfd fds[CONSOLE_FDS];

	if (view.ended && (view.output_bytes == 0 || console->interrupted)) {
		return false;
	}
	console_feed(console, &view);
	console_sleep(console, &view, fds);
	if (fds[CONSOLE_FD_EVENT].revents != 0) {
		wakeup_clear(&console->wakeup);
	}
	if (fds[CONSOLE_FD_SIGNAL].revents != 0 && wakeup_take_signal(&console->wakeup)) {
		console->interrupted = true;
		console->drained = true;
		rl_system_drain(console->sys);
	}
	if (fds[CONSOLE_FD_STDOUT].revents != 0 || console->output_dead) {
		console_print(console, &view);
	}
	if (fds[CONSOLE_FD_STDIN].revents != 0) {
		console_read(console, view.inputs);
	}
	return true;
}

int
console_run(struct console *console)
{
	while (console_turn(console)) {
	}
	return console->rc;
}
