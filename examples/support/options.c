/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	OPTIONS_FLAGS_MAX = 32,
	OPTIONS_FIRST = 256, /* above every character that getopt_long() could mean */
	OPTIONS_HELP_COLUMN = 26,
	OPTIONS_CPU_MAX = 1023,
	OPTIONS_CONNS_MAX = 1044480, /* as struct rl_config has it */
	OPTIONS_SHARDS_MAX = 256,
};

#define OPTIONS_URL_DEFAULT  "tcp://127.0.0.1:7878"
#define OPTIONS_IDLE_MAX_SEC 31536000.0 /* a year */

/* All flags of a program, each with what its apply wants. */
struct options_known {
	const struct options_flag *flags[OPTIONS_FLAGS_MAX];
	void *args[OPTIONS_FLAGS_MAX];
	struct option longs[OPTIONS_FLAGS_MAX + 1];
	uint32_t count;
	struct rl_config defaults; /* for --help */
};

/* What is quoted comes from the command line, and the line has to stay one. */
__attribute__((format(printf, 1, 0))) static void
options_say(const char *format, va_list args)
{
	char line[512];
	char *at;

	(void)vsnprintf(line, sizeof(line), format, args);
	for (at = line; *at != '\0'; at++) {
		if ((unsigned char)*at < ' ' || *at == 0x7f) {
			*at = '?';
		}
	}
	(void)fprintf(stderr, "%s: %s\n", program_invocation_short_name, line);
}

void
options_complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	options_say(format, args);
	va_end(args);
}

void
options_misuse(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	options_say(format, args);
	va_end(args);
	exit(2);
}

int
options_flush(void)
{
	int rc = 0;

	if (fflush(stdout) != 0 || ferror(stdout) != 0) {
		rc = errno != 0 ? -errno : -EIO;
		options_complain("stdout: %s", strerror(-rc));
	}
	return rc;
}

int64_t
options_integer(const char *flag, const char *text, int64_t min, int64_t max)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < min || value > max) {
		options_misuse("%s: '%s' is not a whole number from %" PRId64 " to %" PRId64, flag,
			       text, min, max);
	}
	return value;
}

int64_t
options_seconds_ns(const char *flag, const char *text, double min, double max, bool off)
{
	char *end;
	double value = strtod(text, &end);
	bool number = end != text && *end == '\0' && isfinite(value);

	if (off && number && value == -1) {
		return -1;
	}
	if (!number || value < min || value > max) {
		options_misuse("%s: '%s' is not a number of seconds from %g to %.0f%s", flag, text,
			       min, max, off ? ", or -1 for off" : "");
	}
	return (int64_t)(value * 1e9);
}

static void
options_apply_listen(void *arg, const char *flag, const char *text)
{
	struct options *options = arg;

	if (options->urls_count == OPTIONS_URLS_MAX) {
		options_misuse("%s: '%s' is one too many, 1 to %d are possible", flag, text,
			       OPTIONS_URLS_MAX);
	}
	options->urls[options->urls_count++] = text;
}

static void
options_apply_connect(void *arg, const char *flag, const char *text)
{
	struct options *options = arg;

	if (options->urls_count != 0) {
		options_misuse("%s: '%s' is the second one, only 1 is possible", flag, text);
	}
	options->urls[options->urls_count++] = text;
}

static void
options_apply_shards(void *arg, const char *flag, const char *text)
{
	struct options *options = arg;

	options->config.shards = (uint32_t)options_integer(flag, text, 1, OPTIONS_SHARDS_MAX);
}

/* Digits from *@at on; *@at moves behind them. False: there is none, or the number is too high. */
static bool
options_cpu(const char **at, int *number)
{
	const char *first = *at;

	*number = 0;
	while (**at >= '0' && **at <= '9' && *number <= OPTIONS_CPU_MAX) {
		*number = *number * 10 + (**at - '0');
		(*at)++;
	}
	return *at > first && *number <= OPTIONS_CPU_MAX;
}

