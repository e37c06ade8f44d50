"""Choose the few values that all weights of a layer share, by k-means in one dimension.

Clusters are intervals of the sorted weights, and dynamic programming finds the best ones. It is
exact up to 512 different values, which a layer that was shared before has. Beyond that it works on
512 groups of neighbours, and Lloyd's algorithm refines the result.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

GROUPS = 512
_BLOCKS = 4
_ROUNDS = 100


class CumulativeSums(NamedTuple):
    """Sums over the first 0, 1, 2, ... points: number of weights, weights, and their squares."""

    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray


class Sharing(NamedTuple):
    """Which values weights share.

    Attributes:
        values: beside 0, increasing, float32.
        counts: number of weights that share each.
        pruned: (low, high): weights from low up to, but without, high become 0.
    """

    values: np.ndarray
    counts: np.ndarray
    pruned: tuple[float, float] = (0.0, 0.0)

    def keeps(self, weights: np.ndarray) -> np.ndarray:
        """Return where weights take one of the values, and not 0."""
        low, high = self.pruned
        kept: np.ndarray = (weights != 0) & ((weights < low) | (weights >= high))
        return kept


class SortedWeights:
    """The weights of a layer in the order of their size, summed up for `entropy_constrained`.

    Args:
        weights: at least one of them is not 0.

    Attributes:
        total, count: of the weights, and of those that are not 0.
        mean_square: of the latter.
        points: with one for all weights that are 0, between those below and above.
        zero: its number.
        firsts: the least weight of each point.
    """

    def __init__(self, weights: np.ndarray) -> None:
        ordered = np.sort(weights[weights != 0], axis=None).astype(np.float64)
        self.total, self.count = weights.size, ordered.size
        self.mean_square = float(np.mean(ordered * ordered))
        parts = ordered[ordered < 0], ordered[ordered > 0]
        negative, positive = (_group(part, GROUPS // 2) for part in parts)
        zero = np.array([weights.size - ordered.size, 0.0, 0.0])
        rows = (
            np.cumsum(np.concatenate([[0.0], np.diff(a), [of_zero], np.diff(b)]))
            for a, b, of_zero in zip(negative, positive, zero, strict=True)
        )
        self.points = CumulativeSums(*rows)
        self.zero = len(negative.counts) - 1
        below, above = (ends.counts[:-1].astype(int) for ends in (negative, positive))
        firsts = [ordered[below], [0.0], ordered[int(negative.counts[-1]) + above], [np.inf]]
        self.firsts = np.concatenate(firsts)

    @cached_property
    def errors(self) -> np.ndarray:
        """At [j, i] the squared error of points i to j - 1 as a cluster; that of `zero` is 0."""
        errors, has_zero = _squared_errors(self.points), np.s_[self.zero + 1 :, : self.zero + 1]
        squares = self.points.squares
        errors[has_zero] = (squares[:, None] - squares[None])[has_zero]
        return errors

    @cached_property
    def code_bits(self) -> np.ndarray:
        """At [j, i] the bits of the codes of points i to j - 1 as a cluster."""
        counts = self.points.counts[:, None] - self.points.counts[None]
        bits: np.ndarray = counts * np.log2(self.points.counts[-1] / np.maximum(counts, 1))
        return bits


def k_means(weights: np.ndarray, count: int) -> np.ndarray:
    """Return at most `count` shared values that minimize the sum of squared errors.

    Args:
        weights: those that are not zero, in any order; at least one.
        count: values to share, at least one.

    Returns:
        The values, increasing, float32.
    """
    ordered = np.sort(weights, axis=None).astype(np.float64)
    points = _group(ordered)
    values = _centroids(points, _cluster_edges(points, count))
    if len(ordered) > GROUPS:
        values = _lloyd(ordered, values)
    return np.unique(values.astype(np.float32))


def _cluster_edges(points: CumulativeSums, count: int) -> np.ndarray:
    """Return the edges of at most `count` clusters whose squared errors are least.

    The best clusters of the points before an end are, for some start, those of the points before
    the start, one fewer, and one of the points between. Pairs of which the start is not before the
    end, or has too few points before it, are no clusters; blocks of ends leave out most of them.
    """
    cost = _squared_errors(points)
    size = len(cost)
    blocks = list(pairwise(np.linspace(0, size, _BLOCKS + 1).astype(int).tolist()))
    sums = np.empty(size * size)  # new memory for each round would cost more than its sums
    best = cost[:, 0]
    starts = np.zeros((min(count, size - 1), size), np.int64)  # [clusters - 1, end]: of the last
    for fewer in range(1, len(starts)):
        before, best = best, np.full(size, np.inf)
        for first, end in blocks:
            if end > fewer:
                ends, choices = slice(first, end), slice(fewer, end)
                total = sums[: (end - first) * (end - fewer)].reshape(end - first, -1)
                np.add(cost[ends, choices], before[choices], out=total)
                found = total.argmin(1)
                best[ends] = total[np.arange(end - first), found]
                starts[fewer, ends] = found + fewer
    edges = [size - 1]
    for start in starts[::-1]:
        edges.append(int(start[edges[-1]]))
    return np.array(edges[::-1])


def entropy_constrained(weights: SortedWeights, price: float) -> Sharing:
    """Return the shared values that minimize squared errors plus the price of the codes' bits.

    A code has -log2 of its frequency bits, about as many as Huffman's. This is entropy-constrained
    quantization (Chou, Lookabaugh, Gray 1989), solved exactly as in `k_means`; the price determines
    the number of clusters. The cluster around 0 is 0, with the weights that were 0 before: gaps
    between the others cost about as much as codes of so many zeros.

    Args:
        weights: of the layer.
        price: of a bit, as a squared error; above 0.
    """
    points, zero = weights.points, weights.zero
    edges = np.array(_cheapest_edges(weights.errors + price * weights.code_bits))
    around = int(np.searchsorted(edges, zero, side="right")) - 1
    low, high = (float(weights.firsts[edge]) for edge in edges[around : around + 2])
    sums, counts = (np.delete(np.diff(x[edges]), around) for x in (points.sums, points.counts))
    return Sharing((sums / counts).astype(np.float32), counts, (low, high))


def _cheapest_edges(costs: np.ndarray) -> list[int]:
    """Return where clusters begin and the last ends, for the least sum of costs at [end, start]."""
    size = len(costs)
    best = np.full(size, np.inf)
    best[0] = 0
    starts = [0] * size
    for end in range(1, size):
        total = best[:end] + costs[end, :end]
        starts[end] = int(total.argmin())
        best[end] = total[starts[end]]
    edges = [size - 1]
    while edges[-1]:
        edges.append(starts[edges[-1]])
    return edges[::-1]


def _group(ordered: np.ndarray, most: int = GROUPS) -> CumulativeSums:
    """Sum up the different values, or at most so many groups of neighbours.

    Groups are narrow where weights are dense: their density is the cube root of the weights', as
    in the best quantizer (Panter and Dite 1951). A weight at distance d from the next one counts as
    a density of 1 / d.
    """
    values, counts = np.unique(ordered, return_counts=True)
    sums, squares = counts * values, counts * values * values
    if len(values) > most:
        scale = np.cumsum(np.cbrt(np.square(np.diff(values, prepend=values[0])) * counts))
        group = (scale * (most / scale[-1])).astype(np.int64)
        firsts = np.flatnonzero(np.diff(np.minimum(group, most - 1), prepend=-1))
        counts, sums, squares = (np.add.reduceat(x, firsts) for x in (counts, sums, squares))
    return CumulativeSums(*(np.concatenate([[0.0], np.cumsum(x)]) for x in (counts, sums, squares)))


def _squared_errors(points: CumulativeSums) -> np.ndarray:
    """Return at [j, i] the squared error of points i to j - 1 around their mean, inf for none."""
    counts, sums, squares = (x[:, None] - x[None] for x in points)
    errors: np.ndarray = squares - sums * sums / np.where(counts > 0, counts, 1)
    errors[counts <= 0] = np.inf
    return errors


def _centroids(points: CumulativeSums, edges: np.ndarray) -> np.ndarray:
    """Return the mean of each cluster of points."""
    means: np.ndarray = np.diff(points.sums[edges]) / np.diff(points.counts[edges])
    return means


def _lloyd(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Move each value to the mean of the weights nearest to it, until none moves."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    edges = np.zeros(0)
    for _ in range(_ROUNDS):
        inner = np.searchsorted(ordered, (values[1:] + values[:-1]) / 2)
        new = np.unique(np.concatenate([[0], inner, [len(ordered)]]))
        if np.array_equal(new, edges):
            break
        edges = new
        values = np.diff(sums[edges]) / np.diff(edges)
    return values
