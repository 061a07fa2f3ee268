# SPDX-License-Identifier: MIT OR Apache-2.0
"""Programs that the bench starts, and nothing else: it ends what it started, on every way out."""

import ctypes
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import tempfile
import time

READY = re.compile(
    r"^ready (?:(?:tcp|tls)://[^ ]*:(?P<port>\d+)|unix:[^ ]+) shards=\d+$", re.MULTILINE
)
READY_SECONDS = 60
STOP_SECONDS = 60
CLIENT_READY_SECONDS = 300  # thousands of handshakes, one after the other

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_children = []


class BenchError(Exception):
    """One line for the user: what could not be measured, and why."""


def _child_setup(cpu):
    def setup():
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    return setup


def start(argv, cpu=None, **streams):
    """Start a program that dies with us, pinned to one CPU from its first instruction."""
    try:
        process = subprocess.Popen(argv, preexec_fn=_child_setup(cpu), **streams)
    except OSError as error:
        raise BenchError(f"cannot start {argv[0]}: {error.strerror}") from error
    _children.append(process)
    return process


def forget(process):
    if process in _children:
        _children.remove(process)


def end_all():
    """What is still there when the bench ends early."""
    for process in _children[:]:
        if process.poll() is None:
            process.kill()
        process.wait()
        forget(process)


def run(argv, seconds, cpu=None):
    """Run a program to its end; its exit code, stdout and stderr."""
    process = start(argv, cpu, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise BenchError(f"{argv[0]} did not end within {seconds:.0f} s") from error
    finally:
        forget(process)
    return process.returncode, out, err


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _is_listening(port):
    """Read off the kernel's table: a probing connection would be served and counted."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    return True
    return False


class Server:
    """A server under test, alive inside a `with`.

    A command either prints `ready <url> shards=<N>`, or has {port} in it, which becomes a free
    port that it is expected to listen on. `stats` is its last line of stdout, if that is JSON.
    """

    def __init__(self, command, cpu, stdin=subprocess.DEVNULL):
        argv = shlex.split(command) if isinstance(command, str) else list(command)
        self.port = None
        if any("{port}" in word for word in argv):
            self.port = free_port()
            argv = [word.replace("{port}", str(self.port)) for word in argv]
        self.argv = argv
        self.cpu = cpu
        self.stdin = stdin
        self.stats = None
        self._out = ""

    def __enter__(self):
        self._errors = tempfile.TemporaryFile()
        self.process = start(
            self.argv, self.cpu, stdin=self.stdin, stdout=subprocess.PIPE, stderr=self._errors
        )
        self.pid = self.process.pid
        try:
            self._wait_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind, _value, _trace):
        if kind is not None:
            self._end()
            return
        self._stop()

    def _complaint(self):
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def _wait_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        by_port = self.port
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise BenchError(f"{self.argv[0]} ended before it was ready{self._complaint()}")
            if by_port is not None:
                if _is_listening(by_port):
                    return
                time.sleep(0.005)
                continue
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                self._out += os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
                ready = READY.search(self._out)
                if ready:
                    self.port = int(ready["port"] or 0)
                    return
        raise BenchError(f"{self.argv[0]} was not ready after {READY_SECONDS} s{self._complaint()}")

    def _stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            out, _ = self.process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            self._end()
            raise BenchError(f"{self.argv[0]} did not end after SIGTERM") from error
        self._read_stats(self._out + out.decode(errors="replace"))
        self._end()

    def _read_stats(self, out):
        lines = out.strip().splitlines()
        if lines and lines[-1].startswith("{"):
            try:
                self.stats = json.loads(lines[-1])
            except ValueError as error:
                raise BenchError(f"{self.argv[0]}: its last line is no JSON: {error}") from error

    def _end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._errors.close()
        forget(self.process)


class Client:
    """idle_conns: many connections that are held inside a `with`, and echo when told."""

    def __init__(self, program, port, conns, cpu, *extra):
        self.argv = [program, "--port", str(port), "--conns", str(conns), *extra]
        self.conns = conns
        self.cpu = cpu

    def __enter__(self):
        self.process = start(
            self.argv,
            self.cpu,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self._expect("ready", CLIENT_READY_SECONDS)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind, _value, _trace):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        self._end()

    def echo_all(self):
        self.process.stdin.write("echo\n")
        self.process.stdin.flush()
        self._expect("echoed", CLIENT_READY_SECONDS)

    def _expect(self, word, seconds):
        line = ""
        if select.select([self.process.stdout], [], [], seconds)[0]:
            line = self.process.stdout.readline()
        if line != f"{word} {self.conns}\n":
            why = self.process.stderr.read().strip() if self.process.poll() is not None else ""
            if not line and self.process.poll() is None and not why:
                why = f"no answer within {seconds} s"
            raise BenchError(f"idle_conns: '{word}' did not come: {why or repr(line)}")

    def _end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        forget(self.process)
