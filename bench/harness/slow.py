# SPDX-License-Identifier: MIT OR Apache-2.0
"""Slow: peers that never read, as many as the descriptors allow, beside connections that do.

The server echoes. Each crawler writes as much as goes out and never reads, so the server's output
for it fills the kernel's buffers and then the shard's send memory. They are held by several
processes. All of it runs in a network namespace of its own, where TCP has small buffers: with the
usual ones, 10,000 peers would need 25 GB of the kernel's.
"""

import json
import os
import subprocess
import sys
import time

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from harness import figures, procs, report

CRAWLERS = 10000
PROCESSES = 4
ROUNDS = 15
CPU_BAR = 1.25
P50_BAR = 2.0
LONGEST_BAR_US = 1000000
# docs/limits.md, "The most that a shard takes", with the defaults of these:
SEND_POOL_BYTES = 256 << 20
RECV_BUFFERS = 256
RECV_BUFFER_BYTES = 16384
RECV_POOL_MOST_BYTES = 1 << 30
POOL_STEP_BYTES = 16 * 69632
CONN_BYTES = 496 + 32  # the server's actors have a state of 32 bytes or less
REST_BYTES = 2 << 20
SPARE_CONNS = 128  # beside the crawlers
WMEM = "4096 16384 16384"
RMEM = "4096 8192 16384"
SECONDS = 2  # at least: what is out for a second counts as stalled
CRAWLER = """
import os, resource, socket, sys
os.nice(19)  # the generator of the healthy ones is on the same CPU
count, port = int(sys.argv[1]), int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
piece = bytes(65536)
peers = []
for _ in range(count):
    peer = socket.create_connection(("127.0.0.1", port), 60)
    peer.setblocking(False)
    peers.append(peer)
for _ in range(40):
    for peer in peers:
        try:
            peer.send(piece)
        except (BlockingIOError, ConnectionError):
            pass
print("full", flush=True)
sys.stdin.read()
"""


def _crawl(server, options, count):
    share = count // PROCESSES
    crawlers = []
    for _ in range(PROCESSES):
        argv = [sys.executable, "-c", CRAWLER, str(share), str(server.port)]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        crawlers.append(procs.start(argv, options.load_cpu, **streams))
    return crawlers


def _await_full(crawlers):
    for crawler in crawlers:
        if crawler.stdout.readline() != "full\n":
            raise procs.BenchError("a crawler ended before it had written all it could")


def _rss_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    return 0


def _load(server, options, seconds):
    argv = [options.paths.bench("tcpload"), "--json", "-c", "64", "-d", "1", "-s", "512"]
    argv += ["-t", str(seconds), "-w", "0.2", "--cpu", str(options.load_cpu)]
    argv += ["--port", str(server.port), "--pid", str(server.pid)]
    code, out, err = procs.run(argv, seconds + 30, options.load_cpu)
    if code not in (0, 1) or not out.startswith("{"):
        raise procs.BenchError(f"tcpload failed: {err.strip() or out.strip()}")
    sample = json.loads(out)
    if sample["errors"] or sample["mismatches"] or sample["stalled"]:
        raise procs.BenchError(f"a healthy connection was hurt: {err.strip() or out.strip()}")
    return sample


def _stage(options):
    """Inside the namespace: undisturbed runs, runs beside the crawlers, and what the server says."""
    command = options.paths.echo_server()
    with procs.Server(command, options.server_cpu) as server:
        program = _rss_bytes(server.pid)
        still = [_load(server, options, options.seconds) for _ in range(ROUNDS)]
        crawlers = _crawl(server, options, options.conns)
        first = _load(server, options, 2)  # while they come
        _await_full(crawlers)
        beside = [_load(server, options, options.seconds) for _ in range(ROUNDS)]
        time.sleep(1)
        rss = _rss_bytes(server.pid)
        for crawler in crawlers:
            crawler.kill()
            crawler.wait()
            procs.forget(crawler)
    stats = server.stats
    return {
        "still": still,
        "first": first,
        "beside": beside,
        "program": program,
        "rss": rss,
        "evicted": stats["closed"]["evicted"] + stats["closed"]["timeout_output"],
        "starved": stats["sends_starved"],
        "accepted": stats["accepted"],
    }


