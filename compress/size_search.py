"""Find the price of a bit, the same for all layers, at which a file has the requested size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import huffman
from .sharing import cumulative_sums, entropy_constrained

MAXIMUM_PRICE = 1e2  # all weights of a layer share one value
_MINIMUM_PRICE = 1e-10
_HALVINGS = 13  # of the logarithm: to within a third of a percent of the price


class PricedLayer:
    """The weights of a layer, and the values they share at a price.

    The unit of a layer's squared error is the mean square of its weights times the root of their
    number. With their number instead, all layers would get the same relative error, which is too
    much for large ones; without it, all weights would, which is too much for small layers.

    Args:
        weights: those that are not zero; at least one.
        finest: the same weights rounded to as many values as the layer may have.

    Attributes:
        finest: these values, and the number of weights that share each.
    """

    def __init__(self, weights: np.ndarray, finest: np.ndarray) -> None:
        exact = weights.astype(np.float64)
        self._points = cumulative_sums(exact)
        self._scale = float(np.mean(exact * exact)) * exact.size**0.5
        self.finest = np.unique(finest, return_counts=True)

    def values_at(self, price: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the shared values and the number of weights that share each."""
        values, counts = entropy_constrained(self._points, price * self._scale)
        return (values, counts) if len(values) < len(self.finest[0]) else self.finest


def find_price(layers: Sequence[PricedLayer], size: float, coded: bool) -> float | None:
    """Return the lowest price at which values and codes of all layers fit into `size` bytes.

    Returns:
        The price; None if they are larger at any price.
    """
    if _size_at(layers, MAXIMUM_PRICE, coded) > size:
        return None
    low, high = _MINIMUM_PRICE, MAXIMUM_PRICE
    for _ in range(_HALVINGS):
        price = (low * high) ** 0.5
        low, high = (low, price) if _size_at(layers, price, coded) <= size else (price, high)
    return high


def _size_at(layers: Sequence[PricedLayer], price: float, coded: bool) -> float:
    return sum(estimate_size(layer.values_at(price)[1], coded) for layer in layers)


def estimate_size(counts: np.ndarray, coded: bool) -> float:
    """Return the bytes of shared values and of their codes.

    Args:
        counts: how often each value occurs.
        coded: whether the codes are Huffman coded.
    """
    counts = counts.astype(np.int64)
    width = (len(counts) - 1).bit_length()
    if not coded or len(counts) < 2:
        return 4 * len(counts) + int(counts.sum()) * width / 8
    return 4.5 * len(counts) + int((huffman.code_lengths(counts) * counts).sum()) / 8
