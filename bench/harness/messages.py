# SPDX-License-Identifier: MIT OR Apache-2.0
"""Messages: ringline's beside bare programs that do the same and nothing else.

Each row is a sub-command of two programs, timed by the same code. A round runs every row once with
each of them, in reversed order every other round, so that a ratio's two halves lie within a second
of each other; what counts is the median of the rounds' ratios.
"""

import collections
import json
import statistics

from harness import figures, procs, report

WARMUP_SECONDS = 0.05
ROUNDS_ENOUGH = 15
DISTURBED_SHARE = 0.10  # a thread waited longer than this for its own core
ROUNDS_FACTOR = 3
MEMORY_RUNS = 3
END_SECONDS = 60  # a million actors take a while to end

SIDES = ("bare", "ringline")

# name, what it is, what it is compared with, the bar on the ratio (None: it is shown, and not
# judged), the CPUs at work
Row = collections.namedtuple("Row", "name what base bar cpus")
ROWS = (
    Row("window", "64 actors of one core, 1,000 messages in flight", "bare dispatch", 1.8, 1),
    Row("pingpong", "two actors of one core, one message", "bare dispatch", 2, 1),
    Row("broadcast", "one counted buffer to 1,000 actors of one core", "bare dispatch", 1.8, 1),
    Row("spawn", "spawn and stop of an actor", "malloc, dispatch, free", 2, 1),
    Row("timer", "start and cancel of a timer, a million outstanding", "bare wheel", 4, 1),
    Row("notify", "notifications to another core, one way, polling", "batched SPSC ring", 2, 2),
    Row("drowsy", "notifications one way, shards sleep at once", "batched SPSC ring", None, 2),
    Row("send", "messages to 64 actors of another core, polling", "ring and dispatch", 2, 2),
    Row("parked", "round trip of notifications, both asleep", "MSG_RING round trip", 1.15, 2),
    Row("spinning", "round trip of notifications, both polling", "ck_ring round trip", 2, 2),
)
WAKEUPS_ROWS, WAKEUPS_BAR = ("notify", "drowsy"), 0.01
MEMORY_ROW, MEMORY_BAR = "memory", 256


def names():
    return (*(row.name for row in ROWS), MEMORY_ROW)


def program(paths, side):
    return paths.bench({"bare": "bare_messages", "ringline": "shard_messages"}[side])


def measure(options, side, name, cpus, *extra):
    """One run of one side; a thread works on the first CPU, and on the second if there are two."""
    argv = [program(options.paths, side), name, *extra]
    argv += ["--cpu", str(options.server_cpu), "--other-cpu", str(options.load_cpu)]
    cpu = options.server_cpu if cpus == 1 else None
    code, out, err = procs.run(argv, options.seconds + END_SECONDS, cpu)
    if code != 0 or not out.startswith("{"):
        raise procs.BenchError(f"{side} {name} failed: {err.strip() or out.strip()}")
    return json.loads(out)


def has_row(options, row):
    """One bare row needs Concurrency Kit, which may not have been there when it was built."""
    _, out, _ = procs.run([program(options.paths, "bare"), "--help"], END_SECONDS)
    return any(line.split()[:1] == [row.name] for line in out.splitlines())


def _waited(samples):
    return max(sample["waited"] for sample in samples.values())


class Rounds:
    """The rounds of one row: each has a sample of either side."""

    def __init__(self, row):
        self.row = row
        self.rounds = []

    def add(self, options, index):
        sides = SIDES if index % 2 == 0 else SIDES[::-1]
        times = ["--seconds", str(options.seconds), "--warmup", str(WARMUP_SECONDS)]
        self.rounds.append(
            {side: measure(options, side, self.row.name, self.row.cpus, *times) for side in sides}
        )

    def undisturbed(self):
        return [samples for samples in self.rounds if _waited(samples) <= DISTURBED_SHARE]

    def used(self, wanted):
        """The undisturbed rounds; where they are too few, those that were disturbed least."""
        good = self.undisturbed()
        return good if len(good) >= wanted else sorted(self.rounds, key=_waited)[:wanted]

    def values(self, wanted, side, key):
        return [samples[side][key] for samples in self.used(wanted)]

    def ratio(self, wanted):
        used = self.used(wanted)
        return figures.Figure([[s["ringline"]["ns"] / s["bare"]["ns"] for s in used]])


def collect(rows, options):
    collected = [Rounds(row) for row in rows]
    for index in range(options.rounds * ROUNDS_FACTOR):
        pending = [r for r in collected if len(r.undisturbed()) < options.rounds]
        if not pending:
            break
        for rounds in pending:
            rounds.add(options, index)
        done = min(len(r.undisturbed()) for r in collected)
        report.progress(f"messages: round {index + 1}, {done} of {options.rounds} undisturbed")
    return collected