def _enter(options):
    """The stage as a program of its own in a namespace, since this process may not change its."""
    command = options.paths.echo_server("--conns-max", str(options.conns + SPARE_CONNS))
    words = json.dumps([options.paths.build_dir, command, options.server_cpu,
                        options.load_cpu, max(options.seconds, SECONDS), options.conns])
    argv = ["unshare", "-rn", sys.executable, "-B", os.path.realpath(__file__), words]
    code, out, err = procs.run(argv, 180)
    if code != 0 or not out.startswith("{"):
        raise procs.BenchError(f"slow: {(err.strip() or out.strip()).splitlines()[-1:]}")
    return json.loads(out)


def _most_bytes(conns_max):
    """What the shard of a server of conns_max connections may take: no figure is measured."""
    recv_pool = max(min(2 * RECV_BUFFER_BYTES * conns_max, RECV_POOL_MOST_BYTES),
                    2 * RECV_BUFFER_BYTES * RECV_BUFFERS)
    pools = SEND_POOL_BYTES + recv_pool + 2 * POOL_STEP_BYTES
    return pools + RECV_BUFFERS * RECV_BUFFER_BYTES + CONN_BYTES * conns_max + REST_BYTES


def main(options):
    result = _enter(options)
    key = "server_ns_per_msg"
    cpu = [b[key] / s[key] for s, b in zip(result["still"], result["beside"])]
    p50 = [b["p50_us"] / s["p50_us"] for s, b in zip(result["still"], result["beside"])]
    longest = max(sample["max_us"] for sample in [result["first"], *result["beside"]])
    bars = report.Bars()
    figure = figures.Figure([cpu])
    bars.add("CPU per message of healthy connections / undisturbed", CPU_BAR, figure,
             figure.holds(CPU_BAR))
    figure = figures.Figure([p50])
    bars.add("p50 of healthy connections / undisturbed", P50_BAR, figure, figure.holds(P50_BAR))
    bars.add("the longest healthy round trip, ms", LONGEST_BAR_US // 1000,
             f"{longest / 1000:.1f}", longest < LONGEST_BAR_US)
    limit = _most_bytes(options.conns + SPARE_CONNS) + result["program"]
    bars.add("the server's memory, MiB", limit >> 20, result["rss"] >> 20, result["rss"] <= limit)
    bars.show("crawlers; of those evicted", f"{options.conns:,}; {result['evicted']:,}")
    bars.show("sends that waited for memory", f"{result['starved']:,}")
    how = [
        ("crawlers", f"{options.conns:,} in {PROCESSES} processes; write all they can, never read"),
        ("healthy", "64 connections, one message of 512 bytes outstanding on each"),
        ("memory", f"docs/limits.md: the most that a shard takes with conns_max = "
                   f"{options.conns + SPARE_CONNS:,}, and the program before they came, "
                   f"{result['program'] >> 20} MiB"),
        ("namespace", f"own; tcp_wmem {WMEM}, tcp_rmem {RMEM}"),
    ]
    heading = report.heading("Slow", options.paths.root, options.paths.build_dir, how)
    return f"{heading}\n{bars}", bars.failed


class _Inside:
    """What the stage needs of the options and their paths."""

    def __init__(self, words):
        self.program_dir, self.command = words[:2]
        self.server_cpu, self.load_cpu, self.seconds, self.conns = words[2:]
        self.paths = self

    def bench(self, name):
        return os.path.join(self.program_dir, "bench", name)

    def echo_server(self):
        return self.command


def _inside(words):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, value in (("tcp_wmem", WMEM), ("tcp_rmem", RMEM)):
        with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as file:
            file.write(value)
    print(json.dumps(_stage(_Inside(words))))


if __name__ == "__main__":
    _inside(json.loads(sys.argv[1]))
