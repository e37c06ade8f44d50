"""Means over runs, and the interval of a mean by Student's t distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

CONFIDENCE = 0.95


class Mean(NamedTuple):
    """A mean, its standard error (None of one value), and of how many values."""

    value: float
    error: float | None
    n: int

    def interval(self) -> tuple[float, float] | None:
        """Return the t interval of 95%: mean -+ t(0.975, n - 1) standard errors; None of one."""
        if self.error is None:
            return None
        half = t_quantile((1 + CONFIDENCE) / 2, self.n - 1) * self.error
        return self.value - half, self.value + half


def mean_of(values: Sequence[float]) -> Mean | None:
    """Return the mean of values; None of none."""
    if not values:
        return None
    count = len(values)
    error = stdev(values) / math.sqrt(count) if count > 1 else None
    return Mean(fmean(values), error, count)


def t_probability(t: float, freedom: int) -> float:
    """Return P(|T| < t) of Student's distribution with whole degrees of freedom.

    A finite sum: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    term = cosine if freedom % 2 else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if freedom % 2:
        return 2 / math.pi * (angle + sine * total)
    return sine * total


def t_quantile(probability: float, freedom: int) -> float:
    """Return the t below which T is with a probability of at least a half, by bisection."""
    wanted, low, high = 2 * probability - 1, 0.0, 1.0
    while t_probability(high, freedom) < wanted:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if t_probability(middle, freedom) < wanted:
            low = middle
        else:
            high = middle
    return high
