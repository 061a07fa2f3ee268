/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "echo_bench/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support/options.h"

/* What both forms print. Below 0: not known. */
struct report_figures {
	struct histogram latency;
	uint64_t messages;
	double seconds;
	double messages_per_s;
	double megabytes_per_s; /* payload, each way */
	double own_cpu; /* CPUs in use, 1 is one of them all the time */
	double own_ns_per_message;
	double own_wait; /* the same of time spent waiting for a CPU */
	double server_cpu;
	double server_wait;
	double server_ns_per_message;
};

static double
report_ratio(double value, double of)
{
	return of > 0 ? value / of : 0;
}

static double
report_quantile_us(const struct histogram *latency, double quantile)
{
	return (double)histogram_quantile(latency, quantile) / 1e3;
}

static void
report_sum_up(const struct report *report, struct report_figures *figures)
{
	const struct usage *begin = &report->begin;
	const struct usage *end = &report->end;
	double usage_ns = (double)(end->at_ns - begin->at_ns);
	uint64_t bytes = 0;
	uint32_t i;

	memset(figures, 0, sizeof(*figures));
	for (i = 0; i < report->load->shards_count; i++) {
		histogram_merge(&figures->latency, &report->load->shards[i].latency);
		figures->messages += report->load->shards[i].messages;
		bytes += report->load->shards[i].bytes;
	}
	figures->seconds = (double)(report->window.end_ns - report->window.begin_ns) / 1e9;
	figures->messages_per_s = report_ratio((double)figures->messages, figures->seconds);
	figures->megabytes_per_s = report_ratio((double)bytes, figures->seconds) / 1e6;

	/* The CPU was not read at the very ends of the window: per second both are the same. */
	figures->own_cpu = report_ratio((double)(end->own_ns - begin->own_ns), usage_ns);
	figures->own_ns_per_message = report_ratio(figures->own_cpu * 1e9, figures->messages_per_s);
	figures->own_wait =
		report_ratio((double)(end->own_waited_ns - begin->own_waited_ns), usage_ns);
	figures->server_cpu = -1;
	figures->server_ns_per_message = -1;
	if (begin->server_known && end->server_known && end->server_ns >= begin->server_ns) {
		figures->server_cpu =
			report_ratio((double)(end->server_ns - begin->server_ns), usage_ns);
		figures->server_ns_per_message =
			report_ratio(figures->server_cpu * 1e9, figures->messages_per_s);
		figures->server_wait = report_ratio(
			(double)(end->server_waited_ns - begin->server_waited_ns), usage_ns);
	}
}

static void
report_json(const struct load *load, const struct report_figures *figures)
{
	const struct load_options *options = &load->options;
	const struct histogram *latency = &figures->latency;

	(void)printf("{\"conns\":%u,\"depth\":%u,\"size\":%u,\"shards\":%u,\"secs\":%.3f,"
		     "\"msgs\":%" PRIu64 ",\"msgs_per_s\":%.0f,\"mb_per_s\":%.2f",
		     options->conns, options->depth, options->size_bytes, load->shards_count,
		     figures->seconds, figures->messages, figures->messages_per_s,
		     figures->megabytes_per_s);
	(void)printf(",\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,"
		     "\"max_us\":%.2f,\"mean_us\":%.2f",
		     report_quantile_us(latency, 0.5), report_quantile_us(latency, 0.9),
		     report_quantile_us(latency, 0.99), report_quantile_us(latency, 0.999),
		     (double)latency->max / 1e3, histogram_mean(latency) / 1e3);
	(void)printf(",\"errors\":%" PRIu64 ",\"connect_failures\":%" PRIu64
		     ",\"mismatches\":%" PRIu64 ",\"closed_by_server\":%" PRIu64
		     ",\"broken\":%" PRIu64 ",\"stalled\":%" PRIu64,
		     load_faults_all(load),
		     load_faults(load, LOAD_CONNECT) + load_faults(load, LOAD_REFUSED),
		     load_faults(load, LOAD_MISMATCH) + load_faults(load, LOAD_SURPLUS),
		     load_faults(load, LOAD_CLOSED), load_faults(load, LOAD_BROKEN),
		     load_faults(load, LOAD_STALLED));
	(void)printf(",\"client_cpu\":%.3f,\"client_wait\":%.3f,\"client_ns_per_msg\":%.0f",
		     figures->own_cpu, figures->own_wait, figures->own_ns_per_message);
	if (figures->server_cpu >= 0) {
		(void)printf(
			",\"server_cpu\":%.3f,\"server_wait\":%.3f,\"server_ns_per_msg\":%.0f}\n",
			figures->server_cpu, figures->server_wait, figures->server_ns_per_message);
	} else {
		(void)printf(",\"server_cpu\":null,\"server_wait\":null,"
			     "\"server_ns_per_msg\":null}\n");
	}
}

