# SPDX-License-Identifier: MIT OR Apache-2.0
"""TLS: what an echo, a handshake and an idle connection cost over TLS 1.3, beside plain servers.

The echo is measured as the echo part does it, with examples/echo_bench as the load. Handshakes are
counted by the server's CPU time for each, since a client has more to do for one than a server with
a P-256 key; the plain servers are `openssl s_server` and bench/reference/tls_epoll.c. The floods
are in tls_flood.py.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile

from harness import echo, figures, memory, procs, report, tls_flood
from harness.rounds import collect

SHAPES = ((64, 1, 64), (64, 16, 64), (64, 1, 16384))
ECHO_BAR = 0.95
# at least 0.95 of the handshakes per second of a core, so at most so much CPU for each
SHAKE_BAR = 1 / 0.95
IDLE_CONNS = 5000
IDLE_BAR_BYTES = 2048  # above the bare program

TESTED = "ringline"
# (what, key, mode of tlsload)
SHAKES = (
    ("full, P-256", "ec", "full"),
    ("resumed, P-256", "ec", "resume"),
    ("full, RSA 2048", "rsa", "full"),
)
SHAKE_CONNS = 8  # less than s_server's backlog

KEYS = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}


class Certificates:
    """One for each kind of key, signed by itself, in a directory that goes with the bench."""

    def __init__(self, folder):
        self._folder = folder
        for name, words in KEYS.items():
            argv = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", *words]
            argv += ["-keyout", self.key(name), "-out", self.cert(name), "-subj", "/CN=localhost"]
            argv += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
            code, _, err = procs.run(argv, 60)
            if code != 0:
                raise procs.BenchError(f"openssl req failed: {err.strip().splitlines()[-1:]}")

    def cert(self, name):
        return os.path.join(self._folder, f"{name}.pem")

    def key(self, name):
        return os.path.join(self._folder, f"{name}.key")


class Site:
    """Where the servers are and what they show; and how each is started."""

    def __init__(self, options, certs):
        self.options = options
        self.certs = certs

    def ringline(self, key, *extra):
        command = [self.options.paths.example("echo_tls_server"), "--listen", "tls://127.0.0.1:0"]
        command += ["--shards", "1", "--cpus", str(self.options.server_cpu), "--idle-timeout", "-1"]
        command += ["--stats", "--cert", self.certs.cert(key), "--key", self.certs.key(key)]
        return [*command, *extra]

    def plain(self, program, key, *extra):
        words = [self.options.paths.bench(program), "0"]
        return [*words, self.certs.cert(key), self.certs.key(key), *extra]

    def s_server(self, key):
        command = ["openssl", "s_server", "-quiet", "-no_cache", "-accept", "127.0.0.1:{port}"]
        command += ["-tls1_3", "-groups", "X25519"]
        return [*command, "-cert", self.certs.cert(key), "-key", self.certs.key(key)]

    def echo_load(self, server, shape, seconds, key="ec"):
        """A closed loop of echo_bench against a server that runs; its sample."""
        conns, depth, size = shape
        argv = [self.options.paths.example("echo_bench"), "--json", "--shards", "1"]
        argv += ["--cpus", str(self.options.load_cpu), "--ca", self.certs.cert(key)]
        argv += ["--connect", f"tls://127.0.0.1:{server.port}", "--server-pid", str(server.pid)]
        argv += ["--connections", str(conns), "--depth", str(depth), "--size", str(size)]
        argv += ["--warmup", str(echo.WARMUP_SECONDS), "--seconds", str(seconds)]
        code, out, err = procs.run(argv, seconds + 40, self.options.load_cpu)
        if code not in (0, 1) or not out.startswith("{"):
            raise procs.BenchError(f"echo_bench failed: {err.strip() or out.strip()}")
        sample = json.loads(out)
        if sample["errors"] > sample["stalled"] or sample["mismatches"]:
            raise procs.BenchError(f"{server.argv[0]}, {echo.shape_name(shape)}: {err.strip()}")
        return sample


def _measure_echo(site):
    def measure(command, shape, options):
        with procs.Server(command, options.server_cpu) as server:
            sample = site.echo_load(server, shape, options.seconds)
        sample["syscalls_per_msg"] = None
        return echo.judged(sample, server.stats or {})

    return measure


def _echo(site, bars):
    options = argparse.Namespace(**vars(site.options))
    options.shapes = SHAPES
    commands = {
        TESTED: site.ringline("ec"),
        "epoll": site.plain("tls_epoll", "ec"),
        "ahead": site.plain("tls_epoll", "ec", "--read-ahead"),
    }
    shapes = echo.collect(commands, options, _measure_echo(site), "tls echo")
    for base, bar in (("epoll", ECHO_BAR), ("ahead", None)):
        mean = figures.Figure([s.ratios(options.rounds, TESTED, base) for s in shapes])
        what = f"CPU per echo, {TESTED} / {base}, geometric mean"
        if bar is None:
            bars.show(what, mean)
        else:
            bars.add(what, f"{bar:.2f}", mean, mean.holds(bar))
    pairs = [(TESTED, "epoll"), (TESTED, "ahead"), ("ahead", "epoll")]
    tables = [echo.ratio_table(shapes, commands, options, pairs)]
    tables.append(echo.absolute_table(shapes, commands, options))
    return echo.how(shapes, options), tables, commands


def _measure_shakes(command, mode, options):
    load = [options.paths.bench("tlsload"), "--mode", mode, "-c", str(SHAKE_CONNS)]
    load += ["-t", str(options.seconds), "-w", str(echo.WARMUP_SECONDS)]
    load += ["--cpu", str(options.load_cpu)]
    # s_server reads its stdin, and must not find its end
    with procs.Server(command, options.server_cpu, stdin=subprocess.PIPE) as server:
        load += ["--port", str(server.port), "--pid", str(server.pid)]
        code, out, err = procs.run(load, options.seconds + 30, options.load_cpu)
    if code not in (0, 1) or not out.startswith("{"):
        raise procs.BenchError(f"tlsload failed: {err.strip() or out.strip()}")
    sample = json.loads(out)
    if sample["errors"] or sample["mismatches"]:
        raise procs.BenchError(f"{server.argv[0]}, {mode}: {out.strip()}")
    sample["usable"] = not sample["stalled"] and sample["server_ns_per_handshake"] > 0
    sample["disturbed"] = sample["server_wait"] > echo.DISTURBED_SHARE
    return sample


def _shakes(site, bars, noises):
    options = site.options
    rows = []
    for what, key, mode in SHAKES:
        commands = {
            TESTED: site.ringline(key),
            "s_server": site.s_server(key),
            "tls_epoll": site.plain("tls_epoll", key),
        }

        def measure(command, mode=mode):
            return _measure_shakes(command, mode, options)

        rounds, noise = collect(commands, measure, options.rounds, f"handshakes, {what}")
        noises.append(noise)
        for base, bar in (("s_server", SHAKE_BAR), ("tls_epoll", None)):
            name = "server_ns_per_handshake"
            ratio = figures.Figure([[r[TESTED][name] / r[base][name] for r in rounds]])
            text = f"CPU per handshake, {what}: {TESTED} / {base}"
            if bar is None:
                bars.show(text, ratio)
            else:
                bars.add(text, f"{bar:.2f}", ratio, ratio.holds(bar))
        for name in commands:
            rows.append(_shake_row(what, name, rounds))
    header = ["handshake", "server", "CPU us q25", "CPU us median", "per second of a core"]
    header += ["per second, seen", "server CPU", "generator CPU"]
    return report.table(header, rows)


def _shake_row(what, name, rounds):
    def median(key):
        return statistics.median(r[name][key] for r in rounds)

    cost = [r[name]["server_ns_per_handshake"] / 1000 for r in rounds]
    return (
        what,
        name,
        f"{figures.quartile(cost):,.0f}",
        f"{statistics.median(cost):,.0f}",
        f"{1e6 / statistics.median(cost):,.0f}",
        f"{median('per_s'):,.0f}",
        f"{median('server_cpu'):.2f}",
        f"{median('client_cpu'):.2f}",
    )


def _idle(site, bars):
    options = site.options
    conns = options.conns

    def warm_up(server, _):
        site.echo_load(server, (64, 4, 65536), 1)

    commands = {
        TESTED: site.ringline("ec", "--conns-max", str(conns + 1000)),
        "tls_bios": site.plain("tls_bios", "ec"),
    }
    rows = []
    cost = {}
    for name, command in commands.items():
        base, *grown = memory.measure(command, warm_up, options, "--tls")
        idle, cost[name] = [(rss - base) / conns for rss in grown]
        rows.append((name, f"{base:,}", f"{idle:,.0f}", f"{cost[name]:,.0f}"))
    bar = cost["tls_bios"] + IDLE_BAR_BYTES
    what = f"bytes per idle connection, {conns:,} of them, after one echo"
    bars.add(what, f"{bar:,.0f}", f"{cost[TESTED]:,.0f}", cost[TESTED] <= bar)
    header = ["server", "warmed up, bytes", "per connection, connected", "after one echo"]
    return report.table(header, rows)


def _notes(site, commands):
    text = """Ratios are the server's CPU, below 1 is cheaper; median of paired rounds ± half of the 95 %
