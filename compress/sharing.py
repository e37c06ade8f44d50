"""Weight sharing: the few values that stand for all weights of a layer, by k-means.

In one dimension clusters are intervals of the sorted weights, and the best ones are found by
dynamic programming: exactly over up to 512 different values, which a layer that was shared before
has; over 512 groups of neighbours beyond that, and Lloyd's algorithm from there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GROUPS = 512
_ROUNDS = 100


class Points(NamedTuple):
    """Sums over the first 0, 1, 2, ... points: how many weights, their sum, their squares."""

    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray


def k_means(weights: np.ndarray, count: int) -> np.ndarray:
    """At most `count` shared values with the least sum of squared errors.

    Args:
        weights: those that are not zero, in any order; one at least.
        count: values to share, one or more.

    Returns:
        The values, rising, in float32.
    """
    ordered = np.sort(weights, axis=None).astype(np.float64)
    points = _points(ordered)
    cost = _squared_errors(points)
    best = cost[0]
    starts = []  # of the last cluster, for every number of points; one more cluster each
    for _ in range(min(count, len(points.counts) - 1) - 1):
        total = best[:, None] + cost
        starts.append(total.argmin(0))
        best = total[starts[-1], np.arange(len(best))]
    edges = [len(best) - 1]
    for start in reversed(starts):
        edges.append(int(start[edges[-1]]))
    values = _centroids(points, np.array([0, *reversed(edges)]))
    if len(ordered) > GROUPS:
        values = _lloyd(ordered, values)
    return np.unique(values.astype(np.float32))


def cheapest(points: Points, price: float) -> tuple[np.ndarray, np.ndarray]:
    """The shared values with the least sum of squared errors and price of the bits of the codes.

    A code is as long as Huffman makes it: -log2 of its share. Entropy-constrained quantization
    (Chou, Lookabaugh, Gray 1989), solved exactly like `k_means`, but without a number of clusters
    to keep count of: the price says it.

    Args:
        points: what `points_of` makes of the weights that are not zero.
        price: of a bit, as a squared error; above 0.

    Returns:
        The values, rising, in float32, and how many weights each stands for.
    """
    size = len(points.counts)
    within = np.maximum(points.counts[None] - points.counts[:, None], 1)
    cost = _squared_errors(points) + price * within * np.log2(points.counts[-1] / within)
    by_end = np.ascontiguousarray(cost.T)
    best = np.full(size, np.inf)
    best[0] = 0
    starts = [0] * size
    for end in range(1, size):
        total = best[:end] + by_end[end, :end]
        starts[end] = int(total.argmin())
        best[end] = total[starts[end]]
    edges = [size - 1]
    while edges[-1]:
        edges.append(starts[edges[-1]])
    bounds = np.array(edges[::-1])
    return _centroids(points, bounds).astype(np.float32), np.diff(points.counts[bounds])


def points_of(weights: np.ndarray) -> Points:
    """Weights that are not zero, in any order, as the sums that clusters are made of."""
    return _points(np.sort(weights, axis=None).astype(np.float64))


def _points(ordered: np.ndarray) -> Points:
    """The different values, or groups of them where they are more than `GROUPS`.

    Groups are narrow where weights are dense: their density is the cube root of the weights', as
    the best quantizer's is (Panter and Dite 1951). A weight and the space d up to the next stand
    for a density of 1 / d.
    """
    values, counts = np.unique(ordered, return_counts=True)
    sums, squares = counts * values, counts * values * values
    if len(values) > GROUPS:
        scale = np.cumsum(np.cbrt(np.square(np.diff(values, prepend=values[0])) * counts))
        group = (scale * (GROUPS / scale[-1])).astype(np.int64)
        firsts = np.flatnonzero(np.diff(np.minimum(group, GROUPS - 1), prepend=-1))
        counts, sums, squares = (np.add.reduceat(x, firsts) for x in (counts, sums, squares))
    return Points(*(np.concatenate([[0.0], np.cumsum(x)]) for x in (counts, sums, squares)))


def _squared_errors(points: Points) -> np.ndarray:
    """[i, j]: the error of points i to before j around their mean; infinite where none are."""
    counts, sums, squares = (x[None] - x[:, None] for x in points)
    errors: np.ndarray = squares - sums * sums / np.where(counts > 0, counts, 1)
    errors[counts <= 0] = np.inf
    return errors


def _centroids(points: Points, edges: np.ndarray) -> np.ndarray:
    """The mean of each cluster of points."""
    means: np.ndarray = np.diff(points.sums[edges]) / np.diff(points.counts[edges])
    return means


def _lloyd(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Each value moved to the mean of the weights next to it, until none moves."""
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
