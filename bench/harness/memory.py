# SPDX-License-Identifier: MIT OR Apache-2.0
"""Memory: what an idle connection costs the server's process.

The warm-up makes the server touch all that it has once (every receive buffer, the whole completion
ring), so that what grows afterwards is the connections'. The kernel's own memory for a socket is
the same for every server and not counted.
"""

import resource
import time

from harness import procs, report

WARMUP = ["-c", "64", "-d", "4", "-s", "65536", "-t", "1", "-w", "0.1"]
BYTES_PER_CONN_BAR = 512
SETTLED_SAMPLES = 5
SETTLE_SECONDS = 15


def _rss_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise procs.BenchError(f"no Rss in /proc/{pid}/smaps_rollup")


def _settled_rss(pid):
    """RSS once it has stayed the same for half a second: accepting goes on after connect."""
    deadline = time.monotonic() + SETTLE_SECONDS
    seen = [_rss_bytes(pid)]
    while time.monotonic() < deadline:
        time.sleep(0.1)
        seen.append(_rss_bytes(pid))
        if len(set(seen[-SETTLED_SAMPLES:])) == 1 and len(seen) >= SETTLED_SAMPLES:
            return seen[-1]
    raise procs.BenchError(f"the server's memory still grows after {SETTLE_SECONDS} s")


def _warm_up(server, options):
    load = [options.paths.bench("tcpload"), "--port", str(server.port)]
    load += ["--cpu", str(options.load_cpu)]
    code, out, err = procs.run(load + WARMUP, 30, options.load_cpu)
    if code != 0:
        raise procs.BenchError(f"warm-up failed: {err.strip() or out.strip()}")


def measure(command, warm_up, options, *extra):
    """Warmed up, connected, after an echo on each: resident bytes. More flags for idle_conns."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if options.conns + 100 > hard:
        raise procs.BenchError(f"{options.conns} connections, but only {hard} open files allowed")
    program = options.paths.bench("idle_conns")
    with procs.Server(command, options.server_cpu) as server:
        warm_up(server, options)
        base = _settled_rss(server.pid)
        client = procs.Client(program, server.port, options.conns, options.load_cpu, *extra)
        with client:
            idle = _settled_rss(server.pid)
            client.echo_all()
            echoed = _settled_rss(server.pid)
    return base, idle, echoed


def main(options):
    command = options.variants.get("ringline") or options.paths.echo_server(
        "--conns-max", str(options.conns + 1000)
    )
    base, idle, echoed = measure(command, _warm_up, options)
    per_conn = [(rss - base) / options.conns for rss in (idle, echoed)]
    bars = report.Bars()
    for what, value in zip(("connected", "after one echo"), per_conn):
        text = f"bytes per connection, {what}"
        bars.add(text, BYTES_PER_CONN_BAR, f"{value:.0f}", value <= BYTES_PER_CONN_BAR)
    rows = [
        ("warmed up, no connection", f"{base:,}"),
        (f"{options.conns:,} connections, idle", f"{idle:,}"),
        ("after one echo on each", f"{echoed:,}"),
    ]
    how = [("connections", f"{options.conns:,}"), ("server", f"`{_text(command)}`")]
    parts = [
        report.heading(
            "Memory per idle connection", options.paths.root, options.paths.build_dir, how
        ),
        str(bars),
        report.table(["resident memory of the server", "bytes"], rows),
    ]
    return "\n".join(parts), bars.failed


def _text(command):
    return command if isinstance(command, str) else " ".join(command)
