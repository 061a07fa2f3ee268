# SPDX-License-Identifier: MIT OR Apache-2.0
"""Echo: server CPU per message beside the bare servers, in alternation.

One server is alive at a time. Every round visits every shape with every variant, in reversed order
every other time, so that a ratio's two halves lie within two seconds of each other.
"""

import collections
import json
import os
import statistics

from harness import figures, procs, report, rounds

SHAPES = (
    (64, 1, 64),
    (512, 1, 64),
    (64, 16, 64),
    (512, 16, 64),
    (64, 1, 4096),
    (64, 1, 16384),
    (16, 1, 65536),
)

WARMUP_SECONDS = 0.1
ROUNDS_ENOUGH = 15  # below this a verdict proves little

# A round in which either side waited longer than this for its own core was disturbed.
DISTURBED_SHARE = 0.10
# A connection without an answer for half of the run: the machine's fault, or a lost echo.
STALLS_MAX = 3

# (base, bar on the geometric mean over the shapes, bar on any one shape)
RATIO_BARS = (("copy", 1.06, 1.20), ("limit", 1.10, 1.20))
ENTERS_PER_TURN_BAR = 1.05

TESTED = "ringline"


def variants(paths):
    limit = [paths.bench("limit_echo"), "--port", "0", "--cpu", str(paths.server_cpu), "--stats"]
    return {
        TESTED: paths.echo_server(),
        "copy": [*limit, "--copy"],
        "limit": limit,
        "epoll": [*limit, "--mode", "epoll"],
    }


def shape_name(shape):
    return "({}, {}, {})".format(*shape)


def _syscalls_per_message(stats, size):
    messages = stats.get("bytes_in", 0) / size
    calls = stats.get("syscalls", stats.get("enters"))
    return calls / messages if messages and calls is not None else None


def _enters_per_turn(stats):
    return stats["enters"] / stats["turns"] if stats.get("turns") else None


def judged(sample, stats):
    """The sample, and whether it counts."""
    sample["enters_per_turn"] = _enters_per_turn(stats)
    waited = max(sample["server_wait"], sample["client_wait"])
    sample["usable"] = not sample["stalled"] and sample["server_ns_per_msg"] > 0
    sample["disturbed"] = waited > DISTURBED_SHARE
    return sample


def measure(command, shape, options):
    """One server's life: start, warm up, measure, stop."""
    conns, depth, size = shape
    load = [options.paths.bench("tcpload"), "--json"]
    load += ["-c", str(conns), "-d", str(depth), "-s", str(size)]
    load += ["-t", str(options.seconds), "-w", str(WARMUP_SECONDS), "--cpu", str(options.load_cpu)]
    with procs.Server(command, options.server_cpu) as server:
        load += ["--port", str(server.port), "--pid", str(server.pid)]
        code, out, err = procs.run(load, options.seconds + 20, options.load_cpu)
    if code not in (0, 1) or not out.startswith("{"):
        raise procs.BenchError(f"tcpload failed: {err.strip() or out.strip()}")
    sample = json.loads(out)
    if sample["errors"] or sample["mismatches"]:
        raise procs.BenchError(f"{server.argv[0]}, {shape_name(shape)}: {err.strip()}")
    sample["syscalls_per_msg"] = _syscalls_per_message(server.stats or {}, size)
    return judged(sample, server.stats or {})


class Shape:
    """The rounds of one shape: each has a sample of every variant."""

    def __init__(self, shape):
        self.shape = shape
        self.size = shape[2]
        self.rounds = []
        self.tried = 0
        self.stalls = collections.Counter()

    def add(self, samples):
        """A round in which a connection stalled is no measurement; many of them are a bug."""
        unusable = [name for name, sample in samples.items() if not sample["usable"]]
        self.tried += 1
        self.stalls.update(unusable)
        for name, count in self.stalls.items():
            if count > max(STALLS_MAX, self.tried / 4):
                where = f"{name}, {shape_name(self.shape)}"
                raise procs.BenchError(f"{where}: connections stalled in {count} runs: lost echoes?")
        if not unusable:
            self.rounds.append(samples)

    def undisturbed(self):
        return [r for r in self.rounds if not any(s["disturbed"] for s in r.values())]

    def used(self, wanted):
        """The undisturbed rounds if there are enough, else all: a busy machine is no excuse."""
        good = self.undisturbed()
        return good if len(good) >= wanted else self.rounds

    def values(self, wanted, variant, key):
        values = [samples[variant][key] for samples in self.used(wanted)]
        return [value for value in values if value is not None]

    def ratios(self, wanted, variant, base):
        key = "server_ns_per_msg"
        return [samples[variant][key] / samples[base][key] for samples in self.used(wanted)]


def collect(commands, options, measured=measure, title="echo"):
    if not os.path.exists("/proc/self/schedstat"):
        raise procs.BenchError("no CPU times: this kernel has no /proc/PID/schedstat")
    shapes = [Shape(shape) for shape in options.shapes]
    for index in range(options.rounds * rounds.FACTOR):
        pending = [s for s in shapes if len(s.undisturbed()) < options.rounds]
        if not pending:
            break
        for shape in pending:

            def sample(command, what=shape.shape):
                return measured(command, what, options)

            shape.add(rounds.one(commands, sample, index))
        done = min(len(s.undisturbed()) for s in shapes)
        report.progress(f"{title}: round {index + 1}, {done} of {options.rounds} undisturbed")
    for shape in shapes:
        if not shape.rounds:
            raise procs.BenchError(f"{shape_name(shape.shape)}: connections stalled in every round")
    return shapes


