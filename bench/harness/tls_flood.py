# SPDX-License-Identifier: MIT OR Apache-2.0
"""A flood of new TLS handshakes, and what connections that exist notice of it.

Two floods, each of a process of its own, bounded in connections and in time: whole handshakes, and
ClientHellos made beforehand, for which the server makes a key exchange and a signature and the
client does nothing. A round measures the healthy connections undisturbed, the flood by itself,
and both. From the server's CPU is taken off what the flood's handshakes cost: their number while
the healthy ones were measured, by what one of them cost in the same round by itself.
"""

import json
import statistics
import subprocess
import time

from harness import echo, figures, procs, report
from harness.rounds import collect

FLOODS = (("whole handshakes", "full"), ("ClientHellos", "hello"))
FLOOD_CONNS = 64
HEALTHY = (64, 1, 512)
SECONDS = 1  # at least
CPU_BAR = 1.25
P50_BAR = 2.0
LONGEST_BAR_MS = 1000
AHEAD_SECONDS = 0.2  # the flood has begun when the healthy ones begin
FLOOD_SECONDS_MAX = 20  # and it ends, whoever forgets it


def _flood_argv(server, mode, seconds, options):
    # on the healthy ones' CPU: where both want it, the flood gets a quarter
    argv = ["nice", "-n", "5", options.paths.bench("tlsload"), "--mode", mode, "--ticks"]
    argv += ["-c", str(FLOOD_CONNS), "-t", str(seconds), "-w", "0.1"]
    argv += ["--cpu", str(options.load_cpu), "--port", str(server.port), "--pid", str(server.pid)]
    return argv


def _flood_alone(server, mode, seconds, options):
    argv = _flood_argv(server, mode, seconds, options)
    code, out, err = procs.run(argv, seconds + 30, options.load_cpu)
    last = (out.strip().splitlines() or [""])[-1]
    if code not in (0, 1) or not last.startswith("{"):
        raise procs.BenchError(f"the flood failed: {err.strip() or last}")
    sample = json.loads(last)
    if sample["errors"] or not sample["handshakes"]:
        raise procs.BenchError(f"the flood failed: {last}")
    return sample


def _rate(out, begin_ns, end_ns):
    """Handshakes per second between two moments, by the ticks."""
    lines = [line.split() for line in out.splitlines()]
    ticks = [tuple(map(int, words[1:])) for words in lines if len(words) == 4 and words[0] == "tick"]
    ticks = [tick for tick in ticks if begin_ns <= tick[0] <= end_ns]
    if len(ticks) < 2 or ticks[-1][2] != 0:
        raise procs.BenchError(f"the flood failed: {out.strip().splitlines()[-1:]}")
    (first_ns, before, _), (last_ns, after, _) = ticks[0], ticks[-1]
    return (after - before) / (last_ns - first_ns) * 1e9


def _both(site, server, mode, seconds):
    argv = _flood_argv(server, mode, FLOOD_SECONDS_MAX, site.options)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    process = procs.start(argv, site.options.load_cpu, **pipes)
    try:
        time.sleep(AHEAD_SECONDS)
        healthy = site.echo_load(server, HEALTHY, seconds)
        end_ns = time.monotonic_ns()  # the window has just ended
    finally:
        process.terminate()
        out = process.communicate()[0]
        procs.forget(process)
    return healthy, _rate(out, end_ns - int(seconds * 1e9), end_ns)


def _measure(site, mode):
    seconds = max(site.options.seconds, SECONDS)
    with procs.Server(site.ringline("ec"), site.options.server_cpu) as server:
        still = site.echo_load(server, HEALTHY, seconds)
        alone = _flood_alone(server, mode, seconds, site.options)
        healthy, per_s = _both(site, server, mode, seconds)
    flood_cpu = per_s * alone["server_ns_per_handshake"] / 1e9
    own_cpu = max(healthy["server_cpu"] - flood_cpu, 0)
    waits = [sample["server_wait"] for sample in (still, alone, healthy)]
    return {
        "usable": True,
        "disturbed": max(*waits, still["client_wait"]) > echo.DISTURBED_SHARE,
        "cpu": max(own_cpu * 1e9 / healthy["msgs_per_s"] / still["server_ns_per_msg"], 0.01),
        "p50": healthy["p50_us"] / still["p50_us"],
        "p50_still": still["p50_us"],
        "p50_beside": healthy["p50_us"],
        "longest_ms": healthy["max_us"] / 1000,
        "stalled": healthy["stalled"],
        "alone_per_s": alone["per_s"],
        "per_s": per_s,
        "flood_cpu": flood_cpu,
        "rate": healthy["msgs_per_s"] / still["msgs_per_s"],
    }


def _judge(bars, what, rounds):
    for key, bar, text in (("cpu", CPU_BAR, "CPU per echo"), ("p50", P50_BAR, "p50")):
        figure = figures.Figure([[r[key] for r in rounds]])
        text = f"{text} beside a flood of {what} / undisturbed"
        bars.add(text, f"{bar:.2f}", figure, figure.holds(bar))
    longest = max(r["longest_ms"] for r in rounds)
    good = longest < LONGEST_BAR_MS and not any(r["stalled"] for r in rounds)
    bars.add(f"longest echo beside a flood of {what}, ms", LONGEST_BAR_MS, f"{longest:.0f}", good)


def measure(site, bars, noises):
    wanted = site.options.rounds
    rows = []
    for what, mode in FLOODS:
        found, noise = collect(
            {"beside": mode}, lambda mode: _measure(site, mode), wanted, f"flood of {what}"
        )
        noises.append(noise)
        rounds = [samples["beside"] for samples in found]
        _judge(bars, what, rounds)

        def median(key, rounds=rounds):
            return statistics.median(r[key] for r in rounds)

        row = [what, f"{median('alone_per_s'):,.0f}", f"{median('per_s'):,.0f}"]
        row += [f"{median('flood_cpu'):.2f}", f"{median('rate'):.2f}"]
        rows.append([*row, f"{median('p50_still'):,.0f}", f"{median('p50_beside'):,.0f}"])
    header = ["flood", "per second alone", "beside echoes", "server CPU of it"]
    header += ["echoes / undisturbed", "p50 us undisturbed", "p50 us beside it"]
    return report.table(header, rows)
