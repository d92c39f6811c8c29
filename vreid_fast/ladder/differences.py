"""Means, deviations and paired differences over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of one number over seeds; None with one seed."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Mapping[int, float]) -> Spread:
        numbers = list(values.values())
        return cls(statistics.fmean(numbers), statistics.stdev(numbers) if numbers[1:] else None)


@dataclass(frozen=True)
class Paired:
    """A difference of two rows, seed by seed: its mean, a 95 % interval, and on how many seeds it is above zero."""

    mean: float
    interval: tuple[float, float] | None
    """Student's t with n - 1 degrees of freedom; None with one seed."""
    up: int
    seeds: int

    @classmethod
    def of(cls, row: Mapping[int, float], minus: Mapping[int, float]) -> Paired | None:
        """The difference over the seeds that both have, by seed; None where they share none."""
        gains = [row[seed] - minus[seed] for seed in row if seed in minus]
        if not gains:
            return None
        mean, interval = statistics.fmean(gains), None
        if gains[1:]:
            from scipy.stats import t

            reach = float(t.ppf(0.975, len(gains) - 1)) * statistics.stdev(gains) / math.sqrt(len(gains))
            interval = (mean - reach, mean + reach)
        return cls(mean, interval, sum(gain > 0 for gain in gains), len(gains))

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        if self.interval is None:
            return "one seed: no interval"
        low, high = self.interval
        if low <= 0 <= high:
            return "not shown: the interval covers zero"
        hint = ", a hint: two seeds can agree by chance" if self.seeds == 2 else ""
        return ("higher" if low > 0 else "lower") + hint
