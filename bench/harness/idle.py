# SPDX-License-Identifier: MIT OR Apache-2.0
"""Idle: with connections that have nothing to say, a server makes no system call at all.

strace watches every thread. Attaching interrupts a sleeping system call, and so does detaching:
only what has a time stamp inside the window counts. Afterwards every connection echoes once more,
which the trace has to show: an instrument that sees nothing proves nothing.
"""

import collections
import os
import re
import shutil
import subprocess
import tempfile
import time

from harness import procs, report

SETTLE_SECONDS = 1
ATTACH_SECONDS = 10
LINE = re.compile(r"^\d+ +(?P<time>\d+\.\d+) (?:<\.\.\. )?(?P<call>\w+)(?:\(| resumed>)", re.MULTILINE)


def _task_status(pid, field):
    """The field's value in each thread of a process."""
    values = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
            values += [int(line.split()[1]) for line in file if line.startswith(field + ":")]
    return values


class Trace:
    """strace, attached to all threads inside a `with`."""

    def __init__(self, pid):
        self._pid = pid

    def __enter__(self):
        self._file = tempfile.NamedTemporaryFile("r", prefix="ringline-idle-")
        argv = ["strace", "-f", "-ttt", "-o", self._file.name, "-p", str(self._pid)]
        self._process = procs.start(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            self._wait_attached()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, _kind, _value, _trace):
        self._end()

    def _wait_attached(self):
        deadline = time.monotonic() + ATTACH_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                why = self._process.stderr.read().decode(errors="replace").strip()
                raise procs.BenchError(f"strace could not attach: {why.splitlines()[-1:]}")
            tracers = _task_status(self._pid, "TracerPid")
            if tracers and all(tracer == self._process.pid for tracer in tracers):
                return
            time.sleep(0.01)
        raise procs.BenchError(f"strace did not attach within {ATTACH_SECONDS} s")

    def _end(self):
        if self._process.poll() is None:
            self._process.terminate()  # strace detaches, the server lives on
            try:
                self._process.wait(timeout=procs.STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process.stderr.close()
        self._file.close()
        procs.forget(self._process)

    def calls(self, begin, end):
        """How often each system call began or ended in a stretch of time."""
        with open(self._file.name, encoding="utf-8", errors="replace") as file:
            lines = LINE.finditer(file.read())
        return collections.Counter(m["call"] for m in lines if begin <= float(m["time"]) <= end)


def _watch(pid, client, seconds):
    """System calls and sleeps ended within the window; then a look at the instrument."""
    with Trace(pid) as trace:
        time.sleep(SETTLE_SECONDS)
        switches = sum(_task_status(pid, "voluntary_ctxt_switches"))
        begin = time.time()
        time.sleep(seconds)
        end = time.time()
        switches = sum(_task_status(pid, "voluntary_ctxt_switches")) - switches
        calls = trace.calls(begin, end)
        client.echo_all()
        if not trace.calls(end, time.time()):
            raise procs.BenchError("strace saw none of the server's system calls")
    return calls, switches


def main(options):
    if shutil.which("strace") is None:
        raise procs.BenchError("idle needs strace, which is not installed (apt install strace)")
    command = options.variants.get("ringline") or options.paths.echo_server()
    with procs.Server(command, options.server_cpu) as server:
        program = options.paths.bench("idle_conns")
        with procs.Client(program, server.port, options.conns, options.load_cpu) as client:
            client.echo_all()
            time.sleep(SETTLE_SECONDS)
            calls, switches = _watch(server.pid, client, options.idle_seconds)
    bars = report.Bars()
    total = sum(calls.values())
    seen = ", ".join(f"{name} {count}" for name, count in calls.most_common(5))
    bars.add("system calls while idle", 0, f"{total} ({seen})" if seen else total, total == 0)
    bars.add("wake-ups while idle", 0, switches, switches == 0)
    how = [
        ("connections", f"{options.conns:,}, each of which echoed once"),
        ("window", f"{options.idle_seconds} s, every thread traced"),
        ("server", f"`{command if isinstance(command, str) else ' '.join(command)}`"),
    ]
    heading = report.heading("Idle", options.paths.root, options.paths.build_dir, how)
    return f"{heading}\n{bars}", bars.failed
