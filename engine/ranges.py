"""Find the range of a uniform quantizer for numbers that are known, or whose histogram is.

- max: all numbers;
- percentile: a share of them; of a symmetric range, the largest absolute values are outside, and of
  an asymmetric one as many below as above;
- mse: the least squared error;
- kl: the least Kullback-Leibler divergence of the histogram from the quantized one (HAQ,
  arXiv:1811.08886, section 3.4), in which each value has spread its numbers evenly over the bins
  that are not empty. Numbers beyond the range count in its outermost bins before, and nowhere
  after: so it tells what was cut. Zeros, which stay exact, don't count.

A range of all numbers has wide steps, and a narrower one cuts the largest numbers: `mse` and `kl`
try ranges that are smaller by a factor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from ..compress.bits_file import ASYMMETRIC, KL, MAX, PERCENTILE
from .histograms import Histogram
from .quantizers import Uniform, asymmetric, symmetric, unsigned

Tensor = torch.Tensor
Limits = tuple[Tensor, Tensor]  # lowest and highest number of each row, (rows, 1)
_FACTORS = 2.0 ** -(torch.arange(48, dtype=torch.float64) / 8)  # 1 to 1/59
_PLACES = torch.arange(len(_FACTORS))[:, None]
_STRIDE = 4  # of the factors that `mse` tries first; then those near the best
_AT_ONCE = 1 << 18  # numbers that are quantized at a time
_UNSEEN = 1e-4  # probability of an outermost bin that has but numbers from beyond the range


class Numbers(ABC):
    """Numbers to find a range for, in rows that each have one.

    Attributes:
        low, high: the extremes of each row, (rows, 1), float64.
        size: how many numbers stand for them all.
    """

    low: Tensor
    high: Tensor
    size: int

    @abstractmethod
    def percentiles(self, below: float, above: float) -> Limits:
        """Return the numbers of each row between which all but these percentages are."""

    @abstractmethod
    def absolute_percentile(self, above: float) -> Tensor:
        """Return the absolute value above which this percentage of each row is."""

    @abstractmethod
    def squared_errors(self, quantizer: Uniform) -> Tensor:
        """Return the error of ranges, which are the first axis of the quantizer: (ranges, rows)."""

    @abstractmethod
    def divergences(self, quantizer: Uniform) -> Tensor:
        """Return the divergence of each range likewise, but for a constant."""


class Rows(Numbers):
    """Numbers that are known, (rows, numbers)."""

    def __init__(self, numbers: Tensor) -> None:
        self._numbers = numbers.double()
        self.low, self.high = self._numbers.aminmax(dim=1, keepdim=True)
        self.size = numbers.numel()

    def percentiles(self, below: float, above: float) -> Limits:
        """Return two numbers of each row."""
        ordered = self._numbers.sort(1).values
        return _at(ordered, below), _at(ordered, 100 - above)

    def absolute_percentile(self, above: float) -> Tensor:
        """Return the absolute value of a number of each row."""
        return _at(self._numbers.abs().sort(1).values, 100 - above)

    def squared_errors(self, quantizer: Uniform) -> Tensor:
        """Sum over the numbers."""
        return quantizer.quantize(self._numbers).sub_(self._numbers).square_().sum(-1)

    def divergences(self, quantizer: Uniform) -> Tensor:
        """Return nothing: a row may have too few numbers for a histogram."""
        raise NotImplementedError


def _at(ordered: Tensor, percentile: float) -> Tensor:
    """Return the number of each row at a percentile."""
    place = round((ordered.shape[1] - 1) * percentile / 100)
    return ordered[:, place : place + 1]


class Counted(Numbers):
    """Numbers whose histogram is known, as one row; those of a bin count as its middle."""

    def __init__(self, histogram: Histogram) -> None:
        self._counts, self._middles = histogram.counts, histogram.middles[None]
        self._zeros = histogram.zeros
        self.low = torch.tensor([[histogram.low]], dtype=torch.float64)
        self.high = torch.tensor([[histogram.high]], dtype=torch.float64)
        self.size = len(self._counts)

    def percentiles(self, below: float, above: float) -> Limits:
        """Return the middles of two bins."""
        return self._quantile(self._middles[0], below), self._quantile(
            self._middles[0], 100 - above
        )

    def absolute_percentile(self, above: float) -> Tensor:
        """Return the middle of a bin."""
        return self._quantile(self._middles[0].abs(), 100 - above)

    def _quantile(self, values: Tensor, percentile: float) -> Tensor:
        zero = torch.zeros(1, dtype=torch.float64)
        ordered, order = torch.cat([values, zero]).sort()
        counts = torch.cat([self._counts, zero + self._zeros])[order].cumsum(0)
        place = torch.searchsorted(counts, counts[-1:] * percentile / 100)
        return ordered[place.clamp(max=len(ordered) - 1)][None]

    def squared_errors(self, quantizer: Uniform) -> Tensor:
        """Sum over the bins."""
        error = quantizer.quantize(self._middles).sub_(self._middles).square_()
        return error.mul_(self._counts).sum(-1)

    def divergences(self, quantizer: Uniform) -> Tensor:
        """Compare histograms."""
        low, high = quantizer.bounds
        inside = (self._middles >= low) & (self._middles <= high)
        codes = quantizer.codes(self._middles).sub_(quantizer.lowest).long()
        found = [self._divergence(*of_range) for of_range in zip(inside, codes, strict=True)]
        return torch.stack(found)[:, None]

    def _divergence(self, inside: Tensor, codes: Tensor) -> Tensor:
        (places,) = inside[0].nonzero(as_tuple=True)
        if not len(places) or not self._counts[places].any():
            return torch.tensor(torch.inf, dtype=torch.float64)
        codes, counts = codes[0, places], self._counts[places]
        spread = _spread(counts, codes)
        before = counts.clone()
        before[0] += self._counts[: places[0]].sum()
        before[-1] += self._counts[places[-1] + 1 :].sum()
        p, q = before / before.sum(), spread / spread.sum()
        divergence: Tensor = torch.special.xlogy(p, p / q.clamp(min=_UNSEEN * (counts == 0)))
        return divergence.sum()


def _spread(counts: Tensor, codes: Tensor) -> Tensor:
    """Spread the numbers of each code evenly over its bins that are not empty."""
    used = (counts > 0).double()
    size = int(codes.max()) + 1
    numbers, bins = (torch.bincount(codes, each, size) for each in (counts, used))
    return (numbers / bins.clamp(min=1))[codes] * used


def uniform(kind: str, limits: Limits, bits: int, signed: bool) -> Uniform:
    """Return the quantizer of a range.

    Args:
        kind: symmetric or asymmetric.
        limits: lowest and highest number; tensors that broadcast over what is quantized.
        bits: of a code.
        signed: whether a symmetric range has numbers below 0.
    """
    low, high = limits
    if kind == ASYMMETRIC:
        return asymmetric(low, high, bits)
    return symmetric(torch.maximum(-low, high), bits) if signed else unsigned(high, bits)


def find_range(
    numbers: Numbers, rule: str, kind: str, bits: int, signed: bool, percentile: float
) -> Limits:
    """Return the best range of each row.

    Args:
        numbers: those to quantize; for `kl`, `Counted`.
        rule: `max`, `percentile`, `mse` or `kl`.
        kind, bits, signed: of the quantizer.
        percentile: how many percent of the numbers a range of `percentile` has.
    """
    low, high = numbers.low, numbers.high
    if rule == PERCENTILE:
        outside = 100 - percentile
        if kind == ASYMMETRIC:
            lowest, highest = numbers.percentiles(outside / 2, outside / 2)
        else:
            highest = numbers.absolute_percentile(outside)
            lowest = -highest
        low, high = torch.maximum(low, lowest), torch.minimum(high, highest)
    low, high = low.clamp(max=0), high.clamp(min=0)
    if kind != ASYMMETRIC:
        high = torch.maximum(-low, high) if signed else high
        low = -high if signed else torch.zeros_like(high)
    if rule in (MAX, PERCENTILE):
        return low, high
    best = _best_factor(numbers, rule, kind, bits, signed, (low, high))
    return low * best, high * best


def _best_factor(
    numbers: Numbers, rule: str, kind: str, bits: int, signed: bool, limits: Limits
) -> Tensor:
    """Return the factor of the least cost for each row, (rows, 1); of equal ones, the largest."""
    cost = numbers.divergences if rule == KL else numbers.squared_errors

    def costs(factors: Tensor) -> Tensor:  # (ranges, rows or 1, 1) -> (ranges, rows)
        low, high = (limit * factors for limit in limits)
        return cost(uniform(kind, (low, high), bits, signed))

    def best(places: Tensor) -> Tensor:  # in _FACTORS, (ranges, rows or 1)
        at_once = max(1, _AT_ONCE // numbers.size)
        parts = [costs(_FACTORS[part][..., None]) for part in torch.split(places, at_once)]
        chosen = torch.cat(parts).argmin(0, keepdim=True)
        return places.expand(-1, chosen.shape[1]).gather(0, chosen)

    if rule == KL:  # of many local minima
        return _FACTORS[best(_PLACES)].T
    coarse = best(_PLACES[::_STRIDE])
    near = torch.arange(1 - _STRIDE, _STRIDE)[:, None] + coarse
    return _FACTORS[best(near.clamp_(0, len(_FACTORS) - 1))].T