bootstrap interval. *epoll* is tls_epoll, *ahead* the same with SSL_CTX_set_read_ahead. A resumed
handshake has a ticket and a new key exchange. "Per second of a core" is a second by the median of
CPU time; "seen" is what the generator got, which has more to do for a handshake with a P-256 key
than the server. *tls_bios* keeps OpenSSL's session, two memory BIOs and a descriptor.

"""
    commands = {**commands, "s_server": site.s_server("ec"), "tls_bios": site.plain("tls_bios", "ec")}
    return text + "\n".join(f"- {name}: `{' '.join(words)}`" for name, words in commands.items())


def _openssl_version():
    return procs.run(["openssl", "version"], 10)[1].strip()


def main(options):
    if shutil.which("openssl") is None:
        raise procs.BenchError("tls needs the openssl program (apt install openssl)")
    with tempfile.TemporaryDirectory(prefix="ringline-bench-") as folder:
        site = Site(options, Certificates(folder))
        bars = report.Bars()
        how, tables, commands = _echo(site, bars)
        noises = []
        tables.append(_shakes(site, bars, noises))
        tables.append(_idle(site, bars))
        tables.append(tls_flood.measure(site, bars, noises))
        how = [("OpenSSL", _openssl_version()), *how, ("other rounds", "; ".join(noises))]
        heading = report.heading("TLS", options.paths.root, options.paths.build_dir, how)
        notes = _notes(site, commands)
    text = "\n".join([heading, str(bars), *tables, notes]) + "\n"
    text = text.replace(options.paths.root + "/", "").replace(folder + "/", "")
    return text, bars.failed
