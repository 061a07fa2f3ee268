#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs one variant of one model and compares what the tool says with what is expected.

    model.py spin MODEL.pml EXPECTED [NAME[=VALUE]...]   the names are defined in the model
    model.py build PROGRAM.cc DIRECTORY                  a program of Relacy's, for the next
    model.py relacy PROGRAM VARIANT EXPECTED             PROGRAM as it was built

EXPECTED is "holds", or the failure that must be found: "stuck" (somebody waits for ever) or "race".
Of a Spin model that holds, every statement must have been reached, or the model proves less than it
seems to. Exits with 77 if the tool is not installed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
DEPTH_MAX = 10000
HISTORY_LINES = 60

RELACY_VERDICTS = {"SUCCESS": "holds", "DEADLOCK": "stuck", "DATA RACE": "race"}


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            skip(f"{tool} is not installed")


def run(*command, cwd=None):
    """The output of a command that must work."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} exits with {done.returncode}:\n{done.stdout}")
    return done.stdout


def verdict_is(verdict, expected, details):
    if verdict == expected:
        print(f"{verdict}, as expected")
        return
    sys.exit(f"{details}\nexpected: {expected}; found: {verdict}")


def spin_verdict(output):
    if "errors: 0" in output:
        if "max search depth too small" in output:
            return "search was cut off"
        return "holds"
    if "invalid end state" in output:
        return "stuck"
    return "another error"


def spin_unreached(output):
    """Statements that no execution came to; that a process never ends is no such thing."""
    return [
        line.strip()
        for line in output.split("\n")
        if re.search(r", state \d+, ", line) and '"-end-"' not in line
    ]


def spin(model, expected, *names):
    need("spin", "gcc")
    with tempfile.TemporaryDirectory() as work:
        folder, name = os.path.split(os.path.abspath(model))
        for file in (name, "tso.pml"):
            shutil.copy(os.path.join(folder, file), work)
        run("spin", "-a", *(f"-D{n}" for n in names), name, cwd=work)
        level = "-O1" if expected == "holds" else "-O0"  # most failures are found at once
        run("gcc", level, "-w", "-DSAFETY", "-o", "pan", "pan.c", cwd=work)
        output = run("./pan", f"-m{DEPTH_MAX}", cwd=work)
        states = re.search(r"(\d+) states, stored", output)
        print(f"{states[1] if states else 'no'} states")
        verdict = spin_verdict(output)
        details = output
        if os.path.exists(os.path.join(work, f"{name}.trail")):
            details += run("spin", "-t", "-p", *(f"-D{n}" for n in names), name, cwd=work)
        verdict_is(verdict, expected, details)
        unreached = spin_unreached(output)
        if verdict == "holds" and unreached:
            sys.exit("never reached:\n" + "\n".join(unreached))


def have_relacy():
    probe = "#if !__has_include(<relacy/relacy.hpp>)\n#error\n#endif\n"
    command = ("g++", "-x", "c++", "-fsyntax-only", "-")
    done = subprocess.run(command, input=probe, text=True, capture_output=True, check=False)
    return done.returncode == 0


def build(source, directory):
    need("g++")
    if not have_relacy():
        skip("relacy-dev is not installed")
    program = os.path.join(directory, os.path.basename(source).removesuffix(".cc"))
    os.makedirs(directory, exist_ok=True)
    # Relacy's headers are older than most warnings.
    run("g++", "-std=c++14", "-O1", "-w", "-o", program, source)


def relacy(program, variant, expected):
    if not os.path.exists(program):
        skip(f"{program} was not built")
    done = subprocess.run((program, variant), stdout=subprocess.PIPE, text=True, check=False)
    result = re.search(r"^result: (.+) after (\d+) schedules$", done.stdout, re.MULTILINE)
    if not result:
        sys.exit(f"{program} {variant} exits with {done.returncode} and no result")
    print(f"{result[2]} schedules")
    verdict = RELACY_VERDICTS.get(result[1], result[1])
    verdict_is(verdict, expected, "\n".join(done.stdout.split("\n")[:HISTORY_LINES]))


def main(arguments):
    commands = {"spin": spin, "build": build, "relacy": relacy}
    if len(arguments) < 3 or arguments[0] not in commands:
        sys.exit(__doc__)
    commands[arguments[0]](*arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
