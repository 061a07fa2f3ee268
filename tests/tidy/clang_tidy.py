#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Run clang-tidy over the files of src/ that a build compiles, on all processors.

    clang_tidy.py ROOT BUILD_DIR

misc-include-cleaner counts for headers that are included and not used. What a header brings in may be
used by those who include it, so a header that is used and not included directly is no finding.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

# The build may be gcc's: what clang does not know of its flags does not matter here.
EXTRA = ["-Wno-unknown-warning-option", "-Wno-ignored-optimization-argument", "-Qunused-arguments"]

FINDING = re.compile(r"^[^\s:][^:]*:\d+:\d+: (?:error|warning): ")
INDIRECT = re.compile(r"no header providing .* is directly included")


def findings(output):
    """clang-tidy's findings, each with the lines that explain it, without those of INDIRECT."""
    found = []
    for line in output.split("\n"):
        if FINDING.match(line):
            found.append([line])
        elif found and not re.match(r"\d+ warnings? (and|generated)", line):
            found[-1].append(line)
    return ["\n".join(lines).rstrip() for lines in found if not INDIRECT.search(lines[0])]


def main():
    root, build = (os.path.realpath(path) for path in sys.argv[1:])
    program = shutil.which("clang-tidy-19")
    if not program:
        print("clang-tidy-19 is not installed")
        return 77
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        compiled = {os.path.realpath(entry["file"]) for entry in json.load(file)}
    files = sorted(f for f in compiled if f.startswith(os.path.join(root, "src") + os.sep))
    if not files:
        print(f"{build} compiles no file of src")
        return 1

    def check(path):
        arguments = [program, "--quiet", "-p", build]
        arguments += [f"--extra-arg={flag}" for flag in EXTRA]
        return subprocess.run([*arguments, path], capture_output=True, text=True, check=False)

    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, result in zip(files, pool.map(check, files)):
            complaints = findings(result.stdout)
            if not complaints and result.returncode != 0 and not INDIRECT.search(result.stdout):
                complaints = [result.stdout + result.stderr]
            if complaints:
                failed += 1
                print(f"{os.path.relpath(path, root)}:\n" + "\n".join(complaints) + "\n")
    print(f"{len(files)} files, {failed} with complaints")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
