# SPDX-License-Identifier: MIT OR Apache-2.0
"""What every table starts with (where and how it was measured), and the form of tables and bars."""

import datetime
import json
import os
import platform
import shlex
import subprocess
import sys


def _first_line(argv, cwd=None):
    try:
        out = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (out.stdout.strip().splitlines() or ["unknown"])[0]


def _cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith(("model name", "Processor")):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def _compile_command(build_dir, source):
    """The words of the command that compiled a source file, without the files it names."""
    try:
        with open(os.path.join(build_dir, "compile_commands.json"), encoding="utf-8") as file:
            entries = json.load(file)
    except (OSError, ValueError):
        return None
    for entry in entries:
        if entry["file"].endswith(source):
            return shlex.split(entry["command"])
    return None


def _compiler(build_dir):
    command = _compile_command(build_dir, "bench/reference/serve_multi.c")
    if command is None:
        return "unknown"
    telling = ("-O", "-g", "-f", "-m", "-std=", "-U", "-D_FORTIFY")
    flags = [word for word in command[1:] if word.startswith(telling)]
    return f"{_first_line([command[0], '--version'])}: {' '.join(flags)}"


def progress(text):
    print(text, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)


def heading(title, root, build_dir, how):
    """Title, then where and how: rows of (what, value) follow the machine's own."""
    rows = [
        ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("commit", _first_line(["git", "describe", "--always", "--dirty", "--tags"], root)),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("CPU", f"{os.cpu_count()} x {_cpu_model()}"),
        ("compiler", _compiler(build_dir)),
        *how,
    ]
    return f"# {title}\n\n" + table(["", ""], rows)


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


class Bars:
    """What has to hold, what was measured, and whether it does."""

    def __init__(self):
        self._rows = []
        self.failed = 0

    def add(self, what, bar, measured, holds):
        self.failed += not holds
        self._rows.append((what, bar, measured, "PASS" if holds else "**FAIL**"))

    def show(self, what, measured):
        """Beside the others, and nothing has to hold."""
        self._rows.append((what, "-", measured, "-"))

    def __str__(self):
        if not self._rows:
            return ""
        return table(["bar", "at most", "measured", "verdict"], self._rows)
