# SPDX-License-Identifier: MIT OR Apache-2.0
"""A flood of new TLS handshakes, and what connections that exist notice of it.

Two floods, each of a process of its own, bounded in connections and in time: whole handshakes, and
ClientHellos made beforehand, for which the server makes a key exchange and a signature and the
client does nothing. A round measures the healthy connections undisturbed, the flood by itself,
and both. The server's CPU of the flood is taken off by the number of its handshakes and what one
of them cost in the same round by itself.
"""

import json
import statistics
import subprocess

from harness import echo, figures, procs, report

FLOODS = (("whole handshakes", "full"), ("ClientHellos", "hello"))
FLOOD_CONNS = 64
HEALTHY = (64, 1, 512)
SECONDS = 1  # at least
ROUNDS = 9
CPU_BAR = 1.25
P50_BAR = 2.0
LONGEST_BAR_MS = 1000
AHEAD_SECONDS = 0.3  # the flood runs when the healthy ones begin, and until they have ended


def _flood_argv(server, mode, seconds, options):
    # on the healthy ones' CPU, which goes to them first
    argv = ["nice", "-n", "19", options.paths.bench("tlsload"), "--mode", mode]
    argv += ["-c", str(FLOOD_CONNS), "-t", str(seconds), "-w", "0.1"]
    argv += ["--cpu", str(options.load_cpu), "--port", str(server.port), "--pid", str(server.pid)]
    return argv


def _parse(code, out, err):
    if code not in (0, 1) or not out.startswith("{"):
        raise procs.BenchError(f"the flood failed: {err.strip() or out.strip()}")
    sample = json.loads(out)
    if sample["errors"] or not sample["handshakes"]:
        raise procs.BenchError(f"the flood failed: {out.strip()}")
    return sample


def _flood_alone(server, mode, seconds, options):
    argv = _flood_argv(server, mode, seconds, options)
    return _parse(*procs.run(argv, seconds + 30, options.load_cpu))


def _both(site, server, mode, seconds):
    options = site.options
    whole = seconds + 2 * AHEAD_SECONDS
    argv = _flood_argv(server, mode, whole, options)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = procs.start(argv, options.load_cpu, **pipes)
    try:
        healthy = site.echo_load(server, HEALTHY, seconds)
        out, err = process.communicate(timeout=whole + 30)
    except subprocess.TimeoutExpired as error:
        raise procs.BenchError("the flood did not end") from error
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        procs.forget(process)
    return healthy, _parse(process.returncode, out, err)


def _round(site, mode):
    seconds = max(site.options.seconds, SECONDS)
    with procs.Server(site.ringline("ec"), site.options.server_cpu) as server:
        still = site.echo_load(server, HEALTHY, seconds)
        alone = _flood_alone(server, mode, seconds, site.options)
        healthy, flood = _both(site, server, mode, seconds)
    flood_cpu = flood["per_s"] * alone["server_ns_per_handshake"] / 1e9
    own_cpu = max(healthy["server_cpu"] - flood_cpu, 0)
    return {
        "cpu": own_cpu * 1e9 / healthy["msgs_per_s"] / still["server_ns_per_msg"],
        "p50": healthy["p50_us"] / still["p50_us"],
        "longest_ms": healthy["max_us"] / 1000,
        "stalled": healthy["stalled"],
        "per_s": flood["per_s"],
        "alone_per_s": alone["per_s"],
        "flood_cpu": flood_cpu,
        "rate": healthy["msgs_per_s"] / still["msgs_per_s"],
        "refused": server.stats["refused"],
    }


def measure(site, bars):
    rows = []
    for what, mode in FLOODS:
        rounds = []
        for index in range(ROUNDS):
            rounds.append(_round(site, mode))
            echo.progress(f"flood of {what}: round {index + 1} of {ROUNDS}")
        for key, bar, text in (("cpu", CPU_BAR, "CPU per echo"), ("p50", P50_BAR, "p50")):
            figure = figures.Figure([[r[key] for r in rounds]])
            text = f"{text} beside a flood of {what} / undisturbed"
            bars.add(text, f"{bar:.2f}", figure, figure.holds(bar))
        longest = max(r["longest_ms"] for r in rounds)
        good = longest < LONGEST_BAR_MS and not any(r["stalled"] for r in rounds)
        bars.add(f"the longest echo beside it, ms", LONGEST_BAR_MS, f"{longest:.0f}", good)

        def median(key, rounds=rounds):
            return statistics.median(r[key] for r in rounds)

        rows.append((what, f"{median('alone_per_s'):,.0f}", f"{median('per_s'):,.0f}",
                     f"{median('flood_cpu'):.2f}", f"{median('rate'):.2f}",
                     f"{max(r['refused'] for r in rounds)}"))
    header = ["flood", "per second alone", "beside echoes", "server CPU of it"]
    return report.table([*header, "echoes / undisturbed", "refused"], rows)
