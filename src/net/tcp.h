/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The TCP options of listeners and connections: checked, and as a list of what to tell a socket.
 * Nothing here makes a system call; see sys.h for who does.
 */
#ifndef RINGLINE_NET_TCP_H
#define RINGLINE_NET_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ringline/conn.h>
#include <ringline/listener.h>

#include "base/log.h"

#define TCP_SETTINGS_MAX 10

/* One setsockopt(2) with an int. */
struct tcp_setting {
	const char *name; /* of the option, as a user writes it */
	int level;
	int option;
	int value;
	int got; /* what the kernel made of a buffer's size, where it cut it; 0: as asked */
};

struct tcp_settings {
	uint32_t count;
	struct tcp_setting list[TCP_SETTINGS_MAX];
	char congestion[RL_TCP_CONGESTION_MAX]; /* empty: none */
	const char *failed; /* which one the kernel refused */
};

/* A field of an options struct, a uint32_t: 0, or within the range. */
struct option_range {
	const char *name;
	size_t offset;
	uint32_t min;
	uint32_t max;
};

/* 0, or -EINVAL after one ERROR line that names the option, its value and its range. */
int rli_option_ranges_check(const struct option_range *ranges, size_t count, const void *options,
			    const struct log *log);

/* The same of all that @options say. */
int rli_tcp_options_check(const struct rl_tcp_options *options, const struct log *log);

/* A Unix socket has none of them: 0, or -EINVAL after one ERROR line. */
int rli_tcp_options_check_unix(const struct rl_tcp_options *options, const struct log *log);

/* What a connection's socket is told that its default does not say already. */
void rli_tcp_settings_conn(struct tcp_settings *settings, const struct rl_tcp_options *options);

/* The same for a listening socket, with what is only a listener's. */
void rli_tcp_settings_listener(struct tcp_settings *settings,
			       const struct rl_listener_options *options);

/* The kernel cut a buffer: one WARN line for each. */
void rli_tcp_settings_log(const struct tcp_settings *settings, const struct log *log);

#endif
