# SPDX-License-Identifier: MIT OR Apache-2.0
"""Proxy: the server's CPU time for a stream of 1 GiB that it passes on, beside a bare forwarder.

The bare one receives 64 KiB and sends them, blocking in both. The ends of the stream are this
process, on the other CPU.
"""

import os
import socket
import threading
import time

from harness import figures, procs, report

STREAM_BYTES = 1 << 30
PIECE_BYTES = 1 << 20
ROUNDS = 15
BAR = 1.15
END_SECONDS = 60


def _cpu_ns(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total


class Source:
    """A server that sends the stream to whoever connects, and then FIN."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(END_SECONDS)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        piece = bytes(PIECE_BYTES)
        with self._listener, self._listener.accept()[0] as peer:
            peer.settimeout(END_SECONDS)
            for _ in range(STREAM_BYTES // PIECE_BYTES):
                peer.sendall(piece)
            peer.shutdown(socket.SHUT_WR)
            peer.recv(1)


def _receive(port):
    """The whole stream; its length."""
    room = bytearray(PIECE_BYTES)
    got = 0
    with socket.create_connection(("127.0.0.1", port), END_SECONDS) as peer:
        while True:
            n = peer.recv_into(room)
            if n == 0:
                return got
            got += n


def _measure(command, options):
    """Seconds of CPU for one stream, and of the clock."""
    source = Source()
    argv = [word.replace("{target}", str(source.port)) for word in command]
    with procs.Server(argv, options.server_cpu) as server:
        before = _cpu_ns(server.pid)
        begin = time.monotonic()
        try:
            got = _receive(server.port)
        except OSError as error:
            raise procs.BenchError(f"{argv[0]}: the stream broke: {error}") from error
        took = time.monotonic() - begin
        if got != STREAM_BYTES:
            raise procs.BenchError(f"{argv[0]}: {got} bytes of {STREAM_BYTES} came")
        used = _cpu_ns(server.pid) - before
        if "{port}" in command:
            server.process.kill()  # it has no other end
            server.process.wait()
    return used / 1e9, took


def main(options):
    os.sched_setaffinity(0, {options.load_cpu})
    ours = [os.path.join(options.paths.build_dir, "examples", "proxy")]
    ours += ["--listen", "tcp://127.0.0.1:0", "--shards", "1", "--cpus", str(options.server_cpu)]
    ours += ["--idle-timeout", "-1", "--target", "tcp://127.0.0.1:{target}"]
    bare = [options.paths.bench("bare_forward"), "--port", "{port}", "--target-port", "{target}"]
    commands = {"ringline": ours, "bare": bare}
    samples = {name: [] for name in commands}
    rounds = min(options.rounds, ROUNDS)
    for index in range(rounds):
        for name in sorted(commands, reverse=index % 2 == 1):
            samples[name].append(_measure(commands[name], options))
    ratios = [ours[0] / bare[0] for ours, bare in zip(samples["ringline"], samples["bare"])]
    figure = figures.Figure([ratios])
    bars = report.Bars()
    bars.add("CPU of a proxied stream, ringline / bare", BAR, figure, figure.holds(BAR))
    for name, values in samples.items():
        cpu = figures.quartile([used for used, _ in values])
        rate = STREAM_BYTES / figures.quartile([took for _, took in values]) / 1e9
        bars.show(f"{name}: CPU per GiB; rate", f"{cpu:.2f} s; {rate:.1f} GB/s")
    how = [
        ("stream", "1 GiB from the target to the client, then FIN"),
        ("rounds", f"{rounds} pairs"),
        ("bare", "one blocking thread per direction, recv and send of 64 KiB"),
    ]
    heading = report.heading("Proxy", options.paths.root, options.paths.build_dir, how)
    return f"{heading}\n{bars}", bars.failed
