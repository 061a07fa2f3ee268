# SPDX-License-Identifier: MIT OR Apache-2.0
"""Rounds of a sample of every variant, until enough of them were undisturbed."""

from harness import procs, report

FACTOR = 3  # up to so many rounds in all for each one asked for


def one(commands, measure, index):
    """A sample of each, in reversed order every other time."""
    names = list(commands)
    if index % 2:
        names.reverse()
    return {name: measure(commands[name]) for name in names}


def collect(commands, measure, wanted, what):
    """measure(command) is a sample of one variant, with "usable" and "disturbed".

    The undisturbed rounds if there are enough of them, else all: a busy machine is no excuse. And
    a few words about that.
    """
    rounds = []
    good = []
    for index in range(wanted * FACTOR):
        samples = one(commands, measure, index)
        if all(sample["usable"] for sample in samples.values()):
            rounds.append(samples)
            if not any(sample["disturbed"] for sample in samples.values()):
                good.append(samples)
        report.progress(f"{what}: round {index + 1}, {len(good)} of {wanted} undisturbed")
        if len(good) == wanted:
            return good, f"{what}: {len(rounds) - len(good)} of {len(rounds)} left out"
    if not rounds:
        raise procs.BenchError(f"{what}: connections stalled in every round")
    return rounds, f"{what}: {len(rounds) - len(good)} of {len(rounds)} disturbed and counted"
