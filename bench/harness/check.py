# SPDX-License-Identifier: MIT OR Apache-2.0
"""Check: the instruments themselves, without judging any time.

Good servers have to pass and broken ones have to be found out, wrong flags are refused, and the
arithmetic of the tables gives what it should.
"""

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import threading

from harness import figures, messages, procs, report, tls

LOAD = ["-w", "0.02", "--json"]
# A short run may get no CPU time on a busy machine: the longest one is the deadline.
WINDOWS = ("0.1", "1", "10")
PATIENCE_SECONDS = 60  # with what ends by itself
SHAPES = (("-c", "16", "-d", "4", "-s", "64"), ("-c", "3", "-d", "2", "-s", "100001"))
MODES = (
    [],
    ["--copy"],
    ["--mode", "epoll"],
    ["--mode", "single"],
    ["--nbuf", "4"],
    ["--copy", "--nbuf", "4"],
)
MESSAGES_COUNTS = {1: 20000, 2: 1000}  # by the CPUs at work; a wake-up may take long
MESSAGES_POPULATION = 10000


class _Failed(Exception):
    pass


def _expect(condition, what):
    if not condition:
        raise _Failed(what)


class _BrokenServer:
    """An echo server with a fault, on a thread: spoil(data, bytes so far) is what it sends."""

    def __init__(self, spoil):
        self._spoil = spoil
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                conn = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        seen = 0
        with conn, contextlib.suppress(OSError):
            while data := conn.recv(65536):
                answer = self._spoil(data, seen)
                if answer is None:
                    return
                conn.sendall(answer)
                seen += len(data)


def _flip(data, seen):
    return data if seen < 512 else bytes([data[0] ^ 1]) + data[1:]


FAULTS = {
    "a flipped bit": (_flip, "mismatches"),
    "a lost byte": (lambda data, seen: data if seen < 512 else data[1:], "errors"),
    "doubled bytes": (lambda data, seen: data if seen < 512 else data + data, "errors"),
    "silence": (lambda data, seen: data if seen < 512 else b"", "stalled"),
    "a closed connection": (lambda data, seen: data if seen < 512 else None, "errors"),
}


def _load(options, arguments):
    argv = [options.paths.bench("tcpload"), *LOAD, *arguments]
    code, out, err = procs.run(argv, PATIENCE_SECONDS)
    _expect(out.startswith("{"), f"tcpload says {out!r} {err!r}")
    return code, json.loads(out)


def _echoes(code, result):
    return code == 0 and result["msgs_per_s"] > 0


def _expect_load(options, arguments, wanted, what):
    for seconds in WINDOWS:
        code, result = _load(options, [*arguments, "-t", seconds])
        if wanted(code, result):
            return
        if result["errors"]:
            break  # a longer run does not mend that
    raise _Failed(f"{what}: exit {code}, {result}")


def _histogram(options):
    code, _, err = procs.run([options.paths.bench("check_histogram")], PATIENCE_SECONDS)
    _expect(code == 0, err.strip())


def _echoes_and_shows_cpu(code, result):
    return _echoes(code, result) and result["server_ns_per_msg"] > 0


def _serves(options, mode, listen, target):
    limit = [options.paths.bench("limit_echo"), "--stats", *mode, *listen]
    with procs.Server(limit, options.server_cpu) as server:
        peer = target or ["--port", str(server.port)]
        for shape in SHAPES:
            watched = [*peer, *shape, "--pid", str(server.pid)]
            _expect_load(options, watched, _echoes_and_shows_cpu, f"{mode} {shape}")
    stats = server.stats
    _expect(stats is not None and server.process.returncode == 0, f"{mode}: no clean end")
    accepted = sum(int(shape[1]) for shape in SHAPES)
    _expect(stats["accepted"] >= accepted, f"{mode}: {stats}")
    _expect(stats["bytes_in"] > 0 and stats["syscalls"] >= stats["turns"] > 0, f"{mode}: {stats}")


def _good_servers(options):
    for mode in MODES:
        _serves(options, mode, ["--port", "0"], None)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "echo.sock")
        for mode in MODES[:3]:
            _serves(options, mode, ["--unix", path], ["--unix", path])


