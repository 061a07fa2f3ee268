/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/wakeup.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

int
wakeup_init(struct wakeup *wakeup)
{
	sigset_t signals;
	int rc;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	wakeup->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wakeup->event_fd < 0) {
		return -errno;
	}
	wakeup->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (wakeup->signal_fd < 0) {
		rc = -errno;
		(void)close(wakeup->event_fd);
		return rc;
	}
	return 0;
}

void
wakeup_fini(struct wakeup *wakeup)
{
	(void)close(wakeup->event_fd);
	(void)close(wakeup->signal_fd);
}

void
wakeup_ring(const struct wakeup *wakeup)
{
	uint64_t one = 1;
	ssize_t written = write(wakeup->event_fd, &one, sizeof(one));

	(void)written; /* it can only fail when the counter is full, and then it is readable */
}

void
wakeup_clear(const struct wakeup *wakeup)
{
	uint64_t count;
	ssize_t got = read(wakeup->event_fd, &count, sizeof(count));

	(void)got; /* nobody rang: nothing to forget */
}

bool
wakeup_take_signal(const struct wakeup *wakeup)
{
	struct signalfd_siginfo info;

	return read(wakeup->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info);
}

enum wakeup_cause
wakeup_wait(const struct wakeup *wakeup, uint64_t deadline_ns)
{
	struct pollfd fds[] = {
		{ .fd = wakeup->signal_fd, .events = POLLIN },
		{ .fd = wakeup->event_fd, .events = POLLIN },
	};
	uint64_t now_ns = wakeup_now_ns();
	uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
	struct timespec left = {
		.tv_sec = (time_t)(left_ns / 1000000000u),
		.tv_nsec = (long)(left_ns % 1000000000u),
	};

	if (ppoll(fds, 2, &left, NULL) <= 0) {
		return WAKEUP_TIMEOUT; /* or a stop and a continue: the caller looks at the clock */
	}
	if (fds[0].revents != 0 && wakeup_take_signal(wakeup)) {
		return WAKEUP_SIGNAL;
	}
	wakeup_clear(wakeup);
	return WAKEUP_RING;
}
