/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * meter - the clock of both sides. Ringline's programs and the bare ones count their operations
 * here and are timed by the same code: a warm-up, then a window of time (or so many operations),
 * and in that window wall time, CPU time and the time that a thread waited for its own core.
 *
 *	meter_watch(meter, 0);              the thread that works
 *	while (meter_add(meter, 1)) ...     once per operation; false: the row is over
 *
 * One thread adds. The others that are watched have said so before that thread's window begins, by
 * whatever passes the first message to it.
 */
#ifndef RINGLINE_BENCH_METER_H
#define RINGLINE_BENCH_METER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum {
	METER_THREADS = 2,
	METER_NOTES = 8,
	METER_LAPS_MAX = 1 << 16
};

/* Which time a row is judged by. */
enum meter_figure {
	METER_CPU, /* of the first thread, per operation */
	METER_WALL, /* per operation */
	METER_LAP, /* first quartile of the laps, per operation */
	METER_BYTES /* no time at all: the note "bytes" */
};

struct meter_config {
	double seconds;
	double warmup_seconds;
	uint64_t count; /* not 0: so many operations instead of the seconds, no warm-up */
	uint64_t stride; /* operations between looks at the clock */
	enum meter_figure figure;
};

/* What is read when the window begins and when it ends. */
struct meter_reading {
	uint64_t ops;
	uint64_t wall_ns;
	uint64_t cpu_ns[METER_THREADS];
	uint64_t waited_ns[METER_THREADS];
};

struct meter_thread {
	pid_t tid; /* 0: nobody */
	clockid_t clock;
};

struct meter_note {
	const char *name;
	double value;
};

struct meter {
	uint64_t ops;
	uint64_t next; /* the count at which to look at the clock */
	struct meter_config config;
	uint64_t deadline_ns;
	bool measuring;
	bool over;
	struct meter_thread threads[METER_THREADS];
	struct meter_reading begin;
	struct meter_reading end;
	struct meter_note notes[METER_NOTES];
	unsigned notes_count;
	uint64_t *laps;
	uint32_t laps_count;
	uint32_t lap_ops; /* operations in a lap */
	uint64_t lap_ns; /* when the last one ended; 0: none did */
};

void meter_init(struct meter *meter, const struct meter_config *config);
void meter_fini(struct meter *meter);

/* The calling thread's CPU time counts, as that of thread @p index. */
void meter_watch(struct meter *meter, unsigned index);

/* The slow half of meter_add(). */
bool meter_look(struct meter *meter);

/* @p ops more were done; false: enough. */
static inline bool
meter_add(struct meter *meter, uint64_t ops)
{
	meter->ops += ops;
	return meter->ops < meter->next || meter_look(meter);
}

/* A lap of @p ops operations ends here, and the next one begins. */
void meter_lap(struct meter *meter, uint32_t ops);

/* One more value to be printed; @p name is static. */
void meter_note(struct meter *meter, const char *name, double value);

/* One line of JSON on stdout; "ns" is the figure that counts. */
void meter_print(struct meter *meter, const char *row);

/* Resident memory of this process. */
uint64_t meter_rss_bytes(void);

#endif
