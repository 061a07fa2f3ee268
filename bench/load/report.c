/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "load/load.h"

#include <inttypes.h>
#include <stdio.h>

/* What both forms print, computed once. */
struct report_figures {
	double messages_per_s;
	double megabytes_per_s;
	double client_cpu;
	double server_cpu;
	double client_wait;
	double server_wait;
	double server_ns_per_message;
	double messages_per_turn;
};

static double
report_ratio(double value, double of)
{
	return of != 0 ? value / of : 0;
}

static double
report_quantile_us(const struct load_result *result, double quantile)
{
	return (double)histogram_quantile(&result->latency, quantile) / 1e3;
}

static struct report_figures
report_figures(const struct load_options *options, const struct load_result *result)
{
	double usage_ns = (double)result->usage_window_ns;
	double rate = (double)result->messages / options->seconds;
	double server_cpu = report_ratio((double)result->server.ran_ns, usage_ns);

	return (struct report_figures){
		.messages_per_s = rate,
		.megabytes_per_s = (double)result->bytes / options->seconds / 1e6,
		.client_cpu = (double)result->cpu_ns / (options->seconds * 1e9),
		.server_cpu = server_cpu,
		.client_wait = report_ratio((double)result->client.waited_ns, usage_ns),
		.server_wait = report_ratio((double)result->server.waited_ns, usage_ns),
		.server_ns_per_message = report_ratio(server_cpu * 1e9, rate),
		.messages_per_turn = report_ratio((double)result->messages, (double)result->turns),
	};
}

static void
report_json(const struct load_options *options, const struct load_result *result,
	    const struct report_figures *figures)
{
	printf("{\"conns\":%u,\"depth\":%u,\"size\":%u,\"secs\":%.3f,\"msgs_per_s\":%.0f,"
	       "\"mb_per_s\":%.2f",
	       options->conns, options->depth, options->size_bytes, options->seconds,
	       figures->messages_per_s, figures->megabytes_per_s);
	printf(",\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,"
	       "\"max_us\":%.2f,\"mean_us\":%.2f",
	       report_quantile_us(result, 0.5), report_quantile_us(result, 0.9),
	       report_quantile_us(result, 0.99), report_quantile_us(result, 0.999),
	       (double)result->latency.max / 1e3, histogram_mean(&result->latency) / 1e3);
	printf(",\"errors\":%" PRIu64 ",\"mismatches\":%" PRIu64 ",\"stalled\":%" PRIu64,
	       result->errors, result->mismatches, result->stalled);
	printf(",\"client_cpu\":%.3f,\"server_cpu\":%.3f,\"client_wait\":%.3f,"
	       "\"server_wait\":%.3f,\"server_ns_per_msg\":%.0f,\"msgs_per_turn\":%.1f}\n",
	       figures->client_cpu, figures->server_cpu, figures->client_wait, figures->server_wait,
	       figures->server_ns_per_message, figures->messages_per_turn);
}

static void
report_text(const struct load_options *options, const struct load_result *result,
	    const struct report_figures *figures)
{
	printf("%u conns x depth %u x %u bytes, %.1f s: %.0f msgs/s  %.2f MB/s (payload, each "
	       "way)\n",
	       options->conns, options->depth, options->size_bytes, options->seconds,
	       figures->messages_per_s, figures->megabytes_per_s);
	printf("latency us: p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f  mean %.1f\n",
	       report_quantile_us(result, 0.5), report_quantile_us(result, 0.9),
	       report_quantile_us(result, 0.99), report_quantile_us(result, 0.999),
	       (double)result->latency.max / 1e3, histogram_mean(&result->latency) / 1e3);
	printf("errors %" PRIu64 " (mismatches %" PRIu64 ")  stalled connections %" PRIu64
	       "  generator cpu %.0f%%",
	       result->errors, result->mismatches, result->stalled, figures->client_cpu * 100);
	if (options->pid != 0) {
		printf("  server cpu %.0f%% = %.0f ns/msg", figures->server_cpu * 100,
		       figures->server_ns_per_message);
	}
	printf("  %.1f msgs/turn\n", figures->messages_per_turn);
}

void
load_report(const struct load_options *options, const struct load_result *result)
{
	struct report_figures figures = report_figures(options, result);

	if (options->json) {
		report_json(options, result, &figures);
	} else {
		report_text(options, result, &figures);
	}
}
