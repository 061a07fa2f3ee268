# SPDX-License-Identifier: MIT OR Apache-2.0
"""Rounds of measurements, until enough of them were undisturbed."""

from harness import echo, procs

FACTOR = 3  # so many rounds in all for each one asked for


def collect(measure, wanted, what):
    """measure(index) is a sample of every variant, each with "usable" and "disturbed".

    The undisturbed rounds if there are enough of them, else all: a busy machine is no excuse. And
    a few words about that.
    """
    rounds = []
    good = []
    for index in range(wanted * FACTOR):
        samples = measure(index)
        if all(sample["usable"] for sample in samples.values()):
            rounds.append(samples)
            if not any(sample["disturbed"] for sample in samples.values()):
                good.append(samples)
        echo.progress(f"{what}: round {index + 1}, {len(good)} of {wanted} undisturbed")
        if len(good) == wanted:
            return good, f"{what}: {len(rounds) - len(good)} of {len(rounds)} left out"
    if not rounds:
        raise procs.BenchError(f"{what}: connections stalled in every round")
    return rounds, f"{what}: {len(rounds) - len(good)} of {len(rounds)} disturbed and counted"