static bool
options_cpus_are_a_list(const char *text)
{
	const char *at = text;
	int first;
	int last;

	for (;;) {
		if (!options_cpu(&at, &first)) {
			return false;
		}
		if (*at == '-') {
			at++;
			if (!options_cpu(&at, &last) || last < first) {
				return false;
			}
		}
		if (*at != ',') {
			return *at == '\0';
		}
		at++;
	}
}

static void
options_apply_cpus(void *arg, const char *flag, const char *text)
{
	struct options *options = arg;

	if (!options_cpus_are_a_list(text)) {
		options_misuse("%s: '%s' is not a list of CPUs from 0 to %d, as in 0,2-3", flag,
			       text, OPTIONS_CPU_MAX);
	}
	options->config.cpus = text;
}

static void
options_apply_idle_timeout(void *arg, const char *flag, const char *text)
{
	struct options *options = arg;

	options->config.idle_timeout_ns =
		options_seconds_ns(flag, text, 0.001, OPTIONS_IDLE_MAX_SEC, true);
}

static void
options_apply_accept_mode(void *arg, const char *flag, const char *text)
{
	struct options *options = arg;

	if (strcmp(text, "per_shard") == 0) {
		options->config.accept_mode = RL_ACCEPT_PER_SHARD;
	} else if (strcmp(text, "round_robin") == 0) {
		options->config.accept_mode = RL_ACCEPT_ROUND_ROBIN;
	} else if (strcmp(text, "least_loaded") == 0) {
		options->config.accept_mode = RL_ACCEPT_LEAST_LOADED;
	} else {
		options_misuse("%s: '%s' is none of per_shard, round_robin, least_loaded", flag,
			       text);
	}
}

static void
options_apply_conns_max(void *arg, const char *flag, const char *text)
{
	struct options *options = arg;

	options->config.conns_max = (uint32_t)options_integer(flag, text, 1, OPTIONS_CONNS_MAX);
}

static void
options_apply_stats(void *arg, const char *flag, const char *text)
{
	struct options *options = arg;

	(void)flag;
	(void)text;
	options->stats = true;
}

static void
options_apply_verbose(void *arg, const char *flag, const char *text)
{
	struct options *options = arg;

	(void)flag;
	(void)text;
	options->config.log_level = RL_LOG_INFO;
}

/* options_parse() does it: only there all flags are known. */
static void
options_apply_help(void *arg, const char *flag, const char *text)
{
	(void)arg;
	(void)flag;
	(void)text;
}

static const struct options_flag options_listens[] = {
	{ "listen", "URL", "tcp://HOST:PORT or unix:PATH, with --cert tls://HOST:PORT; repeatable",
	  options_apply_listen },
	{ "accept-mode", "MODE", "who accepts: per_shard (default), round_robin, least_loaded",
	  options_apply_accept_mode },
	{ "conns-max", "N", "connections per shard, 1 to 1044480 (by the limit of open files)",
	  options_apply_conns_max },
	{ NULL, NULL, NULL, NULL },
};

static const struct options_flag options_connects[] = {
	{ "connect", "URL", "tcp://HOST:PORT, tls://HOST:PORT or unix:PATH of the server",
	  options_apply_connect },
	{ NULL, NULL, NULL, NULL },
};

static const struct options_flag options_common[] = {
	{ "shards", "N", "how many, 1 to 256", options_apply_shards },
	{ "cpus", "LIST", "the CPUs to pin the shards to, in this order, as in 0,2-3",
	  options_apply_cpus },
	{ "idle-timeout", "S", "close a connection that is silent for so many seconds; -1: never",
	  options_apply_idle_timeout },
	{ "stats", NULL, "end stdout with all counters, one line of JSON", options_apply_stats },
	{ "verbose", NULL, "log what is going on to stderr", options_apply_verbose },
	{ "help", NULL, "print this", options_apply_help },
	{ NULL, NULL, NULL, NULL },
};

