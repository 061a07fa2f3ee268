# SPDX-License-Identifier: MIT OR Apache-2.0
"""Medians and what they are worth.

On a shared machine the noise of one measurement is larger than the differences of interest and
changes every few seconds. So servers are measured in pairs, close together; the figure is the
median of the pairs' ratios, and its uncertainty is half of the 95 % bootstrap interval.
"""

import math
import random
import statistics

RESAMPLES = 2000


def quartile(values):
    """The first quartile: of absolute costs, because noise only ever adds."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 4]


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _interval_half(estimates):
    ordered = sorted(estimates)
    low = ordered[int(0.025 * len(ordered))]
    high = ordered[int(0.975 * len(ordered))]
    return (high - low) / 2


class Figure:
    """A value with its half-width. Over several groups: the geometric mean of their medians."""

    def __init__(self, groups):
        self.value = geometric_mean([statistics.median(group) for group in groups])
        generator = random.Random(1)  # the same samples give the same table
        self.half = _interval_half(
            [
                geometric_mean(
                    [statistics.median(generator.choices(group, k=len(group))) for group in groups]
                )
                for _ in range(RESAMPLES)
            ]
        )

    def __str__(self):
        return f"{self.value:.2f} ± {self.half:.2f}"

    def holds(self, bar):
        """Noise may not fail a bar: it fails only if the value lies above it by more than that."""
        return self.value - self.half <= bar