def _judge_ratios(bars, shapes, wanted, base, mean_bar, shape_bar):
    groups = {s: s.ratios(wanted, TESTED, base) for s in shapes}
    mean = figures.Figure(list(groups.values()))
    bars.add(f"{TESTED} / {base}, geometric mean", f"{mean_bar:.2f}", mean, mean.holds(mean_bar))
    worst = max(
        ((figures.Figure([group]), shape) for shape, group in groups.items()),
        key=lambda pair: pair[0].value - pair[0].half,
    )
    what = f"{TESTED} / {base}, worst shape {shape_name(worst[1].shape)}"
    bars.add(what, f"{shape_bar:.2f}", worst[0], worst[0].holds(shape_bar))


def judge(shapes, commands, options):
    bars = report.Bars()
    if TESTED not in commands:
        return bars
    for base, mean_bar, shape_bar in RATIO_BARS:
        if base in commands:
            _judge_ratios(bars, shapes, options.rounds, base, mean_bar, shape_bar)
    enters = [s.values(options.rounds, TESTED, "enters_per_turn") for s in shapes]
    medians = [statistics.median(values) for values in enters if values]
    if medians:
        worst = max(medians)
        holds = worst <= ENTERS_PER_TURN_BAR
        bars.add("enters per turn, worst shape", ENTERS_PER_TURN_BAR, f"{worst:.3f}", holds)
    return bars


PAIRS = ((TESTED, "copy"), (TESTED, "limit"), (TESTED, "epoll"), ("copy", "limit"), ("epoll", "limit"))


def ratio_table(shapes, commands, options, pairs=PAIRS):
    pairs = [pair for pair in pairs if set(pair) <= set(commands)]
    rows = []
    for s in shapes:
        cells = [figures.Figure([s.ratios(options.rounds, *pair)]) for pair in pairs]
        rows.append((shape_name(s.shape), len(s.used(options.rounds)), *cells))
    means = [figures.Figure([s.ratios(options.rounds, *pair) for s in shapes]) for pair in pairs]
    rows.append(("**geometric mean**", "", *means))
    header = ["(connections, depth, bytes)", "rounds", *(f"{a} / {b}" for a, b in pairs)]
    return report.table(header, rows)


def _optional(values, form):
    return form.format(statistics.median(values)) if values else "-"


def _absolute_row(s, variant, wanted):
    def median(key):
        return statistics.median(s.values(wanted, variant, key))

    cost = s.values(wanted, variant, "server_ns_per_msg")
    return (
        shape_name(s.shape),
        variant,
        f"{figures.quartile(cost):,.0f}",
        f"{statistics.median(cost):,.0f}",
        f"{median('msgs_per_s'):,.0f}",
        f"{median('p50_us'):,.0f}",
        f"{median('p99_us'):,.0f}",
        _optional(s.values(wanted, variant, "syscalls_per_msg"), "{:.3f}"),
        _optional(s.values(wanted, variant, "enters_per_turn"), "{:.3f}"),
        f"{median('server_cpu'):.2f}",
        f"{median('client_cpu'):.2f}",
    )


def absolute_table(shapes, commands, options):
    header = ["(connections, depth, bytes)", "server", "ns/msg q25", "ns/msg median"]
    header += ["msgs/s", "p50 us", "p99 us", "system calls/msg", "enters/turn"]
    header += ["server CPU", "generator CPU"]
    rows = [_absolute_row(s, name, options.rounds) for s in shapes for name in commands]
    return report.table(header, rows)


def how(shapes, options):
    total = sum(len(s.rounds) for s in shapes)
    disturbed = total - sum(len(s.undisturbed()) for s in shapes)
    kept = [s for s in shapes if len(s.undisturbed()) < options.rounds]
    text = f"{options.rounds} rounds a shape, {options.seconds} s each after {WARMUP_SECONDS} s"
    noise = f"{disturbed} of {total} rounds were disturbed"
    noise += f"; counted all the same in {len(kept)} shapes" if kept else " and not counted"
    if options.rounds < ROUNDS_ENOUGH:
        noise += f"; **fewer than {ROUNDS_ENOUGH} rounds: indicative only**"
    cpus = f"server on CPU {options.server_cpu}, generator on CPU {options.load_cpu}"
    return [("rounds", text), ("disturbance", noise), ("placement", cpus)]


def _notes(commands):
    text = "Ratios are server CPU per message, below 1 is cheaper; median of paired rounds ± half"
    text += " of the 95 % bootstrap interval. A bar holds if the value less that is at most the"
    text += " bar. q25 is the first quartile. System calls include setting up and tear-down.\n"
    return text + "\n" + "\n".join(
        f"- {name}: `{c if isinstance(c, str) else ' '.join(c)}`" for name, c in commands.items()
    )


def main(options):
    commands = variants(options.paths)
    commands.update(options.variants)
    if options.only:
        commands = {name: commands[name] for name in commands if name in options.only}
    shapes = collect(commands, options)
    bars = judge(shapes, commands, options)
    parts = [
        report.heading("Echo", options.paths.root, options.paths.build_dir, how(shapes, options)),
        str(bars),
        ratio_table(shapes, commands, options),
        absolute_table(shapes, commands, options),
        _notes(commands),
    ]
    return "\n".join(part for part in parts if part), bars.failed