def _sleeps(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "S"


def _send_until_blocked(client, data, pid):
    """Reads nothing, until neither the client can send nor the server has anything to do."""
    client.settimeout(0.3)
    sent = 0
    while sent < len(data):
        try:
            sent += client.send(data[sent : sent + 65536])
        except TimeoutError:
            if _sleeps(pid):
                break
    return sent


def _exchange_slowly(server, data):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(("127.0.0.1", server.port))
        sent = _send_until_blocked(client, data, server.pid)
        client.settimeout(PATIENCE_SECONDS)
        rest = threading.Thread(target=client.sendall, args=(data[sent:],), daemon=True)
        rest.start()
        echoed = bytearray()
        while len(echoed) < len(data) and (piece := client.recv(1 << 20)):
            echoed += piece
        rest.join(PATIENCE_SECONDS)
    return echoed == data


def _slow_reader(options):
    data = os.urandom(1 << 24)  # more than the socket buffers of both ends take
    for mode in MODES:
        limit = [options.paths.bench("limit_echo"), "--port", "0", "--stats", *mode]
        with procs.Server(limit, options.server_cpu) as server:
            _expect(_exchange_slowly(server, data), f"{mode}: a slow reader's echo differs")
        _expect(server.stats["bytes_in"] == len(data), f"{mode}: {server.stats}")
        short = server.stats["sends_short"] + server.stats["enobufs_parks"]
        _expect(short > 0, f"{mode}: nothing was held back: {server.stats}")


def _load_variants(options):
    limit = [options.paths.bench("limit_echo"), "--port", "0"]
    with procs.Server(limit, options.server_cpu) as server:
        peer = ["--port", str(server.port)]
        for extra in (["-T", "3"], ["--spin"], ["--no-verify"]):
            _expect_load(options, [*peer, "-c", "8", *extra], _echoes, extra)
        rated = [*peer, "-c", "8", "--rate", "500"]
        _expect_load(
            options, rated, lambda c, r: _echoes(c, r) and r["msgs_per_s"] <= 600, "--rate 500"
        )


def _client_fails(options, port):
    try:
        with procs.Client(options.paths.bench("idle_conns"), port, 3, None) as client:
            for _ in range(512 // 64 + 2):
                client.echo_all()
    except procs.BenchError:
        return True
    return False


def _broken_servers(options):
    for name, (spoil, counter) in FAULTS.items():
        with _BrokenServer(spoil) as server:
            _expect_load(
                options,
                ["--port", str(server.port), "-c", "2"],
                lambda code, result, counter=counter: code == 1 and result[counter] > 0,
                f"{name} went unnoticed",
            )
            if counter != "stalled" and name != "a lost byte":  # those two only cost its patience
                _expect(_client_fails(options, server.port), f"idle_conns did not notice {name}")


def _good_client(options):
    limit = [options.paths.bench("limit_echo"), "--port", "0", "--stats"]
    with procs.Server(limit, options.server_cpu) as server:
        with procs.Client(options.paths.bench("idle_conns"), server.port, 50, None) as client:
            client.echo_all()
            client.echo_all()
    _expect(server.stats["accepted"] == 50, f"{server.stats}")
    _expect(server.stats["bytes_in"] == 2 * 50 * 64, f"{server.stats}")


def _load_conns(options, program, counter, port, *more):
    """Longer, where the first run got no CPU time; counter: what it counts its successes in."""
    for seconds in WINDOWS:
        load = [options.paths.bench(program), "--port", str(port), "-c", "4", "-t", seconds]
        code, out, err = procs.run([*load, *more], PATIENCE_SECONDS)
        _expect(out.startswith("{"), f"{program} says {out!r} {err!r}")
        result = json.loads(out)
        if (code == 0 and result[counter]) or result["errors"] + result["mismatches"] > 0:
            break
    return code, result


def _shortload(options, port, *more):
    return _load_conns(options, "shortload", "conns", port, *more)


def _tlsload(options, port, *more):
    return _load_conns(options, "tlsload", "handshakes", port, *more)


def _short_connections(options):
    """Every connection echoes, the server has seen them all, and what is broken is found out."""
    for mode in ([], ["--mode", "epoll"]):
        limit = [options.paths.bench("limit_echo"), "--port", "0", "--stats", *mode]
        with procs.Server(limit, options.server_cpu) as server:
            code, result = _shortload(options, server.port, "--pid", str(server.pid))
            _expect(code == 0 and result["conns"] > 0, f"{mode}: {result}")
            _expect(result["errors"] + result["mismatches"] == 0, f"{mode}: {result}")
        accepted = server.stats["accepted"]
        _expect(accepted >= result["conns"], f"{mode}: {accepted} accepted, {result}")
    for name, spoil, counter in (
        ("a flipped bit", lambda data, _: bytes([data[0] ^ 1]) + data[1:], "mismatches"),
        ("doubled bytes", lambda data, _: data + data, "mismatches"),
        ("a closed connection", lambda _data, _seen: None, "errors"),
    ):
        with _BrokenServer(spoil) as server:
            code, result = _shortload(options, server.port)
            _expect(code == 1 and result[counter] > 0, f"{name} went unnoticed: {result}")


def _tls_servers(options):
    """Both plain servers shake hands in each way and echo; who is no TLS server is found out."""
    if shutil.which("openssl") is None:
        print("check tls_servers: openssl is not installed", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        site = tls.Site(options, tls.Certificates(folder))
        for program in ("tls_epoll", "tls_bios"):
            with procs.Server(site.plain(program, "ec"), options.server_cpu) as server:
                for mode in ("full", "resume", "hello"):
                    code, result = _tlsload(options, server.port, "--mode", mode)
                    _expect(code == 0, f"{program} {mode}: {result}")
                idle = options.paths.bench("idle_conns")
                with procs.Client(idle, server.port, 20, None, "--tls") as client:
                    client.echo_all()
                    client.echo_all()
    with _BrokenServer(lambda data, _: data) as server:
        code, result = _tlsload(options, server.port)
        _expect(code == 1 and result["errors"] > 0, f"an echo was taken for TLS: {result}")


def _messages(options):
    """Both sides of every row do what they are asked, and so often."""
    small = ["--population", str(MESSAGES_POPULATION)]
    for row in (row for row in messages.ROWS if messages.has_row(options, row)):
        asked = MESSAGES_COUNTS[row.cpus]
        for side in messages.SIDES:
            sample = messages.measure(
                options, side, row.name, row.cpus, *small, "--count", str(asked)
            )
            _expect(asked * 0.9 <= sample["ops"] <= asked * 1.1 + 256, f"{side}: {sample}")
            _expect(sample["ns"] > 0 and sample["wall_ns"] > 0, f"{side}: {sample}")
            short = ["--seconds", "0.02", "--warmup", "0.01"]
            sample = messages.measure(options, side, row.name, row.cpus, *small, *short)
            _expect(sample["ops"] > 0 and sample["ns"] > 0, f"{side}: {sample}")
    sample = messages.measure(options, "ringline", messages.MEMORY_ROW, 1, *small)
    _expect(sample["actors"] == MESSAGES_POPULATION and sample["bytes"] > 0, f"{sample}")


def _misuse(options):
    wrong = {
        "limit_echo": (["--mode", "x"], ["--nbuf", "3"], ["--port", "-1"], ["--cpu", "x"], ["x"]),
        "tcpload": (["-c", "0"], ["-T", "2", "-c", "1"], ["-t", "0"], ["--host", "x"], ["x"]),
        "idle_conns": ([], ["--port", "0"], ["--port", "1", "x"]),
        "shortload": ([], ["--port", "0"], ["--port", "1", "-c", "0"], ["--port", "1", "x"]),
        "tlsload": ([], ["--port", "0"], ["--port", "1", "--mode", "x"], ["--port", "1", "x"]),
        "tls_epoll": ([], ["0"], ["x", "y", "z"], ["0", "y", "z", "x"]),
        "bare_messages": ([], ["x"], ["window", "x"], ["window", "--count", "0"]),
        "shard_messages": ([], ["x"], ["window", "x"], ["timer", "--population", "x"]),
    }
    for name, cases in wrong.items():
        for arguments in (["--no-such-option"], *cases):
            code, out, err = procs.run(
                [options.paths.bench(name), *arguments], PATIENCE_SECONDS
            )
            said = code == 2 and not out and err.count("\n") == 1 and name in err
            _expect(said, f"{name} {arguments}: exit {code}, {out!r}, {err!r}")


def _runner(options):
    tcpload = options.paths.bench("tcpload")
    for command, word in (
        (["/nonexistent/server"], "cannot start"),
        ([tcpload, "--port", "1"], "ended before"),
    ):
        try:
            with procs.Server(command, options.server_cpu):
                _expect(False, f"{command} was taken for a server")
        except procs.BenchError as error:
            _expect(word in str(error), f"{command}: {error}")
    with procs.Server(
        f"{options.paths.bench('limit_echo')} --port {{port}} --stats", options.server_cpu
    ) as server:
        _load(options, ["--port", str(server.port), "-c", "1"])
    _expect(server.stats["accepted"] == 1, "waiting for {port} must not connect")


def _arithmetic(_options):
    same = figures.Figure([[2.0] * 15, [8.0] * 15])
    _expect(abs(same.value - 4) < 1e-9 and same.half < 1e-9, f"geometric mean: {same}")
    spread = figures.Figure([[0.9, 1.0, 1.1, 1.2, 1.3]])
    _expect(spread.value == 1.1 and 0.05 < spread.half <= 0.2, f"median: {spread}")
    _expect(spread.holds(1.06) and not spread.holds(0.85), f"bar: {spread}")
    _expect(figures.quartile([5, 1, 4, 2, 3]) == 2, "first quartile")
    bars = report.Bars()
    bars.add("a", 1, 1, True)
    bars.add("b", 1, 2, False)
    _expect(bars.failed == 1 and "FAIL" in str(bars), "bars")


def main(options):
    failed = 0
    for part in (
        _arithmetic,
        _histogram,
        _misuse,
        _runner,
        _good_servers,
        _slow_reader,
        _load_variants,
        _good_client,
        _broken_servers,
        _short_connections,
        _tls_servers,
        _messages,
    ):
        try:
            part(options)
            verdict = "ok"
        except (_Failed, procs.BenchError, OSError) as error:
            failed += 1
            verdict = f"FAIL: {error}"
        print(f"check {part.__name__[1:]}: {verdict}", file=sys.stderr)
    return "", failed