def _memory(options):
    """Bytes per actor: nothing to compare with, and nothing that a busy machine changes."""
    runs = [measure(options, "ringline", MEMORY_ROW, 1) for _ in range(MEMORY_RUNS)]
    return statistics.median(run["bytes"] for run in runs), int(runs[0]["actors"])


def judge(collected, missing, memory, options):
    bars = report.Bars()
    for row in missing:
        why = "not measured: built without Concurrency Kit"
        bars.add(f"{row.what} / {row.base}", f"{row.bar:.2f}", why, False)
    for rounds in collected:
        row = rounds.row
        ratio = rounds.ratio(options.rounds)
        if row.bar is None:
            bars.show(f"{row.what} / {row.base}", ratio)
        else:
            bars.add(f"{row.what} / {row.base}", f"{row.bar:.2f}", ratio, ratio.holds(row.bar))
        if row.name in WAKEUPS_ROWS:
            value = statistics.median(rounds.values(options.rounds, "ringline", "wakeups"))
            what = f"{row.what}, wake-ups per message"
            bars.add(what, WAKEUPS_BAR, f"{value:.4f}", value <= WAKEUPS_BAR)
    if memory is not None:
        what = f"bytes of an actor without state, {memory[1]:,} of them"
        bars.add(what, MEMORY_BAR, f"{memory[0]:.0f}", memory[0] <= MEMORY_BAR)
    return bars


def _nanoseconds(value):
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _absolute_rows(rounds, wanted):
    for side in SIDES:

        def median(key, side=side):
            values = rounds.values(wanted, side, key) if key in rounds.rounds[0][side] else None
            return statistics.median(values) if values else None

        cost = rounds.values(wanted, side, "ns")
        counts = [median(key) for key in ("wakeups", "turns")]
        cpus = [median(f"cpu{index}_ns") for index in range(rounds.row.cpus)]
        yield (
            rounds.row.name,
            side,
            len(rounds.used(wanted)),
            _nanoseconds(figures.quartile(cost)),
            _nanoseconds(statistics.median(cost)),
            _nanoseconds(median("wall_ns")),
            " + ".join(_nanoseconds(value) for value in cpus),
            *("-" if value is None else f"{value:.4f}" for value in counts),
        )


def _absolute_table(collected, options):
    header = ["row", "side", "rounds", "ns q25", "ns median", "wall ns", "CPU ns"]
    header += ["wake-ups", "turns"]
    rows = [row for rounds in collected for row in _absolute_rows(rounds, options.rounds)]
    return report.table(header, rows)


def _how(collected, options):
    total = sum(len(r.rounds) for r in collected)
    disturbed = total - sum(len(r.undisturbed()) for r in collected)
    kept = [r.row.name for r in collected if len(r.undisturbed()) < options.rounds]
    text = f"{options.rounds} rounds a row, {options.seconds} s each after {WARMUP_SECONDS} s"
    noise = f"{disturbed} of {total} rounds were disturbed"
    if kept:
        noise += f"; **the least of them counted, indicative only: {', '.join(kept)}**"
    else:
        noise += " and not counted"
    if options.rounds < ROUNDS_ENOUGH:
        noise += f"; **fewer than {ROUNDS_ENOUGH} rounds: indicative only**"
    cpus = f"one core: CPU {options.server_cpu}; two: from there to CPU {options.load_cpu}"
    return [("rounds", text), ("disturbance", noise), ("placement", cpus)]


NOTES = """\
A ratio is ringline / bare, below 1 is cheaper; median of paired rounds ± half of the 95 % bootstrap
interval. A bar holds if the value less that is at most the bar. ns, per message, actor, timer or
round trip: CPU time of the working thread on one core, time passed between two cores under load,
and the first quartile of the round trips of a run; q25 is the first quartile of the runs. CPU ns of
two threads: the sender's + the receiver's. Wake-ups and turns are counted per operation.
"""


def main(options):
    wanted = options.rows or names()
    rows = [row for row in ROWS if row.name in wanted]
    missing = [row for row in rows if not has_row(options, row)]
    collected = collect([row for row in rows if row not in missing], options)
    memory = _memory(options) if MEMORY_ROW in wanted else None
    bars = judge(collected, missing, memory, options)
    how = _how(collected, options) if collected else []
    parts = [
        report.heading("Messages", options.paths.root, options.paths.build_dir, how),
        str(bars),
        _absolute_table(collected, options) if collected else "",
        NOTES,
        "\n".join(f"- {side}: `{program(options.paths, side)} ROW`" for side in SIDES),
    ]
    return "\n".join(part for part in parts if part), bars.failed