static const struct options_flag *
options_of_role(enum options_role role)
{
	switch (role) {
	case OPTIONS_LISTENS:
		return options_listens;
	case OPTIONS_CONNECTS:
		return options_connects;
	case OPTIONS_ALONE:
		break;
	}
	return NULL;
}

static void
options_know(struct options_known *known, const struct options_flag *flags, void *arg)
{
	const struct options_flag *flag;

	for (flag = flags; flag != NULL && flag->name != NULL; flag++) {
		if (known->count == OPTIONS_FLAGS_MAX) {
			abort(); /* the program has more flags than this file allows for */
		}
		known->flags[known->count] = flag;
		known->args[known->count] = arg;
		known->longs[known->count] = (struct option){
			.name = flag->name,
			.has_arg = flag->value != NULL ? required_argument : no_argument,
			.val = OPTIONS_FIRST + (int)known->count,
		};
		known->count++;
	}
}

static const char *
options_url(const struct options_spec *spec)
{
	return spec->url != NULL ? spec->url : OPTIONS_URL_DEFAULT;
}

__attribute__((noreturn)) static void
options_help(const struct options_known *known, const struct options_spec *spec)
{
	uint32_t i;

	(void)printf("usage: %s [OPTION...]\n%s\n\n", program_invocation_short_name, spec->summary);
	for (i = 0; i < known->count; i++) {
		const struct options_flag *flag = known->flags[i];
		int used = printf("  --%s %s", flag->name, flag->value != NULL ? flag->value : "");

		(void)printf("%*s%s\n", used < OPTIONS_HELP_COLUMN ? OPTIONS_HELP_COLUMN - used : 1,
			     "", flag->help);
	}
	if (spec->role != OPTIONS_ALONE) {
		(void)printf("\nThe URL is %s by default.", options_url(spec));
	}
	(void)printf("\nBy default %s, and idle connections are %s.\n",
		     known->defaults.shards == 1 ? "there is 1 shard"
						 : "there is one shard for each allowed CPU",
		     known->defaults.idle_timeout_ns < 0 ? "kept" : "closed after 60 s");
	exit(options_flush() == 0 ? 0 : 1);
}

/* What getopt_long() could not make sense of. */
__attribute__((noreturn)) static void
options_refuse(const struct options_known *known, int answer, char **argv)
{
	if (optopt >= OPTIONS_FIRST) {
		options_misuse("--%s: %s", known->flags[optopt - OPTIONS_FIRST]->name,
			       answer == ':' ? "the value is missing" : "it takes no value");
	}
	if (optopt != 0) {
		options_misuse("there is no option '-%c'; see --help", optopt);
	}
	options_misuse("there is no option '%s'; see --help", argv[optind - 1]);
}

/* A closed stdin, stdout or stderr would be some socket soon, and get our lines. */
static void
options_hold_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0) {
		(void)close(fd);
	}
}

void
options_parse(struct options *options, const struct options_spec *spec, int argc, char **argv)
{
	struct options_known known = { .defaults = options->config };
	char flag[64];
	int answer;

	options_hold_standard_fds();
	(void)signal(SIGPIPE, SIG_IGN); /* an output that nobody reads is an error like any other */
	options_know(&known, options_of_role(spec->role), options);
	options_know(&known, spec->flags, spec->arg);
	options_know(&known, options_common, options);
	opterr = 0;
	while ((answer = getopt_long(argc, argv, ":", known.longs, NULL)) != -1) {
		uint32_t i = (uint32_t)(answer - OPTIONS_FIRST);

		if (answer < OPTIONS_FIRST) {
			options_refuse(&known, answer, argv);
		}
		if (known.flags[i]->apply == options_apply_help) {
			options_help(&known, spec);
		}
		(void)snprintf(flag, sizeof(flag), "--%s", known.flags[i]->name);
		known.flags[i]->apply(known.args[i], flag, optarg);
	}
	if (optind < argc) {
		options_misuse("'%s' is not an option; see --help", argv[optind]);
	}
	if (options->urls_count == 0) {
		options->urls[options->urls_count++] = options_url(spec);
	}
}