static void
report_text(const struct load *load, const struct report_figures *figures)
{
	const struct load_options *options = &load->options;
	const struct histogram *latency = &figures->latency;

	(void)printf("%u connections x depth %u x %u bytes from %u shard%s, %.1f s\n",
		     options->conns, options->depth, options->size_bytes, load->shards_count,
		     load->shards_count == 1 ? "" : "s", figures->seconds);
	(void)printf("throughput   %.0f msgs/s, %.2f MB/s each way\n", figures->messages_per_s,
		     figures->megabytes_per_s);
	(void)printf("latency us   p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, max %.1f\n",
		     report_quantile_us(latency, 0.5), report_quantile_us(latency, 0.9),
		     report_quantile_us(latency, 0.99), report_quantile_us(latency, 0.999),
		     (double)latency->max / 1e3);
	(void)printf("CPU          generator %.0f %%, %.0f ns/msg", figures->own_cpu * 100,
		     figures->own_ns_per_message);
	if (figures->server_cpu >= 0) {
		(void)printf("; server %.0f %%, %.0f ns/msg", figures->server_cpu * 100,
			     figures->server_ns_per_message);
	}
	(void)printf("\nerrors       %" PRIu64 "\n", load_faults_all(load));
}

void
report_print(const struct report *report, bool json)
{
	static struct report_figures figures; /* too large for a stack's taste */

	report_sum_up(report, &figures);
	if (json) {
		report_json(report->load, &figures);
	} else {
		report_text(report->load, &figures);
	}
}

static const char *
report_error(const struct load_first_fault *first)
{
	if (first->error != 0) {
		return strerror(-first->error);
	}
	return rl_reason_name(first->reason);
}

static void
report_first(const char *url, const struct load_first_fault *first)
{
	uint64_t bytes = first->at_bytes;

	switch (first->fault) {
	case LOAD_REFUSED: /* ringline has said what is wrong with the URL */
	case LOAD_NO_FAULT:
	case LOAD_FAULTS:
		return;
	case LOAD_CONNECT:
		options_complain("%s: connection %u was not made: %s", url, first->conn,
				 report_error(first));
		return;
	case LOAD_MISMATCH:
		options_complain("%s: connection %u: the echo differs, %" PRIu64
				 " bytes or a little later",
				 url, first->conn, bytes);
		return;
	case LOAD_SURPLUS:
		options_complain("%s: connection %u: after %" PRIu64
				 " bytes came more than was sent",
				 url, first->conn, bytes);
		return;
	case LOAD_CLOSED:
		options_complain("%s: connection %u: closed by the server after %" PRIu64 " bytes",
				 url, first->conn, bytes);
		return;
	case LOAD_BROKEN:
		options_complain("%s: connection %u: broke after %" PRIu64 " bytes: %s", url,
				 first->conn, bytes, report_error(first));
		return;
	case LOAD_STALLED:
		options_complain("%s: connection %u: after %" PRIu64 " bytes nothing more came",
				 url, first->conn, bytes);
		return;
	}
}

void
report_faults(const struct load *load)
{
	uint64_t all = load_faults_all(load);
	uint64_t connects = load_faults(load, LOAD_CONNECT) + load_faults(load, LOAD_REFUSED);
	uint32_t i = 0;

	if (all == 0) {
		return;
	}
	while (load->shards[i].first.fault == LOAD_NO_FAULT) {
		i++;
	}
	report_first(load->options.url, &load->shards[i].first);
	if (all > 1 && all > connects) {
		options_complain("%" PRIu64 " errors: %" PRIu64 " connections not made, %" PRIu64
				 " mismatches, %" PRIu64 " closed by the server, %" PRIu64
				 " broken, %" PRIu64 " stalled",
				 all, connects,
				 load_faults(load, LOAD_MISMATCH) + load_faults(load, LOAD_SURPLUS),
				 load_faults(load, LOAD_CLOSED), load_faults(load, LOAD_BROKEN),
				 load_faults(load, LOAD_STALLED));
	}
}
