"""Histograms of numbers, from which the ranges of quantizers are found."""

from __future__ import annotations

from math import frexp, isfinite, isnan, nan
from threading import Lock
from typing import NamedTuple

import torch

Tensor = torch.Tensor
SIDE = 4096  # bins on either side of 0; of those on the longer side, half or more are used
_LEAST_EXPONENT = -110  # of the largest number that has bins of its own, so that floats can scale


class Histogram(NamedTuple):
    """A histogram of numbers.

    Attributes:
        counts: (bins,), float64; of the numbers that are not 0.
        middles: (bins,), float64: of the bins, increasing, as far apart as a bin is wide.
        zeros: how many numbers are 0.
        low, high: the least and the largest number.
    """

    counts: Tensor
    middles: Tensor
    zeros: int
    low: float
    high: float


class HistogramCounter:
    """Counts numbers that come in parts, from any thread.

    The bins have a power of 2 as width, which doubles where a number needs it: two bins become one.
    So the histogram depends neither on the order of the parts nor on who counts them.

    Attributes:
        total: how many numbers were counted.
        low, high: the least and the largest; inf and -inf without any, nan if one is not finite.
    """

    def __init__(self) -> None:
        self.total = 0
        self.low, self.high = torch.inf, -torch.inf
        self._zeros = 0
        self._exponent = _LEAST_EXPONENT  # all numbers are below 2 to this power
        self._counts = torch.zeros(2 * SIDE, dtype=torch.int64)
        self._lock = Lock()

    def add(self, numbers: Tensor) -> None:
        """Count some numbers."""
        x = numbers.detach().flatten()
        x = x if x.dtype == torch.float64 else x.float()
        if not x.numel():
            return
        low, high = (float(extreme) for extreme in x.aminmax())
        if not (isfinite(low) and isfinite(high)):
            with self._lock:
                self.low = self.high = nan
                self.total += x.numel()
            return
        exponent = max(_LEAST_EXPONENT, frexp(max(-low, high))[1])
        counts = _count(x, exponent)
        zeros = x.numel() - int(x.count_nonzero())
        counts[SIDE] -= zeros  # the first bin from 0 on has the zeros
        with self._lock:
            self._add_counts(counts, exponent)
            self._zeros += zeros
            self.total += x.numel()
            if not isnan(self.low):
                self.low, self.high = min(self.low, low), max(self.high, high)

    def _add_counts(self, counts: Tensor, exponent: int) -> None:
        if not self.total:
            self._exponent = exponent
        while self._exponent < exponent:
            self._counts = _halve(self._counts)
            self._exponent += 1
        for _ in range(self._exponent - exponent):
            counts = _halve(counts)
        self._counts += counts

    def histogram(self) -> Histogram:
        """Return the histogram of all that was counted."""
        width = 2.0**self._exponent / SIDE
        middles = (torch.arange(-SIDE, SIDE, dtype=torch.float64) + 0.5) * width
        return Histogram(self._counts.double(), middles, self._zeros, self.low, self.high)


def _count(x: Tensor, exponent: int) -> Tensor:
    """Return how many numbers each bin has, the bins being 2^exponent / SIDE wide."""
    places = (x * (SIDE * 2.0**-exponent)).floor_().long()
    return torch.bincount(places.add_(SIDE), minlength=2 * SIDE).cpu()


def _halve(counts: Tensor) -> Tensor:
    """Return the counts in bins of twice the width."""
    wider = torch.zeros_like(counts)
    wider[SIDE // 2 : SIDE + SIDE // 2] = counts.view(-1, 2).sum(1)
    return wider
