# SPDX-License-Identifier: MIT OR Apache-2.0
"""Short: connect, one small message, its echo, close. Server CPU per connection.

Beside the bare servers of bench/reference, in alternation and in reversed order every other round,
as the echo part does it. Each mode of accepting is a variant: with one shard, so that what a
hand-over costs is seen and nothing else.
"""

import json
import os
import statistics

from harness import figures, procs, report
from harness.rounds import collect

CONNS = 64
SIZE = 64
WARMUP_SECONDS = 0.1

TESTED = "per_shard"
BASES = ("limit", "epoll")
HANDED = ("round_robin", "least_loaded")
LIMIT_BAR = 1.10


def variants(paths):
    limit = [paths.bench("limit_echo"), "--port", "0", "--cpu", str(paths.server_cpu)]
    commands = {TESTED: paths.echo_server()}
    for mode in HANDED:
        commands[mode] = paths.echo_server("--accept-mode", mode)
    commands["limit"] = limit
    commands["epoll"] = [*limit, "--mode", "epoll"]
    return commands


def measure(command, options):
    load = [options.paths.bench("shortload"), "-c", str(CONNS), "-s", str(SIZE)]
    load += ["-t", str(options.seconds), "-w", str(WARMUP_SECONDS), "--cpu", str(options.load_cpu)]
    with procs.Server(command, options.server_cpu) as server:
        load += ["--port", str(server.port), "--pid", str(server.pid)]
        code, out, err = procs.run(load, options.seconds + 20, options.load_cpu)
    if code not in (0, 1) or not out.startswith("{"):
        raise procs.BenchError(f"shortload failed: {err.strip() or out.strip()}")
    sample = json.loads(out)
    if sample["errors"] or sample["mismatches"]:
        raise procs.BenchError(f"{server.argv[0]}: {out.strip()}")
    sample["usable"] = not sample["stalled"] and sample["server_ns_per_conn"] > 0
    sample["disturbed"] = False
    return sample


def _collect(commands, options):
    if not os.path.exists("/proc/self/schedstat"):
        raise procs.BenchError("no CPU times: this kernel has no /proc/PID/schedstat")
    return collect(commands, lambda command: measure(command, options), options.rounds, "short")[0]


def _figure(rounds, variant, base):
    key = "server_ns_per_conn"
    return figures.Figure([[r[variant][key] / r[base][key] for r in rounds]])


def _judge(rounds):
    bars = report.Bars()
    ratio = _figure(rounds, TESTED, "limit")
    bars.add(f"{TESTED} / limit", f"{LIMIT_BAR:.2f}", ratio, ratio.holds(LIMIT_BAR))
    for mode in HANDED:
        ratio = _figure(rounds, TESTED, mode)
        bars.add(f"{TESTED} / {mode}", "1.00", ratio, ratio.holds(1.00))
        bars.show(f"{mode} / limit", _figure(rounds, mode, "limit"))
    bars.show(f"{TESTED} / epoll", _figure(rounds, TESTED, "epoll"))
    return bars


def _absolute_table(rounds, commands):
    rows = []
    for name in commands:

        def median(key):
            return statistics.median(r[name][key] for r in rounds)

        cost = [r[name]["server_ns_per_conn"] for r in rounds]
        rows.append(
            (
                name,
                f"{figures.quartile(cost):,.0f}",
                f"{statistics.median(cost):,.0f}",
                f"{median('conns_per_s'):,.0f}",
                f"{median('server_cpu'):.2f}",
                f"{median('client_cpu'):.2f}",
            )
        )
    header = ["server", "ns/connection q25", "ns/connection median", "connections/s"]
    return report.table([*header, "server CPU", "generator CPU"], rows)


def main(options):
    commands = variants(options.paths)
    rounds = _collect(commands, options)
    bars = _judge(rounds)
    how = [
        ("shape", f"{CONNS} connections at once, each: connect, {SIZE} B, echo, close (client first)"),
        ("rounds", f"{len(rounds)}, {options.seconds} s each after {WARMUP_SECONDS} s"),
        ("placement", f"server on CPU {options.server_cpu}, generator on CPU {options.load_cpu}"),
    ]
    heading = report.heading("Short connections", options.paths.root, options.paths.build_dir, how)
    notes = "\n".join(f"- {name}: `{' '.join(command)}`" for name, command in commands.items())
    text = "\n".join([heading, str(bars), _absolute_table(rounds, commands), notes]) + "\n"
    return text.replace(options.paths.root + "/", ""), bars.failed
