/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * options - the flags that every example understands, plus those of its own.
 *
 *	struct options options = { .config = RL_CONFIG(.shards = 1) };   (its own defaults)
 *	static const struct options_spec spec = {
 *		.summary = "Send back what comes in.",
 *		.role = OPTIONS_LISTENS,
 *	};
 *
 *	options_parse(&options, &spec, argc, argv);
 *	rc = rl_system_start(&options.config, &sys);
 *
 * A flag that is unknown, lacks its value or has one out of range ends the program: one line on
 * stderr with flag, value and range, exit code 2. --help writes to stdout and exits with 0.
 * Whether a URL or a CPU exists is for ringline to say. SIGPIPE is ignored from then on.
 */
#ifndef RINGLINE_EXAMPLES_OPTIONS_H
#define RINGLINE_EXAMPLES_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/ringline.h>

enum {
	OPTIONS_URLS_MAX = 16, /* a system has no more listeners */
};

enum options_role {
	OPTIONS_LISTENS, /* takes --listen, --accept-mode and --conns-max */
	OPTIONS_CONNECTS, /* takes --connect */
	OPTIONS_ALONE, /* takes neither */
};

struct options {
	/* At least one; the program's default if none was given. */
	const char *urls[OPTIONS_URLS_MAX];
	uint32_t urls_count;
	/* What the program set before, and the flags over it. */
	struct rl_config config;
	bool stats;
};

/* One flag. A table of them ends with a row of zeros. */
struct options_flag {
	const char *name; /* without the dashes */
	const char *value; /* what --help calls its value; NULL: it takes none */
	const char *help;
	/* @flag is "--name"; @text is the value, NULL without one. It may call options_misuse(). */
	void (*apply)(void *arg, const char *flag, const char *text);
};

struct options_spec {
	const char *summary;
	enum options_role role;
	const char *url; /* the default; NULL: tcp://127.0.0.1:7878 */
	const struct options_flag *flags; /* the program's own; NULL: none */
	void *arg; /* goes to their apply */
};

void options_parse(struct options *options, const struct options_spec *spec, int argc, char **argv);

/* One line on stderr, the program's name in front, and exit code 2. */
__attribute__((noreturn, format(printf, 1, 2))) void options_misuse(const char *format, ...);

/* A value as a whole number from @p min to @p max; anything else is a misuse. */
int64_t options_integer(const char *flag, const char *text, int64_t min, int64_t max);

/* A value in seconds, @p min to @p max, as nanoseconds; -1 stays -1 if @p off allows it. */
int64_t options_seconds_ns(const char *flag, const char *text, double min, double max, bool off);

/* One line on stderr, the program's name in front: for what the world refused. */
__attribute__((format(printf, 1, 2))) void options_complain(const char *format, ...);

/* Flushes stdout; 0, or a negative errno after one line on stderr. */
int options_flush(void);

#endif
