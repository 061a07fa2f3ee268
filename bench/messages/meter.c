/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "messages/meter.h"

#include "common/program.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_SECOND 1e9

void
meter_init(struct meter *meter, const struct meter_config *config)
{
	memset(meter, 0, sizeof(*meter));
	meter->config = *config;
	meter->laps = program_alloc(METER_LAPS_MAX, sizeof(*meter->laps));
}

void
meter_fini(struct meter *meter)
{
	free(meter->laps);
}

void
meter_watch(struct meter *meter, unsigned index)
{
	struct meter_thread *thread = &meter->threads[index];

	thread->tid = gettid();
	errno = pthread_getcpuclockid(pthread_self(), &thread->clock);
	if (errno != 0) {
		program_die("pthread_getcpuclockid");
	}
}

/* How long a thread was runnable and did not run: the second number of its schedstat. */
static uint64_t
thread_waited_ns(const struct meter_thread *thread)
{
	uint64_t waited = 0;
	char path[64];
	char text[128];
	char *at;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", (int)thread->tid);
	file = fopen(path, "r");
	if (file == NULL) {
		return 0; /* this kernel does not tell */
	}
	if (fgets(text, sizeof(text), file) != NULL && (at = strchr(text, ' ')) != NULL) {
		waited = strtoull(at, NULL, 10);
	}
	(void)fclose(file);
	return waited;
}

static void
meter_read(struct meter *meter, struct meter_reading *reading)
{
	unsigned i;

	for (i = 0; i < METER_THREADS; i++) {
		struct timespec cpu;

		if (meter->threads[i].tid == 0) {
			continue;
		}
		reading->waited_ns[i] = thread_waited_ns(&meter->threads[i]);
		if (clock_gettime(meter->threads[i].clock, &cpu) != 0) {
			program_die("clock_gettime");
		}
		reading->cpu_ns[i] = (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
	}
	reading->ops = meter->ops;
	reading->wall_ns = program_now_ns();
}

static void
meter_begin(struct meter *meter)
{
	meter->measuring = true;
	meter_read(meter, &meter->begin);
	meter->deadline_ns =
		meter->begin.wall_ns + (uint64_t)(meter->config.seconds * NS_PER_SECOND);
}

bool
meter_look(struct meter *meter)
{
	const struct meter_config *config = &meter->config;

	if (meter->over) {
		return false;
	}
	if (config->count != 0) {
		meter->next = config->count;
		if (!meter->measuring) {
			meter_begin(meter);
		}
		meter->over = meter->ops >= config->count;
	} else {
		uint64_t now_ns = program_now_ns();

		meter->next = meter->ops + config->stride;
		if (meter->deadline_ns == 0) {
			meter->deadline_ns =
				now_ns + (uint64_t)(config->warmup_seconds * NS_PER_SECOND);
		}
		if (now_ns >= meter->deadline_ns) {
			meter->over = meter->measuring;
			if (!meter->measuring) {
				meter_begin(meter);
			}
		}
	}
	if (meter->over) {
		meter->next = 0;
		meter_read(meter, &meter->end);
	}
	return !meter->over;
}

void
meter_lap(struct meter *meter, uint32_t ops)
{
	uint64_t now_ns = program_now_ns();

	if (meter->measuring && meter->lap_ns != 0 && meter->laps_count < METER_LAPS_MAX) {
		meter->laps[meter->laps_count++] = now_ns - meter->lap_ns;
	}
	meter->lap_ops = ops;
	meter->lap_ns = now_ns;
}

void
meter_note(struct meter *meter, const char *name, double value)
{
	if (meter->notes_count < METER_NOTES) {
		meter->notes[meter->notes_count++] = (struct meter_note){ name, value };
	}
}

static int
laps_compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left;
	uint64_t b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

/* The lap at @p quarter of four, per operation; 0 when there was none. */
static double
meter_quartile_ns(struct meter *meter, unsigned quarter)
{
	if (meter->laps_count == 0) {
		return 0;
	}
	qsort(meter->laps, meter->laps_count, sizeof(*meter->laps), laps_compare);
	return (double)meter->laps[(meter->laps_count - 1) * quarter / 4] / meter->lap_ops;
}

static double
meter_figure_ns(struct meter *meter, double ops)
{
	switch (meter->config.figure) {
	case METER_CPU:
		return (double)(meter->end.cpu_ns[0] - meter->begin.cpu_ns[0]) / ops;
	case METER_WALL:
		return (double)(meter->end.wall_ns - meter->begin.wall_ns) / ops;
	case METER_LAP:
		return meter_quartile_ns(meter, 1);
	case METER_BYTES:
		break;
	}
	return 0;
}

void
meter_print(struct meter *meter, const char *row)
{
	uint64_t ops = meter->end.ops - meter->begin.ops;
	uint64_t wall_ns = meter->end.wall_ns - meter->begin.wall_ns;
	double per_op = ops > 0 ? (double)ops : 1;
	uint64_t waited_ns = 0;
	unsigned i;

	printf("{\"row\":\"%s\",\"ops\":%" PRIu64 ",\"ns\":%.3f,\"wall_ns\":%.3f", row, ops,
	       meter_figure_ns(meter, per_op), (double)wall_ns / per_op);
	for (i = 0; i < METER_THREADS; i++) {
		uint64_t waited = meter->end.waited_ns[i] - meter->begin.waited_ns[i];

		printf(",\"cpu%u_ns\":%.3f", i,
		       (double)(meter->end.cpu_ns[i] - meter->begin.cpu_ns[i]) / per_op);
		waited_ns = waited > waited_ns ? waited : waited_ns;
	}
	printf(",\"waited\":%.4f", wall_ns > 0 ? (double)waited_ns / (double)wall_ns : 0);
	if (meter->laps_count > 0) {
		printf(",\"laps\":%" PRIu32 ",\"lap_median_ns\":%.3f", meter->laps_count,
		       meter_quartile_ns(meter, 2));
	}
	for (i = 0; i < meter->notes_count; i++) {
		printf(",\"%s\":%.6f", meter->notes[i].name, meter->notes[i].value);
	}
	puts("}");
}

uint64_t
meter_rss_bytes(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	uint64_t bytes = 0;
	char line[256];

	if (file == NULL) {
		program_die("/proc/self/smaps_rollup");
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "Rss:", 4) == 0) {
			bytes = strtoull(line + 4, NULL, 10) * 1024;
		}
	}
	(void)fclose(file);
	return bytes;
}
